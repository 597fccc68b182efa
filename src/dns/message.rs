//! One question to a name server, and what a reply to it says.
//!
//! Questions go without EDNS (RFC 6891): a reply of at most 512 bytes is never split into
//! fragments, which could be forged one by one, and no old forwarder has trouble with it. The few
//! longer replies arrive truncated and are asked for again over TCP.
//!
//! Whatever bytes arrive, reading them ends: jumps in names, records and aliases are bounded.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use domain::base::iana::{Class, Opcode, Rcode, Rtype};
use domain::base::message::RecordSection;
use domain::base::wire::ParseError;
use domain::base::{Message, ParsedName, ParsedRecord, Ttl};
use domain::rdata::{A, Aaaa, Cname, Soa};

use super::name::HostName;
use crate::limits::{DNS_ADDRESSES, DNS_ALIASES, DNS_RECORDS};

/// Which addresses are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// IPv4 (RFC 1035, section 3.4.1).
    A,
    /// IPv6 (RFC 3596, section 2.1).
    Aaaa,
}

impl Kind {
    fn rtype(self) -> Rtype {
        match self {
            Self::A => Rtype::A,
            Self::Aaaa => Rtype::AAAA,
        }
    }
}

/// What a server knows about a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// Addresses of the kind asked for, at least one and at most [`DNS_ADDRESSES`].
    Addresses {
        /// In the server's order.
        addrs: Vec<IpAddr>,
        /// The lowest TTL of the addresses and of the aliases on the way to them.
        ttl: Duration,
    },
    /// There is no such name, or it has no address of this kind.
    None {
        /// How long that is valid (RFC 2308, section 5); zero if the server does not say.
        ttl: Duration,
    },
    /// The reply did not fit: ask over TCP.
    Truncated {
        /// The addresses that it contains nevertheless.
        addrs: Vec<IpAddr>,
        /// As for those of a complete reply.
        ttl: Duration,
    },
}

/// Why a message is no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReplyError {
    /// It is not a reply to our question: it is late, or forged. The right one may follow.
    NotOurs,
    /// The server cannot answer: ask another one.
    Failed(Fault),
}

/// How a server failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// It said so: SERVFAIL, REFUSED, …
    Code(Rcode),
    /// It answered the right question with a broken message, or with aliases in a circle.
    Malformed,
    /// It named other servers instead of asking them: it serves no clients.
    Referral,
    /// It called a reply over TCP too long.
    Truncated,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => code.fmt(f),
            Self::Malformed => f.write_str("malformed reply"),
            Self::Referral => f.write_str("referral"),
            Self::Truncated => f.write_str("truncated over TCP"),
        }
    }
}

impl From<ParseError> for ReplyError {
    fn from(_: ParseError) -> Self {
        Self::Failed(Fault::Malformed)
    }
}

/// The message that asks for a name's addresses, with recursion desired (RFC 1035, section 4.1).
#[must_use]
pub fn query(id: u16, name: &HostName, kind: Kind) -> Vec<u8> {
    const RECURSION_DESIRED: u16 = 0x0100;
    // The flags, then how many questions, answers, authorities and additional records.
    let header = [id, RECURSION_DESIRED, 1, 0, 0, 0];
    let question = [kind.rtype().to_int(), Class::IN.to_int()];
    let mut message: Vec<u8> = header.into_iter().flat_map(u16::to_be_bytes).collect();
    message.extend_from_slice(name.wire().as_slice());
    message.extend(question.into_iter().flat_map(u16::to_be_bytes));
    message
}

/// Reads a reply to the question that [`query`] asked with the same arguments.
///
/// # Errors
/// It is not a reply to that question, or it says that the server failed.
pub fn reply(bytes: &[u8], id: u16, name: &HostName, kind: Kind) -> Result<Reply, ReplyError> {
    let message = Message::from_slice(bytes).map_err(|_| ReplyError::NotOurs)?;
    let header = message.header();
    if !header.qr() || header.id() != id || header.opcode() != Opcode::QUERY {
        return Err(ReplyError::NotOurs);
    }
    let question = message.sole_question().map_err(|_| ReplyError::NotOurs)?;
    let same_type = question.qtype() == kind.rtype() && question.qclass() == Class::IN;
    if !same_type || question.qname() != name.wire() {
        return Err(ReplyError::NotOurs);
    }
    let exists = match header.rcode() {
        Rcode::NOERROR => true,
        Rcode::NXDOMAIN => false,
        code => return Err(ReplyError::Failed(Fault::Code(code))),
    };
    if header.tc() {
        return Ok(truncated(message, *question.qname(), kind));
    }
    let mut answer = Answer::default();
    answer.read(message.answer()?, kind)?;
    let (end, alias_ttl) = answer.follow(*question.qname())?;
    match answer.addresses(end, alias_ttl) {
        Some(addresses) if exists => Ok(addresses),
        _ => no_address(message, exists && answer.is_empty()),
    }
}

