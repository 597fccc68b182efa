//! What text may contain, and how many columns it takes.
//!
//! Everything that one person types and another sees goes through [`clean`]: names, messages,
//! descriptions, prompts. What comes out can neither control a terminal nor reorder or overprint
//! what is around it. Before that the editing keys have done their work ([`edited`]). Owns no state
//! and no layout.

mod edit;
mod escape;

use std::borrow::Cow;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

pub use edit::edited;

use crate::limits::{MAX_BLANKS, MAX_LEADING_BLANKS, MAX_MARKS_PER_BASE};

/// One line of what somebody typed, as text: without control characters, escape sequences
/// (ECMA-48), bidirectional controls, line separators and zero-width characters; a tab is a space,
/// at the front four; bytes that are not UTF-8, and characters that nobody has defined, are U+FFFD;
/// what draws nothing is a blank; few marks follow a base character, and few blanks another. Cleaning
/// twice changes nothing.
#[must_use]
pub fn clean(line: &[u8]) -> Cow<'_, str> {
    // More blanks than may stand anywhere, whose number has to be looked at.
    const MANY: &str = "    ";
    if is_printable_ascii(line)
        && let Ok(text) = std::str::from_utf8(line)
        && !text.contains(MANY)
    {
        return Cow::Borrowed(text);
    }
    let text = String::from_utf8_lossy(line);
    let mut cleaner = Cleaner { out: String::with_capacity(text.len()), ..Cleaner::default() };
    let mut rest = &*text;
    while !rest.is_empty() {
        rest = rest.get(cleaner.step(rest)..).unwrap_or_default();
    }
    Cow::Owned(cleaner.out)
}

/// A typed line without the blanks at its front, of whatever kind. A password is taken as it was typed,
/// out of a line that is text: where it begins is decided by what people see of the line.
#[must_use]
pub fn behind_blanks(typed: &[u8]) -> &[u8] {
    let text = String::from_utf8_lossy(typed);
    let mut cleaner = Cleaner::default();
    let (mut at, mut end) = (0, 0);
    while !cleaner.begun && at < text.len() {
        let blanks = cleaner.blanks;
        at += cleaner.step(text.get(at..).unwrap_or_default());
        end = if cleaner.blanks > blanks { at } else { end };
    }
    typed.get(typed_bytes(typed, end)..).unwrap_or_default()
}

/// A typed line up to the end of its first word, as people see it, and behind the one blank that
/// follows.
#[must_use]
pub fn split_word(typed: &[u8]) -> (&[u8], &[u8]) {
    let text = String::from_utf8_lossy(typed);
    let mut cleaner = Cleaner::default();
    let (mut at, mut end) = (0, 0);
    while !(cleaner.begun && cleaner.blanks > 0) {
        if at >= text.len() {
            return (typed, &[]);
        }
        end = at;
        at += cleaner.step(text.get(at..).unwrap_or_default());
    }
    let (word, _) = typed.split_at_checked(typed_bytes(typed, end)).unwrap_or_default();
    (word, typed.get(typed_bytes(typed, at)..).unwrap_or_default())
}

/// How many bytes of a typed line became the first `text_bytes` of its text, where each U+FFFD stands for
/// one to three that are not UTF-8.
fn typed_bytes(typed: &[u8], text_bytes: usize) -> usize {
    let (mut typed_bytes, mut left) = (0, text_bytes);
    for chunk in typed.utf8_chunks() {
        if left <= chunk.valid().len() {
            return typed_bytes + left;
        }
        left = left.saturating_sub(chunk.valid().len() + char::REPLACEMENT_CHARACTER.len_utf8());
        typed_bytes += chunk.valid().len() + chunk.invalid().len();
    }
    typed_bytes
}

/// Columns that `text` takes on a terminal.
#[must_use]
pub fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// Characters as the limits count them: Unicode scalar values.
#[must_use]
pub fn chars(text: &str) -> usize {
    text.chars().count()
}

