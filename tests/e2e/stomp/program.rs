//! A client program in `tests/clients`, which is told what to do in lines of JSON and says what happens to it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use ullim_tests::within;

use super::server::Server;

const TESTS: &str = env!("CARGO_MANIFEST_DIR");

/// More events than any test has before it looks: the program waits where it is full.
const EVENTS: usize = 1024;

/// How a library reaches the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// stompjs as browsers have it: the three subprotocols are offered.
    Browser,
    /// stompjs over `@stomp/tcp-wrapper`.
    StompjsTcp,
    /// stomp.py's `StompConnection10`, which knows no heart-beats and escapes nothing.
    Python10,
    /// stomp.py's `StompConnection11`.
    Python11,
    /// stomp.py's `StompConnection12`.
    Python12,
    /// stomp.py's `WSStompConnection`: 1.2, and no subprotocol is offered.
    PythonWebSocket,
}

impl Way {
    pub(crate) const ALL: [Self; 6] =
        [Self::Browser, Self::StompjsTcp, Self::Python10, Self::Python11, Self::Python12, Self::PythonWebSocket];

    /// The version that it and the node agree upon.
    pub(crate) fn version(self) -> &'static str {
        match self {
            Self::Python10 => "1.0",
            Self::Python11 => "1.1",
            _ => "1.2",
        }
    }

    /// The library's program, which has done nothing yet.
    pub(crate) fn start(self) -> Program {
        match self {
            Self::Browser | Self::StompjsTcp => {
                let installed = Path::new(TESTS).join("clients/node_modules/@stomp/stompjs");
                assert!(installed.is_dir(), "npm's stompjs is not installed: tests/run does it");
                Program::start("stompjs", "node", &format!("{TESTS}/clients/stompjs.mjs"))
            }
            _ => {
                let python = format!("{TESTS}/.tools/python/bin/python");
                assert!(Path::new(&python).is_file(), "PyPI's stomp.py is not installed: tests/run does it");
                Program::start("stomp.py", &python, &format!("{TESTS}/clients/stomp_py.py"))
            }
        }
    }

    /// What `connect` says to reach `server` this way, and `more`.
    pub(crate) fn to(self, server: &Server, more: Value) -> Value {
        let mut options = match self {
            Self::Browser | Self::PythonWebSocket => json!({"url": server.ws()}),
            _ => json!({"tcp": server.tcp.to_string()}),
        };
        if !matches!(self, Self::Browser | Self::StompjsTcp) {
            options["version"] = json!(self.version());
        }
        for (name, value) in more.as_object().unwrap() {
            options[name] = value.clone();
        }
        options
    }

    /// A program that is connected, with `more` options.
    pub(crate) async fn connect_with(self, server: &Server, more: Value) -> Program {
        let mut program = self.start();
        program.run("connect", self.to(server, more));
        let connected = program.next("connected").await;
        assert_eq!(connected["version"], self.version(), "{self:?}: {connected}");
        program
    }

    /// A program that is connected.
    pub(crate) async fn connect(self, server: &Server) -> Program {
        self.connect_with(server, json!({})).await
    }
}

/// The program. It ends when it is dropped.
pub(crate) struct Program {
    name: &'static str,
    child: Child,
    stdin: ChildStdin,
    events: mpsc::Receiver<Value>,
    receipts: usize,
}

