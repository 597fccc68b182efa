//! Wrapping: how many columns a text may take on a terminal, and where its rows end.
//!
//! Widths are the widest that any terminal draws, so that no row unexpectedly continues at the left
//! edge of a screen. Owns no state and no layout: what comes before a row is the caller's business.

use std::ops::Range;

use unicode_width::UnicodeWidthChar as _;

use crate::limits::MAX_MARKS_PER_BASE;

/// The most columns that `c` can take, whatever is next to it. Terminals that do not know emoji
/// sequences or ligatures draw each character by itself, so these get no discount: a thumb with a
/// skin tone has 4 columns. Neither do marks, except those that all terminals know: xterm, VTE, tmux
/// and screen have tables of different years, and each draws some vowel signs of India on the
/// character before them and others in a column of their own.
#[must_use]
pub fn columns(c: char) -> usize {
    match c {
        ' '..='~' => 1,
        // The marks of Latin letters, the joiners, the selector of text, the tags of flags.
        '\u{300}'..='\u{36f}'
        | '\u{200c}'
        | '\u{200d}'
        | '\u{fe0e}'
        | '\u{e0020}'..='\u{e007f}' => 0,
        // Alone a letter in a box, in pairs a flag: each may be drawn as wide as a flag.
        '\u{1f1e6}'..='\u{1f1ff}' => 2,
        // Numbers in black squares, tone marks of Hangul, signs of Vietnamese: wide for glibc.
        '\u{3248}'..='\u{324f}' | '\u{302e}' | '\u{302f}' | '\u{16ff0}' | '\u{16ff1}' => 2,
        _ => c.width().unwrap_or(1).max(1),
    }
}

/// Whether `c` is a mark on the character before it, or changes how that is drawn.
#[must_use]
pub fn is_mark(c: char) -> bool {
    c.width() == Some(0)
}

/// The most columns that `text` can take. Never more than it has bytes.
#[must_use]
pub fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

/// What becomes of a word of plain ASCII that is longer than a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LongWord {
    /// It stays whole, wider than its row and alone in it, so that an address can be copied.
    Stays,
    /// It is broken where the row is full, as all other words are.
    Breaks,
}

/// Breaks a text without line breaks into rows: the first has `first` columns, every other `room`,
/// at least one. Rows end at blanks, which are dropped there, or between characters of two columns,
/// since scripts that have those are written without blanks. A longer word is broken where the row is
/// full, or stays whole if it is plain ASCII.
pub fn rows(text: &str, first: usize, room: usize, long: LongWord) -> impl Iterator<Item = &str> {
    ranges(text, first, room, long).map(|range| cut(text, range))
}

/// The same; gives where the rows stand in the text. Between them are nothing but blanks.
pub fn ranges(
    text: &str,
    first: usize,
    room: usize,
    long: LongWord,
) -> impl Iterator<Item = Range<usize>> {
    let mut rest = Some(text);
    let mut first = Some(first);
    let mut word = Word { long, behind: None, stays: false };
    std::iter::from_fn(move || {
        let here = rest?;
        let columns = first.take().unwrap_or(room);
        let (row, next) = row(here, columns, columns < room, &mut word);
        rest = next;
        let start = text.len() - here.len();
        Some(start..start + row.len())
    })
}

/// A word that takes more than one row, so that it is looked through once and not for each of them.
struct Word {
    long: LongWord,
    /// Bytes of the text that are left behind it; the text gets shorter with every row.
    behind: Option<usize>,
    /// It is not to be broken.
    stays: bool,
}

impl Word {
    /// Where the word ends with which `text` begins, and whether it stays whole.
    fn end(&mut self, text: &str) -> (usize, bool) {
        if let Some(end) = self.behind.and_then(|behind| text.len().checked_sub(behind))
            && end > 0
        {
            return (end, self.stays);
        }
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        self.behind = Some(text.len() - end);
        self.stays = self.long == LongWord::Stays && cut(text, ..end).is_ascii();
        (end, self.stays)
    }
}

