//! Markdown to plain text, a line at a time: whatever a reader at a terminal does not need is
//! dropped.
//!
//! Knows the blocks of CommonMark (0.31) that models write: fences, headings, list markers, rules;
//! what is inside a line is `inline`'s business. Takes cleaned lines; the only state is whether a
//! fence is open.

use super::inline::inline;

/// What a line of Markdown is in plain text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// It is only a mark: a fence.
    Nothing,
    /// It is a separator: an empty line, or a rule.
    Blank,
    /// Code, unchanged.
    Code(String),
    /// Text after a prefix (indentation, list marker), by which its further rows are indented.
    Text(String, String),
}

/// The reader of one answer's lines.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// The open fence: its character and its length.
    fence: Option<(char, usize)>,
}

impl Reader {
    /// Whether the next line is code, unless it closes the fence.
    pub(super) fn in_code(&self) -> bool {
        self.fence.is_some()
    }

    /// Reads the next line, which has been cleaned.
    pub(super) fn read(&mut self, line: &str) -> Block {
        let rest = line.trim();
        if let Some((mark, length)) = self.fence {
            let closes = rest.len() >= length && rest.chars().all(|c| c == mark);
            return match rest {
                _ if closes => {
                    self.fence = None;
                    Block::Nothing
                }
                "" => Block::Blank,
                _ => Block::Code(line.trim_end().to_owned()),
            };
        }
        if let Some(fence) = opened_fence(rest) {
            self.fence = Some(fence);
            return Block::Nothing;
        }
        if rest.is_empty() || is_rule(rest) {
            return Block::Blank;
        }
        if let Some(title) = heading(rest) {
            return match title {
                "" => Block::Blank,
                title => Block::Text(String::new(), inline(title)),
            };
        }
        // Indentation deeper than any list only gets in the way.
        const MAX_INDENT: usize = 12;
        let indent = (line.len() - line.trim_start_matches(' ').len()).min(MAX_INDENT);
        let (marker, rest) = list_item(rest).unwrap_or((String::new(), rest));
        Block::Text(" ".repeat(indent) + &marker, inline(rest))
    }
}

/// The character and the length of the fence that this line opens, if it opens one (section 4.5).
fn opened_fence(rest: &str) -> Option<(char, usize)> {
    let mark = rest.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let info = rest.trim_start_matches(mark);
    let length = rest.len() - info.len();
    // With a backtick after it, it is a code span.
    (length >= 3 && !(mark == '`' && info.contains('`'))).then_some((mark, length))
}

/// Three or more of the same `-`, `*` or `_`, with or without spaces between (section 4.1).
fn is_rule(rest: &str) -> bool {
    let mut marks = rest.chars().filter(|c| *c != ' ');
    let first = marks.next();
    matches!(first, Some('-' | '*' | '_')) && {
        let others: Vec<_> = marks.collect();
        others.len() >= 2 && others.iter().all(|c| Some(*c) == first)
    }
}

/// The text of a heading, without the marks before and after it (section 4.2).
fn heading(rest: &str) -> Option<&str> {
    let text = rest.trim_start_matches('#');
    let level = rest.len() - text.len();
    if !(1..=6).contains(&level) || !(text.is_empty() || text.starts_with(' ')) {
        return None;
    }
    let bare = text.trim_end_matches('#');
    Some(if bare.is_empty() || bare.ends_with(' ') { bare } else { text }.trim())
}

/// The marker of a list item, as it is shown, and what follows it (section 5.2).
fn list_item(rest: &str) -> Option<(String, &str)> {
    let (marker, text) = rest.split_once(' ')?;
    let shown = match marker {
        "-" | "*" | "+" => "- ".to_owned(),
        _ => {
            let digits = marker.strip_suffix(['.', ')'])?;
            let is_number = (1..=9).contains(&digits.len());
            (is_number && digits.bytes().all(|b| b.is_ascii_digit()))
                .then(|| format!("{marker} "))?
        }
    };
    Some((shown, text.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Vec<Block> {
        let mut reader = Reader::default();
        lines.iter().map(|line| reader.read(line)).collect()
    }

    fn text(prefix: &str, rest: &str) -> Block {
        Block::Text(prefix.to_owned(), rest.to_owned())
    }

    fn code(line: &str) -> Block {
        Block::Code(line.to_owned())
    }

    #[test]
    fn blocks() {
        assert_eq!(read(&["## A **title** ##"]), [text("", "A title")]);
        assert_eq!(
            read(&["# C#", "#hash", "#"]),
            [text("", "C#"), text("", "#hash"), Block::Blank]
        );
        assert_eq!(
            read(&["*   one", "  + two", "10. ten", "3) three", "- "]),
            [
                text("- ", "one"),
                text("  - ", "two"),
                text("10. ", "ten"),
                text("3) ", "three"),
                text("", "-"),
            ]
        );
        for blank in ["", "   ", "---", "* * *", "_____"] {
            assert_eq!(read(&[blank]), [Block::Blank], "{blank:?}");
        }
        for kept in ["> quoted", "--", "3.14 is pi", "a # b", "-5", "####### seven"] {
            assert_eq!(read(&[kept]), [text("", kept)]);
        }
    }

    #[test]
    fn a_number_of_a_list_has_one_to_nine_digits() {
        assert_eq!(list_item("123456789. x"), Some(("123456789. ".to_owned(), "x")));
        assert_eq!(
            (list_item("1234567890. x"), list_item("a. x"), list_item(". x")),
            Default::default()
        );
    }

    #[test]
    fn fences_go_and_their_content_stays() {
        use Block::{Blank, Nothing};
        assert_eq!(
            read(&["```rust", "  let a_b = *c * d; // **x**", "", "# no title", "```", "*em*"]),
            [
                Nothing,
                code("  let a_b = *c * d; // **x**"),
                Blank,
                code("# no title"),
                Nothing,
                text("", "em"),
            ]
        );
        assert_eq!(
            read(&["~~~~", "```", "~~~", "~~~~~ ", "x"]),
            [Nothing, code("```"), code("~~~"), Nothing, text("", "x")]
        );
        assert_eq!(read(&["```one line```"]), [text("", "one line")]);
    }
}
