//! The text of one line of Markdown, without its marks: code spans, links, emphasis.
//!
//! Follows CommonMark (0.31), but in doubt a character stays, so that `snake_case`, `2 * 3` and
//! `**kwargs` survive. Nothing is added except the space before a link's address. The time taken
//! grows with the length of a line, not with its square. Owns no state.

use std::collections::BTreeSet;

/// Text without marks: code spans and links first, since emphasis does not reach into them.
pub(super) fn inline(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    drop_emphasis(&Spans { chars: &chars, ..Spans::default() }.tokens())
}

/// A character of a line, and whether it can still be part of an emphasis mark.
#[derive(Clone, Copy)]
struct Token {
    c: char,
    literal: bool,
}

/// The first pass over a line.
#[derive(Default)]
struct Spans<'a> {
    chars: &'a [char],
    out: Vec<Token>,
    /// The link whose text is being read: where the text ends, the address, and where the link
    /// ends.
    link: Option<(usize, String, usize)>,
    /// Lengths of runs of backticks that do not occur again in this line.
    unmatched: BTreeSet<usize>,
}

impl Spans<'_> {
    fn tokens(mut self) -> Vec<Token> {
        let mut at = 0;
        while let Some(c) = self.at(at) {
            at = self.take(c, at);
        }
        self.out
    }

    fn at(&self, at: usize) -> Option<char> {
        self.chars.get(at).copied()
    }

    /// Reads what begins with `c` at `at`, and says where the next thing begins.
    fn take(&mut self, c: char, at: usize) -> usize {
        // A code span may have gone beyond the end of the text: then it was not a link.
        if let Some((close, url, end)) = self.link.take_if(|(close, _, _)| at >= *close)
            && close == at
        {
            self.literally(url.chars());
            return end;
        }
        match c {
            '\\' if self.at(at + 1).is_some_and(|next| "*_`[]#~".contains(next)) => {
                self.literally(self.at(at + 1));
                return at + 2;
            }
            '`' => return self.code(at),
            '!' if self.at(at + 1) == Some('[') => {
                if let Some(link) = self.link_at(at + 1) {
                    self.link = Some(link);
                    return at + 2;
                }
            }
            '[' => {
                if let Some(link) = self.link_at(at) {
                    self.link = Some(link);
                    return at + 1;
                }
            }
            _ => {}
        }
        self.out.push(Token { c, literal: false });
        at + 1
    }

    fn literally(&mut self, chars: impl IntoIterator<Item = char>) {
        self.out.extend(chars.into_iter().map(|c| Token { c, literal: true }));
    }

    /// A code span (section 6.1), or backticks that are just backticks.
    fn code(&mut self, at: usize) -> usize {
        let open = self.run(at);
        let begin = at + open;
        let mut next = begin;
        while !self.unmatched.contains(&open) && self.at(next).is_some() {
            let run = self.run(next);
            if run == open {
                let inside = self.chars.get(begin..next).unwrap_or_default();
                let inside = match inside {
                    [' ', padded @ .., ' '] if padded.iter().any(|c| *c != ' ') => padded,
                    inside => inside,
                };
                self.out.extend(inside.iter().map(|c| Token { c: *c, literal: true }));
                return next + run;
            }
            next += run.max(1);
        }
        self.unmatched.insert(open);
        self.literally(std::iter::repeat_n('`', open));
        begin
    }

    /// How many backticks there are from `at` on.
    fn run(&self, at: usize) -> usize {
        self.chars.iter().skip(at).take_while(|c| **c == '`').count()
    }

    /// The link (section 6.3) whose text begins behind the bracket at `at`: where that text ends, how
    /// its address is shown, where the link ends.
    fn link_at(&self, at: usize) -> Option<(usize, String, usize)> {
        // Anything longer is not a link that somebody wrote; this also keeps reading any line fast.
        const MAX_TEXT: usize = 200;
        const MAX_TARGET: usize = 1000;
        let begin = at + 1;
        let text = self.chars.iter().skip(begin).take(MAX_TEXT);
        let close = begin + text.clone().position(|c| matches!(c, '[' | ']'))?;
        if self.at(close) != Some(']') || self.at(close + 1) != Some('(') {
            return None;
        }
        if text.clone().take(close - begin).filter(|c| **c == '`').count() % 2 == 1 {
            return None;
        }
        let mut depth = 0_usize;
        let target = self.chars.iter().skip(close + 2).take(MAX_TARGET);
        let length = target.clone().position(|c| match c {
            '(' => {
                depth += 1;
                false
            }
            ')' if depth == 0 => true,
            ')' => {
                depth -= 1;
                false
            }
            _ => false,
        })?;
        let target: String = target.take(length).collect();
        let url = target.split_whitespace().next().unwrap_or_default();
        let url = url.trim_start_matches('<').trim_end_matches('>');
        let text: String = text.take(close - begin).collect();
        let shown = match url {
            "" => String::new(),
            url if url == text || url.strip_prefix("mailto:") == Some(&text) => String::new(),
            url if text.is_empty() => url.to_owned(),
            url => format!(" ({url})"),
        };
        Some((close, shown, close + 3 + length))
    }
}