/// Whether all bytes are printable ASCII. Most lines are: eight bytes are looked at in one step. A
/// subtraction borrows into the highest bit of a byte that is less than a space, or DEL.
fn is_printable_ascii(line: &[u8]) -> bool {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let mut words = line.chunks_exact(8);
    let mut high = 0;
    for word in &mut words {
        let word = word.try_into().map_or(u64::MAX, u64::from_le_bytes);
        let is_del = (word ^ (EACH * 0x7f)).wrapping_sub(EACH);
        high |= word | word.wrapping_sub(EACH * 0x20) | is_del;
    }
    high & (EACH * 0x80) == 0 && words.remainder().iter().all(|b| matches!(b, b' '..=b'~'))
}

#[derive(Default)]
struct Cleaner {
    out: String,
    /// Zero-width characters since the last one that takes a column.
    marks: usize,
    /// Blanks at the end of `out`.
    blanks: usize,
    /// There is more in `out` than blanks.
    begun: bool,
}

impl Cleaner {
    /// Takes the first characters of `rest`, or an escape sequence. Gives how many bytes.
    fn step(&mut self, rest: &str) -> usize {
        escape::sequence(rest).unwrap_or_else(|| self.take(rest))
    }

    /// Takes the first characters of `rest`, which begins no escape sequence. Gives how many bytes.
    fn take(&mut self, rest: &str) -> usize {
        let Some(c) = rest.chars().next() else { return 0 };
        let behind = rest.get(c.len_utf8()..).unwrap_or_default();
        match c {
            '\t' => {
                let many = if self.begun { 1 } else { 4 };
                (0..many).for_each(|_| self.blank(' '));
            }
            char::REPLACEMENT_CHARACTER => self.push_letter(c),
            '\u{200c}' if !self.joins(behind) => {}
            '\u{200c}' => self.push(c),
            // Beside a blank there is nothing to join or to draw otherwise.
            '\u{200d}' | '\u{fe0e}' | '\u{fe0f}' if self.ends_blank() => {}
            // The first one has decided it.
            '\u{fe0e}' | '\u{fe0f}' if self.out.ends_with(['\u{fe0e}', '\u{fe0f}']) => {}
            '\u{1f3f4}' => {
                self.push(c);
                let tags = tags(behind);
                self.out.push_str(behind.get(..tags).unwrap_or_default());
                return c.len_utf8() + tags;
            }
            _ if is_conjoining(c) => {
                let syllable = syllable(rest, self.out.chars().next_back());
                if syllable == 0 {
                    self.blank(' ');
                } else {
                    let syllable = rest.get(..syllable).unwrap_or_default();
                    syllable.chars().for_each(|c| self.push(c));
                    return syllable.len();
                }
            }
            _ if draws_nothing(c) => self.blank(' '),
            _ if c.is_whitespace() && !c.is_control() && !is_invisible(c) => self.blank(c),
            _ if c.is_control() || is_invisible(c) => {}
            // Known to be a letter or a digit without a look into the larger table.
            _ if c.is_alphanumeric() => self.push(c),
            _ => match c.general_category() {
                GeneralCategory::Format if c != '\u{200d}' => {}
                GeneralCategory::PrivateUse | GeneralCategory::Unassigned => {
                    self.push(char::REPLACEMENT_CHARACTER);
                }
                _ => self.push(c),
            },
        }
        c.len_utf8()
    }

    fn push(&mut self, c: char) {
        self.marks = if c.width() == Some(0) { self.marks + 1 } else { 0 };
        if self.marks <= MAX_MARKS_PER_BASE {
            self.out.push(c);
            self.blanks = 0;
            self.begun = true;
        }
    }

    /// A character that is known to take a column.
    fn push_letter(&mut self, c: char) {
        self.out.push(c);
        (self.marks, self.blanks, self.begun) = (0, 0, true);
    }

    /// A blank of some kind. Many inside a text become one space; of many at its front most go.
    fn blank(&mut self, c: char) {
        self.marks = 0;
        self.blanks += 1;
        if !self.begun {
            if self.blanks <= MAX_LEADING_BLANKS {
                self.out.push(c);
            }
        } else if self.blanks <= MAX_BLANKS {
            self.out.push(c);
        } else if self.blanks == MAX_BLANKS + 1 {
            let end = self.out.trim_end().len();
            self.out.truncate(end);
            self.out.push(' ');
        }
    }

