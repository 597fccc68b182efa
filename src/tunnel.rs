//! The HTTP proxy that the assistant's requests go through where there is no other way out: its
//! settings, and how it is asked for a tunnel (CONNECT; RFC 9110, section 9.3.6).
//!
//! The settings are curl's: `https_proxy`, `HTTPS_PROXY`, `all_proxy`, `ALL_PROXY` in this order,
//! and `no_proxy` or `NO_PROXY` for hosts that are reached without it. Knows no socket, and shows
//! no password.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;

use crate::config::Secret;
use crate::http::{Part, ResponseDecoder};

/// The variables that may name a proxy; the first one that is set counts.
pub const PROXY_VARIABLES: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

/// The variables that may list what is reached without one; the first one that is set counts.
pub const NO_PROXY_VARIABLES: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// The values allowed for [`PROXY_VARIABLES`].
pub const ALLOWED: &str = "http://[user:password@]host[:port] (no https:// and no socks5:// proxy)";

/// An HTTP proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// A name, or an address (an IPv6 one without brackets).
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The value of Proxy-Authorization (RFC 7617).
    authorization: Option<Secret>,
    /// The variable that named it.
    variable: &'static str,
}

/// What a proxy answered to our CONNECT.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing complete yet.
    Unfinished,
    /// The tunnel is open.
    Open,
    /// There is no tunnel: why, for the log, and whether the proxy itself refused it.
    Refused(String, bool),
}

/// A tunnel that has been asked for.
#[derive(Debug, Default)]
pub struct Tunnel {
    http: ResponseDecoder,
    has_authorization: bool,
}

impl Proxy {
    /// The proxy for an encrypted connection to this host, if one is to be used.
    ///
    /// # Errors
    /// The variable whose value does not name a usable proxy.
    pub fn find(
        get: impl Fn(&'static str) -> Option<String>,
        host: &str,
    ) -> Result<Option<Self>, &'static str> {
        let first =
            |names: &[&'static str]| names.iter().find_map(|name| Some((*name, get(name)?)));
        let (proxy, exempt) = (first(&PROXY_VARIABLES), first(&NO_PROXY_VARIABLES));
        match proxy {
            Some((variable, text)) if !exempt.is_some_and(|(_, list)| is_exempt(&list, host)) => {
                Self::parse(&text, variable).map(Some).ok_or(variable)
            }
            _ => Ok(None),
        }
    }

    fn parse(text: &str, variable: &'static str) -> Option<Self> {
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some(_) => return None,
            None => text,
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        // A password may have an @ in it that nobody has encoded.
        let (user, authority) = match rest.rsplit_once('@') {
            Some((user, authority)) => (Some(user), authority),
            None => (None, rest),
        };
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, behind) = rest.split_once(']')?;
                host.parse::<Ipv6Addr>().ok()?;
                (host, if behind.is_empty() { "" } else { behind.strip_prefix(':')? })
            }
            None => authority.split_once(':').unwrap_or((authority, "")),
        };
        let usual = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
        let port =
            if port.is_empty() { 80 } else { port.parse().ok().filter(|port| *port != 0)? };
        if host.is_empty() || !host.chars().all(usual) {
            return None;
        }
        let authorization = match user {
            Some(user) => Some(authorization(user)?),
            None => None,
        };
        Some(Self { host: host.to_owned(), port, authorization, variable })
    }

    /// The request for a tunnel to this host and port.
    #[must_use]
    pub fn request(&self, host: &str, port: u16) -> (Vec<u8>, Tunnel) {
        let target = authority(host, port);
        let mut head =
            format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: mio-chat/");
        head.push_str(env!("CARGO_PKG_VERSION"));
        if let Some(authorization) = &self.authorization {
            head.push_str("\r\nProxy-Authorization: ");
            head.push_str(authorization.expose());
        }
        head.push_str("\r\n\r\n");
        let has_authorization = self.authorization.is_some();
        (head.into_bytes(), Tunnel { has_authorization, ..Tunnel::default() })
    }
}

