//! Scripts that run for each platform of an image. Most tests use two platforms of one machine, which need no emulation.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::platforms::{Emulator, Image, add_context, manifest};
use crate::case::Case;
use crate::context::Context;
use crate::repository::GitRepository;
use crate::world::base_image::lay_out;
use crate::world::{Gateway, Incoming, Reply};

pub const CASES: &[Case] = cases![
    scripts_run_for_each_platform,
    a_failed_script_names_its_platform,
    a_builder_is_built_for_each_platform,
    a_builder_is_pushed_after_a_failed_push,
    a_builder_that_another_run_pushed_first_is_used,
    scripts_run_on_the_engine_of_their_platform,
    an_image_of_another_index_is_not_used,
    an_emulator_runs_scripts,
    images_of_scripts_must_have_the_platform,
];

const AMD: &str = "linux/amd64";

/// Another platform whose programs the engine runs, and what its images are built for.
#[derive(Clone, Copy)]
struct Other {
    platform: &'static str,
    slug: &'static str,
    built_for: &'static str,
}

impl Other {
    /// The programs in its images are those of amd64.
    fn of(t: &Context) -> Self {
        let version = t
            .engine()
            .docker(["version", "--format", "{{.Server.Version}}"]);
        let version = String::from_utf8_lossy(&version.stdout).into_owned();
        // Newer engines know the levels of a processor, and try what the kernel runs.
        if version.starts_with("20.") {
            Self {
                platform: "linux/386",
                slug: "linux-386",
                built_for: "386",
            }
        } else {
            Self {
                platform: "linux/amd64/v2",
                slug: "linux-amd64-v2",
                built_for: "amd64v2",
            }
        }
    }

    /// What a script writes.
    fn line(self) -> String {
        format!("{} {}", self.built_for, self.platform)
    }
}

/// An image with the usual programs, which knows what it was built for.
const TOOLCHAIN: &str = "FROM scratch\nARG TARGETARCH\nARG TARGETVARIANT\nENV BUILT_FOR=${TARGETARCH}${TARGETVARIANT}\nCOPY root-${TARGETARCH}${TARGETVARIANT} /\n";

/// Writes the files of the toolchain for these architectures and variants.
fn write_toolchain(folder: &Path, built_for: &[impl AsRef<str>]) {
    for name in built_for {
        let root = folder.join(format!("root-{}", name.as_ref()));
        lay_out(&root);
        if name.as_ref() == "arm64" {
            let busybox = Path::new(env!("CARGO_MANIFEST_DIR"));
            let busybox = busybox.join("target/test-tools/busybox-aarch64");
            fs::copy(&busybox, root.join("bin/busybox")).expect("busybox of bin/test");
        }
    }
    fs::write(folder.join("Dockerfile"), TOOLCHAIN).expect("the Dockerfile");
}

/// Pushes the toolchain for these platforms, and returns its name.
fn push_toolchain(t: &Context, platforms: &[&str]) -> String {
    push_tool(t, &toolchain(t, platforms), platforms)
}

/// Creates a repository with the toolchain for these platforms.
fn toolchain(t: &Context, platforms: &[&str]) -> GitRepository {
    let tool = t.git_repo("tool");
    let built_for = platforms.iter();
    let built_for = built_for.map(|it| it["linux/".len()..].replace('/', ""));
    let built_for: Vec<String> = built_for.collect();
    write_toolchain(tool.clone_path(), &built_for);
    tool.commit(&[], "First");
    tool
}

/// Pushes the last commit of the toolchain, and returns its name.
fn push_tool(t: &Context, tool: &GitRepository, platforms: &[&str]) -> String {
    let docker = format!(", platforms: [{}]", platforms.join(", "));
    manifest(t, "", &[("tool", tool, &docker, "")]);
    t.xp(["build"]).success();
    format!("{}/{}:master", t.registry().host(), t.image("tool"))
}

/// Creates a repository whose image has what the scripts wrote.
fn repository(t: &Context, name: &str) -> GitRepository {
    let repository = t.git_repo(name);
    repository.commit(&[("Dockerfile", "FROM scratch\nCOPY out /\n")], "First");
    repository
}

fn platforms(other: &str) -> String {
    format!(", platforms: [{AMD}, {other}]")
}

/// Returns the text of `out` in the image of a platform.
fn written(t: &Context, image: &Image<'_>, platform: &str) -> String {
    let digest = &image.layers(platform)[0];
    let folder = t.folder().join("layer");
    fs::create_dir_all(&folder).expect("a folder");
    let archive = folder.join("layer.tar.gz");
    fs::write(&archive, t.registry().blob(digest)).expect("a file");
    let mut tar = std::process::Command::new("tar");
    tar.args(["--extract", "--to-stdout", "--file"])
        .arg(&archive)
        .arg("out");
    crate::process::succeed(&mut tar)
}

