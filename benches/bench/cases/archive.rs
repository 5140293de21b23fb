//! Saving and restoring the outputs of a phase.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::measure::{Contestant, Measured, Ratio, in_turns};
use crate::result::{Case, Table, Target, bytes, spread};
use crate::world::World;

/// The argument that makes this program save or restore an archive and exit.
pub const ALONE: &str = "--archive";

/// The folders of the outputs.
const FOLDERS: usize = 600;

/// The average size of a file.
const FILE: usize = 17 * 1024;

/// Saves or restores the output `out` of a folder, in a process of its own.
pub fn alone(what: &str, folder: &str, archive: &str) {
    let (folder, document) = (Path::new(folder), format!("{archive}.json"));
    if what == "save" {
        let mut file = File::create(archive).expect("a file");
        let saved = xp::testing::save(folder, "out", "bench", &mut file);
        fs::write(document, saved).expect("a file");
    } else {
        let file = File::open(archive).expect("an archive");
        let document = fs::read_to_string(document).expect("its document");
        let restored = xp::testing::restore(&document, file, folder, "out");
        restored.unwrap_or_else(|error| panic!("{error}"));
    }
}

/// Measures it for 500 MB in 30,000 files.
pub fn run(world: &World) -> Case {
    let files = world.size().of(200, 6000, 30_000);
    let rounds = world.size().of(1, 3, 3);
    let folder = world.part("archive");
    let source = folder.join("source");
    let total = create(&source.join("out"), files);
    let from = format!("FROM {}\n", world.base_image());
    fs::write(source.join("Dockerfile"), format!("{from}COPY out /out\n")).expect("a Dockerfile");
    let program = std::env::current_exe().expect("this program");
    let alone = |what: &str, folder: &Path| {
        let mut alone = world.command(&program);
        alone.arg(ALONE).arg(what);
        alone.arg(folder).arg(archive(folder));
        alone
    };

    let docker = |build_kit: &'static str| {
        let source = &source;
        move || {
            let mut build = world.docker();
            build.args(["build", "--quiet", "--tag", "bench/archive", "."]);
            build.env("DOCKER_BUILDKIT", build_kit).current_dir(source);
            build
        }
    };
    // The engine has neither layers nor earlier contexts.
    let forget = || {
        world.succeed(world.command("sh").args([
            "-c",
            "docker image ls --quiet --filter reference='bench/archive*' | xargs --no-run-if-empty docker rmi --force &&
             docker builder prune --all --force",
        ]));
    };
    let saved = in_turns(
        world,
        rounds,
        vec![
            Contestant::new("xp", || alone("save", &source)).prepared(|| remove(&archive(&source))),
            Contestant::new("tar --zstd", || {
                tar(world, "--create", &source, &source.join("tar.zst"))
            })
            .prepared(|| remove(&source.join("tar.zst"))),
            Contestant::new("COPY in docker build, BuildKit", docker("1")).prepared(forget),
            Contestant::new("COPY in docker build, classic", docker("0")).prepared(forget),
        ],
    );

    // The image of the last build has the files in a layer.
    world.succeed(&mut docker("0")());
    let target = folder.join("target");
    let again = folder.join("again");
    fs::create_dir_all(&again).expect("a folder");
    let copy = format!("{from}COPY --from=bench/archive /out /out\n");
    fs::write(again.join("Dockerfile"), copy).expect("a Dockerfile");
    let restored_archive = archive(&target);
    fs::copy(archive(&source), &restored_archive).expect("an archive");
    let json = |archive: &Path| PathBuf::from(format!("{}.json", archive.display()));
    fs::copy(json(&archive(&source)), json(&restored_archive)).expect("its document");
    // What an earlier contestant wrote is on the disk, so that no other waits for that.
    let empty = || {
        remove(&target);
        fs::create_dir_all(&target).expect("a folder");
        world.succeed(&mut world.command("sync"));
    };
    let forget_copy = || {
        let script = "docker rmi --force bench/archive-copy; docker builder prune --all --force";
        world.succeed(world.command("sh").args(["-c", script]));
    };
    let restored = in_turns(
        world,
        rounds,
        vec![
            Contestant::new("xp", || alone("restore", &target)).prepared(empty),
            Contestant::new("tar --zstd", || {
                tar(world, "--extract", &target, &source.join("tar.zst"))
            })
            .prepared(empty),
            Contestant::new("COPY --from in docker build, classic", || {
                let mut build = world.docker();
                build.args([
                    "build",
                    "--quiet",
                    "--no-cache",
                    "--tag",
                    "bench/archive-copy",
                    ".",
                ]);
                build.env("DOCKER_BUILDKIT", "0").current_dir(&again);
                build
            })
            .prepared(forget_copy),
        ],
    );
    let [own, by_tar] = [archive(&source), source.join("tar.zst")].map(|path| length(&path));
    forget_copy();
    forget();
    remove(&folder);
    Case {
        name: "archive",
        title: "(n) Results of phases: saving and restoring",
        setup: format!(
            "The outputs of a phase: {} in {files} files and {FOLDERS} folders, of which two thirds are text. xp also hashes the \
             archive, checks the hash when it restores, and checks every path before anything is in its place. Its archive has {}, \
             that of `tar --zstd` {}. All files are in the page cache.",
            bytes(total),
            bytes(own),
            bytes(by_tar),
        ),
        targets: vec![
            target_of("saving", &saved),
            target_of("restoring", &restored),
        ],
        tables: vec![
            Table::of("Saving", &saved),
            Table::of("Restoring", &restored),
        ],
    }
}

