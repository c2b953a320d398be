//! PEM files → a certificate that can be used, or why it cannot.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::validity::{Validity, date};
use crate::config::{Config, TlsConfig};

/// How often two files are read that do not belong together, before it is their fault: they may just be changing.
const ATTEMPTS: usize = 3;

/// Why there is no certificate to be used. Each names the key of the configuration and the file.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The configuration names no file.
    #[error("{0} is not set, but {1} is")]
    Missing(&'static str, &'static str),
    /// A file cannot be read.
    #[error("{0}: {1}: {2}")]
    Unreadable(&'static str, PathBuf, io::Error),
    /// A file does not hold what it should.
    #[error("{0}: {1}: {2}")]
    Malformed(&'static str, PathBuf, String),
    /// The key is not the certificate's.
    #[error("client.tls.key: {0} is not the key of the certificate in {1} (client.tls.certificate)")]
    Mismatch(PathBuf, PathBuf),
    /// The certificate is no longer valid, or not yet.
    #[error("client.tls.certificate: {0}: it is valid from {from} until {until}", from = date(*.1), until = date(*.2))]
    NotValid(PathBuf, u64, u64),
}

/// The most bytes of a file: a long chain has a few thousand.
const MAX_FILE_BYTES: u64 = 1 << 20;

const CERTIFICATE: &str = "client.tls.certificate";
const KEY: &str = "client.tls.key";

/// Whether the certificate and the key that are configured can be used; also if there is nothing to use them for.
pub fn check(config: &Config) -> Result<(), CertificateError> {
    if config.has_tls() {
        Paths::of(&config.tls)?.read()?.load()?;
    }
    Ok(())
}

/// Where a certificate and its key are.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    certificate: PathBuf,
    key: PathBuf,
}

/// What the files held, for a comparison with what they hold later.
#[derive(Clone)]
pub(crate) struct Files {
    paths: Paths,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// A certificate in use.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) key: Arc<CertifiedKey>,
    pub(crate) validity: Validity,
}

impl Paths {
    pub(crate) fn of(config: &TlsConfig) -> Result<Self, CertificateError> {
        let TlsConfig { listen, certificate, key, .. } = config;
        let listener = if listen.is_some() { "client.tls.listen" } else { "client.stomp.tls_listen" };
        let certificate = certificate.clone().ok_or(CertificateError::Missing(CERTIFICATE, listener))?;
        let key = key.clone().ok_or(CertificateError::Missing(KEY, listener))?;
        Ok(Self { certificate, key })
    }

    /// Reads both files as they are at one moment: a successor may be put in their place between the two.
    pub(crate) fn read(&self) -> Result<Files, CertificateError> {
        let mut certificate = read(CERTIFICATE, &self.certificate)?;
        for _ in 0..ATTEMPTS {
            let key = read(KEY, &self.key)?;
            let again = read(CERTIFICATE, &self.certificate)?;
            if again == certificate {
                return Ok(Files { paths: self.clone(), certificate, key });
            }
            certificate = again;
        }
        Err(CertificateError::Unreadable(CERTIFICATE, self.certificate.clone(), io::ErrorKind::Interrupted.into()))
    }
}

fn read(name: &'static str, path: &Path) -> Result<Vec<u8>, CertificateError> {
    read_regular(path).map_err(|error| CertificateError::Unreadable(name, path.to_owned(), error))
}

/// Pipes and devices are not read: they might never end, or never begin.
fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other(format!("it has more than {MAX_FILE_BYTES} bytes")));
    }
    Ok(bytes)
}

impl Files {
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.certificate == other.certificate && self.key == other.key
    }

    /// The certificate that the files hold, if it can be used now.
    pub(crate) fn load(&self) -> Result<Loaded, CertificateError> {
        let Paths { certificate: certificate_path, key: key_path } = &self.paths;
        let malformed_certificate =
            |text: String| CertificateError::Malformed(CERTIFICATE, certificate_path.clone(), text);
        let malformed_key = |text: String| CertificateError::Malformed(KEY, key_path.clone(), text);

        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.certificate).collect();
        let chain = chain.map_err(|error| malformed_certificate(error.to_string()))?;
        let Some(first) = chain.first() else {
            return Err(malformed_certificate("there is no certificate in it".to_owned()));
        };
        let validity =
            Validity::of(first).ok_or_else(|| malformed_certificate("its first certificate is none".into()))?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| match error {
            pem::Error::NoItemsFound => malformed_key("there is no private key in it".to_owned()),
            error => malformed_key(error.to_string()),
        })?;
        let key = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                CertificateError::Mismatch(key_path.clone(), certificate_path.clone())
            }
            rustls::Error::InvalidCertificate(_) => malformed_certificate(error.to_string()),
            error => malformed_key(error.to_string()),
        })?;
        if !validity.contains(SystemTime::now()) {
            let Validity { not_before, not_after } = validity;
            return Err(CertificateError::NotValid(certificate_path.clone(), not_before, not_after));
        }
        Ok(Loaded { key: Arc::new(key), validity })
    }
}
