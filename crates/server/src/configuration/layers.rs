//! Where values come from: a file, the environment, flags, each over the one before.

use std::path::{Path, PathBuf};

use config::{Config, File, FileFormat, FileSourceString, Map, Source, Value, ValueKind};

use super::Problems;
use super::keys::{Expected, Keys, Place};

const PREFIX: &str = "ULLIM_";

/// What a configuration is made of.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    pub(crate) document: Option<Document>,
    /// The process's environment, or the part of it that counts.
    pub(crate) variables: Vec<(String, String)>,
    /// Keys and values in the order of the command line.
    pub(crate) flags: Vec<(String, String)>,
}

/// A whole configuration in TOML or YAML.
#[derive(Debug)]
pub(crate) enum Document {
    File(PathBuf),
    Toml { name: &'static str, text: &'static str },
}

/// All layers in one tree, each value with its origin.
pub(super) struct Merged {
    pub(super) tree: Value,
    pub(super) problems: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl Layers {
    pub(super) fn merge(&self, keys: &Keys) -> Result<Merged, Problems> {
        let mut merged = Merged { tree: Value::default(), problems: Vec::new(), warnings: Vec::new() };
        let mut builder = Config::builder();
        if let Some(document) = &self.document {
            builder = builder.add_source(document.read()?);
        }
        for (variable, value) in self.variables.iter().filter(|(name, value)| is_ours(name, value)) {
            let path = path_of(variable);
            match keys.find(&path) {
                Place::Leaf(expected) => builder = builder.add_source(Assignment::new(path, variable, expected, value)),
                Place::Section | Place::Nowhere => merged.warnings.push(unknown_variable(variable, &path, keys)),
            }
        }
        for (key, value) in &self.flags {
            let path: Vec<String> = key.split('.').map(str::to_owned).collect();
            match keys.find(&path) {
                Place::Leaf(expected) => builder = builder.add_source(Assignment::new(path, "--set", expected, value)),
                Place::Section => merged.problems.push(format!("{key:?} in --set is a section, not a key")),
                Place::Nowhere => merged.problems.push(unknown_key(&path, "--set", keys)),
            }
        }
        merged.tree = builder.build().map_err(|error| Problems(vec![error.to_string()]))?.cache;
        Ok(merged)
    }
}

impl Document {
    fn read(&self) -> Result<Read, Problems> {
        match self {
            Self::File(path) => {
                let problem = |what: String| Problems(vec![format!("{}: {what}", path.display())]);
                let format = format_of(path)
                    .ok_or_else(|| problem("a configuration file must end in .toml, .yaml or .yml".to_owned()))?;
                let text = std::fs::read_to_string(path).map_err(|error| problem(error.to_string()))?;
                Read::new(path.display().to_string(), File::from_str(&text, format))
            }
            Self::Toml { name, text } => Read::new((*name).to_owned(), File::from_str(text, FileFormat::Toml)),
        }
    }
}

fn format_of(path: &Path) -> Option<FileFormat> {
    match path.extension()?.to_str()? {
        "toml" => Some(FileFormat::Toml),
        "yaml" | "yml" => Some(FileFormat::Yaml),
        _ => None,
    }
}

/// A document that was read, its name in each value.
#[derive(Debug, Clone)]
struct Read(Map<String, Value>);

impl Read {
    fn new(name: String, file: File<FileSourceString, FileFormat>) -> Result<Self, Problems> {
        let values = file.collect().map_err(|error| Problems(vec![format!("{name}: {error}")]))?;
        Ok(Self(values.into_iter().map(|(key, value)| (key, named(value, &name))).collect()))
    }
}

fn named(value: Value, name: &String) -> Value {
    let kind = match value.kind {
        ValueKind::Table(table) => {
            ValueKind::Table(table.into_iter().map(|(key, value)| (key, named(value, name))).collect())
        }
        other => other,
    };
    Value::new(Some(name), kind)
}

impl Source for Read {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}

/// One key that a variable or a flag sets. Its text becomes what the key takes, so that digits in a password stay
/// digits.
#[derive(Debug, Clone)]
struct Assignment {
    path: Vec<String>,
    value: Value,
}

impl Assignment {
    fn new(path: Vec<String>, origin: &str, expected: Expected, text: &str) -> Self {
        let origin = origin.to_owned();
        let kind = match expected {
            Expected::Text => None,
            Expected::Integer => text.trim().parse().ok().map(ValueKind::I64),
            Expected::Boolean => text.trim().parse().ok().map(ValueKind::Boolean),
            Expected::List => Some(ValueKind::Array(items(text, &origin))),
        };
        // What cannot be parsed stays text, to be refused with the other wrong types.
        let kind = kind.unwrap_or_else(|| ValueKind::String(text.to_owned()));
        Self { path, value: Value::new(Some(&origin), kind) }
    }
}

impl Source for Assignment {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        let inner = self.path.iter().skip(1).rev().fold(self.value.clone(), |value, segment| {
            Value::new(None, ValueKind::Table(Map::from([(segment.clone(), value)])))
        });
        Ok(self.path.first().map(|section| (section.clone(), inner)).into_iter().collect())
    }
}

/// Items are separated by commas; nothing at all is no item.
fn items(text: &str, origin: &String) -> Vec<Value> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    items.map(|item| Value::new(Some(origin), item)).collect()
}

fn path_of(variable: &str) -> Vec<String> {
    let key = variable.strip_prefix(PREFIX).unwrap_or(variable);
    key.to_lowercase().split("__").map(str::to_owned).collect()
}

/// Kubernetes sets variables such as `ULLIM_SERVICE_HOST` and `ULLIM_PORT_8000_TCP` for a Service named `ullim`.
fn is_ours(variable: &str, value: &str) -> bool {
    let Some(rest) = variable.strip_prefix(PREFIX) else {
        return false;
    };
    let rest = format!("_{rest}");
    let address = rest.contains("_PORT") && value.contains("://");
    let part = rest.contains("_PORT_") && ["_PROTO", "_PORT", "_ADDR"].iter().any(|end| rest.ends_with(end));
    let injected = rest.ends_with("_SERVICE_HOST") || rest.contains("_SERVICE_PORT") || address || part;
    rest.contains("__") || !injected
}

fn unknown_variable(variable: &str, path: &[String], keys: &Keys) -> String {
    match keys.nearest(path) {
        Some(key) => {
            let meant = key.to_uppercase().replace('.', "__");
            format!("unknown variable {variable}: did you mean {PREFIX}{meant}?")
        }
        None => format!("unknown variable {variable}: docs/configuration.md lists the keys"),
    }
}

/// Says that `path` is no key, and which one it may have been meant to be.
pub(super) fn unknown_key(path: &[String], origin: &str, keys: &Keys) -> String {
    let key = path.join(".");
    match keys.nearest(path) {
        Some(meant) => format!("unknown key {key:?} in {origin}: did you mean {meant:?}?"),
        None => format!("unknown key {key:?} in {origin}: docs/configuration.md lists the keys"),
    }
}
