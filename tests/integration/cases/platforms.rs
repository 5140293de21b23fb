//! Images for several platforms, with images that only copy files: they are built for any platform without emulation.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::case::Case;
use crate::context::Context;
use crate::process::succeed;
use crate::repository::GitRepository;
use crate::stored_images::{OCI_CONFIG, OCI_INDEX, OCI_MANIFEST};
use crate::world::{Engine, Gateway, Registry, Reply};

pub const CASES: &[Case] = cases![
    an_index_is_pushed_with_an_image_per_platform,
    only_what_is_missing_is_built,
    a_platform_that_differs_is_built,
    an_index_of_another_tool_is_accepted,
    a_dependent_is_built_on_each_platform,
    the_engine_has_its_own_platform,
    scripts_run_once_for_all_platforms,
    another_engine_builds_its_platform,
    engines_of_other_platforms_are_cleaned,
    instructions_of_another_platform_are_refused,
    an_emulator_runs_instructions,
    a_base_image_of_another_platform_is_an_error,
    base_images_of_another_platform_are_recorded_if_they_are_known,
    an_index_is_locked_copied_and_cleaned,
    platforms_are_refused_where_they_cannot_work,
];

pub(super) const AMD: &str = "linux/amd64";
pub(super) const ARM: &str = "linux/arm64";

/// Creates a repository with an image that only has a file.
pub(super) fn repository(t: &Context, name: &str) -> GitRepository {
    let repository = t.git_repo(name);
    let dockerfile = "FROM scratch\nCOPY file /file\n";
    repository.commit(&[("Dockerfile", dockerfile), ("file", "1\n")], "First");
    repository
}

/// Writes a manifest with services that have these keys in `docker`, and more keys.
pub(super) fn manifest(t: &Context, top: &str, services: &[(&str, &GitRepository, &str, &str)]) {
    let mut text = format!("registry: {}\n{top}services:\n", t.registry().host());
    for (name, repository, docker, more) in services {
        let (url, image) = (repository.url_http(), t.image(name));
        text.push_str(&format!(
            "  {name}:\n    dir: src/{name}\n    git: {{remote: '{url}'}}\n    docker: {{image: {image}{docker}}}\n{more}"
        ));
    }
    t.manifest(&text);
}

/// Returns the key with both platforms, for `docker` in a manifest.
pub(super) fn both() -> String {
    format!(", platforms: [{AMD}, {ARM}]")
}

/// An image of a service in a registry.
pub(super) struct Image<'t> {
    pub registry: &'t Registry,
    /// The repository.
    pub name: String,
    /// The commit, or another tag.
    pub commit: String,
}

impl<'t> Image<'t> {
    /// Returns the image of the last commit.
    pub fn of(t: &'t Context, name: &str, repository: &GitRepository) -> Self {
        Self {
            registry: t.registry(),
            name: t.image(name),
            commit: repository.head(),
        }
    }

    /// Returns the image with another tag.
    pub fn tagged(&self, tag: &str) -> Self {
        Self {
            registry: self.registry,
            name: self.name.clone(),
            commit: tag.to_owned(),
        }
    }

    pub fn index(&self) -> Value {
        self.registry.image_manifest(&self.name, &self.commit)
    }

    pub fn digest(&self) -> String {
        let digest = self.registry.manifest_digest(&self.name, &self.commit);
        digest.expect("the index")
    }

    /// Returns the digest of a platform's image.
    pub fn part(&self, platform: &str) -> String {
        let index = self.index();
        let listed = index["manifests"].as_array();
        let listed = listed.unwrap_or_else(|| panic!("not an index: {index}"));
        let name_of = |image: &Value| {
            let parts = ["os", "architecture", "variant"].into_iter();
            let parts = parts.filter_map(|part| image["platform"][part].as_str());
            parts.collect::<Vec<_>>().join("/")
        };
        let mut found = listed.iter().filter(|it| name_of(it) == platform);
        let found = found.next().unwrap_or_else(|| panic!("{index}"));
        found["digest"].as_str().expect("a digest").to_owned()
    }

    /// Returns the manifest of a platform's image.
    pub fn manifest_of(&self, platform: &str) -> Value {
        serde_json::from_slice(&self.registry.blob(&self.part(platform))).expect("JSON")
    }

    /// Returns the configuration of a platform's image.
    pub fn configuration(&self, platform: &str) -> Value {
        let digest = &self.manifest_of(platform)["config"]["digest"];
        let bytes = self.registry.blob(digest.as_str().expect("a digest"));
        serde_json::from_slice(&bytes).expect("JSON")
    }

