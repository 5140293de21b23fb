//! Faulty registries before the engine, which pushes and pulls for xp.
//!
//! The engine tries a layer again by itself, after five seconds and more; what it gives up xp has it begin again.
//! A selection runs always; `XP_TEST_LONG=1` runs all.

use std::fs;
use std::sync::{Arc, Mutex};

use crate::case::Case;
use crate::cases::small;
use crate::context::Context;
use crate::output::Output;
use crate::world::{Fault, Gateway, Reply};

pub const CASES: &[Case] = cases![
    a_push_goes_through,
    a_pull_goes_through,
    a_push_that_hangs_ends,
    a_pull_that_hangs_ends,
    a_push_that_cannot_be_is_an_error,
];

/// A failure of a request of the engine's that passes after so many times.
pub(super) struct Passing {
    pub name: &'static str,
    /// One or several.
    method: &'static str,
    path: &'static str,
    reply: fn() -> Reply,
    /// What is told of it.
    pub says: &'static str,
    /// Whether it is tried only with `XP_TEST_LONG`.
    long: bool,
}

// A layer is sent with PATCH by Docker's own store, and with PUT from containerd's.
const PUSHES: &[Passing] = &[
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
        "unauthorized",
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
        "the engine tries again",
    )),
    long(passing(
        "a failing upload",
        "PATCH PUT",
        "/blobs/",
        || Reply::status(503),
        "the engine tries again",
    )),
    long(passing(
        "a failing start",
        "POST",
        "/blobs/",
        || Reply::status(503),
        "the engine tries again",
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
        "the engine tries again",
    )),
];

