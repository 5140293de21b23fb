//! `xp plan`, and how commands are called and report what they did.

use std::fs;

use serde_json::{Value, json};

use crate::case::Case;
use crate::cases::small;
use crate::context::Context;
use crate::repository::GitRepository;
use crate::schema;
use crate::world::Registry;

pub const CASES: &[Case] = cases![
    a_plan_shows_every_step_and_changes_nothing,
    a_build_runs_exactly_the_planned_steps,
    results_and_messages_use_separate_streams,
    quiet_and_verbose,
    colors_are_used_if_requested,
    the_manifest_is_found_from_a_subfolder,
    a_parent_manifest_of_another_user_is_rejected,
    a_manifest_outside_of_the_repository_is_reported,
    services_are_selected_by_name_and_pattern,
    an_unknown_service_has_a_suggestion,
    a_branch_is_used_where_it_exists,
    a_reference_option_takes_precedence_over_branch,
    a_failure_is_repeated_at_the_end,
    usage_errors_exit_with_2,
    the_json_plan_follows_its_schema,
    the_exit_code_reports_pending_work,
];

/// A frontend, and a backend built from it in a builder.
struct Product<'t> {
    t: &'t Context,
    registry: &'t Registry,
    backend: GitRepository,
    builder: String,
}

impl<'t> Product<'t> {
    fn new(t: &'t Context) -> Self {
        let registry = t.registry();
        let builder = t.builder("sh", &format!("FROM {}\n", t.engine().busybox()), &[]);
        let frontend = small::repository(t, "zfrontend");
        let backend = t.git_repo("zbackend");
        let dockerfile = "ARG FRONT\nFROM ${FRONT}\nCOPY made /\n";
        backend.commit(&[("docker/Dockerfile", dockerfile)], "Start");
        let docker = ", file: docker/Dockerfile, args: {FRONT: '${{ services.zfrontend.image }}'}, tags: [nightly]";
        let more = format!(
            "    dockerBuilder: {{image: {builder}, workdir: /x, env: {{SECRET: canary}}}}
    scripts:
      build:
        - echo made > made
        - |
          for word in two lines; do
            echo $word
          done
      test: [grep made made]
"
        );
        let services = small::service(t, "zbackend", &backend.url_file(), docker, &more)
            + &small::service(t, "zfrontend", &frontend.url_file(), "", "");
        small::manifest(t, registry.host(), &services);
        Self {
            t,
            registry,
            backend,
            builder,
        }
    }

    /// Replaces parts that differ between runs with words.
    fn normal(&self, text: &str) -> String {
        let (_, unique_builder) = self.builder.split_once('/').expect("a folder");
        let builder_id = self.builder_id();
        let frontend = self.t.folder().join("authors/zfrontend");
        let head = fs::read_to_string(frontend.join(".git/refs/heads/master")).expect("a commit");
        let repositories = self
            .backend
            .path()
            .parent()
            .expect("a folder")
            .display()
            .to_string();
        let mut text = text.to_owned();
        for (found, word) in [
            (format!("file://{repositories}"), "REMOTE"),
            (self.t.image(""), "PRODUCT/"),
            (unique_builder.to_owned(), "sh"),
            (self.registry.host().to_owned(), "REGISTRY"),
            (builder_id.clone(), "CONTENT"),
            (builder_id[..8].to_owned(), "CONTENT8"),
            (self.backend.head(), "BACKEND"),
            (self.backend.head()[..8].to_owned(), "BACKEND8"),
            (head.trim().to_owned(), "FRONTEND"),
            (head[..8].to_owned(), "FRONTEND8"),
        ] {
            text = text.replace(&found, word);
        }
        // Column widths depend on them.
        let lines = text.lines().map(|line| {
            let indent = line.len() - line.trim_start().len();
            let words: Vec<&str> = line.trim().split("  ").map(str::trim).collect();
            let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
            format!("{}{}\n", &line[..indent], words.join("  "))
        });
        lines.collect()
    }

