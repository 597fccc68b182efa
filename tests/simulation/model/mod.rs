//! The shadow model: a second statement of the rules, as plain as can be, that says what every client
//! must have received.
//!
//! It owns nothing but lists: who is connected, which lobbies there are, what was said when, and who
//! did what when. A rule is a question put to these lists at the moment it matters. It never keeps a
//! timer, an index or a counter that could be wrong on its own, never forgets by schedule, and calls
//! nothing of the server but its table of pictures.
//!
//! What it says is free of colours, erasing and the prompt `> `. The newline that a client with
//! `/color off` gets in place of the erasing of its last prompt counts as erasing, too.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]

mod assistant;
mod rooms;
mod talk;
mod words;

use std::net::IpAddr;
use std::time::Duration;

use assistant::Question;
use mio_chat::chat::picture;
use rooms::{Lobby, Way};

/// Names a connection; never used again.
pub type Who = u32;
/// Names a question under way: 1, 2, 3 … in the order in which questions begin.
pub type Key = u64;

const NAME_ERRORS: usize = 5;
/// How long a probed connection has to prove that it is there.
const PROBED_FOR: Duration = Duration::from_secs(6);
const LONGEST_MESSAGE: usize = 1000;
/// Lines within `rate_window` that only show something.
const LOOKS: usize = 20;
/// Messages that a lobby takes within `rate_window` before addresses share.
const LOBBY_MESSAGES: usize = 300;
/// Log-ins within a minute for each connection that an address may have.
const LOGINS: usize = 3;
/// Refused lines that none follows for so long are told of.
const REFUSED_QUIET: Duration = Duration::from_secs(10);
const MINUTE: Duration = Duration::from_secs(60);
const WRONG_PASSWORDS: usize = 3;

/// What an operator sets.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Lines of a user within `rate_window`; 0 is no limit.
    pub messages_per_window: usize,
    pub rate_window: Duration,
    /// And so many times as many for all users of an address; 0 is no limit.
    pub connections_per_address: usize,
    pub history_age: Duration,
    pub lobby_ttl: Duration,
    pub login_timeout: Duration,
    pub idle_timeout: Option<Duration>,
    /// `None` is no assistant at all, 0 no limit.
    pub questions_per_hour: Option<usize>,
    /// Of everybody together; 0 is no limit.
    pub questions_per_day: usize,
    /// The assistant's, for `/ai status`.
    pub model_name: String,
    /// How long ago, when everything begins, a Monday did, where the server is.
    pub wall: Duration,
}

/// A piece of what a client must receive, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Exactly this, newlines included; of the name prompt it is known that it has none.
    Text(String),
    /// What others say: exactly this, or nothing of it if the client is too slow for it.
    Talk(String),
    /// A replayed history: whole messages of two lines each. A beginning may be missing.
    History(Vec<String>),
    /// A long text that is the same every time, at this width.
    Fixed(Fixed, Option<usize>),
}

/// A long text that is the same every time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fixed {
    /// The banner and the greeting, up to and with the first name prompt.
    Welcome,
    /// The answer to `/help`.
    Help,
    /// The answer to `/sp list`.
    Pictures,
}

/// A question that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    pub key: Key,
    /// Every text of users or of the assistant that the request may and must contain: the lobby's
    /// conversation (question, answer, question …), its last messages, the question. An answer's
    /// lines are separated by newlines.
    pub texts: Vec<String>,
    /// The lobby's own prompt, if set.
    pub prompt: Option<String>,
    pub asker: String,
    pub lobby: String,
}

/// How a password job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Password {
    /// It was done; the model knows whether the password was right.
    Done,
    /// It was not begun, because too many wait.
    Busy,
}

/// An address as the limits count it: the 64 bits of an IPv6 network, or IPv4 whichever way written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    V4([u8; 4]),
    V6([u16; 4]),
}

impl Place {
    /// Whether both are networks (/64) of one site (/48).
    fn is_of_site(self, other: Self) -> bool {
        match (self, other) {
            (Self::V6([a, b, c, _]), Self::V6([d, e, f, _])) => [a, b, c] == [d, e, f],
            _ => false,
        }
    }

    fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip.octets()),
            IpAddr::V6(ip) => {
                let s = ip.segments();
                Self::V6([s[0], s[1], s[2], s[3]])
            }
        }
    }
}

