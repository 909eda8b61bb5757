//! What is asked: requests after parsing, typed.

use super::delivery::Standing;
use super::event::JobState;
use super::messages::{Destination, Target};
use super::text::Text;
use crate::error::Error;
use crate::time::Timestamp;

/// One write.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the fields are the arguments in protocol.md")]
pub enum Write {
    KvSet {
        key: String,
        value: String,
        if_seq: Option<u64>,
    },
    KvDelete {
        key: String,
        if_seq: Option<u64>,
    },
    MessagePost {
        destination: Destination,
        originator: Option<String>,
        body: String,
    },
    MessageEdit {
        target: Target,
        body: String,
    },
    MessageDelete {
        target: Target,
    },
    AppCreate {
        name: String,
    },
    AppUpdate {
        token: String,
        name: String,
    },
    AppDelete {
        token: String,
    },
    ChatCreate {
        app: String,
        name: Option<String>,
    },
    ChatUpdate {
        app: String,
        chat: u64,
        name: String,
    },
    ChatDelete {
        app: String,
        chat: u64,
    },
    /// `formula` is the id, which parsing derived from the materials.
    FormulaSubmit {
        formula: String,
        name: String,
        materials: String,
    },
    QueuePut {
        queue: String,
        body: String,
        delay_ms: u64,
        priority: u8,
    },
    QueueReserve(Reserve),
    QueueAck {
        job: u64,
        lease: String,
    },
    QueueExtend {
        job: u64,
        lease: String,
        lease_ms: u64,
    },
    QueueNack {
        job: u64,
        lease: String,
        delay_ms: u64,
    },
    QueueConfigure {
        queue: String,
        lease_ms: Option<u64>,
        max_attempts: Option<Option<u64>>,
        max_jobs: Option<Option<u64>>,
    },
    QueueRevive {
        queue: String,
        job: Option<u64>,
    },
    QueueDelete {
        job: u64,
    },
    QueuePurge {
        queue: String,
        state: Option<JobState>,
    },
    QueueDrop {
        queue: String,
    },
    Batch {
        commands: Vec<Write>,
    },
    /// A member of a batch that was refused when it was read: those before it are tried first.
    Refused(Error),
    /// The daemon's own: the timer that event `revision` set for a job has run out.
    FallDue {
        job: u64,
        revision: u64,
    },
}

impl Write {
    /// Whether it ends something that is stored, or keeps what was begun going: such writes go through
    /// on a full disk.
    #[must_use]
    pub fn gives_room(&self) -> bool {
        match self {
            Write::KvDelete { .. }
            | Write::MessageDelete { .. }
            | Write::AppDelete { .. }
            | Write::ChatDelete { .. }
            | Write::QueueAck { .. }
            | Write::QueueNack { .. }
            | Write::QueueExtend { .. }
            | Write::QueueDelete { .. }
            | Write::QueuePurge { .. }
            | Write::QueueDrop { .. }
            | Write::FallDue { .. } => true,
            Write::Batch { commands } => commands.iter().all(Write::gives_room),
            _ => false,
        }
    }

    fn is_any(&self, of: &impl Fn(&Write) -> bool) -> bool {
        match self {
            Write::Batch { commands } => commands.iter().any(|command| command.is_any(of)),
            other => of(other),
        }
    }
}

/// `queue.reserve`
#[derive(Debug, Clone)]
pub struct Reserve {
    /// The queue's name.
    pub queue: String,
    /// The lease asked for; the queue's own by default.
    pub lease_ms: Option<u64>,
    /// Most jobs to lease.
    pub max: u64,
    /// How long to wait for a job.
    pub wait_ms: u64,
}

/// An idempotency key with a hash of the content that it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The key, 1 to 256 bytes.
    pub key: String,
    /// The hash of the request's content, in hex.
    pub content: String,
}

/// A write with what any write may carry.
#[derive(Debug, Clone)]
pub struct WriteRequest {
    /// What is asked.
    pub write: Write,
    /// Whether the reply waits for the disk.
    pub durable: bool,
    /// Whether nothing is to happen.
    pub dry_run: bool,
    /// The key that makes repetitions harmless.
    pub idempotency: Option<Idempotency>,
}

