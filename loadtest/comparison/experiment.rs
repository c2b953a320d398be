//! What is run, for whom, how often.

/// Something that is measured for several servers.
#[derive(Debug)]
pub(crate) struct Experiment {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// A subcommand of the generator.
    pub(crate) scenario: &'static str,
    /// Its arguments; `SECONDS` stands for how long it measures.
    pub(crate) arguments: &'static str,
    pub(crate) seconds: f64,
    /// The same with `--quick`.
    pub(crate) quick_seconds: f64,
    pub(crate) runs: usize,
    pub(crate) contestants: Vec<Contestant>,
    /// What a unit of CPU is: a delivery, a connection.
    pub(crate) unit: &'static str,
}

/// One server, in one way of running it.
#[derive(Debug, Clone)]
pub(crate) struct Contestant {
    /// As it stands in tables.
    pub(crate) label: &'static str,
    /// The name of its file among the targets.
    pub(crate) target: &'static str,
    pub(crate) nodes: usize,
    /// Environment of the server.
    pub(crate) environment: &'static [(&'static str, &'static str)],
    /// Further arguments of the generator.
    pub(crate) arguments: &'static str,
    /// More runs than these tell nothing more.
    pub(crate) most_runs: usize,
}

const fn contestant(label: &'static str, target: &'static str) -> Contestant {
    Contestant { label, target, nodes: 1, environment: &[], arguments: "", most_runs: usize::MAX }
}

impl Contestant {
    const fn with(self, label: &'static str, arguments: &'static str) -> Self {
        Self { label, arguments, ..self }
    }

    const fn in_environment(self, environment: &'static [(&'static str, &'static str)]) -> Self {
        Self { environment, ..self }
    }

    const fn on_nodes(self, nodes: usize) -> Self {
        Self { nodes, ..self }
    }

    const fn at_most(self, most_runs: usize) -> Self {
        Self { most_runs, ..self }
    }
}

const FLOOR: Contestant = contestant("floor", "floor");
const BATCHED: Contestant = contestant("floor, batched", "floor-batched");
const JSON: Contestant = contestant("Ullim", "ullim-json");
const MSGPACK: Contestant = contestant("Ullim, MessagePack", "ullim-msgpack");
const TLS: Contestant = contestant("Ullim, TLS", "ullim-tls");
const NCHAN: Contestant = contestant("Nchan", "nchan");
const SOCKET_IO: Contestant = contestant("Socket.IO", "socketio");
const CENTRIFUGO: Contestant = contestant("Centrifugo", "centrifugo");
const SOCKUDO: Contestant = contestant("Sockudo", "sockudo");
const RABBITMQ: Contestant = contestant("RabbitMQ", "rabbitmq");

/// More runs of a peer tell nothing more: it is not near.
const PEER_RUNS: usize = 3;

/// The servers that others have made, and that are measured where the protocol does not matter.
pub(crate) const PEERS: [&str; 4] = [NCHAN.label, SOCKET_IO.label, CENTRIFUGO.label, SOCKUDO.label];

fn with_peers(own: &[Contestant]) -> Vec<Contestant> {
    let peers = [NCHAN, SOCKET_IO, CENTRIFUGO, SOCKUDO].map(|peer| peer.at_most(PEER_RUNS));
    own.iter().cloned().chain(peers).collect()
}

