//! What is known without asking, and what is remembered.
#![allow(clippy::disallowed_methods)]

use std::time::{Duration, Instant};

use super::*;
use crate::limits::DNS_CACHED_NAMES;

fn resolver(hosts: &str) -> Resolver {
    Resolver::new(vec!["192.0.2.53:53".parse().unwrap()], Search::default(), Hosts::parse(hosts))
}

/// What is known of a name at once.
fn known(
    resolver: &mut Resolver,
    now: Instant,
    text: &str,
) -> Option<Result<Vec<IpAddr>, DnsError>> {
    match resolver.lookup(now, text, 1) {
        LookupStart::Known(result) => Some(result),
        LookupStart::Ask(_) => None,
    }
}

/// Looks a name up at a server that gives every question what `reply` makes of it, and remembers.
fn look_up(
    resolver: &mut Resolver,
    now: Instant,
    text: &str,
    mut reply: impl FnMut(&[u8]) -> Vec<u8>,
) -> Result<Vec<IpAddr>, DnsError> {
    let LookupStart::Ask(mut lookup) = resolver.lookup(now, text, 1) else {
        panic!("{text} is known");
    };
    while let Some(action) = lookup.poll_action() {
        if let Action::SendUdp { query, bytes, .. } = action {
            lookup.handle_reply(now, query, &reply(&bytes));
        }
    }
    resolver.remember(now, &lookup);
    lookup.outcome().unwrap().map(<[IpAddr]>::to_vec)
}

#[test]
fn addresses_hosts_and_this_machine_are_known() {
    let now = Instant::now();
    let hosts = "192.0.2.1 box\n2001:db8::1 box\n192.0.2.2 box\n192.0.2.66 localhost\n\
        2001:db8::6 six\n192.0.2.4 four";
    let mut resolver = resolver(hosts);
    let mut shown = |text: &str| {
        let addrs = known(&mut resolver, now, text)?.map_err(|error| error.to_string());
        Some(addrs.map(|addrs| addrs.iter().map(ToString::to_string).collect::<Vec<_>>()))
    };
    let ok = |addrs: &[&str]| Some(Ok(addrs.iter().map(ToString::to_string).collect()));
    assert_eq!(shown("192.0.2.9"), ok(&["192.0.2.9"]));
    assert_eq!(shown("2001:DB8::9"), ok(&["2001:db8::9"]));
    assert_eq!(shown("BOX."), ok(&["2001:db8::1", "192.0.2.1", "192.0.2.2"]));
    assert_eq!(shown("localhost"), ok(&["::1", "127.0.0.1"]));
    assert_eq!(shown("a.localhost"), ok(&["::1", "127.0.0.1"]));
    assert_eq!(shown("six"), ok(&["2001:db8::6"]));
    assert_eq!(shown("four"), ok(&["192.0.2.4"]));
    assert_eq!(shown("box.example"), None);
    let error = "not a host name: with the character ' '";
    assert_eq!(shown("no name"), Some(Err(error.to_string())));
}

#[test]
fn answers_are_remembered_for_their_ttl() {
    let start = Instant::now();
    let at = |millis| start + Duration::from_millis(millis);
    for (ttl, until) in [(0, 1_000), (30, 30_000), (86_400, 3_600_000)] {
        let mut resolver = resolver("");
        let result = look_up(&mut resolver, start, "api.example", |query| match kind_of(query) {
            Kind::A => with(query, &[("api.example", ttl, "192.0.2.1")]),
            Kind::Aaaa => nothing(query, Rcode::NOERROR, &[], 5, 5),
        });
        assert_eq!(result, Ok(vec![ip("192.0.2.1")]));
        assert_eq!(known(&mut resolver, at(until - 1), "API.example"), Some(result));
        assert_eq!(known(&mut resolver, at(until), "api.example"), None);
        let result = look_up(&mut resolver, start, "six.example", |query| match kind_of(query) {
            Kind::A => nothing(query, Rcode::NOERROR, &[], 5, 5),
            Kind::Aaaa => with(query, &[("six.example", ttl, "2001:db8::6")]),
        });
        assert_eq!(known(&mut resolver, at(until - 1), "six.example"), Some(result));
        assert_eq!(known(&mut resolver, at(until), "six.example"), None);
    }
}

#[test]
fn that_there_is_no_such_name_is_remembered_for_a_minute_at_most() {
    let start = Instant::now();
    let at = |millis| start + Duration::from_millis(millis);
    for (ttl, until) in [(0, 1_000), (30, 30_000), (3_600, 60_000)] {
        let mut resolver = resolver("");
        let result = look_up(&mut resolver, start, "no.example", |query| {
            nothing(query, Rcode::NXDOMAIN, &[], ttl, ttl)
        });
        assert_eq!(result, Err(DnsError::NoSuchName));
        assert_eq!(known(&mut resolver, at(until - 1), "no.example"), Some(result));
        assert_eq!(known(&mut resolver, at(until), "no.example"), None);
    }
}

