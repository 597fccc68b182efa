//! One loop that drives all clients: reads what they get, tallies it, and says what is to be said.
//!
//! It is to be faster than any server: one buffer for all reads, nothing allocated for a delivery, one
//! look at the clock for each read, and one write for all that a sender says in a turn.

mod talk;

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use memchr::memmem::Finder;
use mio::{Events, Poll, Token};

use super::Outcome;
use super::dialog::{Dialog, End};
use super::machine::Alarm;
use super::protocol::{self, Found, Payload, Protocol};
use super::report::Progress;
use super::stream::{Route, Stream};
use super::tally::Tally;
use talk::Pace;

const READ_BUFFER_BYTES: usize = 256 * 1024;
const EVENTS_PER_TURN: usize = 1024;
const ALARM: Token = Token(usize::MAX);
/// How long a poll waits at most.
const LONGEST_WAIT: Duration = Duration::from_millis(100);
/// How long nothing has to come for it to be quiet: longer than arrivals are held back.
const QUIET: Duration = Duration::from_millis(1200);
/// How long it is waited for that, and for somebody's log-in.
const SETTLING: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(60);

struct Client {
    stream: Stream,
    /// What it does by itself; `None` once it takes part.
    dialog: Option<Dialog>,
    /// Its number in the tally is its own.
    takes_part: bool,
    /// It reads nothing and does not mind being closed.
    stalled: bool,
    /// The end of what came, which is incomplete.
    tail: Vec<u8>,
    received: u64,
    began: Instant,
}

/// A text that one client waits for besides.
struct Watch {
    client: usize,
    text: Finder<'static>,
    seen: Option<Instant>,
}

pub(super) struct Driver {
    poll: Poll,
    events: Events,
    alarm: Alarm,
    /// What came of a poll: a client, whether it can be written to, whether the other side has ended.
    ready: Vec<(usize, bool, bool)>,
    clients: Vec<Option<Client>>,
    free: Vec<usize>,
    buffer: Vec<u8>,
    protocol: Protocol,
    payload: Payload,
    pace: Pace,
    watch: Option<Watch>,
    pub(super) tally: Tally,
    /// How long each client took whose dialog has ended since the scenario last took these.
    pub(super) done: Vec<Duration>,
    /// Closed by the server without having left, and how the first of them was.
    pub(super) thrown_out: u64,
    pub(super) first_error: Option<String>,
    received: u64,
    pub(super) progress: Progress,
}

impl Driver {
    /// A driver whose messages have so many bytes.
    pub(super) fn new(protocol: Protocol, size: usize, progress: Progress) -> io::Result<Self> {
        let poll = Poll::new()?;
        Ok(Self {
            alarm: Alarm::new(poll.registry(), ALARM)?,
            poll,
            events: Events::with_capacity(EVENTS_PER_TURN),
            ready: Vec::new(),
            clients: Vec::new(),
            free: Vec::new(),
            buffer: vec![0; READ_BUFFER_BYTES],
            protocol,
            payload: Payload::new(size),
            pace: Pace::Silent,
            watch: None,
            tally: Tally::new(0, 0, protocol.echoes()),
            done: Vec::new(),
            thrown_out: 0,
            first_error: None,
            received: 0,
            progress,
        })
    }

    // ---- Clients that come and go --------------------------------------------------------------

    /// Begins a connection, and gives the client's number.
    pub(super) fn connect(&mut self, route: &Route, dialog: Dialog) -> io::Result<usize> {
        let n = self.free.pop().unwrap_or(self.clients.len());
        if n == self.clients.len() {
            self.clients.push(None);
        }
        let client = Client {
            stream: Stream::connect(self.poll.registry(), n, route)?,
            dialog: Some(dialog),
            takes_part: false,
            stalled: false,
            tail: Vec::new(),
            received: 0,
            began: Instant::now(),
        };
        if let Some(slot) = self.clients.get_mut(n) {
            *slot = Some(client);
        }
        Ok(n)
    }

    /// Connects clients until there are so many, up to `at_once` of them at a time, and gives the
    /// longest that one took.
    pub(super) fn gather(
        &mut self,
        count: usize,
        at_once: usize,
        mut next: impl FnMut(usize) -> (Route, Dialog),
    ) -> Outcome<Duration> {
        let (mut begun, mut longest) = (self.present(), Duration::ZERO);
        let mut open = 0;
        let mut until = Instant::now() + PATIENCE;
        while begun < count || open > 0 {
            while begun < count && open < at_once {
                let (route, dialog) = next(begun);
                self.connect(&route, dialog)?;
                begun += 1;
                open += 1;
            }
            self.turn(Instant::now() + LONGEST_WAIT)?;
            self.check()?;
            for took in self.done.drain(..) {
                longest = longest.max(took);
                open -= 1;
                until = Instant::now() + PATIENCE;
            }
            if Instant::now() > until {
                return Err(format!("{open} log-ins hang; {}", self.first_waiting()).into());
            }
        }
        Ok(longest)
    }

