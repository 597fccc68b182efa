//! Rox and a Gemini that is not of our making. `scripts/llmock` starts one and runs this with its
//! address in `LLMOCK_URL`; without that there is nothing to test against, and it says so.

#![allow(clippy::unwrap_used)]

mod common;

use common::Server;
use common::programs::skipped;

#[test]
fn the_assistant_understands_another_ones_gemini() {
    let Ok(url) = std::env::var("LLMOCK_URL") else {
        return skipped("LLMOCK_URL is not set; run scripts/llmock");
    };
    let server = Server::with(&[("GEMINI_API_KEY", "any-key"), ("GEMINI_BASE_URL", &url)]);
    let mut alice = server.login("alice");
    for _ in 0..3 {
        alice.send("/ai how is the weather?");
        let seen = alice.expect("│ Bring a hat, alice.\n");
        assert!(seen.contains("[AI Response to alice] Rox:\n  │ It is sunny in here.\n"), "{seen}");
    }
    alice.send("/ai am I asking too often?");
    alice.expect("[AI] The AI's rate limit is reached. Try again in 1 second.\n");
    alice.send("/ai something without an answer");
    alice.expect("[AI] The AI model of this server is not available any more.\n");
    // The conversation goes on where it was.
    alice.send("/ai and the weather tomorrow?");
    alice.expect("│ Bring a hat, alice.\n");
}
