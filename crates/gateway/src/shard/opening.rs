//! The opening request: read, judged, and turned into a connection of the hub or an answer.

use std::io::IoSlice;

use mio::Token;
use tokio::time::Instant;
use ullim_hub::ConnectionId;

use super::Shard;
use super::arrivals::{After, Arriving, Stage};
use crate::answer::{Answer, Refused, answer};
use crate::handshake::{Accepted, Opening, open};
use crate::socket::Socket;
use crate::stream::{Stream, Taken};

/// How many reads a request may need when an event comes.
const READS: usize = 64;

impl Shard {
    /// Reads on.
    pub(super) fn read_request(&mut self, index: usize) -> After {
        for _ in 0..READS {
            let Some(arriving) = self.arriving.slab.get_mut(index) else { return After::Gone };
            let Stage::Asking { stream, request } = &mut arriving.stage else { return After::Watch };
            let count = match stream.flush().and_then(|_| stream.read(&mut self.buffer)) {
                Ok(Taken::Nothing) => return After::Watch,
                Ok(Taken::Bytes { count, .. }) => count,
                Ok(Taken::End) | Err(_) => {
                    self.arriving.remove(index);
                    return After::Gone;
                }
            };
            let before = request.len();
            request.extend_from_slice(&self.buffer[..count]);
            if before > 0 && request.len() <= self.rules.header_bytes && !may_end(request, before) {
                continue;
            }
            match self.judge(index) {
                Opening::Incomplete => {}
                Opening::Refused(refused) => return self.refuse(index, refused),
                Opening::Accepted(accepted) => {
                    self.accept(index, accepted);
                    return After::Gone;
                }
                Opening::Plain(request) => {
                    let answer = answer(&request, &self.pages);
                    return self.begin_answer(index, answer);
                }
            }
        }
        // It comes faster than it is read, and is no request.
        self.arriving.remove(index);
        After::Gone
    }

    fn judge(&mut self, index: usize) -> Opening {
        let Some(arriving) = self.arriving.slab.get_mut(index) else { return Opening::Incomplete };
        let Stage::Asking { request, .. } = &arriving.stage else { return Opening::Incomplete };
        if self.draining.is_some() {
            return Opening::Refused(Refused::draining());
        }
        let opening = open(request, &self.rules, arriving.proxied);
        if opening == Opening::Incomplete {
            return opening;
        }
        // An answer is read by a client that has sent its request, not before.
        if let Some(refused) = arriving.refused.take() {
            return Opening::Refused(*refused);
        }
        let client = match &opening {
            Opening::Accepted(Accepted { client, .. }) => *client,
            Opening::Plain(request) => request.client,
            Opening::Incomplete | Opening::Refused(_) => None,
        };
        match client.map(|client| self.addresses.enter(client)).transpose() {
            Ok(lease) => {
                if let Some(lease) = lease {
                    arriving.place.set_lease(lease);
                }
                opening
            }
            Err(_) => Opening::Refused(Refused::too_many()),
        }
    }

    fn accept(&mut self, index: usize, accepted: Accepted) {
        let Some(arriving) = self.arriving.remove(index) else { return };
        let Arriving { stage: Stage::Asking { mut stream, mut request }, place, watched, .. } = arriving else {
            return;
        };
        // An empty socket takes 200 bytes at once; if not, the client is beyond help.
        let response = [IoSlice::new(&accepted.response)];
        if !matches!(stream.write(&response), Ok(written) if written == accepted.response.len()) {
            return;
        }
        self.handshake_duration.record(arriving.accepted.elapsed(), 1);
        let decrypted = matches!(stream, Stream::Tls(_));
        let id = self.hub.open(Socket::new(stream, place), accepted.wire);
        if self.watch_connection(id, watched) {
            self.feed(id, &mut request[accepted.request_bytes..]);
            if decrypted {
                // What came with the request and is decrypted makes no event.
                self.unfinished.push(id);
            }
        }
    }

    fn watch_connection(&mut self, id: ConnectionId, watched: bool) -> bool {
        let Some(socket) = self.hub.outlet(id) else { return false };
        let token = Token(id.slot() as usize);
        let result = match watched {
            true => self.sockets.rename(socket.tcp(), token),
            false => self.sockets.watch(socket.tcp(), token),
        };
        match result {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%error, "a socket cannot be watched");
                self.hub.lost(id);
                false
            }
        }
    }

    /// Answers with an error.
    pub(super) fn refuse(&mut self, index: usize, refused: Refused) -> After {
        *self.refused.entry(refused.status).or_default() += 1;
        self.begin_answer(index, refused.answer())
    }

    fn begin_answer(&mut self, index: usize, answer: Answer) -> After {
        self.set_stage(index, |stage| match stage {
            Stage::Asking { stream, .. } => Stage::Answering { stream, answer, finished: false },
            other => other,
        });
        self.arriving.start_timer(index, Instant::now());
        self.go_on_answering(index)
    }

    /// Writes on. Then the client is left to end, because closing with unread input would take the answer from it.
    pub(super) fn go_on_answering(&mut self, index: usize) -> After {
        let Some(arriving) = self.arriving.slab.get_mut(index) else { return After::Gone };
        let Stage::Answering { stream, answer, finished } = &mut arriving.stage else { return After::Watch };
        let mut is_there = stream.flush().is_ok();
        if is_there && !*finished {
            match answer.write_to(stream) {
                Ok(true) => {
                    *finished = true;
                    stream.finish();
                }
                Ok(false) => return After::Watch,
                Err(_) => is_there = false,
            }
        }
        for _ in 0..READS {
            match stream.read(&mut self.buffer) {
                Ok(Taken::Nothing) if is_there => return After::Watch,
                Ok(Taken::Bytes { .. }) if is_there => {}
                _ => break,
            }
        }
        self.arriving.remove(index);
        After::Gone
    }
}

/// Whether the head may end in what has come of a request since it had `before` bytes. A head that drips is not parsed
/// for each drop.
fn may_end(request: &[u8], before: usize) -> bool {
    let new = &request[before.saturating_sub(2)..];
    new.windows(2).any(|pair| pair == b"\n\n") || new.windows(3).any(|three| three == b"\n\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_wherever_it_is_cut() {
        for end in [&b"a: b\r\n\r\n"[..], b"a: b\n\n", b"a: b\r\n\n", b"a: b\n\r\n"] {
            for cut in 1..end.len() {
                assert!(may_end(end, cut), "{end:?} at {cut}");
                assert!(!may_end(&end[..end.len() - 1], cut), "{end:?} is not all there");
            }
        }
    }
}
