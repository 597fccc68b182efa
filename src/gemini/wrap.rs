//! Text to rows of a terminal: no row is wider than requested, and nothing but spaces is lost.
//!
//! Owns no state.

use crate::wrap::{is_mark, width};

/// Breaks `rest`, which follows `prefix`, between words into rows of at most `columns`; further
/// rows are indented by the width of the prefix. A word too long for any row is broken where it has
/// to be. The prefix is much narrower than `columns`.
pub(super) fn words(prefix: &str, rest: &str, columns: usize) -> Vec<String> {
    let indent = " ".repeat(width(prefix));
    let mut rows = Rows { done: Vec::new(), row: prefix.to_owned(), indent, columns };
    let mut gap = String::new();
    let mut first = true;
    for word in rest.split(' ') {
        if word.is_empty() {
            gap.push(' ');
            continue;
        }
        if first {
            gap.clear();
        }
        let whole = format!("{}{gap}{word}", rows.row);
        if width(&whole) <= columns {
            rows.row = whole;
        } else {
            let fits_next = width(&rows.indent) + width(word) <= columns;
            let is_full = width(&rows.row) + gap.len() >= columns;
            if !first && (fits_next || is_full) {
                rows.end();
            } else {
                rows.row.push_str(&gap);
            }
            rows.fill(word);
        }
        first = false;
        gap.clear();
        gap.push(' ');
    }
    rows.end();
    rows.done
}

/// Breaks code into rows of at most `columns`, wherever they are full: joined together again they
/// are the code.
pub(super) fn code(line: &str, columns: usize) -> Vec<String> {
    let mut rows = Rows { done: Vec::new(), row: String::new(), indent: String::new(), columns };
    rows.fill(line);
    rows.end();
    rows.done
}

struct Rows {
    done: Vec<String>,
    row: String,
    indent: String,
    columns: usize,
}

impl Rows {
    fn end(&mut self) {
        let row = std::mem::replace(&mut self.row, self.indent.clone());
        self.done.push(row);
    }

    /// Adds `word` to the row, and to as many more rows as it takes.
    fn fill(&mut self, word: &str) {
        let mut chars = word.chars().peekable();
        while let Some(c) = chars.next() {
            let before = self.row.len();
            self.row.push(c);
            // Marks, joiners and selectors stay with the character they follow.
            while let Some(mark) = chars.next_if(|c| is_mark(*c)) {
                self.row.push(mark);
            }
            if width(&self.row) > self.columns && before > self.indent.len() {
                let last = self.row.split_off(before);
                self.end();
                self.row.push_str(&last);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_stay_whole_and_rows_hang_below_the_text() {
        assert_eq!(words("", "one two three", 7), ["one two", "three"]);
        assert_eq!(words("- ", "one two three", 9), ["- one two", "  three"]);
        assert_eq!(words("", "a  b   c", 4), ["a  b", "c"]);
        assert_eq!(words("  ", "", 10), ["  "]);
    }

    #[test]
    fn long_words_are_broken() {
        assert_eq!(words("", "ab abcdefgh ij", 4), ["ab a", "bcde", "fgh", "ij"]);
        assert_eq!(words("- ", "abcdef", 4), ["- ab", "  cd", "  ef"]);
        assert_eq!(words("", "日本", 1), ["日", "本"]);
        assert_eq!(words("", "日本語 日本語の文", 7), ["日本語", "日本語", "の文"]);
        assert_eq!(
            words("", "abc e\u{301}e\u{301}e\u{301}", 2),
            ["ab", "c", "e\u{301}e\u{301}", "e\u{301}"]
        );
    }

    #[test]
    fn code_is_broken_where_it_has_to_be() {
        assert_eq!(code("    a  b  c", 4), ["    ", "a  b", "  c"]);
        assert_eq!(code("", 4), [""]);
    }

    proptest! {
        #[test]
        fn rows_fit_and_nothing_but_spaces_is_lost(
            text in "([a-z é日\u{200d}👍🏽\u{301}]|❤\u{fe0f}){0,60}", columns in 6_usize..20,
            prefix in "( ){0,2}(- )?",
        ) {
            let squeeze = |text: &str| text.replace(' ', "");
            let rows = words(&prefix, &text, columns);
            for row in &rows {
                prop_assert!(width(row) <= columns, "{:?}", rows);
            }
            prop_assert_eq!(squeeze(&rows.concat()), squeeze(&(prefix + &text)));
            prop_assert_eq!(code(&text, columns).concat(), text);
        }
    }
}
