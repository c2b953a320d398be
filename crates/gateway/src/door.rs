//! The listeners for clients, and what is spoken at each.

/// Which listener a connection has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// `client.listen`
    Http,
    /// `client.tls.listen`
    HttpTls,
    /// `client.stomp.listen`
    Stomp,
    /// `client.stomp.tls_listen`
    StompTls,
}

/// What a client says first, within TLS where there is TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speech {
    /// A request, which may open a WebSocket.
    Http,
    /// STOMP's frames, without any request before them.
    Stomp,
}

impl Door {
    /// All of them. The place of one among them is its number.
    pub(crate) const ALL: [Self; 4] = [Self::Http, Self::HttpTls, Self::Stomp, Self::StompTls];

    /// Whether a TLS handshake comes first.
    pub(crate) fn is_secure(self) -> bool {
        matches!(self, Self::HttpTls | Self::StompTls)
    }

    pub(crate) fn speaks(self) -> Speech {
        match self {
            Self::Http | Self::HttpTls => Speech::Http,
            Self::Stomp | Self::StompTls => Speech::Stomp,
        }
    }

    /// Whether who is over a limit is told so. An answer within TLS would cost a handshake; who has asked nothing has
    /// none to get.
    pub(crate) fn answers_refused(self) -> bool {
        !self.is_secure() && self.speaks() == Speech::Http
    }
}
