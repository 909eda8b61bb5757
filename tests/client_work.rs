//! `msglog queue work`: jobs to commands and back, whatever stops or breaks meanwhile.

#![allow(clippy::expect_used)]

mod client_support;
mod common;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, mpsc};

use client_support::{Running, msglog, msglog_for, run, scripted};
use common::{Client, Daemon, TempDir, Value, finish, json, until};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, prlimit};

/// A daemon with a queue, and a folder that the commands write into.
struct Shop {
    daemon: Daemon,
    client: Client,
}

impl Shop {
    fn open() -> Shop {
        let daemon = Daemon::start();
        let client = daemon.connect();
        Shop { daemon, client }
    }

    fn put(&mut self, body: impl Into<Value>) -> u64 {
        self.client.ok(json!({"cmd": "queue.put", "queue": "q", "body": body.into()})).number("job")
    }

    /// How many jobs are in this state.
    fn count(&mut self, state: &str) -> u64 {
        let queue = self.client.ok(json!({"cmd": "queue.get", "queue": "q"}));
        queue.json()["queue"][state].as_u64().expect("a number")
    }

    /// Waits until every job is done.
    #[track_caller]
    fn await_empty(&mut self) {
        until("all jobs are done", || {
            ["ready", "delayed", "leased", "dead"].iter().all(|state| self.count(state) == 0).then_some(())
        });
    }

    fn path(&self, name: &str) -> PathBuf {
        self.daemon.folder().join(name)
    }

    #[track_caller]
    fn await_file(&self, name: &str) -> String {
        let read = || fs::read_to_string(self.path(name)).ok().filter(|text| text.ends_with('\n'));
        until(&format!("there is a file {name}"), read)
    }

    /// The arguments for a worker with these options that runs a script in the shop's folder.
    fn arguments(&self, options: &[&str], script: &str) -> Vec<String> {
        let script = format!("cd '{}' && {script}", self.daemon.folder().path().display());
        let words = ["queue", "work", "q"].iter().chain(options).chain(&["--", "sh", "-c"]);
        words.map(ToString::to_string).chain([script]).collect()
    }

    fn start(&self, options: &[&str], script: &str) -> Running {
        let arguments = self.arguments(options, script);
        Running::start(&self.daemon, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The same behind a command of the shell that it is started from.
    fn start_in_shell(&self, before: &str, options: &[&str], script: &str) -> Running {
        let msglog = msglog_for(&self.daemon, &[]);
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{before}; exec \"$@\""), "sh"]).arg(msglog.get_program());
        shell.args(msglog.get_args()).args(self.arguments(options, script));
        Running::spawn(&mut shell)
    }

    /// A file with this text that can be run. Another program writes it: while a copy of its descriptor is on
    /// the way to a child of this one, it could not be run.
    fn script(&self, text: &str) -> String {
        let path = self.path("script").display().to_string();
        let mut shell = Command::new("sh");
        shell.args(["-c", "printf '%s\\n' \"$2\" > \"$1\"; chmod +x \"$1\"", "sh", &path, text]);
        assert_eq!(finish(&mut shell).code, Some(0));
        path
    }

    fn run(&self, options: &[&str], script: &str) -> common::Finished {
        let arguments = self.arguments(options, script);
        run(&self.daemon, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

const RECORD: &str =
    r#"{ printf '%s %s %s ' "$MSGLOG_QUEUE" "$MSGLOG_JOB" "$MSGLOG_ATTEMPT"; cat; echo; } >> out"#;

#[test]
fn a_command_gets_the_body_and_its_success_acks() {
    let mut shop = Shop::open();
    let first = shop.put("plain text");
    let second = shop.put(json!({"file": "a.png"}));
    let finished = shop.run(&["--exit-when-empty"], RECORD);
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""));
    assert_eq!(
        shop.await_file("out"),
        format!("q {first} 1 plain text\nq {second} 1 {{\"file\":\"a.png\"}}\n")
    );
    shop.await_empty();
}

