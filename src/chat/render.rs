//! What people see: every line the server writes, with its colours, in one place.
//!
//! Text from users comes in cleaned, without the marks of the server's own lines (`marks`), and is
//! only placed here. What the server says has a colour; what people said has the terminal's own and
//! never begins a row: a long text goes on below its first letter. So no text can look like somebody
//! else's line. The only escape sequences are SGR colours, which an outbox can leave out. Owns no
//! state.

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::banner::banner;
use super::lobby::Entry;
use super::protocol::Protocol;
use super::user::Whose;
use crate::clock::RealTime;
use crate::count::count;
use crate::limits::{
    ANSWER_COLUMNS, DEFAULT_COLUMNS, MAX_LINE_BYTES, MAX_MESSAGE_CHARS, OTHERS_COLUMNS,
    REPEATED_CHARS,
};
use crate::outbox::{Frame, PromptText};
use crate::text;

pub(super) const RESET: &str = "\x1b[0m";
pub(super) const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
pub(super) const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const MAGENTA: &str = "\x1b[35m";
pub(super) const CYAN: &str = "\x1b[36m";

/// What the name prompt says, without a newline.
pub(super) const NAME_PROMPT: &str = "\x1b[36mEnter your username: \x1b[0m";

/// What the prompt says in a lobby that is not `general`, without a newline.
pub(super) fn prompt(lobby: &str) -> PromptText {
    format!("{CYAN}{lobby}> {RESET}").into_bytes().into()
}

/// What a newcomer gets at once.
pub(super) fn welcome() -> Frame {
    let mut out = banner(
        &[
            "Welcome! This is a chat for terminals: type a line, press Enter.",
            "",
            "/help   for all commands     ",
            "/users  to see who is here   ",
            "/quit   to leave             ",
        ],
        true,
    );
    let _ = write!(
        out,
        "{GREEN}[● CONNECTED] You're live! Start chatting now...{RESET}\n\n{NAME_PROMPT}"
    );
    Frame::new(out)
}

/// A line that says what was wrong.
pub(super) fn error(message: impl fmt::Display) -> Frame {
    Frame::new(format!("{RED}{message}{RESET}\n"))
}

/// A line that says what was done.
pub(super) fn success(message: impl fmt::Display) -> Frame {
    Frame::new(format!("{GREEN}{message}{RESET}\n"))
}

/// A line that asks for attention.
pub(super) fn notice(message: impl fmt::Display) -> Frame {
    Frame::new(format!("{YELLOW}{message}{RESET}\n"))
}

/// An error at the name prompt, and the prompt again.
pub(super) fn name_error(message: impl fmt::Display) -> Frame {
    Frame::new(format!("{RED}{message}{RESET}\n{NAME_PROMPT}"))
}

/// A name in a line of this colour. It has the terminal's own, as whatever people typed, so that nobody
/// has the server say something by choosing a name: `Type-your-password has joined the lobby`.
pub(super) struct Named<'a>(&'a str, &'static str);

/// A name in a line from the lobby.
pub(super) fn named(name: &str) -> Named<'_> {
    Named(name, YELLOW)
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name, color) = self;
        write!(f, "{RESET}{BOLD}{name}{RESET}{color}")
    }
}

/// A line from the lobby itself.
pub(super) fn lobby_line(message: impl fmt::Display) -> Frame {
    Frame::new(format!("{YELLOW}[LOBBY] {message}{RESET}\n"))
}

/// Who is there beside a newcomer: how many, and of these as many by name as the line has room for.
pub(super) fn others_here(count: usize, names: &[&str]) -> Frame {
    let are = if count == 1 { "other is" } else { "others are" };
    let line = |named: usize| {
        let names = names.get(..named).unwrap_or_default().join(", ");
        match count - named {
            0 => format!("{count} {are} here: {names}"),
            more => format!("{count} {are} here: {names} and {more} more: /users"),
        }
    };
    let fits = |named: &usize| line(*named).len() <= OTHERS_COLUMNS;
    notice(line((1..=names.len()).rev().find(fits).unwrap_or(1)))
}

/// Which word of `/create` was taken for the password.
pub(super) fn taken_for_password(lobby: &str, word: &[u8]) -> Frame {
    let word = text::clean(word);
    notice(format_args!(
        "'{word}' is the password. For a public lobby: /create {lobby} no-pass <desc>"
    ))
}

