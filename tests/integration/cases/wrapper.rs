//! `bin/x-platform`: xp in a container behaves as on the host.

use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use rustix::process::Signal;
use serde_json::Value;

use crate::app::App;
use crate::case::Case;
use crate::cases::builder::assert_owned_by;
use crate::cases::contained::image_of_xp;
use crate::context::Context;
use crate::process;
use crate::wait::wait_until;
use crate::xp::Xp;

pub const CASES: &[Case] = cases![
    a_build_is_the_same_as_without_the_wrapper,
    files_belong_to_the_caller,
    root_owns_files_of_root,
    subfolders_and_unusual_names_work,
    worktrees_and_borrowed_objects_are_mounted,
    failures_keep_their_exit_code,
    signals_reach_xp,
    a_killed_client_stops_everything,
    a_terminal_is_passed_through,
    variables_are_passed_by_name,
    the_home_folder_is_the_callers,
    a_working_copy_is_built_in_place,
    sidecars_run_beside_the_scripts,
    a_compose_environment_is_refused,
    missing_mounts_are_reported,
    a_missing_image_is_reported,
    the_image_is_built_from_its_sources,
    a_missing_engine_is_reported,
    a_remote_engine_is_rejected,
    a_remote_engine_without_ssh_is_rejected,
    the_engine_of_a_context_is_used,
    a_job_in_a_container_can_use_the_wrapper,
    the_home_folder_of_a_job_is_kept,
    relative_paths_in_variables_are_mounted,
    the_home_folder_can_be_the_root,
    system_folders_are_not_mounted,
    standard_input_of_a_loop_is_not_consumed,
    a_line_break_in_a_path_is_rejected,
    an_exported_cdpath_changes_nothing,
    agents_of_virtual_machines_are_mounted_if_available,
    podman_in_a_virtual_machine_is_rejected,
];

/// A user that does not exist on the machine.
const UNKNOWN_UID: u32 = 12345;

/// Returns the wrapper with these arguments, and the image with this xp.
fn wrapper<const N: usize>(t: &Context, arguments: [&str; N]) -> Xp {
    let xp = t.program(&script(), arguments);
    environment(t, xp)
}

fn environment(t: &Context, xp: Xp) -> Xp {
    xp.env("XBUILDER_IMAGE", image_of_xp(t))
        .env("XDG_RUNTIME_DIR", runtime(t))
        // The folder with the tests' repositories.
        .env("XBUILDER_MOUNTS", t.repositories())
}

fn script() -> String {
    format!("{}/bin/x-platform", env!("CARGO_MANIFEST_DIR"))
}

