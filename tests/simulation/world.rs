//! The server without sockets: clients whose bytes come and go in any pieces, the real decoders,
//! chat, outboxes, limits, password and assistant queues, and a clock that is only a number.
//!
//! Mirrors what `net` does for a connection: lines within a budget, input that waits while a password
//! is checked or much output is unsent, `Open → Flushing → Closed`. Everything that happens is told
//! to the shadow model, too, and [`World::turn`] compares what both say. Decides nothing by itself:
//! what happens next is `people`'s business.

use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use mio_chat::chat::assistant::{Answer, AskId, AssistantSettings};
use mio_chat::chat::{Chat, CloseReason, Event, Request, Settings};
use mio_chat::clock::Zone;
use mio_chat::gemini::{AskError, Cause, PERSONA};
use mio_chat::id::ConnId;
use mio_chat::jobs::Jobs;
use mio_chat::limits::{
    ASKS_AT_ONCE, LINES_PER_TURN, MAX_PASSWORD_JOBS, READ_BYTES_PER_TURN, SLICES_PER_WRITE,
    input_pause_bytes, max_reply_bytes,
};
use mio_chat::line::{Ending, Line, LineDecoder};
use mio_chat::outbox::Outboxes;
use mio_chat::password::{Job, Outcome};
use mio_chat::rate::{AddrKey, Connections};
use mio_chat::text;
use tz::TimeZone;

use super::fixed;
use super::laws::Laws;
use super::model::{self, Key, Model, Password, Piece, Rules, Who};
use super::random::Random;
use super::screen::Screen;

/// Bytes of colours in one message, at most.
const COLORS: usize = 64;
/// How long an answer may take in all; then the call itself fails (`gemini::call`).
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long output may stand still.
const STALL: Duration = Duration::from_secs(30);
/// Seconds by which clocks are ahead of Greenwich.
const ZONE: i32 = 20_700;

/// How a client reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// All that there is.
    Everything,
    /// So many bytes a turn.
    Slowly(usize),
    Nothing,
}

/// Something typed: the bytes, and the one line that they must become (`None`: too long).
#[derive(Debug, Clone)]
pub struct Typed {
    pub bytes: Vec<u8>,
    pub line: Option<String>,
}

/// One connection.
pub struct Client {
    id: ConnId,
    pub ip: IpAddr,
    decoder: LineDecoder,
    ending: Ending,
    /// Typed, and still on its way.
    pub on_the_way: VecDeque<u8>,
    /// Arrived, and not decoded yet.
    unread: Vec<u8>,
    /// The lines that must come out of it all.
    lines: VecDeque<Option<String>>,
    /// The client has ended its input behind what is on the way.
    pub half_closed: bool,
    end_handled: bool,
    paused: bool,
    /// The chat has closed it: what is owed is delivered, and no more lines are read.
    flushing: bool,
    pub reads: Reads,
    screen: Screen,
    /// What it must see and has not yet.
    owed: VecDeque<Owed>,
    /// Output waits, and none of it has moved since then.
    stalled_since: Option<Duration>,
    /// Bytes of what it has been owed since it last had everything.
    owed_bytes: usize,
}

/// A piece that must come, and whether the beginning of a history may be missing from it.
struct Owed {
    piece: Piece,
    lenient: bool,
}

/// A question at the service.
pub struct Asked {
    ask: AskId,
    key: Key,
    since: Duration,
    /// Lines said so far.
    pub said: usize,
}

pub struct World {
    pub rng: Random,
    base: Instant,
    /// When a second began, and which.
    wall: (Instant, i64),
    pub now: Duration,
    chat: Chat,
    out: Outboxes,
    jobs: Jobs,
    by_address: Connections,
    /// Connections that an address may have; 0 is no limit.
    per_address: usize,
    pub model: Model,
    /// Boxed, since they are taken out and put back at every turn.
    pub clients: BTreeMap<Who, Box<Client>>,
    pub asked: Vec<Asked>,
    laws: Laws,
    send_queue: usize,
    free_slots: Vec<usize>,
    connections: u32,
    /// Closed by the chat in this turn.
    closed: Vec<Who>,
    /// What was done, if it is to be told.
    pub trace: Option<Vec<String>>,
}

