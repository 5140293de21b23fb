//! An engine that cannot see this machine's files, over TLS, over ssh, and with Docker contexts.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::app::{App, build_keys};
use crate::case::Case;
use crate::context::Context;
use crate::process;
use crate::wait::wait_until;
use crate::working_copy::User;
use crate::world::Engine;
use crate::xp::Xp;

pub const CASES: &[Case] = cases![
    local_and_remote_images_are_identical,
    engines_over_ssh_work_and_errors_are_explained,
    docker_contexts_are_used,
    caches_persist_and_mounts_are_copied,
    unsupported_settings_are_reported,
    a_failing_script_leaves_no_leftovers,
    a_kill_leaves_no_leftovers,
    files_of_another_user_are_copied_back_as_the_callers,
    git_objects_are_sent_once,
    working_copies_stay_incremental,
    concurrent_edits_are_kept,
    commands_run_on_uploaded_files_and_copy_them_back,
    links_created_by_scripts_are_not_followed,
    a_removed_container_does_not_delete_local_files,
    results_that_cannot_be_written_stay_in_the_container,
    a_context_can_be_a_symlink,
];

/// Makes a command use the remote engine over TLS.
pub fn far(t: &Context, xp: Xp) -> Xp {
    let (engine, port) = t.remote_engine();
    engine.busybox();
    xp.env("DOCKER_HOST", format!("tcp://127.0.0.1:{port}"))
        .env("DOCKER_TLS_VERIFY", "1")
        .env("DOCKER_CERT_PATH", t.client_certificate())
}

/// Returns this test's containers in the remote engine.
fn containers(t: &Context) -> usize {
    let containers = t.remote_engine().0.containers(&[]);
    let marks = [t.folder().display().to_string(), t.prefix().to_owned()];
    let text = containers.iter().map(ToString::to_string);
    text.filter(|text| marks.iter().any(|mark| text.contains(mark)))
        .count()
}

/// Returns this test's volumes in the remote engine: those of builds, and the persistent ones.
fn volumes(t: &Context) -> (Vec<String>, Vec<String>) {
    let cache_dir = t.dir().join(".xp").display().to_string();
    let number = number(t);
    let engine = &t.remote_engine().0;
    let of_builds = format!("label=x-platform.folder={number}:{cache_dir}");
    let kept = format!("label=x-platform.cache={}", t.dir().display());
    (engine.volumes(&of_builds), engine.volumes(&kept))
}

/// Returns the remote engine's identifier for this test's `cacheDir`.
fn number(t: &Context) -> String {
    let number = fs::read_to_string(t.dir().join(".xp/remote/number"));
    number.expect("something was built").trim().to_owned()
}

/// Returns this test's only container in the remote engine.
fn container(t: &Context) -> String {
    let folder = t.dir().display().to_string();
    let containers = t.remote_engine().0.containers(&[]);
    let mut own = containers
        .iter()
        .filter(|it| it.to_string().contains(&folder));
    let id = own.next().expect("it is there")["Id"].as_str();
    assert!(own.next().is_none(), "there are more");
    id.expect("an id").to_owned()
}

#[track_caller]
pub fn assert_nothing_left(t: &Context) {
    wait_until("no container is left", || containers(t) == 0);
    wait_until("no volume of a build is left", || volumes(t).0.is_empty());
}

/// Returns the contents of an image below `/src`: names, kinds, modes, and digests.
fn content(engine: &Engine, image: &str) -> String {
    let list = "cd /src; find . | sort | while read -r f; do stat -c '%n %F %a %u:%g' \"$f\"; \
                if [ -L \"$f\" ]; then readlink \"$f\"; elif [ -f \"$f\" ]; then sha256sum \"$f\"; fi; done";
    engine.run(image, ["sh", "-c", list])
}

