//! Words that more than one rule uses, numbers as they are told, and texts in rows. Owns no state.

use std::time::Duration;

pub const NAME_PROMPT: &str = "Enter your username: ";
pub const TAKEN: &str = "Username already taken, try another.";
pub const LOBBY_RESERVED: &str = "Lobby name is reserved, try another.";
pub const RESERVED: &str = "Username is reserved, try another.";
pub const FAR_TOO_LONG: &str =
    "Message too long (max 1000 characters): it has more than 8192 bytes\n";
pub const CUT_SHORT: &str = "[AI] (answer cut short)\n";

/// Reserved are these, and what looks like one of the long ones.
const LONG_RESERVED: [&str; 11] = [
    "server",
    "system",
    "admin",
    "operator",
    "root",
    "mail",
    "lobby",
    "everyone",
    "here",
    "connected",
    "justnow",
];
const SHORT_RESERVED: [&str; 6] = ["rox", "ai", "you", "me", "dm", "bot"];
const RESERVED_FOR_LOBBIES: [&str; 4] = ["server", "system", "lobby", "general"];

/// What is left of a name for the eye: alike letters are one, and dashes are nothing.
pub fn shape(name: &str) -> String {
    let name = name.to_lowercase().replace(['-', '_'], "");
    name.replace(['i', '1'], "l").replace('0', "o")
}

fn aloud(name: &str) -> String {
    name.to_lowercase().replace(['-', '_'], "").replace('1', "i").replace('0', "o")
}

pub fn is_reserved(name: &str) -> bool {
    let looks_like = |long: &&str| shape(long) == shape(name);
    let is_dashes = name.chars().all(|c| c == '-' || c == '_');
    is_dashes || LONG_RESERVED.iter().any(looks_like) || SHORT_RESERVED.contains(&&*aloud(name))
}

pub fn is_reserved_for_lobbies(name: &str) -> bool {
    let looks_like = |long: &&str| shape(long) == shape(name);
    let is_dashes = name.chars().all(|c| c == '-' || c == '_');
    is_dashes || RESERVED_FOR_LOBBIES.iter().any(looks_like) || aloud(name) == "dm"
}

/// Names that people type here with accents, and what they are without.
const ACCENTS: [(&str, &str); 3] = [("émile", "emile"), ("Zoë", "Zoe"), ("Łódź-café", "Lodz-cafe")];

/// What is wrong with a name of 2 to `most` characters, as the kind of name it is.
pub fn name_error(kind: &str, name: &str, most: usize) -> Option<String> {
    let usual = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.chars().count() < 2 {
        Some(format!("{kind} too short (min 2 characters)"))
    } else if name.chars().count() > most {
        Some(name_too_long(kind, most))
    } else if !name.chars().all(usual) {
        let hint = match ACCENTS.iter().find(|(with, _)| *with == name) {
            Some((_, without)) => format!(" (A to Z without accents: {without}?)"),
            None => String::new(),
        };
        Some(format!("{kind} can only contain letters, numbers, - and _{hint}"))
    } else {
        None
    }
}

/// What is too long has so many characters, not so many.
pub fn too_long(what: &str, most: usize, text: &str) -> String {
    format!("{what} too long (max {most} characters): it has {}\n", text.chars().count())
}

/// What is not there, and what may have been meant.
pub fn not_found(what: &str, name: &str, meant: Option<&str>) -> String {
    let name = match name.chars().count() {
        0..=32 => name.to_owned(),
        _ => name.chars().take(32).chain(['…']).collect(),
    };
    match meant {
        Some(meant) => format!("{what}: {name}. Did you mean {meant}?"),
        None => format!("{what}: {name}."),
    }
}

/// The nearest of these within `most` mistakes, then the first by its letters.
pub fn meant<'a>(typed: &str, most: usize, among: &[&'a str]) -> Option<&'a str> {
    let near = among.iter().map(|name| (mistakes(typed, name), name.to_ascii_lowercase(), *name));
    let nearest = near.filter(|(mistakes, ..)| *mistakes <= most.clamp(1, 3)).min()?;
    (2..=35).contains(&typed.len()).then_some(nearest.2)
}