    /// What the first client waits for that has a dialog.
    fn first_waiting(&self) -> String {
        let clients = self.clients.iter().enumerate();
        let mut waiting = clients.filter_map(|(n, client)| {
            let client = client.as_ref()?;
            let tail = String::from_utf8_lossy(&client.tail).into_owned();
            Some(format!(
                "client {n} waits for {:?}, after {} bytes that end in {tail:?}",
                client.dialog.as_ref()?.awaited(),
                client.received
            ))
        });
        waiting.next().unwrap_or_else(|| "nobody waits".to_owned())
    }

    /// An error if the server closed on somebody.
    pub(super) fn check(&self) -> Outcome<()> {
        match &self.first_error {
            None => Ok(()),
            Some(error) => {
                Err(format!("{} clients were thrown out: {error}", self.thrown_out).into())
            }
        }
    }

    /// How many there are.
    pub(super) fn present(&self) -> usize {
        self.clients.len() - self.free.len()
    }

    /// The clients there are take part from now on, and the first of them talk.
    pub(super) fn take_part(&mut self, senders: usize) {
        self.tally = Tally::new(self.clients.len(), senders, self.protocol.echoes());
        self.clients.iter_mut().flatten().for_each(|client| client.takes_part = true);
    }

    /// Goes on for so long, with nobody thrown out.
    pub(super) fn settle_for(&mut self, time: Duration) -> Outcome<()> {
        self.run_until(Instant::now() + time)?;
        self.check()
    }

    /// Waits until nothing more comes.
    pub(super) fn settle(&mut self) -> Outcome<()> {
        let patience = Instant::now() + SETTLING;
        let (mut received, mut since) = (self.received, Instant::now());
        while since.elapsed() < QUIET && Instant::now() < patience {
            self.turn(Instant::now() + LONGEST_WAIT)?;
            if self.received != received {
                (received, since) = (self.received, Instant::now());
            }
        }
        self.check()
    }

    /// Closes a client's side and forgets it.
    pub(super) fn drop_client(&mut self, n: usize) {
        if let Some(slot) = self.clients.get_mut(n)
            && let Some(mut client) = slot.take()
        {
            client.stream.finish();
            self.free.push(n);
        }
    }

    /// Closes all.
    pub(super) fn drop_all(&mut self) {
        self.clients.clear();
        self.free.clear();
    }

    /// A client reads nothing from now on, and another one looks out for this text.
    pub(super) fn stall(&mut self, n: usize, watcher: usize, text: &[u8]) {
        if let Some(Some(client)) = self.clients.get_mut(n) {
            client.stalled = true;
        }
        self.tally.leave(n);
        let text = Finder::new(text).into_owned();
        self.watch = Some(Watch { client: watcher, text, seen: None });
    }

    /// When the text that is looked out for was seen.
    pub(super) fn seen(&self) -> Option<Instant> {
        self.watch.as_ref().and_then(|watch| watch.seen)
    }

    /// Bytes that a client got so far.
    pub(super) fn received(&self, n: usize) -> u64 {
        self.client(n).map_or(0, |client| client.received)
    }

    /// How often a client's dialog began again.
    pub(super) fn rounds(&self, n: usize) -> u64 {
        self.client(n).and_then(|client| client.dialog.as_ref()).map_or(0, |dialog| dialog.rounds)
    }

    fn client(&self, n: usize) -> Option<&Client> {
        self.clients.get(n).and_then(Option::as_ref)
    }

    // ---- The loop ------------------------------------------------------------------------------

    /// Goes on until then.
    pub(super) fn run_until(&mut self, until: Instant) -> Outcome<()> {
        while Instant::now() < until {
            self.turn(until)?;
        }
        Ok(())
    }

