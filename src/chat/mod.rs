//! The chat itself: who is where, and who hears what.
//!
//! Sans-I/O: [`Chat::handle`] is given the time and what happened, and pushes what people should
//! see straight into their outboxes. The rare things that it cannot do itself (hash a password,
//! close a connection, ask the assistant's service) are requested through [`Chat::poll_request`].
//! The caller drains those after every `handle`, and holds back a connection's further lines until
//! its password job has been answered. [`Chat::poll_timeout`] says when to send [`Event::Timeout`].
//!
//! Knows no socket, clock, thread or random source. A session that ends is forgotten at once: later
//! events that name it have no effect.
//!
//! `login` is the name prompt, `talk` the lines of a user, `rooms` the movement between lobbies,
//! `assistant` the questions to Rox, `pause` what follows when the process stood still.

mod address;
pub mod assistant;
pub mod banner;
mod closing;
pub mod command;
mod crowd;
mod listings;
mod lobby;
mod login;
pub mod marks;
pub mod name;
mod nearest;
mod pause;
pub mod picture;
pub mod protocol;
pub mod render;
mod rooms;
mod talk;
#[cfg(test)]
mod tests;
pub mod user;

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::clock::{WallClock, Zone};
use crate::gemini::Conversation;
use crate::id::{ConnId, Slots};
use crate::limits::{FORGET_INTERVAL, PASSWORD_FAILURES, PASSWORD_WINDOW};
use crate::line::Line;
use crate::outbox::{Frame, Outboxes};
use crate::password::{Outcome, Password, PasswordHash};
use crate::rate::{AddrKey, Expiring, Lockouts};
use crate::refusal::Refusal;
use crate::timers::Timers;
use address::Addresses;
use assistant::{Answer, AskId, Assistant, AssistantSettings};
use crowd::Way;
use lobby::{Lobbies, Lobby, LobbyId};
use protocol::Protocol;
use user::{Session, Stage, User, Windows};

pub use closing::CloseReason;
pub use lobby::GENERAL;

/// The operator's settings. The variables are described in docs/settings.md.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Lines accepted from a user within `rate_window`; 0 means no limit.
    pub messages_per_window: usize,
    /// The span of the rate limit.
    pub rate_window: Duration,
    /// How many connections an address may have, and so how many times as much as one user all its
    /// users together may do; 0 means no limit.
    pub connections_per_address: usize,
    /// How long a message stays in a history.
    pub history_age: Duration,
    /// How long an empty lobby stays.
    pub lobby_ttl: Duration,
    /// How long the name prompt waits.
    pub login_timeout: Duration,
    /// How long a silent user may stay; `None` means for ever.
    pub idle_timeout: Option<Duration>,
    /// The assistant, if there is one.
    pub assistant: Option<AssistantSettings>,
}

/// What happened. Unknown ids, and ids that are no longer known, are ignored.
#[derive(Debug)]
pub enum Event<'a> {
    /// Somebody connected. Its outbox is open.
    Connected {
        /// The new connection.
        id: ConnId,
        /// Where it comes from.
        peer: SocketAddr,
    },
    /// A line came in.
    Line {
        /// From whom.
        id: ConnId,
        /// What.
        line: Line<'a>,
    },
    /// The client speaks another protocol, as its first byte shows.
    WrongProtocol {
        /// Who.
        id: ConnId,
        /// Which.
        protocol: Protocol,
    },
    /// The client has sent everything it will send, and all of it was handled.
    EndOfInput {
        /// Who.
        id: ConnId,
    },
    /// A password job is done.
    Password {
        /// Whose.
        id: ConnId,
        /// Its result.
        outcome: Outcome,
    },
    /// There is news about a question.
    Answer {
        /// Which.
        ask: AskId,
        /// What.
        answer: Answer<'a>,
    },
    /// A password job has waited for long.
    PasswordWaits {
        /// Whose.
        id: ConnId,
        /// Its place in the line.
        place: usize,
    },
    /// The connection is lost; nothing more can be said to it.
    Closed {
        /// Which.
        id: ConnId,
        /// Why.
        reason: CloseReason,
    },
    /// The client's address may no longer connect: it is told so and disconnected.
    Forbidden {
        /// The connection.
        id: ConnId,
    },
    /// The time of [`Chat::poll_timeout`] has come.
    Timeout,
    /// The server is shutting down: everybody is told and disconnected.
    Shutdown,
}

