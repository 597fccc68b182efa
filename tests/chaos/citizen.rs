//! The well-behaved clients: each says numbered things at a steady rate, and checks every line it
//! reads as it comes. What must be in its transcript follows from who is in its lobby, so that
//! anything missing, doubled, changed, out of order or not its business is a fault.

use std::time::{Duration, Instant};

use super::random::Random;
use super::wire::{End, Wire};

/// A member of the cast: who it is, where it sits.
#[derive(Debug, Clone)]
pub struct Role {
    pub name: String,
    /// An index of `Cast::lobbies`.
    pub lobby: usize,
}

/// A lobby of the well-behaved.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub name: &'static str,
    pub password: Option<&'static str>,
}

/// Where the misbehaving are, too: everybody starts there.
pub const GENERAL: usize = 0;

/// What all the well-behaved know of one another.
#[derive(Debug)]
pub struct Cast {
    pub lobbies: Vec<Place>,
    pub roles: Vec<Role>,
    pub seed: u64,
    /// How often each of them says something.
    pub interval: Duration,
    /// When they begin.
    pub start: Instant,
}

/// Where something is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Saying {
    Lobby,
    To(usize),
}

impl Cast {
    /// Every fifth saying is a direct message, to somebody in any lobby.
    fn saying(&self, who: usize, n: usize) -> Saying {
        if n % 5 != 3 {
            return Saying::Lobby;
        }
        let others = self.roles.len() - 1;
        Saying::To((who + 1 + (n * 7 + who) % others) % self.roles.len())
    }

    /// The text of a saying, with its number in front.
    fn text(&self, who: usize, n: usize) -> String {
        const WORDS: [&str; 8] =
            ["plain", "übergröße", "日本語", "🦀🦀", "q\u{301}", "a  b", "[LOBBY] >", "╰─> x"];
        let mut random = Random::of(self.seed, (who * 1_000_003 + n) as u64 | 1 << 63);
        let mut text = format!("{n}");
        let words = if random.once_in(10) { 60 } else { 6 };
        for _ in 0..random.within(1..words) {
            text.push(' ');
            text.push_str(WORDS[random.below(WORDS.len())]);
        }
        text + " #"
    }

    /// The same as it is seen: without the marks of the server's own lines.
    fn seen(&self, who: usize, n: usize) -> String {
        self.text(who, n).replace("[LOBBY]", "(LOBBY)").replace("╰─>", "->")
    }

    /// When a saying is due: not everybody at once.
    pub fn due(&self, who: usize, n: usize) -> Instant {
        let offset = self.interval / self.roles.len() as u32 * who as u32;
        self.start + offset + self.interval * n as u32
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.roles.iter().position(|role| role.name == name)
    }
}

/// A line that announces the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Head {
    Said(usize),
    DirectFrom(usize),
    DirectTo(usize),
    /// Somebody of the misbehaving says something.
    Rogue,
}

/// One of them.
pub struct Citizen {
    who: usize,
    wire: Wire,
    unread: Vec<u8>,
    head: Option<Head>,
    /// Begun to say so many things.
    pub said: usize,
    /// Of each of them, the next one to come from there: in the lobby, and to this one alone.
    next: Vec<usize>,
    next_direct: Vec<usize>,
    /// The next of its own to come back.
    next_own: usize,
    /// What was said in the lobby, in order.
    pub order: Vec<(usize, usize)>,
    /// Who came to the lobby and who left it, in order.
    pub movements: Vec<(String, bool)>,
    /// How long sayings took to come here, from when they were due.
    pub delays: Vec<Duration>,
    /// Lines of the misbehaving.
    pub rogue_lines: usize,
    goodbye: bool,
    pub faults: Vec<String>,
}

impl Citizen {
    pub fn new(who: usize, wire: Wire, cast: &Cast) -> Self {
        let mut this = Self {
            who,
            wire,
            unread: Vec::new(),
            head: None,
            said: 0,
            next: vec![0; cast.roles.len()],
            next_direct: vec![0; cast.roles.len()],
            next_own: 0,
            order: Vec::new(),
            movements: Vec::new(),
            delays: Vec::new(),
            rogue_lines: 0,
            goodbye: false,
            faults: Vec::new(),
        };
        for from in 0..cast.roles.len() {
            this.next[from] = after(cast, from, None, |saying| saying == Saying::Lobby);
            this.next_direct[from] = after(cast, from, None, |saying| saying == Saying::To(who));
        }
        this
    }

    // ---- Coming and going ----------------------------------------------------------------------

    /// Reads, and drops everything through this text. True if it has come.
    pub fn skip_through(&mut self, text: &str) -> bool {
        self.wire.read(&mut self.unread);
        self.wire.send(usize::MAX);
        let at = self.unread.windows(text.len()).position(|part| part == text.as_bytes());
        if let Some(at) = at {
            self.unread.drain(..at + text.len());
        }
        at.is_some()
    }

