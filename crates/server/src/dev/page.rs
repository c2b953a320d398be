//! The page of `ullim dev`: its files, tokens for whoever asks, and how the node is reached. Only a node whose secrets
//! are public serves it.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::json;
use ullim_auth::Secret;
use ullim_gateway::Page;
use ullim_protocol::user;

use crate::token;

const TOKEN_TTL: Duration = Duration::from_secs(30 * 24 * 3600);

/// The most characters of a name that is chosen on the page.
const MAX_NAME: usize = 64;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// Every file: its path, its type, what is in it.
const FILES: [(&str, &str, &str); 7] = [
    ("/", HTML, include_str!("page/index.html")),
    ("/ullim.css", CSS, include_str!("page/ullim.css")),
    ("/ullim.js", SCRIPT, include_str!("page/ullim.js")),
    ("/page.js", SCRIPT, include_str!("page/page.js")),
    ("/timeline.js", SCRIPT, include_str!("page/timeline.js")),
    ("/snippets.js", SCRIPT, include_str!("page/snippets.js")),
    ("/icon.svg", SVG, include_str!("page/icon.svg")),
];

/// What the page tells backends to use.
pub(super) struct Access {
    pub(super) internal: SocketAddr,
    pub(super) api_key: String,
    /// The URL and the prefix of the Redis that joins the nodes.
    pub(super) redis: Option<(String, String)>,
}

/// Answers for the page.
pub(super) struct Site {
    secret: Option<Secret>,
    /// What `/dev.json` answers: known only once the node listens.
    access: OnceLock<String>,
}

impl Site {
    /// A site whose tokens are signed with `secret`.
    pub(super) fn new(secret: Option<Secret>) -> Self {
        Self { secret, access: OnceLock::new() }
    }

    /// Says how the node is reached. Only the first call counts.
    pub(super) fn tell(&self, access: &Access) {
        let Access { internal, api_key, redis } = access;
        let document = json!({
            "api_url": format!("http://{internal}/api/publish"),
            "api_key": api_key,
            "redis_url": redis.as_ref().map(|(url, _)| without_credentials(url)),
            "prefix": redis.as_ref().map(|(_, prefix)| prefix),
        });
        self.access.get_or_init(|| document.to_string());
    }

    /// The answer to a GET of `path`; `None` where there is nothing.
    pub(super) fn page(&self, path: &str, query: Option<&str>) -> Option<Page> {
        match path {
            "/token" => Some(self.token(query.unwrap_or_default())),
            "/dev.json" => Some(match self.access.get() {
                Some(document) => answer(200, JSON, document.clone()),
                None => answer(503, TEXT, "the node is starting: ask again\n".to_owned()),
            }),
            _ => FILES.iter().find(|(file, ..)| *file == path).map(|&(_, content_type, content)| Page {
                status: 200,
                content_type,
                body: Cow::Borrowed(content.as_bytes()),
            }),
        }
    }

    fn token(&self, query: &str) -> Page {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        let user = pairs.find(|(key, _)| key == "user").map(|(_, user)| user).unwrap_or_default();
        if let Err(complaint) = check_name(&user) {
            return answer(400, TEXT, format!("{complaint}\n"));
        }
        let Some(secret) = self.secret.clone() else {
            return answer(404, TEXT, "this node takes no tokens\n".to_owned());
        };
        match token::mint(secret, &user, TOKEN_TTL) {
            Ok(token) => answer(200, JSON, json!({ "token": token }).to_string()),
            Err(error) => answer(400, TEXT, format!("{error:#}\n")),
        }
    }
}

fn answer(status: u16, content_type: &'static str, body: String) -> Page {
    Page { status, content_type, body: Cow::Owned(body.into_bytes()) }
}

fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.chars().count() > MAX_NAME {
        return Err("a name has 1 to 64 characters: /token?user=NAME".to_owned());
    }
    user::check(name).map_err(|error| error.to_string())
}

