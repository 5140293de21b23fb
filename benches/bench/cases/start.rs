//! The program's own start.

use std::fs;

use crate::measure::{Contestant, in_turns};
use crate::platform::{commit, make_bare};
use crate::result::{Case, Table, Target};
use crate::world::World;

/// Measures the version, and the plan of one service on this machine.
pub fn run(world: &World) -> Case {
    let rounds = world.size().of(2, 21, 51);
    let repository = world.part("start").join("s.git");
    make_bare(world, &repository);
    commit(world, &repository, &[("Dockerfile", "FROM scratch\n")]);
    let folder = world.part("start/platform");
    let manifest = format!(
        "services:\n  s: {{dir: src/s, git: {{remote: 'file://{}', reference: origin/master}}, docker: {{image: bench/start}}}}\n",
        repository.display()
    );
    fs::write(folder.join("x-platform.yml"), manifest).expect("a manifest");
    let command = |program: &'static str, arguments: &'static [&'static str]| {
        move || {
            let mut command = world.command(program);
            command.args(arguments);
            command
        }
    };
    let contestants = vec![
        Contestant::new("`xp plan` of one local service", || {
            world.xp(&folder, &["plan"])
        }),
        Contestant::new("`xp --version`", || world.xp(&folder, &["--version"])),
        Contestant::new("true", command("true", &[])),
        Contestant::new("git --version", command("git", &["--version"])),
        Contestant::new("docker images", command("docker", &["images", "--quiet"])),
        Contestant::new(
            "docker-compose version",
            command("docker-compose", &["version", "--short"]),
        ),
    ];
    let measured = in_turns(world, rounds, contestants);
    let targets = measured[..2].iter().map(|it| {
        let milliseconds = it.time().as_secs_f64() * 1000.0;
        Target::at_most(
            format!("{}: under 15 ms", it.name),
            milliseconds,
            15.0,
            "ms",
        )
    });
    Case {
        name: "start",
        title: "(g) Start-up",
        setup: "The service's remote is a local folder, and the engine is queried for its images."
            .to_owned(),
        targets: targets.collect(),
        tables: vec![Table::of("Local only", &measured)],
    }
}