/// A script that creates every kind of file that can be in an image.
const CREATE_ALL_KINDS: &str = "sed -i s/one/two/ same-size; rm gone; rm -r folder; echo file > folder\n\
    mkdir -p out/empty 'out/with space'; echo x > \"out/with space/$(printf 'd%.0s' $(seq 90))\"\n\
    ln -s /etc/passwd out/absolute; ln -s ../same-size out/relative; ln out/hard1 out/hard2 2>/dev/null || { echo h > out/hard1; ln out/hard1 out/hard2; }\n\
    printf '#!/bin/sh\\n' > out/run; chmod 750 out/run; chmod 600 private; chmod 700 deep\n\
    dd if=/dev/urandom of=out/random bs=1M count=1 2>/dev/null; rm out/random; dd if=/dev/zero of=out/big bs=1M count=16 2>/dev/null\n\
    (sleep 1000 &) ; cat .git/HEAD > out/commit; [ -d .git/objects ] && ls /workspace > out/ls";

fn local_and_remote_images_are_identical(t: &Context) {
    let long = format!("deep/{}/{}", "a".repeat(80), "b".repeat(80));
    let files = [
        ("same-size", "one\n"),
        ("gone", "x"),
        ("folder/file", "x"),
        ("private", "x"),
        ("run", "#!/bin/sh\n"),
        (long.as_str(), "long"),
        ("umläut/ß", "x"),
    ];
    let app = App::new(t, &files, "");
    app.set_scripts("", &CREATE_ALL_KINDS.split('\n').collect::<Vec<_>>());
    let output = app.build().success();
    assert!(!output.stderr.contains("sent"), "{output}");
    let near = content(t.engine(), &app.image_of_head());
    assert!(
        near.contains("./out/empty directory") && near.contains("/etc/passwd"),
        "{near}"
    );

    let (engine, _) = t.remote_engine();
    let mount = format!("type=bind,src={},dst=/x", t.dir().display());
    let refused = engine.docker(["create", "--mount", &mount, engine.busybox()]);
    assert!(
        !refused.status.success(),
        "the far engine sees this machine"
    );
    far(t, app.build()).success();
    assert_eq!(content(engine, &app.image_of_head()), near);
    assert_nothing_left(t);
    // The same over ssh.
    engine.remove_image(&app.image_of_head());
    by_ssh(t, app.build(), "").success();
    assert_eq!(content(engine, &app.image_of_head()), near);
    assert_nothing_left(t);
    // The local engine has no volume of any of them.
    assert_eq!(t.engine().volumes("label=x-platform.cache"), [""; 0]);
}

/// Makes a command use the remote engine over ssh, with these additional ssh options.
fn by_ssh(t: &Context, xp: Xp, options: &str) -> Xp {
    let (engine, _) = t.remote_engine();
    engine.busybox();
    let socket = engine.host().strip_prefix("unix://").expect("a socket");
    let port = t.sshd().port();
    xp.env("DOCKER_HOST", format!("ssh://127.0.0.1:{port}{socket}"))
        .env("PATH", path_with_ssh(t, options))
}

/// Returns a `PATH` with an `ssh` that uses the test server's configuration, because ssh itself ignores
/// `HOME`.
fn path_with_ssh(t: &Context, options: &str) -> String {
    let folder = t.folder().join("ssh-bin");
    let real = process::succeed(Command::new("sh").args(["-c", "command -v ssh"]));
    let configuration = t.sshd().client_configuration();
    let script = format!(
        "#!/bin/sh\nexec {} -F '{}' {options} \"$@\"\n",
        real.trim(),
        configuration.display()
    );
    crate::repository::write_file(&folder.join("ssh"), &script);
    format!(
        "{}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        folder.display()
    )
}

