//! `GET /api/openapi.json`: every route of the listener, described for programs (OpenAPI 3.1).

use axum::http::header;
use axum::response::{IntoResponse, Response};

/// Where it is.
pub(crate) const PATH: &str = "/api/openapi.json";

/// What it is.
pub(crate) const DOCUMENT: &str = include_str!("openapi.json");

pub(crate) async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ullim_protocol::codes::ERRORS;

    #[test]
    fn the_document_has_the_version_and_the_codes_of_this_node() {
        let document: serde_json::Value = serde_json::from_str(DOCUMENT).unwrap();
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
        let error = &document["components"]["schemas"]["Error"]["properties"]["error"]["properties"];
        let names: Vec<_> =
            error["name"]["enum"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        let known: Vec<_> = ERRORS.iter().map(|code| code.name).filter(|name| names.contains(name)).collect();
        assert_eq!(names, known);
    }
}
