//! What stays of a text, and what it costs.

use super::*;
use proptest::prelude::*;

fn cleaned(text: &str) -> String {
    clean(text.as_bytes()).into_owned()
}

#[test]
fn columns_and_characters_are_not_bytes() {
    for (text, columns, count) in [("", 0, 0), ("abc", 3, 3), ("日本", 4, 2), ("e\u{301}", 1, 2)]
    {
        assert_eq!((width(text), chars(text)), (columns, count), "{text}");
    }
}

#[test]
fn printable_is_what_is_printable_wherever_it_stands() {
    for byte in 0..=255_u8 {
        for at in 0..20 {
            let mut line = *b"0123456789abcdefghij";
            line[at] = byte;
            let printable = (b' '..=b'~').contains(&byte);
            assert_eq!(is_printable_ascii(&line), printable, "{byte} at {at}");
        }
    }
}

#[test]
fn plain_text_is_lent_and_unchanged() {
    assert!(matches!(clean(b"Hello, everyone!"), Cow::Borrowed("Hello, everyone!")));
    for text in ["Grüße", "日本語", "👨‍👩‍👧‍👦 ❤️ 👍🏽", "e\u{301}", "(=^・^=)", "𝄞"]
    {
        assert_eq!(cleaned(text), text);
    }
}

#[test]
fn escape_sequences_go_whole() {
    for (typed, seen) in [
        ("a\x1b[31mb\x1b[0mc", "abc"),
        ("a\x1b[2J\x1b[1;1Hb", "ab"),
        ("a\x1b]0;title\x07b", "ab"),
        ("a\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\b", "alinkb"),
        ("a\x1bP1$q\x1b\\b", "ab"),
        ("a\x1b(Bb\x1b7d\x1b=e", "abde"),
        // Alt and a letter.
        ("a\x1bcc\x1bNb", "accNb"),
        ("a\x1bOPb\x1bO", "ab"),
        ("a\x1b[[Ab\x1b[[", "ab"),
        ("a\x1b[M !!b\x1b[M !", "ab !"),
        ("a\u{9b}31mb\u{9d}0;t\u{9c}c", "abc"),
        ("a\x1b_apc\x18b", "ab"),
        // Without their end they take two characters with them, and no line.
        ("a\x1b]0;never ends", "a0;never ends"),
        ("\x1bPa\x1bXb\x1b^c\x1b_d", "abcd"),
        ("a\x1b[31", "a31"),
        ("a\x1b", "a"),
        ("a\x1b[1é", "a1é"),
        ("a\x1b]0;x\x1b[31mb", "a0;xb"),
        ("a\x1b(é", "aé"),
        ("a\u{9b}31", "a31"),
        ("a\x1b\x1b[31mb", "ab"),
    ] {
        assert_eq!(cleaned(typed), seen, "{typed:?}");
    }
}

#[test]
fn controls_and_invisible_characters_go() {
    assert_eq!(cleaned("a\tb"), "a b");
    assert_eq!(cleaned("\ta\t"), "    a ");
    assert_eq!(cleaned("a\0\x08\x7f\rb\u{85}c"), "abc");
    assert_eq!(cleaned("\u{202e}gnp\u{2066}.exe\u{2069}"), "gnp.exe");
    assert_eq!(cleaned("a\u{2028}b\u{2029}c\u{200b}d\u{feff}e\u{2060}f"), "abcdef");
    assert_eq!(cleaned("a\u{200d}b\u{fe0f}"), "a\u{200d}b\u{fe0f}");
}

#[test]
fn blanks_are_few_and_all_kinds_of_them_count() {
    for (typed, seen) in [
        ("a   b", "a   b"),
        ("a    b", "a b"),
        ("a \u{a0}\u{3000}\u{2003}b", "a b"),
        ("a\u{2800}b\u{3164}c\u{ffa0}d\u{115f}e\u{1d159}f", "a b c d e f"),
        ("a\u{a0}b\u{3000}c", "a\u{a0}b\u{3000}c"),
        ("                    x", "                x"),
        ("\t\t\t\t\t\tx", "                x"),
        ("a \u{200d} \u{fe0f} \u{200d} \u{200d} b", "a b"),
        ("a\u{fe0f}\u{fe0f}\u{fe0e}\u{fe0f}b", "a\u{fe0f}b"),
    ] {
        assert_eq!(cleaned(typed), seen, "{typed:?}");
    }
}