fn runtime(t: &Context) -> PathBuf {
    let folder = t.folder().join("runtime");
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// Returns the wrapper, run by a user other than root.
fn as_unknown_user<const N: usize>(t: &Context, app: &App<'_>, arguments: [&str; N]) -> Xp {
    let socket = t.engine().host().strip_prefix("unix://").expect("a socket");
    let group = fs::metadata(socket).expect("the engine's socket").gid();
    let script = t.folder().join("x-platform");
    fs::copy(self::script(), &script).expect("a copy of the wrapper");
    runtime(t);
    for folder in [t.folder(), app.repository.path()] {
        let mut chown = Command::new("chown");
        process::succeed(chown.args(["-hR", "12345:12345"]).arg(folder));
    }
    let mut xp = t.program("setpriv", ["--reuid", "12345", "--regid", "12345"]);
    xp = xp.arg("--groups").arg(group.to_string()).arg(script);
    let xp = arguments.into_iter().fold(xp, |xp, it| xp.arg(it));
    environment(t, xp)
}

fn a_build_is_the_same_as_without_the_wrapper(t: &Context) {
    let app = App::with_scripts(
        t,
        "cache: [ /cache ]",
        &["date > /cache/date; echo 1 > made"],
    );
    wrapper(t, ["build"])
        .success()
        .stdout_contains("built")
        .stderr_contains("done in");
    t.assert_built("app", &app.repository.head());
    let list = t.engine().run(&app.image_of_head(), ["ls", "/src"]);
    assert!(list.contains("made"), "{list}");
    assert_eq!(t.containers(), [Value::Null; 0]);
    // Each one finds the images that the other has built.
    t.xp(["plan", "--exit-code"]).success();
    wrapper(t, ["plan", "--exit-code"]).success();
    assert!(
        runtime(t)
            .join(format!("x-platform-{}", uid()))
            .read_dir()
            .expect("a folder")
            .next()
            .is_none()
    );
}

fn uid() -> u32 {
    rustix::process::getuid().as_raw()
}

fn files_belong_to_the_caller(t: &Context) {
    let lines =
        ["id -u > user; id -g >> user; touch $HOME/file /cache/file; mkdir -p a/b; touch a/b/c"];
    let app = App::with_scripts(t, "cache: [ /cache ]", &lines);
    as_unknown_user(t, &app, ["build"]).success();
    assert_eq!(app.read("user"), "12345\n12345\n");
    assert_owned_by(&t.dir(), UNKNOWN_UID);
    // Scripts that run as root do not leave files owned by root either.
    app.set_scripts(
        "user: root\ncache: [ /cache ]",
        &["id -u > user; touch /cache/root"],
    );
    as_unknown_user(t, &app, ["build", "--force"]).success();
    assert_eq!(app.read("user"), "0\n");
    assert_owned_by(&t.dir(), UNKNOWN_UID);
    as_unknown_user(t, &app, ["sync"]).success();
    as_unknown_user(t, &app, ["build", "--local", "--force"]).success();
    for folder in [t.dir(), t.home(), runtime(t)] {
        assert_owned_by(&folder, UNKNOWN_UID);
    }
}

fn root_owns_files_of_root(t: &Context) {
    let app = App::with_scripts(
        t,
        "user: \"4321:4322\"\ncache: [ /cache ]",
        &["touch made /cache/made"],
    );
    wrapper(t, ["build"]).success();
    assert!(app.export("made").exists());
    assert_owned_by(&t.dir(), uid());
}

fn subfolders_and_unusual_names_work(t: &Context) {
    let app = App::with_scripts(t, "cache: [ /cache ]", &["touch made /cache/made"]);
    let folder = t.folder().join("a, \"b\": 'c' $d");
    fs::rename(t.dir(), &folder).expect("the folder can be renamed");
    let below = folder.join("docs/of it");
    fs::create_dir_all(&below).expect("a folder");
    wrapper(t, ["build"]).dir(&below).success();
    assert!(folder.join(".xp/build/app/made").exists());
    // By absolute path from another folder, and through a link.
    let link = t.folder().join("link");
    symlink(&folder, &link).expect("a link");
    for name in ["-C", "-f"] {
        let path = if name == "-C" {
            link.clone()
        } else {
            folder.join("x-platform.yml")
        };
        let plan = wrapper(t, ["plan", "--exit-code", name]).arg(path);
        plan.dir(t.home()).success();
    }
    assert!(app.is_built());
}

fn worktrees_and_borrowed_objects_are_mounted(t: &Context) {
    let app = App::with_scripts(t, "", &["cat file .git > read"]);
    t.xp(["sync"]).success();
    let elsewhere = t.folder().join("elsewhere");
    fs::create_dir_all(&elsewhere).expect("a folder");
    // The working copy is a git worktree with its repository elsewhere.
    let copy = t.dir().join("src/app");
    fs::rename(&copy, elsewhere.join("main")).expect("the working copy can be moved");
    let path = copy.display().to_string();
    t.git("../elsewhere/main", &["worktree", "add", "--detach", &path]);
    t.write("src/app/file", "changed\n");
    wrapper(t, ["build", "--local"]).success();
    let read = t.read("src/app/read");
    assert!(
        read.contains("changed") && read.contains("gitdir: "),
        "{read}"
    );

    // One that borrows its objects.
    app.set_scripts("", &["true"]);
    t.git(
        "../elsewhere/main",
        &["worktree", "remove", "--force", &path],
    );
    let main = elsewhere.join("main").display().to_string();
    t.git(".", &["clone", "--quiet", "--shared", &main, "src/app"]);
    t.git(
        "src/app",
        &["remote", "set-url", "origin", &app.repository.url_file()],
    );
    wrapper(t, ["build", "--force"]).success();
    t.assert_built("app", &app.repository.head());
}

fn failures_keep_their_exit_code(t: &Context) {
    let app = App::with_scripts(t, "", &["exit 7"]);
    let source = t.dir().join(".xp/build/app").display().to_string();
    wrapper(t, ["build", "-v"])
        .failure(1)
        .stderr_contains("exited with 7")
        // The printed command runs outside.
        .stderr_contains("docker run --rm")
        .stderr_contains(&format!("src={source},dst=/workspace"));
    wrapper(t, ["no-such-command"]).failure(2);
    t.xp(["sync"]).success();
    wrapper(t, ["run", "app", "--", "sh", "-c", "exit 42"]).failure(42);
    wrapper(t, ["run", "app", "--", "cat"])
        .stdin("through all of it")
        .success()
        .stdout_contains("through all of it");
    drop(app);
}

fn signals_reach_xp(t: &Context) {
    let _app = App::with_scripts(t, "", &["echo begun; sleep 1000"]);
    for signal in [Signal::INT, Signal::TERM] {
        let mut running = wrapper(t, ["build", "--force"]).spawn();
        running.wait_for_output("app | begun");
        running.signal(signal);
        assert_eq!(running.wait().status.code(), Some(130));
        assert_eq!(t.containers(), [Value::Null; 0]);
    }
}

fn a_killed_client_stops_everything(t: &Context) {
    let app = App::with_scripts(t, "", &["echo begun; sleep 1000"]);
    let mut running = wrapper(t, ["build"]).spawn();
    running.wait_for_output("app | begun");
    assert_eq!(t.containers().len(), 2, "xp's own, and the builder's");
    running.kill();
    wait_until("both containers are gone", || t.containers().is_empty());
    // The folder is not locked.
    app.set_scripts("", &["true"]);
    wrapper(t, ["build"]).success();
}

fn a_terminal_is_passed_through(t: &Context) {
    let _app = App::with_scripts(t, "", &["true"]);
    t.xp(["sync"]).success();
    // The docker client sends the container's terminal size only after the start.
    let script = "until stty size | grep '23 91'; do sleep 0.1; done; tty > /dev/null && echo is one; \
                  read line; echo \"got $line\"; exit 3";
    let mut terminal = wrapper(t, ["run", "app", "--", "sh", "-c", script]).in_terminal(91, 23);
    terminal.wait_for("23 91");
    terminal.wait_for("is one");
    terminal.type_keys("hello\r");
    terminal.wait_for("got hello");
    assert_eq!(terminal.wait().0.code(), Some(3));

    let terminal = wrapper(t, ["build"]).in_terminal(91, 23);
    let (status, _) = terminal.wait();
    assert!(status.success());
}

/// Returns a client that logs its arguments, and the log file. It runs the real one, except for what these
/// branches of a `case` handle.
fn logging_client(t: &Context, branches: &str) -> (PathBuf, PathBuf) {
    let told = t.folder().join("told");
    let client = t.folder().join("client");
    let text = format!(
        "#!/bin/sh\necho \"$@\" >> '{}'\ncase $* in\n{branches}\n*) exec docker \"$@\" ;;\nesac\n",
        told.display()
    );
    crate::repository::write_file(&client, &text);
    (client, told)
}

fn variables_are_passed_by_name(t: &Context) {
    let keys = "env: { COLOUR: \"${{ env.COLOUR }}\", BOTH: \"${{env.ONE}}-${{ env.TWO }}\" }";
    let app = App::with_scripts(t, keys, &["echo $COLOUR $BOTH $CI > variables"]);
    let manifest = t.read("x-platform.yml");
    let secret = ", secrets: { npm: { env: OF_SECRET } } }";
    let image = format!("docker: {{ image: {}", app.image());
    t.write(
        "x-platform.yml",
        &manifest.replace(&format!("{image} }}"), &format!("{image}{secret}")),
    );
    let (client, told) = logging_client(t, "");
    let build = wrapper(t, ["build"])
        .env("XBUILDER_ENGINE", &client)
        .env("OF_SECRET", "hidden-6")
        .env("COLOUR", "deep red")
        .env("ONE", "1")
        .env("TWO", "2")
        .env("NOT_NAMED", "hidden-1")
        .env("NAMED_1", "hidden-4")
        .env("NAMED_2", "hidden-5")
        .env("XBUILDER_ENV", "NAMED_1,NAMED_2,MISSING")
        .env("XP_LATER", "hidden-2")
        .env("https_proxy", "http://user:hidden-3@proxy.example.com");
    build.success();
    assert_eq!(app.read("variables"), "deep red 1-2 true\n");
    let told = fs::read_to_string(told).expect("what the client was told");
    for name in [
        "COLOUR",
        "ONE",
        "TWO",
        "XP_LATER",
        "https_proxy",
        "NAMED_1",
        "NAMED_2",
        "OF_SECRET",
    ] {
        assert!(told.contains(&format!("--env {name} ")), "{name}: {told}");
    }
    for value in ["deep red", "hidden", "NOT_NAMED", "--env MISSING"] {
        assert!(!told.contains(value), "{value}: {told}");
    }
    t.xp(["sync"])
        .env("COLOUR", "")
        .env("ONE", "")
        .env("TWO", "")
        .success();
    wrapper(
        t,
        [
            "run",
            "--env",
            "GIVEN",
            "app",
            "--",
            "sh",
            "-c",
            "echo $GIVEN",
        ],
    )
    .env("COLOUR", "")
    .env("ONE", "")
    .env("TWO", "")
    .env("GIVEN", "by its name")
    .success()
    .stdout_contains("by its name");
}

fn the_home_folder_is_the_callers(t: &Context) {
    t.write("../home/.ssh/key", "key");
    let socket = t.folder().join("agent.sock");
    let _agent = UnixListener::bind(&socket).expect("a socket");
    let keys = "ssh: true\nsocket: true\nmounts: [ \"~/.ssh/key:/key\" ]";
    let lines =
        ["cat /key > read; test -S $SSH_AUTH_SOCK; test -w /var/run/docker.sock; ! echo x > /key"];
    let app = App::with_scripts(t, keys, &lines);
    wrapper(t, ["build"])
        .env("SSH_AUTH_SOCK", &socket)
        .success();
    assert_eq!(app.read("read"), "key");
}

fn a_working_copy_is_built_in_place(t: &Context) {
    let app = App::with_scripts(
        t,
        "cache: [ /workspace/node_modules ]",
        &["touch made; cat file"],
    );
    app.repository.commit(&[("file", "1\n")], "A file");
    wrapper(t, ["sync"]).success();
    t.write("src/app/file", "changed here\n");
    wrapper(t, ["build", "--local"])
        .success()
        .stderr_contains("app | changed here");
    assert!(t.exists("src/app/made"));
    assert!(!t.exists("src/app/node_modules"), "only mounted upon");
}

fn sidecars_run_beside_the_scripts(t: &Context) {
    if t.engine().product().is_podman() {
        return;
    }
    let busybox = t.engine().busybox();
    let keys = format!(
        "dockerBuilder: {{ image: {busybox} }}\n\
         sidecars: {{ db: {{ image: {busybox}, command: [sleep, '1000'] }} }}\n\
         verify: {{ command: [sleep, '1000'] }}\n\
         scripts: {{ test: [ping -c 1 -W 5 db], verify: [ping -c 1 -W 5 app] }}"
    );
    let app = App::new(t, &[], &keys);
    wrapper(t, ["build"]).success();
    assert!(app.is_built());
}

fn a_compose_environment_is_refused(t: &Context) {
    let keys = "deploy: { environments: { dev: { compose: compose.yaml } } }";
    let app = App::new(t, &[], "");
    t.write(
        "compose.yaml",
        &format!("services: {{ app: {{ image: {} }} }}\n", app.image()),
    );
    t.write(
        "x-platform.yml",
        &format!("{}{keys}\n", t.read("x-platform.yml")),
    );
    wrapper(t, ["build"]).success();
    wrapper(t, ["deploy", "dev", "--yes"])
        .failure(3)
        .stderr_contains("`docker compose` not found")
        .stderr_contains("the image of the wrapper script does not include it");
}

fn missing_mounts_are_reported(t: &Context) {
    t.write("../home/own/file", "own");
    let app = App::with_scripts(t, "mounts: [ \"~/own:/own\" ]", &["cat /own/file"]);
    // The rest of the home folder is not there.
    wrapper(t, ["build"])
        .failure(1)
        .stderr_contains("/home/own at /own: it does not exist")
        .stderr_contains("XBUILDER_MOUNTS");
    let own = t.home().join("own");
    let mounts = format!("{}:{}", t.repositories().display(), own.display());
    wrapper(t, ["build"])
        .env("XBUILDER_MOUNTS", mounts)
        .success();
    assert!(app.is_built());
    wrapper(t, ["plan"])
        .env("XBUILDER_MOUNTS", "/no/such/folder")
        .failure(3)
        .stderr_contains("error: XBUILDER_MOUNTS contains /no/such/folder, which does not exist");
}

fn a_missing_image_is_reported(t: &Context) {
    let image = format!("127.0.0.1:{}/x-platform:1", t.closed_port());
    let run = t.program(&script(), ["plan"]).env("XBUILDER_IMAGE", &image);
    run.failure(3)
        .stderr_contains(&format!(
            "error: the engine does not have the image {image}, and it cannot be pulled"
        ))
        .stderr_contains("hint: set XBUILDER_IMAGE to an xp image");
}

fn the_image_is_built_from_its_sources(t: &Context) {
    let app = App::with_scripts(t, "", &["true"]);
    let image = t.image("built:1");
    let text = fs::read_to_string(script()).expect("the wrapper");
    let text = text.replace(
        "default_image=x-platform:newest",
        &format!("default_image={image}"),
    );
    assert!(text.contains(&image), "a team's own image");
    t.write("bin/x-platform", &text);
    let sources = t.folder().join("sources of xp");
    let dockerfile = format!("FROM {}\n", image_of_xp(t));
    crate::repository::write_file(&sources.join("docker/Dockerfile"), &dockerfile);
    let build = || {
        let script = t.dir().join("bin/x-platform").display().to_string();
        let xp = environment(t, t.program(&script, ["build"]));
        xp.env_remove("XBUILDER_IMAGE")
            .env("XBUILDER_SOURCES", &sources)
    };
    build().success().stderr_contains(&format!(
        "the engine does not have the image {image}; building it from "
    ));
    assert!(app.is_built());
    build()
        .success()
        .does_not_contain("the engine does not have the image");
}

fn a_missing_engine_is_reported(t: &Context) {
    let run = wrapper(t, ["plan"]).env("DOCKER_HOST", "unix:///no/such.sock");
    run.failure(3)
        .stderr_contains("error: the container engine is not responding\ncause: ")
        .stderr_contains("hint: check that it is running");
    wrapper(t, ["plan"])
        .env("XBUILDER_ENGINE", "no-such-client")
        .failure(3)
        .stderr_contains("error: `no-such-client` not found on PATH");
}

fn a_remote_engine_is_rejected(t: &Context) {
    let run = wrapper(t, ["plan"]).env("DOCKER_HOST", "ssh://nobody@127.0.0.1:1");
    run.failure(3).stderr_contains("is not responding");
}

/// Forwards a port to the engine's socket, like engines without a socket.
pub(super) fn port_of_engine(t: &Context) -> u16 {
    let socket = t.engine().host().strip_prefix("unix://").expect("a socket");
    let socket = socket.to_owned();
    let listener = TcpListener::bind(("0.0.0.0", 0)).expect("a free port");
    let port = listener.local_addr().expect("a bound socket").port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let engine = UnixStream::connect(&socket).expect("the engine listens");
            let (mut from, mut to) = (
                client.try_clone().expect("a copy"),
                engine.try_clone().expect("a copy"),
            );
            thread::spawn(move || {
                _ = io::copy(&mut from, &mut to);
                _ = to.shutdown(std::net::Shutdown::Write);
            });
            thread::spawn(move || {
                let (mut from, mut to): (UnixStream, TcpStream) = (engine, client);
                _ = io::copy(&mut from, &mut to);
                _ = to.shutdown(std::net::Shutdown::Write);
            });
        }
    });
    port
}

