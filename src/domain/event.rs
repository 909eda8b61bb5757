//! What happened: the facts of the log. Their text is in [`super::record`].

use crate::time::Timestamp;

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its number: 1, 2, 3 ... in commit order.
    pub seq: u64,
    /// When; never runs backwards along the log.
    pub at: Timestamp,
    /// The user who asked, as the kernel attests it.
    pub uid: u32,
    /// What happened.
    pub fact: Fact,
}

/// Where a message is: to a recipient, or in a chat under a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// To a recipient.
    Recipient(String),
    /// In a chat of an application.
    Chat {
        /// The application's token.
        app: String,
        /// The chat's number.
        chat: u64,
        /// The message's number.
        number: u64,
    },
}

/// A message as it stands after its post or an edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it is.
    pub address: Address,
    /// Who said it; always there with a recipient.
    pub originator: Option<String>,
    /// Its text.
    pub body: String,
}

/// Which jobs of a queue. The order is that of the stored form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// May be reserved now.
    Ready,
    /// May be reserved later.
    Delayed,
    /// Has a holder.
    Leased,
    /// Was delivered as often as the queue allows.
    Dead,
}

impl JobState {
    /// All of them.
    pub const ALL: [JobState; 4] = [JobState::Ready, JobState::Delayed, JobState::Leased, JobState::Dead];

    /// The state's name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            JobState::Ready => "ready",
            JobState::Delayed => "delayed",
            JobState::Leased => "leased",
            JobState::Dead => "dead",
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        JobState::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// What happened. JSON values are kept as the text that the client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of protocol.md's table of events")]
pub enum Fact {
    KeySet {
        key: String,
        value: String,
        created: bool,
    },
    KeyDeleted {
        key: String,
    },
    MessagePosted(Message),
    /// The whole message as it stands now; `message` and `posted_at` are those of its post.
    MessageEdited {
        message: u64,
        posted_at: Timestamp,
        now: Message,
    },
    MessageDeleted {
        message: u64,
        address: Address,
    },
    AppCreated {
        token: String,
        name: String,
    },
    AppUpdated {
        token: String,
        name: String,
    },
    AppDeleted {
        token: String,
    },
    ChatCreated {
        app: String,
        chat: u64,
        name: Option<String>,
    },
    ChatUpdated {
        app: String,
        chat: u64,
        name: String,
    },
    ChatDeleted {
        app: String,
        chat: u64,
    },
    FormulaCreated {
        formula: String,
        name: String,
        materials: String,
    },
    /// `delay_ms` 0: ready at once.
    JobPut {
        queue: String,
        priority: u8,
        delay_ms: u64,
        body: String,
    },
    /// `lease` is a hash of the token that the holder got.
    JobLeased {
        queue: String,
        job: u64,
        lease: String,
        attempt: u64,
        lease_ms: u64,
    },
    JobExtended {
        queue: String,
        job: u64,
        lease_ms: u64,
    },
    JobAcked {
        queue: String,
        job: u64,
    },
    JobNacked {
        queue: String,
        job: u64,
        delay_ms: u64,
        dead: bool,
    },
    JobExpired {
        queue: String,
        job: u64,
        dead: bool,
    },
    /// A repair found no good record of this event.
    EventLost,
    JobReadied {
        queue: String,
        job: u64,
    },
    JobDeleted {
        queue: String,
        job: u64,
    },
    /// `job` is absent when all dead ones were revived.
    JobRevived {
        queue: String,
        job: Option<u64>,
        revived: u64,
    },
    QueueConfigured {
        queue: String,
        lease_ms: u64,
        max_attempts: Option<u64>,
        max_jobs: Option<u64>,
    },
    /// `state` is absent when all jobs were deleted.
    QueuePurged {
        queue: String,
        state: Option<JobState>,
        deleted: u64,
    },
    QueueDropped {
        queue: String,
    },
    /// A request with an idempotency key succeeded: `reply` holds its reply's fields.
    RequestAnswered {
        key: String,
        content: String,
        reply: String,
    },
}

/// Every type of event.
pub const TYPES: &[&str] = &[
    "kv.set",
    "kv.deleted",
    "message.posted",
    "message.edited",
    "message.deleted",
    "app.created",
    "app.updated",
    "app.deleted",
    "chat.created",
    "chat.updated",
    "chat.deleted",
    "formula.created",
    "job.put",
    "job.leased",
    "job.extended",
    "job.acked",
    "job.nacked",
    "job.expired",
    "job.readied",
    "job.deleted",
    "job.revived",
    "queue.configured",
    "queue.purged",
    "queue.dropped",
    "request.answered",
    "event.lost",
];

impl Fact {
    /// The event's type.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Fact::KeySet { .. } => "kv.set",
            Fact::KeyDeleted { .. } => "kv.deleted",
            Fact::MessagePosted(_) => "message.posted",
            Fact::MessageEdited { .. } => "message.edited",
            Fact::MessageDeleted { .. } => "message.deleted",
            Fact::AppCreated { .. } => "app.created",
            Fact::AppUpdated { .. } => "app.updated",
            Fact::AppDeleted { .. } => "app.deleted",
            Fact::ChatCreated { .. } => "chat.created",
            Fact::ChatUpdated { .. } => "chat.updated",
            Fact::ChatDeleted { .. } => "chat.deleted",
            Fact::FormulaCreated { .. } => "formula.created",
            Fact::JobPut { .. } => "job.put",
            Fact::JobLeased { .. } => "job.leased",
            Fact::JobExtended { .. } => "job.extended",
            Fact::JobAcked { .. } => "job.acked",
            Fact::JobNacked { .. } => "job.nacked",
            Fact::JobExpired { .. } => "job.expired",
            Fact::EventLost => "event.lost",
            Fact::JobReadied { .. } => "job.readied",
            Fact::JobDeleted { .. } => "job.deleted",
            Fact::JobRevived { .. } => "job.revived",
            Fact::QueueConfigured { .. } => "queue.configured",
            Fact::QueuePurged { .. } => "queue.purged",
            Fact::QueueDropped { .. } => "queue.dropped",
            Fact::RequestAnswered { .. } => "request.answered",
        }
    }
}