    fn builder_id(&self) -> String {
        let list = self.t.xp(["builder", "list"]).success().stdout;
        let image = list.lines().nth(1).and_then(|line| line.rsplit(':').next());
        image.expect("a builder").to_owned()
    }
}

fn a_plan_shows_every_step_and_changes_nothing(t: &Context) {
    let product = Product::new(t);
    let plan = t.xp(["plan"]).success();
    let expected = "\
SERVICE  COMMIT  DECISION  WHY  IMAGE
builders/sh  -  build  no image with content CONTENT8  REGISTRY/builders/sh:CONTENT
zfrontend  FRONTEND8  build  new commit  REGISTRY/PRODUCT/zfrontend:FRONTEND
zbackend  BACKEND8  build  new commit  REGISTRY/PRODUCT/zbackend:BACKEND

builders/sh
  image  docker build builders/sh
  push  REGISTRY/builders/sh:CONTENT
  tag  newest in the registry

zfrontend
  sync  master of REMOTE/zfrontend.git
  export  FRONTEND8 into .xp/build/zfrontend
  image  docker build .xp/build/zfrontend
  push  REGISTRY/PRODUCT/zfrontend:FRONTEND
  tag  master in the registry

zbackend
  sync  master of REMOTE/zbackend.git
  export  BACKEND8 into .xp/build/zbackend
  container  REGISTRY/builders/sh:CONTENT with the source at /x
  build  echo made > made
  build  for word in two lines; do
               echo $word
             done
  test  grep made made
  image  docker build --file .xp/build/zbackend/docker/Dockerfile --build-arg FRONT .xp/build/zbackend
  push  REGISTRY/PRODUCT/zbackend:BACKEND
  tag  master, nightly in the registry

3 to build
";
    assert_eq!(product.normal(&plan.stdout), expected);
    assert_eq!(plan.stderr, "");
    assert!(!t.exists(".xp") && !t.exists("src"));
    assert!(t.containers().is_empty());
    assert_eq!(
        t.engine()
            .images_with_prefix(&format!("{}/{}", t.registry().host(), t.prefix())),
        [""; 0]
    );
    for name in ["zbackend", "zfrontend"] {
        assert_eq!(t.registry().tags(&t.image(name)), [""; 0]);
    }
    plan.does_not_contain("canary");
}

fn a_build_runs_exactly_the_planned_steps(t: &Context) {
    let product = Product::new(t);
    for round in ["everything", "a commit", "nothing"] {
        if round == "a commit" {
            product.backend.commit(&[("more", "")], "More");
        }
        let plan = t.xp(["plan"]).success().stdout;
        let build = t.xp(["build", "--jobs", "1"]).success();
        // The plan's steps are indented; a build prints each as `service | phase: step`.
        let mut planned = Vec::new();
        let mut unit = "";
        for line in plan.lines().skip_while(|line| !line.is_empty()) {
            match line.strip_prefix("  ").map(|step| step.split_at(9)) {
                None => unit = line,
                Some((phase, step)) if !phase.trim().is_empty() => {
                    planned.push(format!("{unit} | {}: {}", phase.trim(), step.trim()));
                }
                Some(_) => {}
            }
        }
        let is_step = |line: &&str| planned.contains(&(*line).to_owned());
        let mut done: Vec<&str> = build.stderr.lines().filter(is_step).collect();
        // Syncs and pushes run beside the steps of other units.
        done.sort_by_key(|line| line.split(" | ").next());
        planned.sort_by_key(|line| line.split(" | ").next().map(str::to_owned));
        assert_eq!(done, planned, "{round}: {build}");
        assert_eq!(planned.is_empty(), round == "nothing");
        // Both tables show the decisions.
        let rows = |text: &str| text.lines().take_while(|line| !line.is_empty()).count();
        assert_eq!(rows(&plan), rows(&build.stdout), "{round}");
    }
}