    /// Returns the digests of the layers of a platform's image.
    pub fn layers(&self, platform: &str) -> Vec<String> {
        let manifest = self.manifest_of(platform);
        let layers = manifest["layers"].as_array().expect("layers").iter();
        layers
            .map(|it| it["digest"].as_str().expect("a digest").to_owned())
            .collect()
    }
}

/// Asserts that the images of all platforms start with those of another index, which they were built from.
#[track_caller]
pub(super) fn assert_built_from(image: &Image<'_>, base: &Image<'_>) {
    for platform in [AMD, ARM] {
        let (of_base, of_image) = (base.layers(platform), image.layers(platform));
        assert!(of_image.len() > of_base.len(), "{platform}: {of_image:?}");
        assert_eq!(of_image[..of_base.len()], of_base, "{platform}");
    }
}

/// Writes a manifest with the services `base`, with content that depends on the platform, and `top`, which is built from
/// it. Both have both platforms. With the argument `OF: other`, `base` has other content.
pub(super) fn based(t: &Context) -> [GitRepository; 2] {
    let base = t.git_repo("base");
    let dockerfile = "FROM scratch\nARG TARGETARCH\nARG OF=file\nCOPY ${OF} /${TARGETARCH}\n";
    base.commit(
        &[
            ("Dockerfile", dockerfile),
            ("file", "1\n"),
            ("other", "2\n"),
        ],
        "First",
    );
    let top = t.git_repo("top");
    let dockerfile = "ARG BASE\nFROM ${BASE}\nCOPY own /own\n";
    top.commit(&[("Dockerfile", dockerfile), ("own", "1\n")], "First");
    let platforms = both();
    let of_top = format!("{platforms}, args: {{BASE: '${{{{ services.base.image }}}}'}}");
    let services = [
        ("base", &base, platforms.as_str(), ""),
        ("top", &top, &of_top, ""),
    ];
    manifest(t, "", &services);
    [base, top]
}

/// Returns the titles of the build steps of a service.
pub(super) fn builds(plan: &str) -> Vec<String> {
    let plan: Value = serde_json::from_str(plan).expect("JSON");
    let units = plan["units"].as_array().expect("units");
    let steps = units
        .iter()
        .flat_map(|it| it["steps"].as_array().expect("steps"));
    let images = steps.filter(|it| it["phase"] == "image");
    images
        .map(|it| it["text"].as_str().expect("text").to_owned())
        .collect()
}

pub(super) fn planned_builds(t: &Context) -> Vec<String> {
    builds(&t.xp(["plan", "--format", "json"]).success().stdout)
}

fn an_index_is_pushed_with_an_image_per_platform(t: &Context) {
    let a = repository(t, "a");
    manifest(t, "", &[("a", &a, &both(), "")]);
    let plan = t.xp(["plan", "--all"]).success();
    plan.stdout_contains("--platform linux/arm64")
        .stdout_contains("for linux/amd64, linux/arm64");
    t.xp(["build"]).success();
    let image = Image::of(t, "a", &a);
    for platform in [AMD, ARM] {
        let configuration = image.configuration(platform);
        let (system, architecture) = platform.split_once('/').expect("a platform");
        assert_eq!(configuration["architecture"], architecture);
        assert_eq!(configuration["os"], system);
        let labels = &configuration["config"]["Labels"];
        assert_eq!(labels["x-platform.platform"], platform);
        assert_eq!(labels["org.opencontainers.image.revision"], a.head());
    }
    assert_eq!(image.index()["manifests"].as_array().map(Vec::len), Some(2));
    // Every tag is on the index, except those with which the images were pushed.
    let registry = t.registry();
    let mut parts = 0;
    for tag in registry.all_tags(&image.name) {
        let digest = registry.manifest_digest(&image.name, &tag);
        if tag.ends_with("-linux-amd64") || tag.ends_with("-linux-arm64") {
            parts += 1;
            assert_ne!(digest, Some(image.digest()), "{tag}");
        } else {
            assert_eq!(digest, Some(image.digest()), "{tag}");
        }
    }
    assert_eq!(parts, 2);
    assert_eq!(registry.identity_tags(&image.name).len(), 1);
    for command in ["plan", "build"] {
        t.xp([command]).success().stdout_contains("Nothing to do");
    }
    let status = t.xp(["status"]).success();
    assert!(status.row("a").contains("verified  verified"), "{status}");
    t.xp(["why", "a"])
        .success()
        .stdout_contains("docker.platforms");
    // Another machine.
    let other = t.own_engine();
    let other_plan = t.xp(["plan"]).env("DOCKER_HOST", other.host()).success();
    other_plan.stdout_contains("in the registry, not in the engine");
    t.xp(["build"]).env("DOCKER_HOST", other.host()).success();
    let plan = t.xp(["plan"]).env("DOCKER_HOST", other.host()).success();
    plan.stdout_contains("Nothing to do");
    other.stop();
}

