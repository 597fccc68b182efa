//! Fuzzes what `properties/proxy.rs` says.

#![no_main]

#[path = "../properties/proxy.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|data: &[u8]| property::check(data));
