//! The ceiling on memory: hundreds of clients that make the server hold all they can, in every way
//! there is, beside a few who chat and lose nothing.
//!
//! `cargo test --release --test memory -- --ignored --nocapture` does it with 5000 at 16 MiB and
//! shows the figures; there the whole resident memory is looked at, and here only what is not the
//! program's code, which is larger when it is not optimised.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{Client, Server, tls_client};
use rustls::ClientConnection;

/// What an abuser makes the server hold.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// A connection without a name.
    Nameless,
    /// A line without an end, before there is a name.
    EndlessName,
    /// The same after.
    EndlessLine,
    /// Output: it reads nothing.
    SlowReader,
    /// A TLS record without an end.
    EndlessRecord,
    /// TLS at rest.
    Tls,
    /// A lobby with a long description and a history.
    Historian,
}

const KINDS: [Kind; 7] = [
    Kind::Nameless,
    Kind::EndlessName,
    Kind::EndlessLine,
    Kind::SlowReader,
    Kind::EndlessRecord,
    Kind::Tls,
    Kind::Historian,
];

/// One abuser. It comes back when it was sent away.
struct Abuser {
    number: usize,
    kind: Kind,
    open: Option<Open>,
}

struct Open {
    stream: TcpStream,
    tls: Option<ClientConnection>,
    to_send: Vec<u8>,
    reads: bool,
}

impl Abuser {
    fn open(&self, server: &Server, lives: u64) -> Open {
        use socket2::{Domain, Socket, Type};
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        if self.kind == Kind::SlowReader {
            // Or the kernel would take for it what the server is to hold.
            socket.set_recv_buffer_size(2048).unwrap();
        }
        // Few of one address, as the limit on lobbies has it.
        let [_, high, low, _] = u32::try_from(self.number / 4 * 256).unwrap().to_be_bytes();
        let source: SocketAddr = ([127, 1 + high, low, 1], 0).into();
        socket.bind(&source.into()).unwrap();
        let is_tls = matches!(self.kind, Kind::Tls | Kind::EndlessRecord);
        let to = if is_tls { server.tls_addr.unwrap() } else { server.addr };
        socket.connect(&to.into()).unwrap();
        socket.set_nonblocking(true).unwrap();
        let tls = (self.kind == Kind::Tls).then(|| {
            let config = tls_client::config(&rustls::version::TLS13);
            ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap()
        });
        Open {
            stream: socket.into(),
            tls,
            to_send: self.script(lives),
            reads: self.kind != Kind::SlowReader,
        }
    }

    fn script(&self, lives: u64) -> Vec<u8> {
        let name = format!("a{}x{lives}\n", self.number);
        let endless = "x".repeat(8000);
        match self.kind {
            Kind::Nameless | Kind::Tls => Vec::new(),
            Kind::EndlessName => endless.into_bytes(),
            Kind::EndlessLine => format!("{name}{endless}").into_bytes(),
            Kind::SlowReader => name.into_bytes(),
            // A handshake record (RFC 8446, section 5.1) of 16 KiB, but for its last byte.
            Kind::EndlessRecord => {
                [&[22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc], &[3; 16_379][..]].concat()
            }
            Kind::Historian => {
                let lobby = format!("l{}-{lives}", self.number);
                let create =
                    format!("/create {lobby} no-pass {}\n/join {lobby}\n", "d".repeat(200));
                let message = format!("{}\n", "m".repeat(990)).repeat(60);
                format!("{name}{create}{message}").into_bytes()
            }
        }
    }
}

