//! The recipe: the label on every image, and what it is compared with.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::case::Case;
use crate::cases::small;
use crate::context::Context;
use crate::process;
use crate::repository::GitRepository;
use crate::world::{Gateway, Registry, RegistryKind, Reply};

pub const CASES: &[Case] = cases![
    the_same_commit_with_other_inputs_is_rebuilt,
    a_changed_dependency_is_an_input,
    the_recipe_is_the_same_on_every_machine,
    labels_known_from_the_engine_are_not_requested,
    a_fresh_machine_requests_labels_once,
    trusted_commits_are_not_compared,
    an_image_of_another_tool_is_unverified,
    an_unreadable_label_stops_the_run,
    unavailable_labels_stop_the_run,
    a_corrupted_response_is_rejected,
    the_compared_image_is_pulled_even_if_its_tag_moved,
    an_untested_image_is_rebuilt_with_tests,
    an_immutable_tag_is_kept,
    skopeo_shows_the_labels_and_tags,
];

/// A backend with scripts, and a frontend that it needs.
struct Product<'t> {
    t: &'t Context,
    builder: String,
    backend: GitRepository,
    frontend: GitRepository,
}

impl<'t> Product<'t> {
    fn new(t: &'t Context) -> Self {
        let builder = t.builder("sh", &format!("FROM {}\n", t.engine().busybox()), &[]);
        let backend = t.git_repo("zbackend");
        let dockerfile = "ARG FRONT\nFROM ${FRONT}\nARG WORD\nCOPY made /\n";
        backend.commit(&[("Dockerfile", dockerfile)], "Start");
        let frontend = small::repository(t, "zfrontend");
        Self {
            t,
            builder,
            backend,
            frontend,
        }
    }

    /// Writes the manifest with a replacement.
    fn manifest(&self, registry: &str, from: &str, to: &str) {
        let more = format!(
            "    dockerBuilder: {{image: {}, workdir: /x}}
    scripts: {{build: ['echo made > made'], test: [grep made made]}}
",
            self.builder
        );
        let args = ", args: {FRONT: '${{ services.zfrontend.image }}', WORD: '${{ env.WORD }}'}";
        let backend = small::service(self.t, "zbackend", &self.backend.url_file(), args, &more);
        let frontend = small::service(self.t, "zfrontend", &self.frontend.url_file(), "", "");
        let services = backend + &frontend;
        assert!(services.contains(from), "{from} is not in\n{services}");
        small::manifest(self.t, registry, &services.replace(from, to));
    }

    fn recipe(&self, registry: &Registry, service: &str, tag: &str) -> String {
        let labels = registry.labels(&self.t.image(service), tag);
        labels["x-platform.recipe"].clone()
    }
}

fn the_same_commit_with_other_inputs_is_rebuilt(t: &Context) {
    let product = Product::new(t);
    let registry = t.registry();
    product.manifest(registry.host(), "", "");
    t.xp(["build"]).env("WORD", "one").success();
    let skip = t.xp(["build"]).env("WORD", "one").success();
    assert!(skip.row("zbackend").contains("skipped"), "{skip}");

    let build = |word: &str, why: &str| {
        let build = t.xp(["build"]).env("WORD", word).success();
        let row = build.row("zbackend");
        assert!(row.contains("built") && row.contains(why), "{build}");
        assert!(build.row("zfrontend").contains("skipped"), "{build}");
        let plan = t.xp(["plan"]).env("WORD", word).success();
        plan.stdout_contains("Nothing to do");
    };
    build("two", "docker.args.WORD changed");
    product.manifest(registry.host(), "echo made", "echo  made");
    build("two", "scripts.build changed");
    product.manifest(registry.host(), "workdir: /x", "workdir: /y, env: {A: b}");
    build(
        "two",
        "dockerBuilder.env.A is new, dockerBuilder.workdir changed, scripts.build changed",
    );
    let dockerfile = format!("FROM {}\nRUN true\n", t.engine().busybox());
    t.write(&format!("{}/Dockerfile", product.builder), &dockerfile);
    build("two", "dockerBuilder.image changed");
}

