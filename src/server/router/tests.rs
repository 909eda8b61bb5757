//! How requests of a connection begin.

use super::*;
use crate::limits::{LOCAL_ANSWERS_A_TURN, Limits, OWN_GETS, READ_AHEAD_BYTES};
use crate::server::access::{Access, Rights};
use crate::writer::{Answers, ToWriter};
use crossbeam_channel::{Receiver, bounded, unbounded};

type Made = (Router, Receiver<ToWriter>, Receiver<ToReader>, Receiver<Task>);

fn router(answering: usize) -> Made {
    let (writer, to_writer) = unbounded();
    let (readers, to_readers) = unbounded();
    let (maintenance, to_maintenance) = bounded(1);
    let identity = Identity::new(Limits::default(), Access::default(), "/data".as_ref());
    let (published, stats) = (Arc::default(), Arc::default());
    let router = Router {
        published,
        writer: Outbox::new(writer, Arc::default(), Arc::default()),
        readers,
        maintenance,
        stats,
        identity,
        stopping: Arc::new(AtomicBool::new(false)),
        answering,
        own: Own::default(),
    };
    (router, to_writer, to_readers, to_maintenance)
}

#[test]
fn a_short_read_does_not_see_what_is_published_after_a_write_behind_it_was_sent() {
    let (mut router, to_writer, to_readers, _) = router(2);
    let mut connection = Connection::new(1, 0, Rights::ALL, &Limits::default());
    connection.reads_max = OWN_GETS + 1;
    let get = "{\"cmd\":\"kv.get\",\"key\":\"k\"}\n";
    let set = "{\"cmd\":\"kv.set\",\"key\":\"k\",\"value\":1}\n";
    connection.lines.push((get.repeat(OWN_GETS + 1) + set).as_bytes());
    router.advance(&mut connection);
    router.writer.flush();
    assert_eq!(to_writer.len(), 1, "the write behind the reads is sent");
    // The writer is quick.
    router.published.publish(Arc::new(Snapshot { last: 1, ..Snapshot::default() }));
    router.answer_own_gets(&mut Answers::default());
    // Some of the reads are the loop's and one is a reader's: from the same snapshot.
    let asked = to_readers.try_iter().next();
    let Some(ToReader::Gets { snapshot, .. }) = asked else { panic!("a reader has its share") };
    assert_eq!(snapshot.last, 0);
}

#[test]
fn a_connection_gets_few_long_answers_of_the_loop_in_a_turn_and_reads_no_further_ahead() {
    let (mut router, ..) = router(1);
    let mut connection = Connection::new(1, 0, Rights::ALL, &Limits::default());
    connection.lines.push("{\"cmd\":\"stats\"}\n".repeat(READ_AHEAD_BYTES / 8).as_bytes());
    // What was sent may make room in the same turn.
    router.advance(&mut connection);
    router.advance(&mut connection);
    let lines = memchr::memchr_iter(b'\n', connection.replies.output()).count();
    assert_eq!((lines, connection.wants_bytes()), (LOCAL_ANSWERS_A_TURN, false));
    connection.local_answers = 0;
    router.advance(&mut connection);
    let lines = memchr::memchr_iter(b'\n', connection.replies.output()).count();
    assert_eq!(lines, 2 * LOCAL_ANSWERS_A_TURN);
}

#[test]
fn behind_maintenance_nothing_begins_until_it_is_answered_and_one_too_many_is_busy() {
    let (mut router, to_writer, _to_readers, to_maintenance) = router(1);
    let (mut one, mut other) = (
        Connection::new(1, 0, Rights::ALL, &Limits::default()),
        Connection::new(2, 0, Rights::ALL, &Limits::default()),
    );
    one.lines.push(b"{\"cmd\":\"log.verify\"}\n{\"cmd\":\"kv.set\",\"key\":\"k\",\"value\":1}\n");
    other.lines.push(b"{\"cmd\":\"log.verify\"}\n{\"cmd\":\"ping\"}\n");
    router.advance(&mut one);
    router.advance(&mut other);
    let said = String::from_utf8_lossy(other.replies.output()).into_owned();
    assert!(said.contains("\"error\":\"busy\"") && said.ends_with("{\"ok\":true,\"seq\":0}\n"), "{said}");

    router.writer.flush();
    let task = to_maintenance.try_recv().expect("it was asked for");
    assert!(to_writer.is_empty() && one.replies.output().is_empty(), "it has begun behind maintenance");
    router.take_maintenance(&mut one, task.ticket.number, Ok(b",\"seq\":0".to_vec()));
    router.advance(&mut one);
    router.writer.flush();
    assert_eq!((one.replies.output(), to_writer.len()), (&b"{\"ok\":true,\"seq\":0}\n"[..], 1));
}

#[test]
fn a_reader_looks_for_what_a_follower_asks_for_and_nothing_behind_it_begins_until_then() {
    let (mut router, _, to_readers, _) = router(1);
    let mut connection = Connection::new(1, 0, Rights::ALL, &Limits::default());
    let follow = "{\"cmd\":\"message.follow\",\"app\":\"abcdefghijklmnopqrstuvwx\"}\n{\"cmd\":\"ping\"}\n";
    let said = |connection: &Connection| String::from_utf8_lossy(connection.replies.output()).into_owned();
    for found in [false, true] {
        connection.lines.push(follow.as_bytes());
        router.advance(&mut connection);
        assert_eq!(said(&connection), "", "nobody has looked yet");
        let Ok(ToReader::Follow { ticket, follower, .. }) = to_readers.try_recv() else {
            panic!("it is asked")
        };
        let missing = Error::new(Code::NotFound, "there is no such application");
        let follower = if found { Ok(follower) } else { Err(missing) };
        router.take_follower(&mut connection, ticket.number, follower);
        router.advance(&mut connection);
        let (first, then) = if found {
            ("{\"ok\":true,\"following\":true}\n", "\"error\":\"bad_request\"")
        } else {
            ("{\"ok\":false,\"error\":\"not_found\"", "{\"ok\":true,\"seq\":0}\n")
        };
        let said = said(&connection);
        assert!(said.starts_with(first) && said.contains(then), "{said}");
        connection.replies.abandon_output();
    }
    assert_eq!((connection.life, router.stats.followers.get()), (Life::Closing, 1));
}

#[test]
fn at_a_stop_what_stands_behind_a_follow_that_is_refused_anyway_is_answered() {
    let (mut router, _, to_readers, _) = router(1);
    for (found, expected) in [(false, "{\"ok\":true,\"seq\":0}\n"), (true, "\"error\":\"shutting_down\"")] {
        let mut connection = Connection::new(1, 0, Rights::ALL, &Limits::default());
        connection.lines.push(b"{\"cmd\":\"message.follow\"}\n{\"cmd\":\"ping\"}\n");
        router.advance(&mut connection);
        let Ok(ToReader::Follow { ticket, follower, .. }) = to_readers.try_recv() else {
            panic!("it is asked")
        };
        router.stopping.store(true, std::sync::atomic::Ordering::Relaxed);
        let missing = Error::new(Code::NotFound, "there is no such application");
        router.take_follower(&mut connection, ticket.number, if found { Ok(follower) } else { Err(missing) });
        router.advance(&mut connection);
        let said = String::from_utf8_lossy(connection.replies.output()).into_owned();
        assert!(said.contains(expected) && said.contains("not_found") != found, "{said}");
        assert!(connection.follower.is_none());
        router.stopping.store(false, std::sync::atomic::Ordering::Relaxed);
    }
}
