//! How one client is shown what everybody is told: with colours or without, how wide, with which line
//! ends.
//!
//! Turns a frame into bytes. Knows nothing of queues.

use super::frame::{Frame, Text};
use crate::limits::DEFAULT_COLUMNS;
use crate::wrap::{self, LongWord};

/// What further rows begin with of a line of the server's, and of a text whose first letter stands too
/// far right.
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
            let before = frame.bytes.get(from..text.start).unwrap_or_default();
            let column = self.put_lines(before, out).unwrap_or(text.column);
            self.put_rows(frame, text, column, out);
            from = text.end;
        }
        self.put_lines(frame.bytes.get(from..).unwrap_or_default(), out);
    }

    /// Appends what is the server's own: on a narrow screen in rows, too, so that no name reaches its
    /// left edge. Gives the columns of the last line if that had to be broken.
    fn put_lines(self, bytes: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        let columns = self.columns.filter(|_| self.is_narrow());
        let Some((columns, text)) = columns.zip(std::str::from_utf8(bytes).ok()) else {
            self.put(bytes, out);
            return None;
        };
        text.split_inclusive('\n').fold(None, |_, line| self.put_line(line, columns.into(), out))
    }

    /// Appends a line in rows of so many columns, the further ones behind blanks. Gives the columns of
    /// the last one if there are any.
    fn put_line(self, line: &str, columns: usize, out: &mut Vec<u8>) -> Option<usize> {
        if line.len() <= columns {
            self.put(line.as_bytes(), out);
            return None;
        }
        // As it is seen: without colours, whose place is between the same letters afterwards.
        let mut seen = Vec::with_capacity(line.len());
        Self { color: false, crlf: false, ..self }.put(line.as_bytes(), &mut seen);
        let seen = String::from_utf8(seen).unwrap_or_default();
        let words = seen.trim_end();
        let (first, rest) = (columns, columns - SHORT_LEAD.len());
        let mut rows = wrap::ranges(words, first, rest, LongWord::Breaks).peekable();
        let mut row = rows.next().unwrap_or_default();
        // A blank at the end may be one too many.
        if rows.peek().is_none() && wrap::width(seen.trim_end_matches('\n')) <= columns {
            self.put(line.as_bytes(), out);
            return None;
        }
        let mut broken = Vec::with_capacity(2 * line.len());
        let mut column = wrap::width(words.get(row.clone()).unwrap_or_default());
        let (mut at, mut in_sgr) = (0, false);
        for &byte in line.as_bytes() {
            let is_seen = !in_sgr && byte != 0x1b && byte != b'\n';
            in_sgr = byte == 0x1b || in_sgr && byte != b'm';
            if is_seen {
                while let Some(next) = rows.next_if(|next| next.start <= at) {
                    column =
                        SHORT_LEAD.len() + wrap::width(words.get(next.clone()).unwrap_or_default());
                    broken.push(b'\n');
                    broken.extend_from_slice(SHORT_LEAD.as_bytes());
                    row = next;
                }
                at += 1;
                // Blanks between rows are nowhere; those at the end are, if there is room.
                let is_blank = at > row.end;
                if is_blank && (at <= words.len() || column == columns) {
                    continue;
                }
                column += usize::from(is_blank);
            }
            broken.push(byte);
        }
        self.put(&broken, out);
        Some(column)
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

    /// Appends a text that begins behind so many columns in rows, the further ones below its first
    /// letter.
    fn put_rows(self, frame: &Frame, text: &Text, column: usize, out: &mut Vec<u8>) {
        let columns = usize::from(self.columns.unwrap_or(u16::MAX));
        let room = columns.saturating_sub(column);
        // No more than a third of a row is given away. Below what had to be broken all is blanks.
        let too_far = room < 2 * column && column > SHORT_LEAD.len() || column != text.column;
        let (lead, lead_columns) =
            if too_far { (SHORT_LEAD, SHORT_LEAD.len()) } else { (text.lead, text.column) };
        let words = frame.bytes.get(text.start..text.end).unwrap_or_default();
        let words = std::str::from_utf8(words).unwrap_or_default();
        let rest = columns.saturating_sub(lead_columns);
        for (n, row) in wrap::rows(words, room, rest, LongWord::Stays).enumerate() {
            if n > 0 {
                self.put(b"\n", out);
                self.put(lead.as_bytes(), out);
            }
            self.put(row.as_bytes(), out);
        }
    }
}
