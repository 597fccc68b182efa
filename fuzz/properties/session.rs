//! Whole sessions: bytes in, chat, bytes out, for a handful of clients and two who want to be left
//! alone.
//!
//! The input is a script of lines. The first one sets things: with `r` there is a rate limit, with
//! `i` an idle timeout, with `a` an assistant, with `m` the least bound of unsent output, and its
//! length says how the bytes are cut when the script is played again. Of every other line the first
//! character says what happens, and the second, mostly, to whom (0 to 5):
//!
//! - `0` to `5`: that client sends the rest and a newline, `a` to `f`: the same without the
//!   newline; `|` in the rest stands for a newline. Who is not connected connects.
//! - `.N`: end of input; `!N`: the connection is lost.
//! - `<NK`: from now on the client takes 4^K bytes and then nothing; without K all, as at first.
//! - `tK`: time passes, a millisecond to an hour.
//! - `p`: the oldest password job is done.
//! - `?text`: the oldest question gets a line of an answer; `?.` and `?,` end it, `?!` fails it.
//! - `v`: the two talk.
//! - `S`: the server shuts down, and the script ends.
//!
//! Password jobs are done by comparison here: bcrypt would take nearly all of the time.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use mio_chat::chat::assistant::{AskId, AssistantSettings};
use mio_chat::chat::{Chat, CloseReason, Event, Settings};
use mio_chat::id::ConnId;
use mio_chat::limits::{DEFAULT_SEND_QUEUE_BYTES, MIN_SEND_QUEUE_BYTES, READ_BUFFER_BYTES};
use mio_chat::line::LineDecoder;
use mio_chat::outbox::Outboxes;
use mio_chat::password::{Password, PasswordHash};

#[path = "session_loop.rs"]
mod session_loop;
#[path = "transcript.rs"]
mod transcript;

/// Clients that the script drives; the two come after them.
const CLIENTS: usize = 6;
const VICA: usize = CLIENTS;
const VICB: usize = CLIENTS + 1;
const RATE_WINDOW: Duration = Duration::from_secs(10);

pub fn check(data: &[u8]) {
    let (settings, script) = match data.iter().position(|b| *b == b'\n') {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &[][..]),
    };
    let once = World::play(data, settings, script, READ_BUFFER_BYTES);
    let again = World::play(data, settings, script, settings.len() % 8 + 1);
    // Who does not read may be dropped in one way of cutting and not in another.
    if once.all_read {
        assert_eq!(once.lines, again.lines);
    }
}

/// One client at its end of the wire, and what the loop keeps for it.
struct Client {
    /// Which life of its slot this is.
    id: ConnId,
    /// In `World::seen`.
    at: usize,
    decoder: LineDecoder,
    recognised: bool,
    unread: VecDeque<u8>,
    ended: bool,
    /// Waits for a password.
    paused: bool,
    /// Bytes it will still take; `None` is no limit.
    takes: Option<usize>,
}

enum Job {
    Hash(Password),
    Check(Password, PasswordHash),
}

struct World {
    chat: Chat,
    out: Outboxes,
    limit: usize,
    now: Instant,
    rate_limit: usize,
    piece: usize,
    clients: [Option<Client>; CLIENTS + 2],
    /// What every connection saw, in the order they came, behind which client it was.
    seen: Vec<(usize, Vec<u8>)>,
    /// The same in the end, as lines.
    lines: Vec<Vec<String>>,
    welcome: Vec<u8>,
    jobs: VecDeque<(ConnId, Job)>,
    hashes: Vec<(Password, PasswordHash)>,
    asked: VecDeque<AskId>,
    all_read: bool,
    /// Part of whatever the two say; nobody else can know it.
    secret: String,
    /// When one of the two sent a line that counts.
    lines_of_two: Vec<Instant>,
    expected: [Vec<String>; 2],
}

impl World {
    fn play(data: &[u8], settings: &[u8], script: &[u8], piece: usize) -> Self {
        let mut world = Self::new(data, settings, piece);
        world.set_up_the_two();
        for line in script.split(|b| *b == b'\n') {
            if line.first() == Some(&b'S') {
                break;
            }
            world.step(line);
        }
        world.finish(script.split(|b| *b == b'\n').any(|line| line.first() == Some(&b'S')));
        world
    }

