//! People chatting: the real binary over real sockets.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods)]

mod common;

use std::net::Shutdown;
use std::time::Duration;

use common::{Server, plain};

#[test]
fn two_people_talk_and_see_the_same() {
    let server = Server::start();
    let mut alice = server.login("alice");
    let mut bob = server.login("bob");
    alice.expect("[LOBBY] bob has joined the lobby\n");
    alice.send("Hello everyone!");
    for user in [&mut alice, &mut bob] {
        let seen = user.expect("Hello everyone!\n");
        assert!(seen.ends_with("[@_@] alice [just now]\n  ╰─> Hello everyone!\n"), "{seen}");
    }
    bob.send("/quit");
    assert!(bob.read_to_end().contains("Disconnecting from server. Goodbye!\n"));
    alice.expect("[LOBBY] bob has left the lobby\n");
    let mut carol = server.login("bob");
    carol.send("/users");
    carol.expect("=== Users in 'general' (2) ===\n[@_@] alice\n[@_@] bob\n");
}

#[test]
fn the_greeting_comes_in_one_piece_and_leaves_the_screen_alone() {
    let server = Server::start();
    let mut client = server.connect();
    let seen = client.expect("Enter your username: ");
    assert!(seen.contains("[● CONNECTED] You're live! Start chatting now...\n"));
    for hint in ["/help", "/users", "/quit", "██"] {
        assert!(seen.contains(hint));
    }
    client.send("al");
    let joined = client.expect("\n> ");
    assert!(!joined.contains("\x1b[2J"));
}

#[test]
fn lines_of_one_packet_are_handled_in_order_and_answered_before_the_end() {
    let server = Server::start();
    let mut watcher = server.login("watcher");
    let mut client = server.connect();
    let mut script = String::from("alice\r\n");
    for n in 0..300 {
        script.push_str(&format!("message {n}\r\n"));
    }
    script.push_str("the last one has no newline");
    client.send_bytes(script.as_bytes());
    client.stream.shutdown(Shutdown::Write).unwrap();
    let sender_saw = client.read_to_end();
    let mut watcher_saw = watcher.expect("no newline\n");
    watcher_saw.push_str(&watcher.expect("[LOBBY] alice has left the lobby\n"));
    for seen in [&sender_saw, &watcher_saw] {
        let said: Vec<_> = seen.lines().filter_map(|line| line.strip_prefix("  ╰─> ")).collect();
        assert_eq!(said.len(), 301);
        for (n, text) in said[..300].iter().enumerate() {
            assert_eq!(*text, format!("message {n}"));
        }
        assert_eq!(said[300], "the last one has no newline");
    }
}

#[test]
fn a_client_that_sends_byte_by_byte_is_understood() {
    let server = Server::start();
    let mut client = server.connect();
    for byte in "alice\nGrüße 日本\n".bytes() {
        client.send_bytes(&[byte]);
    }
    client.expect("  ╰─> Grüße 日本\n");
}

#[test]
fn the_prompt_is_erased_before_and_drawn_after_what_comes() {
    let server = Server::start();
    let mut alice = server.login("alice");
    let mut bob = server.login("bob");
    alice.expect("bob has joined the lobby\n> ");
    alice.read_for(Duration::from_millis(200));
    bob.send("hi");
    alice.stream.set_read_timeout(Some(common::PATIENCE)).unwrap();
    let mut raw = Vec::new();
    while !raw.ends_with(b"\x1b[36m> \x1b[0m") {
        assert!(alice.read_some());
        raw.extend(alice.take_raw());
    }
    assert!(raw.starts_with(b"\r\x1b[K"), "{raw:?}");
    assert_eq!(common::below_clock(&plain(&raw)), "[@_@] bob [just now]\n  ╰─> hi\n> ");
    // An empty line: the prompt again, nothing else. There is nothing to erase.
    alice.send("");
    let mut raw = Vec::new();
    while !raw.ends_with(b"\x1b[0m") {
        assert!(alice.read_some());
        raw.extend(alice.take_raw());
    }
    assert_eq!(raw, b"\x1b[36m> \x1b[0m");
}

