//! The resolver's files, /etc/resolv.conf and /etc/hosts: read at the start, and again when they
//! have changed, since networks change.
//!
//! They are checked when a name is looked up, at most once in [`RESOLVER_FILES_INTERVAL`], and on a
//! hang-up signal. That is two calls of stat(2) in addition to a question to another machine.
//! Strictly speaking a disk could delay them, but these files are small, are in memory on every
//! machine that looks anything up, and are read in the same way by every program that uses the
//! system's own resolver.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Instant;

use crate::dns::{Hosts, NameServer, ResolvConf, Resolver, Search};
use crate::limits::{RESOLVER_FILE_BYTES, RESOLVER_FILES_INTERVAL};

/// What tells one state of a file from another: its path, its modification time, and its length.
type Stamp = (u64, u64, i64, i64, u64);

/// One file that is read again when it has changed.
#[derive(Debug)]
struct Watched {
    path: PathBuf,
    stamp: Option<Stamp>,
}

/// Both files, and what they say about name servers.
#[derive(Debug)]
pub(super) struct ResolverFiles {
    /// `None` if the operator names the servers: then we ignore the file.
    conf: Option<Watched>,
    hosts: Watched,
    servers: Vec<NameServer>,
    search: Search,
    /// Until then they count as unchanged.
    next: Instant,
}

impl ResolverFiles {
    /// Reads the system's files; the name servers only if the operator names none.
    pub(super) fn open(now: Instant, named: Vec<NameServer>) -> (Self, Resolver) {
        Self::at(now, named, "/etc/resolv.conf".into(), "/etc/hosts".into())
    }

    fn at(now: Instant, named: Vec<NameServer>, conf: PathBuf, hosts: PathBuf) -> (Self, Resolver) {
        let watched = |path| Watched { path, stamp: None };
        let ResolvConf { servers, search } = ResolvConf::parse("");
        let mut files = if named.is_empty() {
            Self { conf: Some(watched(conf)), hosts: watched(hosts), servers, search, next: now }
        } else {
            let search = Search::default();
            Self { conf: None, hosts: watched(hosts), servers: named, search, next: now }
        };
        let mut resolver = Resolver::new(Vec::new(), Search::default(), Hosts::default());
        files.look(now, &mut resolver);
        (files, resolver)
    }

    /// Before a look-up: tells the resolver what has changed, if it is time to check.
    pub(super) fn refresh(&mut self, now: Instant, resolver: &mut Resolver) {
        if self.next <= now {
            self.look(now, resolver);
        }
    }

    /// Reads them again, whether they look changed or not.
    pub(super) fn reload(&mut self, now: Instant, resolver: &mut Resolver) {
        self.conf.iter_mut().chain([&mut self.hosts]).for_each(|file| file.stamp = None);
        self.look(now, resolver);
    }

    fn look(&mut self, now: Instant, resolver: &mut Resolver) {
        self.next = now + RESOLVER_FILES_INTERVAL;
        if let Some(text) = self.hosts.read_changed() {
            resolver.set_hosts(Hosts::parse(&text));
        }
        if let Some(text) = self.conf.as_mut().and_then(Watched::read_changed) {
            let ResolvConf { servers, search } = ResolvConf::parse(&text);
            if servers != self.servers || search != self.search {
                let shown: Vec<_> = servers.iter().map(ToString::to_string).collect();
                log::debug!("name servers: {}", shown.join(", "));
            }
            (self.servers, self.search) = (servers, search);
        }
        // Interfaces come and go without a change of the file.
        let addrs = self.servers.iter().filter_map(|server| server.addr(interface)).collect();
        resolver.set_servers(addrs);
        resolver.set_search(self.search.clone());
    }
}

impl Watched {
    /// The text, if it has changed since the last time. A file that is gone is most likely about to
    /// be replaced: until then what it said still holds.
    fn read_changed(&mut self) -> Option<String> {
        // Not if it is a FIFO, which would keep us waiting.
        let metadata = fs::metadata(&self.path).ok().filter(Metadata::is_file)?;
        let stamp = (
            metadata.dev(),
            metadata.ino(),
            metadata.mtime(),
            metadata.mtime_nsec(),
            metadata.len(),
        );
        if self.stamp == Some(stamp) {
            return None;
        }
        let text = self.read().inspect_err(|e| log::warn!("{}: {e}", self.path.display())).ok()?;
        self.stamp = Some(stamp);
        Some(text)
    }

