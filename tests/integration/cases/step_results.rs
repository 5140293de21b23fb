//! Results of phases with `inputs`.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::case::Case;
use crate::cases::small;
use crate::context::Context;
use crate::process::succeed;
use crate::repository::GitRepository;
use crate::xp::Xp;

pub const CASES: &[Case] = cases![
    a_phase_runs_only_if_its_inputs_changed,
    a_fresh_machine_restores_results_from_the_registry,
    a_phase_sees_only_its_inputs,
    phases_without_inputs_see_the_results,
    options_run_all_phases,
    results_are_shared_by_services_with_the_same_key,
    plugins_and_other_images_have_results,
    results_are_restored_on_a_remote_engine,
    working_copies_use_results_of_unmodified_inputs,
    make_has_nothing_to_do_after_a_restore,
    a_phase_with_inputs_reaches_its_sidecars,
];

/// Appends a line that differs each time it runs.
const ID: &str = "cat /proc/sys/kernel/random/uuid >>";

/// A service with three phases, whose outputs have a random ID.
pub struct Staged<'t> {
    pub t: &'t Context,
    pub repository: GitRepository,
    builder: String,
}

impl<'t> Staged<'t> {
    pub fn new(t: &'t Context) -> Self {
        let repository = t.git_repo("app");
        repository.commit(
            &[
                ("Dockerfile", "FROM scratch\nCOPY . /src\n"),
                ("package.json", "one\n"),
                ("src/main", "main\n"),
                ("src/README.md", "docs\n"),
                ("other", "other\n"),
            ],
            "Start",
        );
        let dockerfile = format!("FROM {}\n", t.engine().busybox());
        let builder = t.builder("sh", &dockerfile, &[]);
        Self {
            t,
            repository,
            builder,
        }
    }

    /// Returns the usual phases.
    pub fn phases() -> String {
        format!(
            "      prepare:
        run: ['mkdir modules', 'cat package.json > modules/a', '{ID} modules/id']
        inputs: [package.json]
        outputs: [modules]
      build:
        run: ['mkdir -p out/dist', 'cat modules/a src/main > out/dist/app', 'chmod 755 out/dist/app', 'ln -s app out/dist/link', '{ID} out/dist/id']
        inputs: [src, ':!*.md']
        outputs: [out/dist]
      test:
        run: ['grep -q main out/dist/app', 'test ! -e src/README.md']
        inputs: [src/main]
"
        )
    }

    pub fn manifest(&self, registry: &str, phases: &str) {
        let more = format!(
            "    dockerBuilder: {{ image: {}, network: none }}\n    scripts:\n{phases}",
            self.builder
        );
        let url = self.repository.url_file();
        let service = small::service(self.t, "app", &url, "", &more);
        small::manifest(self.t, registry, &service);
    }

    /// Returns a file of the build.
    #[track_caller]
    pub fn read(&self, path: &str) -> String {
        self.t.read(&format!(".xp/build/app/{path}"))
    }

    /// Returns the IDs of the two results.
    #[track_caller]
    pub fn ids(&self) -> [String; 2] {
        ["modules/id", "out/dist/id"].map(|path| self.read(path))
    }

    /// Returns a copy of the platform without anything that earlier runs left.
    pub fn fresh_machine(&self) -> std::path::PathBuf {
        let runner = self.t.folder().join("runner");
        _ = fs::remove_dir_all(&runner);
        succeed(Command::new("cp").arg("-a").arg(self.t.dir()).arg(&runner));
        for folder in [".xp", "src"] {
            _ = fs::remove_dir_all(runner.join(folder));
        }
        runner
    }
}

fn phase(plan: &str, phase: &str) -> String {
    let line = plan
        .lines()
        .find(|line| line.trim_start().starts_with(&format!("{phase} ")));
    let line = line.unwrap_or_else(|| panic!("no {phase}: {plan}"));
    line.split_whitespace()
        .skip(1)
        .collect::<Vec<_>>()
        .join(" ")
}

