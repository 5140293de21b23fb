//! `xp status`: everything it shows, that no failure hides the rest, and that it changes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;
use walkdir::WalkDir;

use crate::case::Case;
use crate::cases::small;
use crate::context::Context;
use crate::output::Output;
use crate::repository::GitRepository;
use crate::working_copy::User;
use crate::world::{Gateway, GitServerKind, RegistryKind, Reply};

pub const CASES: &[Case] = cases![
    each_state_of_a_working_copy_is_shown,
    images_are_verified_stale_or_unverified,
    a_status_changes_nothing,
    a_train_is_shown_by_its_references,
    an_unresponsive_remote_does_not_hide_other_results,
    a_refusing_registry_does_not_hide_other_results,
    an_unreachable_engine_does_not_hide_other_results,
    an_unreadable_working_copy_does_not_hide_other_results,
    an_unset_variable_affects_only_its_service,
    offline_contacts_no_server,
    offline_uses_fetched_commits,
    unknown_commits_are_reported_offline,
    json_has_all_fields,
];

fn json(output: &Output) -> Value {
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output}"))
}

/// Returns the `xp status` of a service, as JSON.
fn of(t: &Context, service: &str) -> Value {
    let all = json(&t.xp(["status", "--format", "json"]).success());
    let services = all["services"].as_array().expect("a list");
    let mut found = services.iter().filter(|one| one["service"] == service);
    found.next().expect("the service").clone()
}

/// Returns the cells in a service's row.
fn cells(output: &Output, service: &str) -> Vec<String> {
    let row = output.row(service).split("  ").map(str::trim);
    row.filter(|cell| !cell.is_empty())
        .map(str::to_owned)
        .collect()
}

fn each_state_of_a_working_copy_is_shown(t: &Context) {
    let names = [
        "ahead", "behind", "clean", "conflict", "detached", "diverged", "foreign", "missing",
        "modified", "moved", "topic", "unborn",
    ];
    let repositories: BTreeMap<&str, GitRepository> = names
        .iter()
        .map(|name| (*name, small::repository(t, name)))
        .collect();
    let services = repositories
        .iter()
        .map(|(name, repository)| small::service(t, name, &repository.url_http(), "", ""));
    small::manifest(t, "", &services.collect::<String>());
    for name in names
        .iter()
        .filter(|name| !["foreign", "missing", "unborn"].contains(name))
    {
        t.xp(["sync", name]).success();
    }
    let user = |name| User::new(t, name);
    user("ahead").commit("mine", "1\n");
    repositories["behind"].commit(&[("content", "2")], "Second");
    user("behind").git(&["fetch", "--quiet"]);
    repositories["conflict"].commit(&[("content", "theirs")], "Theirs");
    user("conflict").commit("content", "mine\n");
    user("conflict").git(&["fetch", "--quiet"]);
    user("conflict").git_conflicts(&["merge", "--quiet", "origin/master"]);
    user("detached").git(&["checkout", "--quiet", "--detach"]);
    user("diverged").commit("mine", "1\n");
    for content in ["2", "3"] {
        repositories["diverged"].commit(&[("content", content)], "More");
    }
    user("diverged").git(&["fetch", "--quiet"]);
    t.write("src/foreign/thesis.txt", "precious");
    user("modified").write("content", "changed");
    user("modified").write("staged", "1");
    user("modified").git(&["add", "staged"]);
    user("modified").write("new/one", "1");
    user("modified").write("new/two", "1");
    repositories["moved"].commit(&[("content", "2")], "Second");
    user("topic").git(&["switch", "--quiet", "--create", "topic"]);
    fs::create_dir_all(t.dir().join("src/unborn")).expect("a folder");
    t.git("src/unborn", &["init", "--quiet"]);

    let status = t.xp(["status"]).success();
    assert_eq!(status.stderr, "");
    let heads = |name: &str| repositories[name].head();
    let short = |name: &str| heads(name)[..8].to_owned();
    for (name, shown) in [
        ("ahead", "master +1".to_owned()),
        ("behind", "master -1".to_owned()),
        ("clean", "master".to_owned()),
        (
            "conflict",
            "master +1 -1, 1 modified, merge in progress".to_owned(),
        ),
        ("detached", format!("detached at {}", short("detached"))),
        ("diverged", "master +1 -2".to_owned()),
        ("foreign", "not a working copy".to_owned()),
        ("missing", "missing".to_owned()),
        ("modified", "master, 2 modified, 1 untracked".to_owned()),
        ("moved", "master, not fetched".to_owned()),
        ("topic", "topic".to_owned()),
        ("unborn", "no commit".to_owned()),
    ] {
        // The commit is the remote's current one, regardless of local commits.
        assert_eq!(cells(&status, name), [name, &short(name), "-", &shown]);
    }
    assert_eq!(
        cells(&status, "SERVICE"),
        ["SERVICE", "COMMIT", "ENGINE", "WORKING COPY"]
    );
    let some = t.xp(["status", "m*", "--services", "clean"]).success();
    assert_eq!(some.stdout.lines().count(), 5, "{some}");
    t.xp(["status", "modifed"])
        .failure(2)
        .stderr_contains("did you mean `modified`?");
}

