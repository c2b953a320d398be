//! STOMP 1.0, 1.1 and 1.2: frames from clients, frames to them, and what their headers mean. Of the versions' rules it
//! keeps the strict ones, except that a line may end with CR LF in every version.

mod command;
mod content;
mod decoder;
pub mod destination;
mod escape;
mod head;
mod headers;
pub mod heart_beat;
mod message;
mod reply;
mod version;
mod violation;

pub use command::ClientCommand;
pub use content::{TooManyHeaders, content_type_of, data_of, publication_headers};
pub use decoder::{Decoder, Event, Frame, Limits};
pub use headers::FrameHeaders;
pub use message::{MessageId, gap_tail, message_head, message_label, message_tail};
pub use reply::{connected, error, receipt};
pub use version::Version;
pub use violation::Violation;
