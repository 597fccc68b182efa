//! The byte stream of one client: non-blocking, plain or TLS, from one of many loopback addresses.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr};
use std::sync::Arc;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustls::{ClientConfig, ClientConnection};
use socket2::{Domain, Protocol, Socket, Type};

/// Source addresses, each with a range of ports of its own.
const SOURCES: std::ops::RangeInclusive<u8> = 2..=200;

/// A receive buffer that is full soon.
const SMALL_BUFFER_BYTES: usize = 4096;

pub(super) struct Stream {
    tcp: TcpStream,
    tls: Option<Box<ClientConnection>>,
    connected: bool,
    /// What is to be sent.
    pub(super) out: Vec<u8>,
}

/// What a stream connects to, and how.
#[derive(Clone)]
pub(super) struct Route {
    pub(super) addr: SocketAddr,
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) small_buffer: bool,
}

impl Stream {
    /// Begins to connect; `number` chooses the source address and is the token.
    pub(super) fn connect(registry: &Registry, number: usize, route: &Route) -> io::Result<Self> {
        let socket =
            Socket::new(Domain::for_address(route.addr), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if route.small_buffer {
            socket.set_recv_buffer_size(SMALL_BUFFER_BYTES)?;
        }
        if route.addr.is_ipv4() {
            socket.bind(&source(number).into())?;
        }
        match socket.connect(&route.addr.into()) {
            Err(e) if e.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
                return Err(e);
            }
            _ => {}
        }
        let mut tcp = TcpStream::from_std(socket.into());
        registry.register(&mut tcp, Token(number), Interest::READABLE | Interest::WRITABLE)?;
        let tls = match &route.tls {
            None => None,
            Some(config) => {
                let name = "localhost".try_into().map_err(io::Error::other)?;
                let tls = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
                Some(Box::new(tls))
            }
        };
        Ok(Self { tcp, tls, connected: false, out: Vec::new() })
    }

    /// Whether it is connected since this call.
    ///
    /// # Errors
    /// It could not be.
    pub(super) fn now_connected(&mut self) -> io::Result<bool> {
        if self.connected {
            return Ok(false);
        }
        if let Some(error) = self.tcp.take_error()? {
            return Err(error);
        }
        self.connected = self.tcp.peer_addr().is_ok();
        Ok(self.connected)
    }

    pub(super) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Reads what there is: 0 at the end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.tcp.read(buffer) };
        loop {
            match tls.reader().read(buffer) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                result => return result,
            }
            if tls.read_tls(&mut self.tcp)? == 0 {
                return Ok(0);
            }
            tls.process_new_packets().map_err(io::Error::other)?;
            write_tls(tls, &mut self.tcp)?;
        }
    }

    /// Writes as much as the socket takes.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if !self.connected {
            return Ok(());
        }
        if let Some(tls) = &mut self.tls {
            tls.writer().write_all(&self.out)?;
            self.out.clear();
            return write_tls(tls, &mut self.tcp);
        }
        while !self.out.is_empty() {
            match self.tcp.write(&self.out) {
                Ok(n) => drop(self.out.drain(..n)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Says that nothing more will come.
    pub(super) fn finish(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            // The other side may be gone already.
            let _ = write_tls(tls, &mut self.tcp);
        }
        let _ = self.tcp.shutdown(Shutdown::Write);
    }
}

fn write_tls(tls: &mut ClientConnection, tcp: &mut TcpStream) -> io::Result<()> {
    while tls.wants_write() {
        match tls.write_tls(tcp) {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => break,
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// One of the source addresses, in turn. The kernel chooses the port.
pub(super) fn source(number: usize) -> SocketAddr {
    let count = usize::from(SOURCES.end() - SOURCES.start()) + 1;
    let last = SOURCES.clone().nth(number % count).unwrap_or(*SOURCES.start());
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), 0)
}
