//! `xp run` with pipes: streams, exit codes, signals, files.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::builder::{as_unknown_user, assert_owned_by};
use crate::app::App;
use crate::case::Case;
use crate::context::Context;
use crate::process;
use crate::services::Services;
use crate::wait::wait_until;
use crate::world::RegistryKind;
use crate::xp::Xp;

pub const CASES: &[Case] = cases![
    streams_are_separate,
    end_of_input_is_forwarded,
    exit_codes_are_passed_through,
    programs_that_cannot_be_run_are_reported,
    interrupts_reach_the_program_and_its_children,
    other_signals_reach_only_the_program,
    a_closed_output_ends_the_program,
    suspending_xp_stops_the_program,
    a_session_from_outside_the_namespace_works,
    files_belong_to_the_caller,
    file_ownership_is_restored,
    caches_are_shared_with_builds,
    variables_are_the_same_as_in_builds,
    the_current_folder_is_mapped_into_the_container,
    the_current_folder_selects_the_service,
    only_the_engine_is_queried,
    a_missing_builder_image_is_built,
    a_failing_builder_image_is_reported,
    builds_can_run_concurrently,
    mount_points_in_use_are_not_removed,
    a_killed_session_leaves_no_leftovers,
    an_interrupt_stops_an_image_build,
    leftovers_of_a_killed_session_are_removed,
    missing_things_are_reported,
];

/// A platform with a service that has a working copy.
fn synced<'a>(t: &'a Context, keys: &str) -> App<'a> {
    let app = App::with_scripts(t, keys, &["true"]);
    t.xp(["sync"]).success();
    app
}

fn run(t: &Context, script: &str) -> Xp {
    t.xp(["run", "app", "--", "sh", "-c", script])
}

fn streams_are_separate(t: &Context) {
    synced(t, "");
    let script = "printf 'a\\0b\\001\\r\\n'; printf 'c' >&2; printf '\\002no line end'";
    let output = run(t, script).success();
    assert_eq!(output.stdout, "a\0b\u{1}\r\n\u{2}no line end");
    assert_eq!(output.stderr, "c");
    // A large amount, complete.
    let output = run(t, "yes | head -c 3000000").success();
    assert_eq!(output.stdout.len(), 3_000_000);
}

fn end_of_input_is_forwarded(t: &Context) {
    synced(t, "");
    let text = format!("\0\u{1}\u{4}\n{}", "long ".repeat(100_000));
    let output = run(t, "cat").stdin(&text).success();
    assert_eq!(output.stdout, text);
    let output = run(t, "read line; echo \"[$line]\"; wc -c")
        .stdin("one\nrest\n")
        .success();
    assert_eq!(output.stdout, "[one]\n5\n");
    // No input is the same as empty input.
    assert_eq!(run(t, "wc -c").success().stdout, "0\n");
    // A program that reads nothing is not delayed by its input.
    run(t, "true").stdin(&text).success();
}

fn exit_codes_are_passed_through(t: &Context) {
    synced(t, "");
    for code in [1, 2, 3, 42, 130, 255] {
        let output = run(t, &format!("exit {code}")).failure(code);
        assert_eq!(output.stderr, "", "xp says nothing of its own");
    }
    run(t, "kill -9 $$").failure(137);
    // Background processes do not delay anything.
    run(t, "sleep 1000 > /dev/null 2>&1 & exit 4").failure(4);
    assert!(t.containers().is_empty());
}

fn programs_that_cannot_be_run_are_reported(t: &Context) {
    synced(t, "");
    let output = t.xp(["run", "app", "--", "frobnicate", "-x"]).failure(127);
    let image = t.engine().busybox();
    assert_eq!(
        output.stderr,
        format!(
            "error: `frobnicate` was not found in {image}, or is not executable\n\
             hint: the builder's Dockerfile defines what is installed\n"
        )
    );
    let output = t.xp(["run", "app", "--", "cd /; it's"]).failure(127);
    output.stderr_contains("hint: shell syntax requires a shell: `-- sh -c '");
    let output = t
        .xp(["run", "app", "--workdir", "/no where", "--", "true"])
        .failure(126);
    output.stderr_contains("error: the folder /no where does not exist in the container");
    let output = t.xp(["run", "app"]).failure(2);
    output.stderr_contains("`xp shell app` opens a shell");
    let output = t
        .xp(["run", "app", "--env", "NONE", "--", "true"])
        .failure(2);
    output.stderr_contains("the variable is not set");
    let output = t.xp(["run", "ap", "--", "true"]).failure(2);
    output
        .stderr_contains("unknown service `ap`")
        .stderr_contains("did you mean `app`");
    assert!(t.containers().is_empty());
}

