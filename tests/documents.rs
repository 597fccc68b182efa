//! What operators read says what the program reads: every variable, everywhere, and no other.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::programs::{MANDOC, installed};
use mio_chat::config::{Config, read_file};

const MAN_PAGE: &str = "scripts/mio-chat.1";
const SETTINGS: &str = "docs/settings.md";
/// Lines of the README, at most: what is for others than users and operators stands in `docs`.
const README_LINES: usize = 250;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap()
}

/// Those of our variables that other programs use, too.
const SHARED: [&str; 3] = ["HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"];

/// The names of our variables among these words.
fn names<'a>(words: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let is_ours = |word: &&str| {
        let rest = word.strip_prefix("CHAT_").or_else(|| word.strip_prefix("GEMINI_"));
        rest.is_some_and(|rest| !rest.is_empty()) || SHARED.contains(word)
    };
    words.filter(is_ours).collect()
}

/// The variables that a text names.
fn named(text: &str) -> BTreeSet<&str> {
    names(text.split(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')))
}

/// The code that reads variables.
fn source() -> String {
    let code = |name| read(name).split("#[cfg(test)]\nmod").next().unwrap().to_owned();
    code("src/config.rs") + &code("src/tunnel.rs")
}

/// The string literals in the code that are names of variables.
fn variables(source: &str) -> BTreeSet<&str> {
    let is_name = |text: &&str| text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    names(source.split('"').filter(is_name))
}

#[test]
fn every_variable_is_described_and_no_other() {
    let source = source();
    let variables = variables(&source);
    assert!(
        variables.len() >= 30 && SHARED.iter().all(|name| variables.contains(name)),
        "found only {variables:?}"
    );
    for name in [SETTINGS, MAN_PAGE, ".env.example"] {
        let text = read(name);
        let named = named(&text);
        let missing: Vec<_> = variables.difference(&named).collect();
        let unknown: Vec<_> = named.difference(&variables).collect();
        assert!(missing.is_empty(), "{name} does not mention {missing:?}");
        assert!(unknown.is_empty(), "{name} mentions {unknown:?}, which nothing reads");
    }
    for name in ["src/main.rs", "README.md", "docs/running.md"] {
        let text = read(name);
        let unknown: Vec<_> = named(&text).difference(&variables).copied().collect();
        assert!(unknown.is_empty(), "{name} mentions {unknown:?}, which nothing reads");
    }
}

/// Where each variable is described: a cell of a table, an item of the manual, a line of the example.
#[test]
fn every_variable_has_its_place() {
    let source = source();
    let (settings, manual, example) = (read(SETTINGS), read(MAN_PAGE), read(".env.example"));
    for variable in variables(&source) {
        let cell = format!("`{variable}`");
        let is_cell =
            |line: &str| line.split('|').nth(1).is_some_and(|first| first.contains(&cell));
        assert!(settings.lines().any(is_cell), "{SETTINGS} has no row for {variable}");
        let item = format!("Ev {variable} Ns =");
        let is_item = |line: &str| line.starts_with(".It ") && line.contains(&item);
        assert!(manual.lines().any(is_item), "{MAN_PAGE} has no item for {variable}");
        let setting = format!("#{variable}=");
        let lines = example.lines().filter(|line| line.starts_with(&setting)).count();
        assert_eq!(lines, 1, ".env.example has no line for {variable}, or several");
    }
}

/// What the settings in a text amount to. Whether a certificate is the default one or named makes a
/// difference, which does not count here.
fn meaning(settings: &str) -> String {
    let file = read_file(settings).unwrap();
    let config = Config::parse(|name| file.get(name).cloned()).unwrap();
    format!("{config:#?}").replace("named: true", "named: false")
}

#[test]
fn the_example_and_the_manual_show_the_defaults() {
    let example = read(".env.example");
    let settings: String = example
        .lines()
        .filter_map(|line| line.strip_prefix('#').filter(|rest| !named(rest).is_empty()))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(meaning(&settings), meaning(""));

    let manual = read(MAN_PAGE);
    let items = manual.lines().filter_map(|line| line.strip_prefix(".It Ev "));
    let settings: String = items
        .flat_map(|items| items.split(" , Ev "))
        .map(|item| item.replace(" Ns =", "=").replace("\\:", "") + "\n")
        .collect();
    assert_eq!(named(&settings), named(&example));
    assert_eq!(meaning(&settings), meaning(""));
}

/// Whether the pages it refers to are installed is the machine's affair.
#[test]
fn the_manual_is_well_formed() {
    if !installed(&[MANDOC]) {
        return;
    }
    let output = Command::new("mandoc").args(["-T", "lint"]).arg(path(MAN_PAGE)).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let of_others = "referenced manual not found";
    let complaints: Vec<_> = said.lines().filter(|line| !line.contains(of_others)).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    assert!(output.status.success() || !said.is_empty(), "{output:?}");
}

/// The cells of the settings' tables that name a variable and its default, if it is a value.
fn defaults(text: &str) -> BTreeSet<(String, String)> {
    let row = |line: &str| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, name, default, ..] = *cells else { return None };
        let is_one = name.starts_with('`') && !name.contains(", ");
        is_one.then(|| (name.to_owned(), default.to_owned()))
    };
    text.lines().filter_map(row).filter(|(name, _)| !named(name).is_empty()).collect()
}

