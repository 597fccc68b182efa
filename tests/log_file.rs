//! The file that the log goes to: what nobody reads, what is moved away, and what stands in it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods)]

mod common;

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Server, command, eventually};
use rustix::process::Signal;

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

/// A server that logs to this file of its directory, made ready by this.
fn logging_to(name: &str, prepare: impl FnOnce(&Path)) -> (Server, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    prepare(&path);
    let command = command(dir.path());
    let server = Server::spawn(command, dir, &[("CHAT_LOG_FILE", path.to_str().unwrap())]);
    (server, path)
}

#[cfg(target_os = "linux")]
#[test]
fn one_that_takes_no_more_is_told_of_and_the_log_goes_on() {
    let server = Server::with(&[("CHAT_LOG_FILE", "/dev/full")]);
    server.login("alice");
    server.expect_log("alice left from");
    let line = server.expect_log("CHAT_LOG_FILE");
    assert!(line.contains("Z [ERROR] CHAT_LOG_FILE: lines wait - No space left"), "{line}");
    assert_eq!(server.log().matches("CHAT_LOG_FILE").count(), 1);
    // Once more than may wait are lost, that is told, too.
    while !server.log().contains("[ERROR] CHAT_LOG_FILE: lines are lost - it takes no more") {
        server.state();
    }
    assert_eq!(server.log().matches("CHAT_LOG_FILE").count(), 2);
}

#[test]
fn a_fifo_that_nobody_reads_blocks_neither_the_start_nor_the_chat() {
    let (server, fifo) = logging_to("fifo", |path| {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
        // The check does not wait, either.
        let dir = tempfile::tempdir().unwrap();
        let check = command(dir.path()).arg("--check").env("CHAT_LOG_FILE", path).output().unwrap();
        assert!(check.status.success(), "{check:?}");
    });
    let mut bob = server.login("bob");
    // More than the kernel keeps for a reader who may still come.
    while !server.log().contains("CHAT_LOG_FILE: lines are lost") {
        for _ in 0..20 {
            server.state();
        }
        bob.send("still here");
        bob.expect("╰─> still here\n");
    }
    // Who comes late reads whole lines, the first ones first, how many are missing, and then what
    // happens.
    let mut lines = BufReader::new(File::open(fifo).unwrap()).lines().map(Result::unwrap);
    assert!(lines.next().unwrap().contains(" [INFO] ready on "));
    for line in lines.by_ref() {
        assert_eq!((&line[4..5], &line[19..20], &line[23..25]), ("-", ".", "Z "), "{line}");
        if line.contains(" of this log lost after 20") {
            server.login("carol");
        }
        if line.contains("carol joined from") {
            break;
        }
    }
}

#[test]
fn it_is_opened_again_on_sighup() {
    let (server, path) = logging_to("chat.log", |_| {});
    server.login("alice");
    server.expect_log("alice left from");
    let old = path.with_extension("log.1");
    fs::rename(&path, &old).unwrap();
    server.login("bob");
    server.expect_log("bob left from");
    eventually("the old one has it", || read(&old).contains("bob left from"));
    assert!(!path.exists());
    server.signal(Signal::HUP);
    server.expect_log("log file opened again");
    let before = read(&old);
    server.login("carol");
    server.expect_log("carol left from");
    eventually("the new file has it", || read(&path).contains("carol left from"));
    assert!(read(&path).lines().next().unwrap().ends_with(" [INFO] log file opened again"));
    assert_eq!(read(&old), before);
    assert_eq!(format!("{before}{}", read(&path)), server.log());
}

#[test]
fn one_that_cannot_be_opened_again_stays_in_use_as_it_was() {
    let (server, path) = logging_to("chat.log", |_| {});
    let old = path.with_extension("log.1");
    fs::rename(&path, &old).unwrap();
    fs::create_dir(&path).unwrap();
    server.signal(Signal::HUP);
    let line = server.expect_log("the old log file stays in use");
    let error = format!("stays in use - cannot write {}: Is a directory", path.display());
    assert!(line.contains(&error), "{line}");
    server.login("alice");
    server.expect_log("alice left from");
    eventually("the old one has it", || read(&old).contains("alice left from"));
    assert_eq!(read(&old), server.log());
}

#[test]
fn a_reload_without_one_says_nothing_of_it() {
    let server = Server::start();
    server.signal(Signal::HUP);
    server.expect_log("hang-up signal");
    server.login("alice");
    assert!(!server.log().contains("log file"), "{}", server.log());
}

/// A name in the environment is a foreign text like any other.
#[test]
fn a_record_is_one_line_whatever_stands_in_it() {
    let (server, path) = {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chat.log");
        let command = command(dir.path());
        let forged =
            "CHAT_X\n2026-01-01T00:00:00.000Z [WARN] refused 192.0.2.1 - server full\x1b[2J";
        let settings = [("CHAT_LOG_FILE", path.to_str().unwrap()), (forged, "1")];
        (Server::spawn(command, dir, &settings), path)
    };
    server.login("alice");
    server.expect_log("alice left from");
    eventually("the file has it", || read(&path).contains("alice left from"));
    for log in [server.log(), read(&path)] {
        let line = log.lines().find(|line| line.contains("CHAT_X")).unwrap();
        assert!(line.contains("CHAT_X\\n2026-01-01T00:00:00.000Z [WARN] refused"), "{line}");
        assert!(line.contains("full\\u{1b}[2J") && log.lines().all(|line| line.contains("Z [")));
    }
}
