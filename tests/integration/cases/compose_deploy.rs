//! Deploying to a compose project with the real docker compose: what runs, what is recorded, and rolled back to.

use std::fs;

use rustix::process::Signal;

use crate::case::Case;
use crate::cases::remote::far;
use crate::compose_project::{ComposePlatform, dockerfile, path};
use crate::context::Context;
use crate::process;
use crate::working_copy::User;

pub const CASES: &[Case] = cases![
    images_are_started_by_digest,
    images_without_a_registry_are_started_by_id,
    only_changed_services_are_recreated,
    a_partial_deploy_keeps_the_other_services,
    a_lock_is_deployed_and_compared,
    images_of_working_copies_are_started,
    services_are_mapped_to_compose_services,
    compose_files_mean_what_they_mean_to_compose,
    a_failing_container_is_shown_with_its_log,
    a_container_that_never_gets_healthy_ends_at_the_timeout,
    an_error_of_compose_is_shown,
    an_error_after_the_start_of_containers_is_recorded,
    jobs_may_end,
    an_interrupt_is_recorded,
    an_interrupt_of_the_build_before_is_reported,
    a_killed_deploy_is_detected,
    concurrent_deploys_are_detected,
    invalid_environments_are_reported_with_their_location,
    a_missing_or_old_compose_is_reported,
    a_remote_engine_runs_its_own_images,
    unsupported_options_are_refused,
    a_compose_project_is_taken_over_by_init,
];

fn images_are_started_by_digest(t: &Context) {
    let platform = ComposePlatform::new(t);
    platform.use_registry();
    platform
        .deploy(["--dry-run"])
        .failure(1)
        .stderr_contains("zbackend: the registry has no image of its commit");
    platform
        .deploy(["--build"])
        .success()
        .stdout_contains(&format!(
            "dev: docker-compose.yml as compose project {}",
            platform.project
        ));
    for service in ["zbackend", "zfrontend"] {
        let repository = t.image(service);
        let head = match service {
            "zbackend" => platform.backend.head(),
            _ => platform.frontend.head(),
        };
        let digest = t.registry().manifest_digest(&repository, &head);
        let digest = digest.expect("an image in the registry");
        let pinned = format!("{}/{repository}@{digest}", t.registry().host());
        let container = platform.running(service);
        assert_eq!(container["Config"]["Image"], *pinned);
        assert_eq!(
            container["Config"]["Labels"]["x-platform.environment"],
            "dev"
        );
    }
    // Compose did not build, although the file says so.
    assert_eq!(t.engine().image("zbackend:dev"), None);
    let record = platform.record();
    assert_eq!(record.len(), 1);
    assert_eq!(record[0]["state"], "deployed");
    assert_eq!(record[0].get("ids"), None);

    platform
        .deploy([])
        .success()
        .stdout_contains("dev is up to date (2 services)");
    assert_eq!(platform.record().len(), 1);
    // A container that was stopped is started again.
    let id = platform.running("zbackend")["Id"].clone();
    process::succeed(
        t.engine()
            .client()
            .args(["stop", id.as_str().expect("an ID")]),
    );
    platform
        .deploy(["--dry-run"])
        .success()
        .stdout_contains("1 compose service to start: zbackend");
    platform.deploy([]).success();
    assert_eq!(platform.running("zbackend")["Id"], id);
    // What the engine lacks is pulled.
    let image = platform.running("zbackend")["Config"]["Image"].clone();
    let image = image.as_str().expect("an image").to_owned();
    process::succeed(platform.user().args(["down", "--timeout", "0"]));
    for name in t
        .engine()
        .images_with_prefix(&t.registry_prefix(t.registry()))
    {
        t.engine().remove_image(&name);
    }
    t.engine().remove_image(&image);
    platform.deploy([]).success();
    assert_eq!(platform.running("zbackend")["Config"]["Image"], *image);
    platform
        .deploy(["--render"])
        .success()
        .stdout_contains(&format!("image: {image}"))
        .stdout_contains("pull_policy: missing")
        .does_not_contain("build:");
}

