//! The cost of planning, counted at the servers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::case::Case;
use crate::cases::small;
use crate::cases::wrapper::port_of_engine;
use crate::context::Context;
use crate::wait::wait_until;
use crate::world::{Gateway, GitServerKind, Mark, RegistryKind, Reply, Request};
use crate::xp::Xp;

pub const CASES: &[Case] = cases![
    up_to_date_services_cost_one_request_per_remote_and_two_per_image,
    a_bare_commit_costs_one_request_per_image,
    services_of_one_remote_share_its_request,
    images_and_remotes_are_queried_concurrently,
    the_engine_is_queried_only_for_needed_images,
];

/// The names of the services in these tests; each image has its service's name.
const SERVICES: [&str; 5] = ["one", "two", "three", "four", "five"];

/// Returns the number of requests by method and last path component.
fn counted(requests: &[Request]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for request in requests {
        *counts
            .entry(format!("{} {}", request.method, request.path))
            .or_default() += 1;
    }
    counts
}

fn up_to_date_services_cost_one_request_per_remote_and_two_per_image(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let repositories = SERVICES.map(|name| (name, small::repository(t, name)));
    let references = repositories
        .each_ref()
        .map(|(name, repository)| (*name, repository));
    // Built from local remotes, then queried over HTTP: the requests are the same.
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
    // Only the fact that there was nothing to do is recorded.
    let kept = std::fs::read_dir(t.dir().join(".xp/logs/1")).expect("a record");
    assert_eq!(kept.count(), 1);
}

fn a_bare_commit_costs_one_request_per_image(t: &Context) {
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
    assert_eq!(plan.stdout.matches("  new commit  ").count(), 5);
    let requests = repository.requests_since(GitServerKind::Open, Mark::START);
    assert_eq!(requests.len(), 1, "{requests:?}");
}

/// The last known state is queried immediately; it does not affect the result.
fn images_and_remotes_are_queried_concurrently(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let gateway = Arc::new(Gateway::before(registry.host(), |_| Reply::Forward));
    let looks = {
        let gateway = Arc::clone(&gateway);
        move || gateway.manifest_requests("HEAD")
    };
    let awaited = Arc::new(AtomicUsize::new(0));
    let upstream = t.git_server(GitServerKind::Open).url("", "");
    let upstream = upstream.trim_start_matches("http://").trim_end_matches('/');
    let remotes = {
        let (looks, awaited) = (looks.clone(), Arc::clone(&awaited));
        Gateway::before(upstream, move |_| {
            let awaited = awaited.load(Ordering::SeqCst);
            wait_until("the registry is asked", || looks() >= awaited);
            Reply::Forward
        })
    };
    let repository = small::repository(t, "zbackend");
    let url = repository.url_http().replace(upstream, remotes.host());
    let service = small::service(t, "zbackend", &url, "", "");
    small::manifest(t, gateway.host(), &service);
    let build = |arguments: &[&str]| {
        let build = t.xp(["build"]);
        arguments.iter().fold(build, |xp, it| xp.arg(it)).success()
    };
    build(&[]).stdout_contains("built");

    let before = looks();
    awaited.store(before + 2, Ordering::SeqCst);
    build(&[]).stdout_contains("skipped");
    assert_eq!(looks(), before + 2, "each is asked for once");

    // A different commit has different images.
    repository.commit(&[("content", "another")], "Go on");
    let before = looks();
    awaited.store(before + 2, Ordering::SeqCst);
    build(&[]).stdout_contains("built");
    let tags = registry.tags(&t.image("zbackend"));
    assert!(tags.contains(&repository.head()), "{tags:?}");

    // Another reference is not the last known one.
    let before = looks();
    awaited.store(before, Ordering::SeqCst);
    let reference = format!("zbackend={}", repository.head());
    build(&["--reference", &reference]).stdout_contains("skipped");
    assert_eq!(looks(), before + 1);

    // The cached file may contain anything.
    let kept = t.dir().join(".xp/asked.json");
    for text in ["", "{}", "[1, 2]", "{\"zbackend\": {\"tip\": \"x\"}}"] {
        std::fs::write(&kept, text).expect("a file of xp's own");
        build(&[]).stdout_contains("skipped");
        assert!(std::fs::read_to_string(&kept).is_ok_and(|it| it.contains(&repository.head())));
    }

    // Commits of services no longer in the manifest are forgotten, but not where their images were.
    let service = small::service(t, "zfrontend", &url, "", "");
    small::manifest(t, gateway.host(), &service);
    awaited.store(0, Ordering::SeqCst);
    build(&[]).stdout_contains("zfrontend");
    let text = std::fs::read_to_string(&kept).expect("a file of xp's own");
    assert!(
        text.contains("\"zfrontend\":") && !text.contains("\"zbackend\":"),
        "{text}"
    );
    assert!(text.contains("/zbackend\""), "{text}");
}

