//! Syntax errors, and unknown, duplicate or missing keys.

use super::{SMALLEST, refused, refuses, with};

#[test]
fn not_a_manifest() {
    let init = "(add `services`, each with `dir`, `git.remote` and `docker.image`)";
    assert_eq!(refused(""), [format!("the manifest is empty {init}")]);
    assert_eq!(
        refused("# only a comment\n---\n"),
        [format!("the manifest is empty {init}")]
    );
    assert_eq!(
        refused("- a"),
        ["1:1 the manifest must be a mapping with the key `services`, not a list"]
    );
    assert_eq!(
        refused("just text"),
        ["1:1 the manifest must be a mapping with the key `services`, not a string"]
    );
    assert_eq!(
        refused("version: 1"),
        [
            "1:1 the manifest has no `services` (add at least one service, with `dir`, `git.remote` and `docker.image`)"
        ]
    );
    assert_eq!(
        refused("services: {}"),
        ["1:1 `services` must not be empty"]
    );
    assert_eq!(
        refused("services:"),
        ["1:1 `services` has no value (set it to a mapping, or remove it)"]
    );
    assert_eq!(
        refused("services: [a]"),
        ["1:11 `services` must be a mapping, not a list"]
    );
    assert_eq!(
        refused("services:\n  a:\n"),
        ["2:3 `services.a` has no value (set it to a mapping, or remove it)"]
    );
}

#[test]
fn several_documents() {
    assert_eq!(
        refused(&format!("{SMALLEST}---\n{SMALLEST}")),
        ["17:1 the manifest has more than one YAML document (remove the `---` between them)"]
    );
}

#[test]
fn invalid_yaml() {
    assert_eq!(
        refused("services:\n\ta: 1"),
        [
            "2:2 invalid YAML: tabs disallowed within this context (block indentation) (indent with spaces: YAML does not allow tabs)"
        ]
    );
    assert_eq!(
        refused("services: [a"),
        ["1:11 invalid YAML: unclosed bracket '['"]
    );
    assert_eq!(
        refused("services: @a"),
        [
            "1:11 invalid YAML: unexpected character: `@' (quote a value that starts with a special character)"
        ]
    );
    assert_eq!(
        refused("services: *a"),
        ["1:11 this alias has no anchor (quote the value if the `*` is part of it)"]
    );
    assert_eq!(
        refused("services: &a [*a]"),
        ["1:15 this alias is inside its own anchor"]
    );
    assert_eq!(
        refused(&"[".repeat(500)),
        ["1:33 the manifest is nested more than 32 levels deep"]
    );
    assert_eq!(
        refused(&with("timeout: !long 5m")),
        ["4:20 unknown YAML tag `!long` (quote the value if the `!` is part of it)"]
    );
    assert_eq!(
        refused(&with("? [a]\n: b")),
        ["4:7 a key must be a string, not a list"]
    );
    assert_eq!(
        refused(&with("<<: a")),
        ["4:9 `<<` must be an alias of a mapping, such as `<<: *common`"]
    );
}

#[test]
fn anchor_bombs() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    let problems = refused(&bomb);
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0].contains("anchors and aliases such as this one expand to more than 4 MiB"),
        "{problems:?}"
    );
    // A deep one instead of a wide one, and one with a long string.
    let mut deep = String::from("a0: &a0 [x]\n");
    for level in 1..60 {
        deep += &format!("a{level}: &a{level} [*a{}]\n", level - 1);
    }
    assert!(refused(&deep)[0].contains("aliases such as this one"));
    let long = format!(
        "a: &a {}\nb: [{}]\n",
        "x".repeat(100_000),
        vec!["*a"; 1000].join(", ")
    );
    assert!(refused(&long)[0].contains("aliases such as this one"));
}

#[test]
fn versions() {
    let version = |text: &str| refused(&format!("version: {text}\nnew: 1\n{SMALLEST}"));
    assert_eq!(
        version("2"),
        ["1:10 the manifest has format version 2, but this xp supports 1 (upgrade xp)"]
    );
    let unknown = "2:1 unknown key `new` (known keys: `version`, `registry`, `cacheDir`, `builders`, `defaults`, `services`, `deploy`, `clean`, `engines`, `fleet`, `supply`)";
    assert_eq!(version("1"), [unknown]);
    assert_eq!(
        version("1.0"),
        [
            "1:10 invalid format version `1.0` (write `version: 1`)",
            unknown
        ]
    );
    assert_eq!(
        version("0"),
        [
            "1:10 invalid format version `0` (write `version: 1`)",
            unknown
        ]
    );
    assert_eq!(
        version("[1]"),
        ["1:10 `version` must be a string, not a list", unknown]
    );
}

