//! xp in a container, without the wrapper: the engine knows its files under other paths.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use crate::app::App;
use crate::case::Case;
use crate::context::Context;
use crate::process;
use crate::repository::write_file;
use crate::wait::wait_until;
use crate::xp::Xp;

pub const CASES: &[Case] = cases![
    folders_are_mounted_by_their_host_paths,
    the_platform_can_be_on_a_named_volume,
    items_and_plugins_run_on_mounted_folders_and_volumes,
    caches_can_be_mounted_separately,
    files_only_in_the_container_are_rejected,
    an_image_build_without_scripts_needs_no_mount,
    containers_with_the_same_path_do_not_interfere,
    nested_containers_of_the_same_engine_are_supported,
    the_doctor_lists_mounts_and_their_sources,
];

/// Returns an image of this xp, based on busybox: quick to build, with the same program.
pub fn image_of_xp(t: &Context) -> &'static str {
    static IMAGE: OnceLock<String> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let folder = t.folder().join("image-of-xp");
        let root = folder.join("root");
        t.copy_file(env!("CARGO_BIN_EXE_xp"), &root, "bin/xp");
        // Debug information is most of it.
        let mut strip = Command::new("strip");
        process::succeed(strip.arg("--strip-debug").arg(root.join("bin/xp")));
        let dockerfile = format!(
            "FROM {}\nCOPY root /\nENTRYPOINT [\"xp\"]\n",
            t.engine().busybox()
        );
        write_file(&folder.join("Dockerfile"), &dockerfile);
        let (run, _) = t.prefix().split_once('/').expect("two parts");
        let image = format!("{run}/x-platform:newest");
        let mut build = t.engine().client();
        process::succeed(
            build
                .args(["build", "--quiet", "--tag", &image])
                .arg(folder),
        );
        image
    })
}

/// Returns the name of the same image for pods. The nodes of a foreign cluster pull it from the registry.
pub fn image_for_pods(t: &Context) -> String {
    let image = image_of_xp(t);
    if !t.uses_foreign_cluster() {
        return image.to_owned();
    }
    let name = format!("{}/{image}", t.registry().host());
    t.engine().tag(image, &name);
    process::succeed(t.engine().client().args(["push", "--quiet", &name]));
    name
}

/// Returns xp in a container, with the engine's socket, the repositories and these mounts.
fn contained<const N: usize>(
    t: &Context,
    app: &App<'_>,
    options: &[&str],
    arguments: [&str; N],
) -> Xp {
    let socket = t.engine().host().strip_prefix("unix://").expect("a socket");
    let repository = app.repository.path().display().to_string();
    let mut run = t.program("docker", ["run", "--rm", "--network", "host"]);
    for volume in [
        format!("{socket}:/var/run/docker.sock"),
        format!("{repository}:{repository}"),
    ] {
        run = run.arg("--volume").arg(volume);
    }
    run = options.iter().fold(run, |run, option| run.arg(option));
    arguments
        .into_iter()
        .fold(run.arg(image_of_xp(t)), |run, it| run.arg(it))
}

fn folders_are_mounted_by_their_host_paths(t: &Context) {
    t.write("extra/file", "extra");
    let keys = "workdir: /work\ncache: [ /cache, /work/node_modules ]\nsocket: true\nmounts: [ \"/a/b c/extra:/extra\" ]";
    let lines = [
        "cat /extra/file .git/HEAD > read; touch /cache/made node_modules/made; test -S /var/run/docker.sock",
    ];
    let app = App::with_scripts(t, keys, &lines);
    let volume = format!("{}:/a/b c", t.dir().display());
    let options = ["--volume", &volume, "--workdir", "/a/b c"];
    contained(t, &app, &options, ["build"]).success();
    assert_eq!(
        app.read("read"),
        format!("extra{}\n", app.repository.head())
    );
    assert!(
        !app.export("node_modules").exists(),
        "a mount point that nobody needs any longer"
    );
    t.assert_built("app", &app.repository.head());

    // The printed command runs on the machine, outside the container.
    app.set_scripts(keys, &["exit 3"]);
    contained(t, &app, &options, ["build", "--force", "-v"])
        .failure(1)
        .stderr_contains(&format!(
            "src={}/.xp/build/app,dst=/work",
            t.dir().display()
        ));
    assert_eq!(t.containers(), [Value::Null; 0]);
}

