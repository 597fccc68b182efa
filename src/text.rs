//! What text may contain, and how many columns it takes.
//!
//! Everything that one person types and another sees goes through [`clean`]: names, messages,
//! descriptions, prompts. What comes out can neither control a terminal nor reorder or overprint
//! what is around it. Owns no state and no layout.

use std::borrow::Cow;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::limits::MAX_MARKS_PER_BASE;

/// One line of what somebody typed, as text: without control characters, escape sequences
/// (ECMA-48), bidirectional controls, line separators and zero-width characters; a tab is a space;
/// bytes that are not UTF-8 are U+FFFD; few marks follow a base character. Cleaning twice changes
/// nothing.
#[must_use]
pub fn clean(line: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(line);
    if text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return text;
    }
    let mut cleaner = Cleaner { out: String::with_capacity(text.len()), ..Cleaner::default() };
    text.chars().for_each(|c| cleaner.take(c));
    Cow::Owned(cleaner.out)
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

/// Where in an escape sequence the text stands (ECMA-48, section 5.3 and 5.4).
#[derive(Default, Clone, Copy)]
enum Escape {
    #[default]
    None,
    /// After ESC.
    Begun,
    /// After ESC and an intermediate character, as in `ESC ( B`.
    Intermediate,
    /// In a control sequence, as in `ESC [ 31 m`.
    Control,
    /// In a control string (DCS, SOS, OSC, PM, APC), up to its terminator.
    Text,
    /// In a control string, after an ESC that may begin the terminator.
    TextEnd,
}

#[derive(Default)]
struct Cleaner {
    out: String,
    escape: Escape,
    /// Zero-width characters since the last one that takes a column.
    marks: usize,
}

impl Cleaner {
    fn take(&mut self, c: char) {
        self.escape = match (self.escape, c) {
            (Escape::None, _) => self.text(c),
            (Escape::Text, '\u{7}' | '\u{18}' | '\u{1a}' | '\u{9c}') => Escape::None,
            (Escape::Text, '\u{1b}') => Escape::TextEnd,
            (Escape::Text, _) => Escape::Text,
            (Escape::TextEnd, '\\') => Escape::None,
            (_, '\u{1b}') => Escape::Begun,
            (Escape::Begun | Escape::TextEnd, '[') => Escape::Control,
            (Escape::Begun | Escape::TextEnd, ']' | 'P' | 'X' | '^' | '_') => Escape::Text,
            (Escape::Begun | Escape::TextEnd | Escape::Intermediate, ' '..='/') => {
                Escape::Intermediate
            }
            (Escape::Begun | Escape::TextEnd | Escape::Intermediate, '0'..='~') => Escape::None,
            (Escape::Control, ' '..='?') => Escape::Control,
            (Escape::Control, '@'..='~') => Escape::None,
            // The sequence is broken off: what breaks it is text again.
            (_, _) => self.text(c),
        };
    }

    fn text(&mut self, c: char) -> Escape {
        match c {
            '\u{1b}' => return Escape::Begun,
            '\u{9b}' => return Escape::Control,
            '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}' => return Escape::Text,
            '\t' => self.push(' '),
            _ if c.is_control() || is_invisible(c) => {}
            _ => self.push(c),
        }
        Escape::None
    }

    fn push(&mut self, c: char) {
        self.marks = if c.width() == Some(0) { self.marks + 1 } else { 0 };
        if self.marks <= MAX_MARKS_PER_BASE {
            self.out.push(c);
        }
    }
}

/// Characters that show nothing by themselves and are not marks on another one: Unicode's
/// `Default_Ignorable_Code_Point`, the separators of lines and paragraphs, and the interlinear
/// annotation marks; but not the joiner U+200D and the variation selectors U+FE0E and U+FE0F, which
/// emoji are made with.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}' | '\u{200c}' | '\u{200e}' | '\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0d}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
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
            ("a\x1b(Bb\x1bcc\x1b7d", "abcd"),
            ("a\u{9b}31mb\u{9d}0;t\u{9c}c", "abc"),
            ("a\x1b_apc\x18b", "ab"),
            ("a\x1b]0;never ends", "a"),
            ("a\x1b[31", "a"),
            ("a\x1b", "a"),
            ("a\x1b[1é", "aé"),
            ("a\x1b]0;x\x1b[31mb", "ab"),
            ("a\x1b\x1b[31mb", "ab"),
        ] {
            assert_eq!(cleaned(typed), seen, "{typed:?}");
        }
    }

    #[test]
    fn controls_and_invisible_characters_go() {
        assert_eq!(cleaned("a\tb"), "a b");
        assert_eq!(cleaned("a\0\x08\x7f\rb\u{85}c"), "abc");
        assert_eq!(cleaned("\u{202e}gnp\u{2066}.exe\u{2069}"), "gnp.exe");
        assert_eq!(cleaned("a\u{2028}b\u{2029}c\u{200b}d\u{feff}e\u{2060}f"), "abcdef");
        assert_eq!(cleaned("a\u{200d}b\u{fe0f}"), "a\u{200d}b\u{fe0f}");
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
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200b}' | '\u{200c}' | '\u{feff}')
    }

    proptest! {
        #[test]
        fn output_is_harmless_and_cleaning_twice_changes_nothing(
            parts in proptest::collection::vec(prop_oneof![
                any::<char>().prop_map(String::from),
                "\\PC{0,4}",
                "[\u{1b}\u{9b}\u{9d}\u{90}\\[\\]P_;0-9m\u{7}\\\\\u{9c}\u{18}]{1,6}",
                "[\u{301}\u{300}\u{200d}\u{fe0f}\u{200b}\u{202e}\u{2028}a]{1,8}",
            ], 0..20)
        ) {
            let typed = parts.concat();
            let once = cleaned(&typed);
            prop_assert!(!once.contains(forbidden), "{:?}", once);
            prop_assert_eq!(cleaned(&once), once);
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let once = clean(&bytes).into_owned();
            prop_assert!(!once.contains(forbidden));
            prop_assert_eq!(cleaned(&once), once);
        }
    }
}
