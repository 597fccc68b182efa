//! All clients of the test on one poll loop: every misbehaving one that goes is replaced at once.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::version::{TLS12, TLS13};

use super::citizen::{Cast, Citizen, GENERAL, Place, Role};
use super::player::{Outcome, Player};
use super::random::Random;
use super::rogue::{Door, Kind, Rogue, Rules};
use super::wire::{Wire, client_hello};
use crate::common::tls_client::config;
use crate::common::{PATIENCE, Server};

/// What a run consists of.
#[derive(Debug)]
pub struct Plan {
    /// Misbehaving clients at once.
    pub at_once: usize,
    /// Misbehaving clients in all.
    pub lives: usize,
    /// Misbehaving clients before the beginning.
    pub warm_up: usize,
    /// Lines that a user may send at once, if that is limited.
    pub lines_per_window: Option<usize>,
    /// How often a well-behaved client says something.
    pub interval: Duration,
    /// Says how far it is.
    pub progress: bool,
    pub seed: u64,
}

impl Default for Plan {
    fn default() -> Self {
        let seed = match std::env::var("CHAOS_SEED") {
            Ok(text) => text.parse().unwrap(),
            Err(_) => getrandom::u64().unwrap(),
        };
        Self {
            at_once: 200,
            lives: 0,
            warm_up: 1000,
            lines_per_window: None,
            interval: Duration::from_millis(200),
            progress: false,
            seed,
        }
    }
}

/// The well-behaved.
const CITIZENS: usize = 20;
/// The first so many of them sit where the misbehaving are.
const IN_GENERAL: usize = 8;
const LOBBIES: [Place; 3] = [
    Place { name: "general", password: None },
    Place { name: "orchard", password: None },
    Place { name: "cellar", password: Some("apple-juice") },
];
/// Misbehaving clients served between two rounds of the well-behaved, so that these read in time.
const ROGUES_A_ROUND: usize = 50;

/// All clients.
pub struct Town<'a> {
    server: &'a Server,
    plan: &'a Plan,
    poll: Poll,
    events: Events,
    rogues: Vec<Option<(Kind, Player)>>,
    /// Slots with an event since they were last looked at.
    woken: Vec<bool>,
    citizens: Vec<Citizen>,
    cast: Cast,
    chatting: bool,
    rules: Rules,
    configs: [Arc<ClientConfig>; 3],
    random: Random,
    serial: usize,
    left: usize,
    counts: BTreeMap<Kind, usize>,
    refused: usize,
    faults: Vec<String>,
    next_progress: Instant,
}

impl<'a> Town<'a> {
    pub fn new(server: &'a Server, plan: &'a Plan, v6: bool) -> Self {
        let roles = (0..CITIZENS).map(|who| Role {
            name: format!("citizen-{who}"),
            lobby: if who < IN_GENERAL { GENERAL } else { 1 + who % 2 },
        });
        let roles: Vec<_> = roles.collect();
        let mut anew = (*config(&TLS13)).clone();
        anew.resumption = Resumption::disabled();
        let configs = [config(&TLS13), config(&TLS12), Arc::new(anew)];
        let now = Instant::now();
        Self {
            rules: Rules {
                lines: plan.lines_per_window.unwrap_or(usize::MAX),
                hello: client_hello(&configs[2]),
                users: Vec::new(),
                private: LOBBIES[2].name,
                v6,
            },
            server,
            plan,
            poll: Poll::new().unwrap(),
            events: Events::with_capacity(1024),
            rogues: (0..plan.at_once).map(|_| None).collect(),
            woken: vec![false; plan.at_once],
            citizens: Vec::new(),
            cast: Cast {
                lobbies: LOBBIES.to_vec(),
                roles,
                seed: plan.seed,
                interval: plan.interval,
                start: now,
            },
            chatting: false,
            configs,
            random: Random::of(plan.seed, u64::MAX),
            serial: 0,
            left: 0,
            counts: BTreeMap::new(),
            refused: 0,
            faults: Vec::new(),
            next_progress: now,
        }
    }

    /// Fails if anything went wrong.
    pub fn check(&self) {
        let faults = self.faults();
        assert!(faults.is_empty(), "the first of {}:\n{}", self.faults.len(), faults.join("\n\n"));
    }

    /// What went wrong.
    fn faults(&self) -> Vec<String> {
        let citizens = self.citizens.iter().flat_map(|citizen| citizen.faults.iter());
        citizens.chain(&self.faults).take(20).cloned().collect()
    }

    // ---- The misbehaving -----------------------------------------------------------------------

    /// Has so many misbehaving clients come and go.
    pub fn wave(&mut self, lives: usize) {
        let until = Instant::now() + Duration::from_secs(600) + lives as u32 * PATIENCE / 1000;
        self.left = lives;
        for slot in 0..self.rogues.len() {
            self.replace(slot);
        }
        while self.rogues.iter().any(Option::is_some) {
            self.turn();
            assert!(Instant::now() < until, "no end");
        }
    }

