//! Unsent output: per client a queue of shared frames with a bound in bytes, and the prompt.
//!
//! A frame is rendered once and shared by everybody who gets it. A push never fails and never
//! closes anything: a client that is past its bound is *doomed*, gets nothing more, and is listed
//! for the loop to close. The prompt is erased before the first piece of a turn and drawn after the
//! last one ([`Outboxes::end_turn`]); a prompt that has not left yet is taken back instead.
//!
//! Owns no socket: the loop reads slices from here and says how much of them it wrote.

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::rc::Rc;

use crate::id::{ConnId, Slots};
use crate::limits::{MAX_RENDERED_MESSAGE, SLICES_PER_WRITE, max_reply_bytes};

/// Cyan `> `, as it stands before what a user types.
const PROMPT: &[u8] = b"\x1b[36m> \x1b[0m";
/// To the first column, and erase to the end of the line (ECMA-48 EL).
const ERASE_LINE: &[u8] = b"\r\x1b[K";
/// Queues that grew beyond this many pieces give their room back when they are empty.
const KEPT_PIECES: usize = 16;

/// A finished piece of output, rendered once for all its readers: with colours, and without for
/// those who turned them off.
#[derive(Debug, Clone)]
pub struct Frame {
    color: Rc<[u8]>,
    plain: OnceCell<Rc<[u8]>>,
}

impl Frame {
    /// A frame of this text, the only escape sequences in it being colours (`ESC [ … m`).
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self { color: text.as_bytes().into(), plain: OnceCell::new() }
    }

    /// A frame of bytes that are no text.
    #[must_use]
    pub fn raw(bytes: &[u8]) -> Self {
        let bytes: Rc<[u8]> = bytes.into();
        Self { color: bytes.clone(), plain: bytes.into() }
    }

    /// Its size in bytes, with colours.
    #[must_use]
    pub fn len(&self) -> usize {
        self.color.len()
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.color.is_empty()
    }

    /// Its text, with colours.
    #[cfg(test)]
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.color).expect("text")
    }

    fn bytes(&self, color: bool) -> &Rc<[u8]> {
        if color { &self.color } else { self.plain.get_or_init(|| without_colors(&self.color)) }
    }
}

/// What the bytes are without SGR sequences (ECMA-48 8.3.117).
fn without_colors(text: &[u8]) -> Rc<[u8]> {
    let mut plain = Vec::with_capacity(text.len());
    let mut inside = false;
    for &byte in text {
        match byte {
            0x1b => inside = true,
            b'm' if inside => inside = false,
            _ if inside => {}
            _ => plain.push(byte),
        }
    }
    plain.into()
}

