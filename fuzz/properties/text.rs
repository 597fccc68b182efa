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
    assert_eq!(text::chars(&once), once.chars().count());

    // What is left stands in the order it was typed in.
    let mut rest = typed.chars().map(|c| if c == '\t' { ' ' } else { c });
    assert!(once.chars().all(|c| rest.any(|typed| typed == c)), "{typed:?} to {once:?}");

    if typed.chars().all(|c| (' '..='~').contains(&c)) {
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
    // Hangul fillers are letters that show nothing, and are taken out.
    let is_filler = matches!(c, '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}');
    !is_filler && text::width(c.encode_utf8(&mut [0; 4])) > 0
}
