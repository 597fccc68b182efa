//! What a web service answers: HTTP/1.1 responses, and the event streams in their bodies.
//!
//! Bytes in, values out: nothing here opens a connection, writes a request, knows the time or
//! waits. However a stream is cut into pieces, the result is the same. A peer's mistake is an error
//! value, repeated by every later call; what is kept of a stream is bounded by `limits`.

pub mod head;
pub mod response;
pub mod sse;

pub use head::Head;
pub use response::{HttpError, Part, ResponseDecoder};
pub use sse::{SseDecoder, SseError};

/// The stream cut at these places.
#[cfg(test)]
fn pieces<'a>(stream: &'a [u8], cuts: &[proptest::sample::Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    cuts.push(stream.len());
    cuts.sort_unstable();
    let mut at = 0;
    cuts.into_iter().map(|cut| &stream[std::mem::replace(&mut at, cut)..cut]).collect()
}