fn a_phase_runs_only_if_its_inputs_changed(t: &Context) {
    let app = Staged::new(t);
    app.manifest("", &Staged::phases());
    let plan = t.xp(["plan"]).success().stdout;
    assert_eq!(phase(&plan, "prepare"), "run no result for these inputs");
    t.xp(["build"]).success();
    assert_eq!(app.read("out/dist/app"), "one\nmain\n");
    assert_eq!(app.read("out/dist/link"), "one\nmain\n");
    let first = app.ids();
    let head = app.repository.head();
    // Nothing that any phase reads.
    app.repository
        .commit(&[("other", "2\n"), ("src/README.md", "2\n")], "Docs");
    let plan = t.xp(["plan"]).success().stdout;
    let short = &head[..8];
    let saved = format!("on {short}, result on this machine, saves");
    for (name, verb) in [("prepare", "ran"), ("build", "ran"), ("test", "passed")] {
        let text = phase(&plan, name);
        assert!(
            text.starts_with(&format!("restore {verb} {saved}")),
            "{text}"
        );
    }
    assert!(!t.xp(["plan", "-v"]).success().stdout.contains("mkdir"));
    let document = t.xp(["plan", "--format", "json"]).success().stdout;
    assert!(document.contains("\"decision\": \"restore\""), "{document}");
    t.xp(["build"])
        .success()
        .stdout_contains("3 phases restored, which saved ");
    assert_eq!(app.ids(), first);
    assert_eq!(app.read("other"), "2\n");
    assert_eq!(app.read("out/dist/app"), "one\nmain\n");
    let mode = fs::metadata(t.dir().join(".xp/build/app/out/dist/app")).expect("a file");
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777,
        0o755
    );
    // `make` has nothing to do: outputs are newer than everything in the commit.
    let find = Command::new("find")
        .current_dir(t.dir().join(".xp/build/app"))
        .args([
            "-type",
            "f",
            "-newer",
            "modules/a",
            "!",
            "-path",
            "./modules/*",
            "!",
            "-path",
            "./out/*",
        ])
        .output()
        .expect("find");
    assert_eq!(String::from_utf8_lossy(&find.stdout), "");
    // An input of the second phase.
    app.repository
        .commit(&[("src/main", "new main\n")], "Change");
    let plan = t.xp(["plan"]).success().stdout;
    assert!(phase(&plan, "prepare").starts_with("restore"), "{plan}");
    assert_eq!(phase(&plan, "build"), "run src/main changed");
    assert_eq!(
        phase(&plan, "test"),
        "run src/main changed, the result of build changed"
    );
    let why = t.xp(["why", "app"]).success().stdout;
    assert!(why.contains("`build` runs: src/main changed"), "{why}");
    assert!(why.contains("`prepare` is restored: ran on "), "{why}");
    t.xp(["build"])
        .success()
        .stdout_contains("1 phase restored");
    let second = app.ids();
    assert_eq!(second[0], first[0]);
    assert_ne!(second[1], first[1]);
    assert_eq!(app.read("out/dist/app"), "one\nnew main\n");
    // A result of an earlier commit is found again.
    app.repository.commit(&[("src/main", "main\n")], "Revert");
    t.xp(["build"])
        .success()
        .stdout_contains("3 phases restored");
    assert_eq!(app.ids(), first);
    // An image that exists needs nothing.
    t.xp(["build"]).success().stdout_contains("Nothing to do");
    // The report has it, too.
    let events = t.read(".xp/logs/4/run.jsonl");
    assert!(events.contains("\"phase-restored\""), "{events}");
    let page = t
        .xp(["report", "--run", "4", "--output", "-"])
        .success()
        .stdout;
    assert!(page.contains("3 phases restored, which saved"), "{page}");
}

fn build_on(app: &Staged<'_>, runner: &Path, host: &str, arguments: &[&str]) -> Xp {
    let build = app.t.xp(["build"]).dir(runner).env("DOCKER_HOST", host);
    arguments
        .iter()
        .fold(build, |build, argument| build.arg(argument))
}

