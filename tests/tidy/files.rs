//! What each source file looks like, and what nothing is called.

use std::fs;
use std::path::{Path, PathBuf};

/// Names that say nothing about what is inside.
const BANNED_NAMES: [&str; 5] = ["utils", "common", "helpers", "manager", "mod"];

/// Lines without tests; more is a hint that two responsibilities share a file.
const MOST_LINES: usize = 450;

pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Every Rust file of the crates, the tests and the load generator.
pub(crate) fn sources() -> Vec<PathBuf> {
    let mut sources = Vec::new();
    let mut folders: Vec<_> = ["crates", "tests", "loadtest"].map(|folder| root().join(folder)).into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with('.') && !["node_modules", "target"].contains(&name.as_str()) {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push(path);
            }
        }
    }
    assert!(sources.len() > 20, "the sources are elsewhere");
    sources
}

/// Asserts that `complaint` finds nothing in any file.
fn check(rule: &str, complaint: impl Fn(&Path, &str) -> Option<String>) {
    let mut complaints: Vec<_> = sources()
        .iter()
        .filter_map(|path| {
            let complaint = complaint(path, &fs::read_to_string(path).unwrap())?;
            Some(format!("{}: {complaint}", path.strip_prefix(root()).unwrap().display()))
        })
        .collect();
    complaints.sort();
    assert!(complaints.is_empty(), "{rule}:\n{}", complaints.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for() {
    check("a file opens with `//!`", |_, text| (!text.starts_with("//! ")).then(|| "no module doc".to_owned()));
}

#[test]
fn no_name_is_empty_of_meaning() {
    check("say what is inside, and use `foo.rs` beside `foo/`", |path, _| {
        let path = path.strip_prefix(root()).unwrap().with_extension("");
        let banned = path.iter().find(|part| BANNED_NAMES.iter().any(|name| *part == *name));
        banned.map(|name| format!("{name:?} is a banned name"))
    });
}

#[test]
fn no_file_is_long() {
    check("split by responsibility", |_, text| {
        let is_tests = |line: &&str| *line == "#[cfg(test)]";
        let lines = text.lines().take_while(|line| !is_tests(line)).count();
        (lines > MOST_LINES).then(|| format!("{lines} lines without tests"))
    });
}
