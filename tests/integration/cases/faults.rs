//! Faulty servers: everything that can go wrong with a connection, in each of xp's exchanges with a server.
//!
//! A temporary failure costs a retry, which is reported, and the result is correct. A permanent one results
//! in a single error that names the host and the request.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::case::Case;
use crate::cases::small;
use crate::context::Context;
use crate::output::Output;
use crate::repository::GitRepository;
use crate::world::{Fault, Gateway, Incoming, Reply};
use crate::xp::Xp;

pub const CASES: &[Case] = cases![
    references_are_listed,
    a_pack_is_fetched,
    registries_are_pinged,
    images_are_looked_up,
    image_manifests_are_read,
    image_manifests_are_written,
    tokens_are_fetched,
    a_late_server_is_retried,
    an_unreachable_server_is_named,
    an_expired_token_is_renewed_during_a_run,
    a_retry_after_date_is_respected,
    retries_are_events,
    retries_and_timeouts_can_be_configured,
];

/// The timeout for a silent server in these tests.
const STALL: &str = "2s";

/// A kind of failure.
struct Failure {
    name: &'static str,
    reply: fn(&Incoming) -> Reply,
    /// The expected report; one of these.
    says: &'static [&'static str],
    /// Whether it is retried.
    retried: bool,
    /// Whether it is an error if it is permanent.
    fatal: bool,
}

const FAILURES: &[Failure] = &[
    failure(
        "reset",
        |_| Reply::Broken(Fault::Reset),
        &["reset", "closed", "broke off"],
    ),
    failure(
        "truncated",
        |_| Reply::Broken(Fault::Truncated),
        &["end of file", "closed", "broke off", "EOF", "reset"],
    ),
    failure("silent", |_| Reply::Broken(Fault::Silent), SILENCE),
    failure("stalled", |_| Reply::Broken(Fault::Stalled), SILENCE),
    failure("408", |_| Reply::status(408), &["408"]),
    failure("429", |_| Reply::status(429), &["429"]),
    failure(
        "429 for a second",
        |_| Reply::Response(429, vec![("Retry-After", "1".to_owned())], String::new()),
        &["429"],
    ),
    failure("500", |_| Reply::status(500), &["500"]),
    failure("502", |_| Reply::status(502), &["502"]),
    failure("503", |_| Reply::status(503), &["503"]),
    failure("504", |_| Reply::status(504), &["504"]),
    Failure {
        retried: false,
        ..failure(
            "a circle",
            |incoming| {
                let location = vec![("Location", incoming.path.clone())];
                Reply::Response(307, location, String::new())
            },
            &["redirect", "307"],
        )
    },
    Failure {
        retried: false,
        fatal: false,
        ..failure("slow", |_| Reply::Broken(Fault::Slow), &[])
    },
];

/// The error for a server that stops responding.
const SILENCE: &[&str] = &["no data received for 2s", "did not respond within 2s"];

/// Only if the digest of the data is known.
const CHANGED: Failure = failure(
    "changed",
    |_| Reply::Broken(Fault::Changed),
    &[
        "does not match the requested digest",
        "does not match the digest",
    ],
);

const fn failure(
    name: &'static str,
    reply: fn(&Incoming) -> Reply,
    says: &'static [&'static str],
) -> Failure {
    Failure {
        name,
        reply,
        says,
        retried: true,
        fatal: true,
    }
}

/// Decides the response to a request, given the number of previous requests.
type Failing = (fn(&Incoming) -> Reply, usize);

/// A request of xp, through a gateway that can be made to fail.
struct Exchange {
    gateway: Gateway,
    /// The current failure, and the number of times it has occurred.
    failing: Arc<Mutex<Option<Failing>>>,
    /// The request as shown in a retry.
    request: String,
    /// The exit code if the failure is permanent.
    exit: i32,
}

