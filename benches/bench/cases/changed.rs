//! One service of many has a new commit.

use std::cell::Cell;
use std::process::Command;

use crate::measure::Ratio;
use crate::measure::{Contestant, in_turns};
use crate::platform::Platform;
use crate::result::{Case, Table, Target, number, spread};
use crate::world::World;

/// Measures it for one of 50.
pub fn run(world: &World) -> Case {
    let count = world.size().of(2, 10, 50);
    let rounds = world.size().of(1, 3, 9);
    let platform = Platform::new(world, "changed", count, true);
    let all = platform.images("all");
    let [xp, script, parallel, alone] = ["xp", "script", "parallel", "alone"]
        .map(|contestant| platform.folder(contestant, count, &all));
    world.say(&format!("building {count} services"));
    world.succeed(&mut world.xp(&xp, &["build", "--quiet"]));
    for folder in [&script, &parallel, &alone] {
        world.succeed(&mut platform.script("parallel", folder, count, &all));
    }
    let edit = Cell::new(0_usize);
    let changed = platform.services()[count / 2].clone();
    let change = || {
        edit.set(edit.get() + 1);
        platform.change(&changed, &format!("edit {}\n", edit.get()));
    };
    // Only the work for the service itself, on an up-to-date working copy.
    let work = || -> Command {
        let source = alone.join("src").join(&changed);
        let mut command = world.command("sh");
        command.args([
            "-ec",
            "docker run --rm --network none --volume \"$PWD:/workspace\" --workdir /workspace \"$BASE\" sh make.sh
             docker build --quiet --tag \"$IMAGE\" .
             docker push --quiet \"$IMAGE\"",
        ]);
        command.env("BASE", world.base_image()).current_dir(source);
        command.env("IMAGE", format!("{all}/{changed}:edit-{}", edit.get()));
        command
    };
    let contestants = vec![
        Contestant::new("`xp build`", || world.xp(&xp, &["build", "--quiet"])).prepared(change),
        Contestant::new("only the service's run, build and push", work).prepared(|| {
            change();
            let source = alone.join("src").join(&changed);
            world.succeed(
                world
                    .git(&source)
                    .args(["pull", "--quiet", "origin", "master"]),
            );
        }),
        Contestant::new("script", || platform.script("serial", &script, count, &all))
            .prepared(change),
        Contestant::new("script, 16 at once", || {
            platform.script("parallel", &parallel, count, &all)
        })
        .prepared(change),
    ];
    let measured = in_turns(world, rounds, contestants);
    let more = measured[0].time().as_secs_f64() - measured[1].time().as_secs_f64();
    let script = Ratio::of(&measured[2], &measured[0]);
    Case {
        name: "changed",
        title: "(c) One service changed",
        setup: format!(
            "{count} services as in (b). One of them gets a new commit before each round; everything else is built."
        ),
        targets: vec![Target {
            found: format!(
                "{} s longer (and {} times faster than the script)",
                number(more),
                spread(script)
            ),
            ..Target::at_most(
                "within 0.3 s of only the service's script, build and push",
                more,
                0.3,
                "",
            )
        }],
        tables: vec![Table::of("No delay", &measured)],
    }
}
