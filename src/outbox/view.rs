//! How one client is shown what everybody is told: with colours or without, how wide, with which line
//! ends.
//!
//! Turns a frame into bytes. Knows nothing of queues.

use super::frame::{Frame, Text};
use crate::limits::DEFAULT_COLUMNS;
use crate::wrap;

/// What further rows of a text begin with where its first letter stands too far right.
const SHORT_LEAD: &str = "      ";

/// A way to be shown things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct View {
    /// Colours are on; without them there is no escape sequence at all, and no prompt.
    pub(super) color: bool,
    /// Lines end with CR LF.
    pub(super) crlf: bool,
    /// Columns that no row of a text exceeds; `None` breaks none.
    pub(super) columns: Option<u16>,
}

/// The text of a round that a view reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edition {
    /// That of all who have changed nothing.
    Color,
    /// That of all who have turned colours off, and no more.
    Plain,
    /// That of everybody else, where each view has passages of its own.
    Own,
}

/// The columns that somebody with so many is shown texts in: few widths are in use at once, since a
/// message is rendered for each.
fn rounded(columns: u16) -> u16 {
    let step = match columns {
        DEFAULT_COLUMNS..100 => return DEFAULT_COLUMNS,
        ..100 => 5,
        100..200 => 20,
        200.. => 100,
    };
    columns - columns % step
}

impl View {
    /// What everybody begins with.
    pub(super) const COLOR: Self =
        Self { color: true, crlf: false, columns: Some(DEFAULT_COLUMNS) };
    const PLAIN: Self = Self { color: false, ..Self::COLOR };

    /// The same view with texts in rows of at most so many columns, rounded down to one of a few widths.
    pub(super) fn with_columns(self, columns: Option<u16>) -> Self {
        Self { columns: columns.map(rounded), ..self }
    }

    /// Where this view's text stands.
    pub(super) fn edition(self) -> Edition {
        match self {
            Self::COLOR => Edition::Color,
            Self::PLAIN => Edition::Plain,
            _ => Edition::Own,
        }
    }

    /// Whether texts are broken into rows that are shorter than usual.
    pub(super) fn is_narrow(self) -> bool {
        self.columns.is_some_and(|columns| columns < DEFAULT_COLUMNS)
    }

    /// Appends a frame as this view shows it.
    pub(super) fn render(self, frame: &Frame, out: &mut Vec<u8>) {
        let mut from = 0;
        for text in &frame.texts {
            // A text never has more columns than bytes: most need not be counted.
            if self.columns.is_none_or(|columns| text.column + text.len() <= columns.into()) {
                continue;
            }
            self.put(frame.bytes.get(from..text.start).unwrap_or_default(), out);
            self.put_rows(frame, text, out);
            from = text.end;
        }
        self.put(frame.bytes.get(from..).unwrap_or_default(), out);
    }

    /// Appends bytes that are not to be broken.
    fn put(self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.color && !self.crlf {
            return out.extend_from_slice(bytes);
        }
        let mut in_sgr = false;
        for &byte in bytes {
            match byte {
                // SGR sequences (ECMA-48, 8.3.117) are the only ones that a frame holds.
                0x1b if !self.color => in_sgr = true,
                b'm' if in_sgr => in_sgr = false,
                _ if in_sgr => {}
                b'\n' if self.crlf => out.extend_from_slice(b"\r\n"),
                _ => out.push(byte),
            }
        }
    }

    /// Appends a text in rows, the further ones below its first letter.
    fn put_rows(self, frame: &Frame, text: &Text, out: &mut Vec<u8>) {
        let columns = usize::from(self.columns.unwrap_or(u16::MAX));
        let room = columns.saturating_sub(text.column);
        // No more than a third of a row is given away.
        let too_far = room < 2 * text.column && text.column > SHORT_LEAD.len();
        let (lead, lead_columns) =
            if too_far { (SHORT_LEAD, SHORT_LEAD.len()) } else { (text.lead, text.column) };
        let words = frame.bytes.get(text.start..text.end).unwrap_or_default();
        let words = std::str::from_utf8(words).unwrap_or_default();
        for (n, row) in wrap::rows(words, room, columns.saturating_sub(lead_columns)).enumerate() {
            if n > 0 {
                self.put(b"\n", out);
                self.put(lead.as_bytes(), out);
            }
            self.put(row.as_bytes(), out);
        }
    }
}
