//! Networks of addresses, and which of them may connect.
//!
//! Pure: reads no setting and knows no socket.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

/// A set of networks. An IPv4 address that comes mapped into IPv6 (RFC 4291, 2.5.5.2) counts as an
/// IPv4 address, in the set as well as in questions to it.
///
/// In ascending order, with no address in two of them, so that a long list can be searched by
/// bisection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Whether one of them contains this address.
    #[must_use]
    pub fn contains(&self, addr: IpAddr) -> bool {
        let addr = addr.to_canonical();
        let behind = self.0.partition_point(|network| network.network() <= addr);
        let last = behind.checked_sub(1).and_then(|last| self.0.get(last));
        last.is_some_and(|network| network.contains(&addr))
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, network) in self.0.iter().enumerate() {
            write!(f, "{}{network}", if n == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl FromStr for Networks {
    type Err = ();

    /// Parses a list such as `10.0.0.0/8, 2001:db8::/32, 192.0.2.1`: an address without a prefix is
    /// a network of one, and the bits after the prefix do not matter.
    fn from_str(list: &str) -> Result<Self, ()> {
        let networks = list.split(',').map(|text| network(text.trim())).collect::<Option<_>>();
        // Comes in ascending order, IPv4 first, which is also the order of addresses.
        networks.map(|networks| Self(IpNet::aggregate(&networks))).ok_or(())
    }
}

fn network(text: &str) -> Option<IpNet> {
    let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok()?;
    let IpNet::V6(v6) = network else { return Some(network) };
    match v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(MAPPED_PREFIX)) {
        Some((v4, prefix)) => Ipv4Net::new(v4, prefix).ok().map(IpNet::V4),
        None => Some(network),
    }
}

/// Bits in front of an IPv4 address that is mapped into IPv6.
const MAPPED_PREFIX: u8 = 96;

/// Which addresses may connect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// Those that may; if empty, all.
    pub allow: Networks,
    /// Those that may not, whatever the other list says.
    pub deny: Networks,
}

impl Access {
    /// Whether this address may connect.
    #[must_use]
    pub fn permits(&self, addr: IpAddr) -> bool {
        !self.deny.contains(addr) && (self.allow.is_empty() || self.allow.contains(addr))
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.allow.is_empty() {
            true => f.write_str("everybody")?,
            false => self.allow.fmt(f)?,
        }
        if !self.deny.is_empty() {
            write!(f, ", but not {}", self.deny)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(list: &str) -> Networks {
        list.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_has_the_addresses_behind_its_prefix() {
        let all = networks("10.0.0.0/8, 192.0.2.7,2001:db8::/32,198.51.100.77/24");
        let shown = "10.0.0.0/8, 192.0.2.7/32, 198.51.100.0/24, 2001:db8::/32";
        assert_eq!(all.to_string(), shown);
        for inside in
            ["10.255.0.1", "192.0.2.7", "2001:db8:ffff::1", "198.51.100.1", "::ffff:10.0.0.1"]
        {
            assert!(all.contains(ip(inside)), "{inside}");
        }
        for outside in ["11.0.0.0", "192.0.2.8", "2001:db9::1", "198.51.101.77", "::10.0.0.1"] {
            assert!(!all.contains(ip(outside)), "{outside}");
        }
    }

    #[test]
    fn all_of_one_family_is_nothing_of_the_other() {
        assert!(networks("0.0.0.0/0").contains(ip("192.0.2.1")));
        assert!(!networks("0.0.0.0/0").contains(ip("2001:db8::1")));
        assert!(networks("::/0").contains(ip("2001:db8::1")));
        assert!(!networks("::/0").contains(ip("::ffff:192.0.2.1")));
    }

    #[test]
    fn networks_that_meet_or_lie_in_one_another_are_one() {
        let all = networks("10.1.0.0/16,10.0.0.0/8,::/0,192.0.2.128/25,192.0.2.0/25,10.2.3.4");
        assert_eq!(all, networks("10.0.0.0/8,192.0.2.0/24,::/0"));
        assert_eq!(networks("128.0.0.0/1,0.0.0.0/1"), networks("0.0.0.0/0"));
    }

    #[test]
    fn a_search_by_halves_finds_what_a_look_at_each_finds() {
        // All about the first and the last address of each network, of a list with gaps and overlaps.
        let list: Vec<String> = (0..3000_u32)
            .map(|n| {
                let bits = n.wrapping_mul(2_654_435_761);
                match n % 3 {
                    0 => format!("{}/{}", std::net::Ipv4Addr::from_bits(bits), 16 + n % 17),
                    1 => format!("{:x}:{:x}::/{}", bits >> 16, bits & 0xFFFF, 10 + n % 119),
                    _ => format!("::ffff:{}", std::net::Ipv4Addr::from_bits(bits)),
                }
            })
            .collect();
        let each: Vec<IpNet> = list.iter().map(|text| network(text).unwrap()).collect();
        let all = networks(&list.join(","));
        for one in &each {
            let ends = [one.network(), one.broadcast()];
            let beside = ends.map(|end| match end {
                IpAddr::V4(v4) => [1, u32::MAX].map(|d| {
                    IpAddr::from(std::net::Ipv4Addr::from_bits(v4.to_bits().wrapping_add(d)))
                }),
                IpAddr::V6(v6) => [1, u128::MAX].map(|d| {
                    IpAddr::from(std::net::Ipv6Addr::from_bits(v6.to_bits().wrapping_add(d)))
                }),
            });
            for addr in ends.into_iter().chain(beside.into_iter().flatten()) {
                let expected = each.iter().any(|one| one.contains(&addr.to_canonical()));
                assert_eq!(all.contains(addr), expected, "{addr}");
            }
        }
    }

    #[test]
    fn a_mapped_network_is_an_ipv4_network() {
        assert_eq!(networks("::ffff:10.0.0.0/104"), networks("10.0.0.0/8"));
        assert_eq!(networks("::ffff:192.0.2.1"), networks("192.0.2.1/32"));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "example.com", "10.0.0.0/8,", "2001:db8::/129"] {
            assert_eq!(bad.parse::<Networks>(), Err(()), "{bad:?}");
        }
    }

    #[test]
    fn deny_wins_and_no_list_allows_all() {
        let access = |allow: &str, deny: &str| Access {
            allow: allow.parse().unwrap_or_default(),
            deny: deny.parse().unwrap_or_default(),
        };
        let one = ip("192.0.2.1");
        for (allow, deny, permitted) in [
            ("", "", true),
            ("192.0.2.0/24", "", true),
            ("198.51.100.0/24", "", false),
            ("", "192.0.2.1", false),
            ("192.0.2.1", "192.0.2.0/24", false),
            ("192.0.2.0/24", "192.0.2.2", true),
        ] {
            assert_eq!(access(allow, deny).permits(one), permitted, "{allow} but {deny}");
        }
        assert_eq!(access("", "").to_string(), "everybody");
        let shown = "192.0.2.0/24, but not 192.0.2.2/32";
        assert_eq!(access("192.0.2.0/24", "192.0.2.2").to_string(), shown);
    }
}
