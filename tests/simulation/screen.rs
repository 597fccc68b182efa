//! What a client's terminal was sent, read as a terminal would: prompt and erasing kept apart from
//! text, colours taken off, and everything else refused.
//!
//! Holds the rule of the screen (SPEC, section 2): a prompt that shows is erased before anything else
//! comes, and with colours off there is no escape sequence at all.

const PROMPT: &str = "\x1b[36m> \x1b[0m";
const ERASE: &str = "\r\x1b[K";

/// One client's screen.
#[derive(Default)]
pub struct Screen {
    /// Bytes not read yet.
    raw: Vec<u8>,
    /// The prompt is the last thing on the screen.
    pub showing: bool,
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
            if cut && (PROMPT.starts_with(rest) || ERASE.starts_with(rest)) {
                break;
            }
            if let Some(after) = rest.strip_prefix(PROMPT) {
                assert!(!self.showing, "two prompts in a row");
                assert!(!self.plain, "a prompt with colours off");
                self.showing = true;
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
                if let Some(after) = rest.strip_prefix('\n') {
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
