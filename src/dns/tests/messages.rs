//! Questions and replies.

use std::time::Duration;

use domain::base::iana::{Class, Rtype};
use proptest::prelude::*;

use super::*;
use crate::limits::{DNS_ADDRESSES, DNS_ALIASES};

const SECOND: Duration = Duration::from_secs(1);

fn ask() -> (HostName, Vec<u8>) {
    let name = name("api.example");
    let query = query(0x1234, &name, Kind::A);
    (name, query)
}

/// What a reply to `ask` says.
fn read(bytes: &[u8]) -> Result<Reply, ReplyError> {
    reply(bytes, 0x1234, &name("api.example"), Kind::A)
}

fn found(addrs: &[&str], secs: u32) -> Result<Reply, ReplyError> {
    Ok(Reply::Addresses { addrs: addrs.iter().map(|a| ip(a)).collect(), ttl: SECOND * secs })
}

const MALFORMED: Result<Reply, ReplyError> = Err(ReplyError::Failed(Fault::Malformed));
const NOT_OURS: Result<Reply, ReplyError> = Err(ReplyError::NotOurs);

#[test]
fn a_question_as_others_read_it() {
    for (kind, rtype) in [(Kind::A, Rtype::A), (Kind::Aaaa, Rtype::AAAA)] {
        let bytes = query(0xbeef, &name("Api.Example"), kind);
        let message = Message::from_octets(&bytes[..]).unwrap();
        let (header, counts) = (message.header(), message.header_counts());
        assert_eq!((header.id(), header.qr(), header.rd()), (0xbeef, false, true));
        assert_eq!((counts.qdcount(), counts.ancount(), counts.arcount()), (1, 0, 0));
        let question = message.sole_question().unwrap();
        assert_eq!((question.qtype(), question.qclass()), (rtype, Class::IN));
        assert_eq!(question.qname(), &wire("api.example"));
        assert_eq!(bytes.len(), 12 + 13 + 4);
    }
}

#[test]
fn addresses_with_the_least_ttl() {
    let (_, query) = ask();
    let records = [("api.example", 300, "192.0.2.1"), ("API.example", 60, "192.0.2.2")];
    assert_eq!(read(&with(&query, &records)), found(&["192.0.2.1", "192.0.2.2"], 60));
    // The highest bit makes a TTL zero.
    let records = [("api.example", 0x8000_0000, "192.0.2.1")];
    assert_eq!(read(&with(&query, &records)), found(&["192.0.2.1"], 0));
    let many: Vec<String> = (0..200).map(|n| format!("192.0.2.{n}")).collect();
    let records: Vec<Rec<'_>> = many.iter().map(|a| ("api.example", 9, a.as_str())).collect();
    let first: Vec<&str> = many.iter().take(DNS_ADDRESSES).map(String::as_str).collect();
    assert_eq!(read(&with(&query, &records)), found(&first, 9));
}

#[test]
fn aliases_are_followed_in_any_order_and_their_ttl_counts() {
    let (_, query) = ask();
    let records = [
        ("c.example", 300, "192.0.2.1"),
        ("b.example", 20, "c.example"),
        ("api.example", 100, "b.example"),
    ];
    assert_eq!(read(&with(&query, &records)), found(&["192.0.2.1"], 20));
    // An alias to nowhere: the server knows no address.
    let none = Ok(Reply::None { ttl: Duration::ZERO });
    assert_eq!(read(&with(&query, &records[1..])), none);
}

#[test]
fn records_of_another_name_are_not_taken() {
    let (_, query) = ask();
    let none = Ok(Reply::None { ttl: Duration::ZERO });
    for stranger in ["evil.example", "example", "x.api.example", "api.example.evil"] {
        assert_eq!(read(&with(&query, &[(stranger, 60, "192.0.2.66")])), none, "{stranger}");
    }
    let records = [("evil.example", 60, "192.0.2.66"), ("api.example", 60, "192.0.2.1")];
    assert_eq!(read(&with(&query, &records)), found(&["192.0.2.1"], 60));
    // An alias and an address beside it: what counts is where the alias leads.
    let records = [("api.example", 60, "b.example"), ("api.example", 60, "192.0.2.66")];
    assert_eq!(read(&with(&query, &records)), none);
    // The other family's address.
    assert_eq!(read(&with(&query, &[("api.example", 60, "2001:db8::1")])), none);
}

