//! The lines that one destination of the log has not taken yet: at most
//! [`LOG_BACKLOG_BYTES`], and how many more came meanwhile and are lost.
//!
//! Knows no file, socket or clock: it is told where to write, and what the time looks like. Lines
//! leave whole and in order, in pieces of at most [`PIPE_BUF`] bytes, which a pipe takes whole or
//! not at all; what goes on in the middle of a line goes on with its rest. Once something is lost,
//! the first line that leaves says how much.

use std::io::{self, ErrorKind};

use rustix::pipe::PIPE_BUF;

use crate::count::count;
use crate::limits::LOG_BACKLOG_BYTES;

/// Lines that wait, and the number of those that do not.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// Whole lines, but perhaps for the start of the first one.
    waiting: Vec<u8>,
    /// The first line has been begun.
    begun: bool,
    /// Lines that were lost and have not been accounted for.
    lost: u64,
    /// When the first of them was.
    lost_since: String,
}

impl Backlog {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether lines were lost that nothing has been told of.
    pub(super) fn has_lost(&self) -> bool {
        self.lost > 0
    }

    /// Keeps a line, with its end, if there is room. `stamp` is the time.
    pub(super) fn push(&mut self, line: &[u8], stamp: impl Fn() -> String) {
        if self.waiting.len() + line.len() > LOG_BACKLOG_BYTES {
            self.lose(1, stamp);
        } else {
            self.waiting.extend_from_slice(line);
        }
    }

    /// Gives up what waits: it cannot be written. A line that was begun still has to be ended.
    pub(super) fn discard(&mut self, stamp: impl Fn() -> String) {
        // One of which nothing but its end is left is there, or was counted.
        let ended = self.begun && self.waiting.starts_with(b"\n");
        let lines = memchr::memchr_iter(b'\n', &self.waiting).count() - usize::from(ended);
        if lines > 0 {
            self.lose(lines as u64, stamp);
        }
        self.waiting = if self.begun { vec![b'\n'] } else { Vec::new() };
    }

    fn lose(&mut self, lines: u64, stamp: impl Fn() -> String) {
        if self.lost == 0 {
            self.lost_since = stamp();
        }
        self.lost += lines;
    }

