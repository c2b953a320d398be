//! A frame's headers, unescaped.

use std::fmt;

/// The headers of a client's frame, in its order. Of a repeated header the first counts, the others are left out.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct FrameHeaders {
    /// All names and values, one behind the other.
    text: String,
    entries: Vec<Entry>,
}

/// Where in the text a header's name and value end. It begins where the one before it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    name_end: usize,
    value_end: usize,
}

/// Headers whose values are secrets, for `Debug`.
const SECRETS: [&str; 3] = ["passcode", "token", "Authorization"];

impl FrameHeaders {
    /// None yet, with room for so many, and for so many bytes.
    pub(super) fn with_capacity(headers: usize, bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), entries: Vec::with_capacity(headers) }
    }

    /// Adds the header whose name and value the two append, unless there is one of this name.
    pub(super) fn push<E>(
        &mut self,
        name: impl FnOnce(&mut String) -> Result<(), E>,
        value: impl FnOnce(&mut String) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.text.len();
        name(&mut self.text)?;
        let name_end = self.text.len();
        value(&mut self.text)?;
        if self.get(&self.text[start..name_end]).is_some() {
            self.text.truncate(start);
        } else {
            self.entries.push(Entry { name_end, value_end: self.text.len() });
        }
        Ok(())
    }

    /// The memory that they take.
    pub(super) fn kept_bytes(&self) -> usize {
        self.text.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    /// The value of the header with this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(candidate, _)| *candidate == name).map(|(_, value)| value)
    }

    /// Names and values, in the frame's order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = 0;
        self.entries.iter().map(move |entry| {
            let name = &self.text[start..entry.name_end];
            start = entry.value_end;
            (name, &self.text[entry.name_end..entry.value_end])
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The bytes of all names and values.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for FrameHeaders {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(entries: I) -> Self {
        let mut headers = Self::default();
        for (name, value) in entries {
            let push = |part: &str, text: &mut String| {
                text.push_str(part);
                Ok::<_, std::convert::Infallible>(())
            };
            let Ok(()) = headers.push(|text| push(name.as_ref(), text), |text| push(value.as_ref(), text));
        }
        headers
    }
}

/// Without secrets: it may reach a log.
impl fmt::Debug for FrameHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_secret = |name: &str| SECRETS.iter().any(|secret| secret.eq_ignore_ascii_case(name));
        let shown = self.iter().map(|(name, value)| (name, if is_secret(name) { "…" } else { value }));
        f.debug_map().entries(shown).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_repeated_headers_counts_and_order_stays() {
        let headers: FrameHeaders = [("b", "1"), ("a", "2"), ("b", "3"), ("", "4")].into_iter().collect();
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("b", "1"), ("a", "2"), ("", "4")]);
        assert_eq!((headers.get("b"), headers.get("c")), (Some("1"), None));
        assert_eq!((headers.len(), headers.bytes()), (3, 5));
    }

    #[test]
    fn secrets_are_not_shown() {
        let headers: FrameHeaders =
            [("login", "ann"), ("passcode", "hush"), ("authorization", "hush")].into_iter().collect();
        let shown = format!("{headers:?}");
        assert!(shown.contains("ann") && !shown.contains("hush"), "{shown}");
    }
}