fn a_remote_engine_without_ssh_is_rejected(t: &Context) {
    let address = format!("tcp://0.0.0.0:{}", port_of_engine(t));
    // By its address, it is an engine on this machine.
    let _app = App::with_scripts(t, "", &["true"]);
    wrapper(t, ["plan"]).env("DOCKER_HOST", &address).success();
    // Now it is one on another machine.
    let branch = "info*) docker \"$@\" | sed \"s/|$(uname -n)|/|builder-7|/\" ;;";
    let (client, told) = logging_client(t, branch);
    let plan = wrapper(t, ["plan"])
        .env("DOCKER_HOST", &address)
        .env("XBUILDER_ENGINE", client);
    plan.failure(3)
        .stderr_contains(&format!(
            "error: the engine at {address} cannot access the folders of this machine"
        ))
        .stderr_contains("hint: install xp on this machine");
    let told = fs::read_to_string(told).expect("what the client was told");
    assert!(!told.contains("run --rm"), "{told}");
}

fn the_engine_of_a_context_is_used(t: &Context) {
    let app = App::with_scripts(t, "", &["touch made"]);
    let engine = format!("host=tcp://127.0.0.1:{}", port_of_engine(t));
    let docker = |arguments: &[&str]| {
        let mut docker = Command::new("docker");
        docker
            .env("DOCKER_CONFIG", t.docker_config())
            .env_remove("DOCKER_HOST");
        process::succeed(docker.args(arguments));
    };
    docker(&["context", "create", "by-port", "--docker", &engine]);
    let build = || wrapper(t, ["build", "--force"]).env_remove("DOCKER_HOST");
    build().env("DOCKER_CONTEXT", "by-port").success();
    assert!(app.is_built());
    fs::remove_file(app.export("made")).expect("what the script made");
    docker(&["context", "use", "by-port"]);
    build().success();
    assert!(app.export("made").exists());
}

