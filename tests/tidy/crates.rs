//! Who may know whom: the arrows between the crates, and who may know a library.

use std::collections::BTreeMap;
use std::process::Command;

use serde::Deserialize;

/// Every arrow that there may be. `ullim-server` may know all.
const ARROWS: [(&str, &[&str]); 9] = [
    ("ullim-protocol", &[]),
    ("ullim-auth", &["ullim-protocol"]),
    ("ullim-broker", &["ullim-protocol"]),
    ("ullim-client", &["ullim-protocol"]),
    ("ullim-hub", &["ullim-broker", "ullim-auth", "ullim-protocol"]),
    ("ullim-gateway", &["ullim-hub", "ullim-broker", "ullim-auth", "ullim-protocol"]),
    ("ullim-api", &["ullim-hub", "ullim-broker", "ullim-auth", "ullim-protocol"]),
    ("ullim-tests", &["ullim-client"]),
    ("ullim-loadtest", &["ullim-client"]),
];

/// Libraries, and the only shipped crates that may use them.
const LIBRARIES: [(&str, &[&str]); 7] = [
    ("redis", &["ullim-broker"]),
    ("jsonwebtoken", &["ullim-auth"]),
    ("axum", &["ullim-api"]),
    ("fastwebsockets", &["ullim-protocol", "ullim-client"]),
    ("rustls", &["ullim-gateway"]),
    ("tokio-rustls", &["ullim-auth", "ullim-broker", "ullim-client"]),
    ("clap", &["ullim-server"]),
];

/// Crates that are free of I/O, and what they must not use.
const PURE: [(&str, &[&str]); 2] = [
    ("ullim-protocol", &["tokio", "tokio-util", "mio", "hyper", "socket2", "tracing"]),
    ("ullim-hub", &["tokio", "tokio-util", "mio", "hyper", "socket2"]),
];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// `None` for what is shipped, else `dev` or `build`.
    kind: Option<String>,
}

/// Each package of the workspace and what its shipped code depends on.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let cargo = env!("CARGO");
    let mut command = Command::new(cargo);
    command.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]);
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let metadata: Metadata = serde_json::from_slice(&output.stdout).unwrap();
    let shipped = |package: Package| {
        let names = package.dependencies.into_iter().filter(|dependency| dependency.kind.is_none());
        (package.name, names.map(|dependency| dependency.name).collect())
    };
    metadata.packages.into_iter().map(shipped).collect()
}

#[test]
fn no_crate_knows_another_against_the_arrows() {
    let mut wrong = Vec::new();
    for (package, dependencies) in dependencies() {
        if package == "ullim-server" {
            continue;
        }
        let (_, allowed) = ARROWS
            .iter()
            .find(|(name, _)| *name == package)
            .unwrap_or_else(|| panic!("{package} is new: say here whom it may know"));
        let ours = dependencies.iter().filter(|name| name.starts_with("ullim-"));
        wrong.extend(ours.filter(|name| !allowed.contains(&name.as_str())).map(|name| format!("{package} → {name}")));
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn each_heavy_library_is_known_to_one_crate() {
    let mut wrong = Vec::new();
    for (package, dependencies) in dependencies() {
        for (library, allowed) in LIBRARIES {
            let is_shipped = !["ullim-tests", "ullim-loadtest"].contains(&package.as_str());
            if is_shipped && !allowed.contains(&package.as_str()) && dependencies.iter().any(|name| name == library) {
                wrong.push(format!("{package} → {library}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn the_pure_crates_do_no_io() {
    let dependencies = dependencies();
    for (package, banned) in PURE {
        let wrong: Vec<_> = dependencies[package].iter().filter(|name| banned.contains(&name.as_str())).collect();
        assert!(wrong.is_empty(), "{package} → {wrong:?}");
    }
}
