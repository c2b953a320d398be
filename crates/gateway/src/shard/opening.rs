//! The opening request: read, judged, and turned into a connection of the hub or an answer.

use std::sync::Arc;

use mio::Token;
use tokio::time::Instant;
use ullim_hub::ConnectionId;

use super::Shard;
use super::arrivals::{After, Arriving, Stage};
use crate::address::Addresses;
use crate::answer::{Answer, Refused, answer};
use crate::handshake::{Accepted, Opening, Rules, open};
use crate::listener::Visitor;
use crate::routes::{Dialect, STOMP_OVER_TCP, route};
use crate::socket::Socket;
use crate::stomp;
use crate::stream::{Stream, Taken};

/// How many reads a request may need when an event comes.
const READS: usize = 64;

impl Shard {
    /// Reads what an accepted socket has sent so far. Often that is the whole request, and the socket never becomes one
    /// that arrives.
    pub(super) fn greet(&mut self, mut stream: Stream, mut visitor: Visitor) {
        let count = match stream.read(&mut self.buffer) {
            Ok(Taken::Bytes { count, .. }) => count,
            Ok(Taken::Nothing) => 0,
            Ok(Taken::End) | Err(_) => return,
        };
        let mut buffer = std::mem::take(&mut self.buffer);
        let opening = match count {
            0 => Opening::Incomplete,
            _ => judge(&buffer[..count], &mut visitor, &self.rules, &self.addresses),
        };
        if let Opening::Accepted(accepted) = opening {
            self.welcome(stream, visitor, &accepted, false, &mut buffer[..count]);
            self.buffer = buffer;
            return;
        }
        let index = self.arriving.insert(visitor, Stage::Asking { stream, request: buffer[..count].to_vec() });
        self.buffer = buffer;
        if self.reply(index, opening) == After::Watch {
            self.watch(index);
        }
    }

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
            let opening = match self.draining {
                Some(_) => Opening::Refused(Refused::draining()),
                None => judge(request, &mut arriving.visitor, &self.rules, &self.addresses),
            };
            if opening != Opening::Incomplete {
                return self.reply(index, opening);
            }
        }
        // It comes faster than it is read, and is no request.
        self.arriving.remove(index);
        After::Gone
    }

    fn reply(&mut self, index: usize, opening: Opening) -> After {
        match opening {
            Opening::Incomplete => After::Watch,
            Opening::Refused(refused) => self.refuse(index, refused),
            Opening::Plain(request) => {
                let answer = answer(&request, &self.pages);
                self.begin_answer(index, answer)
            }
            Opening::Accepted(accepted) => {
                if let Some(arriving) = self.arriving.remove(index)
                    && let Arriving { stage: Stage::Asking { stream, mut request }, visitor, watched, .. } = arriving
                {
                    self.welcome(stream, visitor, &accepted, watched, &mut request);
                }
                After::Gone
            }
        }
    }

    /// Makes a connection of a socket. The answer to its request goes out with those to the commands that came with it.
    fn welcome(&mut self, stream: Stream, visitor: Visitor, accepted: &Accepted, watched: bool, request: &mut [u8]) {
        self.handshake_duration.record(visitor.accepted.elapsed(), 1);
        let decrypted = matches!(stream, Stream::Tls(_));
        let token = || accepted.token.as_ref().map(|token| token.0.clone());
        let is_stomp = matches!(route(accepted.wire).dialect, Dialect::Stomp(_));
        let stomp = is_stomp.then(|| stomp::Session::new(token()));
        let id = self.hub.open(Socket::new(stream, visitor.place, stomp), accepted.wire);
        if self.watch_connection(id, watched) {
            self.hub.send_own(id, |out| out.extend_from_slice(&accepted.response));
            self.feed(id, &mut request[accepted.request_bytes..]);
            if decrypted {
                // What came with the request and is decrypted makes no event.
                self.unfinished.push(id);
            }
        }
    }

    /// Makes a connection of a socket whose client says who it is in STOMP, without a request before that.
    pub(super) fn welcome_stomp(&mut self, stream: Stream, visitor: Visitor, watched: bool) {
        let decrypted = matches!(stream, Stream::Tls(_));
        let socket = Socket::new(stream, visitor.place, Some(stomp::Session::new(None)));
        let id = self.hub.open(socket, STOMP_OVER_TCP);
        if self.watch_connection(id, watched) && decrypted {
            // What came with the last of the handshake makes no event.
            self.unfinished.push(id);
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

/// Judges what has come of a request, and whether there is room for the client that a proxy speaks for.
fn judge(request: &[u8], visitor: &mut Visitor, rules: &Rules, addresses: &Arc<Addresses>) -> Opening {
    let opening = open(request, rules, visitor.proxied);
    if opening == Opening::Incomplete {
        return opening;
    }
    // An answer is read by a client that has sent its request, not before.
    if let Some(refused) = visitor.refused.take() {
        return Opening::Refused(*refused);
    }
    let client = match &opening {
        Opening::Accepted(Accepted { client, .. }) => *client,
        Opening::Plain(request) => request.client,
        Opening::Incomplete | Opening::Refused(_) => None,
    };
    match client.map(|client| addresses.enter(client)).transpose() {
        Ok(lease) => {
            if let Some(lease) = lease {
                visitor.place.set_lease(lease);
            }
            opening
        }
        Err(_) => Opening::Refused(Refused::too_many()),
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