/// All of them, in the order of the page.
pub(crate) fn all() -> Vec<Experiment> {
    let routed: &[_] = &[("PER_CONNECTION", "100")];
    let algorithm = |label, value: &'static [(&'static str, &'static str)], target| {
        contestant(label, target).in_environment(value).with(label, "")
    };
    vec![
        Experiment {
            id: "fanout-1000",
            title: "1,000 subscribers, 50 messages a second",
            scenario: "fanout",
            arguments: "--subscribers 1000 --rate 50 --warm-up 1 --seconds SECONDS",
            seconds: 5.0,
            quick_seconds: 4.0,
            runs: 5,
            contestants: with_peers(&[FLOOR, JSON, MSGPACK, TLS]),
            unit: "delivery",
        },
        Experiment {
            id: "stomp",
            title: "STOMP: 1,000 subscribers, 50 messages a second",
            scenario: "fanout",
            arguments: "--subscribers 1000 --rate 50 --warm-up 1 --seconds SECONDS",
            seconds: 5.0,
            quick_seconds: 4.0,
            runs: 5,
            contestants: vec![
                FLOOR,
                JSON,
                contestant("Ullim, STOMP", "ullim-stomp"),
                contestant("Ullim, STOMP, by SEND", "ullim-stomp-send"),
                contestant("Ullim, STOMP, WebSocket", "ullim-stomp-websocket"),
                RABBITMQ.at_most(PEER_RUNS),
                // It does not keep up with the others' rate on one CPU: this is what it does when it does.
                RABBITMQ.with("RabbitMQ, 10 a second", "--rate 10").at_most(PEER_RUNS),
            ],
            unit: "delivery",
        },
        Experiment {
            id: "fanout-5000",
            title: "5,000 subscribers, 10 messages a second",
            scenario: "fanout",
            arguments: "--subscribers 5000 --rate 10 --warm-up 1 --seconds SECONDS",
            seconds: 5.0,
            quick_seconds: 4.0,
            runs: 5,
            contestants: with_peers(&[FLOOR, JSON, MSGPACK]),
            unit: "delivery",
        },
        Experiment {
            id: "burst",
            title: "A burst: 10,000 subscribers, 100 messages 10 ms apart",
            scenario: "burst",
            arguments: "--subscribers 10000 --messages 100 --rate 100",
            seconds: 1.0,
            quick_seconds: 1.0,
            runs: 5,
            contestants: with_peers(&[BATCHED, JSON, FLOOR]),
            unit: "delivery",
        },
        Experiment {
            id: "storm",
            title: "15,000 connections at once, cut, and back, while 1,000 others listen",
            scenario: "storm",
            arguments: "--connections 15000 --staying 1000 --rate 20 --seconds SECONDS",
            seconds: 4.0,
            quick_seconds: 2.0,
            runs: 5,
            contestants: vec![
                // It knows no channels: what is for those who stay would go to everybody.
                FLOOR.with(FLOOR.label, "--no-cut"),
                JSON,
                NCHAN.at_most(1),
                SOCKET_IO.at_most(PEER_RUNS),
                CENTRIFUGO.at_most(PEER_RUNS),
                SOCKUDO.at_most(PEER_RUNS),
            ],
            unit: "connection",
        },
        Experiment {
            id: "tokens",
            title: "The same without the cut, by how tokens are signed",
            scenario: "storm",
            arguments: "--connections 10000 --staying 1000 --no-cut",
            seconds: 1.0,
            quick_seconds: 1.0,
            runs: 3,
            contestants: vec![
                FLOOR,
                JSON.with("Ullim, HS256", ""),
                algorithm("Ullim, ES256", &[("ALGORITHM", "ES256")], "ullim-es256"),
                algorithm("Ullim, EdDSA", &[("ALGORITHM", "EdDSA")], "ullim-eddsa"),
                algorithm("Ullim, RS256", &[("ALGORITHM", "RS256")], "ullim-rs256"),
            ],
            unit: "connection",
        },
        Experiment {
            id: "channels",
            title: "20,000 channels with one subscriber each, 20,000 messages a second",
            scenario: "channels",
            arguments: "--connections 200 --per-connection 100 --rate 20000 --warm-up 1 --seconds SECONDS",
            seconds: 6.0,
            quick_seconds: 4.0,
            runs: 5,
            contestants: vec![
                // Its connections are known by the order in which they were let in.
                FLOOR.in_environment(routed).with(FLOOR.label, "--in-flight 1"),
                BATCHED.in_environment(routed).with(BATCHED.label, "--in-flight 1"),
                JSON,
                SOCKET_IO.at_most(1),
                CENTRIFUGO.at_most(PEER_RUNS),
                SOCKUDO.at_most(PEER_RUNS),
            ],
            unit: "message",
        },
        Experiment {
            id: "cluster",
            title: "Two nodes and Redis, 1,000 subscribers, 45 messages a second",
            scenario: "cluster",
            arguments: "--subscribers 1000 --rate 45 --warm-up 1 --seconds SECONDS",
            seconds: 6.0,
            quick_seconds: 4.0,
            runs: 5,
            contestants: vec![
                FLOOR.with("floor, one node", ""),
                JSON.on_nodes(2),
                NCHAN.on_nodes(2),
                SOCKET_IO.on_nodes(2),
                CENTRIFUGO.on_nodes(2),
                SOCKUDO.on_nodes(2),
            ],
            unit: "delivery",
        },
        Experiment {
            id: "growth",
            title: "From 100 to 15,000 subscribers, 50,000 deliveries a second",
            scenario: "fanout",
            arguments: "--warm-up 1 --seconds SECONDS",
            seconds: 5.0,
            quick_seconds: 4.0,
            runs: 5,
            contestants: vec![
                FLOOR.with("floor, 100", "--subscribers 100 --rate 500"),
                JSON.with("Ullim, 100", "--subscribers 100 --rate 500"),
                FLOOR.with("floor, 15000", "--subscribers 15000 --rate 3.334"),
                JSON.with("Ullim, 15000", "--subscribers 15000 --rate 3.334"),
            ],
            unit: "delivery",
        },
        Experiment {
            id: "many-channels",
            title: "1,000 subscribers of one channel, beside 100,000 others",
            scenario: "fanout",
            arguments: "--subscribers 1000 --rate 50 --warm-up 1 --seconds SECONDS",
            seconds: 5.0,
            quick_seconds: 4.0,
            runs: 5,
            contestants: vec![
                JSON.with("Ullim, 1 channel", ""),
                JSON.with("Ullim, 100,001 channels", "--other-channels 100000"),
            ],
            unit: "delivery",
        },
        Experiment {
            id: "shards",
            title: "Two shards on one CPU, beside one",
            scenario: "fanout",
            arguments: "--subscribers 1000 --rate 50 --warm-up 1 --seconds SECONDS",
            seconds: 5.0,
            quick_seconds: 4.0,
            runs: 3,
            contestants: vec![
                JSON.in_environment(&[("ULLIM_GATEWAY__SHARDS", "1")]).with("Ullim, 1 shard", ""),
                JSON.in_environment(&[("ULLIM_GATEWAY__SHARDS", "2")]).with("Ullim, 2 shards", ""),
            ],
            unit: "delivery",
        },
        Experiment {
            id: "lone",
            title: "A lone publication to one idle subscriber",
            scenario: "fanout",
            arguments: "--subscribers 1 --rate 100 --warm-up 1 --seconds SECONDS",
            seconds: 8.0,
            quick_seconds: 4.0,
            runs: 5,
            contestants: with_peers(&[FLOOR, JSON]),
            unit: "delivery",
        },
        Experiment {
            id: "stalled",
            title: "1,000 subscribers, one of whom does not read",
            scenario: "fanout",
            arguments: "--subscribers 999 --rate 60 --size 4096 --warm-up 1 --seconds SECONDS",
            seconds: 7.0,
            quick_seconds: 7.0,
            runs: 5,
            contestants: vec![
                JSON.with("Ullim, all read", "--stalled 0"),
                JSON.with("Ullim, one stalled", "--stalled 1"),
            ],
            unit: "delivery",
        },
        Experiment {
            id: "hot",
            title: "100 subscribers of a quiet channel, beside a hot one with 40,000 deliveries a second",
            scenario: "fanout",
            arguments: "--subscribers 100 --rate 50 --warm-up 1 --seconds SECONDS",
            seconds: 6.0,
            quick_seconds: 4.0,
            runs: 5,
            contestants: vec![
                JSON.with("Ullim, alone", ""),
                JSON.with("Ullim, beside a hot channel", "--hot-subscribers 200 --hot-rate 200"),
            ],
            unit: "delivery",
        },
        Experiment {
            id: "idle",
            title: "15,000 idle connections, a minute of heartbeats",
            scenario: "idle",
            arguments: "--connections 15000 --seconds SECONDS",
            seconds: 60.0,
            quick_seconds: 20.0,
            runs: 5,
            contestants: vec![
                JSON,
                TLS.with(TLS.label, "--seconds 15"),
                NCHAN.with(NCHAN.label, "--seconds 10").at_most(1),
                SOCKET_IO.with(SOCKET_IO.label, "--seconds 10").at_most(1),
                CENTRIFUGO.with(CENTRIFUGO.label, "--seconds 10").at_most(1),
                SOCKUDO.with(SOCKUDO.label, "--seconds 10").at_most(1),
            ],
            unit: "connection and second",
        },
    ]
}

impl Experiment {
    /// What the generator is told. What is said of a contestant comes last, and counts.
    pub(crate) fn arguments(&self, contestant: &Contestant, quick: bool) -> Vec<String> {
        let seconds = if quick { self.quick_seconds } else { self.seconds };
        let all = format!("{} {}", self.arguments, contestant.arguments).replace("SECONDS", &seconds.to_string());
        all.split_whitespace().map(str::to_owned).collect()
    }
}
