//! What people do at random: who comes, what they type, how they read, how they go.
//!
//! Knows what is worth typing, right and wrong, and nothing of what must come of it: that is the
//! model's business.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use mio_chat::chat::CloseReason;
use mio_chat::gemini::{AskError, Cause, Reason};

use super::laws::PRIVATE;
use super::model::{Rules, Who};
use super::random::Random;
use super::world::{Reads, Typed, World};

const NAMES: &[&str] = &[
    "alice", "Bob", "carol", "dave-2", "eve_", "Frank", "grace", "heidi", "ivan", "judy",
    "mallory", "niaj", "olivia", "peggy", "rupert", "sybil", "trent", "victor", "walter", "zz",
];
const BAD_NAMES: &[&str] = &[
    "x",
    "no spaces",
    "a-name-of-21-letters-",
    "Root",
    "ROX",
    "émile",
    "",
    "   ",
    "general!",
    "Zoë",
    "R0x",
    "d-m",
    "Server-",
    "Adm1n",
    "--",
    "Y0U",
    "heRe_",
    "Iobby",
    "日本",
];
/// What looks like somebody's name, and what only might.
const ALIKE: &[&str] = &["aIice", "B0b", "dave2", "hei-di", "zz_", "Al", "OIivia", "jvdy", "ivan_"];
/// What people type who are not sure of a name.
const NEARLY: &[&str] =
    &["alcie", "bbo", "carl", "davee-2", "FRNAK", "oliva", "mallroy", "nobody-at-all", "x", "zzz"];
const PUBLIC: &[&str] = &["coding", "Tea-Room", "club_7"];
const BAD_LOBBIES: &[&str] = &[
    "x",
    "no/slash",
    "a-name-that-has-more-than-32-chars",
    "nowhere",
    "Genera1",
    "L0bby",
    "D-M",
    "general",
    "Łódź-café",
];
const PASSWORDS: &[&str] = &["pw", "\"two words\"", "pässwörd"];
const PICTURES: &[&str] = &["cat", "Bear", "nothing-like-it", "list", "default", ""];

/// What kind of run this is: drawn from the seed once.
pub struct Script {
    pub rules: Rules,
    pub send_queue: usize,
    /// Connections at once, at most.
    people: usize,
    /// Pauses are this long at most.
    patience: Duration,
    next_token: u64,
}

impl Script {
    pub fn new(rng: &mut Random) -> Self {
        let secs = Duration::from_secs;
        let crowd = rng.once_in(40);
        let rules = Rules {
            messages_per_window: rng.weighted(&[(6, 5), (2, 0), (1, 1), (1, 3)]),
            rate_window: secs(10),
            connections_per_address: rng.weighted(&[(6, 10), (2, 2), (1, 0)]),
            history_age: secs(rng.weighted(&[(3, 300), (1, 20)])),
            lobby_ttl: secs(rng.weighted(&[(1, 7200), (2, 45)])),
            login_timeout: secs(60),
            idle_timeout: rng.weighted(&[(2, None), (1, Some(secs(120)))]),
            questions_per_hour: rng.weighted(&[
                (1, None),
                (2, Some(0)),
                (1, Some(1)),
                (3, Some(3)),
                (2, Some(20)),
            ]),
            questions_per_day: rng.weighted(&[(3, 0), (1, 1), (2, 4), (2, 12), (2, 500)]),
            model_name: "gemini-test".to_owned(),
            wall: Duration::from_millis(rng.within(0..7 * 86_400_000) as u64),
        };
        let send_queue = rng.weighted(&[(2, 32 * 1024), (1, 256 * 1024)]);
        let people = if crowd { 90 } else { rng.within(2..15) };
        let patience = Duration::from_millis(*rng.pick(&[300, 1500, 6000]));
        Self { rules, send_queue, people, patience, next_token: 0 }
    }

    /// Somebody does something.
    pub fn step(&mut self, world: &mut World) {
        let everybody = world.everybody();
        if everybody.len() < self.people && world.rng.once_in(if self.people > 50 { 3 } else { 8 })
        {
            return self.come(world);
        }
        match world.rng.below(100) {
            0..12 => self.wait(world),
            12..24 => answer(world),
            _ if everybody.is_empty() => self.come(world),
            n => {
                let who = *world.rng.pick(&everybody);
                match n {
                    24..27 => go(world, who),
                    27..31 => read_otherwise(world, who),
                    31..36 => paste(self, world, who),
                    36 if self.may_pour(world) => pour(self, world, who),
                    _ => self.say(world, who),
                }
            }
        }
    }

