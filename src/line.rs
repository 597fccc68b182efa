//! Bytes to lines: line endings, over-long lines in constant memory, telnet negotiation.
//!
//! Telnet commands are consumed and ignored but for one: DO TIMING-MARK, which telnet sends after an
//! interrupt, and until whose answer it shows nothing more (RFC 860). [`LineDecoder::take_mark`]
//! says that an answer, [`MARK_ANSWER`], is due.
//!
//! Owns the one unfinished line of a connection and nothing else. What is inside a line (UTF-8,
//! controls, escapes) is `text`'s business. However the input is cut into pieces, the lines are the
//! same; at most [`MAX_LINE_BYTES`] + 1 bytes are kept.

use crate::limits::{MAX_LINE_BYTES, MAX_TELNET_SUBNEGOTIATION};

/// Telnet's "interpret as command" (RFC 854). It never occurs in UTF-8.
const IAC: u8 = 255;
const SE: u8 = 240;
const SB: u8 = 250;
const WILL: u8 = 251;
const DO: u8 = 253;
const DONT: u8 = 254;
/// The option of a mark in the stream that is echoed when everything before it was handled (RFC 860).
const TIMING_MARK: u8 = 6;

/// What answers DO TIMING-MARK: WILL TIMING-MARK.
pub const MARK_ANSWER: &[u8] = &[IAC, WILL, TIMING_MARK];
/// The lowest telnet command: end of file (RFC 1184). A byte below it after an IAC is data.
const LOWEST_COMMAND: u8 = 236;

/// One line as a client sent it.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Line<'a> {
    /// The bytes of the line without its ending.
    Complete(&'a [u8]),
    /// The line is longer than [`MAX_LINE_BYTES`]. Said once; the rest of it is discarded.
    TooLong,
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
    telnet: Telnet,
    /// A timing mark came and was not answered.
    marked: bool,
}

/// Where in a telnet command the stream stands (RFC 854, RFC 855).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Telnet {
    #[default]
    Data,
    /// After IAC.
    Command,
    /// After WILL, WONT, DO or DONT, which is kept: one option byte follows.
    Negotiation(u8),
    /// Inside a subnegotiation, with the bytes skipped so far.
    Subnegotiation(usize),
    /// After an IAC inside a subnegotiation.
    SubnegotiationCommand(usize),
}

impl LineDecoder {
    /// Takes from the front of `input` up to the end of the next line and gives that line. `None`:
    /// all of `input` was taken and no line is finished.
    pub fn next_line<'l, 'i: 'l>(&'l mut self, input: &mut &'i [u8]) -> Option<Line<'l>> {
        self.forget_delivered();
        while let Some(&first) = input.first() {
            if self.telnet != Telnet::Data {
                let (data, taken) = self.telnet_byte(first);
                *input = input.get(taken..).unwrap_or_default();
                if data && self.append(&[IAC]) {
                    return Some(Line::TooLong);
                }
                continue;
            }
            let end = input.iter().position(|&b| b == b'\n' || b == IAC).unwrap_or(input.len());
            let (run, rest) = input.split_at_checked(end).unwrap_or((input, &[]));
            let newline = rest.first() == Some(&b'\n');
            if newline && self.partial.is_empty() && !self.discarding {
                // The usual case: the whole line stands in the input, and is lent from there.
                *input = rest.get(1..).unwrap_or_default();
                let line = without_cr(run);
                let fits = line.len() <= MAX_LINE_BYTES;
                return Some(if fits { Line::Complete(line) } else { Line::TooLong });
            }
            *input = rest;
            if self.append(run) {
                return Some(Line::TooLong);
            }
            if rest.is_empty() {
                return None;
            }
            *input = rest.get(1..).unwrap_or_default();
            if !newline {
                self.telnet = Telnet::Command;
            } else if self.discarding {
                self.discarding = false;
            } else {
                self.delivered = true;
                return Some(Line::Complete(without_cr(&self.partial)));
            }
        }
        None
    }