impl World {
    pub fn new(rng: Random, rules: Rules, send_queue: usize, trace: bool) -> Self {
        let settings = Settings {
            messages_per_window: rules.messages_per_window,
            rate_window: rules.rate_window,
            connections_per_address: rules.connections_per_address,
            history_age: rules.history_age,
            lobby_ttl: rules.lobby_ttl,
            login_timeout: rules.login_timeout,
            idle_timeout: rules.idle_timeout,
            assistant: rules.questions_per_hour.map(|questions_per_hour| AssistantSettings {
                model: rules.model_name.clone(),
                questions_per_hour,
                questions_per_day: rules.questions_per_day,
            }),
        };
        let base = Instant::now();
        let mut chat = Chat::new(settings);
        // East of Greenwich by hours and minutes; 2 November 2026 was a Monday.
        chat.set_zone(Zone::new(TimeZone::fixed(ZONE).unwrap(), "somewhere"));
        // The clock on the wall knows no fractions: it is set when a second begins.
        let monday = 1_793_577_600 - i64::from(ZONE);
        let early = Duration::from_nanos(rules.wall.subsec_nanos().into());
        let wall = (base, monday + rules.wall.as_secs() as i64);
        chat.set_wall_clock(wall.0, wall.1);
        Self {
            rng,
            base: base + early,
            wall,
            now: Duration::ZERO,
            chat,
            out: Outboxes::new(send_queue),
            jobs: Jobs::default(),
            by_address: Connections::default(),
            per_address: rules.connections_per_address,
            laws: Laws::new(rules.messages_per_window, rules.rate_window),
            model: Model::new(rules),
            clients: BTreeMap::new(),
            asked: Vec::new(),
            send_queue,
            free_slots: Vec::new(),
            connections: 0,
            closed: Vec::new(),
            trace: trace.then(Vec::new),
        }
    }

