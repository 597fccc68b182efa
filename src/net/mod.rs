//! The sockets and the loop around the chat.
//!
//! Moves bytes, keeps readiness, closes things, and reads the clock; decides nothing about chat.
//! `server` is the loop, `conn` one client's life, `accept` how clients come in, `transport` what a
//! connection speaks below its lines.

mod accept;
mod clients;
mod conn;
mod server;
mod transport;

pub use accept::StartError;
pub use server::{Ended, Server};