/// The first row of a text, and what follows it, if anything. With `roomier`, the next row has more
/// room than this one, so what does not fit here is better off there.
fn row<'a>(
    text: &'a str,
    room: usize,
    roomier: bool,
    word: &mut Word,
) -> (&'a str, Option<&'a str>) {
    // Where the row may end, and where the next one then begins.
    let mut end: Option<(usize, usize)> = roomier.then_some((0, 0));
    let mut used = 0;
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        if c.is_whitespace() {
            if !before.is_whitespace() || at == 0 {
                end = Some((at, at + c.len_utf8()));
            } else if let Some((_, next)) = &mut end {
                *next = at + c.len_utf8();
            }
        } else if at > 0 && !before.is_whitespace() && may_part(before, c) {
            end = Some((at, at));
        }
        used += columns(c);
        if used > room && !c.is_whitespace() {
            return match end {
                Some((end, next)) => (cut(text, ..end), Some(cut(text, next..))),
                None => overlong(text, room, word),
            };
        }
        before = c;
    }
    (text.trim_end(), None)
}

/// Columns of a character with all the marks that may follow it.
const WIDEST_LETTER: usize = 2 + 2 * MAX_MARKS_PER_BASE;
/// Columns that joined characters take together without being parted: those of the longest emoji.
const WIDEST_JOINED: usize = 16 + WIDEST_LETTER;

/// A row that begins with a word too long for it.
fn overlong<'a>(text: &'a str, room: usize, word: &mut Word) -> (&'a str, Option<&'a str>) {
    let (word_end, stays) = word.end(text);
    let word = cut(text, ..word_end);
    if stays {
        let next = cut(text, word_end..).trim_start();
        return (word, Some(next).filter(|next| !next.is_empty()));
    }
    let (mut used, mut start, mut begun, mut last) = (0, 0, 0, '\0');
    for (at, c) in word.char_indices() {
        // What belongs to the character before it stays with that, but not without end: a letter and
        // its marks have to fit behind what is joined already.
        let joined = last == '\u{200d}' && used - begun + WIDEST_LETTER <= room.min(WIDEST_JOINED);
        if !is_mark(c) && !joined {
            (start, begun) = (at, used);
        }
        used += columns(c);
        if used > room && start > 0 {
            return (cut(text, ..start), Some(cut(text, start..)));
        }
        last = c;
    }
    (word, Some(cut(text, word_end..).trim_start()).filter(|next| !next.is_empty()))
}

/// Whether a row may end between these two: both are as wide as Chinese or Japanese characters, and
/// neither belongs to the other.
fn may_part(before: char, after: char) -> bool {
    let wide = |c: char| columns(c) == 2 && !matches!(c, '\u{1f1e6}'..='\u{1f1ff}');
    let modifies = matches!(after, '\u{1f3fb}'..='\u{1f3ff}') || is_mark(after);
    let closes =
        matches!(after, '、' | '。' | '，' | '．' | '」' | '』' | '）' | '！' | '？' | '：' | '；');
    wide(before) && wide(after) && !modifies && !closes
}

