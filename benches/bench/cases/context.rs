//! A large build context.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};

use crate::measure::{Contestant, Ratio, in_turns};
use crate::platform::{commit, make_bare};
use crate::result::{Case, Table, Target, bytes, spread};
use crate::world::World;

/// The context consists of files of this size.
const FILE: usize = 4 << 20;

/// Measures it for 1 GiB.
pub fn run(world: &World) -> Case {
    let files = world.size().of(2, 64, 256);
    let rounds = world.size().of(1, 2, 3);
    let folder = world.part("context");
    let repository = folder.join("s.git");
    make_bare(world, &repository);
    let dockerfile = format!("FROM {}\nCOPY data /data\n", world.base_image());
    commit(
        world,
        &repository,
        &[("Dockerfile", &dockerfile), (".gitignore", "data\n")],
    );
    let manifest = format!(
        "services:\n  s: {{dir: s, git: {{remote: 'file://{}', reference: origin/master}}, docker: {{image: bench/context}}}}\n",
        repository.display()
    );
    fs::write(folder.join("x-platform.yml"), manifest).expect("a manifest");
    world.succeed(&mut world.xp(&folder, &["sync", "--quiet"]));
    let source = folder.join("s");
    fs::create_dir_all(source.join("data")).expect("a folder");
    let mut random = File::open("/dev/urandom").expect("random bytes");
    let mut buffer = vec![0; FILE];
    for number in 0..files {
        random.read_exact(&mut buffer).expect("random bytes");
        fs::write(source.join(format!("data/{number:04}")), &buffer).expect("a file");
    }
    drop(buffer);
    let turn = Cell::new(0_u64);
    // The whole context is sent each time: no layers or earlier contexts are left.
    let begin = || {
        turn.set(turn.get() + 1);
        world.succeed(world.command("sh").args([
            "-c",
            "docker image ls --quiet --filter reference='bench/context' | xargs --no-run-if-empty docker rmi --force &&
             docker builder prune --all --force",
        ]));
        let mut file = File::options()
            .append(true)
            .open(source.join("data/0000"))
            .expect("a file");
        file.write_all(&turn.get().to_le_bytes()).expect("a change");
    };
    let docker = |build_kit: &'static str| {
        let source = &source;
        move || {
            let mut build = world.docker();
            build.args(["build", "--quiet", "--tag", "bench/context:by-hand", "."]);
            build.env("DOCKER_BUILDKIT", build_kit).current_dir(source);
            build
        }
    };
    let contestants = vec![
        Contestant::new("`xp build --local`", || {
            world.xp(&folder, &["build", "--local", "--quiet"])
        })
        .prepared(begin),
        Contestant::new("docker build, BuildKit", docker("1")).prepared(begin),
        Contestant::new("docker build, classic", docker("0")).prepared(begin),
    ];
    let measured = in_turns(world, rounds, contestants);
    begin();
    fs::remove_dir_all(&source).expect("a large folder");
    let best = measured[1..]
        .iter()
        .min_by_key(|it| it.time())
        .expect("two of them");
    let ratio = Ratio::of(&measured[0], best);
    let size = bytes((files * FILE) as u64);
    Case {
        name: "context",
        title: "(h) A large build context",
        setup: format!(
            "A working copy of {size} in {files} incompressible files, all copied by the Dockerfile. The engine has none of them before \
             each round."
        ),
        targets: vec![Target {
            found: format!("{} of the time of \"{}\"", spread(ratio), best.name),
            ..Target::at_most("as fast as docker build", ratio.median, 1.1, "")
        }],
        tables: vec![Table::of(size, &measured)],
    }
}
