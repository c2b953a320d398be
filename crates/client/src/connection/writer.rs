//! Owns the writing half: masked frames out, as many as wait in one write.

use std::sync::Arc;

use fastwebsockets::{Frame, WebSocketError, WebSocketWrite};
use tokio::io::{AsyncWrite, BufWriter};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Outbound, Pulse};

/// Encrypted or not.
pub(super) type Socket = BufWriter<Box<dyn AsyncWrite + Send + Unpin>>;

/// Writes until the connection closes, breaks, or a write takes longer than the peer may be silent. The reader finds out
/// by itself, and reads what the peer still said.
pub(super) async fn write(mut socket: WebSocketWrite<Socket>, pulse: Arc<Pulse>, mut frames: mpsc::Receiver<Outbound>) {
    // Its vectored writes would spin on a stream that takes no bytes.
    socket.set_writev(false);
    while let Some(frame) = frames.recv().await {
        let batch = write_batch(&mut socket, frame, &mut frames);
        match timeout(pulse.silence(), batch).await {
            Ok(Ok(Next::More)) => {}
            Ok(Ok(Next::Closed)) => return,
            Ok(Err(error)) => {
                tracing::debug!(%error, "write failed");
                return;
            }
            Err(_) => {
                tracing::debug!("write took too long");
                return;
            }
        }
    }
}

enum Next {
    More,
    Closed,
}

async fn write_batch(
    socket: &mut WebSocketWrite<Socket>,
    first: Outbound,
    frames: &mut mpsc::Receiver<Outbound>,
) -> Result<Next, WebSocketError> {
    let mut next = Some(first);
    while let Some(frame) = next {
        let (frame, is_last) = match frame {
            Outbound::Text(text) => (Frame::text(text.into_bytes().into()), false),
            Outbound::Pong(payload) => (Frame::pong(payload.into()), false),
            Outbound::Close { code: Some(code) } => (Frame::close(code, b""), true),
            Outbound::Close { code: None } => (Frame::close_raw(Vec::new().into()), true),
        };
        socket.write_frame(frame).await?;
        if is_last {
            socket.flush().await?;
            return Ok(Next::Closed);
        }
        next = frames.try_recv().ok();
    }
    socket.flush().await?;
    Ok(Next::More)
}
