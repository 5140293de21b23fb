//! `xp build --local --watch`: what causes a build, and what does not.
//!
//! That something does not cause a build is shown by a later change that does: its build must be the next run.

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::Value;

use crate::app::App;
use crate::case::Case;
use crate::compose_project::{ComposePlatform, dockerfile, path};
use crate::context::Context;
use crate::process;
use crate::schema::assert_follows;
use crate::wait::wait_until;
use crate::xp::{RunningXp, Xp};

pub const CASES: &[Case] = cases![
    a_saved_file_is_built,
    content_that_did_not_change_is_not_built,
    files_of_editors_do_not_count,
    a_switch_of_many_files_is_one_change,
    new_folders_are_watched,
    new_folders_are_watched_after_a_missing_service,
    ignored_folders_are_not_watched,
    changes_during_a_build_cause_one_more,
    a_build_that_writes_its_sources_does_not_loop,
    a_failed_build_is_shown,
    an_invalid_manifest_is_shown,
    builder_folders_are_watched,
    a_deleted_working_copy_is_reported,
    one_of_many_services_in_a_repository_is_built,
    an_interrupt_ends_it,
    a_kill_leaves_nothing,
    events_are_printed_as_json,
    too_many_folders_are_reported,
    a_terminal_shows_what_it_waits_for,
    submodules_are_watched,
    a_changed_service_is_restarted,
    an_existing_image_is_deployed_without_a_branch,
    a_failed_deploy_is_repaired,
    a_failed_deploy_is_repeated,
    a_changed_compose_file_is_deployed,
    a_cluster_is_refused,
    options_of_the_first_build_are_not_repeated,
];

/// A running `xp build --local --watch`.
struct Watching<'t> {
    t: &'t Context,
    xp: RunningXp,
    /// How often it began to wait.
    waits: usize,
    /// The number of earlier runs.
    before: usize,
}

const WAITING: &str = "Ctrl-C to stop.";

impl<'t> Watching<'t> {
    /// Starts it.
    fn spawn(t: &'t Context, xp: Xp) -> Self {
        Self {
            t,
            before: runs(t),
            xp: xp.spawn(),
            waits: 0,
        }
    }

    /// Starts it, and waits for the first build.
    #[track_caller]
    fn start(t: &'t Context, xp: Xp) -> Self {
        let mut watching = Self::spawn(t, xp);
        watching.wait_for_round();
        watching
    }

    /// Waits until it waits again.
    #[track_caller]
    fn wait_for_round(&mut self) {
        self.waits += 1;
        self.wait_for_count(WAITING, self.waits);
    }

    /// Waits until it has printed a text this many times.
    #[track_caller]
    fn wait_for_count(&mut self, text: &str, count: usize) {
        self.xp.wait_for_output(text);
        wait_until(&format!("{text:?} was printed {count} times"), || {
            self.xp.printed().matches(text).count() >= count
        });
    }

    /// Changes a file of the working copy, and waits for its build.
    #[track_caller]
    fn change(&mut self, file: &str, content: &str) {
        self.t.write(&format!("src/app/{file}"), content);
        self.wait_for_round();
        assert!(
            self.xp.printed().contains(&format!("app: {file} changed")),
            "{}",
            self.xp.printed()
        );
    }

    /// Ends it, and asserts how many runs it began.
    #[track_caller]
    fn stop_after(self, expected: usize) -> String {
        let count = runs(self.t) - self.before;
        self.xp.signal(Signal::INT);
        let output = self.xp.wait();
        assert_eq!(output.status.code(), Some(130), "{output}");
        assert_eq!(count, expected, "{output}");
        format!("{}{}", output.stdout, output.stderr)
    }
}

/// Returns the number of the last run.
fn runs(t: &Context) -> usize {
    let runs = fs::read_dir(t.dir().join(".xp/logs"));
    let names = runs
        .into_iter()
        .flatten()
        .map(|run| run.expect("a run").file_name());
    let numbers = names.filter_map(|name| name.to_str()?.parse().ok());
    numbers.max().unwrap_or(0)
}

fn watch(t: &Context) -> Xp {
    t.xp(["build", "--local", "--watch"])
}

/// Returns a service with a working copy that ignores `ignored` and `hold`.
fn app<'t>(t: &'t Context, lines: &[&str]) -> App<'t> {
    let app = App::with_scripts(t, "", lines);
    app.repository.commit(
        &[(".gitignore", "ignored\nhold\n"), ("content", "one\n")],
        "Files",
    );
    t.xp(["sync"]).success();
    app
}