impl WriteRequest {
    /// Whether deciding it may take as long as what is stored makes it: where all dead jobs are revived, and where a
    /// reserve that is only tried walks over the keys of deleted jobs, which the next one has to do again.
    #[must_use]
    pub fn may_take_long(&self) -> bool {
        self.write.is_any(&|write| match write {
            Write::QueueRevive { job, .. } => job.is_none(),
            Write::QueueReserve(_) => self.dry_run,
            _ => false,
        })
    }
}

/// Where a page begins and how long it may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The last item of the page before.
    pub after: Option<T>,
    /// Most items.
    pub limit: u64,
}

/// What a message must be to be found.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// From this originator.
    pub originator: Option<String>,
    /// To this recipient.
    pub recipient: Option<String>,
    /// In this application.
    pub app: Option<String>,
    /// In this chat of the application.
    pub chat: Option<u64>,
    /// Words, phrases, prefixes, exclusions.
    pub text: Option<Text>,
    /// A piece of the body, lower-cased.
    pub substring: Option<String>,
    /// Posted then or later.
    pub since: Option<Timestamp>,
    /// Posted before.
    pub until: Option<Timestamp>,
}

/// The order of a search's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Largest seq first.
    Newest,
    /// Smallest seq first.
    Oldest,
}

/// `message.search`
#[derive(Debug, Clone)]
pub struct Search {
    /// What to find.
    pub filter: Filter,
    /// In which order.
    pub order: Order,
    /// Most messages.
    pub limit: u64,
    /// Only smaller seqs.
    pub before: Option<u64>,
    /// Only larger seqs.
    pub after: Option<u64>,
    /// Whether to count all matches.
    pub count: bool,
}

/// One read.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the fields are the arguments in protocol.md")]
pub enum Read {
    KvGet { key: String },
    KvList { prefix: String, page: Page<String> },
    MessageGet { target: Target },
    MessageList { app: String, chat: u64, page: Page<u64> },
    MessageSearch(Box<Search>),
    AppGet { token: String },
    AppList { page: Page<String> },
    ChatGet { app: String, chat: u64 },
    ChatList { app: String, page: Page<u64> },
    FormulaGet { formula: String },
    FormulaList { page: Page<String> },
    QueueGet { queue: String },
    QueueList { page: Page<String> },
    QueuePeek { queue: String, state: JobState, page: Page<Standing> },
    LogRead { from: u64, limit: u64, types: Option<Vec<String>> },
}

/// What a follower wants.
#[derive(Debug, Clone)]
pub enum Follow {
    /// Events, of these types.
    Log {
        /// All when absent.
        types: Option<Vec<String>>,
    },
    /// Messages that match.
    Messages(Box<Filter>),
}

/// What the event loop answers itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Local {
    /// `ping`
    Ping,
    /// `quit`
    Quit,
    /// `help`, on one command or all.
    Help(Option<String>),
    /// `info`
    Info,
    /// `stats`
    Stats,
    /// `metrics`
    Metrics,
}

impl Local {
    /// Whether it takes the event loop so long that others are to have their turn between two.
    #[must_use]
    pub fn is_long(&self) -> bool {
        !matches!(self, Local::Ping | Local::Quit)
    }
}

/// Long work on the whole store, beside serving. For those who administer the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Maintenance {
    /// `log.verify`
    Verify,
    /// `log.backup`
    Backup {
        /// The new folder.
        to: String,
    },
    /// `log.compact`
    Compact,
}

/// One request after parsing.
#[derive(Debug, Clone)]
pub enum Command {
    /// Answered by the event loop.
    Local(Local),
    /// Answered by a reader.
    Read(Read),
    /// Decided by the writer.
    Write(WriteRequest),
    /// Makes the connection a follower's; from which seq on, by default only what comes.
    Follow(Follow, Option<u64>),
    /// Done by the maintenance thread.
    Maintenance(Maintenance),
}