    fn ends_blank(&self) -> bool {
        self.out.is_empty() || self.out.ends_with(char::is_whitespace)
    }

    /// Whether a non-joiner stands between two letters, as Persian and Hindi are written. A vowel sign
    /// that has no column of its own has to have room behind it, or it would stand at the end.
    fn joins(&self, behind: &str) -> bool {
        let before = self.out.chars().next_back();
        let letter = |c: char| c.is_alphabetic() || is_mark(c);
        let next = |c: char| {
            let has_room = c.width() != Some(0) || self.marks + 2 <= MAX_MARKS_PER_BASE;
            c.is_alphabetic() && has_room && !is_conjoining(c) && !draws_nothing(c)
        };
        before.is_some_and(letter) && behind.starts_with(next)
    }
}

fn is_mark(c: char) -> bool {
    use GeneralCategory::{NonspacingMark, SpacingMark};
    matches!(c.general_category(), NonspacingMark | SpacingMark)
}

/// The bytes of the tags that make a regional flag of a black one (UTS #51), if they are whole.
fn tags(text: &str) -> usize {
    /// More than the longest code of a region has.
    const MOST: usize = 8;
    let is_tag = |c: char| matches!(c, '\u{e0020}'..='\u{e007e}');
    let rest = text.trim_start_matches(is_tag);
    let tags = text.len() - rest.len();
    let whole = tags > 0 && tags <= MOST * 4 && rest.starts_with('\u{e007f}');
    if whole { tags + 4 } else { 0 }
}

/// Letters of which Korean syllables are composed, as parts of one (Hangul Jamo). The fillers are none.
fn is_conjoining(c: char) -> bool {
    matches!(c, '\u{1100}'..='\u{115e}' | '\u{1161}'..='\u{11ff}' | '\u{a960}'..='\u{a97c}'
        | '\u{d7b0}'..='\u{d7c6}' | '\u{d7cb}'..='\u{d7fb}')
}

/// The bytes of the syllable that begins here (UAX #29, section 3.1, with nothing more than one syllable
/// needs), behind this character; 0 if these parts make none.
fn syllable(text: &str, before: Option<char>) -> usize {
    let leading = |c: char| matches!(c, '\u{1100}'..='\u{115e}' | '\u{a960}'..='\u{a97c}');
    let vowel = |c: char| matches!(c, '\u{1161}'..='\u{11a7}' | '\u{d7b0}'..='\u{d7c6}');
    let trailing = |c: char| matches!(c, '\u{11a8}'..='\u{11ff}' | '\u{d7cb}'..='\u{d7fb}');
    let whole = |c: char| matches!(c, '\u{ac00}'..='\u{d7a3}');
    let one = |text: &str, kind: fn(char) -> bool| {
        text.chars().next().filter(|c| kind(*c)).map_or(0, char::len_utf8)
    };
    let l = one(text, leading);
    let v = one(text.get(l..).unwrap_or_default(), vowel);
    let t = one(text.get(l + v..).unwrap_or_default(), trailing);
    match (l, v, t) {
        // Behind a syllable that was written as one character.
        (0, 0, t) if before.is_some_and(whole) => t,
        (0, ..) | (_, 0, _) => 0,
        (l, v, t) => l + v + t,
    }
}

/// Characters that are no blanks and look like one: they are drawn as nothing.
fn draws_nothing(c: char) -> bool {
    matches!(
        c,
        '\u{115f}'
            | '\u{1160}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe73}'
            | '\u{ffa0}'
            | '\u{13441}'
            | '\u{13442}'
            | '\u{16fe4}'
            | '\u{1d159}'
            | '\u{1da7f}'
            | '\u{1da80}'
    )
}

/// Characters that show nothing by themselves and are not marks on another one: Unicode's
/// `Default_Ignorable_Code_Point`, the separators of lines and paragraphs, and the interlinear
/// annotation marks; but not the joiners U+200C and U+200D, the variation selectors U+FE0E and U+FE0F,
/// which emoji are made with, and the fillers, which take columns.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{fe00}'..='\u{fe0d}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests;