#[test]
fn a_command_need_not_read_a_large_body() {
    let mut shop = Shop::open();
    shop.put("x".repeat(500_000));
    shop.put("y".repeat(500_000));
    assert_eq!(shop.run(&["--exit-when-empty"], "true").code, Some(0));
    shop.await_empty();
    shop.put("z".repeat(500_000));
    assert_eq!(shop.run(&["--once"], "wc -c > out").code, Some(0));
    assert_eq!(shop.await_file("out").trim(), "500000");
}

#[test]
fn failures_are_tried_again_until_the_attempts_are_used_up() {
    let mut shop = Shop::open();
    shop.client.ok(json!({"cmd": "queue.configure", "queue": "q", "max_attempts": 3}));
    let job = shop.put("x");
    let finished = shop.run(&["--exit-when-empty", "--retry-delay-ms", "0"], &format!("{RECORD}; exit 7"));
    assert_eq!(finished.code, Some(0));
    assert_eq!(shop.await_file("out"), format!("q {job} 1 x\nq {job} 2 x\nq {job} 3 x\n"));
    for (attempt, next) in [(2, "again at once"), (3, "that was the last, the job is dead")] {
        let said = format!("job {job}, attempt {attempt}: the command ended with exit status: 7; {next}");
        assert!(finished.stderr.contains(&said), "{}", finished.stderr);
    }
    assert_eq!(shop.count("dead"), 1);
}

#[test]
fn failures_wait_before_they_are_tried_again() {
    let mut shop = Shop::open();
    shop.put("x");
    assert_eq!(shop.run(&["--exit-when-empty"], "exit 1").code, Some(0));
    assert_eq!((shop.count("delayed"), shop.count("ready")), (1, 0));
    shop.put("y");
    assert_eq!(shop.run(&["--once", "--retry-delay-ms", "3600000"], "kill -9 $$").code, Some(0));
    assert_eq!(shop.count("delayed"), 2);
}

#[test]
fn commands_run_at_the_same_time() {
    let mut shop = Shop::open();
    for job in 1..=3 {
        shop.put(job);
    }
    // Each waits for all three, so one after the other they would never end.
    let script = "touch began-$MSGLOG_JOB; while [ $(ls began-* | wc -l) -lt 3 ]; do sleep 0.01; done";
    assert_eq!(shop.run(&["--parallel", "3", "--exit-when-empty"], script).code, Some(0));
    shop.await_empty();
}

#[test]
fn a_stop_lets_commands_finish_and_takes_no_new_job() {
    let mut shop = Shop::open();
    let worker = shop.start(&[], "echo > began; while [ ! -e go ]; do sleep 0.01; done; echo >> done");
    shop.put("x");
    shop.await_file("began");
    shop.put("y");
    worker.signal(Signal::TERM);
    worker.await_said("no new jobs");
    fs::write(shop.path("go"), "").expect("a file");
    let finished = worker.finish();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(shop.await_file("done"), "\n");
    assert_eq!((shop.count("ready"), shop.count("leased")), (1, 0));
}

#[test]
fn a_second_signal_kills_and_gives_the_job_back() {
    let mut shop = Shop::open();
    let worker = shop.start(&[], "echo > began; sleep 1000; echo > done");
    shop.put("x");
    shop.await_file("began");
    worker.signal(Signal::INT);
    worker.await_said("no new jobs");
    worker.signal(Signal::INT);
    let finished = worker.finish();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(finished.stderr.contains("was killed"), "{}", finished.stderr);
    assert_eq!((shop.count("ready"), shop.count("leased")), (1, 0));
    assert!(!shop.path("done").exists());
}

#[test]
fn a_job_that_was_killed_in_its_last_attempt_is_told_to_be_dead() {
    let mut shop = Shop::open();
    shop.client.ok(json!({"cmd": "queue.configure", "queue": "q", "max_attempts": 1}));
    let worker = shop.start(&[], "echo > began; sleep 1000");
    let job = shop.put("x");
    shop.await_file("began");
    worker.signal(Signal::TERM);
    worker.await_said("no new jobs");
    worker.signal(Signal::TERM);
    let finished = worker.finish();
    assert!(finished.stderr.contains("was killed; that was the last, the job is dead"), "{finished:?}");
    assert!(finished.stderr.contains(&format!("msglog queue revive q --job {job}")), "{finished:?}");
    assert_eq!(shop.count("dead"), 1);
}

