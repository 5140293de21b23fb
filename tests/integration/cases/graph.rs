//! `xp graph`

use serde_json::Value;

use crate::case::Case;
use crate::cases::small;
use crate::context::Context;
use crate::repository::GitRepository;

pub const CASES: &[Case] = cases![
    the_tree_shows_the_state_of_each_service,
    without_state_no_server_is_contacted,
    all_formats_have_every_service,
    an_unknown_state_is_an_error,
];

/// `zbackend` is built from `zfrontend`; `zother` is independent.
fn platform(t: &Context, url: impl Fn(&GitRepository) -> String) -> [GitRepository; 3] {
    let repositories = ["zbackend", "zfrontend", "zother"].map(|name| small::repository(t, name));
    let [backend, frontend, other] = &repositories;
    let services = small::service(t, "zbackend", &url(backend), "", "    needs: [zfrontend]\n")
        + &small::service(t, "zfrontend", &url(frontend), "", "")
        + &small::service(t, "zother", &url(other), "", "");
    small::manifest(t, "", &services);
    repositories
}

fn the_tree_shows_the_state_of_each_service(t: &Context) {
    let [_, frontend, _] = platform(t, GitRepository::url_http);
    t.xp(["build"]).success();
    frontend.commit(&[("content", "2")], "Second");
    let graph = t.xp(["graph"]).success();
    assert_eq!(
        graph.stdout,
        "zbackend       build  needs.zfrontend changed\n\
         └── zfrontend  build  new commit\n\
         zother         skip   in the engine\n"
    );
    assert_eq!(graph.stderr, "");
    let graph = t.xp(["graph", "zfrontend"]).success();
    assert_eq!(graph.stdout.lines().count(), 1, "{graph}");
}

fn without_state_no_server_is_contacted(t: &Context) {
    let gone = format!("http://127.0.0.1:{}/x.git", t.closed_port());
    platform(t, |_| gone.clone());
    let graph = t
        .xp(["graph", "--no-state"])
        .env("DOCKER_HOST", "unix:///nowhere/docker.sock")
        .success();
    assert_eq!(graph.stdout, "zbackend\n└── zfrontend\nzother\n");
    let usage = t.xp(["graph", "--no-state", "--branch", "x"]).failure(2);
    usage.stderr_contains("--branch");
}

fn all_formats_have_every_service(t: &Context) {
    let [backend, ..] = platform(t, GitRepository::url_http);
    let dot = t.xp(["graph", "--format", "dot"]).success();
    let dot = dot
        .stdout_contains("digraph services {")
        .stdout_contains("\"zbackend\" -> \"zfrontend\";")
        .stdout_contains("\"zother\" [label=\"zother\\nbuild\"");
    assert_eq!(
        dot.stdout.matches('{').count(),
        dot.stdout.matches('}').count()
    );
    let mermaid = t.xp(["graph", "--format", "mermaid"]).success();
    mermaid
        .stdout_contains("flowchart LR\n")
        .stdout_contains("s0[\"zbackend<br>build\"]:::build\n")
        .stdout_contains("s0 --> s1\n");
    let output = t.xp(["graph", "--format", "json"]).success();
    let json: Value = serde_json::from_str(&output.stdout).expect("JSON");
    assert_eq!(json["services"][0]["service"], "zbackend");
    assert_eq!(json["services"][0]["needs"][0], "zfrontend");
    assert_eq!(json["services"][0]["decision"], "build");
    assert_eq!(json["services"][0]["commit"], backend.head());
    assert_eq!(json["services"].as_array().map(Vec::len), Some(3));
}

fn an_unknown_state_is_an_error(t: &Context) {
    let gone = format!("http://127.0.0.1:{}/x.git", t.closed_port());
    platform(t, |_| gone.clone());
    let graph = t.xp(["graph"]).failure(3);
    assert_eq!(graph.stdout, "");
    graph.stderr_contains(&gone);
}
