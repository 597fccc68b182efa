//! Fuzzes what `properties/dns.rs` says.

#![no_main]

#[path = "../properties/dns.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|data: &[u8]| property::check(data));