    pub fn say(&mut self, line: &str) {
        self.wire.put(line.as_bytes());
        self.wire.put(b"\n");
        self.wire.send(usize::MAX);
    }

    /// Whether the stream came to its proper end after the last words.
    pub fn is_gone(&self) -> bool {
        self.goodbye && self.wire.end() == Some(End::Clean)
    }

    // ---- Chatting ------------------------------------------------------------------------------

    /// Says what is due, and reads what has come. `piece` is how much leaves at once: lines may be
    /// cut anywhere.
    pub fn turn(&mut self, now: Instant, cast: &Cast, chatting: bool, piece: usize) {
        while chatting && cast.due(self.who, self.said) <= now {
            let text = cast.text(self.who, self.said);
            match cast.saying(self.who, self.said) {
                Saying::Lobby => self.wire.put(format!("{text}\n").as_bytes()),
                Saying::To(to) => {
                    let name = &cast.roles[to].name;
                    self.wire.put(format!("/msg {name} {text}\n").as_bytes());
                }
            }
            self.said += 1;
        }
        self.wire.send(piece);
        self.wire.read(&mut self.unread);
        self.take_lines(now, cast);
        if self.wire.end().is_some() && !self.is_gone() {
            self.fault(&format!("closed: {:?}", self.wire.end()));
        }
    }

    /// Whether everything that the others have said by now has come, and one's own.
    pub fn has_all(&self, cast: &Cast, said: &[usize]) -> bool {
        let here = cast.roles[self.who].lobby;
        let lobby = |from: usize| cast.roles[from].lobby != here || self.next[from] >= said[from];
        self.next_own == self.said
            && (0..said.len()).all(|from| lobby(from) && self.next_direct[from] >= said[from])
    }

    /// What is still to come, for a report.
    pub fn missing(&self, cast: &Cast, said: &[usize]) -> String {
        let here = cast.roles[self.who].lobby;
        let open: Vec<_> = (0..said.len())
            .filter(|from| cast.roles[*from].lobby == here && self.next[*from] < said[*from])
            .map(|from| format!("{} of {from} ({} said)", self.next[from], said[from]))
            .collect();
        format!(
            "citizen {}: own {} of {}; lobby {open:?}; direct {:?}",
            self.who, self.next_own, self.said, self.next_direct
        )
    }

    pub fn fault(&mut self, what: &str) {
        if self.faults.len() < 10 {
            self.faults.push(format!("citizen {}: {what}", self.who));
        }
    }

    fn take_lines(&mut self, now: Instant, cast: &Cast) {
        let Some(last) = self.unread.iter().rposition(|byte| *byte == b'\n') else { return };
        let rest = self.unread.split_off(last + 1);
        let lines = std::mem::replace(&mut self.unread, rest);
        match std::str::from_utf8(&lines) {
            Ok(lines) => {
                for line in lines.lines() {
                    if let Err(what) = self.take_line(now, cast, line) {
                        self.fault(&format!("{what}: {line:?}"));
                    }
                }
            }
            Err(e) => self.fault(&format!("{e}: {lines:?}")),
        }
    }

