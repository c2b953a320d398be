//! What `ullim dev` prints when it is ready: for people, lines to paste; for programs, one line of JSON.

use std::net::SocketAddr;

use serde_json::json;
use ullim_broker::config::redacted;

/// All that is needed to talk to the node.
pub(super) struct Greeting {
    pub(super) client: SocketAddr,
    pub(super) internal: SocketAddr,
    /// Where STOMP is spoken over TCP, if it is.
    pub(super) stomp: Option<SocketAddr>,
    pub(super) token: String,
    pub(super) api_key: String,
    /// The URL and the prefix of the Redis that joins the nodes.
    pub(super) redis: Option<(String, String)>,
    /// Whether the broker has been reached.
    pub(super) reached: bool,
    /// How this program was called.
    pub(super) program: String,
}

impl Greeting {
    pub(super) fn print(&self, as_json: bool) {
        println!("{}", if as_json { self.json() } else { self.human() });
    }

    fn json(&self) -> String {
        let Self { client, internal, token, api_key, .. } = self;
        json!({
            "ws": format!("ws://{client}/ws"),
            "http": format!("http://{client}"),
            "internal": format!("http://{internal}"),
            "token": token,
            "api_key": api_key,
        })
        .to_string()
    }

    fn human(&self) -> String {
        let Self { client, internal, token, api_key, .. } = self;
        let program = quoted(&self.program);
        let url = if client.port() == 8000 { String::new() } else { format!(" --url ws://{client}/ws") };
        let redis = self.redis.as_ref().map(|(url, prefix)| {
            // The password is not printed: terminals are kept and shared.
            let url = quoted(&redacted(url));
            format!(
                "\n  redis-cli -u {url} PUBLISH '{prefix}:{{chat:lobby}}' '{{\"text\":\"hello\"}}'\n  \
                 redis-cli -u {url} FCALL ullim_publish 1 '{prefix}:{{orders:7}}' '{{\"n\":1}}'\n"
            )
        });
        format!(
            r#"Ullim {state}, FOR DEVELOPMENT ONLY: its secrets are public.

  page      http://{client}/   (open it in two tabs)
  clients   ws://{client}/ws
  STOMP     ws://{client}/stomp{stomp}
  internal  http://{internal}/health/ready, /metrics, /api/publish
  channels  chat:… and names without ":" (anyone subscribes and publishes), news:… (only backends publish),
            orders:… (as chat, but recoverable: whoever was away gets what was said meanwhile)
  token     for the user "dev", 30 days:
  {token}

Hear and say something, on the page or in two other terminals:

  {program} sub chat:lobby news:1{url}
  {program} pub chat:lobby '{{"text":"hello"}}'{url}

Miss something and get it all the same: end the first of these, publish more, start it with what it printed last:

  {program} sub orders:7{url}
  {program} pub orders:7 '{{"n":1}}'{url}

Publish as a backend:

  curl -H 'Authorization: Bearer {api_key}' http://{internal}/api/publish -d '{{"channel":"news:1","data":{{"text":"hello"}}}}'
{redis}
Ctrl-C ends it.
"#,
            state = if self.reached { "is ready" } else { "waits for Redis, which CANNOT BE REACHED yet" },
            redis = redis.unwrap_or_default(),
            stomp =
                self.stomp.map(|address| format!(", TCP {address} (login guest, passcode guest)")).unwrap_or_default(),
        )
    }
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:@%+=".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeting() -> Greeting {
        Greeting {
            client: ([127, 0, 0, 1], 4000).into(),
            internal: ([127, 0, 0, 1], 4001).into(),
            stomp: Some(([127, 0, 0, 1], 4002).into()),
            token: "t".to_owned(),
            api_key: "k".to_owned(),
            redis: Some(("redis://:p w@a host".to_owned(), "ullim".to_owned())),
            reached: true,
            program: "target/release/ullim".to_owned(),
        }
    }

    #[test]
    fn programs_read_one_line() {
        let expected = r#"{"ws":"ws://127.0.0.1:4000/ws","http":"http://127.0.0.1:4000","internal":"http://127.0.0.1:4001","token":"t","api_key":"k"}"#;
        assert_eq!(greeting().json(), expected);
    }

    #[test]
    fn people_read_lines_to_paste() {
        let human = greeting().human();
        for line in [
            "  target/release/ullim sub chat:lobby news:1 --url ws://127.0.0.1:4000/ws",
            "  target/release/ullim pub chat:lobby '{\"text\":\"hello\"}' --url ws://127.0.0.1:4000/ws",
            "  redis-cli -u 'redis://***@a host' PUBLISH 'ullim:{chat:lobby}' '{\"text\":\"hello\"}'",
            "  redis-cli -u 'redis://***@a host' FCALL ullim_publish 1 'ullim:{orders:7}' '{\"n\":1}'",
            "  target/release/ullim sub orders:7 --url ws://127.0.0.1:4000/ws",
        ] {
            assert!(human.lines().any(|found| found == line), "{human}");
        }
        assert!(human.starts_with("Ullim is ready, FOR DEVELOPMENT ONLY"));
        assert!(human.lines().nth(2).is_some_and(|line| line.contains("  http://127.0.0.1:4000/ ")), "{human}");
        let waiting = Greeting { reached: false, ..greeting() }.human();
        assert!(waiting.starts_with("Ullim waits for Redis, which CANNOT BE REACHED yet"));
    }
}
