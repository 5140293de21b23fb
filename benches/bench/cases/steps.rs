//! A fresh runner builds commits that changed sources only, or nothing that matters.

use std::cell::Cell;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::nothing::bake_command;
use crate::measure::{Contestant, Ratio, in_turns};
use crate::platform::{Platform, commit};
use crate::result::{Case, Table, Target, spread};
use crate::world::World;

/// The phases of each service, without those files that they must not depend on.
const PHASES: &str = "scripts:
      prepare: {run: [sh prepare.sh], inputs: [prepare.sh, lock], outputs: [modules]}
      build: {run: [sh build.sh], inputs: [build.sh, src], outputs: [dist]}
      test: {run: [sh test.sh], inputs: [test.sh, src]}\n";

/// Measures it for 50 services, of which 5 changed.
pub fn run(world: &World) -> Case {
    let count = world.size().of(2, 10, 50);
    let changed = world.size().of(1, 2, 5);
    let rounds = world.size().of(1, 2, 3);
    let seconds = world
        .size()
        .of([0.2, 0.1, 0.1], [4.0, 2.0, 2.0], [20.0, 10.0, 10.0]);
    let platform = Platform::new(world, "steps", count, true);
    let images = platform.images("all");
    for service in platform.services() {
        commit_sources(world, &platform, service, seconds);
    }
    world.say(&format!("building {count} services"));
    let first = folder(&platform, "first", &images);
    let jobs = count.min(16).to_string();
    world.succeed(&mut world.xp(&first, &["build", "--quiet", "--jobs", &jobs]));
    let turn = Cell::new(0_usize);
    let here = Cell::new(PathBuf::new());
    let path = || {
        let path = here.take();
        here.set(path.clone());
        path
    };
    // A fresh runner: an empty folder, and an engine without a build cache.
    let begin = |contestant: &str| {
        turn.set(turn.get() + 1);
        for service in &platform.services()[..changed] {
            platform.change_file(service, "src/app", &format!("edit {}\n", turn.get()));
        }
        let name = format!("{contestant}{}", turn.get());
        here.set(folder(&platform, &name, &images));
        world.succeed(
            world
                .docker()
                .args(["builder", "prune", "--all", "--force"]),
        );
    };
    let mut contestants = vec![
        Contestant::new("`xp build -j 8`", || {
            world.xp(&path(), &["build", "--quiet", "--jobs", "8"])
        })
        .prepared(|| begin("xp")),
        Contestant::new("`xp build -j 8 --no-restore`", || {
            world.xp(
                &path(),
                &["build", "--quiet", "--jobs", "8", "--no-restore"],
            )
        })
        .prepared(|| begin("runs")),
    ];
    if let Some(buildx) = world.buildx() {
        let folder = platform.folder("bake-first", count, &images);
        platform.prepare_clones(&folder, count);
        write_bake_file(&platform, &folder, &images);
        world.succeed(&mut bake_command(world, &buildx, &folder));
        let bake = Contestant::new("docker buildx bake, without git", move || {
            bake_command(world, &buildx, &path())
        });
        contestants.push(bake.prepared(|| {
            begin("bake");
            platform.prepare_clones(&path(), count);
            write_bake_file(&platform, &path(), &images);
        }));
    }
    let fresh = in_turns(world, rounds, contestants);
    let docs = || {
        turn.set(turn.get() + 1);
        for service in &platform.services()[..changed] {
            platform.change_file(service, "docs/page", &format!("edit {}\n", turn.get()));
        }
    };
    world.succeed(&mut world.xp(&first, &["build", "--quiet"]));
    let unimportant = in_turns(
        world,
        world.size().of(1, 3, 9),
        vec![
            Contestant::new("`xp build` without new commits", || {
                world.xp(&first, &["build", "--quiet"])
            }),
            Contestant::new("`xp build` after commits to `docs`", || {
                world.xp(&first, &["build", "--quiet"])
            })
            .prepared(docs),
        ],
    );
    let without = Ratio::of(&fresh[1], &fresh[0]);
    let over_nothing = Ratio::of(&unimportant[1], &unimportant[0]);
    let mut targets = vec![Target {
        found: format!("{} times", spread(without)),
        ..Target::at_least(
            "three times faster than without results",
            without.median,
            3.0,
            "",
        )
    }];
    if let Some(bake) = fresh.get(2) {
        let ratio = Ratio::of(&fresh[0], bake);
        targets.push(Target {
            found: format!("{} of its time", spread(ratio)),
            ..Target::at_most("no slower than bake", ratio.median, 1.0, "")
        });
    }
    targets.push(Target {
        found: format!("{} times", spread(over_nothing)),
        ..Target::at_most(
            "commits to `docs` within 1.2 of nothing",
            over_nothing.median,
            1.2,
            "",
        )
    });
    let [prepare, build, test] = seconds;
    Case {
        name: "steps",
        title: "(o) A fresh runner, and commits that change nothing that matters",
        setup: format!(
            "{count} services with a `prepare` of {prepare} s, a `build` of {build} s and a `test` of {test} s, all built before. \
             In each round, {changed} of them get a commit that changes a source, which `build` and `test` read, and everything is \
             built in an empty folder, with an empty build cache. bake runs the same commands as instructions of a Dockerfile, all at once, \
             with a cache in the registry, and gets working copies. Then the same services get commits that change `docs`, with \
             `git.exclude: [docs]`."
        ),
        targets,
        tables: vec![
            Table::of("A fresh runner", &fresh),
            Table::of("Commits to `docs`", &unimportant),
        ],
    }
}

