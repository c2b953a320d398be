//! Which keys a configuration may hold, taken from the serialised defaults, and which one a misspelt key was meant to
//! be.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;
use ullim_auth::Secret;
use ullim_hub::config::{NamespaceConfig, Namespaces};

use super::Settings;

/// Stands for the name of any namespace.
pub(super) const ANY_NAMESPACE: &str = "<name>";

/// What a value has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    Text,
    Integer,
    Boolean,
    List,
}

impl Expected {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "an integer",
            Self::Boolean => "true or false",
            Self::List => "a list of texts",
        }
    }
}

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Leaf(Expected),
    Section,
    Nowhere,
}

/// Every key and what its value has to be.
pub(super) struct Keys {
    tree: Value,
}

impl Keys {
    pub(super) fn new() -> Self {
        let mut settings = Settings::default();
        // An option that is not set would not show what it takes.
        settings.client.max_connections = Some(0);
        settings.client.tls.listen = Some(settings.client.listen);
        settings.client.tls.certificate = Some(PathBuf::new());
        settings.client.tls.key = Some(PathBuf::new());
        settings.internal.api_key = Some(Secret::default());
        settings.auth.hs256_secret = Some(Secret::default());
        let any = (ANY_NAMESPACE.to_owned(), NamespaceConfig::default());
        settings.namespaces = Namespaces(BTreeMap::from([any]));
        // A null has no keys: nothing would be known, and the tests would say so.
        Self { tree: serde_json::to_value(settings).unwrap_or_default() }
    }

    pub(super) fn find(&self, path: &[String]) -> Place {
        let mut place = &self.tree;
        for (depth, segment) in path.iter().enumerate() {
            let segment = if depth == 1 && path[0] == "namespaces" { ANY_NAMESPACE } else { segment };
            match place.get(segment) {
                Some(inner) => place = inner,
                None => return Place::Nowhere,
            }
        }
        match place {
            Value::Object(_) => Place::Section,
            Value::Number(_) => Place::Leaf(Expected::Integer),
            Value::Bool(_) => Place::Leaf(Expected::Boolean),
            Value::Array(_) => Place::Leaf(Expected::List),
            Value::String(_) | Value::Null => Place::Leaf(Expected::Text),
        }
    }

    /// Every key with its default, those of a namespace under `namespace`.
    pub(super) fn leaves(&self, namespace: &str) -> BTreeMap<String, Value> {
        let mut leaves = BTreeMap::new();
        collect(&self.tree, "", namespace, &mut leaves);
        leaves
    }

    /// The key that `path` was probably meant to be.
    pub(super) fn nearest(&self, path: &[String]) -> Option<String> {
        let wanted = path.join(".");
        let namespace = if path.len() > 2 { path[1].as_str() } else { ANY_NAMESPACE };
        let distance = |key: &str| {
            let without_its_section = key.strip_suffix(&wanted).is_some_and(|section| section.ends_with('.'));
            if without_its_section { 1 } else { strsim::damerau_levenshtein(key, &wanted) }
        };
        let candidates = self.leaves(namespace).into_keys().map(|key| (distance(&key), key));
        let (distance, key) = candidates.min()?;
        (distance <= wanted.chars().count() / 2).then_some(key)
    }
}

fn collect(tree: &Value, path: &str, namespace: &str, leaves: &mut BTreeMap<String, Value>) {
    let Value::Object(section) = tree else {
        leaves.insert(path.to_owned(), tree.clone());
        return;
    };
    for (name, inner) in section {
        let name = if name == ANY_NAMESPACE { namespace } else { name };
        let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        collect(inner, &path, namespace, leaves);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(key: &str) -> Vec<String> {
        key.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn every_key_says_what_it_takes() {
        let keys = Keys::new();
        let found = |key| keys.find(&path(key));
        assert_eq!(found("client.listen"), Place::Leaf(Expected::Text));
        assert_eq!(found("client.max_connections"), Place::Leaf(Expected::Integer));
        assert_eq!(found("client.origins"), Place::Leaf(Expected::List));
        assert_eq!(found("auth.anonymous"), Place::Leaf(Expected::Boolean));
        assert_eq!(found("auth.hs256_secret"), Place::Leaf(Expected::Text));
        assert_eq!(found("namespaces.chat.publish"), Place::Leaf(Expected::Text));
        assert_eq!(found("broker.redis"), Place::Section);
        assert_eq!(found("namespaces.chat"), Place::Section);
        assert_eq!(found("client.listen.port"), Place::Nowhere);
    }

    #[test]
    fn a_misspelt_key_finds_the_one_that_was_meant() {
        let keys = Keys::new();
        for (wrong, right) in [
            ("client.listne", "client.listen"),
            ("client_listen", "client.listen"),
            ("clients.listen", "client.listen"),
            ("redis.url", "broker.redis.url"),
            ("max_connections", "client.max_connections"),
            ("namespaces.chat.publsh", "namespaces.chat.publish"),
            ("namespace.news.publish", "namespaces.news.publish"),
            ("client.listen.port", "client.listen"),
        ] {
            assert_eq!(keys.nearest(&path(wrong)).as_deref(), Some(right), "{wrong}");
        }
        assert_eq!(keys.nearest(&path("xyzzy")), None);
    }
}