#[test]
fn the_readme_says_of_a_setting_what_the_page_of_all_settings_says() {
    let (readme, all) = (defaults(&read("README.md")), defaults(&read(SETTINGS)));
    assert!(readme.len() >= 8, "{readme:?}");
    let other: Vec<_> = readme.difference(&all).collect();
    assert!(other.is_empty(), "{other:?}");
}

/// What a heading is called in a link, as GitHub has it.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
    heading.to_lowercase().chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    let heading = |line: &str| {
        let title = line.trim_start_matches('#');
        (title.len() < line.len()).then(|| anchor(title.trim()))
    };
    text.lines().filter_map(heading).collect()
}

#[test]
fn what_the_pages_link_to_is_there() {
    let mut pages = vec!["README.md".to_owned()];
    for entry in fs::read_dir(path("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        pages.extend(name.ends_with(".md").then(|| format!("docs/{name}")));
    }
    assert!(pages.len() >= 6, "{pages:?}");
    for page in pages {
        let text = read(&page);
        let dir = path(&page).parent().unwrap().to_owned();
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let images = text.split("src=\"").skip(1).filter_map(|rest| rest.split('"').next());
        for target in targets.chain(images).filter(|target| !target.contains("://")) {
            let (file, place) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { path(&page) } else { dir.join(file) };
            assert!(file.exists(), "{page} links to {target}, which is not there");
            let is_there =
                place.is_empty() || anchors(&fs::read_to_string(&file).unwrap()).contains(place);
            assert!(is_there, "{page} links to {target}, a heading that is not there");
        }
    }
}

#[test]
fn the_readme_is_short_and_has_its_contents() {
    let readme = read("README.md");
    let lines = readme.lines().count();
    assert!(lines <= README_LINES, "README.md has {lines} lines");
    for heading in readme.lines().filter_map(|line| line.strip_prefix("## ")) {
        let link = format!("- [{heading}](#{})", anchor(heading));
        assert!(readme.contains(&link), "the contents of README.md lack {heading}");
    }
}

#[test]
fn the_map_has_every_module() {
    let map = read("docs/architecture.md");
    for dir in ["src", "src/net", "src/chat", "src/outbox"] {
        for entry in fs::read_dir(path(dir)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let is_module = name.ends_with(".rs") && !name.starts_with("tests");
            let left_out = ["src/lib.rs", "src/net/mod.rs"];
            let module = format!("{dir}/{name}");
            if is_module && !left_out.contains(&&*module) {
                assert!(map.contains(&format!("{module} ")), "the map lacks {module}");
            }
        }
    }
}

/// The table of commands is the program's: a row of the README for each.
#[test]
fn the_readme_has_every_command() {
    let source = read("src/chat/command.rs");
    let names: Vec<_> =
        source.split("name: \"/").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(names.len() >= 12, "{names:?}");
    let readme = read("README.md");
    let cells: Vec<_> = readme.lines().filter_map(|line| line.split('|').nth(1)).collect();
    for name in names {
        let is_named = cells.iter().any(|cell| {
            cell.split('`').any(|word| word.split(' ').next() == Some(&format!("/{name}")))
        });
        assert!(is_named, "README.md has no row for /{name}");
    }
}
