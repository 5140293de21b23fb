//! Renamed services and images, moved repositories, and another registry: nothing is built again.

use crate::case::Case;
use crate::context::Context;
use crate::output::Output;
use crate::repository::GitRepository;
use crate::world::{Registry, RegistryKind};

pub const CASES: &[Case] = cases![
    renaming_a_service_builds_nothing,
    renaming_an_image_builds_nothing,
    an_image_with_another_name_is_not_used_if_its_inputs_differ,
    an_image_of_a_stranger_is_not_used,
    services_with_the_same_inputs_are_both_built,
    moving_a_repository_builds_nothing,
    changing_the_registry_builds_nothing,
    renaming_without_a_registry_builds_nothing,
    doctor_names_what_former_services_left,
];

/// The services `base`, with a script, and `top`, which is built from it.
pub struct Moving<'t> {
    t: &'t Context,
    pub base: GitRepository,
    pub top: GitRepository,
    /// The registry's prefix; `None` for a platform without a registry.
    pub registry: Option<String>,
    /// The name of `base` in the manifest.
    pub name: &'static str,
    dir: &'static str,
    /// The last part of its image's name.
    pub image: &'static str,
    remote: String,
    pub script: &'static str,
}

impl<'t> Moving<'t> {
    pub fn new(t: &'t Context, registry: Option<String>) -> Self {
        let base = t.git_repo("base");
        let dockerfile = format!("FROM {}\nCOPY made /made\n", t.engine().busybox());
        base.commit(&[("Dockerfile", &dockerfile)], "Start");
        let top = t.git_repo("top");
        top.commit(
            &[("Dockerfile", "ARG BASE=scratch\nFROM ${BASE}\n")],
            "Start",
        );
        Self {
            t,
            remote: base.url_file(),
            base,
            top,
            registry,
            name: "base",
            dir: "src/base",
            image: "base",
            script: "echo old > made",
        }
    }

    /// Writes the manifest.
    pub fn write(&self) -> &Self {
        let Self {
            t,
            name,
            dir,
            remote,
            script,
            ..
        } = self;
        let registry = self.registry.as_ref();
        let registry = registry.map(|host| format!("registry: {host}\n"));
        t.manifest(&format!(
            "{}services:\n  {name}:\n    dir: {dir}\n    git: {{ remote: '{remote}' }}\n    \
             dockerBuilder: {{ image: {}, network: none }}\n    scripts: {{ build: ['{script}'] }}\n    \
             docker: {{ image: {} }}\n  top:\n    dir: src/top\n    git: {{ remote: '{}' }}\n    \
             docker:\n      image: {}\n      args: {{ BASE: '${{{{ services.{name}.image }}}}' }}\n",
            registry.unwrap_or_default(),
            t.engine().busybox(),
            t.image(self.image),
            self.top.url_file(),
            t.image("top"),
        ));
        self
    }

    /// Builds everything.
    pub fn build(&self) -> Output {
        self.write();
        let build = self.t.xp(["build"]).success();
        assert_eq!(build.stdout.matches("  built  ").count(), 2, "{build}");
        build
    }

    /// Returns the engine's ID of an image.
    fn id(&self, image: &str, repository: &GitRepository) -> Option<String> {
        let registry = self
            .registry
            .as_ref()
            .map(|registry| format!("{registry}/"));
        let registry = registry.unwrap_or_default();
        let name = format!("{registry}{}:{}", self.t.image(image), repository.head());
        let image = self.t.engine().image(&name)?;
        Some(image["Id"].as_str().expect("an ID").to_owned())
    }
}

/// Asserts that a build does nothing but what its plan says: set names and push.
#[track_caller]
pub fn nothing_is_built(t: &Context) {
    let build = t.xp(["build"]).success();
    assert!(!build.stdout.contains(" built "), "{build}");
    let plan = t.xp(["plan"]).success();
    plan.stdout_contains("Nothing to do");
}

/// Returns the recipe labels of two images in registries.
fn recipes(one: (&Registry, &str, &str), other: (&Registry, &str, &str)) -> [String; 2] {
    [one, other].map(|(registry, repository, tag)| {
        registry.labels(repository, tag)["x-platform.recipe"].clone()
    })
}

fn renaming_a_service_builds_nothing(t: &Context) {
    let mut moving = Moving::new(t, Some(t.registry().host().to_owned()));
    moving.build();
    t.xp(["sync"]).success();
    let locked = || {
        t.xp(["lock"]).success();
        let lock = t.read("x-platform.lock");
        let mut recipes: Vec<_> = lock.lines().filter(|it| it.contains("recipe:")).collect();
        recipes.sort_unstable();
        recipes.concat()
    };
    let before = locked();
    moving.name = "core";
    moving.dir = "src/core";
    moving.write();
    let plan = t.xp(["plan"]).success();
    plan.stdout_contains("Nothing to do");
    nothing_is_built(t);
    // A deploy compares them with the images, which have the old name.
    assert_eq!(locked(), before);
    t.xp(["build", "--locked"]).success();
    // The images built from it are compared with it under its new name.
    moving.script = "echo changed > made";
    moving.write();
    let plan = t.xp(["plan"]).success();
    assert!(plan.row("core").contains("scripts.build changed"), "{plan}");
    assert!(plan.row("top").contains(" build "), "{plan}");
    t.xp(["build"]).success();
    nothing_is_built(t);
    t.xp(["lock"]).success();
}

