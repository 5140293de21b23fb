//! Sidecars: the containers beside the scripts of a service.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::app::App;
use crate::case::Case;
use crate::cases::remote::far;
use crate::context::Context;
use crate::wait::wait_until;

pub const CASES: &[Case] = cases![
    scripts_reach_sidecars_by_name,
    postgresql_and_redis_from_debian,
    a_sidecar_that_ends_is_reported_at_once,
    a_sidecar_that_ends_during_its_start_is_reported,
    a_probe_that_hangs_or_fails_ends_at_the_timeout,
    readiness_must_last,
    the_health_check_of_the_image_is_the_default_probe,
    a_second_port_may_open_late,
    a_sidecar_can_be_another_service,
    a_network_of_the_builder_is_joined_too,
    sidecars_end_with_a_killed_xp,
    sidecars_of_a_failed_step_and_of_commands_start_again,
    sidecars_and_verification_work_on_a_remote_engine,
    sidecars_are_inputs_as_tests_are,
    invalid_sidecars_are_located,
    podman_is_refused,
];

/// A web server that answers `hello` after some seconds.
fn server(seconds: u32, port: u16) -> String {
    format!(
        "[sh, -c, \"mkdir -p /w; echo hello > /w/index.html; echo serving >&2; sleep {seconds}; exec httpd -f -p {port} -h /w\"]"
    )
}

/// Returns the keys of a service with sidecars and test scripts.
fn keys(t: &Context, sidecars: &[(&str, &str)], tests: &[&str]) -> String {
    let busybox = t.engine().busybox();
    let mut keys = format!("dockerBuilder: {{ image: {busybox} }}\nsidecars:\n");
    for (name, sidecar) in sidecars {
        keys += &format!("  {name}:\n    image: {busybox}\n");
        for line in sidecar.lines() {
            keys += &format!("    {line}\n");
        }
    }
    keys += "scripts:\n  test:\n";
    for line in tests {
        keys += &format!("    - '{line}'\n");
    }
    keys
}

/// Returns the networks of this test's platform.
fn networks(t: &Context) -> Vec<String> {
    let folder = format!("label=x-platform.folder={}", t.dir().join(".xp").display());
    let list = [
        "network",
        "ls",
        "--format",
        "{{.Name}}",
        "--filter",
        &folder,
    ];
    let output = t.engine().docker(list);
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(str::to_owned).collect()
}

#[track_caller]
fn nothing_is_left(t: &Context) {
    assert_eq!(t.containers(), Vec::<Value>::new());
    assert_eq!(networks(t), Vec::<String>::new());
}

fn scripts_reach_sidecars_by_name(t: &Context) {
    if t.engine().product().is_podman() {
        return;
    }
    let web = format!(
        "command: {}\nready: wget -q -O /dev/null http://web:8080/\nenv: {{ GREETING: hi }}",
        server(0, 8080)
    );
    let plain = "command: [sh, -c, 'echo started with $X; exec sleep 1000']\nenv: { X: \"1\" }";
    let sidecars = [("web", web.as_str()), ("plain", plain)];
    let tests = [
        "wget -q -O - http://web:8080/ | grep hello",
        "ping -c 1 -W 5 plain",
    ];
    let app = App::new(t, &[], &keys(t, &sidecars, &tests));
    let plan = t.xp(["plan", "--verbose"]).success();
    let plan = plan.stdout_contains("sidecars   plain (");
    assert!(plan.stdout.contains(", web ("), "{plan}");
    app.build().success();
    assert!(app.is_built());
    nothing_is_left(t);
    let log = String::from_utf8(app.log(1, "sidecar-plain")).expect("text");
    assert_eq!(log, "started with 1\n");
    t.xp(["logs", "app", "--phase", "sidecar-web"])
        .success()
        .stdout_contains("serving");
    t.xp(["report"]).success();
    let page = t.read(".xp/logs/1/report.html");
    assert!(page.contains("app · web ("), "the timeline has no sidecar");
    // They start with the first phase that reaches them, and only then.
    let output = app.build().args(["--force", "--no-test"]).success();
    output.does_not_contain("sidecars:");
    let build = "command: [sleep, \"1000\"]\nphases: [build]";
    let with_build = keys(t, &[("early", build)], &["true"]);
    app.set_keys(&format!("{with_build}  build: [ping -c 1 -W 5 early]\n"));
    let events = app.build().args(["--format", "json"]).success().stdout;
    let names: Vec<&str> = [
        "\"sidecar-started\"",
        "\"sidecar-ready\"",
        "\"phase\":\"build\",\"title\"",
        "\"sidecar-ended\"",
    ]
    .into_iter()
    .filter(|name| events.contains(name))
    .collect();
    assert_eq!(names.len(), 4, "{events}");
    let at = |text: &str| events.find(text).expect("an event");
    assert!(
        at("sidecar-ready") < at("\"phase\":\"build\",\"title\""),
        "{events}"
    );
}