impl Open {
    /// Does what can be done now. An error: the server has ended it.
    fn go_on(&mut self) -> std::io::Result<()> {
        let mut bytes = [0; 16 * 1024];
        while self.reads {
            let result = match &mut self.tls {
                Some(tls) => tls.read_tls(&mut self.stream),
                None => self.stream.read(&mut bytes),
            };
            match result {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
            if let Some(tls) = &mut self.tls {
                tls.process_new_packets().map_err(|_| ErrorKind::InvalidData)?;
                while matches!(tls.reader().read(&mut bytes), Ok(1..)) {}
            }
        }
        loop {
            let result = match &mut self.tls {
                Some(tls) if tls.wants_write() => tls.write_tls(&mut self.stream),
                Some(_) => return Ok(()),
                None if self.to_send.is_empty() => return Ok(()),
                None => self.stream.write(&self.to_send),
            };
            match result {
                Ok(n) => drop(self.to_send.drain(..n.min(self.to_send.len()))),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
    }
}

/// The highest figures of `/proc/PID/status` that were seen.
#[derive(Default)]
struct Peaks {
    anonymous_kib: AtomicU64,
    connections: AtomicU64,
}

/// Lets this many abusers loose for a while.
fn besiege(ceiling_mb: u64, abusers: usize, time: Duration) {
    let ceiling = ceiling_mb.to_string();
    let server = Server::with_tls(&[
        ("CHAT_MEMORY_MB", &ceiling),
        ("CHAT_LOG_LEVEL", "info"),
        ("CHAT_MAX_CONNECTIONS", "19000"),
    ]);
    let (ending, peaks) = (AtomicBool::new(false), Peaks::default());
    let is_over = || ending.load(Ordering::Relaxed);
    let said = AtomicU64::new(0);
    let names = ["alice", "bob", "carol", "dave", "erin"];
    let flooder = server.login("flooder");
    let clients = names.map(|name| server.login(name));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over() {
                peaks.anonymous_kib.fetch_max(server.status("RssAnon"), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(5));
            }
        });
        scope.spawn(|| abuse(&server, abusers, &peaks, &is_over));
        // What slow readers are slow to read.
        scope.spawn(|| flood(flooder, &is_over));
        let end = Instant::now() + time;
        let said = &said;
        let honest: Vec<_> = clients
            .into_iter()
            .enumerate()
            .map(|(n, client)| scope.spawn(move || chat(client, n, names.len(), said, end)))
            .collect();
        let results: Vec<_> = honest.into_iter().map(thread::ScopedJoinHandle::join).collect();
        ending.store(true, Ordering::Relaxed);
        if results.iter().any(Result::is_err) {
            let log = server.log();
            let tells =
                |line: &&str| line.contains("[WARN]") || names.iter().any(|n| line.contains(n));
            let lines: Vec<_> =
                log.lines().filter(|line| !line.contains("refused")).filter(tells).collect();
            panic!("{}", lines[lines.len().saturating_sub(100)..].join("\n"));
        }
    });
    let log = server.log();
    let peak = peaks.anonymous_kib.into_inner();
    let (allocated, resident) = (server.state()["allocated_kib"], server.status("VmHWM"));
    println!(
        "{abusers} abusers at {ceiling_mb} MiB for {time:?}: at most {} connections; peaks: {peak} KiB \
         without the program, {resident} KiB with it; {} messages of five who chat, heard by all \
         five; allocated afterwards: {allocated} KiB; {} with a name were closed",
        peaks.connections.into_inner(),
        said.into_inner(),
        log.matches(" - held too much").count(),
    );
    assert!(log.contains("memory is short") && log.contains("memory was full"), "{log}");
    assert!(peak <= ceiling_mb * 1024, "{peak} KiB");
    if !cfg!(debug_assertions) {
        assert!(resident <= ceiling_mb * 1024, "{resident} KiB");
    }
    // They are gone, and there is room again.
    common::eventually("there is room again", || {
        server.connect().read_for(Duration::from_millis(200)).contains("Enter your username")
    });
    server.login("newcomer");
}

/// Says something ten times a second until `end`, and hears all that all of these say, in order.
fn chat(mut client: Client, number: usize, many: usize, said: &AtomicU64, end: Instant) {
    let mut heard = vec![0; many];
    let mut rest = Vec::new();
    let mut own = 0;
    let mut next = Instant::now();
    let is_done = |heard: &[u64]| heard.iter().sum::<u64>() == said.load(Ordering::SeqCst);
    while Instant::now() < end || !is_done(&heard) {
        assert!(Instant::now() < end + common::PATIENCE, "not heard: {heard:?} of {said:?}");
        if next <= Instant::now() && next < end {
            said.fetch_add(1, Ordering::SeqCst);
            client.send(&format!("word {own} of {number}"));
            own += 1;
            next += Duration::from_millis(100);
        }
        assert!(client.read_some(), "{number} was closed");
        rest.extend(client.take_raw());
        while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<_> = rest.drain(..=at).collect();
            // The flood, of which there is so much that it takes time to read.
            if line.len() > FLOOD_LINE {
                continue;
            }
            let line = common::plain(&line);
            let Some(words) = line.trim_end().strip_prefix("  ╰─> word ") else { continue };
            let (word, of) = words.split_once(" of ").unwrap();
            let speaker: usize = of.parse().unwrap();
            assert_eq!(word.parse(), Ok(heard[speaker]), "of {speaker}, heard by {number}");
            heard[speaker] += 1;
        }
    }
}

const FLOOD_LINE: usize = 900;

fn flood(mut flooder: Client, is_over: &dyn Fn() -> bool) {
    let line = "f".repeat(FLOOD_LINE);
    while !is_over() {
        flooder.send(&line);
        assert!(flooder.read_some());
        flooder.take_raw();
        // On a busy machine those who chat have to keep up with it.
        thread::sleep(Duration::from_millis(5));
    }
}

