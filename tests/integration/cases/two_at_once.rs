//! Concurrent runs that build the same images.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::case::Case;
use crate::context::Context;
use crate::output::Output;
use crate::process::succeed;
use crate::repository::GitRepository;
use crate::wait::wait_until;
use crate::world::{Gateway, Registry, RegistryKind, Reply, Store};
use crate::xp::Xp;

pub const CASES: &[Case] = cases![
    the_second_run_uses_the_images_of_the_first,
    an_image_with_another_recipe_is_replaced,
    concurrent_folders_build_the_same_images,
];

/// A service with a builder folder; each build of either results in another image.
struct Platform<'t> {
    t: &'t Context,
    repository: GitRepository,
    builder: String,
}

impl<'t> Platform<'t> {
    fn new(t: &'t Context, registry: &str, busybox: &str) -> Self {
        let repository = t.git_repo("zbackend");
        let dockerfile = format!("FROM {busybox}\nCOPY . /src\n");
        repository.commit(&[("Dockerfile", &dockerfile)], "Start");
        let random = format!("FROM {busybox}\nRUN cat /proc/sys/kernel/random/uuid > /made\n");
        let builder = t.builder("sh", &random, &[]);
        t.manifest(&format!(
            "registry: {registry}/{}\nservices:\n  zbackend:\n    dir: src/zbackend\n    git: {{remote: '{}'}}\n    \
             dockerBuilder: {{image: '{builder}', network: none}}\n    docker: {{image: zbackend}}\n    \
             scripts: {{build: [cat /made /proc/sys/kernel/random/uuid > made]}}\n",
            t.prefix(),
            repository.url_file()
        ));
        Self {
            t,
            repository,
            builder: format!("{}/{builder}", t.prefix()),
        }
    }

    /// Creates another folder of the platform.
    fn copy(&self, name: &str) -> PathBuf {
        let copy = self.t.folder().join(name);
        succeed(Command::new("cp").arg("-a").arg(self.t.dir()).arg(&copy));
        copy
    }

    /// Asserts that both images have both of their tags, and returns the digests.
    #[track_caller]
    fn digests(&self, registry: &Registry) -> [String; 2] {
        let head = self.repository.head();
        let image = self.t.image("zbackend");
        [(self.builder.as_str(), "newest"), (&image, "master")].map(|(repository, moving)| {
            let tags = registry.tags(repository);
            assert_eq!(tags.len(), 2, "{repository}: {tags:?}");
            assert!(tags.contains(&moving.to_owned()), "{tags:?}");
            assert!(repository != image || tags.contains(&head), "{tags:?}");
            let digests = tags
                .iter()
                .map(|tag| registry.manifest_digest(repository, tag));
            let digests: Vec<String> = digests.flatten().collect();
            assert_eq!(digests[0], digests[1], "{repository}: {tags:?}");
            digests[0].clone()
        })
    }
}

/// Holds the next query for a builder's image until it is released.
#[derive(Default)]
struct Gate {
    is_set: AtomicBool,
    is_reached: AtomicBool,
    is_open: AtomicBool,
}

impl Gate {
    fn before(self: &Arc<Self>, registry: &Registry) -> Gateway {
        let gate = Arc::clone(self);
        Gateway::before(registry.host(), move |incoming| {
            let is_look = incoming.method == "HEAD"
                && incoming.is_about_manifest()
                && incoming.path.contains("/builders/");
            if is_look && gate.is_set.swap(false, Ordering::SeqCst) {
                gate.is_reached.store(true, Ordering::SeqCst);
                while !gate.is_open.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(10));
                }
            }
            Reply::Forward
        })
    }
}

