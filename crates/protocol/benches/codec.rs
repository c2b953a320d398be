//! Frames and messages, in instructions. It needs valgrind and `cargo install --version 0.20.0 gungraun-runner`; then
//! `cargo bench -p ullim-protocol --bench codec`.
#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;

use bytes::Bytes;
use gungraun::{library_benchmark, library_benchmark_group, main};
use ullim_protocol::native::{json, msgpack};
use ullim_protocol::outgoing::{Outgoing, Push};
use ullim_protocol::publication::{Data, Publication};
use ullim_protocol::websocket::{Decoder, Limits, OpCode, write_message};

const COMMAND: &str = r#"{"id":17,"publish":{"channel":"chat:lobby","data":{"text":"hello, world"}}}"#;

/// Commands of a client in masked frames, as one read brings them.
fn input(commands: usize) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = Vec::new();
    for _ in 0..commands {
        bytes.extend_from_slice(&[0x81, 0x80 | COMMAND.len() as u8]);
        bytes.extend_from_slice(&mask);
        bytes.extend(COMMAND.bytes().enumerate().map(|(at, byte)| byte ^ mask[at % 4]));
    }
    bytes
}

fn publication(data: Data) -> (Publication, Vec<u8>) {
    (Publication { data, time: 1_700_000_000_000, headers: None, position: None }, Vec::with_capacity(1 << 16))
}

fn value(bytes: usize) -> (Publication, Vec<u8>) {
    publication(Data::Json(Bytes::from(format!("{{\"text\":\"{}\"}}", "x".repeat(bytes - 11)))))
}

fn text(bytes: usize) -> (Publication, Vec<u8>) {
    publication(Data::Text(Bytes::from("x".repeat(bytes))))
}

fn binary(bytes: usize) -> (Publication, Vec<u8>) {
    publication(Data::Binary(Bytes::from(vec![7; bytes])))
}

#[library_benchmark]
#[bench::one(args = (1), setup = input)]
#[bench::hundred(args = (100), setup = input)]
fn decode_frames(mut input: Vec<u8>) -> Vec<u8> {
    let (mut decoder, mut position) = (Decoder::default(), 0);
    let limits = Limits { message_bytes: 1 << 16, fragments: 16 };
    while let Some(event) = decoder.next(&mut input, &mut position, &limits).unwrap() {
        black_box(event);
    }
    input
}

#[library_benchmark]
fn decode_a_command() {
    black_box(json::decode(black_box(COMMAND)).unwrap());
}

#[library_benchmark]
#[bench::value_of_100(args = (100), setup = value)]
#[bench::text_of_100(args = (100), setup = text)]
#[bench::binary_of_100(args = (100), setup = binary)]
#[bench::value_of_10000(args = (10_000), setup = value)]
fn encode_json((publication, mut out): (Publication, Vec<u8>)) -> (Publication, Vec<u8>) {
    let push = Outgoing::Push("chat:lobby", Push::Publication(&publication));
    write_message(OpCode::Text, &mut out, |out| json::encode(&push, out));
    (publication, out)
}

#[library_benchmark]
#[bench::value_of_100(args = (100), setup = value)]
#[bench::binary_of_100(args = (100), setup = binary)]
fn encode_message_pack((publication, mut out): (Publication, Vec<u8>)) -> (Publication, Vec<u8>) {
    let push = Outgoing::Push("chat:lobby", Push::Publication(&publication));
    write_message(OpCode::Binary, &mut out, |out| msgpack::encode(&push, out));
    (publication, out)
}

library_benchmark_group!(
    name = codec,
    benchmarks = [decode_frames, decode_a_command, encode_json, encode_message_pack]
);
main!(library_benchmark_groups = codec);
