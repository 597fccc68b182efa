//! Why connections end.

use std::fmt;

use super::protocol::Protocol;

/// Why a connection ended. `Display` is for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The user said `/quit`.
    Quit,
    /// The client's input ended.
    EndOfInput,
    /// No name was given in time.
    LoginTimeout,
    /// Too many wrong names.
    NameErrors,
    /// It had no name yet, or no finished handshake, and others were waiting for its place.
    GavePlace,
    /// Its address has logged in too often.
    TooManyLogins,
    /// Nothing said for too long.
    IdleTimeout,
    /// Not a chat client.
    WrongProtocol(Protocol),
    /// Output was waiting, and none of it moved for too long.
    SendStalled,
    /// Its address may not, or may no longer, connect.
    Forbidden,
    /// A proxy did not say whom it connects for.
    NoHeader,
    /// When memory was full, more was held for it than for others.
    Memory,
    /// The connection failed.
    Failed(std::io::ErrorKind),
    /// The server shut down.
    Shutdown,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quit => f.write_str("quit"),
            Self::EndOfInput => f.write_str("end of input"),
            Self::LoginTimeout => f.write_str("no name in time"),
            Self::NameErrors => f.write_str("too many wrong names"),
            Self::GavePlace => f.write_str("gave place to others"),
            Self::TooManyLogins => f.write_str("too many log-ins"),
            Self::IdleTimeout => f.write_str("idle for too long"),
            Self::WrongProtocol(protocol) => write!(f, "{protocol} instead of chat"),
            Self::SendStalled => f.write_str("reads nothing: send queue stalled"),
            Self::Forbidden => f.write_str("not allowed to connect"),
            Self::NoHeader => f.write_str("no PROXY protocol header"),
            Self::Memory => f.write_str("held too much while memory was full"),
            Self::Failed(kind) => write!(f, "connection failed: {kind}"),
            Self::Shutdown => f.write_str("server shutdown"),
        }
    }
}
