//! Replies of name servers: whatever the bytes, reading them ends, and only a reply to the question
//! that was asked gives addresses.
//!
//! The first byte says how the rest is used: as a whole message, as what follows the right question,
//! or as the text of a file of hosts and name servers.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mio_chat::dns::{
    HostName, Hosts, Kind, Reply, ReplyError, TcpFramer, name_servers, query, reply,
};
use mio_chat::limits::{DNS_ADDRESSES, DNS_SERVERS};

const ID: u16 = 0x1234;

fn check(bytes: &[u8], kind: Kind) {
    let [name, other] = ["api.example", "evil.example"].map(|text| HostName::parse(text).unwrap());
    let read = reply(bytes, ID, &name, kind);
    if let Ok(Reply::Addresses { addrs, .. }) = &read {
        assert!((1..=DNS_ADDRESSES).contains(&addrs.len()));
        assert!(addrs.iter().all(|addr| addr.is_ipv4() == (kind == Kind::A)));
        assert!(bytes.starts_with(&ID.to_be_bytes()));
    }
    if read != Err(ReplyError::NotOurs) {
        let other_kind = if kind == Kind::A { Kind::Aaaa } else { Kind::A };
        for wrong in [
            reply(bytes, ID ^ 1, &name, kind),
            reply(bytes, ID, &other, kind),
            reply(bytes, ID, &name, other_kind),
        ] {
            assert_eq!(wrong, Err(ReplyError::NotOurs));
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&how, rest)) = data.split_first() else { return };
    let kind = if how & 1 == 0 { Kind::A } else { Kind::Aaaa };
    match (how >> 1) % 3 {
        0 => {
            check(rest, kind);
            let mut input = rest;
            let mut framer = TcpFramer::default();
            while let Some(message) = framer.next_message(&mut input) {
                check(&message, kind);
            }
            assert!(input.is_empty());
        }
        1 => {
            // Two bytes of flags, six of counts; then what follows the question.
            let Some((header, records)) = rest.split_at_checked(8) else { return };
            let mut message = query(ID, &HostName::parse("api.example").unwrap(), kind);
            message[2..4].copy_from_slice(&header[..2]);
            message[6..12].copy_from_slice(&header[2..]);
            message[2] |= 0x80;
            message.extend(records);
            check(&message, kind);
        }
        _ => {
            let text = String::from_utf8_lossy(rest);
            let _ = Hosts::parse(&text);
            assert!((1..=DNS_SERVERS).contains(&name_servers(&text).len()));
        }
    }
});
