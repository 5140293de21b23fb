//! Nothing to do, on an engine that has many other images.

use std::fs::{self, File};
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tar::{Builder, Header};

use crate::measure::{Contestant, Measured, Ratio, in_turns};
use crate::platform::Platform;
use crate::result::{Case, Table, Target, number, spread};
use crate::world::World;

/// Measures it without the other images and with them.
pub fn run(world: &World) -> Case {
    let services = world.size().of(2, 10, 50);
    let others = world.size().of(3, 200, 1000);
    let rounds = world.size().of(1, 5, 9);
    let platform = Platform::new(world, "unrelated", services, false);
    let images = platform.images("all");
    let folder = platform.folder("xp", services, &images);
    world.say(&format!("building {services} images"));
    world.succeed(&mut world.xp(&folder, &["build", "--quiet"]));
    let measure = |others: usize| {
        let named = |what: &str| format!("{what}, {others} other images");
        let contestants = vec![
            Contestant::new(named("`xp build`"), || {
                world.xp(&folder, &["build", "--quiet"])
            }),
            Contestant::new(named("`xp build --no-pull`"), || {
                world.xp(&folder, &["build", "--quiet", "--no-pull"])
            }),
            Contestant::new(named("the engine's image list"), || {
                let mut list = world.docker();
                list.args(["image", "ls", "--quiet"]);
                list
            }),
        ];
        in_turns(world, rounds, contestants)
    };
    let mut measured = measure(0);
    world.say(&format!("loading {others} images"));
    load(world, others);
    measured.extend(measure(others));
    let slower = Ratio::of(&measured[3], &measured[0]);
    let without_pull = Ratio::of(&measured[4], &measured[1]);
    let target = |text: String, ratio: Ratio| Target {
        found: format!("{} times", spread(ratio)),
        ..Target::at_most(text, ratio.median, 1.3, "times")
    };
    Case {
        name: "unrelated",
        title: "(a) Nothing to do, with other images in the engine",
        setup: format!(
            "{services} services as in (a), on {}, which then gets {others} unrelated images with one shared layer.",
            engine(world)
        ),
        targets: vec![
            target(
                format!("{others} other images: at most 1.3 times the time"),
                slower,
            ),
            target("the same with `--no-pull`".to_owned(), without_pull),
            listed(&measured),
        ],
        tables: vec![Table::of("No delay", &measured)],
    }
}

/// Compares with listing the images, which xp avoids.
fn listed(measured: &[Measured]) -> Target {
    let ratio = measured[3].time().as_secs_f64() / measured[5].time().as_secs_f64();
    Target {
        found: format!("{} times as long as the list", number(ratio)),
        ..Target::at_most("faster than the engine's list alone", ratio, 1.0, "times")
    }
}

/// Returns the engine and its image store, such as `Docker Engine 26.1.5 with the containerd image store`.
fn engine(world: &World) -> String {
    let mut info = world.docker();
    info.args([
        "info",
        "--format",
        "{{.ServerVersion}} {{json .DriverStatus}}",
    ]);
    let info = world.succeed(&mut info);
    let (version, status) = info.split_once(' ').unwrap_or((&info, ""));
    let store = match status.contains("io.containerd.snapshotter") {
        true => "the containerd image store",
        false => "the classic image store",
    };
    format!("Docker Engine {version} with {store}")
}

/// Loads many images into the engine in one request, with a shared layer and a unique label each.
fn load(world: &World, count: usize) {
    let archive = world.part("others").join("images.tar");
    write_archive(&archive, count);
    world.succeed(
        world
            .docker()
            .args(["load", "--quiet", "--input"])
            .arg(&archive),
    );
    fs::remove_file(&archive).expect("the archive");
}

fn write_archive(path: &Path, count: usize) {
    let mut layer = Builder::new(Vec::new());
    append(&mut layer, "file", b"the same for all\n");
    let layer = layer.into_inner().expect("a layer");
    let layer_id = hex::encode(Sha256::digest(&layer));
    let layer_name = format!("{layer_id}/layer.tar");
    let mut archive = Builder::new(File::create(path).expect("a file"));
    append(&mut archive, &layer_name, &layer);
    let images = (1..=count).map(|number| {
        let configuration = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": {"number": number.to_string()}},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_id}")]},
        });
        let configuration = configuration.to_string();
        let name = format!("{}.json", hex::encode(Sha256::digest(&configuration)));
        append(&mut archive, &name, configuration.as_bytes());
        json!({"Config": name, "RepoTags": [format!("others/o{number}:1")], "Layers": [layer_name]})
    });
    let manifest = Value::Array(images.collect()).to_string();
    append(&mut archive, "manifest.json", manifest.as_bytes());
    archive.finish().expect("an archive");
}

fn append(archive: &mut Builder<impl std::io::Write>, name: &str, bytes: &[u8]) {
    let mut header = Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    archive
        .append_data(&mut header, name, bytes)
        .expect("a file of an archive");
}
