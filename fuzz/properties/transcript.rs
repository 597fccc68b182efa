//! What a client may see: checks of the bytes that came to one connection.

use crate::harmless;
use mio_chat::chat::name::{What, check_form, is_reserved};
use mio_chat::chat::picture::PICTURES;
use mio_chat::line::MARK_ANSWER;

const PROMPT_BEGINS: &str = "\x1b[36m";
const PROMPT_ENDS: &str = "> \x1b[0m";
const ERASE: &str = "\r\x1b[K";
const NAME_PROMPT: &str = "Enter your username: ";

/// What is said to those who have no name, behind the banner.
const BEFORE_A_NAME: &[&str] = &[
    "Username too short (min 2 characters)",
    "Username too long (max 20 characters)",
    "Username is reserved, try another.",
    "Too many wrong usernames. Goodbye!",
    "You did not enter a username in time. Goodbye!",
    "Server is shutting down. Goodbye!",
    "This port is not encrypted. This is a plain-text chat. Connect with: nc HOST PORT",
];

/// What some of them begin with.
const BEGIN_BEFORE_A_NAME: &[&str] = &[
    "Username can only contain letters, numbers, - and _",
    "Username already taken, try another.",
    "Too much like '",
];

/// The lines of a text without prompts and colours; empty ones are left out.
pub fn plain(text: &str) -> Vec<String> {
    let text = without_prompts(text).replace(ERASE, "");
    let mut parts = text.split('\x1b');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (color, rest) = part.split_once('m').unwrap();
        assert!(color.starts_with('['), "{part:?}");
        plain.push_str(rest);
    }
    plain.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// A prompt names the lobby, unless that is `general`.
fn without_prompts(text: &str) -> String {
    let mut parts = text.split(PROMPT_BEGINS);
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is_name = |name: &str| name.is_empty() || check_form(name, What::Lobby).is_ok();
        match part.split_once(PROMPT_ENDS).filter(|(name, _)| is_name(name)) {
            Some((_, rest)) => kept.push_str(rest),
            None => kept.extend([PROMPT_BEGINS, part]),
        }
    }
    kept
}

/// Panics unless a client may have been sent these bytes. Gives what of them is text; the beginning
/// of a character or a sequence at the end is left out, for a client may stop reading anywhere.
pub fn check(bytes: &[u8]) -> String {
    let text = text(bytes);
    let mut color = true;
    for line in text.split_inclusive('\n') {
        check_controls(line);
        let on = "\x1b[32mColours are on.\x1b[0m\n";
        color |= line == on;
        assert!(color || !line.contains(['\x1b', '\r']), "{line:?}");
        // The first line without escape sequences is the one that says so.
        if plain(line) == ["Colours are off."] {
            assert_eq!(line, "Colours are off.\n");
            color = false;
        }
    }
    plain(&text).iter().for_each(|line| harmless::check(line));
    text
}

/// Panics unless what came behind the banner, before the client had a name, is prompts and errors.
pub fn check_login(lines: &[String]) {
    let mut in_history = false;
    for (at, line) in lines.iter().enumerate() {
        let line = line.trim_start_matches(NAME_PROMPT);
        let joined = line.strip_prefix("[LOBBY] ");
        if let Some(name) = joined.and_then(|line| line.strip_suffix(" has joined the lobby")) {
            assert!(check_form(name, What::User).is_ok() && !is_reserved(name, What::User));
            return;
        }
        // Who stops reading may have the beginning of a line last.
        let is_last = at == lines.len() - 1;
        // A history comes before the arrival: heads, and texts below them.
        in_history |= is_head(line, is_last);
        if in_history && (is_last || line.starts_with("  ╰─> ") || is_head(line, false)) {
            continue;
        }
        let known = BEFORE_A_NAME
            .iter()
            .any(|known| *known == line || (is_last && known.starts_with(line)))
            || BEGIN_BEFORE_A_NAME
                .iter()
                .any(|known| line.starts_with(known) || (is_last && known.starts_with(line)));
        let cut = is_last && NAME_PROMPT.starts_with(line);
        let joins = is_last && (line.starts_with("[LOBBY] ") || "[LOBBY] ".starts_with(line));
        assert!(line.is_empty() || known || joins || cut, "{line:?}");
    }
}

/// Whether this is the first line of a message, or, cut off, may become one.
fn is_head(line: &str, cut: bool) -> bool {
    let begins = |picture: &str| match line.strip_prefix(picture) {
        Some(rest) => rest.starts_with(' ') || (cut && rest.is_empty()),
        None => cut && !line.is_empty() && picture.starts_with(line),
    };
    PICTURES.iter().any(|(_, picture)| begins(picture))
}

/// What may come to the two or not: the last word, and the answers to a `/tag` of another.
const BESIDES: &[&str] = &["Server is shutting down. Goodbye!", "alice is not in this lobby."];

/// The lines of one of the two, without what others may say to them.
pub fn of_two(lines: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut lines = lines.iter().peekable();
    while let Some(line) = lines.next() {
        let direct = line.starts_with("[DM] ") && line.ends_with(" —» You");
        if (direct && line != "[DM] vicb —» You") || line.starts_with("✦ ") {
            // The text, which has rows of its own.
            assert!(lines.next().is_some_and(|text| text.starts_with("  ╰─> ")));
            while lines.next_if(|row| row.starts_with("      ")).is_some() {}
        } else if !line.starts_with("User not found: alice.")
            && !BESIDES.iter().any(|besides| besides.eq_ignore_ascii_case(line))
        {
            kept.push(line.clone());
        }
    }
    kept
}

/// The bytes as text: without answers to telnet, and without what is said in other protocols.
fn text(bytes: &[u8]) -> String {
    // An answer begins with a byte that no text has; the last one may be cut.
    let mut runs = bytes.split(|b| *b == MARK_ANSWER[0]);
    let mut data = runs.next().unwrap_or_default().to_vec();
    for run in runs {
        let rest = &MARK_ANSWER[1..];
        assert!(run.starts_with(rest) || rest.starts_with(run));
        data.extend(run.get(rest.len()..).unwrap_or_default());
    }
    let text = match std::str::from_utf8(&data) {
        Ok(text) => text,
        Err(e) => {
            assert_eq!(e.error_len(), None, "not UTF-8");
            std::str::from_utf8(&data[..e.valid_up_to()]).unwrap()
        }
    };
    let protocols = ["\nSSH-2.0-mio_chat\r\n", "HTTP/1.1 400 Bad Request\r\n"];
    let text = match protocols.iter().find_map(|start| text.split_once(start)) {
        Some((before, behind)) => {
            assert!(!before.contains("[LOBBY]") && behind.len() < 300);
            before
        }
        None => text,
    };
    let cut = text.rfind(['\r', '\x1b']).filter(|at| !text[*at..].contains(['m', 'K', '\n']));
    text[..cut.unwrap_or(text.len())].trim_end_matches('\r').to_owned()
}

/// Colours, and the erasing of a line, are all the control there is.
fn check_controls(line: &str) {
    let body = line.strip_suffix('\n').unwrap_or(line).replace(ERASE, "");
    let mut parts = body.split('\x1b');
    assert!(!parts.next().unwrap().contains(char::is_control), "{line:?}");
    for part in parts {
        let color = part
            .strip_prefix('[')
            .map(|part| part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';'));
        assert!(color.is_some_and(|rest| rest.starts_with('m')), "{line:?}");
        assert!(!part.contains(char::is_control), "{line:?}");
    }
}