#[test]
fn the_end_of_a_session_stops_a_worker_and_lets_its_command_finish_unless_it_is_ignored() {
    let mut shop = Shop::open();
    let script = "echo > began; while [ ! -e go ]; do sleep 0.01; done; echo >> done";
    let worker = shop.start(&[], script);
    shop.put("x");
    shop.await_file("began");
    for _ in 0..2 {
        worker.signal(Signal::HUP);
        worker.await_said("no new jobs");
    }
    fs::write(shop.path("go"), "").expect("a file");
    assert_eq!(worker.finish().code, Some(0));
    assert_eq!(shop.await_file("done"), "\n");

    let worker = shop.start_in_shell("trap '' HUP", &[], script);
    shop.put("y");
    until("the second job is done", || (shop.await_file("done") == "\n\n").then_some(()));
    worker.signal(Signal::HUP);
    shop.put("z");
    until("the third job is done", || (shop.await_file("done") == "\n\n\n").then_some(()));
    worker.signal(Signal::TERM);
    assert_eq!(worker.finish().code, Some(0));
}

#[test]
fn a_command_that_cannot_be_started_stops_the_worker_and_costs_no_other_job() {
    let mut shop = Shop::open();
    let job = shop.put("x");
    for _ in 0..7 {
        shop.put("y");
    }
    let script = shop.script("#!/nowhere/interpreter");
    let words = ["queue", "work", "q", "--parallel", "8", "--exit-when-empty", "--", &script];
    let finished = run(&shop.daemon, &words);
    assert_eq!(finished.code, Some(74), "{finished:?}");
    let said = format!("job {job}, attempt 1: the command cannot be started (");
    assert!(
        finished.stderr.contains(&said) && finished.stderr.contains("no more jobs are taken"),
        "{finished:?}"
    );
    assert_eq!((shop.count("delayed"), shop.count("ready")), (1, 7));
}

#[test]
fn a_script_without_an_interpreter_is_run_by_the_shell() {
    let mut shop = Shop::open();
    shop.put("x");
    let script = shop.script("echo $(cat) \"$1\" >> out");
    let mut command =
        msglog_for(&shop.daemon, &["queue", "work", "q", "--exit-when-empty", "--", &script, "two words"]);
    let finished = finish(command.current_dir(shop.daemon.folder().path()));
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""));
    assert_eq!(shop.await_file("out"), "x two words\n");
}

#[test]
fn many_commands_run_where_few_files_may_be_open() {
    let mut shop = Shop::open();
    for job in 1..=12 {
        shop.put(job);
    }
    let script = "touch began-$MSGLOG_JOB; while [ $(ls began-* | wc -l) -lt 12 ]; do sleep 0.01; done";
    let worker = shop.start_in_shell("ulimit -Sn 20", &["--parallel", "12", "--exit-when-empty"], script);
    let finished = worker.finish();
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""));
    shop.await_empty();
}

#[test]
fn where_few_files_may_be_open_fewer_workers_do_all_the_jobs() {
    let mut shop = Shop::open();
    shop.put("x");
    let worker = shop.start_in_shell("ulimit -n 60", &["--parallel", "50"], "true");
    worker.await_said("only 60 files may be open: going on with 3 workers of 50");
    for _ in 0..50 {
        shop.put("y");
    }
    shop.await_empty();
    worker.signal(Signal::TERM);
    let finished = worker.finish();
    assert_eq!((finished.code, finished.stderr.lines().count()), (Some(0), 2), "{finished:?}");
}

