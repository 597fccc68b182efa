//! The chat as its users see it, one behaviour a test, in virtual time.
//!
//! [`World`] stands in for the loop: it names connections, keeps lines back while a password is
//! checked, reads every outbox at the end of a turn, and closes what is to be closed.

#![allow(clippy::disallowed_methods)]

mod assistant;
mod color;
mod commands;
mod crowds;
mod ends;
mod history;
mod invariants;
mod join;
mod limits;
mod lobbies;
mod login;
mod memory;
mod passwords;
mod places;
mod private;
mod refusals;
mod talk;

use std::collections::{HashMap, HashSet, VecDeque};
use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use super::assistant::{AskId, AssistantSettings};
use super::protocol::Protocol;
use super::{Chat, CloseReason, Event, Request, Settings};
use crate::id::ConnId;
use crate::limits::{DEFAULT_SEND_QUEUE_BYTES, SLICES_PER_WRITE};
use crate::line::Line;
use crate::outbox::Outboxes;
use crate::password::{Job, Outcome};
use crate::refusal::Refusal;

/// What a client shows before what is typed, and what removes it.
const PROMPT: &str = "\x1b[36m> \x1b[0m";
const ERASE: &str = "\r\x1b[K";

/// A chat, its clients, and their time.
struct World {
    chat: Chat,
    out: Outboxes,
    now: Instant,
    /// What each client has received and no test has looked at yet.
    screens: HashMap<ConnId, Vec<u8>>,
    /// Questions at the service, with the bodies of their requests, in order.
    asked: Vec<(AskId, String)>,
    /// Connections closed by the chat, in order.
    closed: Vec<ConnId>,
    /// Connections that were to be probed, in order.
    probed: Vec<ConnId>,
    /// Refusals that were to be logged, in order.
    refused: Vec<(IpAddr, Refusal)>,
    /// Clients that never read.
    deaf: HashSet<ConnId>,
    /// Clients whose outbox stays open behind their last words.
    lingering: HashSet<ConnId>,
    /// Password jobs, first in first out; they rest while `hold` is set.
    jobs: VecDeque<(ConnId, Job)>,
    hold: bool,
    /// Lines kept back until a password job is done.
    kept_back: HashMap<ConnId, Vec<String>>,
    /// Connections whose outbox is open.
    open: HashSet<ConnId>,
    free_slots: Vec<usize>,
    connections: u32,
    strangers: u16,
}

impl World {
    /// The default settings, but no rate limit.
    fn new() -> Self {
        Self::with(|_| {})
    }