impl Exchange {
    /// Puts a gateway in front of a server, which fails for requests of that kind.
    fn before(
        upstream: &str,
        request: &str,
        concerns: impl Fn(&Incoming) -> bool + Send + Sync + 'static,
    ) -> Self {
        let failing = Arc::new(Mutex::new(None::<Failing>));
        let told = failing.clone();
        let gateway = Gateway::before(upstream, move |incoming| {
            if !concerns(incoming) {
                return Reply::Forward;
            }
            match &mut *told.lock().expect("not poisoned") {
                Some((reply, left)) if *left > 0 => {
                    *left -= 1;
                    reply(incoming)
                }
                _ => Reply::Forward,
            }
        });
        Self {
            gateway,
            failing,
            request: request.to_owned(),
            exit: 3,
        }
    }

    fn fail(&self, failure: &Failure, times: usize) {
        *self.failing.lock().expect("not poisoned") = Some((failure.reply, times));
    }

    /// Runs each failure temporarily and permanently; `run` is a new run, `check` verifies its result.
    fn run_failures<'f>(
        &self,
        failures: impl IntoIterator<Item = &'f Failure>,
        run: impl Fn() -> Xp,
        check: impl Fn(&Output),
    ) {
        for failure in failures {
            self.pass(failure, 1, &run, &check);
            self.last(failure, &run, &check);
        }
        self.fail(&CHANGED, 0);
    }

    fn pass(&self, failure: &Failure, times: usize, run: impl Fn() -> Xp, check: impl Fn(&Output)) {
        self.fail(failure, times);
        let output = run().env("XP_STALL_TIMEOUT", STALL).run();
        let name = failure.name;
        assert!(output.status.success(), "{name} passes: {output}");
        check(&output);
        if failure.retried {
            let told = output.stderr.lines().find(|line| {
                let is_about = line.contains(self.gateway.host()) && line.contains(&self.request);
                is_about && line.contains("trying again") && self.says(failure, line)
            });
            assert!(told.is_some(), "{name} is not told: {output}");
        } else {
            assert!(!output.stderr.contains("trying again"), "{name}: {output}");
        }
    }

    fn last(&self, failure: &Failure, run: impl Fn() -> Xp, check: impl Fn(&Output)) {
        self.fail(failure, usize::MAX);
        let started = Instant::now();
        let run = run().env("XP_STALL_TIMEOUT", STALL).env("XP_RETRIES", "1");
        let output = run.run();
        let name = failure.name;
        if !failure.fatal {
            assert!(output.status.success(), "{name} is no failure: {output}");
            return check(&output);
        }
        assert_eq!(
            output.status.code(),
            Some(self.exit),
            "{name} lasts: {output}"
        );
        let errors = output.stderr.split("error: ").count() - 1;
        assert_eq!(errors, 1, "{name}: {output}");
        let (_, error) = output.stderr.split_once("error: ").expect("an error");
        assert!(
            error.contains(self.gateway.host()),
            "{name} has no host: {output}"
        );
        assert!(self.says(failure, error), "{name} is not named: {output}");
        // Two attempts of two seconds each, plus what a busy machine adds.
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "{name}: {output}"
        );
    }

    fn says(&self, failure: &Failure, text: &str) -> bool {
        failure.says.iter().any(|word| text.contains(word))
    }
}

/// Returns a repository, its path on the git server, and the server's address.
fn on_a_server(t: &Context) -> (GitRepository, String, String) {
    let repository = small::repository(t, "zbackend");
    let url = repository.url_http();
    let rest = url.strip_prefix("http://").expect("an http URL");
    let (host, path) = rest.split_once('/').expect("a path");
    let (host, path) = (host.to_owned(), path.to_owned());
    (repository, path, host)
}

fn git_platform(t: &Context, host: &str, path: &str) {
    let url = format!("http://{host}/{path}");
    small::manifest(t, "", &small::service(t, "zbackend", &url, "", ""));
}

