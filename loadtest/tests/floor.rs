//! `ullim-floor` as a process, between a Redis that the test plays and real connections: what it delivers, to whom, and in
//! which order.

#![allow(clippy::unwrap_used, reason = "what does not work is a failed test")]

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// Far longer than anything takes: only what never comes waits so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the floor asks Redis for.
const SUBSCRIBE: &[u8; 34] = b"*2\r\n$10\r\nPSUBSCRIBE\r\n$7\r\nfloor:*\r\n";

/// The floor, and the end of its subscription.
struct Floor {
    process: Child,
    address: SocketAddr,
    redis: TcpStream,
}

impl Floor {
    fn start(arguments: &[&str]) -> Self {
        let redis = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_ullim-floor"))
            .args(["--listen", "127.0.0.1:0", "--redis", &redis.local_addr().unwrap().to_string()])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut redis, _) = redis.accept().unwrap();
        redis.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut subscribe = [0; SUBSCRIBE.len()];
        redis.read_exact(&mut subscribe).unwrap();
        assert_eq!(&subscribe, SUBSCRIBE);
        redis.write_all(b"*3\r\n$10\r\npsubscribe\r\n$7\r\nfloor:*\r\n:1\r\n").unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("listening on ").unwrap().parse().unwrap();
        Self { process, address, redis }
    }

    fn publish(&mut self, messages: &[(&str, &str)]) {
        let mut bytes = Vec::new();
        for (channel, payload) in messages {
            let (channel_length, length) = (channel.len(), payload.len());
            write!(bytes, "*4\r\n$8\r\npmessage\r\n$7\r\nfloor:*\r\n${channel_length}\r\n{channel}\r\n").unwrap();
            write!(bytes, "${length}\r\n{payload}\r\n").unwrap();
        }
        self.redis.write_all(&bytes).unwrap();
    }

    fn connect(&self) -> Client {
        self.open(TcpStream::connect(self.address).unwrap())
    }

    /// One whose kernel takes hardly anything for it, so that what it does not read waits on the other side.
    fn connect_with_a_small_buffer(&self) -> Client {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect(&self.address.into()).unwrap();
        self.open(socket.into())
    }

    fn open(&self, mut stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
        // In two pieces: the floor has to put them together.
        stream.write_all(&request.as_bytes()[..40]).unwrap();
        stream.write_all(&request.as_bytes()[40..]).unwrap();
        let mut client = Client { reader: BufReader::new(stream) };
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            client.reader.read_until(b'\n', &mut head).unwrap();
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", head.escape_ascii());
        client
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    /// The payload of the next frame.
    fn message(&mut self) -> String {
        let [first, length] = self.bytes();
        assert_eq!(first, 0x81);
        let length = match length {
            126 => u64::from(u16::from_be_bytes(self.bytes())),
            127 => u64::from_be_bytes(self.bytes()),
            length => u64::from(length),
        };
        let mut payload = String::new();
        (&mut self.reader).take(length).read_to_string(&mut payload).unwrap();
        payload
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes).unwrap();
        bytes
    }
}

/// Both modes have to keep the same promises.
const MODES: [&[&str]; 2] = [&[], &["--batched"]];

#[test]
fn everybody_gets_every_message_in_order() {
    for mode in MODES {
        let mut floor = Floor::start(mode);
        let mut clients = [floor.connect(), floor.connect(), floor.connect()];
        let payloads: Vec<String> = (0..500).map(|n| format!("{n} {}", "x".repeat(n))).collect();
        for some in payloads.chunks(7) {
            let messages: Vec<(&str, &str)> = some.iter().map(|payload| ("floor:fan0", payload.as_str())).collect();
            floor.publish(&messages);
        }
        for client in &mut clients {
            for payload in &payloads {
                assert_eq!(&client.message(), payload);
            }
        }
    }
}

