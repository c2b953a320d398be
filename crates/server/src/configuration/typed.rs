//! A tree of values → [`Settings`]. Each key that is unknown, of a wrong type or out of its bounds is named, with where
//! it was set.

use config::{Value, ValueKind};
use serde_json::Value as Json;
use serde_path_to_error::Segment;

use super::Settings;
use super::keys::{Expected, Keys, Place};
use super::layers::unknown_key;

/// The settings that `tree` holds. Where something is wrong it is added to `problems`, and the default stands for it.
pub(super) fn settings(tree: &Value, keys: &Keys, problems: &mut Vec<String>) -> Option<Settings> {
    let mut path = Vec::new();
    let mut json = section(tree, &mut path, keys, problems);
    // Each turn removes a value that does not fit.
    loop {
        let error = match serde_path_to_error::deserialize::<_, Settings>(&json) {
            Ok(settings) => return Some(settings),
            Err(error) => error,
        };
        let path: Vec<&str> = error.path().iter().filter_map(name).collect();
        problems.push(format!("{}{}: {}", path.join("."), origin(tree, &path), error.inner()));
        if !remove(&mut json, &path) {
            return None;
        }
    }
}

fn name(segment: &Segment) -> Option<&str> {
    match segment {
        Segment::Map { key } => Some(key),
        Segment::Seq { .. } | Segment::Enum { .. } | Segment::Unknown => None,
    }
}

/// What of a section is known and of the right type.
fn section(tree: &Value, path: &mut Vec<String>, keys: &Keys, problems: &mut Vec<String>) -> Json {
    let ValueKind::Table(table) = &tree.kind else {
        if tree.kind != ValueKind::Nil {
            problems.push(format!("{}{} is a section, not a key", path.join("."), place(tree)));
        }
        return Json::Object(serde_json::Map::new());
    };
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| *name);
    let mut known = serde_json::Map::new();
    for (name, value) in entries {
        path.push(name.clone());
        match keys.find(path) {
            Place::Section => {
                known.insert(name.clone(), section(value, path, keys, problems));
            }
            Place::Leaf(expected) => match leaf(value, expected) {
                Ok(value) => {
                    known.insert(name.clone(), value);
                }
                Err(found) => {
                    let expected = expected.name();
                    let key = path.join(".");
                    problems.push(format!("{key}{}: expected {expected}, found {found}", place(value)));
                }
            },
            Place::Nowhere => unknown(value, path, keys, problems),
        }
        path.pop();
    }
    Json::Object(known)
}

/// Names every key below an unknown one.
fn unknown(value: &Value, path: &mut Vec<String>, keys: &Keys, problems: &mut Vec<String>) {
    match &value.kind {
        ValueKind::Table(table) if !table.is_empty() => {
            let mut entries: Vec<_> = table.iter().collect();
            entries.sort_by_key(|(name, _)| *name);
            for (name, value) in entries {
                path.push(name.clone());
                unknown(value, path, keys, problems);
                path.pop();
            }
        }
        _ => problems.push(unknown_key(path, value.origin().unwrap_or("the configuration"), keys)),
    }
}

/// The value, or what it is instead. It is not shown: it might be a secret.
fn leaf(value: &Value, expected: Expected) -> Result<Json, &'static str> {
    match (&value.kind, expected) {
        (ValueKind::Nil, _) => Ok(Json::Null),
        (ValueKind::String(text), Expected::Text) => Ok(text.as_str().into()),
        (ValueKind::I64(number), Expected::Integer) => Ok((*number).into()),
        (ValueKind::U64(number), Expected::Integer) => Ok((*number).into()),
        (ValueKind::Boolean(boolean), Expected::Boolean) => Ok((*boolean).into()),
        (ValueKind::Array(items), Expected::List) => items.iter().map(|item| leaf(item, Expected::Text)).collect(),
        (kind, _) => Err(kind_name(kind)),
    }
}

fn kind_name(kind: &ValueKind) -> &'static str {
    match kind {
        ValueKind::Nil => "nothing",
        ValueKind::Boolean(_) => "true or false",
        ValueKind::I64(_) | ValueKind::I128(_) | ValueKind::U64(_) | ValueKind::U128(_) => "a number without quotes",
        ValueKind::Float(_) => "a number with a fraction",
        ValueKind::String(_) => "text",
        ValueKind::Table(_) => "a section",
        ValueKind::Array(_) => "a list",
    }
}

fn place(value: &Value) -> String {
    value.origin().map(|origin| format!(" in {origin}")).unwrap_or_default()
}

fn origin(tree: &Value, path: &[&str]) -> String {
    let mut value = tree;
    for segment in path {
        match &value.kind {
            ValueKind::Table(table) => match table.get(*segment) {
                Some(inner) => value = inner,
                None => return String::new(),
            },
            _ => return String::new(),
        }
    }
    place(value)
}

fn remove(json: &mut Json, path: &[&str]) -> bool {
    let Some((last, sections)) = path.split_last() else {
        return false;
    };
    let section = sections.iter().try_fold(json, |json, segment| json.get_mut(*segment));
    section.and_then(Json::as_object_mut).is_some_and(|section| section.shift_remove(*last).is_some())
}
