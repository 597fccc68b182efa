//! Load on a chat server over loopback: `cargo run --release --example load -- SCENARIO [OPTION]…`.
//!
//! Without a scenario it lists them, and the options. Unless given a target it starts `mio-chat` from
//! the directory of its own build with the limits lifted, sends to it only, and stops it. One line of
//! JSON comes to standard output, everything else to standard error. Exit code 1 means that a message
//! was lost, came out of order or damaged, or that somebody was thrown out who should not have been.
//!
//! Latency is counted from when a message was due to be sent wherever a rate is given, so that a stall
//! is not hidden by the messages it delayed.

#![allow(clippy::disallowed_methods)]
// A figure for people need not be exact beyond what they read.
#![allow(clippy::cast_precision_loss)]

#[cfg(target_os = "linux")]
#[path = "load/mod.rs"]
mod load;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    load::main()
}

/// Figures of a process come from Linux's `/proc`.
#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("load: needs Linux");
}
