//! Pushes, and registries that fail or refuse during one.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::case::Case;
use crate::cases::small;
use crate::context::Context;
use crate::world::{Gateway, RegistryKind, Reply, Request, Store};

pub const CASES: &[Case] = cases![
    a_registry_crash_during_a_push_fails_only_the_push,
    a_read_only_registry_is_a_failure,
    a_refused_tag_is_set_by_the_next_run,
    a_rate_limit_while_tagging_is_waited_out,
    a_failed_push_does_not_stop_other_services,
    a_builder_is_pushed_and_pulled_by_the_next_machine,
    an_unpushed_builder_is_pushed_by_the_next_build,
    a_changed_builder_is_rebuilt,
    builders_are_listed_and_updated,
];

fn has_tag(t: &Context, host: &str, tag: &str) -> bool {
    let name = format!("{host}/{}:{tag}", t.image("zbackend"));
    t.engine().image(&name).is_some()
}

fn a_registry_crash_during_a_push_fails_only_the_push(t: &Context) {
    let registry = Arc::new(t.own_registry(RegistryKind::Open));
    let dying = Arc::clone(&registry);
    let gone = Arc::new(AtomicBool::new(false));
    let killed = Arc::clone(&gone);
    // Behind a gateway, the registry keeps its address when it is restarted elsewhere.
    let gateway = Gateway::before(registry.host(), move |incoming| {
        let is_layer = matches!(incoming.method.as_str(), "PATCH" | "PUT")
            && incoming.path.contains("/blobs/");
        if is_layer && !killed.swap(true, Ordering::Relaxed) {
            // During the transfer of the layer.
            let dying = Arc::clone(&dying);
            std::thread::spawn(move || dying.kill());
        }
        Reply::Forward
    });
    let repository = t.git_repo("zbackend");
    let dockerfile = format!(
        "FROM {}\nRUN dd if=/dev/urandom of=/large bs=1M count=32 2>/dev/null\n",
        t.engine().busybox()
    );
    let commit = repository.commit(&[("Dockerfile", &dockerfile)], "Start");
    small::platform(t, gateway.host(), &[("zbackend", &repository)]);
    let build = t.xp(["build"]).failure(1);
    // With Docker's classic store, the engine retries for a while before xp does.
    let again = match t.engine().product().store {
        Store::Classic => "the engine retries in 5s",
        Store::Containerd | Store::Podman => "trying again in",
    };
    build
        .stderr_contains(again)
        .stderr_contains("error: zbackend: push: ")
        .stdout_contains("FAILED");
    assert!(gone.load(Ordering::Relaxed));
    assert!(
        has_tag(t, gateway.host(), &commit),
        "the image stays in the engine"
    );
    assert_eq!(registry.tags(&t.image("zbackend")), [""; 0]);

    // The registry is replaced by one that already has the image.
    let other = t.own_registry(RegistryKind::Open);
    gateway.move_before(other.host());
    fs::remove_dir_all(t.dir().join("src")).expect("the working copy");
    t.xp(["build"]).success().stdout_contains("pushed");
    assert!(!t.exists("src"), "nothing is built again");
    assert!(
        other
            .manifest_digest(&t.image("zbackend"), &commit)
            .is_some()
    );
}

fn a_read_only_registry_is_a_failure(t: &Context) {
    for (status, code, message) in [
        (403, "DENIED", "requested access to the resource is denied"),
        // Like a registry in read-only mode.
        (405, "UNSUPPORTED", "The operation is unsupported."),
    ] {
        let refuses = Arc::new(AtomicBool::new(true));
        let still = Arc::clone(&refuses);
        // During the access check, it still accepts everything.
        let gateway = Gateway::before(t.registry().host(), move |incoming| {
            let is_write = !matches!(incoming.method.as_str(), "GET" | "HEAD");
            match is_write && incoming.is_of_engine() && still.load(Ordering::Relaxed) {
                true => Reply::error(status, code, message),
                false => Reply::Forward,
            }
        });
        let name = format!("zbackend-{status}");
        let repository = small::repository(t, &name);
        let commit = repository.head();
        small::platform(t, gateway.host(), &[(&name, &repository)]);
        let build = t.xp(["build"]).failure(1);
        let build = build.stdout_contains("FAILED");
        // Docker Engine 26 with the containerd image store only passes on the status.
        let is_bare = t.engine().product().passes_on_status_only();
        let said = if is_bare {
            status.to_string()
        } else {
            message.to_owned()
        };
        assert!(build.stderr.contains(&said), "{build}");
        let image = t.image(&name);
        assert_eq!(t.registry().tags(&image), [""; 0]);
        let in_engine = format!("{}/{image}:{commit}", gateway.host());
        assert!(t.engine().image(&in_engine).is_some());

        refuses.store(false, Ordering::Relaxed);
        fs::remove_dir_all(t.dir().join("src")).expect("the working copy");
        t.xp(["build"]).success().stdout_contains("pushed");
        assert!(!t.exists("src"), "nothing is built again");
        assert_eq!(t.registry().tags(&image).len(), 2);
    }
}

