//! Publications as they travel in Redis: raw where the receiver can tell their kind, else in an envelope. And what else
//! comes in envelopes.

use bytes::Bytes;
use ullim_protocol::envelope::{self, Content, Envelope, EnvelopeError};
use ullim_protocol::position::Position;
use ullim_protocol::presence::PresenceEvent;
use ullim_protocol::publication::{Data, Headers, PayloadRule, Publication};
use ullim_protocol::session::SessionId;

use crate::PublishRequest;

/// The most bytes that an envelope adds to its data: headers of 4 KiB, each byte escaped as six, and the rest.
pub(super) const ENVELOPE_BYTES: usize = 64 << 10;

/// The payload that carries `request`. `time` goes with what needs an envelope.
pub(super) fn encode(request: PublishRequest, rule: PayloadRule, time: u64) -> Bytes {
    let PublishRequest { channel: _, data, headers, exclude, id: _ } = request;
    let raw = headers.is_none() && exclude.is_none() && !envelope::is_envelope(data.bytes()) && rule.restores(&data);
    if raw {
        return bytes_of(data);
    }
    let mut payload = Vec::with_capacity(data.bytes().len() + 128);
    envelope::encode(&Envelope { data, time: Some(time), exclude, headers, position: None, cut: None }, &mut payload);
    payload.into()
}

/// The bytes of a publication, whatever they are.
pub(super) fn bytes_of(data: Data) -> Bytes {
    match data {
        Data::Json(bytes) | Data::Text(bytes) | Data::Binary(bytes) => bytes,
    }
}

/// What a payload says.
#[derive(Debug, PartialEq)]
pub(super) enum Decoded {
    Publication { publication: Publication, exclude: Option<SessionId>, cut: Option<Position> },
    Presence(PresenceEvent),
}

/// Why a payload says nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum DecodeError {
    #[error("the namespace takes {0:?} only")]
    Kind(PayloadRule),
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    #[error("the data has {0} bytes")]
    TooLarge(u64),
    #[error("the payload is not a string")]
    NotAString,
}

/// Reads a payload that was received at `received`, with at most `limit` bytes of data.
pub(super) fn decode(payload: Bytes, rule: PayloadRule, received: u64, limit: usize) -> Result<Decoded, DecodeError> {
    type Parts = (Data, u64, Option<Headers>, Option<SessionId>, Option<Position>, Option<Position>);
    let (data, time, headers, exclude, position, cut): Parts = match envelope::is_envelope(&payload) {
        true => {
            let envelope = match envelope::decode(payload, rule)? {
                Content::Publication(envelope) => envelope,
                Content::Presence(event) => return Ok(Decoded::Presence(event)),
            };
            let time = envelope.time.unwrap_or(received);
            (envelope.data, time, envelope.headers, envelope.exclude, envelope.position, envelope.cut)
        }
        false if payload.len() > limit => {
            return Err(DecodeError::TooLarge(payload.len() as u64));
        }
        false => (rule.classify(payload).ok_or(DecodeError::Kind(rule))?, received, None, None, None, None),
    };
    match data.bytes().len() {
        bytes if bytes > limit => Err(DecodeError::TooLarge(bytes as u64)),
        _ => Ok(Decoded::Publication { publication: Publication { data, time, headers, position }, exclude, cut }),
    }
}

#[cfg(test)]
mod tests {
    use ullim_protocol::channel::ChannelName;

    use super::*;

    fn publication(payload: Bytes, rule: PayloadRule) -> (Publication, Option<SessionId>) {
        match decode(payload, rule, 9, 100).unwrap() {
            Decoded::Publication { publication, exclude, .. } => (publication, exclude),
            Decoded::Presence(event) => panic!("{event:?}"),
        }
    }

    fn request(data: Data) -> PublishRequest {
        PublishRequest { channel: ChannelName::parse("chat:1").unwrap(), data, headers: None, exclude: None, id: None }
    }

    #[test]
    fn every_kind_comes_back_under_every_rule() {
        let all = [
            Data::Json(Bytes::from_static(b"{\"a\":1}")),
            Data::Text(Bytes::from_static(b"hello")),
            Data::Text(Bytes::from_static(b"42")),
            Data::Text(Bytes::new()),
            Data::Binary(Bytes::from_static(b"hello")),
            Data::Binary(Bytes::from_static(b"\xff\x00")),
            Data::Binary(Bytes::from_static(b"\x89ULLIM\r\n\x01\x00")),
            Data::Binary(Bytes::new()),
        ];
        for rule in [PayloadRule::Auto, PayloadRule::Json, PayloadRule::Text, PayloadRule::Binary] {
            for data in &all {
                let payload = encode(request(data.clone()), rule, 7);
                assert_eq!(&publication(payload, rule).0.data, data, "{rule:?}");
            }
        }
    }

    #[test]
    fn what_needs_no_envelope_travels_raw() {
        let data = Bytes::from_static(b"{\"a\":1}");
        let payload = encode(request(Data::Json(data.clone())), PayloadRule::Auto, 7);
        assert_eq!(payload, data);
    }

    #[test]
    fn metadata_travels_with_the_time_of_publishing() {
        let headers = Headers::new([("trace".to_owned(), "1f".to_owned())]);
        let mut request = request(Data::Text(Bytes::from_static(b"hi")));
        request.headers = headers.clone();
        request.exclude = Some(SessionId([7; 16]));
        let payload = encode(request, PayloadRule::Auto, 7);
        let (publication, exclude) = publication(payload, PayloadRule::Auto);
        assert_eq!(exclude, Some(SessionId([7; 16])));
        assert_eq!(publication.headers, headers);
        assert_eq!(publication.time, 7);
    }

    #[test]
    fn the_limit_is_on_the_data_not_on_its_envelope() {
        let mut request = request(Data::Text(Bytes::from_static(b"0123456789")));
        request.exclude = Some(SessionId([7; 16]));
        let payload = encode(request, PayloadRule::Auto, 7);
        assert!(decode(payload.clone(), PayloadRule::Auto, 9, 10).is_ok());
        assert!(matches!(decode(payload, PayloadRule::Auto, 9, 9), Err(DecodeError::TooLarge(10))));
        let raw = Bytes::from_static(b"0123456789");
        assert!(decode(raw, PayloadRule::Auto, 9, 9).is_err());
    }
}
