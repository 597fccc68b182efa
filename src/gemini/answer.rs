//! From the pieces of an answer, as they arrive, to lines for terminals.
//!
//! A line of the answer is read when it is complete: cleaned, reduced from Markdown to plain text,
//! wrapped, and queued. However the text is cut into pieces, the lines are the same. No line can
//! control a terminal or is wider than [`ANSWER_COLUMNS`].
//!
//! Takes at most [`ANSWER_BYTES`] and gives at most [`ANSWER_LINES`]; anything beyond that is
//! dropped, and [`Answer::is_cut`] says so.

use std::collections::VecDeque;

use super::markdown::{Block, Reader};
use super::wrap;
use crate::limits::{ANSWER_BYTES, ANSWER_COLUMNS, ANSWER_LINES};
use crate::text;

/// One answer as it arrives.
#[derive(Debug, Default)]
pub struct Answer {
    /// The line that is not complete yet.
    partial: String,
    /// Bytes taken so far.
    taken: usize,
    /// The last character was a carriage return: a newline right after it belongs to it.
    after_return: bool,
    markdown: Reader,
    /// Empty lines to be added if another line follows.
    blank: usize,
    lines: VecDeque<String>,
    /// Lines queued so far.
    made: usize,
    text: String,
    cut: bool,
    finished: bool,
}

impl Answer {
    /// Takes the next piece of text, which may end anywhere. After [`Answer::finish`] it is dropped.
    pub fn push(&mut self, piece: &str) {
        for c in piece.chars() {
            if self.finished {
                return;
            }
            self.take(c);
        }
    }

    /// The next line, complete and clean, without its ending.
    pub fn next_line(&mut self) -> Option<String> {
        self.lines.pop_front()
    }

    /// There is no more text: the last line is complete. Lines in the queue stay there.
    pub fn finish(&mut self) {
        if !self.finished {
            self.end_line();
            self.finished = true;
        }
    }