    /// Puts the next misbehaving client into a slot, if there is one.
    fn replace(&mut self, slot: usize) {
        self.rogues[slot] = None;
        if self.left == 0 {
            return;
        }
        self.left -= 1;
        self.serial += 1;
        let mut random = Random::of(self.plan.seed, self.serial as u64);
        let rogue = Rogue::new(self.serial, &mut random, &self.rules);
        let (addr, tls_addr) = (self.server.addr, self.server.tls_addr.unwrap());
        let (to, from) = match rogue.door {
            Door::Plain => (addr, Some(rogue.from)),
            Door::PlainV6 => (SocketAddr::new(Ipv6Addr::LOCALHOST.into(), addr.port()), None),
            Door::Tls | Door::TlsUnspoken => (tls_addr, Some(rogue.from)),
        };
        let tls = (rogue.door == Door::Tls).then(|| random.pick(&self.configs));
        let mut wire = Wire::connect(to, from, tls, rogue.receive_buffer);
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(wire.socket(), Token(slot), interest).unwrap();
        *self.counts.entry(rogue.kind).or_default() += 1;
        let player = Player::new(rogue.script, wire, tls.is_some(), Instant::now());
        self.rogues[slot] = Some((rogue.kind, player));
        self.woken[slot] = true;
    }

    fn serve_rogue(&mut self, slot: usize) {
        let now = Instant::now();
        let Some((kind, player)) = &mut self.rogues[slot] else { return };
        if !std::mem::take(&mut self.woken[slot]) && player.wake > now {
            return;
        }
        match player.turn(now) {
            None => return,
            Some(Outcome::Done) => {}
            Some(Outcome::Refused) => self.refused += 1,
            Some(Outcome::Fault(what)) => self.faults.push(format!("{kind:?}: {what}")),
        }
        self.replace(slot);
    }

    // ---- The loop ------------------------------------------------------------------------------

    fn turn(&mut self) {
        let now = Instant::now();
        let wakes = self.rogues.iter().flatten().map(|(_, player)| player.wake);
        let dues = (0..self.citizens.len())
            .filter(|_| self.chatting)
            .map(|who| self.cast.due(who, self.citizens[who].said));
        let next = wakes.chain(dues).min().unwrap_or(now + PATIENCE);
        let wait = next.saturating_duration_since(now).min(Duration::from_millis(20));
        self.poll.poll(&mut self.events, Some(wait)).unwrap();
        for event in &self.events {
            if let Some(woken) = self.woken.get_mut(event.token().0) {
                *woken = true;
            }
        }
        for slot in 0..self.rogues.len() {
            if slot % ROGUES_A_ROUND == 0 {
                self.serve_citizens();
            }
            self.serve_rogue(slot);
        }
        if self.plan.progress && now >= self.next_progress {
            self.next_progress = now + Duration::from_secs(10);
            println!(
                "{} connections; {} descriptors, {} KiB, {} faults",
                self.serial,
                self.server.descriptors(),
                self.server.status("VmRSS"),
                self.faults().len()
            );
        }
    }

    /// All of them each time: there are few, and they come first.
    fn serve_citizens(&mut self) {
        for citizen in &mut self.citizens {
            // Now and then a line leaves in pieces.
            let piece = if self.random.once_in(8) { self.random.within(1..40) } else { usize::MAX };
            citizen.turn(Instant::now(), &self.cast, self.chatting, piece);
        }
    }

