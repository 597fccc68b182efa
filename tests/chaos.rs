//! Two hundred misbehaving clients at once beside twenty well-behaved ones: the transcript of the
//! latter must be perfect, and afterwards descriptors, memory and users are back where they began.
//!
//! What each client does follows from a seed, which is printed, and which `CHAOS_SEED` sets. The
//! longer run (`scripts/chaos [CONNECTIONS]`) does the same for 100,000 connections.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods)]
#![allow(clippy::cast_possible_truncation, unreachable_pub)]

mod common;

#[path = "chaos/citizen.rs"]
mod citizen;
#[path = "chaos/player.rs"]
mod player;
#[path = "common/random.rs"]
mod random;
#[path = "chaos/rogue.rs"]
mod rogue;
#[path = "chaos/script.rs"]
mod script;
#[path = "chaos/town.rs"]
mod town;
#[path = "chaos/wire.rs"]
mod wire;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use common::{PATIENCE, Server, eventually};
use rustix::process::Signal;
use town::{Plan, Town};

/// One at a time: each is enough for a machine.
static TURN: Mutex<()> = Mutex::new(());

#[test]
fn beside_two_hundred_misbehaving_clients_transcripts_are_perfect_and_nothing_stays() {
    let plan = Plan { lives: lives(1600), ..Plan::default() };
    run(&plan);
}

#[test]
fn the_same_with_the_default_rate_limit() {
    let plan = Plan {
        lives: lives(400),
        warm_up: 400,
        lines_per_window: Some(5),
        interval: Duration::from_secs(4),
        ..Plan::default()
    };
    run(&plan);
}

/// Run by `scripts/chaos`.
#[test]
#[ignore = "takes minutes"]
fn a_hundred_thousand_connections_come_and_go() {
    let plan = Plan { lives: lives(100_000), warm_up: 10_000, progress: true, ..Plan::default() };
    run(&plan);
}

/// How many misbehaving clients there are in all.
fn lives(default: usize) -> usize {
    std::env::var("CHAOS_CONNECTIONS").map_or(default, |text| text.parse().unwrap())
}

/// What the process holds when nobody is there.
#[derive(Debug)]
struct Footprint {
    descriptors: usize,
    resident_kib: u64,
    /// The part of it that is no file.
    anonymous_kib: u64,
}

fn run(plan: &Plan) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    // Of IPv6 there is one loopback address, too few for the limits of an address.
    let unlimited = plan.lines_per_window.is_none();
    let v6 = unlimited && std::net::TcpListener::bind("[::1]:0").is_ok();
    let lines = plan.lines_per_window.unwrap_or(0).to_string();
    let settings = [
        ("CHAT_LISTEN", if v6 { "[::]:0" } else { "127.0.0.1:0" }),
        ("CHAT_MAX_CONNECTIONS_PER_IP", "10"),
        ("CHAT_MESSAGES_PER_WINDOW", &*lines),
        ("CHAT_SEND_QUEUE_BYTES", "32768"),
        ("CHAT_SEND_STALL_SECS", "2"),
        ("CHAT_LOGIN_TIMEOUT_SECS", "5"),
        ("CHAT_LOBBY_TTL_SECS", "2"),
        ("CHAT_HISTORY_SECS", "1"),
        ("CHAT_LOG_LEVEL", "info"),
    ];
    let mut server = Server::with_tls(&settings);
    println!("CHAOS_SEED={}", plan.seed);
    let mut town = Town::new(&server, plan, v6);

    // What is set up once, or only grows, does so before the beginning is noted.
    town.wave(plan.warm_up);
    town.check();
    let before = at_rest(&server, None);
    server.state();

    let (started, ticks) = (Instant::now(), server.cpu_ticks());
    town.seat_everybody();
    town.begin_to_chat();
    town.wave(plan.lives);
    town.end_chat();
    town.farewell();
    let took = started.elapsed();
    // Of 10 ms each (proc(5)).
    let busy = Duration::from_millis((server.cpu_ticks() - ticks) * 10);
    let longest_turn = Duration::from_micros(server.state()["longest_turn_us"]);
    let after = at_rest(&server, Some(&before));

    let drift = after.resident_kib as f64 / before.resident_kib as f64 - 1.0;
    println!("{}", town.figures());
    println!(
        "{took:.1?}, {busy:.1?} of processor time; descriptors {} before, {} after; resident KiB \
         {} before, {} after ({:+.1} %), {} at most, anonymous {} and {}; longest turn \
         {longest_turn:.1?}",
        before.descriptors,
        after.descriptors,
        before.resident_kib,
        after.resident_kib,
        drift * 100.0,
        server.status("VmHWM"),
        before.anonymous_kib,
        after.anonymous_kib,
    );
    town.check();
    assert!(town.longest_delay() < PATIENCE / 2);
    assert!(drift.abs() <= 0.1, "{before:?}, {after:?}");
    let log = server.log();
    // With the rate limit nobody asks for enough to fall behind.
    let is_slow = log.contains("reads nothing: send queue stalled");
    assert!(plan.lines_per_window.is_some() || is_slow);
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
    let log = server.log();
    let bad = log.lines().find(|line| line.contains("panicked") || line.contains("[ERROR]"));
    assert_eq!(bad, None);
    println!("verdict: good");
}

/// Waits until the server has nobody and nothing left, and what it holds is what it held `before`.
fn at_rest(server: &Server, before: Option<&Footprint>) -> Footprint {
    eventually("nobody and nothing is left", || {
        let state = server.state();
        let gone = ["connections", "users", "queued_bytes", "password_jobs"];
        gone.iter().all(|what| state[*what] == 0) && state["lobbies"] == 1
    });
    if let Some(before) = before {
        let wanted = format!("{} descriptors, as before", before.descriptors);
        eventually(&wanted, || server.descriptors() == before.descriptors);
    }
    // The last that was said is forgotten by itself, and the memory of the crowd given back.
    std::thread::sleep(Duration::from_millis(2500));
    let ticks = server.cpu_ticks();
    std::thread::sleep(Duration::from_secs(1));
    assert!(server.cpu_ticks() - ticks <= 2, "the loop turns without work");
    Footprint {
        descriptors: server.descriptors(),
        resident_kib: server.status("VmRSS"),
        anonymous_kib: server.status("RssAnon"),
    }
}
