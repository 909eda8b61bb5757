//! One worker: waits for a job, has the command run, settles the job.

use std::io::IsTerminal;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::gate::Stop;
use super::run::{Running, Woken};
use super::session::{Answer, ON_ITS_WAY, Session};
use super::{Options, settings};
use crate::client::connection::Pauses;
use crate::client::failure::{Failure, say};
use crate::client::reply::{Refusal, Reply};
use crate::client::request::RequestLine;
use crate::client::show::shell_literal;
use crate::client::style::visible;
use crate::json;
use crate::time::Timestamp;

/// How long one request waits for a job. Then the next one does.
const LONG_POLL: Duration = Duration::from_secs(30);

/// How often a command is tried again that there is no room for.
const TRIES_FOR_ROOM: usize = 4;

/// A job that is held.
pub struct Job {
    /// Its number.
    pub number: u64,
    /// The token of its lease.
    pub lease: String,
    /// How often it was delivered, this time too.
    pub attempt: u64,
    /// When its lease ends, unless it is extended, by the daemon's time.
    expires_at: Option<Timestamp>,
    /// Its body for the command's standard input.
    pub body: String,
}

impl Job {
    /// How much is left of its lease. A reply that comes late leaves less than the whole; but the times of the
    /// log may be ahead of the clock, after that was set back, and never mean more.
    fn left_of(&self, lease: Duration) -> Duration {
        let left = |at: Timestamp| Duration::from_micros(at.0.saturating_sub(Timestamp::now().0));
        self.expires_at.map_or(lease, |at| left(at).min(lease))
    }
}

/// One worker.
pub struct Worker<'a> {
    options: &'a Options,
    session: Session<'a>,
    /// How long a job is held, and again after each extension.
    lease: Duration,
    stop: &'a Stop,
    /// Dropped when the command was started, or never will be: the other workers wait for that.
    trying: Option<Sender<()>>,
}

/// How a command's run ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ran {
    Well,
    Badly,
    /// It was killed because the worker is to stop at once.
    Killed,
    /// The job is no longer held.
    Lost,
}

impl<'a> Worker<'a> {
    /// A worker with this session, which holds jobs for so long.
    pub fn new(
        options: &'a Options,
        session: Session<'a>,
        lease: Duration,
        stop: &'a Stop,
        trying: Option<Sender<()>>,
    ) -> Self {
        Worker { options, session, lease, stop, trying }
    }

    /// Works until there is nothing more to do. The number of jobs that were run.
    ///
    /// # Errors
    /// The daemon refuses to give jobs at all, or the command cannot be started; the other workers are
    /// stopped then.
    pub fn work(mut self) -> Result<u64, Failure> {
        let mut jobs = 0;
        while !self.stop.no_more.is_open() {
            let Some(reply) = self.reserve() else { break };
            let reply = reply.inspect_err(|_| self.stop.no_more.open())?;
            let Some(job) = job_in(&reply) else {
                if self.options.exit_when_empty {
                    break;
                }
                continue;
            };
            jobs += 1;
            self.run(&job)?;
            if self.options.once {
                break;
            }
        }
        Ok(jobs)
    }

    fn reserve(&mut self) -> Option<Result<Reply, Refusal>> {
        let options = self.options;
        let wait = if options.exit_when_empty { Duration::ZERO } else { LONG_POLL };
        let mut request = RequestLine::new("queue.reserve");
        request.text("queue", &options.queue).number("wait_ms", milliseconds(wait));
        request.number("lease_ms", milliseconds(self.lease));
        self.session.wait(&request.finish(), wait)
    }

