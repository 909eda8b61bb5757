//! `msglog queue work`: one run of a command for each job of a queue.
//!
//! Every worker is a thread with a connection of its own, which waits for a job, runs the command,
//! and settles the job with the daemon. The others begin when the first has started a command. The
//! first signal opens one gate (no new jobs), the second another (kill what runs); whatever a worker
//! waits for, it watches the gates too.

mod gate;
mod options;
mod run;
mod session;
mod settings;
mod worker;

use std::sync::Arc;
use std::thread::{self, Scope, ScopedJoinHandle};

use crossbeam_channel::bounded;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::SIGHUP;
use signal_hook::iterator::Signals;

pub use options::{OWN, Options};

use super::address::Address;
use super::failure::{DONE, Failure, NOTHING_FOUND, Result, say};
use super::signals;
use gate::Stop;
use session::Session;
use worker::Worker;

/// Files that a worker has open at most: its connection, a job's body and the command's copy of it, what tells
/// of the command's end, and the pipe that tells of its start.
const FILES_OF_EACH: u64 = 8;

/// Files that the process has open besides: its own, and those that it was started with.
const FILES_BESIDE: u64 = 32;

/// What is said where the system gives no thread.
const NO_THREAD: &str = "cannot start a thread";

/// Works until it is stopped. The exit status.
///
/// # Errors
/// No daemon answers at the start, or it refuses what is asked of it.
pub fn work(address: &Address, options: Options) -> Result<u8> {
    options.find_program()?;
    let parallel = as_files_allow(options.parallel);
    let mut connection = address.connect()?;
    if address.timeout().is_some() {
        let reply = connection.ask("{\"cmd\":\"ping\"}").map_err(|error| Failure::lost(&error))?;
        if let Some(refusal) = reply.refusal().filter(|refusal| !refusal.is_passing()) {
            return Err(refusal.into());
        }
    }
    // Until here a signal just ends it: it holds nothing yet.
    let stop = Arc::new(Stop::new().map_err(|error| Failure::file("cannot wait for signals", &error))?);
    on_signals(Arc::clone(&stop))?;
    let (options, stop) = (&options, &*stop);
    let mut session = Session::new(address, Some(connection), stop);
    let Some(lease) = settings::lease(options, &mut session)? else { return Ok(DONE) };
    let ends: Vec<Result<u64>> = thread::scope(|scope| {
        let (trying, tried) = bounded(0);
        let first = Worker::new(options, session, lease, stop, Some(trying));
        let first = match thread::Builder::new().spawn_scoped(scope, move || first.work()) {
            Ok(thread) => thread,
            Err(error) => return vec![Err(Failure::file(NO_THREAD, &error))],
        };
        // A command that cannot be started costs one job an attempt, and not one of each worker.
        let _ = tried.recv();
        let new = || Worker::new(options, Session::new(address, None, stop), lease, stop, None);
        let others = begin(scope, parallel - 1, new);
        let broken = || Err(Failure::File("a worker ended in a way that it should not".into()));
        let threads = [first].into_iter().chain(others);
        threads.map(|thread| thread.join().unwrap_or_else(|_| broken())).collect()
    });
    let mut jobs = 0;
    for end in ends {
        jobs += end?;
    }
    let in_vain = options.once && jobs == 0 && !stop.no_more.is_open();
    Ok(if in_vain { NOTHING_FOUND } else { DONE })
}

/// Begins so many workers more, or fewer where the system gives no more threads. Then only a quarter of those
/// that there could be works: each command needs room too, and so do the children that the command starts.
fn begin<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    wanted: u64,
    new: impl Fn() -> Worker<'scope>,
) -> Vec<ScopedJoinHandle<'scope, Result<u64>>> {
    let mut begun = Vec::new();
    for _ in 0..wanted {
        let (go, may_go) = bounded(1);
        let worker = new();
        let work = move || may_go.recv().map_or(Ok(0), |()| worker.work());
        match thread::Builder::new().spawn_scoped(scope, work) {
            Ok(thread) => begun.push((thread, go)),
            Err(error) => {
                // The first one, which works already, is one of them.
                let working = ((begun.len() + 1) / 4).saturating_sub(1);
                for (thread, go) in begun.split_off(working) {
                    drop(go);
                    let _ = thread.join();
                }
                let (working, wanted) = (working + 1, wanted + 1);
                say(&format!("{NO_THREAD}: {error}; going on with {working} workers of {wanted}"));
                break;
            }
        }
    }
    begun
        .into_iter()
        .map(|(thread, go)| {
            // A worker that waits for this is there.
            let _ = go.send(());
            thread
        })
        .collect()
}

/// Opens the gates when signals come.
fn on_signals(stop: Arc<Stop>) -> Result<()> {
    let trouble = |error: std::io::Error| Failure::file("cannot wait for signals", &error);
    let mut signals = Signals::new(signals::ending()).map_err(trouble)?;
    let heed = move || {
        for signal in signals.forever() {
            if !stop.no_more.is_open() {
                stop.no_more.open();
                say("stopping: no new jobs; running commands may finish (a second signal kills them)");
            } else if signal != SIGHUP {
                // A terminal that closes may tell of it more than once.
                stop.kill.open();
            }
        }
    };
    thread::Builder::new().spawn(heed).map_err(|error| Failure::file(NO_THREAD, &error))?;
    Ok(())
}

/// Lets this process have as many files open as so many workers take, and finds how many workers that does for
/// where it may not. The commands inherit the limit, and some of them go through all numbers below it, so it
/// grows no further.
fn as_files_allow(parallel: u64) -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = (FILES_BESIDE + parallel * FILES_OF_EACH).min(maximum.unwrap_or(u64::MAX));
    if current.is_some_and(|current| current < wanted) {
        // Where that is refused, there are fewer workers.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
    }
    let Some(files) = getrlimit(Resource::Nofile).current else { return parallel };
    let working = workers_with(files).min(parallel);
    if working < parallel {
        say(&format!("only {files} files may be open: going on with {working} workers of {parallel}"));
    }
    working
}

/// How many workers so many files do for.
fn workers_with(files: u64) -> u64 {
    (files.saturating_sub(FILES_BESIDE) / FILES_OF_EACH).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_files_are_for_few_workers_and_for_one_at_least() {
        assert_eq!([0, 24, 47, 48, 1024].map(workers_with), [1, 1, 1, 2, 124]);
    }
}