fn only_what_is_missing_is_built(t: &Context) {
    let a = repository(t, "a");
    // An image without platforms is that of the engine's.
    manifest(t, "", &[("a", &a, "", "")]);
    t.xp(["build"]).success();
    let image = Image::of(t, "a", &a);
    let first = image.digest();
    manifest(t, "", &[("a", &a, &both(), "")]);
    let plan = t.xp(["plan", "--all"]).success();
    plan.stdout_contains("platforms.linux/arm64 is missing")
        .stdout_contains("linux/amd64 (kept), linux/arm64");
    assert_eq!(planned_builds(t).len(), 1);
    t.xp(["build"]).success();
    assert_eq!(image.part(AMD), first);
    let arm = image.part(ARM);
    t.xp(["plan"]).success().stdout_contains("Nothing to do");
    // One more platform, and then fewer.
    let more = format!(", platforms: [{AMD}, {ARM}, linux/s390x]");
    manifest(t, "", &[("a", &a, &more, "")]);
    assert_eq!(
        planned_builds(t),
        ["docker build --platform linux/s390x .xp/build/a"]
    );
    t.xp(["build"]).success();
    assert_eq!((image.part(AMD), image.part(ARM)), (first, arm));
    manifest(t, "", &[("a", &a, &both(), "")]);
    t.xp(["plan"]).success().stdout_contains("Nothing to do");
    // All of them.
    t.xp(["build", "--force"]).success();
    assert_eq!(image.index()["manifests"].as_array().map(Vec::len), Some(2));
    t.xp(["plan"]).success().stdout_contains("Nothing to do");
}

fn a_platform_that_differs_is_built(t: &Context) {
    let a = repository(t, "a");
    manifest(t, "", &[("a", &a, &both(), "")]);
    t.xp(["build"]).success();
    let image = Image::of(t, "a", &a);
    let (amd, index) = (image.part(AMD), image.index());
    // Another tool replaces the image of one platform.
    let registry = t.registry();
    let mut configuration = image.configuration(ARM);
    configuration["config"]["Labels"] = json!({});
    let mut foreign: Value =
        serde_json::from_slice(&registry.blob(&image.part(ARM))).expect("JSON");
    let media_type = foreign["config"]["mediaType"].as_str().expect("a type");
    let blob = registry.put_blob(
        &image.name,
        media_type,
        configuration.to_string().as_bytes(),
    );
    foreign["config"] = blob;
    let mut listed = registry.put_manifest(&image.name, "foreign", &foreign);
    listed["platform"] = json!({"os": "linux", "architecture": "arm64"});
    let mut changed = index.clone();
    let entries = changed["manifests"].as_array_mut().expect("a list");
    entries.retain(|it| it["platform"]["architecture"] != "arm64");
    entries.push(listed);
    for tag in registry.all_tags(&image.name) {
        if tag.starts_with(&image.commit) && !tag.contains("linux") {
            registry.put_manifest(&image.name, &tag, &changed);
        }
    }
    let plan = t.xp(["plan", "--all"]).success();
    plan.stdout_contains("platforms.linux/arm64 was not built by xp")
        .stdout_contains("linux/amd64 (kept), linux/arm64");
    t.xp(["build"]).success();
    assert_eq!(image.part(AMD), amd);
    let labels = &image.configuration(ARM)["config"]["Labels"];
    assert_eq!(labels["x-platform.platform"], ARM);
    t.xp(["plan"]).success().stdout_contains("Nothing to do");
}

