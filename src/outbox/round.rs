//! What is being said just now, once for all who hear it.
//!
//! Knows how many clients hold pieces of it, and begins anew when nobody does.

use super::frame::Frame;
use super::view::{Edition, View};
use crate::limits::ROUND_BYTES;

/// To the first column, and erase to the end of the line (ECMA-48 EL).
pub(super) const ERASE_LINE: &[u8] = b"\r\x1b[K";

/// A range of the text that its holder reads.
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

/// What was said since all had received everything: each frame once as most see it, and if somebody
/// wants it otherwise, once for each way in which it is wanted.
#[derive(Debug)]
pub(super) struct Round {
    /// Behind an eraser.
    pub(super) color: Vec<u8>,
    plain: Vec<u8>,
    /// Behind an eraser.
    own: Vec<u8>,
    /// Clients that hold pieces of it.
    pub(super) holders: usize,
}

impl Round {
    /// The eraser, which whatever is said first follows on directly.
    pub(super) const ERASER: Piece = Piece { start: 0, end: ERASE_LINE.len() };

    pub(super) fn new() -> Self {
        Self { color: ERASE_LINE.to_vec(), plain: Vec::new(), own: ERASE_LINE.to_vec(), holders: 0 }
    }

    pub(super) fn bytes(&self, piece: Piece, view: View) -> &[u8] {
        let text = match view.edition() {
            Edition::Color => &self.color,
            Edition::Plain => &self.plain,
            Edition::Own => &self.own,
        };
        text.get(piece.start..piece.end).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.color.len() + self.plain.len() + self.own.len()
    }

    pub(super) fn place(&mut self, frame: &Frame, view: View) -> Piece {
        let text = match view.edition() {
            Edition::Color => &mut self.color,
            Edition::Plain => &mut self.plain,
            Edition::Own => &mut self.own,
        };
        let start = text.len();
        view.render(frame, text);
        Piece { start, end: text.len() }
    }

    pub(super) fn release(&mut self) {
        self.holders -= 1;
        if self.holders == 0 {
            self.color.truncate(ERASE_LINE.len());
            self.plain.clear();
            self.own.truncate(ERASE_LINE.len());
            // The room for one busy turn is kept, that for a flood is not.
            for text in [&mut self.color, &mut self.plain, &mut self.own] {
                text.shrink_to(ROUND_BYTES);
            }
        }
    }
}
