//! `scripts.verify`: the new image runs beside the scripts before it is tagged and pushed.

use crate::app::App;
use crate::case::Case;
use crate::context::Context;

pub const CASES: &[Case] = cases![
    the_new_image_runs_under_the_name_of_its_service,
    nothing_is_tagged_or_pushed_after_a_failed_verification,
    a_new_image_that_exits_is_reported,
    verification_is_skipped_with_the_tests,
    working_copies_are_verified_too,
    the_verification_may_write_the_test_reports,
];

const SERVER: &str = "RUN mkdir -p /w && cp /src/page /w/index.html\n\
     CMD [\"sh\", \"-c\", \"echo serving for $WHO; sleep 1; exec httpd -f -p 80 -h /w\"]\n";

fn app<'a>(t: &'a Context, keys: &str) -> App<'a> {
    let dockerfile = format!("FROM {}\nCOPY . /src\n{SERVER}", t.engine().busybox());
    let files = [("Dockerfile", dockerfile.as_str()), ("page", "the page\n")];
    App::new(t, &files, keys)
}

fn keys(t: &Context, verify: &str, more: &str) -> String {
    let busybox = t.engine().busybox();
    format!("dockerBuilder: {{ image: {busybox} }}\nscripts:\n  verify:\n    - {verify}\n{more}")
}

const READY: &str =
    "verify:\n  ready: wget -q -O /dev/null http://localhost/\n  env: { WHO: tests }\n";

fn the_new_image_runs_under_the_name_of_its_service(t: &Context) {
    if t.engine().product().is_podman() {
        return;
    }
    let app = app(t, &keys(t, "wget -q -O - http://app/ | grep page", READY));
    let plan = t.xp(["plan", "--verbose"]).success();
    plan.stdout_contains("app (the new image)");
    app.build().success();
    assert!(app.is_built());
    let log = String::from_utf8(app.log(1, "sidecar-app")).expect("text");
    assert_eq!(log, "serving for tests\n");
    assert!(t.containers().is_empty(), "{:?}", t.containers());
    let db = "sidecars:\n  db: { image: BUSYBOX, command: [sleep, \"1000\"], phases: [verify] }\n";
    let db = db.replace("BUSYBOX", t.engine().busybox());
    app.set_keys(&keys(t, "ping -c 1 -W 5 db && ping -c 1 -W 5 app", &db));
    app.build().success();
}

fn nothing_is_tagged_or_pushed_after_a_failed_verification(t: &Context) {
    if t.engine().product().is_podman() {
        return;
    }
    let registry = t.registry();
    let prefix = t.registry_prefix(registry);
    let docker = format!("docker: {{ image: {prefix}/app }}\n");
    let app = app(
        t,
        &keys(
            t,
            "wget -q -O - http://app/ | grep nothing",
            &format!("{READY}{docker}"),
        ),
    );
    let output = app.build().failure(1);
    let output = output
        .stderr_contains("app: verify: `wget -q -O - http://app/ | grep nothing` exited with 1");
    output.stderr_contains("`xp logs app --phase sidecar-app` shows the output of `app`");
    let commit = app.repository.head();
    let image = format!("{prefix}/app:{commit}");
    assert!(t.engine().image(&image).is_none());
    let names = t.engine().images_with_prefix(&format!("{prefix}/app"));
    assert_eq!(names, Vec::<String>::new());
    let (_, repository) = prefix.split_once('/').expect("a host");
    let repository = format!("{repository}/app");
    assert_eq!(registry.tags(&repository), Vec::<String>::new());
    // The same image is there again to look into it.
    let fetch = "wget -q -O - http://app/";
    let output = t.xp(["shell", "--failed", "app"]).stdin(fetch).success();
    output.stdout_contains("the page");
    app.set_keys(&keys(
        t,
        "wget -q -O - http://app/ | grep page",
        &format!("{READY}{docker}"),
    ));
    app.build().success();
    assert!(t.engine().image(&image).is_some());
    assert!(registry.manifest_digest(&repository, &commit).is_some());
}

fn a_new_image_that_exits_is_reported(t: &Context) {
    if t.engine().product().is_podman() {
        return;
    }
    let more = "verify:\n  command: [sh, -c, \"echo no database; exit 3\"]\n  ready: \"false\"\n";
    let app = app(t, &keys(t, "true", more));
    let output = app.build().failure(1);
    let output = output.stderr_contains("app: sidecars: the new image exited with 3 after ");
    output.stderr_contains("    no database");
    assert!(!app.is_built());
}

fn verification_is_skipped_with_the_tests(t: &Context) {
    if t.engine().product().is_podman() {
        return;
    }
    let app = app(t, &keys(t, "\"false\"", READY));
    app.build().failure(1);
    app.build().arg("--no-test").success();
    assert!(app.is_built());
    t.xp(["plan", "--no-test"])
        .success()
        .stdout_contains("skip");
    t.xp(["plan"])
        .success()
        .stdout_contains("scripts.verify is new");
}

fn working_copies_are_verified_too(t: &Context) {
    if t.engine().product().is_podman() {
        return;
    }
    let app = app(
        t,
        &keys(t, "wget -q -O - http://app/ | grep changed", READY),
    );
    t.xp(["sync"]).success();
    t.write("src/app/page", "changed\n");
    t.xp(["build", "--local", "app"]).success();
    t.write("src/app/page", "other\n");
    let output = t.xp(["build", "--local", "app"]).failure(1);
    output.stderr_contains("app: verify: `wget");
    drop(app);
}

fn the_verification_may_write_the_test_reports(t: &Context) {
    if t.engine().product().is_podman() {
        return;
    }
    const REPORT: &str = "echo '<testsuite><testcase name=\"a\"/></testsuite>' > a.xml";
    let scripts = |test: &str, verify: &str| {
        let more = format!("  test:\n    - {test}\n  reports: [a.xml]\n");
        keys(t, verify, &more)
    };
    let app = app(t, &scripts("true", REPORT));
    for (test, verify) in [("true", REPORT), (REPORT, "true")] {
        app.set_keys(&scripts(test, verify));
        app.build()
            .success()
            .does_not_contain("wrote no file that matches");
        assert!(t.exists(".xp/logs/1/app/reports/1.xml"));
    }
    app.set_keys(&scripts("true", "true"));
    app.build()
        .success()
        .stderr_contains("wrote no file that matches");
}
