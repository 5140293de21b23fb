//! A builder whose push takes long, and services that need it.

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;

use crate::measure::{Contestant, Ratio, in_turns};
use crate::platform::Platform;
use crate::result::{Case, Table, Target, spread};
use crate::world::World;

/// What can be sent to the registry, in bytes per second.
const UPLOAD_RATE: u64 = 1024 * 1024;

/// Measures it for a few services.
pub fn run(world: &World) -> Case {
    let count = world.size().of(2, 4, 4);
    let rounds = world.size().of(1, 2, 3);
    let mebibytes = world.size().of(1, 10, 20);
    let seconds = world.size().of("0.1", "4", "4");
    let platform = Platform::new(world, "waiting", count, true);
    let turn = Cell::new(0_usize);
    let folder = Cell::new(PathBuf::new());
    let images = || platform.images(&format!("turn{}", turn.get()));
    // Each turn starts with new commits, a new builder, new image names and an empty folder.
    let begin = || {
        turn.set(turn.get() + 1);
        let number = turn.get();
        for service in platform.services() {
            let make =
                format!("sleep {seconds}; mkdir -p dist; echo {service} {number} > dist/app\n");
            platform.change_file(service, "make.sh", &make);
        }
        let new =
            platform.folder_with_builder(&format!("turn{number}"), &images(), "builders/tools");
        let builder = new.join("builders/tools");
        fs::create_dir_all(&builder).expect("a folder");
        let dockerfile = format!(
            "FROM {}\nRUN head -c {} /dev/urandom > /tools-{number}\n",
            world.base_image(),
            mebibytes * 1024 * 1024
        );
        fs::write(builder.join("Dockerfile"), dockerfile).expect("a file");
        folder.set(new);
        world.set_upload_rate(Some(UPLOAD_RATE));
    };
    let here = || {
        let path = folder.take();
        folder.set(path.clone());
        path
    };
    let mut contestants = vec![
        Contestant::new("`xp build`", || world.xp(&here(), &["build", "--quiet"])).prepared(begin),
        Contestant::new("script, 4 at once", || {
            let images = images();
            let mut command = platform.script("with_builder", &here(), count, &images);
            command.env("JOBS", "4");
            command
        })
        .prepared(begin),
    ];
    if world.xp_before(world.folder(), &[]).is_some() {
        let before = Contestant::new("`xp build`, before", || {
            let command = world.xp_before(&here(), &["build", "--quiet"]);
            command.expect("it was there")
        });
        contestants.push(before.prepared(begin));
    }
    let measured = in_turns(world, rounds, contestants);
    world.set_upload_rate(None);
    let ratio = Ratio::of(&measured[1], &measured[0]);
    Case {
        name: "waiting",
        title: "(j) A builder whose push takes long",
        setup: format!(
            "{count} services with a script of {seconds} s in a builder of {mebibytes} MiB, which is new in each round. {} MiB/s can be \
             sent to the registry. The script pushes the builder first, because others are to build with the same one.",
            UPLOAD_RATE / 1024 / 1024
        ),
        targets: vec![Target {
            found: format!("{} times", spread(ratio)),
            ..Target::at_least("faster than the script", ratio.median, 1.0, "")
        }],
        tables: vec![Table::of("Limited uploads", &measured)],
    }
}
