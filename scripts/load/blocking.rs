//! Clients that block, one after the other, for what needs no crowd.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use memchr::memmem;
use rustls::{ClientConnection, StreamOwned};

use super::Outcome;
use super::server::{Target, tls_config};
use super::tally::histogram;

pub(super) type TlsStream = StreamOwned<ClientConnection, TcpStream>;

pub(super) struct Client<S = TcpStream> {
    stream: S,
    seen: Vec<u8>,
}

pub(super) fn login(target: &Target, name: &str) -> Outcome<Client> {
    let stream = TcpStream::connect(target.addr)?;
    stream.set_nodelay(true)?;
    Client::login(stream, name)
}

/// A connection over TLS whose handshake has not begun.
pub(super) fn connect_tls(target: &Target) -> Outcome<TlsStream> {
    let tcp = TcpStream::connect(target.tls_addr.ok_or("the server does not speak TLS")?)?;
    tcp.set_nodelay(true)?;
    let tls = ClientConnection::new(tls_config(), "localhost".try_into()?)?;
    Ok(StreamOwned::new(tls, tcp))
}

impl<S: Read + Write> Client<S> {
    pub(super) fn login(stream: S, name: &str) -> Outcome<Self> {
        let mut client = Self { stream, seen: Vec::new() };
        client.wait("Enter your username: ")?;
        client.send(name)?;
        client.wait("> ")?;
        Ok(client)
    }

    pub(super) fn send(&mut self, line: &str) -> Outcome<()> {
        Ok(self.stream.write_all(format!("{line}\n").as_bytes())?)
    }

    /// Reads until this text has come, and drops everything through it.
    pub(super) fn wait(&mut self, text: &str) -> Outcome<()> {
        let mut bytes = [0; 16 * 1024];
        loop {
            if let Some(at) = memmem::find(&self.seen, text.as_bytes()) {
                self.seen.drain(..at + text.len());
                return Ok(());
            }
            let n = self.stream.read(&mut bytes)?;
            let new = bytes.get(..n).filter(|new| !new.is_empty());
            self.seen.extend_from_slice(new.ok_or("the server closed")?);
        }
    }

    /// Sends messages at a fixed rate and gives how long each took to come back, from when it was
    /// due.
    pub(super) fn chat(&mut self, rate: u32, secs: u32) -> Outcome<Histogram<u64>> {
        let interval = Duration::from_secs(1) / rate;
        let start = Instant::now();
        let mut latency = histogram();
        for n in 0..rate * secs {
            let due = start + interval * n;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            self.send(&format!("message number {n} of the chatter"))?;
            self.wait(&format!("number {n} of the chatter"))?;
            latency.saturating_record(u64::try_from(due.elapsed().as_nanos())?);
        }
        Ok(latency)
    }
}