    pub fn note(&mut self, what: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{now:>12.3?} {}", what()));
        }
    }

    fn clock(&self) -> Instant {
        self.base + self.now
    }

    /// Time that no other event has, so that their order is never in doubt.
    fn tick(&mut self) {
        self.now += Duration::from_nanos(1);
        self.fire_due();
    }

    /// Fires what is due in the model and in the chat.
    fn fire_due(&mut self) {
        self.model.tick(self.now);
        let now = self.clock();
        if self.chat.poll_timeout().is_some_and(|at| at <= now) {
            self.tell(Event::Timeout);
            assert!(self.chat.poll_timeout().is_none_or(|at| at > now));
        }
    }

    /// The process stands still.
    pub fn stand_still(&mut self, time: Duration) {
        self.tick();
        self.note(|| format!("nothing runs for {time:?}"));
        self.wall.1 += time.as_secs() as i64;
        self.chat.set_wall_clock(self.wall.0, self.wall.1);
        self.chat.resumed(self.clock(), time);
        self.model.stand_still(self.now, time);
    }

    // ---- What clients do -----------------------------------------------------------------------

    /// Somebody connects. `None` if the address has too many connections.
    pub fn connect(&mut self, ip: IpAddr) -> Option<Who> {
        let key = AddrKey::from(ip);
        let let_in = self.by_address.try_open(key, self.per_address as u32);
        let of = |counts: fn(IpAddr, IpAddr) -> bool| {
            self.clients.values().filter(|client| counts(client.ip, ip)).count()
        };
        let (open, of_site) = (of(model::is_one_address), of(model::is_one_site));
        let most = self.per_address;
        let expected = most == 0 || open < most && of_site < 10 * most;
        assert_eq!(let_in, expected, "{open} connections of {ip}");
        if !let_in {
            return None;
        }
        self.tick();
        let slot = self.free_slots.pop().unwrap_or(self.clients.len());
        self.connections += 1;
        let who = self.connections;
        let id = ConnId::new(slot, who).unwrap();
        let client = Client {
            id,
            ip,
            decoder: LineDecoder::default(),
            ending: Ending::Newline,
            on_the_way: VecDeque::new(),
            unread: Vec::new(),
            lines: VecDeque::new(),
            half_closed: false,
            end_handled: false,
            paused: false,
            flushing: false,
            reads: Reads::Everything,
            screen: Screen::default(),
            owed: VecDeque::new(),
            stalled_since: None,
            owed_bytes: 0,
        };
        self.clients.insert(who, Box::new(client));
        self.out.open(id);
        self.model.connect(self.now, who, slot, ip);
        self.tell(Event::Connected { id, peer: SocketAddr::new(ip, 40_000) });
        Some(who)
    }

    /// What somebody typed is on its way.
    pub fn type_in(&mut self, who: Who, typed: Typed) {
        let client = self.clients.get_mut(&who).unwrap();
        client.on_the_way.extend(typed.bytes);
        client.lines.push_back(typed.line);
    }

    /// So many more bytes arrive.
    pub fn deliver(&mut self, who: Who, bytes: usize) {
        let client = self.clients.get_mut(&who).unwrap();
        let bytes = bytes.min(client.on_the_way.len());
        client.unread.extend(client.on_the_way.drain(..bytes));
    }

    /// The connection is lost.
    pub fn lose(&mut self, who: Who, reason: CloseReason) {
        self.tick();
        let Some(client) = self.clients.get(&who) else { return };
        let (id, was_flushing) = (client.id, client.flushing);
        self.jobs.cancel(id);
        if !was_flushing {
            self.model.lost(self.now, who);
        }
        self.tell(Event::Closed { id, reason });
        self.forget(who, true);
    }

    /// Its address may not connect any more.
    pub fn forbid(&mut self, who: Who) {
        self.tick();
        let Some(client) = self.clients.get(&who).filter(|client| !client.flushing) else { return };
        let id = client.id;
        self.model.forbid(self.now, who);
        self.tell(Event::Forbidden { id });
    }

    /// Gives back what belongs to a connection. One that was `lost` has seen a beginning of what it
    /// was owed, any other all of it.
    fn forget(&mut self, who: Who, lost: bool) {
        let mut client = self.clients.remove(&who).unwrap();
        self.collect(who, &mut client);
        compare(who, &mut client, &mut self.laws, lost);
        self.jobs.cancel(client.id);
        self.out.close(client.id);
        self.by_address.close(AddrKey::from(client.ip));
        self.free_slots.push(client.id.slot());
    }

    // ---- Answers -------------------------------------------------------------------------------

    pub fn answer_line(&mut self, n: usize, line: &str) {
        self.tick();
        self.asked[n].said += 1;
        let (ask, key) = (self.asked[n].ask, self.asked[n].key);
        self.model.answer_line(self.now, key, line);
        self.tell(Event::Answer { ask, answer: Answer::Line(line) });
    }

    pub fn answer_done(&mut self, n: usize, remark: Option<&'static str>) {
        self.tick();
        let Asked { ask, key, .. } = self.asked.remove(n);
        self.model.answer_done(self.now, key, remark);
        self.tell(Event::Answer { ask, answer: Answer::Done(remark) });
    }

    pub fn answer_failed(&mut self, n: usize, error: &AskError) {
        self.tick();
        let Asked { ask, key, .. } = self.asked.remove(n);
        let blocked = matches!(error, AskError::PromptBlocked(_) | AskError::AnswerBlocked(_));
        self.model.answer_failed(self.now, key, &error.to_string(), !blocked);
        self.tell(Event::Answer { ask, answer: Answer::Failed(error) });
    }

    // ---- The chat ------------------------------------------------------------------------------

    /// Hands an event to the chat that the model has heard of already, and compares what both ask
    /// for.
    fn tell(&mut self, event: Event<'_>) {
        let now = self.clock();
        self.chat.handle(now, event, &mut self.out);
        self.take_requests();
    }

    fn take_requests(&mut self) {
        let (mut stopped, mut probed) = (Vec::new(), Vec::new());
        let mut started = VecDeque::from(self.model.take_started());
        while let Some(request) = self.chat.poll_request() {
            match request {
                Request::Close { id } => {
                    let who = self.who(id);
                    let client = self.clients.get_mut(&who).unwrap();
                    assert!(!client.flushing, "closed twice");
                    client.flushing = true;
                    client.paused = false;
                    self.jobs.cancel(id);
                    self.closed.push(who);
                }
                Request::HashPassword { id, password } => {
                    let job = Job::hash(password, 4, [self.rng.number().to_le_bytes()[0]; 16]);
                    self.begin_job(id, job);
                }
                Request::CheckPassword { id, password, hash } => {
                    self.begin_job(id, Job::check(password, &hash).unwrap());
                }
                Request::AskGemini { ask, body } => {
                    let started = started.pop_front().expect("a question that nobody asked");
                    self.laws.check_body(&body, &started, PERSONA);
                    let (key, since) = (started.key, self.now);
                    self.asked.push(Asked { ask, key, since, said: 0 });
                }
                Request::Probe { id } => probed.push(self.who(id)),
                Request::Refused { addr, .. } => {
                    assert!(self.clients.values().any(|client| client.ip == addr), "{addr}");
                }
                Request::StopGemini { ask } => {
                    let n = self.asked.iter().position(|asked| asked.ask == ask).unwrap();
                    stopped.push(self.asked.remove(n).key);
                }
            }
        }
        assert!(started.is_empty(), "a question did not begin");
        assert_eq!(stopped, self.model.take_stopped());
        assert_eq!(probed, self.model.take_probed());
        assert!(self.asked.len() <= ASKS_AT_ONCE);
    }

    fn begin_job(&mut self, id: ConnId, job: Job) {
        let who = self.who(id);
        assert!(self.model.waits_for_password(who), "{who} waits for nothing");
        let (addr, here) = self.chat.presence(id).unwrap();
        let gives_place = self.jobs.push(self.base + self.now, id, job, addr, here);
        assert_eq!(gives_place, None, "there is room for everybody's");
        self.clients.get_mut(&who).unwrap().paused = true;
    }

    fn who(&self, id: ConnId) -> Who {
        *self.clients.iter().find(|(_, client)| client.id == id).expect("an open connection").0
    }

    // ---- A turn of the loop --------------------------------------------------------------------

    /// Serves everybody, does so many rounds of password work, writes, and compares.
    pub fn turn(&mut self, rounds: usize) {
        for who in self.everybody() {
            self.serve(who);
        }
        self.time_out_answers();
        self.settle();
        for _ in 0..rounds {
            if let Some((id, outcome)) = self.jobs.advance(self.base + self.now) {
                self.finish_job(id, outcome);
            }
        }
        self.settle();
        self.check();
    }

    pub fn everybody(&self) -> Vec<Who> {
        self.clients.keys().copied().collect()
    }

    /// Time passes, with everything fired when it is due.
    pub fn advance(&mut self, by: Duration) {
        let until = self.now + by;
        for fired in 0.. {
            assert!(fired < 100_000, "the timers spin");
            let chat = self.chat.poll_timeout().map(|at| at.duration_since(self.base));
            let stall = self.clients.values().filter_map(|client| client.stalled_since).min();
            let answer = self.asked.iter().map(|asked| asked.since).min();
            let next = [
                chat,
                self.model.next_deadline(),
                stall.map(|since| since + STALL),
                answer.map(|since| since + ANSWER_TIMEOUT),
            ];
            let Some(next) = next.into_iter().flatten().min().filter(|next| *next <= until) else {
                break;
            };
            self.now = self.now.max(next);
            self.fire_due();
            self.drop_stalled();
            self.turn(0);
        }
        self.now = self.now.max(until);
    }

    fn drop_stalled(&mut self) {
        for who in self.everybody() {
            let since = self.clients.get(&who).and_then(|client| client.stalled_since);
            if since.is_some_and(|since| since + STALL <= self.now) {
                self.note(|| format!("{who} stood still for too long"));
                self.lose(who, CloseReason::SendStalled);
            }
        }
    }

    fn time_out_answers(&mut self) {
        while let Some(n) =
            self.asked.iter().position(|asked| asked.since + ANSWER_TIMEOUT <= self.now)
        {
            self.answer_failed(n, &AskError::TimedOut(Cause::new("no last piece")));
        }
    }

    /// Reads a client's lines within a budget, as long as it may go on.
    fn serve(&mut self, who: Who) {
        let mut bytes = READ_BYTES_PER_TURN;
        let mut lines = LINES_PER_TURN;
        while bytes > 0 && lines > 0 {
            let Some(client) = self.clients.get_mut(&who) else { return };
            let behind = self.out.unsent(client.id) >= input_pause_bytes(self.send_queue);
            if client.flushing || client.paused || behind {
                return;
            }
            let id = client.id;
            let mut unread = std::mem::take(&mut client.unread);
            let mut rest = unread.get(..bytes.min(unread.len())).unwrap();
            let before = rest.len();
            let ended = client.half_closed && client.on_the_way.is_empty() && rest.is_empty();
            // Taken out meanwhile, since the line is lent by it while the chat writes.
            let mut decoder = std::mem::take(&mut client.decoder);
            let line = if ended {
                decoder.finish().map(|line| (line, client.ending))
            } else {
                decoder.next_line(&mut rest)
            };
            if let Some((line, ending)) = line {
                client.ending = ending;
                client.screen.may_be_raw |= ending == Ending::BareCr;
                self.out.set_crlf(id, ending == Ending::BareCr);
                lines -= 1;
                self.line(who, id, line);
            } else if ended && !client.end_handled {
                client.end_handled = true;
                assert!(client.lines.is_empty(), "never decoded: {:?}", client.lines);
                self.tick();
                self.model.end_of_input(self.now, who);
                self.tell(Event::EndOfInput { id });
            } else if before == 0 {
                bytes = 0;
            }
            let used = before - rest.len();
            bytes = bytes.saturating_sub(used);
            unread.drain(..used);
            if let Some(client) = self.clients.get_mut(&who) {
                client.unread = unread;
                client.decoder = decoder;
            }
        }
    }

    /// Hands a line to the chat that must be the next one that this client typed.
    fn line(&mut self, who: Who, id: ConnId, line: Line<'_>) {
        self.tick();
        let client = self.clients.get_mut(&who).unwrap();
        let expected = client.lines.pop_front().expect("a line that was never typed");
        if client.flushing {
            return;
        }
        match line {
            Line::TooLong => assert_eq!(expected, None),
            Line::Complete(bytes) => {
                let cleaned = text::clean(&text::edited(bytes)).into_owned();
                assert_eq!(Some(cleaned), expected);
            }
        }
        let said = expected.as_deref();
        self.clients.get_mut(&who).unwrap().screen.lines += 1;
        self.laws.said(self.now, who, &self.model, &self.clients, said);
        let behind = self.clients.iter().filter(|(_, client)| !self.out.keeps_up(client.id));
        self.model.behind = behind.map(|(who, _)| *who).collect();
        self.model.line(self.now, who, said);
        self.note(|| format!("{who} says {}", shortened(said)));
        self.tell(Event::Line { id, line });
    }

    fn finish_job(&mut self, id: ConnId, outcome: Outcome) {
        let who = self.who(id);
        self.tick();
        self.clients.get_mut(&who).unwrap().paused = false;
        self.model.password(self.now, who, Password::Done);
        self.note(|| format!("the password of {who}: {outcome:?}"));
        self.tell(Event::Password { id, outcome });
    }

    /// Writes to everybody as much as they take.
    fn settle(&mut self) {
        let mut first = true;
        while std::mem::take(&mut first) || self.out.has_news() {
            for id in self.out.take_dirty().collect::<Vec<_>>() {
                self.out.end_turn(id);
            }
            for who in self.everybody() {
                self.write(who);
            }
        }
    }

    /// Writes to a client what it takes, in pieces of any size, and compares once it is level.
    fn write(&mut self, who: Who) {
        let mut client = self.clients.remove(&who).unwrap();
        self.collect(who, &mut client);
        let id = client.id;
        let mut room = match client.reads {
            Reads::Everything => usize::MAX,
            Reads::Slowly(bytes) => bytes,
            Reads::Nothing => 0,
        };
        let mut moved = false;
        while room > 0 && self.out.unsent(id) > 0 {
            let mut slices = [IoSlice::new(&[]); SLICES_PER_WRITE];
            let filled = self.out.slices(id, &mut slices);
            let size: usize = slices[..filled].iter().map(|slice| slice.len()).sum();
            let mut n = size.min(room);
            if self.rng.once_in(4) {
                n = self.rng.within(1..n + 1);
            }
            room -= n;
            let mut left = n;
            for slice in &slices[..filled] {
                let part = left.min(slice.len());
                client.screen.receive(&slice[..part]);
                left -= part;
            }
            self.out.advance(id, n);
            moved = true;
        }
        self.out.keep(id);
        let level = self.out.unsent(id) == 0;
        if level {
            client.stalled_since = None;
        } else if moved || client.stalled_since.is_none() {
            client.stalled_since = Some(self.now);
        }
        if level {
            compare(who, &mut client, &mut self.laws, false);
            client.owed_bytes = 0;
        }
        let over = client.flushing && level;
        self.clients.insert(who, client);
        if over {
            self.forget(who, false);
        }
    }

    /// Takes from the model what a client must see.
    fn collect(&mut self, who: Who, client: &mut Client) {
        for piece in self.model.take(who) {
            // A history is cut to fit the queue; colours count there, and half of the room is left
            // for what rows take.
            let owed = client.owed_bytes + piece_bytes(&piece);
            let lenient = match &piece {
                // Without colours and prompts.
                Piece::Talk(_) => owed * 4 > self.send_queue,
                Piece::History(messages) => {
                    let bytes = piece_bytes(&piece) + COLORS * messages.len();
                    client.stalled_since.is_some() || bytes > max_reply_bytes(self.send_queue) / 2
                }
                _ => false,
            };
            client.owed_bytes = owed;
            client.owed.push_back(Owed { piece, lenient });
        }
    }

    // ---- Checks --------------------------------------------------------------------------------

    fn check(&mut self) {
        let mut closed = std::mem::take(&mut self.closed);
        let mut expected = self.model.take_closed();
        closed.sort_unstable();
        expected.sort_unstable();
        assert_eq!(closed, expected, "the server closes");
        assert!(self.jobs.len() <= MAX_PASSWORD_JOBS);
        let mut open = 0;
        for (who, client) in &self.clients {
            let unsent = self.out.unsent(client.id);
            assert!(unsent <= self.send_queue, "{who} is owed {unsent} bytes");
            assert_eq!(client.paused, self.model.waits_for_password(*who), "{who} waits");
            open += usize::from(!client.flushing);
            let prompting = self.model.name_of(*who).is_some() && !client.screen.plain;
            if unsent == 0 && !client.flushing {
                assert_eq!(client.screen.showing, prompting, "the prompt of {who}");
                if prompting {
                    let named = self.model.prompt_of(*who).unwrap_or_default();
                    assert_eq!(client.screen.prompt, named, "of {who}");
                }
            }
        }
        let waiting = self.clients.values().filter(|client| client.paused).count();
        assert_eq!(self.jobs.len(), waiting);
        let counts = self.chat.counts();
        assert_eq!(counts.sessions, open);
        assert_eq!(counts.users, self.model.users());
        assert_eq!(counts.lobbies, self.model.lobbies().len());
        self.laws.check_names(&self.model, self.clients.keys());
    }

    /// Everybody is gone, and all times are over: nothing may be left anywhere.
    pub fn check_empty(&mut self) {
        assert!(self.clients.is_empty() && self.asked.is_empty());
        let counts = self.chat.counts();
        assert_eq!((counts.sessions, counts.users, counts.lobbies), (0, 0, 1));
        assert_eq!((counts.messages, counts.questions, counts.remembered), (0, 0, 0));
        assert_eq!((counts.timers, self.jobs.len(), self.by_address.addresses()), (0, 0, 0));
        assert!(self.out.is_empty());
        self.laws.check_windows();
    }

    /// The server is told to end.
    pub fn shutdown(&mut self) {
        self.tick();
        self.model.shutdown(self.now);
        self.tell(Event::Shutdown);
    }

    /// Whether a client may still type something.
    pub fn can_type(&self, who: Who) -> bool {
        self.clients.get(&who).is_some_and(|client| !client.half_closed && !client.flushing)
    }
}

