//! The server: sockets, lines, and the order of replies on each connection.
//!
//! - `access` decides who may do what, and `admission` lets in who may come.
//! - `lines` cuts a stream of bytes into lines; `replies` keeps replies in order.
//! - `connection` is one client; `router` begins its requests in the order that the contract asks for, `room` says
//!   when there is room for lists, and `local` answers what needs nobody else; who waits for room stands in a
//!   `room_queue`.
//! - `event_loop` waits for sockets and threads, `streams` reads and writes a socket, `outbox` has what goes
//!   to the writer, and `one_at_a_time` what of it may take long; `readers` are the threads that read, and `mailbox`
//!   is the way back.
//! - `supervision` is whoever runs the daemon and wants to hear that it lives.

pub mod access;
pub mod admission;
pub mod connection;
pub mod event_loop;
pub mod lines;
pub mod local;
pub mod mailbox;
pub mod one_at_a_time;
pub mod outbox;
pub mod readers;
pub mod replies;
pub mod room;
pub mod room_queue;
pub mod router;
pub mod streams;
pub mod supervision;
