//! A client of our own: a strict reader of a node's frames, and a writer of its own. It shares no code with the codec.

use ullim_protocol::stomp::Version;

/// A frame as this client reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerFrame {
    pub(crate) command: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl ServerFrame {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(candidate, _)| candidate == name).map(|(_, value)| value.as_str())
    }
}

/// Reads exactly one frame, which must be all of `bytes`.
pub(crate) fn read_frame(version: Version, bytes: &[u8]) -> Result<ServerFrame, String> {
    let mut lines = bytes;
    let mut next_line = || -> Result<String, String> {
        let end = lines.iter().position(|&byte| byte == b'\n').ok_or("a line has no end")?;
        let line = String::from_utf8(lines[..end].to_vec()).map_err(|_| "a line is not UTF-8")?;
        lines = &lines[end + 1..];
        if line.contains(['\r', '\0']) {
            return Err(format!("a CR or NUL in {line:?}"));
        }
        Ok(line)
    };
    let command = next_line()?;
    let mut headers: Vec<(String, String)> = Vec::new();
    loop {
        let line = next_line()?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or(format!("no colon in {line:?}"))?;
        let has_escapes = version > Version::V1_0 && command != "CONNECTED";
        if has_escapes && value.contains(':') {
            return Err(format!("a colon that is not escaped in {line:?}"));
        }
        let decoded = |text: &str| if has_escapes { unescape(version, text) } else { Ok(text.to_owned()) };
        let (mut name, mut value) = (decoded(name)?, decoded(value)?);
        if version == Version::V1_0 {
            (name, value) = (name.trim().to_owned(), value.trim().to_owned());
        }
        if name.is_empty() || headers.iter().any(|(other, _)| *other == name) {
            return Err(format!("{name:?} is empty or repeated"));
        }
        headers.push((name, value));
    }
    let mut frame = ServerFrame { command, headers, body: Vec::new() };
    let length = match frame.get("content-length") {
        Some(length) => length.parse().map_err(|_| "content-length is no number")?,
        None => 0,
    };
    match lines.split_at_checked(length) {
        Some((body, [0])) => frame.body = body.to_vec(),
        _ => return Err(format!("a body of {length} bytes and a NUL are not what is left: {lines:?}")),
    }
    Ok(frame)
}

fn unescape(version: Version, text: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        out.push(match c {
            '\\' => match characters.next() {
                Some('n') => '\n',
                Some('c') => ':',
                Some('\\') => '\\',
                Some('r') if version == Version::V1_2 => '\r',
                other => return Err(format!("the escape {other:?}")),
            },
            c => c,
        });
    }
    Ok(out)
}

/// How a client writes a frame.
#[derive(Debug, Clone)]
pub(crate) struct ClientFrame {
    pub(crate) command: &'static str,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) has_length: bool,
    pub(crate) ends_lines_with_cr: bool,
}

impl ClientFrame {
    /// As CONNECT and STOMP are in every version, and all else is in 1.1 and 1.2.
    pub(crate) fn write(&self, version: Version, out: &mut Vec<u8>) {
        let end_of_line = if self.ends_lines_with_cr { "\r\n" } else { "\n" };
        let is_connect = ["CONNECT", "STOMP"].contains(&self.command);
        let escaped = |text: &str| match version {
            Version::V1_0 => text.to_owned(),
            _ if is_connect => text.to_owned(),
            Version::V1_1 => text.replace('\\', "\\\\").replace('\n', "\\n").replace(':', "\\c"),
            Version::V1_2 => text.replace('\\', "\\\\").replace('\n', "\\n").replace(':', "\\c").replace('\r', "\\r"),
        };
        out.extend(self.command.bytes().chain(end_of_line.bytes()));
        for (name, value) in &self.headers {
            out.extend(format!("{}:{}{end_of_line}", escaped(name), escaped(value)).into_bytes());
        }
        if self.has_length {
            out.extend(format!("content-length:{}{end_of_line}", self.body.len()).into_bytes());
        }
        out.extend(end_of_line.bytes());
        out.extend(&self.body);
        out.push(0);
    }
}