    fn read(&self) -> io::Result<String> {
        let mut text = Vec::new();
        let most = RESOLVER_FILE_BYTES as u64;
        File::open(&self.path)?.take(most).read_to_end(&mut text)?;
        if text.len() == RESOLVER_FILE_BYTES {
            // Half a line may say something else than a whole one.
            text.truncate(text.iter().rposition(|byte| *byte == b'\n').unwrap_or_default());
        }
        // A comment in another encoding spoils only itself.
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// The number of an interface (if_nametoindex(3)). Any socket will do for asking.
fn interface(name: &str) -> Option<u32> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let socket =
            socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::DGRAM, None).ok()?;
        rustix::net::netdevice::name_to_index(&socket, name).ok()
    }
    // Elsewhere the number itself has to be written.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let _ = name;
        None
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::dns::{Action, LookupStart};
    use std::net::SocketAddr;
    use std::time::Duration;

    /// Whom a look-up asks first, and for what.
    fn asked(resolver: &mut Resolver, now: Instant, name: &str) -> (SocketAddr, String) {
        let LookupStart::Ask(mut lookup) = resolver.lookup(now, name, 1) else { panic!() };
        let Some(Action::SendUdp { server, bytes, .. }) = lookup.poll_action() else { panic!() };
        let mut labels = Vec::new();
        let mut rest = &bytes[12..];
        while rest[0] > 0 {
            let (label, behind) = rest[1..].split_at(rest[0].into());
            labels.push(String::from_utf8(label.to_vec()).unwrap());
            rest = behind;
        }
        (server, labels.join("."))
    }

    #[test]
    fn they_are_read_again_when_they_have_changed_but_not_all_the_time() {
        let dir = tempfile::tempdir().unwrap();
        let (conf, hosts) = (dir.path().join("resolv.conf"), dir.path().join("hosts"));
        let start = Instant::now();
        let (mut files, mut resolver) =
            ResolverFiles::at(start, Vec::new(), conf.clone(), hosts.clone());
        let local = "127.0.0.1:53".parse().unwrap();
        assert_eq!(asked(&mut resolver, start, "api"), (local, "api".to_owned()));

        let text = "nameserver ::1%lo\nsearch chat.example\noptions ndots:5\n";
        fs::write(&conf, text).unwrap();
        fs::write(&hosts, "192.0.2.7 box\n").unwrap();
        files.refresh(start + Duration::from_millis(4900), &mut resolver);
        assert_eq!(asked(&mut resolver, start, "api").0, local, "it is too early");
        let now = start + Duration::from_secs(5);
        files.refresh(now, &mut resolver);
        let scoped = "[::1%1]:53".parse().unwrap();
        assert_eq!(asked(&mut resolver, now, "api.x"), (scoped, "api.x.chat.example".to_owned()));
        let known = resolver.lookup(now, "box", 1);
        assert!(matches!(known, LookupStart::Known(Ok(addrs)) if addrs.len() == 1));

        // Replaced, as most programs do it; then deleted.
        let new = dir.path().join("new");
        fs::write(&new, "nameserver 192.0.2.53\n").unwrap();
        fs::rename(&new, &conf).unwrap();
        let now = now + Duration::from_secs(5);
        files.refresh(now, &mut resolver);
        let other = "192.0.2.53:53".parse().unwrap();
        assert_eq!(asked(&mut resolver, now, "api"), (other, "api".to_owned()));
        fs::remove_file(&conf).unwrap();
        files.refresh(now + Duration::from_secs(5), &mut resolver);
        assert_eq!(asked(&mut resolver, now, "api").0, other);

        // On a hang-up signal there is no waiting.
        fs::write(&conf, "nameserver 192.0.2.54\n").unwrap();
        files.reload(now, &mut resolver);
        assert_eq!(asked(&mut resolver, now, "api").0, "192.0.2.54:53".parse().unwrap());
    }

    #[test]
    fn the_operators_name_servers_stay() {
        let dir = tempfile::tempdir().unwrap();
        let conf = dir.path().join("resolv.conf");
        fs::write(&conf, "nameserver 192.0.2.53\nsearch chat.example\n").unwrap();
        let named = vec![NameServer::parse("[::1%lo]:5353").unwrap()];
        let now = Instant::now();
        let (mut files, mut resolver) = ResolverFiles::at(now, named, conf, dir.path().join("no"));
        let expected = ("[::1%1]:5353".parse().unwrap(), "api".to_owned());
        assert_eq!(asked(&mut resolver, now, "api"), expected);
        files.reload(now, &mut resolver);
        assert_eq!(asked(&mut resolver, now, "api"), expected);
    }

    #[test]
    fn what_is_no_file_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let mut watched = Watched { path: dir.path().to_owned(), stamp: None };
        assert_eq!(watched.read_changed(), None);
        watched.path = dir.path().join("latin1");
        fs::write(&watched.path, b"# caf\xe9\nnameserver ::1\n").unwrap();
        assert!(watched.read_changed().unwrap().ends_with("nameserver ::1\n"));
        assert_eq!(watched.read_changed(), None);
        watched.path = dir.path().join("long");
        fs::write(&watched.path, "192.0.2.1 long\n".repeat(RESOLVER_FILE_BYTES / 8)).unwrap();
        let text = watched.read_changed().unwrap();
        assert!(text.len() > RESOLVER_FILE_BYTES - 20 && text.ends_with("\n192.0.2.1 long"));
        assert!(interface("lo").is_some() && interface("no-such-if").is_none());
    }
}
