//! The program as its operator meets it: arguments, settings, start-up, signals, log.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods)]

mod common;

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use common::{Server, command};
use rustix::process::Signal;

/// Runs the binary to its end.
fn run(arguments: &[&str], settings: &[(&str, &str)], env_file: &str) -> Output {
    let dir = tempfile::tempdir().unwrap();
    if !env_file.is_empty() {
        std::fs::write(dir.path().join(".env"), env_file).unwrap();
    }
    let mut command = command(dir.path());
    command.args(arguments).envs(settings.iter().copied()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn help_and_version() {
    for argument in ["--help", "-h"] {
        let output = run(&[argument], &[], "");
        assert!(output.status.success());
        assert!(text(&output.stdout).contains("Usage: mio-chat"));
    }
    let version = run(&["--version"], &[], "");
    assert_eq!(text(&version.stdout), format!("mio-chat {}\n", env!("CARGO_PKG_VERSION")));
    let unknown = run(&["--verbose"], &[], "");
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("mio-chat --help"));
}

#[test]
fn check_says_what_would_be_done_and_does_not_do_it() {
    let settings = [("CHAT_LISTEN", "127.0.0.1:0"), ("CHAT_IDLE_TIMEOUT_SECS", "90")];
    let output = run(&["--check"], &settings, "");
    assert!(output.status.success(), "{output:?}");
    let said = text(&output.stdout);
    for line in [
        "Would listen on: 127.0.0.1:",
        "Rate limit: 5 lines in 10 s",
        "idle 90 s",
        "Settings are good.",
    ] {
        assert!(said.contains(line), "{said}");
    }
    assert!(!said.contains("Rox"));
    let one = [("CHAT_MAX_CONNECTIONS_PER_IP", "1"), ("CHAT_MESSAGES_PER_WINDOW", "1")];
    let rox = [("GEMINI_API_KEY", "key"), ("GEMINI_QUESTIONS_PER_HOUR", "0")];
    let said = text(&run(&["--check"], &[one, rox].concat(), "").stdout);
    let questions = "\nRox: no limit an hour for each user, 500 questions a day for all together\n";
    assert!(said.contains(questions), "{said}");
    assert!(said.contains("one address: 1 connection\n") && said.contains(": 1 line in 10 s\n"));
    let bad = run(&["--check"], &[("CHAT_BCRYPT_COST", "99")], "");
    assert_eq!(bad.status.code(), Some(1));
    // Beside a running server, and without making a file.
    let server = Server::start();
    let addr = server.addr.to_string();
    let file = server.dir().join("chat.log");
    let settings = [("CHAT_LISTEN", &*addr), ("CHAT_LOG_FILE", file.to_str().unwrap())];
    assert!(run(&["--check"], &settings, "").status.success());
    assert!(!file.exists());
}

#[test]
fn a_value_that_cannot_be_read_stops_the_start_with_one_line_that_names_it() {
    let output = run(&[], &[("CHAT_RATE_WINDOW_SECS", "ten")], "");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        "CHAT_RATE_WINDOW_SECS: cannot use \"ten\"; allowed: a whole number from 1 to 3600\n"
    );
    let file = run(&["--check"], &[], "CHAT_SEND_STALL_SECS=soon\n");
    assert!(text(&file.stderr).starts_with("CHAT_SEND_STALL_SECS: cannot use \"soon\""));
    let key = run(&["--check"], &[("GEMINI_API_KEY", "my secret")], "");
    assert_eq!(key.status.code(), Some(1));
    assert!(!text(&key.stderr).contains("secret"));
    // In the file quotes are taken off; in the environment they are what somebody forgot.
    for quoted in ["\"my-secret\"", "'my-secret'", "my-secret\""] {
        for args in [&["--check"][..], &[]] {
            let key = run(args, &[("GEMINI_API_KEY", quoted)], "");
            assert_eq!(key.status.code(), Some(1));
            let said = text(&key.stderr);
            assert!(said.starts_with("GEMINI_API_KEY: ") && said.contains("quotes"), "{said}");
            assert!(said.lines().count() == 1 && !said.contains("secret"), "{said}");
        }
    }
    let key = run(&["--check"], &[], "GEMINI_API_KEY=\"my-secret\"\n");
    assert_eq!(key.status.code(), Some(0), "{}", text(&key.stderr));
    let log = run(&["--check"], &[("CHAT_LOG_FILE", "/nowhere/at/all.log")], "");
    assert!(text(&log.stderr).starts_with("CHAT_LOG_FILE: cannot write /nowhere/at/all.log"));
    let off = run(&["--check"], &[("CHAT_LISTEN", "off"), ("CHAT_TLS_LISTEN", "off")], "");
    assert_eq!(off.status.code(), Some(1));
    assert!(text(&off.stderr).contains("CHAT_LISTEN"));
}