const WRITE: &str = "echo \"$BUILT_FOR $XP_PLATFORM\" >> out";

fn scripts_run_for_each_platform(t: &Context) {
    let other = Other::of(t);
    let platform = other.platform;
    let tool = push_toolchain(t, &[AMD, platform]);
    let a = repository(t, "a");
    let scripts = |once: &str| {
        format!(
            "    dockerBuilder: {{image: '{tool}', network: none, cache: [/cache]}}\n    \
             scripts: {{{once}build: ['{WRITE}', 'test ! -e /cache/used && touch /cache/used']}}\n"
        )
    };
    manifest(t, "", &[("a", &a, &platforms(platform), &scripts(""))]);
    let plan = t.xp(["plan", "--all"]).success();
    plan.stdout_contains(&format!("for {platform}, pulled if it is missing"))
        .stdout_contains(&format!("with the source at /workspace for {platform}"));
    t.xp(["build"]).success();
    let image = Image::of(t, "a", &a);
    assert_eq!(written(t, &image, AMD), "amd64 linux/amd64");
    assert_eq!(written(t, &image, platform), other.line());
    t.xp(["plan"]).success().stdout_contains("Nothing to do");
    // Both ran with the same log.
    let log = t.xp(["logs", "a", "--phase", "build"]).success();
    assert_eq!(log.stdout.matches("touch /cache/used").count(), 2, "{log}");
    // Only the platform that is missing.
    let three = format!(", platforms: [{AMD}, {platform}, linux/arm64]");
    manifest(t, "", &[("a", &a, &three, &scripts(""))]);
    let plan = t.xp(["plan", "--all"]).success();
    plan.stdout_contains("platforms.linux/arm64 is missing")
        .stdout_contains("for linux/arm64, pulled if it is missing")
        .does_not_contain(&format!("for {platform}, pulled"));
    // Scripts that run once are another input.
    manifest(
        t,
        "",
        &[("a", &a, &platforms(platform), &scripts("once: true, "))],
    );
    let plan = t.xp(["plan", "--all"]).success();
    plan.stdout_contains("scripts.once is new");
}

fn a_failed_script_names_its_platform(t: &Context) {
    let other = Other::of(t);
    let platform = other.platform;
    let tool = push_toolchain(t, &[AMD, platform]);
    let a = repository(t, "a");
    let scripts = format!(
        "    dockerBuilder: {{image: '{tool}', network: none}}\n    \
         scripts: {{build: ['{WRITE}', 'test \"$BUILT_FOR\" = amd64']}}\n"
    );
    manifest(t, "", &[("a", &a, &platforms(platform), &scripts)]);
    let failed = t.xp(["build"]).failure(1);
    failed
        .stderr_contains(&format!("it ran for {platform}"))
        .stderr_contains("`xp logs a --phase build` also shows a command that repeats it")
        .does_not_contain("xp shell --failed");
    let log = t.xp(["logs", "a", "--phase", "build"]).success();
    log.stderr_contains("docker run ")
        .stderr_contains(&format!("--platform {platform}"));
    t.xp(["shell", "--failed", "a"])
        .failure(2)
        .stderr_contains(&format!("in a container for {platform}"));
    assert!(t.registry().all_tags(&t.image("a")).is_empty());
}

fn a_builder_is_built_for_each_platform(t: &Context) {
    let other = Other::of(t);
    let platform = other.platform;
    let builder = t.builder("tool", TOOLCHAIN, &[]);
    write_toolchain(&t.dir().join(&builder), &["amd64", other.built_for]);
    let a = repository(t, "a");
    let scripts = format!(
        "    dockerBuilder: {{image: '{builder}', network: none}}\n    scripts: {{build: ['{WRITE}']}}\n"
    );
    manifest(t, "", &[("a", &a, &platforms(platform), &scripts)]);
    let plan = t.xp(["plan", "--all"]).success();
    plan.stdout_contains(&format!("for {platform}, pulled or built if it is missing"));
    t.xp(["build"]).success();
    let image = Image::of(t, "a", &a);
    assert_eq!(written(t, &image, AMD), "amd64 linux/amd64");
    assert_eq!(written(t, &image, platform), other.line());
    let tags = t.registry().all_tags(&builder);
    let of_other: Vec<&String> = tags.iter().filter(|it| it.ends_with(other.slug)).collect();
    assert_eq!(of_other.len(), 1, "{tags:?}");
    // Another machine pulls it.
    a.commit(&[("file", "")], "Second");
    let engine = t.own_engine();
    let build = t
        .xp(["build", "--verbose"])
        .env("DOCKER_HOST", engine.host());
    let build = build.success();
    build.does_not_contain("COPY root-");
    engine.stop();
    // It is kept as long as its folder is unchanged.
    let clean = t.xp(["clean", "--registry", "--verbose"]).success();
    clean.does_not_contain(of_other[0]);
}

