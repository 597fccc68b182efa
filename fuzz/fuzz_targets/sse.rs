//! The event stream decoder: however the input is cut, the events and stray lines are the same.
//!
//! The first byte says how long the pieces are; the rest is the stream.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mio_chat::http::{SseDecoder, SseError};
use mio_chat::limits::{MAX_SSE_EVENT_BYTES, MAX_SSE_STRAY_BYTES};

fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<String>, Option<SseError>, String) {
    let mut decoder = SseDecoder::default();
    let mut events = Vec::new();
    for mut piece in pieces {
        loop {
            match decoder.next_event(&mut piece) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => return (events, Some(error), decoder.stray().to_owned()),
            }
        }
        assert!(piece.is_empty());
    }
    let error = match decoder.finish() {
        Ok(event) => {
            events.extend(event);
            None
        }
        Err(error) => Some(error),
    };
    // A byte that is not UTF-8 becomes a character of three.
    assert!(events.iter().all(|event| event.len() <= 3 * MAX_SSE_EVENT_BYTES));
    assert!(decoder.stray().len() <= MAX_SSE_STRAY_BYTES);
    (events, error, decoder.stray().to_owned())
}

fuzz_target!(|data: &[u8]| {
    let Some((&cut, stream)) = data.split_first() else { return };
    let whole = decode(std::iter::once(stream));
    let pieces = decode(stream.chunks(usize::from(cut).max(1)));
    assert_eq!(whole, pieces);
});