impl Program {
    fn start(name: &'static str, interpreter: &str, script: &str) -> Self {
        let mut command = Command::new(interpreter);
        let command = command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, events) = mpsc::channel(EVENTS);
        // It ends with the program's output.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
                if sender.blocking_send(event).is_err() {
                    return;
                }
            }
        });
        Self { name, child, stdin, events, receipts: 0 }
    }

    /// Tells it to do something.
    pub(crate) fn run(&mut self, command: &str, body: Value) {
        writeln!(self.stdin, "{}", json!({command: body})).unwrap();
    }

    /// The next event, whatever it is.
    pub(crate) async fn event(&mut self) -> Value {
        let event = within(&format!("an event from {}", self.name), self.events.recv()).await;
        event.unwrap_or_else(|| panic!("{} has ended: {:?}", self.name, self.child.try_wait()))
    }

    /// The next event, which is to be of this kind: what it says.
    pub(crate) async fn next(&mut self, kind: &str) -> Value {
        let mut event = self.event().await;
        assert!(event.get(kind).is_some(), "{}: {kind} was awaited, not {event}", self.name);
        event[kind].take()
    }

    /// The next event, which is to be a message.
    pub(crate) async fn message(&mut self) -> Message {
        Message(self.next("message").await)
    }

    /// The next events, which are to be messages with these bodies.
    pub(crate) async fn hears(&mut self, bodies: &[&str]) {
        for body in bodies {
            assert_eq!(self.message().await.body(), *body, "{}", self.name);
        }
    }

    /// Subscribes `id` to `destination`, with `more` headers: the receipt's headers.
    pub(crate) async fn subscribe(&mut self, destination: &str, id: &str, more: Value) -> Value {
        let receipt = self.receipt();
        let mut headers = json!({"id": id, "receipt": receipt});
        for (name, value) in more.as_object().unwrap() {
            headers[name] = value.clone();
        }
        self.run("subscribe", json!({"destination": destination, "headers": headers}));
        self.received(&receipt).await
    }

    /// Sends text.
    pub(crate) fn send(&mut self, destination: &str, body: &str) {
        self.run("send", json!({"destination": destination, "headers": {}, "body": body}));
    }

    /// What has come before the receipt of a frame that is sent now, and does nothing else: messages all of them.
    pub(crate) async fn messages_so_far(&mut self) -> Vec<Message> {
        let receipt = self.receipt();
        let nobody = json!({"destination": "/topic/nobody", "headers": {"receipt": receipt}, "body": "listens"});
        self.run("send", nobody);
        let mut messages = Vec::new();
        loop {
            let mut event = self.event().await;
            if event["receipt"]["receipt-id"] == *receipt {
                return messages;
            }
            assert!(event.get("message").is_some(), "{}: {event}", self.name);
            messages.push(Message(event["message"].take()));
        }
    }

    /// Tells it to say goodbye, and waits until the node has answered and the connection has ended.
    pub(crate) async fn disconnect(&mut self) {
        self.run("disconnect", json!({"receipt": "bye"}));
        let (mut answered, mut ended) = (false, false);
        // stomp.py says that it has ended before it says why.
        while !(answered && ended) {
            let event = self.event().await;
            if let Some(headers) = event.get("disconnected").or(event.get("receipt")) {
                assert_eq!(headers["receipt-id"], "bye", "{}: {event}", self.name);
                answered = true;
            } else {
                assert!(event.get("closed").is_some(), "{}: {event}", self.name);
                ended = true;
            }
        }
    }

    /// A receipt id that it has not used yet.
    pub(crate) fn receipt(&mut self) -> String {
        self.receipts += 1;
        format!("receipt {}", self.receipts)
    }

    /// The next event, which is to be this receipt: its headers.
    pub(crate) async fn received(&mut self, receipt: &str) -> Value {
        let headers = self.next("receipt").await;
        assert_eq!(headers["receipt-id"], *receipt, "{}", self.name);
        headers
    }

    /// Sends its process a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        self.child.wait().unwrap();
    }
}

/// A MESSAGE frame as the library showed it.
#[derive(Debug)]
pub(crate) struct Message(Value);

impl Message {
    /// A header's value; empty where there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.0["headers"][name].as_str().unwrap_or_default()
    }

    /// All headers.
    pub(crate) fn headers(&self) -> &Value {
        &self.0["headers"]
    }

    /// The body, which is to be UTF-8.
    pub(crate) fn body(&self) -> &str {
        self.0["body"].as_str().unwrap_or_else(|| panic!("not text: {}", self.0))
    }

    /// The body, which is not to be UTF-8, in base64.
    pub(crate) fn base64(&self) -> &str {
        self.0["base64"].as_str().unwrap_or_else(|| panic!("text: {}", self.0))
    }

    /// What `ack` and `nack` say of it, with `more` headers.
    pub(crate) fn answer(&self, more: Value) -> Value {
        json!({"message": self.header("message-id"), "headers": more})
    }
}
