//! STOMP's frames, in instructions. What it needs is said in `codec.rs`; then
//! `cargo bench -p ullim-protocol --bench stomp`.
#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;

use bytes::Bytes;
use gungraun::{library_benchmark, library_benchmark_group, main};
use ullim_protocol::publication::{Data, Publication};
use ullim_protocol::stomp::{
    Decoder, Event, Limits, MessageId, Version, data_of, message_head, message_label, message_tail, publication_headers,
};

const LIMITS: Limits = Limits { headers: 64, header_bytes: 16_384, body_bytes: 65_536 };

/// Frames of a client, as one read brings them.
fn input(frames: usize) -> Vec<u8> {
    let body = r#"{"text":"hello, world"}"#;
    let length = body.len();
    let send = format!(
        "SEND\ndestination:/topic/chat:lobby\ncontent-type:application/json\ncontent-length:{length}\n\n{body}\0"
    );
    send.repeat(frames).into_bytes()
}

fn label(_: ()) -> (Vec<u8>, Vec<u8>) {
    (message_label(Version::V1_2, Some("sub-0"), "/topic/chat:lobby"), Vec::with_capacity(1 << 10))
}

fn value(bytes: usize) -> (Publication, Vec<u8>) {
    let data = Data::Json(Bytes::from(format!("{{\"text\":\"{}\"}}", "x".repeat(bytes - 11))));
    (Publication { data, time: 1_700_000_000_000, headers: None, position: None }, Vec::with_capacity(1 << 16))
}

#[library_benchmark]
#[bench::one(args = (1), setup = input)]
#[bench::hundred(args = (100), setup = input)]
fn decode_a_send(input: Vec<u8>) -> Vec<u8> {
    let (mut decoder, mut position) = (Decoder::default(), 0);
    while let Some(event) = decoder.next(&input, &mut position, Version::V1_2, &LIMITS).unwrap() {
        black_box(event);
    }
    input
}

#[library_benchmark]
#[bench::one(args = (1), setup = input)]
fn decode_a_send_and_what_it_publishes(input: Vec<u8>) -> Vec<u8> {
    let event = Decoder::default().next(&input, &mut 0, Version::V1_2, &LIMITS).unwrap();
    if let Some(Event::Frame(frame)) = event {
        let body = Bytes::copy_from_slice(&frame.body);
        let (data, kept) = data_of(frame.headers.get("content-type"), body);
        black_box((data, publication_headers(&frame.headers, kept).unwrap()));
    }
    input
}

#[library_benchmark]
#[bench::auto(args = (()), setup = label)]
fn write_a_head((label, mut out): (Vec<u8>, Vec<u8>)) -> (Vec<u8>, Vec<u8>) {
    let number = MessageId { subscription: 7, message: 12_345 };
    message_head(black_box(&label), black_box(number), false, &mut out);
    (label, out)
}

#[library_benchmark]
#[bench::value_of_100(args = (100), setup = value)]
#[bench::value_of_10000(args = (10_000), setup = value)]
fn write_a_tail((publication, mut out): (Publication, Vec<u8>)) -> (Publication, Vec<u8>) {
    message_tail(Version::V1_2, black_box(&publication), &mut out);
    (publication, out)
}

library_benchmark_group!(
    name = stomp,
    benchmarks = [decode_a_send, decode_a_send_and_what_it_publishes, write_a_head, write_a_tail]
);
main!(library_benchmark_groups = stomp);