#[test]
fn the_environment_wins_over_the_file() {
    let file = "CHAT_LISTEN=127.0.0.1:0\nCHAT_BCRYPT_COST=5\nCHAT_HISTORY_SECS=60\n";
    let output = run(&["--check"], &[("CHAT_BCRYPT_COST", "6")], file);
    let said = text(&output.stdout);
    assert!(said.contains("bcrypt cost 6") && said.contains("History: 60 s"), "{said}");
}

#[test]
fn a_port_in_use_is_told_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let output = run(&[], &[("CHAT_LISTEN", &addr)], "");
    assert_eq!(output.status.code(), Some(1));
    let error = format!("Error starting TCP server: listen tcp {addr}: address already in use\n");
    assert_eq!(text(&output.stderr), error);

    let all = TcpListener::bind("[::]:0").unwrap();
    let port = all.local_addr().unwrap().port();
    let output = run(&[], &[("CHAT_LISTEN", &format!(":{port}"))], "");
    let error = format!("Error starting TCP server: listen tcp :{port}: address already in use\n");
    assert_eq!(text(&output.stderr), error);
}

#[test]
fn the_start_up_lines() {
    let server = Server::with(&[("CHAT_LISTEN", "[::]:0"), ("TZ", "<+0545>-5:45")]);
    let lines: Vec<_> = server.start_lines.lines().collect();
    let port = server.addr.port();
    assert_eq!(
        lines[lines.len() - 6..],
        [
            &format!("Port: :{port}"),
            "Lobby: general",
            "Time zone: <+0545>-5:45",
            "Protocol: TCP",
            "[!] AI features disabled (no API key)",
            ">> Server ready - Waiting for connections...",
        ]
    );
    // All addresses of the host means those of both families.
    server.login("alice");
    let six = std::net::TcpStream::connect(("::1", port)).unwrap();
    common::Client::new(six).login("bob");
    assert!(server.expect_log("alice joined from").contains(" 127.0.0.1:"));
    assert!(server.expect_log("bob joined from").contains(" [::1]:"));
}

#[test]
fn a_signal_ends_it_with_a_goodbye_to_everybody_and_exit_code_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::start();
        let mut users: Vec<_> = (0..20).map(|n| server.login(&format!("user{n}"))).collect();
        let mut nameless = server.connect();
        nameless.expect("Enter your username: ");
        server.signal(signal);
        for user in users.iter_mut().chain([&mut nameless]) {
            let seen = user.read_to_end();
            assert!(seen.ends_with("Server is shutting down. Goodbye!\n"), "{seen}");
            assert_eq!(seen.matches("Goodbye").count(), 1);
            assert!(!seen.contains("has left"));
        }
        drop((users, nameless));
        assert_eq!(server.wait().code(), Some(0));
    }
}

/// What a start writes to a terminal, up to the line that says it is ready.
fn started_in_a_terminal(settings: &[(&str, &str)]) -> String {
    let (terminal, inside) = terminal();
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(dir.path());
    command.env("CHAT_LISTEN", "127.0.0.1:0").env("CHAT_TLS_LISTEN", "off");
    command.env_remove("NO_COLOR").env("TERM", "xterm").envs(settings.iter().copied());
    let mut server = command.stdout(inside).stderr(Stdio::null()).spawn().unwrap();
    let mut seen = String::new();
    let mut lines = BufReader::new(terminal);
    while !seen.contains(">> Server ready") {
        assert!(lines.read_line(&mut seen).unwrap() > 0, "{seen}");
    }
    server.kill().unwrap();
    server.wait().unwrap();
    seen
}

#[test]
fn banner_and_colours_are_for_terminals_that_want_them() {
    assert!(Server::start().start_lines.starts_with("Port: "));
    let terminal = |settings| started_in_a_terminal(settings);
    for settings in [&[][..], &[("NO_COLOR", "")], &[("TERM", "screen")]] {
        let seen = terminal(settings);
        assert!(seen.contains("\x1b[36m╔═") && seen.contains("chat server for"), "{seen}");
    }
    for settings in [&[("NO_COLOR", "1")], &[("NO_COLOR", "0")], &[("TERM", "dumb")]] {
        let seen = terminal(settings);
        assert!(seen.contains("╔═") && !seen.contains('\x1b'), "{seen}");
    }
}