fn target_of(what: &str, measured: &[Measured]) -> Target {
    let ratio = Ratio::of(&measured[0], &measured[1]);
    let text = format!("{what} within 1.3 times the time of `tar --zstd`");
    Target {
        found: format!("{} of its time", spread(ratio)),
        ..Target::at_most(text, ratio.median, 1.3, "")
    }
}

/// Returns the archive of a folder, next to it.
fn archive(folder: &Path) -> PathBuf {
    folder.with_extension("archive")
}

fn tar(world: &World, what: &str, folder: &Path, archive: &Path) -> Command {
    let mut tar = world.command("tar");
    let file: OsString = ["--file=".as_ref(), archive.as_os_str()]
        .into_iter()
        .collect();
    tar.args(["--zstd", what])
        .arg(file)
        .arg("--directory")
        .arg(folder);
    if what == "--create" {
        tar.arg("out");
    }
    tar
}

/// Creates files, and returns their total size.
fn create(folder: &Path, files: usize) -> u64 {
    let mut state = 1_u64;
    let mut random = |bound: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(state >> 33).expect("31 bits") % bound
    };
    let words: Vec<String> = (0..4000)
        .map(|_| {
            let length = 2 + random(9);
            (0..length)
                .map(|_| char::from(b'a' + random(26) as u8))
                .collect()
        })
        .collect();
    let mut total = 0;
    for number in 0..files {
        let folder = folder.join(format!("package-{}/lib", number % FOLDERS));
        fs::create_dir_all(&folder).expect("a folder");
        // Most files are small.
        let size = if random(10) == 0 {
            random(12 * FILE)
        } else {
            random(FILE)
        };
        let mut content = Vec::with_capacity(size + 16);
        while content.len() < size {
            if number % 3 == 0 {
                content.extend_from_slice(&random(1 << 30).to_le_bytes()[..3]);
            } else {
                content.extend_from_slice(words[random(words.len())].as_bytes());
                content.push(b' ');
            }
        }
        total += content.len() as u64;
        let mut file = File::create(folder.join(format!("file-{number}.js"))).expect("a file");
        file.write_all(&content).expect("a file");
    }
    total
}

fn remove(path: &Path) {
    if path.is_dir() {
        fs::remove_dir_all(path).expect("a folder");
    } else if path.exists() {
        fs::remove_file(path).expect("a file");
    }
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).expect("a file").len()
}
