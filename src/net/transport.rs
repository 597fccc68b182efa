//! What a connection speaks below its lines: plain TCP.
//!
//! Reads and writes without blocking and keeps no readiness: the connection does.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::Shutdown;

use mio::net::TcpStream;

/// One client's byte stream.
#[derive(Debug)]
pub(super) struct Transport {
    stream: TcpStream,
}

impl Transport {
    pub(super) fn plain(stream: TcpStream) -> Self {
        Self { stream }
    }

    /// The socket, to be registered.
    pub(super) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Reads what there is; 0 is the end of input.
    pub(super) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.stream.read(into)
    }

    /// Writes from the front of these slices as much as the kernel takes.
    pub(super) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.stream.write_vectored(slices)
    }

    /// Ends our direction of the stream, behind everything written.
    pub(super) fn shutdown_write(&mut self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }
}
