//! Who waits for what: scripts run during pushes, image builds wait for them.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::case::Case;
use crate::context::Context;
use crate::process::succeed;
use crate::services::Services;
use crate::wait::wait_until;
use crate::world::{Gateway, Registry, RegistryKind, Reply};

pub const CASES: &[Case] = cases![
    scripts_run_during_the_push_of_their_builder,
    a_push_that_fails_blocks_what_was_started,
    an_interrupt_ends_pushes_and_waits,
    scripts_run_while_a_needed_image_is_pushed,
    a_push_takes_no_job,
    scripts_are_repeated_in_the_builder_that_counts,
];

/// Holds the engine's pushes of some repositories at their end, until it is opened.
struct Dam {
    is_reached: AtomicBool,
    is_open: AtomicBool,
    /// Whether the registry then refuses them.
    refuses: AtomicBool,
}

impl Dam {
    /// Starts a proxy that holds pushes of repositories with `part` in their name.
    fn before(registry: &Registry, part: &str) -> (Arc<Self>, Gateway) {
        let dam = Arc::new(Self {
            is_reached: AtomicBool::new(false),
            is_open: AtomicBool::new(false),
            refuses: AtomicBool::new(false),
        });
        let (held, part) = (Arc::clone(&dam), part.to_owned());
        let gateway = Gateway::before(registry.host(), move |incoming| {
            let is_end = incoming.method == "PUT"
                && incoming.is_about_manifest()
                && incoming.is_of_engine()
                && incoming.path.contains(&part);
            if !is_end {
                return Reply::Forward;
            }
            held.is_reached.store(true, Ordering::SeqCst);
            while !held.is_open.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(10));
            }
            if held.refuses.load(Ordering::SeqCst) {
                Reply::error(403, "DENIED", "not now")
            } else {
                Reply::Forward
            }
        });
        (dam, gateway)
    }

    fn wait(&self) {
        wait_until("the end of a push", || {
            self.is_reached.load(Ordering::SeqCst)
        });
    }

    fn open(&self) {
        self.is_open.store(true, Ordering::SeqCst);
    }
}

/// A service `app` whose script runs in a builder of the platform, and prints what it found there.
fn platform<'t>(t: &'t Context, host: &str) -> (Services<'t>, String) {
    let random = format!(
        "FROM {}\nRUN cat /proc/sys/kernel/random/uuid > /made\n",
        t.engine().busybox()
    );
    let builder = t.builder("sh", &random, &[]);
    let services = Services::new(t, &["app"]);
    services.manifest(&[("app", keys(t, &builder))]);
    with_registry(t, host);
    (services, builder)
}

fn keys(t: &Context, builder: &str) -> String {
    format!(
        "dockerBuilder: {{image: '{builder}', network: none}}\n    docker: {{image: app}}\n    \
         scripts: {{build: [cp /made made, 'echo \"ran in $(cat /made), for {}\"']}}",
        t.prefix()
    )
}

fn with_registry(t: &Context, host: &str) {
    let manifest = t.read("x-platform.yml");
    t.manifest(&format!("registry: {host}/{}\n{manifest}", t.prefix()));
}

