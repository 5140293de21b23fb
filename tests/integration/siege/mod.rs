//! A platform for tests that kill runs at random: setup, reset, and the invariants that must hold at the end.

mod platform;
mod state;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::context::Context;
use crate::output::Output;
use crate::process::succeed;
use crate::published::PublishedImage;
use crate::wait::wait_until;
use crate::world::{Engine, Gateway, Registry, RegistryKind, Reply};
use crate::xp::Xp;

use platform::{Platform, REPOSITORIES};
pub use state::{Folder, partial_files, processes_of};

/// A platform with its own engine and registry.
pub struct Siege<'t> {
    t: &'t Context,
    platform: Platform,
    engine: Engine,
    /// Keeps the registry's address, while each round gets an empty registry.
    gateway: Gateway,
    registry: Registry,
    template: PathBuf,
    temporary: PathBuf,
    home: Folder,
    undisturbed: Option<Outcome>,
}

/// The result of a round, which must be equal for all rounds.
#[derive(Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The images by name, with a marker for identical ones.
    images: BTreeMap<String, PublishedImage>,
    /// The tags of the results of phases.
    step_results: Vec<String>,
    in_engine: Vec<String>,
    own_files: Vec<String>,
    working_copies: BTreeMap<String, Folder>,
}

impl<'t> Siege<'t> {
    /// Creates the platform, without building it.
    pub fn new(t: &'t Context) -> Self {
        let engine = t.own_engine();
        let registry = t.own_registry(RegistryKind::Open);
        let gateway = Gateway::before(registry.host(), |_| Reply::Forward);
        let platform = Platform::new(t, &engine, gateway.host());
        let template = t.folder().join("template");
        succeed(Command::new("cp").arg("-a").arg(t.dir()).arg(&template));
        let temporary = t.folder().join("tmp");
        std::fs::create_dir(&temporary).expect("a folder");
        let home = Folder::of(&t.home());
        Self {
            t,
            platform,
            engine,
            gateway,
            registry,
            template,
            temporary,
            home,
            undisturbed: None,
        }
    }

    /// Returns `xp` with these arguments.
    pub fn xp<const N: usize>(&self, arguments: [&str; N]) -> Xp {
        self.t
            .xp(arguments)
            .env("DOCKER_HOST", self.engine.host())
            .env("TMPDIR", &self.temporary)
            .env("BUILD_NUMBER", "7")
            // No progress, no colors, and a timeout long enough for a busy machine.
            .timeout(Duration::from_secs(300))
    }

    /// Restores the state before the first build.
    pub fn restart(&mut self) {
        self.registry = self.t.own_registry(RegistryKind::Open);
        self.gateway.move_before(self.registry.host());
        for name in self.engine.images_with_prefix(self.gateway.host()) {
            self.engine.remove_image(&name);
        }
        if self.engine.is_private() {
            succeed(
                self.engine
                    .client()
                    .args(["builder", "prune", "--all", "--force"]),
            );
        }
        succeed(Command::new("rm").arg("-rf").arg(self.t.dir()));
        let copy = Command::new("cp")
            .arg("-a")
            .arg(&self.template)
            .arg(self.t.dir())
            .status();
        assert!(copy.expect("cp").success(), "the platform is copied");
    }

    /// Runs an undisturbed build and returns its duration.
    pub fn run_undisturbed(&mut self) -> Duration {
        self.restart();
        let begun = Instant::now();
        let output = self.xp(["build"]).success();
        let took = begun.elapsed();
        self.assert_order(&output);
        let outcome = self.outcome();
        match &self.undisturbed {
            Some(before) => outcome.assert_equal(before, &output),
            None => self.undisturbed = Some(outcome),
        }
        took
    }

    /// Asserts the same state as after an undisturbed run.
    #[track_caller]
    pub fn assert_outcome(&self, output: &Output) {
        self.assert_order(output);
        let undisturbed = self.undisturbed.as_ref().expect("a run before");
        self.outcome().assert_equal(undisturbed, output);
        let plan = self.xp(["plan"]).success();
        assert!(plan.stdout.contains("Nothing to do"), "{plan}\n{output}");
    }