fn images_are_verified_stale_or_unverified(t: &Context) {
    let registry = t.registry();
    let (backend, frontend) = (
        small::repository(t, "zbackend"),
        small::repository(t, "zfrontend"),
    );
    let manifest = |args: &str| {
        let services = small::service(t, "zbackend", &backend.url_http(), args, "")
            + &small::service(
                t,
                "zfrontend",
                &frontend.url_http(),
                "",
                "    needs: [zbackend]\n",
            );
        small::manifest(t, registry.host(), &services);
    };
    manifest("");
    let state = |service: &str| {
        let one = of(t, service);
        let text = |key: &str| one[key].as_str().expect("a word").to_owned();
        [text("engine"), text("registry")]
    };
    assert_eq!(state("zbackend"), ["absent", "absent"]);
    t.xp(["build", "--no-push"]).success();
    assert_eq!(state("zbackend"), ["verified", "absent"]);
    t.xp(["build"]).success();
    assert_eq!(state("zbackend"), ["verified", "verified"]);
    let table = t.xp(["status"]).success();
    assert_eq!(
        cells(&table, "zbackend")[2..],
        ["verified", "verified", "master"]
    );
    // A changed input affects the image and its dependents.
    manifest(", args: {MORE: '1'}");
    assert_eq!(state("zbackend"), ["stale", "stale"]);
    assert_eq!(state("zfrontend"), ["stale", "stale"]);
    manifest("");
    // A new commit has no image, and another tool built one.
    let commit = backend.commit(&[("content", "2")], "Second");
    assert_eq!(state("zbackend"), ["absent", "absent"]);
    let name = format!("{}/{}:{commit}", registry.host(), t.image("zbackend"));
    t.engine().tag(t.engine().busybox(), &name);
    assert_eq!(state("zbackend"), ["unverified", "absent"]);
    t.engine().docker(["push", "--quiet", &name]);
    assert_eq!(state("zbackend"), ["unverified", "unverified"]);
}

/// Returns every file below a folder, including `.git`, with contents and time.
fn everything(dir: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let entries = WalkDir::new(dir).into_iter().map(|entry| {
        let entry = entry.expect("a folder that can be read");
        let content = fs::read(entry.path()).unwrap_or_default();
        let time = entry
            .metadata()
            .expect("a file")
            .modified()
            .expect("a time");
        (entry.into_path(), (content, time))
    });
    entries.collect()
}

fn a_status_changes_nothing(t: &Context) {
    let repository = small::repository(t, "zbackend");
    small::platform(t, "", &[("zbackend", &repository)]);
    t.xp(["sync"]).success();
    let user = User::new(t, "zbackend");
    user.write("untracked", "1");
    // `git status` would record in the index that these are unchanged.
    let content = fs::read(user.dir.join("content")).expect("a file");
    fs::write(user.dir.join("content"), content).expect("a file");
    let before = everything(&t.dir());
    t.xp(["status"]).success().stdout_contains("1 untracked");
    t.xp(["status", "--offline"]).success();
    assert!(everything(&t.dir()) == before, "something was written");
    // A read-only folder, without `.xp`.
    fs::remove_dir_all(t.dir().join(".xp")).expect("xp's own files");
    t.xp(["status"]).success();
    assert!(!t.exists(".xp"));
}