/// Builds a job's image, with the Docker client, the wrapper, and these programs.
fn image_of_job(t: &Context, programs: &[&str]) -> String {
    let job = t.folder().join("job");
    let root = job.join("root");
    for program in ["docker"].iter().chain(programs) {
        t.copy_program(program, &root);
    }
    fs::copy(script(), root.join("bin/x-platform")).expect("a copy of the wrapper");
    let dockerfile = format!("FROM {}\nCOPY root /\n", t.engine().busybox());
    crate::repository::write_file(&job.join("Dockerfile"), &dockerfile);
    let image = t.image("job");
    let mut build = t.engine().client();
    process::succeed(build.args(["build", "--quiet", "--tag", &image]).arg(job));
    image
}

/// Returns a command in a job's container, which has the platform at `/builds/x`.
fn in_job<const N: usize>(t: &Context, image: &str, options: [&str; N], command: &[&str]) -> Xp {
    let socket = t.engine().host().strip_prefix("unix://").expect("a socket");
    let mount = |source: &Path, target: &str| format!("{}:{target}", source.display());
    let repositories = t.repositories();
    let mut run = t.program(
        "docker",
        ["run", "--rm", "--network", "host", "--workdir", "/builds/x"],
    );
    for volume in [
        mount(&t.dir(), "/builds/x"),
        mount(&repositories, &repositories.display().to_string()),
        mount(Path::new(socket), "/var/run/docker.sock"),
    ] {
        run = run.arg("--volume").arg(volume);
    }
    let variable = format!("XBUILDER_IMAGE={}", image_of_xp(t));
    let run = run.arg("--env").arg(variable).args(options).arg(image);
    command.iter().fold(run, |run, word| run.arg(word))
}

