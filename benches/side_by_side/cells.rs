//! The cells: a kind of work, in a shape, with what is asked of it.

/// The kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// A message is posted (`XADD`; `put`; an insert into a full-text table).
    Post,
    /// A new key is set.
    Set,
    /// A key of many is read, each as likely as any other.
    Get,
    /// A job is put, reserved and acknowledged, one step after the other on each connection.
    Cycle,
    /// The same with producers and consumers, half of the connections each.
    Hand,
}

/// One of the servers, or SQLite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Peer {
    Msglogd,
    /// Another build of the daemon, to tell what a change gives.
    Other,
    Redis,
    Beanstalkd,
    Sqlite,
}

impl Peer {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Peer::Msglogd => "msglogd",
            Peer::Other => "other build",
            Peer::Redis => "redis",
            Peer::Beanstalkd => "beanstalkd",
            Peer::Sqlite => "sqlite",
        }
    }
}

/// Work in a shape.
pub struct Cell {
    pub name: String,
    pub work: Work,
    pub connections: usize,
    /// Requests in flight on each connection.
    pub depth: usize,
    /// Whether a reply may come before the sync (`durable:false`, `appendfsync everysec`).
    pub lazy: bool,
    /// Whether it is among those that run a minute each.
    pub main: bool,
    /// The least ratio to a peer's rate that is asked for.
    pub targets: Vec<(Peer, f64)>,
}

impl Cell {
    /// The peers that can do this work.
    pub fn peers(&self) -> Vec<Peer> {
        let mut peers = vec![Peer::Msglogd, Peer::Other, Peer::Redis];
        match self.work {
            Work::Post if !self.lazy => peers.extend([Peer::Beanstalkd, Peer::Sqlite]),
            Work::Set | Work::Get if !self.lazy => peers.push(Peer::Sqlite),
            Work::Cycle | Work::Hand if !self.lazy => peers.push(Peer::Beanstalkd),
            _ => {}
        }
        peers
    }
}

/// Keys that are there when keys are read.
pub const KEYS: u64 = 1_000_000;

/// All cells, in the order in which they run.
pub fn all() -> Vec<Cell> {
    use Peer::{Beanstalkd, Redis, Sqlite};
    let cell = |name: &str, work, connections, depth, targets: &[(Peer, f64)]| Cell {
        name: name.to_owned(),
        work,
        connections,
        depth,
        lazy: name.ends_with("lazy"),
        main: !name.ends_with("lazy") && !name.ends_with("1x1"),
        targets: targets.to_vec(),
    };
    vec![
        cell("post.1x1", Work::Post, 1, 1, &[(Redis, 1.1)]),
        cell("post.64x1", Work::Post, 64, 1, &[(Redis, 2.0)]),
        cell("post.1x1000", Work::Post, 1, 1000, &[(Redis, 1.3), (Sqlite, 2.5)]),
        cell("set.1x1", Work::Set, 1, 1, &[(Redis, 1.1)]),
        cell("set.64x1", Work::Set, 64, 1, &[(Redis, 2.0)]),
        cell("set.1x1000", Work::Set, 1, 1000, &[(Redis, 1.5)]),
        cell("get.1x1", Work::Get, 1, 1, &[(Redis, 0.9)]),
        cell("get.64x1", Work::Get, 64, 1, &[(Redis, 0.8)]),
        cell("get.1x1000", Work::Get, 1, 1000, &[(Redis, 0.4)]),
        cell("queue.1x1", Work::Cycle, 1, 1, &[(Redis, 1.1), (Beanstalkd, 1.1)]),
        cell("queue.16+16", Work::Hand, 32, 1, &[(Redis, 2.0)]),
        cell("queue.pipelined", Work::Hand, 2, 1000, &[(Redis, 1.3)]),
        cell("post.64x1.lazy", Work::Post, 64, 1, &[(Redis, 1.0)]),
        cell("post.1x1000.lazy", Work::Post, 1, 1000, &[(Redis, 1.0)]),
        cell("set.64x1.lazy", Work::Set, 64, 1, &[(Redis, 1.0)]),
        cell("set.1x1000.lazy", Work::Set, 1, 1000, &[(Redis, 1.0)]),
    ]
}