#[test]
fn aliases_in_a_circle_or_without_end_are_refused() {
    let (_, query) = ask();
    assert_eq!(read(&with(&query, &[("api.example", 60, "api.example")])), MALFORMED);
    let circle = [("api.example", 60, "b.example"), ("b.example", 60, "api.example")];
    assert_eq!(read(&with(&query, &circle)), MALFORMED);
    let names: Vec<String> = (0..=DNS_ALIASES + 1).map(|n| format!("n{n}.example")).collect();
    let mut records = vec![("api.example", 60, names[0].as_str())];
    records.extend(names.windows(2).map(|pair| (pair[0].as_str(), 60, pair[1].as_str())));
    let mut fitting = records[..DNS_ALIASES].to_vec();
    fitting.push((&names[DNS_ALIASES - 1], 60, "192.0.2.1"));
    assert_eq!(read(&with(&query, &fitting)), found(&["192.0.2.1"], 60));
    assert_eq!(read(&with(&query, &records)), MALFORMED);
}

#[test]
fn no_address_for_as_long_as_the_zone_says() {
    let (_, query) = ask();
    let none = |secs| Ok(Reply::None { ttl: SECOND * secs });
    assert_eq!(read(&nothing(&query, Rcode::NXDOMAIN, &[], 600, 30)), none(30));
    assert_eq!(read(&nothing(&query, Rcode::NOERROR, &[], 20, 30)), none(20));
    let alias = [("api.example", 5, "gone.example")];
    assert_eq!(read(&nothing(&query, Rcode::NXDOMAIN, &alias, 20, 30)), none(20));
    assert_eq!(read(&code(&query, Rcode::NXDOMAIN)), none(0));
    assert_eq!(read(&code(&query, Rcode::NOERROR)), none(0));
    // What does not exist has no address, whatever else the reply says.
    let records = [("api.example", 60, "192.0.2.66")];
    assert_eq!(read(&answer(&query, Rcode::NXDOMAIN, &records).finish()), none(0));
}

#[test]
fn servers_that_fail() {
    let (_, query) = ask();
    for (rcode, text) in [(Rcode::SERVFAIL, "SERVFAIL"), (Rcode::REFUSED, "REFUSED")] {
        let error = read(&code(&query, rcode)).unwrap_err();
        assert_eq!(error, ReplyError::Failed(Fault::Code(rcode)));
        assert_eq!(Fault::Code(rcode).to_string(), text);
    }
    assert_eq!(
        read(&referral(&query, Rcode::NOERROR, &[])),
        Err(ReplyError::Failed(Fault::Referral))
    );
    assert_eq!(
        read(&truncated(&query)),
        Ok(Reply::Truncated { addrs: vec![], ttl: Duration::ZERO })
    );
    // What came before the cut is there.
    let records =
        [("api.example", 9, "alias"), ("alias", 7, "192.0.2.1"), ("alias", 8, "192.0.2.2")];
    let mut cut = with(&query, &records);
    cut[2] |= 2;
    let whole = cut.len();
    let some = |addrs: &[&str]| {
        let ttl = Duration::from_secs(if addrs.is_empty() { 0 } else { 7 });
        Ok(Reply::Truncated { addrs: addrs.iter().map(|addr| ip(addr)).collect(), ttl })
    };
    assert_eq!(read(&cut), some(&["192.0.2.1", "192.0.2.2"]));
    cut.truncate(whole - 1);
    assert_eq!(read(&cut), some(&["192.0.2.1"]));
    cut.truncate(whole - 30);
    assert_eq!(read(&cut), some(&[]));
    // Who says that there is no such name, or knows an alias, does not send us elsewhere.
    let none = Ok(Reply::None { ttl: Duration::ZERO });
    assert_eq!(read(&referral(&query, Rcode::NXDOMAIN, &[])), none);
    let alias = [("api.example", 5, "gone.example")];
    assert_eq!(read(&referral(&query, Rcode::NOERROR, &alias)), none);
}