fn a_job_in_a_container_can_use_the_wrapper(t: &Context) {
    let app = App::with_scripts(t, "cache: [ /cache ]", &["touch made /cache/made"]);
    // Most images' sed supports less than busybox's; busybox's shell would use its own.
    let image = image_of_job(t, &["dash", "sed"]);
    in_job(t, &image, [], &["dash", "-c", "sed --version"])
        .success()
        .stdout_contains("GNU sed");
    let build = ["dash", "/bin/x-platform", "build"];
    in_job(t, &image, [], &build).success();
    assert!(
        app.export("made").exists(),
        "the files are those of the machine"
    );
    assert!(app.is_built());
    assert_eq!(t.containers(), [Value::Null; 0]);
}

fn the_home_folder_of_a_job_is_kept(t: &Context) {
    t.write("../home/own/token", "token");
    let app = App::with_scripts(t, "mounts: [ \"~/own:/own\" ]", &["cat /own/token > read"]);
    let image = image_of_job(t, &[]);
    // The home folder is a mount, or below one.
    for (target, home) in [("/github/home", "/github/home"), ("/g h", "/g h/home")] {
        let source = if target == home {
            t.home()
        } else {
            t.folder().to_owned()
        };
        let volume = format!("{}:{target}", source.display());
        let variable = format!("HOME={home}");
        let options = ["--volume", &volume, "--env", &variable];
        let build = ["x-platform", "build", "--force"];
        in_job(t, &image, options, &build).success();
        assert_eq!(app.read("read"), "token");
        fs::remove_file(app.export("read")).expect("what the script made");
    }
    // The platform is below it.
    let build = ["x-platform", "build", "--force"];
    app.set_scripts("", &["touch made"]);
    in_job(t, &image, ["--env", "HOME=/builds"], &build).success();
    assert!(app.export("made").exists());
}