/// Drops the marks of emphasis that belong together (section 6.2; in doubt they stay: between two
/// letters or digits a `*` is a product, and a `**` opens nothing).
fn drop_emphasis(tokens: &[Token]) -> String {
    let mut dropped = vec![false; tokens.len()];
    // Open runs, for each mark: where the remaining marks end, and how many there are.
    let (mut stars, mut bars) = (Vec::new(), Vec::new());
    let mut at = 0;
    while let Some(&Token { c, literal }) = tokens.get(at) {
        let same = |token: &&Token| token.c == c && !token.literal;
        let length = match c {
            '*' | '_' if !literal => tokens.iter().skip(at).take_while(same).count(),
            _ => 1,
        };
        let begin = at;
        at += length;
        let open = match c {
            '*' if !literal => &mut stars,
            '_' if !literal => &mut bars,
            _ => continue,
        };
        let before = begin.checked_sub(1).and_then(|i| tokens.get(i)).map_or(' ', |t| t.c);
        let after = tokens.get(at).map_or(' ', |t| t.c);
        let (can_open, can_close) = flanks(c, length, before, after);
        let mut left = length;
        while can_close && left > 0 {
            let Some((end, count)) = open.pop() else { break };
            // Two mean strong emphasis, one plain.
            let pair = if left >= 2 && count >= 2 { 2 } else { 1 };
            let first = begin + length - left;
            for i in (end - pair..end).chain(first..first + pair) {
                if let Some(drop) = dropped.get_mut(i) {
                    *drop = true;
                }
            }
            left -= pair;
            if count > pair {
                open.push((end - pair, count - pair));
            }
        }
        if can_open && left > 0 {
            open.push((at, left));
        }
    }
    let kept = tokens.iter().zip(dropped).filter(|(_, dropped)| !dropped);
    kept.map(|(token, _)| token.c).collect()
}

