//! Which dialect is spoken on which transport: the one place that joins the two.

use ullim_hub::Wire;
use ullim_protocol::native::Encoding;

/// The paths on which WebSockets are opened.
pub(crate) const WEBSOCKET_PATHS: [&str; 2] = ["/", "/ws"];

/// A way in which clients are spoken to over WebSocket. Its place in [`ROUTES`] is its [`Wire`].
pub(crate) struct Route {
    /// What names it in `Sec-WebSocket-Protocol`.
    pub(crate) subprotocol: &'static str,
    pub(crate) dialect: Dialect,
}

/// What the bytes of a message mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `docs/protocol.md`
    Native(Encoding),
}

/// Every route. The first serves clients that name no subprotocol.
pub(crate) const ROUTES: [Route; 2] = [
    Route { subprotocol: "ullim.v1.json", dialect: Dialect::Native(Encoding::Json) },
    Route { subprotocol: "ullim.v1.msgpack", dialect: Dialect::Native(Encoding::MessagePack) },
];

/// The wire that a subprotocol names.
pub(crate) fn wire_of(subprotocol: &str) -> Option<Wire> {
    let place = ROUTES.iter().position(|route| route.subprotocol == subprotocol)?;
    Some(Wire(place as u8))
}

/// The route of a wire that [`wire_of`] gave, or of the first.
pub(crate) fn route(wire: Wire) -> &'static Route {
    &ROUTES[usize::from(wire.0)]
}