fn scripts_run_during_the_push_of_their_builder(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let (dam, gateway) = Dam::before(&registry, "/builders/");
    let (services, builder) = platform(t, gateway.host());
    let mut build = t.xp(["build"]).spawn();
    dam.wait();
    build.wait_for_output("app | ran in ");
    // Long enough for an image build that does not wait.
    thread::sleep(Duration::from_secs(2));
    assert!(!build.printed().contains("app | image:"));
    dam.open();
    let output = build.wait();
    assert!(output.status.success(), "{output}");
    assert!(output.row("app").contains(" built "), "{output}");
    let tags = registry.tags(&t.image("app"));
    let head = services.repository("app").head();
    assert!(tags.contains(&head), "{tags:?}");

    let record = t.read(".xp/logs/1/run.jsonl");
    let wait =
        format!(r#""event":"unit-waiting","unit":"app","phase":"image","needs":["{builder}"]"#);
    assert!(record.contains(&wait), "{record}");
    let report = t.xp(["report", "-o", "-"]).success();
    report.stdout_contains(&format!("waited for {builder}: "));
}

fn a_push_that_fails_blocks_what_was_started(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let (dam, gateway) = Dam::before(&registry, "/builders/");
    let (services, builder) = platform(t, gateway.host());
    let mut build = t.xp(["build"]).spawn();
    dam.wait();
    build.wait_for_output("app | ran in ");
    dam.refuses.store(true, Ordering::SeqCst);
    dam.open();
    let output = build.wait();
    assert_eq!(output.status.code(), Some(1), "{output}");
    assert!(output.row(&builder).contains(" FAILED "), "{output}");
    assert!(output.row("app").contains(" stopped "), "{output}");
    let output = output.stderr_contains(&format!("error: {builder}: push: "));
    assert!(
        output.stderr.contains("app | stopped after ")
            && output.stderr.contains(&format!(": {builder} failed")),
        "{output}"
    );
    // Nothing was built with a builder that nobody else has.
    let image = format!("{}/{}", gateway.host(), t.image("app"));
    assert!(t.engine().images_with_prefix(&image).is_empty());
    assert!(registry.tags(&t.image("app")).is_empty());

    dam.refuses.store(false, Ordering::SeqCst);
    let output = t.xp(["build"]).success();
    assert!(output.row(&builder).contains(" pushed "), "{output}");
    assert!(output.row("app").contains(" built "), "{output}");
    let head = services.repository("app").head();
    assert!(registry.tags(&t.image("app")).contains(&head));
}

fn an_interrupt_ends_pushes_and_waits(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let (dam, gateway) = Dam::before(&registry, "/builders/");
    let (_services, builder) = platform(t, gateway.host());
    let mut build = t.xp(["build"]).spawn();
    dam.wait();
    build.wait_for_output("app | ran in ");
    thread::sleep(Duration::from_secs(1));
    build.signal(Signal::INT);
    let output = build.wait();
    dam.open();
    assert_eq!(output.status.code(), Some(130), "{output}");
    assert!(output.row(&builder).contains(" stopped "), "{output}");
    assert!(output.row("app").contains(" stopped "), "{output}");
    assert!(t.containers().is_empty());
    t.xp(["build"]).success();
}

fn scripts_run_while_a_needed_image_is_pushed(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let (dam, gateway) = Dam::before(&registry, "/base/");
    let services = Services::new(t, &["base", "top"]);
    services.commit("base", &[("file", "of base\n".to_owned())]);
    let top = "ARG BASE\nFROM ${BASE}\nCOPY . /top\n".to_owned();
    services.commit("top", &[("Dockerfile", top)]);
    let scripts = services.scripts("echo ran > made; echo ran");
    services.manifest(&[
        ("base", "docker: {image: base}".to_owned()),
        (
            "top",
            format!(
                "{scripts}\n    needs: [base]\n    docker: {{image: top, args: {{BASE: '${{{{ services.base.image }}}}'}}}}"
            ),
        ),
    ]);
    with_registry(t, gateway.host());
    let mut build = t.xp(["build"]).spawn();
    build.wait_for_output("top | ran");
    dam.wait();
    thread::sleep(Duration::from_secs(2));
    assert!(!build.printed().contains("top | image:"));
    dam.open();
    let output = build.wait();
    assert!(output.status.success(), "{output}");
    let image = format!("{}/{}:master", gateway.host(), t.image("top"));
    let files = ["cat", "/src/file", "/top/made"];
    assert_eq!(t.engine().run(&image, files), "of base\nran");
}

fn a_push_takes_no_job(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let (dam, gateway) = Dam::before(&registry, "/first/");
    let services = Services::new(t, &["first", "second"]);
    services.manifest(&[
        ("first", "docker: {image: first}".to_owned()),
        ("second", "docker: {image: second}".to_owned()),
    ]);
    with_registry(t, gateway.host());
    let mut build = t.xp(["build", "--jobs", "1"]).spawn();
    dam.wait();
    build.wait_for_output("second | done in ");
    assert!(!build.printed().contains("first | done in "));
    dam.open();
    let output = build.wait();
    assert!(output.status.success(), "{output}");
}

fn scripts_are_repeated_in_the_builder_that_counts(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let (dam, gateway) = Dam::before(&registry, "/builders/");
    let there = t.own_engine();
    assert_eq!(there.busybox(), t.engine().busybox());
    let (_services, builder) = platform(t, gateway.host());
    let folder = t.folder().join("there");
    succeed(Command::new("cp").arg("-a").arg(t.dir()).arg(&folder));
    let manifest = folder.join("x-platform.yml");
    let text = std::fs::read_to_string(&manifest).expect("the manifest");
    let text = text.replace(gateway.host(), registry.host());
    std::fs::write(&manifest, text).expect("the manifest");

    let mut build = t.xp(["build"]).spawn();
    dam.wait();
    build.wait_for_output("app | ran in ");
    // Another machine was faster, and the registry does not allow moving the tag.
    t.xp(["builder", "update", &builder])
        .dir(&folder)
        .env("DOCKER_HOST", there.host())
        .success();
    dam.refuses.store(true, Ordering::SeqCst);
    dam.open();
    let output = build.wait();
    assert!(output.status.success(), "{output}");
    let output = output.stderr_contains("while the scripts ran in it; running them again");
    let image = format!("{}/{}:master", gateway.host(), t.image("app"));
    let used = t.engine().run(&image, ["cat", "/src/made"]);
    let newest = format!("{}/{}/{builder}:newest", registry.host(), t.prefix());
    let counts = there.run(&newest, ["cat", "/made"]);
    assert_eq!(used, counts, "{output}");
    assert_eq!(
        output.stderr.matches("app | ran in ").count(),
        2,
        "{output}"
    );
}