#[test]
fn without_colours_a_script_reads_clean_lines() {
    let server = Server::start();
    let mut alice = server.login("alice");
    let mut bob = server.login("bob");
    alice.send("/color off");
    alice.expect("Colours are off.\n");
    alice.send("one");
    bob.expect("one\n");
    bob.send("two");
    bob.expect("two\n");
    alice.send("/quit");
    let raw = alice.read_raw_to_end();
    assert!(!raw.contains(&0x1b));
    assert_eq!(
        common::below_clock(&String::from_utf8(raw).unwrap()),
        "[@_@] alice [just now]\n  ╰─> one\n[@_@] bob [just now]\n  ╰─> two\n\
         Disconnecting from server. Goodbye!\n"
    );
}

#[test]
fn what_is_typed_never_controls_a_terminal() {
    let server = Server::start();
    let mut alice = server.login("alice");
    let mut bob = server.login("bob");
    alice.send_bytes(b"a\x1b[2Jb\x1b]0;title\x07c\x9b\xe2\x80\xaed\xff\te\n");
    let seen = bob.expect("e\n");
    assert!(seen.ends_with("  ╰─> abc\u{fffd}d\u{fffd} e\n"), "{seen:?}");
}

#[test]
fn the_last_words_arrive_even_when_input_is_left_unread() {
    let server = Server::start();
    for round in 0..20 {
        let mut client = server.login(&format!("user{round}"));
        // What stands behind /quit is never read by the chat; a careless close would reset the
        // connection because of it, and take the goodbye along.
        let mut bytes = b"/quit\n".to_vec();
        bytes.extend(std::iter::repeat_n(b'x', 20_000));
        client.send_bytes(&bytes);
        assert!(client.read_to_end().contains("Disconnecting from server. Goodbye!\n"));
    }
}

#[test]
fn other_protocols_get_one_clear_answer_and_a_log_line() {
    let server = Server::start();
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03nothing readable here\x00\x01";
    // What a browser can be made to send is nothing to be banned for.
    let cases: [(&[u8], &str, &str); 3] = [
        (
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "HTTP/1.1 400 Bad Request\n",
            "turned away 127.0.0.1 - HTTP",
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "\nSSH-2.0-", "refused 127.0.0.1 - SSH"),
        (hello, "This port is not encrypted.", "turned away 127.0.0.1 - TLS"),
    ];
    for (sent, answer, line) in cases {
        let mut client = server.connect();
        client.send_bytes(sent);
        let seen = client.read_to_end();
        assert!(seen.contains(answer), "{seen}");
        assert!(seen.contains("This is a plain-text chat. Connect with: nc HOST PORT"), "{seen}");
        server.expect_log(&format!("{line} instead of chat"));
    }
}

#[test]
fn telnet_negotiation_never_reaches_a_name_or_a_message() {
    let server = Server::start();
    let mut client = server.connect();
    client.send_bytes(
        b"\xff\xfd\x01\xff\xfb\x1f\xff\xfa\x1f\x00\x50\x00\x18\xff\xf0al\xff\xf1ice\r\n",
    );
    client.expect("[LOBBY] alice has joined the lobby\n");
    client.send_bytes(b"hel\xff\xfe\x03lo\r\n");
    client.expect("  ╰─> hello\n");
}

#[test]
fn wrong_names_are_explained_and_the_fifth_ends_it() {
    let server = Server::start();
    let _alice = server.login("Alice");
    let mut client = server.connect();
    client.expect("Enter your username: ");
    for (name, error) in [
        ("x", "Username too short (min 2 characters)"),
        ("abcdefghijklmnopqrstu", "Username too long (max 20 characters)"),
        ("a b", "Username can only contain letters, numbers, - and _"),
        ("DM", "Username is reserved, try another."),
    ] {
        client.send(name);
        client.expect(&format!("{error}\nEnter your username: "));
    }
    // Which is no error.
    client.send("ALICE");
    client.expect("Username already taken, try another.");
    client.expect("\nEnter your username: ");
    client.send("Root");
    let seen = client.read_to_end();
    assert!(seen.contains("Username is reserved, try another.\nToo many wrong usernames."));
}

#[test]
fn history_is_replayed_to_whoever_enters() {
    let server = Server::start();
    let mut alice = server.login("alice");
    for n in 0..3 {
        alice.send(&format!("number {n}"));
        alice.expect(&format!("number {n}\n"));
    }
    std::thread::sleep(Duration::from_millis(1100));
    let mut bob = server.connect();
    bob.expect("Enter your username: ");
    bob.send("bob");
    let seen = bob.expect("\n> ");
    let (history, others) = seen.split_once("[LOBBY] bob has joined the lobby\n").unwrap();
    assert_eq!(others, "1 other is here: alice\n> ");
    let expected: Vec<_> = (0..3).map(|n| format!("  ╰─> number {n}")).collect();
    let said: Vec<_> = history.lines().filter(|line| line.starts_with("  ")).collect();
    assert_eq!(said, expected);
    assert!(history.contains("[@_@] alice [1s ago]\n") || history.contains("[2s ago]"));
}

