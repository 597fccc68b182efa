//! A small source of random numbers that a seed repeats.

#![allow(dead_code)]

use std::ops::Range;
use std::time::Duration;

/// SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The numbers of one stream of a seed: what one client does is the same whatever others do.
    pub fn of(seed: u64, stream: u64) -> Self {
        let mut random = Self(seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95));
        random.number();
        random
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.number() % bound as u64) as usize
    }

    pub fn within(&mut self, range: Range<usize>) -> usize {
        range.start + self.below(range.end - range.start)
    }

    pub fn millis(&mut self, range: Range<u64>) -> Duration {
        // Finer than milliseconds: a password round takes a fraction of one.
        let (from, to) = (range.start * 1000, range.end * 1000);
        Duration::from_micros(from + self.number() % (to - from))
    }

    /// True once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// The value of one row, as often as its weight says.
    pub fn weighted<T: Copy>(&mut self, rows: &[(usize, T)]) -> T {
        let mut n = self.below(rows.iter().map(|(weight, _)| weight).sum());
        for (weight, value) in rows {
            match n.checked_sub(*weight) {
                Some(left) => n = left,
                None => return *value,
            }
        }
        unreachable!("the weights were summed up")
    }
}
