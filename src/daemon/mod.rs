//! The program `msglogd`: starts everything in the right order, and ends it.

pub mod allocator;
pub mod check;
mod data_folder;
mod descriptors;
pub mod options;
pub mod progress;
pub mod repair;
pub mod signals;
pub mod socket;
pub mod systemd;
mod threads;

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Sender, bounded, unbounded};

use crate::background::Background;
use crate::limits::{FLUSH_BYTES, Limits, MAINTENANCE_WAITING};
use crate::log::recovery::Failure;
use crate::maintenance::Maintainer;
use crate::maintenance::compact::Compactor;
use crate::paths::{for_shell, own_uid};
use crate::report;
use crate::server::event_loop::EventLoop;
use crate::server::local::Identity;
use crate::server::mailbox::{Mailbox, ToEventLoop};
use crate::server::outbox::Outbox;
use crate::server::readers::Requeue;
use crate::server::router::{Own, Router};
use crate::server::supervision::Supervision;
use crate::snapshot::{Published, ReplyBytes};
use crate::stats::Stats;
use crate::store::{self, Folders};
use crate::writer::syncer::Syncer;
use crate::writer::unread::Unread;
use crate::writer::{Surroundings, Ticket, ToBackground, ToWriter};
use descriptors::{raise_descriptors, with_descriptors};
use options::{Action, Options};
use progress::Starting;
use signals::Signals;
use socket::Listening;
use threads::{answering, end_of, spawn, start_readers, start_syncer, start_writer, wait_for_writer};

/// Why the program ends, other than by a clean stop.
#[derive(Debug)]
pub enum Exit {
    /// Wrong usage.
    Usage(String),
    /// Stored data is damaged.
    Damage(String),
    /// Something cannot be read or written.
    Io(String),
    /// Another daemon has the data or the socket.
    Busy(String),
}

impl Exit {
    /// The exit status, as sysexits.h has it.
    #[must_use]
    pub fn status(&self) -> u8 {
        match self {
            Exit::Usage(_) => 64,
            Exit::Damage(_) => 65,
            Exit::Io(_) => 74,
            Exit::Busy(_) => 75,
        }
    }

    /// What to tell the operator.
    #[must_use]
    pub fn message(&self) -> &str {
        match self {
            Exit::Usage(message) | Exit::Damage(message) | Exit::Io(message) | Exit::Busy(message) => message,
        }
    }
}

