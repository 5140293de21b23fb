//! The test environment itself: its servers work, and it reports their state correctly.

use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use rustix::process::Signal;

use crate::case::Case;
use crate::context::Context;
use crate::process;
use crate::world::{
    self, GitServerKind, Mark, PASSWORD, Registry, RegistryKind, Store, USER, chosen_engine,
};

pub const CASES: &[Case] = cases![
    engine_is_the_selected_one,
    an_unknown_engine_is_an_error,
    engine_runs_a_container,
    engine_builds_with_a_network,
    engine_lists_images_and_containers,
    open_registry_accepts_a_push,
    registry_with_authentication_rejects_a_wrong_login,
    registry_with_tls_accepts_a_push,
    registry_with_tls_rejects_a_wrong_login,
    registry_of_a_test_can_be_killed,
    git_over_each_transport,
    git_rejects_a_wrong_login,
    git_history_changes_reach_the_server,
    git_requests_are_counted,
    programs_run_in_an_isolated_environment,
    program_is_interrupted_and_killed,
    program_runs_in_a_terminal,
];

fn engine_is_the_selected_one(t: &Context) {
    let chosen = chosen_engine().expect("a choice that the test run began with");
    let product = t.engine().product();
    if !t.engine().is_private() {
        return;
    }
    let (engine, store) = chosen.split_once(' ').expect("engine and store");
    let expected = match store {
        "classic" => Store::Classic,
        "containerd" => Store::Containerd,
        _ => Store::Podman,
    };
    assert_eq!(product.store, expected, "{chosen}: {product:?}");
    match engine {
        "debian13" => assert_eq!(product.version, (26, 1)),
        "sid" => assert!(product.is_docker_since(28), "{product:?}"),
        "podman" => assert!(product.version.0 >= 5, "{product:?}"),
        _ => {}
    }
}

fn an_unknown_engine_is_an_error(_: &Context) {
    let choose = |engine: &str, store: &str| {
        let mut command = Command::new(world::PROGRAM);
        command
            .env("XP_TEST_ENGINE", engine)
            .env("XP_TEST_STORE", store);
        let output = process::run(command.arg("chosen-engine"));
        assert!(!output.status.success(), "{engine} {store}");
        process::text(&output.stderr)
    };
    assert_eq!(
        choose("debian11", ""),
        "bin/world: XP_TEST_ENGINE must be debian12, debian13, sid or podman, not 'debian11'\n"
    );
    assert_eq!(
        choose("debian12", "containerd"),
        "bin/world: XP_TEST_STORE with XP_TEST_ENGINE=debian12 must be one of: classic; not 'containerd'\n"
    );
}

fn engine_runs_a_container(t: &Context) {
    let engine = t.engine();
    let output = engine.run(
        engine.busybox(),
        ["sh", "-c", "id -u; ls -ld /tmp | cut -c 1-10"],
    );
    assert_eq!(output, "0\ndrwxrwxrwt");
}

fn engine_builds_with_a_network(t: &Context) {
    let dockerfile = format!("FROM {}\nRUN echo built > /result\n", t.engine().busybox());
    t.write("Dockerfile", &dockerfile);
    let image = t.image("built");
    let mut build = t.engine().client();
    build
        .env("DOCKER_BUILDKIT", "0")
        .args(["build", "--quiet", "--tag", &image]);
    process::succeed(build.arg(t.dir()));
    assert_eq!(t.engine().run(&image, ["cat", "/result"]), "built");
}

fn engine_lists_images_and_containers(t: &Context) {
    let engine = t.engine();
    let image = t.image("zbackend");
    assert_eq!(engine.image(&image), None);
    engine.tag(engine.busybox(), &image);
    assert_eq!(
        engine.images_with_prefix(t.prefix()),
        [format!("{image}:latest")]
    );
    let details = engine.image(&image).expect("the image was made");
    assert_eq!(details["Config"]["Cmd"][0], "/bin/sh");

    assert!(t.containers().is_empty());
    let label = format!("label=test={}", t.prefix());
    let mut run = engine.client();
    run.args([
        "run",
        "--detach",
        "--network",
        "none",
        "--label",
        &label["label=".len()..],
    ]);
    process::succeed(run.args([&image, "sleep", "1000"]));
    assert_eq!(engine.containers(&[&label]).len(), 1);
    let containers = t.containers();
    assert_eq!(containers.len(), 1);
    engine.remove_containers(&containers);
    assert!(t.containers().is_empty());
    engine.remove_image(&image);
    assert_eq!(engine.image(&image), None);
}

fn open_registry_accepts_a_push(t: &Context) {
    let registry = t.registry();
    let mark = registry.mark();
    assert_pushed(t, registry, push(t, registry));
    let requests = t.own_requests(registry.requests_since(mark));
    let count = |method: &str| {
        requests
            .iter()
            .filter(|request| request.method == method)
            .count()
    };
    assert_eq!(
        count("POST"),
        2,
        "a layer, which may come from another repository, and a configuration: {requests:?}"
    );
    assert!(
        requests.iter().all(|request| request.status < 500),
        "{requests:?}"
    );
    assert_eq!(t.own_requests(registry.requests_since(registry.mark())), []);
    assert!(t.own_requests(registry.requests_since(Mark::START)).len() >= requests.len());

    registry.delete_tag(&t.image("pushed"), "1");
    assert_eq!(registry.tags(&t.image("pushed")), [""; 0]);
}