fn engines_over_ssh_work_and_errors_are_explained(t: &Context) {
    let app = App::with_scripts(t, "", &["echo made > made"]);
    by_ssh(t, app.build(), "").success();
    let program = [
        "run",
        "app",
        "--",
        "sh",
        "-c",
        "tty > /dev/null && echo is one; read line; echo got $line; exit 3",
    ];
    let mut terminal = by_ssh(t, t.xp(program), "").in_terminal(80, 24);
    terminal.wait_for("is one");
    terminal.type_keys("hello\r");
    terminal.wait_for("got hello");
    assert_eq!(terminal.wait().0.code(), Some(3));
    assert_nothing_left(t);

    by_ssh(t, t.xp(["build", "--force"]), "-o UserKnownHostsFile=none")
        .failure(3)
        .stderr_contains("cannot connect to the container engine")
        .stderr_contains("Host key verification failed")
        .stderr_contains("ssh-keyscan -p");
    by_ssh(t, t.xp(["build", "--force"]), "-o PubkeyAuthentication=no")
        .failure(3)
        .stderr_contains("Permission denied (publickey")
        .stderr_contains("must work without a prompt");
    let port = t.sshd().port();
    t.xp(["build", "--force"])
        .env("PATH", path_with_ssh(t, ""))
        .env(
            "DOCKER_HOST",
            format!("ssh://127.0.0.1:{port}/nowhere.sock"),
        )
        .failure(3)
        .stderr_contains("start the engine on 127.0.0.1");
    let empty = t.folder().join("no-ssh");
    fs::create_dir_all(&empty).expect("a folder");
    by_ssh(t, t.xp(["build", "--force"]), "")
        .env("PATH", empty)
        .failure(3)
        .stderr_contains("failed to run `ssh`")
        .stderr_contains("install the OpenSSH client");
    let closed = t.closed_port();
    t.xp(["build", "--force"])
        .env("PATH", path_with_ssh(t, ""))
        .env("DOCKER_HOST", format!("ssh://127.0.0.1:{closed}"))
        .failure(3)
        .stderr_contains("Connection refused");
    t.xp(["build"])
        .env("DOCKER_HOST", "ssh://bob:secret@host")
        .failure(2)
        .stderr_contains("ssh://user@host");
}

/// Creates a context with Docker itself.
fn create_context(t: &Context, name: &str) {
    let (_, port) = t.remote_engine();
    let tls = t.client_certificate().display();
    let engine = format!(
        "host=tcp://127.0.0.1:{port},ca={tls}/ca.pem,cert={tls}/cert.pem,key={tls}/key.pem"
    );
    process::succeed(
        Command::new("docker")
            .env("DOCKER_CONFIG", t.docker_config())
            .env_remove("DOCKER_HOST")
            .args(["context", "create", name, "--docker", &engine]),
    );
}

fn docker_contexts_are_used(t: &Context) {
    let app = App::with_scripts(t, "", &["echo made > made"]);
    let (engine, _) = t.remote_engine();
    engine.busybox();
    create_context(t, "far");
    let with_context = |xp: Xp| xp.env_remove("DOCKER_HOST").env("DOCKER_CONTEXT", "far");
    with_context(app.build()).success();
    assert!(engine.image(&app.image_of_head()).is_some());
    assert!(!app.is_built(), "DOCKER_HOST overrules a context");
    // A terminal over TLS.
    let program = [
        "run",
        "app",
        "--",
        "sh",
        "-c",
        "stty size; read line; echo got $line",
    ];
    let mut terminal = with_context(t.xp(program)).in_terminal(91, 23);
    terminal.wait_for("23 91");
    terminal.type_keys("hello\r");
    terminal.wait_for("got hello");
    assert!(terminal.wait().0.success());
    assert_nothing_left(t);
    // Same as `docker context use`.
    process::succeed(
        Command::new("docker")
            .env("DOCKER_CONFIG", t.docker_config())
            .env_remove("DOCKER_HOST")
            .args(["context", "use", "far"]),
    );
    t.xp(["doctor"])
        .env_remove("DOCKER_HOST")
        .args(["-v"])
        .run()
        .stdout_contains("Docker context `far`");
    with_context(t.xp(["build"]))
        .env("DOCKER_CONTEXT", "fra")
        .failure(2)
        .stderr_contains("docker context `fra` not found (set by DOCKER_CONTEXT)")
        .stderr_contains("did you mean `far`?");
    // A certificate not signed by the engine's authority is rejected.
    t.xp(["build"])
        .env(
            "DOCKER_HOST",
            format!("tcp://127.0.0.1:{}", t.remote_engine().1),
        )
        .env("DOCKER_TLS_VERIFY", "1")
        .env("DOCKER_CERT_PATH", t.folder())
        .failure(2)
        .stderr_contains("ca.pem cannot be read");
}

