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
use std::thread;

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
        let mut threads = vec![scope.spawn(move || first.work())];
        // A command that cannot be started costs one job an attempt, and not one of each worker.
        let _ = tried.recv();
        for _ in 1..options.parallel {
            let worker = Worker::new(options, Session::new(address, None, stop), lease, stop, None);
            threads.push(scope.spawn(move || worker.work()));
        }
        let broken = || Err(Failure::File("a worker ended in a way that it should not".into()));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| broken())).collect()
    });
    let mut jobs = 0;
    for end in ends {
        jobs += end?;
    }
    let in_vain = options.once && jobs == 0 && !stop.no_more.is_open();
    Ok(if in_vain { NOTHING_FOUND } else { DONE })
}

/// Opens the gates when signals come.
fn on_signals(stop: Arc<Stop>) -> Result<()> {
    let trouble = |error: std::io::Error| Failure::file("cannot wait for signals", &error);
    let mut signals = Signals::new(signals::ending()).map_err(trouble)?;
    thread::spawn(move || {
        for signal in signals.forever() {
            if !stop.no_more.is_open() {
                stop.no_more.open();
                say("stopping: no new jobs; running commands may finish (a second signal kills them)");
            } else if signal != SIGHUP {
                // A terminal that closes may tell of it more than once.
                stop.kill.open();
            }
        }
    });
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