/// Returns what the last image has in a file.
fn in_image(t: &Context, app: &App, file: &str) -> String {
    let image = format!("{}:master", app.image());
    let path = format!("/src/{file}");
    process::succeed(t.engine().client().args([
        "run",
        "--rm",
        "--network=none",
        &image,
        "cat",
        &path,
    ]))
}

fn a_saved_file_is_built(t: &Context) {
    let app = app(t, &["true"]);
    let mut watching = Watching::start(t, watch(t));
    assert!(
        watching
            .xp
            .printed()
            .contains("Watching 1 service (1 folder)."),
        "{}",
        watching.xp.printed()
    );
    watching.change("content", "two\n");
    assert_eq!(in_image(t, &app, "content"), "two");
    // The way many editors save.
    t.write("src/app/.content.tmp", "three\n");
    let folder = t.dir().join("src/app");
    fs::rename(folder.join(".content.tmp"), folder.join("content")).expect("a rename");
    watching.wait_for_round();
    assert_eq!(in_image(t, &app, "content"), "three");
    // The Dockerfile.
    let text = format!("FROM {}\nCOPY content /src/other\n", t.engine().busybox());
    watching.change("Dockerfile", &text);
    assert_eq!(in_image(t, &app, "other"), "three");
    fs::remove_file(folder.join(".gitignore")).expect("a file");
    watching.wait_for_round();
    watching.stop_after(5);
}

fn content_that_did_not_change_is_not_built(t: &Context) {
    let _app = app(t, &["true"]);
    let mut watching = Watching::start(t, watch(t).arg("app"));
    t.write("src/app/content", "one\n");
    t.write("src/app/ignored/file", "x\n");
    t.write("src/app/passing", "x\n");
    fs::remove_file(t.dir().join("src/app/passing")).expect("a file");
    // A commit changes no file.
    t.git(
        "src/app",
        &["commit", "--quiet", "--allow-empty", "--message=Nothing"],
    );
    t.write("src/app/sentinel", "1\n");
    watching.wait_for_round();
    // An earlier state exists already.
    fs::remove_file(t.dir().join("src/app/sentinel")).expect("a file");
    watching.change("sentinel", "2\n");
    watching.stop_after(3);
}

fn files_of_editors_do_not_count(t: &Context) {
    let _app = app(t, &["true"]);
    let mut watching = Watching::start(t, watch(t));
    for file in [".content.swp", "content~", ".#content"] {
        t.write(&format!("src/app/{file}"), "x\n");
    }
    // Vim saves: it probes the folder, moves the file to a backup, and writes a new one.
    let folder = t.dir().join("src/app");
    t.write("src/app/4913", "");
    fs::remove_file(folder.join("4913")).expect("a file");
    fs::rename(folder.join("content"), folder.join("content~")).expect("a rename");
    watching.change("content", "two\n");
    fs::remove_file(folder.join("content~")).expect("a file");
    fs::remove_file(folder.join(".content.swp")).expect("a file");
    watching.change("sentinel", "1\n");
    let printed = watching.stop_after(3);
    assert!(!printed.contains("swp changed"), "{printed}");
    assert!(printed.contains("app: content changed\n"), "{printed}");
}