fn a_fresh_machine_restores_results_from_the_registry(t: &Context) {
    let app = Staged::new(t);
    let registry = t.registry();
    app.manifest(registry.host(), &Staged::phases());
    t.xp(["build"]).success().does_not_contain("not pushed");
    let first = app.ids();
    let tags = registry.tags(&t.image("app"));
    let results = tags.iter().filter(|tag| tag.starts_with("step-"));
    assert_eq!(results.count(), 3, "{tags:?}");
    app.repository.commit(&[("other", "2\n")], "Other");
    let (engine, runner) = (t.own_engine(), app.fresh_machine());
    let plan = t
        .xp(["plan"])
        .dir(&runner)
        .env("DOCKER_HOST", engine.host());
    let plan = plan.success().stdout;
    let text = phase(&plan, "build");
    assert!(text.contains("result in the registry"), "{text}");
    // Not even the builder is needed.
    assert!(!plan.contains("builders/"), "{plan}");
    build_on(&app, &runner, engine.host(), &[])
        .success()
        .stdout_contains("3 phases restored");
    let read = |path: &str| fs::read_to_string(runner.join(".xp/build/app").join(path));
    assert_eq!(read("modules/id").expect("a file"), first[0]);
    assert_eq!(read("out/dist/id").expect("a file"), first[1]);
    assert!(
        engine
            .images_with_prefix(t.prefix())
            .iter()
            .all(|it| !it.contains("builders"))
    );
    // A new result of another machine is found by this one.
    app.repository
        .commit(&[("src/main", "new main\n")], "Change");
    let other = app.fresh_machine();
    let why = t.xp(["why", "app"]).dir(&other).success().stdout;
    assert!(why.contains("`build` runs: src/main changed"), "{why}");
    build_on(&app, &runner, engine.host(), &[])
        .success()
        .stdout_contains("1 phase restored");
    app.repository.commit(&[("other", "3\n")], "Other");
    t.xp(["build"])
        .success()
        .stdout_contains("3 phases restored");
    assert_eq!(app.ids()[1], read("out/dist/id").expect("a file"));
    engine.stop();
    // What was not pushed is pushed later.
    app.repository
        .commit(&[("src/main", "third main\n")], "Third");
    t.xp(["build", "--no-push"]).success();
    let count = || {
        let tags = registry.tags(&t.image("app"));
        tags.iter().filter(|tag| tag.starts_with("step-")).count()
    };
    assert_eq!(count(), 5);
    app.repository.commit(&[("other", "4\n")], "Other");
    t.xp(["build"])
        .success()
        .stdout_contains("3 phases restored");
    assert_eq!(count(), 7);
}

fn a_phase_sees_only_its_inputs(t: &Context) {
    let app = Staged::new(t);
    let check = "        run: ['test \"$(ls -A)\" = package.json', 'test -z \"$XP_COMMIT$XP_BRANCH$XP_IMAGE$XP_SERVICE$SOURCE_DATE_EPOCH\"', 'test \"$CI\" = true']\n        inputs: [package.json]\n";
    app.manifest("", &format!("      prepare:\n{check}"));
    t.xp(["build"]).success();
    let forgotten = "      build:\n        run: ['cat other > made']\n        inputs: [src]\n        outputs: [made]\n";
    app.manifest("", forgotten);
    t.xp(["build"])
        .failure(1)
        .stderr_contains("app: build: `cat other > made` exited with 1");
    t.xp(["shell", "--failed", "app"])
        .stdin("ls; pwd; test -z \"$XP_COMMIT\" && echo none\n")
        .success()
        .stdout_contains("src\n/workspace\nnone\n");
    // A failed phase has no result.
    let plan = t.xp(["plan"]).success().stdout;
    assert_eq!(phase(&plan, "build"), "run no result for these inputs");
    app.manifest(
        "",
        &forgotten
            .replace("made]", "mad]")
            .replace("cat other", "cat src/main"),
    );
    t.xp(["build"])
        .failure(1)
        .stderr_contains("app: build: `build` did not create its output `mad`");
    let plan = t.xp(["plan"]).success().stdout;
    assert_eq!(phase(&plan, "build"), "run no result for these inputs");
    app.manifest("", &forgotten.replace("[src]", "[src, othr, '*.none']"));
    t.xp(["plan"])
        .success()
        .stderr_contains("warning: app: the input `othr` of `build` matches no file of ");
    app.manifest("", &forgotten.replace("[src]", "[src, other]"));
    t.xp(["build"]).success();
    assert_eq!(app.read("made"), "other\n");
}

fn phases_without_inputs_see_the_results(t: &Context) {
    let app = Staged::new(t);
    let phases = "      prepare:
        run: ['mkdir modules', 'cat package.json > modules/a']
        inputs: [package.json]
        outputs: [modules]
      build: ['test -n \"$XP_COMMIT\"', 'cat modules/a other > made', 'echo changed > modules/b']
      test:
        run: ['test ! -e modules/b', 'test ! -e made', 'cat modules/a > tested']
        inputs: []
        outputs: [tested]
";
    app.manifest("", phases);
    for commit in 1..3 {
        t.xp(["build"]).success();
        assert_eq!(app.read("made"), format!("one\n{}", app.read("other")));
        assert_eq!(app.read("modules/b"), "changed\n");
        assert_eq!(app.read("tested"), "one\n");
        app.repository
            .commit(&[("other", &format!("{commit}\n"))], "Next");
    }
}