/// What is said when a line is longer than a message may be: it has so many characters, which are not
/// counted where it is longer than any line may be.
pub(super) fn message_too_long(chars: Option<usize>) -> Frame {
    match chars {
        Some(chars) => too_long("Message", MAX_MESSAGE_CHARS, chars),
        None => error(format_args!(
            "Message too long (max {MAX_MESSAGE_CHARS} characters): it has more than \
             {MAX_LINE_BYTES} bytes"
        )),
    }
}

/// The same of whatever else has a length.
pub(super) fn too_long(what: &str, max: usize, chars: usize) -> Frame {
    error(format_args!("{what} too long (max {max} characters): it has {chars}"))
}

/// `User not found: alcie. Did you mean alice?`
#[derive(Debug, Clone, Copy)]
pub(super) struct NotFound<'a> {
    /// What is wrong.
    pub(super) what: &'a str,
    /// With what, as it was typed. It is cut if it is long.
    pub(super) name: &'a str,
    /// What is like it.
    pub(super) nearest: Option<&'a str>,
}

impl fmt::Display for NotFound<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, name, nearest } = self;
        match name.char_indices().nth(REPEATED_CHARS) {
            None => write!(f, "{what}: {name}.")?,
            Some((end, _)) => write!(f, "{what}: {}….", name.get(..end).unwrap_or_default())?,
        }
        nearest.map_or(Ok(()), |nearest| write!(f, " Did you mean {nearest}?"))
    }
}

/// The refusal of a line that came too soon.
pub(super) fn rate_limited(whose: Whose, secs: u64) -> Frame {
    let wait = count(secs, "second");
    match whose {
        Whose::Own => notice(format_args!("⚠ Rate limited! Wait {wait}. 1 line was not sent.")),
        Whose::Address => {
            notice(format_args!("⚠ Rate limited! Your address has sent too much: wait {wait}."))
        }
        Whose::Lobby => {
            notice(format_args!("⚠ Too many talk at once here! Wait {wait}. 1 line was not sent."))
        }
    }
}

/// Last words to somebody whose address has logged in too often.
pub(super) fn too_many_logins(secs: u64) -> Frame {
    let wait = count(secs, "second");
    error(format_args!("Too many log-ins from your IP. Try again in {wait}."))
}

/// So many lines came too soon that nobody was told of.
pub(super) fn not_sent(lines: u64) -> Frame {
    let were = if lines == 1 { "was" } else { "were" };
    notice(format_args!("⚠ {} {were} not sent.", count(lines, "line")))
}

/// What stands before a text on the row below its sender, and the columns that takes.
const ARROW: &str = "╰─>";
const ARROW_COLUMNS: usize = 6;

/// Writes a message as a lobby sees it, said this long ago; after a pause below the time of day.
pub(super) fn message(out: &mut Frame, entry: &Entry, age: Duration) {
    let Entry { picture, sender, text, .. } = entry;
    // Nothing that is written to here can fail.
    if let Some(clock) = entry.clock {
        let _ = writeln!(out, "{DIM}── {clock} ──{RESET}");
    }
    for part in [CYAN, picture, RESET, " ", BOLD, sender, RESET, " "] {
        out.push_str(part);
    }
    let _ = match &entry.tagged {
        Some(tagged) => write!(out, "{MAGENTA}@{tagged}{RESET}"),
        None => write!(out, "{DIM}[{}]{RESET}", Age(age)),
    };
    for part in ["\n  ", CYAN, ARROW, RESET, " "] {
        out.push_str(part);
    }
    out.text(ARROW_COLUMNS, text);
    out.push_str("\n");
}

/// At least as many bytes as [`message`] writes.
fn message_bytes(entry: &Entry) -> usize {
    const AROUND: usize = 58;
    const CLOCK: usize = 32;
    entry.bytes() + AROUND + entry.clock.map_or(0, |_| CLOCK)
}

