//! Starts the real binary on a free port and talks to it over sockets.

#![allow(dead_code, unreachable_pub, clippy::cast_possible_truncation)]
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::indexing_slicing)]

pub mod forward_proxy;
pub mod gemini;
pub mod programs;
pub mod records;
pub mod tls_client;

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long anything may take that should happen at once: generous, since machines are busy.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Whether this is the line that stands above a message after a pause: `── Thu 14:05 ──`.
pub fn is_clock(line: &str) -> bool {
    let shown = line.strip_prefix("── ").and_then(|line| line.strip_suffix(" ──"));
    shown.is_some_and(|shown| shown.len() == "Thu 14:05".len() && shown.is_ascii())
}

/// What stands below that line, which has to be there.
pub fn below_clock(text: &str) -> &str {
    let (clock, rest) = text.split_once('\n').unwrap();
    assert!(is_clock(clock), "{text}");
    rest
}

/// A running server. Killed when dropped.
pub struct Server {
    child: Child,
    pub addr: SocketAddr,
    /// Where it speaks TLS, if it does.
    pub tls_addr: Option<SocketAddr>,
    /// What it wrote to standard output before it was ready.
    pub start_lines: String,
    log: Arc<Mutex<String>>,
    dir: tempfile::TempDir,
}

/// The binary in an empty directory, with none of this process's settings.
pub fn command(dir: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mio-chat"));
    command.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let ours = ["CHAT_", "GEMINI_", "NOTIFY_", "WATCHDOG_", "LISTEN_"];
        let is_proxy = text.to_ascii_uppercase().ends_with("_PROXY");
        if is_proxy || ours.iter().any(|start| text.starts_with(start)) {
            command.env_remove(name);
        }
    }
    command
}

impl Server {
    /// Starts with the defaults, but on a free port of 127.0.0.1 and without limits on addresses
    /// and rates, and with quick hashes.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// The same with further settings.
    pub fn with(settings: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let command = command(dir.path());
        Self::spawn(command, dir, settings)
    }

    /// The same with a TLS port, too, and a certificate for it.
    pub fn with_tls(settings: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        tls_client::make_pair(dir.path());
        let command = command(dir.path());
        let settings = [&[("CHAT_TLS_LISTEN", "127.0.0.1:0")], settings].concat();
        Self::spawn(command, dir, &settings)
    }