fn options_run_all_phases(t: &Context) {
    let app = Staged::new(t);
    app.manifest("", &Staged::phases());
    t.xp(["build"]).success();
    let mut last = app.ids();
    for arguments in [
        &["--force"][..],
        &["--force", "--no-restore"],
        &["--no-cache"],
    ] {
        let build = t.xp(["build", "app"]);
        let build = arguments
            .iter()
            .fold(build, |build, argument| build.arg(argument));
        build.success().does_not_contain("restored");
        let now = app.ids();
        assert_ne!(now, last, "{arguments:?}");
        last = now;
    }
    app.repository.commit(&[("other", "2\n")], "Other");
    let plan = t.xp(["plan", "--no-restore"]).success().stdout;
    assert_eq!(phase(&plan, "test"), "run --no-restore");
    t.xp(["build", "--no-test"])
        .success()
        .stdout_contains("2 phases restored");
    assert_eq!(app.ids(), last);
}

fn results_are_shared_by_services_with_the_same_key(t: &Context) {
    let app = Staged::new(t);
    let registry = t.registry();
    let service = |name: &str, folder: &str| {
        let more = format!(
            "    dockerBuilder: {{ image: {}, network: none }}\n    scripts:\n      build:\n        run: ['mkdir made', '{ID} made/id']\n        inputs: [package.json]\n        outputs: [made]\n",
            app.builder
        );
        let service = small::service(t, name, &app.repository.url_file(), "", &more);
        service.replace(&format!("src/{name}"), folder)
    };
    let one = service("one", "src/app");
    small::manifest(t, registry.host(), &one);
    t.xp(["build"]).success();
    small::manifest(t, registry.host(), &(one + &service("two", "src/app")));
    t.xp(["build"])
        .success()
        .stdout_contains("1 phase restored");
    let ids = ["one", "two"].map(|name| t.read(&format!(".xp/build/{name}/made/id")));
    assert_eq!(ids[0], ids[1]);
    // Each has its own in the registry, and another machine trusts only that.
    let has_result = |name: &str| {
        let tags = registry.tags(&t.image(name));
        tags.into_iter().find(|tag| tag.starts_with("step-"))
    };
    let tag = has_result("one").expect("a result");
    assert_eq!(has_result("two"), Some(tag.clone()));
    registry.delete_tag(&t.image("two"), &tag);
    let runner = app.fresh_machine();
    app.repository.commit(&[("other", "2\n")], "Other");
    let plan = t.xp(["plan"]).dir(&runner).success().stdout;
    let phases: Vec<&str> = plan
        .lines()
        .filter(|line| line.starts_with("  build "))
        .collect();
    assert!(phases[0].contains("restore  ran on"), "{plan}");
    assert!(
        phases[1].contains("run      no result for these inputs"),
        "{plan}"
    );
}

fn plugins_and_other_images_have_results(t: &Context) {
    let app = Staged::new(t);
    let busybox = t.engine().busybox();
    let script = "#!/bin/sh\nset -e\necho \"$XP_WITH_WORD\" > made\ncat /proc/sys/kernel/random/uuid >> made\n";
    let dockerfile =
        format!("FROM {busybox}\nCOPY run /run\nRUN chmod 755 /run\nENTRYPOINT [\"/run\"]\n");
    let plugin = t.builder("plugin", &dockerfile, &[("run", script)]);
    let phases = |word: &str| {
        format!(
            "      build:
        run:
          - {{ plugin: {plugin}, with: {{ word: {word} }} }}
          - {{ run: ['cat made > copy'], image: {busybox} }}
        inputs: [package.json]
        outputs: [made, copy]
"
        )
    };
    app.manifest("", &phases("a"));
    t.xp(["build"]).success();
    let made = app.read("made");
    assert!(made.starts_with("a\n"), "{made}");
    app.repository.commit(&[("other", "2\n")], "Other");
    t.xp(["build"])
        .success()
        .stdout_contains("1 phase restored");
    assert_eq!(app.read("copy"), made);
    app.manifest("", &phases("b"));
    let plan = t.xp(["plan"]).success().stdout;
    assert_eq!(
        phase(&plan, "build"),
        "run scripts.build[0].with.word changed"
    );
    t.xp(["build"]).success();
    assert!(app.read("made").starts_with("b\n"));
    t.write(
        &format!("{plugin}/run"),
        &script.replace("set -e", "set -eu"),
    );
    let plan = t.xp(["plan"]).success().stdout;
    assert_eq!(phase(&plan, "build"), format!("run {plugin} changed"));
}

