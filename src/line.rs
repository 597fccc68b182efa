//! Bytes to lines: line endings, over-long lines in constant memory, telnet negotiation.
//!
//! A line ends with LF, CR LF, CR NUL (RFC 854) or CR alone. A CR ends it at once: a client that
//! sends nothing more is waiting for the answer. Whatever belongs to that CR is taken when it
//! comes.
//!
//! Telnet commands are consumed and ignored, except for two: DO TIMING-MARK, which telnet sends
//! after an interrupt and which it waits for the answer to before it shows anything more (RFC 860),
//! and the window size (RFC 1073). [`LineDecoder::take_telnet`] says what is due.
//!
//! Owns the one unfinished line of a connection and nothing else. What is inside a line (UTF-8,
//! controls, escapes) is `text`'s business. However the input is cut into pieces, the lines are the
//! same; at most [`MAX_LINE_BYTES`] bytes are kept.

use std::num::NonZero;

use memchr::memchr3;

use crate::limits::{MAX_LINE_BYTES, MAX_TELNET_SUBNEGOTIATION};

/// Telnet's "interpret as command" (RFC 854). It never occurs in UTF-8.
const IAC: u8 = 255;
const SE: u8 = 240;
const SB: u8 = 250;
const WILL: u8 = 251;
const DO: u8 = 253;
const DONT: u8 = 254;
/// The option of a mark in the stream that is echoed once everything before it was handled (RFC
/// 860).
const TIMING_MARK: u8 = 6;
/// The option for reporting the size of a window, Negotiate About Window Size (RFC 1073).
const NAWS: u8 = 31;

/// The answer to DO TIMING-MARK: WILL TIMING-MARK.
pub const MARK_ANSWER: &[u8] = &[IAC, WILL, TIMING_MARK];
/// Asks for the size of the window, now and whenever it changes: DO NAWS.
pub const ASK_SIZE: &[u8] = &[IAC, DO, NAWS];
/// The lowest telnet command: end of file (RFC 1184). A byte below it after an IAC is data.
const LOWEST_COMMAND: u8 = 236;

/// One line as a client sent it.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Line<'a> {
    /// The bytes of the line without its ending.
    Complete(&'a [u8]),
    /// The line is longer than [`MAX_LINE_BYTES`]. Reported once; the rest of it is discarded.
    TooLong,
}

/// How a client's lines end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ending {
    /// With LF, alone or after a CR.
    #[default]
    Newline,
    /// With a CR that no LF follows: to its terminal, LF means "one down" and nothing more.
    BareCr,
}

/// What a client has reported with telnet commands since it was last asked.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Telnet {
    /// It speaks telnet, which was not known before.
    pub met: bool,
    /// Timing marks came. A single answer, [`MARK_ANSWER`], covers all of them.
    pub mark: bool,
    /// The width of its window in columns.
    pub columns: Option<NonZero<u16>>,
}

/// The decoder of one connection.
#[derive(Debug, Default)]
pub struct LineDecoder {
    /// The unfinished line; after a line was handed out from here, that line, until the next call.
    partial: Vec<u8>,
    /// `partial` was handed out.
    delivered: bool,
    /// The rest of an over-long line is being dropped.
    discarding: bool,
    /// The last line ended with a CR, and nothing has come since.
    after_cr: bool,
    ending: Ending,
    command: Command,
    /// The first data bytes of a subnegotiation: the option, and what a width takes.
    sub: [u8; 3],
    /// Whether telnet commands have come.
    speaks_telnet: bool,
    told: Telnet,
}

/// Where in a telnet command the stream is (RFC 854, RFC 855).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Command {
    #[default]
    Data,
    /// After IAC.
    Begun,
    /// After WILL, WONT, DO or DONT, which is kept: one option byte follows.
    Negotiation(u8),
    /// Inside a subnegotiation: the data bytes so far, and the number of all bytes.
    Sub(u16, u16),
    /// After an IAC inside a subnegotiation.
    SubEscape(u16, u16),
}

