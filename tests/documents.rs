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
    for name in ["README.md", MAN_PAGE, ".env.example"] {
        let text = read(name);
        let named = named(&text);
        let missing: Vec<_> = variables.difference(&named).collect();
        let unknown: Vec<_> = named.difference(&variables).collect();
        assert!(missing.is_empty(), "{name} does not mention {missing:?}");
        assert!(unknown.is_empty(), "{name} mentions {unknown:?}, which nothing reads");
    }
    let help = read("src/main.rs");
    assert!(named(&help).is_subset(&variables), "--help mentions what nothing reads");
}

/// Where each variable is described: a cell of a README table, an item of the manual, a line of the
/// example.
#[test]
fn every_variable_has_its_place() {
    let source = source();
    let (readme, manual, example) = (read("README.md"), read(MAN_PAGE), read(".env.example"));
    for variable in variables(&source) {
        let cell = format!("`{variable}`");
        let is_cell =
            |line: &str| line.split('|').nth(1).is_some_and(|first| first.contains(&cell));
        assert!(readme.lines().any(is_cell), "README.md has no row for {variable}");
        let item = format!("Ev {variable} Ns =");
        let is_item = |line: &str| line.starts_with(".It ") && line.contains(&item);
        assert!(manual.lines().any(is_item), "{MAN_PAGE} has no item for {variable}");
        let setting = format!("#{variable}=");
        let settings = example.lines().filter(|line| line.starts_with(&setting)).count();
        assert_eq!(settings, 1, ".env.example has no line for {variable}, or several");
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
