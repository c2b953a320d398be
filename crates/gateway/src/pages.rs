//! Plain HTTP content on the clients' listeners, offered by whoever starts the gateway.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// One page, the answer to a GET. Keep `body` borrowed where it is large: each connection that is being answered holds
/// its own otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The HTTP status, a final one: 200 to 599.
    pub status: u16,
    /// The value of `Content-Type`.
    pub content_type: &'static str,
    /// What is sent.
    pub body: Cow<'static, [u8]>,
}

impl Page {
    /// A page with the status 200.
    pub fn new(content_type: &'static str, body: impl Into<Cow<'static, [u8]>>) -> Self {
        Self { status: 200, content_type, body: body.into() }
    }
}

type Find = dyn Fn(&str, Option<&str>) -> Option<Page> + Send + Sync;

/// Finds the page for a path and a query. Empty by default.
#[derive(Clone, Default)]
pub struct Pages(Option<Arc<Find>>);

impl Pages {
    /// Pages that `find` finds. It is called on the shards' threads: it must not wait, and not panic. The path and the
    /// query are as the client sent them, with their percent-encoding; the query is without the `?`.
    pub fn new(find: impl Fn(&str, Option<&str>) -> Option<Page> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(find)))
    }

    pub(crate) fn find(&self, path: &str, query: Option<&str>) -> Option<Page> {
        self.0.as_ref()?(path, query)
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Pages(..)" } else { "Pages(none)" })
    }
}
