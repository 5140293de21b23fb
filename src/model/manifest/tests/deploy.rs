//! The key `deploy`.

use std::path::PathBuf;
use std::time::Duration;

use super::super::KustomizeFiles;
use super::{accepted, refused, with};

/// Returns a manifest whose `deploy` has these lines, starting at line 7.
fn deploy(lines: &str) -> String {
    let lines: String = lines.lines().map(|line| format!("  {line}\n")).collect();
    format!("{}deploy:\n{lines}", with("needs: [other]"))
}

const STAGING: &str = "environments:\n  staging: {overlay: o/s, context: c, namespace: n}\n";

#[test]
fn environments_are_parsed() {
    let manifest = accepted(&deploy(&format!(
        "path: ./k8s/\nimages: {{other: h.example.com/o}}\n{STAGING}  \
         production: {{overlay: o/p, context: 'arn:aws:eks:x', namespace: p, timeout: 10m}}\n"
    )));
    let deploy = manifest.deploy.unwrap();
    assert_eq!(deploy.files, KustomizeFiles::Folder(PathBuf::from("k8s")));
    assert_eq!(
        deploy.images.values().collect::<Vec<_>>(),
        ["h.example.com/o"]
    );
    let staging = deploy.environment("staging").unwrap();
    assert_eq!(staging.overlay, PathBuf::from("o/s"));
    assert_eq!(staging.timeout, Duration::from_secs(300));
    let production = deploy.environment("production").unwrap();
    assert_eq!(production.context, "arn:aws:eks:x");
    assert_eq!(production.timeout, Duration::from_secs(600));
    assert_eq!(
        deploy.environment("prodction").unwrap_err().to_string(),
        "unknown environment `prodction`"
    );
}

#[test]
fn a_repository_is_parsed() {
    let manifest = accepted(&deploy(&format!(
        "git: {{remote: 'https://h/k8s', path: deploy}}\n{STAGING}"
    )));
    let KustomizeFiles::Git { remote, path, .. } = manifest.deploy.unwrap().files else {
        panic!("not a repository");
    };
    assert_eq!(remote.to_string(), "https://h/k8s");
    assert_eq!(path, PathBuf::from("deploy"));
}

#[test]
fn problems_are_reported() {
    let problems = |lines: &str| refused(&deploy(lines)).join("\n");
    for (lines, expected) in [
        (STAGING, "`deploy` has no `path` or `git`"),
        (
            &format!("path: k\ngit: {{remote: 'https://h/k'}}\n{STAGING}"),
            "`deploy` has both `path` and `git`",
        ),
        (
            &format!("git: {{}}\n{STAGING}"),
            "`deploy.git` has no `remote`",
        ),
        ("path: k\n", "`deploy` has no `environments`"),
        (
            "path: k\nenvironments: {}\n",
            "`deploy.environments` must not be empty",
        ),
        (
            &format!("path: ../k\n{STAGING}"),
            "`../k` must not contain `..`",
        ),
        (
            &format!("path: k\nimages: {{othr: x}}\n{STAGING}"),
            "unknown service `othr` (did you mean `other`?)",
        ),
        (
            &format!("path: k\nimages: {{other: 'x:1'}}\n{STAGING}"),
            "must not have a tag",
        ),
        (
            "path: k\nenvironments: {Staging: {overlay: o, context: c, namespace: n}}\n",
            "invalid environment name `Staging`",
        ),
        (
            "path: k\nenvironments: {s: {overly: o, context: c, namespace: n}}\n",
            "(did you mean `overlay`?)",
        ),
        (
            "path: k\nenvironments: {s: {overlay: o, namespace: n}}\n",
            "environment `s` has no `context` (add its kubeconfig context, the only one that xp uses",
        ),
        (
            "path: k\nenvironments: {s: {overlay: o, context: -c, namespace: n}}\n",
            "invalid context `-c`",
        ),
        (
            "path: k\nenvironments: {s: {overlay: o, context: c, namespace: N}}\n",
            "invalid namespace `N`",
        ),
    ] {
        let found = problems(lines);
        assert!(found.contains(expected), "{lines}\n{found}");
    }
}
