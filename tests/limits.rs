//! Limits and misbehaving clients: what they get, and that nobody else notices.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods)]

mod common;

use std::io::Write as _;
use std::time::{Duration, Instant};

use common::{Client, PATIENCE, Server, eventually};

#[test]
fn the_eleventh_connection_of_an_address_is_told_and_closed_cleanly() {
    let server = Server::with(&[("CHAT_MAX_CONNECTIONS_PER_IP", "10")]);
    let mut users: Vec<_> = (0..10).map(|n| server.login(&format!("user{n}"))).collect();
    for _ in 0..20 {
        let mut refused = server.connect();
        // What it sends is never read, and must not cost it the answer.
        let _ = std::io::Write::write_all(&mut refused.stream, b"alice\nhello\n");
        assert_eq!(refused.read_to_end(), "Too many connections from your IP. Try again later.\n");
    }
    server.expect_log("refused 127.0.0.1 - too many connections");
    let _other = server.connect_from([127, 0, 0, 2]).login("neighbour");
    users.pop().unwrap().send("/quit");
    eventually("a place is free again", || {
        let mut client = server.connect();
        let seen = client.read_for(Duration::from_millis(200));
        seen.contains("Enter your username: ")
    });
}

#[test]
fn a_full_server_turns_newcomers_away() {
    let server = Server::with(&[("CHAT_MAX_CONNECTIONS", "2")]);
    let _users = (server.login("alice"), server.login("bob"));
    assert_eq!(server.connect().read_to_end(), "Server is full. Try again later.\n");
    server.expect_log("refused 127.0.0.1 - server full");
}

#[test]
fn those_without_a_name_give_place_and_first_the_oldest_of_who_has_most() {
    let server = Server::with(&[("CHAT_MAX_CONNECTIONS", "12")]);
    let mut alice = server.login("alice");
    let mut waiting = server.connect_from([127, 0, 0, 3]);
    waiting.expect("Enter your username: ");
    let mut idlers: Vec<_> = (0..10).map(|_| server.connect_from([127, 0, 0, 2])).collect();
    eventually("all are in", || server.state()["connections"] == 12);
    let bob = server.connect_from([127, 0, 0, 4]).login("bob");
    idlers[0].read_to_end();
    server.expect_log("127.0.0.2");
    // Whoever takes long over a name keeps the place for as long as others hold more.
    waiting.send("carol");
    waiting.expect("[LOBBY] carol has joined the lobby\n");
    let more: Vec<_> =
        (0..9).map(|n| server.connect_from([127, 0, 1, n]).login(&format!("user{n}"))).collect();
    assert_eq!(
        server.connect_from([127, 0, 0, 9]).read_to_end(),
        "Server is full. Try again later.\n"
    );
    alice.send("still here");
    alice.expect("  ╰─> still here\n");
    drop((bob, more));
}

#[test]
fn out_of_descriptors_the_newcomer_is_turned_away_and_those_inside_notice_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let inner = common::command(dir.path());
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "ulimit -n 40; exec \"$0\""]).arg(inner.get_program());
    command.current_dir(dir.path());
    command.stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let server = Server::spawn(command, dir, &[("CHAT_MAX_CONNECTIONS", "1000")]);
    let mut alice = server.login("alice");
    let mut others: Vec<Client> = (0..60).map(|_| server.connect()).collect();
    server.expect_log("out of file descriptors");
    let turned_away = others
        .iter_mut()
        .rev()
        .take(20)
        .filter(|client| {
            let mut seen = Vec::new();
            let mut stream = &client.stream;
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let _ = std::io::Read::read_to_end(&mut stream, &mut seen);
            String::from_utf8_lossy(&seen).contains("Server is full")
        })
        .count();
    assert_eq!(turned_away, 20);
    alice.send("still here");
    alice.expect("  ╰─> still here\n");
    // No turning in circles meanwhile.
    let before = server.cpu_ticks();
    std::thread::sleep(Duration::from_millis(500));
    assert!(server.cpu_ticks() - before <= 5);
    drop(others);
    eventually("newcomers are let in again", || {
        server.connect().read_for(Duration::from_millis(200)).contains("Enter your username")
    });
    alice.send("and still");
    alice.expect("  ╰─> and still\n");
}

