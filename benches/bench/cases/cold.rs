//! Everything is built, from an empty folder and without images.

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;

use super::nothing::{bake_command, compose_command};
use crate::measure::{Contestant, Ratio, in_turns};
use crate::platform::Platform;
use crate::result::{Case, Table, Target, spread};
use crate::size::Size;
use crate::world::World;

/// Removes the images of a turn: with the containerd store, an engine takes the longer for each request the more it has.
fn remove_images(world: &World, prefix: &str) {
    let mut list = world.docker();
    let listed = world.succeed(list.args(["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]));
    let of_turn = |name: &&str| !prefix.is_empty() && name.starts_with(prefix);
    let names: Vec<&str> = listed.lines().filter(of_turn).collect();
    if !names.is_empty() {
        world.succeed(world.docker().args(["image", "rm", "--force"]).args(names));
    }
}

/// Measures it for 50 small services.
pub fn run(world: &World) -> Case {
    let count = world.size().of(2, 10, 50);
    let rounds = world.size().of(1, 2, 3);
    let platform = Platform::new(world, "cold", count, true);
    // Each turn starts with new commits, which are in no cache, new image names and an empty folder.
    let turn = Cell::new(0_usize);
    let folder = Cell::new(PathBuf::new());
    let last = Cell::new(String::new());
    let begin = |contestant: &str| {
        turn.set(turn.get() + 1);
        remove_images(world, &last.take());
        for service in platform.services() {
            platform.change(service, &format!("{service}, turn {}\n", turn.get()));
        }
        let old = folder.take();
        if old.exists() {
            fs::remove_dir_all(old).expect("an old folder");
        }
        let name = format!("{contestant}{}", turn.get());
        folder.set(platform.folder(&name, count, &platform.images(&name)));
        last.set(platform.images(&name));
        world.say(&format!("turn {}", turn.get()));
    };
    let here = || {
        let path = folder.take();
        folder.set(path.clone());
        path
    };
    let images = |contestant: &str| platform.images(&format!("{contestant}{}", turn.get()));
    let script =
        |contestant: &'static str, name: &'static str, script: &'static str, jobs: &'static str| {
            let (platform, here, images) = (&platform, &here, &images);
            Contestant::new(name, move || {
                let mut command = platform.script(script, &here(), count, &images(contestant));
                command.env("JOBS", jobs);
                command
            })
            .prepared(move || begin(contestant))
        };
    let mut contestants = vec![
        Contestant::new("`xp build`", || world.xp(&here(), &["build", "--quiet"]))
            .prepared(|| begin("xp")),
        script("script", "script", "serial", "1"),
        script("two", "script, 2 at once", "parallel", "2"),
        script("four", "script, 4 at once", "parallel", "4"),
        script("eight", "script, 8 at once", "parallel", "8"),
        Contestant::new("docker-compose, without git and scripts", || {
            compose_command(world, &here())
        })
        .prepared(|| {
            begin("compose");
            // Clones and script results are prepared, because it cannot create them.
            let folder = here();
            platform.prepare_sources(&folder, count);
            platform.write_compose_file(&folder, count, &images("compose"));
        }),
    ];
    if let Some(buildx) = world.buildx() {
        let bake = Contestant::new("docker buildx bake, without git and scripts", move || {
            bake_command(world, &buildx, &here())
        });
        contestants.push(bake.prepared(|| {
            begin("bake");
            let folder = here();
            platform.prepare_sources(&folder, count);
            platform.write_bake_file(&folder, count, &images("bake"));
        }));
    }
    let eight = Contestant::new("`xp build --jobs 8`", || {
        world.xp(&here(), &["build", "--quiet", "--jobs", "8"])
    });
    contestants.push(eight.prepared(|| begin("xp8")));
    if world.xp_before(world.folder(), &[]).is_some() {
        for (name, jobs) in [
            ("`xp build`, before", ""),
            ("`xp build --jobs 8`, before", "8"),
        ] {
            let before = Contestant::new(name, move || {
                let jobs = if jobs.is_empty() {
                    vec![]
                } else {
                    vec!["--jobs", jobs]
                };
                let arguments = [vec!["build", "--quiet"], jobs].concat();
                let command = world.xp_before(&here(), &arguments);
                command.expect("it was there")
            });
            contestants.push(before.prepared(move || begin("before")));
        }
    }
    if world.size() == Size::Tiny {
        contestants.retain(|it| !it.name.ends_with("2 at once") && !it.name.ends_with("8 at once"));
    }
    let measured = in_turns(world, rounds, contestants);
    let script = Ratio::of(&measured[1], &measured[0]);
    let parallel = measured
        .iter()
        .filter(|it| it.name.starts_with("script, "))
        .min_by_key(|it| it.time())
        .expect("one at least");
    let beside = Ratio::of(&measured[0], parallel);
    Case {
        name: "cold",
        title: "(b) Build everything",
        setup: format!(
            "{count} services, each with a repository, a script of three commands in a container, and a Dockerfile of two lines. \
             Each round starts with new commits, an empty folder and no images. docker-compose and bake get working copies in \
             which the scripts have already run."
        ),
        targets: vec![
            Target {
                found: format!("{} times", spread(script)),
                ..Target::at_least("three times faster than the script", script.median, 3.0, "")
            },
            Target {
                found: format!("{} of the time of \"{}\"", spread(beside), parallel.name),
                ..Target::at_most("no slower than the parallel script", beside.median, 1.0, "")
            },
        ],
        tables: vec![Table::of("No delay", &measured)],
    }
}
