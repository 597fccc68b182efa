//! The profile pictures: a name to choose them by, and what others see.

/// The picture that everybody starts with.
pub const DEFAULT: &str = "[@_@]";

/// All pictures, in the order of `/sp list`.
pub static PICTURES: &[(&str, &str)] = &[
    ("default", DEFAULT),
    ("cat", "(=^・^=)"),
    ("dog", "(U・ᴥ・U)"),
    ("bear", "ʕ•ᴥ•ʔ"),
    ("bunny", "(\\(•ᴗ•)/)"),
    ("mouse", "<:3)~~"),
    ("fox", "(^._.^)ﾉ"),
    ("owl", "{O,o}"),
    ("bird", "(•ө•)"),
    ("penguin", "<(\")"),
    ("pig", "(^(oo)^)"),
    ("cow", "(=\\__/=)"),
    ("monkey", "@('_')@"),
    ("koala", "ʕ·ᴥ·ʔ"),
    ("fish", "><(((º>"),
    ("crab", "(V)(;,,;)(V)"),
    ("octopus", "~(o.o)~"),
    ("snail", "@_'-'"),
    ("spider", "/\\oo/\\"),
    ("bat", "/|\\^..^/|\\"),
    ("dragon", "<(~.~)~~>"),
    ("cool", "(⌐■_■)"),
    ("happy", "(◕‿◕)"),
    ("smile", "(•‿•)"),
    ("grin", "(^▽^)"),
    ("wink", "(^_~)"),
    ("sad", "(╥﹏╥)"),
    ("cry", "(T_T)"),
    ("angry", "(ಠ_ಠ)"),
    ("shy", "(⁄ ⁄•⁄ω⁄•⁄ ⁄)"),
    ("love", "(♥‿♥)"),
    ("kiss", "(^ε^)♥"),
    ("sleepy", "(-_-)zzZ"),
    ("surprised", "(O_O)"),
    ("confused", "(o_O)?"),
    ("crazy", "(@_@;)"),
    ("shrug", "¯\\_(ツ)_/¯"),
    ("flip", "(╯°□°)╯"),
    ("dance", "♪┏(・o・)┛♪"),
    ("party", "\\(^o^)/"),
    ("music", "♪(´▽`)"),
    ("star", "(★‿★)"),
    ("fire", "(🔥_🔥)"),
    ("sun", "☀(◠‿◠)☀"),
    ("moon", "(☾_☾)"),
    ("snow", "❄(•_•)❄"),
    ("flower", "(✿◠‿◠)"),
    ("rainbow", "(ﾉ◕ヮ◕)ﾉ*:・ﾟ✧"),
    ("coffee", "c[_](•_•)"),
    ("pizza", "(•o•)◁"),
    ("alien", "[👽_👽]"),
    ("robot", "[¬º-°]¬"),
    ("ninja", "(-■_■-)"),
    ("pirate", "(✗_•)"),
    ("king", "♔(•_•)♔"),
    ("queen", "♕(◡‿◡)♕"),
    ("knight", "(•_•)o=|==>"),
    ("wizard", "(∩•_•)⊃━☆"),
    ("devil", "ψ(｀∇´)ψ"),
    ("angel", "°(◡‿◡)°"),
    ("ghost", "(っ◕‿◕)っ"),
    ("zombie", "[x_x]"),
    ("skull", "(☠_☠)"),
    ("nerd", "(⊙_⊙)b"),
    ("hacker", "[>_<]$"),
    ("boxer", "(ง•_•)ง"),
    ("strong", "ᕙ(•_•)ᕗ"),
    ("thumbs", "(•_•)b"),
    ("zen", "(‾‿‾)"),
];

/// The picture of this name, without regard to case.
#[must_use]
pub fn find(name: &str) -> Option<&'static str> {
    let row = PICTURES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
    Some(row.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text;

    #[test]
    fn there_are_enough_and_they_differ() {
        assert!(PICTURES.len() >= 55);
        for (at, (name, picture)) in PICTURES.iter().enumerate() {
            assert!(!name.contains(' ') && !name.is_empty());
            for (other, other_picture) in &PICTURES[..at] {
                assert!(name != other && picture != other_picture, "{name} and {other}");
            }
        }
        assert_eq!(find("CAT"), Some("(=^・^=)"));
        assert_eq!(find("unicorn"), None);
    }

    #[test]
    fn they_are_text_like_any_other_and_small() {
        for (name, picture) in PICTURES {
            assert_eq!(text::clean(picture.as_bytes()), *picture, "{name}");
            assert!(text::width(picture) <= 20, "{name}");
        }
    }
}
