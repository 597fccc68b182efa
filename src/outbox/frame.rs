//! One finished piece of output.

use std::fmt;

/// A finished piece of output, its only escape sequences being colours (`ESC [ … m`). It knows where
/// people's words stand in it, which each client is shown in rows of its own width. It can be written
/// to, cleared, and used again.
#[derive(Debug, Clone, Default)]
pub struct Frame {
    pub(super) bytes: Vec<u8>,
    /// In the order in which they stand.
    pub(super) texts: Vec<Text>,
}

/// A text in a frame that may be broken into rows.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub(super) start: usize,
    pub(super) end: usize,
    /// The columns before its first letter.
    pub(super) column: usize,
    /// What its further rows begin with, as wide as that.
    pub(super) lead: &'static str,
}

impl Text {
    /// Its bytes.
    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }
}

/// More blanks than stand before any text.
const BLANKS: &str =
    "                                                                                ";

impl Frame {
    /// A frame of this.
    #[must_use]
    pub fn new(text: impl Into<Vec<u8>>) -> Self {
        Self { bytes: text.into(), texts: Vec::new() }
    }

    /// An empty frame with room for so many bytes, and for texts.
    #[must_use]
    pub fn with_capacity(bytes: usize, texts: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), texts: Vec::with_capacity(texts) }
    }

    /// Appends what is not to be broken.
    pub fn push_str(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// Appends a text that begins behind so many columns of its row (at most 80): where it is too long
    /// for a client's width it goes on below its first letter.
    pub fn text(&mut self, column: usize, text: &str) {
        self.text_behind(column, BLANKS.get(..column).unwrap_or(BLANKS), text);
    }

    /// The same for a text whose further rows begin with `lead`, which is as wide as what stands before
    /// the first one.
    pub fn text_behind(&mut self, column: usize, lead: &'static str, text: &str) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(text.as_bytes());
        self.texts.push(Text { start, end: self.bytes.len(), column, lead });
    }

    /// Its size in bytes, with colours, before anything is broken into rows.
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
        self.texts.clear();
    }

    /// Its text, with colours.
    #[cfg(test)]
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes).expect("text")
    }
}

impl fmt::Write for Frame {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.bytes.extend_from_slice(text.as_bytes());
        Ok(())
    }
}
