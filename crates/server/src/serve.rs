//! `ullim serve`: config → node → signal → drain.

use tracing::{info, warn};
use ullim_gateway::Pages;

use crate::cli::Overrides;
use crate::configuration;
use crate::drain::{self, Signals};
use crate::failure::Failure;
use crate::logging;
use crate::node::Node;

pub(crate) async fn run(overrides: &Overrides) -> Result<(), Failure> {
    let loaded = configuration::load(&overrides.layers())?;
    logging::start(&loaded.settings.log).map_err(Failure::Usage)?;
    for warning in &loaded.warnings {
        warn!("{warning}");
    }
    let mut signals = Signals::new().map_err(Failure::runtime)?;
    let node = Node::start(loaded.settings, Pages::default()).await.map_err(Failure::Runtime)?;
    let stomp = node.gateway.stomp_local_addr().map(tracing::field::display);
    let stomp_tls = node.gateway.stomp_tls_local_addr().map(tracing::field::display);
    info!(client = %node.client_address(), internal = %node.internal_address(), stomp, stomp_tls, "serving");
    drain::serve(node, &mut signals).await.map_err(Failure::Runtime)
}