    /// It takes long, and only where nothing limits how much is said.
    fn may_pour(&self, world: &mut World) -> bool {
        let is_short = self.send_queue < 100_000 && self.people < 50;
        self.rules.messages_per_window == 0 && is_short && world.rng.once_in(3)
    }

    /// Everybody goes, one way or another, and all that is remembered is forgotten. Or the server
    /// ends under them: then nothing counts any more but that everybody hears of it.
    pub fn end(&mut self, world: &mut World) {
        if world.rng.once_in(10) {
            world.note(|| "the server shuts down".to_owned());
            world.shutdown();
            world.turn(0);
            return;
        }
        for who in world.everybody() {
            if world.rng.once_in(3) {
                let reason = CloseReason::Failed(std::io::ErrorKind::ConnectionReset);
                world.lose(who, reason);
            } else if let Some(client) = world.clients.get_mut(&who) {
                client.half_closed = true;
                world.deliver(who, usize::MAX);
            }
            world.turn(0);
        }
        for _ in 0..10 {
            world.turn(500);
            world.advance(Duration::from_secs(3600));
        }
        world.check_empty();
    }

    fn come(&mut self, world: &mut World) {
        let ip = match world.rng.below(12) {
            n @ 0..4 => IpAddr::from(Ipv4Addr::new(192, 0, 2, u8::try_from(n).unwrap())),
            n @ 4..8 => {
                let net = u16::try_from(n).unwrap();
                let host = u16::try_from(world.rng.below(9)).unwrap();
                IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, net, 0, 0, 0, host))
            }
            _ if self.people > 50 => {
                let host = u8::try_from(world.rng.below(200)).unwrap();
                IpAddr::from(Ipv4Addr::new(198, 51, 100, host))
            }
            _ => "::ffff:192.0.2.1".parse().unwrap(),
        };
        let who = world.connect(ip);
        world.note(|| format!("{who:?} connects from {ip}"));
        let Some(who) = who else { return };
        if self.people > 50 || !world.rng.once_in(3) {
            self.say(world, who);
        }
    }

    fn wait(&self, world: &mut World) {
        if world.rng.once_in(50) {
            let most = if world.rng.once_in(2) { 20 } else { 400 };
            let secs = world.rng.within(1..most);
            return world.stand_still(Duration::from_secs(secs as u64));
        }
        let most = match world.rng.below(400) {
            0 => Duration::from_secs(8000),
            1..4 => Duration::from_secs(2000),
            4..20 => Duration::from_secs(100),
            _ => self.patience,
        };
        let by = most.mul_f64(world.rng.below(1_000_000) as f64 / 1e6);
        world.note(|| format!("{by:?} pass"));
        world.advance(by);
    }

    /// Types one line.
    fn say(&mut self, world: &mut World, who: Who) {
        if !world.can_type(who) {
            return;
        }
        let text = if world.model.name_of(who).is_none() {
            self.name(world)
        } else {
            self.line(world, who)
        };
        let typed = self.typed(world, who, text);
        world.type_in(who, typed);
        // Most of what is typed arrives at once, some a byte at a time.
        let bytes = world.rng.weighted(&[(8, usize::MAX), (1, 1), (1, 7)]);
        world.deliver(who, bytes);
    }

    fn name(&self, world: &mut World) -> String {
        if world.rng.once_in(6) {
            return (*world.rng.pick(BAD_NAMES)).to_owned();
        }
        if self.people > 50 {
            return format!("user{}", world.rng.below(200));
        }
        if world.rng.once_in(12) {
            return (*world.rng.pick(ALIKE)).to_owned();
        }
        let name = *world.rng.pick(NAMES);
        if world.rng.once_in(4) { name.to_uppercase() } else { name.to_owned() }
    }

    /// Words with a token of their own.
    fn words(&mut self, rng: &mut Random) -> String {
        self.next_token += 1;
        let token = format!("m{}", self.next_token);
        match rng.below(40) {
            0 => format!("{token} {}", "🙂".repeat(998 - token.len())),
            1 => format!("{token} {}", "é".repeat(999 - token.len())),
            2 => format!("{token} {}", "x".repeat(1000 - token.len())),
            3 => format!("two  spaces {token} inside"),
            4 => format!("  {token}  "),
            5 => format!("say \"{token}\" 日本 🙂"),
            6 => format!(
                "{token} {}",
                "some words of any length and a 日本語🙂 too ".repeat(9).trim()
            ),
            7 => format!("  {token} x{} y", "日本".repeat(40)),
            _ => token,
        }
    }

    fn line(&mut self, world: &mut World, who: Who) -> String {
        let rng = &mut world.rng;
        let words = self.words(rng);
        let names = if rng.once_in(8) { NEARLY } else { NAMES };
        let somebody = *rng.pick(names);
        let somebody = if rng.once_in(4) { somebody.to_uppercase() } else { somebody.to_owned() };
        let private = *rng.pick(PRIVATE);
        let public = *rng.pick(PUBLIC);
        let password = *rng.pick(PASSWORDS);
        let mine = world.model.lobby_of(who).unwrap_or_default().to_owned();
        match rng.below(100) {
            0..4 => "/users".to_owned(),
            4..7 => "/lobbies".to_owned(),
            7 => "/help".to_owned(),
            8..10 => format!("/sp {}", rng.pick(PICTURES)),
            10 => "/color on".to_owned(),
            11 => "/color off".to_owned(),
            12 => "/quit".to_owned(),
            13..15 => format!("/create {private} {password} {words}"),
            15..20 => format!("/create {public} {words}"),
            20 => format!("/create {} {words}", rng.pick(BAD_LOBBIES)),
            21 => format!("/create {public} no-pass {words}"),
            22..25 => format!("/join {private} {password}"),
            25 => format!("/join {private} wrong-{words}"),
            26..29 => format!("/join {public}"),
            29 => format!("/join {private}"),
            30..34 => format!("/join {}", public.to_uppercase()),
            34..37 => "/join general".to_owned(),
            37 => format!("/join {}", rng.pick(BAD_LOBBIES)),
            38 => format!("/join {mine}"),
            39..47 => format!("/msg {somebody} {words}"),
            47..54 => format!("/tag {somebody} {words}"),
            54..62 => format!("/ai {words}"),
            62 => "/ai status".to_owned(),
            63 => "/AI stop".to_owned(),
            64 => format!("/setai be kind {}", words.trim()),
            65 => "/setai default".to_owned(),
            66 => format!("/create pile{} {words}", rng.below(9)),
            67 => {
                (*rng.pick(&["/msg", "/tag bob", "/create x", "/join", "/ai", "/setai", "/color"]))
                    .to_owned()
            }
            68 => {
                let lines = [
                    "/",
                    "//",
                    "/nothing",
                    "/helpme",
                    "/hlep",
                    "/USRS",
                    "/exit",
                    "/lobbys",
                    "/setia be kind",
                    "/a-command-of-more-than-32-characters",
                    "/jion den pw",
                    "/sp bera",
                    "/sp dgo",
                    " /users",
                    " /nothing",
                    "  /jion den pw",
                ];
                (*rng.pick(&lines)).to_owned()
            }
            72 => format!("//{words}"),
            73 => format!("[LOBBY] [dm] {words} [just now] ╰─> │ ⚠ ✦ ── [AI Response to"),
            69 => (*rng.pick(&[
                "",
                "   ",
                "/width 47",
                "/width 20",
                "/width off",
                "/width 7",
                "/width 300",
            ]))
            .to_owned(),
            70 => format!("{words} {}", "x".repeat(1000)),
            71 => "y".repeat(9000),
            _ => words,
        }
    }

    /// The bytes of a line as a terminal may send them.
    fn typed(&mut self, world: &mut World, who: Who, text: String) -> Typed {
        let rng = &mut world.rng;
        let mut bytes = text.clone().into_bytes();
        let mut line = Some(text);
        if bytes.len() > mio_chat::limits::MAX_LINE_BYTES {
            line = None;
        } else if let Some(text) = &mut line {
            // What is no text goes, or becomes text: by hand, not by the cleaning under test.
            let tab = if text.trim().is_empty() { "    " } else { " " };
            let has_password = ["/join", "/create"].iter().any(|name| text.contains(name));
            let (dirt, clean): (&[u8], &str) = match rng.below(if has_password { 2 } else { 24 }) {
                0 => (b"\xff\xfb\x01", ""),
                1 => (b"typo\x08\x7f\x7f\x7f", ""),
                2 => (b"\x1b[31m", ""),
                3 => (b"\x07\x00", ""),
                4 => (b"\xc3(", "\u{fffd}("),
                5 => ("\u{202e}\u{200b}".as_bytes(), ""),
                6 => (b"\t", tab),
                7 => (b"\x1bOP\x1b[[A", ""),
                8 => (b"\x1b]", ""),
                _ => (b"", ""),
            };
            bytes.extend_from_slice(dirt);
            text.push_str(clean);
            match rng.below(12) {
                // Begun anew.
                0 => drop(bytes.splice(..0, *b"secret \x15")),
                1 => drop(bytes.splice(..0, *b"\x17secret\x17\x08")),
                _ => {}
            }
        }
        // Some have a terminal that ends lines in a way of its own.
        let ending: &[u8] = match who % 16 {
            0 => b"\r",
            1 => b"\r\0",
            _ if rng.once_in(5) => b"\r\n",
            _ => b"\n",
        };
        bytes.extend_from_slice(ending);
        Typed { bytes, line }
    }
}

