//! The rules that a client can break.

/// What the connection has to be closed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// 1002.
    Protocol(&'static str),
    /// 1007.
    Utf8,
    /// 1009: the limit, in bytes.
    MessageBytes(usize),
    /// 1009: the limit, in fragments.
    Fragments(usize),
}
