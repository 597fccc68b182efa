//! The loop: one thread, one poll, and everything else in turn.
//!
//! One turn: poll, latch readiness, accept, serve what is ready within its budget, fire timers that
//! are due, send everything that this turn produced, then do a slice of password work, then free
//! what was closed. Passwords come after the sending, so that no message waits for a slice.
//!
//! `now` is read once a turn, from a clock that stands still while the process does (`run_clock`);
//! what is measured within a turn goes by the system's. What a turn does for one connection is in
//! `clients`.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IsTerminal as _};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook_mio::v1_0::Signals;
use slab::Slab;

use super::accept::{self, Acceptor, StartError};
use super::certificate::Certificate;
use super::conn::{Conn, State};
use super::handshakes::Handshakes;
use super::local_time::{self, unix_secs};
use super::machine::resident_kib;
use super::memory::{Heap, Memory};
use super::outbound::{Outbound, Said};
use super::plan::Plan;
use super::probe::Probes;
use super::run_clock::RunClock;
use super::service::{self, Manager};
use super::turns::Turns;
use crate::chat::assistant::Answer;
use crate::chat::{Chat, CloseReason, Event, Request};
use crate::config::Config;
use crate::count::count;
use crate::gemini::Ending;
use crate::id::{ConnId, RESERVED_SLOTS, reserved_token};
use crate::jobs::Jobs;
use crate::limits::{
    ACCEPTS_PER_TURN, EVENTS_PER_TURN, OUTBOUND_TIME, PASSWORD_SHARE, PASSWORD_SLICE,
    READ_BUFFER_BYTES, SHUTDOWN_TIMEOUT, input_pause_bytes,
};
use crate::logging;
use crate::outbox::Outboxes;
use crate::password::{Job, Outcome};
use crate::rate::Connections;
use crate::refusal::{Refusal, RefusalLog};
use crate::timers::Timers;

const SIGNALS: Token = Token(reserved_token(0));
/// The last of them.
const LOG: Token = Token(reserved_token(RESERVED_SLOTS - 1));

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Everybody was told, and had time to read it.
    Gracefully,
    /// A second signal asked for an end at once.
    AtOnce,
}

/// The whole server.
pub struct Server {
    poll: Poll,
    signals: Signals,
    clock: RunClock,
    /// When this turn began, by the system's clock.
    turn_began: Instant,
    pub(super) acceptor: Acceptor,
    pub(super) handshakes: Handshakes,
    /// Connections that gave place to newcomers in this turn, and still have their slots.
    pub(super) places_made: usize,
    /// There was no other in this turn.
    pub(super) no_place: bool,
    pub(super) certificate: Option<Certificate>,
    outbound: Option<Outbound>,
    pub(super) manager: Manager,
    /// Boxed, so that a client in a late slot does not keep room for all those before it.
    pub(super) conns: Slab<Box<Conn>>,
    /// The most connections there have been since memory was last given back.
    pub(super) most_conns: usize,
    /// When that is done again: some time after a crowd has gone, when nothing remembers it any
    /// more.
    pub(super) give_back: Option<Instant>,
    pub(super) outboxes: Outboxes,
    pub(super) chat: Chat,
    pub(super) jobs: Jobs,
    pub(super) timers: Timers<ConnId>,
    /// Connections with input to serve, each at most once.
    pub(super) ready: VecDeque<ConnId>,
    pub(super) turns: Turns,
    /// Connections that can be written to again, or are to be closed after their output.
    pub(super) to_flush: VecDeque<ConnId>,
    /// Connections whose slots are freed at the end of the turn.
    pub(super) closed: Vec<ConnId>,
    /// The read buffer that all connections share.
    pub(super) scratch: Vec<u8>,
    /// Open connections by address.
    pub(super) by_address: Connections,
    /// Turned-away connections that are still being closed.
    pub(super) refusals: usize,
    pub(super) refusal_log: RefusalLog,
    pub(super) probes: Probes,
    pub(super) generation: u32,
    pub(super) limits: Limits,
    pub(super) memory: Memory,
    /// The settings as they were at the start, except for those that can change meanwhile.
    pub(super) config: Config,
    /// Started from a terminal.
    had_terminal: bool,
    /// When the shutdown under way ends.
    shutdown: Option<Instant>,
    longest_turn: Duration,
}

