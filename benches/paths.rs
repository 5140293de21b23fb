//! Many services in one repository: `cargo bench --bench paths`.
//!
//! Creates a repository of 1,000 services with 10,000 commits, and measures `xp plan` on it: without any cache,
//! with only the working copy, and with all caches. The times are compared with those of git for the same
//! question in the same run. As root it starts its own Docker Engine, otherwise it uses the running one.

#![expect(
    clippy::disallowed_methods,
    reason = "the rule is about xp's own settings"
)]

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const SERVICES: usize = 1000;
const COMMITS: usize = 10_000;

/// Number of services to measure git with; the time is scaled.
const SAMPLE: usize = 40;

/// Number of warm measurements.
const RUNS: usize = 9;

fn main() {
    // `cargo bench` passes this; `cargo test` does not, and skips the benchmark, which takes half a minute.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let folder = tempfile::Builder::new()
        .prefix("xp-bench-")
        .tempdir()
        .expect("a folder");
    let bench = Bench {
        folder: folder.path().to_owned(),
        engine: Engine::start(&folder.path().join("engine")),
    };
    bench.run();
}

struct Bench {
    folder: PathBuf,
    engine: Engine,
}

impl Bench {
    fn run(&self) {
        let made = timed(|| self.make_repository());
        self.write_manifest(SERVICES, "x-platform.yml");
        self.write_manifest(1, "one.yml");
        println!(
            "{SERVICES} services, {COMMITS} commits; the repository was made in {}",
            ms(made)
        );
        let all = timed(|| {
            let mut log = self.git("mono.git");
            succeed(log.args(["log", "--format=%H", "--name-only", "-m", "--first-parent"]));
        });
        let each = timed(|| {
            for number in (0..SERVICES).step_by(SERVICES / SAMPLE) {
                let mut log = self.git("mono.git");
                succeed(log.args(["log", "-1", "--format=%H", "--", &path(number)]));
            }
        });
        let each = each * u32::try_from(SERVICES / SAMPLE).expect("small");
        println!("baseline: git log --name-only, once         {}", ms(all));
        println!(
            "baseline: git log -1 -- PATH, for each      {} (from {SAMPLE} of them)",
            ms(each)
        );

        let cold = timed(|| self.plan("x-platform.yml"));
        let clone = timed(|| {
            let mut clone = self.git(".");
            succeed(clone.args(["clone", "--quiet", &self.remote(), "reference"]));
        });
        println!(
            "xp plan, with nothing there                 {} (git clone alone: {})",
            ms(cold),
            ms(clone)
        );
        fs::remove_dir_all(self.folder.join(".xp/history")).expect("what is known");
        let walk = timed(|| self.plan("x-platform.yml"));
        println!(
            "xp plan, with the working copy              {} ({:.2} of git log --name-only, {:.3} of git log -1 for each)",
            ms(walk),
            walk.as_secs_f64() / all.as_secs_f64(),
            walk.as_secs_f64() / each.as_secs_f64()
        );
        let warm = self.median("x-platform.yml");
        let one = self.median("one.yml");
        println!(
            "xp plan, again                              {} ({:.4} of git log -1 for each)",
            ms(warm),
            warm.as_secs_f64() / each.as_secs_f64()
        );
        println!("xp plan, again, of one service              {}", ms(one));
        println!(
            "own time of the other {} services          {}",
            SERVICES - 1,
            ms(warm.saturating_sub(one))
        );
    }

