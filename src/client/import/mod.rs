//! `msglog import`: every line of a file, sent ahead, counted, and resumable.
//!
//! One thread reads the file and sends; this one reads the replies, which come in the order of the
//! lines. Between them goes a bounded queue of what is outstanding, so that neither runs away. It
//! is this thread that may end early: the other one can be waiting for input that never comes.

mod left_out;
mod lines;
mod options;
mod replies;
mod resume;
mod sender;

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;

pub use options::{NOT_FOR_ALL, OWN, Options};

use super::address::Address;
use super::failure::{DONE, Failure, REFUSED, Result, say};
use super::output::Output;
use crate::progress::{Progress, per_second};
use left_out::LeftOut;
use lines::Converter;
use replies::{Ended, Replies, Tally};
use resume::{Position, Reached, Target};
use sender::Task;

/// Lines that may be sent and not yet answered.
const OUTSTANDING: usize = 2000;

/// A line that was sent, or the end of the file.
enum Passed {
    /// The line of this number, which ends at this byte of the input, with a line feed or without.
    Line { number: u64, end: u64, ended: bool, what: Sent },
    /// The whole input has been sent; or it could not be read to its end.
    End(io::Result<Whole>),
}

/// An input that was read to its end.
struct Whole {
    /// How many lines it has.
    lines: u64,
    /// The keys that were left out.
    left_out: LeftOut,
}

/// What went out for a line.
enum Sent {
    /// Its request.
    Request,
    /// A request that makes an application: the sender waits to be told its token.
    App,
    /// Nothing, for this reason.
    Nothing(String),
}

/// Imports a file. The exit status.
///
/// # Errors
/// The file cannot be read, no daemon answers, or it goes away in the middle.
pub fn import(address: &Address, output: &mut Output, options: Options) -> Result<u8> {
    let (input, bytes) = open(&options)?;
    let (connection, socket) = address.connect_and_tell()?;
    let target = Target { socket, named: address.is_named() };
    let mut position = options.resume.as_ref().map(|resume| Position::open(resume, target)).transpose()?;
    let reached = position.as_ref().map_or(Reached::default(), Position::kept);
    let lost = |error: io::Error| Failure::lost(&error);
    let stream = connection.sender().map_err(lost)?;
    let closing = connection.sender().map_err(lost)?;
    let converter = Converter::new(&options);
    let (pass, passed) = bounded(OUTSTANDING);
    let (tell_token, tokens) = bounded(1);
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    let send = move || {
        let skipped = reached.line;
        sender::send(Task {
            input,
            stream: &stream,
            converter,
            pass: &pass,
            tokens: &tokens,
            skipped,
            stop: &told,
        });
    };
    thread::Builder::new().spawn(send).map_err(|error| Failure::file("cannot start a thread", &error))?;

    let started = Instant::now();
    let mut replies = Replies {
        connection,
        resumable: position.is_some(),
        position: position.as_mut(),
        progress: Progress::new(bytes),
        tally: Tally::new(reached),
        tell_token,
        stop_on_error: options.stop_on_error,
        stop,
    };
    let ended = replies.read(&passed);
    // The sender may be in the middle of a line, to a daemon whose replies nobody reads any more.
    let _ = closing.shutdown(std::net::Shutdown::Both);
    drop(passed);
    replies.progress.finish();
    let Replies { tally, .. } = replies;
    let saved = position.as_mut().map_or(Ok(()), |position| position.save(tally.kept));
    let told = summary(output, &tally, started.elapsed());
    // How it ended comes before what became of the words about it: nobody may be reading those.
    match end(&options, ended, &tally, target) {
        Ok(DONE) => saved.and(told).map(|()| DONE),
        ended => {
            saved.err().and_then(|failure| failure.message()).iter().for_each(|problem| say(problem));
            ended
        }
    }
}

