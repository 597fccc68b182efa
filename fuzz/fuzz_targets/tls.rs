//! Fuzzes what `properties/tls.rs` says.

#![no_main]

#[path = "../properties/tls.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|data: &[u8]| property::check(data));