/// Letters too many, too few, wrong, or swapped with their neighbour, by trying everything.
fn mistakes(one: &str, other: &str) -> usize {
    fn between(one: &[u8], other: &[u8], known: &mut [Vec<Option<usize>>]) -> usize {
        let ([a, ones @ ..], [b, others @ ..]) = (one, other) else {
            return one.len() + other.len();
        };
        if let Some(known) = known[one.len()][other.len()] {
            return known;
        }
        let mut least = between(ones, others, known) + usize::from(a != b);
        least = least.min(between(one, others, known) + 1).min(between(ones, other, known) + 1);
        if let ([c, ones @ ..], [d, others @ ..]) = (ones, others)
            && (a, c) == (d, b)
        {
            least = least.min(between(ones, others, known) + 1);
        }
        known[one.len()][other.len()] = Some(least);
        least
    }
    let (one, other) = (one.to_ascii_lowercase(), other.to_ascii_lowercase());
    let mut known = vec![vec![None; other.len() + 1]; one.len() + 1];
    between(one.as_bytes(), other.as_bytes(), &mut known)
}

pub fn name_too_long(kind: &str, most: usize) -> String {
    format!("{kind} too long (max {most} characters)")
}

/// The name prompt is not erased by what comes behind it, as the prompt of a user is.
pub fn break_line(named: bool) -> &'static str {
    if named { "" } else { "\n" }
}

pub fn too_many_wrong_passwords(wait: Duration) -> String {
    format!("Too many wrong passwords. Try again in {}.\n", seconds(secs_up(wait)))
}

/// `alice has`, `alice and bob have`, `alice, bob and 1 other have`.
pub fn they_have(names: &[String]) -> String {
    match names {
        [one] => format!("{one} has"),
        [one, two] => format!("{one} and {two} have"),
        [one, two, _] => format!("{one}, {two} and 1 other have"),
        [one, two, more @ ..] => format!("{one}, {two} and {} others have", more.len()),
        [] => unreachable!("nobody came or went"),
    }
}

/// How long ago something was said, in its largest unit.
pub fn ago(age: Duration) -> String {
    let secs = age.as_secs();
    match secs {
        0 => "just now".to_owned(),
        1..60 => format!("{secs}s ago"),
        60..3600 => format!("{}m ago", secs / 60),
        3600..86_400 => format!("{}h ago", secs / 3600),
        _ => format!("{}d ago", secs / 86_400),
    }
}

pub fn seconds(n: u64) -> String {
    if n == 1 { "1 second".to_owned() } else { format!("{n} seconds") }
}

/// A text without the marks of the server's lines that people try here.
pub fn disarmed(text: &str) -> String {
    let marks = [
        ("[LOBBY]", "(LOBBY)"),
        ("[dm]", "(dm)"),
        ("[AI Response", "(AI Response"),
        ("[just now]", "(just now)"),
        ("╰─>", "->"),
        ("│", "|"),
        ("⚠", "!"),
        ("✦", "*"),
        ("──", "--"),
    ];
    marks.iter().fold(text.to_owned(), |text, (mark, harmless)| text.replace(mark, harmless))
}

// ---- Texts in rows ---------------------------------------------------------------------------

const BEGIN: char = '\u{2}';
const END: char = '\u{3}';

/// Marks what people said in what somebody is told: it is shown in rows.
pub fn said(text: &str) -> String {
    format!("{BEGIN}{text}{END}")
}