    /// Runs the command for a job and settles it.
    ///
    /// # Errors
    /// The command cannot be started, which is no fault of the job: no worker takes another one then.
    fn run(&mut self, job: &Job) -> Result<(), Failure> {
        let begun = Instant::now();
        let (ran, how) = match self.start(job) {
            Ok(Some(mut running)) => {
                self.trying = None;
                self.attend(&mut running, job)
            }
            Ok(None) => {
                self.give_back(job, "was not started", Duration::ZERO);
                return Ok(());
            }
            Err(error) => {
                self.stop.no_more.open();
                // There is no giving back that does not count as an attempt. The other workers must not have the job
                // before they have stopped.
                let delay = self.options.delay_after(job.attempt).max(2 * ON_ITS_WAY);
                self.give_back(job, &format!("cannot be started ({error})"), delay);
                let text = format!("the command cannot be started ({error}): no more jobs are taken");
                return Err(Failure::File(text));
            }
        };
        let number = job.number;
        match ran {
            Ran::Well => match self.settle(job, "queue.ack", None) {
                Ok(()) if std::io::stderr().is_terminal() => {
                    say(&format!("job {number} done in {:.1} s", begun.elapsed().as_secs_f64()));
                }
                Ok(()) => {}
                Err(problem) => say(&format!("job {number}: {problem}")),
            },
            Ran::Badly => self.give_back(job, &how, self.options.delay_after(job.attempt)),
            Ran::Killed => self.give_back(job, "was killed", Duration::ZERO),
            Ran::Lost => say(&format!("job {number}: the command {how}, after its lease was lost")),
        }
        Ok(())
    }

    /// Starts the command. The system may have no room for a process just for the moment in which other workers
    /// begin, so that is tried again. `None` where the worker is to stop at once before there is room.
    fn start(&self, job: &Job) -> std::io::Result<Option<Running>> {
        let mut pauses = Pauses::new();
        for _ in 0..TRIES_FOR_ROOM {
            match Running::start(self.options, job) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    if self.stop.kill.wait(pauses.take()) {
                        return Ok(None);
                    }
                }
                started => return started.map(Some),
            }
        }
        Running::start(self.options, job).map(Some)
    }

    /// Gives a job back, and says why and what became of it.
    fn give_back(&mut self, job: &Job, how: &str, delay: Duration) {
        let next = match self.settle(job, "queue.nack", Some(delay)) {
            Ok(()) => self.fate(job, delay),
            Err(problem) => problem,
        };
        say(&format!("job {}, attempt {}: the command {how}; {next}", job.number, job.attempt));
    }

    /// What becomes of a job that was given back.
    fn fate(&mut self, job: &Job, delay: Duration) -> String {
        if self.max_attempts().is_some_and(|most| job.attempt >= most) {
            let queue = shell_literal(&self.options.queue);
            return format!(
                "that was the last, the job is dead (msglog queue revive {queue} --job {} makes it ready again)",
                job.number
            );
        }
        if delay.is_zero() { "again at once".into() } else { format!("not again for {delay:?}") }
    }

    /// How often a job is delivered at most. `None` also when there is no daemon to ask.
    fn max_attempts(&mut self) -> Option<u64> {
        match self.session.ask(&settings::request(&self.options.queue)) {
            Answer::Reply(reply) => settings::number(&reply, "max_attempts"),
            _ => None,
        }
    }

    /// Waits for the command's end, and keeps the job until then.
    fn attend(&mut self, running: &mut Running, job: &Job) -> (Ran, String) {
        let (mut killed, mut lost) = (false, false);
        let lease = self.lease;
        let mut extend_at = Instant::now() + job.left_of(lease) / 3;
        let mut pauses = Pauses::new();
        loop {
            let watched = (!killed).then_some(&self.stop.kill);
            match running.wait(watched, extend_at) {
                Ok(Woken::Ended(status)) => {
                    let ran = match (lost, killed) {
                        (true, _) => Ran::Lost,
                        _ if status.success() => Ran::Well,
                        (_, true) => Ran::Killed,
                        _ => Ran::Badly,
                    };
                    return (ran, format!("ended with {status}"));
                }
                Ok(Woken::ToKill) => {
                    running.kill();
                    killed = true;
                }
                Ok(Woken::Deadline) if lost => extend_at = Instant::now() + lease,
                Ok(Woken::Deadline) => match self.extend(job, running.ended()) {
                    Answer::Reply(_) => {
                        pauses = Pauses::new();
                        extend_at = Instant::now() + lease / 3;
                    }
                    Answer::Away { .. } => {
                        extend_at = Instant::now() + pauses.take().min(lease / 3);
                    }
                    Answer::Refused(refusal) => {
                        let refusal = visible(&refusal.to_string());
                        say(&format!(
                            "job {}: its lease is lost ({refusal}); ending the command",
                            job.number
                        ));
                        running.terminate();
                        lost = true;
                    }
                },
                Err(error) => return (Ran::Badly, format!("cannot be waited for: {error}")),
            }
        }
    }

    /// Asks for the lease again. A command that ends meanwhile needs it no more.
    fn extend(&mut self, job: &Job, ended: BorrowedFd<'_>) -> Answer {
        let mut request = request("queue.extend", job);
        let request = request.number("lease_ms", milliseconds(self.lease)).finish();
        self.session.ask_until(&request, Some(ended))
    }

    /// Tells the daemon how it went, over its restarts too. Or why that was in vain.
    fn settle(&mut self, job: &Job, command: &str, delay: Option<Duration>) -> Result<(), String> {
        let mut request = request(command, job);
        if let Some(delay) = delay {
            request.number("delay_ms", milliseconds(delay));
        }
        match self.session.insist(&request.finish()) {
            Some((Ok(_), _)) => Ok(()),
            // The job is gone because an earlier try was received, and only its reply was lost. The daemon is the
            // same one: the address goes to no other socket.
            Some((Err(Refusal { code, .. }), true)) if code == "not_found" => Ok(()),
            // A nack takes the lease away, too.
            Some((Err(Refusal { code, .. }), true)) if code == "lease_lost" && command == "queue.nack" => {
                Err("its reply was lost: the job was given back, or its lease ran out".into())
            }
            Some((Err(refusal), _)) => {
                Err(format!("{command} was refused: {}", visible(&refusal.to_string())))
            }
            None => Err(format!("no daemon to send {command} to; the job comes back when its lease ends")),
        }
    }
}

