//! Starting two sidecars beside a command.

use std::fs;

use crate::measure::{Contestant, Ratio, in_turns};
use crate::platform::{commit, make_bare};
use crate::result::{Case, Table, Target, spread};
use crate::world::World;

/// Starts the same containers without xp, and removes them.
const SCRIPT: &str = r#"set -e
docker network create bench-sidecars
for name in one two; do
    docker run --detach --network bench-sidecars --network-alias $name --name bench-$name "$IMAGE" sleep 1000
done
docker run --rm --network bench-sidecars "$IMAGE" true
docker rm --force bench-one bench-two
docker network rm bench-sidecars
"#;

/// Measures a command of `xp run` with and without sidecars.
pub fn run(world: &World) -> Case {
    let rounds = world.size().of(1, 7, 15);
    let image = world.base_image();
    let repository = world.part("sidecars").join("s.git");
    make_bare(world, &repository);
    commit(world, &repository, &[("Dockerfile", "FROM scratch\n")]);
    let platform = |name: &str, sidecars: &str| {
        let folder = world.part(&format!("sidecars/{name}"));
        let manifest = format!(
            "services:\n  s:\n    dir: src/s\n    git: {{remote: 'file://{}'}}\n    docker: {{image: bench/s}}\n    \
             dockerBuilder: {{image: '{image}'}}\n    scripts: {{test: ['true']}}\n{sidecars}",
            repository.display()
        );
        fs::write(folder.join("x-platform.yml"), manifest).expect("a manifest");
        world.succeed(&mut world.xp(&folder, &["sync", "--quiet"]));
        folder
    };
    let sidecar = |name| format!("      {name}: {{image: '{image}', command: [sleep, '1000']}}\n");
    let two = format!("    sidecars:\n{}{}", sidecar("one"), sidecar("two"));
    let (with, without) = (platform("with", &two), platform("without", ""));
    let command = ["run", "s", "--", "true"];
    let measured = in_turns(
        world,
        rounds,
        vec![
            Contestant::new("`xp run` with two sidecars", || world.xp(&with, &command)),
            Contestant::new("docker network create, docker run", || {
                let mut script = world.command("sh");
                script.args(["-c", SCRIPT]).env("IMAGE", &image);
                script
            }),
            Contestant::new("`xp run` without sidecars", || world.xp(&without, &command)),
        ],
    );
    let ratio = Ratio::of(&measured[1], &measured[0]);
    Case {
        name: "sidecars",
        title: "(k) Two sidecars",
        setup: "A command in a builder, beside two containers that are ready at once, in a network of their own. All of it is \
             removed at the end."
            .to_owned(),
        targets: vec![Target {
            found: format!("{} times", spread(ratio)),
            ..Target::at_least("at most a quarter slower than the script", ratio.median, 0.8, "")
        }],
        tables: vec![Table::of("Start and removal", &measured)],
    }
}
