//! The environment of the benchmark: its own engine, registry and git server, with relays to them.

use std::fs::{self, Permissions};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::runtime::Runtime;

use crate::relay::{Passed, Relay};
use crate::size::Size;

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bin/world");
const SOURCES: &str = env!("CARGO_MANIFEST_DIR");

/// The servers, stopped on drop, and the folder with all files.
pub struct World {
    folder: PathBuf,
    path: String,
    size: Size,
    docker_host: String,
    engine: Option<Child>,
    registry: Child,
    git: Child,
    registry_relay: Relay,
    git_relay: Relay,
    has_strace: bool,
    _runtime: Runtime,
    _temporary: tempfile::TempDir,
}

/// Number of requests to all servers so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counters {
    pub connections: u64,
    pub requests: u64,
    pub bytes: u64,
}

impl World {
    /// Starts the servers. For users other than root, the running engine is used.
    pub fn start(size: Size) -> Self {
        // The length of socket paths is limited, and /tmp may be in memory.
        let mut builder = tempfile::Builder::new();
        let temporary = builder
            .prefix("xp-")
            .tempdir_in("/var/tmp")
            .expect("a folder");
        let folder = temporary
            .path()
            .canonicalize()
            .expect("a folder that exists");
        fs::create_dir_all(folder.join("home")).expect("a folder");
        fs::create_dir_all(folder.join("bin")).expect("a folder");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");

        let (registry_port, git_port) = (free_port(), free_port());
        let registry = serve("registry", &folder.join("registry"), Some(registry_port));
        let git = serve("git-http", &folder.join("git"), Some(git_port));
        let own_engine = rustix::process::geteuid().is_root();
        let (engine, docker_host) = match own_engine {
            true => {
                let directory = folder.join("engine");
                let host = format!("unix://{}/docker.sock", directory.display());
                (Some(serve("engine", &directory, None)), host)
            }
            false => {
                let at_hand = "unix:///var/run/docker.sock".to_owned();
                (None, variable("DOCKER_HOST").unwrap_or(at_hand))
            }
        };
        let relay = |port| Relay::start(runtime.handle(), port);
        let path = format!(
            "{}:{}",
            folder.join("bin").display(),
            variable("PATH").expect("a PATH")
        );
        let mut world = Self {
            path,
            size,
            docker_host,
            engine,
            registry,
            git,
            registry_relay: relay(registry_port),
            git_relay: relay(git_port),
            has_strace: false,
            _runtime: runtime,
            _temporary: temporary,
            folder,
        };
        for port in [registry_port, git_port] {
            wait_until("a server", || {
                TcpStream::connect(("127.0.0.1", port)).is_ok()
            });
        }
        wait_until("the engine", || {
            world
                .docker()
                .args(["ps", "--quiet"])
                .output()
                .is_ok_and(|it| it.status.success())
        });
        world.has_strace = world.command("strace").arg("-V").output().is_ok();
        world.choose_docker();
        let configuration = "[user]\n name = A Developer\n email = developer@example.com\n\
                             [advice]\n detachedHead = false\n[init]\n defaultBranch = master\n";
        fs::write(world.folder.join("home/.gitconfig"), configuration).expect("a configuration");
        world.make_base_image();
        world
    }

    /// Starts another server on a free port, and waits until it responds.
    pub fn serve(&self, kind: &str, folder: &Path) -> (Child, u16) {
        let port = free_port();
        let server = serve(kind, folder, Some(port));
        wait_until(kind, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        (server, port)
    }

    /// Returns the size of the benchmark.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Returns the root folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Creates the folder of a part of the benchmark.
    pub fn part(&self, name: &str) -> PathBuf {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    /// Returns the folder of the bare repositories of the git server.
    pub fn repositories(&self) -> PathBuf {
        self.folder.join("git/repositories")
    }

    /// Returns the registry host in image names, which is the relay.
    pub fn registry(&self) -> String {
        format!("127.0.0.1:{}", self.registry_relay.port())
    }

    /// Returns the base of the URLs of all repositories.
    pub fn git_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.git_relay.port())
    }

    /// Returns the base image, which has a shell and exists in registry and engine.
    pub fn base_image(&self) -> String {
        format!("{}/base/busybox:1", self.registry())
    }

    /// Sets the round-trip time to the registry and the git server.
    pub fn set_round_trip(&self, round_trip: Duration) {
        self.registry_relay.set_round_trip(round_trip);
        self.git_relay.set_round_trip(round_trip);
    }

    /// Limits uploads to the registry, in bytes per second; `None` for no limit.
    pub fn set_upload_rate(&self, rate: Option<u64>) {
        self.registry_relay.set_upload_rate(rate);
    }

    /// Returns the number of requests so far.
    pub fn counters(&self) -> Counters {
        let passed: [Passed; 2] = [self.registry_relay.passed(), self.git_relay.passed()];
        let lines = |log: &str| {
            let log = fs::read(self.folder.join(log)).unwrap_or_default();
            log.iter().filter(|byte| **byte == b'\n').count() as u64
        };
        Counters {
            connections: passed.iter().map(|it| it.connections).sum(),
            bytes: passed.iter().map(|it| it.bytes).sum(),
            requests: lines("registry/access.log") + lines("git/access.log"),
        }
    }

