//! Builder images: built from their folder, pulled, or missing.

use crate::app::App;
use crate::case::Case;
use crate::context::Context;
use crate::process;
use crate::world::RegistryKind;

pub const CASES: &[Case] = cases![
    folder_is_rebuilt_only_when_it_changes,
    arguments_are_part_of_the_content,
    list_and_update,
    update_rebuilds_an_unchanged_builder,
    an_update_replaces_the_registrys_image_for_all_engines,
    a_builder_for_a_working_copy_needs_no_registry,
    builder_that_fails_blocks_its_services,
    missing_folder_is_reported,
    external_image_is_pulled,
    missing_external_image_is_reported,
];

fn folder_is_rebuilt_only_when_it_changes(t: &Context) {
    let dockerfile = format!("FROM {}\nCOPY tool /bin/tool\n", t.engine().busybox());
    let builder = t.builder("tools", &dockerfile, &[("tool", "#!/bin/sh\necho one\n")]);
    let app = app_with(t, &builder, "tool > made");
    let tags = || t.engine().images_with_prefix(&format!("{builder}:"));
    let output = app.build().success();
    assert_eq!(app.read("made"), "one\n");
    let first = tags();
    assert_eq!(first.len(), 2, "{first:?}");
    assert!(first.contains(&format!("{builder}:newest")));
    let name = |tag: &str| tag.rsplit_once(':').expect("a tag").1.to_owned();
    let content = name(
        first
            .iter()
            .find(|tag| name(tag) != "newest")
            .expect("a content id"),
    );
    assert!(
        content.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{content}"
    );
    assert!(
        output.stderr.contains(&format!("{builder} | image: ")),
        "{output}"
    );

    // Nothing changed: not rebuilt, even though a service is.
    let output = app.build().arg("--force").success();
    assert!(
        !output.stderr.contains(&format!("{builder} | ")),
        "{output}"
    );
    assert_eq!(tags(), first);

    t.write(&format!("{builder}/tool"), "#!/bin/sh\necho two\n");
    app.build().arg("--force").success();
    assert_eq!(app.read("made"), "two\n");
    assert_eq!(tags().len(), 3);
    let newest = t
        .engine()
        .image(&format!("{builder}:newest"))
        .expect("it was built");
    assert_ne!(
        newest["Id"],
        t.engine()
            .image(&format!("{builder}:{content}"))
            .expect("kept")["Id"]
    );

    // After a change back to the first content, there is nothing to build.
    t.write(&format!("{builder}/tool"), "#!/bin/sh\necho one\n");
    let output = app.build().arg("--force").success();
    assert!(
        !output.stderr.contains(&format!("{builder} | ")),
        "{output}"
    );
    assert_eq!(app.read("made"), "one\n");
}

fn arguments_are_part_of_the_content(t: &Context) {
    let dockerfile = "ARG BASE\nFROM ${BASE}\nARG COLOUR\nRUN echo $COLOUR > /colour\n";
    let builder = t.builder("tools", dockerfile, &[]);
    let app = app_with(t, &builder, "cat /colour > made");
    let services = t.read("x-platform.yml");
    for colour in ["red", "blue"] {
        t.manifest(&format!(
            "builders:\n  args: {{ BASE: {}, COLOUR: {colour} }}\n{services}",
            t.engine().busybox()
        ));
        app.build().arg("--force").success();
        assert_eq!(app.read("made"), format!("{colour}\n"));
    }
}

fn list_and_update(t: &Context) {
    let dockerfile = format!("FROM {}\n", t.engine().busybox());
    let first = t.builder("first", &dockerfile, &[]);
    let second = t.builder("second", &dockerfile, &[("file", "")]);
    let app = app_with(t, &first, "true");
    let in_engine = |builder: &str| {
        let list = t.xp(["builder", "list"]).success().stdout;
        let row = list
            .lines()
            .find(|row| row.starts_with(builder))
            .expect("a row")
            .to_owned();
        let word = row.split_whitespace().nth(2).expect("a column").to_owned();
        let image = row.split_whitespace().last().expect("a column").to_owned();
        let image = row
            .split_whitespace()
            .find(|word| word.contains(':'))
            .unwrap_or(&image)
            .to_owned();
        assert_eq!(t.engine().image(&image).is_some(), word == "yes", "{list}");
        word
    };
    assert_eq!([in_engine(&first), in_engine(&second)], ["no", "no"]);
    app.build().success();
    assert_eq!([in_engine(&first), in_engine(&second)], ["yes", "no"]);
    t.xp(["builder", "update"]).arg(&second).success();
    assert_eq!([in_engine(&first), in_engine(&second)], ["yes", "yes"]);
    t.write(&format!("{first}/file"), "new");
    assert_eq!(in_engine(&first), "no");
    t.xp(["builder", "update"]).success();
    assert_eq!(in_engine(&first), "yes");
    t.xp(["builder", "update", "no-such"])
        .failure(2)
        .stderr_contains("builder `no-such` not found");
}

fn update_rebuilds_an_unchanged_builder(t: &Context) {
    let dockerfile = format!(
        "FROM {}\nRUN cat /proc/sys/kernel/random/uuid > /made\n",
        t.engine().busybox()
    );
    let builder = t.builder("tools", &dockerfile, &[]);
    app_with(t, &builder, "true");
    let made = || {
        t.engine()
            .run(&format!("{builder}:newest"), ["cat", "/made"])
    };
    t.xp(["builder", "update"]).success();
    let first = made();
    // The purpose is to get newer files from the network; the build cache would prevent that.
    t.xp(["builder", "update"]).success();
    assert_ne!(made(), first);
}

