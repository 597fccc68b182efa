//! Which name servers to ask for which names: from the text of /etc/resolv.conf, or from what an
//! operator writes instead.
//!
//! Opens no file, and knows no interface: the caller turns the part after a `%` into a number.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::hosts::uncommented;
use super::name::HostName;
use crate::limits::{DNS_NDOTS, DNS_SEARCH, DNS_SERVERS};

/// The port of name servers (RFC 1035, section 4.2).
pub const DNS_PORT: u16 = 53;

/// One name server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NameServer {
    addr: SocketAddr,
    /// The interface over which an IPv6 address is reached: its name, or its number.
    scope: Option<Box<str>>,
}

/// How a name that is not complete is completed (resolv.conf(5): `search`, `ndots`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Search {
    domains: Vec<HostName>,
    ndots: usize,
}

/// The text of /etc/resolv.conf, as far as we use it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResolvConf {
    /// At most [`DNS_SERVERS`], at least one.
    pub servers: Vec<NameServer>,
    /// How names are completed.
    pub search: Search,
}

impl NameServer {
    /// Parses one as an operator writes it: `192.0.2.1`, `192.0.2.1:5353`, `2001:db8::1`,
    /// `fe80::1%eth0`, `[2001:db8::1]`, `[2001:db8::1]:5353` or `[fe80::1%eth0]:5353`. `None` if it
    /// is none of these, or the port is 0.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(addr) = text.parse::<SocketAddr>() {
            return (addr.port() != 0).then_some(Self { addr, scope: None });
        }
        let Some(rest) = text.strip_prefix('[') else { return Self::parse_alone(text) };
        let (inside, behind) = rest.split_once(']')?;
        let mut server = Self::parse_alone(inside).filter(|server| server.addr.is_ipv6())?;
        if !behind.is_empty() {
            let port = behind.strip_prefix(':')?.parse().ok().filter(|port| *port != 0)?;
            server.addr.set_port(port);
        }
        Some(server)
    }

    /// An address without a port.
    fn parse_alone(text: &str) -> Option<Self> {
        let Some((addr, scope)) = text.split_once('%') else {
            return Some(Self {
                addr: (text.parse::<IpAddr>().ok()?, DNS_PORT).into(),
                scope: None,
            });
        };
        let usual = |c: char| c.is_ascii_graphic() && !"%[]/,".contains(c);
        // The kernel's names have at most 15 bytes (IFNAMSIZ).
        let sound = (1..=15).contains(&scope.len()) && scope.chars().all(usual);
        let addr = addr.parse::<Ipv6Addr>().ok().filter(|_| sound)?;
        Some(Self { addr: (addr, DNS_PORT).into(), scope: Some(scope.into()) })
    }

    /// Where to send to. `index` gives the number of an interface by its name; `None` if there is
    /// no such interface.
    #[must_use]
    pub fn addr(&self, index: impl FnOnce(&str) -> Option<u32>) -> Option<SocketAddr> {
        let mut addr = self.addr;
        if let (SocketAddr::V6(addr), Some(scope)) = (&mut addr, &self.scope) {
            addr.set_scope_id(scope.parse().ok().or_else(|| index(scope))?);
        }
        Some(addr)
    }
}

impl std::fmt::Display for NameServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.addr.ip().fmt(f)?;
        self.scope.as_ref().map_or(Ok(()), |scope| write!(f, "%{scope}"))?;
        if self.addr.port() == DNS_PORT { Ok(()) } else { write!(f, " port {}", self.addr.port()) }
    }
}

impl Default for Search {
    fn default() -> Self {
        Self { domains: Vec::new(), ndots: 1 }
    }
}

impl Search {
    /// The complete names that a name may stand for, in the order in which they are tried; at least
    /// one. A dot at its end says that it is complete.
    ///
    /// # Errors
    /// It is not a name.
    pub fn candidates(&self, text: &str) -> Result<Vec<HostName>, super::NameError> {
        let name = HostName::parse(text)?;
        if text.ends_with('.') {
            return Ok(vec![name]);
        }
        // A completion that would be too long is left out: it could not be found.
        let longer = self.domains.iter().filter_map(|domain| name.within(domain));
        let is_likely_whole = text.matches('.').count() >= self.ndots;
        let mut names: Vec<HostName> = longer.collect();
        names.insert(if is_likely_whole { 0 } else { names.len() }, name);
        Ok(names)
    }
}

impl ResolvConf {
    /// Reads the text of the file (resolv.conf(5)): the first [`DNS_SERVERS`] `nameserver` lines,
    /// all on port 53, or the one on this machine if there are none; the last `search` or `domain`,
    /// and the first [`DNS_SEARCH`] domains in it; the last `ndots`. Everything else is skipped, as
    /// is anything that is not an address or a name.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut servers: Vec<NameServer> = Vec::new();
        let mut search = Search::default();
        for line in text.lines() {
            let mut words = uncommented(line, &['#', ';']).split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let server = words.next().and_then(NameServer::parse_alone);
                    servers.extend(server.filter(|server| !servers.contains(server)));
                }
                Some("domain") => search.domains = domains(words.take(1)),
                Some("search") => search.domains = domains(words),
                Some("options") => {
                    let ndots = words.filter_map(|word| word.strip_prefix("ndots:")?.parse().ok());
                    search.ndots =
                        ndots.reduce(|_, last| last).unwrap_or(search.ndots).min(DNS_NDOTS);
                }
                _ => {}
            }
        }
        servers.truncate(DNS_SERVERS);
        if servers.is_empty() {
            let addr = (Ipv4Addr::LOCALHOST, DNS_PORT).into();
            servers.push(NameServer { addr, scope: None });
        }
        Self { servers, search }
    }
}