fn registry_with_authentication_rejects_a_wrong_login(t: &Context) {
    assert_login_matters(t, t.registry_of(RegistryKind::Auth));
}

fn registry_with_tls_accepts_a_push(t: &Context) {
    let registry = t.registry_of(RegistryKind::Tls);
    assert_pushed(t, registry, push(t, registry));
    let url = format!("https://{}/v2/", registry.host());
    let fetch = |options: &[&Path]| {
        let mut curl = Command::new("curl");
        process::run(
            curl.args(["--silent", "--noproxy", "*"])
                .args(options)
                .arg(&url),
        )
        .status
    };
    assert!(!fetch(&[]).success(), "its authority is private");
    assert!(fetch(&[Path::new("--cacert"), t.ca_certificate()]).success());
}

fn registry_with_tls_rejects_a_wrong_login(t: &Context) {
    assert_login_matters(t, t.registry_of(RegistryKind::TlsAuth));
}

fn registry_of_a_test_can_be_killed(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    assert_pushed(t, &registry, push(t, &registry));
    registry.kill();
    assert!(!push(t, &registry).status.success());
    assert!(TcpStream::connect(("127.0.0.1", t.closed_port())).is_err());
}

fn git_over_each_transport(t: &Context) {
    let repository = t.git_repo("zbackend");
    let commit = repository.commit(
        &[("Makefile", "build:\n"), ("run.sh", "#!/bin/sh\n")],
        "Start",
    );
    let urls = [
        repository.path().display().to_string(),
        repository.url_file(),
        repository.url_http(),
        repository.url_http_login(),
        repository.url_https(),
        repository.url_ssh(),
        repository.url_scp(),
    ];
    for (number, url) in urls.iter().enumerate() {
        let clone = format!("src/{number}");
        let mut command = t.git_command("");
        command.env("GIT_SSL_CAINFO", t.ca_certificate());
        process::succeed(command.args(["clone", "--quiet", url, &clone]));
        assert_eq!(t.git(&clone, &["rev-parse", "HEAD"]), commit, "{url}");
        assert_eq!(t.read(&format!("{clone}/Makefile")), "build:\n");
    }
    assert!(t.sshd().login_count() >= 2);
    assert!(t.sshd().client_key().exists() && t.sshd().known_hosts().exists());
}

fn git_rejects_a_wrong_login(t: &Context) {
    let repository = t.git_repo("zbackend");
    repository.commit(&[], "Start");
    for url in [
        repository.url_http_auth(),
        repository.url_http_login_as(USER, "wrong"),
    ] {
        let output = process::run(t.git_command("").args(["ls-remote", &url]));
        assert_eq!(output.status.code(), Some(128), "{url}");
    }
    // git looks up hosts in .netrc without the port.
    t.write(
        "../home/.netrc",
        &format!("machine 127.0.0.1 login {USER} password {PASSWORD}\n"),
    );
    t.git("", &["ls-remote", &repository.url_http_auth()]);
}

fn git_history_changes_reach_the_server(t: &Context) {
    let repository = t.git_repo("zbackend");
    let on_server = |name: &str| {
        let command = ["for-each-ref", "--format=%(objectname)", name];
        repository.server_git(&command)
    };
    let first = repository.commit(&[("a", "1")], "First");
    repository.tag("v1");
    let tag = repository.annotated_tag("v2", "The second");
    repository.branch("TASK-981");
    let second = repository.commit(&[("a", "2")], "Second");
    let rewritten = repository.rewrite(&[("a", "3")], "Second, again");
    assert_ne!(second, rewritten);
    assert_eq!(on_server("refs/heads/TASK-981"), rewritten);
    assert_eq!(on_server("refs/heads/master"), first);
    assert_eq!(on_server("refs/tags/v1"), first);
    assert_eq!(on_server("refs/tags/v2"), tag);
    assert_ne!(tag, first);

    repository.switch("master");
    assert_eq!(repository.head(), first);
    repository.delete_branch("TASK-981");
    assert_eq!(on_server("refs/heads/TASK-981"), "");
    assert!(repository.clone_path().join("a").exists());
}

fn git_requests_are_counted(t: &Context) {
    let repository = t.git_repo("zbackend");
    repository.commit(&[("a", "1")], "First");
    let mark = t.git_server(GitServerKind::Open).mark();
    t.git("", &["ls-remote", &repository.url_http()]);
    let requests = repository.requests_since(GitServerKind::Open, mark);
    let methods: Vec<&str> = requests
        .iter()
        .map(|request| request.method.as_str())
        .collect();
    // The capabilities, then the command `ls-refs` of protocol version 2.
    assert_eq!(methods, ["GET", "POST"]);
    assert!(requests.iter().all(|request| request.status == 200));
}