fn results_are_restored_on_a_remote_engine(t: &Context) {
    let app = Staged::new(t);
    app.manifest("", &Staged::phases());
    super::remote::far(t, t.xp(["build"])).success();
    let first = app.ids();
    assert_eq!(app.read("out/dist/app"), "one\nmain\n");
    app.repository
        .commit(&[("src/main", "new main\n")], "Change");
    super::remote::far(t, t.xp(["build"]))
        .success()
        .stdout_contains("1 phase restored");
    assert_eq!(app.ids()[0], first[0]);
    assert_eq!(app.read("out/dist/app"), "one\nnew main\n");
    // The results of other phases are copied back, too.
    let phases = Staged::phases().replace(
        "      build:",
        "      build: ['cat other modules/a > made']\n      verify:",
    );
    let test = "      test:\n        run: ['cat src/main > tested']\n        inputs: [src]\n        outputs: [tested]\n";
    let prepared = &phases[..phases.find("      verify:").expect("a phase")];
    app.manifest("", &format!("{prepared}{test}"));
    super::remote::far(t, t.xp(["build"])).success();
    assert_eq!(app.read("made"), "other\none\n");
    assert_eq!(app.read("tested"), "new main\n");
    super::remote::assert_nothing_left(t);
}

fn working_copies_use_results_of_unmodified_inputs(t: &Context) {
    let app = Staged::new(t);
    app.manifest("", &Staged::phases());
    t.xp(["build"]).success();
    let first = app.ids();
    let in_copy = |path: &str| t.read(&format!("src/app/{path}"));
    // Nothing of the outputs is there, so that nothing can be lost.
    t.write("src/app/other", "mine\n");
    let plan = t.xp(["plan", "--local"]).success().stdout;
    assert!(
        phase(&plan, "prepare").starts_with("restore ran on "),
        "{plan}"
    );
    t.xp(["build", "--local"])
        .success()
        .stdout_contains("3 phases restored");
    assert_eq!([in_copy("modules/id"), in_copy("out/dist/id")], first);
    assert_eq!(in_copy("other"), "mine\n");
    // Now they are the user's. Tests that passed are not run again.
    t.write("src/app/other", "mine again\n");
    t.write("src/app/modules/mine", "");
    let plan = t.xp(["plan", "--local"]).success().stdout;
    assert_eq!(
        phase(&plan, "build"),
        "run in the working copy: its outputs exist"
    );
    assert!(
        phase(&plan, "test").starts_with("restore passed on "),
        "{plan}"
    );
    // The scripts cannot create a folder twice.
    fs::remove_dir_all(t.dir().join("src/app/out")).expect("to remove the outputs");
    let phases = Staged::phases()
        .replace("mkdir modules", "mkdir -p modules")
        .replace("test ! -e src/README.md", "true");
    app.manifest("", &phases);
    t.xp(["build", "--local"]).success();
    assert_eq!(in_copy("modules/id").lines().count(), 2);
    assert!(t.exists("src/app/modules/mine"));
    // A modified input.
    t.write("src/app/src/main", "my main\n");
    fs::remove_dir_all(t.dir().join("src/app/out")).expect("to remove the outputs");
    let plan = t.xp(["plan", "--local"]).success().stdout;
    assert_eq!(
        phase(&plan, "build"),
        "run in the working copy: modified: src/main"
    );
    t.xp(["build", "--local"])
        .success()
        .does_not_contain("restored");
    assert_eq!(in_copy("out/dist/app"), "one\nmy main\n");
    // Nothing of it was saved as the commit's result.
    app.repository.commit(&[("other", "2\n")], "Other");
    t.xp(["build"]).success();
    assert_eq!(app.read("out/dist/app"), "one\nmain\n");
}