fn results_and_messages_use_separate_streams(t: &Context) {
    let repository = small::repository(t, "zbackend");
    small::platform(t, "", &[("zbackend", &repository)]);
    let build = t.xp(["build"]).success();
    assert!(build.stdout.starts_with("SERVICE"), "{build}");
    assert_eq!(build.stdout.lines().count(), 4, "{build}");
    assert!(
        build.stderr.contains("zbackend | image: docker build"),
        "{build}"
    );
    // A closed pipe is not a failure.
    let program = env!("CARGO_BIN_EXE_xp");
    t.program(
        "sh",
        [
            "-c",
            &format!("'{program}' plan | true; '{program}' build 2>&1 | true"),
        ],
    )
    .success();
}

fn quiet_and_verbose(t: &Context) {
    let repository = small::repository(t, "zbackend");
    small::platform(t, "", &[("zbackend", &repository)]);
    let verbose = t.xp(["build", "-v", "--force"]).success();
    verbose
        .stderr_contains("resolving 1 service in 1 remote")
        .stderr_contains("image: done in");
    let quiet = t.xp(["-q", "build", "--force"]).success();
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
    t.xp(["plan", "--quiet"])
        .success()
        .stdout_contains("Nothing to do");
    repository.commit(
        &[("Dockerfile", "FROM scratch\nCOPY missing /\n")],
        "Break it",
    );
    let quiet = t.xp(["build", "-q"]).failure(1);
    assert_eq!(quiet.stdout, "");
    let quiet = quiet.stderr_contains("error: zbackend: image: ");
    assert_eq!(quiet.stderr.matches("error: ").count(), 1, "{quiet}");
    t.xp(["build", "-q", "-v"]).failure(2);
}

fn colors_are_used_if_requested(t: &Context) {
    let escape = "\u{1b}[";
    small::manifest(t, "", "  zbackend: {dri: src}\n");
    t.xp(["plan"]).failure(2).does_not_contain(escape);
    t.xp(["plan", "--color", "always"])
        .failure(2)
        .stderr_contains(escape);
    let repository = small::repository(t, "zbackend");
    let host = format!("127.0.0.1:{}", t.closed_port());
    small::platform(t, &host, &[("zbackend", &repository)]);
    t.xp(["plan"]).failure(3).does_not_contain(escape);
    // NO_COLOR is set, but the option takes precedence.
    t.xp(["plan", "--color", "always"])
        .failure(3)
        .stderr_contains("\u{1b}[1;31merror:\u{1b}[0m cannot tell")
        .stderr_contains("\u{1b}[1;36mhint:");
    let (status, screen) = t.xp(["plan"]).in_terminal(100, 30).wait();
    assert_eq!(status.code(), Some(3), "{screen}");
    let terminal = t.xp(["plan", "--color", "never"]).in_terminal(100, 30);
    terminal.wait_for("hint:");
    assert!(
        !terminal.written().contains("\u{1b}[1;31m"),
        "{}",
        terminal.written()
    );
}

fn a_parent_manifest_of_another_user_is_rejected(t: &Context) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let repository = small::repository(t, "zbackend");
    small::platform(t, "", &[("zbackend", &repository)]);
    t.write("docs/page.md", "");
    let file = t.dir().join("x-platform.yml");
    let give = |path: &std::path::Path, user: u32| {
        std::os::unix::fs::chown(path, Some(user), None).expect("root may");
    };
    let from = |directory: &str| t.xp(["plan"]).dir(t.dir().join(directory));
    let refused = || {
        let refused = from("docs")
            .failure(2)
            .stderr_contains(&format!(
                "error: the manifest {} belongs to",
                file.display()
            ))
            .stderr_contains("another user (user ID 4321)");
        refused.stderr_contains(&format!("`-f {}`", file.display()));
        from("docs").env("SUDO_UID", "1234").failure(2);
    };
    // The file, the folder with the builders, and a link created by another user.
    give(&file, 4321);
    refused();
    from("docs").env("SUDO_UID", "4321").success();
    from("docs").arg("-f").arg("../x-platform.yml").success();
    from("").success();
    give(&file, 0);
    give(&t.dir(), 4321);
    refused();
    give(&t.dir(), 0);
    from("docs").success();
    let target = t.dir().join("mine.yml");
    fs::rename(&file, &target).expect("a name");
    std::os::unix::fs::symlink(&target, &file).expect("a link");
    std::os::unix::fs::lchown(&file, Some(4321), None).expect("root may");
    refused();
}