    /// Each commit changes one service; about every twentieth is a merge of a short branch.
    fn make_repository(&self) {
        let bare = self.folder.join("mono.git");
        let init = ["init", "--quiet", "--bare", "--initial-branch=master"];
        succeed(self.git(".").args(init).arg(&bare));
        let mut text = String::new();
        for number in 1..=COMMITS {
            let time = 1_600_000_000 + number * 60;
            _ = write!(
                text,
                "commit refs/heads/master\nmark :{number}\ncommitter T <t@example.com> {time} +0000\ndata 2\nx\n\n"
            );
            match number {
                1 => {}
                // The branch started two commits ago and contains the commit in between.
                _ if number % 20 == 3 => {
                    _ = write!(text, "from :{}\nmerge :{}\n", number - 2, number - 1);
                }
                _ => _ = writeln!(text, "from :{}", number - 1),
            }
            if number == 1 {
                for service in 0..SERVICES {
                    let path = path(service);
                    _ = write!(
                        text,
                        "M 100644 inline {path}/Dockerfile\ndata 13\nFROM scratch\n\n"
                    );
                    _ = write!(text, "M 100644 inline {path}/src/main\ndata 2\n0\n\n");
                }
            } else {
                let service = path(number.wrapping_mul(7919) % SERVICES);
                let content = number.to_string();
                let length = content.len();
                _ = write!(
                    text,
                    "M 100644 inline {service}/src/main\ndata {length}\n{content}\n"
                );
            }
        }
        let mut import = self.git("mono.git");
        import
            .args(["fast-import", "--quiet"])
            .stdin(Stdio::piped());
        let mut import = import.spawn().expect("git");
        let mut input = import.stdin.take().expect("a pipe");
        input.write_all(text.as_bytes()).expect("git reads");
        drop(input);
        assert!(import.wait().expect("git ends").success());
    }

    fn write_manifest(&self, services: usize, name: &str) {
        let mut text = "services:\n".to_owned();
        let remote = self.remote();
        for number in 0..services {
            let path = path(number);
            _ = write!(
                text,
                "  s{number:04}:\n    dir: src/mono\n    git: {{remote: '{remote}', path: {path}}}\n    docker: {{image: bench/s{number:04}}}\n"
            );
        }
        fs::write(self.folder.join(name), text).expect("a manifest");
    }

    fn remote(&self) -> String {
        format!("file://{}", self.folder.join("mono.git").display())
    }

    fn plan(&self, manifest: &str) {
        let mut plan = Command::new(env!("CARGO_BIN_EXE_xp"));
        plan.args(["-f", manifest, "plan"])
            .current_dir(&self.folder);
        succeed(plan.env("DOCKER_HOST", &self.engine.host));
    }

    fn median(&self, manifest: &str) -> Duration {
        self.plan(manifest);
        let mut times: Vec<Duration> = (0..RUNS).map(|_| timed(|| self.plan(manifest))).collect();
        times.sort();
        times[RUNS / 2]
    }

    fn git(&self, folder: &str) -> Command {
        let mut git = Command::new("git");
        git.current_dir(self.folder.join(folder))
            .env("GIT_CONFIG_GLOBAL", "/dev/null");
        git
    }
}

/// A Docker Engine; stopped on drop.
struct Engine {
    child: Option<Child>,
    host: String,
}

impl Engine {
    fn start(folder: &Path) -> Self {
        if !rustix::process::geteuid().is_root() {
            let at_hand = "unix:///var/run/docker.sock".to_owned();
            let host = std::env::var("DOCKER_HOST").unwrap_or(at_hand);
            return Self { child: None, host };
        }
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/bin/world"));
        command.arg("engine").arg(folder).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("bin/world");
        let socket = folder.join("docker.sock");
        let is_ready = || {
            let mut ping = Command::new("curl");
            ping.args([
                "--silent",
                "--fail",
                "--output",
                "/dev/null",
                "http://engine/_ping",
            ]);
            let status = ping.arg("--unix-socket").arg(&socket).status();
            status.is_ok_and(|status| status.success())
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        while !is_ready() {
            assert!(
                Instant::now() < deadline,
                "the engine does not start: see bin/world"
            );
            thread::sleep(Duration::from_millis(50));
        }
        let host = format!("unix://{}", socket.display());
        Self {
            child: Some(child),
            host,
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // On SIGTERM, it removes its bridge and its containers.
            let id = rustix::process::Pid::from_child(child);
            _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
            _ = child.wait();
        }
    }
}

fn path(service: usize) -> String {
    format!("services/s{service:04}")
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn ms(time: Duration) -> String {
    format!("{:7.0} ms", time.as_secs_f64() * 1000.0)
}

fn succeed(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("a program");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}