#[test]
fn workers_that_find_no_room_for_a_connection_say_so_once_and_work_when_there_is() {
    let mut shop = Shop::open();
    shop.put("x");
    let worker = shop.start(&["--parallel", "8"], "true");
    shop.await_empty();
    let few = Rlimit { current: Some(3), maximum: getrlimit(Resource::Nofile).maximum };
    let before = prlimit(Some(worker.id()), Resource::Nofile, few).expect("it is ours");
    shop.daemon.restart();
    shop.client = shop.daemon.connect();
    worker.await_said("cannot connect to the daemon: Too many open files");
    for _ in 0..8 {
        shop.put("y");
    }
    prlimit(Some(worker.id()), Resource::Nofile, before).expect("it is ours");
    shop.await_empty();
    worker.signal(Signal::TERM);
    let finished = worker.finish();
    assert_eq!(finished.stderr.matches("Too many open files").count(), 1, "{finished:?}");
    assert_eq!(finished.code, Some(0), "{finished:?}");
}

/// A worker of queue `q` whose daemon is played, for one run of a script. How it ended, and what it asked.
fn played(
    script: &str,
    mut answer: impl FnMut(&Value, &TempDir) -> Value + Send + 'static,
) -> (common::Finished, Vec<Value>) {
    let folder = Arc::new(TempDir::new());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (requests, place) = (Arc::clone(&asked), Arc::clone(&folder));
    scripted(&folder.join("s"), move |request| {
        requests.lock().expect("no panic").push(request.clone());
        Some(answer(request, &place))
    });
    let mut command = msglog();
    command.current_dir(folder.path()).arg("--socket").arg(folder.join("s"));
    let finished = finish(command.args(["queue", "work", "q", "--once", "--", "sh", "-c", script]));
    let asked = asked.lock().expect("no panic").clone();
    (finished, asked)
}

/// The reply to a reserve: one job, held until this many milliseconds from now.
fn job_until(ms: i64) -> Value {
    let now = i64::try_from(msglogd::time::Timestamp::now().0).expect("in range");
    let expires_at = msglogd::time::Timestamp(u64::try_from(now + ms * 1000).expect("in range"));
    json!({"ok": true, "jobs": [
        {"job": 1, "lease": "L", "attempt": 1, "body": 1, "expires_at": expires_at.to_string()}
    ]})
}

#[test]
fn a_lease_is_extended_by_its_length_whatever_the_clock_says() {
    const HOUR: i64 = 3_600_000;
    let script = "while [ ! -e go ]; do sleep 0.01; done";
    // The last one is a reply that comes late.
    for left in [3000 + HOUR, 3000 - HOUR, 3000, 30] {
        let mut extended = 0;
        let (finished, asked) = played(script, move |request, folder| match request["cmd"].as_str() {
            Some("queue.get") => json!({"ok": true, "queue": {"lease_ms": 3000, "max_attempts": 5}}),
            Some("queue.reserve") => job_until(left),
            Some("queue.extend") => {
                extended += 1;
                if extended == 2 {
                    fs::write(folder.join("go"), "").expect("a file");
                }
                json!({"ok": true})
            }
            _ => json!({"ok": true}),
        });
        assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{left}");
        let told: Vec<_> =
            asked.iter().map(|request| (request["cmd"].as_str(), request["lease_ms"].as_u64())).collect();
        let (extend, ask) = ((Some("queue.extend"), Some(3000)), |command| (Some(command), None));
        let reserve = (Some("queue.reserve"), Some(3000));
        assert_eq!(told, [ask("queue.get"), reserve, extend, extend, ask("queue.ack")], "{left}");
    }
}

#[test]
fn a_lease_that_nobody_has_set_is_the_usual_one_and_one_that_is_not_told_ends_the_worker() {
    for (error, code) in [("not_found", Some(0)), ("forbidden", Some(3))] {
        let (finished, asked) = played("true", move |request, _| match request["cmd"].as_str() {
            Some("queue.get") => json!({"ok": false, "error": error, "message": "no"}),
            Some("queue.reserve") => job_until(30_000),
            _ => json!({"ok": true}),
        });
        assert_eq!(finished.code, code, "{finished:?}");
        let lease = asked.get(1).and_then(|reserve| reserve["lease_ms"].as_u64());
        assert_eq!(lease, (code == Some(0)).then_some(30_000), "{asked:?}");
    }
}

