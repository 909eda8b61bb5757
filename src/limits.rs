//! The bounds that options set, each with its default, that the protocol documents, that several modules share, or that
//! together say what the daemon may hold. One that a single module knows may stand at the head of that. [`Limits`]
//! carries the values of a running daemon.

/// Longest request line in bytes, counted before the line feed (`--max-line`).
pub const LINE_BYTES_DEFAULT: usize = 1 << 20;
/// Largest line limit that `--max-line` accepts: a record must fit a frame and a segment.
pub const LINE_BYTES_MAX: usize = 64 << 20;
/// Smallest line limit that `--max-line` accepts.
pub const LINE_BYTES_MIN: usize = 128;
/// Open connections in all (`--max-connections`).
pub const CONNECTIONS_DEFAULT: usize = 4096;
/// Bytes that unread lines and unsent replies of all connections may hold together
/// (`--max-buffered`).
pub const BUFFERED_BYTES_DEFAULT: usize = 64 << 20;
/// Requests of one connection that may be begun and not yet answered; reading pauses beyond.
pub const IN_FLIGHT_REQUESTS: usize = 2048;
/// Request bytes of one connection that may be begun and not yet answered, and those of the jobs that they
/// may bring.
pub const IN_FLIGHT_BYTES: usize = 4 << 20;
/// What each job that a reserve may bring counts for there.
pub const RESERVED_JOB_BYTES: usize = 512;
/// Bytes of requests that may be with the writer, all connections together: enough for the frame that is on its way to
/// the disk, the one that is decided, and the next ones. What comes then waits where it is counted for its client.
pub const WRITER_BYTES: usize = 4 * FRAME_BYTES;
/// Reads of one connection that may be begun and not yet answered, at first. Small replies raise the
/// number, large ones lower it, so that what they may bring stays bounded.
pub const READS_AT_FIRST: usize = 1;
/// The same, at most.
pub const READS_AT_MOST: usize = 512;
/// The same, after a large reply.
pub const READS_WHEN_LARGE: usize = 1;
/// Bytes that the replies to one connection's short reads may bring at a time, as large as the last one; and nothing of
/// that kind is begun for one that has so many to read.
pub const READ_BYTES_IN_FLIGHT: usize = 256 << 10;
/// A reply of this many bytes is large.
pub const LARGE_REPLY_BYTES: usize = 16 << 10;
/// Lists and searches of one connection that may be begun and not yet answered: fewer than there are
/// readers.
pub const LISTS_IN_FLIGHT: usize = 2;
/// What a list is expected to bring at least, after small ones; one whose connection had none yet may bring
/// [`REPLY_BYTES`].
pub const LIST_BYTES_LEAST: usize = 64 << 10;
/// Within a turn of the event loop the replies to a connection's reads are sent and counted each time that they
/// grew by this.
pub const UNCOUNTED_BYTES: usize = 256 << 10;
/// Readers wait when they have made this many bytes of replies that the event loop has not taken yet.
pub const UNDELIVERED_BYTES: usize = 8 << 20;
/// A search that is not done goes on before others when the pages of those that wait for their next slice take
/// this many bytes.
pub const WAITING_PAGES_BYTES: usize = 8 << 20;
/// Nothing more is begun for a connection that has this many bytes of replies to read.
pub const UNSENT_BYTES: usize = 8 << 20;
/// Reading pauses when a connection has this many bytes of lines that wait for requests in flight.
pub const READ_AHEAD_BYTES: usize = 256 << 10;
/// Deepest nesting of objects and arrays in a line; its own object is the first level.
pub const NESTING_LEVELS: usize = 128;
/// Commands in one `batch`.
pub const BATCH_COMMANDS: usize = 1000;
/// Longest key of the key-value store.
pub const KEY_BYTES: usize = 1024;
/// Longest originator, recipient, application, chat or queue name.
pub const NAME_BYTES: usize = 256;
/// Longest name of a formula or a material, without outer white space.
pub const MATERIAL_NAME_BYTES: usize = 1024;
/// Digits of a concentration as written, zeros included, the exponent's not.
pub const CONCENTRATION_DIGITS: usize = 1000;
/// Largest exponent of a concentration as written, on either side of zero.
pub const CONCENTRATION_EXPONENT: i32 = 1000;
/// Longest path of a folder.
pub const PATH_BYTES: usize = 4095;
/// Longest `idempotency_key`.
pub const IDEMPOTENCY_KEY_BYTES: usize = 256;
/// A reply stops growing here and gives a `next` instead; one item larger than this still goes. Where little may be
/// buffered it is less: see [`Limits::reply_bytes`].
pub const REPLY_BYTES: usize = 4 << 20;
/// Items on one page.
pub const PAGE_ITEMS: u64 = 10_000;
/// Items on one page when the request names no `limit`.
pub const PAGE_ITEMS_DEFAULT: u64 = 100;
/// Clauses in a `text`, every alternative of an `OR` counted.
pub const TEXT_CLAUSES: usize = 64;
/// Words in a `text`, over all its clauses.
pub const TEXT_WORDS: usize = 256;
/// Longest `substring`.
pub const SUBSTRING_BYTES: usize = 1024;
/// Jobs that one `queue.reserve` may lease.
pub const RESERVE_JOBS: u64 = 1000;
/// Longest lease, delay or wait, in milliseconds: 365 days.
pub const TIME_MS: u64 = 31_536_000_000;
/// Lease of a queue that was not configured.
pub const LEASE_MS_DEFAULT: u64 = 30_000;
/// Deliveries before a job is dead, where the queue was not configured.
pub const ATTEMPTS_DEFAULT: u64 = 5;
/// A segment is sealed when it has grown past this (`--segment-bytes`).
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 << 20;
/// Requests that the event loop hands to the writer at once.
pub const PARCEL_REQUESTS: usize = 32;
/// Request bytes that the event loop hands to the writer at once.
pub const PARCEL_BYTES: usize = 256 << 10;
/// Short reads that the event loop hands to a reader at once.
pub const PARCEL_GETS: usize = 64;
/// So many short reads the event loop answers without help: to wake a reader costs more.
pub const OWN_GETS: usize = 16;
/// Time that the event loop spends in one turn on answers whose data is in memory; the readers give the
/// others.
pub const ANSWERS_A_TURN_US: u64 = 100;
/// Answers of the event loop itself that take it long, such as `stats`, for one connection in a turn.
pub const LOCAL_ANSWERS_A_TURN: usize = 2;
/// Requests that the writer takes into one frame, or one parcel more.
pub const FRAME_REQUESTS: usize = 1024;
/// Events that the writer takes into one frame, and those of one request more.
pub const FRAME_EVENTS: usize = 2048;
/// Request bytes that the writer takes into one frame.
pub const FRAME_BYTES: usize = 2 << 20;
/// The tail of the index is written to a file when it holds this many bytes: some 3,000 messages. All of
/// it then lies in a processor's own cache.
pub const FLUSH_BYTES: u64 = 1 << 20;
/// Tails of the index there are at most, the one that grows and those on their way to a file, unless one is
/// handed over for a compaction.
pub const TAILS: usize = 8;
/// Run files from this size on are synced; smaller ones are checked whole at a start, and come back from
/// the log when a power loss took them.
pub const SYNCED_RUN_BYTES: u64 = 4 << 20;
/// Past this many bytes of the index in memory the writer slows down for the background.
pub const SLOW_BYTES: u64 = 2 << 20;
/// Where the index cannot be written, nothing that stores more is taken when it holds this many bytes in memory.
pub const UNWRITTEN_INDEX_BYTES: u64 = 64 << 20;
/// Past this many run files the writer slows down for the background, too.
pub const SLOW_RUN_FILES: u64 = 56;
/// Past this many bytes of the index in memory the background takes no breaks.
pub const BEHIND_BYTES: u64 = SLOW_BYTES / 8 * 5;
/// Past this many run files the background takes no breaks, too.
pub const BEHIND_RUN_FILES: u64 = SLOW_RUN_FILES / 2;
/// Blocks of run files that are kept in memory once they were read, all runs together.
pub const CACHED_BLOCKS: usize = 512;
/// Blocks larger than this are read anew each time.
pub const CACHED_BLOCK_BYTES: usize = 8 << 10;
/// The sync of a write with `durable:false` begins at the latest after this: it is promised to be over after 100 ms.
pub const SYNC_DELAY_MS: u64 = 50;
/// Clients that do not read their replies are left when a stop has waited for them so long.
pub const STOP_SECONDS: u64 = 5;
/// Clients that read slowly are left this long after a stop began: less than those who stop a service wait
/// before they kill it.
pub const STOP_MOST_SECONDS: u64 = 30;
/// Reserves that wait, all connections together.
pub const WAITING_RESERVES: usize = 65_536;

