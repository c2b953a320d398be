//! Configured users: who is let in with which passcode, and what that costs.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::task::{Context, Waker};
use std::time::{SystemTime, UNIX_EPOCH};

use argon2::password_hash::PasswordHasher as _;
use argon2::{Algorithm, Argon2, Params, Version};
use ullim_auth::{Config, Identity, Minted, Rejection, Secret, UserConfig, Verified, Verifier, mint_with};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const WRONG: Rejection = Rejection::Invalid("login or passcode is wrong");

/// The least that a hash can cost.
fn hash(passcode: &str) -> String {
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8, 1, 1, None).unwrap());
    argon2.hash_password_with_salt(passcode.as_bytes(), b"some salt").unwrap().to_string()
}

fn users(users: &[(&str, &str)]) -> BTreeMap<String, UserConfig> {
    let users = users.iter().map(|&(name, hash)| (name.to_owned(), UserConfig { passcode: Some(Secret::new(hash)) }));
    users.collect()
}

fn verifier() -> Verifier {
    let users = users(&[("backend", &hash("hunter2")), ("guest", &hash("guest"))]);
    Verifier::new(&Config { users, hs256_secret: Some(Secret::new(SECRET)), ..Config::default() }).unwrap()
}

fn token(lives: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let minted = Minted { user: Some("alice"), expires: now.checked_add_signed(lives).unwrap(), ..Minted::default() };
    mint_with(&Secret::new(SECRET), &minted).unwrap()
}

async fn verdict(verified: Verified<Identity>) -> Result<Identity, Rejection> {
    match verified {
        Verified::Now(verdict) => verdict,
        Verified::Later(verdict) => verdict.await,
    }
}

#[tokio::test]
async fn a_user_with_the_right_passcode_is_a_service_without_an_end() {
    let identity = verdict(verifier().verify_passcode("backend", "hunter2")).await.unwrap();
    assert_eq!(identity, Identity { user: Some("backend".into()), is_service: true, ..Identity::default() });
}

#[tokio::test]
async fn a_wrong_passcode_and_an_unknown_login_are_refused_alike() {
    let verifier = verifier();
    for (login, passcode) in
        [("backend", "hunter"), ("backend", ""), ("backend", "guest"), ("nobody", "hunter2"), ("", "guest"), ("", "")]
    {
        let verified = verifier.verify_passcode(login, passcode);
        assert!(matches!(verified, Verified::Later(_)), "{login:?} costs a hash");
        assert_eq!(verdict(verified).await, Err(WRONG), "{login:?} {passcode:?}");
    }
    assert!(verifier.is_configured("guest") && !verifier.is_configured("nobody"));
}

#[tokio::test]
async fn a_passcode_that_was_right_once_is_not_hashed_again() {
    let verifier = verifier();
    verdict(verifier.verify_passcode("backend", "hunter2")).await.unwrap();
    let identity = verifier.verify_passcode("backend", "hunter2").at_once().unwrap();
    assert!(identity.is_service && identity.user.as_deref() == Some("backend"));
    for (login, passcode) in [("backend", "hunter3"), ("guest", "hunter2"), ("backen", "dhunter2")] {
        assert_eq!(verdict(verifier.verify_passcode(login, passcode)).await, Err(WRONG), "{login:?}");
    }
}

#[tokio::test]
async fn who_asks_is_not_held_up_by_the_hash() {
    let verifier = verifier();
    let hashed_elsewhere = (0..100).any(|n| {
        let Verified::Later(mut verdict) = verifier.verify_passcode("guest", &n.to_string()) else { return false };
        // Now and then another thread may be done before this one looks, but not always.
        verdict.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
    });
    assert!(hashed_elsewhere);
}

#[tokio::test]
async fn a_thousand_connections_of_one_backend_share_a_hash() {
    let verifier = verifier();
    // Far more than may be in the line with different passcodes.
    let waiting: Vec<_> = (0..1000).map(|_| verifier.verify_passcode("backend", "hunter2")).collect();
    for verified in waiting {
        assert!(verdict(verified).await.is_ok());
    }
}