    /// Whether something was dropped because the answer is too long. Nothing more will be taken.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// All lines so far, including those not yet handed out, separated by newlines: what a
    /// [`Conversation`](super::Conversation) keeps. Empty if there was nothing to show.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    fn take(&mut self, c: char) {
        let joined = c == '\n' && self.after_return;
        self.after_return = c == '\r';
        if self.taken + c.len_utf8() > ANSWER_BYTES {
            // White space lost at the end of an answer is no loss.
            if !c.is_whitespace() {
                self.finish();
                self.cut = true;
            }
            return;
        }
        self.taken += c.len_utf8();
        match c {
            '\n' if joined => {}
            // What Unicode calls a mandatory break (UAX #14: BK, CR, LF, NL).
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => self.end_line(),
            _ => self.partial.push(c),
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.partial);
        // Code keeps its shape: cleaning would turn a tab into a single space.
        let line = if self.markdown.in_code() { line.replace('\t', "    ") } else { line };
        match self.markdown.read(&text::clean(line.as_bytes())) {
            Block::Nothing => {}
            Block::Blank if self.markdown.in_code() => self.blank += 1,
            Block::Blank => self.blank = self.blank.max(1),
            Block::Code(code) => self.queue(wrap::code(&code, ANSWER_COLUMNS)),
            Block::Text(prefix, rest) => {
                // Where a mark was removed, more may now follow a character than is allowed.
                let rest = text::clean(rest.as_bytes());
                self.queue(wrap::words(&prefix, rest.trim(), ANSWER_COLUMNS));
            }
        }
    }

    /// Queues the rows of one line, after any empty lines that are due.
    fn queue(&mut self, rows: Vec<String>) {
        let blank = std::mem::take(&mut self.blank);
        let blank = if self.made == 0 { 0 } else { blank };
        for row in std::iter::repeat_n(String::new(), blank).chain(rows) {
            if self.made == ANSWER_LINES {
                self.cut = true;
                self.finished = true;
                return;
            }
            let row = row.trim_end();
            if self.made > 0 {
                self.text.push('\n');
            }
            self.text.push_str(row);
            self.lines.push_back(row.to_owned());
            self.made += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines_of(pieces: &[&str]) -> (Vec<String>, bool) {
        let mut answer = Answer::default();
        pieces.iter().for_each(|piece| answer.push(piece));
        answer.finish();
        let lines: Vec<_> = std::iter::from_fn(|| answer.next_line()).collect();
        assert_eq!(lines.join("\n"), answer.text());
        (lines, answer.is_cut())
    }

    fn lines(text: &str) -> Vec<String> {
        lines_of(&[text]).0
    }

    #[test]
    fn a_line_is_handed_out_when_it_is_complete() {
        let mut answer = Answer::default();
        answer.push("**Hel");
        assert_eq!(answer.next_line(), None);
        answer.push("lo**\nyou");
        assert_eq!(answer.next_line().as_deref(), Some("Hello"));
        assert_eq!(answer.next_line(), None);
        answer.finish();
        assert_eq!(answer.next_line().as_deref(), Some("you"));
        answer.push("late\n");
        answer.finish();
        assert_eq!((answer.next_line(), answer.text()), (None, "Hello\nyou"));
    }

    #[test]
    fn every_kind_of_line_break_is_one() {
        let text = "a\nb\r\nc\rd\u{2028}e\u{2029}f\u{c}g\u{b}h\u{85}i\r\n\r\nj";
        assert_eq!(lines(text), ["a", "b", "c", "d", "e", "f", "g", "h", "i", "", "j"]);
    }

    #[test]
    fn empty_lines_are_collapsed_but_in_code() {
        assert_eq!(lines("\n\n a\n\n---\n\nb\n\n\n"), [" a", "", "b"]);
        assert_eq!(lines("a\n```py\nb\n\n\nc\n\n```\n\nd"), ["a", "b", "", "", "c", "", "d"]);
        assert!(lines(" \n```\n```\n").is_empty());
    }

    #[test]
    fn controls_and_escapes_go() {
        assert_eq!(lines("\u{1b}[2Ja\u{7}\u{202e}b\u{1b}]0;t\nitle\u{1b}[0m"), ["ab0;t", "itle"]);
        assert_eq!(lines("```\n\tif x:\n```"), ["    if x:"]);
        let marks = "\u{301}".repeat(4);
        assert_eq!(lines(&format!("**a{marks}**{marks}")), [format!("a{marks}")]);
    }

    #[test]
    fn long_lines_are_wrapped() {
        let out = lines(&format!("- {}", "word ".repeat(40)));
        assert!(out.len() == 3 && out[0].starts_with("- word") && out[1].starts_with("  word"));
        assert!(out.iter().all(|line| text::width(line) <= ANSWER_COLUMNS));
        let out = lines(&format!("```\n{}\n```", "x".repeat(ANSWER_COLUMNS * 2)));
        assert_eq!(out, ["x".repeat(ANSWER_COLUMNS), "x".repeat(ANSWER_COLUMNS)]);
    }

    #[test]
    fn an_answer_is_cut_at_its_limits_and_not_before() {
        let full = "a\n".repeat(ANSWER_LINES);
        let (shown, cut) = lines_of(&[&full, "\n\n"]);
        assert_eq!((shown.len(), cut), (ANSWER_LINES, false));
        let (shown, cut) = lines_of(&[&full, "b"]);
        assert_eq!((shown.len(), cut), (ANSWER_LINES, true));

        let full = "éééé ".repeat(ANSWER_BYTES / 9);
        assert!(!lines_of(&[&full, "xy \n "]).1);
        let (shown, cut) = lines_of(&[&full, "é", "é\nmore"]);
        assert!(cut && shown.last().is_some_and(|line| line.ends_with("éééé é")));

        let mut answer = Answer::default();
        (0..10_000).for_each(|_| answer.push(&"\u{1b}[31m \u{200b}".repeat(50)));
        answer.push("y");
        assert!(answer.is_cut() && answer.partial.capacity() <= 2 * ANSWER_BYTES);
    }

    fn forbidden(c: char) -> bool {
        c.is_control()
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200b}' | '\u{200c}' | '\u{feff}')
    }

    proptest! {
        #[test]
        fn lines_are_clean_bounded_and_the_same_however_the_text_is_cut(
            parts in proptest::collection::vec(prop_oneof![
                any::<String>(),
                "[a-z *_`#\\[\\]()\n-]{0,30}",
                "(```[a-z]{0,3}\n|~~~\n|\r\n|\r|\n\n|- |\\*\\*|\t|\u{2028})",
                "[\u{1b}\u{9b}\u{9d}\\[\\]0-9m\u{7}\u{301}\u{200d}\u{fe0f}\u{202e}a]{1,9}",
                "[日本語❤👍🏽é ]{0,90}",
                "[a-z]{60,90}",
            ], 0..20),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let whole = parts.concat();
            let chars: Vec<char> = whole.chars().collect();
            let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(chars.len() + 1)).collect();
            at.extend([0, chars.len()]);
            at.sort_unstable();
            let pieces: Vec<String> =
                at.windows(2).map(|w| chars[w[0]..w[1]].iter().collect()).collect();
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let (lines, cut) = lines_of(&[&whole]);
            prop_assert_eq!(lines_of(&pieces), (lines.clone(), cut));
            prop_assert!(lines.len() <= ANSWER_LINES);
            for line in lines {
                prop_assert!(!line.contains(forbidden), "{:?}", line);
                prop_assert_eq!(&*text::clean(line.as_bytes()), &line);
                prop_assert!(text::width(&line) <= ANSWER_COLUMNS, "{:?}", line);
            }
        }
    }
}
