//! The programs people connect with, each used the way its user would, and what that user sees.
//!
//! A program that belongs in a terminal runs in a pseudo-terminal, which socat holds, and what it
//! prints is drawn on an emulated screen. So the assertions are about rows of text, not bytes.
//!
//! A test whose program is missing passes and says so: see `common::programs`.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::io::{Read, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::num::NonZero;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::programs::{BUSYBOX, NCAT, OPENSSL, RLWRAP, SOCAT, TELNET, installed, openbsd_nc};
use common::{Client, PATIENCE, Server, eventually};

const ROWS: NonZero<u16> = NonZero::new(50).unwrap();
const COLUMNS: NonZero<u16> = NonZero::new(100).unwrap();
/// What the shell says when the program is gone and it is its turn again.
const ENDED: &str = "[ended]";
const NAME_PROMPT: &str = "Enter your username:";
const GOODBYE: &str = "Disconnecting from server. Goodbye!";
const ENTER: &str = "\r";
const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";
const CTRL_U: &str = "\x15";
const TELNET_ESCAPE: &str = "\x1d";
const ARROW_UP: &str = "\x1b[A";

// ---- The programs -------------------------------------------------------------------------

/// A program of the tests; it never outlives them.
struct Running(Child);

impl Running {
    fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "the program does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

// ---- The screen ---------------------------------------------------------------------------

/// Stands for what the clock showed before the first message.
const A_TIME: &str = "── a time ──";

#[derive(Clone)]
struct Screen(Arc<Mutex<vt100::Parser>>);

impl Screen {
    /// Shows what comes from here. `newlines`: no terminal has turned `\n` into `\r\n` yet.
    fn of(mut source: impl Read + Send + 'static, newlines: bool) -> Self {
        let parser = Arc::new(Mutex::new(vt100::Parser::new(ROWS, COLUMNS, 0)));
        let screen = Self(parser.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = source.read(&mut bytes) {
                let mut parser = parser.lock().unwrap();
                for &byte in &bytes[..n] {
                    if byte == b'\n' && newlines {
                        parser.process(b"\r");
                    }
                    parser.process(&[byte]);
                }
            }
        });
        screen
    }

    /// The rows down to the cursor's or the last one with text, whichever is lower, without the
    /// spaces at their ends; and the column of the cursor in the last of them.
    fn rows(&self) -> (Vec<String>, Option<usize>) {
        let parser = self.0.lock().unwrap();
        let screen = parser.screen();
        let mut rows: Vec<_> = screen
            .rows(0, COLUMNS.get())
            .map(|row| row.trim_end().to_owned())
            .map(|row| if common::is_clock(&row) { A_TIME.to_owned() } else { row })
            .collect();
        let (row, column) = screen.cursor_position();
        let used = rows.iter().rposition(|row| !row.is_empty()).unwrap_or(0);
        rows.truncate(used.max(row.into()) + 1);
        let last = rows.len() == usize::from(row) + 1;
        (rows, last.then_some(column.into()))
    }

    fn text(&self) -> String {
        self.rows().0.join("\n")
    }