fn caches_persist_and_mounts_are_copied(t: &Context) {
    fs::write(t.home().join("token"), "secret token\n").expect("a file");
    let files = [("web/page", "x"), ("web/modules/of-host", "x")];
    let app = App::new(t, &files, "");
    let keys = "cache: [/home/xp/cache, /workspace/web/modules]\nmounts: ['~/token:/run/token:ro', '~/token:/workspace/token:ro']\nuser: '1234:1234'";
    let script = "cat /home/xp/cache/kept || true; cat /run/token token; id -u; echo from before > /home/xp/cache/kept; \
                  echo m > web/modules/m; mkdir -p other; [ ! -e web/modules/fresh ]; [ ! -e web/modules/of-host ]";
    app.set_scripts(keys, &[script]);
    far(t, app.build()).success().stdout_contains("built");
    app.set_scripts(&format!("{keys}\nenv: {{ A: b }}"), &[script]);
    let second = far(t, app.build()).success();
    let log = String::from_utf8(app.log(2, "build")).expect("text");
    assert!(
        log.contains("from before\nsecret token\nsecret token\n1234"),
        "{second}\n{log}"
    );
    let content = content(&t.remote_engine().0, &app.image_of_head());
    assert!(
        content.contains("./web/page") && content.contains("./other"),
        "{content}"
    );
    // Same as with an engine that mounts them.
    assert!(
        !content.contains("modules/m") && !content.contains("token"),
        "{content}"
    );
    let (of_builds, kept) = volumes(t);
    assert!(of_builds.is_empty(), "{of_builds:?}");
    let caches = kept.iter().filter(|name| name.starts_with("xp-cache-app-"));
    assert_eq!(caches.count(), 2, "{kept:?}");
}

fn unsupported_settings_are_reported(t: &Context) {
    fs::write(t.home().join("token"), "x").expect("a file");
    let app = App::with_scripts(t, "mounts: ['~/token:/run/token']", &["true"]);
    far(t, app.build())
        .failure(1)
        .stderr_contains("the mount at /run/token is writable, but the engine at tcp://")
        .stderr_contains("SRC:DST:ro");
    app.set_scripts("ssh: true", &["true"]);
    let agent = t.folder().join("agent");
    let _agent = UnixListener::bind(&agent).expect("a socket");
    far(t, app.build())
        .env("SSH_AUTH_SOCK", &agent)
        .failure(1)
        .stderr_contains("`ssh: true` forwards the ssh agent of this machine");
    // The socket is the one on the engine's machine, for users with access to it.
    app.set_scripts(
        "socket: true\nuser: '1234:1234'",
        &["[ -w /var/run/docker.sock ] && ls -ln /var/run/docker.sock"],
    );
    let socket = t.remote_engine().0.host().replace("unix://", "");
    process::succeed(Command::new("chgrp").args(["4321", &socket]));
    process::succeed(Command::new("chmod").args(["660", &socket]));
    far(t, app.build()).success();
    assert!(String::from_utf8_lossy(&app.log(3, "build")).contains("4321"));
    assert_nothing_left(t);
}

fn a_failing_script_leaves_no_leftovers(t: &Context) {
    let app = App::with_scripts(t, "", &["echo half > half", "exit 7"]);
    let output = far(t, app.build()).failure(1);
    assert!(output.stderr.contains("`exit 7` exited with 7"), "{output}");
    assert!(!output.stderr.contains("docker run"), "{output}");
    assert_nothing_left(t);
}

fn a_kill_leaves_no_leftovers(t: &Context) {
    let app = App::with_scripts(t, "", &["echo begun; sleep 1000"]);
    let mut running = far(t, app.build()).spawn();
    running.wait_for_output("app | begun");
    assert_eq!((containers(t), volumes(t).0.len()), (1, 1));
    running.kill();
    assert_nothing_left(t);
    // A run that was killed before its container started.
    let (engine, _) = t.remote_engine();
    let label = format!(
        "x-platform.folder={}:{}",
        number(t),
        t.dir().join(".xp").display()
    );
    let volume = format!("type=volume,dst=/workspace,volume-label={label}");
    let created = engine.docker([
        "create",
        "--label",
        &label,
        "--mount",
        &volume,
        engine.busybox(),
    ]);
    assert!(created.status.success());
    assert_eq!((containers(t), volumes(t).0.len()), (1, 1));
    app.set_scripts("", &["echo begun; sleep 1000; echo more"]);
    let mut running = far(t, app.build()).spawn();
    running.wait_for_output("app | begun");
    assert_eq!((containers(t), volumes(t).0.len()), (1, 1));
    running.signal(rustix::process::Signal::INT);
    let output = running.wait();
    assert_eq!(output.status.code(), Some(130), "{output}");
    assert_nothing_left(t);
}

