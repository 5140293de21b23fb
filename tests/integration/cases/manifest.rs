//! Invalid manifests, as their authors see them.

use std::fs;
use std::os::unix::fs::symlink;

use crate::case::Case;
use crate::cases::small;
use crate::context::Context;
use crate::output::Output;
use crate::world::RegistryKind;

pub const CASES: &[Case] = cases![
    all_errors_are_reported_at_once_with_positions,
    every_command_rejects_an_invalid_manifest,
    a_binary_manifest_is_rejected,
    an_anchor_bomb_is_rejected,
    a_folder_outside_the_platform_is_rejected,
    a_missing_builder_folder_is_rejected,
    the_smallest_manifest_is_enough,
];

/// Runs commands on a manifest; each must reject it in the same way, and change nothing.
#[track_caller]
fn refused(t: &Context, manifest: &str) -> Output {
    t.manifest(manifest);
    let output = t.xp(["build"]).failure(2);
    for arguments in [["plan", "-v"], ["sync", "-v"], ["builder", "list"]] {
        let other = t.xp(arguments).failure(2);
        assert_eq!(other.stderr, output.stderr);
    }
    assert_eq!(output.stdout, "");
    assert!(!t.exists(".xp") && !t.exists("src"));
    output
}

fn all_errors_are_reported_at_once_with_positions(t: &Context) {
    let output = refused(
        t,
        "\
services:
  zbackend:
    dri: src/zbackend
    git:
      remote: https://git.example.com/x/zbackend.git
    docker:
      image: ZBackend
    scripts:
      build:
        - make
",
    );
    let file = t.dir().join("x-platform.yml");
    let shown = output
        .stderr
        .replace(&file.display().to_string(), "x-platform.yml");
    for part in [
        "unknown key `dri`",
        "x-platform.yml:3:5",
        "3 |     dri: src/zbackend\n",
        "  |     ^^^",
        "did you mean `dir`?",
        "x-platform.yml:7:14",
        "7 |       image: ZBackend",
        "uppercase letters",
        "dockerBuilder",
    ] {
        assert!(shown.contains(part), "{part:?} is not in {output}");
    }
    assert!(shown.matches("error: ").count() >= 3, "{output}");
}

fn every_command_rejects_an_invalid_manifest(t: &Context) {
    let service = |name: &str, more: &str| {
        format!(
            "  {name}:\n    dir: src/{name}\n    git: {{remote: 'https://git.example.com/{name}.git'}}\n{more}"
        )
    };
    let docker = |image: &str| format!("    docker: {{image: {image}}}\n");
    let (a, b) = (service("a", &docker("a")), service("b", &docker("b")));
    for (manifest, said) in [
        (String::new(), "empty"),
        ("services: {}\nservices: {}\n".to_owned(), "duplicate key"),
        (format!("services:\n{a}{a}"), "duplicate key"),
        (
            format!("services:\n{a}{}", service("b", &docker("a"))),
            "`a`",
        ),
        (
            format!("services:\n{a}    needs: [b]\n{b}    needs: [a]\n"),
            "a → b → a",
        ),
        (format!("services:\n{a}    needs: [c]\n"), "`c`"),
        (
            format!("services:\n{a}    scripts: {{build: [make]}}\n"),
            "dockerBuilder",
        ),
        (
            format!(
                "services:\n{}",
                service("a", "    docker: {image: a, args: {X: '${{ env }}'}}\n")
            ),
            "${{ env }}",
        ),
        (format!("version: 2\nservices:\n{a}"), "version"),
        (
            "services:\n\ta: {}\n".to_owned(),
            "YAML does not allow tabs",
        ),
    ] {
        refused(t, &manifest)
            .stderr_contains("x-platform.yml")
            .stderr_contains(said);
    }
}

fn a_binary_manifest_is_rejected(t: &Context) {
    fs::write(t.dir().join("x-platform.yml"), b"services:\n  a: \xff\n").expect("a manifest");
    t.xp(["plan"])
        .failure(2)
        .stderr_contains("UTF-8")
        .stderr_contains("x-platform.yml");
    fs::remove_file(t.dir().join("x-platform.yml")).expect("the manifest");
    fs::create_dir(t.dir().join("folder.yml")).expect("a folder");
    t.xp(["plan", "-ffolder.yml"])
        .failure(2)
        .stderr_contains("folder.yml");
}

fn an_anchor_bomb_is_rejected(t: &Context) {
    let mut manifest = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let before = format!("*a{}, ", level - 1).repeat(10);
        manifest.push_str(&format!("a{level}: &a{level} [{before}]\n"));
    }
    let output = refused(t, &manifest);
    assert!(
        output.stderr.len() < 10_000,
        "{} bytes",
        output.stderr.len()
    );
}

fn a_folder_outside_the_platform_is_rejected(t: &Context) {
    let manifest = |dir: &str| {
        format!(
            "services:\n  a:\n    dir: {dir}\n    git: {{remote: 'https://git.example.com/a.git'}}\n    docker: {{image: a}}\n"
        )
    };
    symlink(t.home(), t.dir().join("link")).expect("a link");
    for dir in ["../a", "/tmp/a", "x/../../a", "link/a"] {
        refused(t, &manifest(dir))
            .stderr_contains("x-platform.yml:3:10")
            .stderr_contains(dir);
    }
    assert_eq!(fs::read_dir(t.home()).expect("the home").count(), 0);
}

fn a_missing_builder_folder_is_rejected(t: &Context) {
    let repository = small::repository(t, "zbackend");
    t.write("builders/zbackend/Dockerfile", "FROM scratch\n");
    let more = "    dockerBuilder: {image: builders/zbakend}\n    scripts: {build: [make]}\n";
    let url = repository.url_file();
    let service = small::service(t, "zbackend", &url, "", more);
    small::manifest(t, "", &service);
    for arguments in [["plan", "-v"], ["build", "-v"]] {
        t.xp(arguments)
            .failure(2)
            .stderr_contains("builder `zbakend` not found")
            .stderr_contains("did you mean `zbackend`?");
    }
    assert!(!t.exists("src"));
}

/// The smallest manifest in the documentation, with the test's registry and remote.
fn the_smallest_manifest_is_enough(t: &Context) {
    let repository = t.git_repo("zbackend");
    let files = [
        ("Dockerfile", "FROM scratch\nCOPY made /\n"),
        (
            "Makefile",
            "build:\n\techo made > made\ntest:\n\tgrep made made\n",
        ),
        (
            "make",
            "#!/bin/sh\ncase $1 in build) echo made > made;; test) grep made made;; esac\n",
        ),
    ];
    let commit = repository.commit(&files, "Start");
    let base = t.engine().busybox();
    t.write(
        "builders/zbackend/Dockerfile",
        &format!("FROM {base}\nENV PATH=/bin:/go/src/x/zbackend\n"),
    );
    let registry = t.own_registry(RegistryKind::Open);
    t.manifest(&format!(
        "registry: {}
services:
  zbackend:
    dir: src/zbackend
    git:
      remote: {}
      reference: origin/master
    dockerBuilder:
      image: builders/zbackend:newest
      workdir: /go/src/x/zbackend
    docker:
      image: zbackend
    scripts:
      build:
        - make build
      test:
        - make test
",
        registry.host(),
        repository.url_http()
    ));
    t.xp(["build"]).success();
    let mut expected = [commit.as_str(), "master"];
    expected.sort_unstable();
    assert_eq!(registry.tags("zbackend"), expected);
    assert_eq!(registry.tags("builders/zbackend").len(), 2);
}