fn an_update_replaces_the_registrys_image_for_all_engines(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let dockerfile = format!(
        "FROM {}\nRUN cat /proc/sys/kernel/random/uuid > /made\n",
        t.engine().busybox()
    );
    let builder = t.builder("tools", &dockerfile, &[]);
    let app = app_with(t, &builder, "cat /made > made");
    let manifest = t.read("x-platform.yml");
    t.manifest(&format!("registry: {}\n{manifest}", registry.host()));
    app.build().success();
    let first = app.read("made");
    let content = tag_of_content(t, &builder);
    let image = format!("{}/{builder}", registry.host());
    // Another user's engine, which built the service first.
    let elsewhere = format!("{}:1", t.image("elsewhere"));
    t.engine().tag(&format!("{image}:{content}"), &elsewhere);
    let before = registry.manifest_digest(&builder, &content);

    t.xp(["builder", "update"]).success();
    let after = registry.manifest_digest(&builder, &content);
    assert_ne!(after, before, "the registry has the new build");
    assert_eq!(registry.manifest_digest(&builder, "newest"), after);
    let made = |image: &str| t.engine().run(image, ["cat", "/made"]);
    let second = made(&format!("{image}:{content}"));
    assert_ne!(second.trim(), first.trim());

    // An update alone does not rebuild anything; `why` explains how to.
    let why = t.xp(["why", "app"]).success();
    why.stdout_contains("skip: ")
        .stdout_contains("`xp build --force app` rebuilds");

    for tag in [content.as_str(), "newest"] {
        t.engine().tag(&elsewhere, &format!("{image}:{tag}"));
    }
    let list = t.xp(["builder", "list"]).success();
    list.stdout_contains(" other ");
    let plan = t.xp(["plan", "--force"]).success();
    plan.stdout_contains("the engine has another build of the same content");
    app.build().arg("--force").success();
    assert_eq!(app.read("made").trim(), second.trim());
    assert_eq!(made(&format!("{image}:newest")), second);
    assert_eq!(registry.manifest_digest(&builder, &content), after);
    let again = app.build().arg("--force").success();
    assert!(!again.stderr.contains("| pull: "), "{again}");
}

fn a_builder_for_a_working_copy_needs_no_registry(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let dockerfile = format!("FROM {}\n", t.engine().busybox());
    let builder = t.builder("tools", &dockerfile, &[]);
    let app = app_with(t, &builder, "date +%N > made");
    let manifest = t.read("x-platform.yml");
    t.manifest(&format!("registry: {}\n{manifest}", registry.host()));
    app.build().success();
    t.write("src/app/new", "");
    registry.stop();
    t.xp(["build", "--local"]).success();
}

/// Returns the tag of the only builder image in the engine, other than `newest`.
fn tag_of_content(t: &Context, builder: &str) -> String {
    let list = t.xp(["builder", "list"]).success().stdout;
    let row = list.lines().find(|row| row.starts_with(builder));
    let image = row.and_then(|row| row.split_whitespace().last());
    let (_, tag) = image.and_then(|it| it.rsplit_once(':')).expect("an image");
    tag.to_owned()
}

fn builder_that_fails_blocks_its_services(t: &Context) {
    let dockerfile = format!("FROM {}\nRUN echo no tools; exit 9\n", t.engine().busybox());
    let builder = t.builder("tools", &dockerfile, &[]);
    let app = app_with(t, &builder, "true");
    let output = app.build().failure(1);
    let output = output.stderr_contains(&format!("error: {builder}: image: "));
    let output = output.stderr_contains("    no tools\n");
    let output = output.stdout_contains(" not started ");
    assert!(
        output.stdout.contains(&format!("needs {builder}")),
        "{output}"
    );
    assert!(!app.is_built());
    assert!(t.engine().images_with_prefix(&builder).is_empty());
    t.xp(["builder", "update"]).failure(1);
}

fn missing_folder_is_reported(t: &Context) {
    let builder = t.builder("tools", "FROM scratch\n", &[]);
    let app = app_with(t, &builder.replace("tools", "tolos"), "true");
    let output = app.build().failure(2).stderr_contains("builder `");
    output.stderr_contains(&format!(
        "did you mean `{}`?",
        &builder["builders/".len()..]
    ));
}

fn external_image_is_pulled(t: &Context) {
    let registry = t.registry_of(RegistryKind::Auth);
    t.log_in(registry);
    let image = format!("{}/tools:1", t.registry_prefix(registry));
    t.engine().tag(t.engine().busybox(), &image);
    let mut push = t.engine().client();
    process::succeed(
        push.env("DOCKER_CONFIG", t.docker_config())
            .args(["push", "--quiet", &image]),
    );
    t.engine().remove_image(&image);
    assert_eq!(t.engine().image(&image), None);

    let app = app_with(t, &image, "true");
    let output = app.build().success();
    assert!(
        output.stderr.contains(&format!("{image} | pull: ")),
        "{output}"
    );
    assert!(t.engine().image(&image).is_some());
    let output = app.build().arg("--force").success();
    assert!(!output.stderr.contains("| pull: "), "{output}");
}

fn missing_external_image_is_reported(t: &Context) {
    let image = format!("{}/no-tools:1", t.registry_prefix(t.registry()));
    let app = app_with(t, &image, "true");
    let output = app.build().run();
    let code = output.status.code();
    let output = output.stderr_contains(&format!("error: {image}: pull: "));
    assert_eq!(code, Some(3), "{output}");
    assert!(!app.is_built());
}

fn app_with<'a>(t: &'a Context, builder: &str, line: &str) -> App<'a> {
    let keys = format!(
        "dockerBuilder: {{ image: \"{builder}\", network: none }}\nscripts: {{ build: [ \"{line}\" ] }}"
    );
    App::new(t, &[], &keys)
}