#[test]
fn what_answers_another_question_is_not_ours() {
    let (_, asked) = ask();
    let records = [("api.example", 60, "192.0.2.1")];
    let good = with(&asked, &records);
    assert!(read(&good).is_ok());
    let other = name("evil.example");
    assert_eq!(read(&with(&query(0x1235, &name("api.example"), Kind::A), &records)), NOT_OURS);
    assert_eq!(read(&with(&query(0x1234, &other, Kind::A), &records)), NOT_OURS);
    assert_eq!(read(&with(&query(0x1234, &name("api.example"), Kind::Aaaa), &records)), NOT_OURS);
    // Our own question sent back; no question; two; another class; another operation.
    assert_eq!(read(&asked), NOT_OURS);
    for (at, value) in [(5, 0), (5, 2), (28, 3), (2, 0x90)] {
        let mut bytes = good.clone();
        bytes[at] = value;
        assert_eq!(read(&bytes), NOT_OURS, "byte {at}");
    }
    // The case of letters does not matter.
    let mut bytes = good.clone();
    bytes[13..16].copy_from_slice(b"aPI");
    assert!(read(&bytes).is_ok());
}

#[test]
fn no_part_of_a_reply_gives_addresses() {
    let (_, query) = ask();
    let records = [
        ("api.example", 60, "b.example"),
        ("b.example", 60, "192.0.2.1"),
        ("b.example", 60, "192.0.2.2"),
    ];
    let good = with(&query, &records);
    assert_eq!(read(&good), found(&["192.0.2.1", "192.0.2.2"], 60));
    for len in 0..good.len() {
        let expected = if len < query.len() { NOT_OURS } else { MALFORMED };
        assert_eq!(read(&good[..len]), expected, "{len} bytes");
    }
    let good = nothing(&query, Rcode::NXDOMAIN, &[], 60, 60);
    for len in 0..good.len() {
        let expected = if len < query.len() { NOT_OURS } else { MALFORMED };
        assert_eq!(read(&good[..len]), expected, "{len} bytes");
    }
}

#[test]
fn compression_is_followed_backwards_only() {
    let (_, query) = ask();
    let with_owner = |owner: &[u8]| {
        let mut bytes = code(&query, Rcode::NOERROR);
        bytes[7] = 1;
        bytes.extend(owner);
        bytes.extend([0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
        bytes
    };
    assert_eq!(read(&with_owner(&[0xc0, 12])), found(&["192.0.2.1"], 60));
    // To itself (it stands at 29), ahead, out of the message, and a kind of label never assigned.
    for owner in [[0xc0, 29], [0xc0, 30], [0xff, 0xff], [0x80, 0]] {
        assert_eq!(read(&with_owner(&owner)), MALFORMED, "{owner:?}");
    }
    // A label before a jump to that label.
    assert_eq!(read(&with_owner(&[1, b'x', 0xc0, 29])), MALFORMED);
    // A question that points to itself is not ours.
    let mut bytes = with_owner(&[0xc0, 12]);
    bytes[12..14].copy_from_slice(&[0xc0, 12]);
    assert_eq!(read(&bytes), NOT_OURS);
}

proptest! {
    #[test]
    fn any_bytes_are_read_and_are_not_ours(
        bytes in proptest::collection::vec(any::<u8>(), 0..600), id in any::<u16>()
    ) {
        // A right question among random bytes is out of reach.
        prop_assert_eq!(reply(&bytes, id, &name("api.example"), Kind::Aaaa), NOT_OURS);
    }

    #[test]
    fn any_bytes_behind_the_right_question_are_read(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        counts in (0u8..3, 0u8..3, 0u8..3),
        rcode in 0u8..6,
    ) {
        let (_, query) = ask();
        let mut message = code(&query, Rcode::NOERROR);
        message[3] |= rcode;
        (message[7], message[9], message[11]) = counts;
        message.extend(&bytes);
        prop_assert_ne!(read(&message), NOT_OURS);
    }

    #[test]
    fn a_damaged_reply_is_read(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)
    ) {
        let (_, query) = ask();
        let records = [("api.example", 60, "b.example"), ("b.example", 60, "192.0.2.1")];
        let mut message = nothing(&query, Rcode::NOERROR, &records, 9, 9);
        for (at, value) in damage {
            let at = at.index(message.len());
            message[at] = value;
        }
        let _ = read(&message);
    }
}