fn interrupts_reach_the_program_and_its_children(t: &Context) {
    synced(t, "");
    let mut running = run(t, "echo begun; sleep 1000; echo not reached").spawn();
    running.wait_for_output("begun");
    running.signal(Signal::INT);
    let output = running.wait();
    assert_eq!(output.status.code(), Some(130), "{output}");
    assert_eq!(
        (output.stdout.as_str(), output.stderr.as_str()),
        ("begun\n", "")
    );

    // A program that continues is not stopped.
    let script = "trap 'echo caught' INT; echo begun; until [ -e go ]; do sleep 0.1; done; echo over; exit 5";
    let mut running = run(t, script).spawn();
    running.wait_for_output("begun");
    for _ in 0..2 {
        running.signal(Signal::INT);
        thread::sleep(Duration::from_millis(300));
    }
    running.wait_for_output("caught");
    fs::write(t.dir().join("src/app/go"), "").expect("the working copy can be written");
    let output = running.wait();
    assert_eq!(output.status.code(), Some(5), "{output}");
    assert!(output.stdout.ends_with("over\n"), "{output}");
    assert!(t.containers().is_empty());
}

fn other_signals_reach_only_the_program(t: &Context) {
    synced(t, "");
    for (signal, name, code) in [
        (Signal::TERM, "TERM", 143),
        (Signal::HUP, "HUP", 129),
        (Signal::USR1, "USR1", 138),
        (Signal::QUIT, "QUIT", 131),
    ] {
        let mut running = run(t, "echo begun; exec sleep 1000").spawn();
        running.wait_for_output("begun");
        running.signal(signal);
        let output = running.wait();
        assert_eq!(output.status.code(), Some(code), "{name}: {output}");

        let script = format!("trap 'echo caught; exit 6' {name}; echo begun; sleep 1000 & wait");
        let mut running = run(t, &script).spawn();
        running.wait_for_output("begun");
        running.signal(signal);
        let output = running.wait();
        assert_eq!(output.status.code(), Some(6), "{name}: {output}");
        assert_eq!(output.stdout, "begun\ncaught\n", "{name}");
    }
    assert!(t.containers().is_empty());
}

fn a_closed_output_ends_the_program(t: &Context) {
    synced(t, "");
    let script = format!(
        "{} run app -- yes | head -n 2; echo ${{PIPESTATUS:-}}",
        env!("CARGO_BIN_EXE_xp")
    );
    let output = t.program("sh", ["-c", &script]).success();
    assert_eq!(output.stdout, "y\ny\n\n");
    assert!(!output.stderr.contains("error"), "{output}");
    assert!(t.containers().is_empty());
    // A full disk is reported.
    let script = format!("{} run app -- yes > /dev/full", env!("CARGO_BIN_EXE_xp"));
    let output = t.program("sh", ["-c", &script]).failure(3);
    output.stderr_contains("error: cannot write the output of the program");
}

fn suspending_xp_stops_the_program(t: &Context) {
    synced(t, "");
    let xp = env!("CARGO_BIN_EXE_xp");
    // A waiting shell in the same session could continue it.
    let script = format!(
        "{xp} run app -- sh -c 'i=0; while :; do i=$((i+1)); echo $i > beat; sleep 0.05; done' & echo $! > pid; wait $!"
    );
    let running = t.program("sh", ["-c", &script]).spawn();
    let beat = || fs::read_to_string(t.dir().join("src/app/beat")).unwrap_or_default();
    wait_until("it runs", || !beat().is_empty());
    let signal = |name: &str| {
        process::succeed(Command::new("kill").args([name, t.read("pid").trim()]));
    };
    let moves = || {
        let before = beat();
        thread::sleep(Duration::from_millis(700));
        before != beat()
    };
    assert!(moves());
    signal("-TSTP");
    wait_until("it stands still", || !moves());
    signal("-CONT");
    wait_until("it goes on", moves);
    signal("-TERM");
    assert_eq!(running.wait().status.code(), Some(143));
    assert!(t.containers().is_empty());
}

/// In a PID namespace, the session and group of a process that entered it have no number.
fn a_session_from_outside_the_namespace_works(t: &Context) {
    synced(t, "");
    let xp = env!("CARGO_BIN_EXE_xp");
    let script = format!(
        "{xp} run app -- echo streams; {xp} plan; script -qec '{xp} run app -- tty' /dev/null"
    );
    let entered = [
        "--map-root-user",
        "-pf",
        "--mount-proc",
        "sh",
        "-ec",
        &script,
    ];
    let output = t.program("unshare", entered).success();
    output
        .stdout_contains("streams\n")
        .stdout_contains("/dev/pts/");
}

