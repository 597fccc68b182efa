//! The yardstick for throughput: `cargo run --release --example floor -- each|gather [PORT]`.
//!
//! It does nothing but what any chat server has to: each line that a client sends is delivered to
//! every connection, its sender included, in the bytes that mio-chat would send for it. No names, no
//! lobbies, no bounds. `each` makes one write(2) for each message and recipient, at once; `gather`
//! makes one for each recipient of what one turn of the loop brought. Prints its port. Loopback only.

#![allow(clippy::disallowed_methods)]

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};

const LISTENER: Token = Token(usize::MAX);
const READ_BUFFER_BYTES: usize = 64 * 1024;
const EVENTS_PER_TURN: usize = 1024;

// What mio-chat puts around a line of a user whose name has six letters, with a prompt showing.
const ERASE_LINE: &[u8] = b"\r\x1b[K";
const HEAD: &str = "\x1b[36m[@_@]\x1b[0m \x1b[1mu00001\x1b[0m \x1b[2m[just now]\x1b[0m\n  \
                    \x1b[36m╰─>\x1b[0m ";
const PROMPT: &[u8] = b"\x1b[36m> \x1b[0m";

/// When what was said is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Each,
    Gather,
}

struct Client {
    stream: TcpStream,
    /// The beginning of a line whose end has not come.
    unfinished: Vec<u8>,
    /// What the socket did not take; written when it is writable again.
    backlog: Vec<u8>,
    dead: bool,
}

impl Client {
    /// Writes now, or behind what waits already.
    fn send(&mut self, bytes: &[u8]) {
        let sent = if self.backlog.is_empty() { self.write(bytes) } else { 0 };
        self.backlog.extend_from_slice(bytes.get(sent..).unwrap_or_default());
    }

    fn send_backlog(&mut self) {
        if !self.backlog.is_empty() {
            let backlog = std::mem::take(&mut self.backlog);
            self.send(&backlog);
        }
    }

    /// Writes until all is taken or the socket is full, and gives how much it took.
    fn write(&mut self, bytes: &[u8]) -> usize {
        let mut sent = 0;
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty() && !self.dead) {
            match self.stream.write(rest) {
                Ok(n) => sent += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.dead = true,
            }
        }
        sent
    }
}

struct Floor {
    listener: TcpListener,
    clients: Vec<Option<Client>>,
    free: Vec<usize>,
    input: Vec<u8>,
    /// What is being said: one message, or in `gather` all of this turn.
    output: Vec<u8>,
    manner: Manner,
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let manner = match arguments.first().map(String::as_str) {
        Some("each") => Manner::Each,
        Some("gather") => Manner::Gather,
        _ => return Err(io::Error::other("usage: floor each|gather [PORT]")),
    };
    let port = arguments.get(1).map_or(Ok(0), |text| text.parse()).map_err(io::Error::other)?;
    let mut poll = Poll::new()?;
    raise_descriptor_limit()?;
    let mut listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("{}", listener.local_addr()?.port());
    let mut floor = Floor {
        listener,
        clients: Vec::new(),
        free: Vec::new(),
        input: vec![0; READ_BUFFER_BYTES],
        output: Vec::new(),
        manner,
    };
    let mut events = Events::with_capacity(EVENTS_PER_TURN);
    loop {
        match poll.poll(&mut events, None) {
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            result => result?,
        }
        floor.turn(poll.registry(), &events)?;
    }
}

fn raise_descriptor_limit() -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}

impl Floor {
    fn turn(&mut self, registry: &Registry, events: &Events) -> io::Result<()> {
        for event in events {
            let Token(n) = event.token();
            if event.token() == LISTENER {
                self.accept(registry)?;
                continue;
            }
            if event.is_writable()
                && let Some(Some(client)) = self.clients.get_mut(n)
            {
                client.send_backlog();
            }
            if event.is_readable() {
                self.read(n);
            }
        }
        if self.manner == Manner::Gather {
            self.deliver();
        }
        for (n, slot) in self.clients.iter_mut().enumerate() {
            if slot.as_ref().is_some_and(|client| client.dead) {
                *slot = None;
                self.free.push(n);
            }
        }
        Ok(())
    }

    fn accept(&mut self, registry: &Registry) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            };
            stream.set_nodelay(true)?;
            let n = self.free.pop().unwrap_or(self.clients.len());
            let both = Interest::READABLE | Interest::WRITABLE;
            registry.register(&mut stream, Token(n), both)?;
            let client =
                Client { stream, unfinished: Vec::new(), backlog: Vec::new(), dead: false };
            match self.clients.get_mut(n) {
                Some(slot) => *slot = Some(client),
                None => self.clients.push(Some(client)),
            }
        }
    }

    /// Reads all there is, and says each complete line.
    fn read(&mut self, n: usize) {
        let mut input = std::mem::take(&mut self.input);
        while let Some(Some(client)) = self.clients.get_mut(n) {
            let len = match client.stream.read(&mut input) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Ok(len) if len > 0 => len,
                _ => {
                    client.dead = true;
                    break;
                }
            };
            let mut rest = input.get(..len).unwrap_or_default();
            while let Some(end) = memchr::memchr(b'\n', rest) {
                let (line, after) = rest.split_at(end + 1);
                self.say(n, line);
                rest = after;
            }
            if let Some(Some(client)) = self.clients.get_mut(n) {
                client.unfinished.extend_from_slice(rest);
            }
        }
        self.input = input;
    }

    /// Says a line, the beginning of which may have come earlier.
    fn say(&mut self, n: usize, line: &[u8]) {
        if self.output.is_empty() {
            self.output.extend_from_slice(ERASE_LINE);
        }
        self.output.extend_from_slice(HEAD.as_bytes());
        if let Some(Some(client)) = self.clients.get_mut(n) {
            self.output.append(&mut client.unfinished);
        }
        self.output.extend_from_slice(line);
        if self.manner == Manner::Each {
            self.deliver();
        }
    }

    fn deliver(&mut self) {
        if self.output.is_empty() {
            return;
        }
        self.output.extend_from_slice(PROMPT);
        for client in self.clients.iter_mut().flatten() {
            client.send(&self.output);
        }
        self.output.clear();
    }
}
