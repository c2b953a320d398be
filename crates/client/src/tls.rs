//! Owns TLS: whom to trust, and what it means when trust fails. Verification cannot be turned off.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{CertificateError, ClientConfig, Error, RootCertStore};

use crate::config::ConfigError;
use crate::reason::{Reason, TlsError};

/// What an endpoint with TLS needs.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) connector: TlsConnector,
    /// What the certificate has to hold.
    pub(crate) name: ServerName<'static>,
}

/// Trusts the authorities of the system and those in `ca_file`.
pub(crate) fn connector(ca_file: Option<&Path>) -> Result<TlsConnector, ConfigError> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::warn!(%error, "certificate authorities of the system were passed over");
    }
    let (_, unusable) = roots.add_parsable_certificates(native.certs);
    if unusable > 0 {
        tracing::debug!(unusable, "certificate authorities of the system were passed over");
    }
    if let Some(path) = ca_file {
        add(&mut roots, path).map_err(|problem| ConfigError::BadCaFile { path: path.to_owned(), problem })?;
    }
    if roots.is_empty() {
        return Err(ConfigError::NoAuthorities);
    }
    // The provider is named, so that nothing depends on what else is compiled into the process.
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| ConfigError::Tls(error.to_string()))?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// All or nothing: a certificate that is passed over would be missed much later.
fn add(roots: &mut RootCertStore, path: &Path) -> Result<(), String> {
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())?;
    let mut count = 0;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
        count += 1;
    }
    if count == 0 {
        return Err("it holds no certificate in PEM".to_owned());
    }
    Ok(())
}

/// The TLS handshake, with all that it verifies.
pub(crate) async fn encrypt(tls: &Tls, host: &str, stream: TcpStream) -> Result<TlsStream<TcpStream>, Reason> {
    let connected = tls.connector.connect(tls.name.clone(), stream).await;
    connected.map_err(|error| match error.get_ref().and_then(|cause| cause.downcast_ref::<Error>()) {
        Some(cause) => Reason::Tls(failure(host, cause)),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            let problem = "the other side hung up: is this the port for wss://?".to_owned();
            Reason::Tls(TlsError::Handshake { host: host.to_owned(), problem })
        }
        None => Reason::Broken(format!("the TLS handshake failed: {error}")),
    })
}

fn failure(host: &str, error: &Error) -> TlsError {
    let host = host.to_owned();
    let Error::InvalidCertificate(fault) = error else {
        let problem = match error {
            Error::InvalidMessage(_) => "the other side does not speak it: is this the port for wss://?".to_owned(),
            error => error.to_string(),
        };
        return TlsError::Handshake { host, problem };
    };
    match fault {
        // A bad signature is that of an authority which has the name of a known one.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => TlsError::UnknownAuthority { host },
        CertificateError::NotValidForName => TlsError::WrongName { host, names: "which are not known".to_owned() },
        CertificateError::NotValidForNameContext { presented, .. } => {
            TlsError::WrongName { host, names: presented.join(", ") }
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsError::Expired { host },
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => TlsError::NotYetValid { host },
        fault => TlsError::BadCertificate { host, problem: fault.to_string() },
    }
}