fn files_belong_to_the_caller(t: &Context) {
    let app = App::with_scripts(t, "cache: [ /cache ]", &["true"]);
    as_unknown_user(t, &app, ["sync"]).success();
    let script = "id -u; id -g; whoami; echo $HOME; touch $HOME/x /cache/file made; mkdir -p a/b";
    let output = as_unknown_user(t, &app, ["run", "app", "--", "sh", "-c", script]).success();
    assert_eq!(output.stdout, "12345\n12345\nxp\n/home/xp\n");
    assert!(t.exists("src/app/made"));
    assert_owned_by(&t.dir(), 12345);
}

fn file_ownership_is_restored(t: &Context) {
    let app = App::with_scripts(t, "user: root\ncache: [ /cache ]", &["true"]);
    as_unknown_user(t, &app, ["sync"]).success();
    let script = "id -u; touch made; exit 3";
    let output = as_unknown_user(t, &app, ["run", "app", "--", "sh", "-c", script]).failure(3);
    assert_eq!(output.stdout, "0\n");
    assert_owned_by(&t.dir(), 12345);
    let script = "mkdir below; touch below/file; echo made; sleep 1000";
    let mut running = as_unknown_user(t, &app, ["run", "app", "--", "sh", "-c", script]).spawn();
    running.wait_for_output("made");
    running.kill();
    wait_until("the container is gone", || t.containers().is_empty());
    assert_owned_by(&t.dir(), 12345);
}

fn caches_are_shared_with_builds(t: &Context) {
    let keys = "cache: [ /cache, /workspace/node_modules ]";
    let app = App::with_scripts(t, keys, &["echo built > /cache/file"]);
    app.build().success();
    assert_eq!(
        run(t, "cat /cache/file; touch node_modules/x")
            .success()
            .stdout,
        "built\n"
    );
    assert_eq!(run(t, "ls node_modules").success().stdout, "x\n");
    // Folders created only as mount points are gone.
    assert!(!t.exists("src/app/node_modules"));
    assert!(t.exists("src/app/.git/HEAD"));
    assert_eq!(t.git("src/app", &["status", "--porcelain"]), "");
    // The folder is marked as xp's own before anything is written to it.
    assert!(t.exists(".xp/CACHEDIR.TAG"));
}

fn variables_are_the_same_as_in_builds(t: &Context) {
    let keys = "env: { A: manifest, TOKEN: \"${{ env.SECRET }}\" }";
    let app = synced(t, keys);
    let script =
        "echo $XP_SERVICE $XP_COMMIT $XP_BRANCH $XP_IMAGE; echo $A $TOKEN $B $OWN [$CI] [$TERM]";
    let image = format!("{}:{}", app.image(), app.repository.head());
    let head = app.repository.head();
    let output = t
        .xp([
            "run", "app", "-e", "B=b=c", "--env", "OWN", "--", "sh", "-c", script,
        ])
        .env("OWN", "mine")
        .env("SECRET", "s3cret")
        .env("TERM", "xterm")
        .success();
    let expected = format!("app {head} master {image}\nmanifest s3cret b=c mine [] []\n");
    assert_eq!(output.stdout, expected);
    let output = run(t, "true").failure(2);
    output.stderr_contains("environment variable `SECRET` is not set");
    // The caller's variables take precedence, and CI keeps the caller's value.
    let output = t
        .xp([
            "run",
            "app",
            "-e",
            "A=caller",
            "--",
            "sh",
            "-c",
            "echo $A $CI",
        ])
        .env("SECRET", "")
        .env("CI", "1")
        .success();
    assert_eq!(output.stdout, "caller 1\n");
}

fn the_current_folder_is_mapped_into_the_container(t: &Context) {
    let app = App::with_scripts(t, "workdir: /go/src/app", &["true"]);
    app.repository
        .commit(&[("cmd/tool/main.go", "")], "Add a tool");
    t.xp(["sync"]).success();
    let pwd = |dir: &str| {
        let xp = t.xp(["run", "app", "--", "pwd"]).dir(t.dir().join(dir));
        xp.success().stdout
    };
    assert_eq!(pwd("src/app/cmd/tool"), "/go/src/app/cmd/tool\n");
    assert_eq!(pwd("src/app"), "/go/src/app\n");
    assert_eq!(pwd("."), "/go/src/app\n");
    let output = t.xp(["run", "app", "-w", "cmd", "--", "pwd"]).success();
    assert_eq!(output.stdout, "/go/src/app/cmd\n");
    let output = t
        .xp([
            "-C",
            "src/app/cmd",
            "run",
            "app",
            "--workdir",
            "/tmp",
            "--",
            "pwd",
        ])
        .success();
    assert_eq!(output.stdout, "/tmp\n");
}