/// A history, oldest first, as much of its end as fits into `max_bytes`; `None` if there is none.
pub(super) fn history<'a>(
    entries: impl DoubleEndedIterator<Item = &'a Entry> + ExactSizeIterator + Clone,
    now: RealTime,
    max_bytes: usize,
) -> Option<Frame> {
    let mut bytes = 0;
    let fits = |entry: &&Entry| {
        bytes += message_bytes(entry);
        bytes <= max_bytes
    };
    let count = entries.clone().rev().take_while(fits).count();
    let mut history = Frame::with_capacity(bytes.min(max_bytes), count);
    let older = entries.len() - count;
    for entry in entries.skip(older) {
        message(&mut history, entry, now.since(entry.at));
    }
    (!history.is_empty()).then_some(history)
}

/// `just now`, `5s ago`, `2m ago`, `1h ago`, `1d ago`.
struct Age(Duration);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            0 => f.write_str("just now"),
            secs @ 1..60 => write!(f, "{secs}s ago"),
            secs @ 60..3600 => write!(f, "{}m ago", secs / 60),
            secs @ 3600..86400 => write!(f, "{}h ago", secs / 3600),
            secs => write!(f, "{}d ago", secs / 86400),
        }
    }
}

/// A direct message, as one of the two sees it.
pub(super) fn direct(from: &str, to: &str, text: &str) -> Frame {
    let (from, to) = (Named(from, MAGENTA), Named(to, MAGENTA));
    told(MAGENTA, format_args!("[DM] {from} —» {to}"), text)
}

/// A line about a text, and the text below it.
fn told(color: &str, about: impl fmt::Display, text: &str) -> Frame {
    let mut out = Frame::new(format!("{color}{about}{RESET}\n  {color}{ARROW}{RESET} "));
    out.text(ARROW_COLUMNS, text);
    out.push_str("\n");
    out
}

/// What a tagged user gets besides the message.
pub(super) fn tagged_here(by: &str) -> Frame {
    notice(format_args!("✦ {} tagged you", named(by)))
}

/// What a tagged user gets who is elsewhere.
pub(super) fn tagged_elsewhere(by: &str, lobby: &str, text: &str) -> Frame {
    told(YELLOW, format_args!("✦ {} tagged you in '{}'", named(by), named(lobby)), text)
}

/// What a lobby sees of a question to the assistant.
pub(super) fn question(asker: &str, text: &str) -> Frame {
    let column = "[LOBBY]  asked AI: ".len() + asker.len();
    let mut out = Frame::new(format!("{YELLOW}[LOBBY] {} asked AI: {RESET}", named(asker)));
    out.text(column, text);
    out.push_str("\n");
    out
}

/// What stands before each row of the assistant's answer, in [`GUTTER_COLUMNS`].
const GUTTER: &str = "  \x1b[32m│\x1b[0m ";
const GUTTER_COLUMNS: usize = 4;
const _: () = assert!(ANSWER_COLUMNS + GUTTER_COLUMNS <= DEFAULT_COLUMNS as usize);

/// A line of the assistant's answer, behind its gutter; the first one below whom it answers.
pub(super) fn answer_line(first_to: Option<&str>, line: &str) -> Frame {
    // Nobody can type what it begins with.
    let title = first_to.map_or(String::new(), |asker| {
        format!("{GREEN}[AI Response to {}] Rox:{RESET}\n", Named(asker, GREEN))
    });
    let mut out = Frame::new(format!("{title}{GUTTER}"));
    out.text_behind(GUTTER_COLUMNS, GUTTER, line);
    out.push_str("\n");
    out
}

/// The answer to `/ai status`: what is left of the three budgets, and what goes on in the lobby.
pub(super) fn ask_status(
    model: &str,
    [own, address, server]: [&str; 3],
    answering: &str,
    waiting: usize,
) -> Frame {
    Frame::new(format!(
        "{CYAN}=== AI ===\nModel: {model}\nYour questions: {own}\n\
         All from your address: {address}\n\
         The whole server's: {server}\n\
         This lobby: {answering}, {waiting} waiting{RESET}\n"
    ))
}

/// What somebody gets who speaks another protocol on the plain port, in that protocol's nearest
/// readable form.
pub(super) fn wrong_protocol(protocol: Protocol) -> Frame {
    const ADVICE: &str = "This is a plain-text chat. Connect with: nc HOST PORT";
    match protocol {
        // What a TLS client shows or logs is the bytes it got instead of a handshake.
        Protocol::Tls => Frame::new(format!("\nThis port is not encrypted. {ADVICE}\n")),
        other => advice(Some(other), ADVICE),
    }
}

