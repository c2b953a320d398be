//! One key: what it is made of, and the one algorithm that it checks.

use std::io::Read as _;
use std::path::Path;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    RsaSubjectPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use tokio_rustls::rustls::pki_types::SubjectPublicKeyInfoDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

use crate::config::{Algorithm, ConfigError, KeyConfig, MIN_SECRET_BYTES};
use crate::secret::Secret;
use crate::weak::is_weak;

/// The bits of an RSA key: fewer are weak (RFC 7518, 3.3), more are refused by the library.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The bytes of a coordinate of P-256.
const P256_BYTES: usize = 32;

/// The bytes of an Ed25519 public key.
const ED25519_BYTES: usize = 32;

/// No PEM file of a public key is larger.
const MAX_FILE_BYTES: u64 = 64 << 10;

/// A key and its algorithm.
#[derive(Clone)]
pub(crate) enum Key {
    /// The secret of HS256, made ready: what is done once here is not done for every token.
    Secret(Box<hmac::Key>),
    Public(Algorithm, DecodingKey),
}

/// Why something is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("it holds no PUBLIC KEY in PEM (openssl pkey -pubout makes one)")]
    Pem,
    #[error("it is no public key of this algorithm")]
    Kind,
    #[error("its RSA key has {0} bits: it needs 2048 to 8192")]
    RsaBits(usize),
    #[error("its Ed25519 key is a point of small order: anybody could sign for it")]
    Weak,
    #[error("an algorithm with public keys cannot have a secret as its key")]
    Symmetric,
}

impl Key {
    /// The one algorithm that it checks.
    pub(crate) fn algorithm(&self) -> Algorithm {
        match self {
            Self::Secret(_) => Algorithm::Hs256,
            Self::Public(algorithm, _) => *algorithm,
        }
    }

    /// Whether `signature`, in base64url, is this key's under `message`; `None` if it is no base64url.
    pub(crate) fn has_signed(&self, message: &[u8], signature: &str) -> Option<bool> {
        match self {
            Self::Secret(secret) => {
                let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
                Some(hmac::verify(secret, message, &signature).is_ok())
            }
            Self::Public(algorithm, key) => {
                let algorithm = match algorithm {
                    Algorithm::Hs256 => jsonwebtoken::Algorithm::HS256,
                    Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
                    Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
                    Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
                };
                jsonwebtoken::crypto::verify(signature, message, key, algorithm).ok()
            }
        }
    }

    /// The secret that stands at `place`.
    pub(crate) fn secret(secret: &Secret, place: &str) -> Result<Self, ConfigError> {
        let secret = secret.expose();
        if secret.len() < MIN_SECRET_BYTES {
            return Err(ConfigError::ShortSecret { key: place.to_owned(), bytes: secret.len() });
        }
        // Whoever has the public key could sign with it.
        if secret.trim_start().starts_with("-----BEGIN") {
            return Err(ConfigError::unusable(place, "this is a key in PEM, not a secret"));
        }
        Ok(Self::Secret(Box::new(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()))))
    }

    /// The key of `auth.keys.<kid>`.
    pub(crate) fn configured(kid: &str, config: &KeyConfig) -> Result<Self, ConfigError> {
        let place = format!("auth.keys.{kid}");
        let KeyConfig { algorithm, secret, public_key, file } = config;
        let Some(algorithm) = *algorithm else {
            return Err(ConfigError::unusable(place, "algorithm is missing: HS256, RS256, ES256 or EdDSA"));
        };
        let public = |pem: &[u8], from: &str| {
            Self::pem(algorithm, pem).map_err(|error| ConfigError::unusable(format!("{place}.{from}"), error))
        };
        match (algorithm, secret, public_key, file) {
            (Algorithm::Hs256, Some(secret), None, None) => Self::secret(secret, &format!("{place}.secret")),
            (Algorithm::Hs256, ..) => Err(ConfigError::unusable(place, "HS256 takes secret, and nothing else")),
            (_, None, Some(pem), None) => public(pem.as_bytes(), "public_key"),
            (_, None, None, Some(file)) => {
                let pem = read(file).map_err(|error| ConfigError::unusable(format!("{place}.file"), error))?;
                public(&pem, "file")
            }
            _ => Err(ConfigError::unusable(place, "it takes one of public_key and file, and no secret")),
        }
    }

    /// A public key in PEM (RFC 7468, 13).
    fn pem(algorithm: Algorithm, pem: &[u8]) -> Result<Self, KeyError> {
        let spki = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| KeyError::Pem)?;
        match algorithm {
            Algorithm::Hs256 => Err(KeyError::Symmetric),
            Algorithm::Rs256 => Self::rsa(&spki),
            Algorithm::Es256 => Self::ec(&spki),
            Algorithm::EdDsa => Self::ed(&spki),
        }
    }

    /// The parameters of an RSA key in a JWK (RFC 7518, 6.3.1).
    pub(crate) fn rsa_components(n: &[u8], e: &[u8]) -> Result<Self, KeyError> {
        let components = RsaPublicKeyComponents { n, e };
        let parsed = components.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).map_err(|_| KeyError::Kind)?;
        Self::rsa(parsed.as_der().map_err(|_| KeyError::Kind)?.as_ref())
    }

    /// The coordinates of a point on P-256 in a JWK (RFC 7518, 6.2.1).
    pub(crate) fn p256_coordinates(x: &[u8], y: &[u8]) -> Result<Self, KeyError> {
        if x.len() != P256_BYTES || y.len() != P256_BYTES {
            return Err(KeyError::Kind);
        }
        Self::ec(&[&[4], x, y].concat())
    }

    /// An Ed25519 key in a JWK (RFC 8037, 2).
    pub(crate) fn ed25519(x: &[u8]) -> Result<Self, KeyError> {
        if x.len() == ED25519_BYTES { Self::ed(x) } else { Err(KeyError::Kind) }
    }

    fn rsa(der: &[u8]) -> Result<Self, KeyError> {
        let key = RsaSubjectPublicKey::from_der(der).map_err(|_| KeyError::Kind)?;
        let modulus = key.modulus();
        let modulus = modulus.big_endian_without_leading_zero();
        let zeros = modulus.first().map_or(0, |first| first.leading_zeros() as usize);
        let bits = modulus.len() * 8 - zeros;
        if !RSA_BITS.contains(&bits) {
            return Err(KeyError::RsaBits(bits));
        }
        Ok(Self::Public(Algorithm::Rs256, DecodingKey::from_rsa_der(key.as_ref())))
    }

    fn ec(der: &[u8]) -> Result<Self, KeyError> {
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, der).map_err(|_| KeyError::Kind)?;
        Ok(Self::Public(Algorithm::Es256, DecodingKey::from_ec_der(der)))
    }

    /// `der`: the bare key, or one in a SubjectPublicKeyInfo, which ends with it.
    fn ed(der: &[u8]) -> Result<Self, KeyError> {
        ParsedPublicKey::new(&ED25519, der).map_err(|_| KeyError::Kind)?;
        if is_weak(der) {
            return Err(KeyError::Weak);
        }
        Ok(Self::Public(Algorithm::EdDsa, DecodingKey::from_ed_der(der)))
    }
}

fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut pem = Vec::new();
    std::fs::File::open(file)?.take(MAX_FILE_BYTES).read_to_end(&mut pem)?;
    Ok(pem)
}
