//! The key `fleet`.

use std::path::PathBuf;
use std::time::Duration;

use super::super::fleet;
use super::{accepted, refused, with};

fn manifest(fleet: &str) -> String {
    format!("{}fleet: {fleet}\n", with("needs: [other]"))
}

#[test]
fn fleets_are_parsed() {
    let manifest = accepted(&manifest(
        "{ci: {context: c, namespace: builds, image: 'r.example.com/xp:1'}, \
         big: {context: b, namespace: b, image: xp, template: ./k8s/pod.yaml, jobs: 100, wait: 5m}}",
    ));
    let ci = fleet(&manifest.fleets, "ci").unwrap();
    assert_eq!(ci.image.to_string(), "r.example.com/xp:1");
    assert_eq!((ci.jobs, ci.wait), (20, Duration::from_secs(3600)));
    let big = fleet(&manifest.fleets, "big").unwrap();
    assert_eq!(big.template, Some(PathBuf::from("k8s/pod.yaml")));
    assert_eq!((big.jobs, big.wait), (100, Duration::from_secs(300)));
    let error = fleet(&manifest.fleets, "cii").unwrap_err();
    assert_eq!(error.to_string(), "unknown fleet `cii`");
}

#[test]
fn problems_are_reported() {
    for (text, expected) in [
        ("{}", "`fleet` must not be empty"),
        ("{Ci: {}}", "invalid fleet name `Ci`"),
        (
            "{ci: {context: c, namespace: n}}",
            "fleet `ci` has no `image` (add the image of xp",
        ),
        (
            "{ci: {namespace: n, image: x}}",
            "fleet `ci` has no `context`",
        ),
        (
            "{ci: {context: c, image: x}}",
            "fleet `ci` has no `namespace`",
        ),
        (
            "{ci: {context: c, namespace: N, image: x}}",
            "invalid namespace `N`",
        ),
        (
            "{ci: {context: c, namespace: n, image: X}}",
            "invalid image name `X`",
        ),
        (
            "{ci: {context: c, namespace: n, image: x, jobs: 0}}",
            "invalid number of Jobs `0`: must be 1 to 1000",
        ),
        (
            "{ci: {context: c, namespace: n, image: x, template: ../p.yaml}}",
            "`../p.yaml` must not contain `..`",
        ),
        (
            "{ci: {context: c, namespace: n, image: x, tempalte: p.yaml}}",
            "(did you mean `template`?)",
        ),
    ] {
        let found = refused(&manifest(text)).join("\n");
        assert!(found.contains(expected), "{text}\n{found}");
    }
}
