//! The assistant's side of the conversation with Gemini: what is asked, and what an answer says.
//!
//! ```text
//! Conversation + Question -> request::{path, head, body} -> Call -> bytes to the service
//! events of its answer -> reply::pieces -> Answer -> lines for terminals
//! ```
//!
//! Pure functions and bounded memory: no socket, clock or random source, and no queue of questions.
//! Everything that comes back is treated as hostile: its text is cleaned, its size bounded, and the
//! key is removed from whatever the service says about it.

mod answer;
mod call;
mod conversation;
mod error;
mod fault;
mod inline;
mod json;
mod markdown;
mod persona;
pub mod reply;
pub mod request;
mod wrap;

pub use answer::Answer;
pub use call::{Action, Call};
pub use conversation::{Conversation, Turn};
pub use error::{AskError, Cause, Reason};
pub use persona::PERSONA;
pub use reply::{Ending, Finish, Piece};
pub use request::{Question, Said, body, head, path};
