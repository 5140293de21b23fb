//! Faulty registries of base images.

use super::faults_engine::{
    TemporaryFailure, fail, forget_in_engine, gateway, has_happened, is_reported, long, passing,
    refusal, selected,
};
use crate::case::Case;
use crate::cases::small;
use crate::context::Context;
use crate::repository::GitRepository;
use crate::world::{Fault, Gateway, Reply};

pub const CASES: &[Case] = cases![
    a_base_image_pull_is_retried,
    a_missing_base_image_is_an_error,
    an_unreachable_base_registry_is_an_error,
];

const BASES: &[TemporaryFailure] = &[
    passing(
        "a failing server",
        "HEAD GET",
        "/manifests/",
        || Reply::status(503),
        "503 Scripted; trying again",
    ),
    passing(
        "a limited rate",
        "HEAD GET",
        "/manifests/",
        || refusal(429, "TOOMANYREQUESTS"),
        // BuildKit retries several times by itself.
        "",
    ),
    long(passing(
        "a reset",
        "HEAD GET",
        "/manifests/",
        || Reply::Broken(Fault::Reset),
        "trying again",
    )),
];

/// Creates a service with a base image that only the registry has.
fn on_a_base(t: &Context, gateway: &Gateway) -> GitRepository {
    let base = small::repository(t, "base");
    small::platform(t, gateway.host(), &[("base", &base)]);
    t.xp(["build"]).success();
    forget_in_engine(t, gateway);
    let app = t.git_repo("app");
    let image = format!("{}/{}:{}", gateway.host(), t.image("base"), base.head());
    let dockerfile = format!("FROM {image}\nCOPY Dockerfile /\n");
    app.commit(&[("Dockerfile", &dockerfile)], "Start");
    small::platform(t, gateway.host(), &[("app", &app)]);
    app
}

fn a_base_image_pull_is_retried(t: &Context) {
    let (gateway, failing) = gateway(t);
    let app = on_a_base(t, &gateway);
    for (number, how) in selected(BASES).enumerate() {
        // The classic builder retries once by itself.
        for (buildkit, times) in [("1", 1), ("0", 2)] {
            let content = format!("{number} {buildkit} {}", t.prefix());
            app.commit(&[("content", &content)], "Grow");
            forget_in_engine(t, &gateway);
            fail(&failing, how, times);
            let build = t.xp(["build"]).env("DOCKER_BUILDKIT", buildkit).run();
            let name = format!("{} {buildkit}", how.name);
            assert!(build.status.success(), "{name}: {build}");
            assert!(has_happened(&failing), "{name}: {build}");
            assert!(build.stdout.contains("built"), "{name}: {build}");
            assert!(is_reported(t, how, &build), "{name}: {build}");
        }
    }
}

fn a_missing_base_image_is_an_error(t: &Context) {
    let (gateway, failing) = gateway(t);
    on_a_base(t, &gateway);
    fail(&failing, &BASES[0], usize::MAX);
    for buildkit in ["1", "0"] {
        let build = t.xp(["build"]).env("DOCKER_BUILDKIT", buildkit);
        build
            .env("XP_RETRIES", "1")
            .failure(3)
            .stderr_contains("trying again")
            .stderr_contains("(2 of 2)")
            .stderr_contains(": 503 ");
    }
}

fn an_unreachable_base_registry_is_an_error(t: &Context) {
    let repository = t.git_repo("app");
    let closed = format!("127.0.0.1:{}", t.closed_port());
    for (number, host) in [closed.as_str(), "no-such-host.invalid"]
        .into_iter()
        .enumerate()
    {
        let dockerfile = format!("FROM {host}/base:{number}\n");
        repository.commit(&[("Dockerfile", &dockerfile)], "Change the base");
        small::platform(t, "", &[("app", &repository)]);
        for buildkit in ["1", "0"] {
            let build = t.xp(["build"]).env("DOCKER_BUILDKIT", buildkit);
            build
                .env("XP_RETRIES", "0")
                .failure(3)
                .stderr_contains("error: app: image: ")
                .stderr_contains(host)
                .stderr_contains("\n  Dockerfile:1\n");
        }
    }
    // Failures of a Dockerfile's own instructions are the service's.
    let dockerfile = format!(
        "FROM {}\nRUN echo 'Get \"https://{closed}/v2/\": connection refused' && exit 1\n",
        t.engine().busybox()
    );
    repository.commit(&[("Dockerfile", &dockerfile)], "Fail");
    t.xp(["build"]).env("XP_RETRIES", "0").failure(1);
}
