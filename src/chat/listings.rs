//! Listings: the commands, who is here, which lobbies there are, the pictures. Each is an answer to one
//! short line, and has a bound of its own.
//!
//! Owns no state. Colours and the lines of everything else are `render`'s.

use std::fmt::{self, Write as _};

use super::command::COMMANDS;
use super::lobby::Lobby;
use super::picture::PICTURES;
use super::render::{BOLD, CYAN, GREEN, RESET};
use crate::limits::{DEFAULT_COLUMNS, MAX_LISTED_BYTES, REPEATED_CHARS};
use crate::outbox::Frame;
use crate::text;

/// The answer to `/help`, from the table of commands, in two columns if they fit.
pub(super) fn help(columns: usize) -> Frame {
    let usage = |name: &str, args: &str| format!("{name} {args}").trim_end().to_owned();
    let rows = COMMANDS.iter().map(|spec| (usage(spec.name, spec.args), spec.help));
    let width = rows.clone().map(|(usage, _)| usage.len()).max().unwrap_or(0);
    let (width, gap) = if columns < SCREEN_COLUMNS { (0, "\n      ") } else { (width, "  ") };
    let mut out = format!("{CYAN}=== Commands ==={RESET}\n");
    for (usage, help) in rows {
        let _ = writeln!(out, "  {GREEN}{usage:width$}{RESET}{gap}{CYAN}{help}{RESET}");
    }
    let _ =
        writeln!(out, "{CYAN}Anything else you type is said to everybody in your lobby.{RESET}");
    Frame::new(out)
}

/// The answer to `/users`: pictures and names, sorted by name, cut at `max_bytes`.
pub(super) fn users(
    lobby: &str,
    word: Option<&str>,
    mut users: Vec<(&'static str, &str)>,
    max_bytes: usize,
) -> Frame {
    users.sort_by_cached_key(|(_, name)| name.to_ascii_lowercase());
    let count = users.len();
    let title = match word {
        None => format!("{CYAN}=== Users in '{lobby}' ({count}) ==={RESET}\n"),
        Some(word) => {
            format!("{CYAN}=== Users in '{lobby}' with '{}' ({count}) ==={RESET}\n", Short(word))
        }
    };
    listing(title, "/users", max_bytes, users.iter(), |out, (picture, name)| {
        let _ = writeln!(out, "{CYAN}{picture}{RESET} {BOLD}{name}{RESET}");
    })
}

/// The answer to `/lobbies`, as somebody sees it who is in the lobby `here`, cut at `max_bytes`. How
/// many are in a private lobby is for those who are in it.
pub(super) fn lobbies(
    word: Option<&str>,
    mut lobbies: Vec<&Lobby>,
    here: &str,
    max_bytes: usize,
) -> Frame {
    let count = lobbies.len();
    let title = match word {
        None => format!("{CYAN}=== Available Lobbies ({count}) ==={RESET}\n"),
        Some(word) => format!("{CYAN}=== Lobbies with '{}' ({count}) ==={RESET}\n", Short(word)),
    };
    let shows_users = |lobby: &Lobby| lobby.password.is_none() || *lobby.name == *here;
    let most: usize = lobbies.iter().map(|lobby| listed_bytes(lobby)).sum();
    if most + MAX_LISTED_BYTES >= max_bytes {
        // The first is general, and stays that.
        let empty = |lobby: &&Lobby| !shows_users(lobby) || lobby.members.is_empty();
        lobbies.get_mut(1..).unwrap_or_default().sort_by_key(empty);
    }
    listing(title, "/lobbies", max_bytes, lobbies.into_iter(), |out, lobby| {
        let privacy = if lobby.password.is_some() { "private" } else { "public" };
        let ai = if lobby.prompt.is_some() { "custom AI" } else { "default AI" };
        let description = match &*lobby.description {
            "" => "No description",
            description => description,
        };
        let (name, creator) = (&lobby.name, &lobby.creator.name);
        let _ = writeln!(out, "{GREEN}Lobby: {name}{RESET}");
        let _ = write!(out, "{CYAN}  Privacy: {privacy} | AI: {ai} | Created by: {creator}");
        if shows_users(lobby) {
            let _ = write!(out, " | Users: {}", lobby.members.len());
        }
        let _ = write!(out, "{RESET}\n{CYAN}{DESCRIPTION}{RESET}");
        out.text(DESCRIPTION.len(), description);
        out.push_str("\n");
    })
}

/// At least as many bytes as a lobby takes in the listing.
fn listed_bytes(lobby: &Lobby) -> usize {
    const AROUND: usize = 160;
    lobby.name.len() + lobby.creator.name.len() + lobby.description.len() + AROUND
}

/// A user's own word, cut where that was meant to be short.
struct Short<'a>(&'a str);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut chars = self.0.chars();
        chars.by_ref().take(REPEATED_CHARS).try_for_each(|c| f.write_char(c))?;
        if chars.next().is_some() { f.write_char('…') } else { Ok(()) }
    }
}

