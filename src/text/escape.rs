//! Where an escape sequence ends (ECMA-48, sections 5.3 to 5.6), and the few that terminals send beside
//! it: the keys of the Linux console, SS3, and the mouse of X10. Owns no state.

const ESC: char = '\u{1b}';
/// CSI and its like as single characters (C1).
const CSI: char = '\u{9b}';

/// The bytes that an escape sequence takes from the front of `text`, if there is one: at least those of
/// its first character. One without its end takes its first two characters, and an ESC that begins none
/// only itself: nobody's line is swallowed by a key that was pressed by mistake.
pub(super) fn sequence(text: &str) -> Option<usize> {
    let mut chars = text.chars();
    match chars.next()? {
        ESC => Some(1 + after_esc(chars.as_str())),
        CSI => Some(CSI.len_utf8() + control_sequence(chars.as_str()).unwrap_or(0)),
        c @ ('\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}') => {
            Some(c.len_utf8() + control_string(chars.as_str()).unwrap_or(0))
        }
        _ => None,
    }
}

/// The bytes of a sequence behind its ESC.
fn after_esc(text: &str) -> usize {
    let Some(c) = text.chars().next() else { return 0 };
    let rest = text.get(c.len_utf8()..).unwrap_or_default();
    match c {
        '[' => 1 + control_sequence(rest).unwrap_or(0),
        'P' | 'X' | ']' | '^' | '_' => 1 + control_string(rest).unwrap_or(0),
        // Keys of application mode: one more character.
        'O' => 1 + printable(rest),
        // Some intermediate characters, and the final one.
        ' '..='/' => {
            let rest = rest.trim_start_matches(|c| matches!(c, ' '..='/'));
            let last = rest.starts_with(|c| matches!(c, '0'..='~'));
            if last { text.len() - rest.len() + 1 } else { 1 }
        }
        // Alt and a letter.
        _ if c.is_ascii_alphabetic() => 0,
        '0'..='~' => 1,
        _ => 0,
    }
}

/// The bytes of a control sequence behind its introducer, if it has an end.
fn control_sequence(text: &str) -> Option<usize> {
    let rest = text.trim_start_matches(|c| matches!(c, ' '..='?'));
    let parameters = text.len() - rest.len();
    match rest.chars().next()? {
        // A function key of the Linux console.
        '[' if parameters == 0 => Some(1 + printable(rest.get(1..)?)),
        // The X10 mouse: a button, a column, a row, each a character.
        'M' if parameters == 0 => {
            let mut three = rest.get(1..)?.chars();
            let found = three.by_ref().take(3).count();
            Some(if found == 3 { rest.len() - three.as_str().len() } else { 1 })
        }
        '@'..='~' => Some(parameters + 1),
        _ => None,
    }
}

/// The bytes of a control string behind its introducer, with its terminator: ST, BEL, or what cancels
/// it. Another escape sequence means that there is none, so that nothing is looked through twice.
fn control_string(text: &str) -> Option<usize> {
    let ends = |c| matches!(c, '\u{7}' | '\u{18}' | '\u{1a}' | ESC | '\u{80}'..='\u{9f}');
    let (at, c) = text.char_indices().find(|(_, c)| ends(*c))?;
    match c {
        ESC => text.get(at + 1..)?.starts_with('\\').then_some(at + 2),
        '\u{7}' | '\u{18}' | '\u{1a}' | '\u{9c}' => Some(at + c.len_utf8()),
        _ => None,
    }
}

/// The bytes of one printable character, if one is next.
fn printable(text: &str) -> usize {
    usize::from(text.starts_with(|c: char| c.is_ascii_graphic()))
}
