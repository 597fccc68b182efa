//! On the steady path a message allocates nothing, however many hear it: from its bytes to the slices
//! that a socket is given.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

use std::io::IoSlice;
use std::time::{Duration, Instant};

use mio_chat::chat::{Chat, Event, Settings};
use mio_chat::id::ConnId;
use mio_chat::limits::{DEFAULT_SEND_QUEUE_BYTES, SLICES_PER_WRITE};
use mio_chat::line::LineDecoder;
use mio_chat::outbox::Outboxes;

struct Server {
    chat: Chat,
    out: Outboxes,
    now: Instant,
    members: Vec<(ConnId, LineDecoder)>,
    delivered: usize,
}

impl Server {
    fn new(members: usize) -> Self {
        let secs = Duration::from_secs;
        let chat = Chat::new(Settings {
            messages_per_window: 10,
            // Less than a lobby takes.
            rate_window: secs(3),
            connections_per_address: 0,
            history_age: secs(600),
            lobby_ttl: secs(60),
            login_timeout: secs(60),
            idle_timeout: None,
            assistant: None,
        });
        let out = Outboxes::new(DEFAULT_SEND_QUEUE_BYTES);
        let mut server = Self { chat, out, now: Instant::now(), members: Vec::new(), delivered: 0 };
        for slot in 0..members {
            let id = ConnId::new(slot, 1).unwrap();
            server.members.push((id, LineDecoder::default()));
            server.out.open(id);
            let peer = "192.0.2.1:4000".parse().unwrap();
            server.chat.handle(server.now, Event::Connected { id, peer }, &mut server.out);
            server.receive(slot, format!("user{slot}\n").as_bytes());
            server.send();
        }
        server
    }

    fn receive(&mut self, from: usize, mut bytes: &[u8]) {
        let Some((id, decoder)) = self.members.get_mut(from) else { return };
        while let Some((line, _)) = decoder.next_line(&mut bytes) {
            self.chat.handle(self.now, Event::Line { id: *id, line }, &mut self.out);
        }
        assert!(self.chat.poll_request().is_none());
    }

    fn send(&mut self) {
        for (id, _) in &self.members {
            self.out.end_turn(*id);
            let mut slices = [IoSlice::new(&[]); SLICES_PER_WRITE];
            let filled = self.out.slices(*id, &mut slices);
            let bytes = slices.iter().take(filled).map(|slice| slice.len()).sum();
            self.out.advance(*id, bytes);
            self.delivered += bytes;
        }
        self.out.take_dirty().for_each(drop);
    }
}

#[test]
fn a_message_allocates_nothing() {
    let mut server = Server::new(40);
    // A line that comes in two reads is put together in room of its own: not the steady path.
    let second = |server: &mut Server, n: usize| {
        server.now += Duration::from_secs(1);
        for from in 0..40 {
            server.receive(from, b"what is said by one is heard by all\n");
            server.receive(from, b"twice\r\n");
            if from % (1 + n % 7) == 0 {
                server.send();
            }
        }
        server.send();
    };
    (0..20).for_each(|n| second(&mut server, n));
    let delivered = server.delivered;
    let counted = allocation_counter::measure(|| (20..40).for_each(|n| second(&mut server, n)));
    assert!(server.delivered - delivered > 40 * 40 * 20 * 30);
    assert_eq!(counted.count_total, 0, "{counted:?}");
}
