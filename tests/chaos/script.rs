//! What the misbehaving do: for each kind, the script of one life.

use super::player::Step;
use super::random::Random;
use super::rogue::{Kind, Rules};

const ASK_NAME: &str = "Enter your username: ";
const PROMPT: &str = "> \x1b[0m";
/// How an error begins.
const RED: &str = "\x1b[31m";
const GOODBYE: &str = "Disconnecting from server. Goodbye!";

/// The script of one of this kind and name. The same for the same random numbers.
pub fn steps(kind: Kind, random: &mut Random, rules: &Rules, name: String) -> Vec<Step> {
    Life { random, rules, name }.steps(kind)
}

/// What the scripts are made from.
struct Life<'a> {
    random: &'a mut Random,
    rules: &'a Rules,
    name: String,
}

impl Life<'_> {
    fn steps(&mut self, kind: Kind) -> Vec<Step> {
        match kind {
            Kind::ByteAtATime => self.polite(),
            Kind::ResetAnywhere => self.restless(),
            Kind::ResetInLogin => self.reset_in_login(),
            Kind::ResetInPassword => self.reset_in_password(),
            Kind::ResetInOutput => self.reset_in_output(),
            Kind::HalfClose => self.half_close(),
            Kind::HalfCloseInLogin => self.half_close_in_login(),
            Kind::EndlessLine => self.endless_line(),
            Kind::EndlessLineReset => self.endless_line_reset(),
            Kind::Deaf => self.deaf(),
            Kind::SilentAtPrompt => {
                vec![Step::ReadToEnd(vec![once("You did not enter a username in time. Goodbye!")])]
            }
            Kind::Vanish => self.vanish(),
            Kind::Telnet => self.telnet(),
            Kind::Http => {
                let request = "GET / HTTP/1.1\r\nHost: chat\r\nAccept: */*\r\n\r\n";
                vec![send(request), Step::ReadToEnd(vec![once("HTTP/1.1 400 Bad Request")])]
            }
            Kind::Ssh => vec![
                send("SSH-2.0-OpenSSH_9.9\r\n"),
                Step::ReadToEnd(vec![once("SSH-2.0-mio_chat")]),
            ],
            Kind::TlsOnPlainPort => vec![
                Step::Send(self.rules.hello.clone()),
                Step::ReadToEnd(vec![once("This port is not encrypted.")]),
            ],
            Kind::Noise => self.noise(),
            Kind::WrongNames => self.wrong_names(),
            Kind::PasswordGuesser => self.password_guesser(),
            Kind::LobbyHopper => self.lobby_hopper(),
            Kind::LobbyMaker => self.lobby_maker(),
            Kind::Pest => self.pest(),
            Kind::QuitWithOutputPending => self.quit_with_output_pending(),
            Kind::TlsNoise => self.tls_noise(),
            Kind::TlsHandshakeAbandoned => self.tls_handshake_abandoned(),
            Kind::TlsRecordCutShort => self.tls_record_cut_short(),
            Kind::TlsRecordBroken => self.tls_record_broken(),
            Kind::TlsNoCloseNotify => self.tls_no_close_notify(),
        }
    }

    // ---- Pieces --------------------------------------------------------------------------------

    fn login(&self) -> Vec<Step> {
        vec![Step::Expect(ASK_NAME), send(format!("{}\n", self.name)), Step::Expect(PROMPT)]
    }

    /// What one of these says begins like this, so that the others can tell it.
    fn says(&self, what: &str) -> String {
        format!("rogue {} {what}", self.name)
    }

    fn goes(&mut self) -> Step {
        if self.random.once_in(2) { Step::Reset } else { Step::Vanish }
    }

    fn noise_bytes(&mut self, count: usize) -> Vec<u8> {
        // No letters: it is no name and no message, however it is cut.
        (0..count).map(|_| if self.random.once_in(40) { b'\n' } else { self.high() }).collect()
    }

    fn high(&mut self) -> u8 {
        self.random.below(128) as u8 | 0x80
    }

    // ---- Plain misbehaviour --------------------------------------------------------------------

    fn polite(&mut self) -> Vec<Step> {
        let text = self.says("says hello");
        let mut steps = self.login();
        steps.extend([
            send(format!("{text}\n")),
            Step::ExpectText(text),
            send("/quit\n"),
            Step::ReadToEnd(vec![once(GOODBYE)]),
        ]);
        steps
    }

    /// Whoever is cut off at a random moment should be in the middle of many different things.
    fn restless(&mut self) -> Vec<Step> {
        let mut steps = self.login();
        for n in 0..100 {
            let line = match self.random.below(6) {
                0 => "/users\n".repeat(20),
                1 => "/help\n".repeat(20),
                2 => format!("/create {}-{n} pass word\n", self.name),
                3 => "/join general\n/lobbies\n".to_owned(),
                _ => self.says(&format!("number {n}\n")),
            };
            steps.extend([send(line), Step::Wait(self.random.millis(0..80))]);
        }
        steps
    }

    fn reset_in_login(&mut self) -> Vec<Step> {
        let part = &self.name[..self.random.below(self.name.len())];
        let part = send(part);
        vec![Step::Expect(ASK_NAME), part, Step::Wait(self.random.millis(0..30)), Step::Reset]
    }

    fn reset_in_password(&mut self) -> Vec<Step> {
        let mut steps = self.login();
        steps.push(send(format!("/create {} pass-word x\n", self.name)));
        steps.extend([Step::Wait(self.random.millis(0..12)), self.goes()]);
        steps
    }

    fn reset_in_output(&mut self) -> Vec<Step> {
        let mut steps = self.login();
        if self.random.once_in(2) {
            steps.push(Step::Deaf);
        }
        steps.push(send("/help\n/lobbies\n/users\n".repeat(60)));
        steps.extend([Step::Wait(self.random.millis(0..30)), Step::Reset]);
        steps
    }

    fn half_close(&mut self) -> Vec<Step> {
        let (text, last) = (self.says("goes"), self.says("has last words"));
        let mut steps = self.login();
        // The last line has no newline.
        steps.extend([send(format!("{text}\n{last}")), Step::EndInput]);
        steps.push(Step::ReadToEnd(vec![(text, 1), (last, 1)]));
        steps
    }

    fn half_close_in_login(&mut self) -> Vec<Step> {
        let mut steps = vec![Step::Expect(ASK_NAME)];
        let named = self.random.once_in(2);
        if named {
            steps.push(send(self.name.clone()));
        }
        steps.extend([Step::EndInput, Step::ReadToEnd(vec![])]);
        steps
    }

    fn endless_line(&mut self) -> Vec<Step> {
        let text = self.says("is back");
        let mut steps = self.login();
        let bytes = self.random.within(20_000..2_000_000);
        steps.extend([
            Step::Send(vec![b'x'; bytes]),
            send(format!("\n{text}\n")),
            Step::EndInput,
            Step::ReadToEnd(vec![once("Message too long (max 1000 characters)"), (text, 1)]),
        ]);
        steps
    }

    fn endless_line_reset(&mut self) -> Vec<Step> {
        let mut steps = if self.random.once_in(2) { self.login() } else { vec![] };
        let bytes = self.random.within(10_000..2_000_000);
        steps.extend([
            Step::Send(vec![b'x'; bytes]),
            Step::Wait(self.random.millis(0..20)),
            self.goes(),
        ]);
        steps
    }

    fn deaf(&mut self) -> Vec<Step> {
        let mut steps = self.login();
        let line = if self.random.once_in(2) { "/help\n" } else { "/users\n" };
        steps.extend([Step::Deaf, send(line.repeat(500))]);
        if self.rules.lines < 500 {
            // Too little is said for it to be noticed.
            steps.extend([Step::Wait(self.random.millis(100..1000)), self.goes()]);
        } else {
            steps.push(Step::Poke);
        }
        steps
    }

    fn vanish(&mut self) -> Vec<Step> {
        let leave = self.goes();
        match self.random.below(3) {
            0 => vec![leave],
            1 => vec![Step::Wait(self.random.millis(0..50)), leave],
            _ => vec![send("x"), leave],
        }
    }

    // ---- Other protocols -----------------------------------------------------------------------

    fn telnet(&mut self) -> Vec<Step> {
        let text = self.says("uses telnet");
        // WILL NAWS, a window size, DO TIMING-MARK, and an unknown command (RFC 854, 860, 1073).
        let negotiation = b"\xff\xfb\x1f\xff\xfa\x1f\x00\x50\x00\x18\xff\xf0\xff\xfd\x06\xff\xf1";
        let with = |line: &str| {
            let (first, rest) = line.split_at(line.len() / 2);
            Step::Send([first.as_bytes(), negotiation, rest.as_bytes(), b"\r\n"].concat())
        };
        vec![
            Step::Expect(ASK_NAME),
            with(&self.name),
            Step::Expect(PROMPT),
            with(&text),
            Step::ExpectText(text.clone()),
            with("/quit"),
            Step::ReadToEnd(vec![once(GOODBYE)]),
        ]
    }

    fn noise(&mut self) -> Vec<Step> {
        let bytes = self.random.within(1..4000);
        let noise = self.noise_bytes(bytes);
        vec![Step::Send(noise), Step::Wait(self.random.millis(0..100)), self.goes()]
    }

    // ---- Names, lobbies, commands --------------------------------------------------------------

    fn wrong_names(&mut self) -> Vec<Step> {
        let taken = match self.rules.users.as_slice() {
            [] => "Root".to_owned(),
            users => self.random.pick(users).to_uppercase(),
        };
        let names = format!("x\n{}\nbad name!\nSystem\n{taken}\nRoot\nlate\n", "y".repeat(21));
        let mut owed = vec![
            once("Username too short (min 2 characters)"),
            once("Username too long (max 20 characters)"),
            once("Username can only contain letters, numbers, - and _"),
            once("Too many wrong usernames. Goodbye!"),
        ];
        let nobody = usize::from(self.rules.users.is_empty());
        owed.push(("Username is reserved, try another.".to_owned(), 2));
        // Which counts as no error, and may be followed by what to do if it was oneself.
        owed.push(("Username already taken, try another.".to_owned(), 1 - nobody));
        vec![Step::Expect(ASK_NAME), send(names), Step::ReadToEnd(owed)]
    }

    fn password_guesser(&mut self) -> Vec<Step> {
        let mut steps = self.login();
        for n in 0..self.random.within(1..4) {
            steps.push(send(format!("/join {} guess-{n}\n", self.rules.private)));
            // Wrong, too many wrong ones, or too many at once.
            steps.push(Step::Expect(RED));
        }
        steps.push(send(format!("/join {} last-guess\n", self.rules.private)));
        steps.push(Step::Wait(self.random.millis(0..10)));
        steps.push(self.goes());
        steps
    }

    fn lobby_hopper(&mut self) -> Vec<Step> {
        let mut steps = self.login();
        let name = &self.name;
        let (password, key) =
            if self.random.once_in(4) { ("key-word", " key-word") } else { ("no-pass", "") };
        let there = format!("/join {name}{key}\n{}\n", self.says("is here"));
        let mut lines = format!("/create {name} {password} for a while\n");
        for _ in 0..self.random.within(1..6) {
            lines.push_str(&there);
            lines.push_str("/join general\n");
        }
        steps.push(send(lines + "/quit\n"));
        steps.push(Step::ReadToEnd(vec![once(GOODBYE)]));
        steps
    }

    fn lobby_maker(&mut self) -> Vec<Step> {
        let mut steps = self.login();
        let lines: String = (0..8)
            .map(|n| match n % 8 {
                0 => format!("/create {}-{n} pass-word not for long\n", self.name),
                1..6 => format!("/create {}-{n} no-pass not for long\n", self.name),
                _ => "/create general x\n/create x\n/lobbies\n".to_owned(),
            })
            .collect();
        steps.extend([send(lines + "/quit\n"), Step::ReadToEnd(vec![once(GOODBYE)])]);
        steps
    }

    /// Says what should never reach a terminal, and talks to those who did not ask for it.
    fn pest(&mut self) -> Vec<Step> {
        let user = match self.rules.users.as_slice() {
            [] => "nobody",
            users => self.random.pick(users),
        };
        let mut lines = b"/sp cat\n".to_vec();
        let text = self.says("\x1b[2J\x1b]0;title\x07\u{202e}\u{2028}\u{9b}31m\x00\x08 spoils");
        lines.extend_from_slice(format!("{text}\n").as_bytes());
        lines.extend_from_slice(b"rogue \xff\xfe\xc3(\xe2\x82 bytes\n");
        lines.extend_from_slice(format!("/msg {user} {text}\n").as_bytes());
        lines.extend_from_slice(format!("/tag {user} {text}\n").as_bytes());
        lines.extend_from_slice(format!("rogue {}\n", "a\u{301}\u{302}".repeat(400)).as_bytes());
        lines.extend_from_slice(b"/quit\n");
        let mut steps = self.login();
        steps.extend([Step::Send(lines), Step::ReadToEnd(vec![once(GOODBYE)])]);
        steps
    }

    fn quit_with_output_pending(&mut self) -> Vec<Step> {
        let mut steps = self.login();
        let times = self.rules.lines.min(60);
        steps.push(send("/help\n".repeat(times) + "/quit\n"));
        let owed = vec![("=== Commands ===".to_owned(), times), once(GOODBYE)];
        steps.extend([Step::Wait(self.random.millis(0..50)), Step::ReadToEnd(owed)]);
        steps
    }

    // ---- TLS -----------------------------------------------------------------------------------

    fn tls_noise(&mut self) -> Vec<Step> {
        match self.random.below(3) {
            0 => vec![send("GET / HTTP/1.1\r\n\r\n"), Step::Gone],
            // A handshake record whose content is none.
            1 => vec![Step::Send([&b"\x16\x03\x01\x00\x10"[..], &[0xaa; 16]].concat()), Step::Gone],
            _ => {
                let noise = self.noise_bytes(600);
                vec![Step::Send(noise), Step::Wait(self.random.millis(0..200)), self.goes()]
            }
        }
    }

    fn tls_handshake_abandoned(&mut self) -> Vec<Step> {
        let hello = &self.rules.hello;
        let bytes = self.random.within(1..hello.len() + 1);
        vec![
            Step::Send(hello[..bytes].to_vec()),
            Step::Wait(self.random.millis(0..500)),
            self.goes(),
        ]
    }

    fn tls_record_cut_short(&mut self) -> Vec<Step> {
        let mut steps = self.login();
        // Application data of 100 bytes, of which fewer come.
        let bytes = self.random.below(90);
        let cut = [&b"\x17\x03\x03\x00\x64"[..], &vec![b'a'; bytes]].concat();
        steps.extend([send(self.says("is cut off\n")), Step::SendRaw(cut)]);
        match self.random.below(3) {
            0 => steps.extend([Step::Shut, Step::Gone]),
            1 => steps.extend([Step::Wait(self.random.millis(0..100)), Step::Vanish]),
            _ => steps.push(Step::Reset),
        }
        steps
    }

    fn tls_record_broken(&mut self) -> Vec<Step> {
        let mut steps = self.login();
        let broken = [&b"\x17\x03\x03\x00\x64"[..], &[7; 100]].concat();
        steps.extend([Step::SendRaw(broken), Step::Gone]);
        steps
    }

    fn tls_no_close_notify(&mut self) -> Vec<Step> {
        let mut steps = self.login();
        let text = self.says("goes without a word");
        steps.push(send(format!("{text}\n")));
        if self.random.once_in(2) {
            steps.extend([Step::Shut, Step::ReadToEnd(vec![(text, 1)])]);
        } else {
            steps.push(Step::Vanish);
        }
        steps
    }
}

fn send(text: impl Into<Vec<u8>>) -> Step {
    Step::Send(text.into())
}

fn once(text: &str) -> (String, usize) {
    (text.to_owned(), 1)
}