/// Puts an index of another tool under all tags of an image, which xp built for the engine's platform. With
/// attestations, it also lists those of BuildKit.
pub(super) fn put_foreign_index(image: &Image<'_>, with_attestations: bool) {
    let (registry, name) = (image.registry, &image.name);
    let manifest_of = registry.image_manifest(name, &image.commit);
    let tags = registry.all_tags(name);
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let config_type = text(&manifest_of["config"]["mediaType"]);
    let mut configuration = registry.image_configuration(name, &image.commit);
    configuration["config"]["Labels"] = json!({});
    let mut listed = Vec::new();
    for architecture in ["amd64", "arm64"] {
        configuration["architecture"] = json!(architecture);
        let mut manifest = manifest_of.clone();
        let bytes = configuration.to_string();
        manifest["config"] = registry.put_blob(name, &config_type, bytes.as_bytes());
        let mut part = registry.put_manifest(name, architecture, &manifest);
        part["platform"] = json!({"os": "linux", "architecture": architecture});
        listed.push(part);
    }
    for part in listed.clone().iter().filter(|_| with_attestations) {
        let unknown = json!({"os": "unknown", "architecture": "unknown"});
        let config = json!({"os": "unknown", "architecture": "unknown", "config": {}});
        let statement = json!({"subject": [{"digest": part["digest"]}]}).to_string();
        let attestation = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": registry.put_blob(name, OCI_CONFIG, config.to_string().as_bytes()),
            "layers": [registry.put_blob(name, "application/vnd.in-toto+json", statement.as_bytes())],
        });
        let mut entry = registry.put_manifest(name, "attestation", &attestation);
        entry["platform"] = unknown;
        entry["annotations"] = json!({
            "vnd.docker.reference.digest": part["digest"],
            "vnd.docker.reference.type": "attestation-manifest",
        });
        listed.push(entry);
    }
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed});
    for tag in tags {
        registry.put_manifest(name, &tag, &index);
    }
}

fn an_index_of_another_tool_is_accepted(t: &Context) {
    let a = repository(t, "a");
    manifest(t, "", &[("a", &a, "", "")]);
    t.xp(["build"]).success();
    put_foreign_index(&Image::of(t, "a", &a), false);
    manifest(t, "", &[("a", &a, &both(), "")]);
    let plan = t.xp(["plan", "--no-pull"]).success();
    plan.stdout_contains("unverified");
    assert!(planned_builds(t).is_empty());
}

fn a_dependent_is_built_on_each_platform(t: &Context) {
    let [a, b] = based(t);
    t.xp(["build"]).success();
    let (base, image) = (Image::of(t, "base", &a), Image::of(t, "top", &b));
    assert_built_from(&image, &base);
    for platform in [AMD, ARM] {
        assert_eq!(image.layers(platform).len(), 2, "{platform}");
        assert_eq!(image.configuration(platform)["architecture"], platform[6..]);
    }
    t.xp(["plan"]).success().stdout_contains("Nothing to do");
    // A new commit of the base image builds both again.
    a.commit(&[("file", "2\n")], "Second");
    assert_eq!(planned_builds(t).len(), 4);
    t.xp(["build"]).success();
    t.xp(["plan"]).success().stdout_contains("Nothing to do");
}

fn the_engine_has_its_own_platform(t: &Context) {
    let a = t.git_repo("a");
    a.commit(
        &[
            (
                "Dockerfile",
                "FROM scratch\nARG TARGETARCH\nCOPY ${TARGETARCH} /arch\n",
            ),
            ("amd64", "amd64\n"),
            ("arm64", "arm64\n"),
        ],
        "First",
    );
    manifest(t, "", &[("a", &a, &both(), "")]);
    t.xp(["build"]).success();
    let name = format!("{}/{}", t.registry().host(), t.image("a"));
    let found = t
        .engine()
        .image(&format!("{name}:{}", a.head()))
        .expect("an image");
    assert_eq!(found["Architecture"], own_architecture());
    assert!(t.engine().image(&format!("{name}:master")).is_some());
    // Nothing else is left there.
    let names: Vec<String> = t.engine().images_with_prefix(&name);
    assert!(names.iter().all(|it| !it.contains("-linux-")), "{names:?}");
    // Without a push, there is only the engine's platform.
    a.commit(&[("amd64", "changed\n")], "Second");
    let plan = t.xp(["plan", "--no-push", "--format", "json"]).success();
    assert_eq!(builds(&plan.stdout), ["docker build .xp/build/a"]);
    t.xp(["build", "--no-push"]).success();
    t.xp(["plan", "--no-push"])
        .success()
        .stdout_contains("Nothing to do");
    let plan = t.xp(["plan", "--all"]).success();
    plan.stdout_contains("in the engine for one platform, not in the registry");
    t.xp(["build"]).success();
    t.xp(["plan"]).success().stdout_contains("Nothing to do");
    // A working copy is built for the engine's platform, too.
    t.xp(["sync"]).success();
    fs::write(t.dir().join("src/a/amd64"), "local\n").expect("a file");
    let local = t.xp(["plan", "--local", "--format", "json"]).success();
    assert_eq!(builds(&local.stdout), ["docker build src/a"]);
    t.xp(["build", "--local"]).success();
}