fn references_are_listed(t: &Context) {
    let (_repository, path, server) = on_a_server(t);
    let exchange = Exchange::before(&server, "ls-refs of http://", |_| true);
    git_platform(t, exchange.gateway.host(), &path);
    let run = || t.xp(["plan"]);
    let check = |output: &Output| assert!(output.stdout.contains("build"), "{output}");
    // A server that returns 500 may be old, so the old protocol is tried as well.
    let in_two_ways = |it: &&Failure| it.name == "500";
    let (two, one): (Vec<_>, Vec<_>) = FAILURES.iter().partition(in_two_ways);
    exchange.run_failures(one, run, check);
    exchange.pass(two[0], 2, run, check);
    exchange.last(two[0], run, check);
}

fn a_pack_is_fetched(t: &Context) {
    let (repository, path, server) = on_a_server(t);
    // More than fits in one packet.
    repository.commit(&[("large", &"0123456789abcdef".repeat(4096))], "Grow");
    let exchange = Exchange::before(&server, "fetch of http://", |incoming| {
        let is_old = incoming.header("git-protocol").is_none();
        incoming.method == "POST" && is_old
    });
    git_platform(t, exchange.gateway.host(), &path);
    let run = || {
        _ = fs::remove_dir_all(t.dir().join("src"));
        _ = fs::remove_dir_all(t.dir().join(".xp"));
        t.xp(["sync"])
    };
    let check = |output: &Output| {
        assert!(t.exists("src/zbackend/large"), "{output}");
        assert_eq!(t.git("src/zbackend", &["status", "--porcelain"]), "");
        t.git("src/zbackend", &["fsck", "--strict"]);
    };
    // A redirected POST would be another request, so not even one redirect is followed.
    let is_circle = |it: &&Failure| it.name == "a circle";
    let (circle, others): (Vec<_>, Vec<_>) = FAILURES.iter().partition(is_circle);
    exchange.run_failures(others, run, check);
    exchange.last(circle[0], run, check);
}

/// A platform with an image in the registry behind the gateway and in the engine.
fn published(t: &Context, exchange: &Exchange) -> GitRepository {
    let repository = small::repository(t, "zbackend");
    small::platform(t, exchange.gateway.host(), &[("zbackend", &repository)]);
    t.xp(["build"]).success();
    repository
}

fn registries_are_pinged(t: &Context) {
    let exchange = Exchange::before(t.registry().host(), "GET /v2/", |it| it.path == "/v2/");
    let _repository = published(t, &exchange);
    exchange.run_failures(FAILURES, || plan_without_cache(t), nothing_to_do);
}

/// Plans without cached responses, so a registry is pinged first.
fn plan_without_cache(t: &Context) -> Xp {
    _ = fs::remove_file(t.dir().join(".xp/asked.json"));
    t.xp(["plan"])
}

fn nothing_to_do(output: &Output) {
    assert!(output.stdout.contains("Nothing to do"), "{output}");
}

fn images_are_looked_up(t: &Context) {
    let exchange = Exchange::before(t.registry().host(), "HEAD", |it| it.method == "HEAD");
    let _repository = published(t, &exchange);
    exchange.run_failures(FAILURES, || plan_without_cache(t), nothing_to_do);
    for failure in FAILURES {
        exchange.fail(failure, 1);
        let plan = t.xp(["plan"]).env("XP_STALL_TIMEOUT", STALL).success();
        nothing_to_do(&plan);
    }
}

fn image_manifests_are_read(t: &Context) {
    let exchange = Exchange::before(t.registry().host(), "GET", |incoming| {
        incoming.method == "GET" && incoming.is_about_manifest()
    });
    let _repository = published(t, &exchange);
    // Images in the engine need no request.
    let engine = t.engine();
    for name in engine.images_with_prefix(exchange.gateway.host()) {
        engine.remove_image(&name);
    }
    let run = || {
        // Results are cached there.
        _ = fs::remove_dir_all(t.dir().join(".xp"));
        t.xp(["plan", "--no-pull"])
    };
    exchange.run_failures(FAILURES.iter().chain([&CHANGED]), run, nothing_to_do);
}