#[test]
fn failures_and_halves_are_not_remembered() {
    let now = Instant::now();
    let mut resolver = resolver("");
    let result = look_up(&mut resolver, now, "a.example", |query| code(query, Rcode::SERVFAIL));
    assert_eq!(result.unwrap_err().to_string(), "name servers failed: SERVFAIL");
    assert_eq!(known(&mut resolver, now, "a.example"), None);
    let result = look_up(&mut resolver, now, "a.example", |query| match kind_of(query) {
        Kind::A => with(query, &[("a.example", 60, "192.0.2.1")]),
        Kind::Aaaa => code(query, Rcode::REFUSED),
    });
    assert_eq!(result, Ok(vec![ip("192.0.2.1")]));
    assert_eq!(known(&mut resolver, now, "a.example"), None);
    let LookupStart::Ask(unfinished) = resolver.lookup(now, "a.example", 1) else { panic!() };
    resolver.remember(now, &unfinished);
    assert_eq!(known(&mut resolver, now, "a.example"), None);
}

#[test]
fn the_cache_is_bounded_and_keeps_what_holds_longest() {
    let now = Instant::now();
    let mut resolver = resolver("");
    let names: Vec<String> = (0..=DNS_CACHED_NAMES).map(|n| format!("n{n}.example")).collect();
    for (n, name) in names.iter().enumerate() {
        let ttl = if n == 7 { 10 } else { 100 };
        look_up(&mut resolver, now, name, |query| nothing(query, Rcode::NOERROR, &[], ttl, ttl))
            .unwrap_err();
    }
    let missing: Vec<&String> =
        names.iter().filter(|name| known(&mut resolver, now, name).is_none()).collect();
    assert_eq!(missing, [&names[7]]);
    // An hour later all that is dead makes room.
    let later = now + Duration::from_secs(3600);
    look_up(&mut resolver, later, &names[7], |query| code(query, Rcode::NXDOMAIN)).unwrap_err();
    assert!(known(&mut resolver, later, &names[7]).is_some());
    assert!(known(&mut resolver, now, &names[0]).is_none());
}

#[test]
fn other_servers_and_other_domains_make_all_forgotten() {
    let now = Instant::now();
    let mut resolver = resolver("");
    let found = |resolver: &mut Resolver| {
        look_up(resolver, now, "api.example", |query| match kind_of(query) {
            Kind::A => with(query, &[("api.example", 60, "192.0.2.1")]),
            Kind::Aaaa => nothing(query, Rcode::NOERROR, &[], 5, 5),
        })
        .unwrap();
    };
    let servers = |text: &str| vec![text.parse().unwrap()];
    let search = |text: &str| ResolvConf::parse(text).search;
    found(&mut resolver);
    resolver.set_servers(servers("192.0.2.53:53"));
    resolver.set_search(search("nameserver 192.0.2.99"));
    assert!(known(&mut resolver, now, "api.example").is_some(), "nothing has changed");
    resolver.set_servers(servers("192.0.2.54:53"));
    assert_eq!(known(&mut resolver, now, "api.example"), None);
    found(&mut resolver);
    resolver.set_search(search("search lan"));
    assert_eq!(known(&mut resolver, now, "api.example"), None);
    found(&mut resolver);
    assert_eq!(known(&mut resolver, now, "api.example."), None, "a whole name is another");
    resolver.set_hosts(Hosts::parse("192.0.2.7 api.example"));
    assert_eq!(known(&mut resolver, now, "api.example"), Some(Ok(vec![ip("192.0.2.7")])));
}

#[test]
fn that_no_completion_is_there_is_remembered_for_the_least_time() {
    let start = Instant::now();
    let search = ResolvConf::parse("search lan\noptions ndots:3").search;
    let servers = vec!["192.0.2.53:53".parse().unwrap()];
    let mut resolver = Resolver::new(servers, search, Hosts::default());
    let mut ttls = [40, 40, 20, 20].into_iter();
    let result = look_up(&mut resolver, start, "api", |query| {
        nothing(query, Rcode::NXDOMAIN, &[], ttls.next().unwrap(), 60)
    });
    assert_eq!(result, Err(DnsError::NoSuchName));
    let at = |secs| start + Duration::from_secs(secs);
    assert!(known(&mut resolver, at(19), "api").is_some());
    assert_eq!(known(&mut resolver, at(20), "api"), None);
}

#[test]
fn without_servers_nobody_answers() {
    let now = Instant::now();
    let mut resolver = Resolver::new(Vec::new(), Search::default(), Hosts::default());
    let LookupStart::Ask(mut lookup) = resolver.lookup(now, "a.example", 1) else { panic!() };
    assert_eq!(lookup.poll_action(), None);
    assert_eq!(lookup.outcome(), Some(Err(DnsError::NoAnswer)));
    assert_eq!(DnsError::NoAnswer.to_string(), "no name server answered");
}