/// Runs the program.
///
/// # Errors
/// Why it ends.
pub fn main(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Result<(), Exit> {
    // Nothing this process makes is for others: data 0700 and 0600, the socket until its mode is set.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    raise_descriptors();
    match options::parse(arguments, &crate::paths::process_environment) {
        Ok(Action::Print(text)) => print(&text),
        Ok(Action::Serve(options)) => {
            allocator::give_back();
            serve(options)
        }
        Ok(Action::Check(options)) => check::run(&place_of_data(&options)?),
        Ok(Action::Repair(options, carry_out)) => repair::run(&place_of_data(&options)?, carry_out),
        Err(message) => Err(Exit::Usage(format!("{message}; try msglogd --help"))),
    }
}

/// Prints to standard output; a reader that went away is no failure.
fn print(text: &str) -> Result<(), Exit> {
    let mut out = io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Exit::Io(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

fn place_of_data(options: &Options) -> Result<PathBuf, Exit> {
    let missing = "there is no place for the data: set HOME, or name a folder with --data DIR";
    options.data.clone().ok_or_else(|| Exit::Usage(missing.to_owned()))
}

fn serve(options: Options) -> Result<(), Exit> {
    let Signals { stop, reload, starting } = Signals::watch()?;
    let _told_before_the_end = begin_telling()?;
    let data = place_of_data(&options)?;
    let passed = socket::passed(&options)?;
    let storage = data_folder::take(&data)?;
    let folders = Folders::new(&data);
    let limits = with_descriptors(&options, &folders);
    let mut progress = Starting::on(&data);
    let opened = store::open(&storage, &folders, limits.segment_bytes, &mut progress);
    let mut store = opened.map_err(|failure| refusal(&failure, &data))?;
    // Before the writer changes anything.
    passed.is_none().then(|| socket::look(&options)).transpose()?;
    store.snapshot.reply_bytes = ReplyBytes(limits.reply_bytes());
    let files = store.files.clone();
    let on_disk = store.snapshot.runs.as_ref().clone();

    let internal = |error: io::Error| Exit::Io(error.to_string());
    let (published, stats) = (Arc::new(Published::default()), Arc::new(Stats::default()));
    let supervision = supervision(stop, reload, &published, &stats);
    let mut event_loop = EventLoop::new(supervision).map_err(internal)?;
    let mailbox = event_loop.mailbox();
    let (to_writer, writer_inbox) = unbounded();
    let (to_readers, readers_inbox) = unbounded();
    let (to_background, background_inbox) = unbounded();
    let (sealed, was_sealed) = bounded(1);

    let around =
        surroundings(&mailbox, &published, &stats, to_background.clone(), sealed, start_syncer()?, &limits);
    let (held_up, unread) = (Arc::clone(&around.held_up), Arc::clone(&around.unread));
    let writer = start_writer(store, around, writer_inbox)?;
    start_readers(&readers_inbox, &Requeue::new(to_readers.clone()), &mailbox, &stats)?;
    let background = Background { files: files.clone(), writer: to_writer.clone(), stats: stats.clone() };
    spawn("background", move || background.run(on_disk, &background_inbox))?;

    wait_for_writer(&to_writer, &published, &mut progress);
    let (path, ours) = let_in(&mut event_loop, &starting, passed, &options)?;

    let stopping = Arc::new(AtomicBool::new(false));
    let maintainer = Maintainer {
        published: Arc::clone(&published),
        stopping: Arc::clone(&stopping),
        backup_dir: options.backup_dir,
        stats: Arc::clone(&stats),
        deliver: maintained(&mailbox),
        sealed: was_sealed,
        compactor: Compactor::new(storage, folders, files, &limits, to_writer.clone(), to_background, &stats),
        compaction: limits.compaction,
    };
    let (to_maintenance, maintenance_inbox) = bounded(MAINTENANCE_WAITING);
    let maintainer = spawn("maintenance", move || maintainer.run(&maintenance_inbox))?;

    let mut router = Router {
        published,
        writer: Outbox::new(to_writer, held_up, unread),
        readers: to_readers,
        maintenance: to_maintenance,
        stats,
        identity: Identity::new(limits, options.access, &data),
        stopping,
        answering: answering(),
        own: Own::default(),
    };
    tell_ready(&path, &data, router.published.load().last);
    let served = event_loop.run(&mut router);
    socket::remove(&path, ours);
    // The background keeps a sender, so the writer is told that this was all.
    router.writer.tell(ToWriter::Finish);
    drop(router);
    // It tidies up after what it gave up.
    let _ = maintainer.join();
    end_of(writer).and(served.map_err(internal))
}

/// Lets clients in. From here on one may wait for an answer, so that a stop gives it.
fn let_in(
    event_loop: &mut EventLoop,
    starting: &AtomicBool,
    passed: Option<Listening>,
    options: &Options,
) -> Result<(PathBuf, Option<(u64, u64)>), Exit> {
    starting.store(false, Ordering::SeqCst);
    let listening = passed.map_or_else(|| socket::listen(options), Ok)?;
    let (path, ours) = (listening.path.clone(), listening.ours());
    event_loop.listen(listening.listener).map_err(|error| Exit::Io(error.to_string()))?;
    Ok((path, ours))
}

/// From now on whoever hears what the daemon says holds it up no more.
fn begin_telling() -> Result<systemd::Telling, Exit> {
    report::wait_for_nobody();
    for name in options::unknown_variables(std::env::vars_os().map(|(name, _)| name)) {
        report::warning(&format!("there is no option {name}: ignored"));
    }
    systemd::tell_aside()
}

/// Delivers replies of maintenance.
fn maintained(mailbox: &Mailbox) -> Box<dyn FnMut(Ticket, crate::error::Result<Vec<u8>>) + Send> {
    let mailbox = mailbox.clone();
    Box::new(move |ticket, fields| mailbox.deliver(ToEventLoop::Maintained { ticket, fields }))
}

/// Whoever runs the daemon.
fn supervision(
    stop: UnixStream,
    reload: UnixStream,
    published: &Arc<Published>,
    stats: &Arc<Stats>,
) -> Supervision {
    let tell = systemd::teller(Arc::clone(published), Arc::clone(stats));
    Supervision { stop, reload, every: systemd::watchdog_every(), tell }
}

/// What the writer works with.
fn surroundings(
    mailbox: &Mailbox,
    published: &Arc<Published>,
    stats: &Arc<Stats>,
    to_background: Sender<ToBackground>,
    to_maintenance: Sender<()>,
    syncer: Syncer,
    limits: &Limits,
) -> Surroundings {
    let (answers, news) = (mailbox.clone(), mailbox.clone());
    Surroundings {
        published: Arc::clone(published),
        stats: Arc::clone(stats),
        deliver: Box::new(move |each| answers.deliver(ToEventLoop::Answers(each))),
        announce: Box::new(move || news.deliver(ToEventLoop::Published)),
        // When the background is gone the daemon is stopping.
        background: Box::new(move |work| drop(to_background.send(work))),
        // When it is told already it is told of this one, too.
        sealed: Box::new(move || {
            let _ = to_maintenance.try_send(());
        }),
        held_up: Arc::default(),
        unread: Arc::new(Unread::new(limits.buffered_bytes / 2)),
        flush_bytes: FLUSH_BYTES,
        syncer: Some(syncer),
        uid: own_uid(),
    }
}

/// Data that is damaged, and what to do next.
fn damaged(what: &str, data: &Path) -> Exit {
    let repair = format!("msglogd repair --data {}", for_shell(data));
    Exit::Damage(format!("damaged data: {what}; to see what is lost, run: {repair}"))
}

fn refusal(failure: &Failure, data: &Path) -> Exit {
    match failure {
        Failure::Damage { .. } => damaged(&format!("{failure}; nothing was changed"), data),
        Failure::Io { .. } => Exit::Io(failure.to_string()),
    }
}

fn tell_ready(path: &Path, data: &Path, events: u64) {
    let (quoted, socket, data) = (for_shell(path), path.display(), data.display());
    let version = env!("CARGO_PKG_VERSION");
    if report::is_journal() {
        report::notice(&format!("msglogd {version}: {events} events in {data}, listening on {socket}"));
    } else {
        // There is nothing to connect to by a socket's path where it has none.
        let try_it = format!("try: echo '{{\"cmd\":\"ping\"}}' | nc -N -U {quoted}\n");
        let try_it = if path.exists() { try_it.as_str() } else { "" };
        // It serves, whoever reads this.
        let _ =
            print(&format!("msglogd {version}: {events} events in {data}\nlistening on {socket}\n{try_it}"));
    }
    systemd::ready(&format!("{events} events, listening on {socket}"));
}
