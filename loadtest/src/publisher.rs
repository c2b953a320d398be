//! How messages are published: through Redis, HTTP, a client's own connection, or a program. Never waits: what does not
//! go out at once goes out when it can.

mod program;
mod socket;

use std::io;

use anyhow::{Context as _, bail};
use mio::{Interest, Registry, Token};

use crate::plan::{Endpoint, Plan, write_message};
use crate::target::{Format, Publish, Target};
use crate::template::{Message, Values};
use program::Program;
use socket::Link;

/// A way to publish.
#[derive(Debug)]
pub struct Publisher {
    link: Way,
    message: Shape,
    /// What waits to go out.
    out: Vec<u8>,
    written: usize,
    /// Kept for its memory.
    scratch: Vec<u8>,
    rendered: Vec<u8>,
}

#[derive(Debug)]
enum Way {
    Socket(Link),
    Program(Program),
}

/// What a publication looks like on its way out.
#[derive(Debug)]
enum Shape {
    /// The parts of a command, as RESP.
    Redis(Vec<Message>),
    Http {
        head: Message,
        body: Message,
    },
    Client {
        message: Message,
        format: Format,
    },
    /// The channel, a tab, the payload.
    Line,
}

impl Publisher {
    /// Opens the way that a target describes. `values`: what stands in its URLs. `plan`: what a client says before it
    /// publishes.
    pub fn open(
        target: &Target,
        values: &Values,
        plan: impl FnOnce() -> anyhow::Result<(Endpoint, Plan)>,
    ) -> anyhow::Result<Self> {
        let (link, message) = match &target.publish {
            Publish::Redis { url, command } => {
                let url = values.fill(url);
                let address = url.strip_prefix("redis://").with_context(|| format!("{url:?} begins with redis://"))?;
                let link = Link::connect(address.trim_end_matches('/'), socket::Answers::Redis)?;
                (Way::Socket(link), Shape::Redis(command.iter().map(|part| Message::new(part)).collect()))
            }
            Publish::Http { url, method, headers, body } => {
                let endpoint = Endpoint::new(&values.fill(url))?;
                if endpoint.secure {
                    bail!("`publish.http.url` must begin with http://");
                }
                let mut head = format!(
                    "{} {} HTTP/1.1\r\nHost: {}\r\n",
                    method.as_deref().unwrap_or("POST"),
                    endpoint.path,
                    endpoint.host
                );
                for (name, value) in headers {
                    head.push_str(&format!("{name}: {}\r\n", values.fill(value)));
                }
                head.push_str("Content-Length: ");
                let link = Link::connect(&endpoint.host, socket::Answers::Http)?;
                (Way::Socket(link), Shape::Http { head: Message::new(&head), body: Message::new(body) })
            }
            Publish::Client { send } => {
                let (endpoint, plan) = plan()?;
                if endpoint.secure {
                    bail!("a client that publishes cannot use TLS: give another way in `publish`");
                }
                let mut link = Link::connect(&endpoint.address.to_string(), socket::Answers::None)?;
                link.open(&plan)?;
                (Way::Socket(link), Shape::Client { message: Message::new(send), format: target.format })
            }
            Publish::Program { command } => {
                let folder = target.file.parent().context("a target is read from a file")?;
                let command: Vec<_> = command.iter().map(|part| values.fill(part)).collect();
                (Way::Program(Program::start(&command, folder)?), Shape::Line)
            }
        };
        Ok(Self { link, message, out: Vec::new(), written: 0, scratch: Vec::new(), rendered: Vec::new() })
    }

    /// Has the loop say when it can go on.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        match &mut self.link {
            Way::Socket(link) => registry.register(&mut link.tcp, token, both),
            Way::Program(program) => registry.register(&mut program.input, token, Interest::WRITABLE),
        }
    }

    /// Queues a message.
    pub fn publish(&mut self, channel: &str, payload: &[u8]) {
        let (out, scratch) = (&mut self.out, &mut self.scratch);
        scratch.clear();
        match &self.message {
            Shape::Redis(parts) => {
                number(b'*', parts.len(), out);
                for part in parts {
                    scratch.clear();
                    part.fill(channel, payload, scratch);
                    number(b'$', scratch.len(), out);
                    out.extend_from_slice(scratch);
                    out.extend_from_slice(b"\r\n");
                }
            }
            Shape::Http { head, body } => {
                body.fill(channel, payload, scratch);
                head.fill(channel, payload, out);
                out.extend_from_slice(scratch.len().to_string().as_bytes());
                out.extend_from_slice(b"\r\n\r\n");
                out.extend_from_slice(scratch);
            }
            Shape::Client { message, format } => {
                message.fill(channel, payload, scratch);
                let text = String::from_utf8_lossy(scratch);
                // The payload is JSON of our own; what does not fit into the format was refused at the first message.
                if write_message(*format, &text, &mut self.rendered).is_ok() {
                    out.append(&mut self.rendered);
                }
            }
            Shape::Line => {
                out.extend_from_slice(channel.as_bytes());
                out.push(b'\t');
                out.extend_from_slice(payload);
                out.push(b'\n');
            }
        }
    }

    /// Sends as much of what is queued as goes out.
    pub fn flush(&mut self) -> io::Result<()> {
        while self.written < self.out.len() {
            let waiting = &self.out[self.written..];
            let written = match &mut self.link {
                Way::Socket(link) => link.write(waiting)?,
                Way::Program(program) => program.write(waiting)?,
            };
            let Some(written) = written else { return Ok(()) };
            self.written += written;
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    /// The loop says that it can go on.
    pub fn ready(&mut self, buffer: &mut [u8]) -> anyhow::Result<()> {
        if let Way::Socket(link) = &mut self.link {
            link.read(buffer).context("the connection that publishes broke")?;
        }
        Ok(self.flush()?)
    }

    /// How many publications were answered with an error.
    pub fn errors(&self) -> u64 {
        match &self.link {
            Way::Socket(link) => link.errors,
            Way::Program(_) => 0,
        }
    }
}

fn number(kind: u8, number: usize, out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(number.to_string().as_bytes());
    out.extend_from_slice(b"\r\n");
}