/// `log.verify` and the like that may wait for their turn, all connections together.
pub const MAINTENANCE_WAITING: usize = 16;

/// The log is compacted by itself when this share of its sealed bytes is dead, in percent
/// (`--compact-percent`; 0: only when asked).
pub const COMPACT_PERCENT_DEFAULT: u64 = 50;
/// The log is compacted by itself when at least so many bytes of it are dead (`--compact-bytes`).
pub const COMPACT_BYTES_DEFAULT: u64 = 16 << 20;

/// When the log is compacted by itself.
#[derive(Debug, Clone, Copy)]
pub struct CompactionLimits {
    /// See [`COMPACT_PERCENT_DEFAULT`].
    pub percent: u64,
    /// See [`COMPACT_BYTES_DEFAULT`].
    pub bytes: u64,
}

/// The bounds of a running daemon that options can set.
#[derive(Debug, Clone)]
pub struct Limits {
    /// See [`LINE_BYTES_DEFAULT`].
    pub line_bytes: usize,
    /// See [`CONNECTIONS_DEFAULT`].
    pub connections: usize,
    /// Connections of one user id; half of `connections` unless set (`--max-connections-per-uid`).
    pub connections_per_uid: usize,
    /// See [`BUFFERED_BYTES_DEFAULT`].
    pub buffered_bytes: usize,
    /// See [`SEGMENT_BYTES_DEFAULT`].
    pub segment_bytes: u64,
    /// See [`CompactionLimits`].
    pub compaction: CompactionLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            line_bytes: LINE_BYTES_DEFAULT,
            connections: CONNECTIONS_DEFAULT,
            connections_per_uid: CONNECTIONS_DEFAULT / 2,
            buffered_bytes: BUFFERED_BYTES_DEFAULT,
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            compaction: CompactionLimits { percent: COMPACT_PERCENT_DEFAULT, bytes: COMPACT_BYTES_DEFAULT },
        }
    }
}

impl Limits {
    /// What each kind of bytes that a connection holds may come to, whatever the bounds of one say: where little may be
    /// buffered the bounds together must not pass that.
    #[must_use]
    pub fn connection_bytes(&self) -> usize {
        self.buffered_bytes / 16
    }

    /// Where a reply stops growing: one reply alone must not come near the bound of all that is buffered.
    #[must_use]
    pub fn reply_bytes(&self) -> usize {
        REPLY_BYTES.min(self.buffered_bytes / 4)
    }
}