/// Redis' password is not public, as all else here is.
fn without_credentials(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("redis", url));
    let (_credentials, host) = rest.rsplit_once('@').unwrap_or(("", rest));
    format!("{scheme}://{host}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ullim_auth::{Config, Verifier};

    const SECRET: &str = "a secret of the tests, which protects nothing";

    fn site() -> Site {
        Site::new(Some(Secret::new(SECRET)))
    }

    /// Status and text of the answer to a GET.
    fn get(site: &Site, path: &str, query: Option<&str>) -> (u16, String) {
        let page = site.page(path, query).unwrap();
        (page.status, String::from_utf8(page.body.into_owned()).unwrap())
    }

    fn user_of(answer: &str) -> String {
        let token = serde_json::from_str::<serde_json::Value>(answer).unwrap()["token"].as_str().unwrap().to_owned();
        let config = Config { hs256_secret: Some(Secret::new(SECRET)), ..Config::default() };
        let identity = Verifier::new(&config).unwrap().verify(Some(&token)).at_once().unwrap();
        identity.user.unwrap().to_string()
    }

    #[test]
    fn every_file_is_served_with_its_type_and_nothing_else_is() {
        for (path, content_type, content) in FILES {
            let page = site().page(path, None).unwrap();
            assert_eq!((page.status, page.content_type), (200, content_type));
            assert_eq!(*page.body, *content.as_bytes(), "{path}");
        }
        for path in ["/index.html", "/page/page.js", "/..", "", "/ws"] {
            assert!(site().page(path, None).is_none(), "{path}");
        }
    }

    /// The policy of the responses lets only files of this node run, and only them is the page made of.
    #[test]
    fn the_page_needs_nothing_from_elsewhere_and_nothing_inline() {
        let paths: Vec<_> = FILES.iter().map(|(path, ..)| *path).collect();
        let (_, _, html) = FILES[0];
        for link in html.split(['"', '\'']).filter(|link| link.starts_with('/')) {
            assert!(paths.contains(&link), "{link} is not served");
        }
        for banned in ["<style", "style=", "<script>", " onclick=", " onload=", "javascript:"] {
            assert!(!html.contains(banned), "{banned}");
        }
        for (path, _, content) in FILES.iter().filter(|(path, ..)| *path != "/icon.svg") {
            for elsewhere in ["http://", "https://", "//cdn", "@import", "url("] {
                let is_found = content.lines().filter(|line| !line.starts_with("//")).any(|l| l.contains(elsewhere));
                assert!(!is_found, "{path} names {elsewhere}");
            }
        }
    }

    #[test]
    fn text_goes_into_the_page_as_text_only() {
        for (path, _, content) in FILES {
            for way in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"] {
                assert!(!content.contains(way), "{path} uses {way}");
            }
        }
    }

    #[test]
    fn whoever_asks_gets_a_token_in_their_name() {
        for (query, user) in
            [("user=alice", "alice"), ("x=1&user=J%C3%BCrgen+M%26M", "Jürgen M&M"), ("user=%3Cb%3E%22%27", "<b>\"'")]
        {
            let (status, answer) = get(&site(), "/token", Some(query));
            assert_eq!((status, user_of(&answer).as_str()), (200, user));
        }
        let longest = "é".repeat(MAX_NAME);
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("user", &longest).finish();
        assert_eq!(user_of(&get(&site(), "/token", Some(&query)).1), longest);
    }

    #[test]
    fn a_name_that_cannot_be_is_refused_with_a_sentence() {
        let long = format!("user={}", "x".repeat(MAX_NAME + 1));
        let wide = format!("user={}", "%F0%9D%84%9E".repeat(MAX_NAME));
        for (query, sentence) in [
            (None, "1 to 64 characters"),
            (Some("user="), "1 to 64 characters"),
            (Some("name=alice"), "1 to 64 characters"),
            (Some(long.as_str()), "1 to 64 characters"),
            (Some(wide.as_str()), "1 to 255 bytes"),
            (Some("user=a%00b"), "control characters"),
            (Some("user=%7Ealice"), "does not begin with"),
        ] {
            let (status, answer) = get(&site(), "/token", query);
            assert_eq!(status, 400, "{query:?}");
            assert!(answer.contains(sentence), "{query:?}: {answer}");
        }
        assert_eq!(get(&Site::new(None), "/token", Some("user=alice")).0, 404);
    }

    #[test]
    fn the_page_learns_how_backends_publish_but_no_password() {
        let site = site();
        assert_eq!(get(&site, "/dev.json", None).0, 503);
        let redis = ("redis://user:p@ss@redis.example:6379/1".to_owned(), "ullim".to_owned());
        let internal = ([127, 0, 0, 1], 8001).into();
        site.tell(&Access { internal, api_key: "k".to_owned(), redis: Some(redis) });
        let expected = r#"{"api_url":"http://127.0.0.1:8001/api/publish","api_key":"k","redis_url":"redis://redis.example:6379/1","prefix":"ullim"}"#;
        assert_eq!(get(&site, "/dev.json", None), (200, expected.to_owned()));

        let alone = Site::new(None);
        alone.tell(&Access { internal, api_key: "k".to_owned(), redis: None });
        assert!(get(&alone, "/dev.json", None).1.contains(r#""redis_url":null,"prefix":null"#));
    }

    #[test]
    fn the_client_of_the_page_outlives_connections_that_come_and_go() {
        let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/src/dev/page/ullim.test.mjs");
        let output = std::process::Command::new("node").args(["--test", tests]).output();
        let output = output.expect("Node.js runs these tests: tests/run installs it");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}
