//! What the machine itself knows: the hosts file.
//!
//! Takes the text of the file and opens none.

use std::collections::HashMap;
use std::net::IpAddr;

use super::name::HostName;
use crate::limits::{DNS_ADDRESSES, HOSTS_ENTRIES};

/// The hosts file, at most [`HOSTS_ENTRIES`] names and addresses of it.
#[derive(Debug, Default)]
pub struct Hosts {
    table: HashMap<HostName, Vec<IpAddr>>,
    is_cut: bool,
}

impl Hosts {
    /// Reads the text of /etc/hosts, hosts(5): an address, then its names, on every line; `#`
    /// begins a comment. Anything that is not an address or a name is skipped, and so is an address
    /// with a scope (`fe80::1%eth0`), which means nothing without its interface.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut hosts = Self::default();
        let mut entries = 0;
        for line in text.lines() {
            let mut words = uncommented(line, &['#']).split_ascii_whitespace();
            let Some(addr) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else {
                continue;
            };
            for name in words.filter_map(|word| HostName::parse(word).ok()) {
                if entries == HOSTS_ENTRIES {
                    hosts.is_cut = true;
                    return hosts;
                }
                entries += 1;
                let addrs = hosts.table.entry(name).or_default();
                if !addrs.contains(&addr) && addrs.len() < 2 * DNS_ADDRESSES {
                    addrs.push(addr);
                }
            }
        }
        hosts
    }

    /// The addresses of a name, in the order of the file; none if it is not there.
    #[must_use]
    pub fn addresses(&self, name: &HostName) -> &[IpAddr] {
        self.table.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether the file was longer than what is kept of it.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }
}

pub(super) fn uncommented<'a>(line: &'a str, marks: &[char]) -> &'a str {
    line.split(marks).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(hosts: &Hosts, name: &str) -> Vec<String> {
        let name = HostName::parse(name).unwrap();
        hosts.addresses(&name).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_table_of_hosts() {
        let hosts = Hosts::parse(
            "127.0.0.1\tlocalhost\n\
             \n\
             # 192.0.2.9 commented\n\
             192.0.2.1  Build.example.COM build # the old one\r\n\
             2001:db8::1 build\n\
             192.0.2.1 build\n\
             fe80::1%eth0 scoped\n\
             192.0.2.300 wrong\n\
             192.0.2.2#tight\n\
             192.0.2.3 b\u{fc}ro next",
        );
        assert_eq!(shown(&hosts, "build.EXAMPLE.com."), ["192.0.2.1"]);
        assert_eq!(shown(&hosts, "build"), ["192.0.2.1", "2001:db8::1"]);
        assert_eq!(shown(&hosts, "next"), ["192.0.2.3"]);
        for missing in ["commented", "the", "old", "scoped", "wrong", "tight", "other"] {
            assert_eq!(shown(&hosts, missing), Vec::<String>::new(), "{missing}");
        }
        assert!(!hosts.is_cut());
    }

    #[test]
    fn a_huge_table_is_cut() {
        let text: String = (0..HOSTS_ENTRIES + 1).map(|n| format!("0.0.0.0 ad{n}\n")).collect();
        let hosts = Hosts::parse(&text);
        assert_eq!(hosts.table.len(), HOSTS_ENTRIES);
        assert!(hosts.is_cut());
        let text: String = (0..200).map(|n| format!("192.0.2.{n} many\n")).collect();
        assert_eq!(shown(&Hosts::parse(&text), "many").len(), 2 * DNS_ADDRESSES);
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "(\\PC|[\n\t #;]|::1|192\\.0\\.2\\.1 ){0,80}") {
            let _ = Hosts::parse(&text);
        }
    }
}
