//! Messages over TCP: two bytes of length, then the message (RFC 1035, section 4.2.2).

/// Puts a message's length in front of it. `None` if two bytes cannot hold the length.
#[must_use]
pub fn tcp_framed(message: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(message.len()).ok()?;
    Some([&length.to_be_bytes(), message].concat())
}

/// Cuts a stream into messages, whatever pieces it arrives in. Keeps the bytes of one unfinished
/// message: at most 64 KiB, and its length.
#[derive(Debug, Default)]
pub struct TcpFramer {
    /// The length, and as much of the message after it as there is.
    partial: Vec<u8>,
}

impl TcpFramer {
    /// Takes bytes from the front of `input`, up to the end of a message, and gives that message;
    /// or all of them if no message ends there.
    pub fn next_message(&mut self, input: &mut &[u8]) -> Option<Vec<u8>> {
        self.fill(input, 2);
        let length = self.partial.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))?;
        let end = 2 + usize::from(length);
        self.fill(input, end);
        if self.partial.len() < end {
            return None;
        }
        let mut message = std::mem::take(&mut self.partial);
        message.drain(..2);
        Some(message)
    }

    /// Takes what is missing to reach `len` bytes, or as much of it as there is.
    fn fill(&mut self, input: &mut &[u8], len: usize) {
        let missing = len.saturating_sub(self.partial.len()).min(input.len());
        let (taken, rest) = input.split_at(missing);
        self.partial.extend_from_slice(taken);
        *input = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn messages_come_out_as_they_went_in_however_the_stream_is_cut(
            messages in vec(vec(any::<u8>(), 0..300), 0..8),
            cuts in vec(1usize..50, 1..20),
        ) {
            let stream: Vec<u8> = messages.iter().flat_map(|m| tcp_framed(m).unwrap()).collect();
            let mut framer = TcpFramer::default();
            let mut out = Vec::new();
            let mut rest = &stream[..];
            for cut in cuts.iter().cycle() {
                let (mut piece, tail) = rest.split_at((*cut).min(rest.len()));
                while let Some(message) = framer.next_message(&mut piece) {
                    out.push(message);
                }
                prop_assert!(piece.is_empty());
                rest = tail;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(out, messages);
            prop_assert!(framer.partial.is_empty());
        }

        #[test]
        fn never_more_than_one_message_is_kept(pieces in vec(vec(any::<u8>(), 0..4_000), 0..20)) {
            let mut framer = TcpFramer::default();
            for piece in &pieces {
                let mut piece = &piece[..];
                while framer.next_message(&mut piece).is_some() {}
                prop_assert!(piece.is_empty() && framer.partial.len() < 2 + 65_536);
            }
        }
    }

    #[test]
    fn the_longest_message_and_one_too_long() {
        let longest = vec![7; 65_535];
        let stream = tcp_framed(&longest).unwrap();
        let mut framer = TcpFramer::default();
        let mut input = &stream[..stream.len() - 1];
        assert_eq!(framer.next_message(&mut input), None);
        let mut input = &[7, 0][..];
        assert_eq!(framer.next_message(&mut input), Some(longest));
        assert_eq!(input, [0]);
        assert_eq!(tcp_framed(&vec![0; 65_536]), None);
    }
}
