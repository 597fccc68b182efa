//! Finds the nearest of several names to a mistyped one.
//!
//! Counts missing, extra and wrong letters, and neighbours that are swapped, without regard to case
//! (the optimal string alignment distance). Work is bounded: only few mistakes, short names, and a
//! limited number of candidates are considered. Owns no state.

use std::cmp::Ordering;

use crate::limits::{LOBBY_NAME_CHARS, NEAREST_CANDIDATES};

/// The most mistakes that are tolerated.
const MOST: usize = 3;
/// The longest text that anything is compared with: a bit for each letter has to fit into a word.
const LONGEST: usize = *LOBBY_NAME_CHARS.end() + MOST;
const _: () = assert!(LONGEST < 64);

/// What was mistyped.
#[derive(Debug)]
pub(super) struct Mistyped<'a> {
    text: &'a str,
    most: usize,
}

impl<'a> Mistyped<'a> {
    /// A name, in which every third letter may be wrong, three at most.
    pub(super) fn name(text: &'a str) -> Self {
        Self { text, most: (text.len() / 3).clamp(1, MOST) }
    }

    /// One of a few words, in which every second letter may be wrong.
    pub(super) fn word(text: &'a str) -> Self {
        Self { text, most: (text.len() / 2).clamp(1, MOST) }
    }

    /// The nearest of these, if it is near enough; of several that are equally near, the first in
    /// alphabetical order. Looks at [`NEAREST_CANDIDATES`].
    pub(super) fn nearest<'n>(&self, among: impl Iterator<Item = &'n str>) -> Option<&'n str> {
        if !(2..=LONGEST).contains(&self.text.len()) {
            return None;
        }
        let pattern = Pattern::new(self.text.as_bytes());
        let (mut best, mut most) = (None::<&str>, self.most);
        for name in among.take(NEAREST_CANDIDATES) {
            if name.len().abs_diff(self.text.len()) > most {
                continue;
            }
            let distance = pattern.distance(name.as_bytes());
            let is_first = |best: &str| compare(name, best).is_lt();
            if distance < most || (distance == most && best.is_none_or(is_first)) {
                (best, most) = (Some(name), distance);
            }
        }
        best
    }
}

/// Compares two names without regard to case.
fn compare(one: &str, other: &str) -> Ordering {
    let lower = |text: &'_ str| text.bytes().map(|b| b.to_ascii_lowercase()).collect::<Vec<_>>();
    lower(one).cmp(&lower(other))
}

/// A text to compare others with, of 1 to [`LONGEST`] bytes: for every letter, the places where it
/// occurs.
struct Pattern {
    places: [u64; 256],
    len: usize,
}

impl Pattern {
    fn new(text: &[u8]) -> Self {
        let mut places = [0; 256];
        for (at, b) in text.iter().enumerate() {
            for letter in [b.to_ascii_lowercase(), b.to_ascii_uppercase()] {
                if let Some(places) = places.get_mut(usize::from(letter)) {
                    *places |= 1 << at;
                }
            }
        }
        Self { places, len: text.len() }
    }

    /// The number of mistakes between the two. Works on a column of the usual table at once, with a
    /// bit for each step up or down (Hyyrö, "A Bit-Vector Algorithm for Computing Levenshtein and
    /// Damerau Edit Distances", 2003).
    fn distance(&self, other: &[u8]) -> usize {
        let last = 1 << (self.len - 1);
        let (mut up, mut down, mut diagonal, mut before) = (u64::MAX, 0_u64, 0_u64, 0_u64);
        let mut distance = self.len;
        for b in other {
            let here = self.places.get(usize::from(*b)).copied().unwrap_or(0);
            let swapped = ((!diagonal & here) << 1) & before;
            diagonal = ((here & up).wrapping_add(up) ^ up) | here | down | swapped;
            let more = down | !(diagonal | up);
            let fewer = diagonal & up;
            distance += usize::from(more & last != 0);
            distance -= usize::from(fewer & last != 0);
            let (more, fewer) = ((more << 1) | 1, fewer << 1);
            up = fewer | !(diagonal | more);
            down = more & diagonal;
            before = here;
        }
        distance
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name<'a>(text: &str, among: &[&'a str]) -> Option<&'a str> {
        Mistyped::name(text).nearest(among.iter().copied())
    }

    #[test]
    fn the_nearest_name_is_found_and_none_that_is_far() {
        let here = ["alice", "bob", "carol", "Dave-2", "erin"];
        for (typed, meant) in [
            ("alcie", Some("alice")),
            ("ALIC", Some("alice")),
            ("alicee", Some("alice")),
            ("bbo", Some("bob")),
            ("bo", Some("bob")),
            ("Bop", Some("bob")),
            ("dave2", Some("Dave-2")),
            ("dvae-3", Some("Dave-2")),
            ("erni", Some("erin")),
            ("somebody", None),
            ("alfred", None),
            ("b", None),
            ("", None),
            ("é", None),
        ] {
            assert_eq!(name(typed, &here), meant, "{typed}");
        }
        assert_eq!(name("bbb", &["bbc", "bab", "Bba", "xbb"]), Some("bab"));
        assert_eq!(name("user1", &["user2", "user11", "user"]), Some("user"));
        assert_eq!(name(&"x".repeat(200), &["x"]), None);
        assert_eq!(Mistyped::word("/exit").nearest(["/quit", "/help"].into_iter()), Some("/quit"));
        assert_eq!(Mistyped::word("/hlep").nearest(["/quit", "/help"].into_iter()), Some("/help"));
    }

    /// The whole table, as in every textbook.
    fn plain_distance(one: &str, other: &str) -> usize {
        let (one, other) = (one.to_lowercase().into_bytes(), other.to_lowercase().into_bytes());
        let mut table = vec![vec![0; other.len() + 1]; one.len() + 1];
        for i in 0..=one.len() {
            for j in 0..=other.len() {
                table[i][j] = if i == 0 || j == 0 {
                    i + j
                } else {
                    let change = table[i - 1][j - 1] + usize::from(one[i - 1] != other[j - 1]);
                    let step = (table[i - 1][j] + 1).min(table[i][j - 1] + 1).min(change);
                    if i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] {
                        step.min(table[i - 2][j - 2] + 1)
                    } else {
                        step
                    }
                };
            }
        }
        table[one.len()][other.len()]
    }

    proptest! {
        #[test]
        fn mistakes_are_counted_like_in_the_whole_table(
            one in "[abA]{1,9}", other in "[abB]{0,9}"
        ) {
            let distance = Pattern::new(one.as_bytes()).distance(other.as_bytes());
            prop_assert_eq!(distance, plain_distance(&one, &other));
        }

        #[test]
        fn names_of_any_length_can_be_compared(one in "[a-c]{0,40}", other in "[a-c]{0,40}") {
            let near = Mistyped::name(&one).nearest([&*other].into_iter());
            let most = (one.len() / 3).clamp(1, 3);
            let is_near = (2..=LONGEST).contains(&one.len()) && plain_distance(&one, &other) <= most;
            prop_assert_eq!(near.is_some(), is_near);
        }
    }
}
