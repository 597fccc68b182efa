//! What the clients say and look for, in each protocol: log-in, messages, leaving.

use memchr::memmem::Finder;

use super::dialog::{Dialog, End};

/// What a server speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Protocol {
    /// mio-chat's.
    #[default]
    Chat,
    /// RFC 2812; senders do not hear themselves.
    Irc,
    /// Lines, without any log-in.
    Floor,
}

impl Protocol {
    pub(super) fn of(name: &str) -> Result<Self, String> {
        match name {
            "chat" => Ok(Self::Chat),
            "irc" => Ok(Self::Irc),
            "floor" => Ok(Self::Floor),
            _ => Err(format!("--protocol {name:?} has to be chat, irc or floor")),
        }
    }

    /// Whether a sender gets its own messages back.
    pub(super) fn echoes(self) -> bool {
        self != Self::Irc
    }

    /// Logs in by this name, and stays.
    pub(super) fn login(self, name: &str) -> Dialog {
        let mut dialog = Dialog::new(End::Stay);
        match self {
            Self::Chat => dialog.wait("Enter your username: ").say(name).wait("> "),
            Self::Irc => dialog
                .say(&format!("NICK {name}\r\nUSER {name} 0 * :{name}"))
                .wait(" 001 ")
                .say("JOIN #bench")
                .wait(" 366 "),
            Self::Floor => &mut dialog,
        };
        dialog
    }

    /// The same without waiting to be asked.
    pub(super) fn quick_login(self, name: &str) -> Dialog {
        let mut dialog = Dialog::new(End::Stay);
        match self {
            Self::Chat => dialog.say(name).wait("> "),
            _ => return self.login(name),
        };
        dialog
    }

    /// Logs in, says something to all, sees it come back, and leaves.
    pub(super) fn visit(self, name: &str) -> Dialog {
        let mut dialog = self.login(name);
        let words = format!("a visit by {name} ends");
        match self {
            Self::Chat => dialog.say(&words).wait(&words).say("/quit").end(End::Closed),
            Self::Irc => dialog
                .say(&format!("PRIVMSG #bench :{words}\r\nPRIVMSG {name} :{words}"))
                .wait(&words)
                .say("QUIT :bye")
                .end(End::Closed),
            Self::Floor => dialog.say(&words).wait(&words).end(End::Close),
        };
        dialog
    }

    /// Adds a line that says this to all.
    pub(super) fn say(self, out: &mut Vec<u8>, payload: &[u8]) {
        if self == Self::Irc {
            out.extend_from_slice(b"PRIVMSG #bench :");
        }
        out.extend_from_slice(payload);
        out.extend_from_slice(if self == Self::Irc { b"\r\n" } else { b"\n" });
    }

    /// How it shows that somebody has left.
    pub(super) fn departure(self, name: &str) -> Vec<u8> {
        match self {
            Self::Chat => format!("{name} has left").into_bytes(),
            _ => format!(":{name}!").into_bytes(),
        }
    }
}

/// Adds the answers to an IRC server's PINGs among these lines.
pub(super) fn answer_pings(lines: &[u8], out: &mut Vec<u8>) {
    for at in memchr::memmem::find_iter(lines, b"PING ") {
        let (before, after) = lines.split_at(at);
        if let Some(end) = memchr::memchr(b'\n', after)
            && before.last().is_none_or(|byte| *byte == b'\n')
        {
            out.extend_from_slice(b"PONG ");
            out.extend_from_slice(after.get(5..=end).unwrap_or_default());
        }
    }
}

/// Where a PING begins whose line is incomplete, or the end.
pub(super) fn unfinished_ping(bytes: &[u8]) -> usize {
    let begin = memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1);
    let last = bytes.get(begin..).unwrap_or_default();
    let may_be = b"PING ".starts_with(last) || last.starts_with(b"PING ");
    if may_be { begin } else { bytes.len() }
}

const MARK: &[u8; 2] = b"#%";
/// The mark, four hexadecimal digits of the sender, eight of the sequence.
const HEAD_BYTES: usize = 14;

/// The form of all messages of a run: mark, sender, sequence, and letters up to the size.
pub(super) struct Payload {
    template: Vec<u8>,
    mark: Finder<'static>,
}

/// What was found among the bytes that came.
pub(super) enum Found {
    Message {
        sender: usize,
        sequence: u32,
    },
    /// It bears the mark, and is not as it was sent.
    Damaged,
}

impl Payload {
    /// Messages of so many bytes, at least 14.
    pub(super) fn new(size: usize) -> Self {
        let mut template = vec![b'0'; HEAD_BYTES];
        template.extend((b'a'..=b'z').cycle().take(size.saturating_sub(HEAD_BYTES)));
        Self { template, mark: Finder::new(MARK) }
    }

    /// Message `sequence` of a sender, valid until the next one.
    pub(super) fn render(&mut self, sender: usize, sequence: u32) -> &[u8] {
        let head = self.template.iter_mut();
        let digits = format_digits(sender as u64 & 0xffff, u64::from(sequence));
        head.zip(MARK.iter().chain(&digits)).for_each(|(byte, with)| *byte = *with);
        &self.template
    }

    /// Tells each message among these bytes, and gives where an incomplete one begins, or the end.
    pub(super) fn scan(&self, bytes: &[u8], mut at: usize, mut found: impl FnMut(Found)) -> usize {
        while let Some(rest) = bytes.get(at..) {
            let Some(offset) = self.mark.find(rest) else { break };
            let Some(message) = rest.get(offset..offset + self.template.len()) else {
                return at + offset;
            };
            let (head, letters) = message.split_at(HEAD_BYTES);
            if Some(letters) == self.template.get(HEAD_BYTES..)
                && let Some(digits) = head.get(MARK.len()..)
                && let Some((sender, sequence)) = parse_digits(digits)
            {
                found(Found::Message { sender, sequence });
                at += offset + message.len();
            } else {
                found(Found::Damaged);
                at += offset + MARK.len();
            }
        }
        let half = bytes.len() > at && bytes.last() == MARK.first();
        bytes.len() - usize::from(half)
    }
}

fn format_digits(sender: u64, sequence: u64) -> [u8; 12] {
    let number = sender << 32 | sequence;
    std::array::from_fn(|n| {
        let digit = (number >> (44 - 4 * n) & 0xf) as u8;
        if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }
    })
}

fn parse_digits(digits: &[u8]) -> Option<(usize, u32)> {
    let mut number = 0_u64;
    for &byte in digits {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        number = number << 4 | u64::from(digit);
    }
    Some(((number >> 32) as usize, (number & 0xffff_ffff) as u32))
}