/// The settings that the loop itself uses.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) max_connections: usize,
    pub(super) max_connections_per_ip: u32,
    pub(super) send_stall: Duration,
    pub(super) input_pause_bytes: usize,
    bcrypt_cost: u32,
}

impl Server {
    /// Makes a [`Plan`], sets up the signals and listens, or uses the sockets that a service
    /// manager passed. Nobody is let in before [`Server::run`].
    ///
    /// As for the plan; also if an address cannot be listened on, a passed socket is unusable, or
    /// the system lacks something.
    pub fn bind(config: &Config, heap: Heap) -> Result<Self, StartError> {
        let passed = service::passed_sockets()?;
        let mut chat = Chat::new(config.chat.clone());
        chat.set_zone(local_time::zone());
        let poll = Poll::new().map_err(|e| StartError::System("poll", e))?;
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGCHLD])
            .map_err(|e| StartError::System("signals", e))?;
        poll.registry()
            .register(&mut signals, SIGNALS, Interest::READABLE)
            .map_err(|e| StartError::System("signals", e))?;
        logging::register(poll.registry(), LOG).map_err(|e| StartError::System("log", e))?;
        let (plan, sockets) = if passed.is_empty() {
            let plan = Plan::new(config)?;
            let sockets = accept::listen_all(&plan.addrs)?;
            (plan, sockets)
        } else {
            (Plan::for_passed(config, &passed)?, passed)
        };
        let clock = RunClock::start();
        Ok(Self {
            acceptor: Acceptor::open(sockets, poll.registry())?,
            handshakes: Handshakes::new(config.tls_max_handshakes),
            places_made: 0,
            no_place: false,
            certificate: plan.certificate,
            outbound: match plan.assistant {
                Some(assistant) => Some(assistant.open(clock.now(), poll.registry())?),
                None => None,
            },
            manager: Manager::from_env(clock.now()),
            clock,
            turn_began: read_clock(),
            poll,
            signals,
            conns: Slab::new(),
            most_conns: 0,
            give_back: None,
            outboxes: Outboxes::new(config.send_queue_bytes),
            chat,
            jobs: Jobs::default(),
            timers: Timers::default(),
            ready: VecDeque::new(),
            turns: Turns::default(),
            to_flush: VecDeque::new(),
            closed: Vec::new(),
            scratch: vec![0; READ_BUFFER_BYTES],
            by_address: Connections::default(),
            refusals: 0,
            refusal_log: RefusalLog::default(),
            probes: Probes::default(),
            generation: 0,
            limits: Limits {
                max_connections: plan.max_connections,
                max_connections_per_ip: config.max_connections_per_ip,
                send_stall: config.send_stall,
                input_pause_bytes: input_pause_bytes(config.send_queue_bytes),
                bcrypt_cost: config.bcrypt_cost,
            },
            memory: Memory::new(heap, plan.memory),
            config: config.clone(),
            had_terminal: has_terminal(),
            shutdown: None,
            longest_turn: Duration::ZERO,
        })
    }

    /// The addresses that are listened on for TLS, or for plain lines, as the start-up lines show
    /// them.
    pub fn addrs(&self, tls: bool) -> impl Iterator<Item = String> {
        self.acceptor.addrs(tls).map(accept::display)
    }

    /// Whether there is an assistant.
    #[must_use]
    pub fn has_assistant(&self) -> bool {
        self.outbound.is_some()
    }

    /// The name of the time zone in which times are shown.
    #[must_use]
    pub fn zone_name(&self) -> &str {
        self.chat.zone().name()
    }

    /// Serves until a signal ends it.
    ///
    /// # Errors
    /// The poll itself failed, which leaves nothing to go on with.
    pub fn run(&mut self) -> io::Result<Ended> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        let mut now = self.clock.now();
        self.manager.ready(now);
        loop {
            let wait = self.timeout(now);
            match self.poll.poll(&mut events, wait) {
                Err(e) if e.kind() == ErrorKind::Interrupted => events.clear(),
                result => result?,
            }
            self.turn_began = read_clock();
            let pause = self.clock.next_turn(wait);
            now = self.clock.now();
            if let Some(pause) = pause {
                self.resume(now, pause);
            }
            if self.turn(now, &events) == Some(Ended::AtOnce) {
                return Ok(Ended::AtOnce);
            }
            if self.give_back.is_some_and(|at| at <= now) {
                self.give_back = None;
                self.most_conns = self.conns.len();
                self.conns.shrink_to_fit();
                self.memory.give_back();
            }
            let took = read_clock().duration_since(self.turn_began);
            now += took;
            self.longest_turn = self.longest_turn.max(took);
            if self.shutdown.is_some_and(|until| self.conns.is_empty() || until <= now) {
                if !self.conns.is_empty() {
                    let open = count(self.conns.len() as u64, "connection");
                    log::warn!("{open} did not close in time");
                }
                return Ok(Ended::Gracefully);
            }
        }
    }

    fn turn(&mut self, now: Instant, events: &Events) -> Option<Ended> {
        let mut ended = None;
        self.chat.set_wall_clock(now, unix_secs());
        for event in events {
            if event.token() == SIGNALS {
                ended = ended.or(self.take_signals(now));
            } else if event.token() == LOG {
                logging::wake();
            } else if !self.acceptor.latch(event.token())
                && !self.outbound.as_mut().is_some_and(|outbound| outbound.latch(event))
            {
                self.latch(event);
            }
        }
        self.look_at_memory(now);
        (self.places_made, self.no_place) = (0, false);
        self.acceptor.handle_timeout(now);
        for n in 0..self.acceptor.len() {
            self.accept(now, n);
        }
        self.serve_ready(now);
        self.fire_timers(now);
        self.go_outbound(now);
        self.settle(now);
        if !self.jobs.is_empty() {
            self.work_on_passwords(now);
        }
        self.reap(now);
        logging::attend();
        ended
    }

    /// How long the poll may wait: not at all while there is work, else until the next deadline.
    fn timeout(&self, now: Instant) -> Option<Duration> {
        let unsent = !self.to_flush.is_empty() || self.outboxes.has_news();
        let busy = self.outbound.as_ref().is_some_and(Outbound::is_busy);
        if busy
            || unsent
            || !self.ready.is_empty()
            || !self.jobs.is_empty()
            || self.acceptor.is_ready()
        {
            return Some(Duration::ZERO);
        }
        let deadlines = [
            self.chat.poll_timeout(),
            self.timers.next(),
            self.acceptor.poll_timeout(),
            self.memory.poll_timeout(),
            self.outbound.as_ref().and_then(Outbound::poll_timeout),
            self.manager.poll_timeout(),
            self.probes.poll_timeout(),
            self.refusal_log.poll_timeout(),
            logging::poll_timeout().map(|wait| now + wait),
            self.give_back,
            self.shutdown,
        ];
        let next = deadlines.into_iter().flatten().min()?;
        Some(next.saturating_duration_since(now))
    }

    /// Whether so much has been said that it has to be sent before anybody says more.
    pub(super) fn has_to_send_first(&self) -> bool {
        self.outboxes.is_full() && (self.outboxes.has_news() || !self.to_flush.is_empty())
    }

    fn accept(&mut self, now: Instant, listener: usize) {
        for _ in 0..ACCEPTS_PER_TURN {
            if self.has_to_send_first() {
                return;
            }
            match self.acceptor.accept(now, listener) {
                accept::Accepted::Client(stream, peer, tls) => self.admit(now, stream, peer, tls),
                accept::Accepted::TurnedAway(addr) => {
                    self.refusal_log.note(now, addr, &Refusal::Descriptors);
                }
                accept::Accepted::Nobody => {}
                accept::Accepted::Done => return,
            }
        }
    }

    /// The registry, for new connections.
    pub(super) fn registry(&self) -> &mio::Registry {
        self.poll.registry()
    }

    // ---- What the chat asks for ----------------------------------------------------------------

    /// Hands an event to the chat and does what the chat asks for.
    pub(super) fn tell_chat(&mut self, now: Instant, event: Event<'_>) {
        self.chat.handle(now, event, &mut self.outboxes);
        self.drain_requests(now);
    }

    pub(super) fn drain_requests(&mut self, now: Instant) {
        while let Some(request) = self.chat.poll_request() {
            match request {
                Request::Close { id } => self.begin_close(now, id),
                Request::Probe { id } => self.probe(now, id),
                Request::Refused { addr, refusal } => self.refusal_log.note(now, addr, &refusal),
                Request::HashPassword { id, password } => {
                    let mut salt = [0; 16];
                    let job = match getrandom::fill(&mut salt) {
                        Ok(()) => Some(Job::hash(password, self.limits.bcrypt_cost, salt)),
                        Err(e) => {
                            log::error!("no randomness for a salt - {e}");
                            None
                        }
                    };
                    self.begin_job(now, id, job);
                }
                Request::AskGemini { ask, body } => {
                    if let Some(outbound) = &mut self.outbound {
                        outbound.ask(now, ask, &body);
                    }
                }
                Request::StopGemini { ask } => {
                    if let Some(outbound) = &mut self.outbound {
                        outbound.stop(ask);
                    }
                }
                Request::CheckPassword { id, password, hash } => {
                    self.begin_job(now, id, Job::check(password, &hash));
                }
            }
        }
    }

    /// Continues the assistant's calls, and tells the chat what came of them: a line to a large lobby
    /// is much to do, so what there is no time for is told in the next turn.
    fn go_outbound(&mut self, now: Instant) {
        let Some(outbound) = &mut self.outbound else { return };
        outbound.handle(now);
        let end = read_clock() + OUTBOUND_TIME;
        while read_clock() < end
            && !self.has_to_send_first()
            && let Some((ask, said)) = self.outbound.as_mut().and_then(Outbound::poll_said)
        {
            let answer = match &said {
                Said::Line(line) => Answer::Line(line),
                Said::Done(Ending::Whole) => Answer::Done(None),
                Said::Done(Ending::Cut) => Answer::Done(Some("answer cut short")),
                Said::Failed(error) => {
                    log::warn!("assistant - {}", error.log_cause());
                    Answer::Failed(error)
                }
            };
            self.tell_chat(now, Event::Answer { ask, answer });
        }
    }

    fn begin_job(&mut self, now: Instant, id: ConnId, job: Option<Job>) {
        let gives_place = match job.zip(self.chat.presence(id)) {
            Some((job, (addr, here))) => {
                if let Some(conn) = self.conn(id) {
                    conn.paused = true;
                }
                self.jobs.push(now, id, job, addr, here)
            }
            None => Some(id),
        };
        if let Some(id) = gives_place {
            self.end_job(now, id, Outcome::Busy);
        }
    }

    /// Does rounds of password work; the longer the turn was, the more.
    fn work_on_passwords(&mut self, now: Instant) {
        let clock = read_clock();
        let share = clock.duration_since(self.turn_began) / PASSWORD_SHARE;
        let end = clock + share.clamp(*PASSWORD_SLICE.start(), *PASSWORD_SLICE.end());
        if let Some((id, place)) = self.jobs.overdue(now) {
            self.tell_chat(now, Event::PasswordWaits { id, place });
        }
        while !self.jobs.is_empty() {
            if let Some((id, outcome)) = self.jobs.advance(now) {
                self.end_job(now, id, outcome);
                self.drain_requests(now);
            }
            if read_clock() >= end {
                return;
            }
        }
    }

    fn end_job(&mut self, now: Instant, id: ConnId, outcome: Outcome) {
        if let Some(conn) = self.conn(id) {
            conn.paused = false;
        }
        self.chat.handle(now, Event::Password { id, outcome }, &mut self.outboxes);
        self.wake(id);
    }

    // ---- Time and signals ----------------------------------------------------------------------

    fn fire_timers(&mut self, now: Instant) {
        while let Some(id) = self.timers.pop_due(now) {
            self.deadline_passed(now, id);
        }
        if self.chat.poll_timeout().is_some_and(|due| due <= now) {
            self.tell_chat(now, Event::Timeout);
        }
        self.end_probes(now);
        self.refusal_log.handle_timeout(now);
        self.manager.handle_timeout(now, self.conns.len());
        debug_assert!(self.timers.next().is_none_or(|next| next > now));
    }

    fn take_signals(&mut self, now: Instant) -> Option<Ended> {
        let mut ended = None;
        // Two that arrive together count as one.
        let was_ending = self.shutdown.is_some();
        let pending: Vec<i32> = self.signals.pending().collect();
        for signal in pending {
            match signal {
                SIGUSR1 => self.log_state(now),
                SIGCHLD => logging::child_ended(),
                SIGHUP if !self.had_terminal || has_terminal() => self.reload(now),
                // Its terminal was closed, which the system reports and the shell may report again.
                SIGHUP if self.shutdown.is_some() => {}
                _ if was_ending => {
                    log::warn!("second signal: ending at once");
                    ended = Some(Ended::AtOnce);
                }
                _ if self.shutdown.is_none() => self.begin_shutdown(now),
                _ => {}
            }
        }
        ended
    }

    /// Reads again what can change while the server runs: the certificate, for new connections, and
    /// who may connect, which also affects existing connections. Reopens the log file last, so that
    /// what was said here is in the old one.
    fn reload(&mut self, now: Instant) {
        self.manager.reloading();
        match self.certificate.as_mut().map(Certificate::reload) {
            None => log::info!("hang-up signal: TLS is off, no certificate to reload"),
            Some(Ok(())) => log::info!("certificate reloaded"),
            Some(Err(error)) => log::error!("the old certificate stays in use - {error}"),
        }
        match Config::load(&self.config.directory) {
            // Probably gone by mistake, and with it perhaps the list of those who are denied.
            Ok(config) if self.config.has_file && !config.has_file => {
                log::error!(
                    "the old settings stay in use - there is no .env any more; an empty one lifts \
                     the lists of who may connect"
                );
            }
            Ok(config) => {
                self.config.has_file = config.has_file;
                self.set_access(now, config.access.clone());
                if config != self.config {
                    log::warn!("other settings have changed: they take effect at the next start");
                }
            }
            Err(error) => log::error!("the old settings stay in use - {error}"),
        }
        if let Some(outbound) = &mut self.outbound {
            outbound.reload(now);
        }
        logging::reopen();
        self.manager.ready(now);
    }

    fn begin_shutdown(&mut self, now: Instant) {
        log::info!("shutting down - {}", count(self.conns.len() as u64, "connection"));
        self.manager.stopping(now);
        self.acceptor.close();
        self.shutdown = Some(now + SHUTDOWN_TIMEOUT);
        let opening: Vec<_> = self
            .conns
            .iter()
            .filter(|(_, conn)| conn.is_opening())
            .map(|(_, conn)| conn.id)
            .collect();
        for id in opening {
            self.lose(now, id, CloseReason::Shutdown);
        }
        self.tell_chat(now, Event::Shutdown);
    }

    /// One line about how the server is doing.
    fn log_state(&mut self, now: Instant) {
        let counts = self.chat.counts();
        log::info!(
            "state: connections={} users={} lobbies={} messages={} questions={} questions_today={} \
             remembered={} queued_bytes={} password_jobs={} allocated_kib={} memory_kib={} longest_turn_us={}",
            self.conns.len(),
            counts.users,
            counts.lobbies,
            counts.messages,
            counts.questions,
            self.chat.questions_today(now),
            counts.remembered,
            self.outboxes.unsent_in_all(),
            self.jobs.len(),
            self.memory.allocated() / 1024,
            resident_kib().unwrap_or(0),
            self.longest_turn.as_micros()
        );
        self.longest_turn = Duration::ZERO;
    }

    /// The connection with this id, if it is still the same one.
    pub(super) fn conn(&mut self, id: ConnId) -> Option<&mut Conn> {
        let conn = self.conns.get_mut(id.slot())?;
        (conn.id == id && conn.state != State::Closed).then_some(conn)
    }
}

/// Whether somebody may see what is written, or stop it with a key. A terminal that was closed no
/// longer counts as one.
fn has_terminal() -> bool {
    io::stdin().is_terminal() || io::stdout().is_terminal() || io::stderr().is_terminal()
}

/// The clock. Read here only.
#[allow(clippy::disallowed_methods)]
pub(super) fn read_clock() -> Instant {
    Instant::now()
}
