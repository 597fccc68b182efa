//! A chat server for terminals: one thread, one event loop. A second process of the same program
//! writes what a disk could delay.
//!
//! ```text
//! bytes -> net -> line -> chat (who is where, who hears what)
//! bytes <- net <- outbox <-/  \-> requests: password jobs, closes
//! ```
//!
//! Dependencies point one way: `main -> net -> {chat, gemini, dns, http, password, line, outbox,
//! ...} -> {id, limits}`.
//! Only `net` knows sockets, the poll and the clock; everything else is given the time and bytes or
//! lines (`tests/architecture.rs` enforces this).

#![forbid(unsafe_code)]

pub mod chat;
pub mod clock;
pub mod config;
pub mod count;
pub mod dns;
pub mod gemini;
pub mod http;
pub mod id;
pub mod jobs;
pub mod limits;
pub mod line;
pub mod logging;
pub mod net;
pub mod network;
pub mod outbox;
pub mod password;
pub mod proxy;
pub mod rate;
pub mod refusal;
pub mod share;
pub mod text;
pub mod timers;
pub mod tunnel;
pub mod wrap;
