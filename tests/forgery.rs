//! No text looks like somebody else's line: hostile texts in every place where people's words are
//! shown, drawn on a terminal of 40, 80 and 132 columns, with colours and without; and ordinary texts,
//! which come through as they were typed.
//!
//! What is right is what a harmless text shows in the same place: the same rows begin at the left edge,
//! in the same colours.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::VecDeque;
use std::io::IoSlice;
use std::num::NonZero;
use std::time::{Duration, Instant};

use mio_chat::chat::assistant::{Answer, AskId, AssistantSettings};
use mio_chat::chat::{Chat, Event, Request, Settings, marks};
use mio_chat::gemini;
use mio_chat::id::ConnId;
use mio_chat::limits::SLICES_PER_WRITE;
use mio_chat::line::Line;
use mio_chat::outbox::Outboxes;
use mio_chat::wrap;
use proptest::prelude::*;

const SCREENS: [u16; 3] = [40, 80, 132];
const ROWS: NonZero<u16> = NonZero::new(150).unwrap();

// ---- The stage -----------------------------------------------------------------------------

/// A chat of a few people without sockets.
struct Stage {
    chat: Chat,
    out: Outboxes,
    now: Instant,
    people: u32,
    asked: VecDeque<AskId>,
}

impl Stage {
    fn new() -> Self {
        let hour = Duration::from_secs(3600);
        let chat = Chat::new(Settings {
            messages_per_window: 0,
            rate_window: hour,
            connections_per_address: 0,
            history_age: hour,
            lobby_ttl: hour,
            login_timeout: hour,
            idle_timeout: None,
            assistant: Some(AssistantSettings {
                model: "m".to_owned(),
                questions_per_hour: 0,
                questions_per_day: 0,
            }),
        });
        let (out, now) = (Outboxes::new(1 << 20), Instant::now());
        Self { chat, out, now, people: 0, asked: VecDeque::new() }
    }

    fn login(&mut self, name: &str) -> ConnId {
        self.people += 1;
        let id = ConnId::new(self.people as usize, 1).unwrap();
        self.out.open(id);
        let peer = format!("192.0.2.{}:40000", self.people).parse().unwrap();
        self.tell(Event::Connected { id, peer });
        self.say(id, name);
        id
    }

    fn say(&mut self, id: ConnId, line: &str) {
        self.tell(Event::Line { id, line: Line::Complete(line.as_bytes()) });
    }