#[test]
fn connections_that_vanish_before_a_name_leave_nothing_behind() {
    let server = Server::start();
    let _alice = server.login("alice");
    let before = server.descriptors();
    for _ in 0..50 {
        drop(server.connect());
    }
    for _ in 0..50 {
        let client = server.connect();
        // With a reset instead of an end.
        socket2::SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
        client.stream.shutdown(std::net::Shutdown::Read).unwrap();
    }
    eventually("their descriptors are free", || server.descriptors() == before);
    let ticks = server.cpu_ticks();
    std::thread::sleep(Duration::from_millis(500));
    assert!(server.cpu_ticks() - ticks <= 1, "the loop turns without work");
}

#[test]
fn no_name_in_time_is_told_and_closed() {
    let server = Server::with(&[("CHAT_LOGIN_TIMEOUT_SECS", "1")]);
    let started = Instant::now();
    let seen = server.connect().read_to_end();
    assert!(seen.contains("You did not enter a username in time. Goodbye!"), "{seen}");
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[test]
fn an_idle_user_is_told_and_closed_and_a_busy_one_stays() {
    let server = Server::with(&[("CHAT_IDLE_TIMEOUT_SECS", "2")]);
    let mut idle = server.login("idle");
    let mut busy = server.login("busy");
    for _ in 0..6 {
        std::thread::sleep(Duration::from_millis(500));
        busy.send("");
    }
    assert!(idle.read_to_end().contains("You were idle for too long. Goodbye!"));
    busy.expect("[LOBBY] idle has left the lobby\n");
}

#[test]
fn the_rate_limit_is_stated_once_and_carried_over_a_reconnect() {
    let server = Server::with(&[("CHAT_MESSAGES_PER_WINDOW", "5")]);
    let mut alice = server.login("alice");
    let mut bob = server.login("bob");
    alice.send("1\n2\n3\n4\n5\n6\n7\n8");
    let seen = alice.expect("Rate limited!");
    assert!(seen.contains("╰─> 5\n"));
    alice.expect(" Wait 10 seconds. 1 line was not sent.\n");
    alice.send("/users");
    alice.expect("⚠ 2 lines were not sent.\n=== Users in 'general' (2) ===\n");
    assert_eq!(bob.expect("╰─> 5\n").matches("╰─>").count(), 5);
    alice.send("/quit");
    assert!(!alice.read_to_end().contains("Rate limited"));
    let mut alice = server.login("Alice");
    alice.send("again");
    alice.expect("⚠ Rate limited! Wait ");
    let mut other = server.connect_from([127, 0, 0, 9]).login("alice2");
    other.send("hello");
    other.expect("  ╰─> hello\n");
}

#[test]
fn an_endless_line_costs_no_memory_and_one_error() {
    let server = Server::start();
    let mut alice = server.login("alice");
    let before = server.status("VmRSS");
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..64 {
        alice.send_bytes(&piece);
    }
    alice.send("\nafter");
    let seen = alice.expect("  ╰─> after\n");
    assert_eq!(seen.matches("Message too long (max 1000 characters)").count(), 1);
    assert!(server.status("VmRSS") < before + 1024);
}

#[test]
fn a_message_of_1000_characters_passes_and_one_more_does_not() {
    let server = Server::start();
    let mut alice = server.login("alice");
    alice.send("/width off");
    alice.expect("Messages are no longer wrapped.\n");
    let longest = "ä".repeat(1000);
    alice.send(&longest);
    alice.expect(&format!("  ╰─> {longest}\n"));
    alice.send(&format!("{longest}ä"));
    alice.expect("Message too long (max 1000 characters): it has 1001\n");
}

#[test]
fn who_does_not_keep_up_misses_lines_and_the_others_notice_nothing() {
    let server =
        Server::with(&[("CHAT_SEND_QUEUE_BYTES", "65536"), ("CHAT_MESSAGES_PER_WINDOW", "0")]);
    let mut alice = server.login("alice");
    let mut bob = server.login("bob");
    let slow = server.connect();
    socket2::SockRef::from(&slow.stream).set_recv_buffer_size(32 * 1024).unwrap();
    let mut slow = slow.login("slow");
    alice.expect("slow has joined");
    let text = "x".repeat(900);
    let mut worst = Duration::ZERO;
    // More than the kernel's buffers take and the queue's bound.
    const SAID: usize = 600;
    for n in 0..SAID {
        let sent = Instant::now();
        alice.send(&format!("{n} {text}"));
        bob.expect(&format!("╰─> {n}\n"));
        worst = worst.max(sent.elapsed());
        alice.expect(&format!("╰─> {n}\n"));
        bob.take_raw();
        alice.take_raw();
    }
    assert!(worst < Duration::from_secs(1), "{worst:?}");
    alice.send("/msg slow hello");
    alice.expect("slow's line is full: not delivered.\n");
    // It reads on, hears what had fitted, how much had not, and what is said from then on.
    let mut seen = String::new();
    let end = Instant::now() + PATIENCE;
    while !seen.contains("[DM] alice —» You\n  ╰─> again\n") {
        if seen.contains(" left out: your line is slower than the talk.\n") {
            alice.send("/msg slow again");
        }
        seen += &slow.read_for(Duration::from_millis(50));
        assert!(Instant::now() < end && server.state()["users"] == 3, "{seen}");
    }
    let heard = seen.matches("\n  ╰─> ").count() - seen.matches("╰─> again").count();
    let missed = |part: &str| part.split(' ').next().unwrap().parse::<usize>().unwrap();
    let missed: usize = seen.split("… ").skip(1).map(missed).sum();
    assert!(heard > 50 && heard + missed == SAID, "{heard} and {missed}");
}

#[test]
fn who_makes_no_progress_is_dropped_by_time() {
    let server = Server::with(&[("CHAT_SEND_STALL_SECS", "2")]);
    let mut alice = server.login("alice");
    let silent = server.connect();
    socket2::SockRef::from(&silent.stream).set_recv_buffer_size(4096).unwrap();
    let _silent = silent.login("silent");
    // More than the kernel's buffers take, less than the queue's bound.
    let text = "x".repeat(900);
    for _ in 0..150 {
        alice.send(&text);
        alice.expect(&format!("{text}\n"));
    }
    alice.expect("[LOBBY] silent has left the lobby\n");
    server.expect_log("reads nothing: send queue stalled");
}

#[test]
fn commands_sent_faster_than_their_answers_leave_are_held_back_not_punished() {
    let server = Server::with(&[("CHAT_SEND_QUEUE_BYTES", "32768")]);
    let mut alice = server.login("alice");
    let rounds = 500;
    alice.send_bytes("/sp list\n".repeat(rounds).as_bytes());
    alice.send("/quit");
    let seen = alice.read_to_end();
    assert_eq!(seen.matches("=== Profile pictures").count(), rounds);
    assert!(seen.contains("Disconnecting from server. Goodbye!"));
}

#[test]
fn who_is_not_read_from_can_make_the_kernel_hold_little() {
    let server = Server::start();
    let client = server.login("mute");
    // So that hardly anything waits on this side.
    socket2::SockRef::from(&client.stream).set_send_buffer_size(4096).unwrap();
    client.stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    // Read until the answers, which nobody reads, have filled what they may.
    let mut taken = 0;
    let piece = "/sp list\n".repeat(100);
    while let Ok(bytes) = (&client.stream).write(piece.as_bytes()) {
        taken += bytes;
    }
    // What was answered, 200 bytes and more for each line, and what both kernels hold.
    assert!(taken < 64 * 1024, "{taken} bytes were taken");
}

#[test]
fn a_flood_from_one_client_does_not_hold_up_another() {
    let server = Server::start();
    let mut flooder = server.connect_from([127, 0, 0, 7]).login("flooder");
    let mut victim = server.login("victim");
    victim.send("/create quiet no-pass x");
    victim.expect("Created public lobby 'quiet'");
    victim.send("/join quiet");
    victim.expect("Joined lobby 'quiet'");
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let until = stop.clone();
    let mut reader = Client::new(flooder.stream.try_clone().unwrap());
    let sender = std::thread::spawn(move || {
        let piece = "\n".repeat(64 * 1024);
        while !until.load(std::sync::atomic::Ordering::Relaxed) {
            flooder.send_bytes(piece.as_bytes());
        }
    });
    let until = stop.clone();
    let drain = std::thread::spawn(move || {
        while !until.load(std::sync::atomic::Ordering::Relaxed) {
            reader.read_some();
            reader.take_raw();
        }
    });
    let mut times: Vec<_> = (0..200)
        .map(|n| {
            let sent = Instant::now();
            victim.send(&format!("number {n}"));
            victim.expect(&format!("number {n}\n"));
            sent.elapsed()
        })
        .collect();
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    sender.join().unwrap();
    drain.join().unwrap();
    times.sort();
    assert!(times[100] < Duration::from_millis(100), "median {:?}", times[100]);
}

/// Two hundred clients that send rubbish without pause: somebody who says a line now and then does not
/// wait for the turns of all of them, and at one of their addresses is not forgotten.
#[test]
fn a_flood_from_twenty_addresses_does_not_hold_up_another() {
    let server =
        Server::with(&[("CHAT_MESSAGES_PER_WINDOW", "0"), ("CHAT_MAX_CONNECTIONS_PER_IP", "20")]);
    let mut victim = server.login("victim");
    let mut neighbour = server.connect_from([127, 0, 4, 0]).login("neighbour");
    // Lines without an end, which are looked through for one.
    let rubbish = "\u{301}e\u{9b}".repeat(32 * 1024);
    let over = std::sync::atomic::AtomicBool::new(false);
    let mut times: Vec<[Duration; 2]> = std::thread::scope(|scope| {
        for thread in 0..4 {
            let (server, rubbish, over) = (&server, rubbish.as_bytes(), &over);
            scope.spawn(move || {
                let flooders: Vec<_> = (0..50)
                    .map(|n| server.connect_from([127, 0, 4, thread * 5 + n / 10]).stream)
                    .collect();
                flooders.iter().for_each(|tcp| tcp.set_nonblocking(true).unwrap());
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    for mut tcp in &flooders {
                        let _ = tcp.write(rubbish);
                    }
                }
            });
        }
        std::thread::sleep(Duration::from_millis(500));
        let times = (0..60).map(|n| {
            [("victim", &mut victim), ("neighbour", &mut neighbour)].map(|(name, client)| {
                let sent = Instant::now();
                client.send(&format!("{name} {n}."));
                client.expect(&format!("{name} {n}.\n"));
                sent.elapsed()
            })
        });
        let times = times.collect();
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        times
    });
    let mut median = |who: usize| {
        times.sort_by_key(|times| times[who]);
        times[30][who]
    };
    let (victim, neighbour) = (median(0), median(1));
    println!("median {victim:?}, at a flooder's address {neighbour:?}");
    // Without optimisation, and on a busy machine.
    assert!(victim < Duration::from_millis(500), "{victim:?}");
    assert!(neighbour < Duration::from_secs(5), "{neighbour:?}");
}

#[test]
fn a_crowd_becomes_one_line_a_second_in_a_large_lobby() {
    let server = Server::start();
    let mut first = server.login("first");
    let mut users: Vec<_> = (0..50).map(|n| server.login(&format!("early{n}"))).collect();
    first.expect("early49 has joined the lobby\n");
    std::thread::sleep(Duration::from_millis(1100));
    let mut crowd: Vec<_> = (0..40).map(|_| server.connect()).collect();
    for (n, client) in crowd.iter_mut().enumerate() {
        client.expect("Enter your username: ");
        client.send(&format!("late{n}"));
    }
    let seen = first.expect("have joined the lobby\n");
    assert!(seen.matches("has joined the lobby").count() >= 5, "{seen}");
    let line = seen.lines().last().unwrap().trim_start_matches("> ");
    assert!(line.starts_with("[LOBBY] late") && line.contains(" others have joined"), "{line}");
    users[0].send("/users");
    users[0].expect("(91) ===\n");
}