/// As it is shown: `proxy.example:3128 (HTTPS_PROXY)`.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", authority(&self.host, self.port), self.variable)
    }
}

impl Tunnel {
    /// Takes what the proxy sent.
    pub fn receive(&mut self, bytes: &[u8]) -> Reply {
        let mut rest = bytes;
        match self.http.next_part(&mut rest) {
            Ok(None) => Reply::Unfinished,
            // A TLS server says nothing before the client's hello: these are not its bytes.
            Ok(Some(Part::Head(head))) if head.status / 100 == 2 && !rest.is_empty() => {
                Reply::Refused("it sent more than its answer".to_owned(), false)
            }
            Ok(Some(Part::Head(head))) if head.status / 100 == 2 => Reply::Open,
            Ok(Some(Part::Head(head))) => {
                let status = head.status;
                let why = match (status, self.has_authorization) {
                    // Some say so with the status that is a server's.
                    (401 | 407, true) => ": it does not accept this user and password",
                    (401 | 407, false) => {
                        ": it wants a user and a password (http://user:password@…)"
                    }
                    (502..=504, _) => ": it cannot reach the service",
                    _ => "",
                };
                Reply::Refused(format!("HTTP {status}{why}"), (300..500).contains(&status))
            }
            Ok(Some(_)) => Reply::Unfinished,
            Err(error) => Reply::Refused(error.to_string(), false),
        }
    }
}

/// A host and its port as they appear in a request (RFC 9112, section 3.2.3).
fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Basic authentication (RFC 7617), from the part before the `@` of an address (RFC 3986, 3.2.1).
fn authorization(user: &str) -> Option<Secret> {
    let mut plain = Vec::new();
    let mut bytes = user.bytes();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                let digits = std::str::from_utf8(&digits).ok()?;
                digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then_some(())?;
                u8::from_str_radix(digits, 16).ok()?
            }
            byte => byte,
        });
    }
    if plain.iter().any(u8::is_ascii_control) {
        return None;
    }
    // A user without a password has an empty one.
    if !user.contains(':') {
        plain.push(b':');
    }
    Some(Secret::new(format!("Basic {}", STANDARD.encode(plain))))
}

