//! A repository with very many references.

use std::fs;
use std::time::Duration;

use crate::measure::{Contestant, Ratio, in_turns};
use crate::platform::{File, commit, import, make_bare};
use crate::result::{Case, Table, Target, spread};
use crate::world::World;

/// Measures finding one branch among 50,000 references.
pub fn run(world: &World) -> Case {
    let count = world.size().of(50, 50_000, 50_000);
    let rounds = world.size().of(1, 5, 11);
    let files: [File<'_>; 1] = [("Dockerfile", "FROM scratch\n")];
    let folders = ["small", "large"].map(|name| {
        let repository = world.repositories().join("refs").join(format!("{name}.git"));
        make_bare(world, &repository);
        commit(world, &repository, &files);
        if name == "large" {
            let tip = world.succeed(world.git(&repository).args(["rev-parse", "master"]));
            import(world, &repository, |out| {
                for number in 0..count {
                    let kind = if number % 2 == 0 { "heads/task" } else { "tags/v" };
                    write!(out, "reset refs/{kind}-{number}\nfrom {tip}\n\n")?;
                }
                Ok(())
            });
            world.succeed(world.git(&repository).args(["pack-refs", "--all"]));
        }
        let folder = world.part(&format!("refs-{name}"));
        let url = format!("{}/refs/{name}.git", world.git_url());
        let manifest = format!(
            "services:\n  s: {{dir: src/s, git: {{remote: '{url}', reference: origin/master}}, docker: {{image: bench/refs}}}}\n"
        );
        fs::write(folder.join("x-platform.yml"), manifest).expect("a manifest");
        (folder, url)
    });
    let [(small, _), (large, url)] = &folders;
    world.set_round_trip(Duration::from_millis(50));
    let contestants = vec![
        Contestant::new("`xp plan`, a small repository", || {
            world.xp(small, &["plan"])
        }),
        Contestant::new(format!("`xp plan`, {count} references"), || {
            world.xp(large, &["plan"])
        }),
        Contestant::new(
            format!("git ls-remote of one branch, {count} references"),
            || {
                let mut command = world.git(world.folder());
                command.args(["ls-remote", "--quiet", url, "refs/heads/master"]);
                command
            },
        ),
        Contestant::new(format!("git ls-remote, {count} references"), || {
            let mut command = world.git(world.folder());
            command.args(["ls-remote", "--quiet", url]);
            command
        }),
    ];
    let measured = in_turns(world, rounds, contestants);
    world.set_round_trip(Duration::ZERO);
    let ratio = Ratio::of(&measured[1], &measured[0]);
    Case {
        name: "refs",
        title: "(e) Many references",
        setup: format!(
            "A repository with {count} branches and tags, compared with one with a single branch. The plan needs one branch of each."
        ),
        targets: vec![Target {
            found: format!("{} times", spread(ratio)),
            ..Target::at_most(
                "at most twice the time of a small repository, at 50 ms",
                ratio.median,
                2.0,
                "",
            )
        }],
        tables: vec![Table::of("50 ms", &measured)],
    }
}
