//! The time from saving a file to the restarted container.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::measure::{Contestant, Ratio, in_turns};
use crate::platform::{commit, make_bare};
use crate::result::{Case, Table, Target, spread};
use crate::world::World;

/// Saves a file, rebuilds and restarts if nobody else does, and waits until the new container has written its content.
const SAVE: &str = r#"set -e
content=$(date +%s%N)
echo "$content" > src/s/source
$REBUILD
until [ "$(cat out/content)" = "$content" ]; do sleep 0.005; done
"#;

const LIMIT: Duration = Duration::from_secs(120);

/// Measures `--watch` with `--deploy`, and the alternatives.
pub fn run(world: &World) -> Case {
    let rounds = world.size().of(1, 7, 15);
    let repository = world.part("watch").join("s.git");
    make_bare(world, &repository);
    let dockerfile = format!(
        "FROM {}\nCOPY source /source\nSTOPSIGNAL SIGKILL\n\
         CMD [\"sh\", \"-c\", \"cp /source /out/new; mv /out/new /out/content; sleep 10000\"]\n",
        world.base_image()
    );
    commit(
        world,
        &repository,
        &[("Dockerfile", &dockerfile), ("source", "start\n")],
    );
    let folder = |name: &str| {
        let folder = world.part(&format!("watch/{name}"));
        fs::create_dir_all(folder.join("out")).expect("a folder");
        let manifest = format!(
            "services:\n  s:\n    dir: src/s\n    git: {{remote: 'file://{}'}}\n    docker: {{image: bench/watch-{name}}}\n\
             deploy: {{environments: {{dev: {{compose: docker-compose.yml}}}}}}\n",
            repository.display()
        );
        fs::write(folder.join("x-platform.yml"), manifest).expect("a manifest");
        let compose = format!(
            "name: bench-watch-{name}\nservices:\n  s:\n    build: src/s\n    image: bench/watch-{name}\n    \
             network_mode: none\n    volumes: ['./out:/out']\n    develop: {{watch: [{{action: rebuild, path: src/s}}]}}\n"
        );
        fs::write(folder.join("docker-compose.yml"), compose).expect("a file");
        world.succeed(&mut world.xp(&folder, &["sync", "--quiet"]));
        folder
    };
    let (xp, compose, bare) = (folder("xp"), folder("compose"), folder("bare"));
    let program = program();
    let command = |folder: &Path, arguments: &[&str]| {
        let mut command = world.command(&program);
        command.args(arguments).current_dir(folder);
        command
    };
    let tools = program.parent().expect("a folder").display();
    let mut by_xp = world.xp(&xp, &["build", "--local", "--watch", "--deploy", "dev"]);
    let path = format!("{tools}:{}", world.path());
    by_xp.env("PATH", &path);
    world.succeed(&mut command(&compose, &["up", "--detach", "--build"]));
    world.succeed(&mut command(&bare, &["up", "--detach", "--build"]));
    let watching = [
        Watching::start(by_xp, &xp),
        Watching::start(command(&compose, &["watch", "--no-up"]), &compose),
    ];
    let save = |folder: &Path, rebuild: &str| {
        let mut save = world.command("sh");
        save.args(["-c", &SAVE.replace("$REBUILD", rebuild)]);
        save.current_dir(folder).env("PATH", &path);
        save
    };
    let measured = in_turns(
        world,
        rounds,
        vec![
            Contestant::new("`xp build --local --watch --deploy`", || save(&xp, "")),
            Contestant::new("`docker compose watch`", || save(&compose, "")),
            Contestant::new("docker build, docker compose up, by hand", || {
                save(
                    &bare,
                    "docker build --quiet --tag bench/watch-bare src/s\ndocker-compose up --detach",
                )
            }),
        ],
    );
    drop(watching);
    for folder in [&xp, &compose, &bare] {
        world.succeed(&mut command(folder, &["down", "--timeout", "0"]));
    }
    let ratio = Ratio::of(&measured[1], &measured[0]);
    Case {
        name: "watch",
        title: "(m) From saving a file to the restarted container",
        setup: "One file of a service with a Dockerfile is saved. The time ends when the new container has written the \
             file's content to a mounted folder. The watching programs run all the time; the columns after the ratio are only about the \
             script that saves the file and waits."
            .to_owned(),
        targets: vec![Target {
            found: format!("{} times", spread(ratio)),
            ..Target::at_least("faster than docker compose watch", ratio.median, 1.0, "")
        }],
        tables: vec![Table::of("No delay", &measured)],
    }
}

/// A program that watches files; ended on drop.
struct Watching(Child);

impl Watching {
    /// Starts it, and waits until a change is noticed.
    fn start(mut command: Command, folder: &Path) -> Self {
        let log = File::create(folder.join("log")).expect("a log");
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let watching = Self(child);
        let begun = Instant::now();
        let source = folder.join("src/s/source");
        let is_running = || fs::read(folder.join("out/content")).ok() == fs::read(&source).ok();
        while !is_running() {
            assert!(begun.elapsed() < LIMIT, "{command:?} starts no container");
            thread::sleep(Duration::from_millis(50));
        }
        // The watches may not be complete yet: save until one change arrives.
        for number in 0.. {
            fs::write(&source, format!("warm-up {number}\n")).expect("a file");
            let saved = Instant::now();
            while !is_running() && saved.elapsed() < Duration::from_secs(10) {
                thread::sleep(Duration::from_millis(50));
            }
            if is_running() {
                break;
            }
            assert!(
                begun.elapsed() < LIMIT,
                "{command:?} does not notice changes"
            );
        }
        watching
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        _ = kill_process(Pid::from_child(&self.0), Signal::INT);
        _ = self.0.wait();
    }
}

/// Returns docker compose.
fn program() -> PathBuf {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    let folders = ["bench-tools", "test-tools"].map(|name| target.join(name));
    let mut programs = folders
        .into_iter()
        .map(|folder| folder.join("docker-compose"));
    programs
        .find(|program| program.is_file())
        .expect("docker compose: bin/bench and bin/test install it")
}