#[test]
fn what_scripts_and_flags_need_stays() {
    for text in [
        "می\u{200c}خواهم",
        "क्\u{200c}ष",
        "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}!",
        "\u{1112}\u{1161}\u{11ab}\u{1100}\u{1173}\u{11af}",
        "한\u{ac00}\u{11a8}",
        "نص عربي ، עברית",
    ] {
        assert_eq!(cleaned(text), text);
    }
    assert_eq!(cleaned("\u{200c}a\u{200c} b\u{200c}"), "a b");
    assert_eq!(cleaned("🏴\u{e0067}x\u{e007f}"), "🏴x");
    assert_eq!(cleaned("a\u{1100}b\u{1161}c\u{11a8}"), "a b c ");
    assert_eq!(cleaned("\u{1100}\u{1100}\u{1161}"), " \u{1100}\u{1161}");
}

#[test]
fn what_nobody_has_defined_is_replaced() {
    assert_eq!(
        cleaned("a\u{e000}b\u{378}c\u{10fffd}d\u{ffff}"),
        "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}"
    );
    assert_eq!(cleaned("a\u{600}b\u{70f}c"), "abc");
}

/// A character that the one table knows and the other does not would be shown in fewer columns than a
/// terminal draws, and nobody could send the emoji of the last years.
#[test]
fn what_is_defined_and_how_wide_it_is_come_from_the_same_unicode() {
    let (major, minor, patch) = unicode_width::UNICODE_VERSION;
    let widths = (u64::from(major), u64::from(minor), u64::from(patch));
    assert_eq!(unicode_properties::UNICODE_VERSION, widths);
    // Of Unicode 15.1, 16 and 17: an ideograph, eyes with bags, a distorted face.
    for text in ["\u{2ebf0}", "\u{1fae9}", "\u{1faea}"] {
        assert_eq!(cleaned(text), text);
        assert_eq!(width(text), 2, "{text}");
    }
}

/// Every character where it could change what stands beside it. A non-joiner before a vowel sign for
/// which there was no room, or before a letter that was replaced, went only at the second cleaning.
#[test]
fn cleaning_twice_changes_nothing_beside_any_character() {
    for c in ('\0'..='\u{1ffff}').chain('\u{e0000}'..='\u{e01ff}') {
        for text in [
            format!("a\u{200c}{c}"),
            format!("{c}\u{200c}b"),
            format!("a\u{301}\u{301}\u{301}\u{200c}{c}"),
            format!("가{c}\u{11a8}"),
        ] {
            let once = cleaned(&text);
            assert_eq!(cleaned(&once), once, "{text:?}");
        }
    }
}

#[test]
fn words_of_a_typed_line_are_those_that_people_see() {
    for (typed, word, rest) in [
        (&b"one two"[..], &b"one"[..], &b"two"[..]),
        ("one\u{a0} two".as_bytes(), b"one", b" two"),
        ("one\u{3000}two".as_bytes(), b"one", b"two"),
        ("one\u{2800}\u{200b}two".as_bytes(), b"one", "\u{200b}two".as_bytes()),
        ("o\u{200b}ne\ttwo".as_bytes(), "o\u{200b}ne".as_bytes(), b"two"),
        (b"  one two", b"  one", b"two"),
        (b"o\x1b]0; \x07ne two", b"o\x1b]0; \x07ne", b"two"),
        (b"o\xffn\xc3e \xfftwo", b"o\xffn\xc3e", b"\xfftwo"),
        (b"\x1b]\xff \xff\x07one two", b"\x1b]\xff \xff\x07one", b"two"),
        (b"one", b"one", b""),
        (b"one ", b"one", b""),
        (b" \t", b" \t", b""),
    ] {
        assert_eq!(split_word(typed), (word, rest), "{typed:?}");
    }
    let blanks = "\u{a0}\u{3000} \t\u{200b}\u{2800}".repeat(10);
    for word in ["one two", "\u{200b}one", ""] {
        assert_eq!(behind_blanks((blanks.clone() + word).as_bytes()), word.as_bytes());
    }
}

#[test]
fn what_is_not_utf8_is_replaced() {
    assert_eq!(clean(b"a\xffb\xc3(\xe2\x82"), "a\u{fffd}b\u{fffd}(\u{fffd}");
    // A raw C1 byte is not a control sequence introducer, only a broken byte.
    assert_eq!(clean(b"\x9b31m"), "\u{fffd}31m");
}

