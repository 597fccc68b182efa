//! Who may connect: allowed and denied networks, and what a reload changes.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::fs;

use std::net::TcpStream;

use common::tls_client::{self, config};
use common::{Client, PATIENCE, Server};
use rustix::process::Signal;
use rustls::version::TLS13;
use rustls::{ClientConnection, StreamOwned};

/// The server with these lines in its `.env` file, which can be changed while it runs.
fn server(env: &str) -> Server {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(".env"), env).unwrap();
    let command = common::command(dir.path());
    Server::spawn(command, dir, &[])
}

/// What those are told who may not stay.
const CUT_OFF: &str = "Your address is no longer allowed to connect. Goodbye!\n";

fn reload(server: &Server, env: &str) {
    fs::write(server.dir().join(".env"), env).unwrap();
    server.signal(Signal::HUP);
}

#[test]
fn a_denied_address_gets_a_close_and_nothing_else() {
    let server = server("CHAT_DENY_FROM=127.0.0.2,127.0.1.0/24\n");
    for denied in [[127, 0, 0, 2], [127, 0, 1, 77]] {
        assert_eq!(server.connect_from(denied).read_to_end(), "");
        let [a, b, c, d] = denied;
        let line = server.expect_log(&format!("refused {a}.{b}.{c}.{d} - "));
        assert!(line.ends_with("not allowed to connect"), "{line}");
    }
    let _carol = server.connect_from([127, 0, 0, 3]).login("carol");
    assert_eq!(server.state()["connections"], 1);
}

#[test]
fn where_some_are_allowed_the_others_are_not_and_deny_wins() {
    let server = server("CHAT_ALLOW_FROM=127.0.0.0/24\nCHAT_DENY_FROM=127.0.0.2\n");
    server.connect_from([127, 0, 0, 3]).login("carol");
    assert_eq!(server.connect_from([127, 0, 0, 2]).read_to_end(), "");
    assert_eq!(server.connect_from([127, 0, 1, 1]).read_to_end(), "");
}

#[test]
fn a_reload_changes_who_may_come_and_who_may_stay() {
    let server = server("CHAT_HISTORY_SECS=60\n");
    let mut alice = server.login("alice");
    let mut mallory = server.connect_from([127, 0, 0, 66]).login("mallory");
    alice.expect("[LOBBY] mallory has joined the lobby");
    let mut nameless = server.connect_from([127, 0, 0, 66]);
    nameless.expect("Enter your username: ");
    reload(&server, "CHAT_DENY_FROM=127.0.0.66\n");
    server.expect_log("may connect: everybody, but not 127.0.0.66/32");
    assert_eq!(mallory.read_to_end(), CUT_OFF);
    assert_eq!(nameless.read_to_end(), format!("\n{CUT_OFF}"));
    alice.expect("[LOBBY] mallory has left the lobby");
    server.expect_log("mallory left from 127.0.0.66:");
    assert_eq!(server.connect_from([127, 0, 0, 66]).read_to_end(), "");
    // And back.
    reload(&server, "");
    common::eventually("everybody may connect", || {
        server.log().lines().any(|line| line.ends_with("may connect: everybody"))
    });
    server.connect_from([127, 0, 0, 66]).login("mallory");
    alice.send("still here");
    alice.expect("╰─> still here\n");
}

#[test]
fn what_a_reload_does_not_change_is_told() {
    let server = server("CHAT_HISTORY_SECS=60\n");
    reload(&server, "CHAT_HISTORY_SECS=60\nCHAT_DENY_FROM=127.0.0.66\n");
    server.expect_log("may connect: everybody, but not 127.0.0.66/32");
    assert!(!server.log().contains("other settings have changed"));
    reload(&server, "CHAT_HISTORY_SECS=61\nCHAT_DENY_FROM=127.0.0.66\n");
    server.expect_log("other settings have changed: they take effect at the next start");
}

#[test]
fn settings_that_come_after_the_start_count_and_are_missed_when_they_go() {
    let server = Server::start();
    reload(&server, "CHAT_DENY_FROM=127.0.0.66\n");
    server.expect_log("may connect: everybody, but not 127.0.0.66/32");
    fs::remove_file(server.dir().join(".env")).unwrap();
    server.signal(Signal::HUP);
    server.expect_log("the old settings stay in use - there is no .env any more");
    assert!(!server.log().contains("other settings have changed"), "{}", server.log());
    assert!(server.connect_from([127, 0, 0, 66]).read_raw_to_end().is_empty());
}

#[test]
fn settings_that_are_gone_change_nothing() {
    let server = server("CHAT_DENY_FROM=127.0.0.66\n");
    fs::remove_file(server.dir().join(".env")).unwrap();
    server.signal(Signal::HUP);
    let line = server.expect_log("the old settings stay in use - there is no .env any more");
    assert!(line.ends_with("; an empty one lifts the lists of who may connect"), "{line}");
    assert!(server.connect_from([127, 0, 0, 66]).read_raw_to_end().is_empty());
    // As it says.
    reload(&server, "");
    server.expect_log("may connect: everybody");
    server.connect_from([127, 0, 0, 66]).login("mallory");
}

/// Over TLS, and to somebody who is behind with reading: it arrives all the same.
#[test]
fn who_is_cut_off_over_tls_or_reads_late_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    tls_client::make_pair(dir.path());
    fs::write(dir.path().join(".env"), "CHAT_HISTORY_SECS=60\n").unwrap();
    let command = common::command(dir.path());
    let server = Server::spawn(command, dir, &[("CHAT_TLS_LISTEN", "127.0.0.1:0")]);
    let over_tls = |addr| {
        let name = "localhost".try_into().unwrap();
        let client = ClientConnection::new(config(&TLS13), name).unwrap();
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client::over(StreamOwned::new(client, stream))
    };
    let mut alice = over_tls(server.tls_addr.unwrap()).login("alice");
    // Those who are still shaking hands are gone without a word.
    let shaking = TcpStream::connect(server.tls_addr.unwrap()).unwrap();
    let mut late = server.login("late");
    let text = "x".repeat(900);
    for n in 0..100 {
        alice.send(&format!("{n}-{text}"));
        alice.expect(&format!("╰─> {n}-"));
    }
    reload(&server, "CHAT_DENY_FROM=127.0.0.0/8\n");
    assert!(alice.read_to_end().ends_with(CUT_OFF));
    let seen = late.read_to_end();
    assert!((0..100).all(|n| seen.contains(&format!("╰─> {n}-x"))) && seen.ends_with(CUT_OFF));
    assert!(Client::new(shaking).read_raw_to_end().is_empty());
}

#[test]
fn settings_that_cannot_be_read_change_nothing() {
    let server = server("CHAT_DENY_FROM=127.0.0.2\n");
    reload(&server, "CHAT_DENY_FROM=127.0.0.2,everybody\n");
    let line = server.expect_log("the old settings stay in use");
    assert!(line.contains("CHAT_DENY_FROM: cannot use"), "{line}");
    assert_eq!(server.connect_from([127, 0, 0, 2]).read_to_end(), "");
    server.login("alice");
}
