//! Load on a server of its own, over loopback: `cargo run --release --example load -- SCENARIO`.
//!
//! - `idle [USERS…]`: resident memory with so many idle named users (0, 1000 and 5000).
//! - `scan [SECONDS] [COST]`: a chatter's message latency, alone and beside eight clients that try
//!   lobby passwords without pause.
//! - `tls [USERS]`: what a TLS connection costs: processor time of a handshake, memory at rest beyond
//!   a plain connection, and the longest turn of the loop when 500 handshakes arrive at once.
//!
//! - `rox [SECONDS]`: a chatter's message latency beside four answers that stream, one of them
//!   stalled, with a dead name server before the one that answers; and memory after 1000 answers.
//!
//! It starts `mio-chat` from the directory of its own build with the limits lifted, sends to it
//! only, and stops it. Latency is counted from when a message was due to be sent, so that a stall
//! is not hidden by the messages it delayed.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods)]

#[path = "../tests/common/gemini.rs"]
mod gemini;
#[path = "../tests/common/tls_client.rs"]
mod tls_client;

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

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
        Some("tls") => tls(numbers.first().copied().unwrap_or(1000)),
        Some("rox") => rox(Duration::from_secs(numbers.first().copied().unwrap_or(20))),
        _ => eprintln!(
            "usage: load idle [USERS…] | scan [SECONDS] [COST] | tls [USERS] | rox [SECONDS]"
        ),
    }
}

/// A server of our own, stopped when dropped.
struct Server {
    child: Child,
    addr: String,
    tls_port: Option<u16>,
    log: BufReader<ChildStderr>,
    _dir: tempfile::TempDir,
}

impl Server {
    fn start(cost: u64) -> Self {
        Self::with(cost, "warn", &[], "")
    }