    fn tell(&mut self, event: Event<'_>) {
        self.chat.handle(self.now, event, &mut self.out);
        while let Some(request) = self.chat.poll_request() {
            match request {
                Request::AskGemini { ask, .. } => self.asked.push_back(ask),
                Request::Close { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The oldest question is answered with this text, as the service would write it.
    fn answer(&mut self, text: &str) {
        let ask = self.asked.pop_front().unwrap();
        let mut answer = gemini::Answer::default();
        answer.push(text);
        answer.finish();
        while let Some(line) = answer.next_line() {
            self.tell(Event::Answer { ask, answer: Answer::Line(&line) });
        }
        self.tell(Event::Answer { ask, answer: Answer::Done(None) });
    }

    /// Takes what a client has not received yet.
    fn take(&mut self, id: ConnId) -> Vec<u8> {
        self.out.end_turn(id);
        let mut bytes = Vec::new();
        while self.out.unsent(id) > 0 {
            let mut slices = [IoSlice::new(&[]); SLICES_PER_WRITE];
            let filled = self.out.slices(id, &mut slices);
            let start = bytes.len();
            slices[..filled].iter().for_each(|slice| bytes.extend_from_slice(slice));
            self.out.advance(id, bytes.len() - start);
        }
        bytes
    }
}

// ---- Where people's words are shown ----------------------------------------------------------

/// Has `text` shown to the reader in one way, at this moment, after all else was read. Longer texts than
/// the place takes are cut.
type Place = fn(&mut Stage, ConnId, ConnId, &str);

const PLACES: &[(&str, Place)] = &[
    ("message", |stage, by, _, text| stage.say(by, text)),
    ("tag", |stage, by, _, text| stage.say(by, &format!("/tag reader {text}"))),
    ("tag from elsewhere", |stage, by, _, text| {
        stage.say(by, "/create den no-pass a public lobby");
        stage.say(by, "/join den");
        stage.say(by, &format!("/tag reader {text}"));
    }),
    ("direct message", |stage, by, _, text| stage.say(by, &format!("/msg reader {text}"))),
    ("question", |stage, by, _, text| stage.say(by, &format!("/ai {text}"))),
    ("answer", |stage, by, _, text| {
        stage.say(by, "/ai what is it");
        stage.answer(text);
    }),
    ("description", |stage, by, reader, text| {
        let text: String = text.chars().take(200).collect();
        stage.say(by, &format!("/create den no-pass {text}"));
        stage.say(reader, "/lobbies");
    }),
    ("history", |stage, by, reader, text| {
        stage.say(by, "/create den no-pass a public lobby");
        stage.say(by, "/join den");
        stage.say(by, text);
        stage.say(reader, "/join den");
    }),
];

/// What the reader's terminal shows of `text` in a place.
fn shown(place: Place, columns: u16, color: bool, text: &str) -> Shown {
    let mut stage = Stage::new();
    let (by, reader) = (stage.login("mallory"), stage.login("reader"));
    if columns < 80 {
        stage.say(reader, &format!("/width {columns}"));
    }
    if !color {
        stage.say(reader, "/color off");
    }
    stage.take(reader);
    place(&mut stage, by, reader, text);
    let bytes = stage.take(reader);
    let mut terminal = vt100::Parser::new(ROWS, NonZero::new(columns).unwrap(), 0);
    // A terminal's line discipline makes CR LF of LF.
    terminal.process(String::from_utf8(bytes.clone()).unwrap().replace('\n', "\r\n").as_bytes());
    let rows = (0..ROWS.get()).map(|row| Row::of(terminal.screen(), row, columns)).collect();
    Shown { rows, bytes }
}

struct Shown {
    rows: Vec<Row>,
    bytes: Vec<u8>,
}

/// A row of the terminal.
#[derive(Debug)]
struct Row {
    text: String,
    /// What of it is coloured, bold or dim.
    colored: String,
}

impl Row {
    fn of(screen: &vt100::Screen, row: u16, columns: u16) -> Self {
        let (mut text, mut colored) = (String::new(), String::new());
        for column in 0..columns {
            let Some(cell) = screen.cell(row, column) else { continue };
            if cell.is_wide_continuation() {
                continue;
            }
            let contents = if cell.has_contents() { cell.contents() } else { " " };
            text.push_str(contents);
            if cell.fgcolor() != vt100::Color::Default || cell.bold() || cell.dim() {
                colored.push_str(contents);
            }
        }
        let trimmed = text.trim_end_matches(is_blank).len();
        text.truncate(trimmed);
        Self { text, colored: colored.trim_end().to_owned() }
    }

    /// What stands in the two columns where only the server's lines begin.
    fn begins(&self) -> bool {
        self.text.chars().take(2).any(|c| !is_blank(c))
    }

    /// What is no text, and no word that the terminal broke for want of room.
    fn is_of_the_server(&self) -> bool {
        self.begins() && self.text.contains(is_blank)
    }

    /// What stands where the arrow of a text, or the first word of a listed property, would.
    fn second_begin(&self) -> Option<&str> {
        let rest = self.text.strip_prefix("  ")?;
        rest.starts_with(|c| !is_blank(c)).then(|| rest.split(is_blank).next().unwrap_or(rest))
    }
}

/// Whether somebody who looks at the screen sees nothing there.
fn is_blank(c: char) -> bool {
    c.is_whitespace()
        || matches!(c, '\u{2800}' | '\u{3164}' | '\u{ffa0}' | '\u{115f}' | '\u{1160}' | '\u{13441}')
        || matches!(c, '\u{13442}' | '\u{16fe4}' | '\u{1d159}' | '\u{1da7f}' | '\u{fe73}')
}

/// What the server itself says of a text that is shown somewhere: what must not change with the text.
#[derive(Debug, PartialEq)]
struct Frame {
    /// The rows that begin at the left edge, but for what a question says behind its beginning.
    rows: Vec<String>,
    /// What stands where arrows and properties do.
    seconds: Vec<String>,
    /// What has a colour.
    colored: String,
}

impl Shown {
    fn frame(&self) -> Frame {
        let rows = self.rows.iter().filter(|row| row.is_of_the_server());
        let rows = rows.map(|row| match row.text.split_once("asked AI:") {
            Some((before, _)) => before.to_owned(),
            None => row.text.clone(),
        });
        // An answer has as many gutters as rows; the prompt is there with colours only.
        let seconds = self.rows.iter().filter_map(Row::second_begin).filter(|word| *word != "│");
        let colored = self.rows.iter().map(|row| row.colored.as_str());
        let colored = colored.filter(|text| !text.trim_matches([' ', '│']).is_empty());
        Frame {
            rows: rows.filter(|row| row.trim_end() != ">").collect(),
            seconds: seconds.map(str::to_owned).collect(),
            colored: colored.collect(),
        }
    }
}

thread_local! {
    /// What a harmless text shows in each place, at each width.
    static HARMLESS: Vec<[Frame; SCREENS.len()]> = PLACES
        .iter()
        .map(|(_, place)| SCREENS.map(|columns| shown(*place, columns, true, "x").frame()))
        .collect();
}

#[track_caller]
fn forges_nothing(text: &str) {
    HARMLESS.with(|harmless| {
        for ((place, show), harmless) in PLACES.iter().zip(harmless) {
            for (columns, harmless) in SCREENS.into_iter().zip(harmless) {
                let seen = shown(*show, columns, true, text);
                let frame = seen.frame();
                assert_eq!(frame, *harmless, "{place}, {columns} columns: {text:?}");
                no_row_is_too_wide(&seen.bytes, columns.min(79));
                // Without colours it is where things stand that tells.
                let plain = shown(*show, columns, false, text).frame();
                let (rows, seconds) = (&harmless.rows, &harmless.seconds);
                assert_eq!((&plain.rows, &plain.seconds), (rows, seconds), "{place}: {text:?}");
            }
        }
    });
}

/// Whatever is drawn as wide as it can be: no row of a text goes on at the left edge.
fn no_row_is_too_wide(bytes: &[u8], columns: u16) {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    for row in text.lines().filter(|row| row.starts_with("      ") || row.contains('╰')) {
        let mut plain = String::new();
        for (n, part) in row.split('\x1b').enumerate() {
            plain.push_str(if n == 0 { part } else { part.split_once('m').unwrap().1 });
        }
        let last = plain.rsplit(' ').next().unwrap();
        let whole = last.is_ascii() && plain.trim_start().len() == last.len();
        let whole = whole || plain.strip_prefix("  ╰─> ").is_some_and(|text| text == last);
        let wide = wrap::width(&plain);
        assert!(wide <= columns.into() || whole, "{wide} columns: {plain:?}");
    }
}

// ---- Texts ---------------------------------------------------------------------------------

/// Lines that only the server, or another person, may say.
const LINES: &[&str] = &[
    "[LOBBY] bob has left the lobby",
    "Server is shutting down. Goodbye!",
    "alice is claimed. Password:",
    "[@_@] bob [just now]",
    "╰─> I am bob",
    "[DM] bob —» You",
    "[AI Response to reader]",
    "  │ what Rox says",
    "Lobby: other",
    "Privacy: public | AI: default AI | Created by: bob | Users: 3",
    "Description: another lobby",
    "── Thu 14:05 ──",
    "⚠ Rate limited! Wait 7 seconds.",
    "✦ bob tagged you",
    "Enter your username:",
    "> ",
    "Connection closed by foreign host.",
];

#[test]
fn padding_and_full_rows_bring_nothing_to_the_left_edge() {
    for line in [LINES[0], LINES[1], LINES[3]] {
        for blank in [" ", "\u{a0}", "\u{2800}", "\u{3164}", "\u{3000}"] {
            for before in [34, 74, 120] {
                forges_nothing(&format!("hi{}{line}", blank.repeat(before)));
            }
        }
        // As many columns as a row has left at each width, and one more or less.
        for columns in [33, 34, 35, 73, 74, 75, 126] {
            forges_nothing(&format!("{}{line}", "x".repeat(columns)));
            let words = "word ".repeat(30);
            forges_nothing(&format!("{} {line}", words[..columns].trim_end()));
        }
    }
    LINES.iter().for_each(|line| forges_nothing(&format!("{} {line}", "x".repeat(73))));
}

#[test]
fn what_terminals_draw_wider_brings_nothing_to_the_left_edge() {
    for letters in [
        "👍🏽",
        "\u{644}\u{627}",
        "\u{231a}\u{fe0e}",
        "🇩🇪",
        "❤\u{fe0f}",
        "日",
        "ｘ",
        "👨‍👩‍👧",
        "லா",
        "-\u{302e}\u{302e}",
        "x\u{200d}",
    ] {
        for count in [10, 17, 18, 36, 37] {
            forges_nothing(&format!("{} [LOBBY] bob has left the lobby", letters.repeat(count)));
        }
    }
}

/// What real terminals were seen to draw. The vowel signs of India, new marks and some old ones take a
/// column of their own on one and none on another, and so could bring any text to the left edge.
#[test]
fn nothing_is_counted_narrower_than_a_terminal_draws_it() {
    let mut seen = 0;
    for line in include_str!("forgery/drawn.txt").lines().filter(|line| !line.starts_with('#')) {
        let mut fields = line.split(' ');
        let mut code = || u32::from_str_radix(fields.next().unwrap(), 16).unwrap();
        let (first, last, drawn) = (code(), code(), code() as usize);
        for c in (first..=last).filter_map(char::from_u32) {
            seen += 1;
            assert!(wrap::columns(c) >= drawn, "{first:x}: {} of {drawn}", wrap::columns(c));
        }
    }
    assert!(seen > 1000);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn no_text_looks_like_another_line(
        parts in proptest::collection::vec(prop_oneof![
            4 => proptest::sample::select(LINES).prop_map(str::to_owned),
            3 => "[ \u{a0}\u{2800}\u{3164}\u{3000}\t]{1,60}",
            3 => "[a-z]{1,80}",
            2 => "([a-z]{1,9} ){1,12}",
            2 => "[日本👍🏽🇩🇪\u{644}\u{627}❤\u{fe0f}\u{200d}\u{301}éலா\u{302e}]{1,40}",
            1 => "\\PC{1,20}",
            1 => "\u{1b}\\[[0-9;]{0,4}[mKHJA]",
        ], 1..12)
    ) {
        let text: String = parts.concat().chars().take(900).collect();
        // A text that is none, or a command, is not shown.
        prop_assume!(!marks::disarm(&text).trim_matches(|c| is_blank(c) || c.is_control()).is_empty());
        forges_nothing(&format!("m {text}"));
    }
}

/// A name is chosen by whoever bears it: `[LOBBY] Type-your-password has joined the lobby`.
#[test]
fn names_in_the_servers_lines_have_the_terminals_own_colour() {
    const NAME: &str = "Type-your-password";
    let mut stage = Stage::new();
    let reader = stage.login("reader");
    let other = stage.login(NAME);
    for line in ["/msg reader hi", "/tag reader hi", "/ai why", "/create den x", "/join den"] {
        stage.say(other, line);
    }
    let seen = String::from_utf8(stage.take(reader)).unwrap();
    let told = seen.matches(NAME).count();
    assert!(told >= 6, "{seen:?}");
    let bold = format!("\x1b[1m{NAME}\x1b[0m");
    // Behind the picture, above a message.
    let said = seen.matches(&format!("\x1b[0m {bold} ")).count();
    assert_eq!(seen.matches(&format!("\x1b[0m{bold}\x1b[3")).count(), told - said, "{seen:?}");
    assert_eq!(said, 1, "{seen:?}");
}

/// The end of a name stood at the left edge: `Server-is-shutting-down-NOW_1'` of a lobby, at 40 columns.
#[test]
fn no_name_reaches_the_left_edge_of_a_narrow_screen() {
    const LOBBY: &str = "xxServer-is-shutting-down-NOW";
    const NAMES: [&str; 3] = ["xServer-is-down-NOW1", "xAlice-left-us-all_2", "reader"];
    let ends = |name: &'static str| (1..name.len() - 3).map(move |at| &name[at..]);
    for columns in (20..79).step_by(5) {
        let mut stage = Stage::new();
        let [by, other, reader] = NAMES.map(|name| stage.login(name));
        stage.say(reader, &format!("/width {columns}"));
        stage.take(reader);
        let create = format!("/create {LOBBY} no-pass den");
        for line in [&create, &format!("/join {LOBBY}"), "/tag reader hi", "/msg reader hi"] {
            stage.say(by, line);
        }
        stage.say(other, &format!("/join {LOBBY}"));
        for line in ["/users", &format!("/join {LOBBY}"), "/users", "/lobbies", "/ai why", "/help"]
        {
            stage.say(reader, line);
        }
        for line in ["hi", "/tag reader hi", "/ai why", "/setai x", "/leave"] {
            stage.say(by, line);
        }
        let seen = String::from_utf8(stage.take(reader)).unwrap();
        let mut screen =
            vt100::Parser::new(NonZero::new(1).unwrap(), NonZero::new(600).unwrap(), 0);
        for line in seen.split('\n') {
            screen.process(format!("\r\x1b[K{line}").as_bytes());
            let row = screen.screen().contents();
            assert!(wrap::width(&row) <= columns, "{columns}: {row}");
            let named =
                NAMES.into_iter().chain([LOBBY]).flat_map(ends).find(|end| row.starts_with(end));
            assert_eq!(named, None, "{columns}: {row}");
        }
    }
}

/// Five hundred lines as people say them: code, logs, Markdown, chat, many scripts.
const ORDINARY: &str = include_str!("forgery/ordinary.txt");

#[test]
fn ordinary_lines_come_through_as_they_were_typed() {
    let lines: Vec<_> = ORDINARY.lines().collect();
    assert!(lines.len() >= 500);
    let mut stage = Stage::new();
    let (by, reader) = (stage.login("mallory"), stage.login("reader"));
    stage.say(reader, "/color off");
    stage.say(reader, "/width off");
    stage.take(reader);
    let mut changed = Vec::new();
    for line in lines {
        stage.say(by, line);
        let seen = String::from_utf8(stage.take(reader)).unwrap();
        if seen != format!("[@_@] mallory [just now]\n  ╰─> {line}\n") {
            changed.push((line, seen));
        }
    }
    assert!(changed.is_empty(), "{changed:#?}");
}
