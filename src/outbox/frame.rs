//! One finished piece of output.

use std::fmt;

/// A finished piece of output, its only escape sequences being colours (`ESC [ … m`). It can be
/// written to, cleared, and used again.
#[derive(Debug, Clone, Default)]
pub struct Frame {
    pub(super) bytes: Vec<u8>,
}

impl Frame {
    /// A frame of this.
    #[must_use]
    pub fn new(text: impl Into<Vec<u8>>) -> Self {
        Self { bytes: text.into() }
    }

    /// Its size in bytes, with colours.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Empties it and keeps its room.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Its text, with colours.
    #[cfg(test)]
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).expect("text")
    }
}

impl fmt::Write for Frame {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.bytes.extend_from_slice(text.as_bytes());
        Ok(())
    }
}
