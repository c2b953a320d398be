//! Frames and their bytes, in all three versions. What comes is read strictly: whatever the specification does not allow a
//! server is an error that names the rule.

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "they are called what they are")]
pub enum Version {
    V1_0,
    V1_1,
    V1_2,
}

impl Version {
    /// As it stands in `accept-version` and `version`.
    pub fn name(self) -> &'static str {
        match self {
            Self::V1_0 => "1.0",
            Self::V1_1 => "1.1",
            Self::V1_2 => "1.2",
        }
    }

    /// The version of this name.
    pub fn of(name: &str) -> Option<Self> {
        [Self::V1_0, Self::V1_1, Self::V1_2].into_iter().find(|version| version.name() == name)
    }
}

/// A frame, good until it is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its first line.
    pub command: String,
    /// In their order, unescaped.
    pub headers: Vec<(String, String)>,
    /// What is between the blank line and the NUL.
    pub body: Vec<u8>,
}

/// What bytes begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// A whole frame.
    Frame(Frame),
    /// An end of line between frames.
    HeartBeat,
}

impl Frame {
    /// Without headers and body.
    pub fn new(command: &str) -> Self {
        Self { command: command.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    /// With one more header.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With this body, and its length in a header.
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        let length = self.body.len().to_string();
        self.with("content-length", &length)
    }

    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The value of a header, as a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.header(name)?.parse().ok()
    }

    /// The body as text.
    ///
    /// # Panics
    /// If it is not UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// As it goes over the wire.
    pub fn bytes(&self, version: Version) -> Vec<u8> {
        let escaped = self.is_escaped(version);
        let mut bytes = format!("{}\n", self.command).into_bytes();
        for (name, value) in &self.headers {
            let (name, value) = if escaped { (escape(name), escape(value)) } else { (name.clone(), value.clone()) };
            bytes.extend_from_slice(format!("{name}:{value}\n").as_bytes());
        }
        bytes.push(b'\n');
        bytes.extend_from_slice(&self.body);
        bytes.push(0);
        bytes
    }

    /// CONNECT (also known as STOMP) and CONNECTED have no escapes, so that 1.0 understands them; 1.0 has none at all.
    fn is_escaped(&self, version: Version) -> bool {
        version > Version::V1_0 && !matches!(self.command.as_str(), "CONNECT" | "STOMP" | "CONNECTED")
    }

    /// What `bytes` begin with, and how long it is; `None` where more must come.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn parse(bytes: &[u8], version: Version) -> Result<Option<(Parsed, usize)>, String> {
        match bytes {
            [b'\n', ..] => return Ok(Some((Parsed::HeartBeat, 1))),
            [b'\r', b'\n', ..] if version == Version::V1_2 => return Ok(Some((Parsed::HeartBeat, 2))),
            _ => {}
        }
        let Some((head, start)) = head(bytes) else {
            // A frame without a blank line never becomes whole.
            return if bytes.contains(&0) { Err(rule("a NUL before the blank line", bytes)) } else { Ok(None) };
        };
        if head.contains(&0) {
            return Err(rule("a NUL among the headers", bytes));
        }
        let head = std::str::from_utf8(head).map_err(|_| rule("headers that are not UTF-8", bytes))?;
        let mut lines = head.split('\n').map(|line| match version {
            Version::V1_2 => line.strip_suffix('\r').unwrap_or(line),
            _ => line,
        });
        let mut frame = Self::new(lines.next().unwrap_or_default());
        let escaped = frame.is_escaped(version);
        for line in lines {
            let broken = |what: &str| rule(&format!("{what} in {line:?}"), head.as_bytes());
            let (name, value) = line.split_once(':').ok_or_else(|| broken("no colon"))?;
            let (name, value) = match escaped {
                true if value.contains(':') => return Err(broken("a bare colon")),
                true if line.contains('\r') && version == Version::V1_2 => return Err(broken("a bare CR")),
                true => (unescape(name, version), unescape(value, version)),
                false => (Some(name.to_owned()), Some(value.to_owned())),
            };
            let (Some(name), Some(value)) = (name, value) else { return Err(broken("an undefined escape")) };
            if name.is_empty() {
                return Err(broken("no name"));
            }
            if frame.header(&name).is_some() {
                return Err(broken("a header that came before"));
            }
            frame.headers.push((name, value));
        }
        frame.take_body(bytes, start)
    }

    fn take_body(mut self, bytes: &[u8], start: usize) -> Result<Option<(Parsed, usize)>, String> {
        let end = match self.header("content-length") {
            Some(length) => {
                let is_number = !length.is_empty() && length.bytes().all(|digit| digit.is_ascii_digit());
                let length = length.parse::<usize>().ok().filter(|_| is_number);
                start + length.ok_or_else(|| rule("a content-length that is no number", bytes))?
            }
            None => match bytes[start..].iter().position(|byte| *byte == 0) {
                Some(length) => start + length,
                None => return Ok(None),
            },
        };
        match bytes.get(end) {
            None => return Ok(None),
            Some(0) => {}
            Some(_) => return Err(rule("no NUL where the content-length ends", bytes)),
        }
        self.body = bytes[start..end].to_vec();
        Ok(Some((Parsed::Frame(self), end + 1)))
    }
}

/// What is before the blank line, and where the body begins.
fn head(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let mut from = 0;
    loop {
        let end = from + bytes[from..].iter().position(|byte| *byte == b'\n')?;
        match bytes.get(end + 1..)? {
            [b'\n', ..] => return Some((&bytes[..end], end + 2)),
            [b'\r', b'\n', ..] => return Some((&bytes[..end], end + 3)),
            [] | [b'\r'] => return None,
            _ => from = end + 1,
        }
    }
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace(':', "\\c").replace('\r', "\\r")
}

/// `None` if an escape is not defined.
fn unescape(text: &str, version: Version) -> Option<String> {
    let mut out = String::new();
    let mut signs = text.chars();
    while let Some(sign) = signs.next() {
        out.push(match sign {
            '\\' => match signs.next()? {
                '\\' => '\\',
                'n' => '\n',
                'c' => ':',
                'r' if version == Version::V1_2 => '\r',
                _ => return None,
            },
            other => other,
        });
    }
    Some(out)
}

fn rule(what: &str, bytes: &[u8]) -> String {
    format!("{what}: {:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(300)]))
}
