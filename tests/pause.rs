//! The process stands still for a while, as when a machine is suspended: nobody is to blame.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods)]

mod common;

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::tls_client::config;
use common::{Client, Server, eventually};
use rustix::process::Signal;
use rustls::version::TLS13;
use rustls::{ClientConnection, StreamOwned};

/// Stops the server for so long.
fn pause(server: &Server, time: Duration) {
    server.signal(Signal::STOP);
    std::thread::sleep(time);
    server.signal(Signal::CONT);
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Says so much that somebody who reads nothing has output waiting.
fn talk_until_output_waits(server: &Server, speaker: &mut Client) {
    let text = "x".repeat(900);
    eventually("output waits", || {
        for _ in 0..50 {
            speaker.send(&text);
        }
        speaker.read_some();
        speaker.take_raw();
        server.state()["queued_bytes"] > 20_000
    });
}

#[test]
fn who_has_output_waiting_has_the_full_time_to_read_it() {
    const STALL: u64 = 3;
    let settings = [("CHAT_SEND_STALL_SECS", "3"), ("CHAT_SEND_QUEUE_BYTES", "4000000")];
    let server = Server::with(&settings);
    let mut slow = server.login("slow");
    let mut bob = server.login("bob");
    let _deaf = server.login("deaf");
    talk_until_output_waits(&server, &mut bob);
    assert!(!server.log().contains("deaf left"), "too early");
    pause(&server, secs(2 * STALL));
    let resumed = Instant::now();
    std::thread::sleep(secs(STALL) / 2);
    // Reads on, and is there when the other one is dropped.
    eventually("deaf is dropped", || {
        slow.read_some();
        server.log().contains("deaf left from")
    });
    assert!(resumed.elapsed() >= secs(STALL), "after {:?}", resumed.elapsed());
    assert!(server.log().contains("reads nothing: send queue stalled"), "{}", server.log());
    assert!(!server.log().contains("slow left"), "{}", server.log());
    slow.take_raw();
    slow.send("still here");
    slow.expect("╰─> still here\n");
    server.expect_log("stood still for");
}

#[test]
fn a_name_half_typed_can_be_finished_and_silence_is_not_punished_before_its_time() {
    const LOGIN: u64 = 2;
    let server = Server::with(&[("CHAT_LOGIN_TIMEOUT_SECS", "2"), ("CHAT_IDLE_TIMEOUT_SECS", "2")]);
    let mut alice = server.connect();
    alice.expect("Enter your username: ");
    alice.send_bytes(b"ali");
    let mut nobody = server.connect();
    nobody.expect("Enter your username: ");
    let mut idle = server.login("idle");
    pause(&server, secs(2 * LOGIN));
    let resumed = Instant::now();
    std::thread::sleep(secs(LOGIN) / 2);
    alice.send("ce");
    alice.expect("[LOBBY] alice has joined the lobby");
    idle.send("not idle");
    alice.expect("╰─> not idle\n");
    nobody.expect("You did not enter a username in time. Goodbye!");
    assert!(resumed.elapsed() >= secs(LOGIN), "after {:?}", resumed.elapsed());
}

#[test]
fn a_handshake_under_way_can_be_finished() {
    let server = Server::with_tls(&[]);
    let begin = || {
        let mut tcp = TcpStream::connect(server.tls_addr.unwrap()).unwrap();
        let mut tls =
            ClientConnection::new(config(&TLS13), "localhost".try_into().unwrap()).unwrap();
        let mut hello = Vec::new();
        tls.write_tls(&mut hello).unwrap();
        let (half, rest) = hello.split_at(hello.len() / 2);
        tcp.write_all(half).unwrap();
        tcp.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        (tls, tcp, rest.to_vec())
    };
    let (tls, mut tcp, rest) = begin();
    let (_silent, silent_tcp, _) = begin();
    eventually("both are heard", || server.state()["connections"] == 2);
    // A handshake has ten seconds.
    pause(&server, secs(12));
    std::thread::sleep(secs(2));
    tcp.write_all(&rest).unwrap();
    let mut alice = Client::over(StreamOwned::new(tls, tcp)).login("alice");
    alice.send("/quit");
    assert!(!server.log().contains("took too long"), "{}", server.log());
    drop(silent_tcp);
}

#[test]
fn ages_are_those_of_the_people_who_read_them() {
    let server = Server::with(&[("CHAT_HISTORY_SECS", "6")]);
    let mut alice = server.login("alice");
    alice.send("before");
    alice.expect("╰─> before\n");
    pause(&server, secs(3));
    let mut carol = server.connect();
    carol.send("carol");
    let seen = carol.expect("╰─> before\n");
    assert!(["[3s ago]", "[4s ago]", "[5s ago]"].iter().any(|age| seen.contains(age)), "{seen}");
    pause(&server, secs(6));
    let mut dave = server.connect();
    dave.send("dave");
    let seen = dave.expect("[LOBBY] dave has joined the lobby");
    assert!(!seen.contains("before"), "{seen}");
}