fn files_of_another_user_are_copied_back_as_the_callers(t: &Context) {
    use std::os::unix::fs::MetadataExt as _;
    let app = App::with_scripts(
        t,
        "user: '1234:5678'",
        &[
            "id -u > made; id -g >> made; echo x >> Dockerfile.copy; mkdir closed; echo x > closed/x; chmod 500 closed",
        ],
    );
    far(t, app.build()).success();
    assert_eq!(app.read("made"), "1234\n5678\n");
    let metadata = fs::metadata(app.export("made")).expect("it is there");
    assert_eq!(metadata.uid(), rustix::process::getuid().as_raw());
    // The next build recreates it, regardless of its modes.
    app.repository.commit(&[("file", "2")], "Second");
    far(t, app.build()).success();
}

fn git_objects_are_sent_once(t: &Context) {
    let large: String = (0..40_000)
        .map(|number| format!("{:x}", number * 7919))
        .collect();
    let app = App::with_scripts(
        t,
        "",
        &["ls /run/xp-objects/0 > objects; cat .git/objects/info/alternates >> objects"],
    );
    app.repository.commit(&[("large", &large)], "Large");
    far(t, app.build()).success();
    assert!(app.read("objects").ends_with("/run/xp-objects/0\n"));
    let (_, kept) = volumes(t);
    assert_eq!(kept.len(), 1, "{kept:?}");
    let (engine, _) = t.remote_engine();
    let mount = format!("{}:/o", kept[0]);
    let times = || {
        let list = [
            "-c",
            "cd /o; find . -type f -exec stat -c '%n %y' {} + | sort",
        ];
        let mut run = engine.client();
        process::succeed(
            run.args([
                "run",
                "--rm",
                "--network",
                "none",
                "-v",
                &mount,
                engine.busybox(),
                "sh",
            ])
            .args(list),
        )
    };
    let before = times();
    assert!(before.lines().count() > 0);
    app.repository.commit(&[("file", "2")], "Second");
    far(t, app.build()).success();
    let after = times();
    assert!(
        before.lines().all(|line| after.contains(line)),
        "{before}\n{after}"
    );
    assert!(
        after.lines().count() > before.lines().count(),
        "{before}\n{after}"
    );
    // The volume was removed: all objects are sent again.
    process::succeed(engine.client().args(["volume", "rm", &kept[0]]));
    app.repository.commit(&[("file", "3")], "Third");
    far(t, app.build()).success();
    assert!(times().lines().count() > after.lines().count());
}

/// A service with a cloned working copy and a script that works like a compiler.
fn compiled(t: &Context) -> (App<'_>, User<'_>) {
    let app = App::new(
        t,
        &[(".gitignore", "*.o\n"), ("a.c", "a\n"), ("b.c", "b\n")],
        "",
    );
    app.set_scripts("", &["for f in a b; do [ $f.o -nt $f.c ] || { sleep 1; cp $f.c $f.o; echo compiled $f; }; done"]);
    t.xp(["sync"]).success();
    (app, User::new(t, "app"))
}

fn working_copies_stay_incremental(t: &Context) {
    let (app, user) = compiled(t);
    let build = || far(t, t.xp(["build", "--local", "-v"])).success();
    let first = build();
    assert!(
        first.stderr.contains("compiled a") && first.stderr.contains("compiled b"),
        "{first}"
    );
    assert_eq!(t.read("src/app/a.o"), "a\n");
    user.write("b.c", "bb\n");
    let second = build();
    assert!(
        !second.stderr.contains("compiled a") && second.stderr.contains("compiled b"),
        "{second}"
    );
    assert_eq!(t.read("src/app/b.o"), "bb\n");
    assert_eq!(user.git(&["status", "--porcelain"]).trim(), "M b.c");
    assert!(!t.exists("src/app/.git/objects/info/alternates"));
    assert_nothing_left(t);
    drop(app);
}