/// A line of advice, in the nearest readable form of what somebody speaks; to a proxy what it needs
/// to hear instead.
pub fn advice(protocol: Option<Protocol>, advice: &str) -> Frame {
    match protocol {
        Some(Protocol::Http) => Frame::new(format!(
            "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{advice}\n",
            advice.len() + 1
        )),
        // In the log of the proxy, or on the screen of a client that it brings.
        Some(Protocol::Proxy) => Frame::new(
            "\nThis server does not expect a PROXY protocol header from this address: \
             CHAT_PROXY_FROM does not name it.\n",
        ),
        Some(Protocol::Ssh) => {
            Frame::new(format!("\nSSH-2.0-mio_chat\r\n{}", ssh_disconnect(advice)))
        }
        Some(Protocol::Tls) | None => error(advice),
    }
}

/// An SSH binary packet (RFC 4253, section 6) with the message SSH_MSG_DISCONNECT (section 11.1),
/// whose description an SSH client shows its user. All of its bytes are below 128.
fn ssh_disconnect(description: &str) -> String {
    const SSH_MSG_DISCONNECT: char = '\u{1}';
    const BY_APPLICATION: &str = "\0\0\0\u{b}";
    const NO_LANGUAGE: &str = "\0\0\0\0";
    let length = |n: usize| format!("\0\0\0{}", char::from(u8::try_from(n).unwrap_or(0) & 0x7f));
    let payload = format!(
        "{SSH_MSG_DISCONNECT}{BY_APPLICATION}{}{description}{NO_LANGUAGE}",
        length(description.len())
    );
    // The whole packet is a multiple of eight bytes, four or more of them padding.
    let padding = 4 + (8 - (4 + 1 + payload.len() + 4) % 8) % 8;
    let pad = char::from(u8::try_from(padding).unwrap_or(0));
    format!("{}{pad}{payload}{}", length(1 + payload.len() + padding), "\0".repeat(padding))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use crate::clock::{WallClock, Zone};
    use crate::rate::AddrKey;

    #[test]
    fn ages() {
        for (secs, expected) in [
            (0, "just now"),
            (5, "5s ago"),
            (59, "59s ago"),
            (60, "1m ago"),
            (150, "2m ago"),
            (3600, "1h ago"),
            (200_000, "2d ago"),
        ] {
            assert_eq!(Age(Duration::from_secs(secs)).to_string(), expected);
        }
    }

    #[test]
    fn a_history_is_cut_at_its_beginning() {
        let now = WallClock::new(Zone::utc()).real(std::time::Instant::now());
        let entries: Vec<_> = (0..10)
            .map(|n| Entry {
                at: now,
                picture: "[@_@]",
                sender: "alice".into(),
                addr: AddrKey::V6Net(1),
                clock: None,
                tagged: None,
                text: format!("number {n}"),
            })
            .collect();
        let mut one = Frame::default();
        message(&mut one, &entries[0], Duration::ZERO);
        let one = one.len();
        let frame = history(entries.iter(), now, one * 3 + 1).unwrap();
        assert_eq!(frame.len(), one * 3);
        assert!(history(entries.iter(), now, one - 1).is_none());
    }

    #[test]
    fn the_ssh_packet_is_well_formed() {
        // RFC 4253, section 6: the length of what follows, that of the padding, the payload, and
        // the padding, as little as brings the whole to a multiple of eight and is four or more.
        for len in 1..40 {
            let packet = ssh_disconnect(&"d".repeat(len)).into_bytes();
            let payload = 1 + 4 + 4 + len + 4;
            let padding = usize::from(packet[4]);
            assert_eq!(packet.len(), 4 + 1 + payload + padding);
            assert_eq!(packet.len() % 8, 0);
            assert!((4..12).contains(&padding) && packet.is_ascii(), "{padding}");
            assert_eq!(packet[..4], [0, 0, 0, u8::try_from(packet.len() - 4).unwrap()]);
            assert_eq!(packet[5..10], [1, 0, 0, 0, 11]);
            assert_eq!(packet[10..14], [0, 0, 0, u8::try_from(len).unwrap()]);
        }
    }
}