fn the_platform_can_be_on_a_named_volume(t: &Context) {
    let app = App::with_scripts(
        t,
        "cache: [ /cache ]",
        &["touch made /cache/made; ls -a > list"],
    );
    let name = t.prefix().replace('/', "-");
    let volume = format!("{name}:/data");
    // The manifest comes from outside; everything else is in the volume.
    let manifest = format!(
        "{}:/data/x/x-platform.yml:ro",
        t.dir().join("x-platform.yml").display()
    );
    let options = [
        "--volume",
        &volume,
        "--volume",
        &manifest,
        "--workdir",
        "/data/x",
    ];
    contained(t, &app, &options, ["build"]).success();
    contained(t, &app, &options, ["plan", "--exit-code"]).success();
    contained(t, &app, &options, ["build", "--local"]).success();
    let list = t.engine().run(&app.image_of_head(), ["cat", "/src/list"]);
    assert!(
        list.contains("Dockerfile") && list.contains(".git"),
        "{list}"
    );
    process::succeed(t.engine().client().args(["volume", "rm", &name]));
}

fn items_and_plugins_run_on_mounted_folders_and_volumes(t: &Context) {
    let image = t.engine().busybox();
    let dockerfile = format!(
        "FROM {image}\nENTRYPOINT [\"/bin/sh\", \"-c\", \"cat /config/config.json .git/HEAD > by-plugin; touch /cache/made\"]\n"
    );
    let plugin = t.builder("plug", &dockerfile, &[]);
    let keys = format!(
        "dockerBuilder: {{ cache: [ /cache ] }}\nscripts:\n  build:\n    - {{ plugin: {plugin}, with: {{ a: 1 }} }}\n    \
         - {{ run: [ 'cp by-plugin by-item; test -e /cache/made' ], image: {image} }}"
    );
    let app = App::new(t, &[], &keys);
    let expected = format!("{{\"a\":1}}{}\n", app.repository.head());
    let mounted = format!("{}:/a/b c", t.dir().display());
    let options = ["--volume", &mounted, "--workdir", "/a/b c"];
    contained(t, &app, &options, ["build"]).success();
    assert_eq!(app.read("by-item"), expected);
    t.engine().remove_image(&app.image_of_head());
    let name = t.prefix().replace('/', "-");
    let volume = format!("{name}:/data");
    let [manifest, builders] = ["x-platform.yml", "builders"]
        .map(|it| format!("{}:/data/x/{it}:ro", t.dir().join(it).display()));
    let options = [
        "--volume",
        &volume,
        "--volume",
        &manifest,
        "--volume",
        &builders,
        "--workdir",
        "/data/x",
    ];
    contained(t, &app, &options, ["build"]).success();
    let read = t
        .engine()
        .run(&app.image_of_head(), ["cat", "/src/by-item"]);
    assert_eq!(read, expected.trim_end());
    assert_eq!(t.containers(), [Value::Null; 0]);
    process::succeed(t.engine().client().args(["volume", "rm", &name]));
}

fn caches_can_be_mounted_separately(t: &Context) {
    let app = App::with_scripts(t, "cache: [ /cache ]", &["touch /cache/made"]);
    let cache = t.folder().join("cache");
    fs::create_dir_all(&cache).expect("a folder");
    let platform = format!("{}:/w", t.dir().display());
    let caches = format!("{}:/w/own", cache.display());
    let options = [
        "--volume",
        &platform,
        "--volume",
        &caches,
        "--workdir",
        "/w",
        "--env",
        "XP_CACHE_DIR=own",
    ];
    contained(t, &app, &options, ["build"]).success();
    assert!(cache.join("build/app/Dockerfile").exists());
    assert!(!t.exists(".xp"));
}

fn files_only_in_the_container_are_rejected(t: &Context) {
    let app = App::with_scripts(t, "", &["touch made"]);
    let manifest = format!(
        "{}:/w/x-platform.yml",
        t.dir().join("x-platform.yml").display()
    );
    let options = ["--volume", &manifest, "--workdir", "/w"];
    contained(t, &app, &options, ["build"])
        .failure(3)
        .stderr_contains("error: app: container: the engine cannot mount /w/.xp/build/app: xp runs in the container ")
        .stderr_contains("whose own files cannot be mounted into other containers")
        .stderr_contains("hint: mount it into that container");
    let in_memory = [
        "--volume",
        &manifest,
        "--workdir",
        "/w",
        "--tmpfs",
        "/w/.xp",
    ];
    contained(t, &app, &in_memory, ["build"])
        .failure(3)
        .stderr_contains("where /w/.xp is in memory");
    assert_eq!(t.containers(), [Value::Null; 0]);
}

