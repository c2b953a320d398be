//! TLS on the listeners for clients: rustls with aws-lc, TLS 1.2 and 1.3.
//!
//! * [`Session`]: one connection, established or not
//! * [`Workers`]: threads that do the handshakes' mathematics
//! * [`Certificates`]: the certificate in use, and its successor when the files change
//! * `certificate`, `validity`: files → a certificate that can be used

mod certificate;
mod certificates;
mod session;
mod validity;
mod workers;

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::NoServerSessionStorage;

use crate::door::Speech;

pub use certificate::{CertificateError, check};
pub(crate) use certificates::Certificates;
pub(crate) use session::{Progress, Session};
pub(crate) use workers::{Job, Workers};

/// How connections are secured, for what is spoken within them. A session is resumed with a ticket, whose key only this process has: nothing is kept
/// for it, and a client that comes back to another node shakes hands in full.
///
/// A client that names other protocols is turned away: a browser's request that somebody leads to the wrong listener is
/// not read there.
pub(crate) fn server_config(certificates: Arc<Certificates>) -> Result<Secured, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(certificates);
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    let speaking = |protocol: &[u8]| {
        let mut config = config.clone();
        config.alpn_protocols = vec![protocol.to_vec()];
        Arc::new(config)
    };
    Ok(Secured { http: speaking(b"http/1.1"), stomp: speaking(b"stomp") })
}

/// How connections are secured, for each that may be spoken within them.
#[derive(Clone)]
pub(crate) struct Secured {
    http: Arc<ServerConfig>,
    stomp: Arc<ServerConfig>,
}

impl Secured {
    pub(crate) fn config(&self, speech: Speech) -> Arc<ServerConfig> {
        Arc::clone(match speech {
            Speech::Http => &self.http,
            Speech::Stomp => &self.stomp,
        })
    }
}
