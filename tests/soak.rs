//! A day of a club in ten minutes, at real speed and with the default limits: people come and go,
//! plain and over TLS, talk, make lobbies, guess passwords, ask Rox; certificates are renewed.
//! Afterwards everything must be as it was, and nothing in the log that an operator should mind.
//!
//! `scripts/soak [SECONDS]` runs it, 600 by default, and shows the figures.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::indexing_slicing)]
#![allow(clippy::cast_possible_truncation, unreachable_pub)]

mod common;
#[path = "common/random.rs"]
mod random;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::gemini::{Dns, Gemini, Manner, answer};
use common::{Client, PATIENCE, Server, tls_client};
use random::Random;
use rustix::process::Signal;
use rustls::{ClientConnection, StreamOwned};

const PEOPLE: usize = 40;
const PASSWORD: &str = "open-sesame";
/// Below the three within a minute that lock an address out, which is logged as a warning.
const GUESS_INTERVAL: Duration = Duration::from_secs(31);
/// A certificate is renewed, and the settings are read again.
const RELOAD_INTERVAL: Duration = Duration::from_secs(15);

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// What was done, by everybody together.
#[derive(Default)]
struct Done {
    lives: AtomicUsize,
    messages: AtomicUsize,
    guesses: AtomicUsize,
    answers: AtomicUsize,
    lobbies: AtomicUsize,
}

fn count(of: &AtomicUsize) {
    of.fetch_add(1, Ordering::Relaxed);
}

/// One member of the club, who comes again and again.
struct Person<'a> {
    server: &'a Server,
    number: usize,
    random: Random,
    done: &'a Done,
    last_guess: Instant,
}

impl Person<'_> {
    fn connect(&self, life: usize) -> Client<Box<dyn Stream>> {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let low = u8::try_from(self.number).unwrap();
        socket.bind(&SocketAddr::from(([127, 2, low, 1], 0)).into()).unwrap();
        let over_tls = (self.number + life).is_multiple_of(3);
        let addr = if over_tls { self.server.tls_addr.unwrap() } else { self.server.addr };
        socket.connect(&addr.into()).unwrap();
        let stream: TcpStream = socket.into();
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        if !over_tls {
            return Client::over(Box::new(stream));
        }
        let config = tls_client::config(&rustls::version::TLS13);
        let tls = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
        Client::over(Box::new(StreamOwned::new(tls, stream)))
    }

    /// Comes, stays for some lines, and goes in one of the ways there are.
    fn live(&mut self, life: usize, is_over: &dyn Fn() -> bool) {
        let name = format!("p{}x{life}", self.number);
        let mut client = self.connect(life).login(&name);
        count(&self.done.lives);
        for n in 0..self.random.within(3..12) {
            self.act(&mut client, n);
            // Five lines in ten seconds are allowed.
            let pause = self.random.millis(2100..4000);
            client.read_for(pause);
            if is_over() {
                break;
            }
        }
        match self.random.below(3) {
            0 => {
                client.read_for(Duration::from_secs(2));
                client.send("/quit");
                assert!(client.read_to_end().contains("Goodbye!"));
            }
            1 => client.send_bytes(b"half a li"),
            _ => {}
        }
    }

    fn act(&mut self, client: &mut Client<Box<dyn Stream>>, n: usize) {
        let other = self.random.below(PEOPLE);
        let lobby = format!("den{other}");
        match self.random.below(12) {
            0 => self.expect_one(client, "/users", &["=== Users in"]),
            1 => self.expect_one(client, "/lobbies", &["=== Available Lobbies"]),
            2 => self.expect_one(client, "/sp cat", &["Profile picture changed to"]),
            3 => {
                let line = format!("/msg p{other}x0 are you there?");
                let refused = ["User not found:", "You cannot message yourself.", "are you there?"];
                self.expect_one(client, &line, &refused);
            }
            4 => {
                let line = format!("/create den{} {PASSWORD} a den", self.number);
                count(&self.done.lobbies);
                self.expect_one(client, &line, &["Created private lobby", "Lobby already exists"]);
            }
            5 => {
                let line = format!("/join {lobby} {PASSWORD}");
                let answers = ["Joined lobby", "Lobby does not exist", "You are already in"];
                self.expect_one(client, &line, &answers);
            }
            6 if self.last_guess.elapsed() > GUESS_INTERVAL => {
                self.last_guess = Instant::now();
                count(&self.done.guesses);
                let answers = ["Incorrect password", "Lobby does not exist", "You are already in"];
                self.expect_one(client, &format!("/join {lobby} wrong"), &answers);
            }
            7 => {
                count(&self.done.answers);
                self.expect_one(client, "/ai what is new?", &["│ nothing at all", "[AI]"]);
            }
            _ => {
                let text = format!("word {n} of {} at {}", self.number, self.random.number());
                count(&self.done.messages);
                self.expect_one(client, &text, &[&format!("╰─> {text}")]);
            }
        }
    }

    /// Sends a line and waits for one of these answers.
    fn expect_one(&self, client: &mut Client<Box<dyn Stream>>, line: &str, answers: &[&str]) {
        client.send(line);
        let end = Instant::now() + PATIENCE;
        let mut seen = String::new();
        while !answers.iter().any(|answer| seen.contains(answer)) {
            assert!(Instant::now() < end, "{line}: no answer in\n{seen}");
            assert!(client.read_some(), "{line}: closed after\n{seen}");
            seen.push_str(&common::plain(&client.take_raw()));
        }
    }
}