fn renaming_an_image_builds_nothing(t: &Context) {
    let registry = t.registry();
    let mut moving = Moving::new(t, Some(registry.host().to_owned()));
    moving.build();
    let (id, commit) = (moving.id("base", &moving.base), moving.base.head());
    moving.image = "core";
    moving.write();
    let plan = t.xp(["plan"]).success();
    let from = format!("in the engine as {}/{}:", registry.host(), t.image("base"));
    assert!(plan.row("base").contains(" push "), "{plan}");
    let document = t.xp(["plan", "--format", "json"]).success();
    assert!(document.stdout.contains(&from), "{document}");
    assert!(!plan.stdout.contains(" build "), "{plan}");
    nothing_is_built(t);
    assert_eq!(moving.id("core", &moving.base), id);
    let [before, now] = recipes(
        (registry, &t.image("base"), &commit),
        (registry, &t.image("core"), &commit),
    );
    assert_eq!(before, now);
    assert_eq!(registry.identity_tags(&t.image("core")).len(), 1);
    assert!(
        registry
            .manifest_digest(&t.image("core"), "master")
            .is_some()
    );
    // A new commit is built under the new name.
    moving.base.commit(&[("new", "1\n")], "More");
    let build = t.xp(["build"]).success();
    assert_eq!(build.stdout.matches("  built  ").count(), 2, "{build}");
}

fn an_image_with_another_name_is_not_used_if_its_inputs_differ(t: &Context) {
    let mut moving = Moving::new(t, Some(t.registry().host().to_owned()));
    moving.build();
    moving.image = "core";
    moving.script = "echo changed > made";
    moving.write();
    let plan = t.xp(["plan"]).success();
    assert!(plan.row("base").contains(" build "), "{plan}");
    moving.script = "echo old > made";
    moving.write();
    let forced = t.xp(["plan", "--force", "base"]).success();
    assert!(forced.row("base").contains(" build "), "{forced}");
    let plan = t.xp(["plan"]).success();
    assert!(plan.row("base").contains(" push "), "{plan}");
}

/// Labels can be forged, and an image of any name may have been pulled.
fn an_image_of_a_stranger_is_not_used(t: &Context) {
    let registry = t.registry().host();
    let mut moving = Moving::new(t, Some(registry.to_owned()));
    moving.build();
    let commit = moving.base.head();
    let built = format!("{registry}/{}:{commit}", t.image("base"));
    for stranger in ["evil.example.com/x/base", "evil/base"] {
        t.engine().tag(&built, &format!("{stranger}:{commit}"));
    }
    t.engine().remove_image(&built);
    moving.image = "core";
    moving.write();
    let plan = t.xp(["plan", "base"]).success();
    assert!(plan.row("base").contains(" build "), "{plan}");
    for stranger in ["evil.example.com/x/base", "evil/base"] {
        t.engine().remove_image(&format!("{stranger}:{commit}"));
    }
}

/// With the same commit and inputs, scripts may still build something else for each service.
fn services_with_the_same_inputs_are_both_built(t: &Context) {
    let dockerfile = format!("FROM {}\nCOPY name /\n", t.engine().busybox());
    let repository = t.git_repo("both");
    repository.commit(&[("Dockerfile", &dockerfile)], "Start");
    let services = ["one", "two"].map(|name| {
        format!(
            "  {name}:\n    dir: src/{name}\n    git: {{ remote: \"{}\" }}\n    dockerBuilder: {{ image: {}, network: none }}\n    \
             scripts: {{ build: [ 'echo $XP_SERVICE > name' ] }}\n    docker: {{ image: {} }}\n",
            repository.url_file(),
            t.engine().busybox(),
            t.image(name),
        )
    });
    let [one, two] = &services;
    t.manifest(&format!("services:\n{one}"));
    t.xp(["build"]).success();
    // Also if the first one is gone.
    for manifest in [
        format!("services:\n{one}{two}"),
        format!("services:\n{two}"),
    ] {
        t.manifest(&manifest);
        let build = t.xp(["build"]).success();
        assert!(build.row("two").contains(" built "), "{build}");
        let image = format!("{}:{}", t.image("two"), repository.head());
        assert_eq!(t.engine().run(&image, ["cat", "/name"]).trim(), "two");
        t.engine().remove_image(&image);
    }
}

