//! What one client does by itself: wait for a text, say a line, and so on.

use memchr::memmem;

/// What follows the last step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The client stays, and takes part in what the driver does.
    Stay,
    /// The client closes the connection.
    Close,
    /// The server does, when it has said its last words.
    Closed,
    /// On with this step.
    Again(usize),
}

#[derive(Debug)]
struct Step {
    /// Empty: nothing has to come.
    wait: Vec<u8>,
    /// Complete lines.
    say: Vec<u8>,
}

/// Steps, of which each waits for a text and then says something.
#[derive(Debug)]
pub(super) struct Dialog {
    steps: Vec<Step>,
    at: usize,
    end: End,
    /// How often it began again.
    pub(super) rounds: u64,
}

impl Dialog {
    pub(super) fn new(end: End) -> Self {
        Self { steps: Vec::new(), at: 0, end, rounds: 0 }
    }

    /// Then wait for this text.
    pub(super) fn wait(&mut self, text: &str) -> &mut Self {
        self.steps.push(Step { wait: text.into(), say: Vec::new() });
        self
    }

    /// Then say this line at once.
    pub(super) fn say(&mut self, line: &str) -> &mut Self {
        if self.steps.is_empty() {
            self.wait("");
        }
        if let Some(step) = self.steps.last_mut() {
            step.say.extend_from_slice(line.as_bytes());
            step.say.extend_from_slice(b"\r\n");
        }
        self
    }

    pub(super) fn end(&mut self, end: End) -> &mut Self {
        self.end = end;
        self
    }

    /// Goes on as far as these bytes lead. Adds what is to be said, and gives where the bytes begin
    /// that it did not use.
    pub(super) fn hear(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> usize {
        let mut used = 0;
        while let Some(step) = self.steps.get(self.at) {
            let rest = bytes.get(used..).unwrap_or_default();
            let Some(found) = memmem::find(rest, &step.wait) else {
                // The text may have begun.
                let kept = rest.len().min(step.wait.len().saturating_sub(1));
                return bytes.len() - kept;
            };
            used += found + step.wait.len();
            out.extend_from_slice(&step.say);
            self.at += 1;
            if let End::Again(first) = self.end
                && self.at == self.steps.len()
            {
                self.at = first;
                self.rounds += 1;
            }
        }
        used
    }

    /// What to do now, if all steps are done.
    pub(super) fn ended(&self) -> Option<End> {
        (self.at >= self.steps.len()).then_some(self.end)
    }

    /// What it waits for.
    pub(super) fn awaited(&self) -> String {
        let text = self.steps.get(self.at).map_or(&b""[..], |step| &step.wait);
        String::from_utf8_lossy(text).into_owned()
    }

    /// Whether the server may close now.
    pub(super) fn may_be_closed(&self) -> bool {
        self.ended() == Some(End::Closed)
    }
}
