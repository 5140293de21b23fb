//! `xp init` in folders of repositories, and what it writes and prints besides the manifest.

use std::fs;

use crate::case::Case;
use crate::context::Context;
use crate::repository::GitRepository;

pub const CASES: &[Case] = cases![
    in_a_folder_of_a_repository_the_manifest_is_written_at_its_top,
    a_folder_that_is_not_committed_is_not_taken_for_one_without_a_repository,
    a_named_file_is_not_moved_to_the_top,
    the_image_of_another_service_may_be_an_argument,
    secrets_and_ssh_are_taken_over,
    files_of_submodules_are_not_missing,
    git_ignores_what_xp_writes,
    marks_are_printed_whole_in_a_pipe,
];

const PLAIN: &str = "FROM scratch\nCOPY file /file\n";

/// Clones a repository of several folders, whose images contain the folders' `file`, into `mono`.
fn mono(t: &Context) -> GitRepository {
    let mono = t.git_repo("mono");
    mono.commit(
        &[
            (
                "shop/compose.yaml",
                "services: {web: {build: web}, api: {build: ../api}}\n",
            ),
            ("shop/web/Dockerfile", PLAIN),
            ("shop/web/file", "web\n"),
            ("api/Dockerfile", PLAIN),
            ("api/file", "api\n"),
            ("tools/one/Dockerfile", PLAIN),
            ("tools/one/file", "one\n"),
        ],
        "First",
    );
    t.git(".", &["clone", "--quiet", &mono.url_http(), "mono"]);
    mono
}

fn in_a_folder_of_a_repository_the_manifest_is_written_at_its_top(t: &Context) {
    let mono = mono(t);
    let inside = t.dir().join("mono/shop");
    t.xp(["init"])
        .dir(&inside)
        .success()
        .stderr_contains(
            "shop is a folder of the git repository mono, so the manifest belongs at its top",
        )
        .stderr_contains("Found shop/compose.yaml and 1 git repository in mono")
        .stderr_contains("Wrote ../x-platform.yml with 2 services");
    let manifest = t.read("mono/x-platform.yml");
    for part in ["dir: .\n", "path: shop/web\n", "path: api\n"] {
        assert!(manifest.contains(part), "{part}:\n{manifest}");
    }
    assert!(!t.exists("mono/shop/x-platform.yml"));
    t.xp(["plan"])
        .dir(&inside)
        .success()
        .stdout_contains(&mono.head()[..8]);
    t.xp(["init"])
        .dir(&inside)
        .failure(2)
        .stderr_contains("../x-platform.yml already exists and was not changed");
    // Without tool files, only the Dockerfiles of the folder count.
    let tools = t.dir().join("mono/tools");
    let output = t.xp(["init", "--dry-run"]).dir(&tools).success();
    output.stderr_contains("Would write ../x-platform.yml with 1 service");
    let one = t.dir().join("mono/tools/one");
    let output = t
        .xp(["init", "--dry-run", "--from", "."])
        .dir(&one)
        .success();
    assert!(
        output.stdout.contains("path: tools/one\n"),
        "{}",
        output.stdout
    );
    assert!(!output.stdout.contains("path: api\n"), "{}", output.stdout);
}

fn a_folder_that_is_not_committed_is_not_taken_for_one_without_a_repository(t: &Context) {
    mono(t);
    t.write("mono/new/compose.yaml", "services: {web: {build: web}}\n");
    t.write("mono/new/web/Dockerfile", PLAIN);
    let new = t.dir().join("mono/new");
    t.xp(["init"])
        .dir(&new)
        .failure(2)
        .stderr_contains("is in the git repository at ..")
        .does_not_contain("git init");
}

fn a_named_file_is_not_moved_to_the_top(t: &Context) {
    mono(t);
    let inside = t.dir().join("mono/shop");
    t.xp(["init", "--output", "mine.yml"])
        .dir(&inside)
        .failure(2)
        .stderr_contains("run `xp init -C ..`");
}

fn the_image_of_another_service_may_be_an_argument(t: &Context) {
    let mono = t.git_repo("mono");
    mono.commit(
        &[
            ("base/Dockerfile", PLAIN),
            ("base/file", "base\n"),
            ("app/Dockerfile", "ARG BASE\nFROM ${BASE}\nCOPY file /app\n"),
            ("app/file", "app\n"),
        ],
        "First",
    );
    t.git(".", &["clone", "--quiet", &mono.url_http(), "mono"]);
    t.write(
        "compose.yaml",
        "services:\n  base: {image: acme-base, build: mono/base}\n  app: {build: {context: mono/app, args: {BASE: acme-base}}}\n",
    );
    let prefix = t.registry_prefix(t.registry());
    t.xp(["init", "--registry", &prefix]).success();
    let manifest = t.read("x-platform.yml");
    assert!(
        manifest.contains("BASE: ${{ services.base.image }}"),
        "{manifest}"
    );
    t.xp(["build"]).success();
    t.xp(["plan", "--exit-code"]).success();
}

