//! TLS on the client listener: rustls with aws-lc, TLS 1.2 and 1.3.
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

pub use certificate::{CertificateError, check};
pub(crate) use certificates::Certificates;
pub(crate) use session::{Progress, Session};
pub(crate) use workers::{Job, Workers};

/// How connections are secured. A session is resumed with a ticket, whose key only this process has: nothing is kept
/// for it, and a client that comes back to another node shakes hands in full.
pub(crate) fn server_config(certificates: Arc<Certificates>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}
