//! What a client may see: checks of the bytes that came to one connection.

use crate::harmless;
use mio_chat::line::MARK_ANSWER;

const PROMPT: &str = "\x1b[36m> \x1b[0m";
const ERASE: &str = "\r\x1b[K";
const NAME_PROMPT: &str = "Enter your username: ";

/// What is said to those who have no name, besides the banner.
const BEFORE_A_NAME: &[&str] = &[
    "[● CONNECTED] You're live! Start chatting now...",
    "Username too short (min 2 characters)",
    "Username too long (max 20 characters)",
    "Username can only contain letters, numbers, - and _",
    "Username already taken, try another.",
    "Username is reserved, try another.",
    "Too many wrong usernames. Goodbye!",
    "No username in time. Goodbye!",
    "Server is shutting down. Goodbye!",
    "This port is not encrypted. This is a plain-text chat. Connect with: nc HOST PORT",
];

/// The lines without prompts, colours and telnet; empty ones are left out. What is unfinished at the
/// end is, too, for a client may stop reading anywhere.
pub fn plain(bytes: &[u8]) -> Vec<String> {
    let text = text(bytes).replace(PROMPT, "").replace(ERASE, "");
    let mut parts = text.split('\x1b');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (color, rest) = part.split_once('m').unwrap();
        assert!(color.starts_with('['), "{part:?}");
        plain.push_str(rest);
    }
    plain.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// Panics unless a client may have been sent these bytes.
pub fn check(bytes: &[u8]) {
    let text = text(bytes);
    let mut color = true;
    for line in text.split_inclusive('\n') {
        check_controls(line);
        let on = "\x1b[32mColours are on.\x1b[0m\n";
        color |= line == on;
        assert!(color || !line.contains(['\x1b', '\r']), "{line:?}");
        color &= line != "Colours are off.\n";
    }
    plain(bytes).iter().for_each(|line| harmless::check(line));
}

/// Panics unless what came before the client had a name is the banner, the prompt and errors.
pub fn check_login(bytes: &[u8]) {
    let lines = plain(bytes);
    for (at, line) in lines.iter().enumerate() {
        let line = line.trim_start_matches(NAME_PROMPT);
        if line.starts_with("[LOBBY] ") && line.ends_with(" has joined the lobby") {
            return;
        }
        let banner = line.is_empty() || line.starts_with(['╔', '║', '╚']);
        // Who stops reading may have the beginning of a line last.
        let is_last = at == lines.len() - 1;
        let known = BEFORE_A_NAME
            .iter()
            .any(|known| *known == line || (is_last && known.starts_with(line)));
        let joins = is_last && (line.starts_with("[LOBBY] ") || "[LOBBY] ".starts_with(line));
        assert!(banner || known || joins, "{line:?}");
    }
}

/// The lines of one of the two, without what others may say to them.
pub fn of_two(lines: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut lines = lines.iter();
    while let Some(line) = lines.next() {
        let direct = line.starts_with("[DM] ") && line.ends_with(" —» You");
        if (direct && line != "[DM] vicb —» You") || line.starts_with("✦ ") {
            // The text, which has a line of its own.
            assert!(lines.next().is_some_and(|text| text.starts_with("  ╰─> ")));
        } else if line != "Server is shutting down. Goodbye!" {
            kept.push(line.clone());
        }
    }
    kept
}

/// The bytes as text: without answers to telnet, without what is said in other protocols, and
/// without the beginning of a character or a sequence at the end.
fn text(bytes: &[u8]) -> String {
    let mut rest = bytes;
    let mut data = Vec::new();
    while let Some((&byte, behind)) = rest.split_first() {
        if MARK_ANSWER.starts_with(&rest[..rest.len().min(MARK_ANSWER.len())]) {
            rest = &rest[rest.len().min(MARK_ANSWER.len())..];
        } else {
            data.push(byte);
            rest = behind;
        }
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
