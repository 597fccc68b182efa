//! A client's byte stream that never blocks: TCP, or TLS over it, with what is to be sent held back
//! so that it can leave a byte at a time or be cut off anywhere.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mio::net::TcpStream;
use rustls::{ClientConfig, ClientConnection};
use socket2::{Domain, SockRef, Socket, Type};

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// As it should: an end of the stream, over TLS after a close_notify.
    Clean,
    /// Over TLS, an end without a close_notify.
    Torn,
    /// A reset, or something that is no TLS.
    Failed(ErrorKind),
}

/// One connection.
pub struct Wire {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// Bytes for the network, and how many of them are gone.
    out: Vec<u8>,
    gone: usize,
    end: Option<End>,
}

impl Wire {
    /// Begins to connect, from an address of the loopback network if one is given, and to speak TLS
    /// if there are settings for it.
    pub fn connect(
        to: SocketAddr,
        from: Option<Ipv4Addr>,
        tls: Option<&Arc<ClientConfig>>,
        receive_buffer: Option<usize>,
    ) -> Self {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.set_tcp_nodelay(true).unwrap();
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes).unwrap();
        }
        if let Some(from) = from {
            socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
        }
        match socket.connect(&to.into()) {
            Err(e) if e.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
                panic!("cannot connect to {to}: {e}")
            }
            _ => {}
        }
        let tls = tls.map(|config| {
            let name = "localhost".try_into().unwrap();
            let mut tls = ClientConnection::new(config.clone(), name).unwrap();
            tls.set_buffer_limit(None);
            Box::new(tls)
        });
        let socket = TcpStream::from_std(socket.into());
        let mut wire = Self { socket, tls, out: Vec::new(), gone: 0, end: None };
        wire.encrypt();
        wire
    }

    pub fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// How the stream ended, if it has.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// Reads what there is.
    pub fn read(&mut self, into: &mut Vec<u8>) {
        let mut bytes = [0; 16 * 1024];
        while self.end.is_none() {
            let result = match &mut self.tls {
                None => self.socket.read(&mut bytes),
                Some(tls) => tls.read_tls(&mut self.socket),
            };
            match result {
                Ok(0) => {
                    let clean = self.tls.as_mut().is_none_or(|tls| {
                        tls.process_new_packets().is_ok_and(|state| state.peer_has_closed())
                    });
                    self.end = Some(if clean { End::Clean } else { End::Torn });
                }
                Ok(n) if self.tls.is_none() => into.extend_from_slice(&bytes[..n]),
                Ok(_) => self.decrypt(into),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => self.end = Some(End::Failed(e.kind())),
            }
        }
    }

    fn decrypt(&mut self, into: &mut Vec<u8>) {
        let Some(tls) = &mut self.tls else { return };
        match tls.process_new_packets() {
            Ok(state) => {
                let at = into.len();
                into.resize(at + state.plaintext_bytes_to_read(), 0);
                tls.reader().read_exact(&mut into[at..]).unwrap();
            }
            Err(_) => self.end = Some(End::Failed(ErrorKind::InvalidData)),
        }
        self.encrypt();
    }

    fn encrypt(&mut self) {
        while let Some(tls) = self.tls.as_mut().filter(|tls| tls.wants_write()) {
            tls.write_tls(&mut self.out).unwrap();
        }
    }

    /// Queues bytes to be sent.
    pub fn put(&mut self, bytes: &[u8]) {
        match &mut self.tls {
            Some(tls) => tls.writer().write_all(bytes).unwrap(),
            None => self.out.extend_from_slice(bytes),
        }
        self.encrypt();
    }

    /// Queues bytes below TLS, where they do not belong.
    pub fn put_raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Queues the proper end of TLS.
    pub fn put_close_notify(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
        self.encrypt();
    }

    /// Sends what is queued, at most so many bytes in one piece.
    pub fn send(&mut self, mut most: usize) {
        while self.gone < self.out.len() && most > 0 {
            let piece = &self.out[self.gone..self.out.len().min(self.gone.saturating_add(most))];
            match self.socket.write(piece) {
                Ok(n) => {
                    self.gone += n;
                    most -= n;
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                // A socket that is still connecting.
                Err(e) if e.kind() == ErrorKind::NotConnected => return,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => {
                    // How the other direction ended, if it has, still counts.
                    self.end = self.end.or(Some(End::Failed(e.kind())));
                    return;
                }
            }
        }
        if self.gone == self.out.len() {
            self.out.clear();
            self.gone = 0;
        }
    }

    /// Whether everything queued is sent, the handshake included.
    pub fn is_sent(&self) -> bool {
        self.out.is_empty() && self.tls.as_ref().is_none_or(|tls| !tls.is_handshaking())
    }

    /// Ends our direction.
    pub fn shut(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Makes the coming close a reset (SO_LINGER of no time, socket(7)).
    pub fn arm_reset(&self) {
        let _ = SockRef::from(&self.socket).set_linger(Some(Duration::ZERO));
    }
}

/// The bytes that begin a handshake.
pub fn client_hello(config: &Arc<ClientConfig>) -> Vec<u8> {
    let name = "localhost".try_into().unwrap();
    let mut tls = ClientConnection::new(config.clone(), name).unwrap();
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).unwrap();
    hello
}