fn cut<R: std::slice::SliceIndex<str, Output = str>>(text: &str, range: R) -> &str {
    text.get(range).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn broken(text: &str, room: usize) -> Vec<&str> {
        rows(text, room, room, LongWord::Stays).collect()
    }

    #[test]
    fn widths_are_never_less_than_terminals_draw() {
        for (text, columns) in [
            ("abc", 3),
            ("日本", 4),
            ("e\u{301}", 1),
            ("👍🏽", 4),
            ("🇩🇪", 4),
            ("❤\u{fe0f}", 2),
            ("\u{231a}\u{fe0e}", 2),
            ("\u{644}\u{627}", 2),
            ("\u{bb2}\u{bbe}", 2),
            (".\u{302e}\u{302e}", 5),
            ("\u{3248}", 2),
            ("\u{1ad0}\u{897}\u{1d165}", 3),
        ] {
            assert_eq!(width(text), columns, "{text}");
        }
    }

    #[test]
    fn rows_end_at_blanks() {
        assert_eq!(broken("", 5), [""]);
        assert_eq!(broken("one two three", 7), ["one two", "three"]);
        assert_eq!(broken("one two  three", 8), ["one two", "three"]);
        assert_eq!(broken("one  two", 8), ["one  two"]);
        assert_eq!(broken("  one two", 6), ["  one", "two"]);
        assert_eq!(broken("one\u{a0}two", 4), ["one", "two"]);
        assert_eq!(broken("one two   ", 7), ["one two"]);
    }

    #[test]
    fn a_long_word_is_whole_and_alone() {
        let address = "https://example.org/a/b";
        let text = format!("see {address} or ask");
        assert_eq!(broken(&text, 10), ["see", address, "or ask"]);
        assert_eq!(broken(address, 10), [address]);
        // After blanks as well: they do not push it over the edge.
        assert_eq!(broken("    123456789", 10), ["", "123456789"]);
        let breaking: Vec<_> = rows("see abcdefgh", 6, 4, LongWord::Breaks).collect();
        assert_eq!(breaking, ["see", "abcd", "efgh"]);
        // One that is no ASCII is broken where the row is full, never before a mark.
        assert_eq!(broken("ééééé", 2), ["éé", "éé", "é"]);
        assert_eq!(broken("e\u{301}e\u{301}e\u{301} x", 2), ["e\u{301}e\u{301}", "e\u{301}", "x"]);
    }

    #[test]
    fn wide_characters_part_where_they_stand() {
        assert_eq!(broken("日本語です", 4), ["日本", "語で", "す"]);
        assert_eq!(broken("日本。語", 4), ["日", "本。", "語"]);
        assert_eq!(broken("a👍🏽👍🏽", 5), ["a👍🏽", "👍🏽"]);
    }

    #[test]
    fn a_first_row_without_room_is_left_to_the_next() {
        assert_eq!(
            rows("longer words", 3, 8, LongWord::Stays).collect::<Vec<_>>(),
            ["", "longer", "words"]
        );
        assert_eq!(rows("a longer", 3, 8, LongWord::Stays).collect::<Vec<_>>(), ["a", "longer"]);
    }

    /// A word of which each letter is joined to the one before was whole, however long it was.
    #[test]
    fn what_is_joined_does_not_run_over_its_row() {
        for room in [14, 34, 73, 126] {
            for text in ["x\u{200d}".repeat(200), "x\u{302e}\u{302e}\u{200d}".repeat(99)] {
                for row in rows(&text, room, room, LongWord::Stays) {
                    assert!(width(row) <= room, "{} of {room}: {row:?}", width(row));
                }
            }
        }
        let family = "👨🏽\u{200d}👩🏽\u{200d}👧🏽";
        assert_eq!(broken(&format!("{family}{family}"), 20)[0], family);
    }

    /// Each row of a long word looked through all of the rest of it.
    #[test]
    #[allow(clippy::disallowed_methods)]
    fn no_text_costs_more_than_its_length() {
        for part in ["é", "𝐀", "日", "e\u{301}", "a", "é "] {
            let text = part.repeat(40_000);
            let took = (0..3).map(|_| {
                let began = std::time::Instant::now();
                assert!(rows(&text, 20, 20, LongWord::Stays).count() > 0);
                began.elapsed()
            });
            assert!(took.min().unwrap().as_millis() < 200, "{part:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_but_blanks_is_lost_and_only_long_words_are_wider(
            words in proptest::collection::vec(prop_oneof![
                6 => "[a-z]{1,30}",
                2 => "[日本語の。👍🏽🇩🇪]{1,12}",
                1 => "[é\u{301}❤\u{fe0f}\u{200d}ß]{1,12}",
                1 => "[லா한\u{302e}]{1,12}",
                1 => " {1,4}",
            ], 0..20),
            room in 1usize..40,
            first in 1usize..40,
            long in prop_oneof![Just(LongWord::Stays), Just(LongWord::Breaks)],
        ) {
            let text = words.join(" ");
            let broken: Vec<_> = rows(&text, first.min(room), room, long).collect();
            let solid = |text: &str| text.replace(' ', "");
            prop_assert_eq!(solid(&broken.concat()), solid(&text));
            for (n, row) in broken.iter().enumerate() {
                let room = if n == 0 { first.min(room) } else { room };
                let whole = long == LongWord::Stays && row.is_ascii() && !row.contains(' ');
                let (mut letters, mut last) = (0, ' ');
                for c in row.chars() {
                    letters += usize::from(!is_mark(c) && (last != '\u{200d}' || letters > 2));
                    last = c;
                }
                let single = letters <= 1;
                prop_assert!(width(row) <= room || whole || single, "{:?} in {}", row, room);
            }
        }
    }
}