    /// One turn of the loop, which waits until then at most.
    pub(super) fn turn(&mut self, until: Instant) -> Outcome<()> {
        let now = Instant::now();
        self.progress.tick(now, &self.tally, self.present());
        let wait = until.saturating_duration_since(now).min(LONGEST_WAIT);
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(e) if e.kind() == ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        let events = self.events.iter().filter(|event| event.token() != ALARM);
        self.ready.extend(events.map(|event| {
            let ended = event.is_read_closed() || event.is_error();
            (event.token().0, event.is_writable(), ended)
        }));
        let mut ready = std::mem::take(&mut self.ready);
        for (n, writable, ended) in ready.drain(..) {
            if writable {
                let result = self.write(n);
                self.note_end(n, result);
            }
            let result = self.read(n, ended);
            self.note_end(n, result);
        }
        self.ready = ready;
        self.say_next()
    }

    fn write(&mut self, n: usize) -> io::Result<()> {
        let Some(Some(client)) = self.clients.get_mut(n) else { return Ok(()) };
        let connected = client.stream.now_connected()?;
        if connected {
            self.take(n, 0);
        }
        match self.clients.get_mut(n) {
            Some(Some(client)) => client.stream.flush(),
            _ => Ok(()),
        }
    }

    /// Reads what there is; a short read of a plain stream leaves nothing behind unless it `ended`.
    fn read(&mut self, n: usize, ended: bool) -> io::Result<()> {
        while let Some(Some(client)) = self.clients.get_mut(n) {
            if client.stalled {
                return if ended { Err(ErrorKind::ConnectionReset.into()) } else { Ok(()) };
            }
            let kept = client.tail.len();
            let (tail, room) = self.buffer.split_at_mut(kept);
            tail.copy_from_slice(&client.tail);
            let room_bytes = room.len();
            match client.stream.read(room) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(len) => {
                    client.tail.clear();
                    client.received += len as u64;
                    self.received += len as u64;
                    let all_read = !ended && !client.stream.is_tls() && len < room_bytes;
                    self.take(n, kept + len);
                    if all_read {
                        return Ok(());
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Takes the first `len` bytes of the buffer, which a client got.
    fn take(&mut self, n: usize, len: usize) {
        let (Some(Some(client)), Some(bytes)) = (self.clients.get_mut(n), self.buffer.get(..len))
        else {
            return;
        };
        let now = Instant::now();
        let out = &mut client.stream.out;
        if self.protocol == Protocol::Irc {
            protocol::answer_pings(bytes, out);
        }
        let mut used = 0;
        let mut ended = None;
        if let Some(dialog) = &mut client.dialog {
            used = dialog.hear(bytes, out);
            ended = dialog.ended();
        } else if !client.takes_part {
            used = len;
        }
        if ended == Some(End::Stay) {
            client.dialog = None;
            self.done.push(now - client.began);
        }
        if client.dialog.is_none() && client.takes_part {
            let tally = &mut self.tally;
            used = self.payload.scan(bytes, used, |found| match found {
                Found::Message { sender, sequence } => tally.deliver(n, sender, sequence, now),
                Found::Damaged => tally.damaged += 1,
            });
            if let Some(watch) = &mut self.watch
                && watch.client == n
                && watch.seen.is_none()
                && watch.text.find(bytes).is_some()
            {
                watch.seen = Some(now);
            }
        }
        if self.protocol == Protocol::Irc {
            used = used.min(protocol::unfinished_ping(bytes));
        }
        client.tail.extend_from_slice(bytes.get(used..).unwrap_or_default());
        if ended == Some(End::Close) {
            self.done.push(now - client.began);
            self.drop_client(n);
            return;
        }
        if !client.stream.out.is_empty() {
            let result = client.stream.flush();
            self.note_end(n, result);
        }
    }

    /// Notes how a connection ended, if it has.
    fn note_end(&mut self, n: usize, result: io::Result<()>) {
        let Err(error) = result else { return };
        let Some(Some(client)) = self.clients.get(n) else { return };
        let dialog = client.dialog.as_ref();
        if dialog.is_some_and(Dialog::may_be_closed) {
            self.done.push(client.began.elapsed());
        } else if !client.stalled {
            self.thrown_out += 1;
            let shown = self.first_error.get_or_insert_with(|| format!("client {n}: {error}"));
            log_unexpected(shown, self.thrown_out);
            if client.takes_part {
                self.tally.leave(n);
            }
        } else if let Some(watch) = &mut self.watch {
            watch.seen.get_or_insert_with(Instant::now);
        }
        self.drop_client(n);
    }
}

/// The first of them is worth a line at once.
fn log_unexpected(error: &str, count: u64) {
    if count == 1 {
        eprintln!("\nthrown out: {error}");
    }
}
