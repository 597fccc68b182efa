//! The commands that are not about lobbies.

use super::*;
use crate::chat::command::COMMANDS;
use crate::chat::picture::PICTURES;
use crate::text;

#[test]
fn help_lists_every_command_with_a_text() {
    let mut world = World::new();
    let alice = world.user("alice");
    let lines = world.answer(alice, "/help");
    for name in [
        "/help", "/users", "/lobbies", "/create", "/join", "/sp", "/msg", "/tag", "/ai", "/setai",
        "/color", "/quit",
    ] {
        let row = lines
            .iter()
            .map(|line| line.trim_start())
            .find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
        let row = row.unwrap_or_else(|| panic!("{name} in {lines:#?}"));
        let spec = COMMANDS.iter().find(|spec| spec.name == name).unwrap();
        assert!(row.ends_with(spec.help) && !spec.help.is_empty(), "{row}");
    }
    assert!(lines.iter().all(|line| text::width(line) <= 80), "{lines:#?}");
}

#[test]
fn an_unknown_command_is_said_to_be_unknown() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    let long = format!("/{}", "x".repeat(100));
    let cut = format!(": /{}….", "x".repeat(31));
    for (line, about) in [
        ("/nothing", ": /nothing."),
        ("/", ": /."),
        ("/hlep", ": /hlep. Did you mean /help?"),
        ("/helpme", ": /helpme. Did you mean /help?"),
        ("/JION den secret", ": /JION. Did you mean /join?"),
        ("/exit", ": /exit. Did you mean /quit?"),
        ("/msgbob hi", ": /msgbob. Did you mean /msg?"),
        ("/ help", ": /."),
        (&long, &cut),
    ] {
        let unknown = format!("Unknown command{about} Type /help for available commands.");
        world.answers(alice, line, &[&unknown]);
    }
    world.sees(bob, &[]);
}

#[test]
fn a_known_command_without_its_arguments_gives_its_usage() {
    let mut world = World::new();
    let alice = world.user("alice");
    world.answers(alice, "/msg", &["Usage: /msg <user> <message>"]);
    world.answers(alice, "/MSG bob", &["Usage: /msg <user> <message>"]);
    world.answers(alice, "/msg bob   ", &["Usage: /msg <user> <message>"]);
    world.answers(alice, "/tag", &["Usage: /tag <user> <message>"]);
    world.answers(alice, "/tag bob", &["Usage: /tag <user> <message>"]);
    world.answers(alice, "/create", &["Usage: /create <name> [password] <desc>"]);
    world.answers(alice, "/create den", &["Usage: /create <name> [password] <desc>"]);
    world.answers(alice, "/join", &["Usage: /join <name> [password]"]);
    world.answers(alice, "/ai", &["Usage: /ai <question>"]);
    for line in ["/setai", "/color", "/color blue"] {
        let seen = world.answer(alice, line);
        let usage = format!("Usage: {} ", line.split(' ').next().unwrap());
        assert!(seen.len() == 1 && seen[0].starts_with(&usage), "{seen:?}");
    }
}

#[test]
fn the_case_of_a_command_does_not_matter() {
    let mut world = World::new();
    let alice = world.user("alice");
    let expected = world.answer(alice, "/users");
    for line in ["/USERS", "/Users", "  /uSeRs  "] {
        assert_eq!(world.answer(alice, line), expected);
    }
}

#[test]
fn a_command_is_not_shown_to_others() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    for line in ["/help", "/users", "/lobbies", "/sp cat", "/sp list", "/join nowhere"] {
        world.say(alice, line);
        assert_eq!(world.raw(bob), "", "{line}");
    }
}

#[test]
fn users_lists_the_lobby_sorted_by_name_with_pictures() {
    let mut world = World::new();
    for name in ["dave", "Alice", "carol", "bob"] {
        world.user(name);
    }
    let zed = world.user("Zed");
    world.say(zed, "/create coding talk");
    world.say(zed, "/sp bear");
    world.clear();
    world.answers(
        zed,
        "/users",
        &[
            "=== Users in 'general' (5) ===",
            "[@_@] Alice",
            "[@_@] bob",
            "[@_@] carol",
            "[@_@] dave",
            "ʕ•ᴥ•ʔ Zed",
        ],
    );
    world.say(zed, "/join coding");
    world.clear();
    world.answers(zed, "/users", &["=== Users in 'coding' (1) ===", "ʕ•ᴥ•ʔ Zed"]);
}

#[test]
fn a_picture_is_chosen_by_name_and_reset() {
    let mut world = World::new();
    let alice = world.user("alice");
    world.answers(alice, "/sp cat", &["Profile picture changed to: (=^・^=)"]);
    for line in ["/sp", "/sp default", "/SP   "] {
        world.say(alice, "/sp CAT");
        world.clear();
        world.answers(alice, line, &["Profile picture reset to default."]);
        let listed = world.answer(alice, "/users");
        assert_eq!(listed[1], "[@_@] alice");
    }
    let error = "Profile picture not found: unicorn. Use /sp list to see options.";
    world.answers(alice, "/sp unicorn", &[error]);
}

#[test]
fn sp_list_shows_every_picture_in_aligned_columns_within_80_cells() {
    let mut world = World::new();
    let alice = world.user("alice");
    let lines = world.answer(alice, "/sp list");
    assert!(lines.iter().all(|line| text::width(line) <= 80), "{lines:#?}");
    let mut columns = HashSet::new();
    for (name, picture) in PICTURES {
        let found = lines.iter().find_map(|line| {
            let (before, after) = line.split_once(picture)?;
            let free = after.is_empty() || after.starts_with(' ');
            let named = before.trim_end().rsplit(' ').next() == Some(name);
            (free && named).then(|| text::width(before))
        });
        columns.insert(found.unwrap_or_else(|| panic!("{name} in {lines:#?}")));
    }
    let most = lines.iter().map(|line| text::width(line)).max().unwrap();
    assert!(columns.len() <= most / 10, "not aligned: {columns:?}");
}

#[test]
fn without_a_key_the_assistant_is_not_available() {
    let mut world = World::with(|settings| settings.assistant = None);
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    let none = "AI is not available on this server";
    world.answers(alice, "/ai why?", &[none]);
    world.answers(alice, "/setai be kind", &[none]);
    world.sees(bob, &[]);
}

#[test]
fn quit_says_goodbye_and_closes_and_the_others_are_told() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    world.say(alice, "/quit");
    let raw = world.raw(alice);
    assert_eq!(plain(&raw), "Disconnecting from server. Goodbye!\n");
    assert!(!raw.contains(PROMPT));
    assert_eq!(world.closed, [alice]);
    world.sees(bob, &["[LOBBY] alice has left the lobby"]);
}

#[test]
fn lines_behind_quit_are_not_handled() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    world.packet(alice, &["/QUIT", "too late", "/quit"]);
    world.sees(bob, &["[LOBBY] alice has left the lobby"]);
    assert_eq!(world.closed, [alice]);
}

#[test]
fn end_of_input_is_a_quit_and_what_is_owed_is_delivered() {
    let mut world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    world.deaf.insert(alice);
    world.say(alice, "last words");
    world.handle(Event::EndOfInput { id: alice });
    assert_eq!(world.seen(alice), message("alice", "last words"));
    assert_eq!(world.closed, [alice]);
    let [head, text] = message("alice", "last words");
    world.sees(bob, &[&head, &text, "[LOBBY] alice has left the lobby"]);
}
