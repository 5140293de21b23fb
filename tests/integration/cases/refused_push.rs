//! The error for a refused push, regardless of how much of the registry's response the engine passes on.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::case::Case;
use crate::cases::small;
use crate::context::Context;
use crate::process;
use crate::world::{Gateway, Registry, RegistryKind, Reply};

pub const CASES: &[Case] = cases![
    a_refused_push_names_its_cause,
    a_refused_tag_is_named,
    an_unexplained_refusal_is_queried_from_the_registry,
    a_partial_image_is_not_pushed,
    a_pull_by_digest_adds_no_name,
];

/// A registry that refuses to replace a commit's image, both to the engine and to xp, which then queries the reason.
fn refusing(t: &Context, commit: &str, reply: (u16, &'static str, &'static str)) -> Gateway {
    let (status, code, message) = reply;
    let tag = format!("/manifests/{commit}");
    let (pushed, refused) = (AtomicBool::new(false), AtomicBool::new(false));
    Gateway::before(t.registry().host(), move |incoming| {
        let is_push = incoming.method == "PUT" && incoming.path.ends_with(&tag);
        let is_question = incoming.method == "POST" && !incoming.is_of_engine();
        // For these reasons, a registry refuses every tag.
        let is_other_tag = incoming.method == "PUT" && incoming.path.contains(&tag);
        let refuses = if is_push && pushed.swap(true, Ordering::Relaxed) {
            refused.store(true, Ordering::Relaxed);
            true
        } else {
            (is_question || is_other_tag) && refused.load(Ordering::Relaxed)
        };
        match refuses {
            true => Reply::error(status, code, message),
            false => Reply::Forward,
        }
    })
}

/// Builds a service, and again with another recipe, which fails; returns the error.
fn build_twice(t: &Context, name: &str, reply: (u16, &'static str, &'static str)) -> String {
    let repository = small::repository(t, name);
    let gateway = refusing(t, &repository.head(), reply);
    small::platform(t, gateway.host(), &[(name, &repository)]);
    t.xp(["build"]).success();
    let changed = small::service(t, name, &repository.url_file(), ", args: {A: b}", "");
    small::manifest(t, gateway.host(), &changed);
    let build = t.xp(["build"]).env("XP_RETRIES", "1").failure(1);
    let build = build.stderr_contains(&format!("error: {name}: push: "));
    build.stderr.replace(gateway.host(), "HOST")
}

fn a_refused_push_names_its_cause(t: &Context) {
    for (number, (status, code, message, hint)) in [
        (
            401,
            "UNAUTHORIZED",
            "authentication required",
            "hint: log in with `docker login HOST`",
        ),
        (
            403,
            "DENIED",
            "access to the resource is denied",
            "hint: request access to the repository",
        ),
        (
            403,
            "DENIED",
            "quota exceeded",
            "limits image size or storage",
        ),
        (
            413,
            "SIZE_INVALID",
            "too much",
            "limits image size or storage",
        ),
        (507, "UNKNOWN", "too much", "limits image size or storage"),
        (
            429,
            "TOOMANYREQUESTS",
            "slow down",
            "hint: the registry limits the request rate",
        ),
        (
            503,
            "UNAVAILABLE",
            "down",
            "hint: the registry or a proxy in front of it is failing",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("zbackend-{number}");
        let output = build_twice(t, &name, (status, code, message));
        assert!(output.contains(hint), "{status} {code}: {output}");
        let is_about_tag =
            output.contains("allow overwriting") || output.contains("--trust-commit");
        assert!(!is_about_tag, "{status} {code}: {output}");
    }
}

fn a_refused_tag_is_named(t: &Context) {
    let repository = small::repository(t, "zbackend");
    let gateway = Gateway::before(t.registry().host(), |incoming| {
        let is_protected = incoming.method == "PUT" && incoming.path.ends_with("/manifests/v1.0");
        match is_protected {
            true => Reply::error(403, "DENIED", "v1.0 is a protected tag"),
            false => Reply::Forward,
        }
    });
    small::platform(t, gateway.host(), &[("zbackend", &repository)]);
    t.xp(["build", "--tag", "v1.0"])
        .failure(1)
        .stderr_contains("does not allow anonymous users to set the tag v1.0 of ")
        .stderr_contains("hint: if tags are immutable or protected in the registry, exempt those")
        .does_not_contain("request access");
}

fn an_unexplained_refusal_is_queried_from_the_registry(t: &Context) {
    let reply = (403, "DENIED", "the quota of this project is used up");
    let output = build_twice(t, "zbackend", reply);
    assert!(
        output.contains("the quota of this project is used up"),
        "{output}"
    );
    assert!(output.contains("limits image size"), "{output}");
}

/// Pushes an image manifest directly, and returns its digest.
fn put_manifest(registry: &Registry, image: &str, tag: &str, manifest: &Value) -> String {
    let media_type = manifest["mediaType"].as_str().expect("a media type");
    let url = format!("http://{}/v2/{image}/manifests/{tag}", registry.host());
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--fail-with-body",
        "--noproxy",
        "*",
        "--request",
        "PUT",
    ]);
    curl.args(["--header", &format!("Content-Type: {media_type}")]);
    process::succeed(curl.args(["--data-binary", &manifest.to_string(), &url]));
    let digest = registry.manifest_digest(image, tag);
    digest.expect("the manifest that was put")
}