/// For a working copy, the manifest in a parent folder is usually the right one.
fn a_manifest_outside_of_the_repository_is_reported(t: &Context) {
    let repository = small::repository(t, "zbackend");
    small::platform(t, "", &[("zbackend", &repository)]);
    t.xp(["sync"]).success();
    let said = format!(
        "using the manifest {}",
        t.dir().join("x-platform.yml").display()
    );
    let plan = |directory: &str| t.xp(["plan"]).dir(t.dir().join(directory)).success();
    plan("src/zbackend").stderr_contains(&said);
    let quiet = t.xp(["plan", "--quiet"]).dir(t.dir().join("src/zbackend"));
    let named = t.xp(["plan", "-f", "../../x-platform.yml"]);
    let named = named.dir(t.dir().join("src/zbackend")).success();
    for silent in [plan(""), quiet.success(), named] {
        assert!(!silent.stderr.contains("using the manifest"), "{silent}");
    }
    t.write("docs/page.md", "");
    plan("docs").stderr_contains(&said);
    t.git(".", &["init", "--quiet"]);
    let inside = plan("docs");
    assert!(!inside.stderr.contains("using the manifest"), "{inside}");
}

fn the_manifest_is_found_from_a_subfolder(t: &Context) {
    let repository = small::repository(t, "zbackend");
    small::platform(t, "", &[("zbackend", &repository)]);
    t.write("docs/deep/page.md", "");
    t.xp(["build"]).dir(t.dir().join("docs/deep")).success();
    assert!(
        t.exists("src/zbackend/Dockerfile"),
        "paths start at the manifest"
    );
    assert!(t.exists(".xp") && !t.exists("docs/deep/.xp"));

    let from = |directory: &str| t.xp(["plan"]).dir(t.folder().join(directory));
    from("home")
        .failure(2)
        .stderr_contains("could not find x-platform.yml");
    from("home").arg("-C").arg("../product/docs").success();
    from("home")
        .arg("-C")
        .arg("../nowhere")
        .failure(2)
        .stderr_contains("nowhere does not exist");
    fs::rename(t.dir().join("x-platform.yml"), t.dir().join("other.yml")).expect("a name");
    from("product")
        .failure(2)
        .stderr_contains("could not find x-platform.yml");
    from("product")
        .arg("-f")
        .arg("other.yml")
        .success()
        .stdout_contains("zbackend");
    from("home")
        .arg("-C")
        .arg("../product")
        .arg("--file")
        .arg("other.yml")
        .success();
    from("product")
        .arg("-f")
        .arg("missing.yml")
        .failure(2)
        .stderr_contains("missing.yml");
}

/// The services `zbackend`, `zfrontend` and `mailer`, all with one remote.
fn three_services(t: &Context) -> GitRepository {
    let repository = small::repository(t, "zbackend");
    let url = repository.url_file();
    let services =
        ["zbackend", "zfrontend", "mailer"].map(|name| small::service(t, name, &url, "", ""));
    small::manifest(t, "", &services.concat());
    repository
}

/// Returns the services in a plan's table.
fn planned(stdout: &str) -> Vec<&str> {
    let rows = stdout.lines().skip(1).take_while(|line| !line.is_empty());
    let mut names: Vec<&str> = rows
        .filter_map(|row| row.split_whitespace().next())
        .collect();
    names.sort_unstable();
    names
}