fn a_train_is_shown_by_its_references(t: &Context) {
    let (backend, frontend) = (
        small::repository(t, "zbackend"),
        small::repository(t, "zfrontend"),
    );
    frontend.branch("TASK-981");
    let topic = frontend.commit(&[("content", "topic")], "Topic");
    frontend.switch("master");
    let services = small::service(
        t,
        "zbackend",
        &backend.url_http(),
        ", args: {FRONT: '${{ services.zfrontend.image }}'}",
        "",
    ) + &small::service(t, "zfrontend", &frontend.url_http(), "", "");
    small::manifest(t, "", &services);
    t.xp(["build"]).success();
    let status = t.xp(["status", "--branch", "TASK-981"]).success();
    assert_eq!(
        cells(&status, "zfrontend")[..4],
        ["zfrontend", "TASK-981", &topic[..8], "-"]
    );
    // Its image would be different.
    let cell = |status: &Output| cells(status, "zbackend")[1..4].to_vec();
    assert_eq!(cell(&status), ["master", &backend.head()[..8], "-"]);
    t.xp(["build", "--branch", "TASK-981"]).success();
    let status = t.xp(["status", "--branch", "TASK-981"]).success();
    assert_eq!(cell(&status), ["master", &backend.head()[..8], "verified"]);
    let status = t.xp(["status", "--branch", "TASK-918"]).failure(2);
    status
        .stderr_contains("did you mean `TASK-981`")
        .stdout_contains("zbackend");
}

fn an_unresponsive_remote_does_not_hide_other_results(t: &Context) {
    let (backend, frontend) = (
        small::repository(t, "zbackend"),
        small::repository(t, "zfrontend"),
    );
    let write = |front: &str| {
        let services = small::service(t, "zbackend", &backend.url_http(), "", "")
            + &small::service(t, "zfrontend", front, "", "");
        small::manifest(t, t.registry().host(), &services);
    };
    write(&frontend.url_http());
    t.xp(["build"]).success();
    let gone = format!("http://127.0.0.1:{}/x.git", t.closed_port());
    write(&gone);
    let status = t.xp(["status"]).failure(3);
    assert_eq!(
        cells(&status, "zbackend")[2..],
        ["verified", "verified", "master"]
    );
    assert_eq!(
        cells(&status, "zfrontend"),
        ["zfrontend", "?", "?", "?", "master"]
    );
    status
        .stderr_contains("error: zfrontend cannot be resolved")
        .stderr_contains(&gone)
        .stdout_contains("SERVICE");

    // A missing reference is treated like a missing remote.
    let missing = small::service(t, "zbackend", &backend.url_http(), "", "")
        .replace("origin/master", "origin/mastre");
    small::manifest(t, "", &missing);
    let status = t.xp(["status"]).failure(2);
    assert_eq!(cells(&status, "zbackend")[1], "?");
    status.stderr_contains("hint: did you mean `master` instead of `origin/mastre`?");
}

fn a_refusing_registry_does_not_hide_other_results(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let gateway = Gateway::before(registry.host(), |incoming| {
        match incoming.path.contains("zfrontend/manifests/") && incoming.method == "HEAD" {
            true => Reply::error(403, "DENIED", "not yours"),
            false => Reply::Forward,
        }
    });
    let (backend, frontend) = (
        small::repository(t, "zbackend"),
        small::repository(t, "zfrontend"),
    );
    small::platform(
        t,
        gateway.host(),
        &[("zbackend", &backend), ("zfrontend", &frontend)],
    );
    t.xp(["build", "zbackend"]).success();
    let status = t.xp(["status"]).failure(3);
    assert_eq!(
        cells(&status, "zbackend")[2..],
        ["verified", "verified", "master"]
    );
    assert_eq!(
        cells(&status, "zfrontend")[2..],
        ["-", "?", "missing"],
        "{status}"
    );
    status.stderr_contains("error: cannot query the image of zfrontend");

    registry.kill();
    let status = t.xp(["status"]).failure(3);
    assert_eq!(cells(&status, "zbackend")[2..], ["verified", "?", "master"]);
    // One reason for all of them.
    assert_eq!(status.stderr.matches("error: ").count(), 1, "{status}");
    status
        .stderr_contains("error: cannot query the images of zbackend, zfrontend")
        .stderr_contains(gateway.host());
    t.xp(["status", "--offline", "zbackend"]).success();
}

fn an_unreachable_engine_does_not_hide_other_results(t: &Context) {
    let repository = small::repository(t, "zbackend");
    small::platform(t, t.registry().host(), &[("zbackend", &repository)]);
    t.xp(["build"]).success();
    for arguments in [["status", "zbackend"], ["status", "--offline"]] {
        let status = t
            .xp(arguments)
            .env("DOCKER_HOST", "unix:///nowhere/docker.sock")
            .failure(3);
        let row = cells(&status, "zbackend");
        assert_eq!(row[2], "?");
        assert_eq!(row.last().expect("a cell"), "master");
        if arguments[1] == "zbackend" {
            assert_eq!(row[3], "verified");
        }
        status
            .stderr_contains("/nowhere/docker.sock")
            .stderr_contains("hint: ");
    }
}