/// A request about a job that is held.
fn request(command: &str, job: &Job) -> RequestLine {
    let mut request = RequestLine::new(command);
    request.number("job", job.number).text("lease", &job.lease);
    request
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The job in the reply to a reserve, if there is one.
fn job_in(reply: &Reply) -> Option<Job> {
    let jobs = json::array(reply.field("jobs")?)?;
    let job = json::object(jobs.first()?)?;
    let number = |key| job.get(key).and_then(json::as_u64);
    let body = job.get("body")?;
    Some(Job {
        number: number("job")?,
        lease: json::as_string(job.get("lease")?)?.into_owned(),
        attempt: number("attempt").unwrap_or(1),
        expires_at: job.get("expires_at").and_then(json::as_string).and_then(|at| Timestamp::parse(&at)),
        body: json::as_string(body).map_or_else(|| body.to_owned(), Into::into),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body_of(raw: &str) -> Option<String> {
        let line = format!(r#"{{"ok":true,"jobs":[{{"job":7,"lease":"L","attempt":2,"body":{raw}}}]}}"#);
        job_in(&Reply::new(line).unwrap()).map(|job| job.body)
    }

    #[test]
    fn strings_are_plain_text_for_the_command_and_all_else_is_json() {
        assert_eq!(body_of(r#""two\nlines""#).unwrap(), "two\nlines");
        assert_eq!(body_of(r#"{"a":1.50}"#).unwrap(), r#"{"a":1.50}"#);
        assert_eq!(body_of("null").unwrap(), "null");
        assert!(job_in(&Reply::new(r#"{"ok":true,"jobs":[]}"#.into()).unwrap()).is_none());
    }
}