fn services_are_selected_by_name_and_pattern(t: &Context) {
    three_services(t);
    let of = |arguments: &[&str]| {
        let xp = arguments
            .iter()
            .fold(t.xp(["plan"]), |xp, argument| xp.arg(argument));
        planned(&xp.success().stdout).join(" ")
    };
    assert_eq!(of(&[]), "mailer zbackend zfrontend");
    assert_eq!(of(&["mailer"]), "mailer");
    assert_eq!(of(&["--services", "mailer,zbackend"]), "mailer zbackend");
    assert_eq!(of(&["z*"]), "zbackend zfrontend");
    assert_eq!(of(&["--services", "?backend", "mailer"]), "mailer zbackend");
    assert_eq!(of(&["*"]), "mailer zbackend zfrontend");
}

fn an_unknown_service_has_a_suggestion(t: &Context) {
    three_services(t);
    let unknown = t.xp(["build", "--services", "zbakend,mailer"]).failure(2);
    unknown
        .stderr_contains("unknown service `zbakend`")
        .stderr_contains("did you mean `zbackend`?");
    t.xp(["plan", "x*"])
        .failure(2)
        .stderr_contains("`x*`")
        .stderr_contains("`mailer`");
    let unknown = t.xp(["plan", "--reference", "mailr=master"]).failure(2);
    unknown.stderr_contains("did you mean `mailer`?");
    assert!(!t.exists("src"));
}

fn a_branch_is_used_where_it_exists(t: &Context) {
    let (backend, frontend) = (
        small::repository(t, "zbackend"),
        small::repository(t, "zfrontend"),
    );
    backend.branch("TASK-981");
    let task = backend.commit(&[("content", "task")], "Task");
    let services = small::service(t, "zbackend", &backend.url_http(), "", "")
        + &small::service(t, "zfrontend", &frontend.url_http(), "", "");
    small::manifest(t, "", &services);
    t.xp(["build", "--branch", "TASK-981"]).success();
    let has = |name: &str, tag: &str| {
        t.engine()
            .image(&format!("{}:{tag}", t.image(name)))
            .is_some()
    };
    assert!(has("zbackend", &task) && has("zbackend", "TASK-981"));
    assert!(has("zfrontend", &frontend.head()) && has("zfrontend", "master"));
    assert!(!has("zbackend", "master"));
    assert!(
        has("zfrontend", "TASK-981"),
        "it is part of the preview set"
    );
}

fn a_reference_option_takes_precedence_over_branch(t: &Context) {
    let backend = small::repository(t, "zbackend");
    let first = backend.head();
    backend.tag("v1");
    backend.branch("TASK-981");
    let task = backend.commit(&[("content", "task")], "Task");
    let url = backend.url_http();
    let services = ["zbackend", "zfrontend"].map(|name| small::service(t, name, &url, "", ""));
    small::manifest(t, "", &services.concat());
    let plan = t
        .xp(["plan", "--branch", "TASK-981", "--reference", "zbackend=v1"])
        .success();
    let row = |name: &str| {
        plan.stdout
            .lines()
            .find(|line| line.starts_with(name))
            .expect("a row")
    };
    assert!(row("zbackend").contains(&first), "{plan}");
    assert!(row("zfrontend").contains(&task), "{plan}");
    let unknown = t
        .xp(["plan", "--reference", "zbackend=origin/TASK-98"])
        .failure(2);
    unknown
        .stderr_contains("TASK-98")
        .stderr_contains("TASK-981")
        .stderr_contains(&url);
}

fn a_failure_is_repeated_at_the_end(t: &Context) {
    let product = Product::new(t);
    let dockerfile = "ARG FRONT\nFROM ${FRONT}\nCOPY missing /\n";
    product
        .backend
        .commit(&[("docker/Dockerfile", dockerfile)], "Break it");
    let build = t.xp(["build"]).failure(1);
    let (_, end) = build.stderr.split_once("\n\nerror: ").expect("an end");
    assert!(
        end.starts_with("zbackend: image: the engine cannot build the image: "),
        "{build}"
    );
    assert!(end.contains("last lines of its log:\n"), "{build}");
    let log = end.split_once("full log: ").expect("a log").1;
    let log = fs::read_to_string(log.lines().next().expect("a path")).expect("the log");
    assert!(
        log.starts_with("$ docker build --file .xp/build/zbackend/docker/Dockerfile"),
        "{log}"
    );
    assert!(log.contains("missing"), "{log}");
    // The table stays narrow, however long the failure's message is.
    let build = build
        .stdout_contains("FAILED")
        .stdout_contains("image failed");
    assert!(!build.stdout.contains("cannot build"), "{build}");
    build.does_not_contain("canary");
}