fn make_has_nothing_to_do_after_a_restore(t: &Context) {
    let debian = t.engine().debian(&["make"]);
    let repository = t.git_repo("app");
    // Chained targets: a wrong order of any two makes `make` run again.
    let makefile = "dist/app: obj/a obj/b lib/all\n\tmkdir -p dist\n\tcat $^ > $@\n\
                    obj/%: src/%\n\tmkdir -p obj\n\tcp $< $@\n\
                    lib/all: vendor/x vendor/y\n\tmkdir -p lib\n\tcat $^ > $@\n";
    let files = [
        ("Dockerfile", "FROM scratch\nCOPY dist /\n"),
        ("Makefile", makefile),
        ("src/a", "a\n"),
        ("src/b", "b\n"),
        ("vendor/x", "x\n"),
        ("vendor/y", "y\n"),
        ("docs", "1\n"),
    ];
    repository.commit(&files, "Start");
    let manifest = |tests: &str| {
        let more = format!(
            "    dockerBuilder: {{ image: '{debian}', network: none }}
    scripts:
      prepare: {{ run: [make lib/all], inputs: [Makefile, vendor], outputs: [lib] }}
      build: {{ run: [make], inputs: [Makefile, src, vendor], outputs: [obj, dist] }}
      test: ['{tests}']
"
        );
        let service = small::service(t, "app", &repository.url_file(), "", &more);
        small::manifest(t, t.registry().host(), &service);
    };
    manifest("make --question");
    t.xp(["build"]).success();
    repository.commit(&[("docs", "2\n")], "Docs");
    t.xp(["build"])
        .success()
        .stdout_contains("2 phases restored");
    // A fresh machine, where all files of the commit are new.
    for folder in [".xp", "src"] {
        fs::remove_dir_all(t.dir().join(folder)).expect("a folder");
    }
    repository.commit(&[("docs", "3\n")], "Docs");
    t.xp(["build"])
        .success()
        .stdout_contains("2 phases restored");
    // The opposite is noticed.
    repository.commit(&[("docs", "4\n")], "Docs");
    manifest("touch src/a && make --question");
    t.xp(["build"])
        .failure(1)
        .stderr_contains("`touch src/a && make --question` exited with 1");
}

fn a_phase_with_inputs_reaches_its_sidecars(t: &Context) {
    if t.engine().product().is_podman() {
        return;
    }
    let busybox = t.engine().busybox();
    let repository = t.git_repo("app");
    repository.commit(
        &[
            ("Dockerfile", "FROM scratch\nCOPY . /src\n"),
            ("check", "1\n"),
            ("docs", "1\n"),
        ],
        "Start",
    );
    let manifest = |word: &str| {
        let more = format!(
            "    dockerBuilder: {{ image: '{busybox}' }}
    sidecars:
      db:
        image: '{busybox}'
        command: [sh, -c, 'echo serving; mkdir -p /w; echo {word} > /w/index.html; exec httpd -f -p 80 -h /w']
        ready: wget -q -O - http://127.0.0.1/
    scripts:
      test: {{ run: ['wget -q -O - http://db/ | grep {word}'], inputs: [check] }}
"
        );
        let service = small::service(t, "app", &repository.url_file(), "", &more);
        small::manifest(t, "", &service);
    };
    manifest("one");
    t.xp(["build"]).success();
    let log = t.read(".xp/logs/1/app/test.log");
    assert!(log.contains("\none\n"), "{log}");
    repository.commit(&[("docs", "2\n")], "Docs");
    t.xp(["build"])
        .success()
        .stdout_contains("1 phase restored");
    let logs = |run: usize| {
        let folder = fs::read_dir(t.dir().join(format!(".xp/logs/{run}/app"))).expect("logs");
        let names = folder.flatten().map(|it| it.file_name());
        let names: Vec<String> = names.map(|it| it.to_string_lossy().into_owned()).collect();
        names.iter().any(|name| name.contains("db"))
    };
    assert!(logs(1) && !logs(2), "the sidecar is started only once");
    // Another sidecar is another key.
    manifest("two");
    let why = t.xp(["why", "app"]).success().stdout;
    assert!(why.contains("`test` runs: "), "{why}");
    repository.commit(&[("docs", "3\n")], "Docs");
    t.xp(["build"])
        .success()
        .does_not_contain("1 phase restored");
    let log = t.read(".xp/logs/3/app/test.log");
    assert!(log.contains("\ntwo\n"), "{log}");
}