fn secrets_and_ssh_are_taken_over(t: &Context) {
    let app = t.git_repo("app");
    app.commit(&[("Dockerfile", PLAIN), ("file", "1\n")], "First");
    t.git(".", &["clone", "--quiet", &app.url_http(), "app"]);
    t.write(
        "deploy/compose.yaml",
        "\
services:
  app:
    platform: linux/arm64
    build: {context: ../app, ssh: [default], secrets: [tok, {source: f, target: netrc}, gone]}
secrets: {tok: {environment: TOK}, f: {file: ./netrc}, gone: {external: true}}
",
    );
    t.xp(["init", "--from", "deploy/compose.yaml"]).success();
    let manifest = t.read("x-platform.yml");
    for part in [
        "      platforms:\n        - linux/arm64\n",
        "      ssh: true\n",
        "        tok:\n          env: TOK\n",
        "        netrc:\n          file: deploy/netrc\n",
        "        # gone: {env: NAME}\n",
    ] {
        assert!(manifest.contains(part), "{part}:\n{manifest}");
    }
    t.write("deploy/netrc", "machine x\n");
    t.xp(["plan"]).env("TOK", "x").success();
}

fn files_of_submodules_are_not_missing(t: &Context) {
    let lib = t.git_repo("lib");
    let commit = lib.commit(&[("x", "1\n")], "First");
    let app = t.git_repo("app");
    app.commit(
        &[("Dockerfile", "FROM scratch\nCOPY parts/lib/x /\n")],
        "First",
    );
    app.add_submodule("parts/lib", "../lib.git", &commit);
    t.git(".", &["clone", "--quiet", &app.url_http(), "app"]);
    let output = t.xp(["init"]).success();
    output.does_not_contain("not in the commit");
    assert!(t.read("x-platform.yml").contains("submodules: true\n"));
}

fn git_ignores_what_xp_writes(t: &Context) {
    mono(t);
    t.git(".", &["init", "--quiet", "--initial-branch=master"]);
    t.xp(["init"])
        .success()
        .stderr_contains("Wrote .gitignore with `/.xp/` and `/mono/`");
    assert_eq!(t.read(".gitignore"), "/.xp/\n/mono/\n");
    assert!(
        !t.xp(["init", "--force"])
            .success()
            .stderr
            .contains("gitignore")
    );
    // An existing file is changed only if the user agrees.
    t.write(".gitignore", "*.log\n/mono/");
    t.xp(["init", "--force"])
        .success()
        .stderr_contains("hint: add `/.xp/` to .gitignore");
    assert_eq!(t.read(".gitignore"), "*.log\n/mono/");
    fs::remove_file(t.dir().join("x-platform.yml")).expect("removed");
    let mut terminal = t.xp(["init"]).in_terminal(100, 40);
    terminal.wait_for("Registry to push images to");
    terminal.type_keys("\n");
    terminal.wait_for("Add /.xp/ to .gitignore? [yes]:");
    // Any other word is neither yes nor no.
    terminal.type_keys("sure\n");
    terminal.wait_for("the answer must be `yes` or `no`, not `sure`");
    terminal.type_keys("y\n");
    let (status, screen) = terminal.wait();
    assert!(
        status.success() && screen.contains("Added `/.xp/` to .gitignore"),
        "{screen}"
    );
    assert_eq!(t.read(".gitignore"), "*.log\n/mono/\n/.xp/\n");
}

fn marks_are_printed_whole_in_a_pipe(t: &Context) {
    for number in 0..12 {
        let folder = format!("part-{number:02}");
        t.write(&format!("{folder}/Dockerfile"), "FROM scratch\n");
        t.git(&folder, &["init", "--quiet"]);
        t.git(&folder, &["add", "--all"]);
        t.git(&folder, &["commit", "--quiet", "--message", "First"]);
    }
    let output = t.xp(["init"]).success();
    let whole = "it has no remote, so this is the working copy itself: push it, and enter its remote here\n";
    assert_eq!(
        output.stderr.matches(whole).count(),
        12,
        "{}",
        output.stderr
    );
    assert!(
        !output.stderr.contains('…') && !output.stderr.contains("more\n"),
        "{}",
        output.stderr
    );
}