    /// The same with an assistant that asks this service, through this name server.
    pub fn with_gemini(
        gemini: &gemini::Gemini,
        dns: &gemini::Dns,
        settings: &[(&str, &str)],
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), &gemini.ca_pem).unwrap();
        let command = command(dir.path());
        let ours = gemini.settings(dns);
        let ours: Vec<_> = ours.iter().map(|(name, value)| (*name, &**value)).collect();
        Self::spawn(command, dir, &[&ours[..], settings].concat())
    }

    /// The same from a prepared command.
    pub fn spawn(mut command: Command, dir: tempfile::TempDir, settings: &[(&str, &str)]) -> Self {
        command
            .env("CHAT_LISTEN", "127.0.0.1:0")
            .env("CHAT_TLS_LISTEN", "off")
            .env("CHAT_MAX_CONNECTIONS_PER_IP", "0")
            .env("CHAT_MESSAGES_PER_WINDOW", "0")
            .env("CHAT_BCRYPT_COST", "4")
            .env("CHAT_LOG_LEVEL", "debug")
            .envs(settings.iter().copied());
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        if let Some(stderr) = child.stderr.take() {
            let sink = log.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stderr).lines() {
                    let Ok(line) = line else { return };
                    let mut sink = sink.lock().unwrap();
                    sink.push_str(&line);
                    sink.push('\n');
                }
            });
        }
        let mut start_lines = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        while !start_lines.contains(">> Server ready") {
            let read = stdout.read_line(&mut start_lines).unwrap();
            assert!(read > 0, "no start: {start_lines}{}", log.lock().unwrap());
        }
        let line = |start| start_lines.lines().find_map(|line| line.strip_prefix(start));
        let port = line("Port: ").unwrap();
        let local = |port: &str| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port.parse().unwrap());
        let addr = match port.strip_prefix(':') {
            Some(port) => local(port),
            None => port.parse().unwrap(),
        };
        let tls_addr = line("TLS enabled on port ").map(local);
        Self { child, addr, tls_addr, start_lines, log, dir }
    }

    /// The directory it runs in.
    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn connect(&self) -> Client {
        Client::new(TcpStream::connect(self.addr).unwrap())
    }

    /// From another address of the loopback network.
    pub fn connect_from(&self, source: [u8; 4]) -> Client {
        Client::new(connect_from(source, self.addr))
    }

    /// A user who has joined and read everything up to the prompt.
    pub fn login(&self, name: &str) -> Client {
        self.connect().login(name)
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid() as i32).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the process to end by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "the server does not end\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until the log has this text, and gives the first line with it.
    pub fn expect_log(&self, text: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let log = self.log();
            if let Some(line) = log.lines().find(|line| line.contains(text)) {
                return line.to_owned();
            }
            assert!(Instant::now() < end, "not in the log: {text}\n{log}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What SIGUSR1 has it log now: each figure of the line by its name.
    pub fn state(&self) -> HashMap<String, u64> {
        let from = self.log.lock().unwrap().len();
        self.signal(rustix::process::Signal::USR1);
        let end = Instant::now() + PATIENCE;
        loop {
            let log = self.log.lock().unwrap();
            if let Some((_, line)) = log[from..].split_once("state: ")
                && let Some((line, _)) = line.split_once('\n')
            {
                let figures = line.split(' ').filter_map(|figure| figure.split_once('='));
                return figures.map(|(name, n)| (name.to_owned(), n.parse().unwrap())).collect();
            }
            drop(log);
            assert!(Instant::now() < end, "no state in the log\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A field of `/proc/PID/status`, such as `Threads`.
    pub fn status(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// Processor time used so far, in clock ticks (proc(5): utime and stime).
    pub fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One connection to the server.
pub struct Client<S = TcpStream> {
    pub stream: S,
    /// Everything received and not yet taken by an `expect`.
    buffer: Vec<u8>,
}

impl Client {
    pub fn new(stream: TcpStream) -> Self {
        prepare(&stream);
        Self { stream, buffer: Vec::new() }
    }
}

/// Reads wait for a moment only, so that every wait can have an end of its own.
fn prepare(stream: &TcpStream) {
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
}

impl<S: Read + Write> Client<S> {
    /// Over a stream whose reads time out.
    pub fn over(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    pub fn login(mut self, name: &str) -> Self {
        self.expect("Enter your username: ");
        self.send(name);
        self.expect(&format!("[LOBBY] {name} has joined the lobby"));
        self.expect("\n> ");
        self
    }

    pub fn send(&mut self, line: &str) {
        self.send_bytes(format!("{line}\n").as_bytes());
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Reads until the text (colours and prompts not counted) has come, and gives everything up to
    /// its end as plain text.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(seen) = self.take_through(text) {
                return seen;
            }
            let more = self.read_some();
            assert!(
                more && Instant::now() < end,
                "expected {text:?}, got:\n{}",
                plain(&self.buffer)
            );
        }
    }

    /// Takes what came up to and including `text`, if it has come.
    fn take_through(&mut self, text: &str) -> Option<String> {
        // The shortest prefix whose plain form holds the text.
        if !plain(&self.buffer).contains(text) {
            return None;
        }
        let last = *text.as_bytes().last()?;
        for (at, byte) in self.buffer.iter().enumerate() {
            if *byte == last && plain(&self.buffer[..=at]).contains(text) {
                let rest = self.buffer.split_off(at + 1);
                return Some(plain(&std::mem::replace(&mut self.buffer, rest)));
            }
        }
        None
    }

    /// What comes within this time, as plain text.
    pub fn read_for(&mut self, time: Duration) -> String {
        let end = Instant::now() + time;
        while Instant::now() < end && self.read_some() {}
        plain(&std::mem::take(&mut self.buffer))
    }

    /// Everything up to the end of the stream, as plain text. The end must be a clean one.
    #[track_caller]
    pub fn read_to_end(&mut self) -> String {
        plain(&self.read_raw_to_end())
    }

    #[track_caller]
    pub fn read_raw_to_end(&mut self) -> Vec<u8> {
        let end = Instant::now() + PATIENCE;
        while self.read_some() {
            assert!(Instant::now() < end, "no end, got:\n{}", plain(&self.buffer));
        }
        std::mem::take(&mut self.buffer)
    }

    /// The bytes received and not yet taken.
    pub fn take_raw(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Reads once. False at the end of the stream; an error is a failure, a time-out is not.
    #[track_caller]
    pub fn read_some(&mut self) -> bool {
        let mut bytes = [0; 64 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => false,
            Ok(n) => {
                self.buffer.extend_from_slice(&bytes[..n]);
                true
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => true,
            Err(e) => panic!("{e}, after:\n{}", plain(&self.buffer)),
        }
    }
}

/// What a person reads: without escape sequences and carriage returns.
pub fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\x1b' if chars.peek() == Some(&'[') => {
                chars.next();
                for c in chars.by_ref() {
                    if c.is_ascii_alphabetic() {
                        break;
                    }
                }
            }
            '\r' => {}
            c => out.push(c),
        }
    }
    out
}

/// A connection from this address of the loopback network.
pub fn connect_from(source: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(IpAddr::from(source), 0).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

/// Waits until something is so.
#[track_caller]
pub fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !check() {
        assert!(Instant::now() < end, "never so: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