/// Returns the architecture of the engine, as Go names it.
pub(super) fn own_architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    }
}

fn scripts_run_once_for_all_platforms(t: &Context) {
    let a = t.git_repo("a");
    a.commit(&[("Dockerfile", "FROM scratch\nCOPY out /out\n")], "First");
    let busybox = t.engine().busybox().to_owned();
    let scripts = format!(
        "    dockerBuilder: {{image: '{busybox}', network: none}}\n    \
         scripts: {{once: true, build: ['echo x >> out; wc -l < out']}}\n"
    );
    manifest(t, "", &[("a", &a, &both(), &scripts)]);
    t.xp(["build", "--verbose"]).success();
    let image = Image::of(t, "a", &a);
    assert_eq!(image.layers(AMD), image.layers(ARM));
    t.xp(["plan"]).success().stdout_contains("Nothing to do");
}

/// Makes a docker context for an engine.
pub(super) fn add_context(t: &Context, name: &str, engine: &Engine) {
    let digest = Sha256::digest(name);
    let id: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let meta = json!({"Name": name, "Endpoints": {"docker": {"Host": engine.host()}}});
    let folder = t.docker_config().join("contexts/meta").join(id);
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("meta.json"), meta.to_string()).expect("a file");
}

fn another_engine_builds_its_platform(t: &Context) {
    let a = repository(t, "a");
    let engines = "engines: {linux/arm64: arm-builder}\n";
    manifest(t, engines, &[("a", &a, &both(), "")]);
    let missing = t.xp(["build"]).failure(2);
    missing
        .stderr_contains(
            "docker context `arm-builder` not found (set by `engines` in x-platform.yml)",
        )
        .stderr_contains("docker context create arm-builder");
    let other = t.own_engine();
    add_context(t, "arm-builder", &other);
    let plan = t.xp(["plan", "--all"]).success();
    plan.stdout_contains("docker --context arm-builder build --platform linux/arm64");
    t.xp(["build"]).success();
    let image = Image::of(t, "a", &a);
    assert_eq!(image.configuration(ARM)["architecture"], "arm64");
    assert_eq!(image.configuration(AMD)["architecture"], "amd64");
    // Only that engine has built it, and neither keeps it.
    let usage = |engine: &Engine| {
        let usage = engine.docker(["builder", "prune", "--all", "--force"]);
        String::from_utf8_lossy(&usage.stdout).into_owned()
    };
    assert!(!usage(&other).contains("Total:\t0B"), "{}", usage(&other));
    assert!(
        other
            .images_with_prefix("")
            .iter()
            .all(|it| !it.contains(&t.image("a")))
    );
    t.xp(["plan"]).success().stdout_contains("Nothing to do");
    other.stop();
    // It is needed only when something is built.
    t.xp(["build"]).success();
    a.commit(&[("file", "2\n")], "Second");
    t.xp(["build"]).failure(3).stderr_contains("engine");
}

/// An image of a platform stays in its engine if the push of the index failed.
fn engines_of_other_platforms_are_cleaned(t: &Context) {
    let a = repository(t, "a");
    let top = "clean: {keep: {days: 0, commits: 0}}\nengines: {linux/arm64: arm-builder}\n";
    manifest(t, top, &[("a", &a, &both(), "")]);
    let other = t.own_engine();
    add_context(t, "arm-builder", &other);
    let gateway = Gateway::before(t.registry().host(), |incoming| {
        let is_arm = incoming.path.ends_with("-linux-arm64");
        match incoming.method == "PUT" && is_arm {
            true => Reply::error(403, "DENIED", "the push is denied"),
            false => Reply::Forward,
        }
    });
    let text = t.read("x-platform.yml");
    t.manifest(&text.replace(t.registry().host(), gateway.host()));
    t.xp(["build"]).failure(1);
    let names = || other.images_with_prefix(gateway.host());
    let [name] = &names()[..] else {
        panic!("one name: {:?}", names());
    };
    assert!(name.ends_with("-linux-arm64"), "{name}");
    // The current commit is kept.
    t.xp(["clean", "--engine", "--delete"]).success();
    assert_eq!(names().len(), 1);
    a.commit(&[("file", "2\n")], "Second");
    let shown = t.xp(["clean", "--engine"]).success();
    shown.stdout_contains("arm-builder: ");
    let clean = t.xp(["clean", "--engine", "--format", "json"]).success();
    let clean: Value = serde_json::from_str(&clean.stdout).expect("JSON");
    let items = clean["items"].as_array().expect("items").iter();
    let items: Vec<&Value> = items.filter(|it| it["engine"] == "arm-builder").collect();
    let [item] = items[..] else {
        panic!("one item: {items:?}");
    };
    assert_eq!(item["action"], "remove");
    t.xp(["clean", "--engine", "--save", "clean.json"])
        .success();
    t.xp(["clean", "--use", "clean.json"]).success();
    assert_eq!(names(), [""; 0]);
    other.stop();
    t.xp(["clean", "--engine", "--delete"])
        .failure(3)
        .stderr_contains("leaves the engine out");
    t.xp(["clean", "--registry"]).success();
}

