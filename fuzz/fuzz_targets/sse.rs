//! Fuzzes what `properties/sse.rs` says.

#![no_main]

#[path = "../properties/sse.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|data: &[u8]| property::check(data));