    /// Asserts that no container and no temporary file of xp is left.
    #[track_caller]
    pub fn assert_stopped(&self, output: &Output) {
        let containers = self.containers();
        assert!(containers.is_empty(), "{containers:?} after {output}");
        self.assert_nothing_partial(output);
    }

    #[track_caller]
    fn assert_order(&self, output: &Output) {
        wait_until("no container is left", || self.containers().is_empty());
        self.assert_nothing_partial(output);
        if self.engine.is_private() {
            assert_eq!(self.engine.volumes("dangling=true"), [""; 0], "{output}");
            assert_eq!(self.engine.volumes("dangling=false"), [""; 0], "{output}");
            let networks = succeed(self.engine.client().args([
                "network",
                "ls",
                "--quiet",
                "--filter",
                "type=custom",
            ]));
            assert_eq!(networks, "", "{output}");
        }
        for name in REPOSITORIES {
            self.platform
                .assert_user_files_unchanged(self.t, name, output);
        }
        assert_eq!(
            Folder::of(&self.t.home()).differences(&self.home),
            [""; 0],
            "{output}"
        );
    }

    #[track_caller]
    fn assert_nothing_partial(&self, output: &Output) {
        let temporary = Folder::of(&self.temporary);
        assert!(temporary.is_empty(), "{temporary:?} after {output}");
        let lock = std::fs::File::open(self.t.dir().join(".xp/lock"));
        if let Ok(lock) = lock {
            lock.try_lock().expect("nobody holds the lock");
        }
        let half = partial_files(&self.t.dir());
        assert_eq!(half, [""; 0], "{output}");
        let processes = processes_of(self.t.folder());
        assert_eq!(processes, [""; 0], "{output}");
    }

    /// Returns the containers of the engine; only this test's if the engine is shared.
    fn containers(&self) -> Vec<String> {
        let mut containers = self.engine.containers(&[]);
        let (folder, prefix) = (self.t.folder().display().to_string(), self.t.prefix());
        containers.retain(|container| {
            let text = container.to_string();
            self.engine.is_private() || text.contains(&folder) || text.contains(prefix)
        });
        let about = |container: &serde_json::Value| {
            format!(
                "{} {} {}",
                container["Config"]["Image"], container["State"], container["Config"]["Labels"]
            )
        };
        containers.iter().map(about).collect()
    }

    fn outcome(&self) -> Outcome {
        let mut images = BTreeMap::new();
        let mut step_results = Vec::new();
        for repository in self.platform.image_repositories() {
            let tags = self.registry.tags(repository).into_iter();
            let (results, tags): (Vec<_>, Vec<_>) = tags.partition(|it| it.starts_with("step-"));
            step_results.extend(results);
            for tag in &tags {
                let image = PublishedImage::of(&self.registry, repository, tag);
                images.insert(format!("{repository}:{tag}"), image);
            }
            let digests = tags
                .iter()
                .map(|tag| self.registry.manifest_digest(repository, tag));
            let digests: std::collections::BTreeSet<_> = digests.collect();
            assert_eq!(digests.len(), 1, "one image of {repository}: {tags:?}");
        }
        Outcome {
            images,
            step_results,
            in_engine: self.engine.images_with_prefix(self.gateway.host()),
            own_files: state::own_files(&self.t.dir().join(".xp")),
            working_copies: self.platform.updated_working_copies(self.t),
        }
    }
}

impl Outcome {
    #[track_caller]
    fn assert_equal(&self, expected: &Self, output: &Output) {
        let names = |outcome: &Self| outcome.images.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(self), names(expected), "the images, {output}");
        for (name, image) in &self.images {
            assert_eq!(image, &expected.images[name], "{name}, {output}");
        }
        assert_eq!(self.step_results, expected.step_results, "{output}");
        assert_eq!(self.in_engine, expected.in_engine, "{output}");
        let apart = |one: &Self, other: &Self| {
            let is_missing = |path: &&String| !other.own_files.contains(path);
            one.own_files
                .iter()
                .filter(is_missing)
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(apart(self, expected), [""; 0], "xp's own files, {output}");
        assert_eq!(apart(expected, self), [""; 0], "missing files, {output}");
        for (name, folder) in &self.working_copies {
            let differences = folder.differences(&expected.working_copies[name]);
            assert_eq!(differences, [""; 0], "{name}, {output}");
        }
    }
}
