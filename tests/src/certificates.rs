//! A certificate authority of a test, and certificates of servers by it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Signs certificates for `localhost` and 127.0.0.1.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
pub struct Certificate {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
    /// The certificate in DER, to tell it from others.
    pub der: Vec<u8>,
}

/// Where a node finds its certificate and its key.
pub struct CertificateFiles {
    /// The certificate.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
}

impl Authority {
    /// A new one.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Ullim's tests");
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    /// Its own certificate, in PEM: what clients have to trust.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate that is valid now.
    pub fn issue(&self) -> Certificate {
        self.sign(self.params())
    }

    /// A certificate whose time is over.
    pub fn issue_expired(&self) -> Certificate {
        let mut params = self.params();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2020, 2, 1);
        self.sign(params)
    }

    /// What connects to servers with certificates by this authority.
    pub fn connector(&self) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        // A resumed session would show the certificate of the first.
        config.resumption = Resumption::disabled();
        TlsConnector::from(Arc::new(config))
    }

    fn params(&self) -> CertificateParams {
        CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap()
    }

    fn sign(&self, params: CertificateParams) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &self.issuer).unwrap();
        Certificate { certificate: signed.pem(), key: key.serialize_pem(), der: signed.der().to_vec() }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl CertificateFiles {
    /// Writes both to `folder`.
    pub fn write(folder: &Path, certificate: &Certificate) -> Self {
        let files = Self { certificate: folder.join("tls.crt"), key: folder.join("tls.key") };
        files.replace(certificate);
        files
    }

    /// Puts another certificate in the place of the first.
    pub fn replace(&self, certificate: &Certificate) {
        self.replace_with(&certificate.certificate, &certificate.key);
    }

    /// Puts any text in the place of both.
    pub fn replace_with(&self, certificate: &str, key: &str) {
        for (path, text) in [(&self.certificate, certificate), (&self.key, key)] {
            let beside = path.with_extension("new");
            fs::write(&beside, text).unwrap();
            fs::rename(beside, path).unwrap();
        }
    }
}