fn relative_paths_in_variables_are_mounted(t: &Context) {
    let app = App::with_scripts(t, "", &["true"]);
    t.write("k.yml", "");
    fs::create_dir_all(t.dir().join("below")).expect("a folder");
    crate::repository::write_file(&t.folder().join("k2.yml"), "");
    let (client, told) = logging_client(t, "");
    wrapper(t, ["build"])
        .env("XBUILDER_ENGINE", client)
        .env("DOCKER_CONFIG", "../docker")
        .env("KUBECONFIG", "k.yml:below/../../k2.yml:missing.yml")
        .success();
    assert!(app.is_built());
    let told = fs::read_to_string(told).expect("what the client was told");
    for path in [t.docker_config(), t.folder().join("k2.yml")] {
        let path = path.display();
        let mount = format!("source={path},target={path},readonly");
        assert!(told.contains(&mount), "{mount}: {told}");
    }
}

fn the_home_folder_can_be_the_root(t: &Context) {
    let app = App::with_scripts(t, "", &["true"]);
    wrapper(t, ["build"]).env("HOME", "/").success();
    assert!(app.is_built());
}

fn system_folders_are_not_mounted(t: &Context) {
    let _app = App::with_scripts(t, "", &["true"]);
    wrapper(t, ["build"]).success();
    let (client, told) = logging_client(t, "");
    wrapper(t, ["report", "--format", "junit", "-o", "/dev/stdout"])
        .env("XBUILDER_ENGINE", client)
        .run();
    let told = fs::read_to_string(told).expect("what the client was told");
    assert!(told.contains("run --rm"), "{told}");
    assert!(!told.contains("source=/dev"), "{told}");
    for folder in ["/", "/dev", "/proc/self"] {
        wrapper(t, ["plan"])
            .dir(folder)
            .failure(3)
            .stderr_contains("cannot be mounted into a container")
            .stderr_contains("hint: change to a platform's folder");
    }
}