fn the_current_folder_selects_the_service(t: &Context) {
    let platform = Services::new(t, &["back", "front"]);
    let keys = |keys: &str| format!("{keys}\n    {}", platform.scripts("true"));
    platform.manifest(&[("back", keys("")), ("front", keys(""))]);
    t.xp(["sync"]).success();
    fs::create_dir(t.dir().join("src/front/deep")).expect("a folder");
    let show = ["run", "--", "sh", "-c", "echo $XP_SERVICE; pwd"];
    let output = t.xp(show).dir(t.dir().join("src/front/deep")).success();
    assert_eq!(output.stdout, "front\n/workspace/deep\n");
    let output = t.xp(show).failure(2);
    output
        .stderr_contains("is not inside any service's folder")
        .stderr_contains("hint: write `xp run SERVICE -- …`");
    // Two services with the same folder cannot be distinguished.
    let manifest = t.read("x-platform.yml").replace("src/front", "src/back");
    let manifest = manifest.replace(
        &platform.repository("front").url_file(),
        &platform.repository("back").url_file(),
    );
    t.manifest(&manifest);
    let output = t.xp(show).dir(t.dir().join("src/back")).failure(2);
    output.stderr_contains("belongs to several services: `back`, `front`");
}

fn only_the_engine_is_queried(t: &Context) {
    let app = App::new(t, &[], "");
    let registry = t.own_registry(RegistryKind::Open);
    let builder = t.builder("tools", &format!("FROM {}\n", t.engine().busybox()), &[]);
    app.set_keys(&format!(
        "dockerBuilder: {{ image: {builder}, network: none }}\nscripts: {{ build: [ \"true\" ] }}\ndocker: {{ image: app }}"
    ));
    let manifest = format!(
        "registry: {}\n{}",
        t.registry_prefix(&registry),
        t.read("x-platform.yml")
    );
    t.manifest(&manifest);
    app.build().success();
    // Neither of them could respond.
    fs::remove_dir_all(app.repository.path()).expect("the remote can be removed");
    drop(registry);
    t.xp(["build"]).failure(3);
    assert_eq!(run(t, "echo here").success().stdout, "here\n");
}

fn a_missing_builder_image_is_built(t: &Context) {
    let app = App::new(t, &[], "");
    let dockerfile = format!("FROM {}\nRUN echo made > /made\n", t.engine().busybox());
    let builder = t.builder("tools", &dockerfile, &[]);
    app.set_keys(&format!(
        "dockerBuilder: {{ image: {builder}, network: none }}"
    ));
    t.xp(["sync"]).success();
    let output = run(t, "cat /made").success();
    assert_eq!(output.stdout, "made\n", "progress goes to standard error");
    let output = output.stderr_contains("image: ");
    assert!(output.stderr.contains(&builder), "{output}");
    assert_eq!(
        run(t, "cat /made").success().stderr,
        "",
        "the next one says nothing"
    );
}

fn a_failing_builder_image_is_reported(t: &Context) {
    let app = App::new(t, &[], "");
    let dockerfile = format!("FROM {}\nRUN echo a reason; exit 3\n", t.engine().busybox());
    let builder = t.builder("tools", &dockerfile, &[]);
    app.set_keys(&format!("dockerBuilder: {{ image: {builder} }}"));
    t.xp(["sync"]).success();
    let output = run(t, "true").failure(1);
    let output = output.stderr_contains("a reason");
    output.stderr_contains("\n  debug with:\n    docker build ");
}

fn builds_can_run_concurrently(t: &Context) {
    let app = synced(t, "");
    let mut running = run(
        t,
        "echo begun; until [ -e go ]; do sleep 0.1; done; echo over",
    )
    .spawn();
    running.wait_for_output("begun");
    let output = app.build().success();
    assert!(!output.stderr.contains("waiting"), "{output}");
    assert!(output.row("app").contains(" built "), "{output}");
    assert_eq!(
        t.containers().len(),
        1,
        "the build has not taken it for a leftover"
    );
    let second = run(t, "echo second").success();
    assert_eq!(second.stdout, "second\n");
    fs::write(t.dir().join("src/app/go"), "").expect("the working copy can be written");
    let output = running.wait();
    assert!(
        output.status.success() && output.stdout == "begun\nover\n",
        "{output}"
    );
    assert!(t.containers().is_empty());
    let left = fs::read_dir(t.dir().join(".xp/sessions"))
        .expect("the folder")
        .count();
    assert_eq!(left, 0);
}

