//! Faulty registries behind the engine, which pushes and pulls for xp.
//!
//! The engine itself retries a layer after five seconds or more; if it gives up, xp retries. A selection
//! always runs; `XP_TEST_LONG=1` runs all.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::case::Case;
use crate::cases::small;
use crate::context::Context;
use crate::output::Output;
use crate::world::{Fault, Gateway, Incoming, Reply};

pub const CASES: &[Case] = cases![
    a_push_survives_temporary_failures,
    a_pull_survives_temporary_failures,
    a_hanging_push_times_out,
    a_hanging_upload_times_out,
    a_push_with_an_unread_body_times_out,
    a_hanging_pull_times_out,
    a_push_survives_an_outage,
    a_pull_rate_limit_is_waited_out,
    an_impossible_push_is_an_error,
];

/// A temporary failure of an engine's request, and the number of times it occurs.
pub(super) struct TemporaryFailure {
    pub name: &'static str,
    /// One or more methods.
    method: &'static str,
    path: &'static str,
    reply: fn() -> Reply,
    /// The expected report.
    pub says: &'static str,
    /// Whether it is only tried with `XP_TEST_LONG`.
    long: bool,
}

// Docker's classic store sends a layer with PATCH, containerd's with PUT.
const PUSHES: &[TemporaryFailure] = &[
    passing(
        "a limited rate",
        "POST",
        "/blobs/",
        || refusal(429, "TOOMANYREQUESTS"),
        "toomanyrequests",
    ),
    passing(
        "an expired token",
        "PATCH PUT",
        "/blobs/",
        || refusal(401, "UNAUTHORIZED"),
        // An engine that has not sent the whole layer may report a broken connection.
        "",
    ),
    passing(
        "a failing server",
        "PUT",
        "/manifests/",
        || Reply::status(500),
        "500",
    ),
    passing(
        "a reset",
        "PUT",
        "/manifests/",
        || Reply::Broken(Fault::Reset),
        "trying again",
    ),
    long(passing(
        "a failing proxy",
        "PUT",
        "/manifests/",
        || Reply::status(502),
        "502",
    )),
    long(passing(
        "an answer cut off",
        "PUT",
        "/manifests/",
        || Reply::Broken(Fault::Truncated),
        "EOF",
    )),
    long(passing(
        "a reset upload",
        "PATCH PUT",
        "/blobs/",
        || Reply::Broken(Fault::Reset),
        "the engine retries",
    )),
    long(passing(
        "a failing upload",
        "PATCH PUT",
        "/blobs/",
        || Reply::status(503),
        "the engine retries",
    )),
    long(passing(
        "a failing start",
        "POST",
        "/blobs/",
        || Reply::status(503),
        "the engine retries",
    )),
    long(passing(
        "a slow server",
        "PUT",
        "/manifests/",
        || Reply::Broken(Fault::Slow),
        "",
    )),
    long(passing(
        "a failing end",
        "PUT",
        "/blobs/",
        || Reply::status(500),
        "the engine retries",
    )),
];

const PULLS: &[TemporaryFailure] = &[
    passing(
        "a limited rate",
        "HEAD GET",
        "/manifests/",
        || refusal(429, "TOOMANYREQUESTS"),
        "toomanyrequests",
    ),
    passing(
        "a request that took too long",
        "HEAD GET",
        "/manifests/",
        || Reply::status(408),
        "",
    ),
    passing(
        "a request that came too early",
        "HEAD GET",
        "/manifests/",
        || Reply::status(425),
        "",
    ),
    passing(
        "a failing server",
        "HEAD GET",
        "/manifests/",
        || Reply::status(503),
        "503",
    ),
    passing(
        "a wrong digest",
        "GET",
        "/manifests/",
        || Reply::Broken(Fault::Changed),
        "trying again",
    ),
    long(passing(
        "a reset",
        "HEAD GET",
        "/manifests/",
        || Reply::Broken(Fault::Reset),
        "trying again",
    )),
    long(passing(
        "a cut off manifest",
        "GET",
        "/manifests/",
        || Reply::Broken(Fault::Truncated),
        "EOF",
    )),
    long(passing(
        "a slow server",
        "GET",
        "/blobs/",
        || Reply::Broken(Fault::Slow),
        "",
    )),
    long(passing(
        "a wrong configuration",
        "GET",
        "/blobs/",
        || Reply::Broken(Fault::Changed),
        "trying again",
    )),
];