fn image_manifests_are_written(t: &Context) {
    let mut exchange = Exchange::before(t.registry().host(), "PUT", |incoming| {
        incoming.method == "PUT" && incoming.is_about_manifest()
    });
    let repository = published(t, &exchange);
    // A tag belongs to the service, whoever refuses it.
    exchange.exit = 1;
    let image = t.image("zbackend");
    let of_commit = t.registry().manifest_digest(&image, &repository.head());
    let number = Mutex::new(0);
    let run = || {
        let mut number = number.lock().expect("not poisoned");
        *number += 1;
        t.xp(["build", "--tag", &format!("v{number}")])
    };
    exchange.run_failures(FAILURES, run, |output| {
        let tag = format!("v{}", number.lock().expect("not poisoned"));
        let digest = t.registry().manifest_digest(&image, &tag);
        assert!(digest.is_some() && digest == of_commit, "{tag}: {output}");
    });
}

fn tokens_are_fetched(t: &Context) {
    let giver = Gateway::alone(|_| Reply::json(200, r#"{"token":"canary-token"}"#));
    let exchange = Exchange::before(giver.host(), "request for a token", |_| true);
    let realm = format!("Bearer realm=\"http://{}/token\"", exchange.gateway.host());
    let registry = Gateway::before(t.registry().host(), move |incoming| {
        match incoming.header("authorization") {
            Some("Bearer canary-token") => Reply::Forward,
            _ => {
                let challenge = vec![("WWW-Authenticate", realm.clone())];
                Reply::Response(401, challenge, String::new())
            }
        }
    });
    let repository = small::repository(t, "zbackend");
    small::platform(t, registry.host(), &[("zbackend", &repository)]);
    t.xp(["build"]).success();
    exchange.run_failures(
        FAILURES,
        || t.xp(["plan"]),
        |output| {
            nothing_to_do(output);
            assert!(!output.stderr.contains("canary"), "{output}");
        },
    );
}

fn a_late_server_is_retried(t: &Context) {
    let (repository, path, server) = on_a_server(t);
    small::platform(t, t.registry().host(), &[("zbackend", &repository)]);
    t.xp(["build"]).success();
    let wait_for = |port: u16, upstream: &str| {
        let plan = t.xp(["plan", "--no-pull"]).env("XP_RETRIES", "20");
        let mut running = plan.spawn();
        running.wait_for_output("refused");
        running.wait_for_output("trying again");
        let _started = Gateway::at(port, upstream, |_| Reply::Forward);
        let output = running.wait();
        assert!(output.status.success(), "{output}");
        output
    };
    let port = t.closed_port();
    git_platform(t, &format!("127.0.0.1:{port}"), &path);
    wait_for(port, &server);
    let port = t.closed_port();
    small::platform(
        t,
        &format!("127.0.0.1:{port}"),
        &[("zbackend", &repository)],
    );
    nothing_to_do(&wait_for(port, t.registry().host()));
}

fn an_unreachable_server_is_named(t: &Context) {
    let closed = format!("127.0.0.1:{}", t.closed_port());
    git_platform(t, &closed, "x.git");
    let started = Instant::now();
    let plan = t.xp(["plan"]).failure(3);
    // Five attempts, with waits of at most six seconds.
    assert!(started.elapsed() < Duration::from_secs(20), "{plan}");
    let plan = plan.stderr_contains("trying again");
    plan.stderr_contains(&format!("cannot reach {closed} for http://{closed}/x.git"))
        .stderr_contains("Connection refused");
    let repository = small::repository(t, "zbackend");
    small::platform(t, &closed, &[("zbackend", &repository)]);
    let plan = t.xp(["plan"]).failure(3);
    plan.stderr_contains(&format!(
        "the registry {closed} did not respond to GET /v2/: "
    ))
    .stderr_contains("Connection refused");
}

fn an_expired_token_is_renewed_during_a_run(t: &Context) {
    // The token permits reading and starting an upload, and has expired when a tag is set.
    let given = Arc::new(Mutex::new((0, false)));
    let shared = given.clone();
    let gateway = Gateway::before(t.registry().host(), move |incoming| {
        let host = incoming.header("host").unwrap_or_default();
        let (number, expired) = &mut *shared.lock().expect("not poisoned");
        if incoming.path.starts_with("/token") {
            *number += 1;
            return Reply::json(200, &format!(r#"{{"token":"number-{number}"}}"#));
        }
        let realm = format!("Bearer realm=\"http://{host}/token\"");
        let challenge = vec![("WWW-Authenticate", realm)];
        if incoming.header("authorization").is_none() {
            return Reply::Response(401, challenge, String::new());
        }
        let is_tag = incoming.method == "PUT" && incoming.path.ends_with("/manifests/master");
        match is_tag && !incoming.is_of_engine() && !std::mem::replace(expired, true) {
            true => Reply::Response(401, challenge, String::new()),
            false => Reply::Forward,
        }
    });
    let repository = small::repository(t, "zbackend");
    small::platform(t, gateway.host(), &[("zbackend", &repository)]);
    t.xp(["build"]).success().does_not_contain("number-");
    assert!(given.lock().expect("not poisoned").1, "a token ran out");
    assert_eq!(t.registry().tags(&t.image("zbackend")).len(), 2);
}

fn a_retry_after_date_is_respected(t: &Context) {
    let exchange = Exchange::before(t.registry().host(), "HEAD", |it| it.method == "HEAD");
    let _repository = published(t, &exchange);
    // Relative to the server's clock, which is wrong by thirty years.
    *exchange.failing.lock().expect("not poisoned") = Some((
        |_| {
            let headers = vec![
                ("Date", "Sun, 06 Nov 1994 08:49:37 GMT".to_owned()),
                ("Retry-After", "Sun, 06 Nov 1994 08:49:39 GMT".to_owned()),
            ];
            Reply::Response(503, headers, String::new())
        },
        1,
    ));
    let plan = t.xp(["plan"]).success();
    assert!(plan.elapsed >= Duration::from_secs(2), "{plan}");
    nothing_to_do(&plan);
}

fn retries_are_events(t: &Context) {
    let exchange = Exchange::before(t.registry().host(), "HEAD", |it| it.method == "HEAD");
    let _repository = published(t, &exchange);
    exchange.fail(&FAILURES[9], 1);
    let build = t.xp(["build", "--format", "json"]).success();
    let lines = build.stdout.lines();
    let lines = lines.map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    let retrying = lines.filter(|line| line["event"] == "retrying");
    let retrying: Vec<_> = retrying.collect();
    assert_eq!(retrying.len(), 1, "{build}");
    assert_eq!(retrying[0]["host"], exchange.gateway.host());
    assert_eq!(retrying[0]["request"], "HEAD");
    assert_eq!(retrying[0]["attempt"], 2);
    assert_eq!(retrying[0]["attempts"], 5);
    let why = retrying[0]["why"].as_str().expect("a reason");
    assert!(why.contains("503"), "{why}");
}

fn retries_and_timeouts_can_be_configured(t: &Context) {
    let gateway = Gateway::alone(|_| Reply::status(503));
    let repository = small::repository(t, "zbackend");
    small::platform(t, gateway.host(), &[("zbackend", &repository)]);
    for (retries, requests) in [("0", 1), ("2", 4)] {
        t.xp(["plan"]).env("XP_RETRIES", retries).failure(3);
        assert_eq!(gateway.requests().len(), requests);
    }
    for (name, value) in [
        ("XP_RETRIES", "often"),
        ("XP_CONNECT_TIMEOUT", "0s"),
        ("XP_STALL_TIMEOUT", "10"),
        ("XP_TRANSFER_TIMEOUT", "soon"),
    ] {
        let plan = t.xp(["plan"]).env(name, value).failure(2);
        plan.stderr_contains(&format!("error: {name} must be a "))
            .stderr_contains(&format!(", not `{value}`"));
    }
    assert_eq!(gateway.requests().len(), 4);
}