    #[allow(clippy::disallowed_methods)]
    fn new(data: &[u8], flags: &[u8], piece: usize) -> Self {
        let has = |flag: u8| flags.contains(&flag);
        let limit = if has(b'm') { MIN_SEND_QUEUE_BYTES } else { DEFAULT_SEND_QUEUE_BYTES };
        let rate_limit = if has(b'r') { 5 } else { 0 };
        let settings = Settings {
            messages_per_window: rate_limit,
            rate_window: RATE_WINDOW,
            connections_per_address: 10,
            history_age: Duration::from_secs(300),
            lobby_ttl: Duration::from_secs(7200),
            login_timeout: Duration::from_secs(60),
            idle_timeout: has(b'i').then_some(Duration::from_secs(4000)),
            assistant: has(b'a').then(|| AssistantSettings {
                model: "model".to_owned(),
                questions_per_hour: if has(b'r') { 5 } else { 0 },
                questions_per_day: if has(b'r') { 8 } else { 0 },
            }),
        };
        // FNV-1a: a script cannot hold the hash of itself but by chance.
        let hash = data.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
        });
        Self {
            chat: Chat::new(settings),
            out: Outboxes::new(limit),
            limit,
            now: Instant::now(),
            rate_limit,
            piece,
            clients: [const { None }; CLIENTS + 2],
            seen: Vec::new(),
            lines: Vec::new(),
            welcome: Vec::new(),
            jobs: VecDeque::new(),
            hashes: Vec::new(),
            asked: VecDeque::new(),
            all_read: true,
            secret: format!("{hash:016x}"),
            lines_of_two: Vec::new(),
            expected: [Vec::new(), Vec::new()],
        }
    }

    fn step(&mut self, line: &[u8]) {
        let Some((&first, rest)) = line.split_first() else { return };
        let digit = |at: usize| usize::from(rest.get(at).copied().unwrap_or(b'0') % 8);
        let whom = digit(0) % CLIENTS;
        match first {
            b'a'..=b'f' => self.send(usize::from(first - b'a'), rest, b""),
            b'.' => {
                if let Some(client) = &mut self.clients[whom] {
                    client.ended = true;
                    self.serve(whom);
                }
            }
            b'!' => self.lose(whom, CloseReason::Failed(std::io::ErrorKind::ConnectionReset)),
            b'<' => {
                if let Some(client) = &mut self.clients[whom] {
                    client.takes = (rest.len() > 1).then(|| 4usize.pow(digit(1) as u32));
                    self.all_read &= client.takes.is_none();
                    self.write(whom);
                    self.serve(whom);
                }
            }
            b't' => {
                self.advance(Duration::from_millis(
                    [1, 100, 1000, 10_000, 61_000, 300_000, 1_800_000, 3_600_000][digit(0)],
                ));
            }
            b'p' => self.finish_job(),
            b'?' => self.answer(rest),
            b'v' => self.talk_of_two(),
            who => self.send(usize::from(who % 8) % CLIENTS, rest, b"\n"),
        }
    }

    // ---- The clients -------------------------------------------------------------------------

    fn connect(&mut self, who: usize) {
        let id = ConnId::new(who, u32::try_from(self.seen.len()).unwrap()).unwrap();
        let at = self.seen.len();
        self.seen.push((who, Vec::new()));
        self.clients[who] = Some(Client {
            id,
            at,
            decoder: LineDecoder::default(),
            recognised: false,
            unread: VecDeque::new(),
            ended: false,
            paused: false,
            takes: None,
        });
        self.out.open(id);
        // Two and two share an address.
        let ip = Ipv4Addr::new(192, 0, 2, u8::try_from(who / 2).unwrap());
        self.tell(Event::Connected { id, peer: SocketAddr::new(ip.into(), 40_000) });
        self.end_turn();
    }

    fn send(&mut self, who: usize, text: &[u8], ending: &[u8]) {
        if self.clients[who].is_none() {
            self.connect(who);
        }
        let bytes: Vec<_> = text.iter().map(|b| if *b == b'|' { b'\n' } else { *b }).collect();
        let bytes = [&bytes, ending].concat();
        // Not one by one if there are thousands: every piece is a turn.
        for piece in bytes.chunks(self.piece.max(bytes.len() / 64)) {
            let Some(client) = self.clients[who].as_mut().filter(|client| !client.ended) else {
                return;
            };
            client.unread.extend(piece);
            self.serve(who);
        }
    }

    fn lose(&mut self, who: usize, reason: CloseReason) {
        if let Some(client) = self.close(who) {
            self.tell(Event::Closed { id: client.id, reason });
            self.end_turn();
        }
    }

    /// Gives back what the loop keeps for a connection.
    fn close(&mut self, who: usize) -> Option<Client> {
        let client = self.clients[who].take()?;
        self.jobs.retain(|(owner, _)| *owner != client.id);
        self.out.close(client.id);
        Some(client)
    }

    // ---- The two -----------------------------------------------------------------------------

    fn set_up_the_two(&mut self) {
        let password = format!("pw {}", self.secret);
        self.send(VICA, b"vica", b"\n");
        self.send(VICB, b"vicb", b"\n");
        self.send(VICA, format!("/create vault \"{password}\" for two").as_bytes(), b"\n");
        self.finish_job();
        for who in [VICA, VICB] {
            self.send(who, format!("/join vault {password}").as_bytes(), b"\n");
            self.finish_job();
        }
        self.lines_of_two = vec![self.now; 2];
        let seen = String::from_utf8(self.seen[0].1.clone()).unwrap();
        let (welcome, _) = seen.split_once("\x1b[33m[LOBBY]").unwrap();
        self.welcome = welcome.as_bytes().to_vec();
        // Below this all is written down.
        for who in [VICA, VICB] {
            let at = self.clients[who].as_ref().unwrap().at;
            self.seen[at].1.clear();
        }
        self.talk_of_two();
    }

    fn talk_of_two(&mut self) {
        let now = self.now;
        self.lines_of_two.retain(|at| now.duration_since(*at) < RATE_WINDOW);
        if self.rate_limit > 0 && self.lines_of_two.len() + 2 > self.rate_limit {
            return;
        }
        // Two of vica; vicb says less.
        self.lines_of_two.extend([now; 2]);
        let n = self.expected[0].len();
        let (said, told) =
            (format!("{} said {n}", self.secret), format!("{} told {n}", self.secret));
        self.send(VICA, said.as_bytes(), b"\n");
        self.send(VICB, format!("/msg vica {told}").as_bytes(), b"\n");
        // Whoever that is, it is not in this lobby.
        self.send(VICA, format!("/tag alice {said}").as_bytes(), b"\n");
        let [a, b] = &mut self.expected;
        for lines in [&mut *a, &mut *b] {
            lines.extend(["[@_@] vica [just now]".to_owned(), format!("  ╰─> {said}")]);
        }
        a.extend(["[DM] vicb —» You".to_owned(), format!("  ╰─> {told}")]);
        b.extend(["[DM] You —» vica".to_owned(), format!("  ╰─> {told}")]);
    }

    // ---- The end -----------------------------------------------------------------------------

    fn finish(&mut self, shutdown: bool) {
        let secret = self.secret.clone();
        if shutdown {
            self.tell(Event::Shutdown);
            self.end_turn();
            assert!(self.clients.iter().all(Option::is_none));
        } else {
            self.talk_of_two();
            self.expected[1].push("[LOBBY] vica has left the lobby".to_owned());
            (0..self.clients.len()).for_each(|who| self.lose(who, CloseReason::EndOfInput));
        }
        while !self.asked.is_empty() {
            self.answer(b"!");
        }
        self.advance(Duration::from_secs(3 * 3600));
        assert_eq!(self.chat.counts().users, 0);
        // A server that ends keeps what it has: nobody waits for its lobbies to be empty.
        assert!(shutdown || self.chat.counts().lobbies == 1);
        assert_eq!(self.chat.poll_timeout(), None);
        assert_eq!(self.out.unsent_in_all(), 0);
        assert!(!self.out.has_news());
        assert!(self.jobs.is_empty() && self.asked.is_empty());
        let welcome = self.welcome.clone();
        for (who, bytes) in &mut self.seen {
            if *who < CLIENTS {
                // It is the same for everybody, and long.
                let behind = bytes.strip_prefix(&welcome[..]);
                assert!(behind.is_some() || welcome.starts_with(bytes));
                *bytes = behind.unwrap_or_default().to_vec();
            }
            let text = transcript::check(bytes);
            let lines = transcript::plain(&text);
            if *who < CLIENTS {
                transcript::check_login(&lines);
                assert!(!text.contains(&secret));
            } else {
                assert_eq!(transcript::of_two(&lines), self.expected[*who - VICA]);
            }
            self.lines.push(lines);
        }
    }
}