/// Writes a manifest with a service whose scripts run in a builder for two platforms, and a registry behind a gateway.
/// Returns the name of the builder.
fn with_builder(t: &Context, a: &GitRepository, other: Other, gateway: &Gateway) -> String {
    let builder = t.builder("tool", TOOLCHAIN, &[]);
    write_toolchain(&t.dir().join(&builder), &["amd64", other.built_for]);
    let scripts = format!(
        "    dockerBuilder: {{image: '{builder}', network: none}}\n    scripts: {{build: ['{WRITE}']}}\n"
    );
    manifest(t, "", &[("a", a, &platforms(other.platform), &scripts)]);
    let text = t.read("x-platform.yml");
    t.manifest(&text.replace(t.registry().host(), gateway.host()));
    builder
}

/// Returns whether the engine sets the tag of a builder for a platform.
fn is_push_of_builder(incoming: &Incoming, other: Other) -> bool {
    let is_tag = incoming.method == "PUT" && incoming.is_about_manifest();
    is_tag && incoming.path.starts_with("/v2/builders/") && incoming.path.ends_with(other.slug)
}

/// Returns the tags of a builder for a platform.
fn tags_of(t: &Context, builder: &str, other: Other) -> Vec<String> {
    let mut tags = t.registry().all_tags(builder);
    tags.retain(|tag| tag.ends_with(other.slug));
    tags
}

fn a_builder_is_pushed_after_a_failed_push(t: &Context) {
    let other = Other::of(t);
    let refuses = Arc::new(AtomicBool::new(true));
    let still = Arc::clone(&refuses);
    let gateway = Gateway::before(t.registry().host(), move |incoming| {
        match is_push_of_builder(incoming, other) && still.load(Ordering::Relaxed) {
            true => Reply::error(403, "DENIED", "the push is denied"),
            false => Reply::Forward,
        }
    });
    let a = repository(t, "a");
    let builder = with_builder(t, &a, other, &gateway);
    // The exit code depends on what the engine says about the refusal.
    let build = t.xp(["build"]).run();
    assert!(!build.status.success(), "{build}");
    assert_eq!(tags_of(t, &builder, other), [""; 0]);
    refuses.store(false, Ordering::Relaxed);
    // The engine has it.
    let build = t.xp(["build", "--verbose"]).success();
    build.does_not_contain("COPY root-");
    assert_eq!(tags_of(t, &builder, other).len(), 1);
}

/// The tag does not move, and is set while the engine pushes.
fn a_builder_that_another_run_pushed_first_is_used(t: &Context) {
    let other = Other::of(t);
    let first = Arc::new(Mutex::new(None::<(PathBuf, PathBuf)>));
    let moved = Arc::clone(&first);
    let gateway = Gateway::before(t.registry().host(), move |incoming| {
        let moved = moved.lock().expect("not poisoned");
        match moved.as_ref() {
            Some((from, to)) if is_push_of_builder(incoming, other) => {
                // The engine may try again.
                _ = fs::rename(from, to);
                Reply::error(400, "TAG_INVALID", "the tag is immutable")
            }
            _ => Reply::Forward,
        }
    });
    let a = repository(t, "a");
    let builder = with_builder(t, &a, other, &gateway);
    t.xp(["build"]).success();
    let [tag] = &tags_of(t, &builder, other)[..] else {
        panic!("one tag");
    };
    let digest = t.registry().manifest_digest(&builder, tag);
    let files = t.registry().files(&builder).join("_manifests/tags");
    let (set, hidden) = (files.join(tag), t.folder().join("hidden"));
    fs::rename(&set, &hidden).expect("the tag");
    *first.lock().expect("not poisoned") = Some((hidden, set));
    a.commit(&[("file", "")], "Second");
    let engine = t.own_engine();
    t.xp(["build"]).env("DOCKER_HOST", engine.host()).success();
    engine.stop();
    assert_eq!(t.registry().manifest_digest(&builder, tag), digest);
    let image = Image::of(t, "a", &a);
    assert_eq!(written(t, &image, other.platform), other.line());
}