/// Returns the images requested from an engine, sorted, including duplicates. A list of images must name them; the
/// further names in it are left out.
fn images_queried(engine: &Gateway) -> Vec<String> {
    let requests = engine.requests();
    let is_about_images = |it: &&Request| it.method == "GET" && it.path.contains("/images/");
    let asked = requests.iter().filter(is_about_images);
    let asked = asked.flat_map(|request| {
        let (_, name) = request.path.split_once("/images/").expect("its images");
        let name = [
            "%3A:", "%2F/", "%22\"", "%2C,", "%7B{", "%7D}", "%5B[", "%5D]",
        ]
        .iter()
        .fold(name.to_owned(), |name, code| {
            name.replace(&code[..3], &code[3..])
        });
        let Some((_, filters)) = name.split_once("filters=") else {
            return vec![name.trim_end_matches("/json").to_owned()];
        };
        let filters = filters.split('&').next().unwrap_or_default();
        let filters: Value = serde_json::from_str(filters).expect("filters in JSON");
        let names = filters["reference"].as_array().expect("names");
        let names = names.iter().filter_map(Value::as_str).map(str::to_owned);
        names.filter(|name| !name.ends_with(":master")).collect()
    });
    let mut asked: Vec<String> = asked.collect();
    asked.sort();
    asked
}

fn the_engine_is_queried_only_for_needed_images(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let repositories = SERVICES.map(|name| (name, small::repository(t, name)));
    let references = repositories
        .each_ref()
        .map(|(name, repository)| (*name, repository));
    small::platform(t, registry.host(), &references);
    t.xp(["build"]).success();
    let port = port_of_engine(t);
    let asked_by = |xp: Xp| {
        let engine = Gateway::before(&format!("127.0.0.1:{port}"), |_| Reply::Forward);
        let address = format!("tcp://{}", engine.host());
        let run = xp.env("DOCKER_HOST", &address).success();
        (images_queried(&engine), run)
    };
    let images = repositories.each_ref().map(|(name, repository)| {
        let image = format!("{}/{}", registry.host(), t.image(name));
        format!("{image}:{}", repository.head())
    });
    let mut all = images.to_vec();
    all.sort();
    for command in ["plan", "status"] {
        assert_eq!(asked_by(t.xp([command])).0, all, "{command}");
    }
    let (asked, plan) = asked_by(t.xp(["plan", "--no-pull"]));
    assert!(asked.is_empty(), "{asked:?}");
    plan.stdout_contains("in the registry");
    // Images missing from the registry may be in the engine.
    let two = t.image("two");
    let identities = registry.identity_tags(&two);
    for tag in registry.tags(&two).iter().chain(&identities) {
        registry.delete_tag(&two, tag);
    }
    let (asked, plan) = asked_by(t.xp(["plan", "--no-pull"]));
    assert_eq!(asked, [images[1].clone()]);
    plan.stdout_contains("in the engine, not in the registry");
}