#[test]
fn marks_do_not_pile_up() {
    let zalgo = format!("a{}b", "\u{301}".repeat(50));
    assert_eq!(cleaned(&zalgo), format!("a{}b", "\u{301}".repeat(MAX_MARKS_PER_BASE)));
    // Nothing that is removed makes room for more.
    let split = format!("a{}", "\u{301}\u{200b}".repeat(50));
    assert_eq!(cleaned(&split), format!("a{}", "\u{301}".repeat(MAX_MARKS_PER_BASE)));
}

fn forbidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200b}' | '\u{2800}' | '\u{feff}')
}

/// The shortest of a few runs: the machine may be busy with something else.
fn shortest_millis(work: impl Fn()) -> u128 {
    let run = |_| {
        let started = std::time::Instant::now();
        work();
        started.elapsed().as_millis()
    };
    (0..5).map(run).min().unwrap()
}

/// What costs most, as long as a line may be. Looking through all of it for each of its parts would
/// take many times as long.
#[test]
fn no_line_costs_more_than_its_length() {
    let longest = |part: &str| part.repeat(crate::limits::MAX_LINE_BYTES / part.len());
    for part in [
        "\u{9d}",
        "\u{9b}1",
        "\u{1b}]",
        "\u{1b}[1",
        "\u{1b}( ",
        "\u{1100}",
        "e\u{301}",
        "🏴\u{e0061}",
        "\u{2800} ",
        "\u{378}",
        "[",
        "[l ",
        "╰",
        "╰ ",
        "╰-",
    ] {
        let line = longest(part);
        let millis = shortest_millis(|| {
            let _ = crate::chat::marks::disarm(&clean(line.as_bytes()));
        });
        assert!(millis < 80, "{part:?}: {millis} ms a line, without optimisation");
    }
    for part in ["🇩", "e\u{301}", "👩\u{200d}", "a ", "\u{ff}"] {
        let keys = "\u{7f}".repeat(2000) + &"\u{17}".repeat(500);
        let line = longest(part) + &keys;
        let millis = shortest_millis(|| {
            let _ = edited(line.as_bytes());
        });
        assert!(millis < 80, "{part:?}: {millis} ms a line, without optimisation");
    }
}

proptest! {
    #[test]
    fn output_is_harmless_and_cleaning_twice_changes_nothing(
        parts in proptest::collection::vec(prop_oneof![
            any::<char>().prop_map(String::from),
            "\\PC{0,4}",
            "[\u{1b}\u{9b}\u{9d}\u{90}\\[\\]P_;0-9m\u{7}\\\\\u{9c}\u{18}]{1,6}",
            "[\u{301}\u{300}\u{200d}\u{fe0f}\u{200b}\u{202e}\u{2028}a]{1,8}",
            "[ \t\u{a0}\u{3000}\u{2800}\u{200d}\u{200c}a]{1,24}",
            "[\u{1100}\u{1161}\u{11a8}가각a\u{200c}]{1,8}",
            "🏴[\u{e0061}\u{e0062}\u{e007f}]{0,9}",
        ], 0..20)
    ) {
        let typed = parts.concat();
        let once = cleaned(&typed);
        prop_assert!(!once.contains(forbidden), "{:?}", once);
        prop_assert_eq!(cleaned(&once), once);
    }

    #[test]
    fn split_words_are_the_words_of_the_text(
        bytes in proptest::collection::vec(prop_oneof![
            6 => Just(b"ab".to_vec()), 3 => Just(b" ".to_vec()), 2 => Just(b"\xff".to_vec()),
            2 => Just("\u{a0}".into()), 2 => Just("\u{200b}".into()), 1 => Just(b"\x1b]".to_vec()),
            1 => Just(b"\x07".to_vec()), 1 => Just("\u{1100}".into()), 1 => any::<u8>().prop_map(|b| vec![b]),
        ], 0..30)
    ) {
        let typed = bytes.concat();
        let text = clean(&typed);
        let (word, rest) = split_word(&typed);
        prop_assert!(typed.starts_with(word) && typed.ends_with(rest));
        let mut words = text.split_whitespace();
        let word = clean(word);
        prop_assert_eq!(word.trim(), words.next().unwrap_or_default());
        prop_assert!(clean(rest).split_whitespace().eq(words));
        let behind = behind_blanks(&typed);
        prop_assert!(!clean(behind).starts_with(char::is_whitespace));
        prop_assert!(clean(behind).split_whitespace().eq(text.split_whitespace()));
    }

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let once = clean(&bytes).into_owned();
        prop_assert!(!once.contains(forbidden));
        prop_assert_eq!(cleaned(&once), once);
    }
}
