//! Nothing to do: every image is up to date.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::measure::{Contestant, Measured, Ratio, in_turns};
use crate::platform::Platform;
use crate::result::{Case, Table, Target, number, spread};
use crate::size::Size;
use crate::world::World;

const ROUND_TRIP: Duration = Duration::from_millis(50);

/// Measures it for several numbers of services, near and far.
pub fn run(world: &World) -> Case {
    let sizes: &[usize] = world.size().of(&[1, 3], &[1, 50], &[1, 50, 500]);
    let most = sizes[sizes.len() - 1];
    let platform = Platform::new(world, "nothing", most, false);
    let images = platform.images("all");
    let all = platform.folder("all", most, &images);
    world.say(&format!("building {most} images"));
    world.succeed(&mut world.xp(&all, &["build", "--quiet"]));

    let mut tables = Vec::new();
    let mut at_50_ms = Vec::new();
    for &size in sizes {
        let script = platform.folder("script", size, &images);
        let parallel = platform.folder("parallel", size, &images);
        let folders = [script.as_path(), parallel.as_path()];
        for folder in folders {
            // The working copies exist, so cloning is not measured.
            world.succeed(&mut platform.script("parallel", folder, size, &images));
        }
        let xp = platform.folder("xp", size, &images);
        let floor = platform.folder("floor", size, &images);
        write_tags(world, &platform, &floor, size);
        world.succeed(&mut world.xp(&xp, &["build", "--quiet"]));
        let compose = (size <= 50 && world.size() != Size::Tiny)
            .then(|| compose(world, &platform, &parallel, size));
        let bake = world.buildx().filter(|_| size <= 50);
        let bake = bake.map(|buildx| {
            (
                bake_folder(world, &platform, &parallel, size, &buildx),
                buildx,
            )
        });
        for round_trip in [Duration::ZERO, ROUND_TRIP] {
            let rounds = match size {
                500.. => 3,
                _ => world.size().of(1, 3, 5),
            };
            let script = |name, folder: &Path, script: &'static str| {
                let folder = folder.to_owned();
                let (platform, images) = (&platform, &images);
                Contestant::new(name, move || platform.script(script, &folder, size, images))
            };
            let mut contestants = vec![
                Contestant::new("`xp build`", || world.xp(&xp, &["build", "--quiet"])),
                script("script", folders[0], "serial"),
                script("script, 16 at once", folders[1], "parallel"),
                script("lower bound: bare requests", &floor, "floor"),
            ];
            // It builds from the local cache at any latency; a slower round of half a minute adds no information.
            let takes_part = round_trip.is_zero() || size == 1;
            if let Some(folder) = compose.as_ref().filter(|_| takes_part) {
                contestants.insert(
                    3,
                    Contestant::new("docker-compose", || compose_command(world, folder)),
                );
            }
            if let Some((folder, buildx)) = bake.as_ref().filter(|_| takes_part) {
                contestants.insert(
                    contestants.len() - 1,
                    Contestant::new("docker buildx bake", || bake_command(world, buildx, folder)),
                );
            }
            world.set_round_trip(round_trip);
            let measured = in_turns(world, rounds, contestants);
            world.set_round_trip(Duration::ZERO);
            let title = format!("{size} services, {} ms", round_trip.as_millis());
            tables.push(Table::of(title, &measured));
            if round_trip == ROUND_TRIP {
                at_50_ms.push((size, measured));
            }
        }
    }
    Case {
        name: "nothing",
        title: "(a) Nothing to do",
        setup: "Every service has its own git repository; the registry and the engine have its image. The script fetches, resets, checks out \
                and looks for the image in the engine; docker-compose and bake build from their cache and push, and ignore git. The lower bound is \
                one `curl` for the references of all remotes, then one for all images, then one for the engine's list."
            .to_owned(),
        tables,
        targets: targets(&at_50_ms),
    }
}

