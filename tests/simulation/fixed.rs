//! The long texts that are the same for everybody of one width: taken once from a chat of their own,
//! so that the model need not repeat them. What they must hold is checked here.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use mio_chat::chat::{Chat, Event, Settings};
use mio_chat::id::ConnId;
use mio_chat::limits::SLICES_PER_WRITE;
use mio_chat::line::Line;
use mio_chat::outbox::Outboxes;

use super::model::Fixed;
use super::screen::Screen;

/// The texts that were taken already, for each width.
type Texts = BTreeMap<Option<usize>, [&'static str; 3]>;
static TEXTS: Mutex<Texts> = Mutex::new(BTreeMap::new());

/// The welcome, the help, and the list of pictures at this width.
fn texts(columns: Option<usize>) -> [String; 3] {
    let hour = Duration::from_secs(3600);
    let mut chat = Chat::new(Settings {
        messages_per_window: 0,
        rate_window: hour,
        connections_per_address: 0,
        history_age: hour,
        lobby_ttl: hour,
        login_timeout: hour,
        idle_timeout: None,
        assistant: None,
    });
    let (now, id) = (Instant::now(), ConnId::new(0, 1).unwrap());
    let mut out = Outboxes::new(1 << 20);
    let mut screen = Screen::default();
    out.open(id);
    let peer = "192.0.2.1:40000".parse().unwrap();
    let line = |text: &'static str| Event::Line { id, line: Line::Complete(text.as_bytes()) };
    let [welcome, _, help, pictures] =
        [Event::Connected { id, peer }, line("somebody"), line("/help"), line("/sp list")].map(
            |event| {
                chat.handle(now, event, &mut out);
                while out.unsent(id) > 0 {
                    let mut slices = [IoSlice::new(&[]); SLICES_PER_WRITE];
                    let filled = out.slices(id, &mut slices);
                    let sizes = slices[..filled].iter().map(|slice| slice.len());
                    let size: usize = sizes.sum();
                    slices[..filled].iter().for_each(|slice| screen.receive(slice));
                    out.advance(id, size);
                }
                out.set_columns(id, columns.map(|columns| u16::try_from(columns).unwrap()));
                screen.read(false)
            },
        );
    assert!(welcome.contains("[● CONNECTED] You're live! Start chatting now..."), "{welcome}");
    assert!(welcome.ends_with("\nEnter your username: "), "{welcome}");
    assert!(["/help", "/msg", "/quit"].iter().all(|name| help.contains(name)), "{help}");
    assert!(pictures.contains("(=^・^=)"), "{pictures}");
    let rows = help.lines().chain(pictures.lines());
    let widest = rows.map(mio_chat::wrap::width).max();
    assert!(widest <= Some(columns.unwrap_or(SCREEN)), "{help}{pictures}");
    [welcome, help, pictures]
}

/// Columns that these texts have at most.
const SCREEN: usize = 79;

/// The text, as it is seen without colours at this width.
pub fn text(which: Fixed, columns: Option<usize>) -> &'static str {
    let mut known = TEXTS.lock().unwrap();
    let [welcome, help, pictures] = known
        .entry(columns)
        .or_insert_with(|| texts(columns).map(|text| &*Box::leak(text.into_boxed_str())));
    match which {
        Fixed::Welcome => welcome,
        Fixed::Help => help,
        Fixed::Pictures => pictures,
    }
}