fn instructions_of_another_platform_are_refused(t: &Context) {
    if Path::new("/proc/sys/fs/binfmt_misc/qemu-s390x").exists() {
        return;
    }
    let a = t.git_repo("a");
    let busybox = t.engine().busybox().to_owned();
    let dockerfile = format!(
        "FROM {busybox} AS base\nRUN true\nFROM scratch\nCOPY file /file\nCOPY --from=base /bin/sh /sh\n"
    );
    a.commit(&[("Dockerfile", &dockerfile), ("file", "1\n")], "First");
    let platforms = format!(", platforms: [{AMD}, linux/s390x]");
    manifest(t, "", &[("a", &a, &platforms, "")]);
    t.xp(["build"])
        .failure(1)
        .stderr_contains("cannot run the instructions of the Dockerfile for linux/s390x")
        .stderr_contains("engines: {linux/s390x: CONTEXT}")
        .stderr_contains("qemu-user-static")
        .stderr_contains("Dockerfile:2");
    // Instructions on the engine's own platform are fine.
    let dockerfile = dockerfile.replace("FROM 1", "FROM");
    let dockerfile = dockerfile.replacen("FROM ", "FROM --platform=$BUILDPLATFORM ", 1);
    a.commit(&[("Dockerfile", &dockerfile)], "Second");
    t.xp(["build"]).success();
    let image = Image::of(t, "a", &a);
    assert_eq!(image.configuration("linux/s390x")["architecture"], "s390x");
}

/// A program for arm64 that makes a folder: `mkdirat(AT_FDCWD, "/made", 0755); exit(0);`.
fn arm_program() -> Vec<u8> {
    const CODE: [u32; 8] = [
        0x9280_0c60,
        0x1000_00e1,
        0x5280_3da2,
        0xd280_0448,
        0xd400_0001,
        0xd280_0000,
        0xd280_0ba8,
        0xd400_0001,
    ];
    const BASE: u64 = 0x40_0000;
    let code = CODE.iter().flat_map(|it| it.to_le_bytes());
    let code: Vec<u8> = code.chain(*b"/made\0").collect();
    let mut program = b"\x7fELF\x02\x01\x01".to_vec();
    program.resize(16, 0);
    let half = |program: &mut Vec<u8>, value: u16| program.extend(value.to_le_bytes());
    let word = |program: &mut Vec<u8>, value: u32| program.extend(value.to_le_bytes());
    let long = |program: &mut Vec<u8>, value: u64| program.extend(value.to_le_bytes());
    // A program of AArch64, its entry point, and where its only segment is described.
    half(&mut program, 2);
    half(&mut program, 183);
    word(&mut program, 1);
    long(&mut program, BASE + 120);
    long(&mut program, 64);
    long(&mut program, 0);
    word(&mut program, 0);
    for value in [64, 56, 1, 0, 0, 0] {
        half(&mut program, value);
    }
    // The segment is the whole file.
    word(&mut program, 1);
    word(&mut program, 5);
    let size = 120 + code.len() as u64;
    for value in [0, BASE, BASE, size, size, 0x1_0000] {
        long(&mut program, value);
    }
    program.extend(code);
    program
}

/// The registration of an emulator of arm64 in the kernel, until it is dropped.
pub(super) struct Emulator {
    folder: PathBuf,
    name: String,
}