    /// The same with some settings changed.
    fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings {
            messages_per_window: 0,
            rate_window: Duration::from_secs(10),
            connections_per_address: 0,
            history_age: Duration::from_secs(300),
            lobby_ttl: Duration::from_secs(7200),
            login_timeout: Duration::from_secs(60),
            idle_timeout: None,
            assistant: Some(AssistantSettings {
                model: "some-model".to_owned(),
                questions_per_hour: 20,
                questions_per_day: 0,
            }),
        };
        change(&mut settings);
        Self {
            chat: Chat::new(settings),
            out: Outboxes::new(DEFAULT_SEND_QUEUE_BYTES),
            now: Instant::now(),
            screens: HashMap::new(),
            asked: Vec::new(),
            closed: Vec::new(),
            probed: Vec::new(),
            refused: Vec::new(),
            deaf: HashSet::new(),
            lingering: HashSet::new(),
            jobs: VecDeque::new(),
            hold: false,
            kept_back: HashMap::new(),
            open: HashSet::new(),
            free_slots: Vec::new(),
            connections: 0,
            strangers: 0,
        }
    }

    /// With the default rate limit: 5 lines in 10 seconds.
    fn with_rate_limit() -> Self {
        Self::with(|settings| settings.messages_per_window = 5)
    }

    // ---- Coming and speaking -----------------------------------------------------------------

    /// A connection from this IP address, at the name prompt.
    fn connect(&mut self, ip: &str) -> ConnId {
        let slot = self.free_slots.pop().unwrap_or(self.connections as usize);
        self.connections += 1;
        let id = ConnId::new(slot, self.connections).unwrap();
        self.out.open(id);
        self.open.insert(id);
        self.screens.insert(id, Vec::new());
        let peer = SocketAddr::new(ip.parse().unwrap(), 40_000);
        self.handle(Event::Connected { id, peer });
        id
    }

    /// A connection from an address that nobody else has.
    fn stranger(&mut self) -> ConnId {
        self.strangers += 1;
        let [high, low] = self.strangers.to_be_bytes();
        self.connect(&Ipv4Addr::new(10, 0, high, low).to_string())
    }

    /// A user with an address of their own, in `general`. All screens are clear afterwards.
    fn user(&mut self, name: &str) -> ConnId {
        let id = self.stranger();
        self.say(id, name);
        self.clear();
        id
    }

    /// The same from this IP address.
    fn user_at(&mut self, name: &str, ip: &str) -> ConnId {
        let id = self.connect(ip);
        self.say(id, name);
        self.clear();
        id
    }

    /// A user who has joined this lobby. All screens are clear afterwards.
    fn user_in(&mut self, name: &str, lobby: &str) -> ConnId {
        let id = self.user(name);
        self.say(id, &format!("/join {lobby}"));
        self.clear();
        id
    }

    fn say(&mut self, id: ConnId, line: &str) {
        self.packet(id, &[line]);
    }

    /// Several lines handled in one turn.
    fn packet(&mut self, id: ConnId, lines: &[&str]) {
        for line in lines {
            if let Some(kept) = self.kept_back.get_mut(&id) {
                kept.push((*line).to_owned());
            } else {
                let line = Line::Complete(line.as_bytes());
                self.chat.handle(self.now, Event::Line { id, line }, &mut self.out);
                self.take_requests();
            }
        }
        self.end_turn();
    }

    /// A line of any bytes.
    fn say_bytes(&mut self, id: ConnId, line: &[u8]) {
        self.handle(Event::Line { id, line: Line::Complete(line) });
    }

    /// A line beyond the bound of a line.
    fn say_too_long(&mut self, id: ConnId) {
        self.handle(Event::Line { id, line: Line::TooLong });
    }

    /// The connection is lost.
    fn lose(&mut self, id: ConnId) {
        self.shut(id);
        let reason = CloseReason::Failed(std::io::ErrorKind::ConnectionReset);
        self.handle(Event::Closed { id, reason });
    }

    // ---- The loop ----------------------------------------------------------------------------

    fn handle(&mut self, event: Event<'_>) {
        self.chat.handle(self.now, event, &mut self.out);
        self.end_turn();
    }

    /// Lets time pass, with every timer fired when it is due.
    fn advance(&mut self, by: Duration) {
        let until = self.now + by;
        let mut fired = 0;
        while let Some(due) = self.chat.poll_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.handle(Event::Timeout);
            fired += 1;
            assert!(fired < 10_000, "the timers spin");
        }
        self.now = until;
    }

    fn advance_secs(&mut self, secs: u64) {
        self.advance(Duration::from_secs(secs));
    }

    fn advance_ms(&mut self, ms: u64) {
        self.advance(Duration::from_millis(ms));
    }

    fn end_turn(&mut self) {
        self.take_requests();
        while !self.hold {
            let Some((id, mut job)) = self.jobs.pop_front() else { break };
            let outcome = std::iter::repeat_with(|| job.advance()).flatten().next().unwrap();
            self.chat.handle(self.now, Event::Password { id, outcome }, &mut self.out);
            let kept = self.kept_back.remove(&id).unwrap_or_default();
            let kept: Vec<_> = kept.iter().map(String::as_str).collect();
            self.packet(id, &kept);
        }
        self.take_requests();
        while self.out.has_news() {
            for id in self.out.take_dirty().collect::<Vec<_>>() {
                self.out.end_turn(id);
                if !self.deaf.contains(&id) {
                    self.read(id);
                }
            }
        }
    }

    fn take_requests(&mut self) {
        while let Some(request) = self.chat.poll_request() {
            match request {
                Request::AskGemini { ask, body } => {
                    self.asked.push((ask, String::from_utf8(body).unwrap()));
                }
                Request::StopGemini { ask } => self.asked.retain(|(asked, _)| *asked != ask),
                Request::HashPassword { id, password } => {
                    self.jobs.push_back((id, Job::hash(password, 4, [7; 16])));
                    self.kept_back.insert(id, Vec::new());
                }
                Request::CheckPassword { id, password, hash } => {
                    self.jobs.push_back((id, Job::check(password, &hash).unwrap()));
                    self.kept_back.insert(id, Vec::new());
                }
                Request::Probe { id } => self.probed.push(id),
                Request::Refused { addr, refusal } => self.refused.push((addr, refusal)),
                Request::Close { id } => {
                    if !self.lingering.contains(&id) {
                        self.read(id);
                        self.shut(id);
                    }
                    self.closed.push(id);
                }
            }
        }
    }

    /// Gives back what belongs to a connection; its slot may have another tenant from now on.
    fn shut(&mut self, id: ConnId) {
        self.out.close(id);
        if self.open.remove(&id) {
            self.free_slots.push(id.slot());
        }
    }

    /// Lets the password jobs that were held go on.
    fn release(&mut self) {
        self.hold = false;
        self.end_turn();
    }

    /// Moves what waits for a client to its screen.
    fn read(&mut self, id: ConnId) {
        while self.out.unsent(id) > 0 {
            let mut slices = [IoSlice::new(&[]); SLICES_PER_WRITE];
            let filled = self.out.slices(id, &mut slices);
            let bytes: Vec<u8> = slices[..filled].iter().flat_map(|s| s.to_vec()).collect();
            self.out.advance(id, bytes.len());
            self.screens.get_mut(&id).unwrap().extend(bytes);
        }
    }

    // ---- Looking -----------------------------------------------------------------------------

    /// Takes what a client has received since the last look, as it came.
    fn raw(&mut self, id: ConnId) -> String {
        String::from_utf8(std::mem::take(self.screens.get_mut(&id).unwrap())).unwrap()
    }

    /// The same as lines, without colours and prompts.
    fn seen(&mut self, id: ConnId) -> Vec<String> {
        plain(&self.raw(id)).lines().map(str::to_owned).collect()
    }

    /// Takes what a client has received and compares it.
    #[track_caller]
    fn sees(&mut self, id: ConnId, lines: &[&str]) {
        assert_eq!(self.seen(id), lines);
    }

    /// Says one line and compares what the speaker gets.
    #[track_caller]
    fn answers(&mut self, id: ConnId, line: &str, lines: &[&str]) {
        self.say(id, line);
        assert_eq!(self.seen(id), lines, "to {line:?}");
    }

    /// Says one line and takes what the speaker gets.
    fn answer(&mut self, id: ConnId, line: &str) -> Vec<String> {
        self.say(id, line);
        self.seen(id)
    }

    /// From now on this client sees texts in one row, however long.
    fn unbroken(&mut self, id: ConnId) {
        self.out.set_columns(id, None);
    }

    /// Clears all screens.
    fn clear(&mut self) {
        self.screens.values_mut().for_each(Vec::clear);
    }

    /// Whether the chat has closed this connection.
    fn is_closed(&self, id: ConnId) -> bool {
        self.closed.contains(&id)
    }
}

/// Text without prompts and colours. There are no other escape sequences.
fn plain(raw: &str) -> String {
    let raw = raw.replace(ERASE, "");
    let mut parts = raw.split('\x1b').peekable();
    let mut text = parts.next().unwrap().to_owned();
    while let Some(part) = parts.next() {
        let (color, rest) = part.strip_prefix('[').and_then(|part| part.split_once('m')).unwrap();
        assert!(color.bytes().all(|b| b.is_ascii_digit() || b == b';'), "{part:?}");
        // A prompt names the lobby, if it is not `general`, and ends with its colour.
        let name = rest.strip_suffix("> ").filter(|name| name.bytes().all(|b| b != b' '));
        let reset = parts.peek().is_some_and(|next| next.starts_with("[0m"));
        if !(color == "36" && reset && name.is_some()) {
            text.push_str(rest);
        }
    }
    text
}

/// The two lines of a message said just now.
fn message(name: &str, text: &str) -> [String; 2] {
    [format!("[@_@] {name} [just now]"), format!("  ╰─> {text}")]
}

const TOO_LONG: &str = "Message too long (max 1000 characters): it has 1001";
const MUCH_TOO_LONG: &str = "Message too long (max 1000 characters): it has more than 8192 bytes";
