//! The marks by which the server's own lines are known, and which nobody can type.
//!
//! [`disarm`] takes them out of a text: `[LOBBY]`, `[DM]`, `[AI …`, ages and times get round
//! brackets instead of square ones, whatever letters they are written in; the arrow before a text,
//! the gutter of an answer, and the signs of notices become plain characters. Everything else stays
//! as it is. Owns no state and no layout: `render` makes sure that no text begins a row.

use std::borrow::Cow;

use memchr::memchr;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

use crate::wrap;

/// Characters between two brackets that are examined: more than any mark has.
const LONGEST_MARK: usize = 16;

/// A clean text without the server's own marks. Doing it twice changes nothing.
#[must_use]
pub fn disarm(text: &str) -> Cow<'_, str> {
    if text.is_ascii() && memchr(b'[', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    let harmless = |c: char| {
        c.is_ascii() && c != '['
            || c == char::REPLACEMENT_CHARACTER
            || c.is_alphanumeric() && !matches!(c, '\u{ff3b}' | '\u{ffe8}')
    };
    let Some(first) = text.find(|c| !harmless(c)) else { return Cow::Borrowed(text) };
    let (before, mut rest) = text.split_at(first);
    let mut out = String::with_capacity(text.len());
    out.push_str(before);
    // Brackets that were made round and whose counterparts have yet to come.
    let mut open = 0_usize;
    // The rest of the text from where a search for an arrow failed: no arrow begins before that.
    let mut no_arrow = usize::MAX;
    while let Some(c) = rest.chars().next() {
        let after = rest.get(c.len_utf8()..).unwrap_or_default();
        rest = after;
        match c {
            char::REPLACEMENT_CHARACTER => out.push(c),
            _ if is_opening(c) && is_mark(after) => {
                open += 1;
                out.push('(');
            }
            _ if is_closing(c) && open > 0 => {
                open -= 1;
                out.push(')');
            }
            c if is_corner(c) && after.len() < no_arrow => match arrow(after) {
                Ok(end) => {
                    out.push_str("->");
                    rest = end;
                }
                Err(end) => {
                    no_arrow = end.len();
                    out.push(c);
                }
            },
            '─' | '━' => {
                let is_stroke = |c| matches!(c, '─' | '━');
                let end = after.trim_start_matches(|c| is_stroke(c) || !is_drawn(c));
                let strokes = after.get(..after.len() - end.len()).unwrap_or_default();
                match strokes.chars().filter(|c| is_stroke(*c)).count() {
                    0 => out.push(c),
                    more => {
                        out.extend(std::iter::repeat_n('-', more + 1));
                        rest = end;
                    }
                }
            }
            '✦' | '✧' => out.push('*'),
            '⚠' => {
                out.push('!');
                // How it is drawn does not matter for what replaces it.
                rest = after.trim_start_matches(['\u{fe0e}', '\u{fe0f}']);
            }
            '│' | '┃' | '￨' => out.push('|'),
            _ => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// What follows an arrow that starts here: strokes, and a head.
///
/// # Errors
/// There is no arrow here. The error is the rest of the text from where one may begin at the
/// earliest.
fn arrow(text: &str) -> Result<&str, &str> {
    let dash =
        |c: char| matches!(c, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '﹘' | '﹣' | '－');
    let strokes = |c: char| dash(c) || "─━⎯⏤╌╍┄┅┈┉╴╶".contains(c);
    let nothing = |c: char| is_corner(c) || c.is_whitespace() || !is_drawn(c);
    let text = text.trim_start_matches(nothing);
    let behind = text.trim_start_matches(|c| strokes(c) || nothing(c));
    let drawn = behind.len() < text.len() && text.starts_with(strokes);
    let heads = ['>', '＞', '›', '→', '˃', 'ᐳ', '❯', '⟩', '〉', '≻', '➤', '►', '▶'];
    behind.strip_prefix(heads).filter(|_| drawn).ok_or(behind)
}

/// Whether the arrow before a text could begin with this, or with what looks like it.
fn is_corner(c: char) -> bool {
    matches!(c, '╰' | '└' | '┗' | '╚' | '╘' | '╙' | '⎩' | '⎝' | '⎣')
}

fn is_opening(c: char) -> bool {
    let is_round = matches!(c, '(' | '（' | '{' | '｛');
    let opens = |c: char| c.general_category() == GeneralCategory::OpenPunctuation;
    matches!(c, '[' | '⎡' | '⎢' | '⎣') || !c.is_alphanumeric() && opens(c) && !is_round
}

/// Any kind of closing bracket: `[LOBBY)` is meant to deceive, too.
fn is_closing(c: char) -> bool {
    let closes = |c: char| c.general_category() == GeneralCategory::ClosePunctuation;
    matches!(c, ']' | ')' | '⎤' | '⎥' | '⎦') || !c.is_ascii() && !c.is_alphanumeric() && closes(c)
}

/// Whether the text after an opening bracket is a mark: by what is between the brackets, or by how
/// it begins.
fn is_mark(text: &str) -> bool {
    let mut inside = String::new();
    for c in text.chars() {
        if is_closing(c) {
            return is_label(&inside) || inside == "ai" || is_age(&inside) || is_time(&inside);
        }
        if inside == "ai" && !fold(c).is_alphabetic() && is_drawn(c) {
            return true;
        }
        if c.is_whitespace() || !is_drawn(c) {
            continue;
        }
        let c = fold(c);
        // Every character that marks are made of: most brackets are ruled out by their first
        // character.
        let fits = c.is_ascii_alphanumeric() || matches!(c, ':' | '|');
        if !fits || inside.len() >= LONGEST_MARK {
            return false;
        }
        inside.push(c);
        if is_answer(&inside) {
            return true;
        }
    }
    inside == "ai"
}

/// Whether this is more than a mark on the character before it, or a change to how that is drawn. Some
/// marks have a column in one table and none in another.
fn is_drawn(c: char) -> bool {
    use GeneralCategory::{EnclosingMark, NonspacingMark, SpacingMark};
    let is_mark =
        |c: char| matches!(c.general_category(), EnclosingMark | NonspacingMark | SpacingMark);
    c.is_ascii() || !wrap::is_mark(c) && !is_mark(c)
}

fn is_label(inside: &str) -> bool {
    matches!(&*one_shape(inside), "lobby" | "dm" | "justnow")
}

/// `[AI Response to`, with anything that looks like an I. Most other texts that begin with `[Al` are
/// innocent.
fn is_answer(inside: &str) -> bool {
    inside.len() == "airesponse".len() && one_shape(inside) == "alresponse"
}

/// The text with characters that look alike made one, and without colons.
fn one_shape(inside: &str) -> String {
    let shape = |c: char| match c {
        '0' => 'o',
        '1' | 'i' | '|' => 'l',
        c => c,
    };
    inside.chars().filter(|c| *c != ':').map(shape).collect()
}

/// `5sago`.
fn is_age(inside: &str) -> bool {
    let number = inside.strip_suffix("ago").and_then(|age| age.strip_suffix(['s', 'm', 'h', 'd']));
    number.is_some_and(|number| !number.is_empty() && is_number(number))
}

/// `14:05`, `14:05:33`, `2:05pm`.
fn is_time(inside: &str) -> bool {
    let clock = inside.strip_suffix("am").or(inside.strip_suffix("pm")).unwrap_or(inside);
    let parts: Vec<_> = clock.split(':').collect();
    (2..=3).contains(&parts.len())
        && parts.iter().all(|part| (1..=2).contains(&part.len()) && is_number(part))
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

/// The lower-case ASCII character that this one looks like, as far as marks contain it: full-width
/// forms, the mathematical alphabets, letters in circles and boxes, small capitals, and the
/// letters of other scripts that look the same.
fn fold(c: char) -> char {
    let nth = |first: char, count: u32, c: char| {
        let n = (u32::from(c) - u32::from(first)) % count;
        char::from_u32(u32::from(if count == 10 { '0' } else { 'a' }) + n % 26).unwrap_or(c)
    };
    match c {
        '\u{ff01}'..='\u{ff5e}' => {
            char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c).to_ascii_lowercase()
        }
        '\u{1d400}'..='\u{1d6a3}' => nth('\u{1d400}', 52, c),
        '\u{1d7ce}'..='\u{1d7ff}' => nth('\u{1d7ce}', 10, c),
        '\u{24b6}'..='\u{24e9}' => nth('\u{24b6}', 26, c),
        '\u{1f130}'..='\u{1f149}' => nth('\u{1f130}', 26, c),
        '\u{1f150}'..='\u{1f169}' => nth('\u{1f150}', 26, c),
        '\u{1f170}'..='\u{1f189}' => nth('\u{1f170}', 26, c),
        '\u{1f1e6}'..='\u{1f1ff}' => nth('\u{1f1e6}', 26, c),
        'А' | 'а' | 'Α' | 'α' | 'ᴀ' | 'ꓮ' | 'Ꭺ' | 'ᗩ' | 'Ⲁ' | 'ⲁ' => 'a',
        'В' | 'в' | 'Β' | 'ʙ' | 'Ь' | 'ь' | 'ꓐ' | 'Ᏼ' | 'ᗷ' | 'Ⲃ' | 'ⲃ' => 'b',
        'ԁ' | 'ᴅ' | 'ꓓ' | 'Ꭰ' | 'ᗪ' | 'Ⅾ' | 'ⅾ' => 'd',
        'ɡ' | 'ɢ' | 'ꓖ' | 'Ꮐ' | 'ց' => 'g',
        'І' | 'і' | 'Ι' | 'ι' | 'ɪ' | 'ı' | 'Ӏ' | 'ӏ' | 'ꓲ' | 'Ꭵ' | 'Ⅰ' | 'ⅰ' | 'Ⲓ' | 'ⲓ' => {
            'i'
        }
        'Ј' | 'ј' | 'ᴊ' | 'ꓙ' | 'Ꭻ' | 'ᒍ' => 'j',
        'ʟ' | 'Ⅼ' | 'ⅼ' | 'ꓡ' | 'Ꮮ' | 'ᒪ' => 'l',
        'М' | 'м' | 'Μ' | 'ᴍ' | 'Ⅿ' | 'ⅿ' | 'ꓟ' | 'Ꮇ' | 'ᗰ' | 'Ⲙ' | 'ⲙ' => 'm',
        'Ν' | 'ɴ' | 'ꓠ' | 'ᑎ' | 'Ⲛ' | 'ⲛ' => 'n',
        'О' | 'о' | 'Ο' | 'ο' | 'ᴏ' | 'Օ' | 'օ' | 'ꓳ' | 'Ⲟ' | 'ⲟ' => 'o',
        'Ѕ' | 'ѕ' | 'ꜱ' | 'ꓢ' | 'Ꮪ' | 'ᔕ' => 's',
        'Т' | 'т' | 'Τ' | 'τ' | 'ᴛ' | 'ꓔ' | 'Ꭲ' | 'Ⲧ' | 'ⲧ' => 't',
        'ᴜ' | 'υ' | 'ꓴ' | 'ᑌ' | 'Ս' | 'ս' => 'u',
        'Ԝ' | 'ԝ' | 'ᴡ' | 'ꓪ' | 'Ꮃ' => 'w',
        'У' | 'у' | 'Υ' | 'ʏ' | 'Ү' | 'ү' | 'ꓬ' | 'Ⲩ' | 'ⲩ' => 'y',
        '∶' | '׃' | '꞉' | 'ː' | '․' => ':',
        _ => c.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn marks_are_disarmed_however_they_are_written() {
        for (typed, seen) in [
            ("[LOBBY] bob has left the lobby", "(LOBBY) bob has left the lobby"),
            (
                "so [lobby] and [ L O B B Y ] and [LOB\u{fe0f}BY]",
                "so (lobby) and ( L O B B Y ) and (LOB\u{fe0f}BY)",
            ),
            ("［ＬＯＢＢＹ］", "(ＬＯＢＢＹ)"),
            ("[LОBBY] [L0BBY] [𝐋𝐎𝐁𝐁𝐘] 【LOBBY】", "(LОBBY) (L0BBY) (𝐋𝐎𝐁𝐁𝐘) (LOBBY)"),
            ("[DM] alice —» You", "(DM) alice —» You"),
            ("[AI] Thinking...", "(AI) Thinking..."),
            ("[AI Response to bob]", "(AI Response to bob)"),
            ("[ai", "(ai"),
            ("[Аі: x", "(Аі: x"),
            ("[@_@] alice [just now]", "[@_@] alice (just now)"),
            (
                "[5s ago] [12M AGO] [1d  ago] [1h\u{a0}ago]",
                "(5s ago) (12M AGO) (1d  ago) (1h\u{a0}ago)",
            ),
            ("[14:05] [2:05 pm] [14:05:33]", "(14:05) (2:05 pm) (14:05:33)"),
            ("[[LOBBY]]", "[(LOBBY)]"),
            ("[LOBBY) ⦋LOBBY⦌ ⌈LOBBY⌉ ⎡DM⎤ 「DM」", "(LOBBY) (LOBBY) (LOBBY) (DM) (DM)"),
            ("[LOBBY:] [ꓡꓳꓐꓐꓬ] [ᎠᎷ] [ⅮⅯ]", "(LOBBY:) (ꓡꓳꓐꓐꓬ) (ᎠᎷ) (ⅮⅯ)"),
            ("[Al Response to bob] [A| response", "(Al Response to bob) (A| response"),
            (
                "[LO\u{2d7f}BBY] [L\u{1171e}OBBY] [A\u{2d7f}I]",
                "(LO\u{2d7f}BBY) (L\u{1171e}OBBY) (A\u{2d7f}I)",
            ),
            ("[14․05]", "(14․05)"),
            ("╰─> hi ╰ ─ ─> ╰→", "-> hi -> ╰→"),
            ("╰⎯> └─❯ ╰╌➤", "-> -> ->"),
            ("── Thu 14:05 ─\u{200d}─", "-- Thu 14:05 --"),
            ("✦ ✧ ⚠\u{fe0f} ⚠", "* * ! !"),
            ("  │ answer ┃", "  | answer |"),
        ] {
            assert_eq!(disarm(typed), seen);
        }
    }

    #[test]
    fn what_only_begins_like_one_is_left_alone() {
        for text in [
            "[airport] [aid] [AIR] [Al] [A1] x[i] [lobbyist] [dmesg] [DMX]",
            "[just nowhere] [5s] [ago] [5 days ago] [14:5x] [1:2:3:4] [::1]:8080",
            "- [ ] open - [x] done [link](https://example.org) #[test] a[0] [INFO]",
            "╰(*°▽°*)╯ ╰ a─b ┌─┐ ↳ ★ ☆ ⚡ 【日本】 [日本]",
            "[",
        ] {
            assert_eq!(disarm(text), text);
        }
        assert!(matches!(disarm("no marks, Grüße, 日本語"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn nothing_is_left_of_a_mark_and_doing_it_twice_changes_nothing(
            parts in proptest::collection::vec(prop_oneof![
                "\\PC{0,3}",
                "(\\[|［|【|⎡)( |\u{a0})?(lobby|DM|Ai|just now|3h ago|1:02)( |:)?(\\]|］|】|\\))?",
                "[╰─━>✦✧⚠│┃\u{fe0f} -]{0,6}",
            ], 0..12)
        ) {
            let once = disarm(&parts.concat()).into_owned();
            prop_assert_eq!(&disarm(&once), &once);
            for mark in ["[LOBBY]", "[DM]", "[AI]", "[AI ", "[just now]", "╰─>", "──", "✦", "✧", "⚠", "│"] {
                prop_assert!(!once.to_lowercase().contains(&mark.to_lowercase()), "{:?}", once);
            }
        }
    }
}