#[test]
fn duplicate_keys() {
    assert_eq!(
        refused(&format!("{SMALLEST}services: {{}}")),
        ["17:1 duplicate key `services`"]
    );
    refuses("dir: a\n'dir': b", &["5:5 duplicate key `dir`"]);
    assert_eq!(
        refused(&with(
            "docker: {image: a, args: {A: 1, A: 2}}\ntimeout: 1m\ntimeout: 2m"
        )),
        ["4:37 duplicate key `A`", "6:5 duplicate key `timeout`"]
    );
}

#[test]
fn unknown_keys() {
    refuses(
        "docker_builder: {}\nenvironment: {}",
        &[
            "4:5 unknown key `docker_builder` (did you mean `dockerBuilder`?)",
            "5:5 unknown key `environment` (known keys: `dir`, `git`, `scm`, `dockerBuilder`, `timeout`, `docker`, `scripts`, `sidecars`, `verify`, `supply`, `needs`)",
        ],
    );
    refuses(
        "docker: {image: a, dockerfile: x}",
        &[
            "4:24 unknown key `dockerfile` in `docker` (known keys: `image`, `file`, `context`, `target`, `args`, `secrets`, `ssh`, `tags`, `bases`, `cache`, `platforms`)",
        ],
    );
    assert_eq!(
        refused(&format!("builders: {{dirs: x}}\n{SMALLEST}")),
        ["1:12 unknown key `dirs` in `builders` (did you mean `dir`?)"]
    );
    assert_eq!(
        refused(&format!("{SMALLEST}service: {{}}")),
        ["17:1 unknown key `service` (did you mean `services`?)"]
    );
}

#[test]
fn missing_keys() {
    assert_eq!(
        refused("services:\n  A:\n    git: {}\n    docker: {}\n  b: {dir: b}\n"),
        [
            "2:3 service `A` has no `dir` (add the folder of its working copy: `dir: src/A`)",
            "3:5 service `A` has no `git.remote` (add its remote: `git: {remote: https://git.example.com/A.git}`)",
            "4:5 service `A` has no `docker.image` (add its image name: `docker: {image: a}`)",
            "5:3 service `b` has no `docker` (add its image name: `docker: {image: b}`)",
            "5:3 service `b` has no `git` (add its remote: `git: {remote: https://git.example.com/b.git}`)",
        ]
    );
}

#[test]
fn values_of_the_wrong_type() {
    refuses("dir: [a]", &["4:10 `dir` must be a string, not a list"]);
    refuses(
        "dir:",
        &["4:5 `dir` has no value (set it to a string, or remove it)"],
    );
    refuses(
        "dir: ~",
        &["4:10 `dir` has no value (set it to a string, or remove it)"],
    );
    refuses("dir: ''", &["4:10 `dir` must not be empty"]);
    refuses(
        "dir: \"a\\0b\"",
        &["4:10 `dir` must not contain NUL characters"],
    );
    refuses(
        "git: https://h/x",
        &["4:10 `git` must be a mapping, not a string"],
    );
    refuses(
        "needs: other",
        &[
            "4:12 `needs` must be a list, not a string (write it as a list with one item: `- other`)",
        ],
    );
    refuses(
        "docker: {image: a, args: {A: null, B: [x]}}",
        &[
            "4:34 `docker.args.A` has no value (set it to a string, or remove it)",
            "4:43 `docker.args.B` must be a string, not a list",
        ],
    );
    refuses(
        "docker:\n  image: a\n  args: [A=1]",
        &["6:13 `docker.args` must be a mapping, not a list"],
    );
    refuses(
        "git: {remote: 'https://h/a', submodules: yes}",
        &["4:46 `git.submodules` must be `true` or `false`, not `yes` (write `true`)"],
    );
    refuses(
        "git: {remote: 'https://h/a', submodules: 2}",
        &["4:46 `git.submodules` must be `true` or `false`, not `2`"],
    );
}