/// Whether a host is reached without the proxy, reading the list as curl does: names and all names
/// below them, addresses, networks, or `*` for all. Anything else matches nothing.
fn is_exempt(list: &str, host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let ip = host.parse::<IpAddr>().ok();
    list.split([',', ' ', '\t']).filter(|entry| !entry.is_empty()).any(|entry| {
        let entry = entry.to_ascii_lowercase();
        if let Some(ip) = ip {
            let bare = entry.strip_prefix('[').and_then(|entry| entry.strip_suffix(']'));
            let entry = bare.unwrap_or(&entry);
            return entry == "*"
                || entry.parse() == Ok(ip)
                || entry.parse::<IpNet>().is_ok_and(|net| net.contains(&ip));
        }
        let name = entry.trim_start_matches('.').trim_end_matches('.');
        let below =
            host.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        entry == "*" || !name.is_empty() && below
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_HTTP_HEAD_BYTES;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn find(vars: &[(&str, &str)], host: &str) -> Result<Option<Proxy>, &'static str> {
        let get = |name: &str| {
            vars.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        Proxy::find(get, host)
    }

    fn parse(text: &str) -> Option<Proxy> {
        Proxy::parse(text, "HTTPS_PROXY")
    }

    #[test]
    fn the_first_variable_counts() {
        let all = [
            ("ALL_PROXY", "http://d:4"),
            ("all_proxy", "http://c:3"),
            ("HTTPS_PROXY", "http://b:2"),
            ("https_proxy", "http://a:1"),
        ];
        let shown =
            |n: usize| find(&all[..n], "api.example").unwrap().map(|proxy| proxy.to_string());
        assert_eq!(shown(4).as_deref(), Some("a:1 (https_proxy)"));
        assert_eq!(shown(3).as_deref(), Some("b:2 (HTTPS_PROXY)"));
        assert_eq!(shown(2).as_deref(), Some("c:3 (all_proxy)"));
        assert_eq!(shown(1).as_deref(), Some("d:4 (ALL_PROXY)"));
        assert_eq!(shown(0), None);
        // That of an unused proxy is nobody's business; that of a used one is told.
        let bad = [("HTTPS_PROXY", "socks5://a:1"), ("NO_PROXY", "example")];
        assert_eq!(find(&bad, "api.other"), Err("HTTPS_PROXY"));
        assert_eq!(find(&bad, "api.example"), Ok(None));
        let lower = [("no_proxy", "other"), ("NO_PROXY", "*"), ("HTTPS_PROXY", "a:1")];
        assert!(find(&lower, "api.example").unwrap().is_some());
    }

    #[test]
    fn addresses_of_proxies() {
        let shown = |text: &str| parse(text).map(|proxy| (proxy.host, proxy.port));
        for (text, host, port) in [
            ("http://proxy.example:3128", "proxy.example", 3128),
            ("HTTP://proxy.example:3128/", "proxy.example", 3128),
            ("proxy:8080", "proxy", 8080),
            ("http://192.0.2.1", "192.0.2.1", 80),
            ("http://[2001:db8::1]:3128", "2001:db8::1", 3128),
            ("[::1]", "::1", 80),
            ("http://a:b@proxy:1", "proxy", 1),
        ] {
            assert_eq!(shown(text), Some((host.to_owned(), port)), "{text}");
        }
        for bad in [
            "https://proxy:1",
            "socks5h://proxy:1",
            "http://",
            "http://:3128",
            "proxy:0",
            "proxy:x",
            "proxy:99999",
            "[::1",
            "[::1]3128",
            "[proxy]:1",
            "http://proxy:1/path",
            "http://pro xy:1",
            "http://pr\u{fc}xy:1",
            "http://a%4:b@proxy:1",
            "http://a%+f@proxy:1",
            "http://a%0d%0aX:b@proxy:1",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_request_names_the_service_and_who_asks() {
        let text = |proxy: &str, host: &str| {
            let proxy = parse(proxy).unwrap();
            assert!(!format!("{proxy}{proxy:?}").contains("secret"));
            String::from_utf8(proxy.request(host, 443).0).unwrap()
        };
        let plain = text("proxy:1", "api.example");
        assert!(plain.starts_with("CONNECT api.example:443 HTTP/1.1\r\nHost: api.example:443\r\n"));
        assert!(plain.ends_with("\r\n\r\n") && !plain.contains("Proxy-Authorization"));
        assert!(
            text("proxy:1", "2001:db8::1").starts_with("CONNECT [2001:db8::1]:443 HTTP/1.1\r\n")
        );
        for (user, plain) in [
            ("me:secret", "me:secret"),
            ("me", "me:"),
            ("me:s%40cret%3A", "me:s@cret:"),
            ("me:s@cret", "me:s@cret"),
            ("b%C3%B6b:", "b\u{f6}b:"),
        ] {
            let line = format!("\r\nProxy-Authorization: Basic {}\r\n\r\n", STANDARD.encode(plain));
            assert!(text(&format!("http://{user}@proxy:1"), "x").ends_with(&line), "{user}");
        }
    }

    #[test]
    fn what_a_proxy_says() {
        let reply = |proxy: &str, bytes: &str| {
            let (_, mut tunnel) = parse(proxy).unwrap().request("x", 443);
            let at_once = tunnel.receive(bytes.as_bytes());
            // The same, byte by byte, as far as it goes.
            let (_, mut tunnel) = parse(proxy).unwrap().request("x", 443);
            for (n, byte) in bytes.bytes().enumerate() {
                let so_far = tunnel.receive(&[byte]);
                if so_far != Reply::Unfinished {
                    assert!(so_far == at_once || n + 1 < bytes.len(), "{bytes:?}");
                    break;
                }
            }
            at_once
        };
        let refused = |why: &str, will| Reply::Refused(why.to_owned(), will);
        let plain = |bytes: &str| reply("proxy:1", bytes);
        assert_eq!(plain("HTTP/1.1 200 Connection established\r\n\r\n"), Reply::Open);
        assert_eq!(plain("HTTP/1.0 200 OK\r\nProxy-agent: x\r\n\r\n"), Reply::Open);
        // They do not count in such a reply.
        assert_eq!(plain("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), Reply::Open);
        assert_eq!(plain("HTTP/1.1 100 x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), Reply::Open);
        assert_eq!(plain("HTTP/1.1 200 OK\r\n"), Reply::Unfinished);
        let more = plain("HTTP/1.1 200 OK\r\n\r\nmore");
        assert_eq!(more, refused("it sent more than its answer", false));
        assert_eq!(plain("HTTP/1.1 403 No\r\n\r\nbody"), refused("HTTP 403", true));
        assert_eq!(plain("HTTP/1.1 302 No\r\n\r\n"), refused("HTTP 302", true));
        let bad_gateway = refused("HTTP 502: it cannot reach the service", false);
        assert_eq!(plain("HTTP/1.1 502 Bad\r\n\r\n"), bad_gateway);
        let wants = plain("HTTP/1.1 407 Auth\r\nProxy-Authenticate: Basic\r\n\r\n");
        let why = "HTTP 407: it wants a user and a password (http://user:password@…)";
        assert_eq!(wants, refused(why, true));
        let takes_not = reply("http://a:b@proxy:1", "HTTP/1.1 407 Auth\r\n\r\n");
        assert!(
            matches!(plain("HTTP/1.0 401 x\r\n\r\n"), Reply::Refused(why, true) if why.contains("wants"))
        );
        assert_eq!(takes_not, refused("HTTP 407: it does not accept this user and password", true));
        assert!(matches!(plain("SSH-2.0-x\r\n\r\n"), Reply::Refused(_, false)));
        assert!(matches!(plain(&"x".repeat(20_000)), Reply::Refused(_, false)));
    }

    proptest! {
        #[test]
        fn any_reply_is_read_to_an_end(pieces in vec(vec(any::<u8>(), 1..600), 1..60)) {
            let (_, mut tunnel) = parse("proxy:1").unwrap().request("x", 443);
            let open = pieces.iter().map(|piece| tunnel.receive(piece)).find(|r| *r != Reply::Unfinished);
            let received: usize = pieces.iter().map(Vec::len).sum();
            prop_assert!(open.is_some() || received <= MAX_HTTP_HEAD_BYTES);
        }

        #[test]
        fn any_setting_is_read(text in "(\\PC|http://|[@:%/\\[\\]]|a:b@|::1){0,20}", host in "[a-z.0-9:]{0,9}") {
            let _ = is_exempt(&text, &host);
            if let Some(proxy) = parse(&text) {
                let (head, _) = proxy.request("api.example", 443);
                prop_assert!(head.iter().all(|b| b.is_ascii_graphic() || b" \r\n".contains(b)));
                prop_assert!((4..=5).contains(&head.split(|b| *b == b'\n').count().saturating_sub(1)));
            }
        }
    }

    #[test]
    fn what_is_reached_without_it() {
        for (list, host) in [
            ("*", "api.example"),
            ("x, *", "192.0.2.1"),
            ("api.example", "API.example."),
            ("example", "api.example"),
            (".example", "api.example"),
            (".example.", "example"),
            ("a,b c\td", "d"),
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.0/24", "192.0.2.99"),
            ("10.0.0.0/8,2001:db8::/32", "2001:db8::1"),
            ("[2001:db8::1]", "2001:DB8:0::1"),
        ] {
            assert!(is_exempt(list, host), "{list} {host}");
        }
        for (list, host) in [
            ("", "api.example"),
            (" , .,", "api.example"),
            ("example", "notexample"),
            ("api.example", "example"),
            ("*.example", "api.example"),
            ("192.0.2.0/24", "192.0.3.1"),
            ("192.0.2.0/99", "192.0.2.1"),
            ("2.1", "192.0.2.1"),
            ("192.0.2.1", "192.0.2.10"),
            ("192.0.2.0/24", "api.example"),
        ] {
            assert!(!is_exempt(list, host), "{list} {host}");
        }
    }
}
