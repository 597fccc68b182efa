//! The resolver against replies made by hand, in virtual time.

mod lookups;
mod messages;
mod resolver;

use std::net::IpAddr;
use std::str::FromStr as _;

use domain::base::iana::Rcode;
use domain::base::message_builder::AnswerBuilder;
use domain::base::{Message, MessageBuilder, Name, Serial, Ttl};
use domain::rdata::{A, Aaaa, Cname, Ns, Soa};

use super::*;

fn name(text: &str) -> HostName {
    HostName::parse(text).unwrap()
}

fn wire(text: &str) -> Name<Vec<u8>> {
    Name::from_str(text).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A record of a reply: owner, TTL, and an address or (if it is none) an alias.
type Rec<'a> = (&'a str, u32, &'a str);

fn begin(query: &[u8], code: Rcode) -> AnswerBuilder<Vec<u8>> {
    let query = Message::from_octets(query).unwrap();
    let mut answer = MessageBuilder::new_vec().start_answer(&query, code).unwrap();
    answer.header_mut().set_ra(true);
    answer
}

fn answer(query: &[u8], code: Rcode, records: &[Rec<'_>]) -> AnswerBuilder<Vec<u8>> {
    let mut answer = begin(query, code);
    for &(owner, ttl, data) in records {
        let owner = wire(owner);
        match IpAddr::from_str(data) {
            Ok(IpAddr::V4(addr)) => answer.push((owner, ttl, A::new(addr))),
            Ok(IpAddr::V6(addr)) => answer.push((owner, ttl, Aaaa::new(addr))),
            Err(_) => answer.push((owner, ttl, Cname::new(wire(data)))),
        }
        .unwrap();
    }
    answer
}

/// A reply with these records.
fn with(query: &[u8], records: &[Rec<'_>]) -> Vec<u8> {
    answer(query, Rcode::NOERROR, records).finish()
}

/// A reply without records.
fn code(query: &[u8], code: Rcode) -> Vec<u8> {
    begin(query, code).finish()
}

fn truncated(query: &[u8]) -> Vec<u8> {
    let mut answer = begin(query, Rcode::NOERROR);
    answer.header_mut().set_tc(true);
    answer.finish()
}

/// A reply that says that there is nothing, and for how long.
fn nothing(query: &[u8], rcode: Rcode, records: &[Rec<'_>], ttl: u32, minimum: u32) -> Vec<u8> {
    let mut authority = answer(query, rcode, records).authority();
    let secs = Ttl::from_secs;
    let (mname, rname) = (wire("ns.example"), wire("admin.example"));
    let soa = Soa::new(mname, rname, Serial(1), secs(1), secs(1), secs(1), secs(minimum));
    authority.push((wire("example"), ttl, soa)).unwrap();
    authority.finish()
}

/// A reply that names other servers.
fn referral(query: &[u8], rcode: Rcode, records: &[Rec<'_>]) -> Vec<u8> {
    let mut authority = answer(query, rcode, records).authority();
    authority.push((wire("example"), 60u32, Ns::new(wire("ns.example")))).unwrap();
    authority.finish()
}

/// What a question asks for.
fn kind_of(query: &[u8]) -> Kind {
    let message = Message::from_octets(query).unwrap();
    match message.sole_question().unwrap().qtype() {
        domain::base::Rtype::A => Kind::A,
        _ => Kind::Aaaa,
    }
}