fn the_second_run_uses_the_images_of_the_first(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let gate = Arc::new(Gate::default());
    let gateway = gate.before(&registry);
    let here = t.engine();
    let there = t.own_engine();
    assert_eq!(here.busybox(), there.busybox());
    let platform = Platform::new(t, gateway.host(), here.busybox());
    let folder = platform.copy("there");

    let build_there = || {
        t.xp(["build"])
            .dir(&folder)
            .env("DOCKER_HOST", there.host())
    };
    let first = || {
        t.xp(["build"]).success();
        platform.digests(&registry)
    };
    let (before, second) = overtaken(&gate, build_there(), first);
    assert_eq!(
        second.stderr.matches("another run pushed").count(),
        2,
        "{second}"
    );
    assert_eq!(platform.digests(&registry), before, "{second}");

    // The engine has exactly the registry's images, with all of their names.
    if there.is_private() {
        for (repository, tag) in [
            (t.image("zbackend"), "master"),
            (platform.builder.clone(), "newest"),
        ] {
            let id = match there.product().store {
                Store::Containerd => registry.manifest_digest(&repository, tag),
                Store::Classic | Store::Podman => {
                    let manifest = registry.image_manifest(&repository, tag);
                    manifest["config"]["digest"].as_str().map(str::to_owned)
                }
            };
            for tag in registry.tags(&repository) {
                let name = format!("{}/{repository}:{tag}", gateway.host());
                let image = there.image(&name).expect("the engine has it");
                assert_eq!(image["Id"].as_str(), id.as_deref(), "{name}");
            }
        }
    }
    let again = build_there().success();
    assert!(again.row("zbackend").contains(" skipped "), "{again}");
}

/// Runs a build that another one overtakes between its build and its push, and returns the result of `first`
/// and how the build ended.
fn overtaken<R>(gate: &Gate, build: Xp, first: impl FnOnce() -> R) -> (R, Output) {
    let mut second = build.spawn();
    second.wait_for_output(" | image: docker build");
    // Its next query checks whether another run was first.
    gate.is_set.store(true, Ordering::SeqCst);
    wait_until("the builder is built", || {
        gate.is_reached.load(Ordering::SeqCst)
    });
    let done = first();
    gate.is_open.store(true, Ordering::SeqCst);
    let second = second.wait();
    assert!(second.status.success(), "{second}");
    (done, second)
}

fn an_image_with_another_recipe_is_replaced(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let gate = Arc::new(Gate::default());
    let gateway = gate.before(&registry);
    let platform = Platform::new(t, gateway.host(), t.engine().busybox());
    let folder = platform.copy("there");
    // The same commit with another script.
    let manifest = folder.join("x-platform.yml");
    let text = std::fs::read_to_string(&manifest).expect("the manifest");
    let other = text.replace("> made]", "> other]");
    assert_ne!(text, other);
    std::fs::write(&manifest, other).expect("the manifest");

    let first = || {
        t.xp(["build"]).success();
        platform.digests(&registry)
    };
    let (before, _) = overtaken(&gate, t.xp(["build"]).dir(&folder), first);
    let after = platform.digests(&registry);
    assert_eq!(after[0], before[0], "the builder is the same");
    assert_ne!(after[1], before[1], "the image is not");
    let first = t.xp(["plan"]).success();
    first.stdout_contains("scripts.build changed");
}

fn concurrent_folders_build_the_same_images(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let platform = Platform::new(t, registry.host(), t.engine().busybox());
    let folders = ["one", "two", "three"].map(|name| platform.copy(name));
    let build = |folder: &PathBuf| t.xp(["build"]).dir(folder);
    let running = folders.each_ref().map(|folder| build(folder).spawn());
    for running in running {
        let output = running.wait();
        assert!(output.status.success(), "{output}");
    }
    // Two simultaneous pushes may set a moving tag to either image; the next run corrects it.
    build(&folders[0]).success();
    let before = platform.digests(&registry);
    for folder in &folders {
        let again = build(folder).success();
        assert!(!again.stdout.contains(" built "), "{again}");
    }
    assert_eq!(platform.digests(&registry), before);
}
