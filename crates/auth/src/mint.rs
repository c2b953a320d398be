//! Making tokens, for tools and tests.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::secret::Secret;
use crate::verdict::Rejection;

/// What a token says. Without a channel it is for `connect`, with one for `subscribe`.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Minted<'a> {
    /// For whom; `None` for anonymous clients, who can have subscription tokens only.
    #[serde(rename = "sub", skip_serializing_if = "Option::is_none")]
    pub user: Option<&'a str>,
    /// Until when it is good, in Unix seconds.
    #[serde(rename = "exp")]
    pub expires: u64,
    /// For which audience.
    #[serde(rename = "aud", skip_serializing_if = "Option::is_none")]
    pub audience: Option<&'a str>,
    /// Who says so.
    #[serde(rename = "iss", skip_serializing_if = "Option::is_none")]
    pub issuer: Option<&'a str>,
    /// Where it allows to subscribe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<&'a str>,
    /// What the application says of the user to others, in JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info: Option<&'a RawValue>,
}

/// An HS256 token that says `minted`. Whether a node takes it is not looked at.
pub fn mint_with(secret: &Secret, minted: &Minted<'_>) -> Result<String, Rejection> {
    let key = EncodingKey::from_secret(secret.expose().as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), minted, &key)
        .map_err(|_| Rejection::Invalid("the token could not be signed"))
}
