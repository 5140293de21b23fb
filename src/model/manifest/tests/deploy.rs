//! The key `deploy`.

use std::path::PathBuf;
use std::time::Duration;

use super::super::{ClusterEnvironment, ComposeEnvironment, Deploy, Environment, KustomizeFiles};
use super::{accepted, refused, with};

/// Returns a manifest whose `deploy` has these lines, starting at line 7.
fn deploy(lines: &str) -> String {
    let lines: String = lines.lines().map(|line| format!("  {line}\n")).collect();
    format!("{}deploy:\n{lines}", with("needs: [other]"))
}

const STAGING: &str = "environments:\n  staging: {overlay: o/s, context: c, namespace: n}\n";

fn cluster<'d>(deploy: &'d Deploy, name: &str) -> &'d ClusterEnvironment {
    match deploy.environment(name) {
        Ok(Environment::Cluster(environment)) => environment,
        other => panic!("{other:?}"),
    }
}

fn compose<'d>(deploy: &'d Deploy, name: &str) -> &'d ComposeEnvironment {
    match deploy.environment(name) {
        Ok(Environment::Compose(environment)) => environment,
        other => panic!("{other:?}"),
    }
}

#[test]
fn environments_are_parsed() {
    let manifest = accepted(&deploy(&format!(
        "path: ./k8s/\nimages: {{other: h.example.com/o}}\n{STAGING}  \
         production: {{overlay: o/p, context: 'arn:aws:eks:x', namespace: p, timeout: 10m}}\n"
    )));
    let deploy = manifest.deploy.unwrap();
    assert_eq!(
        deploy.images.values().collect::<Vec<_>>(),
        ["h.example.com/o"]
    );
    let staging = cluster(&deploy, "staging");
    assert_eq!(staging.files, KustomizeFiles::Folder(PathBuf::from("k8s")));
    assert_eq!(staging.overlay, PathBuf::from("o/s"));
    assert_eq!(staging.timeout, Duration::from_secs(300));
    let production = cluster(&deploy, "production");
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
    let deploy = manifest.deploy.unwrap();
    let KustomizeFiles::Git { remote, path, .. } = &cluster(&deploy, "staging").files else {
        panic!("not a repository");
    };
    assert_eq!(remote.to_string(), "https://h/k8s");
    assert_eq!(path, &PathBuf::from("deploy"));
}

#[test]
fn compose_projects_need_no_kustomize_files() {
    let manifest = accepted(&deploy(
        "environments:\n  dev: {compose: ./docker-compose.yml}\n  \
         test: {compose: [a/c.yml, b.yml], project: shop_test, profiles: [debug], services: {other: [web, worker]}, timeout: 90s}\n",
    ));
    let deploy = manifest.deploy.unwrap();
    let dev = compose(&deploy, "dev");
    assert_eq!(dev.shown(), "docker-compose.yml");
    assert_eq!(
        (&dev.project, dev.timeout),
        (&None, Duration::from_secs(300))
    );
    let test = compose(&deploy, "test");
    assert_eq!(test.shown(), "a/c.yml, b.yml");
    assert_eq!(test.project.as_deref(), Some("shop_test"));
    assert_eq!(test.profiles, ["debug"]);
    assert_eq!(test.timeout, Duration::from_secs(90));
    let services: Vec<_> = test.services.values().flatten().collect();
    assert_eq!(services, ["web", "worker"]);
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
        (
            "path: k\nenvironments: {s: {compose: c.yml, overlay: o}}\n",
            "environment `s` has both `compose` and `overlay`",
        ),
        (
            "path: k\nenvironments: {s: {profiles: [x], overlay: o, context: c, namespace: n}}\n",
            "environment `s` has `profiles` but no `compose`",
        ),
        (
            "environments: {s: {compose: []}}\n",
            "`deploy.environments.s.compose` must not be empty",
        ),
        (
            "environments: {s: {compose: ../c.yml}}\n",
            "`../c.yml` must not contain `..`",
        ),
        (
            "environments: {s: {compose: c.yml, project: Shop}}\n",
            "invalid project name `Shop`",
        ),
        (
            "environments: {s: {compose: c.yml, profiles: [-x]}}\n",
            "invalid profile `-x`",
        ),
        (
            "environments: {s: {compose: c.yml, services: {othr: x}}}\n",
            "unknown service `othr` (did you mean `other`?)",
        ),
        (
            "environments: {s: {compose: c.yml, services: {other: [x, x]}}}\n",
            "compose service `x` is listed twice",
        ),
    ] {
        let found = problems(lines);
        assert!(found.contains(expected), "{lines}\n{found}");
    }
}