fn images_without_a_registry_are_started_by_id(t: &Context) {
    let platform = ComposePlatform::new(t);
    platform
        .deploy([])
        .failure(1)
        .stderr_contains("zbackend: the engine has no image of its commit")
        .stderr_contains(
            "hint: `xp build` builds them; `xp deploy dev --build` builds before deploying",
        );
    assert_eq!(platform.record_volumes(), Vec::<String>::new());
    t.xp(["build"]).success();
    platform
        .deploy([])
        .success()
        .stdout_contains("3 compose services to create: db, zbackend, zfrontend");
    let id = |service: &str, head: &str| {
        let image = format!("{}:{head}", t.image(service));
        t.engine().image(&image).expect("an image")["Id"].clone()
    };
    let old = id("zbackend", &platform.backend.head());
    assert_eq!(platform.running("zbackend")["Image"], old);
    assert_eq!(platform.record()[0]["ids"]["zbackend"], old);
    platform
        .deploy([])
        .success()
        .stdout_contains("dev is up to date");

    let head = platform.backend.commit(&[("content", "two\n")], "Two");
    platform.deploy(["--build"]).success();
    assert_eq!(platform.running("zbackend")["Image"], id("zbackend", &head));
    assert_eq!(platform.content("zbackend"), "two");
    // Moved tags do not matter to a rollback.
    let image = t.image("zbackend");
    t.engine().tag(
        &format!("{image}:{head}"),
        &format!(
            "{image}:{}",
            platform.backend.git(&["rev-parse", "HEAD~"]).trim()
        ),
    );
    platform
        .deploy(["--rollback", "--dry-run"])
        .success()
        .stdout_contains("1 compose service to recreate: zbackend");
    assert_eq!(platform.content("zbackend"), "two");
    platform.deploy(["--rollback"]).success();
    assert_eq!(platform.content("zbackend"), "one");
    assert_eq!(platform.record()[0]["rollbackTo"], 1);
    platform
        .deploy(["--rollback"])
        .failure(2)
        .stderr_contains("dev cannot be rolled back: its record has no earlier successful deploy")
        .does_not_contain("kubectl");
    // An image that is gone cannot be rolled back to.
    platform.deploy([]).success();
    process::succeed(platform.user().args(["down", "--timeout", "0"]));
    t.engine().remove_image(old.as_str().expect("an ID"));
    platform
        .deploy(["--rollback"])
        .failure(3)
        .stderr_contains("zbackend: the engine no longer has");
}

fn only_changed_services_are_recreated(t: &Context) {
    let platform = ComposePlatform::new(t);
    platform.deploy(["--build"]).success();
    let before: Vec<_> = ["zbackend", "zfrontend", "db"]
        .map(|name| platform.running(name)["Id"].clone())
        .into();
    platform.backend.commit(&[("content", "two\n")], "Two");
    t.xp(["build"]).success();
    platform
        .deploy(["--dry-run"])
        .success()
        .stdout_contains("zbackend  moved")
        .stdout_contains("1 service unchanged")
        .stdout_contains("1 compose service to recreate: zbackend\n");
    platform.deploy([]).success();
    let after: Vec<_> = ["zbackend", "zfrontend", "db"]
        .map(|name| platform.running(name)["Id"].clone())
        .into();
    assert_ne!(before[0], after[0]);
    assert_eq!(before[1..], after[1..]);
    // A change to only the compose file counts.
    platform.compose("    environment: {A: b}\n", "");
    platform.deploy([]).success();
    assert!(
        platform.running("zbackend")["Config"]["Env"]
            .to_string()
            .contains("A=b")
    );
    assert_eq!(platform.record().len(), 3);
}

fn a_partial_deploy_keeps_the_other_services(t: &Context) {
    let platform = ComposePlatform::new(t);
    t.xp(["build"]).success();
    platform
        .deploy(["zbackend"])
        .failure(2)
        .stderr_contains("dev has no record yet, so the deployed version of zfrontend is unknown");
    platform.deploy([]).success();
    for repository in [&platform.backend, &platform.frontend] {
        repository.commit(&[("content", "two\n")], "Two");
    }
    t.xp(["build"]).success();
    platform.deploy(["zbackend"]).success();
    assert_eq!(platform.content("zbackend"), "two");
    assert_eq!(platform.content("zfrontend"), "one");
    assert_eq!(
        platform.record()[0]["asked"],
        serde_json::json!(["zbackend"])
    );
}

