//! Which services a command is about.

use std::fs;

use crate::case::Case;
use crate::cases::small;
use crate::context::Context;
use crate::repository::GitRepository;

pub const CASES: &[Case] = cases![
    lists_and_relations_select_services,
    what_failed_is_built_again,
    the_current_folder_selects_its_service,
    what_would_be_built_is_listed_with_reasons,
];

/// `base`, `lib` that needs it, `web` that needs `lib`, and `other`.
struct Chain<'a> {
    t: &'a Context,
    repositories: [GitRepository; 4],
}

const CHAIN: [(&str, &str); 4] = [("base", ""), ("lib", "base"), ("web", "lib"), ("other", "")];

impl<'a> Chain<'a> {
    fn new(t: &'a Context) -> Self {
        let repositories = CHAIN.map(|(name, _)| small::repository(t, name));
        let services = CHAIN.iter().zip(&repositories).map(|((name, needs), it)| {
            small::service(
                t,
                name,
                &it.url_file(),
                "",
                &format!("    needs: [{needs}]\n"),
            )
        });
        small::manifest(t, "", &services.collect::<String>());
        Self { t, repositories }
    }

    fn of(&self, name: &str) -> &GitRepository {
        let index = CHAIN.iter().position(|(it, _)| *it == name);
        &self.repositories[index.expect("a service")]
    }

    /// Returns the services in the first column of a table, without the heading.
    fn rows(&self, arguments: &[&str]) -> Vec<String> {
        let xp = self.t.xp([]);
        let xp = arguments.iter().fold(xp, |xp, argument| xp.arg(argument));
        let output = xp.success().stdout;
        let names = output
            .lines()
            .filter_map(|line| line.split_whitespace().next());
        let is_service = |name: &&str| CHAIN.iter().any(|(it, _)| it == name);
        let mut names: Vec<String> = names.filter(is_service).map(str::to_owned).collect();
        names.sort();
        names.dedup();
        names
    }
}

fn lists_and_relations_select_services(t: &Context) {
    let chain = Chain::new(t);
    t.xp(["sync"]).success();
    for (selection, expected) in [
        (&["lib,other"][..], &["lib", "other"][..]),
        (&["lib, other", "base"], &["base", "lib", "other"]),
        (&["lib+"], &["lib", "web"]),
        (&["+lib"], &["base", "lib"]),
        (
            &["--services", "+lib+,other"],
            &["base", "lib", "other", "web"],
        ),
    ] {
        let arguments = [&["status", "--offline"], selection].concat();
        assert_eq!(chain.rows(&arguments), expected, "{selection:?}");
    }
    t.xp(["status", "--offline", "lip+"])
        .failure(2)
        .stderr_contains("error: unknown service `lip`\nhint: did you mean `lib`?");
    // As in a script whose variable is not set.
    t.xp(["build", ""]).failure(2);
    t.xp(["build", "lib,"])
        .failure(2)
        .stderr_contains("service names must not be empty");

    // The state of a dependent includes that of what it needs.
    t.xp(["graph", "--reverse", "lib"])
        .success()
        .stdout_contains("lib      build")
        .stdout_contains("└── web  build");
    let tree = t.xp(["graph", "--reverse", "--no-state"]).success().stdout;
    assert_eq!(tree, "base\n└── lib\n    └── web\nother\n");
}

fn what_failed_is_built_again(t: &Context) {
    let chain = Chain::new(t);
    t.xp(["build", "--failed"])
        .failure(2)
        .stderr_contains("hint: `xp build` records one");
    chain.of("lib").commit(
        &[("Dockerfile", "FROM scratch\nCOPY missing /\n")],
        "Break it",
    );
    t.xp(["build"]).failure(1);
    chain
        .of("lib")
        .commit(&[("Dockerfile", small::DOCKERFILE)], "Repair it");
    chain
        .of("other")
        .commit(&[("content", "new")], "Another change");
    // A sync in between is not a build.
    t.xp(["sync"]).success();
    let output = t.xp(["build", "--failed"]).success();
    for service in ["lib", "web"] {
        assert!(output.row(service).contains("built"), "{output}");
    }
    // It was built in the first run, and its new commit was not selected.
    assert!(!output.stdout.contains("other"), "{output}");
    t.xp(["build", "--failed"])
        .success()
        .stdout_contains("Nothing failed in run 4");
    t.xp(["build", "--failed", "lib"])
        .failure(2)
        .stderr_contains("`--failed` cannot be used with");
    // Commits are not built instead of working copies.
    t.write("src/lib/Dockerfile", "FROM scratch\nCOPY missing /\n");
    t.xp(["build", "--local", "lib"]).failure(1);
    t.xp(["build", "--failed"])
        .failure(2)
        .stderr_contains("hint: `xp build --failed --local`");
    // Nor the manifest's commits instead of those of a branch.
    let lib = chain.of("lib");
    lib.branch("topic");
    lib.commit(
        &[("Dockerfile", "FROM scratch\nCOPY missing /\n")],
        "Break it again",
    );
    let broken = ["build", "--branch", "topic"];
    t.xp(broken).failure(1);
    t.xp(["build", "--failed"]).failure(2).stderr_contains(
        "build --branch topic`, and `--failed` alone builds the commits of the manifest",
    );
    lib.commit(&[("Dockerfile", small::DOCKERFILE)], "Repair it again");
    let output = t.xp(broken).arg("--failed").success();
    assert!(output.row("lib").contains("built"), "{output}");
}

fn the_current_folder_selects_its_service(t: &Context) {
    let chain = Chain::new(t);
    t.xp(["sync"]).success();
    let plan = |folder: &str| chain.rows(&["-C", folder, "plan", "--local"]);
    assert_eq!(plan("src/other"), ["other"]);
    assert_eq!(plan("."), ["base", "lib", "other", "web"]);
    // Between the services' folders.
    assert_eq!(plan("src"), ["base", "lib", "other", "web"]);
    assert_eq!(
        chain.rows(&["-C", "src/other", "plan", "--local", "base"]),
        ["base"]
    );
    // Remotes are not about the current folder.
    assert_eq!(
        chain.rows(&["-C", "src/other", "plan"]),
        ["base", "lib", "other", "web"]
    );

    t.xp(["-C", "src/web", "why"])
        .success()
        .stdout_contains("web");
    t.xp(["build"]).success();
    let logs = t.xp(["logs"]).success().stdout;
    assert!(
        logs.contains("==> base image") && logs.contains("==> other image"),
        "{logs}"
    );
    let logs = t
        .xp(["-C", "src/other", "logs", "--phase", "image"])
        .success()
        .stdout;
    assert!(!logs.contains("==>"), "a single log: {logs}");
    fs::create_dir(t.dir().join("src/web/folder")).expect("a folder");
    t.xp(["-C", "src/web/folder", "build", "--local"])
        .success()
        .stdout_contains("web");
}

fn what_would_be_built_is_listed_with_reasons(t: &Context) {
    let chain = Chain::new(t);
    t.xp(["build"]).success();
    assert_eq!(t.xp(["why"]).success().stdout, "Nothing would be built\n");
    chain.of("base").commit(&[("content", "2")], "A change");
    let list = t.xp(["why"]).success().stdout;
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines.len(), 3, "{list}");
    assert!(lines[0].starts_with("base  new commit"), "{list}");
    assert!(
        lines[1].starts_with("lib   ") && lines[1].contains("base"),
        "{list}"
    );
    t.xp(["why", "--against", "master"])
        .failure(2)
        .stderr_contains("hint: write `xp why SERVICE --against REF`");
}
