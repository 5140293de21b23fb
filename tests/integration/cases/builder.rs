//! Builder containers: the environment of scripts, and cleanup.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::app::App;
use crate::case::Case;
use crate::context::Context;
use crate::process;
use crate::wait::wait_until;
use crate::xp::Xp;

pub const CASES: &[Case] = cases![
    scripts_have_the_documented_environment,
    scripts_run_as_the_caller,
    scripts_of_root_leave_no_files_owned_by_root,
    scripts_can_write_as_a_configured_user,
    file_ownership_is_restored_after_a_kill,
    caches_persist,
    ssh_agent_is_forwarded_if_requested,
    limits_mounts_and_socket_are_set_on_the_container,
    each_build_uses_one_container_and_removes_it,
    leftover_containers_are_removed,
    image_without_a_shell_is_reported,
    paths_can_contain_colons,
];

/// A user that exists neither in images nor on the machine.
const UNKNOWN_UID: u32 = 12345;

fn scripts_have_the_documented_environment(t: &Context) {
    let lines = [
        "id -u > user; id -un >> user; echo $HOME >> user; touch $HOME/file; pwd >> user",
        "env | sort > variables",
        "cat .git/HEAD > head; ls .git/objects | wc -l > objects",
        "! touch .git/file; ! touch .git/objects/file; ! touch .git/HEAD",
        "ip -o link | wc -l > links",
        "cat > input; test ! -s input",
        "test ! -e /var/run/docker.sock",
    ];
    let keys = "workdir: /go/src/app\nenv: { COLOUR: \"${{ env.COLOUR }} $X\" }";
    let app = App::with_scripts(t, keys, &lines);
    app.build().env("COLOUR", "red").success();

    assert_eq!(app.read("user"), "0\nroot\n/root\n/go/src/app\n");
    let commit = app.repository.head();
    assert_eq!(app.read("head").trim(), commit);
    assert_ne!(app.read("objects").trim(), "0");
    assert_eq!(app.read("links").trim(), "1", "only the loopback interface");
    let time = app.repository.git(&["log", "-1", "--format=%ct"]);
    let variables = app.read("variables");
    for line in [
        "CI=true".to_owned(),
        "COLOUR=red $X".to_owned(),
        format!("SOURCE_DATE_EPOCH={time}"),
        "XP_BRANCH=master".to_owned(),
        format!("XP_COMMIT={commit}"),
        format!("XP_IMAGE={}", app.image_of_head()),
        "XP_SERVICE=app".to_owned(),
    ] {
        assert!(
            variables.lines().any(|found| found == line),
            "{line}: {variables}"
        );
    }
    // The image contains the scripts' output, but not the mount points of the builder.
    let list = t.engine().run(&app.image_of_head(), ["ls", "-A", "/src"]);
    assert!(
        list.contains("variables") && !list.contains(".git"),
        "{list}"
    );
    assert_eq!(t.containers(), [Value::Null; 0]);
}

fn scripts_run_as_the_caller(t: &Context) {
    let lines = [
        "id -u > user; id -g >> user; whoami >> user; echo $HOME >> user",
        "touch $HOME/file $HOME/.cache/other /cache/file; mkdir -p below; touch below/file",
    ];
    let keys = "cache: [ /home/xp/.cache/go-build, /cache ]";
    let app = App::with_scripts(t, keys, &lines);
    as_unknown_user(t, &app, ["build"]).success();
    assert_eq!(app.read("user"), "12345\n12345\nxp\n/home/xp\n");
    assert_owned_by(&t.dir(), UNKNOWN_UID);
    // The same user can replace all of it.
    as_unknown_user(t, &app, ["build", "--force"]).success();
}

fn scripts_of_root_leave_no_files_owned_by_root(t: &Context) {
    let keys = "user: root\ncache: [ /cache ]";
    let app = App::with_scripts(t, keys, &["id -u > user; touch /cache/file"]);
    as_unknown_user(t, &app, ["build"]).success();
    assert_eq!(app.read("user"), "0\n");
    assert_owned_by(&t.dir(), UNKNOWN_UID);

    app.set_scripts(keys, &["mkdir below; touch below/file; exit 3"]);
    as_unknown_user(t, &app, ["build", "--force"]).failure(1);
    assert!(app.export("below/file").exists());
    assert_owned_by(&t.dir(), UNKNOWN_UID);
}

