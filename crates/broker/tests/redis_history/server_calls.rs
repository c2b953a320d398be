//! What a server has been asked for.

use ullim_tests::redis::server::Server;

/// How often a command ran.
pub(crate) async fn calls_of(server: &Server, command: &str) -> u64 {
    let info: String = server.run(&["INFO", "commandstats"]).await;
    let Some((_, rest)) = info.split_once(&format!("cmdstat_{command}:calls=")) else { return 0 };
    rest.split(',').next().unwrap().parse().unwrap()
}
