//! Fuzzes what `properties/line.rs` says.

#![no_main]

#[path = "../properties/line.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|data: &[u8]| property::check(data));
