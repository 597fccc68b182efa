//! Fuzzes what `properties/gemini.rs` says.

#![no_main]

#[path = "../properties/harmless.rs"]
mod harmless;
#[path = "../properties/gemini.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|data: &[u8]| property::check(data));
