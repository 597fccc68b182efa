//! Who is connected: one session for each connection, and one user for each session with a name.
//!
//! Owns no output and no membership; `lobby` knows who is where.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use super::lobby::LobbyId;
use super::picture;
use crate::rate::{AddrKey, SlidingWindow};

/// One connection, from its arrival on.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) peer: SocketAddr,
    pub(super) addr: AddrKey,
    /// The login timeout until there is a name, the idle timeout after that.
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
    /// This user's place in the lobby's list of members.
    pub(super) seat: usize,
    pub(super) windows: Windows,
    pub(super) last_line: Instant,
    /// Lines that came too soon, for as long as some of them may still have to be reported.
    pub(super) refused: Option<Box<Refused>>,
    /// When the connection was last probed, because somebody wanted this name.
    pub(super) probed: Option<Instant>,
    /// What continues when this user's password job is done.
    pub(super) waiting: Option<Box<Waiting>>,
}

/// What the rate limit counts for a user.
#[derive(Debug, Default)]
pub(super) struct Windows {
    /// Lines that others may notice.
    pub(super) said: SlidingWindow,
    /// Commands that only show something, which few people ever use.
    pub(super) looked: Option<Box<SlidingWindow>>,
}

impl Windows {
    /// The one for commands that only show something, or the other.
    pub(super) fn of(&mut self, looks: bool) -> &mut SlidingWindow {
        if looks { self.looked.get_or_insert_default() } else { &mut self.said }
    }

    /// When the last line was accepted.
    pub(super) fn last(&self) -> Option<Instant> {
        self.said.last().max(self.looked.as_ref().and_then(|looked| looked.last()))
    }
}

/// Whose limit a line goes past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// The user's.
    Own,
    /// That of all users of the address.
    Address,
    /// The lobby's.
    Lobby,
}

/// Refused lines; the first of them was reported at once.
#[derive(Debug)]
pub(super) struct Refused {
    /// How many more have come since.
    pub(super) others: u64,
    /// When the latest one came.
    pub(super) last: Instant,
    /// When to check whether they have to be reported.
    pub(super) deadline: Option<Instant>,
}

/// A command that waits for a password job.
#[derive(Debug)]
pub(super) enum Waiting {
    Create { name: Rc<str>, description: Box<str> },
    Join { lobby: LobbyId },
}

impl User {
    pub(super) fn new(name: &str, lobby: LobbyId, windows: Windows, now: Instant) -> Self {
        Self {
            name: name.into(),
            picture: picture::DEFAULT,
            lobby,
            seat: 0,
            windows,
            last_line: now,
            refused: None,
            probed: None,
            waiting: None,
        }
    }
}