    /// The end of input: a last line that has no newline, if there is one.
    pub fn finish(&mut self) -> Option<Line<'_>> {
        self.forget_delivered();
        self.discarding = false;
        self.telnet = Telnet::Data;
        if self.partial.is_empty() {
            return None;
        }
        self.delivered = true;
        Some(Line::Complete(without_cr(&self.partial)))
    }

    /// Bytes kept of an unfinished line.
    #[must_use]
    pub fn held(&self) -> usize {
        self.partial.capacity()
    }

    /// Whether timing marks came since the last call. One answer does for all of them.
    pub fn take_mark(&mut self) -> bool {
        std::mem::take(&mut self.marked)
    }

    fn forget_delivered(&mut self) {
        if self.delivered {
            self.delivered = false;
            self.partial = Vec::new();
        }
    }

    /// Adds to the unfinished line. True if that made it too long, which is said once.
    fn append(&mut self, run: &[u8]) -> bool {
        if self.discarding {
            return false;
        }
        let len = self.partial.len() + run.len();
        // One byte more is bearable as long as it may be the `\r` of the line ending.
        let last = run.last().or(self.partial.last());
        if len > MAX_LINE_BYTES + 1 || (len == MAX_LINE_BYTES + 1 && last != Some(&b'\r')) {
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
        self.telnet = match (self.telnet, byte) {
            (Telnet::Command, WILL..=DONT) => Telnet::Negotiation(byte),
            (Telnet::Command, SB) => Telnet::Subnegotiation(0),
            (Telnet::Command, IAC) => {
                step = (true, 1);
                Telnet::Data
            }
            // Not telnet at all, only a byte that is not UTF-8: both stay, the second to be seen
            // again as what it is, perhaps a newline.
            (Telnet::Command, ..LOWEST_COMMAND) => {
                step = (true, 0);
                Telnet::Data
            }
            (Telnet::Subnegotiation(n), _) if n >= MAX_TELNET_SUBNEGOTIATION => Telnet::Data,
            (Telnet::Subnegotiation(n), IAC) => Telnet::SubnegotiationCommand(n + 1),
            (Telnet::SubnegotiationCommand(_), SE) => Telnet::Data,
            (Telnet::Subnegotiation(n) | Telnet::SubnegotiationCommand(n), _) => {
                Telnet::Subnegotiation(n + 1)
            }
            (Telnet::Negotiation(verb), _) => {
                self.marked |= verb == DO && byte == TIMING_MARK;
                Telnet::Data
            }
            (Telnet::Command | Telnet::Data, _) => Telnet::Data,
        };
        step
    }
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
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
            while let Some(line) = decoder.next_line(&mut piece) {
                lines.push(owned(line));
            }
            assert!(decoder.partial.capacity() <= 2 * (MAX_LINE_BYTES + 1));
        }
        lines.extend(decoder.finish().map(owned));
        lines
    }

    fn text(lines: &[&str]) -> Vec<Owned> {
        lines.iter().map(|line| Some(line.as_bytes().to_vec())).collect()
    }

    #[test]
    fn line_endings() {
        assert_eq!(decode([&b"a\r\nb\n\nc\rd\r\n"[..]]), text(&["a", "b", "", "c\rd"]));
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
        assert_eq!(decoder.next_line(&mut input), Some(Line::Complete(b"a")));
        assert!(decoder.take_mark() && !decoder.take_mark());
        let mut input = &[IAC, DO, 1, IAC, WILL, TIMING_MARK, IAC, DONT, TIMING_MARK][..];
        assert_eq!(decoder.next_line(&mut input), None);
        assert!(!decoder.take_mark());
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
        stream.extend(std::iter::repeat_n(b's', MAX_TELNET_SUBNEGOTIATION + 1));
        stream.extend(b"hello\n");
        assert_eq!(decode([&stream[..]]), text(&["hello"]));
    }

    #[test]
    fn the_bound_of_a_subnegotiation_counts_every_byte() {
        // Pairs of IAC and something else are inside, and count as two.
        let inside = [&[IAC, SB][..], &[IAC, b's'].repeat(MAX_TELNET_SUBNEGOTIATION / 2)].concat();
        assert_eq!(decode([&[&inside[..], b"x", b"hello\n"].concat()[..]]), text(&["hello"]));
        let ended = [&inside[..inside.len() - 2], &[IAC, SE], b"hello\n"].concat();
        assert_eq!(decode([&ended[..]]), text(&["hello"]));
    }

    /// Streams made of what matters to the decoder, long runs included.
    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            8 => proptest::collection::vec(any::<u8>(), 0..20),
            8 => "[a-z \r\n]{0,20}".prop_map(String::into_bytes),
            4 => proptest::collection::vec(
                proptest::sample::select(vec![IAC, IAC, SB, SE, WILL, DONT, 1, b'\n', b'\r', b'x']),
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