/// What the chat cannot do itself.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// Hash a new password and answer with [`Event::Password`].
    HashPassword {
        /// Who waits for it.
        id: ConnId,
        /// The password.
        password: Password,
    },
    /// Compare a password with a hash and answer with [`Event::Password`].
    CheckPassword {
        /// Who waits for it.
        id: ConnId,
        /// The password as given.
        password: Password,
        /// The hash of the right one.
        hash: PasswordHash,
    },
    /// Ask the service, and report with [`Event::Answer`].
    AskGemini {
        /// The question.
        ask: AskId,
        /// The body of the request.
        body: Vec<u8>,
    },
    /// Check whether this client is still there. It counts as lost if it does not acknowledge what
    /// it is being sent within [`PROBE_TIMEOUT`](crate::limits::PROBE_TIMEOUT); if nothing is being
    /// sent, something has to be sent for this purpose.
    Probe {
        /// The connection.
        id: ConnId,
    },
    /// Log that somebody was refused something.
    Refused {
        /// Who, by the address.
        addr: IpAddr,
        /// What, and why.
        refusal: Refusal,
    },
    /// Forget a question: the answer is no longer wanted.
    StopGemini {
        /// Which.
        ask: AskId,
    },
    /// Deliver what is in the outbox, then close. The session is already gone.
    Close {
        /// The connection.
        id: ConnId,
    },
}

/// Counts of various things, for the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Connections that the chat knows of, with a name or without.
    pub sessions: usize,
    /// Connections with a name.
    pub users: usize,
    /// Lobbies, `general` included.
    pub lobbies: usize,
    /// Messages in all histories.
    pub messages: usize,
    /// Questions to the assistant, under way or waiting.
    pub questions: usize,
    /// Addresses and departed users that are remembered for their limits' sake.
    pub remembered: usize,
    /// Deadlines.
    pub timers: usize,
}

/// Everything that a deadline is kept for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A name prompt or an idle user.
    Session(ConnId),
    /// Refused lines to be accounted for.
    Refused(ConnId),
    /// Arrivals and departures to be told together.
    Crowd(LobbyId, Way),
    /// Messages to be forgotten.
    History(LobbyId),
    /// A conversation to be forgotten.
    Conversation(LobbyId),
    /// An empty lobby to be removed.
    Removal(LobbyId),
    /// The tables that forget by age.
    Forget,
}

/// The state of the whole chat.
#[derive(Debug)]
pub struct Chat {
    settings: Settings,
    sessions: Slots<Session>,
    /// By skeleton: no two that look alike are here at once.
    names: HashMap<Rc<str>, ConnId>,
    lobbies: Lobbies,
    timers: Timers<Timer>,
    /// At most two for each connection (a password or the close, and a probe), one for each question
    /// under way, and one for what the last event was refused.
    requests: VecDeque<Request>,
    /// The rate limits of users who left, in case they come back.
    departed: Expiring<(AddrKey, Rc<str>), Windows>,
    addresses: Addresses,
    wrong_passwords: Lockouts,
    /// When the tables that forget by age are swept; `None` while they are empty.
    forget_deadline: Option<Instant>,
    assistant: Assistant,
    wall_clock: WallClock,
    welcome: Frame,
    /// The message being said, kept to reuse its allocation.
    message: Frame,
    /// Memory is short: nothing dispensable is taken on.
    short_of_memory: bool,
}

