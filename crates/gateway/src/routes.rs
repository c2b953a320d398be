//! Which dialect is spoken on which transport: the one place that joins the two.

use ullim_hub::Wire;
use ullim_protocol::native::Encoding;
use ullim_protocol::stomp::Version;

/// A way in which clients are spoken to. Its place in [`ROUTES`] is its [`Wire`].
pub(crate) struct Route {
    pub(crate) transport: Transport,
    /// What names it in `Sec-WebSocket-Protocol`.
    pub(crate) subprotocol: &'static str,
    pub(crate) dialect: Dialect,
}

/// How the bytes of messages move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    WebSocket,
    /// Nothing around them.
    Tcp,
}

/// What the bytes of a message mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `docs/protocol.md`
    Native(Encoding),
    /// `docs/stomp.md`
    Stomp(Version),
}

/// Every route.
pub(crate) const ROUTES: [Route; 8] = [
    websocket("ullim.v1.json", Dialect::Native(Encoding::Json)),
    websocket("ullim.v1.msgpack", Dialect::Native(Encoding::MessagePack)),
    websocket("v12.stomp", Dialect::Stomp(Version::V1_2)),
    websocket("v11.stomp", Dialect::Stomp(Version::V1_1)),
    websocket("v10.stomp", Dialect::Stomp(Version::V1_0)),
    tcp(Dialect::Stomp(Version::V1_2)),
    tcp(Dialect::Stomp(Version::V1_1)),
    tcp(Dialect::Stomp(Version::V1_0)),
];

const fn websocket(subprotocol: &'static str, dialect: Dialect) -> Route {
    Route { transport: Transport::WebSocket, subprotocol, dialect }
}

const fn tcp(dialect: Dialect) -> Route {
    Route { transport: Transport::Tcp, subprotocol: "", dialect }
}

/// A path on which WebSockets are opened, and what is spoken there.
pub(crate) struct Path {
    pub(crate) path: &'static str,
    /// The subprotocols that may be offered. The first serves clients that offer none.
    pub(crate) subprotocols: &'static [&'static str],
}

const NATIVE: &[&str] = &["ullim.v1.json", "ullim.v1.msgpack"];

/// Every path.
pub(crate) const PATHS: [Path; 3] = [
    Path { path: "/", subprotocols: NATIVE },
    Path { path: "/ws", subprotocols: NATIVE },
    Path { path: "/stomp", subprotocols: &["v12.stomp", "v11.stomp", "v10.stomp"] },
];

/// The wire on which a connection to the STOMP listener begins.
pub(crate) const STOMP_OVER_TCP: Wire = Wire(5);

/// The wire that a subprotocol names.
pub(crate) fn wire_of(subprotocol: &str) -> Option<Wire> {
    let is_it = |route: &Route| route.transport == Transport::WebSocket && route.subprotocol == subprotocol;
    ROUTES.iter().position(is_it).map(|place| Wire(place as u8))
}

/// The wire of STOMP in a version, on the transport of another wire.
pub(crate) fn stomp_wire(like: Wire, version: Version) -> Wire {
    let Route { transport, .. } = *route(like);
    let is_it = |route: &Route| route.transport == transport && route.dialect == Dialect::Stomp(version);
    ROUTES.iter().position(is_it).map_or(like, |place| Wire(place as u8))
}

/// The route of a wire that [`wire_of`] or [`stomp_wire`] gave, or of the first.
pub(crate) fn route(wire: Wire) -> &'static Route {
    &ROUTES[usize::from(wire.0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subprotocol_of_a_path_has_a_wire() {
        for subprotocol in PATHS.iter().flat_map(|path| path.subprotocols) {
            let wire = wire_of(subprotocol).unwrap();
            assert_eq!((route(wire).subprotocol, route(wire).transport), (*subprotocol, Transport::WebSocket));
        }
    }

    #[test]
    fn stomp_keeps_its_transport_when_the_version_is_known() {
        for (like, transport) in [(Wire(2), Transport::WebSocket), (STOMP_OVER_TCP, Transport::Tcp)] {
            for version in Version::ALL {
                let Route { transport: found, dialect, .. } = route(stomp_wire(like, version));
                assert_eq!((*found, *dialect), (transport, Dialect::Stomp(version)));
            }
        }
    }
}