fn a_switch_of_many_files_is_one_change(t: &Context) {
    let app = app(t, &["true"]);
    let names: Vec<String> = (0..200).map(|number| format!("file-{number:03}")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x\n")).collect();
    app.repository.branch("topic");
    app.repository.commit(&files, "Many");
    t.git("src/app", &["fetch", "--quiet", "origin"]);
    let mut watching = Watching::start(t, watch(t));
    t.git("src/app", &["switch", "--quiet", "topic"]);
    watching.wait_for_round();
    watching.change("sentinel", "1\n");
    let printed = watching.stop_after(3);
    assert!(
        printed.contains("app: file-000 changed, and 199 more files\n"),
        "{printed}"
    );
}

fn new_folders_are_watched(t: &Context) {
    let app = app(t, &["true"]);
    let mut watching = Watching::start(t, watch(t));
    t.write("src/app/a/b/c/file", "one\n");
    watching.wait_for_round();
    watching.change("a/b/c/file", "two\n");
    assert_eq!(in_image(t, &app, "a/b/c/file"), "two");
    assert!(watching.xp.printed().contains("(4 folders)"));
    // Moved in from elsewhere.
    t.write("elsewhere/x/file", "one\n");
    fs::rename(t.dir().join("elsewhere"), t.dir().join("src/app/moved")).expect("a rename");
    watching.wait_for_round();
    watching.change("moved/x/file", "two\n");
    assert_eq!(in_image(t, &app, "moved/x/file"), "two");
    watching.stop_after(5);
}

fn new_folders_are_watched_after_a_missing_service(t: &Context) {
    let app = app(t, &["true"]);
    let mut watching = Watching::start(t, watch(t).arg("app"));
    let manifest = t.read("x-platform.yml");
    t.manifest(&manifest.replace("  app:", "  other:"));
    watching.wait_for_round();
    t.write("src/app/a/file", "one\n");
    watching.wait_for_round();
    t.manifest(&manifest);
    watching.wait_for_round();
    assert_eq!(in_image(t, &app, "a/file"), "one");
    watching.change("a/file", "two\n");
    assert_eq!(in_image(t, &app, "a/file"), "two");
    watching.xp.signal(Signal::INT);
    assert_eq!(watching.xp.wait().status.code(), Some(130));
}

fn ignored_folders_are_not_watched(t: &Context) {
    let _app = app(t, &["true"]);
    for number in 0..50 {
        t.write(&format!("src/app/ignored/{number}/file"), "x\n");
    }
    t.write("src/app/tracked/ignored/kept/file", "one\n");
    t.git("src/app", &["add", "--force", "tracked"]);
    let mut watching = Watching::start(t, watch(t));
    // Its own, and those of the tracked file.
    assert!(
        watching.xp.printed().contains("(4 folders)"),
        "{}",
        watching.xp.printed()
    );
    watching.change("tracked/ignored/kept/file", "two\n");
    // Rules are read again.
    watching.change(".gitignore", "hold\n");
    assert!(watching.xp.printed().contains("(55 folders)"));
    watching.change("ignored/7/file", "two\n");
    watching.stop_after(4);
}

fn changes_during_a_build_cause_one_more(t: &Context) {
    let app = app(t, &["echo begun; while [ -e hold ]; do sleep 0.1; done"]);
    t.write("src/app/hold", "");
    let mut watching = Watching::spawn(t, watch(t));
    watching.wait_for_count("app | begun", 1);
    for content in ["two\n", "three\n", "four\n"] {
        t.write("src/app/content", content);
        t.write("src/app/other", content);
    }
    fs::remove_file(t.dir().join("src/app/hold")).expect("a file");
    watching.waits = 1;
    watching.wait_for_round();
    assert_eq!(in_image(t, &app, "content"), "four");
    watching.change("sentinel", "1\n");
    let printed = watching.stop_after(3);
    assert!(
        printed.contains("app: content changed, and 1 more file\n"),
        "{printed}"
    );
}

fn a_build_that_writes_its_sources_does_not_loop(t: &Context) {
    let app = app(t, &["cat /proc/sys/kernel/random/uuid > generated"]);
    let mut watching = Watching::start(t, watch(t));
    watching.wait_for_count("app: generated changes during every build", 1);
    watching.waits = 2;
    watching.wait_for_round();
    watching.change("content", "two\n");
    watching.change("content", "three\n");
    let printed = watching.stop_after(5);
    assert_eq!(
        printed.matches("during every build").count(),
        1,
        "{printed}"
    );
    assert!(
        printed.contains("hint: if scripts write it, list it in .gitignore"),
        "{printed}"
    );

    // The same content each time is built once more.
    fs::remove_file(t.dir().join("src/app/generated")).expect("a file");
    app.set_scripts("", &["echo same > generated"]);
    let mut watching = Watching::start(t, watch(t));
    watching.wait_for_round();
    watching.change("content", "four\n");
    watching.stop_after(3);
    assert_eq!(in_image(t, &app, "generated"), "same");
}

fn a_failed_build_is_shown(t: &Context) {
    let app = app(t, &["! grep -q wrong content"]);
    let mut watching = Watching::start(t, watch(t));
    watching.change("content", "wrong\n");
    watching.wait_for_count("error: app: build:", 1);
    // Without a change, it is not tried again.
    t.write("src/app/content", "wrong\n");
    t.write("src/app/passing", "x\n");
    fs::remove_file(t.dir().join("src/app/passing")).expect("a file");
    watching.change("content", "right\n");
    assert_eq!(in_image(t, &app, "content"), "right");
    let printed = watching.stop_after(3);
    assert_eq!(
        printed.matches("error: app: build:").count(),
        1,
        "{printed}"
    );

    // At the start as well.
    t.write("src/app/content", "wrong\n");
    let mut watching = Watching::start(t, watch(t));
    watching.change("content", "better\n");
    watching.stop_after(2);
}

fn an_invalid_manifest_is_shown(t: &Context) {
    let app = app(t, &["true"]);
    let mut watching = Watching::start(t, watch(t));
    let manifest = t.read("x-platform.yml");
    t.manifest("services: [\n");
    watching.wait_for_round();
    watching.wait_for_count("error:", 1);
    // Changes meanwhile are built once it is valid again.
    t.write("src/app/content", "two\n");
    watching.wait_for_round();
    t.manifest(&manifest.replace("true", "cp content copy"));
    watching.wait_for_round();
    assert_eq!(in_image(t, &app, "copy"), "two");
    assert!(watching.xp.printed().contains("x-platform.yml changed\n"));
    watching.xp.signal(Signal::INT);
    assert_eq!(watching.xp.wait().status.code(), Some(130));

    // At the start, it ends.
    t.manifest("services: [\n");
    watch(t).failure(2);
}

fn builder_folders_are_watched(t: &Context) {
    let dockerfile = format!("FROM {}\nCOPY tool /tool\n", t.engine().busybox());
    let builder = t.builder("tools", &dockerfile, &[("tool", "one\n")]);
    let app = App::new(
        t,
        &[(".gitignore", "made\n")],
        &format!(
            "dockerBuilder: {{ image: {builder}, network: none }}\nscripts: {{ build: [ cp /tool made ] }}"
        ),
    );
    t.xp(["sync"]).success();
    let mut watching = Watching::start(t, watch(t));
    assert_eq!(in_image(t, &app, "made"), "one");
    t.write(&format!("{builder}/tool"), "two\n");
    watching.wait_for_round();
    assert_eq!(in_image(t, &app, "made"), "two");
    assert!(
        watching
            .xp
            .printed()
            .contains(&format!("{builder}: tool changed\n")),
        "{}",
        watching.xp.printed()
    );
    watching.stop_after(2);
}

fn a_deleted_working_copy_is_reported(t: &Context) {
    let app = app(t, &["true"]);
    let mut watching = Watching::start(t, watch(t).arg("app"));
    fs::remove_dir_all(t.dir().join("src/app")).expect("a folder");
    watching.wait_for_count("`app` (src/app) has none", 1);
    t.xp(["sync"]).success();
    t.write("src/app/content", "two\n");
    wait_until("it is built", || {
        let image = format!("{}:master", app.image());
        t.engine().image(&image).is_some() && in_image(t, &app, "content") == "two"
    });
    watching.xp.signal(Signal::INT);
    assert_eq!(watching.xp.wait().status.code(), Some(130));
}

fn one_of_many_services_in_a_repository_is_built(t: &Context) {
    let repository = t.git_repo("mono");
    let dockerfile = format!("FROM {}\nCOPY . /src\n", t.engine().busybox());
    repository.commit(
        &[
            ("one/Dockerfile", &dockerfile),
            ("two/Dockerfile", &dockerfile),
            ("unrelated/file", "x\n"),
            ("two/docs/page", "x\n"),
        ],
        "Start",
    );
    let service = |name: &str, exclude: &str| {
        format!(
            "  {name}:\n    dir: src/mono\n    git: {{ remote: \"{}\", path: {name}{exclude} }}\n    docker: {{ image: {} }}\n",
            repository.url_file(),
            t.image(name)
        )
    };
    t.manifest(&format!(
        "services:\n{}{}",
        service("one", ""),
        service("two", ", exclude: [ two/docs ]")
    ));
    t.xp(["sync"]).success();
    let mut watching = Watching::start(t, watch(t));
    // The root, and one folder of each service.
    let printed = watching.xp.printed();
    assert!(
        printed.contains("Watching 2 services (3 folders)."),
        "{printed}"
    );
    t.write("src/mono/unrelated/file", "y\n");
    t.write("src/mono/two/docs/page", "y\n");
    t.write("src/mono/two/file", "y\n");
    watching.wait_for_round();
    let printed = watching.stop_after(2);
    assert!(printed.contains("two: two/file changed\n"), "{printed}");
    assert!(!printed.contains("one: "), "{printed}");
}

fn an_interrupt_ends_it(t: &Context) {
    let _app = app(t, &["echo begun; while [ -e hold ]; do sleep 0.1; done"]);
    let watching = Watching::start(t, watch(t));
    let printed = watching.stop_after(1);
    assert!(!printed.contains("interrupted"), "{printed}");
    // During a build.
    t.write("src/app/hold", "");
    t.write("src/app/content", "two\n");
    let mut running = watch(t).spawn();
    running.wait_for_output("app | begun");
    running.signal(Signal::INT);
    let output = running.wait();
    assert_eq!(output.status.code(), Some(130), "{output}");
    assert!(output.row("app").contains(" stopped "), "{output}");
    assert_eq!(t.containers(), Vec::<Value>::new());
    // SIGTERM as well.
    let watching = {
        fs::remove_file(t.dir().join("src/app/hold")).expect("a file");
        Watching::start(t, watch(t))
    };
    watching.xp.signal(Signal::TERM);
    assert_eq!(watching.xp.wait().status.code(), Some(130));
}

fn a_kill_leaves_nothing(t: &Context) {
    let _app = app(t, &["echo begun; while [ -e hold ]; do sleep 0.1; done"]);
    let mut watching = Watching::start(t, watch(t));
    t.write("src/app/hold", "");
    t.write("src/app/content", "two\n");
    watching.wait_for_count("app | begun", 2);
    watching.xp.kill();
    wait_until("the container is gone", || t.containers().is_empty());
    fs::remove_file(t.dir().join("src/app/hold")).expect("a file");
    t.xp(["build", "--local"]).success();
}

fn events_are_printed_as_json(t: &Context) {
    let _app = app(t, &["true"]);
    let mut running = watch(t).args(["--format", "json"]).spawn();
    let waiting = r#""event":"watch-waiting""#;
    running.wait_for_output(waiting);
    t.write("src/app/content", "two\n");
    wait_until("the change is built", || {
        running.printed().matches(waiting).count() == 2
    });
    running.signal(Signal::INT);
    let output = running.wait();
    assert_eq!(output.status.code(), Some(130));
    assert_follows(t, "events", &output.stdout);
    let events = output.stdout.lines().map(|line| {
        let event: Value = serde_json::from_str(line).expect("JSON");
        event
    });
    let kept = [
        "started",
        "watch-changed",
        "planned",
        "finished",
        "watch-waiting",
    ];
    let events: Vec<Value> = events
        .filter(|event| kept.iter().any(|kept| event["event"] == *kept))
        .collect();
    let names: Vec<&str> = events
        .iter()
        .map(|event| event["event"].as_str().expect("a name"))
        .collect();
    assert_eq!(
        names,
        [
            "started",
            "planned",
            "finished",
            "watch-waiting",
            "started",
            "watch-changed",
            "planned",
            "finished",
            "watch-waiting"
        ]
    );
    let changed = &events[5];
    assert_eq!(changed["unit"], "app");
    assert_eq!(changed["files"], serde_json::json!(["content"]));
    assert_eq!(changed["count"], 1);
    assert_eq!(events[8]["units"], serde_json::json!(["app"]));
    assert_eq!(events[8]["folders"], 1);
}

fn a_terminal_shows_what_it_waits_for(t: &Context) {
    let _app = app(t, &["true"]);
    let mut terminal = watch(t).in_terminal(100, 40);
    terminal.wait_for("Watching 1 service (1 folder). Ctrl-C to stop.");
    t.write("src/app/content", "two\n");
    terminal.wait_for("app: content changed");
    wait_until("it waits again", || {
        terminal.screen().matches("Watching 1 service").count() == 2
    });
    // The rows of the build are gone.
    let screen = terminal.screen();
    assert!(screen.contains("changed: content"), "{screen}");
    assert!(!screen.contains("jobs"), "{screen}");
    terminal.type_keys("\x03");
    let (status, screen) = terminal.wait();
    assert_eq!(status.code(), Some(130), "{screen}");
    assert!(!screen.contains("interrupted"), "{screen}");
}

fn submodules_are_watched(t: &Context) {
    let library = t.git_repo("library");
    library.commit(
        &[(".gitignore", "out\n"), ("folder/file", "one\n")],
        "Start",
    );
    let app = app(t, &["true"]);
    t.git(
        "src/app",
        &[
            "-c",
            "protocol.file.allow=always",
            "submodule",
            "--quiet",
            "add",
            &library.url_file(),
            "library",
        ],
    );
    let mut watching = Watching::start(t, watch(t));
    assert!(watching.xp.printed().contains("(3 folders)"));
    // The submodule has its own rules.
    t.write("src/app/library/out/file", "x\n");
    watching.change("library/folder/file", "two\n");
    assert_eq!(in_image(t, &app, "library/folder/file"), "two");
    watching.stop_after(2);
}

fn too_many_folders_are_reported(t: &Context) {
    let _app = app(t, &["true"]);
    for number in 0..10 {
        t.write(&format!("src/app/{number}/file"), "x\n");
    }
    let program = PathBuf::from(env!("CARGO_BIN_EXE_xp"));
    let script = format!(
        "echo 5 > /proc/sys/user/max_inotify_watches && exec {} build --local --watch",
        program.display()
    );
    let unshare = ["--user", "--map-root-user", "sh", "-c", &script];
    t.program("unshare", unshare)
        .env("PATH", path())
        .failure(3)
        .stderr_contains(
            "error: cannot watch more than 5 folders: the limit of this user is reached",
        )
        .stderr_contains("hint: raise it: `sudo sysctl fs.inotify.max_user_watches=");
}

fn a_changed_service_is_restarted(t: &Context) {
    let platform = ComposePlatform::new(t);
    t.xp(["sync"]).success();
    let mut watching = Watching::start(
        t,
        platform.xp(["build", "--local", "--watch", "--deploy", "dev"]),
    );
    assert_eq!(platform.content("zbackend"), "one");
    let (backend, frontend) = (platform.running("zbackend"), platform.running("zfrontend"));
    t.write("src/zbackend/content", "two\n");
    watching.wait_for_round();
    assert_eq!(platform.content("zbackend"), "two");
    assert_ne!(platform.running("zbackend")["Id"], backend["Id"]);
    assert_eq!(platform.running("zfrontend")["Id"], frontend["Id"]);
    assert_eq!(platform.record().len(), 2);
    // Back to the first state: nothing is built, and it is deployed.
    t.write("src/zbackend/content", "one\n");
    watching.wait_for_round();
    assert_eq!(platform.content("zbackend"), "one");
    watching.xp.signal(Signal::INT);
    assert_eq!(watching.xp.wait().status.code(), Some(130));

    // One service only: the other one stays.
    let mut watching = Watching::start(
        t,
        platform.xp(["build", "--local", "--watch", "--deploy", "dev", "zbackend"]),
    );
    t.write("src/zfrontend/content", "unbuilt\n");
    t.write("src/zbackend/content", "three\n");
    watching.wait_for_round();
    assert_eq!(platform.content("zbackend"), "three");
    assert_eq!(platform.running("zfrontend")["Id"], frontend["Id"]);
    assert_eq!(
        platform.record()[0]["asked"],
        serde_json::json!(["zbackend"])
    );
    watching.xp.signal(Signal::INT);
    assert_eq!(watching.xp.wait().status.code(), Some(130));
}

fn an_existing_image_is_deployed_without_a_branch(t: &Context) {
    let platform = ComposePlatform::new(t);
    t.xp(["sync"]).success();
    t.git("src/zbackend", &["checkout", "--quiet", "--detach"]);
    let mut watching = Watching::start(
        t,
        platform.xp(["build", "--local", "--watch", "--deploy", "dev"]),
    );
    t.write("src/zbackend/content", "two\n");
    watching.wait_for_round();
    assert_eq!(platform.content("zbackend"), "two");
    // There is nothing to build, and no tag of a branch to move.
    t.write("src/zbackend/content", "one\n");
    watching.wait_for_round();
    assert_eq!(platform.content("zbackend"), "one");
    watching.xp.signal(Signal::INT);
    assert_eq!(watching.xp.wait().status.code(), Some(130));
}

fn a_failed_deploy_is_repaired(t: &Context) {
    let platform = ComposePlatform::new(t);
    t.xp(["sync"]).success();
    let mut watching = Watching::start(
        t,
        platform.xp([
            "build",
            "--local",
            "--watch",
            "--deploy",
            "dev",
            "zbackend",
            "zfrontend",
        ]),
    );
    let broken = dockerfile(t).replace("sleep\", \"600", "false");
    t.write("src/zbackend/Dockerfile", &broken);
    watching.wait_for_round();
    watching.wait_for_count("are not ready in dev", 1);
    assert_eq!(platform.record()[0]["state"], "failed");
    t.write("src/zbackend/Dockerfile", &dockerfile(t));
    watching.wait_for_round();
    assert_eq!(platform.record()[0]["state"], "deployed");
    platform.running("zbackend");
    watching.xp.signal(Signal::INT);
    assert_eq!(watching.xp.wait().status.code(), Some(130));
}

fn a_failed_deploy_is_repeated(t: &Context) {
    let platform = ComposePlatform::new(t);
    t.xp(["sync"]).success();
    let job = format!(
        "  job: {{image: {}, command: [test, -e, /gate/open], volumes: ['./gate:/gate']}}\n",
        t.engine().busybox()
    );
    platform.compose("", &job);
    t.write("gate/closed", "");
    let mut watching = Watching::start(
        t,
        platform.xp(["build", "--local", "--watch", "--deploy", "dev"]),
    );
    watching.wait_for_count("are not ready in dev", 1);
    assert_eq!(platform.record()[0]["state"], "failed");
    // The content is the same.
    t.write("gate/open", "");
    t.write("src/zbackend/content", "one\n");
    watching.wait_for_round();
    assert_eq!(platform.record()[0]["state"], "deployed");
    watching.xp.signal(Signal::INT);
    assert_eq!(watching.xp.wait().status.code(), Some(130));
}

fn a_changed_compose_file_is_deployed(t: &Context) {
    let platform = ComposePlatform::new(t);
    t.xp(["sync"]).success();
    let watching = Watching::start(
        t,
        platform.xp(["build", "--local", "--watch", "--deploy", "dev"]),
    );
    platform.compose("    environment: {LEVEL: debug}\n", "");
    // On a busy machine, the file may be read while it is being written, which causes two rounds.
    wait_until("the new environment", || {
        let containers = platform.containers("zbackend");
        let environment = containers.first().map(|it| it["Config"]["Env"].to_string());
        environment.is_some_and(|it| it.contains("LEVEL=debug"))
    });
    assert!(
        watching
            .xp
            .printed()
            .contains("docker-compose.yml changed\n")
    );
    watching.xp.signal(Signal::INT);
    assert_eq!(watching.xp.wait().status.code(), Some(130));
}

fn a_cluster_is_refused(t: &Context) {
    let platform = ComposePlatform::new(t);
    t.xp(["sync"]).success();
    let manifest = t
        .read("x-platform.yml")
        .replace("{environments: ", "{path: k8s, environments: ");
    let cluster = "environments: {staging: {overlay: overlays/staging, context: x, namespace: x}, ";
    t.manifest(&manifest.replace("environments: {", cluster));
    platform
        .xp(["build", "--local", "--watch", "--deploy", "staging"])
        .failure(2)
        .stderr_contains("`--watch` cannot deploy to staging, a cluster")
        .stderr_contains("hint: use an environment with `compose`, or omit `--deploy`");
    platform
        .xp(["build", "--local", "--watch", "--deploy", "deb"])
        .failure(2)
        .stderr_contains("unknown environment `deb`");
    platform
        .xp(["build", "--watch"])
        .failure(2)
        .stderr_contains("--local");
    platform
        .xp(["build", "--local", "--deploy", "dev"])
        .failure(2)
        .stderr_contains("--watch");
    assert!(!t.exists(".xp/logs/1/zbackend"), "nothing was built");
}

fn options_of_the_first_build_are_not_repeated(t: &Context) {
    let app = app(t, &["true"]);
    t.xp(["build", "--local"]).success();
    let mut watching = Watching::start(
        t,
        watch(t).args(["--force", "--metadata-file", "src/app/ignored/images.json"]),
    );
    t.write("src/app/content", "one\n");
    t.write("src/app/content", "two\n");
    watching.wait_for_round();
    let metadata: Value =
        serde_json::from_str(&t.read("src/app/ignored/images.json")).expect("JSON");
    assert_eq!(metadata["app"]["status"], "built");
    watching.stop_after(2);
    assert_eq!(in_image(t, &app, "content"), "two");
}