    /// Writes one piece. `write` is given it, and says how many bytes of it were taken.
    ///
    /// # Errors
    /// Those of `write`; nothing has changed then.
    pub(super) fn write_piece(
        &mut self,
        stamp: impl Fn() -> String,
        write: impl FnOnce(&[u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        if self.lost > 0 && !self.begun {
            let notice = self.notice(&stamp());
            let taken = took_some(write(notice.as_bytes()))?;
            let rest = notice.as_bytes().get(taken..).unwrap_or_default();
            self.waiting.splice(..0, rest.iter().copied());
            self.begun = !rest.is_empty();
            self.lost = 0;
            return Ok(());
        }
        let piece = if self.begun { first_line(&self.waiting) } else { lines(&self.waiting) };
        if piece.is_empty() {
            return Ok(());
        }
        let taken = took_some(write(piece))?.min(piece.len());
        self.begun = piece.get(taken.saturating_sub(1)) != Some(&b'\n');
        self.waiting.drain(..taken);
        if self.waiting.is_empty() {
            // It may have been large.
            self.waiting = Vec::new();
        }
        Ok(())
    }

    /// What those who read the log are told of the lines that are not in it.
    fn notice(&self, stamp: &str) -> String {
        let lost = count(self.lost, "line");
        let since = &self.lost_since;
        let follow = if self.waiting.is_empty() { "" } else { "; those that waited follow" };
        format!("{stamp} [WARN] {lost} of this log lost after {since}: nothing took more{follow}\n")
    }
}

fn took_some(taken: io::Result<usize>) -> io::Result<usize> {
    match taken {
        Ok(0) => Err(ErrorKind::WouldBlock.into()),
        taken => taken,
    }
}

/// Up to the end of the first line.
fn first_line(bytes: &[u8]) -> &[u8] {
    let end = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |end| end + 1);
    bytes.get(..end).unwrap_or_default()
}

/// As many lines as fit a piece, but one at least.
fn lines(bytes: &[u8]) -> &[u8] {
    let most = bytes.get(..PIPE_BUF.min(bytes.len())).unwrap_or_default();
    match memchr::memrchr(b'\n', most) {
        Some(end) => bytes.get(..=end).unwrap_or_default(),
        None => first_line(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp() -> String {
        "NOW".to_owned()
    }

    /// Something that takes so many bytes.
    struct Taker(Vec<u8>, usize);

    impl Taker {
        fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
            let taken = piece.len().min(self.1);
            if taken == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            self.1 -= taken;
            self.0.extend_from_slice(&piece[..taken]);
            Ok(taken)
        }
    }

    fn drain(backlog: &mut Backlog, taker: &mut Taker) {
        while !backlog.is_empty() && backlog.write_piece(stamp, |piece| taker.write(piece)).is_ok()
        {
        }
    }

    #[test]
    fn what_does_not_fit_is_counted_and_told_first_behind_a_line_that_was_begun() {
        let mut backlog = Backlog::default();
        let mut taker = Taker(Vec::new(), 3);
        let line = [&[b'x'; 99][..], b"\n"].concat();
        backlog.push(&line, stamp);
        drain(&mut backlog, &mut taker);
        for _ in 1..3000 {
            backlog.push(&line, stamp);
        }
        assert!(backlog.has_lost());
        taker.1 = usize::MAX;
        drain(&mut backlog, &mut taker);
        assert!(backlog.is_empty() && !backlog.has_lost());
        let text = String::from_utf8(taker.0).unwrap();
        let lines: Vec<_> = text.lines().collect();
        let kept = LOG_BACKLOG_BYTES / 100;
        assert_eq!(lines.len(), kept + 1);
        let lost = 3000 - kept;
        let notice = format!(
            "NOW [WARN] {lost} lines of this log lost after NOW: nothing took more; those that \
             waited follow"
        );
        assert_eq!(lines[1], notice);
        assert!(lines.iter().all(|line| line.len() == 99 || *line == notice));
    }

    #[test]
    fn whatever_is_taken_at_a_time_lines_stay_whole() {
        for most in [1, 7, 100] {
            let mut backlog = Backlog { lost: 1, ..Backlog::default() };
            let mut expected = String::from(
                "NOW [WARN] 1 line of this log lost after : nothing took more; those that waited \
                 follow\n",
            );
            for n in 0..100 {
                let line = format!("line {n}\n");
                backlog.push(line.as_bytes(), stamp);
                expected.push_str(&line);
            }
            let mut taken = Vec::new();
            while !backlog.is_empty() {
                let mut taker = Taker(Vec::new(), most);
                drain(&mut backlog, &mut taker);
                taken.append(&mut taker.0);
            }
            assert_eq!(String::from_utf8(taken).unwrap(), expected);
        }
    }

    #[test]
    fn what_cannot_be_written_is_lost_and_a_line_that_was_begun_is_ended() {
        let mut backlog = Backlog::default();
        backlog.push(b"half of a line\n", stamp);
        backlog.push(b"another\n", stamp);
        let mut taker = Taker(Vec::new(), 7);
        drain(&mut backlog, &mut taker);
        backlog.discard(stamp);
        backlog.discard(stamp);
        backlog.push(b"whole\n", stamp);
        taker.1 = usize::MAX;
        drain(&mut backlog, &mut taker);
        let text = String::from_utf8(taker.0).unwrap();
        assert_eq!(
            text,
            "half of\nNOW [WARN] 2 lines of this log lost after NOW: nothing took more; those that \
             waited follow\nwhole\n"
        );
    }

    #[test]
    fn a_line_that_is_longer_than_a_piece_is_one_nevertheless() {
        let long = [&vec![b'x'; PIPE_BUF * 2][..], b"\n"].concat();
        let short = [&long[..], b"short\n"].concat();
        assert_eq!((lines(&short), first_line(&short)), (&long[..], &long[..]));
        assert_eq!(lines(b"a\nb\n"), b"a\nb\n");
    }
}
