//! Lobby passwords on the running server: right, wrong, guessed, and never in anybody's way.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods)]

mod common;

use std::time::{Duration, Instant};

use common::{Client, Server};

/// A lobby whose password takes a while to check, made by somebody who then leaves.
fn private_lobby(server: &Server) {
    let mut maker = server.login("maker");
    maker.send("/create secret \"open sesame\" for few");
    maker.expect("Created private lobby 'secret'. Use /join secret <password> to enter.\n");
    maker.send("/quit");
    maker.read_to_end();
}

#[test]
fn a_password_being_checked_holds_up_nobody_and_needs_no_thread() {
    // About a second of work for each check.
    let server = Server::with(&[("CHAT_BCRYPT_COST", "13")]);
    private_lobby(&server);
    let mut alice = server.login("alice");
    let mut bob = server.login("bob");
    bob.send("/join secret open sesame");
    std::thread::sleep(Duration::from_millis(50));
    let mut times = Vec::new();
    for n in 0..20 {
        let sent = Instant::now();
        alice.send(&format!("number {n}"));
        alice.expect(&format!("number {n}\n"));
        times.push(sent.elapsed());
    }
    let threads = server.status("Threads");
    let seen = bob.expect("Joined lobby 'secret'\n");
    assert_eq!(seen.matches("number").count(), 20, "the check was over too soon to show anything");
    assert_eq!(threads, 1);
    times.sort();
    assert!(times[10] < Duration::from_millis(100), "{times:?}");
}

#[test]
fn the_lines_of_one_who_waits_wait_too_in_order_and_so_does_the_end() {
    let server = Server::with(&[("CHAT_BCRYPT_COST", "8")]);
    private_lobby(&server);
    let mut bob = server.connect();
    bob.send_bytes(
        b"bob\n/join secret open sesame\nfirst\n/join general\n/join secret \"open sesame\"\nlast",
    );
    bob.stream.shutdown(std::net::Shutdown::Write).unwrap();
    let seen = bob.read_to_end();
    let parts = [
        "Joined lobby 'secret'\n",
        "  ╰─> first\n",
        "Joined lobby 'general'\n",
        "Joined lobby 'secret'\n",
        "  ╰─> last\n",
    ];
    let mut rest = &seen[..];
    for part in parts {
        let at = rest.find(part).unwrap_or_else(|| panic!("no {part:?} in {seen}"));
        rest = &rest[at + part.len()..];
    }
}

#[test]
fn wrong_passwords_lock_the_address_out_and_no_other() {
    let server = Server::start();
    private_lobby(&server);
    let mut guesser = server.connect_from([127, 0, 0, 5]).login("guesser");
    for _ in 0..3 {
        guesser.send("/join secret wrong");
        guesser.expect("Incorrect password for private lobby\n");
    }
    guesser.send("/join secret open sesame");
    guesser.expect("Too many wrong passwords. Try again in 60 seconds.\n");
    server.expect_log("refused 127.0.0.5 - 3 wrong lobby passwords");
    let mut friend = server.connect_from([127, 0, 0, 6]).login("friend");
    friend.send("/join secret open sesame");
    friend.expect("Joined lobby 'secret'\n");
    let log = server.log();
    assert!(!log.contains("sesame") && !log.contains("wrong\n"), "{log}");
}

#[test]
fn tries_made_at_once_tell_no_more_than_tries_made_one_by_one() {
    let server = Server::with(&[("CHAT_BCRYPT_COST", "8")]);
    private_lobby(&server);
    let mut guessers: Vec<Client> =
        (0..8).map(|n| server.connect_from([127, 0, 0, 5]).login(&format!("guesser{n}"))).collect();
    for (n, guesser) in guessers.iter_mut().enumerate() {
        let guess = if n == 7 { "open sesame" } else { "wrong" };
        guesser.send(&format!("/join secret {guess}"));
    }
    for (n, guesser) in guessers.iter_mut().enumerate() {
        if n < 3 {
            guesser.expect("Incorrect password for private lobby\n");
        } else {
            guesser.expect("Too many wrong passwords. Try again in ");
        }
    }
}

#[test]
fn who_leaves_while_a_password_is_checked_leaves_nothing_behind() {
    let server = Server::with(&[("CHAT_BCRYPT_COST", "13")]);
    private_lobby(&server);
    common::eventually("its maker is gone", || server.state()["connections"] == 0);
    let before = server.descriptors();
    for n in 0..10 {
        let mut client = server.login(&format!("user{n}"));
        client.send("/join secret open sesame");
        socket2::SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
    common::eventually("their descriptors are free", || server.descriptors() == before);
    let mut alice = server.login("alice");
    alice.send("/users");
    alice.expect("=== Users in 'general' (1) ===\n");
}

/// A blank of another kind before or behind the password, put in by a keyboard or an editor, must not
/// make a description of it that everybody reads.
#[test]
fn a_password_beside_an_unusual_blank_is_shown_to_nobody() {
    let server = Server::start();
    let mut maker = server.login("maker");
    for (n, blanks) in
        [["\u{a0}", " "], [" ", "\u{a0}"], ["\u{3000}", "\u{3000}"]].iter().enumerate()
    {
        let [before, behind] = blanks;
        maker.send(&format!("/create den{n}{before}hunter2{behind}chess"));
        maker.expect(&format!("Created private lobby 'den{n}'. "));
        maker.send(&format!("\u{3000}/join\u{3000}den{n}{before}hunter2"));
        maker.expect(&format!("Joined lobby 'den{n}'\n"));
        maker.send("/join general");
        maker.expect("Joined lobby 'general'\n");
    }
    maker.send("/lobbies");
    let list = maker.expect("Lobby: den2");
    assert!(!list.contains("hunter2"), "{list}");
}

/// Whoever has had no password checked lately comes next, however many others want theirs checked
/// all the time, right ones included; and is never told that there are too many.
#[test]
fn those_who_have_passwords_checked_all_the_time_wait_behind_others() {
    const ADDRESSES: u8 = 26;
    let settings = [("CHAT_BCRYPT_COST", "8"), ("CHAT_MESSAGES_PER_WINDOW", "0")];
    let server = Server::with(&settings);
    private_lobby(&server);
    let mut alice = server.connect_from([127, 0, 1, 1]).login("alice");
    let joined = |whom: &mut Client| {
        let asked = Instant::now();
        whom.send("/join secret open sesame");
        whom.expect("Joined lobby 'secret'\n");
        whom.send("/join general");
        whom.expect("Joined lobby 'general'\n");
        asked.elapsed()
    };
    let alone = joined(&mut alice);
    let mut crowd = Vec::new();
    for n in 0..ADDRESSES {
        for m in 0..10 {
            let mut client = server.connect_from([127, 0, 2, n]).login(&format!("crowd{n}x{m}"));
            client.send_bytes("/join secret open sesame\n/join general\n".repeat(500).as_bytes());
            crowd.push(client);
        }
    }
    common::eventually("they wait in line", || server.state()["password_jobs"] > 100);
    let mut bob = server.connect_from([127, 0, 1, 2]).login("bob");
    let beside = joined(&mut bob);
    assert!(beside < 40 * alone + Duration::from_millis(500), "{beside:?}, alone {alone:?}");
}
