//! The targets that are shipped: each can be read, and what it starts is there.

#![allow(clippy::unwrap_used, reason = "what does not work is a failed test")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use ullim_loadtest::target::{Publish, Target};

fn shipped() -> Vec<Target> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("targets");
    let files = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|ending| ending == "toml")).map(read).collect()
}

fn read(file: PathBuf) -> Target {
    Target::read(&file).unwrap_or_else(|error| panic!("{error:#}"))
}

fn assert_program(target: &Target, program: impl AsRef<Path>) {
    let file = target.file.parent().unwrap().join(program);
    let metadata = file.metadata().unwrap_or_else(|error| panic!("{}: {}: {error}", target.name, file.display()));
    assert!(metadata.permissions().mode() & 0o111 != 0, "{} cannot be executed", file.display());
}

#[test]
fn every_target_can_be_read_and_what_it_runs_is_there() {
    let targets = shipped();
    assert!(targets.len() >= 9, "{} targets", targets.len());
    for target in &targets {
        let server = target.server.as_ref().unwrap_or_else(|| panic!("{} is never started", target.name));
        assert_program(target, &server.start);
        if let Some(version) = &server.version {
            assert_program(target, &version[0]);
        }
        if let Publish::Program { command } = &target.publish {
            assert_program(target, &command[0]);
        }
    }
}

#[test]
fn every_target_has_a_name_of_its_own_and_the_chosen_port() {
    let targets = shipped();
    for target in &targets {
        assert!(target.url.contains("$port"), "{}", target.name);
        assert_eq!(targets.iter().filter(|other| other.name == target.name).count(), 1, "{}", target.name);
    }
}