impl LineDecoder {
    /// Takes input from the front of `input` up to the end of the next line, and gives that line
    /// and how this client's lines end. `None`: all of `input` was taken and no line is finished.
    pub fn next_line<'l, 'i: 'l>(&'l mut self, input: &mut &'i [u8]) -> Option<(Line<'l>, Ending)> {
        self.forget_delivered();
        while let Some(&first) = input.first() {
            if self.command != Command::Data {
                let (data, taken) = self.telnet_byte(first);
                *input = input.get(taken..).unwrap_or_default();
                if data && self.append(&[IAC]) {
                    return Some((Line::TooLong, self.ending));
                }
                continue;
            }
            if self.after_cr && first != IAC {
                self.after_cr = false;
                if first == b'\n' || first == 0 {
                    if first == b'\n' {
                        self.ending = Ending::Newline;
                    }
                    *input = input.get(1..).unwrap_or_default();
                    continue;
                }
            }
            let end = memchr3(b'\n', b'\r', IAC, input).unwrap_or(input.len());
            let (run, rest) = input.split_at_checked(end).unwrap_or((input, &[]));
            let ends = rest.first().is_some_and(|b| *b != IAC);
            if ends && self.partial.is_empty() && !self.discarding {
                // The usual case: the whole line is in the input, and is borrowed from there.
                *input = self.end_line(rest);
                let line =
                    if run.len() <= MAX_LINE_BYTES { Line::Complete(run) } else { Line::TooLong };
                return Some((line, self.ending));
            }
            *input = rest;
            if self.append(run) {
                return Some((Line::TooLong, self.ending));
            }
            if rest.is_empty() {
                return None;
            }
            if !ends {
                *input = rest.get(1..).unwrap_or_default();
                self.command = Command::Begun;
                continue;
            }
            *input = self.end_line(rest);
            if !std::mem::take(&mut self.discarding) {
                self.delivered = true;
                return Some((Line::Complete(&self.partial), self.ending));
            }
        }
        None
    }

    /// The end of input: the last line, if there is one without an ending.
    pub fn finish(&mut self) -> Option<Line<'_>> {
        self.forget_delivered();
        self.discarding = false;
        self.command = Command::Data;
        if self.partial.is_empty() {
            return None;
        }
        self.delivered = true;
        Some(Line::Complete(&self.partial))
    }

    /// Bytes kept of an unfinished line.
    #[must_use]
    pub fn held(&self) -> usize {
        self.partial.capacity()
    }

    /// What the client has reported with telnet commands since the last call, if anything.
    pub fn take_telnet(&mut self) -> Option<Telnet> {
        let told = std::mem::take(&mut self.told);
        (told != Telnet::default()).then_some(told)
    }

    fn forget_delivered(&mut self) {
        if self.delivered {
            self.delivered = false;
            self.partial = Vec::new();
        }
    }

    /// Takes the ending of a line from the front of `rest`, and gives what follows it. A CR with
    /// nothing after it yet counts as a bare CR until an LF comes.
    fn end_line<'i>(&mut self, rest: &'i [u8]) -> &'i [u8] {
        let newline = rest.first() == Some(&b'\n') || rest.get(1) == Some(&b'\n');
        self.ending = if newline { Ending::Newline } else { Ending::BareCr };
        self.after_cr = !newline;
        let taken = if rest.starts_with(b"\r\n") { 2 } else { 1 };
        rest.get(taken..).unwrap_or_default()
    }

    /// Adds to the unfinished line. True if that made it too long, which is reported once.
    fn append(&mut self, run: &[u8]) -> bool {
        if self.discarding {
            return false;
        }
        if self.partial.len() + run.len() > MAX_LINE_BYTES {
            self.partial = Vec::new();
            self.discarding = true;
            return true;
        }
        self.partial.extend_from_slice(run);
        false
    }

    /// One byte after an IAC. Gives whether that IAC was data after all, and how many bytes this
    /// step takes from the input (0 or 1).
    fn telnet_byte(&mut self, byte: u8) -> (bool, usize) {
        let mut step = (false, 1);
        let before = self.command;
        self.command = match (before, byte) {
            (Command::Begun, WILL..=DONT) => Command::Negotiation(byte),
            (Command::Begun, SB) => Command::Sub(0, 0),
            (Command::Begun, IAC) => {
                step = (true, 1);
                Command::Data
            }
            // Not telnet at all, only a byte that is not UTF-8: both stay, and the second is looked
            // at again as what it is, perhaps a newline.
            (Command::Begun, ..LOWEST_COMMAND) => {
                step = (true, 0);
                Command::Data
            }
            (Command::Sub(_, n), _) if n >= MAX_TELNET_SUBNEGOTIATION => Command::Data,
            (Command::Sub(data, n), IAC) => Command::SubEscape(data, n + 1),
            (Command::SubEscape(data, _), SE) => {
                if let ([NAWS, high, low], 5) = (self.sub, data) {
                    // It does not know them if they are none.
                    let columns = NonZero::new(u16::from_be_bytes([high, low]));
                    self.told.columns = columns.or(self.told.columns);
                }
                Command::Data
            }
            (Command::Sub(data, n) | Command::SubEscape(data, n), _) => {
                if let Some(kept) = self.sub.get_mut(usize::from(data)) {
                    *kept = byte;
                }
                Command::Sub(data + 1, n + 1)
            }
            (Command::Negotiation(verb), _) => {
                self.told.mark |= verb == DO && byte == TIMING_MARK;
                Command::Data
            }
            (Command::Begun | Command::Data, _) => Command::Data,
        };
        if step.0 {
            // An IAC that is data comes after the CR.
            self.after_cr = false;
        } else if !std::mem::replace(&mut self.speaks_telnet, true) {
            self.told.met = true;
        }
        step
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An owned line, `None` for one that is too long.
    type Owned = Option<Vec<u8>>;

    fn owned(line: Line<'_>) -> Owned {
        match line {
            Line::Complete(bytes) => Some(bytes.to_vec()),
            Line::TooLong => None,
        }
    }

    /// Every line of a stream that arrives in these pieces, the one before end of input included.
    fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Owned> {
        let mut decoder = LineDecoder::default();
        let mut lines = Vec::new();
        for mut piece in pieces {
            while let Some((line, _)) = decoder.next_line(&mut piece) {
                lines.push(owned(line));
            }
            assert!(decoder.partial.capacity() <= 2 * MAX_LINE_BYTES);
        }
        lines.extend(decoder.finish().map(owned));
        lines
    }

    fn text(lines: &[&str]) -> Vec<Owned> {
        lines.iter().map(|line| Some(line.as_bytes().to_vec())).collect()
    }

    #[test]
    fn line_endings() {
        let stream = b"a\r\nb\n\nc\rd\r\0e\r\0\rf\r\r\n\0g\n";
        let lines = text(&["a", "b", "", "c", "d", "e", "", "f", "", "\0g"]);
        assert_eq!(decode([&stream[..]]), lines);
        assert_eq!(decode(stream.chunks(1)), lines);
    }

    #[test]
    fn how_a_client_ends_its_lines_is_told_with_the_line() {
        let mut decoder = LineDecoder::default();
        let mut ending = |mut piece: &[u8]| {
            let ending = decoder.next_line(&mut piece).map(|(_, ending)| ending);
            assert!(ending.is_none() || decoder.next_line(&mut piece).is_none());
            ending
        };
        assert_eq!(ending(b"a\n"), Some(Ending::Newline));
        assert_eq!(ending(b"a\r\n"), Some(Ending::Newline));
        assert_eq!(ending(b"a\r\0"), Some(Ending::BareCr));
        // The LF is late.
        assert_eq!(ending(b"a\r"), Some(Ending::BareCr));
        assert_eq!(ending(b"\n"), None);
        assert_eq!(ending(&[IAC, 241]), None);
        assert_eq!(ending(b"a\n"), Some(Ending::Newline));
        assert_eq!(ending(b"abc"), None);
        assert_eq!(ending(b"\r"), Some(Ending::BareCr));
    }

    #[test]
    fn telnet_commands_may_stand_between_the_two_of_an_ending() {
        let stream = [&b"a\r"[..], &[IAC, 241], b"\nb\r", &[IAC, IAC], b"\nc\n"].concat();
        let lines =
            vec![Some(b"a".to_vec()), Some(b"b".to_vec()), Some(vec![IAC]), Some(b"c".to_vec())];
        assert_eq!(decode([&stream[..]]), lines);
        assert_eq!(decode(stream.chunks(1)), lines);
    }

    #[test]
    fn the_size_of_a_window_is_told() {
        let mut decoder = LineDecoder::default();
        let mut told = |mut piece: &[u8]| {
            assert_eq!(decoder.next_line(&mut piece), None);
            decoder.take_telnet()
        };
        assert_eq!(told(b"abc"), None);
        let met = Telnet { met: true, ..Telnet::default() };
        assert_eq!(told(&[IAC, WILL, NAWS]), Some(met));
        let size = |columns| Some(Telnet { columns: NonZero::new(columns), ..Telnet::default() });
        assert_eq!(told(&[IAC, SB, NAWS, 0, 0, 0, 0, IAC, SE]), None);
        assert_eq!(told(&[IAC, SB, NAWS, 0, 132, 0, 43, IAC, SE]), size(132));
        // A byte of 255 is doubled.
        assert_eq!(told(&[IAC, SB, NAWS, 1, IAC]), None);
        assert_eq!(told(&[IAC, 0, 24, IAC, SE]), size(511));
        for other in [&[NAWS, 0, 80][..], &[NAWS, 0, 80, 0, 24, 0], &[24, 0, 80, 0, 24]] {
            assert_eq!(told(&[&[IAC, SB], other, &[IAC, SE]].concat()), None);
        }
    }

    #[test]
    fn the_last_line_needs_no_newline() {
        assert_eq!(decode([&b"one\ntwo"[..]]), text(&["one", "two"]));
        assert_eq!(decode([&b"one\ntwo\r"[..]]), text(&["one", "two"]));
        assert_eq!(decode([&b"one\n"[..]]), text(&["one"]));
    }

    #[test]
    fn the_longest_line_fits_and_one_byte_more_does_not() {
        let fits = vec![b'x'; MAX_LINE_BYTES];
        for ending in ["\n", "\r\n", ""] {
            let line = [&fits, ending.as_bytes()].concat();
            assert_eq!(decode([&line[..]]), vec![Some(fits.clone())]);
            assert_eq!(decode(line.chunks(1)), vec![Some(fits.clone())]);
            let longer = [b"y", &line[..], b"\nnext\n"].concat();
            let next = Some(b"next".to_vec());
            let mut expected = vec![None, next];
            if ending.ends_with('\n') {
                expected.insert(1, Some(Vec::new()));
            }
            assert_eq!(decode([&longer[..]]), expected);
            assert_eq!(decode(longer.chunks(1)), expected);
        }
    }

    #[test]
    fn an_endless_line_is_said_once_and_keeps_nothing() {
        let mut decoder = LineDecoder::default();
        let piece = [b'z'; 4096];
        let mut said = 0;
        for _ in 0..1000 {
            let mut input = &piece[..];
            while decoder.next_line(&mut input).is_some() {
                said += 1;
            }
        }
        assert_eq!(said, 1);
        assert_eq!(decoder.partial.capacity(), 0);
        assert_eq!(decoder.finish(), None);
    }

    #[test]
    fn telnet_negotiation_is_consumed() {
        let stream = [
            &[IAC, 253, 1, IAC, 251, 34][..],
            b"ali",
            &[IAC, SB, 24, 0, b'x', b'\n', IAC, IAC, IAC, SE],
            b"ce",
            &[IAC, 241, IAC, 236],
            b"\r\n",
        ]
        .concat();
        assert_eq!(decode([&stream[..]]), text(&["alice"]));
        assert_eq!(decode(stream.chunks(1)), text(&["alice"]));
    }

    #[test]
    fn a_timing_mark_is_to_be_answered_and_nothing_else_is() {
        let mut decoder = LineDecoder::default();
        // As telnet sends it after Ctrl-C: interrupt process, do timing mark.
        let mut input = &[b'a', IAC, 244, IAC, DO, TIMING_MARK, b'\n'][..];
        let line = decoder.next_line(&mut input);
        assert_eq!(line, Some((Line::Complete(b"a"), Ending::Newline)));
        assert_eq!(decoder.take_telnet(), Some(Telnet { met: true, mark: true, columns: None }));
        let mut input = &[IAC, DO, 1, IAC, WILL, TIMING_MARK, IAC, DONT, TIMING_MARK][..];
        assert_eq!(decoder.next_line(&mut input), None);
        assert_eq!(decoder.take_telnet(), None);
    }

    #[test]
    fn an_iac_that_is_no_command_stays_as_a_byte() {
        assert_eq!(
            decode([&b"a\xff\nb\xffc\n"[..]]),
            vec![Some(b"a\xff".to_vec()), Some(b"b\xffc".to_vec())]
        );
        assert_eq!(decode([&b"\xff\xff\n"[..]]), vec![Some(b"\xff".to_vec())]);
    }

    #[test]
    fn a_subnegotiation_without_end_does_not_swallow_the_rest() {
        let mut stream = vec![IAC, SB];
        stream.extend(std::iter::repeat_n(b's', usize::from(MAX_TELNET_SUBNEGOTIATION) + 1));
        stream.extend(b"hello\n");
        assert_eq!(decode([&stream[..]]), text(&["hello"]));
    }

    #[test]
    fn the_bound_of_a_subnegotiation_counts_every_byte() {
        // Pairs of IAC and something else are inside, and count as two.
        let inside =
            [&[IAC, SB][..], &[IAC, b's'].repeat(usize::from(MAX_TELNET_SUBNEGOTIATION) / 2)]
                .concat();
        assert_eq!(decode([&[&inside[..], b"x", b"hello\n"].concat()[..]]), text(&["hello"]));
        let ended = [&inside[..inside.len() - 2], &[IAC, SE], b"hello\n"].concat();
        assert_eq!(decode([&ended[..]]), text(&["hello"]));
    }

    /// Streams made of what matters to the decoder, long runs included.
    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            8 => proptest::collection::vec(any::<u8>(), 0..20),
            8 => "[a-z \r\n\0]{0,20}".prop_map(String::into_bytes),
            4 => proptest::collection::vec(
                proptest::sample::select(vec![IAC, IAC, SB, SE, WILL, DONT, NAWS, 0, b'\n', b'\r', b'\r', b'x']),
                0..12
            ),
            2 => (MAX_LINE_BYTES - 3..MAX_LINE_BYTES + 4).prop_map(|n| vec![b'l'; n]),
        ];
        proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn splitting_does_not_matter(
            stream in stream(),
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..8),
        ) {
            let whole = decode([&stream[..]]);
            prop_assert_eq!(&decode(stream.chunks(1)), &whole);
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            cuts.push(stream.len());
            cuts.sort_unstable();
            let mut at = 0;
            let pieces: Vec<_> = cuts
                .into_iter()
                .map(|cut| &stream[std::mem::replace(&mut at, cut)..cut])
                .collect();
            prop_assert_eq!(decode(pieces), whole);
        }
    }
}
