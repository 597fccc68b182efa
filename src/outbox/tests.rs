//! The queues of clients, and the round they share.

use proptest::prelude::*;

use super::round::ERASE_LINE;
use super::*;
use crate::limits::ROUND_BYTES;

const ID: usize = 1;
/// Bytes of a round in which nothing was said: two erasers.
const EMPTY: usize = 2 * ERASE_LINE.len();

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
    for id in out.take_dirty().collect::<Vec<_>>() {
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

/// What stands around a reply: the eraser and the prompt.
const AROUND: usize = ERASE_LINE.len() + PROMPT.len();

#[test]
fn what_does_not_fit_is_left_out_and_accounted_for_when_there_is_room_again() {
    let mut out = opened(400);
    let frame = Frame::new("x".repeat(100));
    for _ in 0..9 {
        out.push(id(), &frame);
        assert!(out.unsent(id()) + AROUND <= 400);
    }
    assert_eq!(out.unsent(id()), 300);
    assert!(!out.keeps_up(id()));
    // Not before three quarters of the bound are free.
    assert_eq!(write(&mut out, 199).len(), 199);
    turn(&mut out);
    assert_eq!(out.unsent(id()), 101);
    assert_eq!(write(&mut out, 1).len(), 1);
    let told = "\x1b[33m… 6 lines were left out: your line is slower than the talk.\x1b[0m\n";
    assert_eq!(write(&mut out, 999), "x".repeat(100) + told);
    assert!(out.keeps_up(id()));
    out.push(id(), &frame);
    assert_eq!(out.unsent(id()), 100);
}

#[test]
fn talk_leaves_room_for_replies_and_stops_until_what_was_missed_is_told() {
    let mut out = opened(400);
    let (talk, reply) = (Frame::new("t".repeat(50)), Frame::new("r".repeat(50)));
    (0..9).for_each(|_| out.broadcast(&[id()], &talk));
    // As much as is reserved is free, so the last one came behind it.
    assert_eq!(out.unsent(id()), 350);
    out.push(id(), &Frame::new("r".repeat(400 - 350 - AROUND)));
    assert_eq!(out.unsent(id()), 400 - AROUND);
    write(&mut out, 250);
    // There would be room, but two are missing before it.
    assert!(!out.keeps_up(id()));
    out.broadcast(&[id()], &talk);
    out.push(id(), &reply);
    let seen = write(&mut out, 999) + &write(&mut out, 999);
    let left = "t".repeat(100) + &"r".repeat(400 - 350 - AROUND + 50);
    let told = "\x1b[33m… 3 lines were left out: your line is slower than the talk.\x1b[0m\n";
    assert_eq!(seen, left + told);
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
    out.push(id(), &Frame::new("x".repeat(limit - begun - PROMPT.len())));
    turn(&mut out);
    assert_eq!(out.unsent(id()), limit);
    let mut out = opened(limit);
    out.push(id(), &Frame::new("x".repeat(limit - AROUND + 1)));
    assert_eq!(out.unsent(id()), 0);
}

#[test]
fn the_bound_itself_is_allowed_and_a_closed_client_holds_nothing() {
    let mut out = opened(100);
    assert!(!out.is_empty());
    let frame = Frame::new("x".repeat(100 - AROUND));
    assert!((frame.len(), frame.is_empty()) == (100 - AROUND, false));
    out.push(id(), &frame);
    let other = ConnId::new(7, 1).unwrap();
    out.open(other);
    out.push(other, &Frame::new("abc"));
    assert_eq!(out.unsent_in_all(), frame.len() + 3);
    out.close(id());
    assert_eq!((out.unsent(id()), out.unsent_in_all()), (0, 3));
    assert_eq!(out.round.holders, 1);
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
fn who_has_no_prompt_gets_none_redrawn() {
    let mut out = opened(1000);
    out.redraw_prompt(id());
    assert!(!out.has_news());
    out.set_prompting(id(), true);
    out.redraw_prompt(id());
    assert_eq!(out.take_dirty().collect::<Vec<_>>(), [id()]);
    out.end_turn(id());
    // Setting it again hides nothing.
    out.set_prompting(id(), true);
    assert_eq!(out.unsent(id()), PROMPT.len());
}

#[test]
fn a_long_reply_has_the_room_that_is_left() {
    let limit = crate::limits::DEFAULT_SEND_QUEUE_BYTES;
    let mut out = opened(limit);
    // What is broken into rows takes more: up to half, on narrow screens as much again.
    assert_eq!(out.reply_room(id()), max_reply_bytes(limit) / 3 * 2);
    out.set_columns(id(), Some(20));
    assert_eq!(out.reply_room(id()), max_reply_bytes(limit) / 2);
    out.set_columns(id(), None);
    out.push(id(), &Frame::new("x".repeat(limit - 10_000)));
    assert_eq!(out.reply_room(id()), (10_000 - MAX_RENDERED_MESSAGE) / 3 * 2);
    out.push(id(), &Frame::new("x".repeat(10_000 - MAX_RENDERED_MESSAGE)));
    assert!(out.keeps_up(id()));
    assert_eq!(out.reply_room(id()), 0);
}

/// What the next write to this client would lend, piece by piece.
fn pieces(out: &Outboxes, id: ConnId) -> Vec<String> {
    let mut slices = [IoSlice::new(&[]); SLICES_PER_WRITE];
    let filled = out.slices(id, &mut slices);
    slices[..filled].iter().map(|s| String::from_utf8(s.to_vec()).unwrap()).collect()
}

fn other(slot: usize) -> ConnId {
    ConnId::new(slot, 1).unwrap()
}

#[test]
fn what_is_said_to_many_stands_once_in_the_round_and_follows_on() {
    let mut out = Outboxes::new(1000);
    let ids: Vec<_> = (0..100).map(other).collect();
    ids.iter().for_each(|id| out.open(*id));
    out.broadcast(&ids, &Frame::new("hello\n"));
    out.broadcast(&ids, &Frame::new("again\n"));
    assert_eq!((out.round.len(), out.round.holders), (EMPTY + 12, 100));
    for id in &ids {
        assert_eq!(pieces(&out, *id), ["hello\nagain\n"]);
    }
    // A former tenant of a slot gets nothing and makes nothing be placed.
    out.push(ConnId::new(5, 9).unwrap(), &Frame::new("x"));
    assert_eq!(out.round.len(), EMPTY + 12);
}

#[test]
fn a_round_ends_when_nobody_holds_any_of_it() {
    let mut out = opened(1000);
    out.open(other(2));
    out.broadcast(&[id(), other(2)], &Frame::new("abc"));
    assert_eq!(write(&mut out, 2), "ab");
    out.keep(other(2));
    assert_eq!((out.round.holders, out.unsent(other(2))), (1, 3));
    assert_eq!(write(&mut out, 9), "c");
    assert_eq!((out.round.holders, out.round.len()), (0, EMPTY));
    // What was kept is followed by what comes, and both leave in order.
    out.broadcast(&[other(2)], &Frame::new("def"));
    assert_eq!(pieces(&out, other(2)), ["abc", "def"]);
    out.advance(other(2), 4);
    out.keep(other(2));
    assert_eq!(pieces(&out, other(2)), ["ef"]);
    out.close(other(2));
    assert_eq!(out.round.holders, 0);
}

#[test]
fn one_who_has_no_room_does_not_end_the_round_for_the_others() {
    let mut out = opened(100);
    out.open(other(2));
    out.push(id(), &Frame::new("x".repeat(80)));
    out.keep(id());
    out.broadcast(&[id(), other(2)], &Frame::new("0123456789"));
    assert_eq!(out.unsent(id()), 80);
    assert_eq!(pieces(&out, other(2)), ["0123456789"]);
}

#[test]
fn a_long_round_is_full_and_leaves_no_more_room_than_one_takes() {
    let mut out = opened(8 * ROUND_BYTES);
    let mut owed = 0;
    while !out.is_full() {
        out.push(id(), &Frame::new("x".repeat(1000)));
        owed += 1000;
    }
    assert!((ROUND_BYTES..ROUND_BYTES + 1000).contains(&out.round.len()));
    while owed < 4 * ROUND_BYTES {
        out.push(id(), &Frame::new("x".repeat(1000)));
        owed += 1000;
    }
    assert_eq!(out.unsent(id()), owed);
    while out.unsent(id()) > 0 {
        owed -= write(&mut out, 77_777).len();
    }
    assert_eq!((owed, out.round.holders), (0, 0));
    assert!(out.round.color.capacity() <= ROUND_BYTES);
    assert_eq!(out.boxes.get(id()).unwrap().rest.capacity(), 0);
}

#[test]
fn those_with_colors_and_those_without_get_their_own_text() {
    let mut out = opened(1000);
    out.open(other(2));
    out.set_color(other(2), false);
    for text in ["\x1b[31mone\x1b[0m\n", "\x1b[31mtwo\x1b[0m\n"] {
        out.broadcast(&[id(), other(2)], &Frame::new(text));
    }
    assert_eq!(pieces(&out, other(2)), ["one\ntwo\n"]);
    // What was said before the change stays as it was.
    out.set_color(other(2), true);
    out.broadcast(&[id(), other(2)], &Frame::new("\x1b[31mthree\x1b[0m\n"));
    assert_eq!(pieces(&out, other(2)), ["one\ntwo\n", "\x1b[31mthree\x1b[0m\n"]);
    assert_eq!(
        write(&mut out, 999),
        "\x1b[31mone\x1b[0m\n\x1b[31mtwo\x1b[0m\n\x1b[31mthree\x1b[0m\n"
    );
}

#[test]
fn the_room_of_what_is_kept_is_little_more_than_that() {
    let mut out = opened(1 << 20);
    for _ in 0..500 {
        out.push(id(), &Frame::new("x".repeat(1000)));
        out.keep(id());
        write(&mut out, 100);
        let outbox = out.boxes.get(id()).unwrap();
        assert!(outbox.rest.capacity() <= outbox.bytes + outbox.bytes / 2 + 2000);
    }
}

#[test]
fn the_room_of_many_pieces_is_given_back_and_that_of_few_kept() {
    let mut out = opened(100_000);
    out.open(other(2));
    let room = |out: &Outboxes| out.boxes.get(id()).unwrap().fresh.capacity();
    // What others are told between makes pieces of what follows on otherwise.
    let say = |out: &mut Outboxes, times: usize| {
        for _ in 0..times {
            out.push(id(), &Frame::new("ab"));
            out.push(other(2), &Frame::new("ab"));
        }
    };
    say(&mut out, 10);
    let few = room(&out);
    assert!((10..=KEPT_PIECES).contains(&few));
    write(&mut out, 20);
    assert_eq!(room(&out), few);
    say(&mut out, 60);
    assert!(room(&out) > KEPT_PIECES);
    write(&mut out, 119);
    assert!(room(&out) > KEPT_PIECES);
    write(&mut out, 1);
    assert_eq!(room(&out), 0);
}

#[test]
fn the_prompt_alone_behind_an_empty_line_erases_nothing() {
    let mut out = opened(1000);
    out.set_prompting(id(), true);
    turn(&mut out);
    out.redraw_prompt(id());
    turn(&mut out);
    assert_eq!(write(&mut out, 99), "\x1b[36m> \x1b[0m");
    out.line_ended(id());
    turn(&mut out);
    assert_eq!(write(&mut out, 99), "\x1b[36m> \x1b[0m");
    // What is said before it is drawn erases: the prompt may have come while the line was typed.
    out.line_ended(id());
    out.push(id(), &Frame::new("a\n"));
    turn(&mut out);
    assert_eq!(write(&mut out, 99), "\r\x1b[Ka\n\x1b[36m> \x1b[0m");
    // Taken back it leaves the one above to be erased.
    out.line_ended(id());
    turn(&mut out);
    out.line_ended(id());
    turn(&mut out);
    out.push(id(), &Frame::new("b\n"));
    turn(&mut out);
    assert_eq!(write(&mut out, 99), "\r\x1b[Kb\n\x1b[36m> \x1b[0m");
    // A terminal whose lines end with CR has not moved.
    out.set_crlf(id(), true);
    out.line_ended(id());
    turn(&mut out);
    assert_eq!(write(&mut out, 99), "\r\x1b[K\x1b[36m> \x1b[0m");
}

#[test]
fn a_prompt_may_say_something_else() {
    let mut out = opened(100);
    out.set_prompting(id(), true);
    let den: PromptText = b"den> ".to_vec().into();
    out.set_prompt_text(id(), Some(den));
    turn(&mut out);
    assert_eq!((out.unsent(id()), write(&mut out, 2)), (5, "de".to_owned()));
    out.push(id(), &Frame::new("a\n"));
    turn(&mut out);
    assert_eq!(write(&mut out, 99), "n> \r\x1b[Ka\nden> ");
    out.set_prompt_text(id(), None);
    turn(&mut out);
    assert_eq!(write(&mut out, 99), "\r\x1b[K\x1b[36m> \x1b[0m");
    assert_eq!(out.unsent(id()), 0);
}

/// A message of somebody, with its text.
fn message(text: &str) -> Frame {
    let mut frame = Frame::new("\x1b[1mbob\x1b[0m\n  \x1b[36m>\x1b[0m ");
    frame.text(4, text);
    frame.push_str("\n");
    frame
}

#[test]
fn each_sees_texts_in_rows_of_its_own_width() {
    let words = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen";
    let mut out = Outboxes::new(10_000);
    for slot in 0..6 {
        out.open(other(slot));
    }
    out.set_color(other(1), false);
    out.set_columns(other(2), Some(20));
    out.set_columns(other(3), None);
    out.set_crlf(other(4), true);
    out.set_columns(other(5), Some(20));
    let ids: Vec<_> = (0..6).map(other).collect();
    out.broadcast(&ids, &message(words));
    out.broadcast(&ids, &message("short"));
    let head = "\x1b[1mbob\x1b[0m\n  \x1b[36m>\x1b[0m ";
    let (first, second) = words.split_at(words.find(" fourteen").unwrap());
    let broken = format!("{head}{first}\n    {}\n{head}short\n", &second[1..]);
    let seen = |at: usize| pieces(&out, other(at)).concat();
    assert_eq!(seen(0), broken);
    assert_eq!(
        seen(1),
        broken.replace("\x1b[1m", "").replace("\x1b[36m", "").replace("\x1b[0m", "")
    );
    assert_eq!(seen(3), format!("{head}{words}\n{head}short\n"));
    assert_eq!(seen(4), broken.replace('\n', "\r\n"));
    assert_eq!(seen(2), seen(5));
    let rows: Vec<_> = seen(2).lines().map(str::to_owned).collect();
    assert_eq!(
        rows[1..4],
        ["  \x1b[36m>\x1b[0m one two three", "    four five six", "    seven eight nine"]
    );
    // One text for the two of one width, and none for the others once more.
    assert_eq!(out.round.holders, 6);
}

#[test]
fn a_crowd_in_which_everybody_has_a_width_of_their_own_is_shown_few_texts() {
    let mut out = Outboxes::new(100_000);
    let ids: Vec<_> = (20..=500).map(other).collect();
    let mut before = 0;
    for (id, columns) in ids.iter().zip(20..) {
        out.open(*id);
        let used = out.set_columns(*id, Some(columns)).unwrap();
        assert!((before..=columns).contains(&used), "{used} of {columns}");
        before = used;
    }
    for exact in [20, 40, 45, 79, 100, 120] {
        assert_eq!(out.set_columns(ids[0], Some(exact)), Some(exact));
    }
    let long = message(&"words ".repeat(166));
    out.broadcast(&ids, &long);
    let texts = (out.round.len() - EMPTY) / long.len();
    assert!(texts < 30, "{texts}");
}

#[test]
fn what_waits_when_the_view_changes_was_said_before() {
    let mut out = opened(1000);
    out.set_prompting(id(), true);
    out.push(id(), &Frame::new("a\n"));
    out.set_crlf(id(), true);
    out.push(id(), &Frame::new("b\n"));
    out.set_crlf(id(), false);
    out.push(id(), &Frame::new("c\n"));
    turn(&mut out);
    assert_eq!(write(&mut out, 4), "a\nb\r");
    assert_eq!(write(&mut out, 99), "\nc\n\x1b[36m> \x1b[0m");
    assert_eq!(out.round.holders, 0);
}

#[test]
fn on_a_narrow_screen_the_servers_own_lines_are_in_rows_too() {
    let shown = |frame: &Frame, color, columns| {
        let mut seen = Vec::new();
        View { color, crlf: false, columns: Some(columns) }.render(frame, &mut seen);
        String::from_utf8(seen).unwrap()
    };
    let name = "xxServer-is-shutting-down-NOW";
    let frame = Frame::new(format!("\x1b[33m* bob tagged you in \x1b[1m{name}\x1b[0m\nnext\n"));
    assert_eq!(
        shown(&frame, true, 40),
        format!("\x1b[33m* bob tagged you in\x1b[1m\n      {name}\x1b[0m\nnext\n")
    );
    let broken = "* bob tagged you in\n      xxServer-is-sh\n      utting-down-NO\n      W\nnext\n";
    assert_eq!(shown(&frame, false, 20), broken);
    assert_eq!(shown(&frame, false, 79), format!("* bob tagged you in {name}\nnext\n"));
    // A text goes on behind the last of the rows, and what it has itself below them.
    let mut question = Frame::new("[LOBBY] somebody-long-indeed asked AI: ");
    question.text(question.len(), "why not now and then");
    question.push_str("\n");
    assert_eq!(
        shown(&question, false, 20),
        "[LOBBY]\n      somebody-long-\n      indeed asked\n      AI: why not\n      now and then\n"
    );
    // The blank before it is not there where a row ends.
    let mut full = Frame::new("one two three four five6 ");
    full.text(full.len(), "why");
    assert_eq!(shown(&full, false, 20), "one two three four\n      five6 why");
    let mut full = Frame::new("one two three four12 ");
    full.text(full.len(), "whoever");
    assert_eq!(shown(&full, false, 20), "one two three four12\n      whoever");
    let mut full = Frame::new("one two three four 12345678901234 ");
    full.text(full.len(), "why");
    assert_eq!(shown(&full, false, 20), "one two three four\n      12345678901234\n      why");
}

#[test]
fn a_prompt_too_wide_for_the_screen_is_the_usual() {
    let mut out = opened(1000);
    out.set_prompting(id(), true);
    let lobby = b"\x1b[36mrather-long-name> \x1b[0m".to_vec();
    out.set_prompt_text(id(), Some(lobby.into()));
    turn(&mut out);
    assert_eq!(write(&mut out, 99), "\x1b[36mrather-long-name> \x1b[0m");
    out.set_columns(id(), Some(20));
    turn(&mut out);
    assert_eq!(write(&mut out, 99), "\r\x1b[K\x1b[36m> \x1b[0m");
    // One that has not left is exchanged without a trace.
    out.push(id(), &Frame::new("a\n"));
    turn(&mut out);
    out.set_columns(id(), None);
    turn(&mut out);
    assert_eq!(out.unsent(id()), write(&mut out, 99).len());
    out.set_columns(id(), Some(40));
    assert!(out.take_dirty().next().is_none());
}

proptest! {
    /// The room that a reply is given is enough, whatever its texts and the width.
    #[test]
    fn a_text_in_rows_takes_no_more_room_than_was_allowed(
        words in proptest::collection::vec("[a-z]{1,80}|[日本]{1,30}|[🙂é]{1,30}", 1..60),
        own in "[a-z] ?[a-z]{0,14}( [a-z]{1,9}){0,12} ?",
        columns in 20..200u16, crlf in any::<bool>(),
    ) {
        let mut frame = Frame::new(format!("{own}\n\x1b[36m{own}\x1b[0m"));
        frame.text(own.len(), &words.join(" "));
        frame.push_str("\n");
        let view = View { color: true, crlf, columns: Some(columns) };
        let mut seen = Vec::new();
        view.render(&frame, &mut seen);
        let most = if view.is_narrow() { frame.len() * 2 } else { frame.len() * 3 / 2 };
        prop_assert!(seen.len() <= most + 16, "{} of {}", seen.len(), frame.len());
    }
}
