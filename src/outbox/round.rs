//! What is being said just now, once for all who hear it.
//!
//! Knows how many clients hold pieces of it, and begins anew when nobody does.

use super::frame::Frame;
use crate::limits::ROUND_BYTES;

/// To the first column, and erase to the end of the line (ECMA-48 EL).
pub(super) const ERASE_LINE: &[u8] = b"\r\x1b[K";

/// A range of the round's text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Piece {
    pub(super) fn len(self) -> usize {
        self.end - self.start
    }
}

/// What was said since all had received everything: each frame once with its colours, behind an
/// eraser, and if somebody wants it so, once without.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) color: Vec<u8>,
    plain: Vec<u8>,
    /// Clients that hold pieces of it.
    pub(super) holders: usize,
}

impl Round {
    /// The eraser, which whatever is said first follows on directly.
    pub(super) const ERASER: Piece = Piece { start: 0, end: ERASE_LINE.len() };

    pub(super) fn new() -> Self {
        Self { color: ERASE_LINE.to_vec(), plain: Vec::new(), holders: 0 }
    }

    fn text(&self, color: bool) -> &Vec<u8> {
        if color { &self.color } else { &self.plain }
    }

    pub(super) fn bytes(&self, piece: Piece, color: bool) -> &[u8] {
        self.text(color).get(piece.start..piece.end).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.color.len() + self.plain.len()
    }

    pub(super) fn place(&mut self, frame: &Frame, color: bool) -> Piece {
        let start = self.text(color).len();
        if color {
            self.color.extend_from_slice(&frame.bytes);
        } else {
            append_without_colors(&mut self.plain, &frame.bytes);
        }
        Piece { start, end: self.text(color).len() }
    }

    pub(super) fn release(&mut self) {
        self.holders -= 1;
        if self.holders == 0 {
            self.color.truncate(ERASE_LINE.len());
            self.plain.clear();
            // The room for one busy turn is kept, that for a flood is not.
            self.color.shrink_to(ROUND_BYTES);
            self.plain.shrink_to(ROUND_BYTES);
        }
    }
}

/// What the bytes are without SGR sequences (ECMA-48 8.3.117).
fn append_without_colors(plain: &mut Vec<u8>, text: &[u8]) {
    let mut inside = false;
    for &byte in text {
        match byte {
            0x1b => inside = true,
            b'm' if inside => inside = false,
            _ if inside => {}
            _ => plain.push(byte),
        }
    }
}
