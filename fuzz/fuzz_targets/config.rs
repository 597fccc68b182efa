//! Fuzzes what `properties/config.rs` says.

#![no_main]

#[path = "../properties/harmless.rs"]
mod harmless;
#[path = "../properties/config.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|data: &[u8]| property::check(data));