fn scripts_can_write_as_a_configured_user(t: &Context) {
    let keys = "user: \"4321:4322\"\ncache: [ /cache ]";
    let lines =
        ["id -u > user; id -g >> user; touch /cache/file $HOME/file; echo x >> Dockerfile.copy"];
    let app = App::with_scripts(t, keys, &lines);
    as_unknown_user(t, &app, ["build"]).success();
    assert_eq!(app.read("user"), "4321\n4322\n");
    assert_owned_by(&t.dir(), UNKNOWN_UID);
}

fn file_ownership_is_restored_after_a_kill(t: &Context) {
    let script = "mkdir below; touch below/file; (while :; do date > below/later; done) & \
        echo made; sleep 1000";
    let app = App::with_scripts(t, "user: root", &[script]);
    let mut running = as_unknown_user(t, &app, ["build"]).spawn();
    running.wait_for_output("app | made");
    running.kill();
    wait_until("the container is gone", || t.containers().is_empty());
    assert!(app.export("below/file").exists());
    assert_owned_by(&t.dir(), UNKNOWN_UID);

    app.set_scripts("user: root", &["touch again"]);
    as_unknown_user(t, &app, ["build"]).success();
    assert!(!app.export("below").exists());
}

fn caches_persist(t: &Context) {
    let keys = "workdir: /work\ncache: [ /cache/one, /work/node_modules ]";
    let lines = [
        "test ! -e /cache/one/file || echo found > cache-was-there",
        "echo kept > /cache/one/file; echo kept > node_modules/file",
    ];
    let app = App::with_scripts(t, keys, &lines);
    app.build().success();
    assert!(!app.export("cache-was-there").exists());
    app.build().arg("--force").success();
    assert_eq!(app.read("cache-was-there"), "found\n");
    let list = t.engine().run(&app.image_of_head(), ["find", "/src"]);
    assert!(
        !list.contains("node_modules"),
        "a cache is no part of the source: {list}"
    );
}

fn ssh_agent_is_forwarded_if_requested(t: &Context) {
    let socket = t.folder().join("agent.sock");
    let _agent = UnixListener::bind(&socket).expect("a socket");
    let app = App::with_scripts(t, "ssh: true", &["test -S $SSH_AUTH_SOCK"]);
    app.build().env("SSH_AUTH_SOCK", &socket).success();
    let output = app.build().arg("--force").failure(2);
    output
        .stderr_contains("`dockerBuilder.ssh` requires an ssh agent, but SSH_AUTH_SOCK is not set")
        .stderr_contains("hint: start one with `eval $(ssh-agent)`");
    app.set_scripts("", &["test -z \"${SSH_AUTH_SOCK-}\""]);
    let build = app.build().arg("--force").env("SSH_AUTH_SOCK", &socket);
    build.success();
}

fn limits_mounts_and_socket_are_set_on_the_container(t: &Context) {
    t.write("extra/file", "extra");
    t.write("../home/own/file", "own");
    let keys = "memory: 64m\ncpus: 0.5\nsocket: true\nnetwork: host\n\
        mounts: [ \"EXTRA:/extra\", \"~/own:/own:ro\", \"~/own/file:/workspace/config:ro\" ]";
    let extra = t.dir().join("extra").display().to_string();
    let keys = &keys.replace("EXTRA", &extra);
    let lines = [
        "cat /extra/file /own/file config > read; echo written > /extra/new; ! touch /own/new",
        "test -S /var/run/docker.sock && test -w /var/run/docker.sock",
        "echo waiting; until [ -e go ]; do sleep 0.1; done",
    ];
    let app = App::with_scripts(t, keys, &lines);
    let mut running = app.build().spawn();
    running.wait_for_output("app | waiting");
    let containers = t.containers();
    assert_eq!(containers.len(), 1);
    let host = &containers[0]["HostConfig"];
    assert_eq!(host["Memory"], 64 * 1024 * 1024);
    assert_eq!(host["NanoCpus"], 500_000_000);
    assert_eq!(host["NetworkMode"], "host");
    assert_eq!(host["Init"], true);
    fs::write(app.export("go"), "").expect("the export can be written");
    let output = running.wait();
    assert!(output.status.success(), "{output}");
    assert_eq!(app.read("read"), "extraownown");
    assert_eq!(t.read("extra/new"), "written\n");

    app.set_scripts("mounts: [ \"~/missing:/extra\" ]", &["true"]);
    app.build()
        .arg("--force")
        .failure(1)
        .stderr_contains("/missing at /extra: it does not exist");
    assert!(
        !t.home().join("missing").exists(),
        "no folder is made for it"
    );

    app.set_scripts("memory: 16m", &["echo grow; tail /dev/zero"]);
    let output = app.build().arg("--force").failure(1);
    output.stderr_contains("memory");
    assert_eq!(t.containers(), [Value::Null; 0]);
}