/// Several lines in one piece, as from a pasted text; after it perhaps the end of input, with or
/// without a last newline.
fn paste(script: &mut Script, world: &mut World, who: Who) {
    let lines = world.rng.weighted(&[(12, 3), (6, 10), (1, 80)]);
    let looks = world.rng.once_in(6);
    for _ in 0..lines {
        if !world.can_type(who) {
            return;
        }
        let text = if looks {
            (*world.rng.pick(&["/help", "/users", "/nothing", "/Sp List", "/ai status", "/tag x"]))
                .to_owned()
        } else if world.model.name_of(who).is_none() && world.rng.once_in(2) {
            script.name(world)
        } else if world.rng.once_in(3) {
            script.line(world, who)
        } else {
            script.words(&mut world.rng)
        };
        let typed = script.typed(world, who, text);
        world.type_in(who, typed);
    }
    if world.rng.once_in(4) {
        if world.rng.once_in(2) {
            let text = script.words(&mut world.rng);
            world.type_in(who, Typed { bytes: text.clone().into_bytes(), line: Some(text) });
        }
        world.note(|| format!("{who} ends its input"));
        world.clients.get_mut(&who).unwrap().half_closed = true;
    }
    world.deliver(who, usize::MAX);
}

/// Says more than the queue of somebody who reads nothing takes, at the end little by little.
fn pour(script: &mut Script, world: &mut World, who: Who) {
    let reader = *world.rng.pick(&world.everybody());
    world.note(|| format!("{reader} reads nothing, and {who} says much"));
    world.clients.get_mut(&reader).unwrap().reads = Reads::Nothing;
    let long = script.send_queue / 1000;
    for n in 0..long + 30 {
        if !world.can_type(who) {
            return;
        }
        let words = script.words(&mut world.rng);
        let text = if n < long { format!("{words} {}", "x".repeat(900)) } else { words };
        let typed = script.typed(world, who, text);
        world.type_in(who, typed);
    }
    world.deliver(who, usize::MAX);
}