fn concurrent_edits_are_kept(t: &Context) {
    let (app, user) = compiled(t);
    app.set_scripts("", &["echo script > a.c; echo script > b.c; echo made > made.o; rm -f c.o; echo begun; until [ -e /tmp/go ]; do sleep 0.1; done"]);
    user.write("c.o", "old");
    let mut running = far(t, t.xp(["build", "--local"])).spawn();
    running.wait_for_output("app | begun");
    user.write("a.c", "edited\n");
    user.write("c.o", "edited too");
    user.write("new.o", "new");
    let (engine, _) = t.remote_engine();
    let id = container(t);
    assert!(
        engine
            .docker(["exec", &id, "touch", "/tmp/go"])
            .status
            .success()
    );
    let output = running.wait();
    assert!(output.status.success(), "{output}");
    assert!(
        output
            .stderr
            .contains("a.c changed both on this machine and in the builder"),
        "{output}"
    );
    assert_eq!(t.read("src/app/a.c"), "edited\n");
    assert_eq!(t.read("src/app/b.c"), "script\n");
    assert_eq!(t.read("src/app/c.o"), "edited too");
    assert_eq!(t.read("src/app/new.o"), "new");
    assert_eq!(t.read("src/app/made.o"), "made\n");
}

fn commands_run_on_uploaded_files_and_copy_them_back(t: &Context) {
    let (_app, user) = compiled(t);
    user.write("a.c", "uncommitted\n");
    let run = [
        "run",
        "app",
        "--",
        "sh",
        "-c",
        "cat a.c; echo made > made; rm b.c; exit 4",
    ];
    far(t, t.xp(run)).failure(4).stdout_contains("uncommitted");
    assert_eq!(t.read("src/app/made"), "made\n");
    assert!(!t.exists("src/app/b.c"));
    assert_nothing_left(t);
}

fn links_created_by_scripts_are_not_followed(t: &Context) {
    let outside = t.folder().join("outside");
    fs::create_dir_all(&outside).expect("a folder");
    fs::write(outside.join("file"), "precious").expect("a file");
    let app = App::new(t, &[("folder/file", "x")], "");
    let link = format!(
        "rm -r folder; ln -s {} folder; ln -s {}/file Dockerfile.link",
        outside.display(),
        outside.display()
    );
    app.set_scripts("", &[&link]);
    far(t, app.build()).success();
    let (engine, _) = t.remote_engine();
    let content = content(engine, &app.image_of_head());
    assert!(
        content.contains("./folder symbolic link") && !content.contains("./folder/file"),
        "{content}"
    );
    // The working copy of the next commit is recreated, and no link was followed.
    app.repository.commit(&[("folder/file", "y")], "Second");
    far(t, app.build()).success();
    assert_eq!(
        fs::read_to_string(outside.join("file")).expect("it is there"),
        "precious"
    );
    let names: Vec<PathBuf> = fs::read_dir(&outside)
        .expect("it is there")
        .flatten()
        .map(|it| it.path())
        .collect();
    assert_eq!(names, [Path::new(&outside).join("file")]);
}

fn a_removed_container_does_not_delete_local_files(t: &Context) {
    let (app, user) = compiled(t);
    app.set_scripts("", &["echo begun; sleep 1000"]);
    user.write("folder/mine", "not committed");
    let files = || {
        let list = [
            "-c",
            "find . -path ./.git -prune -o -type f -exec md5sum {} + | sort",
        ];
        process::succeed(
            Command::new("sh")
                .args(list)
                .current_dir(t.dir().join("src/app")),
        )
    };
    let before = files();
    assert!(before.contains("./a.c") && before.contains("./folder/mine"));
    let run = ["run", "app", "--", "sh", "-c", "echo begun; sleep 1000"];
    for (xp, begun) in [
        (t.xp(["build", "--local"]), "app | begun"),
        (t.xp(run), "begun"),
    ] {
        let mut running = far(t, xp).spawn();
        running.wait_for_output(begun);
        let removed = t.remote_engine().0.docker(["rm", "-f", &container(t)]);
        assert!(removed.status.success());
        let output = running.wait();
        assert!(!output.status.success(), "{output}");
        assert!(output.stderr.contains("exited while"), "{output}");
        assert_eq!(files(), before, "{output}");
        assert_nothing_left(t);
    }
}

