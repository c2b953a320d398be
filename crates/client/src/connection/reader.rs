//! Owns the reading half: whole messages in, pings and closes answered, silence noticed.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Arc;

use fastwebsockets::{FragmentCollectorRead, Frame, OpCode, WebSocketError, WebSocketRead};
use tokio::io::AsyncRead;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use ullim_protocol::codes;

use super::{Ended, Inbound, Outbound, Pulse};

/// The largest message that is read, in bytes.
const MESSAGE: usize = 64 << 20;

/// Reads until the connection ends; the last thing in `messages` says why. While `messages` is full nothing is read: that
/// is the back-pressure.
pub(super) async fn read<S: AsyncRead + Unpin>(
    mut socket: WebSocketRead<S>,
    pulse: Arc<Pulse>,
    messages: mpsc::Sender<Inbound>,
    outbound: mpsc::Sender<Outbound>,
) {
    socket.set_max_message_size(MESSAGE);
    // A ping must come out of the read as well: it is a sign of life.
    socket.set_auto_pong(false);
    socket.set_auto_close(false);
    let mut socket = FragmentCollectorRead::new(socket);
    let (reply, ended) = loop {
        let frame = match next_frame(&mut socket, &pulse).await {
            Ok(frame) => frame,
            Err(stop) => break stop,
        };
        match frame.opcode {
            OpCode::Text => match String::from_utf8(frame.payload.into()) {
                Ok(text) => {
                    if messages.send(Inbound::Message(text)).await.is_err() {
                        return;
                    }
                }
                Err(_) => break violation(codes::INVALID_UTF8.number, "a text is not UTF-8"),
            },
            OpCode::Binary => {
                let code = codes::UNSUPPORTED_DATA.number;
                break violation(code, "the node sent a binary message");
            }
            OpCode::Ping => {
                // A peer that pings but does not read need not be answered: the writer has given it up, or will.
                let _ = outbound.try_send(Outbound::Pong(frame.payload.into()));
            }
            OpCode::Close => break closed(&frame.payload),
            OpCode::Pong | OpCode::Continuation => {}
        }
    };
    if let Some(reply) = reply {
        let _ = outbound.try_send(reply);
    }
    let _ = messages.send(Inbound::Ended(ended)).await;
}

/// What to say to the peer, and to the owner.
type Stop = (Option<Outbound>, Ended);

/// The next frame, or the end if nothing is heard for as long as the peer may be silent. Only time spent waiting counts,
/// not time in which this side did not read.
async fn next_frame<'f, S: AsyncRead + Unpin>(
    socket: &mut FragmentCollectorRead<S>,
    pulse: &Pulse,
) -> Result<Frame<'f>, Stop> {
    let began = Instant::now();
    // Nothing is sent: both automatic answers are off.
    let mut send = |_: Frame<'f>| -> Ready<Result<(), Infallible>> { ready(Ok(())) };
    let mut frame = pin!(socket.read_frame(&mut send));
    loop {
        let heard = pulse.heard().max(began);
        let silence = pulse.silence();
        tokio::select! {
            // What has come counts, however late this task is.
            biased;
            frame = &mut frame => return frame.map_err(|error| failed(&error)),
            () = pulse.silence_changed() => {}
            () = sleep_until(heard + silence) => {
                // Otherwise a part of a long message came.
                if pulse.heard() <= heard {
                    let reason = format!("nothing was heard for {silence:?}");
                    return Err((None, Ended::broken(reason)));
                }
            }
        }
    }
}

fn violation(code: u16, reason: impl Into<String>) -> Stop {
    (Some(Outbound::Close { code: Some(code) }), Ended::broken(reason))
}

fn failed(error: &WebSocketError) -> Stop {
    match error {
        WebSocketError::UnexpectedEOF => (None, Ended::broken("the connection ended")),
        // Of TLS: the other side is gone without having said so.
        WebSocketError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            (None, Ended::broken("the connection ended"))
        }
        WebSocketError::IoError(error) => (None, Ended::broken(error.to_string())),
        WebSocketError::InvalidUTF8 => violation(codes::INVALID_UTF8.number, error.to_string()),
        WebSocketError::FrameTooLarge => violation(codes::MESSAGE_TOO_BIG.number, error.to_string()),
        _ => violation(codes::PROTOCOL_ERROR.number, error.to_string()),
    }
}

/// RFC 6455, 5.5.1: the code is given back.
fn closed(payload: &[u8]) -> Stop {
    let Some((code, reason)) = payload.split_first_chunk() else {
        let ended = Ended::closed(None, "the node closed without a code".to_owned());
        return (Some(Outbound::Close { code: None }), ended);
    };
    let code = u16::from_be_bytes(*code);
    let reason = String::from_utf8_lossy(reason).into_owned();
    (Some(Outbound::Close { code: Some(code) }), Ended::closed(Some(code), reason))
}