/// Whether the limits count these as one address.
pub fn is_one_address(one: IpAddr, other: IpAddr) -> bool {
    Place::of(one) == Place::of(other)
}

/// Whether they are of one IPv6 site.
pub fn is_one_site(one: IpAddr, other: IpAddr) -> bool {
    Place::of(one).is_of_site(Place::of(other))
}

/// What a client waits for while a password job runs.
#[derive(Debug, Clone)]
enum Waiting {
    Create { name: String, password: String, description: String },
    Join { lobby: u32, password: String },
}

#[derive(Debug)]
struct Client {
    who: Who,
    slot: usize,
    place: Place,
    name: Option<String>,
    /// When it connected, and from the name on when its last line came.
    since: Duration,
    name_errors: usize,
    picture: &'static str,
    /// What it has said of its screen.
    columns: Option<usize>,
    /// The number of the lobby it is in; means nothing before a name.
    lobby: u32,
    /// When lines of it were refused of which it was not told all; the first one it was told of.
    refused: Vec<Duration>,
    /// When it was last probed.
    probed: Option<Duration>,
    waiting: Option<Waiting>,
    /// What it must receive and nobody has taken yet.
    owed: Vec<Piece>,
    /// It has only its last words to come.
    closed: bool,
}

/// Something that happens by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    LoginTimeout(usize, Who),
    IdleTimeout(usize, Who),
    Refused(Who),
    Gathered(u32, Way),
    Removal(u32),
}

/// The whole chat.
#[derive(Debug)]
pub struct Model {
    rules: Rules,
    now: Duration,
    /// How long the process stood still, which `now` leaves out.
    stood: Duration,
    clients: Vec<Client>,
    /// In the order in which they were made; the first is `general`.
    lobbies: Vec<Lobby>,
    lobbies_made: u32,
    /// Every line that was accepted, and whose: the name folded, and the address.
    accepted: Vec<(Duration, String, Place)>,
    /// The same for those that only show something.
    looked: Vec<(Duration, String, Place)>,
    /// What lobbies heard: when, which one, and from where.
    talked: Vec<(Duration, u32, Place)>,
    /// Log-ins.
    logged_in: Vec<(Duration, Place)>,
    wrong_passwords: Vec<(Duration, Place)>,
    /// Every question that was accepted: when, the name folded, the address.
    asked: Vec<(Duration, String, Place)>,
    /// Questions that wait or are under way, in the order in which they were asked.
    questions: Vec<Question>,
    questions_begun: Key,
    /// Questions that were sent to the service, and from where they came.
    had: Vec<(Duration, Place)>,
    closed: Vec<Who>,
    started: Vec<Started>,
    stopped: Vec<Key>,
    probed: Vec<Who>,
    /// Those who do not keep up with what others say, as the world has found out.
    pub behind: Vec<Who>,
}

// ---- What happens --------------------------------------------------------------------------

