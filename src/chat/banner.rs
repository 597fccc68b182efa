//! The name of the program in block letters, for whoever connects and for the terminal where the server
//! starts. Owns no state.

use std::fmt::Write as _;

use crate::text;

const CYAN: &str = "\x1b[36m";
const RESET: &str = "\x1b[0m";

/// The name in block letters, 62 columns.
const LETTERS: [&str; 6] = [
    "███╗   ███╗██╗ ██████╗        ██████╗██╗  ██╗ █████╗ ████████╗",
    "████╗ ████║██║██╔═══██╗      ██╔════╝██║  ██║██╔══██╗╚══██╔══╝",
    "██╔████╔██║██║██║   ██║█████╗██║     ███████║███████║   ██║   ",
    "██║╚██╔╝██║██║██║   ██║╚════╝██║     ██╔══██║██╔══██║   ██║   ",
    "██║ ╚═╝ ██║██║╚██████╔╝      ╚██████╗██║  ██║██║  ██║   ██║   ",
    "╚═╝     ╚═╝╚═╝ ╚═════╝        ╚═════╝╚═╝  ╚═╝╚═╝  ╚═╝   ╚═╝   ",
];

/// Columns between the sides of the banner's box; the box has two more.
const BOX_COLUMNS: usize = 68;

/// The banner: a box of 70 columns, the name in block letters, and these lines below it; in colours
/// or without.
#[must_use]
pub fn banner(lines: &[&str], colors: bool) -> String {
    let [cyan, reset] = if colors { [CYAN, RESET] } else { [""; 2] };
    let mut out = String::new();
    let mut row = |color: &str, content: &str| {
        let pad = BOX_COLUMNS.saturating_sub(text::width(content));
        let (left, right) = (pad / 2, pad - pad / 2);
        let _ = writeln!(
            out,
            "{cyan}║{reset}{:left$}{color}{content}{reset}{:right$}{cyan}║{reset}",
            "", ""
        );
    };
    row("", "");
    LETTERS.iter().for_each(|letters| row(cyan, letters));
    row("", "");
    lines.iter().for_each(|line| row(cyan, line));
    row("", "");
    let bar = "═".repeat(BOX_COLUMNS);
    format!("{cyan}╔{bar}╗{reset}\n{out}{cyan}╚{bar}╝{reset}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_is_a_box_of_70_columns() {
        assert!(!banner(&["hello"], false).contains('\x1b'));
        let banner = banner(&["hello"], true);
        let plain: Vec<_> =
            banner.lines().map(|line| line.replace(CYAN, "").replace(RESET, "")).collect();
        assert!(plain.iter().all(|line| text::width(line) == 70), "{plain:#?}");
    }
}
