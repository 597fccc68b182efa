//! What is known without asking: literal addresses, this machine, the hosts file, and the answers
//! of the last hour.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Instant;

use super::conf::Search;
use super::hosts::Hosts;
use super::lookup::{DnsError, Lookup, in_turn};
use super::name::HostName;
use crate::limits::{DNS_CACHED_NAMES, DNS_NEGATIVE_TTL, DNS_SERVERS, DNS_TTL};

/// An answer, and until when it is valid.
type Remembered = (Instant, Result<Vec<IpAddr>, DnsError>);

/// Resolves names to addresses.
#[derive(Debug)]
pub struct Resolver {
    servers: Rc<[SocketAddr]>,
    search: Search,
    hosts: Hosts,
    /// At most [`DNS_CACHED_NAMES`] answers, by the name that was asked for, and until when they
    /// are valid.
    cache: HashMap<Box<str>, Remembered>,
}

/// How a look-up starts.
#[derive(Debug)]
pub enum LookupStart {
    /// It is already over.
    Known(Result<Vec<IpAddr>, DnsError>),
    /// Name servers have to be asked.
    Ask(Box<Lookup>),
}

impl Resolver {
    /// A resolver that asks these servers, the first [`DNS_SERVERS`] of them, in this order.
    #[must_use]
    pub fn new(servers: Vec<SocketAddr>, search: Search, hosts: Hosts) -> Self {
        let mut resolver = Self { servers: Rc::default(), search, hosts, cache: HashMap::new() };
        resolver.set_servers(servers);
        resolver
    }

    /// From now on, asks these servers. What others said is forgotten: it may have been about a
    /// different network.
    pub fn set_servers(&mut self, mut servers: Vec<SocketAddr>) {
        servers.truncate(DNS_SERVERS);
        if *self.servers != *servers {
            self.servers = servers.into();
            self.cache.clear();
        }
    }

    /// From now on, completes names like this.
    pub fn set_search(&mut self, search: Search) {
        if self.search != search {
            self.search = search;
            self.cache.clear();
        }
    }

    /// From now on, uses this hosts file.
    pub fn set_hosts(&mut self, hosts: Hosts) {
        self.hosts = hosts;
    }

    /// Looks a name up, or an address in its usual form (without brackets). `entropy` is 64 random
    /// bits, fresh for each call.
    pub fn lookup(&mut self, now: Instant, name: &str, entropy: u64) -> LookupStart {
        if let Ok(addr) = name.parse() {
            return LookupStart::Known(Ok(vec![addr]));
        }
        let asked = name.to_ascii_lowercase();
        let parsed =
            HostName::parse(&asked).and_then(|name| Ok((name, self.search.candidates(&asked)?)));
        let (name, names) = match parsed {
            Ok(parsed) => parsed,
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
        if let Some((_, result)) = self.cache.get(&*asked).filter(|(until, _)| now < *until) {
            return LookupStart::Known(result.clone());
        }
        let lookup = Lookup::new(now, &asked, names, Rc::clone(&self.servers), entropy);
        match lookup {
            Some(lookup) => LookupStart::Ask(Box::new(lookup)),
            None => LookupStart::Known(Err(DnsError::NoSuchName)),
        }
    }

    /// Remembers how a look-up ended, for as long as its TTL says, within the bounds of [`DNS_TTL`]
    /// ([`DNS_NEGATIVE_TTL`] for a name without addresses). A result that is not known for both
    /// families, or an error, is not remembered.
    pub fn remember(&mut self, now: Instant, lookup: &Lookup) {
        let Some((outcome, ttl)) = lookup.ended().and_then(|ended| Some((ended, ended.ttl?)))
        else {
            return;
        };
        let bounds = if outcome.result.is_ok() { DNS_TTL } else { DNS_NEGATIVE_TTL };
        let until = now + ttl.clamp(*bounds.start(), *bounds.end());
        self.make_room(now);
        self.cache.insert(lookup.asked().into(), (until, outcome.result.clone()));
    }

    /// Forgets what is no longer valid, and if that is not enough, what would expire next.
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
