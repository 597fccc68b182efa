//! Proves that the simulation can fail: plants one fault after the other in a copy of the sources,
//! and shows that some seed notices each.
//!
//!     cargo run --example faults [PART OF A NAME]...
//!
//! Works in `target/faults`, never in the tree itself. A fault whose text is not found is an error: the
//! table has to follow the code.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods)]

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io};

/// Seeds that a fault is given to be noticed by.
const SEEDS: &str = "400";

/// How long building and running may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(300);

struct Fault {
    /// What a user would complain about.
    name: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
}

#[rustfmt::skip]
const FAULTS: &[Fault] = &[
    // ---- Who hears what ----
    Fault { name: "a member is skipped", file: "src/chat/rooms.rs",
        from: "out.broadcast(&lobby.members, frame);",
        to: "out.broadcast(lobby.members.get(usize::from(lobby.members.len() > 4)..).unwrap_or_default(), frame);" },
    Fault { name: "a message is doubled", file: "src/chat/talk.rs",
        from: "self.broadcast(at, &self.message, out);",
        to: "self.broadcast(at, &self.message, out); if self.message.len() % 5 == 0 { self.broadcast(at, &self.message, out); }" },
    Fault { name: "the sender does not hear itself", file: "src/chat/talk.rs",
        from: "self.broadcast(at, &self.message, out);",
        to: "for member in self.lobbies.get(at).map(|lobby| lobby.members.clone()).unwrap_or_default() { if member != id { out.push(member, &self.message); } }" },
    Fault { name: "a direct message goes to the lobby", file: "src/chat/talk.rs",
        from: "out.broadcast(&[to], &render::direct(&sender.name, \"You\", text));",
        to: "self.broadcast(recipient.lobby, &render::direct(&sender.name, \"You\", text), out);" },
    Fault { name: "a tag tells of a private lobby", file: "src/chat/talk.rs",
        from: "} else if lobby.password.is_none() {", to: "} else if !lobby.name.is_empty() {" },
    Fault { name: "any password opens", file: "src/chat/rooms.rs",
        from: "if right {", to: "if right || !self.names.is_empty() {" },
    Fault { name: "a private lobby opens without a password", file: "src/chat/rooms.rs",
        from: "let Some(hash) = lobby.password.clone() else {",
        to: "let Some(hash) = lobby.password.clone().filter(|_| password.is_some()) else {" },
    // ---- History ----
    Fault { name: "history is kept too long", file: "src/chat/rooms.rs",
        from: "let max_age = self.settings.history_age;", to: "let max_age = self.settings.history_age * 2;" },
    Fault { name: "a timer spins", file: "src/chat/rooms.rs",
        from: "lobby.history.prune(real, max_age);", to: "lobby.history.prune(real, max_age * 2);" },
    Fault { name: "history holds one message too many", file: "src/limits.rs",
        from: "pub const HISTORY_MESSAGES: usize = 100;", to: "pub const HISTORY_MESSAGES: usize = 101;" },
    Fault { name: "history comes in the wrong order", file: "src/chat/lobby.rs",
        from: "self.entries.iter()\n", to: "self.entries.iter().rev()\n" },
    // ---- Pauses of the process ----
    Fault { name: "an age leaves a pause out", file: "src/clock.rs",
        from: "RealTime(now + self.stood)", to: "RealTime(now)" },
    Fault { name: "a pause is somebody's fault", file: "src/chat/pause.rs",
        from: "Stage::Named(user) => user.last_line = now,", to: "Stage::Named(_) => {}" },
    // ---- Tenants, seats, names ----
    Fault { name: "a generation is not checked", file: "src/id.rs",
        from: "if *generation == id.generation", to: "if *generation > 0" },
    Fault { name: "a seat is not told that it moved", file: "src/chat/rooms.rs",
        from: "moved.seat = seat;", to: "let _ = (moved, seat);" },
    Fault { name: "a name is not freed", file: "src/chat/mod.rs",
        from: "self.names.remove(&*name::skeleton(&user.name));", to: "" },
    Fault { name: "names differ by case", file: "src/chat/name.rs",
        from: "name.to_ascii_lowercase().into()", to: "name.into()" },
    Fault { name: "a successor inherits the creator's rights", file: "src/chat/talk.rs",
        from: "if lobby.creator.session != Some(id) {", to: "if *lobby.creator.name != *name {" },
    // ---- Limits ----
    Fault { name: "a window is off by one", file: "src/rate.rs",
        from: "self.accepted.len() >= limit)", to: "self.accepted.len() > limit)" },
    Fault { name: "a window is too short", file: "src/rate.rs",
        from: "now.saturating_duration_since(*at) >= window)", to: "now.saturating_duration_since(*at) >= window * 9 / 10)" },
    Fault { name: "a reconnect frees from the limit", file: "src/chat/mod.rs",
        from: "self.departed.insert((addr, name::fold(&user.name)), user.windows, until);",
        to: "let _ = (addr, until);" },
    Fault { name: "refused lines count", file: "src/rate.rs",
        from: "return Err(window.saturating_sub(now.saturating_duration_since(*oldest)));",
        to: "let wait = window.saturating_sub(now.saturating_duration_since(*oldest)); self.accepted.push_back(now); return Err(wait);" },
    Fault { name: "wrong passwords cost nothing", file: "src/chat/rooms.rs",
        from: "if self.wrong_passwords.fail(now, session.addr) {", to: "if false {" },
    Fault { name: "an address has one connection too many", file: "src/rate.rs",
        from: "*open >= limit", to: "*open > limit" },
    Fault { name: "a creator has one lobby too many", file: "src/limits.rs",
        from: "pub const MAX_LOBBIES_PER_CREATOR: u32 = 5;", to: "pub const MAX_LOBBIES_PER_CREATOR: u32 = 6;" },
    Fault { name: "a queue goes past its bound", file: "src/outbox.rs",
        from: "self.bytes + MAX_RENDERED_MESSAGE.min(limit / 4) <= limit", to: "self.bytes <= limit" },
    Fault { name: "what was left out is counted wrongly", file: "src/outbox.rs",
        from: "outbox.left_out += 1;", to: "outbox.left_out += 1 + u64::from(outbox.left_out == 3);" },
    Fault { name: "talk goes on before the gap is told of", file: "src/outbox.rs",
        from: "self.left_out == 0 && self.bytes", to: "self.bytes" },
    Fault { name: "a direct message is lost without a word", file: "src/chat/talk.rs",
        from: "if !out.keeps_up(to) {", to: "if to == id {" },
    Fault { name: "crowds are told one by one", file: "src/limits.rs",
        from: "pub const CROWD_SINGLE_LINES: u32 = 5;", to: "pub const CROWD_SINGLE_LINES: u32 = 6;" },
    // ---- Bytes ----
    Fault { name: "a partial write is sent again", file: "src/outbox.rs",
        from: "piece.start += part;", to: "piece.start += part - usize::from(part > 1 && part < piece.len());" },
    Fault { name: "what was kept is sent again", file: "src/outbox.rs",
        from: "self.sent += n;\n", to: "self.sent = n;\n" },
    Fault { name: "a round ends too early", file: "src/outbox/round.rs",
        from: "if self.holders == 0 {", to: "if self.holders <= 1 {" },
    Fault { name: "a piece grows over what others were told", file: "src/outbox.rs",
        from: "last.end == piece.start =>", to: "last.end <= piece.start =>" },
    Fault { name: "what is kept forgets a piece", file: "src/outbox.rs",
        from: "for piece in std::mem::take(&mut self.fresh) {", to: "for piece in std::mem::take(&mut self.fresh).into_iter().take(3) {" },
    Fault { name: "the prompt is not erased", file: "src/outbox.rs",
        from: "    outbox.hide_prompt(&mut self.round);\n                }\n                outbox.hold(", to: "}\n                outbox.hold(" },
    Fault { name: "the last line without newline is lost", file: "src/line.rs",
        from: "if self.partial.is_empty() {\n            return None;\n        }\n        self.delivered = true;",
        to: "if !self.partial.is_empty() {\n            return None;\n        }\n        self.delivered = true;" },
    Fault { name: "telnet commands reach messages", file: "src/line.rs",
        from: "memchr3(b'\\n', b'\\r', IAC, input)", to: "memchr3(b'\\n', b'\\r', b'\\n', input)" },
    Fault { name: "a line that ends with CR goes on", file: "src/line.rs",
        from: "memchr3(b'\\n', b'\\r', IAC, input)", to: "memchr3(b'\\n', b'\\n', IAC, input)" },
    Fault { name: "CR LF is two lines if it is cut", file: "src/line.rs",
        from: "self.after_cr = !newline;", to: "" },
    // ---- Texts ----
    Fault { name: "texts are not broken into rows", file: "src/outbox/view.rs",
        from: "text.column + text.len() <= columns.into()", to: "text.column <= columns.into()" },
    Fault { name: "all have one width", file: "src/outbox.rs",
        from: "self.set_view(id, |view| *view = view.with_columns(columns));", to: "self.set_view(id, |view| view.columns = columns.and(view.columns));" },
    Fault { name: "the server's own lines are not in rows", file: "src/outbox/view.rs",
        from: "self.columns.filter(|_| self.is_narrow())", to: "self.columns.filter(|_| false)" },
    Fault { name: "a row may be one too wide", file: "src/wrap.rs",
        from: "if used > room && !c.is_whitespace() {", to: "if used > room + 1 && !c.is_whitespace() {" },
    Fault { name: "marks can be typed", file: "src/chat/marks.rs",
        from: "_ if is_opening(c) && is_mark(after) => {", to: "_ if is_opening(c) && after.len() > 500 => {" },
    Fault { name: "what was erased is said", file: "src/text/edit.rs",
        from: "KILL_LINE => out.clear(),", to: "KILL_LINE => {}" },
    Fault { name: "a prompt names another lobby", file: "src/chat/rooms.rs",
        from: "out.set_prompt_text(id, lobby.prompt_text.clone());", to: "if let Some(text) = lobby.prompt_text.clone() { out.set_prompt_text(id, Some(text)); }" },
    Fault { name: "colours off leaves the prompt", file: "src/outbox.rs",
        from: "outbox.prompting && outbox.view.color;", to: "outbox.prompting;" },
    Fault { name: "the last word is not said", file: "src/chat/mod.rs",
        from: "if let Some(farewell) = farewell {", to: "if let Some(farewell) = farewell.filter(|_| reason != CloseReason::Quit) {" },
    // ---- Time ----
    Fault { name: "the name prompt waits for ever", file: "src/chat/login.rs",
        from: "self.timers.set(Timer::Session(id), &mut deadline, Some(until));", to: "let _ = until; deadline = None;" },
    Fault { name: "who talks is idle", file: "src/chat/talk.rs",
        from: "user.last_line = now;", to: "let _ = user;" },
    Fault { name: "a lobby is removed under its members", file: "src/chat/rooms.rs",
        from: "self.timers.set(Timer::Removal(to), &mut lobby.removal, None);", to: "" },
    Fault { name: "a table does not forget", file: "src/rate.rs",
        from: "self.locked.forget(now);", to: "" },
    Fault { name: "an address that left is counted on", file: "src/rate.rs",
        from: "if *open == 0 {", to: "if *open == 99 {" },
    // ---- The assistant ----
    Fault { name: "the assistant hears one message too many", file: "src/limits.rs",
        from: "pub const RECENT_MESSAGES: usize = 5;", to: "pub const RECENT_MESSAGES: usize = 6;" },
    Fault { name: "five questions are under way", file: "src/limits.rs",
        from: "pub const ASKS_AT_ONCE: usize = 4;", to: "pub const ASKS_AT_ONCE: usize = 5;" },
    Fault { name: "who asks last is answered first", file: "src/share.rs",
        from: "Some(ranked.min_by(|(one, _), (other, _)| one.order(other))?.1)", to: "Some(ranked.max_by(|(one, _), (other, _)| one.order(other))?.1)" },
    Fault { name: "who has asked most is answered first", file: "src/share.rs",
        from: "(most * GRAINS).round()", to: "0.0" },
    Fault { name: "what a question counted is kept though it failed", file: "src/chat/assistant.rs",
        from: "self.assistant.line.give_back(now, *addr, 1.0, current.since);", to: "" },
    Fault { name: "a failed question is remembered", file: "src/chat/assistant.rs",
        from: "                if current.shown.is_empty() {\n                    let line",
        to: "                if let Some(lobby) = self.lobbies.get_mut(at) { lobby.conversation.add(now, &current.question.name, &current.question.text, &current.shown); }\n                if current.shown.is_empty() {\n                    let line" },
    Fault { name: "a conversation is never forgotten", file: "src/limits.rs",
        from: "Duration::from_secs(30 * 60);", to: "Duration::from_secs(300 * 60);" },
    Fault { name: "an address has no budget for questions", file: "src/chat/assistant.rs",
        from: "vec![Budget::User(fold(&user.name), session.addr), Budget::Address(session.addr)]", to: "let _ = Budget::Address(session.addr); vec![Budget::User(fold(&user.name), session.addr)]" },
    Fault { name: "the server has no budget of questions", file: "src/chat/assistant.rs",
        from: "let _ = self.assistant.day.try_accept(now, a_day, DAY);", to: "" },
    Fault { name: "what fails counts for the day", file: "src/chat/assistant.rs",
        from: "        self.day.give_back(spent);\n", to: "" },
    Fault { name: "a stopped answer goes on", file: "src/chat/assistant.rs",
        from: "self.requests.push_back(Request::StopGemini { ask });\n        let Some(current)", to: "let Some(current)" },
];

