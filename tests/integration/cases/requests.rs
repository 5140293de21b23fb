//! What deciding costs, counted at the servers.

use std::collections::BTreeMap;

use crate::case::Case;
use crate::cases::small;
use crate::context::Context;
use crate::world::{GitServerKind, Mark, RegistryKind, Request};

pub const CASES: &[Case] = cases![
    services_that_need_nothing_cost_a_request_a_remote_and_two_an_image,
    a_commit_without_a_branch_costs_one_request_an_image,
    services_of_one_remote_share_its_request,
];

/// The names of the services in these tests; each image is called like its service.
const SERVICES: [&str; 5] = ["one", "two", "three", "four", "five"];

/// Returns how often each method and last part of the path was asked for.
fn counted(requests: &[Request]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for request in requests {
        *counts
            .entry(format!("{} {}", request.method, request.path))
            .or_default() += 1;
    }
    counts
}

fn services_that_need_nothing_cost_a_request_a_remote_and_two_an_image(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let repositories = SERVICES.map(|name| (name, small::repository(t, name)));
    let references = repositories
        .each_ref()
        .map(|(name, repository)| (*name, repository));
    // Built from files, then looked at over HTTP: what is asked for is the same.
    small::platform(t, registry.host(), &references);
    t.xp(["build"]).success();
    std::fs::remove_dir_all(t.dir().join("src")).expect("the working copies");
    std::fs::remove_dir_all(t.dir().join(".xp")).expect("xp's own files");
    let services = repositories
        .iter()
        .map(|(name, repository)| small::service(t, name, &repository.url_http(), "", ""));
    small::manifest(t, registry.host(), &services.collect::<String>());

    let registry_mark = registry.mark();
    let git_mark = t.git_server(GitServerKind::Open).mark();
    let build = t.xp(["build"]).success();
    assert_eq!(build.stdout.matches("skipped").count(), SERVICES.len());

    let mut expected = BTreeMap::from([("GET /v2/".to_owned(), 1)]);
    for (name, repository) in &repositories {
        for tag in [repository.head().as_str(), "master"] {
            expected.insert(format!("HEAD /v2/{}/manifests/{tag}", t.image(name)), 1);
        }
        let requests = repository.requests_since(GitServerKind::Open, git_mark);
        assert_eq!(requests.len(), 1, "{requests:?}");
    }
    assert_eq!(counted(&registry.requests_since(registry_mark)), expected);
    assert!(!t.exists("src"), "nothing is cloned");
    assert!(!t.exists(".xp/build") && !t.exists(".xp/clone"));
    // That there was nothing to do is on record, and nothing else.
    let kept = std::fs::read_dir(t.dir().join(".xp/logs/1")).expect("a record");
    assert_eq!(kept.count(), 1);
}

fn a_commit_without_a_branch_costs_one_request_an_image(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let repository = small::repository(t, "zbackend");
    let commit = repository.head();
    small::platform(t, registry.host(), &[("zbackend", &repository)]);
    let reference = format!("zbackend={commit}");
    t.xp(["build", "--reference", &reference]).success();
    assert_eq!(registry.tags(&t.image("zbackend")), [commit.as_str()]);
    let mark = registry.mark();
    t.xp(["build", "--reference", &reference])
        .success()
        .stdout_contains("skipped");
    let image = t.image("zbackend");
    assert_eq!(
        counted(&registry.requests_since(mark)),
        BTreeMap::from([
            ("GET /v2/".to_owned(), 1),
            (format!("HEAD /v2/{image}/manifests/{commit}"), 1)
        ])
    );
}

fn services_of_one_remote_share_its_request(t: &Context) {
    let repository = small::repository(t, "zbackend");
    let url = repository.url_http();
    let services = SERVICES.map(|name| small::service(t, name, &url, "", ""));
    small::manifest(t, "", &services.concat());
    let plan = t.xp(["plan"]).success();
    assert_eq!(plan.stdout.matches("the engine does not have").count(), 5);
    let requests = repository.requests_since(GitServerKind::Open, Mark::START);
    assert_eq!(requests.len(), 1, "{requests:?}");
}
