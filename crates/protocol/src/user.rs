//! Names of users: what a token may call its user.

/// The most bytes of a user's name.
pub const MAX_USER_BYTES: usize = 255;

/// What the names of anonymous sessions begin with, and no user's.
pub const ANONYMOUS: char = '~';

/// What is wrong with a user's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// It is empty, or longer than [`MAX_USER_BYTES`].
    #[error("a user's name has 1 to 255 bytes")]
    Length,
    /// It begins with [`ANONYMOUS`].
    #[error("a user's name does not begin with \"~\": that is how anonymous sessions are called")]
    Anonymous,
    /// It holds one.
    #[error("a user's name has no control characters")]
    Control,
}

/// Whether `name` may be a user's.
///
/// # Errors
/// The first rule that it breaks.
pub fn check(name: &str) -> Result<(), UserError> {
    if name.is_empty() || name.len() > MAX_USER_BYTES {
        Err(UserError::Length)
    } else if name.starts_with(ANONYMOUS) {
        Err(UserError::Anonymous)
    } else if name.chars().any(char::is_control) {
        Err(UserError::Control)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_by_every_rule() {
        for name in ["a", "Alice Müller", "a~", &"é".repeat(127)] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
        let refused = [("", UserError::Length), ("~a", UserError::Anonymous), ("a\u{85}", UserError::Control)];
        for (name, error) in refused {
            assert_eq!(check(name), Err(error), "{name:?}");
        }
        assert_eq!(check(&"é".repeat(128)), Err(UserError::Length));
    }
}
