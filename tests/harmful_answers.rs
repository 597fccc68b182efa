//! What reading an answer costs that was made to cost much: the time for a read's worth of it, and the
//! memory at the most. In this process, so that nothing else counts.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods)]

use std::time::{Duration, Instant};

use allocation_counter::measure;
use mio_chat::config::{Config, Secret};
use mio_chat::dns::{HostName, Hosts, Kind, ResolvConf, query, reply};
use mio_chat::gemini::{Action, Call};
use mio_chat::limits::RESOLVER_FILE_BYTES;
use rustix::time::{ClockId, clock_gettime};

/// Bytes of one read.
const READ: usize = 8 * 1024;
const EVENT: usize = 63 * 1024;

fn key() -> Secret {
    let get = |name: &str| (name == "GEMINI_API_KEY").then(|| "the-key".to_owned());
    Config::parse(get).unwrap().gemini.key.unwrap()
}

/// The processor time of this thread.
fn worked() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

/// One call that is answered like this, until it fails or has taken much.
struct Answered {
    call: Call,
    now: Instant,
    bytes: Vec<u8>,
    /// How much of it the call has taken, and where it goes on.
    at: usize,
    again: usize,
    longest: Duration,
}

impl Answered {
    fn new(begin: &str, again: &str) -> Self {
        let now = Instant::now();
        let mut call = Call::new(now, Vec::new(), key(), 0);
        call.handle_open(false);
        while call.poll_action().is_some() {}
        let bytes = [begin, again].concat().into_bytes();
        Self { call, now, bytes, at: 0, again: begin.len(), longest: Duration::ZERO }
    }

    /// Takes a read's worth. False if that was the end.
    fn read(&mut self) -> bool {
        if self.at == self.bytes.len() {
            self.at = self.again;
        }
        let end = self.bytes.len().min(self.at + READ);
        let begun = worked();
        self.call.handle_bytes(self.now, &self.bytes[self.at..end]);
        self.longest = self.longest.max(worked() - begun);
        self.at = end;
        while let Some(action) = self.call.poll_action() {
            if matches!(action, Action::Failed(_) | Action::Done(_) | Action::Close) {
                return false;
            }
        }
        true
    }
}

fn harmless(what: &str, begin: &str, again: &str) {
    let mut answers: Vec<_> = (0..4).map(|_| Answered::new(begin, again)).collect();
    let mut one = Answered::new(begin, again);
    let alone = measure(|| while one.read() {}).bytes_max;
    // All four of them a read each, again and again.
    let together = measure(|| {
        let mut ended = [false; 4];
        while ended.contains(&false) {
            for (answer, ended) in answers.iter_mut().zip(&mut ended) {
                *ended = *ended || !answer.read();
            }
        }
    })
    .bytes_max;
    // What else the machine does can make it longer, but not each of five times.
    let longest = answers.iter().chain([&one]).map(|answer| answer.longest).min().unwrap();
    println!("{what:20} {longest:>10.1?}  {:4} KiB  {:4} KiB", alone >> 10, together >> 10);
    let most = Duration::from_millis(if cfg!(debug_assertions) { 60 } else { 3 });
    assert!(longest < most, "{what}: {longest:?}");
    assert!(alone < 640 * 1024 && together < 4 * 640 * 1024, "{what}: {alone} {together}");
}

const OK: &str = "HTTP/1.1 200 OK\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// As many of these values as fit into this many bytes.
fn list_of(value: &str, bytes: usize) -> String {
    format!("[{}]", vec![value; bytes / (value.len() + 1)].join(","))
}