fn a_refused_tag_is_set_by_the_next_run(t: &Context) {
    let refuses = Arc::new(AtomicBool::new(true));
    let still = Arc::clone(&refuses);
    let gateway = Gateway::before(t.registry().host(), move |incoming| {
        let is_tag = incoming.method == "PUT" && incoming.path.ends_with("/manifests/master");
        match is_tag && still.load(Ordering::Relaxed) {
            // Like registries with immutable tags.
            true => Reply::error(400, "TAG_INVALID", "the tag master is immutable"),
            false => Reply::Forward,
        }
    });
    let repository = small::repository(t, "zbackend");
    let commit = repository.head();
    small::platform(t, gateway.host(), &[("zbackend", &repository)]);
    let build = t.xp(["build"]).failure(1);
    build
        .stderr_contains("zbackend: tag: ")
        .stderr_contains("the tag master is immutable")
        .stderr_contains("zbackend:master");
    assert_eq!(t.registry().tags(&t.image("zbackend")), [commit.as_str()]);
    refuses.store(false, Ordering::Relaxed);
    t.xp(["build"]).success().stdout_contains("tagged");
    assert_eq!(t.registry().tags(&t.image("zbackend")).len(), 2);
}

fn a_rate_limit_while_tagging_is_waited_out(t: &Context) {
    let count = AtomicUsize::new(0);
    let gateway = Gateway::before(t.registry().host(), move |incoming| {
        let is_tag = incoming.method == "PUT" && incoming.path.ends_with("/manifests/master");
        match is_tag && count.fetch_add(1, Ordering::Relaxed) < 2 {
            true => Reply::status(429),
            false => Reply::Forward,
        }
    });
    let repository = small::repository(t, "zbackend");
    small::platform(t, gateway.host(), &[("zbackend", &repository)]);
    t.xp(["build"]).success();
    assert_eq!(t.registry().tags(&t.image("zbackend")).len(), 2);
}