/// A small file system that exists until this is dropped.
struct Small(PathBuf);

impl Small {
    fn new(at: PathBuf) -> Self {
        fs::create_dir_all(&at).expect("a folder");
        let options = ["-t", "tmpfs", "-o", "size=64k", "small"];
        process::succeed(Command::new("mount").args(options).arg(&at));
        Self(at)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        _ = Command::new("umount").arg(&self.0).status();
    }
}

fn results_that_cannot_be_written_stay_in_the_container(t: &Context) {
    let (app, _) = compiled(t);
    let small = Small::new(t.dir().join("src/app/small"));
    let program = "dd if=/dev/zero of=small/big bs=1M count=1 2>/dev/null; echo made > made";
    let output = far(t, t.xp(["run", "app", "--", "sh", "-c", program])).failure(1);
    let id = container(t)[..12].to_owned();
    let copy = format!("`docker cp {id}:/workspace app-{id}`");
    assert!(output.stderr.contains(&copy), "{output}");
    assert!(
        output.stderr.contains("cannot copy the results"),
        "{output}"
    );
    drop(small);
    // The next build does not touch it, and the printed command works.
    far(t, t.xp(["build"])).success();
    let copy: Vec<&str> = copy.trim_matches('`').split(' ').skip(1).collect();
    let mut client = t.remote_engine().0.client();
    process::succeed(client.args(copy).current_dir(t.dir()));
    assert_eq!(t.read(&format!("app-{id}/made")), "made\n");
    assert_eq!(t.read(&format!("app-{id}/small/big")).len(), 1 << 20);
    let removed = t.remote_engine().0.docker(["rm", "-fv", &id]);
    assert!(removed.status.success());
    assert_nothing_left(t);
    // For a build, the error says that the results are lost.
    let _small = Small::new(t.dir().join("src/app/small"));
    app.set_scripts(
        "",
        &["dd if=/dev/zero of=small/big bs=1M count=2 2>/dev/null"],
    );
    let output = far(t, t.xp(["build", "--local"])).failure(1);
    assert!(
        output.stderr.contains("were not copied back are lost"),
        "{output}"
    );
    assert_nothing_left(t);
}

fn a_context_can_be_a_symlink(t: &Context) {
    let files = [("real/file", "x")];
    let app = App::new(t, &files, "");
    let dockerfile = format!("FROM {}\nCOPY . /src\n", t.engine().busybox());
    let link = app.repository.clone_path().join("linked");
    std::os::unix::fs::symlink("real", link).expect("a link");
    app.repository
        .commit(&[("real/Dockerfile", &dockerfile)], "Link");
    let context = "docker: { image: IMAGE, context: linked, file: linked/Dockerfile }";
    let keys = build_keys(t, "", &["echo made > real/made"]);
    app.set_keys(&format!(
        "{keys}\n{}",
        context.replace("IMAGE", &app.image())
    ));
    app.build().success();
    let near = content(t.engine(), &app.image_of_head());
    assert!(near.contains("./made"), "{near}");
    far(t, app.build()).success();
    let (engine, _) = t.remote_engine();
    assert_eq!(content(engine, &app.image_of_head()), near);
    // A script may replace a folder with one, too.
    app.repository.commit(&[("real/file", "y")], "Second");
    let keys = build_keys(
        t,
        "",
        &["mv real moved; ln -s moved real; echo made > moved/made"],
    );
    let context = context.replace("linked", "real");
    app.set_keys(&format!(
        "{keys}\n{}",
        context.replace("IMAGE", &app.image())
    ));
    app.build().success();
    let near = content(t.engine(), &app.image_of_head());
    far(t, app.build()).success();
    assert_eq!(content(engine, &app.image_of_head()), near);
}
