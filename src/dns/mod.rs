//! From names to addresses: a stub resolver.
//!
//! [`Resolver`] owns what is known beforehand (name servers, the hosts file) and the cache; a
//! [`Lookup`] is one name being resolved through the name servers. Both are state machines without
//! a socket, a clock or a random source: they are given the time, bytes and a seed, and they say
//! what to send where. A reply counts only if its id and its question are those of our query, and
//! it should arrive at a connected socket with a random port, one for each [`QueryId`].
//!
//! A name is completed with the domains of resolv.conf as its `ndots` says; the other options there
//! are not applied. A name outside ASCII has to be given in its encoded form (RFC 5890).

mod conf;
mod hosts;
mod lookup;
mod message;
mod name;
mod resolver;
mod tcp;
#[cfg(test)]
mod tests;

pub use conf::{DNS_PORT, NameServer, ResolvConf, Search};
pub use hosts::Hosts;
pub use lookup::{Action, DnsError, Lookup, QueryId};
pub use message::{Fault, Kind, Reply, ReplyError, query, reply};
pub use name::{HostName, NameError};
pub use resolver::{LookupStart, Resolver};
pub use tcp::{TcpFramer, tcp_framed};
