//! The threads of the daemon, none of which it can do without.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::Exit;
use crate::report;
use crate::server::mailbox::Mailbox;
use crate::server::readers::{self, Requeue, ToReader};
use crate::snapshot::Published;
use crate::stats::Stats;
use crate::store::{Progress, Store};
use crate::writer::syncer::{self, Syncer};
use crate::writer::{Surroundings, ToWriter, Writer};

/// Threads that answer reads. More than cores, so that one long search does not hold up the others.
const READERS: usize = 4;
/// How often a start that waits for the writer looks whether that gets on.
const LOOKS_EVERY: Duration = Duration::from_secs(1);
/// What the writer gets on with then.
const CATCHING_UP: &str = "ending leases and delays that ran out";

/// Starts the thread that writes.
pub(super) fn start_writer(
    store: Store,
    surroundings: Surroundings,
    inbox: Receiver<ToWriter>,
) -> Result<thread::JoinHandle<Result<(), String>>, Exit> {
    let writer = Writer::new(store, surroundings).map_err(|error| Exit::Io(error.to_string()))?;
    spawn("writer", move || writer.run(&inbox))
}

/// Waits until what ran out while no daemon was there is over: the first who asks must not see it as running.
pub(super) fn wait_for_writer(
    writer: &Sender<ToWriter>,
    published: &Published,
    progress: &mut impl Progress,
) {
    let (moves, moved) = bounded(1);
    let pulse = ToWriter::Pulse(Box::new(move || moves.send(()).unwrap_or_default()));
    let mut last = published.load().last;
    // A writer that is gone ends the process.
    if writer.send(pulse).is_ok() {
        while moved.recv_timeout(LOOKS_EVERY) == Err(RecvTimeoutError::Timeout) {
            let before = std::mem::replace(&mut last, published.load().last);
            if last > before {
                progress.gets_on(CATCHING_UP);
            }
        }
    }
}

/// Waits until the writer has synced everything. One that panics has ended the process.
pub(super) fn end_of(writer: thread::JoinHandle<Result<(), String>>) -> Result<(), Exit> {
    writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map_err(Exit::Io)
}

/// Starts the threads that answer reads.
pub(super) fn start_readers(
    inbox: &Receiver<ToReader>,
    requeue: &Requeue,
    mailbox: &Mailbox,
    stats: &Arc<Stats>,
) -> Result<(), Exit> {
    for _ in 0..READERS {
        let (inbox, requeue) = (inbox.clone(), requeue.clone());
        let (mailbox, stats) = (mailbox.clone(), Arc::clone(stats));
        spawn("reader", move || readers::read(&inbox, &requeue, &mailbox, &stats))?;
    }
    Ok(())
}

/// How many threads may answer short reads at once: the loop and the readers, as far as there are cores.
pub(super) fn answering() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(1 + READERS)
}

/// Starts the thread that syncs the log.
pub(super) fn start_syncer() -> Result<Syncer, Exit> {
    let (syncer, work) = syncer::pair();
    spawn("syncer", move || work.run())?;
    Ok(syncer)
}

/// Ends the process when the thread that holds it panics; whoever runs the daemon starts it again. No thread can be
/// done without: no write would be answered, no tail leave memory, no list come, or no compaction, and nobody would
/// be told.
struct Vital;

impl Drop for Vital {
    fn drop(&mut self) {
        if thread::panicking() {
            let thread = thread::current();
            let name = thread.name().unwrap_or_default();
            report::critical(&format!("the thread {name} ended by a defect: please report this"));
            std::process::abort();
        }
    }
}

/// Starts a thread of the daemon.
pub(super) fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<thread::JoinHandle<T>, Exit> {
    let started = thread::Builder::new().name(name.to_owned()).spawn(|| {
        let _vital = Vital;
        work()
    });
    started.map_err(|error| Exit::Io(format!("the thread {name} cannot be started: {error}")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::*;
    use crate::snapshot::Snapshot;

    /// Hears what a start gets on with, and then lets the writer answer.
    struct Hears(Vec<&'static str>, Sender<()>);

    impl Progress for Hears {
        fn say(&mut self, line: &str) {
            panic!("nothing else is told: {line}");
        }

        fn gets_on(&mut self, with: &'static str) {
            self.0.push(with);
            self.1.send(()).expect("the writer waits for it");
        }
    }

    #[test]
    fn a_start_that_waits_for_the_writer_tells_that_it_gets_on() {
        let ((to_writer, inbox), (hear, heard)) = (bounded(1), bounded(1));
        let published = Arc::new(Published::default());
        let mut hears = Hears(Vec::new(), hear);
        let newest = Arc::clone(&published);
        let writer = thread::spawn(move || {
            let Ok(ToWriter::Pulse(back)) = inbox.recv() else { panic!("nothing else is asked") };
            newest.publish(Arc::new(Snapshot { last: 1, ..Snapshot::default() }));
            heard.recv().expect("it is told");
            back();
        });
        wait_for_writer(&to_writer, &published, &mut hears);
        writer.join().expect("no panic");
        assert_eq!(hears.0, [CATCHING_UP]);
    }

    #[test]
    fn a_thread_that_panics_ends_the_daemon_and_is_named() {
        const CHILD: &str = "MSGLOGD_TEST_PANICS";
        if std::env::var_os(CHILD).is_some() {
            let thread = spawn("background", || panic!("a defect")).expect("it starts");
            let _ = thread.join();
            return;
        }
        let mut child = Command::new(std::env::current_exe().expect("this test"));
        child.args([
            "--exact",
            "--nocapture",
            "daemon::threads::tests::a_thread_that_panics_ends_the_daemon_and_is_named",
        ]);
        let ended = child.env(CHILD, "1").output().expect("it runs");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.signal(), Some(rustix::process::Signal::ABORT.as_raw()), "{said}");
        assert!(said.contains("the thread background ended by a defect"), "{said}");
    }
}