impl Model {
    /// An empty chat.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            now: Duration::ZERO,
            stood: Duration::ZERO,
            clients: Vec::new(),
            lobbies: vec![Lobby::general()],
            lobbies_made: 0,
            accepted: Vec::new(),
            looked: Vec::new(),
            talked: Vec::new(),
            logged_in: Vec::new(),
            wrong_passwords: Vec::new(),
            asked: Vec::new(),
            questions: Vec::new(),
            questions_begun: 0,
            had: Vec::new(),
            closed: Vec::new(),
            started: Vec::new(),
            stopped: Vec::new(),
            probed: Vec::new(),
            behind: Vec::new(),
        }
    }

    /// A new connection, at the name prompt. The slot only decides who goes first of those whose time
    /// is over at once.
    pub fn connect(&mut self, now: Duration, who: Who, slot: usize, ip: IpAddr) {
        self.now = now;
        self.clients.push(Client {
            who,
            slot,
            place: Place::of(ip),
            name: None,
            since: now,
            name_errors: 0,
            picture: picture::DEFAULT,
            columns: Some(words::USUAL_COLUMNS),
            lobby: 0,
            refused: Vec::new(),
            probed: None,
            waiting: None,
            owed: vec![Piece::Fixed(Fixed::Welcome, Some(words::USUAL_COLUMNS))],
            closed: false,
        });
    }

    /// One line, cleaned and not trimmed; `None` is one beyond 8 KiB.
    pub fn line(&mut self, now: Duration, who: Who, line: Option<&str>) {
        self.now = now;
        if !self.is_open(who) {
            return;
        }
        if self.client(who).name.is_none() {
            return self.answer_to_name_prompt(who, line.map(str::trim));
        }
        self.client_mut(who).since = now;
        let line = line.map(words::disarmed);
        let line = line.as_deref().map(str::trim_end);
        let command = line.and_then(talk::command_in);
        let is_quit = |line: &str| talk::split(line).0.eq_ignore_ascii_case("/quit");
        match (line, command) {
            (Some(""), _) => {}
            (_, Some(command)) if is_quit(command) => {
                self.tell_refused(who);
                self.tell(who, "Disconnecting from server. Goodbye!\n");
                self.close(who);
            }
            _ if !self.may_speak(
                who,
                command.is_some_and(talk::only_shows),
                command.is_none_or(talk::is_for_the_lobby),
            ) => {}
            (None, _) => self.tell(who, words::FAR_TOO_LONG),
            (_, Some(command)) => self.command(who, command),
            (Some(line), None) if line.starts_with("//") => self.say(who, &line[1..]),
            (Some(line), None) => self.say(who, line),
        }
    }

    /// The client's input ended, and all lines before were handled.
    pub fn end_of_input(&mut self, now: Duration, who: Who) {
        self.now = now;
        if self.is_open(who) {
            self.tell_refused(who);
            self.close(who);
        }
    }

    /// The connection failed or was dropped: it gets nothing any more.
    pub fn lost(&mut self, now: Duration, who: Who) {
        self.now = now;
        if self.is_open(who) {
            self.leave(who);
        }
        self.clients.retain(|client| client.who != who);
    }

    /// Its address may not connect any more.
    pub fn forbid(&mut self, now: Duration, who: Who) {
        self.now = now;
        if self.is_open(who) {
            let named = self.name_of(who).is_some();
            self.tell_refused(who);
            let farewell = "Your address is no longer allowed to connect. Goodbye!\n";
            self.tell(who, &format!("{}{farewell}", words::break_line(named)));
            self.close(who);
        }
    }

    /// Everybody is told, and nobody of anybody's departure.
    pub fn shutdown(&mut self, now: Duration) {
        self.now = now;
        for who in self.clients.iter().map(|client| client.who).collect::<Vec<_>>() {
            self.tell_refused(who);
        }
        for client in self.clients.iter_mut().filter(|client| !client.closed) {
            let named = client.name.take().is_some();
            client.owe(&format!("{}Server is shutting down. Goodbye!\n", words::break_line(named)));
            client.closed = true;
            self.closed.push(client.who);
        }
        self.lobbies.iter_mut().for_each(Lobby::forget_gathered);
    }

    /// When something will happen by itself next.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.all_due().first().map(|due| due.0)
    }

    /// Does what is due, the earliest first.
    pub fn tick(&mut self, now: Duration) {
        self.now = now;
        while let Some((_, due)) = self.all_due().first().copied().filter(|due| due.0 <= now) {
            match due {
                Due::LoginTimeout(_, who) => {
                    self.tell(who, "\nYou did not enter a username in time. Goodbye!\n");
                    self.close(who);
                }
                Due::IdleTimeout(_, who) => {
                    self.tell(who, "You were idle for too long. Goodbye!\n");
                    self.close(who);
                }
                Due::Refused(who) => self.tell_refused(who),
                Due::Gathered(lobby, way) => self.tell_gathered(lobby, way),
                Due::Removal(lobby) => self.remove_lobby(lobby),
            }
        }
    }

    /// Nothing ran for so long: nobody was late.
    pub fn stand_still(&mut self, now: Duration, time: Duration) {
        (self.now, self.stood) = (now, self.stood + time);
        self.clients.iter_mut().for_each(|client| client.since = now);
    }

    /// What a clock shows that ran meanwhile.
    fn real(&self) -> Duration {
        self.now + self.stood
    }

    // ---- What follows from it ----------------------------------------------------------------

    /// Takes what this client must receive, also after it was closed.
    pub fn take(&mut self, who: Who) -> Vec<Piece> {
        let at = self.clients.iter().position(|client| client.who == who);
        let Some(at) = at else { return Vec::new() };
        let owed = std::mem::take(&mut self.clients[at].owed);
        if self.clients[at].closed {
            self.clients.remove(at);
        }
        owed
    }

    /// Takes the clients that the server has closed.
    pub fn take_closed(&mut self) -> Vec<Who> {
        std::mem::take(&mut self.closed)
    }

    /// Takes the questions that have begun.
    pub fn take_started(&mut self) -> Vec<Started> {
        std::mem::take(&mut self.started)
    }

    /// Takes the questions whose answers nobody wants any more.
    pub fn take_stopped(&mut self) -> Vec<Key> {
        std::mem::take(&mut self.stopped)
    }

    /// Takes the clients that are to be probed.
    pub fn take_probed(&mut self) -> Vec<Who> {
        std::mem::take(&mut self.probed)
    }

    /// Whether this client waits for a password job.
    pub fn waits_for_password(&self, who: Who) -> bool {
        self.is_open(who) && self.client(who).waiting.is_some()
    }

    /// The name of this client, once it has one and as long as it is there.
    pub fn name_of(&self, who: Who) -> Option<&str> {
        self.clients.iter().find(|client| client.who == who)?.name.as_deref()
    }

    /// The lobby that this client is in.
    pub fn lobby_of(&self, who: Who) -> Option<&str> {
        self.name_of(who)?;
        Some(&self.lobby(self.client(who).lobby)?.name)
    }

    /// The lobby that this user's prompt names: none in general, or where the screen is too narrow.
    pub fn prompt_of(&self, who: Who) -> Option<&str> {
        const COLORS: usize = "\x1b[36m\x1b[0m".len();
        let lobby = self.lobby_of(who).filter(|lobby| *lobby != "general")?;
        let columns = self.client(who).columns.unwrap_or(usize::MAX);
        (COLORS + lobby.len() + "> ".len() <= columns).then_some(lobby)
    }

    /// How many have a name.
    pub fn users(&self) -> usize {
        self.clients.iter().filter(|client| client.name.is_some()).count()
    }

    /// The names of all lobbies.
    pub fn lobbies(&self) -> Vec<String> {
        self.lobbies.iter().map(|lobby| lobby.name.clone()).collect()
    }

    // ---- Coming and going --------------------------------------------------------------------

    fn answer_to_name_prompt(&mut self, who: Who, line: Option<&str>) {
        let form_or_reserved = |name: &str| {
            words::name_error("Username", name, 20)
                .or_else(|| words::is_reserved(name).then(|| words::RESERVED.to_owned()))
        };
        // An error, and whether it counts.
        let error = match line {
            Some("") => return self.tell(who, words::NAME_PROMPT),
            None => Some((words::name_too_long("Username", 20), true)),
            Some(name) => match form_or_reserved(name) {
                Some(error) => Some((error, true)),
                None => self.is_not_free(who, name).map(|error| (error, false)),
            },
        };
        let Some((error, counts)) = error else {
            let now = self.now;
            if let Some(wait) = self.until_log_in(self.client(who).place) {
                let wait = words::seconds(words::secs_up(wait));
                self.tell(who, &format!("Too many log-ins from your IP. Try again in {wait}.\n"));
                return self.close(who);
            }
            self.logged_in.push((now, self.client(who).place));
            let client = self.client_mut(who);
            (client.name, client.since) = (line.map(str::to_owned), now);
            return self.enter(who, 0);
        };
        self.tell(who, &format!("{error}\n"));
        self.client_mut(who).name_errors += usize::from(counts);
        if self.client(who).name_errors < NAME_ERRORS {
            self.tell(who, words::NAME_PROMPT);
        } else {
            self.tell(who, "Too many wrong usernames. Goodbye!\n");
            self.close(who);
        }
    }

    /// How long it is until somebody may log in from there.
    fn until_log_in(&self, place: Place) -> Option<Duration> {
        let most = LOGINS * self.rules.connections_per_address;
        let of = |counts: &dyn Fn(Place) -> bool| -> Vec<Duration> {
            self.logged_in.iter().filter(|one| counts(one.1)).map(|one| one.0).collect()
        };
        self.until_fewer(&of(&|one| one == place), most, MINUTE)
            .or_else(|| self.until_fewer(&of(&|one| one.is_of_site(place)), 10 * most, MINUTE))
    }

    /// Why somebody who is here keeps this client from having the name.
    fn is_not_free(&mut self, who: Who, name: &str) -> Option<String> {
        let (now, place) = (self.now, self.client(who).place);
        let is_like = |own: &String| words::shape(own) == words::shape(name);
        let holder = self.clients.iter_mut().find(|c| c.name.as_ref().is_some_and(is_like))?;
        let own = holder.name.as_deref()?;
        if !own.eq_ignore_ascii_case(name) {
            return Some(format!("Too much like '{own}', who is here."));
        }
        if holder.place != place {
            return Some(words::TAKEN.to_owned());
        }
        let probed = match holder.probed {
            Some(at) if now >= at + PROBED_FOR && now < at + MINUTE => {
                return Some(words::TAKEN.to_owned());
            }
            Some(at) if now < at + MINUTE => at,
            _ => {
                self.probed.push(holder.who);
                now
            }
        };
        holder.probed = Some(probed);
        let wait = words::seconds(words::secs_up(probed + PROBED_FOR - now));
        Some(format!("{} If it was you: try again in {wait}.", words::TAKEN))
    }

    /// The server closes this client; what it is owed stays owed.
    fn close(&mut self, who: Who) {
        self.leave(who);
        self.client_mut(who).closed = true;
        self.closed.push(who);
    }

    /// Its name is free, and the others are told.
    fn leave(&mut self, who: Who) {
        let client = self.client_mut(who);
        client.waiting = None;
        if let Some(name) = client.name.take() {
            let lobby = client.lobby;
            self.left(who, &name, lobby);
        }
    }

    /// Whether a line is accepted by the rate limits, which say so if it is not.
    fn may_speak(&mut self, who: Who, only_shows: bool, talks: bool) -> bool {
        let (name, place) = (self.folded_name(who), self.client(who).place);
        let lines = if only_shows { &self.looked } else { &self.accepted };
        let span = self.rules.rate_window;
        let most = if only_shows { LOOKS } else { self.rules.messages_per_window };
        let together = most * self.rules.connections_per_address;
        let of = |counts: &dyn Fn(&(Duration, String, Place)) -> bool| -> Vec<Duration> {
            lines.iter().filter(|line| counts(line)).map(|line| line.0).collect()
        };
        let own = of(&|line| (&line.1, line.2) == (&name, place));
        let wait = self.until_fewer(&own, most, span).map(|wait| (wait, "Wait"));
        let wait = wait.or_else(|| {
            let address = of(&|line| line.2 == place);
            let site = of(&|line| line.2.is_of_site(place));
            self.until_fewer(&address, together, span)
                .or_else(|| self.until_fewer(&site, 10 * together, span))
                .map(|wait| (wait, "Your address has sent too much: wait"))
        });
        let wait = wait.or_else(|| {
            let lobby = self.client(who).lobby;
            let wait = self.until_heard(lobby, place).filter(|_| talks)?;
            Some((wait, ""))
        });
        let Some((wait, whose)) = wait.filter(|_| self.rules.messages_per_window > 0) else {
            let lines = if only_shows { &mut self.looked } else { &mut self.accepted };
            lines.push((self.now, name, place));
            self.tell_refused(who);
            return true;
        };
        let (now, wait) = (self.now, words::seconds(words::secs_up(wait)));
        let client = self.client_mut(who);
        if client.refused.is_empty() {
            client.owe(&match whose {
                "" => format!("⚠ Too many talk at once here! Wait {wait}. 1 line was not sent.\n"),
                "Wait" => format!("⚠ Rate limited! Wait {wait}. 1 line was not sent.\n"),
                whose => format!("⚠ Rate limited! {whose} {wait}.\n"),
            });
        }
        client.refused.push(now);
        false
    }

    /// How long it is until fewer than `most` of these are within the span; a limit of 0 is none.
    fn until_fewer(&self, times: &[Duration], most: usize, span: Duration) -> Option<Duration> {
        let frees: Vec<_> = times.iter().map(|at| *at + span).filter(|at| *at > self.now).collect();
        (most > 0 && frees.len() >= most).then(|| frees[frees.len() - most] - self.now)
    }

    /// How long it is until a lobby in which too many talk hears one more from this place.
    fn until_heard(&self, lobby: u32, place: Place) -> Option<Duration> {
        let span = self.rules.rate_window;
        let recent: Vec<_> =
            self.talked.iter().filter(|talk| talk.1 == lobby && talk.0 + span > self.now).collect();
        if recent.len() < LOBBY_MESSAGES {
            return None;
        }
        let mut places: Vec<Place> = vec![place];
        for talk in &recent {
            if !places.contains(&talk.2) {
                places.push(talk.2);
            }
        }
        let share = (LOBBY_MESSAGES / places.len()).max(1);
        let of = |counts: &dyn Fn(Place) -> bool| -> Vec<Duration> {
            recent.iter().filter(|talk| counts(talk.2)).map(|talk| talk.0).collect()
        };
        let own = self.until_fewer(&of(&|one| one == place), share, span);
        own.max(self.until_fewer(&of(&|one| one.is_of_site(place)), 10 * share, span))
    }

    /// All refused lines but the first, which was told of at once.
    fn tell_refused(&mut self, who: Who) {
        let client = self.client_mut(who);
        let refused = std::mem::take(&mut client.refused);
        match refused.len() {
            0 | 1 => {}
            2 => client.owe("⚠ 1 line was not sent.\n"),
            n => client.owe(&format!("⚠ {} lines were not sent.\n", n - 1)),
        }
    }

    // ---- Looking things up -------------------------------------------------------------------

    /// All that will happen by itself, the next first. What happens at one instant has no order of
    /// its own: a simulation had better not let it.
    fn all_due(&self) -> Vec<(Duration, Due)> {
        let open = self.clients.iter().filter(|client| !client.closed);
        let mut all: Vec<_> = open
            .filter_map(|client| match (&client.name, self.rules.idle_timeout) {
                (None, _) => {
                    let due = Due::LoginTimeout(client.slot, client.who);
                    Some((client.since + self.rules.login_timeout, due))
                }
                (Some(_), Some(idle)) => {
                    Some((client.since + idle, Due::IdleTimeout(client.slot, client.who)))
                }
                (Some(_), None) => None,
            })
            .collect();
        let named = self.clients.iter().filter(|client| client.name.is_some());
        let last_refused = named.filter_map(|client| Some((client.refused.last()?, client.who)));
        all.extend(last_refused.map(|(at, who)| (*at + REFUSED_QUIET, Due::Refused(who))));
        for lobby in &self.lobbies {
            for way in [Way::In, Way::Out] {
                all.extend(lobby.gathered_due(way).map(|at| (at, Due::Gathered(lobby.id, way))));
            }
            if lobby.id != 0 && self.members(lobby.id).is_empty() {
                all.push((lobby.touched + self.rules.lobby_ttl, Due::Removal(lobby.id)));
            }
        }
        all.sort();
        all
    }

    fn is_open(&self, who: Who) -> bool {
        self.clients.iter().any(|client| client.who == who && !client.closed)
    }

    fn client(&self, who: Who) -> &Client {
        self.clients.iter().find(|client| client.who == who).unwrap()
    }

    fn client_mut(&mut self, who: Who) -> &mut Client {
        self.clients.iter_mut().find(|client| client.who == who).unwrap()
    }

    fn find_user(&self, name: &str) -> Option<&Client> {
        self.clients
            .iter()
            .find(|client| client.name.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(name)))
    }

    fn name(&self, who: Who) -> String {
        self.name_of(who).unwrap().to_owned()
    }

    fn folded_name(&self, who: Who) -> String {
        self.name(who).to_ascii_lowercase()
    }

    /// Somebody hears what others say or do.
    fn hear(&mut self, who: Who, text: &str) {
        self.client_mut(who).hear(text);
    }

    fn tell(&mut self, who: Who, text: &str) {
        self.client_mut(who).owe(text);
    }
}

impl Client {
    fn hear(&mut self, told: &str) {
        self.owed.push(Piece::Talk(words::laid_out(told, self.columns)));
    }

    fn owe_fixed(&mut self, which: Fixed) {
        self.owed.push(Piece::Fixed(which, self.columns));
    }

    fn owe(&mut self, told: &str) {
        let text = &*words::laid_out(told, self.columns);
        match self.owed.last_mut() {
            Some(Piece::Text(last)) => last.push_str(text),
            _ => self.owed.push(Piece::Text(text.to_owned())),
        }
    }
}