fn a_changed_dependency_is_an_input(t: &Context) {
    let product = Product::new(t);
    let registry = t.registry();
    product.manifest(registry.host(), "", "");
    t.xp(["build"]).env("WORD", "").success();
    product.frontend.commit(&[("more", "")], "More");
    let build = t.xp(["build", "zbackend"]).env("WORD", "").success();
    let row = build.row("zbackend");
    assert!(row.contains("needs.zfrontend changed"), "{build}");
    // The image was built from the new frontend.
    let commit = product.backend.head();
    let layers = |service: &str, tag: &str| {
        let configuration = registry.image_configuration(&t.image(service), tag);
        configuration["rootfs"]["diff_ids"].clone()
    };
    let frontend = layers("zfrontend", &product.frontend.head());
    let backend = layers("zbackend", &commit);
    assert_eq!(backend[0], frontend[0]);
}

fn the_recipe_is_the_same_on_every_machine(t: &Context) {
    let product = Product::new(t);
    let registry = t.registry();
    product.manifest(registry.host(), "", "");
    t.xp(["build"]).env("WORD", "one").success();
    let commit = product.backend.head();
    let here = product.recipe(registry, "zbackend", &commit);
    let parsed: Value = serde_json::from_str(&here).expect("JSON");
    assert_eq!(parsed["version"], 1);
    assert_eq!(parsed["inputs"]["docker.file"], "6651ddff6e");
    let names: Vec<&String> = parsed["inputs"]
        .as_object()
        .expect("inputs")
        .keys()
        .collect();
    assert!(names.is_sorted(), "{names:?}");

    // Another checkout of the platform, by another user, in another time zone, with another registry.
    let other_registry = t.own_registry(RegistryKind::Open);
    product.manifest(other_registry.host(), "", "");
    let other = t.folder().join("other checkout");
    fs::create_dir_all(other.join("builders")).expect("a folder");
    fs::copy(t.dir().join("x-platform.yml"), other.join("x-platform.yml")).expect("the manifest");
    let builder = other.join(&product.builder);
    fs::create_dir_all(&builder).expect("a folder");
    let dockerfile = t.dir().join(&product.builder).join("Dockerfile");
    fs::copy(dockerfile, builder.join("Dockerfile")).expect("the builder");
    let mode = fs::Permissions::from_mode(0o600);
    fs::set_permissions(builder.join("Dockerfile"), mode).expect("another umask");
    let home = t.folder().join("other home");
    fs::create_dir_all(&home).expect("a folder");
    let build = t.xp(["build"]).dir(&other).env("WORD", "one");
    let build = build.env("TZ", "Pacific/Kiritimati").env("LANG", "tr_TR");
    build.env("HOME", home).env("USER", "somebody").success();
    assert_eq!(product.recipe(&other_registry, "zbackend", &commit), here);
}

/// Removes everything that the engine and xp know about the images.
fn forget(t: &Context, registry: &Registry) {
    let images = format!("{}/{}", registry.host(), t.image(""));
    let found = t.engine().images_with_prefix(&images);
    // An image that lost its name to a newer one is listed by digest, without a tag.
    for image in found.iter().filter(|image| !image.ends_with(":<none>")) {
        t.engine().remove_image(image);
    }
    _ = fs::remove_dir_all(t.dir().join(".xp/labels"));
}

fn labels_known_from_the_engine_are_not_requested(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let repository = small::repository(t, "zbackend");
    small::platform(t, registry.host(), &[("zbackend", &repository)]);
    t.xp(["build"]).success();
    let mark = registry.mark();
    t.xp(["build"]).success().stdout_contains("skipped");
    let requests = registry.requests_since(mark);
    assert_eq!(requests.iter().filter(|r| r.method == "HEAD").count(), 2);
    assert_eq!(requests.len(), 3, "{requests:?}");
    assert!(!t.exists(".xp/labels"), "nothing had to be kept");
}