/// A line as the trace shows it.
fn shortened(line: Option<&str>) -> String {
    match line {
        None => "a line that is too long".to_owned(),
        Some(line) if line.chars().count() > 80 => {
            let begin: String = line.chars().take(60).collect();
            format!("{begin:?}… ({} characters)", line.chars().count())
        }
        Some(line) => format!("{line:?}"),
    }
}

fn piece_bytes(piece: &Piece) -> usize {
    match piece {
        Piece::Text(text) | Piece::Talk(text) => text.len(),
        Piece::Fixed(which, columns) => fixed::text(*which, *columns).len(),
        Piece::History(messages) => messages.iter().map(String::len).sum(),
    }
}

/// Compares what a client has received with what it was owed: all of it, or if it was `lost` a
/// beginning of it.
fn compare(who: Who, client: &mut Client, laws: &mut Laws, lost: bool) {
    if client.screen.is_read() && (lost || client.owed.is_empty()) {
        return;
    }
    let seen = client.screen.read(lost);
    // Of a word that was cut off at its end another one may be left.
    let whole = if lost { seen.trim_end_matches(|c: char| c.is_alphanumeric()) } else { &seen };
    laws.seen(who, whole);
    let mut rest = seen.as_str();
    let mut left_out = 0;
    while let Some(Owed { piece, lenient }) = client.owed.pop_front() {
        rest = after_accounting(rest, &mut left_out, lost);
        let after = match &piece {
            Piece::Text(text) => take(rest, text, lost),
            Piece::Talk(text) => take(rest, text, lost).or_else(|| {
                left_out += 1;
                lenient.then_some(rest)
            }),
            Piece::Fixed(which, columns) => take(rest, fixed::text(*which, *columns), lost),
            Piece::History(messages) => {
                let least = if lenient { messages.len() } else { 0 };
                (0..=least).find_map(|from| take(rest, &messages[from..].concat(), lost))
            }
        };
        rest = after.unwrap_or_else(|| panic!("{who} sees\n{rest}\nand not\n{piece:?}"));
        if lost && rest.is_empty() {
            return;
        }
    }
    rest = after_accounting(rest, &mut left_out, lost);
    assert!(rest.is_empty(), "{who} sees more than it should: {rest:?}");
    assert!(lost || left_out == 0, "{who} was not told of {left_out} pieces that were left out");
}

/// What follows the line that accounts for so many pieces that were left out, if that comes first.
fn after_accounting<'a>(text: &'a str, left_out: &mut usize, cut: bool) -> &'a str {
    let (lines, were) = match *left_out {
        0 => return text,
        1 => ("1 line".to_owned(), "was"),
        n => (format!("{n} lines"), "were"),
    };
    let told = format!("… {lines} {were} left out: your line is slower than the talk.\n");
    // On a narrow screen it is in rows.
    let mut rest = text;
    for word in told.split_inclusive(' ') {
        let (word, blank) = match word.strip_suffix(' ') {
            Some(word) => (word, true),
            None => (word, false),
        };
        let Some(after) = take(rest, word, cut && !text.is_empty()) else { return text };
        let row = || after.strip_prefix("\n      ").or_else(|| after.strip_prefix(' '));
        rest = if blank { row().unwrap_or(after) } else { after };
    }
    *left_out = 0;
    rest
}

/// What follows `wanted` in `text`; with `cut` the text may end inside it.
fn take<'a>(text: &'a str, wanted: &str, cut: bool) -> Option<&'a str> {
    match text.strip_prefix(wanted) {
        None if cut && wanted.starts_with(text) => Some(""),
        after => after,
    }
}
