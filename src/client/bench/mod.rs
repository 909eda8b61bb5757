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
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};

pub use options::{OWN, Options};

use super::connection::Address;
use super::failure::{DONE, Failure, Result, say};
use super::output::Output;
use cases::CASES;
use options::Shape;
use report::Report;
use scratch::Scratch;
use throwaway::Throwaway;

/// The exit status after SIGINT, as shells know it.
const INTERRUPTED: u8 = 130;

/// Measures every case in every shape.
///
/// # Errors
/// The daemon cannot be started or reached, or it refuses.
pub fn bench(address: &Address, output: &mut Output, options: &Options) -> Result<u8> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        let caught = signal_hook::flag::register(signal, Arc::clone(&stop));
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
    Ok(if stop.load(Ordering::Relaxed) { INTERRUPTED } else { DONE })
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