pub(super) const fn passing(
    name: &'static str,
    method: &'static str,
    path: &'static str,
    reply: fn() -> Reply,
    says: &'static str,
) -> TemporaryFailure {
    TemporaryFailure {
        name,
        method,
        path,
        reply,
        says,
        long: false,
    }
}

pub(super) const fn long(passing: TemporaryFailure) -> TemporaryFailure {
    TemporaryFailure {
        long: true,
        ..passing
    }
}

pub(super) fn refusal(status: u16, code: &str) -> Reply {
    Reply::error(status, code, "scripted")
}

/// Returns the selected failures.
pub(super) fn selected(all: &[TemporaryFailure]) -> impl Iterator<Item = &TemporaryFailure> {
    let is_long = std::env::var_os("XP_TEST_LONG").is_some();
    all.iter().filter(move |it| is_long || !it.long)
}

/// The current failure, and the number of times it has occurred.
pub(super) type Failing = Arc<Mutex<Option<(&'static TemporaryFailure, usize)>>>;

/// A gateway in front of the registry that fails only for the engine, as configured.
pub(super) fn gateway(t: &Context) -> (Gateway, Failing) {
    let failing: Failing = Arc::default();
    let told = failing.clone();
    let gateway = Gateway::before(t.registry().host(), move |incoming| {
        match &mut *told.lock().expect("not poisoned") {
            Some((it, left))
                if *left > 0
                    && it.method.split(' ').any(|method| incoming.method == method)
                    && incoming.path.contains(it.path)
                    && incoming.is_of_engine() =>
            {
                *left -= 1;
                (it.reply)()
            }
            _ => Reply::Forward,
        }
    });
    (gateway, failing)
}

pub(super) fn fail(failing: &Failing, how: &'static TemporaryFailure, times: usize) {
    *failing.lock().expect("not poisoned") = Some((how, times));
}

pub(super) fn has_happened(failing: &Failing) -> bool {
    let failing = failing.lock().expect("not poisoned");
    failing.is_some_and(|(_, left)| left == 0)
}

/// Returns whether the output reports a temporary fault. A newer engine retries more often without a message, and with
/// containerd it passes on the registry's status line or its message, without the code.
pub(super) fn is_reported(t: &Context, how: &TemporaryFailure, build: &Output) -> bool {
    let is_newer = t.engine().product().is_docker_since(26);
    build.stderr.contains(how.says)
        || (is_newer && !build.stderr.contains("trying again"))
        || (is_newer
            && build
                .stderr
                .to_lowercase()
                .contains("scripted; trying again"))
}

pub(super) fn forget_in_engine(t: &Context, gateway: &Gateway) {
    for name in t.engine().images_with_prefix(gateway.host()) {
        t.engine().remove_image(&name);
    }
}

fn a_push_survives_temporary_failures(t: &Context) {
    let (gateway, failing) = gateway(t);
    for (number, how) in selected(PUSHES).enumerate() {
        let name = format!("zbackend-{number}");
        // A separate layer, so that it is sent.
        let repository = small::repository(t, &name);
        let commit = repository.commit(&[("content", &format!("{number} {}", t.prefix()))], "Grow");
        small::platform(t, gateway.host(), &[(&name, &repository)]);
        fail(&failing, how, 1);
        let build = t.xp(["build"]).run();
        assert!(build.status.success(), "{}: {build}", how.name);
        assert!(has_happened(&failing), "{}: {build}", how.name);
        assert!(is_reported(t, how, &build), "{}: {build}", how.name);
        let image = t.image(&name);
        let digest = |tag: &str| t.registry().manifest_digest(&image, tag);
        assert!(digest(&commit).is_some(), "{}", how.name);
        assert_eq!(digest(&commit), digest("master"), "{}", how.name);
    }
}

fn a_pull_survives_temporary_failures(t: &Context) {
    let (gateway, failing) = gateway(t);
    let repository = small::repository(t, "zbackend");
    small::platform(t, gateway.host(), &[("zbackend", &repository)]);
    let there = t.own_engine();
    for (number, how) in selected(PULLS).enumerate() {
        // The engine caches manifests for a while, so another engine builds a different image each time.
        let commit = repository.commit(&[("content", &format!("{number} {}", t.prefix()))], "Grow");
        t.xp(["build"]).env("DOCKER_HOST", there.host()).success();
        forget_in_engine(t, &gateway);
        fail(&failing, how, 1);
        let build = t.xp(["build"]).run();
        assert!(build.status.success(), "{}: {build}", how.name);
        assert!(build.stdout.contains("pulled"), "{}: {build}", how.name);
        // The containerd image store still has the content and requests only a digest; it retries
        // immediately, without a message.
        if !t.engine().product().has_containerd_store() {
            assert!(has_happened(&failing), "{}: {build}", how.name);
            assert!(build.stderr.contains(how.says), "{}: {build}", how.name);
        }
        let name = format!("{}/{}:{commit}", gateway.host(), t.image("zbackend"));
        assert!(t.engine().image(&name).is_some(), "{}", how.name);
    }
}

const HANGS_IN_PUSH: TemporaryFailure = passing(
    "a server that hangs",
    "PUT",
    "/manifests/",
    || Reply::Broken(Fault::Silent),
    "",
);
const HANGS_IN_PULL: TemporaryFailure = passing(
    "a server that hangs",
    "HEAD GET",
    "/manifests/",
    || Reply::Broken(Fault::Silent),
    "",
);

const HANGS_IN_UPLOAD: TemporaryFailure = passing(
    "an upload that hangs",
    "PUT PATCH",
    "/blobs/uploads",
    || Reply::Broken(Fault::Silent),
    "",
);
const NOT_READ: TemporaryFailure = passing(
    "a body that is not read",
    "PUT PATCH",
    "/blobs/uploads",
    || Reply::Broken(Fault::Unread),
    "",
);

/// A text that hardly compresses.
fn random_text(t: &Context, length: usize) -> String {
    let mut state = t.prefix().bytes().fold(1_u64, |state, byte| {
        state.wrapping_mul(31).wrapping_add(byte.into())
    });
    let next = |state: &mut u64| {
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        char::from(b' ' + u8::try_from((*state >> 33) % 90).expect("below 90"))
    };
    (0..length).map(|_| next(&mut state)).collect()
}

/// Checks the end of a push or pull that hangs permanently, and of one that hangs once.
fn hanging(
    t: &Context,
    how: &'static TemporaryFailure,
    phase: &str,
    exit: i32,
    prepare: impl Fn(&Gateway),
) {
    let (gateway, failing) = gateway(t);
    let repository = small::repository(t, "zbackend");
    // More than a connection's buffers hold, because the body hangs.
    let length = if how.name == NOT_READ.name {
        20_000_000
    } else {
        100_000
    };
    repository.commit(&[("content", &random_text(t, length))], "Grow");
    small::platform(t, gateway.host(), &[("zbackend", &repository)]);
    prepare(&gateway);
    let build = |retries: &str| {
        t.xp(["build"])
            .env("XP_TRANSFER_TIMEOUT", "2s")
            .env("XP_RETRIES", retries)
    };
    fail(&failing, how, usize::MAX);
    let output = build("1").failure(exit);
    let name = format!("{}/{}", gateway.host(), t.image("zbackend"));
    let output: Output = output
        .stderr_contains("trying again")
        .stderr_contains(&format!(
            "error: zbackend: {phase}: the engine cannot {phase} {name}"
        ))
        .stderr_contains("no progress for 2s")
        .stderr_contains("XP_TRANSFER_TIMEOUT");
    assert!(output.elapsed.as_secs() < 60, "{output}");
    // With the classic image store, a hanging upload continues in the engine, and later pushes of the layer
    // wait for it.
    if how.path == HANGS_IN_UPLOAD.path && !t.engine().product().has_containerd_store() {
        return;
    }
    _ = fs::remove_dir_all(t.dir().join("src"));
    fail(&failing, how, 1);
    build("1").success();
}

fn a_hanging_push_times_out(t: &Context) {
    hanging(t, &HANGS_IN_PUSH, "push", 1, |_| {});
}

fn a_hanging_upload_times_out(t: &Context) {
    hanging(t, &HANGS_IN_UPLOAD, "push", 1, |_| {});
}

fn a_push_with_an_unread_body_times_out(t: &Context) {
    hanging(t, &NOT_READ, "push", 1, |_| {});
}

/// Longer than the few seconds after which an engine that tries once, and two more attempts by xp, would give
/// up.
const OUTAGE: Duration = Duration::from_secs(14);

/// A gateway that fails for everyone from the engine's first such request, for the duration [`OUTAGE`].
fn failing_for_a_while(
    t: &Context,
    is_first: impl Fn(&Incoming) -> bool + Send + Sync + 'static,
    reply: impl Fn() -> Reply + Send + Sync + 'static,
) -> Gateway {
    let since = Mutex::new(None);
    Gateway::before(t.registry().host(), move |incoming| {
        let mut since = since.lock().expect("not poisoned");
        if since.is_none() && incoming.is_of_engine() && is_first(incoming) {
            *since = Some(Instant::now());
        }
        match *since {
            Some(since) if since.elapsed() < OUTAGE => reply(),
            _ => Reply::Forward,
        }
    })
}

fn a_push_survives_an_outage(t: &Context) {
    let is_write = |incoming: &Incoming| !matches!(&*incoming.method, "GET" | "HEAD");
    let replies: [fn() -> Reply; 3] = [
        || Reply::Broken(Fault::Reset),
        || Reply::status(503),
        // Docker Engine 28 with the containerd image store passes on this message, without a status.
        || refusal(503, "UNAVAILABLE"),
    ];
    for (number, reply) in replies.into_iter().enumerate() {
        let gateway = failing_for_a_while(t, is_write, reply);
        let name = format!("zbackend-{number}");
        let repository = small::repository(t, &name);
        let content = format!("{number} {}", t.prefix());
        let commit = repository.commit(&[("content", &content)], "Grow");
        small::platform(t, gateway.host(), &[(&name, &repository)]);
        let build = t.xp(["build"]).success();
        assert!(build.elapsed > OUTAGE, "{build}");
        let digest = t.registry().manifest_digest(&t.image(&name), &commit);
        assert!(digest.is_some(), "{build}");
    }
}

fn a_pull_rate_limit_is_waited_out(t: &Context) {
    let limited = Arc::new(AtomicBool::new(false));
    let is_limited = Arc::clone(&limited);
    let gateway = failing_for_a_while(
        t,
        move |incoming| is_limited.load(Ordering::Relaxed) && incoming.is_about_manifest(),
        || {
            let seconds = vec![("Retry-After", OUTAGE.as_secs().to_string())];
            Reply::Response(429, seconds, String::new())
        },
    );
    let repository = small::repository(t, "zbackend");
    small::platform(t, gateway.host(), &[("zbackend", &repository)]);
    t.xp(["build"]).success();
    forget_in_engine(t, &gateway);
    limited.store(true, Ordering::Relaxed);
    let mark = gateway.requests().len();
    let build = t.xp(["build"]).success();
    let build = build.stdout_contains("pulled").stderr_contains("429");
    assert!(build.elapsed > OUTAGE, "{build}");
    // Once for each concurrent request of the engine, and not afterward.
    let refused = gateway.requests()[mark..]
        .iter()
        .filter(|request| request.status == 429)
        .count();
    assert!(refused < 20, "{refused} {build}");
}

fn a_hanging_pull_times_out(t: &Context) {
    let there = t.own_engine();
    hanging(t, &HANGS_IN_PULL, "pull", 3, |gateway| {
        t.xp(["build"]).env("DOCKER_HOST", there.host()).success();
        forget_in_engine(t, gateway);
    });
}

fn an_impossible_push_is_an_error(t: &Context) {
    const FAILS: TemporaryFailure = passing(
        "a failing server",
        "PUT",
        "/manifests/",
        || Reply::status(503),
        "",
    );
    const EXPIRES: TemporaryFailure = passing(
        "a login that is lost",
        "PUT",
        "/manifests/",
        || Reply::error(401, "UNAUTHORIZED", "authentication required"),
        "",
    );
    const LEADS_BACK: TemporaryFailure = passing(
        "redirects in a circle",
        "PUT",
        "/manifests/",
        || {
            let back = ("Location", "?again".to_owned());
            Reply::Response(307, vec![back], String::new())
        },
        "",
    );
    // The expected message, and whether there is a retry before it.
    static PERMANENT: [(TemporaryFailure, &str, bool); 3] = [
        (FAILS, "503", true),
        (EXPIRES, "hint: log in with `docker login", true),
        (LEADS_BACK, "redirects", false),
    ];
    let (gateway, failing) = gateway(t);
    let repository = small::repository(t, "zbackend");
    small::platform(t, gateway.host(), &[("zbackend", &repository)]);
    for (how, says, again) in &PERMANENT {
        fail(&failing, how, usize::MAX);
        let build = t.xp(["build"]).env("XP_RETRIES", "1").failure(1);
        let name = format!("{}/{}:", gateway.host(), t.image("zbackend"));
        let build = build
            .stderr_contains(&format!(
                "error: zbackend: push: the engine cannot push {name}"
            ))
            .stderr_contains(says);
        assert_eq!(build.stderr.contains("(2 of 2)"), *again, "{build}");
    }
    *failing.lock().expect("not poisoned") = None;
    t.xp(["build"]).success().stdout_contains("pushed");
}