fn abuse(server: &Server, many: usize, peaks: &Peaks, is_over: &dyn Fn() -> bool) {
    let mut lives = 0;
    let mut abusers: Vec<_> = (0..many)
        .map(|number| Abuser { number, kind: KINDS[number % KINDS.len()], open: None })
        .collect();
    while !is_over() {
        // Some of those that are out come in at every round.
        let mut comers = many / 20;
        for abuser in &mut abusers {
            match &mut abuser.open {
                Some(open) => match open.go_on() {
                    Ok(()) => {}
                    Err(_) => abuser.open = None,
                },
                None if comers > 0 => {
                    comers -= 1;
                    lives += 1;
                    abuser.open = Some(abuser.open(server, lives));
                }
                None => {}
            }
        }
        let open = abusers.iter().filter(|abuser| abuser.open.is_some()).count();
        peaks.connections.fetch_max(open as u64, Ordering::Relaxed);
    }
}

/// Users come in until memory is short.
fn fill(server: &Server) -> Vec<Client> {
    raise_descriptor_limit();
    let mut crowd = Vec::new();
    while !server.log().contains("memory is short") {
        assert!(crowd.len() < 8000, "{:?}", server.state());
        for _ in 0..50 {
            let [.., high, low] = u32::try_from(crowd.len()).unwrap().to_be_bytes();
            let mut client = server.connect_from([127, 1, high, low]);
            client.send(&format!("user{}", crowd.len()));
            crowd.push(client);
        }
        server.state();
    }
    crowd
}

/// For thousands of clients in one process.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

#[test]
fn who_stays_does_not_keep_the_room_of_the_crowd_that_has_gone() {
    let server = Server::with(&[("CHAT_MEMORY_MB", "8")]);
    let mut crowd = fill(&server);
    // The last one who came in. Those behind were turned away.
    let log = server.log();
    let last = (0..crowd.len()).rfind(|n| log.contains(&format!("user{n} joined ")));
    let _stays = crowd.swap_remove(last.unwrap());
    drop(crowd);
    server.expect_log("memory is not short any more");
    server.login("newcomer");
    // Coming in costs nobody else his place.
    assert!(!server.log().contains("memory was full"), "{}", server.log());
}

/// What is remembered of names that have gone filled the memory, for which everybody else was closed.
#[test]
fn names_that_come_and_go_close_nobody_and_keep_nobody_out() {
    let settings = [
        ("CHAT_MEMORY_MB", "8"),
        ("CHAT_RATE_WINDOW_SECS", "3600"),
        ("CHAT_MAX_CONNECTIONS_PER_IP", "0"),
    ];
    let server = Server::with(&settings);
    let mut honest: Vec<_> = (0..3).map(|n| server.login(&format!("honest{n}"))).collect();
    // Where they do not have to read who comes and goes.
    honest[0].send("/create den no-pass to be quiet in");
    honest[0].expect("Use /join den to enter.\n");
    for client in &mut honest {
        client.send("/join den");
        client.expect("Joined lobby 'den'\n");
    }
    let end = Instant::now() + Duration::from_secs(8);
    thread::scope(|scope| {
        for address in 1..5 {
            let to = server.addr;
            scope.spawn(move || {
                for n in 0.. {
                    if Instant::now() >= end {
                        return;
                    }
                    // Names of full length, each with a command and without a farewell.
                    let mut tcp = common::connect_from([127, 0, 3, address], to);
                    let _ =
                        tcp.write_all(format!("passing{address}x{n:011}\n/sp cat\n").as_bytes());
                    let _ = tcp.shutdown(std::net::Shutdown::Write);
                    let _ = tcp.read_to_end(&mut Vec::new());
                }
            });
        }
    });
    for (n, client) in honest.iter_mut().enumerate() {
        client.send(&format!("word {n}."));
        client.expect(&format!("word {n}.\n"));
    }
    drop(server.login("newcomer"));
    let log = server.log();
    assert!(!log.contains("memory"), "{log}");
}

#[test]
fn lines_without_an_end_do_not_keep_newcomers_out() {
    let server = Server::with(&[("CHAT_MEMORY_MB", "8")]);
    let mut crowd = Vec::new();
    while !server.log().contains("memory is short") {
        assert!(crowd.len() < 600, "{:?}", server.state());
        let mut client = server.connect();
        client.send_bytes(&[b'x'; 8000]);
        crowd.push(client);
        if crowd.len().is_multiple_of(50) {
            server.state();
        }
    }
    server.expect_log("memory is not short any more");
    server.login("newcomer");
}

#[test]
fn the_server_stays_below_its_ceiling_and_those_who_chat_notice_nothing() {
    besiege(8, 700, Duration::from_secs(5));
}

#[test]
#[ignore = "is for an optimised build"]
fn five_thousand_abusers_at_16_mib() {
    besiege(16, 5000, Duration::from_secs(30));
}