fn a_partial_image_is_not_pushed(t: &Context) {
    let (registry, other) = (
        t.own_registry(RegistryKind::Open),
        t.own_registry(RegistryKind::Open),
    );
    let gateway = Gateway::before(registry.host(), |_| Reply::Forward);
    let repository = small::repository(t, "zbackend");
    let (commit, image) = (repository.head(), t.image("zbackend"));
    small::platform(t, gateway.host(), &[("zbackend", &repository)]);
    t.xp(["build"]).success();

    // Another tool adds a platform.
    let single = registry.image_manifest(&image, &commit);
    let mut added = single.clone();
    added["annotations"] = json!({"for": "another platform"});
    let described = |manifest: &Value, tag: &str, architecture: &str| {
        json!({
            "mediaType": manifest["mediaType"],
            "digest": put_manifest(&registry, &image, tag, manifest),
            "size": manifest.to_string().len(),
            "platform": {"os": "linux", "architecture": architecture},
        })
    };
    let (own, foreign) = match cfg!(target_arch = "aarch64") {
        true => ("arm64", "amd64"),
        false => ("amd64", "arm64"),
    };
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [described(&single, "own", own), described(&added, "foreign", foreign)],
    });
    let whole = put_manifest(&registry, &image, &commit, &index);
    for name in t.engine().images_with_prefix(gateway.host()) {
        t.engine().remove_image(&name);
    }
    t.xp(["build"]).success().stdout_contains("pulled");

    // The registry is replaced by an empty one: the engine has only a part of the image.
    gateway.move_before(other.host());
    let build = t.xp(["build"]).run();
    let pushed = other.manifest_digest(&image, &commit);
    if t.engine().product().has_containerd_store() {
        assert!(
            !build.status.success() && build.stderr.contains("zbackend: push: "),
            "{build}"
        );
        assert!(
            pushed.is_none() || pushed == Some(whole),
            "{pushed:?} {build}"
        );
    } else {
        // Such an engine keeps only one platform.
        assert!(build.status.success() && pushed.is_some(), "{build}");
    }
}

fn a_pull_by_digest_adds_no_name(t: &Context) {
    let repository = small::repository(t, "zbackend");
    let registry = t.registry();
    let image = t.image("zbackend");
    small::platform(t, registry.host(), &[("zbackend", &repository)]);
    t.xp(["build"]).success();
    let prefix = format!("{}/{image}", registry.host());
    let remove_tags = || {
        for name in t.engine().images_with_prefix(&prefix) {
            if !name.ends_with("<none>") {
                t.engine().remove_image(&name);
            }
        }
    };
    remove_tags();
    t.xp(["build"]).success().stdout_contains("pulled");
    let digest = registry.manifest_digest(&image, &repository.head());
    let by_digest = format!("{prefix}@{}", digest.expect("an image"));
    assert!(t.engine().image(&by_digest).is_some());
    remove_tags();
    assert!(
        t.engine().image(&by_digest).is_none(),
        "nothing keeps the image"
    );
}
