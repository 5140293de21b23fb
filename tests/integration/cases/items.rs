//! Items of a phase that run in other images than the service's builder.

use std::fs;

use super::builder::{as_unknown_user, assert_owned_by};
use super::remote::{assert_nothing_left, far};
use super::reproduce::{command, repeat};
use crate::app::App;
use crate::case::Case;
use crate::context::Context;

pub const CASES: &[Case] = cases![
    items_run_in_their_images_on_the_same_files,
    a_changed_item_is_named_and_built_again,
    a_failed_item_names_its_image_and_can_be_reproduced,
    an_item_needs_no_builder,
    files_of_items_belong_to_the_caller,
    items_run_on_a_working_copy,
    items_run_on_a_remote_engine,
    a_missing_image_is_reported_before_the_service_starts,
];

/// Creates a builder with a program that names it.
fn tool(t: &Context, name: &str) -> String {
    let dockerfile = format!("FROM {}\nCOPY tool /bin/tool\n", t.engine().busybox());
    let script = format!("#!/bin/sh\necho {name} \"$@\"\n");
    let builder = t.builder(name, &dockerfile, &[("tool", &script)]);
    let tool = t.dir().join(&builder).join("tool");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(tool, mode).expect("its mode");
    builder
}

/// Returns the keys of a service with a busybox builder and these items, each in one line.
fn keys(t: &Context, items: &[&str]) -> String {
    let items: String = items.iter().map(|item| format!("    - {item}\n")).collect();
    format!(
        "dockerBuilder: {{ image: {}, network: none }}\nscripts:\n  build:\n{items}",
        t.engine().busybox()
    )
}

fn items_run_in_their_images_on_the_same_files(t: &Context) {
    let (one, two) = (tool(t, "one"), tool(t, "two"));
    let first = format!(
        "{{ run: [ 'tool a >> made', 'test ! -e /state', 'echo $XP_SERVICE $CI > /state' ], image: {one} }}"
    );
    let second =
        format!("{{ run: [ 'tool b >> made; test ! -e /state' ], image: '{two}:newest' }}");
    let again = format!("{{ run: [ 'cat /state >> made' ], image: {one} }}");
    let items = [
        "echo main > made; echo kept > /state",
        first.as_str(),
        "if command -v tool; then exit 1; fi; cat /state >> made",
        second.as_str(),
        again.as_str(),
    ];
    let app = App::new(t, &[], &keys(t, &items));
    let plan = t.xp(["plan"]).success().stdout;
    for text in [&format!("{one} "), &format!("{two} "), "tool a >> made"] {
        assert!(plan.contains(text), "{plan}");
    }
    app.build().success();
    assert_eq!(app.read("made"), "main\none a\nkept\ntwo b\napp true\n");
    assert!(t.containers().is_empty());
    // Each line has its own section of the log.
    let log = String::from_utf8(app.log(1, "build")).expect("text");
    let sections: Vec<&str> = log.lines().filter(|line| line.starts_with("$ ")).collect();
    assert_eq!(sections.len(), 7, "{log}");
    let container = String::from_utf8(app.log(1, "container")).expect("text");
    assert_eq!(container.matches("$ ").count(), 3, "{container}");
    app.build().success().stdout_contains("skip");
}

fn a_changed_item_is_named_and_built_again(t: &Context) {
    let one = tool(t, "one");
    let item = format!("{{ run: [ 'tool > made' ], image: {one} }}");
    let app = App::new(t, &[], &keys(t, &["true", &item]));
    app.build().success();
    app.set_keys(&keys(t, &["true", &item.replace("> made", "x > made")]));
    let why = t.xp(["why", "app"]).success().stdout;
    assert!(why.contains("* scripts.build[1].run"), "{why}");
    assert!(why.contains("build: scripts.build[1].run changed"), "{why}");
    app.build().success();
    assert_eq!(app.read("made"), "one x\n");
    t.write(&format!("{one}/tool"), "#!/bin/sh\necho other\n");
    let why = t.xp(["why", "app"]).success().stdout;
    assert!(
        why.contains("build: scripts.build[1].image changed"),
        "{why}"
    );
    app.build().success();
    assert_eq!(app.read("made"), "other\n");
}

fn a_failed_item_names_its_image_and_can_be_reproduced(t: &Context) {
    let one = tool(t, "one");
    let item = format!("{{ run: [ 'tool >> made; exit 7' ], image: {one} }}");
    let app = App::new(t, &[], &keys(t, &["echo main > made", &item]));
    let output = app.build().arg("-v").failure(1);
    let line = 1 + t
        .read("x-platform.yml")
        .lines()
        .position(|line| line.contains("exit 7"))
        .expect("a line");
    let output = output.stderr_contains(&format!(
        "app: build: `tool >> made; exit 7` exited with 7 (x-platform.yml:{line})"
    ));
    let command = command(&output);
    assert!(command.contains(&format!("{one}:")), "{command}");
    repeat(t, &command).failure(7);
    assert_eq!(app.read("made"), "main\none\none\n");
    let output = t
        .xp(["shell", "--failed", "app"])
        .stdin("tool in the shell; cat made; echo mine > mine\n")
        .success();
    assert_eq!(output.stdout, "one in the shell\nmain\none\none\n");
    output.stderr_contains("to repeat it in this shell:\n  sh -ec 'tool >> made; exit 7'\n");
    assert_eq!(app.read("mine"), "mine\n");
    // The image of another item is not the one that failed.
    app.set_keys(&keys(t, &["echo main > made"]));
    t.xp(["shell", "--failed", "app"])
        .failure(2)
        .stderr_contains("error: the manifest has changed since run 1");
}

