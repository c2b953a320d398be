//! TLS to Redis: whom to trust, who we are, and what it means when trust fails. Verification cannot be turned off.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{CertificateError, ClientConfig, Error, RootCertStore};

use super::address::AddressError;
use crate::config::RedisConfig;

/// What a connection with TLS needs.
#[derive(Clone)]
pub(super) struct Tls(TlsConnector);

impl Tls {
    /// Trusts the certificates of `broker.redis.ca_file`, or the public authorities.
    pub(super) fn new(config: &RedisConfig) -> Result<Self, AddressError> {
        let roots = roots(config.ca_file.as_deref())?;
        // The provider is named, so that nothing depends on what else is compiled into the process.
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| AddressError::Tls(error.to_string()))?
            .with_root_certificates(roots);
        let built = match (&config.certificate, &config.key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(certificate), Some(key)) => {
                let unusable = |problem: String| AddressError::Tls(format!("broker.redis.key: {problem}"));
                let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(error.to_string()))?;
                let chain = certificates("broker.redis.certificate", certificate)?;
                builder.with_client_auth_cert(chain, key).map_err(|error| unusable(error.to_string()))?
            }
            _ => {
                let problem = "broker.redis.certificate and broker.redis.key belong together";
                return Err(AddressError::Tls(problem.to_owned()));
            }
        };
        Ok(Self(TlsConnector::from(Arc::new(built))))
    }

    /// The handshake, with all that it verifies.
    pub(super) async fn encrypt(&self, host: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let invalid = |_| io::Error::other(format!("\"{host}\" cannot be the name of a certificate"));
        let name = ServerName::try_from(host.to_owned()).map_err(invalid)?;
        self.0.connect(name, stream).await.map_err(|error| explain(host, error))
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, AddressError> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        // Built in: an image that holds the binary alone has no list of its own.
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(file) => {
            for certificate in certificates("broker.redis.ca_file", file)? {
                let unusable = |error: Error| AddressError::Tls(format!("broker.redis.ca_file: {error}"));
                roots.add(certificate).map_err(unusable)?;
            }
        }
    }
    Ok(roots)
}

fn certificates(key: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, AddressError> {
    let unusable = |problem: String| AddressError::Tls(format!("{key}: {problem}"));
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = read.map_err(|error| unusable(error.to_string()))?;
    match certificates.is_empty() {
        true => Err(unusable("it holds no CERTIFICATE in PEM".to_owned())),
        false => Ok(certificates),
    }
}

fn explain(host: &str, error: io::Error) -> io::Error {
    let problem = match error.get_ref().and_then(|cause| cause.downcast_ref::<Error>()) {
        // A bad signature is that of an authority which has the name of a known one.
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)) => {
            format!("the certificate of {host} is by an authority that is not trusted: see broker.redis.ca_file")
        }
        Some(Error::InvalidCertificate(fault)) => format!("the certificate of {host} is refused: {fault}"),
        Some(Error::InvalidMessage(_)) => format!("{host} does not speak TLS on this port"),
        Some(error) => format!("the TLS handshake with {host} failed: {error}"),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            format!("{host} hung up on the TLS handshake: does it speak TLS on this port?")
        }
        None => return error,
    };
    io::Error::other(problem)
}