/// What is seen at this width of something with marked texts: the rows of each stand one below the
/// other, behind a gutter or blanks. On a narrow screen the server's own words are in rows as well.
pub fn laid_out(told: &str, columns: Option<usize>) -> String {
    let mut out = String::new();
    for line in told.split_inclusive('\n') {
        let (own, text) = match line.split_once(BEGIN) {
            Some((own, rest)) => (own, Some(rest.rsplit_once(END).unwrap())),
            None => (line.strip_suffix('\n').unwrap_or(line), None),
        };
        let narrow = columns.filter(|columns| *columns < USUAL_COLUMNS);
        let before = narrow.map_or(own.to_owned(), |columns| in_rows(own, columns));
        out += &before;
        let Some((text, after)) = text else {
            out += &line[own.len()..];
            continue;
        };
        // All that ever stands there has one column a character.
        let last = before.rsplit('\n').next().unwrap();
        let column = last.chars().count();
        let (lead, columns) = match columns {
            None => (String::new(), usize::MAX),
            Some(columns) if before != own || column > 6 && 3 * column > columns => {
                (" ".repeat(6), columns)
            }
            Some(columns) if before.starts_with("  │") => (before, columns),
            Some(columns) => (" ".repeat(column), columns),
        };
        let room = columns.saturating_sub(lead.chars().count());
        let rows = rows(text, columns.saturating_sub(column), room, false);
        out += &format!("{}{after}", rows.join(&format!("\n{lead}")));
    }
    out
}

/// The server's own words in rows, the further ones behind six blanks. A blank at the end is there if
/// it has a column.
fn in_rows(own: &str, columns: usize) -> String {
    if width(own) <= columns {
        return own.to_owned();
    }
    let mut rows = rows(own.trim_end(), columns, columns - 6, true);
    let indent = if rows.len() > 1 { 6 } else { 0 };
    let last = rows.last_mut().unwrap();
    if own.ends_with(' ') && width(last) + indent < columns {
        last.push(' ');
    }
    rows.join("\n      ")
}

/// The columns of who has set none.
pub const USUAL_COLUMNS: usize = 79;

fn width(text: &str) -> usize {
    // Of what is typed here only Chinese signs and emoji are wide.
    text.chars().map(|c| if c > '\u{2e7f}' && c != '\u{fffd}' { 2 } else { 1 }).sum()
}

/// A text in rows, the first of so many columns and the others of `room`. Only a word of plain ASCII
/// may be longer, if not `all` words break.
fn rows(text: &str, first: usize, room: usize, all: bool) -> Vec<String> {
    let mut rows = vec![String::new()];
    let mut gap = String::new();
    let mut full = false;
    for (n, word) in text.split(' ').enumerate() {
        if n > 0 {
            gap.push(' ');
        }
        for (n, part) in parts(word).iter().enumerate() {
            if n > 0 {
                gap.clear();
            }
            let here = if rows.len() == 1 { first } else { room };
            let row = rows.last_mut().unwrap();
            if !full && width(row) + gap.len() + width(part) <= here {
                *row += &format!("{gap}{part}");
            } else {
                if !row.is_empty() || !gap.is_empty() || first < room && rows.len() == 1 {
                    rows.push(String::new());
                }
                full = width(part) > room && part.is_ascii() && !all;
                for c in part.chars() {
                    let here = if rows.len() == 1 { first } else { room };
                    let row = rows.last_mut().unwrap();
                    if !full && width(row) + width(&c.to_string()) > here {
                        rows.push(String::new());
                    }
                    rows.last_mut().unwrap().push(c);
                }
            }
            gap.clear();
        }
    }
    rows
}

/// A word in the parts that a row may end between: each wide character is one, with what follows it
/// up to the next that stands directly behind a wide one.
fn parts(word: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for c in word.chars() {
        let wide = |c: char| width(&c.to_string()) == 2;
        match parts.last_mut().filter(|last| !(wide(c) && last.ends_with(wide))) {
            Some(last) => last.push(c),
            None => parts.push(c.to_string()),
        }
    }
    parts
}

/// What a clock shows so long after a midnight between a Sunday and a Monday.
pub fn clock(since: Duration) -> String {
    let minutes = since.as_secs() / 60;
    let day = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"][minutes as usize / 1440 % 7];
    format!("{day} {:02}:{:02}", minutes / 60 % 24, minutes % 60)
}

pub fn secs_up(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
