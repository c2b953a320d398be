//! Tokens (RFC 7519), made by hand, so that they can be wrong.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::{TOKEN_SECRET, now_ms};

/// A token of `user` that the nodes of the tests accept.
pub fn good(user: &str) -> String {
    signed(&json!({"alg": "HS256", "typ": "JWT"}), &claims(user))
}

/// The claims of a good token.
pub fn claims(user: &str) -> Value {
    json!({"sub": user, "exp": now_ms() / 1000 + 600})
}

/// Header and claims with an HMAC-SHA256 by the nodes' secret, whatever the header says.
pub fn signed(header: &Value, claims: &Value) -> String {
    signed_by(TOKEN_SECRET, header, claims)
}

/// The same by another secret.
pub fn signed_by(secret: &str, header: &Value, claims: &Value) -> String {
    let signed = unsigned(header, claims);
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

/// Header and claims alone.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}
