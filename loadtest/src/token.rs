//! What each connection shows to say who it is.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use jsonwebtoken::{Algorithm, EncodingKey, Header};

use crate::target::Token;

/// Signs tokens.
#[derive(Debug)]
pub struct Signer {
    header: Header,
    key: EncodingKey,
    expiry: u64,
}

impl Signer {
    /// With the key that is described. `dir` stands for `$dir` in its path.
    pub fn new(token: &Token, dir: &str) -> anyhow::Result<Self> {
        let pem = || {
            let path = token.key.as_ref().context("this algorithm needs `key`, a PEM file")?.replace("$dir", dir);
            std::fs::read(&path).with_context(|| format!("cannot read the key {path}"))
        };
        let (algorithm, key) = match token.algorithm.as_str() {
            "HS256" => {
                let secret = token.secret.as_ref().context("HS256 needs `secret`")?;
                (Algorithm::HS256, EncodingKey::from_secret(secret.as_bytes()))
            }
            "RS256" => (Algorithm::RS256, EncodingKey::from_rsa_pem(&pem()?)?),
            "ES256" => (Algorithm::ES256, EncodingKey::from_ec_pem(&pem()?)?),
            "EdDSA" => (Algorithm::EdDSA, EncodingKey::from_ed_pem(&pem()?)?),
            other => bail!("`algorithm` is {other:?}: it can be HS256, RS256, ES256 or EdDSA"),
        };
        let expiry = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() + 24 * 3600;
        Ok(Self { header: Header::new(algorithm), key, expiry })
    }

    /// The token of a connection; it is good for a day.
    pub fn sign(&self, client: usize) -> anyhow::Result<String> {
        let claims = serde_json::json!({ "sub": format!("user-{client}"), "exp": self.expiry });
        Ok(jsonwebtoken::encode(&self.header, &claims, &self.key)?)
    }
}