/// Whether a run of marks between these two characters can open emphasis, and whether it can close
/// it. Only ASCII punctuation counts: that of other scripts is written without spaces next to
/// emphasis.
fn flanks(mark: char, length: usize, before: char, after: char) -> (bool, bool) {
    let (space, punct) = (char::is_whitespace, |c: char| c.is_ascii_punctuation());
    let left = !space(after) && (!punct(after) || space(before) || punct(before));
    let right = !space(before) && (!punct(before) || space(after) || punct(after));
    match mark {
        '_' => (left && (!right || punct(before)), right && (!left || punct(after))),
        _ if before.is_ascii_alphanumeric() && after.is_ascii_alphanumeric() => {
            (false, length >= 2)
        }
        _ => (left, right),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn emphasis_is_unwrapped() {
        for (written, plain) in [
            ("**bold** and *em*", "bold and em"),
            ("__bold__ and _em_", "bold and em"),
            ("***both***, **a *b* c**", "both, a b c"),
            ("***a* b** and ***a** b*", "a b and a b"),
            ("***a* b** c**", "a b c**"),
            ("a *(b)* c *\"d\"*, e", "a (b) c \"d\", e"),
            ("**Note:** this (*really*)!", "Note: this (really)!"),
            ("**Note**s", "Notes"),
            ("これは**太字**です。**「引用」**です", "これは太字です。「引用」です"),
            ("**`code`** and *[a](b)*", "code and a (b)"),
        ] {
            assert_eq!(inline(written), plain, "{written}");
        }
    }

    #[test]
    fn what_only_looks_like_emphasis_stays() {
        for plain in [
            "snake_case and _private and a_b_c, __dunder",
            "2 * 3 * 4 = 24, 2*3*4, 2**3**4",
            "f(*args, **kwargs)",
            "char *a, *b;",
            "a*(b+c)*d",
            "* and ** and _ and __",
            "**open",
            "closed**",
            "5 * 3*",
            "it's ~/bin or ~~this~~",
            "C:\\new\\*",
            "a [b] (c) [d][e] [f](g",
            "wow!x](u), [a[(b), [a]xb)",
            "(_ a_ and _a _)",
            "日_本_語",
        ] {
            let kept = plain.replace("\\*", "*");
            assert_eq!(inline(plain), kept);
        }
    }

    #[test]
    fn code_spans_are_kept_as_they_are() {
        for (written, plain) in [
            ("`**kwargs` and `a_b_c`", "**kwargs and a_b_c"),
            ("``a`b`` and `` ` ``", "a`b and `"),
            ("`[a](b)` and ` x `", "[a](b) and x"),
            ("`\\*` and \\*not em\\*", "\\* and *not em*"),
            ("\\_not em\\_", "_not em_"),
            ("a`   `b", "a   b"),
            ("`open and ``closed``", "`open and closed"),
            ("**`a` and `b`**", "a and b"),
            ("``", "``"),
        ] {
            assert_eq!(inline(written), plain, "{written}");
        }
    }

    #[test]
    fn links_show_their_address() {
        for (written, plain) in [
            ("[docs](https://a.b/c_d_e)", "docs (https://a.b/c_d_e)"),
            ("see [**the** docs](<u> \"title\").", "see the docs (u)."),
            ("[w](https://e.org/x_(y))!", "w (https://e.org/x_(y))!"),
            ("[https://a.b](https://a.b)", "https://a.b"),
            ("[me@a.b](mailto:me@a.b)", "me@a.b"),
            ("![a cat](cat.png)", "a cat (cat.png)"),
            ("[](u) [t]() x", "u t x"),
            ("[a `b](c)` d", "[a b](c) d"),
            ("[``a`b](c)`` d]", "[a`b](c) d]"),
            ("[a](b)[c](d)", "a (b)c (d)"),
            ("[a](b`c)", "a (b`c)"),
            ("see [a `b](c)` d", "see [a b](c) d"),
            ("[a(b)c](a(b)c)", "a(b)c"),
        ] {
            assert_eq!(inline(written), plain, "{written}");
        }
    }

    #[test]
    fn hostile_lines_are_read_quickly() {
        for piece in ["*a ", "**a", "_a ", "[", "[x](", "`", "` `` ", "![", "]( ", "*a**b***c"] {
            let line = piece.repeat(8192 / piece.len());
            assert!(inline(&line).len() <= line.len());
        }
    }

    proptest! {
        #[test]
        fn nothing_is_added_and_plain_text_is_unchanged(
            line in "[-*_`~#\\[\\]()! ab1\\\\>é。]{0,40}", plain in "[a-z0-9 ,.:;?é日(]{0,40}",
        ) {
            // A link without a space before its address gets one, for the bracket that went.
            prop_assert!(inline(&line).chars().count() <= line.chars().count());
            prop_assert_eq!(inline(&plain), plain);
        }
    }
}