fn a_fresh_machine_requests_labels_once(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let repository = small::repository(t, "zbackend");
    small::platform(t, registry.host(), &[("zbackend", &repository)]);
    t.xp(["build"]).success();
    forget(t, &registry);
    let plan = || {
        let mark = registry.mark();
        let plan = t.xp(["plan", "--no-pull"]).success();
        plan.stdout_contains("Nothing to do");
        registry.requests_since(mark)
    };
    let cold = plan();
    let gets = |part: &str| {
        let about = |request: &&crate::world::Request| {
            request.method == "GET" && request.path.contains(part)
        };
        cold.iter().filter(about).count()
    };
    assert_eq!((gets("/manifests/"), gets("/blobs/")), (1, 1), "{cold:?}");
    assert_eq!(cold.len(), 5, "{cold:?}");
    let warm = plan();
    assert_eq!(warm.len(), 3, "{warm:?}");

    // The cache only stores earlier responses: if it is damaged, they are requested again.
    let folder = t.dir().join(".xp/labels");
    for entry in fs::read_dir(&folder).expect("labels").flatten() {
        fs::write(entry.path(), "{\"x").expect("a file");
    }
    assert_eq!(plan().len(), 5);
    assert_eq!(plan().len(), 3);
}

fn trusted_commits_are_not_compared(t: &Context) {
    let product = Product::new(t);
    let registry = t.registry();
    product.manifest(registry.host(), "", "");
    t.xp(["build"]).env("WORD", "one").success();
    forget(t, registry);
    let mark = registry.mark();
    // A variable that only a build needs may be unset.
    let skip = t.xp(["build", "--trust-commit", "--no-pull"]).success();
    assert!(skip.row("zbackend").contains("skipped"), "{skip}");
    let requests = t.own_requests(registry.requests_since(mark));
    assert!(
        requests.iter().all(|request| request.method == "HEAD"),
        "{requests:?}"
    );
    t.xp(["plan"])
        .failure(2)
        .stderr_contains("`WORD` is not set");
}

/// Builds the image of a service's commit without xp, with a label, and pushes it.
fn push_manually(t: &Context, registry: &Registry, repository: &GitRepository, label: &str) {
    let image = format!(
        "{}/{}:{}",
        registry.host(),
        t.image("zbackend"),
        repository.head()
    );
    let folder = repository.clone_path().display().to_string();
    let mut build = t.engine().client();
    // The classic builder's cache has images of other tests, which remove them.
    build.args(["build", "--quiet", "--no-cache", "--tag", &image]);
    if !label.is_empty() {
        build.args(["--label", &format!("x-platform.recipe={label}")]);
    }
    process::succeed(build.arg(folder));
    t.engine().docker(["push", "--quiet", &image]);
    t.engine().remove_image(&image);
}

fn an_image_of_another_tool_is_unverified(t: &Context) {
    let registry = t.registry();
    let repository = small::repository(t, "zbackend");
    small::platform(t, registry.host(), &[("zbackend", &repository)]);
    push_manually(t, registry, &repository, "");
    let pull = t.xp(["build"]).success();
    let row = pull.row("zbackend");
    assert!(
        row.contains("pulled") && row.contains("unverified"),
        "{pull}"
    );
    let why = t.xp(["why", "zbackend"]).success();
    why.stdout_contains("unverified: the image does not record what it was built from");
}

