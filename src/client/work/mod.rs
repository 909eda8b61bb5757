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

use super::connection::Address;
use super::failure::{DONE, Failure, NOTHING_FOUND, Result, say};
use super::signals;
use gate::Stop;
use session::Session;
use worker::Worker;

/// What is said where the system gives no thread.
const NO_THREAD: &str = "cannot start a thread";

/// Works until it is stopped. The exit status.
///
/// # Errors
/// No daemon answers at the start, or it refuses what is asked of it.
pub fn work(address: &Address, options: Options) -> Result<u8> {
    options.find_program()?;
    allow_files(options.parallel);
    let stop = Arc::new(Stop::new().map_err(|error| Failure::file("cannot wait for signals", &error))?);
    on_signals(Arc::clone(&stop))?;
    let (options, stop) = (&options, &*stop);
    let mut session = Session::new(address, Some(address.connect()?), stop);
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
        let others = begin(scope, options.parallel - 1, new);
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

/// Begins so many workers more, or fewer where the system gives no more threads. Then only every other one of
/// those that there could be works: each needs room for its command, too, and so does the first one.
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
                let working = begun.len().saturating_sub(1) / 2;
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

/// Lets this process have as many files open as so many commands take. The commands inherit the limit, and
/// some of them go through all numbers below it, so it grows no further.
fn allow_files(parallel: u64) {
    /// The connection, the body, the command's end, and the pipe by which its start is told.
    const OF_EACH: u64 = 8;
    const OTHERS: u64 = 64;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = (OTHERS + parallel * OF_EACH).min(maximum.unwrap_or(u64::MAX));
    if current.is_some_and(|current| current < wanted) {
        // Where that is refused, a command that cannot be started is told.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
    }
}