fn an_item_needs_no_builder(t: &Context) {
    let image = t.engine().busybox();
    let item = format!("{{ run: [ 'pwd > made' ], image: {image} }}");
    let keys = format!(
        "dockerBuilder: {{ workdir: /go/src, network: none }}\nscripts: {{ build: [ {item} ] }}"
    );
    let app = App::new(t, &[], &keys);
    app.build().success();
    assert_eq!(app.read("made"), "/go/src\n");
    t.xp(["shell", "app"])
        .failure(2)
        .stderr_contains("error: `app` has no `dockerBuilder.image` to run commands in");
}

fn files_of_items_belong_to_the_caller(t: &Context) {
    let one = tool(t, "one");
    let item = format!("{{ run: [ 'mkdir -p c/d; id -u > c/d/user' ], image: {one} }}");
    let keys = |user: &str| {
        let keys = keys(t, &["mkdir -p a/b; id -u > a/b/user", &item]);
        keys.replace("network: none", &format!("network: none, user: {user}"))
    };
    let app = App::new(t, &[], &keys("caller"));
    for (user, id) in [
        ("caller", "12345\n"),
        ("root", "0\n"),
        ("\"4321:4321\"", "4321\n"),
    ] {
        app.set_keys(&keys(user));
        as_unknown_user(t, &app, ["build", "--force"]).success();
        assert_eq!(app.read("a/b/user"), id);
        assert_eq!(app.read("c/d/user"), id);
        assert_owned_by(&app.export(""), 12345);
    }
}

fn items_run_on_a_working_copy(t: &Context) {
    let one = tool(t, "one");
    let item = format!("{{ run: [ 'tool > made; ls .git > git' ], image: {one} }}");
    let keys = keys(t, &["echo /made > .gitignore", &item]);
    let keys = keys.replace(
        "network: none",
        "network: none, cache: [ /workspace/web/cache ]",
    );
    let app = App::new(t, &[], &keys);
    t.xp(["sync"]).success();
    app.build().arg("--local").success();
    assert_eq!(t.read("src/app/made"), "one\n");
    assert!(t.read("src/app/git").contains("HEAD"));
    assert!(!t.exists("src/app/web"), "a mount point is left");
    assert!(t.containers().is_empty());
}

fn items_run_on_a_remote_engine(t: &Context) {
    let one = tool(t, "one");
    let dockerfile = format!("{one}/Dockerfile");
    let base = t.remote_engine().0.busybox();
    t.write(&dockerfile, &format!("FROM {base}\nCOPY tool /bin/tool\n"));
    t.write("extra", "mounted\n");
    let first = format!(
        "{{ run: [ 'tool >> made; cat /etc/extra >> made; cat .git/HEAD >> made; echo x >> /cache/x' ], image: {one} }}"
    );
    let items = [
        "echo main > made; echo x > /cache/x",
        &first,
        "wc -l < /cache/x >> made",
    ];
    let keys = keys(t, &items).replace(
        "network: none",
        &format!(
            "network: none, cache: [ /cache ], mounts: [ \"{}:/etc/extra:ro\" ]",
            t.dir().join("extra").display()
        ),
    );
    let app = App::new(t, &[], &keys);
    far(t, app.build()).success();
    let head = app.repository.head();
    assert_eq!(app.read("made"), format!("main\none\nmounted\n{head}\n2\n"));
    assert_nothing_left(t);
    // The first item may also be the one in another image.
    let item = format!("{{ run: [ 'tool > made' ], image: {one} }}");
    let keys = format!("dockerBuilder: {{ network: none }}\nscripts: {{ build: [ {item} ] }}");
    app.set_keys(&keys);
    far(t, app.build()).arg("--force").success();
    assert_eq!(app.read("made"), "one\n");
    assert_nothing_left(t);
}

fn a_missing_image_is_reported_before_the_service_starts(t: &Context) {
    let app = App::new(
        t,
        &[],
        &keys(t, &["true", "{ run: [ a ], image: builders/nonesuch }"]),
    );
    let output = app.build().failure(2);
    output.stderr_contains("builder `nonesuch` not found");
    let output = t.xp(["check"]).failure(2);
    let output = output.stderr_contains("builder `nonesuch` not found");
    output.stderr_contains("x-platform.yml:9:32\n");
}