fn go(world: &mut World, who: Who) {
    if world.rng.once_in(8) {
        world.note(|| format!("{who} may not connect any more"));
        world.forbid(who);
    } else if world.rng.once_in(2) {
        world.note(|| format!("{who} is lost"));
        world.lose(who, CloseReason::Failed(std::io::ErrorKind::ConnectionReset));
    } else {
        world.note(|| format!("{who} ends its input"));
        world.clients.get_mut(&who).unwrap().half_closed = true;
    }
}

fn read_otherwise(world: &mut World, who: Who) {
    let slow = world.rng.within(1..4001);
    let reads = world.rng.weighted(&[
        (4, Reads::Everything),
        (2, Reads::Slowly(slow)),
        (2, Reads::Nothing),
    ]);
    world.note(|| format!("{who} reads {reads:?}"));
    world.clients.get_mut(&who).unwrap().reads = reads;
}

/// Something comes of a question, if there is one.
fn answer(world: &mut World) {
    if world.asked.is_empty() {
        return;
    }
    let n = world.rng.below(world.asked.len());
    match world.rng.below(10) {
        0..6 => {
            let line = format!("answer m{} of many", 1_000_000_000 + world.rng.below(1_000_000));
            world.answer_line(n, &line);
        }
        6..8 if world.asked[n].said > 0 => {
            let remark = world.rng.weighted(&[(3, None), (1, Some("answer cut short"))]);
            world.answer_done(n, remark);
        }
        8 => {
            let cause = || Cause::new("what the log says");
            let error = match world.rng.below(5) {
                0 => AskError::NoNetwork(cause()),
                1 => AskError::RateLimited(Some(Duration::from_millis(6500)), cause()),
                2 => AskError::AnswerBlocked(Reason::new("SAFETY")),
                3 => AskError::PromptBlocked(Reason::new("OTHER")),
                _ => AskError::Unusable(cause()),
            };
            world.answer_failed(n, &error);
        }
        // It never comes; time will tell.
        _ => {}
    }
}
