//! The line decoder: however the input is cut, the lines are the same, and none is too long.
//!
//! The first byte says how long the pieces are; the rest is the stream.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mio_chat::limits::MAX_LINE_BYTES;
use mio_chat::line::{Line, LineDecoder};

fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Option<Vec<u8>>> {
    let mut decoder = LineDecoder::default();
    let mut lines = Vec::new();
    let mut keep = |line: Line<'_>| match line {
        Line::Complete(bytes) => {
            assert!(bytes.len() <= MAX_LINE_BYTES && !bytes.contains(&b'\n'));
            lines.push(Some(bytes.to_vec()));
        }
        Line::TooLong => lines.push(None),
    };
    for mut piece in pieces {
        while let Some(line) = decoder.next_line(&mut piece) {
            keep(line);
        }
        assert!(piece.is_empty());
    }
    if let Some(line) = decoder.finish() {
        keep(line);
    }
    lines
}

fuzz_target!(|data: &[u8]| {
    let Some((&cut, stream)) = data.split_first() else { return };
    let whole = decode(std::iter::once(stream));
    let pieces = decode(stream.chunks(usize::from(cut).max(1)));
    assert_eq!(whole, pieces);
});
