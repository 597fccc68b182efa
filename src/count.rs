//! A number and what it counts, as they appear in a sentence: `1 line`, `2 lines`.
//!
//! Knows only nouns whose plural is formed with an `s`.

use std::fmt;

/// A number of things. `Display` is for a sentence.
#[derive(Debug, Clone, Copy)]
pub struct Count(u64, &'static str);

/// The number and the noun: `second` is for `0 seconds`, `1 second`, `2 seconds`.
#[must_use]
pub fn count(n: u64, noun: &'static str) -> Count {
    Count(n, noun)
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(n, noun) = self;
        write!(f, "{n} {noun}{}", if *n == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_no_plural_and_none_is() {
        let shown = [0, 1, 2, 1000].map(|n| count(n, "line").to_string());
        assert_eq!(shown, ["0 lines", "1 line", "2 lines", "1000 lines"]);
    }
}
