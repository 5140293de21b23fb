//! Runs that are interrupted, killed, or concurrent.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::app::App;
use crate::case::Case;
use crate::context::Context;
use crate::process;
use crate::repository::write_file;
use crate::services::Services;
use crate::wait::wait_until;
use crate::xp::{RunningXp, Xp};

pub const CASES: &[Case] = cases![
    interrupt_reports_finished_work,
    interrupt_ends_a_clone,
    interrupt_ends_an_image_build,
    second_interrupt_exits_immediately,
    interrupt_takes_precedence_over_a_failure,
    interrupt_ends_a_run_with_a_blocked_pipe,
    killed_run_can_be_rerun,
    second_run_waits_for_the_first,
    waiting_run_can_be_interrupted,
];

/// The time limit for a run to end after Ctrl-C: far longer than it takes, and shorter than the hanging
/// steps.
const PROMPT: Duration = Duration::from_secs(30);

fn interrupt_reports_finished_work(t: &Context) {
    let platform = Services::new(t, &["first", "second", "third"]);
    let manifest = |line: &str| {
        let second = format!("needs: [ first ]\n    {}", platform.scripts(line));
        platform.manifest(&[
            ("second", second),
            ("third", "needs: [ second ]".to_owned()),
        ]);
    };
    manifest("echo begun; sleep 1000");
    let mut running = t.xp(["build"]).spawn();
    running.wait_for_output("first | done in ");
    running.wait_for_output("second | begun");
    let output = interrupt(running);
    assert!(output.row("first").contains(" built "), "{output}");
    assert!(output.row("second").contains(" stopped "), "{output}");
    assert!(output.row("third").contains(" not started "), "{output}");
    let output = output.stderr_contains("interrupted: stopping running steps");
    assert!(!output.stderr.contains("error"), "{output}");
    assert_nothing_left(t);

    manifest("true");
    let output = t.xp(["build"]).success();
    assert!(
        !output.stderr.contains("waiting for another xp"),
        "{output}"
    );
}

fn interrupt_ends_a_clone(t: &Context) {
    let (app, hanging) = app_with_a_hanging_clone(t);
    let running = hanging.spawn_until_it_hangs(&app);
    interrupt(running);
    assert!(!t.exists("src/app"), "no half of a working copy is left");
    assert_nothing_left(t);
    app.build().success();
}

fn interrupt_ends_an_image_build(t: &Context) {
    let app = App::new(t, &[], "");
    for (number, buildkit) in ["1", "0"].into_iter().enumerate() {
        // A duration that distinguishes the process from those of other tests and runs.
        let sleep = format!("sleep 1{}{number}", std::process::id());
        let dockerfile = format!("FROM {}\nRUN echo begun; {sleep}\n", t.engine().busybox());
        app.repository
            .commit(&[("Dockerfile", &dockerfile)], "Hang");
        let mut running = app.build().env("DOCKER_BUILDKIT", buildkit).spawn();
        running.wait_for_output("app | begun\n");
        wait_until("the build is under way", || is_running(&sleep));
        interrupt(running);
        wait_until("the build is canceled", || !is_running(&sleep));
        assert!(!app.is_built());
        assert_nothing_left(t);
    }
}

fn second_interrupt_exits_immediately(t: &Context) {
    let (app, hanging) = app_with_a_hanging_clone(t);
    let running = hanging.spawn_until_it_hangs(&app);
    running.signal(Signal::INT);
    running.signal(Signal::INT);
    let started = Instant::now();
    assert_eq!(running.wait().status.code(), Some(130));
    assert!(started.elapsed() < PROMPT);
    app.build().success();
}

fn interrupt_takes_precedence_over_a_failure(t: &Context) {
    let script = "(sleep 1000; exit 3) & trap 'exit 3' TERM INT HUP; echo begun; wait";
    let app = App::with_scripts(t, "", &[script]);
    let mut running = app.build().spawn();
    running.wait_for_output("app | begun");
    let output = interrupt(running);
    assert!(output.stdout.contains(" stopped "), "{output}");
}

/// Kills `xp` at the start or in the middle of each phase, each time with a new commit.
fn interrupt_ends_a_run_with_a_blocked_pipe(t: &Context) {
    let _app = App::with_scripts(t, "", &["yes"]);
    // A pipe that is open but not read, as by a pager that shows its first page.
    let script =
        "mkfifo pipe; sleep 1000 < pipe > /dev/null 2>&1 & echo $! > reader; exec xp build 2> pipe";
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_xp"));
    let folder = program.parent().expect("a folder").display();
    let running = t
        .program("sh", ["-c", script])
        .env("PATH", format!("{folder}:/usr/bin:/bin"))
        .spawn();
    wait_until("the build runs", || !t.containers().is_empty());
    let begun = Instant::now();
    // The first one stops the work, as far as possible; the second one ends it.
    running.signal(Signal::INT);
    std::thread::sleep(Duration::from_millis(500));
    running.signal(Signal::INT);
    let output = running.wait();
    assert_eq!(output.status.code(), Some(130), "{output}");
    assert!(begun.elapsed() < PROMPT, "{output}");
    process::succeed(std::process::Command::new("kill").arg(t.read("reader").trim()));
    // It ends immediately; the engine removes the container afterward.
    wait_until("the container is gone", || t.containers().is_empty());
    assert_nothing_left(t);
}