fn with_parts(parts: &str) -> String {
    format!(r#"{{"candidates":[{{"content":{{"parts":{parts}}}}}]}}"#)
}

fn with_text(text: &str, bytes: usize) -> String {
    with_parts(&format!(r#"[{{"text":"{}"}}]"#, text.repeat(bytes / text.len())))
}

#[test]
fn events_full_of_nothing() {
    for (what, json) in [
        ("objects", list_of(r#"{"":0}"#, EVENT)),
        ("a large event", list_of(r#"{"":0}"#, 255 * 1024)),
        ("lists", format!(r#"{{"x":{}}}"#, list_of("[]", EVENT))),
        ("kept lists", format!(r#"{{"text":{}}}"#, list_of("[]", 3 * 4000))),
        ("deep lists", format!(r#"{{"x":{}{}}}"#, "[".repeat(EVENT / 2), "]".repeat(EVENT / 2))),
        ("deep objects", format!(r#"{}0{}"#, r#"{"error":"#.repeat(6000), "}".repeat(6000))),
        ("empty parts", with_parts(&list_of("{}", 3 * 4000))),
        ("parts without text", with_parts(&list_of(r#"{"text":""}"#, 12 * 2000))),
        ("escaped names", format!(r#"{{"{}":0}}"#, r"\u0000".repeat(EVENT / 6))),
        ("many names", format!("{{{}}}", vec![r#""usageMetadata":0"#; EVENT / 18].join(","))),
        ("numbers", list_of("0.00000000000000000000000000001e-300", EVENT)),
        ("details", format!(r#"{{"error":{{"code":3,"details":{}}}}}"#, list_of("{}", 12_000))),
        (
            "a message",
            format!(r#"{{"error":{{"code":429,"message":"{}"}}}}"#, "limit: 0".repeat(EVENT / 8)),
        ),
    ] {
        harmless(what, OK, &format!("data: {json}\n\n"));
    }
}

#[test]
fn texts_full_of_nothing() {
    for (what, text) in [
        ("blank lines", "\\n"),
        ("blanks", " "),
        ("lines of a blank", " \\n"),
        ("short lines", "a\\n"),
        ("one word", "x"),
        ("marks", "e\u{301}\u{301}\u{301}\u{301}"),
        ("joined pictures", "👩\u{200d}"),
        ("flags", "🇩🇪"),
        ("wide", "日"),
        ("short words", "a "),
        ("emphasis", "**a"),
        ("open emphasis", "*a _b "),
        ("links", "[a]("),
        ("open links", "["),
        ("code spans", "`a``b"),
        ("backticks", "`a"),
        ("fences", "```\\n\\n"),
        ("rules", "- - -\\n"),
        ("lists", "- - 1. "),
        ("escapes", "\\u001b[31m"),
        ("backslashes", "\\\\"),
        ("separators", "\\u2028"),
    ] {
        harmless(what, OK, &format!("data: {}\n\n", with_text(text, EVENT)));
        harmless(what, OK, &format!("data: {}\n\n", with_text(text, 8000)));
    }
}

#[test]
fn responses_that_are_all_form() {
    for (what, begin, again) in [
        ("small chunks", CHUNKED, "1\r\n\n\r\n".repeat(2000)),
        ("extensions", CHUNKED, format!("1;{}\r\n:\r\n", "x".repeat(1000)).repeat(20)),
        ("trailers", &*format!("{CHUNKED}0\r\n"), "x: y\r\n".repeat(2000)),
        ("interim responses", "", "HTTP/1.1 103 x\r\n\r\n".repeat(2000)),
        ("a long head", "HTTP/1.1 200 OK\r\n", "x: y\r\n".repeat(2000)),
        ("a long field", "HTTP/1.1 200 OK\r\nx: ", "y".repeat(READ)),
        ("small events", OK, "data:{}\n\n".repeat(2000)),
        ("empty lines", OK, "\n".repeat(READ)),
        ("comments", OK, ":\n".repeat(READ)),
        ("strays", OK, "{\n".repeat(READ)),
        ("data lines", OK, "data\n".repeat(READ)),
        ("an error without end", "HTTP/1.1 400 No\r\n\r\n", "{\"error\":[".repeat(1000)),
        ("a page without end", "HTTP/1.1 502 No\r\n\r\n", "<title>".repeat(1000)),
        ("words without end", "HTTP/1.1 502 No\r\n\r\n", "\u{ff}a ".repeat(1000)),
    ] {
        harmless(what, begin, &again);
    }
}

/// A name of 122 labels that differ in the last one alone, on the wire (RFC 1035, section 3.1).
fn long_name(n: u8) -> Vec<u8> {
    [&b"\x01a".repeat(121)[..], &[1, n, 0]].concat()
}

fn record(owner: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap();
    let fields = [&kind.to_be_bytes()[..], &[0, 1, 0, 0, 0, 60], &length.to_be_bytes()].concat();
    [owner, &fields, data].concat()
}

#[test]
fn replies_full_of_names() {
    const CNAME: u16 = 5;
    let name = HostName::parse("gemini.test").unwrap();
    let question = query(7, &name, Kind::A);
    let message = |records: &[Vec<u8>]| {
        let mut message = question.clone();
        message[2] |= 0x80;
        message[6..8].copy_from_slice(&u16::try_from(records.len()).unwrap().to_be_bytes());
        message.extend(records.concat());
        message
    };
    let alias = |from: u8, to: u8| record(&long_name(from), CNAME, &long_name(to));
    // Each alias in turn is found behind all those that lead nowhere.
    let mut aliases: Vec<_> = (100..=210).map(|n| alias(n, n)).collect();
    aliases.extend((0..15).rev().map(|n| alias(n, n + 1)));
    aliases.push(record(b"\xc0\x0c", CNAME, &long_name(0)));
    // Each name is a label before the one that came before it.
    let mut chained = vec![record(b"\xc0\x0c", CNAME, &long_name(0))];
    let mut at = question.len() + 12;
    while chained.len() < 128 {
        let pointer = u16::try_from(at).unwrap() | 0xc000;
        let begin = at + chained.last().unwrap().len() - 12;
        let owner = [&[1, b'b'][..], &pointer.to_be_bytes()].concat();
        chained.push(record(
            if chained.len() % 5 > 0 { &owner } else { b"\xc0\x0c" },
            CNAME,
            &owner,
        ));
        at = begin + 12;
    }
    let addresses: Vec<_> = (0..200).map(|n| record(b"\xc0\x0c", 1, &[192, 0, 2, n])).collect();
    for (what, message) in [
        ("aliases", message(&aliases)),
        ("chained names", message(&chained)),
        ("addresses", message(&addresses)),
        ("nothing", vec![0; 65_535]),
    ] {
        let longest = (0..5)
            .map(|_| {
                let begun = worked();
                let _ = reply(&message, 7, &name, Kind::A);
                worked() - begun
            })
            .min()
            .unwrap();
        println!("{what:20} {longest:>10.1?} {:?}", reply(&message, 7, &name, Kind::A).is_ok());
        let most = Duration::from_millis(if cfg!(debug_assertions) { 60 } else { 3 });
        assert!(longest < most, "{what}: {longest:?}");
    }
}

#[test]
fn files_full_of_rubbish() {
    for (what, line) in [
        ("numbers", "1\n"),
        ("addresses", "::1\n"),
        ("comments", "#\n"),
        ("blocked names", "0.0.0.0 ads.example.com\n"),
        ("bad names", "::1 - _ . .. ? ! \u{fc}\n"),
        ("empty", "\n"),
        ("name servers", "nameserver ::1\n"),
        ("domains", "search a b c d e f g h i j k l m n o p q r s t u v w x y z\n"),
    ] {
        let text = line.repeat(RESOLVER_FILE_BYTES / line.len());
        let longest = (0..5)
            .map(|_| {
                let begun = worked();
                drop((Hosts::parse(&text), ResolvConf::parse(&text)));
                worked() - begun
            })
            .min()
            .unwrap();
        println!("{what:20} {longest:>10.1?}");
        let most = Duration::from_millis(if cfg!(debug_assertions) { 200 } else { 10 });
        assert!(longest < most, "{what}: {longest:?}");
    }
}