const PULLS: &[Passing] = &[
    passing(
        "a limited rate",
        "GET",
        "/manifests/",
        || refusal(429, "TOOMANYREQUESTS"),
        "toomanyrequests",
    ),
    passing(
        "a failing server",
        "GET",
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
        "GET",
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
) -> Passing {
    Passing {
        name,
        method,
        path,
        reply,
        says,
        long: false,
    }
}

pub(super) const fn long(passing: Passing) -> Passing {
    Passing {
        long: true,
        ..passing
    }
}

pub(super) fn refusal(status: u16, code: &str) -> Reply {
    Reply::error(status, code, "scripted")
}

/// Returns what is tried today.
pub(super) fn selected(all: &[Passing]) -> impl Iterator<Item = &Passing> {
    let is_long = std::env::var_os("XP_TEST_LONG").is_some();
    all.iter().filter(move |it| is_long || !it.long)
}

/// What fails now, and how often yet.
pub(super) type Failing = Arc<Mutex<Option<(&'static Passing, usize)>>>;

/// A gateway before the registry that fails for the engine alone, as it is told.
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

pub(super) fn fail(failing: &Failing, how: &'static Passing, times: usize) {
    *failing.lock().expect("not poisoned") = Some((how, times));
}

pub(super) fn has_happened(failing: &Failing) -> bool {
    let failing = failing.lock().expect("not poisoned");
    failing.is_some_and(|(_, left)| left == 0)
}

/// Whether the output names a fault that passed. A newer engine tries more by itself, without a word, and its
/// containerd passes on the registry's status line or its message, without the code.
pub(super) fn is_told(t: &Context, how: &Passing, build: &Output) -> bool {
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

fn a_push_goes_through(t: &Context) {
    let (gateway, failing) = gateway(t);
    for (number, how) in selected(PUSHES).enumerate() {
        let name = format!("zbackend-{number}");
        // A layer of its own, so that it is sent.
        let repository = small::repository(t, &name);
        let commit = repository.commit(&[("content", &format!("{number} {}", t.prefix()))], "Grow");
        small::platform(t, gateway.host(), &[(&name, &repository)]);
        fail(&failing, how, 1);
        let build = t.xp(["build"]).run();
        assert!(build.status.success(), "{}: {build}", how.name);
        assert!(has_happened(&failing), "{}: {build}", how.name);
        assert!(is_told(t, how, &build), "{}: {build}", how.name);
        let image = t.image(&name);
        let digest = |tag: &str| t.registry().manifest_digest(&image, tag);
        assert!(digest(&commit).is_some(), "{}", how.name);
        assert_eq!(digest(&commit), digest("master"), "{}", how.name);
    }
}

fn a_pull_goes_through(t: &Context) {
    let (gateway, failing) = gateway(t);
    let repository = small::repository(t, "zbackend");
    small::platform(t, gateway.host(), &[("zbackend", &repository)]);
    let there = t.own_engine();
    for (number, how) in selected(PULLS).enumerate() {
        // The engine keeps manifests for a while and asks for none twice, so each time it is another image, which
        // another engine makes.
        let commit = repository.commit(&[("content", &format!("{number} {}", t.prefix()))], "Grow");
        t.xp(["build"]).env("DOCKER_HOST", there.host()).success();
        forget_in_engine(t, &gateway);
        fail(&failing, how, 1);
        let build = t.xp(["build"]).run();
        assert!(build.status.success(), "{}: {build}", how.name);
        assert!(has_happened(&failing), "{}: {build}", how.name);
        assert!(build.stdout.contains("pulled"), "{}: {build}", how.name);
        assert!(is_told(t, how, &build), "{}: {build}", how.name);
        let name = format!("{}/{}:{commit}", gateway.host(), t.image("zbackend"));
        assert!(t.engine().image(&name).is_some(), "{}", how.name);
    }
}

const HANGS_IN_PUSH: Passing = passing(
    "a server that hangs",
    "PUT",
    "/manifests/",
    || Reply::Broken(Fault::Silent),
    "",
);
const HANGS_IN_PULL: Passing = passing(
    "a server that hangs",
    "GET",
    "/manifests/",
    || Reply::Broken(Fault::Silent),
    "",
);

/// Looks at the end of a push or a pull that hangs for good, and at that of one that hangs once.
fn hanging(t: &Context, how: &'static Passing, phase: &str, exit: i32, prepare: impl Fn(&Gateway)) {
    let (gateway, failing) = gateway(t);
    let repository = small::repository(t, "zbackend");
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
        .stderr_contains("nothing of it moved for 2 s")
        .stderr_contains("XP_TRANSFER_TIMEOUT");
    assert!(output.elapsed.as_secs() < 60, "{output}");
    _ = fs::remove_dir_all(t.dir().join("src"));
    fail(&failing, how, 1);
    build("1").success();
}

fn a_push_that_hangs_ends(t: &Context) {
    hanging(t, &HANGS_IN_PUSH, "push", 1, |_| {});
}

fn a_pull_that_hangs_ends(t: &Context) {
    let there = t.own_engine();
    hanging(t, &HANGS_IN_PULL, "pull", 3, |gateway| {
        t.xp(["build"]).env("DOCKER_HOST", there.host()).success();
        forget_in_engine(t, gateway);
    });
}

fn a_push_that_cannot_be_is_an_error(t: &Context) {
    const FAILS: Passing = passing(
        "a failing server",
        "PUT",
        "/manifests/",
        || Reply::status(503),
        "",
    );
    const EXPIRES: Passing = passing(
        "a login that is lost",
        "PUT",
        "/manifests/",
        || refusal(401, "UNAUTHORIZED"),
        "",
    );
    const LEADS_BACK: Passing = passing(
        "redirects in a circle",
        "PUT",
        "/manifests/",
        || {
            let back = ("Location", "?again".to_owned());
            Reply::Answer(307, vec![back], String::new())
        },
        "",
    );
    // What is said, and whether it is tried again before.
    static LASTING: [(Passing, &str, bool); 3] = [
        (FAILS, "503", true),
        (EXPIRES, "unauthorized", true),
        (LEADS_BACK, "redirects", false),
    ];
    let (gateway, failing) = gateway(t);
    let repository = small::repository(t, "zbackend");
    small::platform(t, gateway.host(), &[("zbackend", &repository)]);
    for (how, says, again) in &LASTING {
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
