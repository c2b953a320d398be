//! What there is on the listener, and the answer where there is nothing.

use std::sync::Arc;

use axum::Router;
use axum::routing::{MethodRouter, get, post};

use crate::listener::Routes;
use crate::refusal::Refusal;
use crate::{Shared, channels, control, drain, health, history, metrics, openapi, presence, publish};

type Route = (&'static str, MethodRouter<Arc<Shared>>);

/// What operators ask for.
fn operations() -> [Route; 3] {
    [("/health/live", get(health::live)), ("/health/ready", get(health::ready)), ("/metrics", get(metrics::scrape))]
}

/// What backends ask for.
fn api() -> [Route; 10] {
    [
        (openapi::PATH, get(openapi::document)),
        ("/api/publish", post(publish::publish)),
        ("/api/publish_many", post(publish::publish_many)),
        ("/api/history", post(history::history)),
        ("/api/presence", post(presence::members)),
        ("/api/presence_count", post(presence::occupancy)),
        ("/api/channels", post(channels::channels)),
        ("/api/disconnect", post(control::disconnect)),
        ("/api/unsubscribe", post(control::unsubscribe)),
        ("/api/drain", post(drain::drain)),
    ]
}

pub(crate) fn routes(shared: &Arc<Shared>) -> Routes {
    let full = Refusal::Full;
    let limit = shared.state.config.max_connections;
    let all = router(operations().into_iter().chain(api()));
    let all = all.fallback(async || Refusal::Path);
    let when_full = router(operations()).fallback(async move || full(limit));
    Routes { all: all.with_state(Arc::clone(shared)), when_full: when_full.with_state(Arc::clone(shared)) }
}

fn router(routes: impl IntoIterator<Item = Route>) -> Router<Arc<Shared>> {
    let router = routes.into_iter().fold(Router::new(), |router, (path, methods)| router.route(path, methods));
    router.method_not_allowed_fallback(async || Refusal::Method)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_describes_every_path_and_no_other() {
        let document: serde_json::Value = serde_json::from_str(openapi::DOCUMENT).unwrap();
        let described: Vec<_> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        let routed: Vec<_> = operations().into_iter().chain(api()).map(|(path, _)| path).collect();
        assert_eq!(described, routed);
    }
}
