//! What text may not hold, wherever it was typed and wherever it is shown.

#![allow(dead_code)]

use mio_chat::limits::MAX_MARKS_PER_BASE;
use mio_chat::text;

/// A character that controls a terminal, reorders or hides what is around it, or ends a line.
pub fn is_forbidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{200b}' | '\u{2800}' | '\u{3164}' | '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{feff}'
        )
        || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fff9}'..='\u{fffb}')
        || matches!(c, '\u{e0000}'..='\u{e001f}' | '\u{e0080}'..='\u{e0fff}')
}

/// Panics unless this is text as the server shows it, and cleaning it changes nothing.
pub fn check(shown: &str) {
    if shown.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return;
    }
    assert!(!shown.contains(is_forbidden), "{shown:?}");
    let mut marks = 0;
    // The tags of regional flags count for nothing, and stand nowhere else.
    let parts: Vec<_> = shown.split('\u{1f3f4}').collect();
    let is_tag = |c: char| matches!(c, '\u{e0020}'..='\u{e007f}');
    assert!(!parts[0].contains(is_tag), "{shown:?}");
    assert!(parts.iter().all(|part| !part.trim_start_matches(is_tag).contains(is_tag)));
    for c in shown.chars().filter(|c| !is_tag(*c)) {
        marks = if text::width(c.encode_utf8(&mut [0; 4])) == 0 { marks + 1 } else { 0 };
        assert!(marks <= MAX_MARKS_PER_BASE, "{shown:?}");
    }
    // The server's own columns may have more blanks than a text.
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(&text::clean(shown.as_bytes())), words(shown));
}
