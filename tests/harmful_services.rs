//! Services, proxies and name servers that mean harm: whatever four of them send at once, nobody else
//! waits for it, and little of it is kept.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods)]

mod common;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::forward_proxy::{ForwardProxy, Reaction};
use common::gemini::{Dns, Gemini, KEY, Manner, listen};
use common::records::{APPLICATION_DATA, HANDSHAKE, LONGEST, Records};
use common::{Server, eventually};
use rustls::ServerConnection;

/// What there was while four questions at a time were answered.
#[derive(Debug)]
struct Siege {
    longest_turn: Duration,
    /// The longest that somebody who chats had to wait.
    wait: Duration,
    /// KiB resident at the most, more than before.
    grown: u64,
}

/// Has four lobbies ask over and over, and somebody chat meanwhile.
fn besieged(server: &Server) -> Siege {
    // Where we may, so that what other programs do meanwhile (the floods, too) counts for less.
    let pid = rustix::process::Pid::from_raw(server.pid().try_into().unwrap());
    let _ = rustix::process::setpriority_process(pid, -15);
    let mut honest = server.login("honest");
    let before = server.status("VmHWM");
    let over = AtomicBool::new(false);
    server.state();
    let wait = thread::scope(|scope| {
        for n in 0..4 {
            let over = &over;
            scope.spawn(move || {
                let mut asker = server.login(&format!("asker{n}"));
                asker.send(&format!("/create den{n} no-pass a lobby of its own"));
                asker.send(&format!("/join den{n}"));
                asker.expect(&format!("Joined lobby 'den{n}'\n"));
                while !over.load(Ordering::Relaxed) {
                    asker.send("/ai go on");
                    asker.read_for(Duration::from_millis(50));
                }
            });
        }
        thread::sleep(Duration::from_millis(300));
        let waits = (0..30).map(|n| {
            let sent = Instant::now();
            honest.send(&format!("word {n}."));
            honest.expect(&format!("word {n}.\n"));
            let waited = sent.elapsed();
            thread::sleep(Duration::from_millis(20));
            waited
        });
        let longest = waits.max().unwrap();
        over.store(true, Ordering::Relaxed);
        longest
    });
    let longest_turn = Duration::from_micros(server.state()["longest_turn_us"]);
    Siege { longest_turn, wait, grown: server.status("VmHWM").saturating_sub(before) }
}

/// Nobody waits for what four questions to this server bring. A machine that is busy with other things
/// makes a turn long, too, but not three times in a row.
#[track_caller]
fn nobody_waits(what: &str, server: &Server) {
    // Without optimisation everything takes ten times as long.
    let (turn, wait) = if cfg!(debug_assertions) { (100, 300) } else { (10, 30) };
    let calm = (0..3).any(|_| {
        let siege = besieged(server);
        println!("{what}: {siege:?}");
        assert!(siege.grown < 4 * 1024, "{what}: {siege:?}");
        siege.longest_turn < Duration::from_millis(turn) && siege.wait < Duration::from_millis(wait)
    });
    assert!(calm, "{what}");
}

/// A server whose service reads a request and then sends this, the last part again and again.
fn asking(begin: &'static str, again: impl Into<Vec<u8>>) -> Server {
    let again = Arc::new(again.into());
    let (addr, _) = listen(move |stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
        }
        let mut stream = stream;
        let mut sent = stream.write_all(begin.as_bytes());
        while sent.is_ok() {
            sent = stream.write_all(&again);
        }
    });
    Server::with(&[
        ("GEMINI_API_KEY", KEY),
        ("GEMINI_BASE_URL", &format!("http://{addr}")),
        ("GEMINI_QUESTIONS_PER_HOUR", "0"),
        ("GEMINI_QUESTIONS_PER_DAY", "0"),
    ])
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

fn event(json: &str) -> Vec<u8> {
    format!("data: {json}\r\n\r\n").into_bytes()
}

/// As many of these values as fit into this many bytes.
fn list_of(value: &str, bytes: usize) -> String {
    let values = vec![value; bytes / (value.len() + 1)];
    format!("[{}]", values.join(","))
}

