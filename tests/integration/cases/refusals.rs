//! Registries that fail to report whether an image exists, which must not be treated as "missing".

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::case::Case;
use crate::cases::small;
use crate::context::Context;
use crate::output::Output;
use crate::repository::GitRepository;
use crate::world::{Gateway, Incoming, RegistryKind, Reply, USER};

pub const CASES: &[Case] = cases![
    a_missing_login_is_reported,
    a_wrong_login_is_reported_with_its_user,
    missing_permission_is_reported,
    a_rate_limit_is_waited_out,
    a_permanent_rate_limit_is_an_error,
    a_long_retry_after_is_an_error,
    a_temporary_server_error_is_reported,
    a_permanent_server_error_is_an_error,
    an_unresponsive_registry_is_named,
    a_404_from_a_proxy_does_not_count,
    a_404_without_the_usual_header_counts,
    the_digest_header_is_optional,
    images_of_one_registry_share_one_reason,
    one_of_two_registries_can_fail,
];

/// One service with images in the registry of that name.
fn service(t: &Context, registry: &str) -> GitRepository {
    let repository = small::repository(t, "zbackend");
    small::platform(t, registry, &[("zbackend", &repository)]);
    repository
}

/// Runs `plan` and `build`, which must both fail and change nothing.
#[track_caller]
fn refused(t: &Context) -> Output {
    let plan = t.xp(["plan"]).failure(3);
    let output = t.xp(["build"]).failure(3);
    // The number of retries is random.
    let error = |output: &Output| {
        let (_, error) = output.stderr.split_once("error: ").expect("an error");
        error.to_owned()
    };
    assert_eq!(error(&plan), error(&output));
    assert_eq!(output.stdout, "");
    assert!(!t.exists("src"), "nothing is cloned");
    assert_eq!(t.engine().images_with_prefix(t.prefix()), [""; 0]);
    let output = output.stderr_contains("cannot tell whether");
    output.stderr_contains(&t.image("zbackend"))
}

/// A gateway in front of the shared registry that returns these responses to the first requests for manifests, and then
/// forwards requests.
fn first_responses(
    t: &Context,
    count: usize,
    answer: impl Fn() -> Reply + Send + Sync + 'static,
) -> Gateway {
    let given = Arc::new(AtomicUsize::new(0));
    Gateway::before(t.registry().host(), move |incoming: &Incoming| {
        let is_next = incoming.is_about_manifest() && given.fetch_add(1, Ordering::Relaxed) < count;
        if is_next { answer() } else { Reply::Forward }
    })
}

fn all_responses(t: &Context, answer: impl Fn() -> Reply + Send + Sync + 'static) -> Gateway {
    first_responses(t, usize::MAX, answer)
}

fn a_missing_login_is_reported(t: &Context) {
    let registry = t.registry_of(RegistryKind::Auth);
    service(t, registry.host());
    let hint = format!("docker login {}", registry.host());
    refused(t)
        .stderr_contains(registry.host())
        .stderr_contains("anonymous users")
        .stderr_contains(&hint);
    assert_eq!(registry.tags(&t.image("zbackend")), [""; 0]);
}

fn a_wrong_login_is_reported_with_its_user(t: &Context) {
    let registry = t.registry_of(RegistryKind::Auth);
    service(t, registry.host());
    t.log_in_as(registry, USER, "canary-password");
    let hint = format!("docker login {}", registry.host());
    refused(t)
        .stderr_contains("rejects the user `xp`")
        .stderr_contains(&hint)
        .does_not_contain("canary-password");
    assert_eq!(registry.tags(&t.image("zbackend")), [""; 0]);
}

fn missing_permission_is_reported(t: &Context) {
    let gateway = all_responses(t, || {
        Reply::error(403, "DENIED", "requested access to the resource is denied")
    });
    service(t, gateway.host());
    refused(t)
        .stderr_contains("does not allow anonymous users to read")
        .stderr_contains("request access");
    // Retrying would be useless.
    assert_eq!(gateway.manifest_requests("HEAD"), 4, "two tags, two runs");
}

fn a_rate_limit_is_waited_out(t: &Context) {
    let repository = small::repository(t, "zbackend");
    for headers in [vec![], vec![("Retry-After", "1".to_owned())]] {
        let gateway = first_responses(t, 2, move || {
            Reply::Response(429, headers.clone(), String::new())
        });
        small::platform(t, gateway.host(), &[("zbackend", &repository)]);
        let plan = t.xp(["plan"]).success();
        plan.stdout_contains("build");
        assert_eq!(
            gateway.manifest_requests("HEAD"),
            5,
            "the commit's tag, the branch's and the identity tag; two were answered with 429"
        );
    }
}

fn a_permanent_rate_limit_is_an_error(t: &Context) {
    let gateway = all_responses(t, || Reply::error(429, "TOOMANYREQUESTS", "slow down"));
    service(t, gateway.host());
    refused(t)
        .stderr_contains("429 Too Many Requests")
        .stderr_contains("try again later");
}