impl Emulator {
    /// Registers it; `None` if the kernel does not support that, or runs programs of arm64 itself.
    pub fn register(t: &Context) -> Option<Self> {
        let systems = fs::read_to_string("/proc/filesystems").expect("the file systems");
        if !systems.contains("binfmt_misc") || cfg!(target_arch = "aarch64") {
            println!("this kernel does not run programs of arm64 with an emulator");
            return None;
        }
        let program = Path::new(env!("CARGO_MANIFEST_DIR"));
        let program = program.join("target/test-tools/qemu-aarch64-static");
        assert!(
            program.is_file(),
            "there is no {}; bin/test downloads it",
            program.display()
        );
        let folder = t.folder().join("binfmt");
        fs::create_dir_all(&folder).expect("a folder");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "binfmt_misc", "binfmt_misc"])
            .arg(&folder);
        succeed(&mut mount);
        // Several tests may register it at the same time.
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-arm64-{number}", crate::world::run_prefix());
        let emulator = Self { folder, name };
        let magic = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00";
        let mask =
            r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff";
        // `F` opens the emulator now, so that containers do not need it.
        let line = format!(
            ":{}:M::{magic}:{mask}:{}:F",
            emulator.name,
            program.display()
        );
        fs::write(emulator.folder.join("register"), line).expect("the registration");
        Some(emulator)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        _ = fs::write(self.folder.join(&self.name), "-1");
        _ = Command::new("umount").arg(&self.folder).status();
    }
}

fn an_emulator_runs_instructions(t: &Context) {
    let Some(_emulator) = Emulator::register(t) else {
        return;
    };
    // An engine looks for emulators when it starts.
    let engine = t.own_engine();
    let a = t.git_repo("a");
    let dockerfile = "FROM scratch\nCOPY program /\nRUN [\"/program\"]\n";
    a.commit(&[("Dockerfile", dockerfile)], "First");
    let program = a.clone_path().join("program");
    fs::write(&program, arm_program()).expect("the program");
    fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("its mode");
    a.commit(&[], "Second");
    manifest(t, "", &[("a", &a, ", platforms: [linux/arm64]", "")]);
    t.xp(["build"]).env("DOCKER_HOST", engine.host()).success();
    let image = Image::of(t, "a", &a);
    // The layer of the folder that the program made.
    assert_eq!(image.layers(ARM).len(), 2);
    engine.stop();
}

fn a_base_image_of_another_platform_is_an_error(t: &Context) {
    let base = repository(t, "base");
    let a = t.git_repo("a");
    manifest(t, "", &[("base", &base, "", "")]);
    t.xp(["build"]).success();
    let name = format!("{}/{}:master", t.registry().host(), t.image("base"));
    a.commit(
        &[
            ("Dockerfile", &format!("FROM {name}\nCOPY own /own\n")),
            ("own", ""),
        ],
        "First",
    );
    manifest(t, "", &[("a", &a, &both(), "")]);
    t.xp(["build"]).failure(1).stderr_contains(&format!(
        "the base image {name} does not exist for linux/arm64, only for linux/amd64"
    ));
    assert!(t.registry().all_tags(&t.image("a")).is_empty());
    // An argument is found before.
    let based = format!(
        "{}, args: {{BASE: '${{{{ services.base.image }}}}'}}",
        both()
    );
    manifest(t, "", &[("base", &base, "", ""), ("a", &a, &based, "")]);
    t.xp(["check"]).failure(2).stderr_contains(
        "service `a` is built for linux/amd64, but the image of `base` that it is built from is not",
    );
}

fn base_images_of_another_platform_are_recorded_if_they_are_known(t: &Context) {
    let base = repository(t, "base");
    let platforms = both();
    manifest(t, "", &[("base", &base, &platforms, "")]);
    t.xp(["build"]).success();
    let name = format!("{}/{}:master", t.registry().host(), t.image("base"));
    let a = t.git_repo("a");
    let dockerfile = format!("FROM {name}\nCOPY own /own\n");
    a.commit(&[("Dockerfile", &dockerfile), ("own", "")], "First");
    manifest(t, "", &[("a", &a, &platforms, "")]);
    t.xp(["build"]).success();
    let image = Image::of(t, "a", &a);
    let recorded = |platform: &str| {
        let labels = &image.configuration(platform)["config"]["Labels"];
        labels["x-platform.bases"].as_str().map(str::to_owned)
    };
    let of_base = json!({&name: Image::of(t, "base", &base).digest()}).to_string();
    let own = format!("linux/{}", own_architecture());
    let other = if own == AMD { ARM } else { AMD };
    assert_eq!(recorded(&own).as_ref(), Some(&of_base));
    // What its tag has is used, which may be of another index.
    assert_eq!(recorded(other).as_deref(), Some(""));
    let tracked = format!("{platforms}, bases: track");
    manifest(t, "", &[("a", &a, &tracked, "")]);
    assert_eq!(
        planned_builds(t),
        [format!(
            "docker build --platform {other} --pull .xp/build/a"
        )]
    );
    t.xp(["build"]).success();
    assert_eq!(recorded(&own).as_ref(), Some(&of_base));
    assert_eq!(recorded(other).as_ref(), Some(&of_base));
    t.xp(["plan"]).success().stdout_contains("Nothing to do");
}