fn an_unreadable_label_stops_the_run(t: &Context) {
    let registry = t.registry();
    let repository = small::repository(t, "zbackend");
    small::platform(t, registry.host(), &[("zbackend", &repository)]);
    for (label, what, hint) in [
        ("garbage \u{1b}[31m", "`x-platform.recipe`: not JSON", ""),
        (
            r#"{"version":7,"inputs":{}}"#,
            "format version 7, but this xp supports 1",
            "a newer xp can read it",
        ),
    ] {
        push_manually(t, registry, &repository, label);
        let digest = || registry.manifest_digest(&t.image("zbackend"), &repository.head());
        let before = digest();
        let build = t.xp(["build"]).failure(3);
        let build = build.stderr_contains(what).stderr_contains(hint);
        let build = build
            .stderr_contains("--trust-commit")
            .stderr_contains("--force");
        build.does_not_contain("\u{1b}");
        assert_eq!(digest(), before, "nothing is lost");
        let trusted = t.xp(["build", "--trust-commit"]).success();
        assert!(trusted.row("zbackend").contains("pulled"), "{trusted}");
        let why = t.xp(["why", "zbackend"]).failure(3);
        why.stdout_contains(what).stdout_contains("docker.file");
        t.xp(["build", "--force"]).success();
        assert_ne!(digest(), before);
        t.xp(["plan"]).success().stdout_contains("Nothing to do");
        forget(t, registry);
    }
}

fn unavailable_labels_stop_the_run(t: &Context) {
    let repository = small::repository(t, "zbackend");
    small::platform(t, t.registry().host(), &[("zbackend", &repository)]);
    t.xp(["build"]).success();
    for (part, status) in [("/manifests/sha256", 500), ("/blobs/", 404)] {
        let gateway = Gateway::before(t.registry().host(), move |incoming| {
            match incoming.method == "GET" && incoming.path.contains(part) {
                true => Reply::status(status),
                false => Reply::Forward,
            }
        });
        small::platform(t, gateway.host(), &[("zbackend", &repository)]);
        let build = t.xp(["build", "--no-pull"]).failure(3);
        build
            .stderr_contains(&status.to_string())
            .stderr_contains("nothing was built");
        t.xp(["build", "--no-pull", "--trust-commit"]).success();
    }
}