/// Initializes a database with a temporary server on its socket, as the entrypoint of PostgreSQL's image does.
const START_POSTGRESQL: &str = r#"set -e
PATH=$(echo /usr/lib/postgresql/*/bin):$PATH
data=/tmp/data
install -d -o postgres $data
as() { su postgres -c "PATH=$PATH $1"; }
as "initdb -A trust -D $data" > /dev/null
as "pg_ctl -D $data -o '-c listen_addresses= -k /tmp' -w start"
as "psql -h /tmp -c 'create table visits (name text)'"
sleep 0.5
as "pg_ctl -D $data -m fast -w stop"
echo 'host all all all trust' >> $data/pg_hba.conf
sleep 1
exec su postgres -c "PATH=$PATH exec postgres -D $data -k /tmp -c 'listen_addresses=*'"
"#;

fn postgresql_and_redis_from_debian(t: &Context) {
    if t.engine().product().is_podman() {
        return;
    }
    let debian = t.engine().debian(&["postgresql", "redis-server"]);
    let dockerfile = format!("FROM {debian}\nCOPY start /start\nCMD [\"sh\", \"/start\"]\n");
    let db = t.builder("pg", &dockerfile, &[("start", START_POSTGRESQL)]);
    let keys = format!(
        "dockerBuilder: {{ image: {debian} }}\n\
         sidecars:\n  \
         db:\n    image: {db}\n    ready: psql -h /tmp -U postgres -c 'select 1'\n  \
         cache:\n    image: {debian}\n    command: [redis-server, --protected-mode, 'no', --save, '']\n    \
         ready: [redis-cli, -h, cache, ping]\n\
         scripts:\n  test:\n    \
         - psql -h db -U postgres -c \"insert into visits values ('me')\"\n    \
         - psql -h db -U postgres -At -c 'select name from visits' | grep -x me\n    \
         - redis-cli -h cache set a b && redis-cli -h cache get a | grep -x b\n"
    );
    let app = App::new(t, &[], &keys);
    app.build().success();
    let log = String::from_utf8(app.log(1, "sidecar-db")).expect("text");
    assert_eq!(
        log.matches("database system is ready to accept connections")
            .count(),
        2,
        "{log}"
    );
    let log = String::from_utf8(app.log(1, "sidecar-cache")).expect("text");
    assert!(log.contains("Ready to accept connections"), "{log}");
    nothing_is_left(t);
}

fn a_sidecar_that_ends_is_reported_at_once(t: &Context) {
    if t.engine().product().is_podman() {
        return;
    }
    let fails = "command: [sh, -c, 'sleep 3; echo out of luck; exit 7']";
    let sidecars = [("db", fails), ("other", "command: [sleep, \"1000\"]")];
    let app = App::new(t, &[], &keys(t, &sidecars, &["sleep 100"]));
    let began = Instant::now();
    let output = app.build().failure(1);
    assert!(began.elapsed() < Duration::from_secs(60), "{output}");
    let output = output.stderr_contains("app: test: sidecar `db` exited with 7 after ");
    let output = output.stderr_contains("    out of luck");
    output.stderr_contains("app/sidecar-db.log");
    assert!(!app.is_built());
    nothing_is_left(t);
    // A script that fails because of it is explained.
    let fails = "command: [sh, -c, 'exec sleep 2']";
    app.set_keys(&keys(
        t,
        &[("db", fails)],
        &["sleep 1; while ping -c 1 -W 1 db; do sleep 0.1; done; exit 9"],
    ));
    let output = app.build().failure(1);
    assert!(
        output.stderr.contains("sidecar `db` exited with 0 after "),
        "{output}"
    );
}

fn a_sidecar_that_ends_during_its_start_is_reported(t: &Context) {
    if t.engine().product().is_podman() {
        return;
    }
    let fails = "command: [sh, -c, 'echo no configuration; exit 3']\nready: [\"false\"]";
    let app = App::new(t, &[], &keys(t, &[("db", fails)], &["true"]));
    let output = app.build().failure(1);
    let output = output.stderr_contains("app: sidecars: sidecar `db` exited with 3 after ");
    output.stderr_contains("    no configuration");
    app.set_keys(&keys(
        t,
        &[("db", "command: [/no/such/program]")],
        &["true"],
    ));
    let output = app.build().failure(1);
    output.stderr_contains("app: sidecars: sidecar `db`: the engine cannot start a container of ");
    nothing_is_left(t);
}

fn a_probe_that_hangs_or_fails_ends_at_the_timeout(t: &Context) {
    if t.engine().product().is_podman() {
        return;
    }
    let sidecar = |ready: &str| {
        format!("command: [sh, -c, 'echo starting; exec sleep 1000']\nready: {ready}\ntimeout: 5s")
    };
    let fails = sidecar("'echo no response; exit 4'");
    let app = App::new(t, &[], &keys(t, &[("db", &fails)], &["true"]));
    let output = app.build().failure(1);
    let output = output.stderr_contains(
        "app: sidecars: sidecar `db` is not ready after 5s: `echo no response; exit 4` exited with 4: no response",
    );
    output.stderr_contains("    starting");
    app.set_keys(&keys(t, &[("db", &sidecar("sleep 1000"))], &["true"]));
    let output = app.build().failure(1);
    output.stderr_contains("is not ready after 5s: `sleep 1000` did not end within ");
    app.set_keys(&keys(
        t,
        &[("db", &sidecar("[/no/such/program]"))],
        &["true"],
    ));
    let output = app.build().failure(1);
    output.stderr_contains("is not ready after 5s: ");
    nothing_is_left(t);
}

/// Like a database whose entrypoint starts a temporary server for its initialization.
fn readiness_must_last(t: &Context) {
    if t.engine().product().is_podman() {
        return;
    }
    let restarts = "command: [sh, -c, \"touch /ready; sleep 0.6; rm /ready; sleep 1; touch /ready; sleep 2; touch /done; exec sleep 1000\"]\n\
                    ready: test -e /ready && { date +%s >> /probes; true; }";
    let tests = ["true"];
    let app = App::new(t, &[], &keys(t, &[("db", restarts)], &tests));
    let events = app.build().args(["--format", "json"]).success().stdout;
    let ready = events
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find(|event| event["event"] == "sidecar-ready")
        .expect("it was ready");
    let seconds = ready["seconds"].as_f64().expect("a number");
    assert!(seconds >= 2.6, "{seconds}");
}

fn the_health_check_of_the_image_is_the_default_probe(t: &Context) {
    if t.engine().product().is_podman() {
        return;
    }
    let dockerfile = format!(
        "FROM {}\nHEALTHCHECK CMD test -e /ready\nCMD [\"sh\", \"-c\", \"sleep 1; touch /ready; exec sleep 1000\"]\n",
        t.engine().busybox()
    );
    let checked = t.builder("checked", &dockerfile, &[]);
    let app = App::new(
        t,
        &[],
        &keys(t, &[], &["true"]).replace(
            "sidecars:\n",
            &format!("sidecars:\n  db: {{ image: {checked}, timeout: 20s }}\n"),
        ),
    );
    let events = app.build().args(["--format", "json"]).success().stdout;
    let ready = events
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find(|event| event["event"] == "sidecar-ready")
        .expect("it was ready");
    let seconds = ready["seconds"].as_f64().expect("a number");
    assert!((1.9..30.0).contains(&seconds), "{seconds}");
}

fn a_second_port_may_open_late(t: &Context) {
    if t.engine().product().is_podman() {
        return;
    }
    let late = "command: [sh, -c, \"mkdir /w; echo late > /w/index.html; httpd -p 81 -h /w; sleep 2; exec httpd -f -p 82 -h /w\"]\n\
                ready: wget -q -O /dev/null http://localhost:82/";
    let tests = ["wget -q -O - http://web:82/ | grep late"];
    let app = App::new(t, &[], &keys(t, &[("web", late)], &tests));
    app.build().success();
}

fn a_sidecar_can_be_another_service(t: &Context) {
    if t.engine().product().is_podman() {
        return;
    }
    let db = t.git_repo("db");
    let busybox = t.engine().busybox();
    let dockerfile = |greeting: &str| {
        format!(
            "FROM {busybox}\nRUN mkdir /w && echo {greeting} > /w/index.html\nCMD [\"httpd\", \"-f\", \"-p\", \"80\", \"-h\", \"/w\"]\n"
        )
    };
    db.commit(&[("Dockerfile", &dockerfile("first"))], "Start");
    let app = t.git_repo("app");
    app.commit(
        &[("Dockerfile", &format!("FROM {busybox}\nCOPY . /src\n"))],
        "Start",
    );
    let manifest = |tests: &str| {
        format!(
            "services:\n  \
             app:\n    dir: src/app\n    git: {{ remote: \"{}\" }}\n    docker: {{ image: {} }}\n    \
             dockerBuilder: {{ image: {busybox} }}\n    \
             sidecars:\n      db: {{ image: \"${{{{ services.zdb.image }}}}\", ready: \"wget -q -O - http://db/\" }}\n    \
             scripts: {{ test: [{tests}] }}\n  \
             zdb:\n    dir: src/db\n    git: {{ remote: \"{}\" }}\n    docker: {{ image: {} }}\n",
            app.url_file(),
            t.image("app"),
            db.url_file(),
            t.image("db"),
        )
    };
    t.manifest(&manifest("\"wget -q -O - http://db/ | grep first\""));
    t.xp(["build", "app"]).success();
    // A new commit of it is tested again.
    db.commit(&[("Dockerfile", &dockerfile("second"))], "Change");
    let output = t.xp(["build", "app"]).failure(1);
    output.stderr_contains("app: test: `wget");
    t.manifest(&manifest("\"wget -q -O - http://db/ | grep second\""));
    t.xp(["build", "app"]).success();
    t.xp(["why", "app"])
        .success()
        .stdout_contains("sidecars.db.image");
    nothing_is_left(t);
}

fn a_network_of_the_builder_is_joined_too(t: &Context) {
    if t.engine().product().is_podman() {
        return;
    }
    let name = format!("{}-net", t.prefix().replace('/', "-"));
    let created = t.engine().docker(["network", "create", &name]);
    assert!(created.status.success(), "{created:?}");
    let web = format!(
        "command: {}\nready: wget -q -O /dev/null http://localhost/",
        server(0, 80)
    );
    let tests = ["wget -q -O - http://web/ | grep hello"];
    let text = keys(t, &[("web", &web)], &tests);
    let app = App::new(
        t,
        &[],
        &text.replace(" }\nsidecars", &format!(", network: {name} }}\nsidecars")),
    );
    app.build().success();
    nothing_is_left(t);
    t.engine().docker(["network", "rm", &name]);
}

fn sidecars_end_with_a_killed_xp(t: &Context) {
    if t.engine().product().is_podman() {
        return;
    }
    let db = "command: [sh, -c, 'echo up; trap \"\" TERM INT; while :; do sleep 1; done']";
    let passing = keys(t, &[("db", db)], &["true"]);
    let app = App::new(t, &[], &passing);
    app.build().success();
    let both = [("db", db), ("two", db)];
    app.set_keys(&keys(t, &both, &["echo testing; sleep 1000"]));
    let mut running = app.build().spawn();
    running.wait_for_output("| testing");
    assert!(t.containers().len() >= 4, "{:?}", t.containers());
    running.kill();
    wait_until("the containers to be gone", || t.containers().is_empty());
    // The network is left, and removed by the next run, even if that has nothing to do.
    assert_eq!(networks(t).len(), 1);
    t.xp(["doctor"]).run().stdout_contains("1 network");
    app.set_keys(&passing);
    app.build().success().stdout_contains("Nothing to do");
    nothing_is_left(t);
}

fn sidecars_of_a_failed_step_and_of_commands_start_again(t: &Context) {
    if t.engine().product().is_podman() {
        return;
    }
    let web = format!(
        "command: {}\nready: wget -q -O /dev/null http://localhost/",
        server(0, 80)
    );
    let sidecars = [("web", web.as_str())];
    let app = App::new(t, &[], &keys(t, &sidecars, &["exit 5"]));
    app.build().failure(1);
    let fetch = "wget -q -O - http://web/";
    let output = t.xp(["shell", "--failed", "app"]).stdin(fetch).success();
    output.stdout_contains("hello");
    t.xp(["sync"]).success();
    let output = t.xp(["run", "app", "--", "sh", "-c", fetch]).success();
    output.stdout_contains("hello");
    nothing_is_left(t);
    let broken = "command: [\"false\"]";
    app.set_keys(&keys(t, &[("web", broken)], &["true"]));
    let output = t.xp(["run", "app", "--", "sleep", "3"]).run();
    output.stderr_contains("sidecar `web` exited with 1");
}

fn sidecars_and_verification_work_on_a_remote_engine(t: &Context) {
    if t.engine().product().is_podman() {
        return;
    }
    let web = format!(
        "command: {}\nready: wget -q -O /dev/null http://web/",
        server(0, 80)
    );
    let text = keys(t, &[("web", &web)], &["wget -q -O - http://web/ > fetched"]);
    // The results of the other scripts are there.
    let app = App::new(
        t,
        &[],
        &format!(
            "{text}  verify: ['grep hello fetched && wget -q -O - http://web/ && ping -c 1 -W 5 app']\n\
             verify: {{ command: [sleep, '1000'] }}\n"
        ),
    );
    far(t, app.build()).success();
    let (engine, _) = t.remote_engine();
    assert!(engine.image(&app.image_of_head()).is_some());
    let left = |what: [&str; 4]| String::from_utf8(engine.docker(what).stdout).expect("text");
    let containers = left(["ps", "--all", "--format", "{{.Labels}}"]);
    let networks = left(["network", "ls", "--format", "{{.Labels}}"]);
    let mark = t.dir().display().to_string();
    assert!(!containers.contains(&mark), "{containers}");
    assert!(!networks.contains(&mark), "{networks}");
}

fn sidecars_are_inputs_as_tests_are(t: &Context) {
    if t.engine().product().is_podman() {
        return;
    }
    let db = |env: &str| format!("command: [sleep, \"1000\"]\nenv: {{ X: {env} }}");
    let app = App::new(t, &[], &keys(t, &[("db", &db("one"))], &["true"]));
    app.build().success();
    app.set_keys(&keys(t, &[("db", &db("two"))], &["true"]));
    t.xp(["plan"])
        .success()
        .stdout_contains("sidecars.db.env.X changed");
    t.xp(["plan", "--no-test"])
        .success()
        .stdout_contains("skip");
    // When it is ready does not matter to the image.
    let ready = format!("{}\nready: \"true\"\ntimeout: 5s", db("one"));
    app.set_keys(&keys(t, &[("db", &ready)], &["true"]));
    t.xp(["plan"]).success().stdout_contains("skip");
}

fn invalid_sidecars_are_located(t: &Context) {
    let busybox = t.engine().busybox();
    let app = App::new(t, &[], "");
    for (sidecars, position, message) in [
        (
            "sidecars:\n  db: { image: a }\n  db: { image: b }",
            "7:7",
            "duplicate key `db`",
        ),
        (
            "sidecars:\n  app: { image: a }",
            "6:7",
            "sidecar `app` has the name of its service",
        ),
        (
            "sidecars:\n  My_DB: { image: a }",
            "6:7",
            "invalid sidecar name `My_DB`",
        ),
        (
            "sidecars:\n  db: { image: \"${{ services.app.image }}\" }",
            "6:20",
            "service `app` needs itself",
        ),
        (
            "sidecars:\n  db: { image: \"x-${{ services.app.image }}\" }",
            "6:20",
            "invalid sidecar image `x-${{ services.app.image }}`",
        ),
        (
            "sidecars:\n  db: { image: a, phases: [tets] }",
            "6:32",
            "unknown phase `tets`",
        ),
        (
            "sidecars:\n  db: { image: a, timeout: soon }",
            "6:32",
            "invalid duration `soon`",
        ),
        (
            "sidecars:\n  db: { env: {} }",
            "6:7",
            "sidecar `db` has no `image`",
        ),
        (
            "sidecars:\n  db: { image: a, command: [] }",
            "6:32",
            "`sidecars.db.command` must not be empty",
        ),
    ] {
        app.set_keys(sidecars);
        let output = t.xp(["check"]).failure(2);
        assert!(
            output.stderr.contains(message)
                && output
                    .stderr
                    .contains(&format!("x-platform.yml:{position}")),
            "{sidecars}\n{output}"
        );
    }
    app.set_keys(&format!(
        "dockerBuilder: {{ image: {busybox}, network: host }}\nsidecars: {{ db: {{ image: a }} }}\nscripts: {{ test: [x] }}"
    ));
    let output = t.xp(["check"]).failure(2);
    output.stderr_contains("with `network: host`, the scripts cannot reach other containers");
}

fn podman_is_refused(t: &Context) {
    if !t.engine().product().is_podman() {
        return;
    }
    let db = "command: [sleep, \"1000\"]";
    let app = App::new(t, &[], &keys(t, &[("db", db)], &["true"]));
    let output = app.build().failure(2);
    let output = output.stderr_contains("the engine is Podman, with which sidecars");
    output.stderr_contains("x-platform.yml:6:5");
    app.build().arg("--no-test").success();
}