fn a_lock_is_deployed_and_compared(t: &Context) {
    let platform = ComposePlatform::new(t);
    platform.use_registry();
    t.xp(["build"]).success();
    t.xp(["lock"]).success();
    t.write("old.lock", &t.read("x-platform.lock"));
    platform.backend.commit(&[("content", "two\n")], "Two");
    platform.deploy(["--build"]).success();
    assert_eq!(platform.content("zbackend"), "two");
    platform
        .xp(["diff", "dev", "old.lock"])
        .success()
        .stdout_contains("zbackend");
    platform.deploy(["--lock", "old.lock"]).success();
    assert_eq!(platform.content("zbackend"), "one");
    platform
        .xp(["diff", "dev", "old.lock", "--format", "json"])
        .success()
        .does_not_contain("moved");
    platform
        .deploy(["--locked"])
        .success()
        .stdout_contains("dev is up to date");

    // A lock without a registry has no digests, but the engine has the images.
    platform.manifest("", "{dev: {compose: docker-compose.yml, timeout: 60s}}");
    t.xp(["build"]).success();
    t.xp(["lock"]).success();
    platform.backend.commit(&[("content", "three\n")], "Three");
    platform.deploy(["--build"]).success();
    assert_eq!(platform.content("zbackend"), "three");
    platform.deploy(["--locked"]).success();
    assert_eq!(platform.content("zbackend"), "two");
}

fn images_of_working_copies_are_started(t: &Context) {
    let platform = ComposePlatform::new(t);
    platform.use_registry();
    t.xp(["build"]).success();
    t.xp(["sync", "zbackend"]).success();
    User::new(t, "zbackend").write("content", "edited\n");
    platform
        .deploy(["--local"])
        .failure(1)
        .stderr_contains("zbackend: the engine has no image of its commit")
        .stderr_contains("`xp build --local` builds them");
    t.xp(["build", "--local", "zbackend"]).success();
    platform.deploy(["--local"]).success();
    assert_eq!(platform.content("zbackend"), "edited");
    assert_eq!(platform.content("zfrontend"), "one");
    let record = platform.record();
    assert!(record[0]["ids"]["zbackend"].is_string(), "{record:?}");
    assert!(record[0]["ids"]["zfrontend"].is_null(), "{record:?}");
    platform
        .deploy(["--local"])
        .success()
        .stdout_contains("dev is up to date");
    // `--build` builds what was edited since.
    User::new(t, "zbackend").write("content", "again\n");
    platform.deploy(["--local", "--build"]).success();
    assert_eq!(platform.content("zbackend"), "again");
    platform.deploy([]).success();
    assert_eq!(platform.content("zbackend"), "one");
}

fn services_are_mapped_to_compose_services(t: &Context) {
    let platform = ComposePlatform::new(t);
    t.xp(["build"]).success();
    let (busybox, project) = (t.engine().busybox(), &platform.project);
    let image = t.image("zbackend");
    t.write(
        "docker-compose.yml",
        &format!(
            "name: {project}\nservices:\n  api: {{image: '{image}:1'}}\n  worker: {{image: '{image}'}}\n  \
             site: {{image: {busybox}}}\n"
        ),
    );
    // By image; the frontend is not run.
    platform
        .deploy([])
        .success()
        .stderr_contains("docker-compose.yml runs no image of zfrontend: skipped");
    for service in ["api", "worker"] {
        assert_eq!(platform.content(service), "one");
    }
    // By name; by an explicit list, which also ignores the backend.
    platform.manifest(
        "",
        "{dev: {compose: docker-compose.yml, services: {zfrontend: site, zbackend: worker}}}",
    );
    platform
        .deploy(["--dry-run"])
        .success()
        .stdout_contains("to recreate: api, site");
    platform.manifest(
        "",
        "{dev: {compose: docker-compose.yml, services: {zbackend: []}}}",
    );
    platform
        .deploy([])
        .failure(2)
        .stderr_contains(
            "docker-compose.yml has no compose service `zfrontend`, and none with the image",
        )
        .stderr_contains("environment `dev` ignores `zbackend`");
}