/// The input, and how many bytes it has where that is known.
fn open(options: &Options) -> Result<(Box<dyn Read + Send>, Option<u64>)> {
    if options.is_standard_input() {
        return Ok((Box::new(io::stdin()), None));
    }
    let trouble =
        |error: io::Error| Failure::file(&format!("cannot read {}", options.file.display()), &error);
    let file = File::open(&options.file).map_err(trouble)?;
    let about = file.metadata().map_err(trouble)?;
    if about.is_dir() {
        return Err(Failure::File(format!("{} is a folder", options.file.display())));
    }
    let is_input = |other: fs::Metadata| (other.dev(), other.ino()) == (about.dev(), about.ino());
    if options.resume.as_ref().is_some_and(|resume| fs::metadata(&resume.path).is_ok_and(is_input)) {
        return Err(Failure::Usage("the position cannot be kept in the input itself".into()));
    }
    Ok((Box::new(file), about.is_file().then_some(about.len())))
}

/// Says what came of it: a line for people, or one of JSON.
fn summary(output: &mut Output, tally: &Tally, time: Duration) -> Result<()> {
    let (seconds, rate) = (time.as_secs_f64(), per_second(tally.imported, time));
    if output.is_for_people() {
        let besides = [(tally.replayed, "there before"), (tally.skipped, "skipped")].into_iter();
        let besides = besides.filter(|(count, _)| *count > 0);
        let besides: Vec<String> = besides.map(|(count, what)| format!(" ({count} {what})")).collect();
        let (imported, besides, refused) = (tally.imported, besides.concat(), tally.refused);
        let text =
            format!("imported {imported}{besides}, refused {refused} in {seconds:.1} s, {rate} per second\n");
        output.write(&text)?;
    } else {
        output.json_line(&format!(
            "{{\"imported\":{},\"replayed\":{},\"skipped\":{},\"refused\":{},\"last_line\":{},\
             \"seconds\":{seconds:.3},\"per_second\":{rate}}}",
            tally.imported, tally.replayed, tally.skipped, tally.refused, tally.last
        ))?;
    }
    output.flush()
}

/// Says what is left to say, and finds the exit status.
fn end(options: &Options, ended: Ended, tally: &Tally, target: Target<'_>) -> Result<u8> {
    if tally.unreported() > 0 {
        say(&format!("{} more lines were refused", tally.unreported()));
    }
    let again = || options.how_to_go_on(tally, target);
    match ended {
        Ended::Complete(Whole { lines, .. }) if lines < tally.skipped => Err(Failure::Usage(format!(
            "the input ends with line {lines}, and the resume file says that the first {} are imported: it is \
             another input, or one that lines were taken out of. For another one give another --resume-file \
             and --resume-name",
            tally.skipped
        ))),
        Ended::Complete(Whole { left_out, .. }) => {
            if !left_out.is_empty() {
                let command = options.command.name;
                say(&super::style::visible(&format!(
                    "left out, as {command} does not take them: {left_out}"
                )));
            }
            let before = tally.refused_before;
            if let Some(resume) = options.resume.as_ref().filter(|_| before > 0) {
                say(&format!(
                    "{before} of the first {} lines were refused in an earlier run, and are not sent again: mend \
                     them where they are, remove {} and run the same again: what is stored is known by its key",
                    tally.skipped,
                    resume.path.display()
                ));
            }
            Ok(if tally.refused > 0 || before > 0 { REFUSED } else { DONE })
        }
        Ended::StoppedAt(line) => {
            say(&format!(
                "stopped at line {line}: correct it, or leave an empty line in its place (the lines behind it keep \
                 their numbers then); those that were sent ahead are counted too\n{}",
                again()
            ));
            Ok(REFUSED)
        }
        Ended::Unreadable(error) => Err(Failure::file("cannot read the input to its end", &error)),
        Ended::Lost(reason) => Err(Failure::NoDaemon(format!(
            "the daemon went away ({reason}): the first {} lines are acknowledged\n{}",
            tally.last,
            again()
        ))),
        Ended::Unable(line, refusal) => {
            let advice = match refusal.code.as_str() {
                "too_large" => {
                    ": let the daemon take longer lines (--max-line), or leave an empty one in its place"
                }
                "corrupt" | "internal" => ": if it is refused again, leave an empty one in its place",
                _ => "",
            };
            say(&format!("stopped at line {line}{advice}\n{}", again()));
            Err(refusal.into())
        }
    }
}
