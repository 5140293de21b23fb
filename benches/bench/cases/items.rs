//! A phase of three items: in three images, and in one.

use std::cell::Cell;
use std::fs;

use crate::measure::{Contestant, Ratio, in_turns};
use crate::platform::{commit, make_bare};
use crate::result::{Case, Table, Target, spread};
use crate::world::World;

/// The same work without xp: a container per item, then the image.
const SCRIPT: &str = r#"set -e
for number in 1 2 3; do
    docker run --rm --network none --volume "$PWD:/workspace" --workdir /workspace "$BASE-$number" sh -c "cat source >> made"
done
docker build --quiet --tag bench/items:by-hand .
"#;

/// Measures a local rebuild after an edit.
pub fn run(world: &World) -> Case {
    let rounds = world.size().of(1, 7, 15);
    let base = format!("{}/base/items:1", world.registry());
    let repository = world.part("items").join("s.git");
    make_bare(world, &repository);
    let dockerfile = "FROM scratch\nCOPY made /\n";
    commit(
        world,
        &repository,
        &[("Dockerfile", dockerfile), ("source", "1\n")],
    );
    for number in 1..=3 {
        let context = world.part(&format!("items/image-{number}"));
        let dockerfile = format!("FROM {}\nENV NUMBER={number}\n", world.base_image());
        fs::write(context.join("Dockerfile"), dockerfile).expect("a file");
        let mut build = world.docker();
        build.args(["build", "--quiet", "--tag", &format!("{base}-{number}")]);
        world.succeed(build.arg(&context));
    }
    let platform = |name: &str, images: [u8; 3]| {
        let folder = world.part(&format!("items/{name}"));
        let items: String = images
            .iter()
            .map(|number| {
                format!("        - {{image: '{base}-{number}', run: ['cat source >> made']}}\n")
            })
            .collect();
        let manifest = format!(
            "services:\n  s:\n    dir: src/s\n    git: {{remote: 'file://{}'}}\n    docker: {{image: bench/{name}}}\n    \
             scripts:\n      build:\n{items}",
            repository.display()
        );
        fs::write(folder.join("x-platform.yml"), manifest).expect("a manifest");
        world.succeed(&mut world.xp(&folder, &["sync", "--quiet"]));
        folder
    };
    let (three, one) = (platform("three", [1, 2, 3]), platform("one", [1, 1, 1]));
    let edits = Cell::new(0_usize);
    let edit = || {
        edits.set(edits.get() + 1);
        for folder in [&three, &one] {
            let source = folder.join("src/s");
            fs::write(source.join("source"), format!("edit {}\n", edits.get())).expect("a file");
        }
    };
    let local = |folder| world.xp(folder, &["build", "--local", "--quiet"]);
    let measured = in_turns(
        world,
        rounds,
        vec![
            Contestant::new("`xp build --local`, three images", || local(&three)).prepared(edit),
            Contestant::new("`xp build --local`, one image", || local(&one)).prepared(edit),
            Contestant::new("docker run three times, then docker build", || {
                let mut script = world.command("sh");
                script.args(["-c", SCRIPT]).env("BASE", &base);
                script.current_dir(three.join("src/s"));
                script
            })
            .prepared(edit),
        ],
    );
    let ratio = Ratio::of(&measured[2], &measured[0]);
    Case {
        name: "items",
        title: "(p) Items in several images",
        setup: "A file is edited before each round. The phase `build` has three items of one line each."
            .to_owned(),
        targets: vec![Target {
            found: format!("{} times", spread(ratio)),
            ..Target::at_least("no slower than a container per item by hand", ratio.median, 1.0, "")
        }],
        tables: vec![Table::of("A local rebuild", &measured)],
    }
}
