//! Unsent output: per client a queue with a bound in bytes, and the prompt.
//!
//! What is said is placed once, in the text of the *round*, and everybody who gets it holds a range
//! of that text; what follows on directly only makes the range longer. So a message to a thousand
//! people is rendered once, copied nowhere and allocates nothing, and all that a turn of the loop
//! says to somebody leaves as one piece. Clients with another width, other line ends or no colours
//! read another text of the same round (`view`). A round ends when nobody holds any of it; a slow
//! client that would make it last gets a copy of what it has not received ([`Outboxes::keep`]).
//!
//! A push never fails and never closes anything. What does not fit a client's bound is left out for it
//! and counted; for what others say that begins a little earlier, so that there is room for replies.
//! From then on it is told nothing of the talk until it has caught up; then it hears how much it has
//! missed. The prompt is erased before the first piece of
//! a turn and drawn after the last one ([`Outboxes::end_turn`]); a prompt that has not left yet is
//! taken back instead.
//!
//! Owns no socket: the loop reads slices from here and says how much of them it wrote.

mod frame;
mod round;
#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::rc::Rc;

pub use frame::Frame;
use round::{Piece, Round};
use view::{Edition, View};

use crate::count::count;
use crate::id::{ConnId, Slots};
use crate::limits::{
    MAX_ANSWER_BYTES, MAX_RENDERED_MESSAGE, ROUND_BYTES, SLICES_PER_WRITE, max_reply_bytes,
};

/// Cyan `> `, as it stands before what a user types.
const PROMPT: &[u8] = b"\x1b[36m> \x1b[0m";

/// What a prompt says instead, with its colours: shared by all who have it.
pub type PromptText = Rc<Vec<u8>>;
/// Queues that grew beyond this many pieces give their room back when they are empty.
const KEPT_PIECES: usize = 16;

/// Where a client's prompt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Prompt {
    /// Not on the screen.
    Hidden,
    /// Behind everything else in the queue, and none of it has left.
    Queued,
    /// The same, below another one that the client has passed.
    QueuedBelow,
    /// The last thing sent, though a part of it may wait.
    Shown,
    /// The same, but the client has ended a line behind it: its cursor stands below, in the first
    /// column, unless the prompt was drawn when the line was on its way.
    Passed,
}

/// One client's unsent output: `rest`, then `fresh`, then the prompt if it is queued.
#[derive(Debug)]
struct Outbox {
    /// Copies of what earlier rounds left, but for the first `sent` bytes.
    rest: Vec<u8>,
    sent: usize,
    /// Pieces of the round.
    fresh: Vec<Piece>,
    /// Bytes unsent.
    bytes: usize,
    view: View,
    /// The text of the round that it reads for that.
    edition: Edition,
    /// The client has a prompt: it has a name and is not leaving.
    prompting: bool,
    prompt: Prompt,
    /// What that says, if not the usual.
    prompt_text: Option<PromptText>,
    prompt_len: u16,
    /// Pieces that were left out since it last kept up with the talk.
    left_out: u64,
    /// Listed as dirty, or taken from that list and not at the end of its turn.
    dirty: bool,
}

impl Outbox {
    fn hold(&mut self, piece: Piece, round: &mut Round) {
        self.bytes += piece.len();
        match self.fresh.last_mut() {
            Some(last) if last.end == piece.start => last.end = piece.end,
            Some(_) => self.fresh.push(piece),
            None => {
                round.holders += 1;
                self.fresh.push(piece);
            }
        }
    }

    /// Lets go of the first `count` pieces.
    fn release(&mut self, count: usize, round: &mut Round) {
        if count == 0 {
            return;
        }
        self.fresh.drain(..count);
        if self.fresh.is_empty() {
            round.release();
            if self.fresh.capacity() > KEPT_PIECES {
                self.fresh = Vec::new();
            }
        }
    }