/// Commits the scripts of a service, and a Dockerfile that runs them for bake.
fn commit_sources(world: &World, platform: &Platform<'_>, service: &str, seconds: [f64; 3]) {
    let [prepare, build, test] = seconds;
    let base = world.base_image();
    let bake = format!(
        "FROM {base}\nWORKDIR /app\nCOPY prepare.sh lock ./\nRUN sh prepare.sh\nCOPY build.sh ./\nCOPY src src\nRUN sh build.sh\n\
         COPY test.sh ./\nRUN sh test.sh\n"
    );
    let files = [
        (
            "Dockerfile",
            format!("FROM {base}\nCOPY modules /app/modules\nCOPY dist /app/dist\n"),
        ),
        ("bake.Dockerfile", bake),
        ("lock", format!("the modules of {service}\n")),
        ("src/app", format!("the source of {service}\n")),
        ("docs/page", "the documentation\n".to_owned()),
        (
            "prepare.sh",
            format!(
                "sleep {prepare}\nmkdir modules\nfor i in $(seq 100); do cat lock > modules/$i; done\n"
            ),
        ),
        (
            "build.sh",
            format!("sleep {build}\nmkdir dist\ncat src/app modules/1 > dist/app\n"),
        ),
        ("test.sh", format!("sleep {test}\ngrep -q . dist/app\n")),
    ];
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (*path, text.as_str()))
        .collect();
    commit(world, &platform.repository(service), &files);
}

/// Creates a folder with the manifest.
fn folder(platform: &Platform<'_>, name: &str, images: &str) -> PathBuf {
    let folder = platform.folder(name, platform.services().len(), images);
    let file = folder.join("x-platform.yml");
    let manifest = fs::read_to_string(&file).expect("a manifest");
    let manifest = manifest
        .replace("scripts: {build: [sh make.sh]}\n", PHASES)
        .replace(
            "reference: origin/master}",
            "reference: origin/master, exclude: [docs]}",
        );
    fs::write(&file, manifest).expect("a manifest");
    folder
}

fn write_bake_file(platform: &Platform<'_>, folder: &Path, images: &str) {
    let mut targets = String::new();
    for service in platform.services() {
        let image = format!("{images}/{service}:bake");
        let comma = if targets.is_empty() { "" } else { ", " };
        _ = write!(
            targets,
            "{comma}\"{service}\": {{\"context\": \"src/{service}\", \"dockerfile\": \"bake.Dockerfile\", \"tags\": [\"{image}\"], \
             \"cache-from\": [\"type=registry,ref={image}\"], \"cache-to\": [\"type=inline\"]}}"
        );
    }
    let text = format!(
        "{{\"group\": {{\"default\": {{\"targets\": {:?}}}}}, \"target\": {{{targets}}}}}\n",
        platform.services()
    );
    fs::write(folder.join("docker-bake.json"), text).expect("a file");
}