fn killed_run_can_be_rerun(t: &Context) {
    let app = App::new(t, &[], "");
    let registry = t.registry_prefix(t.registry());
    let keys = format!(
        "dockerBuilder: {{ image: {}, network: none, user: root, cache: [ /cache ] }}\n\
         scripts: {{ build: [ \"touch made /cache/file; echo begun; [ ! -e hang ] || sleep 1000\" ] }}\n\
         docker: {{ image: app }}",
        t.engine().busybox()
    );
    app.set_keys(&keys);
    t.manifest(&format!(
        "registry: {registry}\n{}",
        t.read("x-platform.yml")
    ));
    let dockerfile = format!(
        "FROM {}\nCOPY . /src\nRUN echo in RUN; [ ! -e /src/hang-image ] || sleep 1000\n\
         RUN head -c 30000000 /dev/urandom > /large\n",
        t.engine().busybox()
    );
    let phases = [
        ("app | sync: ", ""),
        ("app | export: ", ""),
        ("app | container: ", ""),
        ("app | build: ", ""),
        ("app | begun", "hang"),
        ("app | image: ", ""),
        ("app | in RUN\n", "hang-image"),
        ("app | push: ", ""),
        ("app | tag: ", ""),
    ];
    for (printed, file) in phases {
        let hang = [("Dockerfile", dockerfile.as_str()), (file, "")];
        let count = if file.is_empty() { 1 } else { 2 };
        app.repository.commit(&hang[..count], printed);
        let mut running = app.build().spawn();
        running.wait_for_output(printed);
        let output = running.kill();

        if !file.is_empty() {
            app.repository.git(&["rm", "--quiet", file]);
        }
        app.repository.commit(&[], "Do not hang");
        let again = app.build().run();
        assert!(
            again.status.success(),
            "killed at {printed:?}: {output}\nthen {again}"
        );
        let tags = t.registry().tags(&t.image("app"));
        assert!(tags.contains(&app.repository.head()), "{printed}: {tags:?}");
        let digest = |tag: &str| t.registry().manifest_digest(&t.image("app"), tag);
        assert_eq!(
            digest("master"),
            digest(&app.repository.head()),
            "{printed}"
        );
        wait_until("the containers are gone", || t.containers().is_empty());
    }
    assert_nothing_left(t);
}

fn second_run_waits_for_the_first(t: &Context) {
    let app = App::with_scripts(t, "", &["echo begun; until [ -e go ]; do sleep 0.1; done"]);
    let mut first = app.build().spawn();
    first.wait_for_output("app | begun");
    let mut second = app.build().spawn();
    second.wait_for_output("waiting for another xp working in ");
    assert_eq!(t.containers().len(), 1);
    fs::write(app.export("go"), "").expect("the export can be written");
    let (first, second) = (first.wait(), second.wait());
    assert!(
        first.status.success() && second.status.success(),
        "{first}\n{second}"
    );
    // It plans after the wait, and finds everything done.
    assert!(!second.stderr.contains("app | "), "{second}");
    let second = second.stdout_contains(" skipped ");
    second.stderr_contains(&t.dir().join(".xp").display().to_string());
}

fn waiting_run_can_be_interrupted(t: &Context) {
    let app = App::with_scripts(t, "", &["echo begun; until [ -e go ]; do sleep 0.1; done"]);
    let mut first = app.build().spawn();
    first.wait_for_output("app | begun");
    let mut second = app.build().spawn();
    second.wait_for_output("waiting for another xp");
    interrupt(second);
    // A killed process no longer holds the lock.
    first.kill();
    app.set_scripts("", &["true"]);
    app.build().success();
}

/// An ssh that finds the remote's references, and then hangs in the clone until `xp` closes the connection.
struct HangingClone {
    program: PathBuf,
    hangs: PathBuf,
}

impl HangingClone {
    fn spawn_until_it_hangs(&self, app: &App<'_>) -> RunningXp {
        let build: Xp = app
            .build()
            .env("GIT_SSH_COMMAND", format!("sh {}", self.program.display()));
        let running = build.spawn();
        wait_until("the clone hangs", || self.hangs.exists());
        running
    }
}

fn app_with_a_hanging_clone(t: &Context) -> (App<'_>, HangingClone) {
    let app = App::new(t, &[], "");
    let url = app.repository.url_ssh();
    t.manifest(
        &t.read("x-platform.yml")
            .replace(&app.repository.url_file(), &url),
    );
    let (program, once, hangs) = (
        t.folder().join("ssh"),
        t.folder().join("ssh-once"),
        t.folder().join("ssh-hangs"),
    );
    let script = format!(
        "#!/bin/sh\nif mkdir {} 2> /dev/null; then exec ssh -F {} \"$@\"; fi\ntouch {}\ncat > /dev/null\n",
        once.display(),
        t.sshd().client_configuration().display(),
        hangs.display()
    );
    write_file(&program, &script);
    (app, HangingClone { program, hangs })
}

/// Presses Ctrl-C, and asserts a prompt and clean exit.
#[track_caller]
fn interrupt(running: RunningXp) -> crate::output::Output {
    let pressed = Instant::now();
    running.signal(Signal::INT);
    let output = running.wait();
    assert_eq!(output.status.code(), Some(130), "{output}");
    assert!(pressed.elapsed() < PROMPT, "{output}");
    output
}

/// Asserts that no container, partial clone or held lock is left.
#[track_caller]
fn assert_nothing_left(t: &Context) {
    assert!(t.containers().is_empty(), "{:?}", t.containers());
    let clones = fs::read_dir(t.dir().join(".xp/clone"));
    let clones: Vec<_> = clones
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    assert!(clones.is_empty(), "{clones:?}");
    let lock = fs::File::open(t.dir().join(".xp/lock")).expect("the lock");
    lock.try_lock().expect("nobody holds the lock");
}

/// Returns whether any process on this machine has that command line.
fn is_running(command: &str) -> bool {
    let processes = fs::read_dir("/proc").expect("Linux has it").flatten();
    let mut lines = processes.flat_map(|process| fs::read(process.path().join("cmdline")));
    lines.any(|line| process::text(&line).replace('\0', " ").trim_end() == command)
}
