//! Which keys a configuration may hold, taken from the serialised defaults, and which one a misspelt key was meant to
//! be.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;
use ullim_auth::{KeyConfig, Secret, UserConfig};
use ullim_hub::config::{NamespaceConfig, Namespaces};

use super::Settings;

/// Stands for the name of any namespace, or of any user.
const ANY_NAME: &str = "<name>";

/// Stands for the name of any key of tokens.
const ANY_KID: &str = "<kid>";

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
        settings.client.stomp.listen = Some(settings.client.listen);
        settings.client.stomp.tls_listen = Some(settings.client.listen);
        settings.client.tls.certificate = Some(PathBuf::new());
        settings.client.tls.key = Some(PathBuf::new());
        settings.internal.api_key = Some(Secret::default());
        settings.auth.hs256_secret = Some(Secret::default());
        settings.auth.keys = BTreeMap::from([(ANY_KID.to_owned(), KeyConfig::default())]);
        settings.auth.users = BTreeMap::from([(ANY_NAME.to_owned(), UserConfig::default())]);
        let any = (ANY_NAME.to_owned(), NamespaceConfig::default());
        settings.namespaces = Namespaces(BTreeMap::from([any]));
        // A null has no keys: nothing would be known, and the tests would say so.
        Self { tree: serde_json::to_value(settings).unwrap_or_default() }
    }

    pub(super) fn find(&self, path: &[String]) -> Place {
        let mut place = &self.tree;
        for segment in path {
            match place.get(placeholder(place).unwrap_or(segment)) {
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

    /// Every key with its default. Where any name may stand, the one of `like` does if there is one at that depth.
    pub(super) fn leaves(&self, like: &[String]) -> BTreeMap<String, Value> {
        let mut leaves = BTreeMap::new();
        collect(&self.tree, &mut Vec::new(), like, &mut leaves);
        leaves
    }

    /// The key that `path` was probably meant to be.
    pub(super) fn nearest(&self, path: &[String]) -> Option<String> {
        let wanted = path.join(".");
        let distance = |key: &str| {
            let without_its_section = key.strip_suffix(&wanted).is_some_and(|section| section.ends_with('.'));
            if without_its_section { 1 } else { strsim::damerau_levenshtein(key, &wanted) }
        };
        let candidates = self.leaves(path).into_keys().map(|key| (distance(&key), key));
        let (distance, key) = candidates.min()?;
        (distance <= wanted.chars().count() / 2).then_some(key)
    }
}

/// What stands for any name in a section whose keys are names.
fn placeholder(section: &Value) -> Option<&str> {
    let mut names = section.as_object()?.keys().map(String::as_str);
    names.find(|name| [ANY_NAME, ANY_KID].contains(name))
}

fn collect<'a>(tree: &'a Value, path: &mut Vec<&'a str>, like: &'a [String], leaves: &mut BTreeMap<String, Value>) {
    let Value::Object(section) = tree else {
        leaves.insert(path.join("."), tree.clone());
        return;
    };
    let any = placeholder(tree);
    for (name, inner) in section {
        // The last segment is a key, never a name.
        let names = like.split_last().map_or(like, |(_, names)| names);
        let given = names.get(path.len()).filter(|_| any.is_some());
        path.push(given.unwrap_or(name));
        collect(inner, path, like, leaves);
        path.pop();
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
        assert_eq!(found("auth.keys.2026-a.algorithm"), Place::Leaf(Expected::Text));
        assert_eq!(found("auth.users.guest.passcode"), Place::Leaf(Expected::Text));
        assert_eq!(found("auth.jwks.allow_redirects"), Place::Leaf(Expected::Boolean));
        assert_eq!(found("broker.redis"), Place::Section);
        assert_eq!(found("auth.keys.2026-a"), Place::Section);
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
            ("auth.keys.2026-a.algoritm", "auth.keys.2026-a.algorithm"),
            ("auth.users.guest.password", "auth.users.guest.passcode"),
            ("auth.key.a.public_key", "auth.keys.a.public_key"),
            ("auth.jwks.refresh_intervall", "auth.jwks.refresh_interval"),
        ] {
            assert_eq!(keys.nearest(&path(wrong)).as_deref(), Some(right), "{wrong}");
        }
        assert_eq!(keys.nearest(&path("xyzzy")), None);
    }
}