#[test]
fn a_message_that_redis_sends_in_pieces_is_put_together() {
    for mode in MODES {
        let mut floor = Floor::start(mode);
        let mut client = floor.connect();
        let large = "y".repeat(700_000);
        floor.publish(&[("floor:a", "before"), ("floor:a", &large), ("floor:a", "after")]);
        assert_eq!(client.message(), "before");
        assert!(client.message() == large);
        assert_eq!(client.message(), "after");
    }
}

#[test]
fn a_slow_reader_gets_everything_whole_and_holds_nobody_up() {
    for mode in MODES {
        let mut floor = Floor::start(mode);
        let mut slow = floor.connect_with_a_small_buffer();
        let mut quick = floor.connect();
        // More than the 4 MiB to which Linux lets a send buffer grow, so that a write is torn. What is left stays below
        // what the floor keeps.
        let payloads: Vec<String> = (0..90).map(|n| format!("{n} {}", "z".repeat(70_000))).collect();
        for payload in &payloads {
            floor.publish(&[("floor:a", payload)]);
            assert!(quick.message() == *payload, "the quick reader");
        }
        for payload in &payloads {
            assert!(slow.message() == *payload, "the slow reader");
        }
        floor.publish(&[("floor:a", "last")]);
        assert_eq!(slow.message(), "last");
    }
}

#[test]
fn who_never_reads_is_closed_and_nobody_else() {
    for mode in MODES {
        let mut floor = Floor::start(mode);
        let mut lazy = floor.connect_with_a_small_buffer();
        let mut quick = floor.connect();
        let payload = "z".repeat(1_000_000);
        for _ in 0..40 {
            floor.publish(&[("floor:a", &payload)]);
            assert!(quick.message() == payload);
        }
        // What the kernel had taken is still there to be read, or it is thrown away with a reset.
        let mut rest = Vec::new();
        let end = lazy.reader.read_to_end(&mut rest);
        assert!(end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset) || rest.len() < 40_000_000);
        floor.publish(&[("floor:a", "last")]);
        assert_eq!(quick.message(), "last");
    }
}

#[test]
fn a_channel_goes_to_the_connection_of_its_number() {
    for mode in MODES {
        let mut floor = Floor::start(&[mode, &["--per-connection", "2"]].concat());
        let mut clients = [floor.connect(), floor.connect()];
        floor.publish(&[
            ("floor:c2", "one"),
            ("floor:c0", "two"),
            ("floor:c3", "three"),
            ("floor:c9", "for nobody"),
            ("floor:none", "for nobody"),
            ("floor:c1", "four"),
            ("floor:c2", "five"),
        ]);
        let got = clients[0..1].iter_mut().flat_map(|client| [client.message(), client.message()]);
        assert_eq!(got.collect::<Vec<_>>(), ["two", "four"]);
        assert_eq!([clients[1].message(), clients[1].message(), clients[1].message()], ["one", "three", "five"]);
    }
}

#[test]
fn a_connection_that_ends_is_closed_and_its_slot_is_used_again() {
    let mut floor = Floor::start(&["--per-connection", "1"]);
    let mut first = floor.connect();
    first.reader.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(first.reader.read(&mut [0; 1]).unwrap(), 0, "the floor closes its side too");
    // The next one takes the slot, but keeps a number of its own.
    let mut second = floor.connect();
    floor.publish(&[("floor:c0", "for the first"), ("floor:c1", "for the second")]);
    assert_eq!(second.message(), "for the second");
}

#[test]
fn what_a_client_sends_is_read_away() {
    let mut floor = Floor::start(&[]);
    let mut client = floor.connect();
    let frame = [&[0x82, 0xff, 0, 0, 0, 0, 0, 0x20, 0, 0, 1, 2, 3, 4][..], &vec![7; 0x20_0000]].concat();
    client.reader.get_mut().write_all(&frame).unwrap();
    floor.publish(&[("floor:a", "still here")]);
    assert_eq!(client.message(), "still here");
}
