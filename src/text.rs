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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cleaned(text: &str) -> String {
        clean(text.as_bytes()).into_owned()
    }

    #[test]
    fn columns_and_characters_are_not_bytes() {
        for (text, columns, count) in
            [("", 0, 0), ("abc", 3, 3), ("日本", 4, 2), ("e\u{301}", 1, 2)]
        {
            assert_eq!((width(text), chars(text)), (columns, count), "{text}");
        }
    }

    #[test]
    fn printable_is_what_is_printable_wherever_it_stands() {
        for byte in 0..=255_u8 {
            for at in 0..20 {
                let mut line = *b"0123456789abcdefghij";
                line[at] = byte;
                let printable = (b' '..=b'~').contains(&byte);
                assert_eq!(is_printable_ascii(&line), printable, "{byte} at {at}");
            }
        }
    }

    #[test]
    fn plain_text_is_lent_and_unchanged() {
        assert!(matches!(clean(b"Hello, everyone!"), Cow::Borrowed("Hello, everyone!")));
        for text in ["Grüße", "日本語", "👨‍👩‍👧‍👦 ❤️ 👍🏽", "e\u{301}", "(=^・^=)", "𝄞"]
        {
            assert_eq!(cleaned(text), text);
        }
    }

    #[test]
    fn escape_sequences_go_whole() {
        for (typed, seen) in [
            ("a\x1b[31mb\x1b[0mc", "abc"),
            ("a\x1b[2J\x1b[1;1Hb", "ab"),
            ("a\x1b]0;title\x07b", "ab"),
            ("a\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\b", "alinkb"),
            ("a\x1bP1$q\x1b\\b", "ab"),
            ("a\x1b(Bb\x1b7d\x1b=e", "abde"),
            // Alt and a letter.
            ("a\x1bcc\x1bNb", "accNb"),
            ("a\x1bOPb\x1bO", "ab"),
            ("a\x1b[[Ab\x1b[[", "ab"),
            ("a\x1b[M !!b\x1b[M !", "ab !"),
            ("a\u{9b}31mb\u{9d}0;t\u{9c}c", "abc"),
            ("a\x1b_apc\x18b", "ab"),
            // Without their end they take two characters with them, and no line.
            ("a\x1b]0;never ends", "a0;never ends"),
            ("\x1bPa\x1bXb\x1b^c\x1b_d", "abcd"),
            ("a\x1b[31", "a31"),
            ("a\x1b", "a"),
            ("a\x1b[1é", "a1é"),
            ("a\x1b]0;x\x1b[31mb", "a0;xb"),
            ("a\x1b(é", "aé"),
            ("a\u{9b}31", "a31"),
            ("a\x1b\x1b[31mb", "ab"),
        ] {
            assert_eq!(cleaned(typed), seen, "{typed:?}");
        }
    }

    #[test]
    fn controls_and_invisible_characters_go() {
        assert_eq!(cleaned("a\tb"), "a b");
        assert_eq!(cleaned("\ta\t"), "    a ");
        assert_eq!(cleaned("a\0\x08\x7f\rb\u{85}c"), "abc");
        assert_eq!(cleaned("\u{202e}gnp\u{2066}.exe\u{2069}"), "gnp.exe");
        assert_eq!(cleaned("a\u{2028}b\u{2029}c\u{200b}d\u{feff}e\u{2060}f"), "abcdef");
        assert_eq!(cleaned("a\u{200d}b\u{fe0f}"), "a\u{200d}b\u{fe0f}");
    }

    #[test]
    fn blanks_are_few_and_all_kinds_of_them_count() {
        for (typed, seen) in [
            ("a   b", "a   b"),
            ("a    b", "a b"),
            ("a \u{a0}\u{3000}\u{2003}b", "a b"),
            ("a\u{2800}b\u{3164}c\u{ffa0}d\u{115f}e\u{1d159}f", "a b c d e f"),
            ("a\u{a0}b\u{3000}c", "a\u{a0}b\u{3000}c"),
            ("                    x", "                x"),
            ("\t\t\t\t\t\tx", "                x"),
            ("a \u{200d} \u{fe0f} \u{200d} \u{200d} b", "a b"),
            ("a\u{fe0f}\u{fe0f}\u{fe0e}\u{fe0f}b", "a\u{fe0f}b"),
        ] {
            assert_eq!(cleaned(typed), seen, "{typed:?}");
        }
    }

    #[test]
    fn what_scripts_and_flags_need_stays() {
        for text in [
            "می\u{200c}خواهم",
            "क्\u{200c}ष",
            "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}!",
            "\u{1112}\u{1161}\u{11ab}\u{1100}\u{1173}\u{11af}",
            "한\u{ac00}\u{11a8}",
            "نص عربي ، עברית",
        ] {
            assert_eq!(cleaned(text), text);
        }
        assert_eq!(cleaned("\u{200c}a\u{200c} b\u{200c}"), "a b");
        assert_eq!(cleaned("🏴\u{e0067}x\u{e007f}"), "🏴x");
        assert_eq!(cleaned("a\u{1100}b\u{1161}c\u{11a8}"), "a b c ");
        assert_eq!(cleaned("\u{1100}\u{1100}\u{1161}"), " \u{1100}\u{1161}");
    }

    #[test]
    fn what_nobody_has_defined_is_replaced() {
        assert_eq!(
            cleaned("a\u{e000}b\u{378}c\u{10fffd}d\u{ffff}"),
            "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}"
        );
        assert_eq!(cleaned("a\u{600}b\u{70f}c"), "abc");
    }

    /// A character that the one table knows and the other does not would be shown in fewer columns than a
    /// terminal draws, and nobody could send the emoji of the last years.
    #[test]
    fn what_is_defined_and_how_wide_it_is_come_from_the_same_unicode() {
        let (major, minor, patch) = unicode_width::UNICODE_VERSION;
        let widths = (u64::from(major), u64::from(minor), u64::from(patch));
        assert_eq!(unicode_properties::UNICODE_VERSION, widths);
        // Of Unicode 15.1, 16 and 17: an ideograph, eyes with bags, a distorted face.
        for text in ["\u{2ebf0}", "\u{1fae9}", "\u{1faea}"] {
            assert_eq!(cleaned(text), text);
            assert_eq!(width(text), 2, "{text}");
        }
    }

    /// Every character where it could change what stands beside it. A non-joiner before a vowel sign for
    /// which there was no room, or before a letter that was replaced, went only at the second cleaning.
    #[test]
    fn cleaning_twice_changes_nothing_beside_any_character() {
        for c in ('\0'..='\u{1ffff}').chain('\u{e0000}'..='\u{e01ff}') {
            for text in [
                format!("a\u{200c}{c}"),
                format!("{c}\u{200c}b"),
                format!("a\u{301}\u{301}\u{301}\u{200c}{c}"),
                format!("가{c}\u{11a8}"),
            ] {
                let once = cleaned(&text);
                assert_eq!(cleaned(&once), once, "{text:?}");
            }
        }
    }

    #[test]
    fn words_of_a_typed_line_are_those_that_people_see() {
        for (typed, word, rest) in [
            (&b"one two"[..], &b"one"[..], &b"two"[..]),
            ("one\u{a0} two".as_bytes(), b"one", b" two"),
            ("one\u{3000}two".as_bytes(), b"one", b"two"),
            ("one\u{2800}\u{200b}two".as_bytes(), b"one", "\u{200b}two".as_bytes()),
            ("o\u{200b}ne\ttwo".as_bytes(), "o\u{200b}ne".as_bytes(), b"two"),
            (b"  one two", b"  one", b"two"),
            (b"o\x1b]0; \x07ne two", b"o\x1b]0; \x07ne", b"two"),
            (b"o\xffn\xc3e \xfftwo", b"o\xffn\xc3e", b"\xfftwo"),
            (b"\x1b]\xff \xff\x07one two", b"\x1b]\xff \xff\x07one", b"two"),
            (b"one", b"one", b""),
            (b"one ", b"one", b""),
            (b" \t", b" \t", b""),
        ] {
            assert_eq!(split_word(typed), (word, rest), "{typed:?}");
        }
        let blanks = "\u{a0}\u{3000} \t\u{200b}\u{2800}".repeat(10);
        for word in ["one two", "\u{200b}one", ""] {
            assert_eq!(behind_blanks((blanks.clone() + word).as_bytes()), word.as_bytes());
        }
    }

    #[test]
    fn what_is_not_utf8_is_replaced() {
        assert_eq!(clean(b"a\xffb\xc3(\xe2\x82"), "a\u{fffd}b\u{fffd}(\u{fffd}");
        // A raw C1 byte is not a control sequence introducer, only a broken byte.
        assert_eq!(clean(b"\x9b31m"), "\u{fffd}31m");
    }

    #[test]
    fn marks_do_not_pile_up() {
        let zalgo = format!("a{}b", "\u{301}".repeat(50));
        assert_eq!(cleaned(&zalgo), format!("a{}b", "\u{301}".repeat(MAX_MARKS_PER_BASE)));
        // Nothing that is removed makes room for more.
        let split = format!("a{}", "\u{301}\u{200b}".repeat(50));
        assert_eq!(cleaned(&split), format!("a{}", "\u{301}".repeat(MAX_MARKS_PER_BASE)));
    }

    fn forbidden(c: char) -> bool {
        c.is_control()
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200b}' | '\u{2800}' | '\u{feff}')
    }

    /// The shortest of a few runs: the machine may be busy with something else.
    fn shortest_millis(work: impl Fn()) -> u128 {
        let run = |_| {
            let started = std::time::Instant::now();
            work();
            started.elapsed().as_millis()
        };
        (0..5).map(run).min().unwrap()
    }

    /// What costs most, as long as a line may be. Looking through all of it for each of its parts would
    /// take many times as long.
    #[test]
    fn no_line_costs_more_than_its_length() {
        let longest = |part: &str| part.repeat(crate::limits::MAX_LINE_BYTES / part.len());
        for part in [
            "\u{9d}",
            "\u{9b}1",
            "\u{1b}]",
            "\u{1b}[1",
            "\u{1b}( ",
            "\u{1100}",
            "e\u{301}",
            "🏴\u{e0061}",
            "\u{2800} ",
            "\u{378}",
            "[",
            "[l ",
            "╰",
            "╰ ",
            "╰-",
        ] {
            let line = longest(part);
            let millis = shortest_millis(|| {
                let _ = crate::chat::marks::disarm(&clean(line.as_bytes()));
            });
            assert!(millis < 80, "{part:?}: {millis} ms a line, without optimisation");
        }
        for part in ["🇩", "e\u{301}", "👩\u{200d}", "a ", "\u{ff}"] {
            let keys = "\u{7f}".repeat(2000) + &"\u{17}".repeat(500);
            let line = longest(part) + &keys;
            let millis = shortest_millis(|| {
                let _ = edited(line.as_bytes());
            });
            assert!(millis < 80, "{part:?}: {millis} ms a line, without optimisation");
        }
    }

    proptest! {
        #[test]
        fn output_is_harmless_and_cleaning_twice_changes_nothing(
            parts in proptest::collection::vec(prop_oneof![
                any::<char>().prop_map(String::from),
                "\\PC{0,4}",
                "[\u{1b}\u{9b}\u{9d}\u{90}\\[\\]P_;0-9m\u{7}\\\\\u{9c}\u{18}]{1,6}",
                "[\u{301}\u{300}\u{200d}\u{fe0f}\u{200b}\u{202e}\u{2028}a]{1,8}",
                "[ \t\u{a0}\u{3000}\u{2800}\u{200d}\u{200c}a]{1,24}",
                "[\u{1100}\u{1161}\u{11a8}가각a\u{200c}]{1,8}",
                "🏴[\u{e0061}\u{e0062}\u{e007f}]{0,9}",
            ], 0..20)
        ) {
            let typed = parts.concat();
            let once = cleaned(&typed);
            prop_assert!(!once.contains(forbidden), "{:?}", once);
            prop_assert_eq!(cleaned(&once), once);
        }

        #[test]
        fn split_words_are_the_words_of_the_text(
            bytes in proptest::collection::vec(prop_oneof![
                6 => Just(b"ab".to_vec()), 3 => Just(b" ".to_vec()), 2 => Just(b"\xff".to_vec()),
                2 => Just("\u{a0}".into()), 2 => Just("\u{200b}".into()), 1 => Just(b"\x1b]".to_vec()),
                1 => Just(b"\x07".to_vec()), 1 => Just("\u{1100}".into()), 1 => any::<u8>().prop_map(|b| vec![b]),
            ], 0..30)
        ) {
            let typed = bytes.concat();
            let text = clean(&typed);
            let (word, rest) = split_word(&typed);
            prop_assert!(typed.starts_with(word) && typed.ends_with(rest));
            let mut words = text.split_whitespace();
            let word = clean(word);
            prop_assert_eq!(word.trim(), words.next().unwrap_or_default());
            prop_assert!(clean(rest).split_whitespace().eq(words));
            let behind = behind_blanks(&typed);
            prop_assert!(!clean(behind).starts_with(char::is_whitespace));
            prop_assert!(clean(behind).split_whitespace().eq(text.split_whitespace()));
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let once = clean(&bytes).into_owned();
            prop_assert!(!once.contains(forbidden));
            prop_assert_eq!(cleaned(&once), once);
        }
    }
}
