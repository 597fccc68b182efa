//! What is known without asking: literal addresses, this machine, the table of hosts, and the
//! answers of the last hour.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Instant;

use super::hosts::Hosts;
use super::lookup::{DnsError, Lookup, in_turn};
use super::name::HostName;
use crate::limits::{DNS_CACHED_NAMES, DNS_NEGATIVE_TTL, DNS_SERVERS, DNS_TTL};

/// The way from a name to its addresses.
#[derive(Debug)]
pub struct Resolver {
    servers: Rc<[SocketAddr]>,
    hosts: Hosts,
    /// At most [`DNS_CACHED_NAMES`] answers, and until when they hold.
    cache: HashMap<HostName, (Instant, Result<Vec<IpAddr>, DnsError>)>,
}

/// How a look-up begins.
#[derive(Debug)]
pub enum LookupStart {
    /// It is over already.
    Known(Result<Vec<IpAddr>, DnsError>),
    /// Name servers have to be asked.
    Ask(Box<Lookup>),
}

impl Resolver {
    /// Will ask these servers, the first [`DNS_SERVERS`] of them, in this order.
    #[must_use]
    pub fn new(mut servers: Vec<SocketAddr>, hosts: Hosts) -> Self {
        servers.truncate(DNS_SERVERS);
        Self { servers: servers.into(), hosts, cache: HashMap::new() }
    }

    /// Looks a name up, or an address in its usual form (without brackets). `entropy` is 64 random
    /// bits, fresh for each call.
    pub fn lookup(&mut self, now: Instant, name: &str, entropy: u64) -> LookupStart {
        if let Ok(addr) = name.parse() {
            return LookupStart::Known(Ok(vec![addr]));
        }
        let name = match HostName::parse(name) {
            Ok(name) => name,
            Err(error) => return LookupStart::Known(Err(DnsError::NotAName(error))),
        };
        if name.is_localhost() {
            let loopback = [Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()];
            return LookupStart::Known(Ok(loopback.to_vec()));
        }
        let (v6, v4): (Vec<_>, Vec<_>) =
            self.hosts.addresses(&name).iter().copied().partition(IpAddr::is_ipv6);
        if !(v6.is_empty() && v4.is_empty()) {
            return LookupStart::Known(Ok(in_turn(&v6, &v4)));
        }
        if let Some((_, result)) = self.cache.get(&name).filter(|(until, _)| now < *until) {
            return LookupStart::Known(result.clone());
        }
        LookupStart::Ask(Box::new(Lookup::new(now, name, Rc::clone(&self.servers), entropy)))
    }

    /// Remembers how a look-up ended, for as long as its TTL says, between [`DNS_TTL`]'s bounds
    /// ([`DNS_NEGATIVE_TTL`]'s for a name without addresses). What is not known of both families,
    /// and what went wrong, is not remembered.
    pub fn remember(&mut self, now: Instant, lookup: &Lookup) {
        let Some((outcome, ttl)) = lookup.ended().and_then(|ended| Some((ended, ended.ttl?)))
        else {
            return;
        };
        let bounds = if outcome.result.is_ok() { DNS_TTL } else { DNS_NEGATIVE_TTL };
        let until = now + ttl.clamp(*bounds.start(), *bounds.end());
        self.make_room(now);
        self.cache.insert(lookup.name().clone(), (until, outcome.result.clone()));
    }

    /// Forgets what holds no longer, and if that is not enough, what would be the next to go.
    fn make_room(&mut self, now: Instant) {
        self.cache.retain(|_, (until, _)| now < *until);
        if self.cache.len() < DNS_CACHED_NAMES {
            return;
        }
        let next = self.cache.iter().min_by_key(|(_, (until, _))| *until);
        if let Some(next) = next.map(|(name, _)| name.clone()) {
            self.cache.remove(&next);
        }
    }
}