#[test]
fn lobbies_are_made_entered_and_left() {
    let server = Server::start();
    let mut alice = server.login("alice");
    let mut bob = server.login("bob");
    alice.send("/create coding all about code");
    alice.expect("Created private lobby 'coding'. Use /join coding <password> to enter.\n");
    alice.send("/create Talk no-pass all about talk");
    alice.expect("Created public lobby 'Talk'. Use /join Talk to enter.\n");
    bob.send("/join talk");
    bob.expect("Joined lobby 'Talk'\n[LOBBY] bob has joined the lobby\n");
    alice.expect("[LOBBY] bob has left the lobby\n");
    bob.send("/join coding wrong");
    bob.expect("Incorrect password for private lobby\n");
    bob.send("/join coding all");
    bob.expect("Joined lobby 'coding'\n");
    bob.send("only for coders");
    bob.expect("only for coders\n");
    alice.send("/lobbies");
    let seen = alice.expect("Description: all about talk\n");
    assert!(!seen.contains("only for coders"));
    assert!(seen.contains(
        "Lobby: coding\n  Privacy: private | AI: default AI | Created by: alice\n  \
         Description: about code\n"
    ));
    bob.send("/msg ALICE psst");
    bob.expect("[DM] You —» alice\n  ╰─> psst\n");
    alice.expect("[DM] bob —» You\n  ╰─> psst\n");
}

#[test]
fn a_terminal_that_ends_lines_with_cr_is_answered_with_cr_lf() {
    let server = Server::start();
    let mut raw = server.connect();
    raw.expect("Enter your username: ");
    raw.send_bytes(b"alice\r");
    std::thread::sleep(Duration::from_millis(50));
    raw.send_bytes(b"one\r\0two\rthree");
    raw.send_bytes(b"\r/quit\r");
    let seen = String::from_utf8(raw.read_raw_to_end()).unwrap();
    let seen = &seen[seen.find("[LOBBY]").unwrap()..];
    for text in ["one", "two", "three"] {
        assert!(seen.contains(&format!("╰─>\x1b[0m {text}\r\n")), "{seen:?}");
    }
    assert!(seen.ends_with("Goodbye!\x1b[0m\r\n") && !seen.replace("\r\n", "").contains('\n'));
}

#[test]
fn telnet_tells_the_width_of_its_window() {
    const DO_NAWS: &[u8] = &[255, 253, 31];
    let server = Server::start();
    let mut bob = server.login("bob");
    let mut alice = server.connect();
    alice.read_for(Duration::from_millis(100));
    alice.take_raw();
    alice.send_bytes(&[255, 251, 31]);
    assert!(alice.read_some());
    assert!(alice.take_raw().ends_with(DO_NAWS));
    // A window of 31 columns; what is said fills 30 at most.
    alice.send_bytes(&[255, 250, 31, 0, 31, 0, 24, 255, 240]);
    alice.send("alice");
    bob.expect("[LOBBY] alice has joined the lobby\n");
    bob.send("one two three four five six seven");
    alice.expect("  ╰─> one two three four five\n      six seven\n");
    // It is made wider, and again so that it does not know.
    alice.send_bytes(&[255, 250, 31, 0, 80, 0, 24, 255, 240, 255, 250, 31, 0, 0, 0, 0, 255, 240]);
    alice.send("hello");
    alice.expect("  ╰─> hello\n");
    bob.send("one two three four five six seven");
    alice.expect("  ╰─> one two three four five six seven\n");
}

#[test]
fn texts_have_the_width_that_their_reader_says() {
    let server = Server::start();
    let mut alice = server.login("alice");
    let mut bob = server.login("bob");
    alice.send("/width 25");
    alice.expect("Messages now wrap at 25\n      columns.\n");
    bob.send("see https://example.org/a/long/address for more of it");
    alice.expect("  ╰─> see\n      https://example.org/a/long/address\n      for more of it\n");
    bob.expect("  ╰─> see https://example.org/a/long/address for more of it\n");
    alice.send("/width off");
    alice.expect("Messages are no longer wrapped.\n");
    let long = "word ".repeat(100);
    bob.send(&long);
    alice.expect(&format!("  ╰─> {}\n", long.trim_end()));
}