fn an_index_is_locked_copied_and_cleaned(t: &Context) {
    let a = repository(t, "a");
    let top = "supply: {provenance: true}\n";
    manifest(t, top, &[("a", &a, &both(), "")]);
    t.xp(["build"]).success();
    t.xp(["verify"])
        .success()
        .stdout_contains("1 of 1 image verified.");
    let image = Image::of(t, "a", &a);
    t.xp(["lock"]).success();
    assert!(t.read("x-platform.lock").contains(&image.digest()));
    t.xp(["build", "--locked"])
        .success()
        .stdout_contains("Nothing to do");
    // Another registry prefix gets the same index.
    let host = t.registry().host();
    let text = t.read("x-platform.yml");
    t.manifest(&text.replace(
        &format!("registry: {host}"),
        &format!("registry: {host}/copied"),
    ));
    t.xp(["copy", "--from", host]).success();
    let copied = format!("copied/{}", image.name);
    let digest = t.registry().manifest_digest(&copied, &image.commit);
    assert_eq!(digest, Some(image.digest()));
    let mut tags = t.registry().all_tags(&copied);
    tags.retain(|tag| tag.contains("-linux-"));
    let parts = tags.iter();
    let parts = parts.filter_map(|tag| t.registry().manifest_digest(&copied, tag));
    let parts: Vec<String> = parts.collect();
    assert_eq!(parts, [image.part(AMD), image.part(ARM)]);
    t.xp(["plan", "--no-pull"]).success();
    t.manifest(&text);
    // Clean-up keeps the images of a kept index, and removes those of others.
    let clean = t.xp(["clean", "--registry"]).success();
    clean.does_not_contain("not a tag of xp");
}

fn platforms_are_refused_where_they_cannot_work(t: &Context) {
    let a = repository(t, "a");
    for (platforms, message) in [
        ("[]", "`docker.platforms` must not be empty"),
        (
            "[arm64]",
            "invalid platform `arm64`: expected `linux/ARCHITECTURE`",
        ),
        ("[windows/amd64]", "xp builds images for Linux only"),
        (
            "[linux/arm64, linux/aarch64]",
            "`linux/arm64` is listed twice",
        ),
    ] {
        manifest(
            t,
            "",
            &[("a", &a, &format!(", platforms: {platforms}"), "")],
        );
        t.xp(["check"]).failure(2).stderr_contains(message);
    }
    for (engines, message) in [
        ("{}", "`engines` must not be empty"),
        (
            "{linux/arm64: default}",
            "`default` is not the context of another engine",
        ),
        ("{arm: x}", "invalid platform `arm`"),
        (
            "{linux/arm64: a, linux/aarch64: b}",
            "`linux/arm64` has two engines",
        ),
    ] {
        manifest(t, &format!("engines: {engines}\n"), &[("a", &a, "", "")]);
        t.xp(["check"]).failure(2).stderr_contains(message);
    }
    manifest(t, "", &[("a", &a, &both(), "")]);
    t.xp(["build"])
        .env("DOCKER_BUILDKIT", "0")
        .failure(1)
        .stderr_contains(
            "`docker.platforms` requires BuildKit, but DOCKER_BUILDKIT=0 turns BuildKit off",
        );
    // The new image must run where it is verified.
    let busybox = t.engine().busybox().to_owned();
    let verified = format!(
        "    dockerBuilder: {{image: '{busybox}'}}\n    scripts: {{once: true, verify: ['true']}}\n"
    );
    manifest(t, "", &[("a", &a, ", platforms: [linux/s390x]", &verified)]);
    t.xp(["plan"]).failure(2).stderr_contains(
        "`docker.platforms` must contain linux/amd64, the platform of the engine, because of `scripts.verify`",
    );
    // A dependent uses the engine's image of what it needs.
    let b = repository(t, "b");
    manifest(
        t,
        "",
        &[
            ("a", &a, ", platforms: [linux/s390x]", ""),
            ("b", &b, "", "    needs: [a]\n"),
        ],
    );
    t.xp(["plan"])
        .failure(2)
        .stderr_contains("because `b` needs the image");
    // On its own, it is built and pushed.
    t.xp(["build", "a"]).success();
    t.xp(["plan", "a"])
        .success()
        .stdout_contains("Nothing to do");
}
