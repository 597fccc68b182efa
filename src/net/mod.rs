//! The sockets and the loop around the chat.
//!
//! Moves bytes, keeps readiness, closes things, and reads the clock; decides nothing about chat.
//! `server` is the loop, made from a `plan`, `conn` the life of one client, `accept` and `admission` how clients come
//! in, `transport` what a connection speaks below its lines, with `tls` and its `certificate`;
//! `text_on_tls` is for clients that do not speak TLS where they should. `memory` is the ceiling on
//! what all of them hold, `machine` what the system says about memory, `probe` checks whether
//! somebody is still there, `run_clock` leaves out the time in which the process stood still, and
//! `local_time` is the wall clock. `outbound`, `dial`, `link` and
//! `lookups` are the sockets of the assistant and the resolver, `files` is what the resolver reads,
//! and `service` the way to a service manager.

mod accept;
mod admission;
mod certificate;
mod clients;
mod conn;
mod dial;
mod files;
mod handshakes;
mod link;
mod local_time;
mod lookups;
mod machine;
mod memory;
mod outbound;
mod plan;
mod probe;
mod run_clock;
mod server;
mod service;
mod text_on_tls;
pub mod tls;
mod transport;
mod turns;
mod verdict;

pub use accept::StartError;
pub use certificate::CertificateError;
pub use memory::Heap;
pub use plan::Plan;
pub use server::{Ended, Server};