/// One look at the server.
#[derive(Clone, Copy)]
struct Sample {
    resident_kib: u64,
    descriptors: usize,
}

fn sample(server: &Server) -> Sample {
    Sample { resident_kib: server.status("VmRSS"), descriptors: server.descriptors() }
}

fn median(mut figures: Vec<u64>) -> u64 {
    figures.sort_unstable();
    figures[figures.len() / 2]
}

fn start(gemini: &Gemini, dns: &Dns) -> Server {
    let dir = tempfile::tempdir().unwrap();
    tls_client::make_pair(dir.path());
    fs::write(dir.path().join("ca.pem"), &gemini.ca_pem).unwrap();
    let command = common::command(dir.path());
    let ours = gemini.settings(dns);
    let mut settings: Vec<_> = ours.iter().map(|(name, value)| (*name, &**value)).collect();
    settings.extend([
        ("CHAT_TLS_LISTEN", "127.0.0.1:0"),
        ("CHAT_MAX_CONNECTIONS_PER_IP", "10"),
        ("CHAT_MESSAGES_PER_WINDOW", "5"),
        ("CHAT_BCRYPT_COST", "10"),
        ("CHAT_LOG_LEVEL", "info"),
        // So that they end and begin anew many times.
        ("CHAT_LOBBY_TTL_SECS", "20"),
        ("CHAT_HISTORY_SECS", "60"),
    ]);
    Server::spawn(command, dir, &settings)
}

#[test]
#[ignore = "takes ten minutes"]
fn a_day_of_a_club() {
    let secs = std::env::var("SOAK_SECS").ok().map_or(600, |secs| secs.parse().unwrap());
    let gemini = Gemini::start(|_, _| answer(&["Oh, ", "nothing at all", ".\n"]));
    let dns = Dns::start(Manner::Honest);
    let server = start(&gemini, &dns);
    let (done, ending) = (Done::default(), AtomicBool::new(false));
    let before = sample(&server);
    let is_over = || ending.load(Ordering::Relaxed);
    let mut samples = Vec::new();
    let mut reloads = 0;
    thread::scope(|scope| {
        for number in 0..PEOPLE {
            let (server, done, is_over) = (&server, &done, &is_over);
            let long_ago = Instant::now().checked_sub(GUESS_INTERVAL).unwrap();
            let random = Random::of(1, number as u64);
            let mut person = Person { server, number, random, done, last_guess: long_ago };
            scope.spawn(move || {
                for life in 0.. {
                    thread::sleep(person.random.millis(100..5000));
                    if is_over() {
                        return;
                    }
                    person.live(life, is_over);
                }
            });
        }
        let (begin, total) = (Instant::now(), Duration::from_secs(secs));
        while begin.elapsed() < total {
            thread::sleep(Duration::from_secs(1));
            samples.push(sample(&server));
            if begin.elapsed() > RELOAD_INTERVAL * (reloads + 1) {
                reloads += 1;
                tls_client::make_pair(server.dir());
                let denied = format!("CHAT_DENY_FROM=192.0.2.{}\n", reloads % 200);
                fs::write(server.dir().join(".env"), denied).unwrap();
                server.signal(Signal::HUP);
            }
        }
        ending.store(true, Ordering::Relaxed);
    });
    common::eventually("all have gone", || server.state()["connections"] == 0);
    report(&server, &done, before, &samples, reloads);
}

fn report(server: &Server, done: &Done, before: Sample, samples: &[Sample], reloads: u32) {
    let after = sample(server);
    let state = server.state();
    let quarters: Vec<u64> = samples
        .chunks(samples.len().div_ceil(4))
        .map(|quarter| median(quarter.iter().map(|sample| sample.resident_kib).collect()))
        .collect();
    let most = |half: &[Sample]| half.iter().map(|sample| sample.resident_kib).max().unwrap();
    let (first, second) = samples.split_at(samples.len() / 2);
    let number = |of: &AtomicUsize| of.load(Ordering::Relaxed);
    println!(
        "{} s: {} came and went, {} messages, {} lobbies made or tried, {} passwords guessed, {} \
         questions, {reloads} reloads\n\
         resident, KiB: {} before, medians of the quarters {quarters:?}, at most {} in the first \
         half and {} in the second, {} at the end\n\
         descriptors: {} before, at most {}, {} at the end; longest turn {} us",
        samples.len(),
        number(&done.lives),
        number(&done.messages),
        number(&done.lobbies),
        number(&done.guesses),
        number(&done.answers),
        before.resident_kib,
        most(first),
        most(second),
        after.resident_kib,
        before.descriptors,
        samples.iter().map(|sample| sample.descriptors).max().unwrap(),
        after.descriptors,
        state["longest_turn_us"],
    );
    let log = server.log();
    let minded: Vec<_> =
        log.lines().filter(|line| line.contains("[WARN]") || line.contains("[ERROR]")).collect();
    assert!(minded.is_empty(), "{minded:#?}");
    assert!(log.matches("certificate reloaded").count() >= reloads as usize);
    // A connection to the service may be kept for the next question.
    assert!(after.descriptors <= before.descriptors + 1, "{}", after.descriptors);
    let (third, fourth) = (quarters[2], quarters[3]);
    assert!(fourth <= third + third / 50, "resident memory grows: {quarters:?}");
    assert!(most(second) <= most(first) + most(first) / 20);
}
