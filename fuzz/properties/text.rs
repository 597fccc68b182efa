//! Text cleaning: what comes out holds nothing forbidden, and cleaning it again changes nothing.
//! Nothing is made up or moved, and what is harmless stays.

use std::borrow::Cow;

use crate::harmless;
use mio_chat::text;

pub fn check(data: &[u8]) {
    let typed = String::from_utf8_lossy(data);
    let once = text::clean(data);
    harmless::check(&once);
    assert_eq!(text::clean(typed.as_bytes()), once);
    assert_eq!(text::clean(once.as_bytes()), once);
    assert!(!once.trim_start().contains("    "), "{once:?}");
    assert_eq!(text::chars(&once), once.chars().count());

    // What is left stands in the order it was typed in.
    let mut rest =
        typed.chars().flat_map(|c| std::iter::repeat_n(c, if c == '\t' { 4 } else { 1 }));
    let became = |typed: char, c: char| match c {
        ' ' => typed.is_whitespace() || !typed.is_ascii(),
        '\u{fffd}' => !typed.is_ascii(),
        _ => typed == c,
    };
    assert!(once.chars().all(|c| rest.any(|typed| became(typed, c))), "{typed:?} to {once:?}");
    // Editing leaves no key, and has nothing to do a second time.
    let edited = text::edited(data);
    assert!(!edited.iter().any(|b| matches!(*b, 0x08 | 0x7f | 0x15 | 0x17)));
    assert_eq!(text::edited(&edited), edited);

    if typed.contains("    ") || once.contains('\u{fffd}') {
        // Fewer blanks, or something that nobody has defined.
    } else if typed.chars().all(|c| (' '..='~').contains(&c)) {
        assert_eq!(once, typed);
        assert!(matches!(once, Cow::Borrowed(_)));
    } else if !typed.contains(char::is_control) {
        // Without a control character there is no escape sequence to take anything with it.
        let visible = |text: &str| {
            text.chars().filter(|c| c.is_alphanumeric() && takes_columns(*c)).collect::<String>()
        };
        assert_eq!(visible(&once), visible(&typed));
    }
}

fn takes_columns(c: char) -> bool {
    // Fillers, and parts of Korean syllables that stand alone, are letters that become blanks.
    let is_filler = matches!(c, '\u{1100}'..='\u{11ff}' | '\u{3164}' | '\u{ffa0}' | '\u{fe73}')
        || matches!(c, '\u{a960}'..='\u{a97c}' | '\u{d7b0}'..='\u{d7ff}' | '\u{16fe4}');
    !is_filler && text::width(c.encode_utf8(&mut [0; 4])) > 0
}
