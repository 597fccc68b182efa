//! Who is connected: the rules for names, and one session for each connection.
//!
//! Owns no output and no membership; `lobby` knows who is where.

use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use super::lobby::LobbyId;
use super::picture;
use crate::limits::{LOBBY_NAME_CHARS, USERNAME_CHARS};
use crate::rate::{AddrKey, SlidingWindow};

/// Names that nobody may take, without regard to case.
const RESERVED: &[&str] =
    &["server", "system", "admin", "root", "rox", "ai", "you", "lobby", "everyone", "here"];

/// Why a name cannot be had. `Display` is what the user is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    /// Fewer characters than allowed.
    TooShort(What),
    /// More characters than allowed.
    TooLong(What),
    /// A character that is not allowed.
    Characters(What),
    /// Somebody has it.
    Taken,
    /// Nobody may have it.
    Reserved,
}

/// What a name names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A user.
    User,
    /// A lobby.
    Lobby,
}

impl What {
    fn limits(self) -> std::ops::RangeInclusive<usize> {
        match self {
            Self::User => USERNAME_CHARS,
            Self::Lobby => LOBBY_NAME_CHARS,
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "Username",
            Self::Lobby => "Lobby name",
        })
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort(what) => {
                write!(f, "{what} too short (min {} characters)", what.limits().start())
            }
            Self::TooLong(what) => {
                write!(f, "{what} too long (max {} characters)", what.limits().end())
            }
            Self::Characters(what) => {
                write!(f, "{what} can only contain letters, numbers, - and _")
            }
            Self::Taken => f.write_str("Username already taken, try another."),
            Self::Reserved => f.write_str("Username is reserved, try another."),
        }
    }
}

/// Checks the form of a name, which both users and lobbies have.
///
/// # Errors
/// It is too short, too long, or has a character that is not allowed.
pub fn check_form(name: &str, what: What) -> Result<(), NameError> {
    let chars = name.chars().count();
    if chars < *what.limits().start() {
        Err(NameError::TooShort(what))
    } else if chars > *what.limits().end() {
        Err(NameError::TooLong(what))
    } else if name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        Ok(())
    } else {
        Err(NameError::Characters(what))
    }
}

/// Whether nobody may take this name.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name))
}

/// A name as it is looked up: in lower case.
#[must_use]
pub fn fold(name: &str) -> Rc<str> {
    name.to_ascii_lowercase().into()
}

/// One connection, from its arrival on.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) peer: SocketAddr,
    pub(super) addr: AddrKey,
    /// The login timeout before there is a name, the idle timeout after.
    pub(super) deadline: Option<Instant>,
    pub(super) stage: Stage,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// At the name prompt, with the errors made there so far.
    Login { errors: u8 },
    /// Chatting.
    Named(User),
}

/// Somebody with a name.
#[derive(Debug)]
pub(super) struct User {
    pub(super) name: Rc<str>,
    pub(super) picture: &'static str,
    pub(super) lobby: LobbyId,
    /// Where in the lobby's list of members this user stands.
    pub(super) seat: usize,
    pub(super) window: SlidingWindow,
    pub(super) last_line: Instant,
    pub(super) last_rate_notice: Option<Instant>,
    /// What goes on when the password job of this user is done.
    pub(super) waiting: Option<Box<Waiting>>,
}

/// A command that waits for a password job.
#[derive(Debug)]
pub(super) enum Waiting {
    Create { name: Rc<str>, description: Box<str> },
    Join { lobby: LobbyId },
}

impl User {
    pub(super) fn new(name: &str, lobby: LobbyId, window: SlidingWindow, now: Instant) -> Self {
        Self {
            name: name.into(),
            picture: picture::DEFAULT,
            lobby,
            seat: 0,
            window,
            last_line: now,
            last_rate_notice: None,
            waiting: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_names() {
        let check = |name| check_form(name, What::User).map_err(|e| e.to_string());
        for good in ["al", "Alice-in_W0nderland99", "__"] {
            let good = &good[..good.len().min(20)];
            assert_eq!(check(good), Ok(()));
        }
        let short = Err("Username too short (min 2 characters)".to_owned());
        let long = Err("Username too long (max 20 characters)".to_owned());
        let odd = Err("Username can only contain letters, numbers, - and _".to_owned());
        assert_eq!(check(""), short);
        assert_eq!(check("é"), short);
        assert_eq!(check("abcdefghijklmnopqrstu"), long);
        assert_eq!(check("éééééééééééééééééééé"), odd);
        assert_eq!(check("a b"), odd);
        assert_eq!(check_form(&"x".repeat(32), What::Lobby), Ok(()));
        assert_eq!(
            check_form(&"x".repeat(33), What::Lobby).map_err(|e| e.to_string()),
            Err("Lobby name too long (max 32 characters)".to_owned())
        );
    }

    #[test]
    fn reserved_names_have_no_case() {
        assert!(is_reserved("Rox") && is_reserved("EVERYONE") && !is_reserved("alice"));
    }
}
