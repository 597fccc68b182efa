//! What a client's terminal was sent, read as a terminal would: prompt and erasing kept apart from
//! text, colours taken off, and everything else refused.
//!
//! Holds the rule of the screen (SPEC, section 2): a prompt that shows is erased before anything else
//! comes, but for another prompt that answers a line of the client's own; and with colours off there is
//! no escape sequence at all.

const CYAN: &str = "\x1b[36m";
const ERASE: &str = "\r\x1b[K";

/// The lobby that a prompt at the beginning names, if there is one, and what follows it.
fn prompt(text: &str) -> Option<(&str, &str)> {
    let (lobby, after) = text.strip_prefix(CYAN)?.split_once("> \x1b[0m")?;
    is_name(lobby).then_some((lobby, after))
}

/// Whether this may be the beginning of a prompt, and is not all of it.
fn begins_prompt(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(CYAN) else { return CYAN.starts_with(text) };
    let (lobby, end) = rest.split_at(rest.find('>').unwrap_or(rest.len()));
    is_name(lobby) && "> \x1b[0m".starts_with(end) && end != "> \x1b[0m"
}

fn is_name(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// One client's screen.
#[derive(Default)]
pub struct Screen {
    /// Bytes not read yet.
    raw: Vec<u8>,
    /// The prompt is the last thing on the screen.
    pub showing: bool,
    /// The lobby that the last prompt named.
    pub prompt: String,
    /// The client has ended a line with a bare CR.
    pub may_be_raw: bool,
    /// Lines that the client has ended, less the prompts that came below another.
    pub lines: usize,
    /// The client turned colours off.
    pub plain: bool,
    /// An escape sequence came while they were off; only the line that turns them on may hold one.
    escaped: bool,
    line: String,
}

impl Screen {
    /// More bytes arrived.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.raw.extend_from_slice(bytes);
    }

    /// Whether everything that arrived was read.
    pub fn is_read(&self) -> bool {
        self.raw.is_empty()
    }

    /// Reads all that arrived, and gives the text of it. With `cut` the end may stand anywhere, even
    /// inside a character; what is incomplete is dropped.
    pub fn read(&mut self, cut: bool) -> String {
        let raw = std::mem::take(&mut self.raw);
        let all = match std::str::from_utf8(&raw) {
            Ok(all) => all,
            Err(e) if cut && e.error_len().is_none() => {
                std::str::from_utf8(&raw[..e.valid_up_to()]).unwrap()
            }
            Err(e) => panic!("not UTF-8: {e}"),
        };
        let mut text = String::new();
        let mut rest = all;
        while !rest.is_empty() {
            if cut && (begins_prompt(rest) || ERASE.starts_with(rest)) {
                break;
            }
            if let Some((lobby, after)) = prompt(rest) {
                assert!(!self.plain, "a prompt with colours off");
                if std::mem::replace(&mut self.showing, true) {
                    self.lines = self.lines.checked_sub(1).expect("two prompts in a row");
                }
                self.prompt = lobby.to_owned();
                rest = after;
            } else if let Some(after) = rest.strip_prefix(ERASE) {
                assert!(self.showing, "something erased that was not there: {all:?}");
                self.showing = false;
                rest = after;
            } else if std::mem::take(&mut self.showing) {
                // Colours were turned off: the prompt's line is left alone.
                rest = rest.strip_prefix('\n').expect("text behind a prompt");
            } else if let Some(after) = rest.strip_prefix("\x1b[") {
                self.escaped |= self.plain;
                let Some((color, after)) = after.split_once('m') else {
                    assert!(cut, "half an escape sequence");
                    break;
                };
                assert!(color.bytes().all(|b| b.is_ascii_digit() || b == b';'), "{rest:?}");
                rest = after;
            } else {
                let end = rest.find(char::is_control).unwrap_or(rest.len());
                let (run, after) = rest.split_at(end);
                text.push_str(run);
                self.line.push_str(run);
                rest = after;
                // To a client that once ended a line with a bare CR lines may end with CR LF.
                let crlf = rest.strip_prefix("\r\n").filter(|_| self.may_be_raw);
                if let Some(after) = rest.strip_prefix('\n').or(crlf) {
                    text.push('\n');
                    self.end_line();
                    rest = after;
                } else if run.is_empty() {
                    panic!("{:?} on a screen", rest.chars().next());
                }
            }
        }
        text
    }

    fn end_line(&mut self) {
        match std::mem::take(&mut self.line).as_str() {
            "Colours are off." => self.plain = true,
            "Colours are on." => {
                self.plain = false;
                self.escaped = false;
            }
            line => assert!(!self.escaped, "an escape sequence with colours off: {line:?}"),
        }
    }
}
