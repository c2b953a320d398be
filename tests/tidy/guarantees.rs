//! What is promised has a test.

use std::fs;

use crate::files::{root, sources};

#[test]
fn every_promise_names_tests_that_exist() {
    let page = fs::read_to_string(root().join("docs/guarantees.md")).unwrap();
    let tests: String = sources().iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| promise"));
    let mut absent = Vec::new();
    let mut promises = 0;
    for row in rows {
        let proof = row.trim_matches('|').rsplit('|').next().unwrap();
        let named: Vec<&str> = proof.split(',').map(|name| name.trim().trim_matches('`')).collect();
        absent.extend(named.into_iter().filter(|name| !tests.contains(&format!("async fn {name}("))));
        promises += 1;
    }
    assert!(promises > 10, "the page has other rows");
    assert!(absent.is_empty(), "no such test: {absent:?}");
}