/// The root, as Kubernetes may write it, adds nothing to a name.
fn domains<'a>(words: impl Iterator<Item = &'a str>) -> Vec<HostName> {
    words.filter_map(|word| HostName::parse(word).ok()).take(DNS_SEARCH).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(servers: &[NameServer]) -> Vec<String> {
        servers.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn name_servers_of_the_system() {
        let conf = ResolvConf::parse(
            "; made by hand\n\
             search example.com\n\
             nameserver 192.0.2.1\n\
             nameserver 192.0.2.1%eth0\n\
             nameserver fe80::1%\n\
             nameserver fe80::1%an-interface-too-long\n\
             #nameserver 192.0.2.9\n\
             nameserver\t2001:db8::1 # second\n\
             nameserver 192.0.2.1\n\
             nameservers 192.0.2.8\n\
             nameserver\n\
             options edns0\n\
             nameserver 192.0.2.3\n\
             nameserver 192.0.2.4\n",
        );
        assert_eq!(shown(&conf.servers), ["192.0.2.1", "2001:db8::1", "192.0.2.3"]);
        for text in ["", "nameserver fe80::1%a%b", "options rotate"] {
            assert_eq!(shown(&ResolvConf::parse(text).servers), ["127.0.0.1"]);
        }
    }

    #[test]
    fn a_name_server_behind_an_interface() {
        let text = "nameserver fe80::53%eth0\nnameserver fe80::53%wlan0\nnameserver fe80::53%7\n";
        let conf = ResolvConf::parse(text);
        let index = |name: &str| (name == "eth0").then_some(3);
        let addrs: Vec<_> = conf.servers.iter().map(|server| server.addr(index)).collect();
        let scoped = |n: u32| Some(format!("[fe80::53%{n}]:53").parse().unwrap());
        assert_eq!(addrs, [scoped(3), None, scoped(7)]);
        assert_eq!(shown(&conf.servers), ["fe80::53%eth0", "fe80::53%wlan0", "fe80::53%7"]);
    }

    #[test]
    fn a_name_server_of_the_operator() {
        for (text, server) in [
            ("192.0.2.1", Some("192.0.2.1:53")),
            ("192.0.2.1:5353", Some("192.0.2.1:5353")),
            ("2001:db8::1", Some("[2001:db8::1]:53")),
            ("[2001:db8::1]:5353", Some("[2001:db8::1]:5353")),
            ("[2001:db8::1]", Some("[2001:db8::1]:53")),
            ("fe80::1%lan", Some("[fe80::1%9]:53")),
            ("[fe80::1%lan]", Some("[fe80::1%9]:53")),
            ("[fe80::1%lan]:5353", Some("[fe80::1%9]:5353")),
            ("[fe80::1%4]:5353", Some("[fe80::1%4]:5353")),
            ("[192.0.2.1]", None),
            ("[[2001:db8::1]", None),
            ("[2001:db8::1]5353", None),
            ("[2001:db8::1]:0", None),
            ("192.0.2.1:0", None),
            ("192.0.2.1%lan", None),
            ("dns.example", None),
            ("", None),
        ] {
            let addr = NameServer::parse(text).map(|server| server.addr(|_| Some(9)).unwrap());
            assert_eq!(addr, server.map(|text| text.parse().unwrap()), "{text}");
        }
    }

    /// The whole names that a text stands for with this file.
    fn names(conf: &str, text: &str) -> Vec<String> {
        let search = ResolvConf::parse(conf).search;
        search.candidates(text).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn names_are_completed_as_the_file_says() {
        // As in a pod of Kubernetes.
        let pod = "search chat.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5";
        assert_eq!(
            names(pod, "gemini"),
            [
                "gemini.chat.svc.cluster.local",
                "gemini.svc.cluster.local",
                "gemini.cluster.local",
                "gemini"
            ]
        );
        assert_eq!(names(pod, "gemini.ai")[1], "gemini.ai.svc.cluster.local");
        assert_eq!(names(pod, "a.b.c.d.e.f")[0], "a.b.c.d.e.f");
        assert_eq!(names(pod, "gemini."), ["gemini"]);
        // Without a word about dots one makes a name that is tried as it is first.
        let home = "domain old.example\nsearch lan fritz.box\noptions edns0";
        assert_eq!(names(home, "box"), ["box.lan", "box.fritz.box", "box"]);
        assert_eq!(
            names(home, "api.example"),
            ["api.example", "api.example.lan", "api.example.fritz.box"]
        );
        // The last one counts, of one kind or the other.
        assert_eq!(names("search a b\ndomain c d\n", "x"), ["x.c", "x"]);
        assert_eq!(names("search a\nsearch b\n", "x"), ["x.b", "x"]);
        assert_eq!(names("search . -\u{fc} lan.\noptions ndots:x ndots:0", "x"), ["x", "x.lan"]);
        assert_eq!(names("search a\noptions ndots:99\n", &"x.".repeat(14)[..27])[0][27..], *".a");
        let long = format!("search {}", "long.".repeat(49));
        assert_eq!(names(&long, "a-long-name"), ["a-long-name"], "it would be too long");
        let many: String = (0..99).map(|n| format!(" d{n}")).collect();
        assert_eq!(names(&format!("search{many}"), "x").len(), DNS_SEARCH + 1);
        assert!(Search::default().candidates("no name").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read(
            text in "(\\PC|[\n\t #;%]|nameserver |search |options ndots:|::1|192\\.0\\.2\\.1 ){0,80}"
        ) {
            let conf = ResolvConf::parse(&text);
            prop_assert!((1..=DNS_SERVERS).contains(&conf.servers.len()));
            let names = conf.search.candidates("a.b").unwrap();
            prop_assert!((1..=DNS_SEARCH + 1).contains(&names.len()));
        }
    }
}