#[test]
fn a_job_that_could_not_be_given_back_is_not_told_to_be_dead() {
    let (finished, _) = played("exit 1", |request, _| match request["cmd"].as_str() {
        Some("queue.get") => json!({"ok": true, "queue": {"lease_ms": 30_000, "max_attempts": 1}}),
        Some("queue.reserve") => job_until(30_000),
        _ => json!({"ok": false, "error": "lease_lost", "message": "another holder"}),
    });
    let said = "job 1, attempt 1: the command ended with exit status: 1; queue.nack was refused: lease_lost";
    assert!(finished.stderr.contains(said) && !finished.stderr.contains("dead"), "{finished:?}");
}

#[test]
fn a_job_that_is_on_its_way_when_the_stop_comes_is_run_and_settled() {
    let folder = TempDir::new();
    let (tell, told) = mpsc::channel();
    let (release, released) = mpsc::channel();
    scripted(&folder.join("s"), move |request| {
        tell.send(request["cmd"].as_str()?.to_owned()).ok()?;
        Some(match request["cmd"].as_str()? {
            "queue.get" => json!({"ok": true, "queue": {"lease_ms": 30_000, "max_attempts": 5}}),
            "queue.reserve" => {
                released.recv().ok()?;
                job_until(30_000)
            }
            _ => json!({"ok": true}),
        })
    });
    let mut command = msglog();
    command.arg("--socket").arg(folder.join("s")).args(["queue", "work", "q", "--", "true"]);
    let worker = Running::spawn(&mut command);
    assert_eq!([told.recv(), told.recv()], ["queue.get", "queue.reserve"].map(|command| Ok(command.into())));
    worker.signal(Signal::TERM);
    worker.await_said("no new jobs");
    release.send(()).expect("it waits");
    assert_eq!(told.recv(), Ok("queue.ack".into()));
    assert_eq!(worker.finish().code, Some(0));
    assert!(told.recv().is_err(), "it asks for no other job");
}

#[test]
fn a_job_that_is_gone_before_any_ack_was_received_is_not_taken_for_done() {
    let folder = TempDir::new();
    let socket = folder.join("s");
    scripted(&socket, |request| match request["cmd"].as_str()? {
        "queue.reserve" => Some(job_until(300)),
        // It goes away here.
        _ => None,
    });
    let mut command = msglog();
    command.current_dir(folder.path()).arg("--socket").arg(&socket);
    let script = "while [ ! -e go ]; do sleep 0.01; done; echo > done";
    command.args(["queue", "work", "q", "--once", "--lease-ms", "300", "--", "sh", "-c", script]);
    let worker = Running::spawn(&mut command);
    worker.await_said("the daemon is away (");
    fs::write(folder.join("go"), "").expect("a file");
    until("the command has ended", || folder.join("done").exists().then_some(()));
    fs::remove_file(&socket).expect("nobody listens");
    scripted(&socket, |request| {
        let is_ack = request["cmd"] == "queue.ack";
        Some(if is_ack {
            json!({"ok": false, "error": "not_found", "message": "no"})
        } else {
            json!({"ok": true})
        })
    });
    let finished = worker.finish();
    assert!(finished.stderr.contains("queue.ack was refused: not_found"), "{finished:?}");
}

#[test]
fn a_nack_that_may_have_been_received_is_told_as_that() {
    let folder = TempDir::new();
    let socket = folder.join("s");
    scripted(&socket, |request| match request["cmd"].as_str()? {
        "queue.get" => Some(json!({"ok": true, "queue": {"lease_ms": 30_000, "max_attempts": 5}})),
        "queue.reserve" => Some(job_until(30_000)),
        // It goes away here.
        _ => None,
    });
    let mut command = msglog();
    command.arg("--socket").arg(&socket);
    let worker = Running::spawn(command.args(["queue", "work", "q", "--once", "--", "false"]));
    worker.await_said("the daemon is away (");
    fs::remove_file(&socket).expect("nobody listens");
    scripted(&socket, |_| Some(json!({"ok": false, "error": "lease_lost", "message": "another holder"})));
    let finished = worker.finish();
    assert!(finished.stderr.contains("the job was given back, or its lease ran out"), "{finished:?}");
}

