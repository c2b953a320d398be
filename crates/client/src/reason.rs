//! Owns why a connection ends or does not come about, by what whoever hears it can do.

use crate::token::TokenError;

/// Why a connection is no more, or did not come about. Whether there will be another is told beside it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// [`crate::Client::close`], or nobody needs the client any more. Final.
    #[error("closed by the user")]
    User,
    /// The token's `exp` has passed. Final with a fixed token: start another client with a new one. A callback is asked
    /// for a new one.
    #[error("the token has expired: a new one is needed")]
    TokenExpired,
    /// The callback gave no token. Final for [`TokenError::Denied`].
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The session goes on over a newer connection, of another client that resumed it. Final.
    #[error("the session was resumed on a newer connection")]
    SessionReplaced,
    /// A backend ended the connections of this user. Final.
    #[error("a backend ended this user's connections")]
    EndedByBackend,
    /// The node refused the session. Final unless the node says otherwise.
    #[error("{name}: {message}")]
    Refused {
        /// The number of the error (see `ullim_protocol::codes`).
        code: u16,
        /// The name of the error.
        name: String,
        /// An explanation for people.
        message: String,
    },
    /// The node closed, with this text. Whether it is final says the code.
    #[error("{0}")]
    Closed(String),
    /// No encrypted connection came about. It is tried again: there may be other nodes, and certificates are mended.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Something broke that may work the next time.
    #[error("{0}")]
    Broken(String),
}

/// Why no encrypted connection came about: what the node showed cannot be trusted, or it does not speak TLS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// Give the authority's certificate in [`crate::Config::ca_file`], or have it installed in the system.
    #[error(
        "the certificate of {host:?} is by no authority that is known here: give the authority's certificate as a CA file"
    )]
    UnknownAuthority {
        /// The name or address in the URL.
        host: String,
    },
    /// Connect by a name that the certificate holds, or have one issued that holds this one.
    #[error(
        "the certificate of {host:?} is for other names ({names}): connect by one of them, or have one issued for this"
    )]
    WrongName {
        /// The name or address in the URL.
        host: String,
        /// What the certificate holds, for people.
        names: String,
    },
    /// The certificate has to be renewed at the node, unless this machine's clock is wrong.
    #[error("the certificate of {host:?} has expired: renew it at the node, or set this machine's clock")]
    Expired {
        /// The name or address in the URL.
        host: String,
    },
    /// The certificate's time has not begun, unless this machine's clock is wrong.
    #[error("the certificate of {host:?} is not valid yet: set this machine's clock, or wait")]
    NotYetValid {
        /// The name or address in the URL.
        host: String,
    },
    /// The certificate has another fault, and has to be replaced at the node.
    #[error("the certificate of {host:?} cannot be accepted: {problem}")]
    BadCertificate {
        /// The name or address in the URL.
        host: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The two sides found no common ground, or the port does not speak TLS.
    #[error("no TLS with {host:?}: {problem}")]
    Handshake {
        /// The name or address in the URL.
        host: String,
        /// What happened.
        problem: String,
    },
}