fn scripts_run_on_the_engine_of_their_platform(t: &Context) {
    let other = Other::of(t);
    let platform = other.platform;
    let tool = push_toolchain(t, &[AMD, platform]);
    let builder = t.builder("other", TOOLCHAIN, &[]);
    write_toolchain(&t.dir().join(&builder), &["amd64", other.built_for]);
    let entrypoint = "ENTRYPOINT [\"/bin/sh\", \"-c\", \"echo $BUILT_FOR $XP_PLATFORM >> out\"]\n";
    t.write(
        &format!("{builder}/Dockerfile"),
        &format!("{TOOLCHAIN}{entrypoint}"),
    );
    let a = repository(t, "a");
    let scripts = format!(
        "    dockerBuilder: {{image: '{tool}', cache: [/cache]}}\n    \
         sidecars: {{db: {{image: '{tool}', command: [sleep, \"1000\"], ready: 'true'}}}}\n    \
         scripts:\n      build:\n        - '{WRITE}'\n        - {{image: '{builder}', run: ['{WRITE}']}}\n        - {{plugin: '{builder}'}}\n      \
         test: ['hostname > host; ping -c 1 db']\n"
    );
    let engines = format!("engines: {{{platform}: other-builder}}\n");
    manifest(t, &engines, &[("a", &a, &platforms(platform), &scripts)]);
    let engine = t.own_engine();
    add_context(t, "other-builder", &engine);
    t.xp(["build"]).success();
    let image = Image::of(t, "a", &a);
    let thrice = |line: &str| [line; 3].join("\n");
    assert_eq!(written(t, &image, AMD), thrice("amd64 linux/amd64"));
    assert_eq!(written(t, &image, platform), thrice(&other.line()));
    t.xp(["plan"]).success().stdout_contains("Nothing to do");
    let pulled = engine.images_with_prefix(t.registry().host());
    assert!(!pulled.is_empty());
    assert!(engine.containers(&[]).is_empty());
    engine.stop();
}

fn an_image_of_another_index_is_not_used(t: &Context) {
    let other = Other::of(t);
    let both = [AMD, other.platform];
    let tool = toolchain(t, &both);
    let name = push_tool(t, &tool, &both);
    let engine = t.own_engine();
    add_context(t, "other-builder", &engine);
    engine.docker(["pull", "--platform", other.platform, &name]);
    let newer = TOOLCHAIN.replace("BUILT_FOR=", "BUILT_FOR=newer-");
    tool.commit(&[("Dockerfile", &newer)], "Second");
    push_tool(t, &tool, &both);
    let a = repository(t, "a");
    let scripts = format!(
        "    dockerBuilder: {{image: '{name}', network: none}}\n    scripts: {{build: ['{WRITE}']}}\n"
    );
    let engines = format!("engines: {{{}: other-builder}}\n", other.platform);
    let docker = platforms(other.platform);
    manifest(t, &engines, &[("a", &a, &docker, &scripts)]);
    t.xp(["build"]).success();
    let image = Image::of(t, "a", &a);
    assert_eq!(written(t, &image, AMD), "newer-amd64 linux/amd64");
    let line = format!("newer-{}", other.line());
    assert_eq!(written(t, &image, other.platform), line);
    engine.stop();
}

fn an_emulator_runs_scripts(t: &Context) {
    let Some(_emulator) = Emulator::register(t) else {
        return;
    };
    let tool = push_toolchain(t, &[AMD, "linux/arm64"]);
    // An engine looks for emulators when it starts.
    let engine = t.own_engine();
    let a = repository(t, "a");
    let scripts = format!(
        "    dockerBuilder: {{image: '{tool}', network: none}}\n    \
         scripts: {{build: ['uname -m >> out; stat -c %u . >> out']}}\n"
    );
    manifest(t, "", &[("a", &a, &platforms("linux/arm64"), &scripts)]);
    t.xp(["build"]).env("DOCKER_HOST", engine.host()).success();
    let image = Image::of(t, "a", &a);
    let amd = written(t, &image, AMD);
    let arm = written(t, &image, "linux/arm64");
    assert!(amd.starts_with("x86_64\n"), "{amd}");
    assert_eq!(arm, amd.replace("x86_64", "aarch64"));
    engine.stop();
}

fn images_of_scripts_must_have_the_platform(t: &Context) {
    let other = Other::of(t);
    let platform = other.platform;
    let tool = push_toolchain(t, &[AMD]);
    let a = repository(t, "a");
    let scripts = |image: &str| {
        format!(
            "    dockerBuilder: {{image: '{image}', network: none}}\n    scripts: {{build: ['{WRITE}']}}\n"
        )
    };
    manifest(t, "", &[("a", &a, &platforms(platform), &scripts(&tool))]);
    t.xp(["build"])
        .failure(3)
        .stderr_contains(&format!(
            "the image {tool}, which scripts run in, does not exist for {platform}, only for linux/amd64"
        ))
        .stderr_contains("scripts.once: true");
    assert!(t.registry().all_tags(&t.image("a")).is_empty());
    if Path::new("/proc/sys/fs/binfmt_misc/qemu-s390x").exists() {
        return;
    }
    manifest(
        t,
        "",
        &[("a", &a, &platforms("linux/s390x"), &scripts(&tool))],
    );
    t.xp(["build"])
        .failure(3)
        .stderr_contains(
            "the engine is for linux/amd64, and cannot run the scripts for linux/s390x",
        )
        .stderr_contains("engines: {linux/s390x: CONTEXT}");
}