fn mount_points_in_use_are_not_removed(t: &Context) {
    let app = App::with_scripts(t, "cache: [ /workspace/node_modules ]", &["true"]);
    t.xp(["sync"]).success();
    let wait = |name: &str| {
        format!("echo begun; until [ -e {name} ]; do sleep 0.1; done; ls node_modules")
    };
    let go = |name: &str| fs::write(t.dir().join("src/app").join(name), "").expect("a file");
    let mut first = run(t, &format!("touch node_modules/kept; {}", wait("one"))).spawn();
    first.wait_for_output("begun");
    let mut second = run(t, &wait("two")).spawn();
    second.wait_for_output("begun");
    go("one");
    assert_eq!(first.wait().stdout, "begun\nkept\n");
    app.build().arg("--local").success();
    go("two");
    // The folder created by the first one exists as long as anything is mounted on it.
    assert_eq!(second.wait().stdout, "begun\nkept\n");
    assert!(!t.exists("src/app/node_modules"));
}

fn an_interrupt_stops_an_image_build(t: &Context) {
    let app = App::new(t, &[], "");
    let dockerfile = format!(
        "FROM {}\nRUN echo begun; sleep 1000\n",
        t.engine().busybox()
    );
    let builder = t.builder("tools", &dockerfile, &[]);
    app.set_keys(&format!(
        "dockerBuilder: {{ image: {builder}, network: none }}"
    ));
    t.xp(["sync"]).success();
    let mut running = run(t, "true").spawn();
    running.wait_for_output("| begun\n");
    running.signal(Signal::INT);
    let output = running.wait();
    assert_eq!(output.status.code(), Some(130), "{output}");
    assert!(t.containers().is_empty());
}

fn a_killed_session_leaves_no_leftovers(t: &Context) {
    synced(t, "");
    let mut running = run(t, "echo begun; sleep 1000").spawn();
    running.wait_for_output("begun");
    assert_eq!(t.containers().len(), 1);
    running.kill();
    wait_until("the container is gone", || t.containers().is_empty());
}

fn leftovers_of_a_killed_session_are_removed(t: &Context) {
    let app = synced(t, "");
    // Simulates an xp that was killed between creating and starting a container.
    let mark = t.dir().join(".xp/sessions/1-0");
    let create = || {
        t.write(".xp/sessions/1-0", "");
        let label = format!("x-platform.session={}", mark.display());
        let mut create = t.engine().client();
        process::succeed(create.args(["create", "--label", &label, t.engine().busybox(), "true"]));
    };
    create();
    let alive = fs::File::open(&mark).expect("the file");
    alive.lock().expect("it can be locked");
    app.build().success();
    assert_eq!(t.containers().len(), 1, "its xp is alive");
    drop(alive);
    app.build().arg("--force").success();
    assert!(t.containers().is_empty());
    assert!(!mark.exists());
}

fn missing_things_are_reported(t: &Context) {
    let app = App::with_scripts(t, "", &["true"]);
    let output = run(t, "true").failure(2);
    output.stderr_contains("error: `app` has no working copy\nhint: `xp sync app` clones it");
    t.xp(["sync"]).success();
    let host = format!("tcp://127.0.0.1:{}", t.closed_port());
    let output = run(t, "true").env("DOCKER_HOST", host).failure(3);
    output.stderr_contains("error: cannot connect to the container engine at tcp://127.0.0.1:");
    app.set_keys("");
    let output = run(t, "true").failure(2);
    output
        .stderr_contains("error: `app` has no `dockerBuilder.image` to run commands in")
        .stderr_contains("\nhint: ");
    app.set_keys("dockerBuilder: { image: builders/none }");
    let output = run(t, "true").failure(2);
    output.stderr_contains("error: builder `none` not found");
    // One that ends before its program.
    app.set_scripts("", &["true"]);
    let mut running = run(t, "echo begun; sleep 1000").spawn();
    running.wait_for_output("begun");
    t.engine().remove_containers(&t.containers());
    let output = running.wait();
    assert!(matches!(output.status.code(), Some(1 | 137)), "{output}");
    assert!(t.containers().is_empty());
}