    fn run_until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < until, "never so: {what}; {:#?}", self.faults());
            self.turn();
        }
    }

    // ---- The well-behaved ----------------------------------------------------------------------

    /// Lets the well-behaved in, one after the other.
    pub fn seat_everybody(&mut self) {
        for who in 0..CITIZENS {
            let (addr, tls_addr) = (self.server.addr, self.server.tls_addr.unwrap());
            let from = Some(Ipv4Addr::new(127, 0, 9, who as u8 + 1));
            let (to, from, tls) = match who % 5 {
                0 if self.rules.v6 => {
                    (SocketAddr::new(Ipv6Addr::LOCALHOST.into(), addr.port()), None, None)
                }
                1 => (tls_addr, from, Some(&self.configs[0])),
                2 => (tls_addr, from, Some(&self.configs[1])),
                _ => (addr, from, None),
            };
            let mut wire = Wire::connect(to, from, tls, None);
            let interest = Interest::READABLE | Interest::WRITABLE;
            let token = Token(self.plan.at_once + who);
            self.poll.registry().register(wire.socket(), token, interest).unwrap();
            let mut citizen = Citizen::new(who, wire, &self.cast);
            self.seat(&mut citizen, who);
            self.citizens.push(citizen);
        }
        let in_general = &self.cast.roles[..IN_GENERAL];
        self.rules.users = in_general.iter().map(|role| role.name.clone()).collect();
    }

    fn seat(&mut self, citizen: &mut Citizen, who: usize) {
        let Role { name, lobby } = self.cast.roles[who].clone();
        let Place { name: lobby_name, password } = self.cast.lobbies[lobby];
        let mut wait = |citizen: &mut Citizen, text: &str| {
            self.run_until(text, |_| citizen.skip_through(text));
        };
        wait(citizen, "Enter your username: ");
        citizen.say(&name);
        wait(citizen, "> \x1b[0m");
        citizen.say("/color off");
        wait(citizen, "Colours are off.\n");
        // Each text is one row, however long.
        citizen.say("/width off");
        wait(citizen, "Messages are no longer wrapped.\n");
        if lobby == GENERAL {
            return;
        }
        if self.cast.roles[..who].iter().all(|role| role.lobby != lobby) {
            let password = password.unwrap_or("no-pass");
            citizen.say(&format!("/create {lobby_name} {password} a place of our own"));
        }
        citizen.say(&format!("/join {lobby_name} {}", password.unwrap_or_default()));
        let mut wait = |text: &str| self.run_until(text, |_| citizen.skip_through(text));
        wait(&format!("Joined lobby '{lobby_name}'\n"));
        wait(&format!("[LOBBY] {name} has joined the lobby\n"));
    }

    pub fn begin_to_chat(&mut self) {
        // What was typed to take a seat counts for ten seconds.
        let limited = self.plan.lines_per_window.is_some();
        let pause = if limited { Duration::from_secs(10) } else { self.plan.interval };
        self.cast.start = Instant::now() + pause;
        self.chatting = true;
    }

    /// Everybody stops who has said something, and has heard everything before long.
    pub fn end_chat(&mut self) {
        self.run_until("everybody speaks", |town| town.citizens.iter().all(|one| one.said > 0));
        self.chatting = false;
        let said: Vec<_> = self.citizens.iter().map(|citizen| citizen.said).collect();
        let until = Instant::now() + PATIENCE;
        while !self.citizens.iter().all(|citizen| citizen.has_all(&self.cast, &said)) {
            self.turn();
            if Instant::now() >= until {
                let open = self.citizens.iter().filter(|one| !one.has_all(&self.cast, &said));
                let missing: Vec<_> = open.map(|one| one.missing(&self.cast, &said)).collect();
                self.faults.extend(missing);
                return;
            }
        }
    }

    /// They leave one after the other, and those who were together compare what they saw.
    pub fn farewell(&mut self) {
        for who in 0..CITIZENS {
            self.citizens[who].say("/quit");
            self.run_until("a proper end", |town| town.citizens[who].is_gone());
            let here = self.cast.roles[who].lobby;
            let name = self.cast.roles[who].name.clone();
            let told = |town: &mut Self| {
                let mut rest = town.citizens[who + 1..].iter().enumerate();
                rest.all(|(n, other)| {
                    town.cast.roles[who + 1 + n].lobby != here
                        || other.movements.last() == Some(&(name.clone(), false))
                })
            };
            self.run_until("others see one leave", told);
        }
        for who in 0..CITIZENS {
            let here = self.cast.roles[who].lobby;
            let together = |other: &usize| self.cast.roles[*other].lobby == here;
            let first = (0..CITIZENS).find(together).unwrap();
            if self.citizens[who].order != self.citizens[first].order {
                let what = format!("another order than citizen {first} saw");
                self.citizens[who].fault(&what);
            }
            if here == GENERAL {
                continue;
            }
            let name = |other: usize, came| (self.cast.roles[other].name.clone(), came);
            let came = (who + 1..CITIZENS).filter(together).map(|other| name(other, true));
            let left = (0..who).filter(together).map(|other| name(other, false));
            let expected: Vec<_> = came.chain(left).collect();
            if self.citizens[who].movements != expected {
                let what = format!("saw {:?} come and go", self.citizens[who].movements);
                self.citizens[who].fault(&what);
            }
        }
    }

    /// What the longest way of a saying to one who hears it took.
    pub fn longest_delay(&self) -> Duration {
        *self.citizens.iter().flat_map(|citizen| &citizen.delays).max().unwrap()
    }

    /// One paragraph of numbers.
    pub fn figures(&self) -> String {
        let mut delays: Vec<_> = self.citizens.iter().flat_map(|one| &one.delays).collect();
        delays.sort();
        let at = |share: usize| delays[(delays.len() - 1) * share / 100];
        let mut text = format!("{} connections, {} refused:", self.serial, self.refused);
        for (kind, count) in &self.counts {
            let _ = write!(text, " {kind:?} {count}");
        }
        let rogue_lines: usize = self.citizens.iter().map(|one| one.rogue_lines).sum();
        let said: usize = self.citizens.iter().map(|one| one.said).sum();
        let _ = write!(
            text,
            "\n{said} things said by {CITIZENS} well-behaved clients and heard {} times, among \
             {rogue_lines} of others; delay p50 {:.1?}, p99 {:.1?}, max {:.1?}",
            delays.len(),
            at(50),
            at(99),
            at(100)
        );
        text
    }
}