fn programs_run_in_an_isolated_environment(t: &Context) {
    let builder = t.builder("go", "FROM scratch\n", &[("install.sh", "#!/bin/sh\n")]);
    assert!(t.exists(&format!("{builder}/install.sh")));
    t.manifest("services: {}\n");
    t.xp(["--no-such-option"])
        .failure(2)
        .stderr_contains("--no-such-option");

    let script = "cat; echo $HOME $DOCKER_HOST $1; ls >&2; exit 3";
    let run = t
        .program("sh", ["-c", script, "sh"])
        .arg("argument")
        .stdin("input\n")
        .failure(3);
    let surroundings = format!(
        "input\n{} {} argument",
        t.home().display(),
        t.engine().host()
    );
    let run = run
        .stdout_contains(&surroundings)
        .does_not_contain("argument input");
    let run = run.stderr_contains("x-platform.yml");
    assert!(run.elapsed < Duration::from_secs(60));

    t.write("below/file", "");
    let list = t.program("sh", ["-c", "ls; echo ${ADDED-} ${HOME-none}"]);
    let list = list
        .dir(t.dir().join("below"))
        .env("ADDED", "added")
        .env_remove("HOME");
    list.success().stdout_contains("file\nadded none\n");
}

fn program_is_interrupted_and_killed(t: &Context) {
    let script = "trap 'echo interrupted; exit 130' INT; echo $$; while :; do sleep 0.01; done";
    let mut running = t.program("sh", ["-c", script]).spawn();
    running.wait_for_output("\n");
    assert_eq!(running.printed().trim(), running.pid().to_string());
    running.signal(Signal::INT);
    let output = running.wait().stdout_contains("interrupted");
    assert_eq!(output.status.code(), Some(130));

    let mut running = t.program("sh", ["-c", script]).spawn();
    running.wait_for_output("\n");
    assert_eq!(running.kill().status.signal(), Some(9));

    let hanging = t
        .program("sleep", ["1000"])
        .timeout(Duration::from_millis(200));
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| hanging.run()));
    assert!(panic.is_err(), "a run is bounded in time");
}

fn program_runs_in_a_terminal(t: &Context) {
    let script = "trap 'exit 130' INT; stty size; read line; \
        printf '\\033[31m%s\\033[0m\\n' \"$line\"; stty size; while :; do sleep 0.01; done";
    let mut terminal = t.program("sh", ["-c", script]).in_terminal(100, 30);
    terminal.wait_for("30 100");
    terminal.resize(120, 40);
    terminal.type_keys("typed\n");
    terminal.wait_for("40 120");
    assert!(terminal.written().contains("\u{1b}[31mtyped"));
    assert!(
        terminal.screen().contains("typed\ntyped"),
        "{}",
        terminal.screen()
    );
    terminal.type_keys("\x03");
    let (status, screen) = terminal.wait();
    assert_eq!(status.code(), Some(130), "{screen}");
}

fn assert_login_matters(t: &Context, registry: &Registry) {
    assert!(!push(t, registry).status.success(), "no login");
    t.log_in_as(registry, USER, "wrong");
    assert!(!push(t, registry).status.success(), "a wrong password");
    assert_eq!(registry.tags(&t.image("pushed")), [""; 0]);
    t.log_in(registry);
    assert_pushed(t, registry, push(t, registry));
    let mark = registry.mark();
    assert_eq!(registry.requests_since(mark), []);
}

/// Pushes an image with a label with Docker's own client, using the login that `xp` would use.
fn push(t: &Context, registry: &Registry) -> Output {
    let image = format!("{}/pushed:1", t.registry_prefix(registry));
    let dockerfile = format!("FROM {}\nLABEL colour=red\n", t.engine().busybox());
    t.write("pushed/Dockerfile", &dockerfile);
    let mut build = t.engine().client();
    build
        .env("DOCKER_BUILDKIT", "0")
        .args(["build", "--quiet", "--tag", &image]);
    process::succeed(build.arg(t.dir().join("pushed")));
    let mut push = t.engine().client();
    process::run(
        push.env("DOCKER_CONFIG", t.docker_config())
            .args(["push", &image]),
    )
}

fn assert_pushed(t: &Context, registry: &Registry, push: Output) {
    assert!(push.status.success(), "{}", process::text(&push.stderr));
    let repository = t.image("pushed");
    assert_eq!(registry.tags(&repository), ["1"]);
    let digest = registry
        .manifest_digest(&repository, "1")
        .expect("it was pushed");
    assert!(process::text(&push.stdout).contains(&digest));
    assert_eq!(registry.labels(&repository, "1")["colour"], "red");
    let layers = registry.image_manifest(&repository, "1")["layers"]
        .as_array()
        .map(Vec::len);
    assert_eq!(layers, Some(1));
    assert!(registry.blob_count() >= 3);
}