fn compose_files_mean_what_they_mean_to_compose(t: &Context) {
    let platform = ComposePlatform::new(t);
    t.xp(["build"]).success();
    let (busybox, project) = (t.engine().busybox(), &platform.project);
    let image = t.image("zbackend");
    t.write(
        "deploy/compose.yaml",
        &format!(
            "name: {project}\nservices:\n  zbackend:\n    image: '{image}:${{TAG}}'\n    env_file: own.env\n    \
             environment: {{NAME: '${{NAME}}', MISSING: '${{MISSING}}'}}\n    volumes: ['./files:/files:ro']\n  \
             debug: {{image: {busybox}, command: [sleep, '600'], stop_signal: SIGKILL, profiles: [debug]}}\n"
        ),
    );
    t.write(
        "deploy/over.yaml",
        "services:\n  zbackend: {hostname: 'over', scale: 2}\n",
    );
    t.write("deploy/.env", "TAG=x\nNAME=from-env\n");
    t.write("deploy/own.env", "OWN=yes\n");
    t.write("deploy/files/file", "bound\n");
    platform.manifest(
        "",
        "{dev: {compose: [deploy/compose.yaml, deploy/over.yaml], profiles: [debug]}}",
    );
    let output = platform.deploy([]).success();
    let warning =
        "warning: compose: The \"MISSING\" variable is not set. Defaulting to a blank string.";
    assert_eq!(output.stderr.matches(warning).count(), 1, "{output}");
    let containers = platform.containers("zbackend");
    assert_eq!(containers.len(), 2);
    let id = containers[0]["Id"].as_str().expect("an ID");
    let script = "echo $NAME $OWN; cat /files/file; hostname";
    let exec = ["exec", id, "sh", "-c", script];
    assert_eq!(
        process::succeed(t.engine().client().args(exec)),
        "from-env yes\nbound\nover"
    );
    platform.running("debug");
    platform
        .deploy([])
        .success()
        .stdout_contains("dev is up to date (1 service)");
    // A service in a profile that is not enabled is not run.
    t.write(
        "deploy/over.yaml",
        "services:\n  zbackend: {profiles: [later]}\n",
    );
    platform
        .deploy([])
        .failure(2)
        .stderr_contains("compose services of profiles that are not enabled: zbackend");
}

fn a_failing_container_is_shown_with_its_log(t: &Context) {
    let platform = ComposePlatform::new(t);
    platform.deploy(["--build"]).success();
    let before = platform.record();
    platform.compose(
        "    command: [sh, -c, 'echo connecting; echo no database at db:5432 >&2; exit 7']\n",
        "",
    );
    platform
        .deploy([])
        .failure(1)
        .stderr_contains("error: compose/zbackend: rollout: container ")
        .stderr_contains("is not ready: it exited with code 7")
        .stderr_contains("    no database at db:5432")
        .stderr_contains("docker logs ")
        .stderr_contains("error: 1 of 3 compose services are not ready in dev")
        .stderr_contains("hint: `xp deploy dev --rollback` rolls back to deploy 1");
    let record = platform.record();
    assert_eq!(record[0]["state"], "failed");
    assert_eq!(record[1], before[0]);
    platform
        .xp(["diff", "dev"])
        .failure(2)
        .stderr_contains("deploy 2 of dev failed; comparing with the last completed one");
    platform.compose("", "");
    platform.deploy(["--rollback"]).success();
    assert_eq!(platform.content("zbackend"), "one");
    assert_eq!(platform.record()[0]["rollbackTo"], 1);
}

fn a_container_that_never_gets_healthy_ends_at_the_timeout(t: &Context) {
    let platform = ComposePlatform::new(t);
    t.xp(["build"]).success();
    let check = |test: &str, period: &str| {
        format!(
            "    healthcheck: {{test: {test}, interval: 200ms, timeout: 5s, retries: 1, start_period: {period}}}\n"
        )
    };
    platform.compose(&check("'exit 1'", "600s"), "");
    platform
        .deploy(["--timeout", "3s"])
        .failure(1)
        .stderr_contains("is not ready: its health check has not succeeded yet");
    platform.compose(&check("'exit 1'", "0s"), "");
    platform
        .deploy(["--timeout", "30s"])
        .failure(1)
        .stderr_contains("is not ready: it is unhealthy");
    platform.compose(&check("'test -e /content'", "0s"), "");
    platform.deploy([]).success();
    assert_eq!(
        platform.running("zbackend")["State"]["Health"]["Status"],
        "healthy"
    );
}

