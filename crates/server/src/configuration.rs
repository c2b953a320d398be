//! The configuration: defaults ← file ← environment ← flags. An unknown key in a file or a flag is an error, an unknown
//! variable a warning; a problem never hides the others.
//!
//! * [`layers`]: where values come from
//! * [`keys`]: which keys there are, and which one was meant
//! * [`typed`]: a tree of values → [`Settings`], naming each key that does not fit
//! * [`check`]: what types cannot say

mod check;
mod keys;
mod layers;
mod typed;

use std::fmt;

use serde::{Deserialize, Serialize};
use ullim_hub::config::Namespaces;

use crate::drain::DrainConfig;
use crate::logging::LogConfig;

pub(crate) use layers::{Document, Layers};

/// All that can be configured, a field for each section.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) client: ullim_gateway::config::Config,
    pub(crate) internal: ullim_api::config::Config,
    pub(crate) auth: ullim_auth::Config,
    pub(crate) broker: ullim_broker::Config,
    pub(crate) hub: ullim_hub::config::Config,
    pub(crate) drain: DrainConfig,
    pub(crate) log: LogConfig,
    pub(crate) namespaces: Namespaces,
}

/// A configuration that can work, and what is odd about it.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) settings: Settings,
    pub(crate) warnings: Vec<String>,
}

/// All that is wrong with a configuration, a sentence each.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problems(pub(crate) Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Problems {}

/// Merges the layers and checks what comes of it.
pub(crate) fn load(layers: &Layers) -> Result<Loaded, Problems> {
    let keys = keys::Keys::new();
    let merged = layers.merge(&keys)?;
    let mut problems = merged.problems;
    let settings = typed::settings(&merged.tree, &keys, &mut problems);
    let Some(settings) = settings.filter(|_| problems.is_empty()) else {
        return Err(Problems(problems));
    };
    let problems = check::check(&settings);
    if !problems.is_empty() {
        return Err(Problems(problems));
    }
    let warnings = merged.warnings.into_iter().chain(check::doubts(&settings)).collect();
    Ok(Loaded { settings, warnings })
}

/// The effective configuration as TOML, without the secrets.
pub(crate) fn show(settings: &Settings) -> anyhow::Result<String> {
    Ok(toml::to_string(settings)?)
}

#[cfg(test)]
mod documentation;
#[cfg(test)]
mod tests;