fn an_unreadable_working_copy_does_not_hide_other_results(t: &Context) {
    let (backend, frontend) = (
        small::repository(t, "zbackend"),
        small::repository(t, "zfrontend"),
    );
    small::platform(t, "", &[("zbackend", &backend), ("zfrontend", &frontend)]);
    t.xp(["sync"]).success();
    t.write("src/zfrontend/.git/HEAD", "nonsense");
    let status = t.xp(["status"]).failure(3);
    assert_eq!(cells(&status, "zbackend").last().expect("a cell"), "master");
    let row = cells(&status, "zfrontend");
    assert_eq!(row[1], frontend.head()[..8]);
    assert_eq!(row.last().expect("a cell"), "?");
    status.stderr_contains("src/zfrontend");
}

fn an_unset_variable_affects_only_its_service(t: &Context) {
    let (backend, frontend) = (
        small::repository(t, "zbackend"),
        small::repository(t, "zfrontend"),
    );
    let docker = ", tags: ['build-${{ env.NUMBER }}']";
    let manifest = |docker: &str| {
        let services = small::service(t, "zbackend", &backend.url_http(), docker, "")
            + &small::service(t, "zfrontend", &frontend.url_http(), "", "");
        small::manifest(t, "", &services);
    };
    manifest(docker);
    t.xp(["build"]).env("NUMBER", "7").success();
    // A tag does not affect the contents of an image.
    t.xp(["plan"]).failure(2);
    let status = t.xp(["status"]).success();
    assert_eq!(cells(&status, "zbackend")[2], "verified");
    // An argument does.
    manifest(", args: {NUMBER: '${{ env.NUMBER }}'}");
    let status = t.xp(["status"]).failure(2);
    assert_eq!(cells(&status, "zbackend")[2], "present");
    assert_eq!(cells(&status, "zfrontend")[2], "verified");
    status.stderr_contains("environment variable `NUMBER` is not set");
}

fn offline_contacts_no_server(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let repository = small::repository(t, "zbackend");
    let service = small::service(t, "zbackend", &repository.url_http(), "", "");
    small::manifest(t, registry.host(), &service);
    t.xp(["build"]).success();
    let commit = repository.head();
    let (of_registry, of_git) = (registry.mark(), t.git_server(GitServerKind::Open).mark());
    let status = t.xp(["status", "--offline"]).success();
    assert_eq!(
        cells(&status, "zbackend"),
        ["zbackend", &commit[..8], "verified", "master"]
    );
    let json = json(&t.xp(["status", "--offline", "--format=json"]).success());
    assert_eq!(json["services"][0]["registry"], "not-asked");
    assert_eq!(registry.requests_since(of_registry), []);
    assert_eq!(repository.requests_since(GitServerKind::Open, of_git), []);

    // The usual cost: one request to the remote, one to each registry, one per image; the labels are those in
    // the engine.
    t.xp(["status"]).success();
    let paths: Vec<String> = registry
        .requests_since(of_registry)
        .iter()
        .map(|request| format!("{} {}", request.method, request.path))
        .collect();
    let image = format!("HEAD /v2/{}/manifests/{commit}", t.image("zbackend"));
    assert_eq!(paths, ["GET /v2/", &image]);
    let requests = repository.requests_since(GitServerKind::Open, of_git);
    assert_eq!(requests.len(), 1, "{requests:?}");
}

