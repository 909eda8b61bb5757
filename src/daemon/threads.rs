//! The threads of the daemon, none of which it can do without.

use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::Exit;
use crate::report;
use crate::server::mailbox::Mailbox;
use crate::server::workers::{self, Again, ToReader};
use crate::stats::Stats;
use crate::store::Store;
use crate::writer::syncer::{self, Syncer};
use crate::writer::{Surroundings, ToWriter, Writer};

/// Threads that answer reads. More than cores, so that one long search does not hold up the others.
const READERS: usize = 4;

/// Starts the thread that writes.
pub(super) fn start_writer(
    store: Store,
    surroundings: Surroundings,
    inbox: Receiver<ToWriter>,
) -> Result<thread::JoinHandle<Result<(), String>>, Exit> {
    let surroundings = Surroundings { syncer: Some(start_syncer()?), ..surroundings };
    let writer = Writer::new(store, surroundings).map_err(|error| Exit::Io(error.to_string()))?;
    spawn("writer", move || writer.run(&inbox))
}

/// Waits until what ran out while no daemon was there is over: the first who asks must not see it as running.
pub(super) fn wait_for_writer(writer: &Sender<ToWriter>) {
    let (moves, moved) = bounded(1);
    let pulse = ToWriter::Pulse(Box::new(move || moves.send(()).unwrap_or_default()));
    // A writer that is gone ends the process.
    let _ = writer.send(pulse).is_ok().then(|| moved.recv());
}

/// Waits until the writer has synced everything.
pub(super) fn end_of(writer: thread::JoinHandle<Result<(), String>>) -> Result<(), Exit> {
    let defect = "the writer ended by a defect: please report this";
    writer.join().unwrap_or_else(|_| Err(defect.to_owned())).map_err(Exit::Io)
}

/// Starts the threads that answer reads.
pub(super) fn start_readers(
    inbox: &Receiver<ToReader>,
    again: &Again,
    mailbox: &Mailbox,
    stats: &Arc<Stats>,
) -> Result<(), Exit> {
    for _ in 0..READERS {
        let (inbox, again) = (inbox.clone(), again.clone());
        let (mailbox, stats) = (mailbox.clone(), Arc::clone(stats));
        spawn("reader", move || workers::read(&inbox, &again, &mailbox, &stats))?;
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