    /// Clears the prompt's line: takes the prompt back if none of it has left, and otherwise sends
    /// an eraser after it.
    fn hide_prompt(&mut self, round: &mut Round) {
        match std::mem::replace(&mut self.prompt, Prompt::Hidden) {
            Prompt::Hidden => {}
            Prompt::Queued => self.bytes -= usize::from(self.prompt_len),
            Prompt::QueuedBelow => {
                self.bytes -= usize::from(self.prompt_len);
                self.hold(Round::ERASER, round);
            }
            Prompt::Shown | Prompt::Passed => self.hold(Round::ERASER, round),
        }
    }

    /// Whether there is room for anything that others say, and for a reply besides; not again before it
    /// has been told what it missed.
    fn keeps_up(&self, limit: usize) -> bool {
        self.left_out == 0 && self.bytes + MAX_RENDERED_MESSAGE.min(limit / 4) <= limit
    }

    fn prompt_bytes(&self) -> &[u8] {
        // The colours count as what is typed behind it: it needs some columns, too.
        let columns = self.view.columns.map_or(usize::MAX, usize::from);
        let fits = |text: &&PromptText| text.len() <= columns;
        self.prompt_text.as_ref().filter(fits).map_or(PROMPT, |text| text)
    }

    /// Adds to what is kept. Little more room is taken than is needed: for some this is all they
    /// may hold.
    fn keep(&mut self, bytes: &[u8]) {
        if self.rest.capacity() - self.rest.len() < bytes.len() {
            self.rest.drain(..std::mem::take(&mut self.sent));
            self.rest.reserve_exact(bytes.len() + self.rest.len() / 8);
        }
        self.rest.extend_from_slice(bytes);
    }

    fn keep_pieces(&mut self, round: &mut Round) {
        for piece in std::mem::take(&mut self.fresh) {
            self.keep(round.bytes(piece, self.view));
        }
        round.release();
    }

    /// Counts up to `n` bytes of what is kept as sent, and gives how many.
    fn advance_rest(&mut self, n: usize) -> usize {
        let n = n.min(self.rest.len() - self.sent);
        self.sent += n;
        if self.sent == self.rest.len() {
            self.rest = Vec::new();
            self.sent = 0;
        }
        n
    }

    /// The same for the pieces.
    fn advance_pieces(&mut self, n: usize, round: &mut Round) -> usize {
        let (mut left, mut gone) = (n, 0);
        for piece in &mut self.fresh {
            let part = left.min(piece.len());
            left -= part;
            piece.start += part;
            if piece.len() > 0 {
                break;
            }
            gone += 1;
        }
        self.release(gone, round);
        n - left
    }

    fn drop_all(&mut self, round: &mut Round) {
        self.release(self.fresh.len(), round);
        self.rest = Vec::new();
        self.prompt = Prompt::Hidden;
        self.bytes = 0;
        self.sent = 0;
    }
}

/// The unsent output of all clients.
#[derive(Debug)]
pub struct Outboxes {
    boxes: Slots<Outbox>,
    round: Round,
    limit: usize,
    dirty: Vec<ConnId>,
}