fn an_error_of_compose_is_shown(t: &Context) {
    let platform = ComposePlatform::new(t);
    t.xp(["build"]).success();
    platform.compose("", "  other: {image: 'registry.invalid/none:1'}\n");
    platform
        .deploy([])
        .failure(1)
        .stderr_contains("error: cannot start the containers of docker-compose.yml")
        .stderr_contains("registry.invalid")
        .stderr_contains("the containers are left as they are; `docker-compose --file docker-compose.yml ps --all` lists them");
    assert_eq!(platform.record()[0]["state"], "failed");
    // The old container, which still runs, does not count.
    platform.compose("", "");
    platform.deploy([]).success();
    let compose = t.read("docker-compose.yml");
    let busybox = t.engine().busybox();
    t.write(
        "docker-compose.yml",
        &compose.replace(
            &format!("image: {busybox}"),
            "image: registry.invalid/none:1",
        ),
    );
    platform
        .deploy([])
        .failure(1)
        .stderr_contains("error: cannot start the containers of docker-compose.yml");
    platform.running("db");
    assert_eq!(platform.record()[0]["state"], "failed");
    t.write(
        "docker-compose.yml",
        "services:\n  zbackend: {image: [x]}\n",
    );
    platform
        .deploy([])
        .failure(2)
        .stderr_contains("error: cannot read docker-compose.yml")
        .stderr_contains("services.zbackend.image must be a string");
}

fn an_error_after_the_start_of_containers_is_recorded(t: &Context) {
    let platform = ComposePlatform::new(t);
    t.xp(["build"]).success();
    // It starts the containers, and fails; afterwards the engine does not respond.
    let programs = t.folder().join("programs");
    let compose = format!(
        "#!/bin/sh\n\
         if [ -e \"$0.failed\" ]; then echo 'no engine' >&2; exit 1; fi\n\
         export PATH='{}'\n\
         case \" $* \" in *' up '*) touch \"$0.failed\"; docker-compose \"$@\"; echo 'lost it' >&2; exit 1;; esac\n\
         exec docker-compose \"$@\"\n",
        path()
    );
    fs::create_dir_all(&programs).expect("a folder");
    crate::repository::write_file(&programs.join("docker-compose"), &compose);
    platform
        .deploy([])
        .env("PATH", format!("{}:/usr/bin:/bin", programs.display()))
        .failure(1)
        .stderr_contains("error: cannot start the containers of docker-compose.yml")
        .stderr_contains("lost it");
    platform.running("zbackend");
    assert_eq!(platform.record()[0]["state"], "failed");
    platform.deploy([]).success();
}

fn jobs_may_end(t: &Context) {
    let platform = ComposePlatform::new(t);
    t.xp(["build"]).success();
    let slow = "    healthcheck: {test: 'test -e /tmp/ready', interval: 200ms, retries: 60}\n    \
                command: [sh, -c, 'sleep 3; touch /tmp/ready; exec sleep 600']\n";
    let busybox = t.engine().busybox();
    platform.compose(
        slow,
        &format!("  job: {{image: {busybox}, command: ['true']}}\n"),
    );
    platform.deploy([]).success();
    assert_eq!(
        platform.running("zbackend")["State"]["Health"]["Status"],
        "healthy"
    );
    platform
        .deploy([])
        .success()
        .stdout_contains("dev is up to date");
    platform.compose(
        slow,
        &format!("  job: {{image: {busybox}, command: ['false']}}\n"),
    );
    platform
        .deploy([])
        .failure(1)
        .stderr_contains("compose/job: rollout: container");
}

/// Makes the backend never ready, and waits until it is started.
fn stuck(platform: &ComposePlatform) -> crate::xp::RunningXp {
    platform.compose(
        "    healthcheck: {test: 'exit 1', interval: 1s, start_period: 600s}\n",
        "",
    );
    let mut running = platform.deploy([]).spawn();
    running.wait_for_output("zbackend-1  Waiting");
    running
}

fn an_interrupt_is_recorded(t: &Context) {
    let platform = ComposePlatform::new(t);
    platform.deploy(["--build"]).success();
    let running = stuck(&platform);
    running.signal(Signal::INT);
    let output = running.wait();
    assert_eq!(output.status.code(), Some(130), "{output}");
    output
        .stderr_contains("error: the deploy to dev was interrupted")
        .stderr_contains("started: compose/zbackend")
        .stderr_contains("rolls back to deploy 1");
    assert_eq!(platform.record()[0]["state"], "interrupted");
    platform.deploy(["zbackend"]).failure(2).stderr_contains(
        "deploy 2 of dev was interrupted, so the running version of zfrontend is unknown",
    );
    platform.compose("", "");
    platform.deploy([]).success();
}

