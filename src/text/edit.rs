//! The keys with which a line is edited, from terminals that send each key as it is pressed.
//!
//! What they take away is gone for good, as it is on the screen of whoever types. Knows nothing of
//! what may be shown.

use std::borrow::Cow;

use memchr::{memchr, memchr3, memrchr};

use super::escape;
use crate::wrap::is_mark;

const BACKSPACE: u8 = 0x08;
const DELETE: u8 = 0x7f;
/// ^U takes the line.
const KILL_LINE: u8 = 0x15;
/// ^W takes the last word, and the blanks behind it.
const KILL_WORD: u8 = 0x17;

/// A line as it stands when its editing keys have done their work. Backspace and DEL take the last
/// character with all that is drawn with it, and the keys pressed since that show nothing: of the
/// three bytes of an arrow the last one alone would leave the beginning of another key.
#[must_use]
pub fn edited(line: &[u8]) -> Cow<'_, [u8]> {
    let first =
        memchr3(BACKSPACE, KILL_LINE, KILL_WORD, line).into_iter().chain(memchr(DELETE, line));
    let Some(first) = first.min() else { return Cow::Borrowed(line) };
    let (before, rest) = line.split_at_checked(first).unwrap_or((line, &[]));
    let mut out = before.to_vec();
    for &byte in rest {
        match byte {
            BACKSPACE | DELETE => {
                while let Some(key) = key_at_end(&out) {
                    out.truncate(out.len() - key);
                }
                take_grapheme(&mut out);
            }
            KILL_LINE => out.clear(),
            KILL_WORD => {
                while last_char(&out).is_some_and(|(c, _)| c.is_whitespace()) {
                    take_char(&mut out);
                }
                while last_char(&out).is_some_and(|(c, _)| !c.is_whitespace()) {
                    take_char(&mut out);
                }
            }
            _ => out.push(byte),
        }
    }
    Cow::Owned(out)
}

/// The bytes of the escape sequence with which `line` ends, if it does: an arrow, for example. No more
/// are looked at than the keys of terminals send.
fn key_at_end(line: &[u8]) -> Option<usize> {
    const LONGEST: usize = 16;
    let end = line.get(line.len().saturating_sub(LONGEST)..)?;
    let begin = memrchr(b'\x1b', end)?;
    let key = std::str::from_utf8(end.get(begin..)?).ok()?;
    (escape::sequence(key)? == key.len()).then_some(key.len())
}

/// The last character and its bytes; a byte that belongs to none is U+FFFD.
fn last_char(line: &[u8]) -> Option<(char, usize)> {
    for len in 1..=4.min(line.len()) {
        let end = line.get(line.len() - len..).unwrap_or_default();
        if let Some(c) = std::str::from_utf8(end).ok().and_then(|end| end.chars().next()) {
            return Some((c, len));
        }
    }
    line.last().map(|_| (char::REPLACEMENT_CHARACTER, 1))
}

fn take_char(line: &mut Vec<u8>) -> Option<char> {
    let (c, len) = last_char(line)?;
    line.truncate(line.len() - len);
    Some(c)
}

/// Takes a character with the marks and selectors on it, and the others of its sequence: what is
/// joined to it, the other half of a flag.
fn take_grapheme(line: &mut Vec<u8>) {
    let mut flags = 0;
    while let Some((c, _)) = last_char(line) {
        if is_flag(c) {
            // Flags are pairs: an even number of letters ends with a whole one.
            if flags == 0 {
                flags = if flags_at_end(line).is_multiple_of(2) { 2 } else { 1 };
            }
            take_char(line);
            flags -= 1;
            if flags > 0 {
                continue;
            }
        } else {
            take_char(line);
            if belongs_to_the_one_before(c) {
                continue;
            }
        }
        if last_char(line).is_none_or(|(before, _)| before != '\u{200d}') {
            return;
        }
    }
}

fn is_flag(c: char) -> bool {
    matches!(c, '\u{1f1e6}'..='\u{1f1ff}')
}

/// How many letters of flags stand at the end. No more are counted than anybody types, so that a line of
/// nothing else costs no more than any other.
fn flags_at_end(line: &[u8]) -> usize {
    const MOST: usize = 32;
    let mut rest = line;
    let mut count = 0;
    while count < MOST
        && let Some((_, len)) = last_char(rest).filter(|(c, _)| is_flag(*c))
    {
        rest = rest.get(..rest.len() - len).unwrap_or_default();
        count += 1;
    }
    count
}

/// Marks, joiners, variation selectors, the tags of some flags, skin tones.
fn belongs_to_the_one_before(c: char) -> bool {
    is_mark(c) || matches!(c, '\u{1f3fb}'..='\u{1f3ff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn after(typed: &str) -> String {
        String::from_utf8(edited(typed.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn keys_take_what_they_take_on_a_screen() {
        for (typed, left) in [
            ("secret\u{15}hello", "hello"),
            ("helo\u{8}lo", "hello"),
            ("helo\u{7f}lo", "hello"),
            ("\u{8}\u{7f}\u{15}\u{17}a", "a"),
            ("one two\u{17}three", "one three"),
            ("one two  \u{17}three", "one three"),
            ("one\u{17}\u{17}x", "x"),
            ("Grü\u{7f}uß", "Gruß"),
            ("e\u{301}\u{300}\u{7f}x", "x"),
            ("a👍🏽\u{7f}b", "ab"),
            ("a👨\u{200d}👩\u{200d}👧\u{7f}b", "ab"),
            ("a🏳\u{fe0f}\u{200d}🌈\u{7f}b", "ab"),
            ("🇩🇪🇫🇷\u{7f}x", "🇩🇪x"),
            ("🇩🇪🇫\u{7f}x", "🇩🇪x"),
            ("🏴\u{e0067}\u{e0062}\u{e007f}\u{7f}x", "x"),
            ("日本\u{8}語", "日語"),
            ("c\u{301}\u{17}x", "x"),
            // Arrows, Home in its three forms, a function key, ESC alone.
            ("helpp\x1b[D\x1b[C\u{7f}!", "help!"),
            ("ab\x1bOH\u{7f}\x1b[1~\u{7f}c", "c"),
            ("ab\x1b[1;5D\x1b[[A\x1b\u{8}c", "ac"),
            ("\x1b[D\u{7f}a", "a"),
            ("a\x1b[2\u{7f}b", "a\x1b[b"),
        ] {
            assert_eq!(after(typed), left, "{typed:?}");
        }
        assert!(matches!(edited(b"as it is"), Cow::Borrowed(_)));
    }

    #[test]
    fn what_is_not_utf8_goes_a_byte_at_a_time() {
        assert_eq!(&*edited(b"a\xff\xfe\x7f"), b"a\xff");
        assert_eq!(&*edited(b"\xe6\x97\x7fx"), b"\xe6x");
        assert_eq!(&*edited(b"a\xff\xfe\x17x"), b"x");
    }

    proptest! {
        #[test]
        fn no_key_is_left_and_nothing_comes_that_was_not_typed(
            line in proptest::collection::vec(prop_oneof![
                4 => any::<u8>(), 2 => proptest::sample::select(vec![8_u8, 0x7f, 0x15, 0x17])
            ], 0..60)
        ) {
            let left = edited(&line);
            prop_assert!(!left.iter().any(|b| matches!(*b, 8 | 0x7f | 0x15 | 0x17)));
            prop_assert!(left.len() <= line.len());
            prop_assert_eq!(&*edited(&left), &*left);
        }
    }
}