/// What there is in a truncated reply.
fn truncated(message: &Message<[u8]>, name: WireName<'_>, kind: Kind) -> Reply {
    let mut answer = Answer::default();
    if let Ok(section) = message.answer() {
        // Whatever follows the cut is lost, and what comes before it is good.
        let _ = answer.read(section, kind);
    }
    let end = answer.follow(name).ok();
    match end.and_then(|(end, alias_ttl)| answer.addresses(end, alias_ttl)) {
        Some(Reply::Addresses { addrs, ttl }) => Reply::Truncated { addrs, ttl },
        _ => Reply::Truncated { addrs: Vec::new(), ttl: Duration::ZERO },
    }
}

/// A name at its place in a message.
type WireName<'a> = ParsedName<&'a [u8]>;

/// The relevant records of an answer, of which the first [`DNS_RECORDS`] are looked at.
#[derive(Default)]
struct Answer<'a> {
    aliases: Vec<(WireName<'a>, Duration, WireName<'a>)>,
    addrs: Vec<(WireName<'a>, Duration, IpAddr)>,
}

impl<'a> Answer<'a> {
    /// Reads up to the first thing that cannot be read.
    fn read(&mut self, section: RecordSection<'a, [u8]>, kind: Kind) -> Result<(), ParseError> {
        for record in section.take(DNS_RECORDS) {
            let record = record?;
            if record.class() != Class::IN {
                continue;
            }
            let ttl = ttl(record.ttl());
            if record.rtype() == Rtype::CNAME {
                let alias = record.into_record::<Cname<WireName<'_>>>()?;
                self.aliases.extend(alias.map(|r| (*r.owner(), ttl, r.into_data().into_cname())));
            } else if record.rtype() == kind.rtype() {
                self.addrs.extend(address(record)?.map(|(owner, addr)| (owner, ttl, addr)));
            }
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.aliases.is_empty() && self.addrs.is_empty()
    }

    /// The name at the end of the aliases that begin at `name`, and the lowest TTL on the way.
    fn follow(&self, mut name: WireName<'a>) -> Result<(WireName<'a>, Duration), ReplyError> {
        let mut least = Duration::MAX;
        for _ in 0..=DNS_ALIASES {
            let Some((_, ttl, to)) = self.aliases.iter().find(|(owner, ..)| *owner == name) else {
                return Ok((name, least));
            };
            least = least.min(*ttl);
            name = *to;
        }
        Err(ReplyError::Failed(Fault::Malformed))
    }

    /// The addresses of `owner`, if it has any.
    fn addresses(&self, owner: WireName<'a>, mut least: Duration) -> Option<Reply> {
        let mut addrs = Vec::new();
        for (_, ttl, addr) in self.addrs.iter().filter(|(of, ..)| *of == owner) {
            least = least.min(*ttl);
            if addrs.len() < DNS_ADDRESSES && !addrs.contains(addr) {
                addrs.push(*addr);
            }
        }
        (!addrs.is_empty()).then_some(Reply::Addresses { addrs, ttl: least })
    }
}

/// The owner and the address of an A or AAAA record.
fn address<'a>(
    record: ParsedRecord<'a, [u8]>,
) -> Result<Option<(WireName<'a>, IpAddr)>, ParseError> {
    Ok(if record.rtype() == Rtype::A {
        record.into_record::<A>()?.map(|r| (*r.owner(), r.data().addr().into()))
    } else {
        record.into_record::<Aaaa>()?.map(|r| (*r.owner(), r.data().addr().into()))
    })
}

/// A reply without addresses. If it names the servers of a zone below, has no word about this one
/// (a SOA record), and the answer was empty, it is a referral (RFC 2308, section 2.2).
fn no_address(message: &Message<[u8]>, may_be_referral: bool) -> Result<Reply, ReplyError> {
    let mut refers = false;
    for record in message.authority()?.take(DNS_RECORDS) {
        let record = record?;
        refers |= record.rtype() == Rtype::NS;
        if let Some(soa) = record.into_record::<Soa<WireName<'_>>>()? {
            let ttl = ttl(soa.ttl()).min(ttl(soa.data().minimum()));
            return Ok(Reply::None { ttl });
        }
    }
    if refers && may_be_referral {
        return Err(ReplyError::Failed(Fault::Referral));
    }
    Ok(Reply::None { ttl: Duration::ZERO })
}

/// A TTL with its highest bit set counts as zero (RFC 2181, section 8).
fn ttl(ttl: Ttl) -> Duration {
    let secs = ttl.as_secs();
    Duration::from_secs(if i32::try_from(secs).is_ok() { secs.into() } else { 0 })
}
