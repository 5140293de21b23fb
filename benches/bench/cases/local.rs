//! A local rebuild after an edit.

use std::cell::Cell;
use std::fs;

use crate::measure::{Contestant, in_turns};
use crate::platform::Platform;
use crate::result::{Case, Table, Target, number};
use crate::world::World;

/// Measures it for one service.
pub fn run(world: &World) -> Case {
    let rounds = world.size().of(1, 5, 15);
    let platform = Platform::new(world, "local", 1, true);
    let service = &platform.services()[0];
    let images = platform.images("xp");
    let folder = platform.folder("xp", 1, &images);
    world.succeed(&mut world.xp(&folder, &["sync", "--quiet"]));
    let source = folder.join("src").join(service);
    let base = world.base_image();
    let container = format!("xp-bench-{}", std::process::id());
    let mount = format!("{}:/workspace", source.display());
    let started = [
        "--network",
        "none",
        "--volume",
        &mount,
        "--workdir",
        "/workspace",
        &base,
    ];
    let mut start = world.docker();
    start
        .args(["run", "--detach", "--name", &container])
        .args(started);
    world.succeed(start.args(["sleep", "100000"]));

    let edits = Cell::new(0_usize);
    let edit = || {
        edits.set(edits.get() + 1);
        fs::write(source.join("source"), format!("edit {}\n", edits.get())).expect("a file");
    };
    let local = || world.xp(&folder, &["build", "--local", "--quiet"]);
    let by_hand = |line: &str| {
        let mut command = world.command("sh");
        command.args(["-ec", line]).current_dir(&source);
        command.env("BASE", &base).env("CONTAINER", &container);
        command.env("IMAGE", format!("{images}/{service}:by-hand"));
        command
    };
    let run = "docker run --rm --network none --volume \"$PWD:/workspace\" --workdir /workspace \"$BASE\" sh make.sh";
    let build = "docker build --quiet --tag \"$IMAGE\" .";
    let contestants = vec![
        Contestant::new("`xp build --local`", local).prepared(edit),
        Contestant::new("docker run, then docker build", || {
            by_hand(&format!("{run}\n{build}"))
        })
        .prepared(edit),
        Contestant::new("docker run alone", || by_hand(run)).prepared(edit),
        Contestant::new("docker build alone", || by_hand(build)).prepared(edit),
        Contestant::new("the script alone, in a running container", || {
            by_hand("docker exec \"$CONTAINER\" sh make.sh")
        })
        .prepared(edit),
        Contestant::new("`xp build --local` without an edit", local).prepared(|| {
            world.succeed(&mut local());
        }),
    ];
    let measured = in_turns(world, rounds, contestants);
    world.succeed(world.docker().args(["rm", "--force", &container]));
    let more = measured[0].time().as_secs_f64() - measured[1].time().as_secs_f64();
    Case {
        name: "local",
        title: "(f) A local rebuild",
        setup: "One file in a working copy is edited before each round; the service has a script and a Dockerfile.".to_owned(),
        targets: vec![Target::at_most(
            "no slower than docker run and docker build",
            more,
            0.0,
            &format!("s longer (than {} s)", number(measured[1].time().as_secs_f64())),
        )],
        tables: vec![Table::of("No delay", &measured)],
    }
}