fn standard_input_of_a_loop_is_not_consumed(t: &Context) {
    let _app = App::with_scripts(t, "", &["true"]);
    let lines =
        "while read -r line; do \"$0\" plan >/dev/null || exit 1; echo \"took $line\"; done";
    let program = t.program("sh", ["-c", lines, &script()]);
    environment(t, program)
        .stdin("one\ntwo\nthree\n")
        .success()
        .stdout_contains("took one\ntook two\ntook three\n");
}

fn a_line_break_in_a_path_is_rejected(t: &Context) {
    let folder = t.folder().join("a\nb");
    fs::create_dir_all(&folder).expect("a folder");
    let refused = |xp: Xp| {
        xp.failure(3)
            .stderr_contains("contains a line break, which this script does not support")
            .stderr_contains("a?b")
            .stderr_contains("hint: rename the folder");
    };
    refused(wrapper(t, ["plan"]).dir(&folder));
    refused(wrapper(t, ["plan", "-C"]).arg(&folder));
    refused(wrapper(t, ["plan"]).env("XP_CACHE_DIR", &folder));
    refused(wrapper(t, ["plan"]).env("XBUILDER_MOUNTS", &folder));
    // Even a trailing one, which shells tend to strip.
    let folder = t.folder().join("a?b\n");
    fs::create_dir_all(&folder).expect("a folder");
    refused(wrapper(t, ["plan"]).dir(&folder));
}