fn targets(at_50_ms: &[(usize, Vec<Measured>)]) -> Vec<Target> {
    let of = |wanted: usize| at_50_ms.iter().find(|(size, _)| *size == wanted);
    let mut targets = Vec::new();
    if let Some((_, fifty)) = of(50) {
        let ratio = Ratio::of(&fifty[1], &fifty[0]);
        targets.push(Target {
            found: format!("{} times", spread(ratio)),
            ..Target::at_least(
                "50 services at 50 ms: 30 times faster than the script",
                ratio.median,
                30.0,
                "",
            )
        });
        let trips = fifty[0].time().as_secs_f64() / ROUND_TRIP.as_secs_f64();
        let floor =
            fifty.last().expect("the floor").time().as_secs_f64() / ROUND_TRIP.as_secs_f64();
        targets.push(Target {
            found: format!(
                "{} round trips of wall time (lower bound: {})",
                number(trips),
                number(floor)
            ),
            ..Target::at_most(
                "50 services at 50 ms: under four round trips of wall time",
                trips,
                4.0,
                "",
            )
        });
        if let Some((_, many)) = of(500) {
            let times = many[0].time().as_secs_f64() / fifty[0].time().as_secs_f64();
            targets.push(Target::at_most(
                "500 services: at most 2.5 times the time of 50",
                times,
                2.5,
                "times",
            ));
        }
    }
    let peak = at_50_ms
        .iter()
        .filter_map(|(_, measured)| measured[0].peak())
        .max();
    #[expect(clippy::cast_precision_loss, reason = "KiB of a process")]
    let peak = peak.unwrap_or(0) as f64 / 1024.0;
    targets.push(Target::at_most("memory under 64 MiB", peak, 64.0, "MiB"));
    targets
}

/// Writes the list of tags that the floor queries.
fn write_tags(world: &World, platform: &Platform<'_>, folder: &Path, size: usize) {
    fs::create_dir_all(folder.join("tags")).expect("a folder");
    for service in &platform.services()[..size] {
        let tag = fs::read_to_string(platform.repository(service).join("refs/heads/master"));
        let tag = tag.unwrap_or_else(|_| {
            world.succeed(
                world
                    .git(&platform.repository(service))
                    .args(["rev-parse", "master"]),
            )
        });
        fs::write(folder.join("tags").join(service), tag.trim()).expect("a tag");
    }
}

fn compose<'a>(world: &World, platform: &Platform<'a>, parallel: &Path, size: usize) -> PathBuf {
    let images = platform.images("compose");
    let folder = platform.folder("compose", size, &images);
    platform.write_compose_file(&folder, size, &images);
    copy_sources(world, parallel, &folder);
    world.succeed(&mut compose_command(world, &folder));
    folder
}

fn bake_folder(
    world: &World,
    platform: &Platform<'_>,
    parallel: &Path,
    size: usize,
    buildx: &Path,
) -> PathBuf {
    let images = platform.images("bake");
    let folder = platform.folder("bake", size, &images);
    platform.write_bake_file(&folder, size, &images);
    copy_sources(world, parallel, &folder);
    world.succeed(&mut bake_command(world, buildx, &folder));
    folder
}

/// Builds and pushes by `docker buildx bake`, with the engine's own BuildKit.
pub fn bake_command(world: &World, buildx: &Path, folder: &Path) -> std::process::Command {
    let mut command = world.command(buildx);
    command.args(["bake", "--push", "--progress", "quiet"]);
    command.args(["--file", "docker-bake.json"]);
    command.current_dir(folder);
    command
}

/// Builds and pushes by docker-compose.
pub fn compose_command(world: &World, folder: &Path) -> std::process::Command {
    let mut command = world.command("sh");
    command.args(["-c", "docker-compose build --quiet && docker-compose push"]);
    // With `--parallel` it closes its own connections at 50 services. One of its processes shows progress for
    // each service, and the default of an hour is of no use here.
    command
        .env("COMPOSE_PARALLEL_LIMIT", "16")
        .env("COMPOSE_HTTP_TIMEOUT", "600");
    // The classic builder through the API: the command line's would be started once a service.
    command
        .env("COMPOSE_DOCKER_CLI_BUILD", "0")
        .current_dir(folder);
    command
}

/// Copies the working copies of another contestant.
fn copy_sources(world: &World, from: &Path, to: &Path) {
    let mut copy = world.command("cp");
    world.succeed(copy.arg("-R").arg(from.join("src")).arg(to));
}
