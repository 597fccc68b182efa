//! Replies of name servers: whatever the bytes, reading them ends, and only a reply to the question
//! that was asked gives addresses.
//!
//! The first byte says how the rest is used: as a whole message and as a stream of them, as what
//! follows the right question, as the addresses of a reply that has to be understood, or as the
//! text of a file of hosts and name servers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use mio_chat::dns::{
    DNS_PORT, HostName, Hosts, Kind, NameServer, Reply, ReplyError, ResolvConf, TcpFramer, query,
    reply, tcp_framed,
};
use mio_chat::limits::{DNS_ADDRESSES, DNS_RECORDS, DNS_SEARCH, DNS_SERVERS};

const ID: u16 = 0x1234;

pub fn check(data: &[u8]) {
    let Some((&how, rest)) = data.split_first() else { return };
    let kind = if how & 1 == 0 { Kind::A } else { Kind::Aaaa };
    match (how >> 1) % 4 {
        0 => {
            read(rest, kind);
            stream(rest, usize::from(how >> 3) + 1, kind);
        }
        1 => {
            // Two bytes of flags, six of counts; then what follows the question.
            let Some((header, records)) = rest.split_at_checked(8) else { return };
            let mut message = query(ID, &name(), kind);
            message[2..4].copy_from_slice(&header[..2]);
            message[6..12].copy_from_slice(&header[2..]);
            message[2] |= 0x80;
            message.extend(records);
            read(&message, kind);
        }
        2 => round_trip(rest, kind),
        _ => files(&String::from_utf8_lossy(rest)),
    }
}

fn name() -> HostName {
    HostName::parse("api.example").unwrap()
}

fn read(bytes: &[u8], kind: Kind) {
    let other = HostName::parse("evil.example").unwrap();
    let read = reply(bytes, ID, &name(), kind);
    // The greatest TTL there is (RFC 2181, section 8).
    let longest = Duration::from_secs(i32::MAX as u64);
    match &read {
        Ok(Reply::Addresses { addrs, ttl }) => {
            assert!((1..=DNS_ADDRESSES).contains(&addrs.len()));
            assert!(addrs.iter().all(|addr| addr.is_ipv4() == (kind == Kind::A)));
            assert!(addrs.iter().enumerate().all(|(at, addr)| !addrs[..at].contains(addr)));
            assert!(*ttl <= longest);
        }
        Ok(Reply::None { ttl }) => assert!(*ttl <= longest),
        Ok(Reply::Truncated { addrs, ttl }) => {
            assert!(bytes[2] & 2 != 0);
            assert!(addrs.len() <= DNS_ADDRESSES);
            assert!(addrs.iter().all(|addr| addr.is_ipv4() == (kind == Kind::A)));
            assert!(*ttl <= longest);
        }
        Err(_) => {}
    }
    if read != Err(ReplyError::NotOurs) {
        assert!(bytes.starts_with(&ID.to_be_bytes()) && bytes[2] & 0x80 != 0);
        let other_kind = if kind == Kind::A { Kind::Aaaa } else { Kind::A };
        for wrong in [
            reply(bytes, ID ^ 1, &name(), kind),
            reply(bytes, ID, &other, kind),
            reply(bytes, ID, &name(), other_kind),
        ] {
            assert_eq!(wrong, Err(ReplyError::NotOurs));
        }
    }
}

/// Messages over TCP are the same however the stream is cut, and together they are the stream.
fn stream(bytes: &[u8], piece: usize, kind: Kind) {
    let whole = unframed(std::iter::once(bytes));
    assert_eq!(whole, unframed(bytes.chunks(piece)));
    let again: Vec<u8> = whole.iter().flat_map(|message| tcp_framed(message).unwrap()).collect();
    assert!(bytes.starts_with(&again));
    whole.iter().for_each(|message| read(message, kind));
}

fn unframed<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let mut framer = TcpFramer::default();
    let mut messages = Vec::new();
    for mut piece in pieces {
        while let Some(message) = framer.next_message(&mut piece) {
            messages.push(message);
        }
        assert!(piece.is_empty());
    }
    messages
}

/// A reply with these addresses, each behind its TTL, is read as just them.
fn round_trip(data: &[u8], kind: Kind) {
    let size = if kind == Kind::A { 4 } else { 16 };
    let mut message = query(ID, &name(), kind);
    message[2] |= 0x80;
    let mut expected: Vec<IpAddr> = Vec::new();
    let mut least = u32::MAX;
    let mut count = 0u16;
    for record in data.chunks_exact(4 + size).take(DNS_RECORDS) {
        let (ttl, addr) = record.split_first_chunk::<4>().unwrap();
        // The name stands in the question, 12 bytes into the message; the class is IN.
        message.extend([0xc0, 12, 0, if size == 4 { 1 } else { 28 }, 0, 1]);
        message.extend(ttl);
        message.extend([0, if size == 4 { 4 } else { 16 }]);
        message.extend(addr);
        count += 1;
        let ttl = u32::from_be_bytes(*ttl);
        least = least.min(if i32::try_from(ttl).is_ok() { ttl } else { 0 });
        let addr = match <[u8; 4]>::try_from(addr) {
            Ok(addr) => Ipv4Addr::from(addr).into(),
            Err(_) => Ipv6Addr::from(<[u8; 16]>::try_from(addr).unwrap()).into(),
        };
        if expected.len() < DNS_ADDRESSES && !expected.contains(&addr) {
            expected.push(addr);
        }
    }
    message[6..8].copy_from_slice(&count.to_be_bytes());
    let ttl = Duration::from_secs(least.into());
    let expected = if count == 0 {
        Reply::None { ttl: Duration::ZERO }
    } else {
        Reply::Addresses { addrs: expected, ttl }
    };
    assert_eq!(reply(&message, ID, &name(), kind), Ok(expected));
    read(&message, kind);
}

fn files(text: &str) {
    let hosts = Hosts::parse(text);
    let conf = ResolvConf::parse(text);
    for word in text.split_ascii_whitespace() {
        if let Some(addr) = NameServer::parse(word).and_then(|server| server.addr(|_| Some(7))) {
            assert_ne!(addr.port(), 0);
        }
        let Ok(name) = HostName::parse(word) else { continue };
        let shown = name.to_string();
        assert_eq!(HostName::parse(&shown).as_ref(), Ok(&name));
        assert_eq!(shown, word.strip_suffix('.').unwrap_or(word).to_ascii_lowercase());
        assert!(shown.len() <= 253);
        assert!(hosts.addresses(&name).len() <= 2 * DNS_ADDRESSES);
        let names = conf.search.candidates(word).unwrap();
        assert!((1..=DNS_SEARCH + 1).contains(&names.len()) && names.contains(&name));
        assert!(names.iter().all(|one| one.to_string().starts_with(&shown)));
    }
    assert!((1..=DNS_SERVERS).contains(&conf.servers.len()));
    let addrs = conf.servers.iter().filter_map(|server| server.addr(|_| Some(7)));
    assert!(addrs.map(|addr| addr.port()).all(|port| port == DNS_PORT));
}