fn an_exported_cdpath_changes_nothing(t: &Context) {
    let app = App::with_scripts(t, "", &["touch made"]);
    fs::create_dir_all(t.dir().join("own")).expect("a folder");
    wrapper(t, ["build"])
        .env("CDPATH", t.dir())
        .env("XP_CACHE_DIR", "own")
        .success();
    assert!(t.exists("own/build/app/made"));
    assert!(app.is_built());
}

/// Makes the machine report Darwin.
fn on_darwin(t: &Context, xp: Xp) -> Xp {
    let folder = t.folder().join("darwin");
    let text = "#!/bin/sh\ncase $1 in -s) echo Darwin ;; *) exec /usr/bin/uname \"$@\" ;; esac\n";
    crate::repository::write_file(&folder.join("uname"), text);
    let path = std::env::var("PATH").expect("a PATH");
    xp.env("PATH", format!("{}:{path}", folder.display()))
}

fn agents_of_virtual_machines_are_mounted_if_available(t: &Context) {
    let socket = t.folder().join("agent.sock");
    let _agent = UnixListener::bind(&socket).expect("a socket");
    let _app = App::with_scripts(t, "", &["true"]);
    let of_desktop = "/run/host-services/ssh-auth.sock";
    for (system, has_agent) in [("Docker Desktop", true), ("Ubuntu 24.04 LTS", false)] {
        // This test does not run on a Mac, so only the command is checked.
        let branches =
            format!("info*) docker \"$@\" | sed 's/^[^|]*|/{system}|/' ;;\nrun*) exit 0 ;;");
        let (client, told) = logging_client(t, &branches);
        let plan = wrapper(t, ["plan"])
            .env("XBUILDER_ENGINE", client)
            .env("SSH_AUTH_SOCK", &socket);
        on_darwin(t, plan).success();
        let text = fs::read_to_string(&told).expect("what the client was told");
        fs::remove_file(told).expect("what the client was told");
        assert!(
            text.contains("source=/var/run/docker.sock,target=/var/run/docker.sock"),
            "the socket is that of the machine: {text}"
        );
        assert_eq!(text.contains(of_desktop), has_agent, "{system}: {text}");
        assert!(!text.contains("agent.sock"), "{text}");
    }
}

fn podman_in_a_virtual_machine_is_rejected(t: &Context) {
    let branches = "--version) echo podman version 5.4.0 ;;\n\
        *RemoteSocket*) echo unix:///run/user/501/podman/podman.sock ;;\n\
        info*) echo \"can't evaluate field\" >&2; exit 125 ;;";
    let (client, _) = logging_client(t, branches);
    let plan = || {
        let plan = wrapper(t, ["plan"]).env_remove("DOCKER_HOST");
        plan.env("XBUILDER_ENGINE", &client)
    };
    on_darwin(t, plan())
        .failure(3)
        .stderr_contains("error: the engine is Podman in a virtual machine")
        .stderr_contains("hint: install xp on this machine")
        .does_not_contain("systemctl");
    plan()
        .failure(3)
        .stderr_contains("error: no socket at /run/user/501/podman/podman.sock")
        .stderr_contains("systemctl --user start podman.socket");
}
