//! What a server has been asked for.

use super::redis_server::RedisServer;

/// How often a command ran.
pub(crate) async fn calls_of(server: &RedisServer, command: &str) -> u64 {
    let info: String = server.run(&["INFO", "commandstats"]).await;
    let Some((_, rest)) = info.split_once(&format!("cmdstat_{command}:calls=")) else { return 0 };
    rest.split(',').next().unwrap().parse().unwrap()
}

impl RedisServer {
    /// Host and port.
    pub(crate) fn address(&self) -> (String, String) {
        let url = self.url();
        let (host, port) = url.trim_start_matches("redis://").split_once(':').unwrap();
        (host.to_owned(), port.to_owned())
    }
}
