//! A configured passcode: a hash in the PHC format, and how one is made.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{ARGON2ID_IDENT, Argon2, Params};
use aws_lc_rs::rand;

use crate::config::{ConfigError, UserConfig};

/// The most memory that checking one passcode may take, in KiB.
const MAX_MEMORY_KIB: u32 = 1 << 20;

/// What a passcode is checked against.
pub(crate) struct Passcode(PasswordHash);

impl Passcode {
    /// The one of `auth.users.<name>`.
    pub(crate) fn configured(name: &str, config: &UserConfig) -> Result<Self, ConfigError> {
        let Some(hash) = &config.passcode else {
            let problem = "passcode is missing: `ullim passcode` makes one";
            return Err(ConfigError::unusable(format!("auth.users.{name}"), problem));
        };
        Self::parse(hash.expose())
            .map_err(|problem| ConfigError::unusable(format!("auth.users.{name}.passcode"), problem))
    }

    fn parse(hash: &str) -> Result<Self, &'static str> {
        let malformed = "it is no argon2id hash in the PHC format ($argon2id$…): `ullim passcode` makes one";
        let hash = PasswordHash::new(hash).map_err(|_| malformed)?;
        let params = Params::try_from(&hash).map_err(|_| malformed)?;
        let is_known = hash.algorithm == ARGON2ID_IDENT && matches!(hash.version, None | Some(0x10 | 0x13));
        if !is_known || hash.salt.is_none() || hash.hash.is_none() {
            return Err(malformed);
        }
        if params.m_cost() > MAX_MEMORY_KIB {
            return Err("checking it would take more than 1 GiB of memory (m=1048576)");
        }
        Ok(Self(hash))
    }

    /// Whether it is `passcode`. It takes as much time and memory as the hash says: tens of milliseconds.
    pub(crate) fn is(&self, passcode: &str) -> bool {
        Argon2::default().verify_password(passcode.as_bytes(), &self.0).is_ok()
    }
}

/// The hash of a passcode, as `auth.users.<name>.passcode` takes it; `None` if there is no randomness to be had. It
/// takes tens of milliseconds.
pub fn hash_passcode(passcode: &str) -> Option<String> {
    let mut salt = [0; argon2::RECOMMENDED_SALT_LEN];
    rand::fill(&mut salt).ok()?;
    let hash = Argon2::default().hash_password_with_salt(passcode.as_bytes(), &salt).ok()?;
    Some(hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_taken_and_is_never_the_same_twice() {
        let hash = hash_passcode("guest").unwrap();
        let passcode = Passcode::parse(&hash).unwrap();
        assert!(passcode.is("guest") && !passcode.is("Guest") && !passcode.is(""));
        assert_ne!(hash, hash_passcode("guest").unwrap());
    }

    #[test]
    fn other_hashes_are_refused() {
        let salted = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ";
        let hash = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$KPtFgCWwKXkMMgkJR0NqdiFUMgIV5GZ1yVOeiFpGLIM";
        assert!(Passcode::parse(hash).is_ok());
        for other in [
            "",
            "guest",
            "$2b$12$EXRkfkdmXn2gzds2SSitu.MW9.gAVqa9eLS1//RYtYCmB1eLHg.9q",
            "$argon2id$v=19$m=8,t=1,p=1",
            salted,
            &hash.replace("argon2id", "argon2i"),
            &hash.replace("v=19", "v=18"),
            &hash.replace("t=1", "t=0"),
            &hash.replace("m=8", "m=7"),
            &format!("{hash} "),
        ] {
            assert!(Passcode::parse(other).is_err_and(|problem| problem.contains("`ullim passcode`")), "{other}");
        }
        assert!(Passcode::parse(&hash.replace("m=8", "m=1048577")).is_err_and(|problem| problem.contains("1 GiB")));
    }
}