fn an_image_build_without_scripts_needs_no_mount(t: &Context) {
    let app = App::new(t, &[("file", "1")], "");
    let manifest = format!(
        "{}:/w/x-platform.yml",
        t.dir().join("x-platform.yml").display()
    );
    let options = ["--volume", &manifest, "--workdir", "/w"];
    contained(t, &app, &options, ["build"]).success();
    t.assert_built("app", &app.repository.head());
}

fn containers_with_the_same_path_do_not_interfere(t: &Context) {
    let app = App::with_scripts(t, "", &["echo begun; until [ -e go ]; do sleep 0.1; done"]);
    let options = |folder: &Path| format!("{}:/w", folder.display());
    let first = options(&t.dir());
    let mut running =
        contained(t, &app, &["--volume", &first, "--workdir", "/w"], ["build"]).spawn();
    running.wait_for_output("app | begun");
    // Another platform at the same path in another container: leftovers there are not this one's.
    let other = t.folder().join("other");
    fs::create_dir_all(&other).expect("a folder");
    let manifest = t
        .read("x-platform.yml")
        .replace("until [ -e go ]; do sleep 0.1; done", "true");
    fs::write(other.join("x-platform.yml"), manifest).expect("a manifest");
    let second = options(&other);
    contained(
        t,
        &app,
        &["--volume", &second, "--workdir", "/w"],
        ["build", "--force"],
    )
    .success();
    fs::write(app.export("go"), "").expect("the export can be written");
    let output = running.wait();
    assert!(output.status.success(), "{output}");

    // Leftovers of a killed run at that path of the machine are found.
    let label = format!("x-platform.folder={}/.xp", t.dir().display());
    let mut create = t.engine().client();
    process::succeed(create.args(["create", "--label", &label, t.engine().busybox(), "true"]));
    let build = contained(
        t,
        &app,
        &["--volume", &first, "--workdir", "/w"],
        ["build", "--force"],
    );
    fs::write(
        t.dir().join("x-platform.yml"),
        t.read("x-platform.yml")
            .replace("until [ -e go ]; do sleep 0.1; done", "true"),
    )
    .expect("a manifest");
    build.success();
    wait_until("the left container is gone", || t.containers().is_empty());
}

fn nested_containers_of_the_same_engine_are_supported(t: &Context) {
    let app = App::with_scripts(t, "", &["touch made"]);
    // The client in the outer container starts the inner one, by the machine's path.
    let root = t.folder().join("outer/root");
    t.copy_program("docker", &root);
    let dockerfile = format!("FROM {}\nCOPY root /\n", t.engine().busybox());
    write_file(&t.folder().join("outer/Dockerfile"), &dockerfile);
    let image = t.image("outer");
    let mut build = t.engine().client();
    process::succeed(
        build
            .args(["build", "--quiet", "--tag", &image])
            .arg(t.folder().join("outer")),
    );
    let socket = t.engine().host().strip_prefix("unix://").expect("a socket");
    let repository = app.repository.path().display().to_string();
    let run = t.program("docker", ["run", "--rm", "--volume"]);
    let run = run
        .arg(format!("{socket}:/var/run/docker.sock"))
        .arg(&image);
    let run = run.args([
        "docker",
        "run",
        "--rm",
        "--network",
        "host",
        "--workdir",
        "/inner",
    ]);
    let mut run = run;
    for volume in [
        format!("{socket}:/var/run/docker.sock"),
        format!("{repository}:{repository}"),
        format!("{}:/inner", t.dir().display()),
    ] {
        run = run.arg("--volume").arg(volume);
    }
    run.args([image_of_xp(t), "build"]).success();
    assert!(app.export("made").exists());
}

fn the_doctor_lists_mounts_and_their_sources(t: &Context) {
    let app = App::with_scripts(t, "", &["touch made"]);
    let volume = format!("{}:/w", t.dir().display());
    contained(
        t,
        &app,
        &["--volume", &volume, "--workdir", "/w"],
        ["doctor", "--verbose"],
    )
    .run()
    .stdout_contains(&format!(
        "/w is {} on the engine's machine",
        t.dir().display()
    ));
    let manifest = format!(
        "{}:/w/x-platform.yml",
        t.dir().join("x-platform.yml").display()
    );
    contained(
        t,
        &app,
        &["--volume", &manifest, "--workdir", "/w"],
        ["doctor"],
    )
    .failure(3)
    .stdout_contains("the engine cannot mount /w: xp runs in the container ");
}