    /// The same with this log level, these settings, and this in `ca.pem`.
    fn with(cost: u64, level: &str, settings: &[(&str, String)], ca_pem: &str) -> Self {
        let this = std::env::current_exe().unwrap();
        let dir = tempfile::tempdir().unwrap();
        tls_client::make_pair(dir.path());
        std::fs::write(dir.path().join("ca.pem"), ca_pem).unwrap();
        let binary = this.parent().and_then(|dir| dir.parent()).unwrap().join("mio-chat");
        let mut child = Command::new(&binary)
            .env("CHAT_LISTEN", "127.0.0.1:0")
            .env("CHAT_TLS_LISTEN", "127.0.0.1:0")
            .env("CHAT_TLS_MAX_HANDSHAKES", "1000")
            .env("CHAT_MAX_CONNECTIONS_PER_IP", "0")
            .env("CHAT_MESSAGES_PER_WINDOW", "0")
            .env("CHAT_BCRYPT_COST", cost.to_string())
            .envs(settings.iter().map(|(name, value)| (name, value)))
            // Only what SIGUSR1 asks for comes often enough to be read.
            .env("CHAT_LOG_LEVEL", level)
            .current_dir(dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}; build it first", binary.display()));
        let log = BufReader::new(child.stderr.take().unwrap());
        let (mut addr, mut tls_port) = (None, None);
        for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
            addr = addr.or(line.strip_prefix("Port: ").map(str::to_owned));
            tls_port = tls_port.or(line.strip_prefix("TLS enabled on port ").map(str::to_owned));
            if line.starts_with(">> Server ready") {
                break;
            }
        }
        let tls_port = tls_port.map(|port| port.parse().unwrap());
        Self { child, addr: addr.expect("the server starts"), tls_port, log, _dir: dir }
    }

    /// A field of `/proc/PID/status` (proc(5)), in its unit.
    fn status(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Processor time used so far (proc(5): utime and stime, in ticks of 10 ms).
    fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: u64 = [11, 12].iter().map(|n| fields[*n].parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    fn login(&self, name: &str) -> Client {
        let stream = TcpStream::connect(&self.addr).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, seen: Vec::new() }.login(name)
    }

    fn connect_tls(&self, config: &Arc<ClientConfig>) -> TlsStream {
        let tcp = TcpStream::connect(("127.0.0.1", self.tls_port.unwrap())).unwrap();
        tcp.set_nodelay(true).unwrap();
        let tls = ClientConnection::new(config.clone(), "localhost".try_into().unwrap()).unwrap();
        StreamOwned::new(tls, tcp)
    }

    /// The longest turn of the loop since the last call.
    fn longest_turn(&mut self) -> Duration {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, Signal::USR1).unwrap();
        loop {
            let mut line = String::new();
            assert!(self.log.read_line(&mut line).unwrap() > 0);
            if let Some((_, micros)) = line.trim_end().split_once("longest_turn_us=") {
                return Duration::from_micros(micros.parse().unwrap());
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

type TlsStream = StreamOwned<ClientConnection, TcpStream>;

struct Client<S = TcpStream> {
    stream: S,
    seen: Vec<u8>,
}

impl<S: Read + Write> Client<S> {
    fn login(mut self, name: &str) -> Self {
        self.wait("Enter your username: ");
        self.send(name);
        self.wait("> ");
        self
    }

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

fn tls(users: u64) {
    // Settings of its own for each client, so that none resumes another's session.
    let connect = |server: &Server| server.connect_tls(&tls_client::config(&TLS13));
    let mut server = Server::start(4);
    let mut plain = Vec::new();
    let start = server.status("VmRSS");
    plain.extend((0..users).map(|n| server.login(&format!("plain{n}"))));
    std::thread::sleep(Duration::from_millis(1500));
    let with_plain = server.status("VmRSS");
    let cpu = server.cpu();
    let mut encrypted = Vec::new();
    for n in 0..users {
        let client = Client { stream: connect(&server), seen: Vec::new() };
        encrypted.push(client.login(&format!("tls{n}")));
    }
    let cpu = server.cpu() - cpu;
    std::thread::sleep(Duration::from_millis(1500));
    let with_tls = server.status("VmRSS");
    let each = |kib: u64| kib * 1024 / users;
    let (plain_each, tls_each) = (each(with_plain - start), each(with_tls - with_plain));
    println!("{users} users at rest: {plain_each} bytes each, over TLS {tls_each}");
    println!(
        "full handshake and log-in: {:?} of processor time each",
        cpu / u32::try_from(users).unwrap()
    );
    drop((plain, encrypted));

    let cpu = server.cpu();
    let rounds = 2000;
    for _ in 0..rounds {
        let mut stream = connect(&server);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
    }
    let cpu = server.cpu() - cpu;
    let rate = f64::from(rounds) / cpu.as_secs_f64();
    println!(
        "full handshakes a second of processor time, connection and close included: {rate:.0}"
    );

    drop(server);
    server = Server::with(4, "info", &[], "");
    let mut chatter = server.login("chatter");
    let mut streams: Vec<_> = (0..500).map(|_| connect(&server)).collect();
    server.longest_turn();
    for stream in &mut streams {
        stream.conn.write_tls(&mut stream.sock).unwrap();
    }
    let report_to_chatter = Instant::now();
    chatter.send("in the middle of it");
    chatter.wait("in the middle of it");
    let delay = report_to_chatter.elapsed();
    for stream in &mut streams {
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
    }
    let longest = server.longest_turn();
    println!(
        "500 handshakes at once: longest turn {longest:?}, a message meanwhile took {delay:?}"
    );
}

fn rox(time: Duration) {
    use gemini::{Dns, Gemini, Manner, Step, answer, finish, piece, stream_head};
    let service = Gemini::start(|_, request| {
        if request.body.contains("asks: quick") {
            return answer(&["A short answer.\nOf two lines.\n"]);
        }
        let mut steps = vec![stream_head(), piece("begun\n")];
        if request.body.contains("asks: stall") {
            steps.push(Step::Wait(Duration::from_secs(100)));
        }
        for _ in 0..90 {
            steps.push(Step::Wait(Duration::from_millis(100)));
            steps.push(piece("another line of a long answer\n"));
        }
        steps.extend(finish("STOP"));
        steps
    });
    let (dead, honest) = (Dns::start(Manner::Dead), Dns::start(Manner::Honest));
    let mut settings = service.settings(&honest);
    settings.push(("CHAT_NAMESERVERS", format!("{},{}", dead.addr, honest.addr)));
    let server = Server::with(4, "error", &settings, &service.ca_pem);
    let mut chatter = server.login("chatter");
    report("alone", chat(&mut chatter, time.min(Duration::from_secs(8))));
    let mut askers = Vec::new();
    for n in 0..4 {
        let mut asker = server.login(&format!("asker{n}"));
        asker.send(&format!("/create lobby{n} no-pass x"));
        asker.wait("Created");
        asker.send(&format!("/join lobby{n}"));
        asker.wait("Joined");
        asker.send(if n == 0 { "/ai stall" } else { "/ai long" });
        askers.push(asker);
    }
    report("beside four answers", chat(&mut chatter, time.min(Duration::from_secs(8))));
    println!("threads of the server: {}", server.status("Threads"));
    drop(askers);

    let mut asker = server.login("asker");
    let mut before = 0;
    for n in 0..1010 {
        if n == 10 {
            before = server.status("VmRSS");
        }
        asker.send("/ai quick");
        asker.wait("Of two lines.");
    }
    println!("resident KiB before and after 1000 answers: {before}, {}", server.status("VmRSS"));
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
