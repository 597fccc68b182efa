//! The line decoder: however the input is cut, the lines are the same, and they are those that a
//! decoder finds which sees the whole stream at once and takes its time.
//!
//! The first byte says how long the pieces are, and how often the rest is repeated; the rest is the
//! stream.

use mio_chat::limits::{MAX_LINE_BYTES, MAX_TELNET_SUBNEGOTIATION};
use mio_chat::line::{Line, LineDecoder};

/// The lines, `None` for one that is too long, and whether a timing mark came.
type Decoded = (Vec<Option<Vec<u8>>>, bool);

pub fn check(data: &[u8]) {
    let Some((&first, stream)) = data.split_first() else { return };
    let stream = stream.repeat(if first < 0xf0 { 1 } else { 40 });
    let piece = usize::from(first % 0xf0).max(1);
    let expected = reference(&stream);
    assert_eq!(decode(std::iter::once(&stream[..])), expected);
    assert_eq!(decode(stream.chunks(piece)), expected);
    assert_eq!(decode(stream.split_inclusive(|b| matches!(b, b'\r' | 0xff))), expected);
}

fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Decoded {
    let mut decoder = LineDecoder::default();
    let mut lines = Vec::new();
    let mut keep = |line: Line<'_>| match line {
        Line::Complete(bytes) => {
            assert!(
                bytes.len() <= MAX_LINE_BYTES && !bytes.contains(&b'\n') && !bytes.contains(&b'\r')
            );
            lines.push(Some(bytes.to_vec()));
        }
        Line::TooLong => lines.push(None),
    };
    let mut marked = false;
    for mut piece in pieces {
        while let Some((line, _)) = decoder.next_line(&mut piece) {
            keep(line);
        }
        assert!(piece.is_empty());
        marked |= decoder.take_telnet().is_some_and(|told| told.mark);
        assert_eq!(decoder.take_telnet(), None);
    }
    if let Some(line) = decoder.finish() {
        keep(line);
    }
    assert_eq!(decoder.finish(), None);
    (lines, marked)
}

fn reference(stream: &[u8]) -> Decoded {
    let (stream, marked) = without_telnet(stream);
    let stream = with_newlines(&stream);
    let mut lines: Vec<_> = stream.split(|b| *b == b'\n').collect();
    if lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    let line = |line: &&[u8]| (line.len() <= MAX_LINE_BYTES).then(|| line.to_vec());
    (lines.iter().map(line).collect(), marked)
}

/// CR LF, CR NUL and CR alone as LF.
fn with_newlines(mut rest: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte == b'\r' {
            data.push(b'\n');
            rest = rest.strip_prefix(b"\n").or(rest.strip_prefix(b"\0")).unwrap_or(rest);
        } else {
            data.push(byte);
        }
    }
    data
}

/// What is left without telnet commands (RFC 854), and whether DO TIMING-MARK is one of them.
fn without_telnet(mut rest: &[u8]) -> (Vec<u8>, bool) {
    const IAC: u8 = 255;
    let mut data = Vec::new();
    let mut marked = false;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != IAC {
            data.push(byte);
            continue;
        }
        match rest {
            // An escaped IAC.
            [IAC, behind @ ..] => {
                data.push(IAC);
                rest = behind;
            }
            // One that begins no command.
            [0..=235, ..] => data.push(IAC),
            [verb @ 251..=254, behind @ ..] => {
                marked |= *verb == 253 && behind.first() == Some(&6);
                rest = behind.get(1..).unwrap_or_default();
            }
            [250, inside @ ..] => rest = behind_subnegotiation(inside),
            [_, behind @ ..] => rest = behind,
            [] => {}
        }
    }
    (data, marked)
}

/// What follows IAC SE, or the byte that is one too many.
fn behind_subnegotiation(inside: &[u8]) -> &[u8] {
    let mut at = 0;
    loop {
        at += match inside.get(at..) {
            Some([_, behind @ ..]) if at >= usize::from(MAX_TELNET_SUBNEGOTIATION) => {
                return behind;
            }
            Some([255, 240, behind @ ..]) => return behind,
            Some([255, _, ..]) => 2,
            Some([_, ..]) => 1,
            _ => return &[],
        }
    }
}
