//! A WebSocket server that echoes, for conformance suites: the decoder and the frame writer of this crate on blocking
//! sockets, one thread per connection. `cargo run --example echo -- --listen 127.0.0.1:9001`

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};

use base64::Engine as _;
use sha1::{Digest, Sha1};
use ullim_protocol::codes::{CloseCode, INVALID_UTF8, MESSAGE_TOO_BIG, PROTOCOL_ERROR};
use ullim_protocol::websocket::{Decoder, Event, Limits, OpCode, Violation, write_close, write_frame};

const LIMITS: Limits = Limits { message_bytes: 64 << 20, fragments: 1 << 20 };

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = match (arguments.next().as_deref(), arguments.next()) {
        (Some("--listen"), Some(address)) => address,
        _ => "127.0.0.1:9001".to_owned(),
    };
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    for stream in listener.incoming() {
        let stream = stream?;
        std::thread::spawn(move || serve(stream));
    }
    Ok(())
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    upgrade(&mut stream)?;
    let mut decoder = Decoder::default();
    let mut input = vec![0; 64 << 10];
    let mut output = Vec::new();
    loop {
        let read = stream.read(&mut input)?;
        if read == 0 {
            return Ok(());
        }
        let ended = echo(&mut decoder, &mut input[..read], &mut output);
        stream.write_all(&output)?;
        output.clear();
        if ended {
            stream.shutdown(std::net::Shutdown::Write)?;
            // What the client still sends is read away, so that closing does not reset the connection.
            return io::copy(&mut stream, &mut io::sink()).map(drop);
        }
    }
}

/// Answers what is in `input`; whether the connection has ended.
fn echo(decoder: &mut Decoder, input: &mut [u8], output: &mut Vec<u8>) -> bool {
    let mut position = 0;
    loop {
        match decoder.next(input, &mut position, &LIMITS) {
            Ok(None) => return false,
            Ok(Some(Event::Text(text))) => write_frame(OpCode::Text, text.as_bytes(), output),
            Ok(Some(Event::Binary(bytes))) => write_frame(OpCode::Binary, &bytes, output),
            Ok(Some(Event::Ping(payload))) => write_frame(OpCode::Pong, &payload, output),
            Ok(Some(Event::Pong)) => {}
            Ok(Some(Event::Close(code))) => {
                match code {
                    Some(code) => write_close(code, "", output),
                    None => write_frame(OpCode::Close, b"", output),
                }
                return true;
            }
            Err(violation) => {
                let (code, detail) = explain(violation);
                write_close(code.number, &code.reason(detail), output);
                return true;
            }
        }
    }
}

fn explain(violation: Violation) -> (&'static CloseCode, &'static str) {
    match violation {
        Violation::Protocol(detail) => (&PROTOCOL_ERROR, detail),
        Violation::Utf8 => (&INVALID_UTF8, "not UTF-8"),
        Violation::MessageBytes(_) | Violation::Fragments(_) => (&MESSAGE_TOO_BIG, "too big"),
    }
}

fn upgrade(stream: &mut TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < 8192 {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head);
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim())
    });
    let key = key.ok_or(io::ErrorKind::InvalidData)?;
    let digest = Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    let accept = base64::engine::general_purpose::STANDARD.encode(digest);
    write!(
        stream,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}