/// What the copy needs to be built.
const PARTS: &[&str] = &["Cargo.toml", "Cargo.lock", "README.md", "src", "tests", "scripts"];

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        return fs::copy(from, to).map(drop);
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

/// What the simulation says.
#[derive(Debug)]
enum Verdict {
    Fine,
    /// The first seed that failed.
    Fails(String),
    /// It did not end in time.
    Hangs,
    /// What the compiler says, or anything else.
    None(String),
}

/// Builds and runs the simulation in the copy.
fn simulate(tree: &Path) -> Verdict {
    let log = tree.with_file_name("log");
    let file = fs::File::create(&log).unwrap();
    // In a process group of its own, so that all of it can be ended.
    let mut child = Command::new("cargo")
        .args(["test", "--locked", "--quiet", "--test", "simulation"])
        .current_dir(tree)
        .env("CARGO_TARGET_DIR", tree.with_file_name("build"))
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("SIM_SEEDS", SEEDS)
        .stdin(Stdio::null())
        .stdout(file.try_clone().unwrap())
        .stderr(file)
        .process_group(0)
        .spawn()
        .unwrap();
    let until = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() >= until {
            let group = rustix::process::Pid::from_child(&child);
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
            child.wait().unwrap();
            return Verdict::Hangs;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    let text = fs::read_to_string(&log).unwrap();
    match text.split_once("; to see its last steps: scripts/sim ") {
        _ if status.success() => Verdict::Fine,
        Some((_, rest)) => Verdict::Fails(rest.split_whitespace().next().unwrap().to_owned()),
        None => Verdict::None(text),
    }
}

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tree = root.join("target/faults/tree");
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let _ = fs::remove_dir_all(&tree);
    fs::create_dir_all(&tree).unwrap();
    for part in PARTS {
        copy(&root.join(part), &tree.join(part)).unwrap();
    }
    match simulate(&tree) {
        Verdict::Fine => println!("without a fault: {SEEDS} seeds are fine"),
        other => {
            println!("without a fault it is not fine: {other:?}");
            return ExitCode::FAILURE;
        }
    }
    let mut missed = Vec::new();
    let faults: Vec<_> = FAULTS
        .iter()
        .filter(|fault| wanted.is_empty() || wanted.iter().any(|part| fault.name.contains(part)))
        .collect();
    for fault in &faults {
        let path = tree.join(fault.file);
        let whole = fs::read_to_string(&path).unwrap();
        assert!(whole.contains(fault.from), "'{}' in {}", fault.name, fault.file);
        fs::write(&path, whole.replace(fault.from, fault.to)).unwrap();
        let begun = Instant::now();
        let verdict = simulate(&tree);
        fs::write(&path, whole).unwrap();
        let secs = begun.elapsed().as_secs();
        match verdict {
            Verdict::Fails(seed) => {
                println!("caught by seed {seed:>3} ({secs:>2} s): {}", fault.name);
            }
            Verdict::Hangs => println!("caught, since it hangs: {}", fault.name),
            Verdict::Fine | Verdict::None(_) => {
                println!("MISSED ({secs} s): {}", fault.name);
                if let Verdict::None(text) = verdict {
                    println!("{text}");
                }
                missed.push(fault.name);
            }
        }
    }
    println!("{} of {} faults were caught", faults.len() - missed.len(), faults.len());
    if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_follows_the_code() {
        for fault in FAULTS {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(fault.file);
            let whole = fs::read_to_string(path).unwrap();
            assert!(whole.contains(fault.from), "'{}' in {}", fault.name, fault.file);
        }
    }
}