fn an_interrupt_of_the_build_before_is_reported(t: &Context) {
    let platform = ComposePlatform::new(t);
    let busybox = t.engine().busybox();
    let dockerfile = format!("FROM {busybox}\nRUN echo building; sleep 1000\n");
    platform
        .backend
        .commit(&[("Dockerfile", &dockerfile)], "Sleep");
    let mut running = platform.deploy(["--build"]).spawn();
    running.wait_for_output("echo building; sleep");
    running.signal(Signal::INT);
    let output = running.wait();
    assert_eq!(output.status.code(), Some(130), "{output}");
    // The build has ended by itself: with its table.
    assert!(output.row("zbackend").contains(" stopped "), "{output}");
    assert_eq!(platform.record_volumes(), Vec::<String>::new());
}

fn a_killed_deploy_is_detected(t: &Context) {
    let platform = ComposePlatform::new(t);
    platform.deploy(["--build"]).success();
    stuck(&platform).kill();
    assert_eq!(platform.record()[0]["state"], "deploying");
    platform.compose("", "");
    // The same folder knows that it was killed.
    platform.deploy([]).success();
    let record = platform.record();
    assert_eq!(record[0]["state"], "deployed");
    assert_eq!(record[1]["state"], "interrupted");
}

fn concurrent_deploys_are_detected(t: &Context) {
    let platform = ComposePlatform::new(t);
    platform.deploy(["--build"]).success();
    let running = stuck(&platform);
    let other = t.folder().join("other");
    process::succeed(
        std::process::Command::new("cp")
            .arg("-r")
            .args([t.dir(), other.clone()]),
    );
    fs::remove_dir_all(other.join(".xp")).expect("a folder");
    platform
        .deploy([])
        .dir(&other)
        .failure(3)
        .stderr_contains("has been deploying to dev since")
        .stderr_contains("`--take-over`");
    drop(running);
    let compose = fs::read_to_string(other.join("docker-compose.yml")).expect("a file");
    let compose = compose.replace("exit 1", "exit 0");
    fs::write(other.join("docker-compose.yml"), compose).expect("a file");
    platform.deploy(["--take-over"]).dir(&other).success();
    // The record is in the engine, not in the folder.
    assert_eq!(platform.record()[0]["number"], 3);
    assert_eq!(platform.record_volumes().len(), 1);
}

fn invalid_environments_are_reported_with_their_location(t: &Context) {
    let platform = ComposePlatform::new(t);
    let (busybox, project) = (t.engine().busybox(), &platform.project);
    platform.manifest("", "{dev: {compose: nowhere.yml}}");
    platform
        .deploy([])
        .failure(2)
        .stderr_contains("the compose file `nowhere.yml` does not exist")
        .stderr_contains("x-platform.yml:1:");
    t.xp(["check"])
        .failure(2)
        .stderr_contains("environment `dev`: the compose file `nowhere.yml` does not exist");
    platform.manifest(
        "",
        "{dev: {compose: docker-compose.yml, services: {zbackend: bakend}}}",
    );
    t.write(
        "docker-compose.yml",
        &format!("name: {project}\nservices:\n  backend: {{image: {busybox}}}\n"),
    );
    platform
        .deploy([])
        .failure(2)
        .stderr_contains("docker-compose.yml has no compose service `bakend`")
        .stderr_contains("did you mean `backend`?")
        .stderr_contains("x-platform.yml:1:");
    platform.manifest("", "{dev: {compose: docker-compose.yml}}");
    platform
        .deploy([])
        .failure(2)
        .stderr_contains(
            "docker-compose.yml has no compose service `zbackend`, and none with the image",
        )
        .stderr_contains("has no compose service `zfrontend`")
        .stderr_contains("hint: compose services without a service: backend (")
        .stderr_contains("`services: {zbackend: backend}` in the environment maps one");
    assert!(platform.record_volumes().is_empty());
}

