//! The generator over STOMP: it finds what a server loses and repeats, and says why one refuses.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what does not work is a failed test")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use clap::Parser;
use ullim_loadtest::mark::Marks;
use ullim_loadtest::report::Report;
use ullim_loadtest::scenario::fanout::{FANOUT, Fanout};

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    fanout: Fanout,
}

/// How often a message with this sequence number is relayed.
type Fault = fn(u32) -> usize;

/// A server that knows no more of STOMP than it is asked here. Its address.
fn server(fault: Fault) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let subscribers = Arc::new(Mutex::new(Vec::new()));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let subscribers = Arc::clone(&subscribers);
            thread::spawn(move || serve(stream.unwrap(), &subscribers, fault));
        }
    });
    address
}

fn serve(mut stream: TcpStream, subscribers: &Mutex<Vec<TcpStream>>, fault: Fault) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
        }
        while let Some(end) = memchr::memchr(0, &bytes) {
            let frame: Vec<_> = bytes.drain(..=end).collect();
            answer(&mut stream, subscribers, fault, &frame[..end]);
        }
    }
}

fn answer(stream: &mut TcpStream, subscribers: &Mutex<Vec<TcpStream>>, fault: Fault, frame: &[u8]) {
    let mut subscribers = subscribers.lock().unwrap();
    let text = std::str::from_utf8(frame).unwrap();
    let (head, body) = text.split_once("\n\n").unwrap();
    match head.split('\n').next().unwrap() {
        "CONNECT" if head.contains("passcode:wrong") => {
            stream.write_all(b"ERROR\nmessage:login or passcode is wrong\n\n\0").unwrap();
        }
        "CONNECT" => stream.write_all(b"CONNECTED\nversion:1.2\n\n\0\n").unwrap(),
        "SUBSCRIBE" => {
            let (_, receipt) = head.split_once("receipt:").unwrap();
            stream.write_all(format!("RECEIPT\nreceipt-id:{receipt}\n\n\0\n").as_bytes()).unwrap();
            subscribers.push(stream.try_clone().unwrap());
        }
        "SEND" => {
            let sequence = Marks::default().next(frame, &mut 0).unwrap().sequence;
            let length = body.len();
            let message = format!(
                "MESSAGE\nsubscription:2\nmessage-id:2-{sequence}\ndestination:/topic/fan0\n\
                 content-length:{length}\n\n{body}\0"
            );
            for _ in 0..fault(sequence) {
                for subscriber in &mut *subscribers {
                    // In two pieces, and a heart-beat behind it. It may have gone.
                    let (first, second) = message.as_bytes().split_at(30);
                    let _ = subscriber.write_all(first);
                    let _ = subscriber.write_all(second);
                    let _ = subscriber.write_all(b"\r\n");
                }
            }
        }
        other => panic!("{other}"),
    }
}

fn drive(url: &str, passcode: &str) -> anyhow::Result<Report> {
    let file = tempfile::NamedTempFile::new().unwrap();
    let target = format!(
        r#"
        name = "faulty"
        url = "{url}"
        format = "stomp"
        [[open]]
        send = "CONNECT\naccept-version:1.2\nlogin:guest\npasscode:{passcode}\n\n\u0000"
        expect = "CONNECTED\n"
        [subscribe]
        send = "SUBSCRIBE\nid:$id\ndestination:/topic/$channel\nreceipt:r$id\n\n\u0000"
        expect = "receipt-id:r$id\n"
        [publish.client]
        send = "SEND\ndestination:/topic/$channel\n\n$payload\u0000"
        "#
    );
    std::fs::write(file.path(), target).unwrap();
    let target = file.path().to_str().unwrap();
    let arguments = "x --quiet --rate 200 --warm-up 0 --patience 0.5 --subscribers 7 --messages 20 --target";
    let arguments = Arguments::parse_from(arguments.split(' ').chain([target]));
    arguments.fanout.run(FANOUT)
}

fn wrong(fault: Fault) -> (u64, u64, u64, u64) {
    let report = drive(&format!("stomp://{}", server(fault)), "guest").unwrap();
    let deliveries = report.deliveries.unwrap();
    assert_eq!((deliveries.published, deliveries.expected), (20, 140));
    assert!(deliveries.latency.p50 > 0.0 && deliveries.latency.max < 60_000.0, "{:?}", deliveries.latency);
    (deliveries.received, deliveries.lost, deliveries.duplicates, deliveries.reordered)
}

#[test]
fn of_a_faultless_server_nothing_is_said() {
    assert_eq!(wrong(|_| 1), (140, 0, 0, 0));
}

#[test]
fn what_is_lost_is_found_in_the_middle_and_at_the_end() {
    assert_eq!(wrong(|sequence| usize::from(![5, 6, 20].contains(&sequence))), (119, 21, 0, 0));
}

#[test]
fn what_comes_twice_is_found() {
    assert_eq!(wrong(|sequence| if sequence == 9 { 3 } else { 1 }), (140, 0, 14, 0));
}

#[test]
fn an_error_frame_is_an_error_that_says_what_is_in_it() {
    let error = format!("{:#}", drive(&format!("stomp://{}", server(|_| 1)), "wrong").unwrap_err());
    assert!(error.contains("login or passcode is wrong"), "{error}");
}

#[test]
fn a_url_of_another_protocol_is_refused() {
    let error = format!("{:#}", drive("ws://127.0.0.1:1/stomp", "guest").unwrap_err());
    assert!(error.contains("stomp://"), "{error}");
}