fn a_corrupted_response_is_rejected(t: &Context) {
    let repository = small::repository(t, "zbackend");
    small::platform(t, t.registry().host(), &[("zbackend", &repository)]);
    t.xp(["build"]).success();
    let gateway = Gateway::before(t.registry().host(), |incoming| {
        match incoming.method == "GET" && incoming.path.contains("/blobs/") {
            true => Reply::json(200, r#"{"config":{"Labels":{}}}"#),
            false => Reply::Forward,
        }
    });
    small::platform(t, gateway.host(), &[("zbackend", &repository)]);
    let build = t.xp(["build", "--no-pull"]).failure(3);
    build.stderr_contains("does not match the requested digest");
    assert!(!t.exists(".xp/labels"), "it is not kept");
}

fn the_compared_image_is_pulled_even_if_its_tag_moved(t: &Context) {
    let repository = small::repository(t, "zbackend");
    small::platform(t, t.registry().host(), &[("zbackend", &repository)]);
    t.xp(["build"]).success();
    let commit = repository.head();
    let by_tag = format!("/manifests/{commit}");
    let gateway = Gateway::before(t.registry().host(), move |incoming| {
        // The engine sends HEAD first, like xp; only the path differs.
        match incoming.method == "GET" && incoming.path.ends_with(&by_tag) {
            true => Reply::status(500),
            false => Reply::Forward,
        }
    });
    small::platform(t, gateway.host(), &[("zbackend", &repository)]);
    let pull = t.xp(["build"]).success();
    assert!(pull.row("zbackend").contains("pulled"), "{pull}");
    let image = format!("{}/{}", gateway.host(), t.image("zbackend"));
    for tag in [commit.as_str(), "master"] {
        assert!(t.engine().image(&format!("{image}:{tag}")).is_some());
    }
    t.xp(["plan"]).success().stdout_contains("Nothing to do");
}

fn an_untested_image_is_rebuilt_with_tests(t: &Context) {
    let product = Product::new(t);
    product.manifest(t.registry().host(), "", "");
    let build = |arguments: &[&str]| {
        let mut xp = t.xp(["build"]).env("WORD", "");
        for argument in arguments {
            xp = xp.arg(argument);
        }
        xp.success()
    };
    build(&["--no-test"]);
    assert!(build(&["--no-test"]).row("zbackend").contains("skipped"));
    let tested = build(&[]);
    assert!(
        tested.row("zbackend").contains("scripts.test is new"),
        "{tested}"
    );
    assert!(build(&["--no-test"]).row("zbackend").contains("skipped"));
    assert!(build(&[]).row("zbackend").contains("skipped"));
}

fn an_immutable_tag_is_kept(t: &Context) {
    for (status, code, message) in [
        (
            400,
            "TAG_INVALID",
            "the tag already exists and is immutable",
        ),
        (409, "CONFLICT", "tag exists"),
        (412, "PRECONDITION", "configured as immutable"),
        (403, "DENIED", "tags cannot be updated"),
    ] {
        let name = format!("zbackend-{status}");
        let repository = small::repository(t, &name);
        let (commit, image) = (repository.head(), t.image(&name));
        let tag = format!("/manifests/{commit}");
        let is_immutable = format!("/v2/{image}{tag}");
        let taken = std::sync::atomic::AtomicBool::new(false);
        let gateway = Gateway::before(t.registry().host(), move |incoming| {
            let is_put = incoming.method == "PUT" && incoming.path == is_immutable;
            match is_put && taken.swap(true, std::sync::atomic::Ordering::Relaxed) {
                true => Reply::error(status, code, message),
                false => Reply::Forward,
            }
        });
        small::platform(t, gateway.host(), &[(&name, &repository)]);
        t.xp(["build"]).success();
        let before = t.registry().manifest_digest(&image, &commit);

        let changed = small::service(t, &name, &repository.url_file(), ", target: ''", "");
        let changed = changed.replace(", target: ''", ", args: {A: b}");
        small::manifest(t, gateway.host(), &changed);
        let build = t.xp(["build"]).success();
        assert!(build.row(&name).contains(" built "), "{build}");
        build
            .stderr_contains("does not allow moving ")
            .stderr_contains("the image is ");
        assert_eq!(t.registry().manifest_digest(&image, &commit), before);
        let branch = t.registry().manifest_digest(&image, "master");
        assert_ne!(branch, before, "the branch's tag moves");
        assert_eq!(t.registry().identity_tags(&image).len(), 2);
        let again = t.xp(["build"]).success();
        assert!(!again.row(&name).contains(" built "), "{again}");
    }
}

fn skopeo_shows_the_labels_and_tags(t: &Context) {
    let registry = t.registry();
    let repository = small::repository(t, "zbackend");
    small::platform(t, registry.host(), &[("zbackend", &repository)]);
    t.xp(["build", "--tag", "nightly"]).success();
    let image = format!(
        "docker://{}/{}:master",
        registry.host(),
        t.image("zbackend")
    );
    let inspect = t.program("skopeo", ["inspect", "--tls-verify=false", &image]);
    let shown: Value = serde_json::from_str(&inspect.success().stdout).expect("JSON");
    let labels = &shown["Labels"];
    assert_eq!(
        labels["org.opencontainers.image.revision"],
        repository.head()
    );
    assert_eq!(
        labels["org.opencontainers.image.source"],
        repository.url_file()
    );
    assert_eq!(labels["org.opencontainers.image.version"], "master");
    assert!(labels["org.opencontainers.image.created"].is_string());
    let recipe = labels["x-platform.recipe"].as_str().expect("a recipe");
    let recipe: Value = serde_json::from_str(recipe).expect("JSON");
    assert_eq!(recipe["inputs"]["docker.file"], "6651ddff6e");
    let identity = registry.identity_tags(&t.image("zbackend")).concat();
    let mut tags = vec!["master", "nightly", &identity];
    let commit = repository.head();
    tags.push(&commit);
    tags.sort_unstable();
    let mut shown: Vec<&str> = shown["RepoTags"]
        .as_array()
        .expect("tags")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    shown.sort_unstable();
    assert_eq!(shown, tags);
}