    /// Returns whether started programs can be counted here.
    pub fn counts_programs(&self) -> bool {
        self.has_strace
    }

    /// Returns a command with an isolated environment.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", &self.path)
            .env("LANG", "C.UTF-8");
        command.env("HOME", self.folder.join("home"));
        command
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0");
        command.env("DOCKER_HOST", &self.docker_host);
        command.env("DOCKER_BUILDKIT", "1");
        command.env(
            "PYTHONPATH",
            Path::new(SOURCES).join("target/bench-tools/python"),
        );
        command.current_dir(&self.folder);
        command
    }

    /// Returns the `PATH` of commands.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns an xp command in a folder.
    pub fn xp(&self, folder: &Path, arguments: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_xp"));
        command.args(arguments).current_dir(folder);
        command
    }

    /// Returns a command of another xp in a folder, to compare with: that of `XP_BENCH_BEFORE`.
    pub fn xp_before(&self, folder: &Path, arguments: &[&str]) -> Option<Command> {
        let mut command = self.command(variable("XP_BENCH_BEFORE")?);
        command.args(arguments).current_dir(folder);
        Some(command)
    }

    /// Returns the program of buildx, which `need_bench` of bin/setup installs.
    pub fn buildx(&self) -> Option<PathBuf> {
        let plugins = [
            Path::new(SOURCES).join("target/bench-tools/docker-buildx"),
            PathBuf::from("/usr/libexec/docker/cli-plugins/docker-buildx"),
        ];
        plugins.into_iter().find(|plugin| plugin.is_file())
    }

    /// Returns a docker command.
    pub fn docker(&self) -> Command {
        self.command("docker")
    }

    /// Returns a git command in a folder.
    pub fn git(&self, folder: &Path) -> Command {
        let mut command = self.command("git");
        command.current_dir(folder);
        command
    }

    /// Runs a program, asserts success, and returns its output.
    pub fn succeed(&self, command: &mut Command) -> String {
        let output = command
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        assert!(
            output.status.success(),
            "{command:?} failed:\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Prints progress.
    pub fn say(&self, text: &str) {
        if self.size != Size::Tiny {
            eprintln!("  {text}");
        }
    }

    /// Several docker clients may be installed, and not all of them support BuildKit: the one of Debian 12
    /// has it built in, newer ones need a plugin.
    fn choose_docker(&self) {
        let context = self.part("docker-probe");
        fs::write(
            context.join("Dockerfile"),
            "FROM scratch\nCOPY Dockerfile /\n",
        )
        .expect("a file");
        let folders = self
            .path
            .split(':')
            .map(|folder| Path::new(folder).join("docker"));
        for program in folders.filter(|program| program.is_file()) {
            let mut build = self.command(&program);
            build.args(["build", "--quiet", "."]).current_dir(&context);
            if build.output().is_ok_and(|output| output.status.success()) {
                symlink(&program, self.folder.join("bin/docker")).expect("a link");
                return;
            }
        }
        panic!("no docker command here can build with BuildKit: see bin/setup");
    }

    fn make_base_image(&self) {
        let root = self.part("base");
        for folder in ["bin", "root", "tmp"] {
            fs::create_dir_all(root.join(folder)).expect("a folder");
        }
        fs::set_permissions(root.join("tmp"), Permissions::from_mode(0o1777)).expect("a mode");
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].map(PathBuf::from);
        let busybox = busybox.iter().find(|path| path.exists());
        let busybox = busybox.expect("busybox-static is installed by bin/setup");
        fs::copy(busybox, root.join("bin/busybox")).expect("a copy");
        for applet in self.succeed(self.command(busybox).arg("--list")).lines() {
            if applet != "busybox" {
                symlink("busybox", root.join("bin").join(applet)).expect("a link");
            }
        }
        let archive = self.folder.join("base.tar");
        let mut tar = self.command("tar");
        tar.args(["--create", "--owner=0", "--group=0", "--file"])
            .arg(&archive);
        self.succeed(tar.arg("--directory").arg(&root).arg("."));
        let image = self.base_image();
        let mut import = self.docker();
        import.args([
            "import",
            "--change",
            "ENV PATH=/bin",
            "--change",
            "CMD [\"/bin/sh\"]",
        ]);
        self.succeed(import.arg(&archive).arg(&image));
        self.succeed(self.docker().args(["push", "--quiet", &image]));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let children = [
            Some(&mut self.registry),
            Some(&mut self.git),
            self.engine.as_mut(),
        ];
        for child in children.into_iter().flatten() {
            // On SIGTERM, the engine removes its bridge and its containers.
            _ = kill_process(Pid::from_child(child), Signal::TERM);
            _ = child.wait();
        }
    }
}

fn serve(kind: &str, directory: &Path, port: Option<u16>) -> Child {
    fs::create_dir_all(directory).expect("a folder");
    let log = fs::File::create(directory.join("log")).expect("a log");
    let mut command = Command::new(PROGRAM);
    command.arg(kind).arg(directory);
    command.args(port.map(|port| port.to_string()));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    command.spawn().expect("bin/world")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("a bound socket").port()
}

fn wait_until(what: &str, is_ready: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_ready() {
        assert!(
            Instant::now() < deadline,
            "{what} does not start: see bin/world"
        );
        thread::sleep(Duration::from_millis(50));
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the rule is about xp's own settings"
)]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
