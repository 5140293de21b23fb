//! Push access is checked before anything is built.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::case::Case;
use crate::cases::small;
use crate::context::Context;
use crate::world::{Gateway, Incoming, RegistryKind, Reply, Request};

pub const CASES: &[Case] = cases![
    a_refused_push_is_reported_before_the_build,
    each_repository_is_checked_once,
    repositories_without_builds_are_not_checked,
    a_failed_cancellation_is_ignored,
    an_unexpected_response_is_a_warning,
    a_failed_push_is_retried_by_the_next_run_without_building,
];

/// Returns whether a request starts an upload and is not the engine's.
fn opens_upload(incoming: &Incoming) -> bool {
    incoming.method == "POST"
        && incoming.path.ends_with("/blobs/uploads/")
        && !incoming.is_of_engine()
}

/// A service whose scripts create a file outside the build, so that a build can be detected.
fn platform(t: &Context, registry: &str, name: &str) -> String {
    let repository = small::repository(t, name);
    let base = t.engine().busybox();
    let trace = t.dir().join("trace");
    std::fs::create_dir_all(&trace).expect("a folder");
    let more = format!(
        "    dockerBuilder: {{image: '{base}', mounts: ['{}:/trace']}}\n    scripts: {{build: [touch /trace/built]}}\n",
        trace.display()
    );
    let service = small::service(t, name, &repository.url_file(), "", &more);
    small::manifest(t, registry, &service);
    repository.head()
}

fn a_refused_push_is_reported_before_the_build(t: &Context) {
    for (status, code, message, says, hint) in [
        (
            403,
            "DENIED",
            "requested access to the resource is denied",
            "does not allow anonymous users to push to ",
            "request access to the repository",
        ),
        (
            401,
            "UNAUTHORIZED",
            "authentication required",
            "rejects anonymous users",
            "docker login",
        ),
        (
            405,
            "UNSUPPORTED",
            "The operation is unsupported.",
            "405 Method Not Allowed",
            "read-only",
        ),
        (
            404,
            "NAME_UNKNOWN",
            "repository name not known to registry",
            "404 Not Found",
            "must be created before the first push",
        ),
    ] {
        let refuses = Arc::new(AtomicBool::new(true));
        let still = refuses.clone();
        let gateway = Gateway::before(t.registry().host(), move |incoming| {
            let is_write = !matches!(incoming.method.as_str(), "GET" | "HEAD");
            match is_write && still.load(Ordering::Relaxed) {
                true => Reply::error(status, code, message),
                false => Reply::Forward,
            }
        });
        let name = format!("zbackend-{status}");
        platform(t, gateway.host(), &name);
        let build = t.xp(["build"]).failure(3);
        let build = build
            .stderr_contains("error: the images cannot be pushed; nothing was built")
            .stderr_contains(says)
            .stderr_contains(message)
            .stderr_contains(&format!("{}/{}", gateway.host(), t.image(&name)))
            .stderr_contains(hint)
            .stderr_contains("hint: `xp build --no-push` builds without pushing");
        assert!(!t.exists("trace/built"), "{build}");
        assert!(!t.exists("src"), "nothing is cloned: {build}");
        // Commands that push nothing are not affected.
        t.xp(["plan"]).success();
        t.xp(["build", "--no-push"]).success();
        assert!(t.exists("trace/built"));
        refuses.store(false, Ordering::Relaxed);
        t.xp(["build"]).success().stdout_contains("pushed");
        std::fs::remove_dir_all(t.dir().join("src")).expect("the working copies");
        std::fs::remove_file(t.dir().join("trace/built")).expect("the trace");
    }
}

/// Returns the requests that start or cancel an upload, without the engine's.
fn upload_requests(requests: &[Request]) -> (usize, usize) {
    let count = |method: &str, at: &str| {
        let is_it = |it: &&Request| it.method == method && it.path.contains(at);
        requests.iter().filter(is_it).count()
    };
    (
        count("POST", "/blobs/uploads/"),
        count("DELETE", "/blobs/uploads/"),
    )
}