    fn take_line(&mut self, now: Instant, cast: &Cast, line: &str) -> Result<(), &'static str> {
        if line.chars().any(char::is_control) {
            return Err("control characters");
        }
        if let Some(head) = self.head.take() {
            let text = line.strip_prefix("  ╰─> ").ok_or("no text below a head")?;
            return self.take_text(now, cast, head, text);
        }
        if let Some(head) = self.head(cast, line) {
            self.head = Some(head);
            return Ok(());
        }
        if line.starts_with("── ") && line.ends_with(" ──") && line.chars().count() == 15 {
            return Ok(());
        }
        // Who was there already, told to whoever came.
        if line.contains(" other is here: ") || line.contains(" others are here: ") {
            return if self.next_own == 0 { Ok(()) } else { Err("nobody has come") };
        }
        if let Some(news) = line.strip_prefix("[LOBBY] ") {
            return self.take_news(cast, news);
        }
        if line == "Disconnecting from server. Goodbye!" && !self.goodbye {
            self.goodbye = true;
            return Ok(());
        }
        let tagged = line.strip_prefix("✦ ").and_then(|rest| rest.strip_suffix(" tagged you"));
        if self.is_among_rogues(cast) && tagged.is_some_and(is_rogue) {
            self.rogue_lines += 1;
            return Ok(());
        }
        Err("a line that does not belong here")
    }

    fn is_among_rogues(&self, cast: &Cast) -> bool {
        cast.roles[self.who].lobby == GENERAL
    }

    fn head(&self, cast: &Cast, line: &str) -> Option<Head> {
        if let Some(head) = line.strip_prefix("[DM] ") {
            return match head.split_once(" —» ")? {
                ("You", name) => cast.find(name).map(Head::DirectTo),
                (name, "You") if is_rogue(name) => {
                    self.is_among_rogues(cast).then_some(Head::Rogue)
                }
                (name, "You") => cast.find(name).map(Head::DirectFrom),
                _ => None,
            };
        }
        let (who, tagged) = match line.strip_suffix(" [just now]") {
            Some(who) => (who, None),
            None => line.rsplit_once(" @").map(|(who, tagged)| (who, Some(tagged)))?,
        };
        let (picture, name) = who.rsplit_once(' ')?;
        match cast.find(name) {
            Some(from) if picture == "[@_@]" && tagged.is_none() => Some(Head::Said(from)),
            None if is_rogue(name) && self.is_among_rogues(cast) => {
                let known = ["[@_@]", "(=^・^=)"].contains(&picture)
                    && tagged.is_none_or(|name| cast.find(name).is_some());
                known.then_some(Head::Rogue)
            }
            _ => None,
        }
    }

    fn take_text(
        &mut self,
        now: Instant,
        cast: &Cast,
        head: Head,
        text: &str,
    ) -> Result<(), &'static str> {
        if head == Head::Rogue {
            self.rogue_lines += 1;
            // The last line of one who vanished may be the beginning of it.
            let whole = text.starts_with("rogue ") || "rogue ".starts_with(text);
            return whole.then_some(()).ok_or("not what a rogue says");
        }
        let n: usize = text.split(' ').next().and_then(|n| n.parse().ok()).ok_or("no number")?;
        let (from, saying) = match head {
            Head::Said(from) => (from, Saying::Lobby),
            Head::DirectFrom(from) => (from, Saying::To(self.who)),
            Head::DirectTo(to) => (self.who, Saying::To(to)),
            Head::Rogue => return Ok(()),
        };
        if cast.saying(from, n) != saying || text != cast.seen(from, n) {
            return Err("not what was said");
        }
        if from == self.who {
            if n != self.next_own {
                return Err("one's own, not in turn");
            }
            self.next_own += 1;
        }
        if saying == Saying::Lobby {
            if cast.roles[from].lobby != cast.roles[self.who].lobby {
                return Err("said in another lobby");
            }
            if n != self.next[from] {
                return Err("missing, doubled or out of order");
            }
            self.next[from] = after(cast, from, Some(n), |saying| saying == Saying::Lobby);
            self.order.push((from, n));
        } else if from != self.who {
            if n != self.next_direct[from] {
                return Err("a direct message missing, doubled or out of order");
            }
            let me = Saying::To(self.who);
            self.next_direct[from] = after(cast, from, Some(n), |saying| saying == me);
        }
        self.delays.push(now.saturating_duration_since(cast.due(from, n)));
        Ok(())
    }

    /// `alice has joined the lobby`, `alice, bob and 37 others have left the lobby`.
    fn take_news(&mut self, cast: &Cast, news: &str) -> Result<(), &'static str> {
        let rest = news.strip_suffix(" the lobby").ok_or("no such news")?;
        let (names, way) = rest.rsplit_once(' ').ok_or("no such news")?;
        let came = match way {
            "joined" => true,
            "left" => false,
            _ => return Err("no such news"),
        };
        let among_rogues = self.is_among_rogues(cast);
        let known = |name: &str| cast.find(name).is_some() || (among_rogues && is_rogue(name));
        if let Some(name) = names.strip_suffix(" has") {
            if !known(name) {
                return Err("somebody unknown");
            }
            self.rogue_lines += usize::from(is_rogue(name));
            if cast.find(name).is_some() {
                self.movements.push((name.to_owned(), came));
            }
            return Ok(());
        }
        let names = names.strip_suffix(" have").ok_or("no such news")?;
        let (names, last) = names.split_once(" and ").ok_or("no such news")?;
        let others = last
            .strip_suffix(" others")
            .or(last.strip_suffix(" other"))
            .is_some_and(|count| count.parse::<usize>().is_ok() && names.split(", ").count() == 2);
        self.rogue_lines += 1;
        let crowd = names.split(", ").all(known) && (others || known(last));
        (among_rogues && crowd).then_some(()).ok_or("no such crowd")
    }
}

/// The number of the next saying of this kind.
fn after(
    cast: &Cast,
    from: usize,
    last: Option<usize>,
    is_wanted: impl Fn(Saying) -> bool,
) -> usize {
    // Nobody says anything to oneself alone: then there is none.
    let first = last.map_or(0, |last| last + 1);
    (first..first + 2000).find(|n| is_wanted(cast.saying(from, *n))).unwrap_or(usize::MAX)
}

/// Whether this is the name of a misbehaving client, perhaps cut off.
fn is_rogue(name: &str) -> bool {
    name.strip_prefix('r').is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
}