fn a_long_retry_after_is_an_error(t: &Context) {
    let gateway = all_responses(t, || {
        Reply::Response(429, vec![("Retry-After", "3600".to_owned())], String::new())
    });
    service(t, gateway.host());
    refused(t).stderr_contains("429").stderr_contains("3600");
    assert_eq!(
        gateway.manifest_requests("HEAD"),
        4,
        "each tag is asked for once a run"
    );
}

fn a_temporary_server_error_is_reported(t: &Context) {
    let repository = small::repository(t, "zbackend");
    for status in [500, 502, 503] {
        let gateway = first_responses(t, 1, move || Reply::status(status));
        small::platform(t, gateway.host(), &[("zbackend", &repository)]);
        let plan = t.xp(["plan"]).success();
        plan.stdout_contains("build")
            .stderr_contains(&format!("{}: HEAD: {status} ", gateway.host()))
            .stderr_contains("trying again");
    }
}

fn a_permanent_server_error_is_an_error(t: &Context) {
    let gateway = all_responses(t, || {
        Reply::error(503, "UNAVAILABLE", "the database is away")
    });
    service(t, gateway.host());
    refused(t)
        .stderr_contains("503")
        .stderr_contains("the registry or a proxy in front of it is failing");
}

fn an_unresponsive_registry_is_named(t: &Context) {
    let host = format!("127.0.0.1:{}", t.closed_port());
    service(t, &host);
    refused(t)
        .stderr_contains(&format!("the registry {host} did not respond to"))
        .stderr_contains("refused");
}

fn a_404_from_a_proxy_does_not_count(t: &Context) {
    let gateway = all_responses(t, || {
        let html = vec![("Content-Type", "text/html".to_owned())];
        Reply::Response(
            404,
            html,
            "<html><h1>404 Not Found</h1></html>\n".to_owned(),
        )
    });
    service(t, gateway.host());
    refused(t).stderr_contains("perhaps from a proxy");
}

fn a_404_without_the_usual_header_counts(t: &Context) {
    let gateway = Gateway::before(t.registry().host(), |incoming| {
        let asks = matches!(incoming.method.as_str(), "HEAD" | "GET");
        match incoming.is_about_manifest() && asks {
            // Like Harbor.
            true => Reply::error(404, "NOT_FOUND", "artifact not found"),
            false => Reply::Forward,
        }
    });
    service(t, gateway.host());
    t.xp(["plan"]).success().stdout_contains("build");
}

fn the_digest_header_is_optional(t: &Context) {
    // The header with the digest is optional; the image exists anyway.
    let repository = service(t, t.registry().host());
    let commit = repository.head();
    t.xp(["build"]).success();
    let upstream = t.registry().host().to_owned();
    let manifest = t.registry().image_manifest(&t.image("zbackend"), &commit);
    let gateway = Gateway::before(&upstream, move |incoming| {
        let media_type = "application/vnd.docker.distribution.manifest.v2+json";
        match incoming.is_about_manifest() {
            true => Reply::Response(
                200,
                vec![("Content-Type", media_type.to_owned())],
                manifest.to_string(),
            ),
            false => Reply::Forward,
        }
    });
    small::platform(t, gateway.host(), &[("zbackend", &repository)]);
    let plan = t.xp(["plan", "--no-pull"]).success();
    plan.stdout_contains("Nothing to do");
}

fn one_of_two_registries_can_fail(t: &Context) {
    let closed = format!("127.0.0.1:{}", t.closed_port());
    let repository = small::repository(t, "zbackend");
    let url = repository.url_file();
    let elsewhere = small::service(t, "zfrontend", &url, "", "")
        .replace("image: ", &format!("image: {closed}/"));
    let services = small::service(t, "zbackend", &url, "", "") + &elsewhere;
    small::manifest(t, t.registry().host(), &services);
    let output = t.xp(["build"]).failure(3);
    let output = output.stderr_contains(&closed);
    assert!(!output.stderr.contains(t.registry().host()), "{output}");
    // The other one can be built alone.
    t.xp(["build", "zbackend"]).success();
}

fn images_of_one_registry_share_one_reason(t: &Context) {
    let gateway = Gateway::alone(|_| Reply::status(503));
    let repository = small::repository(t, "zbackend");
    let services = ["a", "b", "c", "d"]
        .map(|name| small::service(t, name, &repository.url_file(), "", ""))
        .concat();
    small::manifest(t, gateway.host(), &services);
    let output = t.xp(["plan"]).failure(3);
    let output = output
        .stderr_contains("8 images")
        .stderr_contains("and 5 more");
    let (_, error) = output.stderr.split_once("error: ").expect("an error");
    assert_eq!(error.matches("503").count(), 1, "{output}");
    // A few attempts in total, not a few per image.
    assert_eq!(gateway.requests().len(), 5, "{:?}", gateway.requests());
}