#[test]
fn events_full_of_nothing() {
    const EVENT: usize = 63 * 1024;
    let parts = |value: &str| {
        format!(r#"{{"candidates":[{{"content":{{"parts":{}}}}}]}}"#, list_of(value, EVENT))
    };
    let text = |text: &str| {
        let text = text.repeat(EVENT / text.len());
        format!(r#"{{"candidates":[{{"content":{{"parts":[{{"text":"{text}"}}]}}}}]}}"#)
    };
    for (what, json) in [
        ("objects", list_of(r#"{"":0}"#, EVENT)),
        ("a large event", list_of(r#"{"":0}"#, 255 * 1024)),
        ("lists", format!(r#"{{"x":{}}}"#, list_of("[]", EVENT))),
        ("deep lists", format!(r#"{{"x":{}{}}}"#, "[".repeat(EVENT / 2), "]".repeat(EVENT / 2))),
        ("empty parts", parts("{}")),
        ("parts without text", parts(r#"{"text":""}"#)),
        ("blank lines", text("\\n")),
        ("blanks", text(" ")),
        ("names", format!(r#"{{"{}":0}}"#, "\\u0000".repeat(EVENT / 6))),
        ("details", format!(r#"{{"error":{{"code":503,"details":{}}}}}"#, list_of("{}", EVENT))),
    ] {
        nobody_waits(what, &asking(OK, event(&json)));
    }
}

#[test]
fn a_response_that_is_all_form() {
    for (what, begin, again) in [
        ("small chunks", CHUNKED, "1\r\n\n\r\n".repeat(2000)),
        ("extensions", CHUNKED, format!("1;{}\r\n:\r\n", "x".repeat(1000)).repeat(20)),
        (
            "trailers",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
            "x: y\r\n".repeat(2000),
        ),
        ("interim responses", "", "HTTP/1.1 103 x\r\n\r\n".repeat(2000)),
        ("a long head", "HTTP/1.1 200 OK\r\n", "x: y\r\n".repeat(2000)),
        ("small events", OK, "data:{}\n\n".repeat(2000)),
        ("empty lines", OK, "\n".repeat(16 * 1024)),
        ("comments", OK, ":\n".repeat(8 * 1024)),
        ("strays", OK, "{\n".repeat(8 * 1024)),
        ("an error without end", "HTTP/1.1 400 No\r\n\r\n", "{\"error\":[".repeat(1000)),
        (
            "redirects",
            "",
            "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n".repeat(300),
        ),
    ] {
        nobody_waits(what, &asking(begin, again));
    }
}

/// A server whose service reads a request over TLS, begins to answer, and then does this with its side.
fn asking_over_tls(
    dns: &Dns,
    flood: impl Fn(ServerConnection, TcpStream) + Send + Sync + 'static,
) -> Server {
    let gemini = Gemini::wild(move |mut tcp, mut config| {
        config.enable_secret_extraction = true;
        // No session tickets, which would come at the wrong time.
        config.send_tls13_tickets = 0;
        let mut tls = ServerConnection::new(Arc::new(config)).unwrap();
        let mut request = vec![0; 4096];
        let mut stream = rustls::Stream::new(&mut tls, &mut tcp);
        if stream.read(&mut request).is_ok() && stream.write_all(OK.as_bytes()).is_ok() {
            flood(tls, tcp);
        }
    });
    Server::with_gemini(&gemini, dns, &[])
}

#[test]
fn tls_that_brings_work_and_no_answer() {
    let dns = Dns::start(Manner::Honest);
    let server = asking_over_tls(&dns, |mut tls, mut tcp| {
        loop {
            for _ in 0..30 {
                tls.refresh_traffic_keys().unwrap();
            }
            tls.writer().write_all(b":").unwrap();
            while tls.wants_write() {
                if tls.write_tls(&mut tcp).is_err() {
                    return;
                }
            }
        }
    });
    nobody_waits("key updates", &server);
    let server = asking_over_tls(&dns, |tls, tcp| {
        let mut records = Records::new(tcp, tls.dangerous_extract_secrets().unwrap().tx);
        let mut sent = Ok(());
        while sent.is_ok() {
            let many: Vec<_> =
                (0..400).flat_map(|_| records.record(APPLICATION_DATA, b":", 0)).collect();
            sent = records.tcp.write_all(&many);
        }
    });
    nobody_waits("small records", &server);
}

#[test]
fn an_unfinished_message_in_padded_records_is_not_kept() {
    let dns = Dns::start(Manner::Honest);
    let over = Arc::new(AtomicBool::new(false));
    let refused = over.clone();
    let server = asking_over_tls(&dns, move |tls, tcp| {
        let mut records = Records::new(tcp, tls.dangerous_extract_secrets().unwrap().tx);
        // A ticket of 65,535 bytes (RFC 8446, section 4.6.1), a byte a record.
        for byte in [&[4, 0, 0xff, 0xff][..], &[0; 4000]].concat() {
            let record = records.record(HANDSHAKE, &[byte], LONGEST);
            if records.tcp.write_all(&record).is_err() {
                return refused.store(true, Ordering::SeqCst);
            }
        }
    });
    let before = server.status("VmHWM");
    let mut alice = server.login("alice");
    alice.send("/ai hello");
    eventually("it is refused", || over.load(Ordering::SeqCst));
    let grown = server.status("VmHWM") - before;
    assert!(grown < 4 * 1024, "{grown} KiB more than before");
}

#[test]
fn proxies_and_name_servers() {
    let gemini = Gemini::start(|_, _| Vec::new());
    let proxy = ForwardProxy::start(|_| Reaction::Flood("HTTP/1.1 100 x\r\nx: y\r\nx: y\r\n\r\n"));
    let address = proxy.addr.to_string();
    let dns = Dns::start(Manner::Honest);
    let settings = [("https_proxy", &*address)];
    nobody_waits("a proxy", &Server::with_gemini(&gemini, &dns, &settings));
    for manner in [Manner::Endless, Manner::Flooding] {
        let dns = Dns::start(manner);
        nobody_waits("a name server", &Server::with_gemini(&gemini, &dns, &[]));
    }
}
