//! `msglog bench`: what this machine gives.
//!
//! | module | what is there |
//! | --- | --- |
//! | `options` | what it is told |
//! | `throwaway` | a daemon of its own, gone afterwards |
//! | `scratch` | names of its own in a daemon, gone afterwards |
//! | `cases` | what is measured |
//! | `load` | requests on many connections, and how long each took |
//! | `report` | a line for each case |

mod cases;
mod load;
mod options;
mod report;
mod scratch;
mod throwaway;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

pub use options::{OWN, Options};

use super::address::Address;
use super::failure::{DONE, Failure, Result, say};
use super::output::Output;
use super::signals;
use cases::CASES;
use options::Shape;
use report::Report;
use scratch::Scratch;
use throwaway::Throwaway;

/// What shells add to the number of a signal for the exit status.
const SIGNALLED: usize = 128;

/// Measures every case in every shape.
///
/// # Errors
/// The daemon cannot be started or reached, or it refuses.
pub fn bench(address: &Address, output: &mut Output, options: &Options) -> Result<u8> {
    let (stop, by) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    for signal in signals::ending() {
        let number = usize::try_from(signal).unwrap_or(0);
        let caught = signal_hook::flag::register_usize(signal, Arc::clone(&by), SIGNALLED + number)
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)));
        caught.map_err(|error| Failure::file("cannot wait for signals", &error))?;
    }
    let mut report = Report::new(output);
    if options.live {
        report.about(&format!(
            "The daemon that runs, in scratch names that are deleted afterwards: {}",
            Scratch::NOTE
        ))?;
        measure(address, &mut report, options, &stop)?;
    } else {
        let daemon = Throwaway::start(options.dir.as_deref())?;
        report.about(&daemon.about())?;
        measure(&daemon.address(), &mut report, options, &stop)?;
    }
    Ok(u8::try_from(by.load(Ordering::SeqCst)).unwrap_or(DONE))
}

/// Measures, and leaves nothing behind, whatever happens.
fn measure(address: &Address, report: &mut Report<'_>, options: &Options, stop: &AtomicBool) -> Result<()> {
    let scratch = Scratch::make(address)?;
    let measured = all(address, report, options, stop, &scratch);
    let cleaned = scratch.remove();
    measured.and(cleaned)
}

fn all(
    address: &Address,
    report: &mut Report<'_>,
    options: &Options,
    stop: &AtomicBool,
    scratch: &Scratch,
) -> Result<()> {
    if options.only.as_deref() == Some("search") {
        say(&format!("{} messages are posted first, for the searches to find", scratch.fill()?));
    }
    report.heading()?;
    for case in CASES.iter().filter(|case| options.only.as_ref().is_none_or(|only| only == case.name)) {
        for shape in &options.shapes {
            let Shape { connections, outstanding } = *shape;
            let figures = load::run(address, case, scratch, *shape, options.duration, stop)?;
            if stop.load(Ordering::Relaxed) {
                say("stopped; cleaning up");
                return Ok(());
            }
            report.line(case, connections, outstanding, &figures)?;
        }
    }
    Ok(())
}