fn usage_errors_exit_with_2(t: &Context) {
    three_services(t);
    for (arguments, said) in [
        (["frob", ""], "frob"),
        (["build", "--frob"], "--frob"),
        (["build", "--jobs=0"], "--jobs"),
        (["build", "--tag=a/b"], "a/b"),
        (["build", "--branch=a..b"], "a..b"),
        (["plan", "--reference=zbackend"], "SERVICE=REF"),
        (["builder", "frob"], "frob"),
    ] {
        t.xp(arguments).failure(2).stderr_contains(said);
    }
    let help = t.xp(["--help"]).success();
    help.stdout_contains("Exit codes:");
    let without = t.xp([]).failure(2);
    without.stderr_contains("Usage: xp");
    for (host, code, said) in [
        ("unix:///nowhere/docker.sock", 3, "/nowhere/docker.sock"),
        ("fish", 2, "`fish`"),
    ] {
        let plan = t.xp(["plan"]).env("DOCKER_HOST", host).failure(code);
        plan.stderr_contains(said).stderr_contains("hint: ");
    }
}

fn the_json_plan_follows_its_schema(t: &Context) {
    let product = Product::new(t);
    let json = || t.xp(["plan", "--format", "json"]).success().stdout;
    let first = json();
    schema::assert_follows(t, "plan", &first);
    let plan: Value = serde_json::from_str(&first).expect("JSON");
    assert_eq!(plan["version"], 1);
    let counts = &plan["counts"];
    assert_eq!(
        (counts["build"].as_u64(), counts["skip"].as_u64()),
        (Some(3), Some(0))
    );
    let kinds: Vec<&str> = plan["units"]
        .as_array()
        .expect("units")
        .iter()
        .filter_map(|unit| unit["kind"].as_str())
        .collect();
    assert_eq!(kinds, ["builder", "service", "service"]);
    let backend = &plan["units"][2];
    assert_eq!(backend["commit"], product.backend.head());
    assert_eq!(backend["decision"], "build");
    assert_eq!(backend["after"][1], "zfrontend");
    assert!(backend["recipe"]["scripts.build"].is_string());
    let texts = backend["steps"].as_array().expect("steps");
    assert!(texts.iter().any(|step| step["text"] == "echo made > made"));
    assert_eq!(first, json(), "the same each time");

    t.xp(["build"]).success();
    t.manifest(&t.read("x-platform.yml").replace("echo made >", "echo x >"));
    let stale = json();
    schema::assert_follows(t, "plan", &stale);
    let plan: Value = serde_json::from_str(&stale).expect("JSON");
    let backend = plan["units"].as_array().and_then(|units| units.last());
    let changes = &backend.expect("a unit")["changes"];
    assert_eq!(
        *changes,
        json!([{"input": "scripts.build", "change": "changed"}])
    );
}

fn the_exit_code_reports_pending_work(t: &Context) {
    let product = Product::new(t);
    t.xp(["plan", "--exit-code"])
        .failure(10)
        .stdout_contains("build");
    t.xp(["build"]).success();
    t.xp(["plan", "--exit-code"]).success();
    // Images that are only pulled exist.
    let prefix = format!("{}/{}", product.registry.host(), t.image(""));
    for image in t.engine().images_with_prefix(&prefix) {
        t.engine().remove_image(&image);
    }
    t.xp(["plan", "--exit-code"])
        .success()
        .stdout_contains("pull");
    t.xp(["plan", "--exit-code", "--tag", "nightly"])
        .failure(10);
    t.manifest("services: [");
    t.xp(["plan", "--exit-code"]).failure(2);
}