/// What stands before a lobby's description.
const DESCRIPTION: &str = "  Description: ";

/// A title and a row for each item, as long as they fit; then how many are left out.
fn listing<T>(
    title: String,
    command: &str,
    max_bytes: usize,
    mut items: impl Iterator<Item = T>,
    row: impl Fn(&mut Frame, T),
) -> Frame {
    let mut out = Frame::new(title);
    while out.len() + MAX_LISTED_BYTES < max_bytes {
        match items.next() {
            Some(item) => row(&mut out, item),
            None => return out,
        }
    }
    let left = items.count();
    if left > 0 {
        let more = format_args!("… and {left} more: {command} <word> looks for one");
        let _ = writeln!(out, "{CYAN}{more}{RESET}");
    }
    out
}

/// Columns that a listing may take on most screens.
const SCREEN_COLUMNS: usize = DEFAULT_COLUMNS as usize;

/// The answer to `/sp list`: all pictures, in as many equally wide columns as fit the screen.
pub(super) fn pictures(columns: usize) -> Frame {
    let name_width = PICTURES.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let width = PICTURES.iter().map(|(_, picture)| text::width(picture)).max().unwrap_or(0);
    let column = name_width + 1 + width + 2;
    let mut out = format!("{CYAN}=== Profile pictures ({}) ==={RESET}\n", PICTURES.len());
    for row in PICTURES.chunks((columns.min(SCREEN_COLUMNS) / column).max(1)) {
        let mut line = String::new();
        for (name, picture) in row {
            let pad = width - text::width(picture) + 2;
            let _ = write!(line, "{GREEN}{name:name_width$}{RESET} {picture}{:pad$}", "");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    let _ = writeln!(out, "{CYAN}Choose one with /sp <name>.{RESET}");
    Frame::new(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pictures_stand_in_columns_as_wide_as_they_must_be() {
        let frame = pictures(SCREEN_COLUMNS).as_str().to_owned();
        let rows: Vec<_> = frame
            .lines()
            .filter(|line| line.contains(GREEN))
            .map(|line| line.replace(GREEN, "").replace(RESET, ""))
            .collect();
        let name = PICTURES.iter().map(|(name, _)| name.len()).max().unwrap();
        let picture = PICTURES.iter().map(|(_, picture)| text::width(picture)).max().unwrap();
        // A name, a space, a picture, two spaces.
        let column = name + 1 + picture + 2;
        let in_a_row = SCREEN_COLUMNS / column;
        assert_eq!(rows.len(), PICTURES.len().div_ceil(in_a_row));
        for (row, expected) in rows.iter().zip(PICTURES.chunks(in_a_row)) {
            let mut at = 0;
            for (n, (name, picture)) in expected.iter().enumerate() {
                let found = at + row[at..].find(&format!("{name} ")).unwrap();
                assert_eq!(text::width(&row[..found]), n * column, "{row:?}");
                at = found + row[found..].find(picture).unwrap();
            }
            assert!(text::width(row) <= SCREEN_COLUMNS);
        }
    }

    #[test]
    fn a_listing_fills_the_room_it_has_and_says_what_it_leaves_out() {
        let listed = |max| {
            let frame = listing("t\n".to_owned(), "/x", max, 0..3, |out, n| {
                out.push_str(&format!("{n}\n"));
            });
            frame.as_str().replace(CYAN, "").replace(RESET, "")
        };
        let slack = MAX_LISTED_BYTES;
        assert_eq!(listed(slack + 100), "t\n0\n1\n2\n");
        // Room for one row behind the title: the others are counted.
        assert_eq!(listed(slack + 3), "t\n0\n… and 2 more: /x <word> looks for one\n");
        assert_eq!(listed(slack + 4), "t\n0\n… and 2 more: /x <word> looks for one\n");
        assert_eq!(listed(slack + 5), "t\n0\n1\n… and 1 more: /x <word> looks for one\n");
        // All are in, though there is no room for more.
        assert_eq!(listed(slack + 7), "t\n0\n1\n2\n");
    }

    #[test]
    fn a_listing_says_what_it_leaves_out() {
        let users_of = |n| (0..n).map(|_| ("[@_@]", "somebody")).collect::<Vec<_>>();
        let fits = users("x", None, users_of(100), 64 * 1024);
        let cut = users("x", None, users_of(5000), 64 * 1024);
        assert!(fits.len() < cut.len() && cut.len() < 64 * 1024);
    }
}
