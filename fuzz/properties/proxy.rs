//! The header of a proxy: however it is cut it says the same, what comes behind it is not lost, and
//! it comes to an end. The first byte says how long the pieces are.

use mio_chat::limits::MAX_PROXY_HEADER_BYTES;
use mio_chat::proxy::{BadHeader, Header, HeaderDecoder};

pub fn check(data: &[u8]) {
    let Some((&piece, stream)) = data.split_first() else { return };
    let whole = HeaderDecoder::default().receive(stream);
    let mut decoder = HeaderDecoder::default();
    let mut taken = 0;
    for piece in stream.chunks(usize::from(piece).max(1)) {
        taken += piece.len();
        match decoder.receive(piece) {
            Ok(None) => assert!(taken < MAX_PROXY_HEADER_BYTES),
            Ok(Some(Header { source, rest })) => {
                let behind = [&rest, &stream[taken..]].concat();
                return assert_eq!(whole, Ok(Some(Header { source, rest: behind })));
            }
            Err(BadHeader) => return assert_eq!(whole, Err(BadHeader)),
        }
    }
    assert_eq!(whole, Ok(None));
}