    /// Waits until the screen, from the row on that begins with `first`, is exactly this, with the
    /// cursor at the end of the last row.
    #[track_caller]
    fn expect(&self, first: &str, expected: &[String]) {
        let column = expected.last().unwrap().chars().count();
        let end = Instant::now() + PATIENCE;
        loop {
            let (rows, cursor) = self.rows();
            let from = rows.iter().position(|row| row.starts_with(first)).unwrap_or(0);
            let same = rows[from..].iter().eq(expected.iter().map(|row| row.trim_end()));
            if same && cursor == Some(column) {
                return;
            }
            assert!(
                Instant::now() < end,
                "expected:\n{}\n(cursor in column {column})\nthe screen:\n{}\n(cursor: {cursor:?})",
                expected.join("\n"),
                rows.join("\n")
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the screen ends with this text.
    #[track_caller]
    fn expect_end(&self, text: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.text().trim_end().ends_with(text) {
            assert!(Instant::now() < end, "expected at the end: {text}\n{}", self.text());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The greeting stands there in one piece.
    #[track_caller]
    fn check_banner(&self) {
        let (rows, _) = self.rows();
        let top = rows.iter().position(|row| row.starts_with('╔')).unwrap();
        let bottom = rows.iter().position(|row| row.starts_with('╚')).unwrap();
        for row in &rows[top..=bottom] {
            assert_eq!(row.chars().count(), 70, "{row}");
            assert!(row.ends_with(['╗', '║', '╝']), "{row}");
        }
        for text in ["██", "Welcome!", "/help", "/users", "/quit"] {
            assert!(rows[top..bottom].iter().any(|row| row.contains(text)), "no {text}");
        }
        assert_eq!(rows[bottom + 1], "[● CONNECTED] You're live! Start chatting now...");
    }
}

/// A program in a terminal, started from a shell.
struct Terminal {
    _driver: Running,
    keyboard: ChildStdin,
    screen: Screen,
    _home: tempfile::TempDir,
}

impl Terminal {
    fn run(client: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let script =
            format!("stty sane rows {ROWS} cols {COLUMNS}\n{client}\necho '{ENDED}'\nread -r _\n");
        std::fs::write(home.path().join("session"), script).unwrap();
        let mut driver = Command::new("socat")
            .args(["STDIO", "EXEC:sh session,pty,setsid,ctty,stderr"])
            .current_dir(home.path())
            .env("HOME", home.path())
            .env("RLWRAP_HOME", home.path())
            .env("INPUTRC", "/dev/null")
            .env("TERM", "xterm")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let keyboard = driver.stdin.take().unwrap();
        let screen = Screen::of(driver.stdout.take().unwrap(), false);
        Self { _driver: Running(driver), keyboard, screen, _home: home }
    }

    fn keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }
}

// ---- A visit ------------------------------------------------------------------------------

/// Alice, who uses a real program in a terminal, and bob, whom she meets.
struct Visit {
    terminal: Terminal,
    /// What stands on her screen from the question for the name on.
    seen: Vec<String>,
    bob: Option<Client>,
    server: Server,
    /// How many descriptors the server has when nobody is connected.
    idle: usize,
}

impl Visit {
    /// Alice has started this program, `ADDRESS` standing for `HOST PORT`, and is asked for a name.
    fn begin(client: &str) -> Self {
        let server = Server::start();
        let addr = server.addr;
        Self::at(server, addr, client)
    }

    fn at(server: Server, addr: SocketAddr, client: &str) -> Self {
        let idle = server.descriptors();
        let (ip, port) = (addr.ip(), addr.port());
        let client = client.replace("ADDRESS", &format!("{ip} {port}"));
        let terminal = Terminal::run(&client.replace("TCP", &format!("TCP:{ip}:{port}")));
        let mut visit = Self { terminal, seen: vec![String::new()], bob: None, server, idle };
        visit.sees(&["Enter your username: "]);
        visit.terminal.screen.check_banner();
        visit
    }

    fn types(&mut self, keys: &str) {
        self.terminal.keys(keys);
    }

    /// Waits until the row of the cursor has given way to these rows.
    #[track_caller]
    fn sees(&mut self, rows: &[&str]) {
        self.seen.pop();
        self.seen.extend(rows.iter().map(|&row| row.to_owned()));
        self.terminal.screen.expect(NAME_PROMPT, &self.seen);
    }

    #[track_caller]
    fn bob_sees(&mut self, text: &str) {
        self.bob.as_mut().unwrap().expect(text);
    }

    fn bob_says(&mut self, text: &str) {
        self.bob.as_mut().unwrap().send(text);
    }

    #[track_caller]
    fn logs_in(&mut self) {
        self.types("alice\r");
        self.sees(&["Enter your username: alice", "[LOBBY] alice has joined the lobby", "> "]);
    }

    #[track_caller]
    fn meets_bob(&mut self) {
        self.bob = Some(self.server.login("bob"));
        self.sees(&["[LOBBY] bob has joined the lobby", "> "]);
    }

    #[track_caller]
    fn talks(&mut self) {
        self.types("Grüße, bob\r");
        self.bob_sees("[@_@] alice [just now]\n  ╰─> Grüße, bob\n");
        self.sees(&["> Grüße, bob", A_TIME, "[@_@] alice [just now]", "  ╰─> Grüße, bob", "> "]);
        self.bob_says("Hello alice");
        self.sees(&["[@_@] bob [just now]", "  ╰─> Hello alice", "> "]);
    }

    /// Bob's lines come while half a line is typed. The program draws that half again (`redrawn`);
    /// or it does not know of it: then the terminal keeps it, unseen, until Enter.
    #[track_caller]
    fn is_interrupted(&mut self, redrawn: bool) {
        self.types("good eve");
        self.sees(&["> good eve"]);
        let long = "so long ".repeat(20);
        self.bob_says(&format!("one\ntwo\n{long}"));
        self.sees(&[
            "[@_@] bob [just now]",
            "  ╰─> one",
            "[@_@] bob [just now]",
            "  ╰─> two",
            "[@_@] bob [just now]",
            &format!("  ╰─> {}", long[..72].trim_end()),
            &format!("      {}", long[72..144].trim_end()),
            &format!("      {}", long[144..].trim_end()),
            if redrawn { "> good eve" } else { "> " },
        ]);
        self.types("ning");
        let typed = if redrawn { "> good evening" } else { "> ning" };
        self.sees(&[typed]);
        self.types(ENTER);
        self.bob_sees("[@_@] alice [just now]\n  ╰─> good evening\n");
        self.sees(&[typed, "[@_@] alice [just now]", "  ╰─> good evening", "> "]);
    }

    /// Alice types `/quit` and reads the goodbye, after which these rows follow.
    #[track_caller]
    fn quits(&mut self, then: &[&str]) {
        self.types("/quit\r");
        self.bob_sees("[LOBBY] alice has left the lobby\n");
        let mut rows = vec!["> /quit", GOODBYE];
        rows.extend(then);
        self.sees(&rows);
    }

    #[track_caller]
    fn chats(&mut self, redrawn: bool) {
        self.logs_in();
        self.meets_bob();
        self.talks();
        self.is_interrupted(redrawn);
    }

    /// After the goodbye: once the server has let go of the connection, these few presses of Enter
    /// end the program, if it has not ended by itself.
    #[track_caller]
    fn ends_after_enters(&mut self, most: usize) {
        self.bob = None;
        let (server, idle) = (&self.server, self.idle);
        eventually("the server lets go of the connections", || server.descriptors() == idle);
        for _ in 0..most {
            if self.ends_within(Duration::from_millis(200)) {
                return;
            }
            self.types(ENTER);
        }
        assert!(self.ends_within(PATIENCE), "no end:\n{}", self.terminal.screen.text());
    }

    fn ends_within(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        loop {
            if self.terminal.screen.text().trim_end().ends_with(ENDED) {
                return true;
            }
            if Instant::now() >= end {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

// ---- OpenBSD nc ---------------------------------------------------------------------------

// nc sees the end of the connection but goes on waiting for its keyboard. After /quit its user
// presses Ctrl-D, which works at once, or Enter (or Ctrl-C). An Enter counts only after the server
// has let go of the connection, which it does when the program has not closed its side in time.

#[test]
fn nc_in_a_terminal_and_ctrl_d_after_quit() {
    let (Some(nc), true) = (openbsd_nc(), installed(&[SOCAT])) else { return };
    let mut visit = Visit::begin(&format!("{nc} ADDRESS"));
    visit.chats(false);
    visit.quits(&[""]);
    visit.types(CTRL_D);
    visit.sees(&[ENDED, ""]);
}

#[test]
fn nc_in_a_terminal_and_enter_after_quit() {
    let (Some(nc), true) = (openbsd_nc(), installed(&[SOCAT])) else { return };
    let mut visit = Visit::begin(&format!("{nc} ADDRESS"));
    visit.logs_in();
    visit.meets_bob();
    visit.quits(&[""]);
    visit.ends_after_enters(1);
}

// Without -N, nc keeps the connection when its keyboard ends.
#[test]
fn nc_in_a_terminal_leaves_with_ctrl_d_if_started_with_upper_case_n() {
    let (Some(nc), true) = (openbsd_nc(), installed(&[SOCAT])) else { return };
    let mut visit = Visit::begin(&format!("{nc} -N ADDRESS"));
    visit.logs_in();
    visit.meets_bob();
    visit.types(CTRL_D);
    visit.bob_sees("[LOBBY] alice has left the lobby\n");
    visit.sees(&[ENDED, ""]);
}

// ---- rlwrap nc ----------------------------------------------------------------------------

// The end is that of nc: after /quit Ctrl-D at once, or Enter when the server has let go.

#[test]
fn rlwrap_nc_draws_again_what_is_being_typed() {
    let (Some(nc), true) = (openbsd_nc(), installed(&[SOCAT, RLWRAP])) else { return };
    let mut visit = Visit::begin(&format!("rlwrap {nc} ADDRESS"));
    visit.chats(true);
    // The lines typed before come back, and are edited without a trace.
    visit.types(ARROW_UP);
    visit.sees(&["> good evening"]);
    visit.types(CTRL_U);
    visit.sees(&["> "]);
    visit.types(ARROW_UP);
    visit.sees(&["> Grüße, bob"]);
    visit.types("!\x7f?\r");
    visit.bob_sees("  ╰─> Grüße, bob?\n");
    visit.sees(&["> Grüße, bob?", "[@_@] alice [just now]", "  ╰─> Grüße, bob?", "> "]);
    visit.quits(&[""]);
    visit.types(CTRL_D);
    visit.sees(&[ENDED, ""]);
}

#[test]
fn rlwrap_nc_shows_what_follows_an_empty_line_once() {
    let (Some(nc), true) = (openbsd_nc(), installed(&[SOCAT, RLWRAP])) else { return };
    let mut visit = Visit::begin(&format!("rlwrap {nc} ADDRESS"));
    visit.logs_in();
    visit.meets_bob();
    // rlwrap took the eraser before the prompt for a part of it, and showed the first letter twice.
    for first in [true, false] {
        visit.types(ENTER);
        visit.sees(&["> ", "> "]);
        visit.types("hello");
        visit.sees(&["> hello"]);
        visit.types(ENTER);
        let time = if first { &[A_TIME][..] } else { &[] };
        let said = ["[@_@] alice [just now]", "  ╰─> hello", "> "];
        visit.sees(&[&["> hello"], time, &said].concat());
    }
}

#[test]
fn rlwrap_nc_and_enter_after_quit() {
    let (Some(nc), true) = (openbsd_nc(), installed(&[SOCAT, RLWRAP])) else { return };
    let mut visit = Visit::begin(&format!("rlwrap {nc} ADDRESS"));
    visit.logs_in();
    visit.meets_bob();
    visit.quits(&[""]);
    visit.ends_after_enters(1);
}

// ---- ncat ---------------------------------------------------------------------------------

// Like nc, ncat waits for its keyboard after /quit. Ctrl-D ends it at once. With Enter it takes
// two, for it only sees the second one fail, and says `Ncat: Broken pipe.`

#[test]
fn ncat_in_a_terminal_and_ctrl_d_after_quit() {
    if installed(&[SOCAT, NCAT]) {
        let mut visit = Visit::begin("ncat ADDRESS");
        visit.chats(false);
        visit.quits(&[""]);
        visit.types(CTRL_D);
        visit.sees(&[ENDED, ""]);
    }
}

#[test]
fn ncat_in_a_terminal_and_enter_after_quit() {
    if installed(&[SOCAT, NCAT]) {
        let mut visit = Visit::begin("ncat ADDRESS");
        visit.logs_in();
        visit.meets_bob();
        visit.quits(&[""]);
        visit.ends_after_enters(2);
    }
}

// ---- busybox nc and socat -----------------------------------------------------------------

// Both end by themselves after /quit (socat half a second later), and Ctrl-D leaves the chat.

#[test]
fn busybox_nc_in_a_terminal() {
    if installed(&[SOCAT, BUSYBOX]) {
        let mut visit = Visit::begin("busybox nc ADDRESS");
        visit.chats(false);
        visit.quits(&[ENDED, ""]);
    }
}

#[test]
fn socat_in_a_terminal() {
    if installed(&[SOCAT]) {
        let mut visit = Visit::begin("socat - TCP");
        visit.chats(false);
        visit.quits(&[ENDED, ""]);
    }
}

#[test]
fn ctrl_d_leaves_the_chat_and_a_tidy_screen() {
    for (program, client) in
        [(NCAT, "ncat ADDRESS"), (BUSYBOX, "busybox nc ADDRESS"), (SOCAT, "socat - TCP")]
    {
        if installed(&[SOCAT, program]) {
            let mut visit = Visit::begin(client);
            visit.logs_in();
            visit.meets_bob();
            visit.types(CTRL_D);
            visit.bob_sees("[LOBBY] alice has left the lobby\n");
            visit.sees(&[ENDED, ""]);
        }
    }
}

// ---- telnet -------------------------------------------------------------------------------

// telnet ends by itself after /quit and says so. Ctrl-D is to it a character like any other.

const TELNET_CLOSED: &str = "Connection closed by foreign host.";

/// Stands between a program and the server, and keeps what the program sends.
struct Tap {
    addr: SocketAddr,
    sent: Arc<Mutex<Vec<u8>>>,
}

impl Tap {
    fn before(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (addr, server) = (listener.local_addr().unwrap(), server.addr);
        let sent = Arc::new(Mutex::new(Vec::new()));
        let kept = sent.clone();
        std::thread::spawn(move || {
            let (client, _) = listener.accept().unwrap();
            let upstream = TcpStream::connect(server).unwrap();
            let (from, to) = (upstream.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || pass_on(from, to, |_| ()));
            pass_on(client, upstream, |bytes| kept.lock().unwrap().extend_from_slice(bytes));
        });
        Self { addr, sent }
    }

    fn sent(&self) -> Vec<u8> {
        self.sent.lock().unwrap().clone()
    }

    fn has_seen(&self, bytes: &[u8]) -> bool {
        self.sent().windows(bytes.len()).any(|window| window == bytes)
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, look: impl Fn(&[u8])) {
    let mut bytes = [0; 4096];
    while let Ok(n @ 1..) = from.read(&mut bytes) {
        look(&bytes[..n]);
        if to.write_all(&bytes[..n]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// Alice uses telnet; what it sends can be looked at.
fn telnet(options: &str) -> (Visit, Tap) {
    let server = Server::start();
    let tap = Tap::before(&server);
    (Visit::at(server, tap.addr, &format!("telnet {options} ADDRESS")), tap)
}

/// Gives telnet commands of its own, which it reads after its escape character.
#[track_caller]
fn telnet_command(visit: &mut Visit, command: &str) {
    visit.types(TELNET_ESCAPE);
    visit.terminal.screen.expect_end("telnet>");
    visit.types(&format!("{command}\r"));
}

#[test]
fn telnet_in_a_terminal() {
    for options in ["", "-8"] {
        if installed(&[SOCAT, TELNET]) {
            let (mut visit, tap) = telnet(options);
            visit.chats(false);
            visit.quits(&[TELNET_CLOSED, ENDED, ""]);
            // Its lines end in CR LF, and on a port of its own choice it negotiates nothing.
            let lines = "alice\r\nGrüße, bob\r\ngood evening\r\n/quit\r\n";
            assert_eq!(String::from_utf8_lossy(&tap.sent()), lines);
        }
    }
}

#[test]
fn telnet_that_negotiates_does_not_spoil_a_name_or_a_message() {
    if installed(&[SOCAT, TELNET]) {
        let (mut visit, tap) = telnet("");
        telnet_command(&mut visit, "send ayt");
        eventually("telnet asks", || tap.has_seen(b"\xff\xf6"));
        telnet_command(&mut visit, "send will naws");
        eventually("telnet offers", || tap.has_seen(b"\xff\xfb\x1f"));
        visit.types("alice\r");
        visit.terminal.screen.expect_end("[LOBBY] alice has joined the lobby\n>");
        telnet_command(&mut visit, "send nop");
        eventually("telnet says nothing", || tap.has_seen(b"\xff\xf1"));
        visit.types("hello\r");
        visit.terminal.screen.expect_end("[@_@] alice [just now]\n  ╰─> hello\n>");
        visit.types("/quit\r");
        visit.terminal.screen.expect_end(&format!("{GOODBYE}\n{TELNET_CLOSED}\n{ENDED}"));
    }
}

// At Ctrl-C (and at a letter such as Ü, one byte of which it takes for Ctrl-\) telnet asks for a
// timing mark, IAC DO TM, and shows nothing any more until that is answered (RFC 860).
#[test]
fn telnet_shows_what_comes_after_ctrl_c() {
    if installed(&[SOCAT, TELNET]) {
        let (mut visit, tap) = telnet("");
        visit.logs_in();
        visit.meets_bob();
        visit.types("never mind");
        visit.sees(&["> never mind"]);
        visit.types(CTRL_C);
        eventually("telnet asks for a mark", || tap.has_seen(b"\xff\xfd\x06"));
        visit.types("hello\r");
        visit.bob_sees("[@_@] alice [just now]\n  ╰─> hello\n");
        visit.terminal.screen.expect_end("[@_@] alice [just now]\n  ╰─> hello\n>");
    }
}

// ---- Pipes --------------------------------------------------------------------------------

/// A program between two pipes.
struct Piped {
    program: Running,
    input: Option<ChildStdin>,
    screen: Screen,
    _server: Server,
    bob: Client,
}

impl Piped {
    /// Starts it, `ADDRESS` and `TCP` standing for the server's address, `SECURE` and `PORTAL` for that
    /// of its TLS port, with bob there already.
    fn run(client: &str) -> Self {
        let server = Server::with_tls(&[]);
        let bob = server.login("bob");
        let (ip, port) = (server.addr.ip(), server.addr.port());
        let secure = server.tls_addr.unwrap();
        let client = client.replace("SECURE", &format!("{ip} {}", secure.port()));
        let client = client.replace("PORTAL", &secure.to_string());
        let client = client.replace("ADDRESS", &format!("{ip} {port}"));
        let client = client.replace("TCP", &format!("TCP:{ip}:{port}"));
        let mut words = client.split(' ');
        let mut program = Command::new(words.next().unwrap())
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = program.stdin.take();
        let screen = Screen::of(program.stdout.take().unwrap(), true);
        Self { program: Running(program), input, screen, _server: server, bob }
    }

    fn feed(&mut self, text: &str) {
        self.input.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Waits until the screen shows this row and, to its end, these.
    #[track_caller]
    fn sees(&self, first: &str, rows: &[&str]) {
        let rows: Vec<_> = [first].iter().chain(rows).map(|&row| row.to_owned()).collect();
        self.screen.expect(first, &rows);
    }
}

/// What a pipe says is all there at once; then it ends, and that is how one leaves. The last line
/// has no newline.
#[track_caller]
fn a_pipe_says_its_piece_and_ends(client: &str) {
    let mut piped = Piped::run(client);
    piped.feed("alice\nhello from a pipe\nlast words");
    piped.input = None;
    piped.bob.expect("[@_@] alice [just now]\n  ╰─> hello from a pipe\n");
    piped.bob.expect("[@_@] alice [just now]\n  ╰─> last words\n");
    piped.bob.expect("[LOBBY] alice has left the lobby\n");
    assert!(piped.program.wait().success());
    piped.sees(
        "[@_@] alice [just now]",
        &["  ╰─> hello from a pipe", "[@_@] alice [just now]", "  ╰─> last words", ""],
    );
    piped.screen.check_banner();
}

/// A pipe that goes on reads what others say, until it ends or its writer says `/quit`.
#[track_caller]
fn a_pipe_talks_and_ends(client: &str, last: &str) {
    let mut piped = Piped::run(client);
    piped.feed("alice\n");
    piped.bob.expect("[LOBBY] alice has joined the lobby\n");
    piped.bob.send("Hello alice");
    piped.sees("[@_@] bob [just now]", &["  ╰─> Hello alice", "> "]);
    piped.feed("Hello bob\n");
    piped.bob.expect("[@_@] alice [just now]\n  ╰─> Hello bob\n");
    let mut rows = vec!["  ╰─> Hello alice", "[@_@] alice [just now]", "  ╰─> Hello bob", "> "];
    piped.sees("[@_@] bob [just now]", &rows);
    piped.feed(last);
    piped.input = None;
    piped.bob.expect("[LOBBY] alice has left the lobby\n");
    assert!(piped.program.wait().success());
    rows.pop();
    if !last.is_empty() {
        rows.push(GOODBYE);
    }
    rows.push("");
    piped.sees("[@_@] bob [just now]", &rows);
}

#[test]
fn nc_between_pipes() {
    let Some(nc) = openbsd_nc() else { return };
    a_pipe_says_its_piece_and_ends(&format!("{nc} -N ADDRESS"));
    a_pipe_talks_and_ends(&format!("{nc} -N ADDRESS"), "");
    // Ends a second after its input.
    a_pipe_talks_and_ends(&format!("{nc} -q 1 ADDRESS"), "");
    // Without an option nc does not pass the end of its input on: only /quit ends it.
    a_pipe_talks_and_ends(&format!("{nc} ADDRESS"), "/quit\n");
}

#[test]
fn ncat_between_pipes() {
    if installed(&[NCAT]) {
        a_pipe_says_its_piece_and_ends("ncat ADDRESS");
        a_pipe_talks_and_ends("ncat ADDRESS", "");
        a_pipe_talks_and_ends("ncat ADDRESS", "/quit\n");
    }
}

#[test]
fn busybox_nc_between_pipes() {
    if installed(&[BUSYBOX]) {
        a_pipe_says_its_piece_and_ends("busybox nc ADDRESS");
        a_pipe_talks_and_ends("busybox nc ADDRESS", "");
        a_pipe_talks_and_ends("busybox nc ADDRESS", "/quit\n");
    }
}

#[test]
fn socat_between_pipes() {
    if installed(&[SOCAT]) {
        // It gives the server half a second to answer after the end of its input, if not told
        // otherwise: too little on a busy machine.
        a_pipe_says_its_piece_and_ends("socat -t 20 - TCP");
        a_pipe_talks_and_ends("socat - TCP", "");
        a_pipe_talks_and_ends("socat -t 20 - TCP", "/quit\n");
    }
}

// ---- TLS ----------------------------------------------------------------------------------

#[test]
fn openssl_between_pipes() {
    if installed(&[OPENSSL]) {
        for version in ["-tls1_2", "-tls1_3"] {
            // With -quiet it stays when its input ends: /quit it is.
            let client = format!("openssl s_client -quiet {version} -connect PORTAL");
            a_pipe_talks_and_ends(&client, "/quit\n");
        }
    }
}

#[test]
fn socat_over_tls_between_pipes() {
    if installed(&[SOCAT]) {
        a_pipe_says_its_piece_and_ends("socat -t 20 - SSL:PORTAL,verify=0");
        a_pipe_talks_and_ends("socat -t 20 - SSL:PORTAL,verify=0", "/quit\n");
    }
}

#[test]
fn ncat_over_tls_between_pipes() {
    if installed(&[NCAT]) {
        a_pipe_talks_and_ends("ncat --ssl SECURE", "/quit\n");
    }
}

#[test]
fn openssl_resumes_its_session() {
    if !installed(&[OPENSSL]) {
        return;
    }
    let server = Server::with_tls(&[]);
    let ticket = server.dir().join("ticket");
    for version in ["-tls1_2", "-tls1_3"] {
        let visit = |name: &str, option: &str| {
            let addr = server.tls_addr.unwrap().to_string();
            let mut client = Command::new("openssl")
                .args(["s_client", "-ign_eof", version, "-connect", &addr, option])
                .arg(&ticket)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            client.stdin.take().unwrap().write_all(format!("{name}\n/quit\n").as_bytes()).unwrap();
            let said = client.wait_with_output().unwrap().stdout;
            String::from_utf8_lossy(&said).into_owned()
        };
        let first = visit("one", "-sess_out");
        assert!(first.contains("\nNew, TLSv1.") && first.contains(GOODBYE), "{first}");
        let second = visit("two", "-sess_in");
        assert!(second.contains("\nReused, TLSv1.") && second.contains(GOODBYE), "{second}");
    }
}

#[test]
fn the_script_makes_a_pair_that_works_and_is_private() {
    use std::os::unix::fs::PermissionsExt as _;
    if !installed(&[OPENSSL]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/gen-cert");
    let run = || Command::new(script).arg("chat.example").arg(dir.path()).output().unwrap();
    let made = run();
    assert!(made.status.success(), "{made:?}");
    assert!(String::from_utf8_lossy(&made.stdout).contains("Fingerprint="));
    let mode = |name| std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
    assert_eq!(mode("server.key") & 0o777, 0o600);
    // It does not overwrite what is there.
    assert!(!run().status.success());
    let check = common::command(dir.path()).arg("--check").output().unwrap();
    assert!(String::from_utf8_lossy(&check.stdout).contains(":8443 (TLS)"), "{check:?}");
    assert!(check.stderr.is_empty(), "{check:?}");
}
