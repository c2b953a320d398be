//! The generator finds what is wrong with a server: one that loses, repeats and swaps messages is driven, and the books
//! must say so.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what does not work is a failed test")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use clap::Parser;
use ullim_loadtest::frame;
use ullim_loadtest::mark::Marks;
use ullim_loadtest::report::Report;
use ullim_loadtest::scenario::fanout::{FANOUT, Fanout};

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    fanout: Fanout,
}

/// What becomes of a message with a sequence number: what is relayed in its place, from what came so far.
type Fault = fn(u32, &mut Vec<Vec<u8>>, Vec<u8>) -> Vec<Vec<u8>>;

#[derive(Default)]
struct Hall {
    subscribers: Vec<TcpStream>,
    held: Vec<Vec<u8>>,
}

/// A server that speaks just enough, and relays with a fault. Its address.
fn server(fault: Fault) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let hall = Arc::new(Mutex::new(Hall::default()));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let hall = Arc::clone(&hall);
            thread::spawn(move || serve(stream.unwrap(), &hall, fault));
        }
    });
    address
}

fn serve(mut stream: TcpStream, hall: &Mutex<Hall>, fault: Fault) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    let mut upgraded = false;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
        }
        if !upgraded && let Some(end) = memchr::memmem::find(&bytes, b"\r\n\r\n") {
            bytes.drain(..end + 4);
            stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").unwrap();
            upgraded = true;
        }
        while upgraded && let Some((payload, length)) = masked(&bytes) {
            bytes.drain(..length);
            hear(&stream, hall, fault, payload);
        }
    }
}

/// The first whole frame of a client's, whose mask is zero.
fn masked(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let length = usize::from(bytes.get(1)? & 0x7f);
    let (head, length) = match length {
        126 => (8, usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]))),
        short => (6, short),
    };
    Some((bytes.get(head..head + length)?.to_vec(), head + length))
}

fn hear(mut stream: &TcpStream, hall: &Mutex<Hall>, fault: Fault, payload: Vec<u8>) {
    let mut hall = hall.lock().unwrap();
    if payload == b"subscribe" {
        stream.write_all(&unmasked(b"subscribed")).unwrap();
        hall.subscribers.push(stream.try_clone().unwrap());
        return;
    }
    let sequence = Marks::default().next(&payload, &mut 0).unwrap().sequence;
    let mut held = std::mem::take(&mut hall.held);
    let relayed = fault(sequence, &mut held, payload);
    hall.held = held;
    for message in relayed {
        for mut subscriber in &hall.subscribers {
            // It may have gone.
            let _ = subscriber.write_all(&unmasked(&message));
        }
    }
}

fn unmasked(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame::write(frame::OpCode::Text, payload, &mut frame);
    let mask = frame.len() - payload.len() - 4;
    frame.drain(mask..mask + 4);
    frame[1] &= 0x7f;
    frame
}

fn drive(address: &str, further: &[&str]) -> anyhow::Result<Report> {
    let file = tempfile::NamedTempFile::new().unwrap();
    let target = format!(
        "name = \"faulty\"\nurl = \"ws://{address}/\"\nsubscribe = {{ send = \"subscribe\", expect = \"subscribed\" }}\n\
         [publish.client]\nsend = \"$payload\"\n"
    );
    std::fs::write(file.path(), target).unwrap();
    let target = file.path().to_str().unwrap().to_owned();
    let fixed = ["x", "--quiet", "--target", &target, "--rate", "200", "--warm-up", "0", "--patience", "0.5"];
    let arguments = Arguments::parse_from(fixed.iter().chain(further));
    arguments.fanout.run(FANOUT)
}

fn wrong(fault: Fault) -> (u64, u64, u64, u64) {
    let report = drive(&server(fault), &["--subscribers", "7", "--messages", "20"]).unwrap();
    let deliveries = report.deliveries.unwrap();
    assert_eq!((deliveries.published, deliveries.expected), (20, 140));
    assert!(deliveries.latency.p50 > 0.0 && deliveries.latency.max < 60_000.0, "{:?}", deliveries.latency);
    (deliveries.received, deliveries.lost, deliveries.duplicates, deliveries.reordered)
}

#[test]
fn of_a_faultless_server_nothing_is_said() {
    assert_eq!(wrong(|_, _, message| vec![message]), (140, 0, 0, 0));
}

#[test]
fn what_is_lost_is_found_in_the_middle_and_at_the_end() {
    let fault: Fault = |sequence, _, message| if [5, 6, 20].contains(&sequence) { vec![] } else { vec![message] };
    assert_eq!(wrong(fault), (119, 21, 0, 0));
}

#[test]
fn what_comes_twice_is_found() {
    let fault: Fault = |sequence, _, message| vec![message; if sequence == 9 { 3 } else { 1 }];
    assert_eq!(wrong(fault), (140, 0, 14, 0));
}

#[test]
fn what_is_overtaken_is_found() {
    let fault: Fault = |sequence, held, message| match sequence {
        4 => {
            held.push(message);
            vec![]
        }
        6 => [vec![message], std::mem::take(held)].concat(),
        _ => vec![message],
    };
    assert_eq!(wrong(fault), (140, 0, 0, 7));
}

#[test]
fn a_server_that_refuses_is_an_error_that_says_why() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let error = format!("{:#}", drive(&address, &["--subscribers", "3"]).unwrap_err());
    assert!(error.contains("429"), "{error}");
}

#[test]
fn a_run_that_would_measure_nothing_is_refused() {
    for wrong in [
        ["--rate", "0"],
        ["--rate", "inf"],
        ["--rate", "nan"],
        ["--seconds", "0"],
        ["--messages", "0"],
        ["--subscribers", "0"],
        ["--in-flight", "0"],
        ["--size", "10"],
        ["--size", "200000000"],
    ] {
        let error = match Arguments::try_parse_from(["x", "--target", "floor"].iter().chain(&wrong)) {
            Ok(arguments) => format!("{:#}", arguments.fanout.run(FANOUT).unwrap_err()),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(wrong[0]), "{wrong:?}: {error}");
    }
}

#[test]
fn a_name_that_stands_for_nothing_is_refused() {
    let error = Arguments::try_parse_from(["x", "--set", "prot=1"]).err().unwrap().to_string();
    assert!(error.contains("port, redis, dir"), "{error}");
    let file = tempfile::NamedTempFile::new().unwrap();
    let target = "name = \"t\"\nurl = \"ws://127.0.0.1:1/\"\n[publish.client]\nsend = \"$tokenn\"\n";
    std::fs::write(file.path(), target).unwrap();
    let error = format!("{:#}", ullim_loadtest::target::Target::read(file.path()).unwrap_err());
    assert!(error.contains("$tokenn") && error.contains("$token,"), "{error}");
    let error = format!("{:#}", ullim_loadtest::target::Target::find("nosuch").unwrap_err());
    assert!(error.contains("ullim-json"), "{error}");
}