fn a_failed_push_does_not_stop_other_services(t: &Context) {
    let gateway = Gateway::before(t.registry().host(), |incoming| {
        let is_write = !matches!(incoming.method.as_str(), "GET" | "HEAD");
        match is_write && incoming.is_of_engine() && incoming.path.contains("/zfrontend/") {
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
    let build = t.xp(["build"]).failure(1);
    let build = build.stdout_contains("built").stdout_contains("FAILED");
    // Reported when it happens, and again at the end.
    assert_eq!(
        build.stderr.matches("error: zfrontend: push: ").count(),
        1,
        "{build}"
    );
    assert_eq!(t.registry().tags(&t.image("zbackend")).len(), 2);
    assert_eq!(t.registry().tags(&t.image("zfrontend")), [""; 0]);
}

/// A platform with a builder that writes a word to the image.
struct Built<'t> {
    t: &'t Context,
    registry: crate::world::Registry,
    builder: String,
}

impl<'t> Built<'t> {
    fn new(t: &'t Context) -> Self {
        let registry = t.own_registry(RegistryKind::Open);
        let builder = t.builder("sh", &Self::dockerfile(t, "first"), &[]);
        let repository = t.git_repo("zbackend");
        repository.commit(&[("Dockerfile", "FROM scratch\nCOPY made /\n")], "Start");
        let more = format!(
            "    dockerBuilder: {{image: '{builder}:newest'}}\n    scripts: {{build: [cp /made made]}}\n"
        );
        let service = small::service(t, "zbackend", &repository.url_file(), "", &more);
        small::manifest(t, registry.host(), &service);
        Self {
            t,
            registry,
            builder,
        }
    }

    fn dockerfile(t: &Context, word: &str) -> String {
        format!("FROM {}\nRUN echo {word} > /made\n", t.engine().busybox())
    }

    fn change(&self, word: &str) {
        let path = format!("{}/Dockerfile", self.builder);
        self.t.write(&path, &Self::dockerfile(self.t, word));
    }

    /// Returns the builder's tags in the registry: one content ID each, and `newest`.
    fn tags(&self) -> Vec<String> {
        self.registry.tags(&self.builder)
    }

    /// Simulates another machine's engine.
    fn forget_in_engine(&self) {
        for name in self.t.engine().images_with_prefix(self.registry.host()) {
            self.t.engine().remove_image(&name);
        }
    }

    fn writes(&self, requests: &[Request]) -> usize {
        let is_write = |request: &&Request| {
            request.path.contains(&self.builder)
                && !matches!(request.method.as_str(), "GET" | "HEAD")
        };
        requests.iter().filter(is_write).count()
    }
}

fn a_builder_is_pushed_and_pulled_by_the_next_machine(t: &Context) {
    let built = Built::new(t);
    let first = t.xp(["build"]).success();
    first.stdout_contains("no image with content");
    let tags = built.tags();
    assert_eq!(tags.len(), 2, "{tags:?}");
    assert_eq!(tags[1], "newest");
    let is_content_id = tags[0].len() == 40 && tags[0].chars().all(|c| c.is_ascii_hexdigit());
    assert!(is_content_id, "{tags:?}");
    let digest = |tag: &str| built.registry.manifest_digest(&built.builder, tag);
    assert_eq!(digest("newest"), digest(&tags[0]));

    built.forget_in_engine();
    let mark = built.registry.mark();
    let second = t.xp(["build", "--force"]).success();
    let second = second
        .stdout_contains(&built.builder)
        .stdout_contains("pulled");
    assert_eq!(
        second.stdout.matches("no image with content").count(),
        0,
        "{second}"
    );
    assert_eq!(built.writes(&built.registry.requests_since(mark)), 0);
    let name = format!("{}/{}:{}", built.registry.host(), built.builder, tags[0]);
    assert!(t.engine().image(&name).is_some());

    // A build that needs no builder does not query any.
    built.forget_in_engine();
    let mark = built.registry.mark();
    t.xp(["build"]).success();
    let requests = built.registry.requests_since(mark);
    assert!(
        requests
            .iter()
            .all(|request| !request.path.contains(&built.builder)),
        "{requests:?}"
    );
}

fn an_unpushed_builder_is_pushed_by_the_next_build(t: &Context) {
    let built = Built::new(t);
    t.xp(["build", "--no-push"]).success();
    assert_eq!(built.tags(), [""; 0]);
    let second = t.xp(["build", "--force"]).success();
    second.stdout_contains("in the engine, not in the registry");
    assert_eq!(built.tags().len(), 2);
    let mark = built.registry.mark();
    t.xp(["build", "--force"]).success();
    assert_eq!(built.writes(&built.registry.requests_since(mark)), 0);
}

fn a_changed_builder_is_rebuilt(t: &Context) {
    let built = Built::new(t);
    t.xp(["build"]).success();
    let before = built.tags();
    built.change("second");
    // The commit is the same, but its image differs.
    t.xp(["build", "--trust-commit"])
        .success()
        .stdout_contains("skipped");
    assert_eq!(built.tags(), before);
    t.xp(["build"])
        .success()
        .stdout_contains("dockerBuilder.image changed");
    let after = built.tags();
    assert_eq!(after.len(), 3, "{after:?}");
    let new = after
        .iter()
        .find(|tag| !before.contains(tag))
        .expect("a new content id");
    let digest = |tag: &str| built.registry.manifest_digest(&built.builder, tag);
    assert_eq!(digest("newest"), digest(new));
}

fn builders_are_listed_and_updated(t: &Context) {
    let built = Built::new(t);
    let list = t.xp(["builder", "list"]).success();
    let row = |output: &str| {
        let line = output.lines().find(|line| line.starts_with(&built.builder));
        let words = line.unwrap_or_else(|| panic!("no {} in {output}", built.builder));
        words
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let assert_pushed = |words: &[String]| {
        // Podman does not always record the digest of an image that it pushes.
        let is_other = t.engine().product().is_podman() && words[2] == "other";
        assert!(words[2] == "yes" || is_other, "{words:?}");
        assert_eq!(words[3], "yes");
    };
    assert_eq!(row(&list.stdout)[2..4], ["no", "no"]);
    t.xp(["build"]).success();
    let list = t.xp(["builder", "list"]).success();
    let words = row(&list.stdout);
    assert_pushed(&words);
    assert!(built.tags()[0].starts_with(&words[1]), "{words:?}");
    built.forget_in_engine();
    let list = t.xp(["builder", "list"]).success();
    assert_eq!(row(&list.stdout)[2..4], ["no", "yes"]);

    let name = built.builder.strip_prefix("builders/").expect("a folder");
    built.change("third");
    t.xp(["builder", "update", name])
        .success()
        .stdout_contains("built");
    assert_eq!(built.tags().len(), 3);
    let list = t.xp(["builder", "list"]).success();
    assert_pushed(&row(&list.stdout));
    let unknown = t
        .xp(["builder", "update", &name[..name.len() - 1]])
        .failure(2);
    unknown.stderr_contains(&format!("did you mean `{name}`?"));
    built.change("fourth");
    t.xp(["builder", "update", "--no-push"]).success();
    assert_eq!(built.tags().len(), 3);

    // Known facts are shown anyway.
    built.registry.kill();
    let list = t.xp(["builder", "list"]).failure(3);
    assert_eq!(row(&list.stdout)[2..4], ["yes", "?"]);
    list.stderr_contains(built.registry.host());
}
