//! Load on a server of its own, over loopback: `cargo run --release --example load -- SCENARIO`.
//!
//! - `idle [USERS…]`: resident memory with so many idle named users (0, 1000 and 5000).
//! - `scan [SECONDS] [COST]`: a chatter's message latency, alone and beside eight clients that try
//!   lobby passwords without pause.
//!
//! It starts `mio-chat` from the directory of its own build with the limits lifted, sends to it
//! only, and stops it. Latency is counted from when a message was due to be sent, so that a stall
//! is not hidden by the messages it delayed.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Vec<u64> =
        arguments.iter().skip(1).map(|text| text.parse().expect("a number")).collect();
    match arguments.first().map(String::as_str) {
        Some("idle") if numbers.is_empty() => idle(&[0, 1000, 5000]),
        Some("idle") => idle(&numbers),
        Some("scan") => {
            let secs = numbers.first().copied().unwrap_or(20);
            let cost = numbers.get(1).copied().unwrap_or(12);
            scan(Duration::from_secs(secs), cost);
        }
        _ => eprintln!("usage: load idle [USERS…] | scan [SECONDS] [COST]"),
    }
}

/// A server of our own, stopped when dropped.
struct Server {
    child: Child,
    addr: String,
}

impl Server {
    fn start(cost: u64) -> Self {
        let this = std::env::current_exe().unwrap();
        let binary = this.parent().and_then(|dir| dir.parent()).unwrap().join("mio-chat");
        let mut child = Command::new(&binary)
            .env("CHAT_LISTEN", "127.0.0.1:0")
            .env("CHAT_TLS_LISTEN", "off")
            .env("CHAT_MAX_CONNECTIONS_PER_IP", "0")
            .env("CHAT_MESSAGES_PER_WINDOW", "0")
            .env("CHAT_BCRYPT_COST", cost.to_string())
            .env("CHAT_LOG_LEVEL", "warn")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}; build it first", binary.display()));
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines
            .map_while(Result::ok)
            .find_map(|line| Some(line.strip_prefix("Port: ")?.to_owned()));
        Self { child, addr: port.expect("the server starts") }
    }

    /// A field of `/proc/PID/status` (proc(5)), in its unit.
    fn status(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    fn login(&self, name: &str) -> Client {
        let stream = TcpStream::connect(&self.addr).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut client = Client { stream, seen: Vec::new() };
        client.wait("Enter your username: ");
        client.send(name);
        client.wait("> ");
        client
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Client {
    stream: TcpStream,
    seen: Vec<u8>,
}

impl Client {
    fn send(&mut self, line: &str) {
        self.stream.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Reads until this text has come, and drops everything through it.
    fn wait(&mut self, text: &str) {
        let mut bytes = [0; 16 * 1024];
        loop {
            let found = self.seen.windows(text.len()).position(|part| part == text.as_bytes());
            if let Some(at) = found {
                self.seen.drain(..at + text.len());
                return;
            }
            let n = self.stream.read(&mut bytes).unwrap();
            assert!(n > 0, "the server closed");
            self.seen.extend_from_slice(&bytes[..n]);
        }
    }
}

fn idle(steps: &[u64]) {
    let server = Server::start(4);
    let mut users = Vec::new();
    let mut start = None;
    println!("{:>8} {:>14} {:>16}", "users", "resident KiB", "bytes per user");
    for &step in steps {
        while (users.len() as u64) < step {
            users.push(server.login(&format!("user{}", users.len())));
        }
        std::thread::sleep(Duration::from_millis(1500));
        let resident = server.status("VmRSS");
        let empty = *start.get_or_insert(resident);
        let each = ((resident - empty) * 1024).checked_div(step).unwrap_or(0);
        println!("{step:>8} {resident:>14} {each:>16}");
    }
}

/// Messages a second of the chatter.
const RATE: u32 = 200;

fn scan(time: Duration, cost: u64) {
    let server = Arc::new(Server::start(cost));
    let mut maker = server.login("maker");
    maker.send("/create secret pass-word for few");
    maker.wait("Created private lobby");
    let mut chatter = server.login("chatter");
    chatter.send("/create quiet no-pass x");
    chatter.wait("Created public lobby");
    chatter.send("/join quiet");
    chatter.wait("Joined lobby");
    report("alone", chat(&mut chatter, time));

    let stop = Arc::new(AtomicBool::new(false));
    let checks = Arc::new(AtomicU64::new(0));
    let threads: Vec<_> = (0..8)
        .map(|n| {
            let (server, stop, checks) = (server.clone(), stop.clone(), checks.clone());
            std::thread::spawn(move || {
                let mut client = server.login(&format!("guesser{n}"));
                while !stop.load(Ordering::Relaxed) {
                    client.send("/join secret pass-word");
                    client.wait("Joined lobby 'secret'");
                    checks.fetch_add(1, Ordering::Relaxed);
                    client.send("/join general");
                    client.wait("Joined lobby 'general'");
                }
            })
        })
        .collect();
    std::thread::sleep(Duration::from_millis(300));
    let latencies = chat(&mut chatter, time);
    let server_threads = server.status("Threads");
    let done = checks.load(Ordering::Relaxed);
    stop.store(true, Ordering::Relaxed);
    report(&format!("eight clients checking passwords at cost {cost}"), latencies);
    println!("{done} passwords checked meanwhile; threads of the server: {server_threads}");
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Sends messages at a fixed rate and gives how long each took to come back, from when it was due.
fn chat(chatter: &mut Client, time: Duration) -> Vec<Duration> {
    let interval = Duration::from_secs(1) / RATE;
    let start = Instant::now();
    let count = u32::try_from(time.as_millis() * u128::from(RATE) / 1000).unwrap();
    let mut latencies = Vec::new();
    for n in 0..count {
        let due = start + interval * n;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        chatter.send(&format!("message number {n} of the chatter"));
        chatter.wait(&format!("number {n} of the chatter"));
        latencies.push(due.elapsed());
    }
    latencies
}

fn report(what: &str, mut latencies: Vec<Duration>) {
    latencies.sort();
    let at = |share: usize| latencies[(latencies.len() - 1) * share / 1000];
    println!(
        "{what}: {} messages, p50 {:?}, p99 {:?}, p99.9 {:?}, max {:?}",
        latencies.len(),
        at(500),
        at(990),
        at(999),
        at(1000)
    );
}