#[test]
fn what_is_owed_at_the_end_is_delivered() {
    let mut server = Server::start();
    let mut slow = server.login("slow");
    let mut alice = server.login("alice");
    let text = "x".repeat(900);
    for n in 0..200 {
        alice.send(&format!("{n}-{text}"));
        alice.expect(&format!("╰─> {n}-"));
    }
    server.signal(Signal::TERM);
    server.expect_log("shutting down");
    let seen = slow.read_to_end();
    for n in 0..200 {
        assert!(seen.contains(&format!("╰─> {n}-x")), "message {n} is lost");
    }
    assert!(seen.ends_with("Server is shutting down. Goodbye!\n"));
    drop((slow, alice));
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn who_never_closes_delays_the_end_by_seconds_only() {
    let mut server = Server::start();
    let _silent = server.login("silent");
    let started = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(6));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut server = Server::start();
    let _silent = server.login("silent");
    server.signal(Signal::TERM);
    server.expect_log("shutting down");
    let started = Instant::now();
    server.signal(Signal::INT);
    assert_eq!(server.wait().code(), Some(1));
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[test]
fn usr1_logs_the_state_and_hup_ends_nothing() {
    let server = Server::start();
    let mut alice = server.login("alice");
    let _nameless = server.connect();
    common::eventually("both are counted", || {
        server.signal(Signal::USR1);
        server.log().contains("state: connections=2 users=1 lobbies=1 messages=0 ")
    });
    let line = server.expect_log("connections=2");
    assert!(line.contains(" memory_kib=") && line.contains(" longest_turn_us="), "{line}");
    server.signal(Signal::HUP);
    server.expect_log("hang-up signal");
    alice.send("still here");
    alice.expect("╰─> still here\n");
}

/// A terminal: what holds it, and what a program in it reads and writes.
fn terminal() -> (File, File) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let inside = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    (terminal.into(), inside)
}

#[test]
fn closing_the_terminal_ends_it_like_a_signal() {
    let (terminal, keyboard) = terminal();
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(dir.path());
    command.stdin(keyboard);
    let mut server = Server::spawn(command, dir, &[]);
    let mut alice = server.login("alice");
    // As long as it is there the signal is what it is elsewhere.
    server.signal(Signal::HUP);
    server.expect_log("hang-up signal");
    drop(terminal);
    server.signal(Signal::HUP);
    server.expect_log("shutting down");
    // The shell says it again.
    server.signal(Signal::HUP);
    assert!(alice.read_to_end().contains("Server is shutting down. Goodbye!"));
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_misspelt_setting_is_told() {
    for name in ["CHAT_LISTN", "chat_listen", "GEMINI_API_KY"] {
        let in_file = run(&["--check"], &[], &format!("CHAT_LISTEN=127.0.0.1:0\n{name}=x\n"));
        assert_eq!(in_file.status.code(), Some(1));
        assert_eq!(text(&in_file.stderr), format!("./.env: there is no setting {name}\n"));
        // There it may be another program's.
        let in_environment = run(&["--check"], &[("CHAT_LISTEN", "127.0.0.1:0"), (name, "x")], "");
        assert!(in_environment.status.success());
        let warning = text(&in_environment.stderr);
        assert!(warning.contains(&format!("[WARN] there is no setting {name}: ")), "{warning}");
    }
    let other = run(&["--check"], &[], "RUST_BACKTRACE=1\nchatter=x\n");
    assert!(other.status.success() && other.stderr.is_empty(), "{other:?}");
}

#[test]
fn the_last_of_two_values_counts() {
    let output = run(&["--check"], &[], "CHAT_IDLE_TIMEOUT_SECS=7\nCHAT_IDLE_TIMEOUT_SECS=8\n");
    assert!(text(&output.stdout).contains("idle 8 s"), "{output:?}");
}

#[test]
fn the_log_tells_who_came_and_went_and_never_what_was_said() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chat.log");
    let settings = [("CHAT_LOG_FILE", path.to_str().unwrap()), ("CHAT_LOBBY_TTL_SECS", "1")];
    let server = Server::with(&settings);
    let mut alice = server.login("alice");
    alice.send("/create club hunter2 for members");
    alice.expect("Created private lobby");
    alice.send("something confidential");
    alice.expect("confidential\n");
    alice.send("/msg alice hello");
    alice.send("/quit");
    alice.read_to_end();
    server.expect_log("alice joined from 127.0.0.1:");
    server.expect_log("lobby 'club' created by alice from 127.0.0.1:");
    assert!(server.expect_log("alice left from 127.0.0.1:").ends_with(" - quit"));
    server.expect_log("lobby 'club' removed - empty for 1 s");
    common::eventually("the file has the same", || {
        std::fs::read_to_string(&path).unwrap() == server.log()
    });
    for secret in ["hunter2", "confidential", "for members"] {
        assert!(!server.log().contains(secret));
    }
}