#[tokio::test]
async fn the_line_is_bounded_and_who_leaves_it_makes_room() {
    let verifier = verifier();
    let mut waiting: Vec<_> = (0..256).map(|n| verifier.verify_passcode("guest", &n.to_string())).collect();
    assert!(waiting.iter().all(|verified| matches!(verified, Verified::Later(_))));
    let refused = verifier.verify_passcode("guest", "guest").at_once();
    assert!(matches!(refused, Err(Rejection::Unavailable(reason)) if reason.contains("passcodes")), "{refused:?}");
    waiting.pop();
    let guest = verifier.verify_passcode("guest", "guest");
    assert!(matches!(verifier.verify_passcode("guest", "x"), Verified::Now(Err(Rejection::Unavailable(_)))));
    waiting.push(verifier.verify_passcode("guest", "0"));
    // Whoever begins a hash and does not stay for it leaves it to the next.
    let Verified::Later(mut first) = waiting.remove(0) else { panic!("it waits") };
    let _ = first.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    drop(first);
    assert!(verdict(guest).await.is_ok());
    for verified in waiting {
        assert_eq!(verdict(verified).await, Err(WRONG));
    }
    // What was judged is no longer in the line.
    let again: Vec<_> = (0..256).map(|n| verifier.verify_passcode("guest", &n.to_string())).collect();
    assert!(again.iter().all(|verified| matches!(verified, Verified::Later(_))));
}

#[tokio::test]
async fn a_passcode_of_no_configured_login_may_be_a_token() {
    let verifier = verifier();
    let (good, expired) = (token(60), token(-60));
    for login in [None, Some(""), Some("anybody")] {
        let identity = verdict(verifier.verify_login(login, Some(&good))).await.unwrap();
        assert_eq!((identity.user.as_deref(), identity.is_service), (Some("alice"), false));
        assert_eq!(verdict(verifier.verify_login(login, Some(&expired))).await, Err(Rejection::Expired));
        for none in ["guest", "a.b.c", "..", "x.y", &format!("{good}.")] {
            assert_eq!(verdict(verifier.verify_login(login, Some(none))).await, Err(WRONG), "{login:?} {none}");
        }
    }
    assert!(verdict(verifier.verify_login(Some("guest"), Some("guest"))).await.unwrap().is_service);
    // The login of a configured user means that user.
    let alice = verdict(verifier.verify_login(Some("guest"), Some(&good))).await.unwrap();
    assert_eq!((alice.user.as_deref(), alice.is_service), (Some("alice"), false), "whatever the login");
}

#[tokio::test]
async fn without_login_and_passcode_a_client_is_anonymous() {
    assert_eq!(verdict(verifier().verify_login(None, None)).await, Err(Rejection::Missing));
    let open = Verifier::new(&Config { anonymous: true, ..Config::default() }).unwrap();
    for nothing in [None, Some("")] {
        assert_eq!(verdict(open.verify_login(nothing, nothing)).await, Ok(Identity::default()));
        assert_eq!(verdict(open.verify_login(Some("guest"), nothing)).await, Err(WRONG));
        assert_eq!(verdict(open.verify_login(nothing, Some("guest"))).await, Err(WRONG));
    }
}

#[test]
fn users_that_nobody_could_be_are_refused_with_what_is_wrong() {
    let good = hash("guest");
    let long = "x".repeat(256);
    let cases = [
        ("a", "guest", "auth.users.a.passcode: it is no argon2id hash"),
        ("a", "", "auth.users.a.passcode: it is no argon2id hash"),
        ("", &good, "auth.users.\"\": a user's name has 1 to 255 bytes"),
        (&long, &good, "a user's name has 1 to 255 bytes"),
        ("~a", &good, "auth.users.\"~a\": a user's name does not begin with \"~\""),
        ("a\nb", &good, "auth.users.\"a\\nb\": a user's name has no control characters"),
    ];
    for (name, hash, problem) in cases {
        let found = Verifier::new(&Config { users: users(&[(name, hash)]), ..Config::default() }).err().unwrap();
        assert!(found.to_string().contains(problem), "{found}\nis not\n{problem}");
    }
    let missing = BTreeMap::from([("a".to_owned(), UserConfig::default())]);
    let found = Verifier::new(&Config { users: missing, ..Config::default() }).err().unwrap().to_string();
    assert!(found.contains("auth.users.a: passcode is missing: `ullim passcode`"), "{found}");
    assert!(
        Verifier::new(&Config { users: users(&[("a", &good)]), ..Config::default() }).is_ok(),
        "somebody can connect"
    );
}