#[test]
fn a_worker_that_waits_stops_soon_and_leases_nothing_any_more() {
    let mut shop = Shop::open();
    shop.put("the others begin behind it");
    let worker = shop.start(&["--parallel", "4"], "true");
    until("the workers wait", || {
        let stats = shop.client.ok(json!({"cmd": "stats"}));
        (stats.json()["connections"]["waiting_reserves"] == 4).then_some(())
    });
    worker.signal(Signal::TERM);
    assert_eq!(worker.finish().code, Some(0));
    shop.put("x");
    assert_eq!(shop.count("ready"), 1);
}

#[test]
fn many_workers_that_are_stopped_among_many_jobs_leave_none_leased() {
    let mut shop = Shop::open();
    let put = json!({"cmd": "queue.put", "queue": "q", "body": "x", "durable": false});
    shop.client.pipeline(&vec![put; 500]);
    let worker = shop.start(&["--parallel", "8"], "true");
    until("some jobs are done", || (shop.count("ready") < 450).then_some(()));
    worker.signal(Signal::TERM);
    assert_eq!(worker.finish().code, Some(0));
    assert_eq!(shop.count("leased"), 0);
}

#[test]
fn a_lease_is_extended_while_the_command_runs() {
    let mut shop = Shop::open();
    shop.put("x");
    let finished = shop.run(&["--once", "--lease-ms", "300"], "sleep 1.2; echo $MSGLOG_ATTEMPT >> out");
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""));
    assert_eq!(shop.await_file("out"), "1\n");
    shop.await_empty();
}

#[test]
fn a_command_whose_job_is_taken_away_is_told_to_end() {
    let mut shop = Shop::open();
    let job = shop.put("x");
    let script = "trap 'echo > told; exit 0' TERM; echo > began; while :; do sleep 0.01; done";
    let worker = shop.start(&["--once", "--lease-ms", "300"], script);
    shop.await_file("began");
    shop.client.ok(json!({"cmd": "queue.delete", "job": job}));
    let finished = worker.finish();
    shop.await_file("told");
    assert_eq!(finished.code, Some(0));
    assert!(finished.stderr.contains(&format!("job {job}: its lease is lost")), "{}", finished.stderr);
}

#[test]
fn commands_and_workers_outlive_a_restart_of_the_daemon() {
    let mut shop = Shop::open();
    let worker =
        shop.start(&["--parallel", "2"], "cat >> began; while [ ! -e go ]; do sleep 0.01; done; echo >> out");
    shop.put("one\n");
    assert_eq!(shop.await_file("began"), "one\n");
    shop.daemon.kill();
    fs::write(shop.path("go"), "").expect("a file");
    shop.await_file("out");
    shop.daemon.launch();
    shop.client = shop.daemon.connect();
    shop.await_empty();
    // Both workers, the one that waited for a job too, are there again.
    shop.put("two\n");
    until("the second job has run", || (shop.await_file("out") == "\n\n").then_some(()));
    shop.await_empty();
    worker.signal(Signal::TERM);
    let finished = worker.finish();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(shop.await_file("began"), "one\ntwo\n");
}

#[test]
fn one_job_or_none_and_programs_that_are_not_there() {
    let mut shop = Shop::open();
    assert_eq!(shop.run(&["--once", "--exit-when-empty"], "true").code, Some(1));
    assert_eq!(shop.run(&["--exit-when-empty"], "true").code, Some(0));
    shop.put("x");
    shop.put("y");
    let finished = run(&shop.daemon, &["queue", "work", "q", "--", "/nowhere/program"]);
    assert_eq!(finished.code, Some(2), "{finished:?}");
    assert_eq!(shop.run(&["--once"], RECORD).code, Some(0));
    assert_eq!(shop.count("ready"), 1);
    shop.daemon.kill();
    assert_eq!(shop.run(&[], "true").code, Some(4));
}