fn a_missing_or_old_compose_is_reported(t: &Context) {
    let platform = ComposePlatform::new(t);
    let programs = t.folder().join("programs");
    fs::create_dir_all(&programs).expect("a folder");
    let deploy = || t.xp(["deploy", "dev"]).env("PATH", &programs);
    deploy()
        .failure(3)
        .stderr_contains("error: `docker compose` not found: neither as a plugin of `docker` nor as `docker-compose` on PATH")
        .stderr_contains("hint: install version 2.24 or later: the package `docker-compose` of Debian 13");
    // The predecessor, which Debian 12 has.
    crate::repository::write_file(&programs.join("docker-compose"), "#!/bin/sh\necho 1.29.2\n");
    deploy().failure(3).stderr_contains(
        "is version 1.29.2 of docker compose, which is too old: 2.24 or later is required",
    );
    t.xp(["doctor", "--offline"])
        .env("PATH", format!("{}:/usr/bin:/bin", programs.display()))
        .run()
        .stdout_contains("is version 1.29.2 of docker compose");
    platform
        .xp(["doctor", "--offline", "-v"])
        .run()
        .stdout_contains("dev: the compose files are valid");
    t.write("docker-compose.yml", "services: []\n");
    platform
        .xp(["doctor", "--offline"])
        .run()
        .stdout_contains("dev: cannot read docker-compose.yml");
    // As a plugin of docker.
    fs::remove_file(programs.join("docker-compose")).expect("a file");
    let plugin = format!(
        "#!/bin/sh\n[ \"$1\" = compose ] || exit 1\nshift\nPATH='{}' exec docker-compose \"$@\"\n",
        path()
    );
    crate::repository::write_file(&programs.join("docker"), &plugin);
    platform.compose("", "");
    t.xp(["deploy", "dev", "--build"])
        .env("PATH", format!("{}:/usr/bin:/bin", programs.display()))
        .success();
    platform.running("zbackend");
}

fn a_remote_engine_runs_its_own_images(t: &Context) {
    let platform = ComposePlatform::new(t);
    let (engine, _) = t.remote_engine();
    let busybox = engine.busybox();
    for repository in [&platform.backend, &platform.frontend] {
        let dockerfile = dockerfile(t).replace(t.engine().busybox(), busybox);
        repository.commit(&[("Dockerfile", &dockerfile)], "Base");
    }
    t.write(
        "docker-compose.yml",
        &format!(
            "name: {}\nservices:\n  zbackend: {{build: src/zbackend}}\n",
            platform.project
        ),
    );
    far(t, platform.deploy(["--build"])).success();
    let label = format!("label=com.docker.compose.project={}", platform.project);
    let containers = engine.containers(&[&label]);
    assert_eq!(containers.len(), 1);
    assert_eq!(containers[0]["State"]["Status"], "running");
    assert!(platform.containers("zbackend").is_empty());
    far(t, platform.deploy([]))
        .success()
        .stdout_contains("dev is up to date");
    // The other engine has neither the record nor the images.
    platform
        .deploy(["--rollback"])
        .failure(2)
        .stderr_contains("its record is empty");
    engine.remove_containers(&containers);
}

fn unsupported_options_are_refused(t: &Context) {
    let platform = ComposePlatform::new(t);
    platform
        .deploy(["--force-conflicts"])
        .failure(2)
        .stderr_contains("`--force-conflicts` is for clusters, and dev is a compose project");
    let cluster =
        "{dev: {compose: docker-compose.yml}, staging: {overlay: o, context: c, namespace: n}}";
    platform.manifest("", cluster);
    t.xp(["check"])
        .failure(2)
        .stderr_contains("`deploy` has no `path` or `git`");
    let text = t
        .read("x-platform.yml")
        .replace("deploy: {", "deploy: {path: k8s, ");
    t.manifest(&text);
    t.xp(["deploy", "staging", "--local"])
        .failure(2)
        .stderr_contains("`--local` cannot be used with staging, a cluster");
}

fn a_compose_project_is_taken_over_by_init(t: &Context) {
    let platform = ComposePlatform::new(t);
    fs::remove_file(t.dir().join("x-platform.yml")).expect("a file");
    let url = platform.backend.url_http();
    t.git(".", &["clone", "--quiet", &url, "backend"]);
    let (project, busybox) = (&platform.project, t.engine().busybox());
    t.write(
        "compose.yaml",
        &format!(
            "name: {project}\nservices:\n  api: {{build: backend}}\n  worker: {{build: backend, hostname: worker}}\n  \
             db: {{image: {busybox}, command: [sleep, '600'], stop_signal: SIGKILL}}\n"
        ),
    );
    t.xp(["init"]).success();
    platform.deploy(["--build"]).success();
    for service in ["api", "worker"] {
        assert_eq!(platform.content(service), "one");
    }
    platform.running("db");
    assert_eq!(
        platform.record()[0]["set"]["services"]["api"]["commit"],
        *platform.backend.head()
    );
}
