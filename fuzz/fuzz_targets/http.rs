//! Fuzzes what `properties/http.rs` says.

#![no_main]

#[path = "../properties/http.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|data: &[u8]| property::check(data));