fn moving_a_repository_builds_nothing(t: &Context) {
    let mut moving = Moving::new(t, Some(t.registry().host().to_owned()));
    moving.build();
    t.xp(["sync"]).success();
    t.xp(["lock"]).success();
    let before = t.git("src/base", &["rev-parse", "HEAD"]);
    moving.remote = moving.base.url_http();
    moving.write();
    let plan = t.xp(["plan"]).success();
    plan.stdout_contains("Nothing to do");
    nothing_is_built(t);
    t.xp(["build", "--locked"]).success();
    let check = t.xp(["lock", "--check"]).failure(1);
    check.stdout_contains("remote");
    // New commits come from the new URL; the working copy still follows its own.
    let head = moving.base.commit(&[("new", "1\n")], "More");
    t.xp(["build"]).success();
    let tags = t.registry().tags(&t.image("base"));
    assert!(tags.contains(&head), "{tags:?}");
    let sync = t.xp(["sync"]).success();
    assert!(sync.row("base").contains("origin"), "{sync}");
    assert_eq!(t.git("src/base", &["rev-parse", "HEAD"]), before);
    t.git("src/base", &["remote", "set-url", "origin", &moving.remote]);
    let sync = t.xp(["sync"]).success();
    assert!(sync.row("base").contains("moved from"), "{sync}");
}

fn changing_the_registry_builds_nothing(t: &Context) {
    let (old, new) = (t.registry(), t.own_registry(RegistryKind::Open));
    let mut moving = Moving::new(t, Some(old.host().to_owned()));
    moving.build();
    moving.registry = Some(new.host().to_owned());
    moving.write();
    let plan = t.xp(["plan"]).success();
    for (service, image) in [("base", "base"), ("top", "top")] {
        assert!(plan.row(service).contains(" push "), "{plan}");
        let from = format!("in the engine as {}/{}:", old.host(), t.image(image));
        let document = t.xp(["plan", "--format", "json"]).success();
        assert!(document.stdout.contains(&from), "{document}");
    }
    nothing_is_built(t);
    let commit = moving.top.head();
    let [before, now] = recipes(
        (old, &t.image("top"), &commit),
        (&new, &t.image("top"), &commit),
    );
    assert_eq!(before, now);
    t.xp(["lock"]).success();
    t.xp(["build", "--locked"]).success();
}

fn renaming_without_a_registry_builds_nothing(t: &Context) {
    let mut moving = Moving::new(t, None);
    moving.build();
    let id = moving.id("top", &moving.top);
    moving.image = "core";
    moving.write();
    let plan = t.xp(["plan"]).success();
    assert!(plan.row("base").contains(" tag "), "{plan}");
    nothing_is_built(t);
    moving.name = "core";
    moving.write();
    nothing_is_built(t);
    assert_eq!(moving.id("top", &moving.top), id);
}

fn doctor_names_what_former_services_left(t: &Context) {
    let mut moving = Moving::new(t, Some(t.registry().host().to_owned()));
    moving.build();
    t.xp(["sync"]).success();
    let doctor = t.xp(["doctor", "-v"]).success();
    assert!(!doctor.stdout.contains("leftovers"), "{doctor}");
    moving.name = "core";
    moving.dir = "src/core";
    moving.image = "core";
    moving.write();
    t.xp(["build"]).success();
    let doctor = t.xp(["doctor"]).success();
    doctor.stdout_contains("leftovers");
    let doctor = t.xp(["doctor", "-v"]).success();
    let former = format!("{}/{}", t.registry().host(), t.image("base"));
    for text in [
        "note: src/base is a working copy of no service in the manifest",
        "remove it with `rm -r src/base`",
        "remove exports and caches with `rm -r .xp/build/base .xp/git/base`",
        &format!("the engine has 2 images named {former}, which is of no service in the manifest"),
    ] {
        assert!(doctor.stdout.contains(text), "{text}: {doctor}");
    }
    let json = t.xp(["doctor", "--format", "json"]).success();
    json.stdout_contains("\"leftovers\"");
    // The printed command removes exactly these names.
    let (_, command) = doctor
        .stdout
        .split_once("remove these names with `")
        .expect("a command");
    let command = command.split('`').next().expect("an end");
    let docker = format!("docker --host {} image", t.engine().host());
    let command = command.replace("docker image", &docker);
    t.program("sh", ["-c", &command]).success();
    std::fs::remove_dir_all(t.dir().join("src/base")).expect("the working copy");
    for folder in ["build", "git"] {
        std::fs::remove_dir_all(t.dir().join(".xp").join(folder).join("base")).expect("a folder");
    }
    let doctor = t.xp(["doctor", "-v"]).success();
    assert!(!doctor.stdout.contains("leftovers"), "{doctor}");
    nothing_is_built(t);
    // Only some services are checked.
    moving.name = "base";
    moving.dir = "src/base";
    moving.write();
    let doctor = t.xp(["doctor", "-v", "base"]).success();
    assert!(!doctor.stdout.contains("leftovers"), "{doctor}");
}