fn each_repository_is_checked_once(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    // The engine's requests are handled too, but not counted.
    let counted = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = counted.clone();
    let gateway = Gateway::before(registry.host(), move |incoming| {
        if !incoming.is_of_engine() {
            seen.lock().expect("not poisoned").push(Request {
                method: incoming.method.clone(),
                path: incoming.path.clone(),
                status: 0,
            });
        }
        Reply::Forward
    });
    let one = small::repository(t, "zbackend");
    let two = small::repository(t, "zfrontend");
    small::platform(
        t,
        gateway.host(),
        &[("zbackend", &one), ("zfrontend", &two)],
    );
    t.xp(["build"]).success();
    let requests = std::mem::take(&mut *counted.lock().expect("not poisoned"));
    assert_eq!(upload_requests(&requests), (2, 2), "{requests:?}");
    // No upload is left.
    for name in ["zbackend", "zfrontend"] {
        assert_eq!(registry.open_uploads(&t.image(name)), 0);
    }

    // Nothing is left to push, so access is not checked.
    t.xp(["build"]).success();
    let requests = std::mem::take(&mut *counted.lock().expect("not poisoned"));
    assert_eq!(upload_requests(&requests), (0, 0), "{requests:?}");
}

fn repositories_without_builds_are_not_checked(t: &Context) {
    let gateway = Gateway::before(t.registry().host(), |incoming| {
        match opens_upload(incoming) {
            true => Reply::error(403, "DENIED", "not yours"),
            false => Reply::Forward,
        }
    });
    let repository = small::repository(t, "zbackend");
    small::platform(t, gateway.host(), &[("zbackend", &repository)]);
    t.xp(["build"]).failure(3);
    // Images in the engine are pushed immediately, and new tags need no push.
    t.xp(["build", "--no-push"]).success();
    t.xp(["build"]).success().stdout_contains("pushed");
    t.xp(["build", "--tag", "v1"])
        .success()
        .stdout_contains("tagged");
    t.xp(["build"]).success().stdout_contains("skipped");
}

fn a_failed_cancellation_is_ignored(t: &Context) {
    let gateway = Gateway::before(t.registry().host(), |incoming| {
        match incoming.method.as_str() {
            "DELETE" => Reply::error(405, "UNSUPPORTED", "The operation is unsupported."),
            _ => Reply::Forward,
        }
    });
    let repository = small::repository(t, "zbackend");
    small::platform(t, gateway.host(), &[("zbackend", &repository)]);
    let build = t.xp(["build"]).success();
    build.stdout_contains("built").does_not_contain("warning");
    assert_eq!(t.registry().tags(&t.image("zbackend")).len(), 2);
}

fn an_unexpected_response_is_a_warning(t: &Context) {
    let gateway = Gateway::before(t.registry().host(), |incoming| {
        match opens_upload(incoming) {
            true => Reply::json(200, "{}"),
            false => Reply::Forward,
        }
    });
    let repository = small::repository(t, "zbackend");
    small::platform(t, gateway.host(), &[("zbackend", &repository)]);
    let build = t.xp(["build"]).success();
    build
        .stderr_contains("warning: cannot tell whether images can be pushed to ")
        .stdout_contains("built");
    assert_eq!(t.registry().tags(&t.image("zbackend")).len(), 2);
}

fn a_failed_push_is_retried_by_the_next_run_without_building(t: &Context) {
    // Access is granted for the check, and denied for the manifest.
    let refuses = Arc::new(AtomicBool::new(true));
    let still = refuses.clone();
    let gateway = Gateway::before(t.registry().host(), move |incoming| {
        let is_push = incoming.method == "PUT" && incoming.is_about_manifest();
        match is_push && still.load(Ordering::Relaxed) {
            true => Reply::error(403, "DENIED", "not any more"),
            false => Reply::Forward,
        }
    });
    let commit = platform(t, gateway.host(), "zbackend");
    let build = t.xp(["build"]).failure(1);
    build.stderr_contains("error: zbackend: push: ");
    assert!(t.exists("trace/built"));
    for part in ["trace/built", ".xp"] {
        let path = t.dir().join(part);
        _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir_all(&path));
    }
    refuses.store(false, Ordering::Relaxed);
    let mark = t.registry().mark();
    t.xp(["build"]).success().stdout_contains("pushed");
    assert!(!t.exists("trace/built"), "nothing is built again");
    let tags = t.registry().tags(&t.image("zbackend"));
    assert!(tags.contains(&commit), "{tags:?}");
    // The layers had arrived, and are not sent again.
    let requests = t.own_requests(t.registry().requests_since(mark));
    let layers = requests.iter().filter(|it| it.method == "PATCH").count();
    assert_eq!(layers, 0, "{requests:?}");
}