fn offline_uses_fetched_commits(t: &Context) {
    let repository = small::repository(t, "zbackend");
    let first = repository.head();
    repository.tag("v1");
    repository.branch("TASK-981");
    let topic = repository.commit(&[("content", "topic")], "Topic");
    repository.switch("master");
    let url = repository.url_http();
    let default = |name: &str| {
        small::service(t, name, &url, "", "").replace(", reference: origin/master", "")
    };
    let at = |name: &str, reference: &str| {
        small::service(t, name, &url, "", "").replace("origin/master", reference)
    };
    let services = [
        default("default"),
        at("branch", "master"),
        at("tag", "v1"),
        at("commit", &first),
        at("nowhere", "origin/nowhere"),
    ];
    small::manifest(t, "", &services.concat());
    let commit = |output: &Output, service: &str| cells(output, service)[1].clone();
    let status = t.xp(["status", "--offline"]).failure(3);
    assert_eq!(commit(&status, "branch"), "?");
    assert_eq!(commit(&status, "commit"), first[..8]);
    for name in ["default", "branch", "tag", "commit"] {
        t.xp(["sync", name]).success();
    }
    repository.commit(&[("content", "2")], "Second");
    let status = t.xp(["status", "--offline"]).failure(3);
    for name in ["default", "branch", "tag", "commit"] {
        assert_eq!(commit(&status, name), first[..8], "{name}");
    }
    assert_eq!(commit(&status, "nowhere"), "?");
    status.stderr_contains("the commit of nowhere is not known locally");
    let train = t.xp(["status", "--offline", "branch", "--branch", "TASK-981"]);
    let train = train.success();
    assert_eq!(cells(&train, "branch")[1..3], ["TASK-981", &topic[..8]]);

    // A user's clone from elsewhere: xp keeps what it fetches separate.
    let user = User::new(t, "branch");
    user.git(&[
        "remote",
        "set-url",
        "origin",
        "https://git.example.com/x/y.git",
    ]);
    t.xp(["sync", "branch"]).success();
    let second = repository.head();
    let status = t.xp(["status", "--offline", "branch"]).success();
    assert_eq!(
        cells(&status, "branch")[1..],
        [&second[..8], "-", "master -1"]
    );
}

fn unknown_commits_are_reported_offline(t: &Context) {
    let registry = t.registry().host();
    let (backend, frontend) = (
        small::repository(t, "zbackend"),
        small::repository(t, "zfrontend"),
    );
    let services = [("zbackend", &backend), ("zfrontend", &frontend)];
    for host in ["", registry] {
        small::platform(t, host, &services);
        t.xp(["sync", "zbackend"]).success();
        let status = t.xp(["status", "--offline"]).failure(3);
        assert_eq!(
            cells(&status, "zfrontend"),
            ["zfrontend", "?", "?", "missing"]
        );
        assert_eq!(cells(&status, "zbackend")[1], backend.head()[..8]);
        assert!(!status.stdout.contains("REGISTRY"), "{status}");
        status
            .stderr_contains("error: the commit of zfrontend is not known locally")
            .stderr_contains("hint: run `xp sync` to fetch");
        let all = t.xp(["status", "--offline", "--format", "json"]).failure(3);
        let one = &json(&all)["services"][1];
        let word = if host.is_empty() {
            "no-registry"
        } else {
            "not-asked"
        };
        assert_eq!(
            (&one["service"], &one["registry"]),
            (&"zfrontend".into(), &word.into())
        );
        t.xp(["status", "--offline", "zbackend"]).success();
    }
    t.xp(["sync"]).success();
    t.xp(["status", "--offline"]).success();
}

fn json_has_all_fields(t: &Context) {
    let repository = small::repository(t, "zbackend");
    let first = repository.head();
    small::platform(t, t.registry().host(), &[("zbackend", &repository)]);
    t.xp(["build"]).success();
    User::new(t, "zbackend").write("new", "1");
    let second = repository.commit(&[("content", "2")], "Second");
    let output = t.xp(["status", "--format", "json"]).success();
    let json = json(&output);
    assert_eq!(json["version"], 1);
    assert_eq!(json["problems"], serde_json::json!([]));
    let image = format!("{}/{}:{second}", t.registry().host(), t.image("zbackend"));
    assert_eq!(
        json["services"],
        serde_json::json!([{
            "service": "zbackend",
            "reference": "master",
            "origin": "manifest",
            "commit": second,
            "image": image,
            "engine": "absent",
            "registry": "absent",
            "movedBases": [],
            "workingCopy": {
                "dir": "src/zbackend",
                "state": "present",
                "branch": "master",
                "commit": first,
                "ahead": 0,
                "behind": 0,
                "fetched": false,
                "modified": 0,
                "untracked": 1,
                "underWay": null,
            },
        }])
    );
    let down = t
        .xp(["status", "--format", "json"])
        .env("DOCKER_HOST", "unix:///nowhere/docker.sock")
        .failure(3);
    let problems = self::json(&down)["problems"].clone();
    let problem = problems[0].as_str().expect("a text");
    assert!(problem.contains("/nowhere/docker.sock"), "{problem}");
}
