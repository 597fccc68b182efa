//! Fuzzes what `properties/text.rs` says.

#![no_main]

#[path = "../properties/harmless.rs"]
mod harmless;
#[path = "../properties/text.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|data: &[u8]| property::check(data));