impl Chat {
    /// An empty chat.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            sessions: Slots::default(),
            names: HashMap::new(),
            lobbies: Lobbies::new(),
            timers: Timers::default(),
            requests: VecDeque::new(),
            departed: Expiring::default(),
            addresses: Addresses::default(),
            wrong_passwords: Lockouts::new(PASSWORD_FAILURES, PASSWORD_WINDOW),
            forget_deadline: None,
            assistant: Assistant::default(),
            wall_clock: WallClock::new(Zone::utc()),
            welcome: render::welcome(),
            message: Frame::default(),
            short_of_memory: false,
        }
    }

    /// Handles one event at time `now` (never earlier than before), and queues what people should
    /// see.
    pub fn handle(&mut self, now: Instant, event: Event<'_>, out: &mut Outboxes) {
        match event {
            Event::Connected { id, peer } => self.connected(now, id, peer, out),
            Event::Line { id, line } => self.line(now, id, line, out),
            Event::WrongProtocol { id, protocol } => self.wrong_protocol(now, id, protocol, out),
            Event::EndOfInput { id } => self.dismiss(now, id, CloseReason::EndOfInput, None, out),
            Event::Password { id, outcome } => self.password(now, id, outcome, out),
            Event::PasswordWaits { id, place } => self.password_waits(id, place, out),
            Event::Answer { ask, answer } => self.answer(now, ask, &answer, out),
            Event::Closed { id, reason } => self.end_session(now, id, reason, out),
            Event::Forbidden { id } => self.forbidden(now, id, out),
            Event::Timeout => self.timeouts(now, out),
            Event::Shutdown => self.shutdown(now, out),
        }
        if self.forget_deadline.is_none() && self.remembered() > 0 {
            let until = now + FORGET_INTERVAL;
            self.timers.set(Timer::Forget, &mut self.forget_deadline, Some(until));
        }
    }

    /// The next thing that the caller is asked to do.
    pub fn poll_request(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }

    /// When [`Event::Timeout`] is due next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Sets the zone of the wall clock, whose time is shown above messages after a pause; UTC by
    /// default. The clock has to be set before it shows anything.
    pub fn set_zone(&mut self, zone: Zone) {
        self.wall_clock = WallClock::new(zone);
    }

    /// Whether this session has a name.
    #[must_use]
    pub fn is_named(&self, id: ConnId) -> bool {
        self.user(id).is_some()
    }

    /// Where this session comes from, and since when somebody has been here from there.
    #[must_use]
    pub fn presence(&self, id: ConnId) -> Option<(AddrKey, Instant)> {
        let addr = self.sessions.get(id)?.addr;
        Some((addr, self.addresses.here(addr)?))
    }

    /// The zone of that clock.
    #[must_use]
    pub fn zone(&self) -> &Zone {
        self.wall_clock.zone()
    }

    /// Sets the clock: at `now`, this many seconds have passed since the beginning of 1970. Until
    /// it is set again it runs on by itself.
    pub fn set_wall_clock(&mut self, now: Instant, unix_secs: i64) {
        self.wall_clock.set(now, unix_secs);
    }

    /// Has it logged that this session's address was refused something.
    fn refused(&mut self, id: ConnId, refusal: Refusal) {
        if let Some(session) = self.sessions.get(id) {
            let addr = session.peer.ip();
            self.requests.push_back(Request::Refused { addr, refusal });
        }
    }

    /// While memory is short, no new lobbies, prompts and questions are accepted.
    pub fn set_short_of_memory(&mut self, short: bool) {
        self.short_of_memory = short;
    }

    /// Tells a user that a request cannot be met while memory is short. True if that is so.
    fn refuse_short_of_memory(&self, id: ConnId, out: &mut Outboxes) -> bool {
        if self.short_of_memory {
            out.push(id, &render::error("The server is short of memory. Try again later."));
        }
        self.short_of_memory
    }

    /// Forgets what is remembered of those who have gone, which is what memory is freed of first: their
    /// limits begin anew. Lock-outs stay.
    pub fn forget_departed(&mut self) {
        self.departed.clear();
        self.addresses.forget_left();
        self.assistant.budgets.clear();
    }

    /// Makes the lobbies that remember most (no less than the average) forget the older half of
    /// their history, and their conversation with the assistant. False if nothing is remembered.
    pub fn forget_half(&mut self, now: Instant) -> bool {
        let ids = self.lobbies.ids();
        let bytes = |lobby: &Lobby| lobby.history.bytes() + lobby.conversation.bytes();
        let total: usize = self.lobbies.iter().map(bytes).sum();
        let average = total / ids.len().max(1);
        for id in ids {
            let Some(lobby) = self.lobbies.get_mut(id) else { continue };
            if bytes(lobby) >= average.max(1) {
                lobby.history.halve();
                lobby.conversation = Conversation::default();
                self.forget_history(now, id);
                self.forget_conversation(now, id);
            }
        }
        total > 0
    }

    /// Counts everything. Walks the lobbies.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            sessions: self.sessions.len(),
            users: self.names.len(),
            lobbies: self.lobbies.len(),
            messages: self.lobbies.iter().map(|lobby| lobby.history.iter().count()).sum(),
            questions: self.assistant.under_way() + self.assistant.waiting(),
            remembered: self.remembered(),
            timers: self.timers.len(),
        }
    }

    fn remembered(&self) -> usize {
        self.departed.remembered()
            + self.addresses.remembered()
            + self.wrong_passwords.remembered()
            + self.assistant.budgets.remembered()
    }

    fn forget(&mut self, now: Instant) {
        self.forget_deadline = None;
        self.departed.forget(now);
        self.addresses.forget(now);
        self.wrong_passwords.forget(now);
        self.assistant.budgets.forget(now);
    }

    fn line(&mut self, now: Instant, id: ConnId, line: Line<'_>, out: &mut Outboxes) {
        match self.sessions.get(id).map(|session| &session.stage) {
            None => {}
            Some(Stage::Login { .. }) => self.login_line(now, id, line, out),
            Some(Stage::Named(_)) => {
                self.user_line(now, id, line, out);
                out.line_ended(id);
            }
        }
    }

    fn user(&self, id: ConnId) -> Option<&User> {
        match &self.sessions.get(id)?.stage {
            Stage::Named(user) => Some(user),
            Stage::Login { .. } => None,
        }
    }

    fn user_mut(&mut self, id: ConnId) -> Option<&mut User> {
        match &mut self.sessions.get_mut(id)?.stage {
            Stage::Named(user) => Some(user),
            Stage::Login { .. } => None,
        }
    }

    /// The user of this name, without regard to case.
    fn find_user(&self, name: &str) -> Option<(ConnId, &User)> {
        let id = *self.names.get(&*name::skeleton(name))?;
        Some((id, self.user(id).filter(|user| user.name.eq_ignore_ascii_case(name))?))
    }

    /// Fires everything that is due. A key that is set again is set for a later time.
    fn timeouts(&mut self, now: Instant, out: &mut Outboxes) {
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Session(id) => self.session_timeout(now, id, out),
                Timer::Refused(id) => self.refused_timeout(now, id, out),
                Timer::Crowd(id, way) => self.tell_crowd(id, way, out),
                Timer::History(id) => {
                    if let Some(lobby) = self.lobbies.get_mut(id) {
                        lobby.history_deadline = None;
                    }
                    self.forget_history(now, id);
                }
                Timer::Conversation(id) => self.forget_conversation(now, id),
                Timer::Removal(id) => self.removal_timeout(now, id, out),
                Timer::Forget => self.forget(now),
            }
        }
        debug_assert!(self.poll_timeout().is_none_or(|next| next > now));
    }

    fn session_timeout(&mut self, now: Instant, id: ConnId, out: &mut Outboxes) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        session.deadline = None;
        let Stage::Named(user) = &session.stage else {
            let farewell = render::error("\nYou did not enter a username in time. Goodbye!");
            return self.dismiss(now, id, CloseReason::LoginTimeout, Some(&farewell), out);
        };
        let Some(idle) = self.settings.idle_timeout else { return };
        let until = user.last_line + idle;
        if until > now {
            return self.timers.set(Timer::Session(id), &mut session.deadline, Some(until));
        }
        let farewell = render::notice("You were idle for too long. Goodbye!");
        self.dismiss(now, id, CloseReason::IdleTimeout, Some(&farewell), out);
    }

    fn forbidden(&mut self, now: Instant, id: ConnId, out: &mut Outboxes) {
        let below_the_prompt = if self.user(id).is_some() { "" } else { "\n" };
        let farewell = render::notice(format_args!(
            "{below_the_prompt}Your address is no longer allowed to connect. Goodbye!"
        ));
        self.dismiss(now, id, CloseReason::Forbidden, Some(&farewell), out);
    }

    fn shutdown(&mut self, now: Instant, out: &mut Outboxes) {
        let farewell = render::notice("Server is shutting down. Goodbye!");
        let at_name_prompt = render::notice("\nServer is shutting down. Goodbye!");
        // First everybody is taken out of the lobbies, so that nobody is told about all the others
        // leaving.
        self.lobbies.vacate_all();
        let everybody: Vec<_> = self.sessions.iter().map(|(id, _)| id).collect();
        for id in everybody {
            let farewell = if self.user(id).is_some() { &farewell } else { &at_name_prompt };
            self.dismiss(now, id, CloseReason::Shutdown, Some(farewell), out);
        }
    }

    /// Ends a session from our side: some last words, then the connection is closed.
    fn dismiss(
        &mut self,
        now: Instant,
        id: ConnId,
        reason: CloseReason,
        farewell: Option<&Frame>,
        out: &mut Outboxes,
    ) {
        if self.sessions.get(id).is_none() {
            return;
        }
        self.account_for_refused(id, out);
        if let Some(farewell) = farewell {
            out.push(id, farewell);
        }
        out.set_prompting(id, false);
        self.end_session(now, id, reason, out);
        self.requests.push_back(Request::Close { id });
    }

    /// Forgets a session and tells its lobby.
    fn end_session(&mut self, now: Instant, id: ConnId, reason: CloseReason, out: &mut Outboxes) {
        let Some(mut session) = self.sessions.remove(id) else { return };
        self.timers.set(Timer::Session(id), &mut session.deadline, None);
        let (peer, addr) = (session.peer, session.addr);
        self.addresses.went(now, addr);
        let Stage::Named(user) = session.stage else {
            log::debug!("{peer} left without a name - {reason}");
            return;
        };
        log::info!("{} left from {peer} - {reason}", user.name);
        self.names.remove(&*name::skeleton(&user.name));
        if let Some(mut refused) = user.refused {
            self.timers.set(Timer::Refused(id), &mut refused.deadline, None);
        }
        if let Some(last) = user.windows.last() {
            let until = last + self.settings.rate_window;
            self.departed.insert((addr, name::fold(&user.name)), user.windows, until);
        }
        self.leave_seat(now, id, user.lobby, user.seat, &user.name, out);
    }
}