fn each_build_uses_one_container_and_removes_it(t: &Context) {
    let mut lines = vec!["hostname > first"; 3];
    lines.push("hostname > second; cmp first second; sleep 300 & echo in the background");
    let app = App::with_scripts(t, "", &lines);
    // A background process of a script does not delay anything.
    app.build().success();
    assert_eq!(t.containers(), [Value::Null; 0]);

    app.set_scripts("", &["sleep 300 & exit 4"]);
    app.build().arg("--force").failure(1);
    assert_eq!(t.containers(), [Value::Null; 0]);

    app.set_scripts("", &["echo begun; sleep 1000"]);
    for signal in [Signal::INT, Signal::TERM] {
        let mut running = app.build().arg("--force").spawn();
        running.wait_for_output("app | begun");
        assert_eq!(t.containers().len(), 1);
        running.signal(signal);
        assert_eq!(running.wait().status.code(), Some(130));
        assert_eq!(t.containers(), [Value::Null; 0]);
    }

    let mut running = app.build().arg("--force").spawn();
    running.wait_for_output("app | begun");
    running.kill();
    wait_until("the container is gone", || t.containers().is_empty());
}

fn leftover_containers_are_removed(t: &Context) {
    let app = App::with_scripts(t, "", &["true"]);
    // Simulates a run that was killed between creating and starting a container.
    let cache_dir = t.dir().join(".xp");
    let create = |cache_dir: &Path| {
        let label = format!("x-platform.folder={}", cache_dir.display());
        let mut create = t.engine().client();
        create.args(["create", "--label", &label, t.engine().busybox(), "true"]);
        process::succeed(&mut create)
    };
    let (left_over, of_another) = (create(&cache_dir), create(&t.dir().join("elsewhere")));
    app.build().success();
    let containers = t.containers();
    let ids: Vec<&Value> = containers
        .iter()
        .map(|container| &container["Id"])
        .collect();
    assert_eq!(
        ids,
        [&of_another],
        "{left_over} is gone, the other one is not ours"
    );
    t.engine().remove_containers(&containers);
}

fn image_without_a_shell_is_reported(t: &Context) {
    let builder = t.builder("empty", "FROM scratch\nCOPY Dockerfile /\n", &[]);
    let app = App::new(
        t,
        &[],
        &format!("dockerBuilder: {{ image: {builder} }}\nscripts: {{ build: [ \"true\" ] }}"),
    );
    let output = app.build().failure(1);
    let output = output.stderr_contains("error: app: container: the builder image ");
    output
        .stderr_contains("has no /bin/sh")
        .stderr_contains("hint: use an image with a shell");
    assert_eq!(t.containers(), [Value::Null; 0]);
    assert!(!app.is_built());
}

fn paths_can_contain_colons(t: &Context) {
    let app = App::with_scripts(t, "cache: [ /cache ]", &["touch made /cache/file"]);
    let folder = t.folder().join("with: colon");
    fs::rename(t.dir(), &folder).expect("the folder can be renamed");
    app.build().dir(&folder).success();
    assert!(folder.join(".xp/build/app/made").exists());
}

/// Returns `xp`, run by a user who is not root, owns the test's folder and can use the engine.
pub fn as_unknown_user<const N: usize>(t: &Context, app: &App<'_>, arguments: [&str; N]) -> Xp {
    for folder in [t.folder(), app.repository.path()] {
        let mut chown = Command::new("chown");
        process::succeed(chown.args(["-hR", "12345:12345"]).arg(folder));
    }
    // Others may not be able to enter the program's folder. Copied by another process, because a file that
    // this one wrote may still be open in a child that another test starts, and then cannot be executed.
    let program = t.folder().join("xp");
    let mut install = Command::new("install");
    process::succeed(
        install
            .args(["--mode=755", env!("CARGO_BIN_EXE_xp")])
            .arg(&program),
    );
    let socket = t.engine().host().strip_prefix("unix://").expect("a socket");
    let group = fs::metadata(socket).expect("the engine's socket").gid();
    let mut xp = t.program("setpriv", ["--reuid", "12345", "--regid", "12345"]);
    xp = xp.arg("--groups").arg(group.to_string()).arg(program);
    arguments
        .into_iter()
        .fold(xp, |xp, argument| xp.arg(argument))
}

#[track_caller]
pub fn assert_owned_by(folder: &Path, user: u32) {
    let mut find = Command::new("find");
    find.arg(folder)
        .args(["!", "-uid", &user.to_string(), "-ls"]);
    assert_eq!(process::succeed(&mut find), "", "files of another user");
}