impl Outboxes {
    /// No clients yet; each may have `limit` bytes unsent.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let (boxes, round) = (Slots::default(), Round::new());
        Self { boxes, round, limit, dirty: Vec::new() }
    }

    /// Whether so much was said that nobody should say more before it was offered to everybody it is
    /// for: nobody is to miss anything because the loop had no time to send it.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.round.len() >= ROUND_BYTES
    }

    /// Bytes that one long reply to this client may take, so that it is not left out.
    #[must_use]
    pub fn reply_room(&self, id: ConnId) -> usize {
        self.room(id, max_reply_bytes(self.limit))
    }

    /// The same for a listing, which one short line can ask for again and again.
    #[must_use]
    pub fn answer_room(&self, id: ConnId) -> usize {
        self.room(id, MAX_ANSWER_BYTES)
    }

    fn room(&self, id: ConnId, most: usize) -> usize {
        let room = self.limit.saturating_sub(self.unsent(id) + MAX_RENDERED_MESSAGE);
        let room = room.min(most);
        // Texts that are broken into rows take more: a line end and what stands before a row for
        // every other word, at worst.
        match self.boxes.get(id) {
            Some(outbox) if outbox.view.is_narrow() => room / 2,
            _ => room / 3 * 2,
        }
    }

    /// A new client, with colours and without a prompt.
    pub fn open(&mut self, id: ConnId) {
        self.close(id);
        let outbox = Outbox {
            rest: Vec::new(),
            sent: 0,
            fresh: Vec::new(),
            bytes: 0,
            view: View::COLOR,
            edition: View::COLOR.edition(),
            prompting: false,
            prompt: Prompt::Hidden,
            prompt_text: None,
            prompt_len: u16::try_from(PROMPT.len()).unwrap_or(u16::MAX),
            left_out: 0,
            dirty: false,
        };
        self.boxes.insert(id, outbox);
    }

    /// Forgets a client and whatever it has not received.
    pub fn close(&mut self, id: ConnId) {
        if let Some(mut outbox) = self.boxes.remove(id) {
            outbox.drop_all(&mut self.round);
        }
    }

    /// Queues a reply for a client: what it has asked for, or has to know. Nothing happens if the client
    /// is gone.
    pub fn push(&mut self, id: ConnId, frame: &Frame) {
        self.queue(&[id], frame, |outbox, piece, limit| {
            let around = Round::ERASER.len() + usize::from(outbox.prompt_len);
            outbox.bytes + piece.len() + around <= limit
        });
    }

    /// Queues what others say for all of these, but for those who do not keep up with it.
    pub fn broadcast(&mut self, ids: &[ConnId], frame: &Frame) {
        self.queue(ids, frame, |outbox, _, limit| outbox.keeps_up(limit));
    }

    /// Whether this client keeps up with what others say: what is said to it now is not left out.
    #[must_use]
    pub fn keeps_up(&self, id: ConnId) -> bool {
        self.boxes.get(id).is_some_and(|outbox| outbox.keeps_up(self.limit))
    }

    /// Queues a frame for those of these for whom there is room, and counts it as left out for the
    /// others.
    fn queue(
        &mut self,
        ids: &[ConnId],
        frame: &Frame,
        fits: impl Fn(&Outbox, Piece, usize) -> bool,
    ) {
        // Held until all have it, in case that nobody takes it.
        self.round.holders += 1;
        let (mut with_color, mut without) = (None, None);
        let mut own = BTreeMap::new();
        for id in ids {
            let Some(outbox) = self.boxes.get_mut(*id) else { continue };
            let place = || self.round.place(frame, outbox.view);
            let piece = match outbox.edition {
                Edition::Color => *with_color.get_or_insert_with(place),
                Edition::Plain => *without.get_or_insert_with(place),
                Edition::Own => *own.entry(outbox.view).or_insert_with(place),
            };
            if fits(outbox, piece, self.limit) {
                if outbox.prompt != Prompt::Hidden {
                    outbox.hide_prompt(&mut self.round);
                }
                outbox.hold(piece, &mut self.round);
            } else {
                outbox.left_out += 1;
            }
            if !outbox.dirty {
                outbox.dirty = true;
                self.dirty.push(*id);
            }
        }
        self.round.release();
    }

    /// Tells a client that has caught up how much was left out for it.
    fn account_for_left_out(&mut self, id: ConnId) {
        let Some(outbox) = self.boxes.get_mut(id) else { return };
        if outbox.left_out == 0 || outbox.bytes > self.limit / 4 {
            return;
        }
        let left_out = std::mem::take(&mut outbox.left_out);
        let were = if left_out == 1 { "was" } else { "were" };
        let lines = count(left_out, "line");
        let reason = "your line is slower than the talk.";
        let told = format!("\x1b[33m… {lines} {were} left out: {reason}\x1b[0m\n");
        self.queue(&[id], &Frame::new(told), |_, _, _| true);
    }

    /// Has the prompt drawn at the end of the turn, anew if it shows, even if nothing is pushed.
    pub fn redraw_prompt(&mut self, id: ConnId) {
        let Some(outbox) = self.boxes.get_mut(id).filter(|outbox| outbox.prompting) else { return };
        outbox.hide_prompt(&mut self.round);
        if !outbox.dirty {
            outbox.dirty = true;
            self.dirty.push(id);
        }
    }

    /// The same after a line that the client has ended. If the prompt is the whole answer, the line
    /// is not erased before it: there is nothing on it, and rlwrap, which takes what stands behind
    /// the last line end for its prompt, would show the next letter twice.
    pub fn line_ended(&mut self, id: ConnId) {
        let Some(outbox) = self.boxes.get_mut(id) else { return };
        match outbox.prompt {
            // Who ends lines with CR has a terminal that does not move by itself.
            Prompt::Shown if !outbox.view.crlf => {
                outbox.prompt = Prompt::Passed;
                if !outbox.dirty {
                    outbox.dirty = true;
                    self.dirty.push(id);
                }
            }
            // It is on its way, or to be.
            Prompt::Queued | Prompt::QueuedBelow | Prompt::Passed => {}
            Prompt::Shown | Prompt::Hidden => self.redraw_prompt(id),
        }
    }

    /// Gives the client a prompt, or takes it away.
    pub fn set_prompting(&mut self, id: ConnId, prompting: bool) {
        if let Some(outbox) = self.boxes.get_mut(id) {
            outbox.prompting = prompting;
            if !prompting {
                outbox.hide_prompt(&mut self.round);
                if !outbox.dirty {
                    outbox.dirty = true;
                    self.dirty.push(id);
                }
            }
        }
    }

    /// Has the prompt say this from now on, or the usual, which it also says where this is as wide as
    /// the screen.
    pub fn set_prompt_text(&mut self, id: ConnId, text: Option<PromptText>) {
        let Some(outbox) = self.boxes.get_mut(id) else { return };
        outbox.hide_prompt(&mut self.round);
        outbox.prompt_text = text;
        outbox.prompt_len = u16::try_from(outbox.prompt_bytes().len()).unwrap_or(u16::MAX);
        if !outbox.dirty {
            outbox.dirty = true;
            self.dirty.push(id);
        }
    }

    /// Turns every escape sequence, and the prompt with them, on or off for what is pushed from now
    /// on.
    pub fn set_color(&mut self, id: ConnId, color: bool) {
        let Some(outbox) = self.boxes.get_mut(id).filter(|outbox| outbox.view.color != color)
        else {
            return;
        };
        if outbox.prompt == Prompt::QueuedBelow {
            outbox.bytes -= usize::from(outbox.prompt_len);
            outbox.prompt = Prompt::Passed;
        }
        if matches!(outbox.prompt, Prompt::Shown | Prompt::Passed) {
            // Not the erasing sequence: from here on the client reads clean lines.
            outbox.keep(b"\n");
            outbox.bytes += 1;
            outbox.prompt = Prompt::Hidden;
        }
        outbox.hide_prompt(&mut self.round);
        self.set_view(id, |view| view.color = color);
    }

    /// Has texts that are pushed from now on broken into rows of at most so many columns, or left as
    /// they are. Gives how many it will be: a few less, so that few widths are in use at once.
    pub fn set_columns(&mut self, id: ConnId, columns: Option<u16>) -> Option<u16> {
        self.set_view(id, |view| *view = view.with_columns(columns));
        let outbox = self.boxes.get(id)?;
        let columns = outbox.view.columns;
        if outbox.prompt_bytes().len() != usize::from(outbox.prompt_len) {
            let text = outbox.prompt_text.clone();
            self.set_prompt_text(id, text);
        }
        columns
    }

    /// Columns of this client's screen, as far as is known: more than any has if it breaks no rows.
    #[must_use]
    pub fn columns(&self, id: ConnId) -> usize {
        self.boxes.get(id).and_then(|outbox| outbox.view.columns).map_or(usize::MAX, usize::from)
    }

    /// Has what is pushed from now on end its lines with CR LF, or with LF.
    pub fn set_crlf(&mut self, id: ConnId, crlf: bool) {
        self.set_view(id, |view| view.crlf = crlf);
    }

    fn set_view(&mut self, id: ConnId, change: impl FnOnce(&mut View)) {
        let Some(outbox) = self.boxes.get_mut(id) else { return };
        let mut view = outbox.view;
        change(&mut view);
        if view != outbox.view {
            // What it holds of the round was written for the old one.
            if !outbox.fresh.is_empty() {
                outbox.keep_pieces(&mut self.round);
            }
            outbox.view = view;
            outbox.edition = view.edition();
        }
    }

    /// Whether there are clients that something was queued for since they were last taken.
    #[must_use]
    pub fn has_news(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Takes the clients that something was queued for since the last call. Each has a turn to end.
    pub fn take_dirty(&mut self) -> std::vec::Drain<'_, ConnId> {
        self.dirty.drain(..)
    }

    /// Draws the prompt after the last piece of a turn, where one belongs.
    pub fn end_turn(&mut self, id: ConnId) {
        if let Some(outbox) = self.boxes.get_mut(id) {
            outbox.dirty = false;
        }
        self.account_for_left_out(id);
        let Some(outbox) = self.boxes.get_mut(id) else { return };
        let wanted = outbox.prompting && outbox.view.color;
        let queued = match outbox.prompt {
            Prompt::Hidden => Prompt::Queued,
            Prompt::Passed => Prompt::QueuedBelow,
            _ => return,
        };
        if wanted {
            outbox.prompt = queued;
            outbox.bytes += usize::from(outbox.prompt_len);
        }
    }

    /// Bytes that wait for this client.
    #[must_use]
    pub fn unsent(&self, id: ConnId) -> usize {
        self.boxes.get(id).map_or(0, |outbox| outbox.bytes)
    }

    /// Bytes of memory that are held for this client alone.
    #[must_use]
    pub fn held(&self, id: ConnId) -> usize {
        let pieces = |outbox: &Outbox| outbox.fresh.capacity() * size_of::<Piece>();
        self.boxes.get(id).map_or(0, |outbox| outbox.rest.capacity() + pieces(outbox))
    }

    /// Whether there is no client.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.boxes.is_empty()
    }

    /// Bytes that wait for all clients.
    #[must_use]
    pub fn unsent_in_all(&self) -> usize {
        self.boxes.iter().map(|(_, outbox)| outbox.bytes).sum()
    }

    /// Lends the front of a client's queue for a vectored write, at most [`SLICES_PER_WRITE`]
    /// pieces, the first from where the last write ended. Gives how many slices are filled.
    pub fn slices<'a>(&'a self, id: ConnId, into: &mut [IoSlice<'a>; SLICES_PER_WRITE]) -> usize {
        let Some(outbox) = self.boxes.get(id) else { return 0 };
        let rest = outbox.rest.get(outbox.sent..).filter(|rest| !rest.is_empty());
        let fresh = outbox.fresh.iter().map(|piece| self.round.bytes(*piece, outbox.view));
        let queued = matches!(outbox.prompt, Prompt::Queued | Prompt::QueuedBelow);
        let prompt = queued.then(|| outbox.prompt_bytes());
        let mut filled = 0;
        for (slot, bytes) in into.iter_mut().zip(rest.into_iter().chain(fresh).chain(prompt)) {
            *slot = IoSlice::new(bytes);
            filled += 1;
        }
        filled
    }

    /// Drops `n` bytes from the front of a client's queue: they are written.
    pub fn advance(&mut self, id: ConnId, n: usize) {
        let Some(outbox) = self.boxes.get_mut(id) else { return };
        let n = n.min(outbox.bytes);
        outbox.bytes -= n;
        let left = n - outbox.advance_rest(n);
        let left = left - outbox.advance_pieces(left, &mut self.round);
        if left > 0 {
            outbox.prompt = Prompt::Shown;
            let unsent = outbox.prompt_bytes().get(left..).unwrap_or_default().to_vec();
            outbox.keep(&unsent);
        }
        if outbox.left_out > 0 {
            self.account_for_left_out(id);
        }
    }

    /// Copies what a client holds of the round: it has not taken it, and nobody knows when it will.
    pub fn keep(&mut self, id: ConnId) {
        let Some(outbox) = self.boxes.get_mut(id) else { return };
        if !outbox.fresh.is_empty() {
            outbox.keep_pieces(&mut self.round);
        }
    }
}