#[derive(Debug)]
enum Piece {
    Static(&'static [u8]),
    Shared(Rc<[u8]>),
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Static(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

/// One client's unsent output.
#[derive(Debug)]
struct Outbox {
    pieces: VecDeque<Piece>,
    /// Bytes of the first piece that are sent already.
    sent: usize,
    /// Bytes unsent.
    bytes: usize,
    /// Colours are on; without them there is no prompt either.
    color: bool,
    /// The client has a prompt: it has a name and is not leaving.
    prompting: bool,
    /// The prompt is the last thing sent or queued.
    showing: bool,
    /// Past its bound: takes and gives nothing any more.
    doomed: bool,
    /// Listed in `Outboxes::dirty`.
    dirty: bool,
}

impl Outbox {
    fn push(&mut self, piece: Piece) {
        self.bytes += piece.bytes().len();
        self.pieces.push_back(piece);
    }

    /// Clears the prompt's line: takes the prompt back if none of it has left, and otherwise sends
    /// `eraser` after it.
    fn hide_prompt(&mut self, eraser: &'static [u8]) {
        if !std::mem::take(&mut self.showing) {
            return;
        }
        let begun = self.pieces.len() == 1 && self.sent > 0;
        match self.pieces.back() {
            Some(prompt) if !begun => {
                self.bytes -= prompt.bytes().len();
                self.pieces.pop_back();
            }
            _ => self.push(Piece::Static(eraser)),
        }
    }

    fn show_prompt(&mut self) {
        if self.prompting && self.color && !self.showing {
            self.showing = true;
            self.push(Piece::Static(PROMPT));
        }
    }

    fn drop_all(&mut self) {
        self.pieces = VecDeque::new();
        self.bytes = 0;
        self.sent = 0;
    }
}

/// The unsent output of all clients.
#[derive(Debug)]
pub struct Outboxes {
    boxes: Slots<Outbox>,
    limit: usize,
    dirty: Vec<ConnId>,
    doomed: Vec<ConnId>,
}

impl Outboxes {
    /// No clients yet; each may have `limit` bytes unsent.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { boxes: Slots::default(), limit, dirty: Vec::new(), doomed: Vec::new() }
    }

    /// Bytes that one long reply to this client may take, so that it is not what dooms it.
    #[must_use]
    pub fn reply_room(&self, id: ConnId) -> usize {
        let room = self.limit.saturating_sub(self.unsent(id) + MAX_RENDERED_MESSAGE);
        room.min(max_reply_bytes(self.limit))
    }

    /// A new client, with colours and without a prompt.
    pub fn open(&mut self, id: ConnId) {
        let outbox = Outbox {
            pieces: VecDeque::new(),
            sent: 0,
            bytes: 0,
            color: true,
            prompting: false,
            showing: false,
            doomed: false,
            dirty: false,
        };
        self.boxes.insert(id, outbox);
    }

    /// Forgets a client and whatever it has not received.
    pub fn close(&mut self, id: ConnId) {
        self.boxes.remove(id);
    }

    /// Queues a frame for a client. Nothing happens if the client is gone or doomed.
    pub fn push(&mut self, id: ConnId, frame: &Frame) {
        let Some(outbox) = self.boxes.get_mut(id) else { return };
        if outbox.doomed {
            return;
        }
        outbox.hide_prompt(ERASE_LINE);
        outbox.push(Piece::Shared(frame.bytes(outbox.color).clone()));
        // The prompt behind it fits, too.
        if outbox.bytes + PROMPT.len() > self.limit {
            outbox.doomed = true;
            outbox.drop_all();
            self.doomed.push(id);
        }
        if !outbox.dirty {
            outbox.dirty = true;
            self.dirty.push(id);
        }
    }

    /// Has the prompt drawn at the end of the turn, anew if it shows, even if nothing is pushed.
    pub fn redraw_prompt(&mut self, id: ConnId) {
        let Some(outbox) = self.boxes.get_mut(id) else { return };
        if outbox.doomed || !outbox.prompting {
            return;
        }
        outbox.hide_prompt(ERASE_LINE);
        if !outbox.dirty {
            outbox.dirty = true;
            self.dirty.push(id);
        }
    }

    /// Gives the client a prompt, or takes it away.
    pub fn set_prompting(&mut self, id: ConnId, prompting: bool) {
        if let Some(outbox) = self.boxes.get_mut(id) {
            outbox.prompting = prompting;
            if !prompting {
                outbox.hide_prompt(ERASE_LINE);
            }
        }
    }

    /// Turns every escape sequence, and the prompt with them, on or off for what is pushed from now
    /// on.
    pub fn set_color(&mut self, id: ConnId, color: bool) {
        if let Some(outbox) = self.boxes.get_mut(id) {
            outbox.color = color;
            if !color {
                // Not the erasing sequence: from here on the client reads clean lines.
                outbox.hide_prompt(b"\n");
            }
        }
    }

    /// Takes the clients that something was queued for since the last call.
    pub fn take_dirty(&mut self) -> Vec<ConnId> {
        for id in &self.dirty {
            if let Some(outbox) = self.boxes.get_mut(*id) {
                outbox.dirty = false;
            }
        }
        std::mem::take(&mut self.dirty)
    }

    /// Gives back an emptied list from [`Outboxes::take_dirty`], to be filled again.
    pub fn recycle_dirty(&mut self, mut list: Vec<ConnId>) {
        if self.dirty.is_empty() {
            list.clear();
            self.dirty = list;
        }
    }

    /// Takes the clients that went past their bound since the last call.
    pub fn take_doomed(&mut self) -> Vec<ConnId> {
        std::mem::take(&mut self.doomed)
    }

    /// Draws the prompt after the last piece of a turn, where one belongs.
    pub fn end_turn(&mut self, id: ConnId) {
        if let Some(outbox) = self.boxes.get_mut(id)
            && !outbox.doomed
        {
            outbox.show_prompt();
        }
    }

    /// Bytes that wait for this client.
    #[must_use]
    pub fn unsent(&self, id: ConnId) -> usize {
        self.boxes.get(id).map_or(0, |outbox| outbox.bytes)
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
        let mut skip = outbox.sent;
        let mut filled = 0;
        for (slot, piece) in into.iter_mut().zip(&outbox.pieces) {
            *slot = IoSlice::new(piece.bytes().get(skip..).unwrap_or_default());
            skip = 0;
            filled += 1;
        }
        filled
    }

    /// Drops `n` bytes from the front of a client's queue: they are written.
    pub fn advance(&mut self, id: ConnId, mut n: usize) {
        let Some(outbox) = self.boxes.get_mut(id) else { return };
        outbox.bytes = outbox.bytes.saturating_sub(n);
        while let Some(first) = outbox.pieces.front() {
            let left = first.bytes().len() - outbox.sent;
            if n < left {
                outbox.sent += n;
                return;
            }
            n -= left;
            outbox.sent = 0;
            outbox.pieces.pop_front();
        }
        if outbox.pieces.capacity() > KEPT_PIECES {
            outbox.pieces = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: usize = 1;

    fn id() -> ConnId {
        ConnId::new(ID, 1).unwrap()
    }

    fn opened(limit: usize) -> Outboxes {
        let mut out = Outboxes::new(limit);
        out.open(id());
        out
    }

    /// Writes at most `n` bytes, as a socket would, and gives them.
    fn write(out: &mut Outboxes, n: usize) -> String {
        let mut slices = [IoSlice::new(&[]); SLICES_PER_WRITE];
        let filled = out.slices(id(), &mut slices);
        let mut bytes: Vec<u8> = slices[..filled].iter().flat_map(|s| s.to_vec()).collect();
        bytes.truncate(n);
        out.advance(id(), bytes.len());
        String::from_utf8(bytes).unwrap()
    }

    fn turn(out: &mut Outboxes) {
        for id in out.take_dirty() {
            out.end_turn(id);
        }
    }

    #[test]
    fn pieces_leave_in_order_however_little_is_written() {
        let mut out = opened(1000);
        for text in ["one ", "two ", "three"] {
            out.push(id(), &Frame::new(text));
        }
        assert_eq!(out.unsent(id()), 13);
        let mut seen = String::new();
        while out.unsent(id()) > 0 {
            seen.push_str(&write(&mut out, 3));
        }
        assert_eq!(seen, "one two three");
    }

    #[test]
    fn the_prompt_is_erased_once_before_a_turn_and_drawn_once_after_it() {
        let mut out = opened(1000);
        out.set_prompting(id(), true);
        out.push(id(), &Frame::new("a\n"));
        turn(&mut out);
        assert_eq!(write(&mut out, 99), "a\n\x1b[36m> \x1b[0m");
        out.push(id(), &Frame::new("b\n"));
        out.push(id(), &Frame::new("c\n"));
        turn(&mut out);
        assert_eq!(write(&mut out, 99), "\r\x1b[Kb\nc\n\x1b[36m> \x1b[0m");
        out.redraw_prompt(id());
        turn(&mut out);
        assert_eq!(write(&mut out, 99), "\r\x1b[K\x1b[36m> \x1b[0m");
    }

    #[test]
    fn a_prompt_that_has_not_left_is_taken_back() {
        let mut out = opened(1000);
        out.set_prompting(id(), true);
        for text in ["a\n", "b\n"] {
            out.push(id(), &Frame::new(text));
            turn(&mut out);
        }
        assert_eq!(write(&mut out, 99), "a\nb\n\x1b[36m> \x1b[0m");
        // One that has left in part is finished and erased.
        out.push(id(), &Frame::new("c\n"));
        turn(&mut out);
        assert_eq!(write(&mut out, "\r\x1b[Kc\n\x1b".len()), "\r\x1b[Kc\n\x1b");
        out.push(id(), &Frame::new("d\n"));
        assert_eq!(write(&mut out, 99), "[36m> \x1b[0m\r\x1b[Kd\n");
    }

    #[test]
    fn without_colors_there_is_no_escape_and_no_prompt() {
        let mut out = opened(1000);
        out.set_prompting(id(), true);
        out.push(id(), &Frame::new("a\n"));
        turn(&mut out);
        write(&mut out, 99);
        out.set_color(id(), false);
        out.push(id(), &Frame::new("\x1b[31mred\x1b[0m mm\n"));
        turn(&mut out);
        assert_eq!(write(&mut out, 99), "\nred mm\n");
        out.set_color(id(), true);
        out.push(id(), &Frame::new("\x1b[31mred\x1b[0m\n"));
        turn(&mut out);
        assert_eq!(write(&mut out, 99), "\x1b[31mred\x1b[0m\n\x1b[36m> \x1b[0m");
    }

    #[test]
    fn past_its_bound_a_client_is_doomed_once_and_holds_nothing() {
        let mut out = opened(10 + PROMPT.len());
        let frame = Frame::new("123456");
        out.push(id(), &frame);
        assert_eq!(out.take_doomed(), vec![]);
        out.push(id(), &frame);
        out.push(id(), &frame);
        assert_eq!(out.take_doomed(), vec![id()]);
        assert_eq!(out.take_doomed(), vec![]);
        assert_eq!(out.unsent(id()), 0);
        assert_eq!(Rc::strong_count(&frame.color), 1);
    }

    #[test]
    fn not_even_the_prompt_goes_past_the_bound() {
        let limit = 100;
        let mut out = opened(limit);
        out.set_prompting(id(), true);
        turn(&mut out);
        out.push(id(), &Frame::new("a\n"));
        turn(&mut out);
        write(&mut out, "a\n".len() + 1);
        let begun = PROMPT.len() - 1 + ERASE_LINE.len();
        out.push(id(), &Frame::new(&"x".repeat(limit - begun - PROMPT.len())));
        turn(&mut out);
        assert_eq!(out.take_doomed(), vec![]);
        assert_eq!(out.unsent(id()), limit);
        let mut out = opened(limit);
        out.push(id(), &Frame::new(&"x".repeat(limit - PROMPT.len() + 1)));
        assert_eq!(out.take_doomed(), vec![id()]);
    }

    #[test]
    fn the_bound_itself_is_allowed_and_a_closed_client_holds_nothing() {
        let mut out = opened(100);
        assert!(!out.is_empty());
        let frame = Frame::new(&"x".repeat(100 - PROMPT.len()));
        assert!((frame.len(), frame.is_empty()) == (100 - PROMPT.len(), false));
        out.push(id(), &frame);
        assert_eq!(out.take_doomed(), vec![]);
        let other = ConnId::new(7, 1).unwrap();
        out.open(other);
        out.push(other, &Frame::new("abc"));
        assert_eq!(out.unsent_in_all(), frame.len() + 3);
        out.close(id());
        assert_eq!((out.unsent(id()), out.unsent_in_all()), (0, 3));
        assert_eq!(Rc::strong_count(&frame.color), 1);
        out.close(other);
        assert!(out.is_empty() && Frame::new("").is_empty());
    }

    #[test]
    fn a_prompt_that_was_taken_back_is_not_counted() {
        let mut out = opened(1000);
        out.set_prompting(id(), true);
        for n in 1..4 {
            out.push(id(), &Frame::new("abc\n"));
            turn(&mut out);
            assert_eq!(out.unsent(id()), 4 * n + PROMPT.len());
        }
        // A prompt of which nothing has left can be taken back, also when it is all there is.
        write(&mut out, 4 * 3);
        out.push(id(), &Frame::new("d\n"));
        assert_eq!(write(&mut out, 99), "d\n");
    }

    #[test]
    fn who_has_no_prompt_or_is_doomed_gets_none_redrawn() {
        let mut out = opened(1000);
        out.redraw_prompt(id());
        assert_eq!(out.take_dirty(), vec![]);
        out.set_prompting(id(), true);
        out.redraw_prompt(id());
        assert_eq!(out.take_dirty(), vec![id()]);
        out.end_turn(id());
        // Setting it again hides nothing.
        out.set_prompting(id(), true);
        assert_eq!(out.unsent(id()), PROMPT.len());
        out.push(id(), &Frame::new(&"x".repeat(2000)));
        turn(&mut out);
        out.redraw_prompt(id());
        assert_eq!((out.take_dirty(), out.unsent(id())), (vec![], 0));
    }

    #[test]
    fn a_list_of_dirty_clients_is_filled_again() {
        let mut out = opened(1000);
        out.push(id(), &Frame::new("a"));
        let mut list = out.take_dirty();
        list.reserve(100);
        let room = list.capacity();
        out.recycle_dirty(list);
        out.push(id(), &Frame::new("a"));
        let list = out.take_dirty();
        assert_eq!((list.capacity(), &*list), (room, &[id()][..]));
    }

    #[test]
    fn the_room_of_a_long_queue_is_given_back_and_that_of_a_short_one_kept() {
        let mut out = opened(100_000);
        let room = |out: &Outboxes| out.boxes.get(id()).unwrap().pieces.capacity();
        (0..10).for_each(|_| out.push(id(), &Frame::new("ab")));
        let short = room(&out);
        assert!(short <= KEPT_PIECES);
        write(&mut out, 20);
        assert_eq!(room(&out), short);
        (0..60).for_each(|_| out.push(id(), &Frame::new("ab")));
        assert!(room(&out) > KEPT_PIECES);
        write(&mut out, 119);
        assert!(room(&out) > KEPT_PIECES);
        write(&mut out, 1);
        assert_eq!(room(&out), 0);
    }

    #[test]
    fn a_long_reply_has_the_room_that_is_left() {
        let limit = crate::limits::DEFAULT_SEND_QUEUE_BYTES;
        let mut out = opened(limit);
        assert_eq!(out.reply_room(id()), max_reply_bytes(limit));
        out.push(id(), &Frame::new(&"x".repeat(limit - 10_000)));
        assert_eq!(out.reply_room(id()), 10_000 - MAX_RENDERED_MESSAGE);
        out.push(id(), &Frame::new(&"x".repeat(out.reply_room(id()))));
        assert_eq!(out.take_doomed(), vec![]);
        assert_eq!(out.reply_room(id()), 0);
    }

    #[test]
    fn a_frame_is_shared_and_never_copied() {
        let mut out = Outboxes::new(1000);
        let frame = Frame::new("hello\n");
        for slot in 0..100 {
            let id = ConnId::new(slot, 1).unwrap();
            out.open(id);
            out.push(id, &frame);
        }
        assert_eq!(Rc::strong_count(&frame.color), 101);
        out.push(ConnId::new(5, 9).unwrap(), &frame);
        assert_eq!(Rc::strong_count(&frame.color), 101);
    }
}
