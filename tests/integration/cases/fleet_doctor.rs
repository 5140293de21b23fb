//! `xp doctor --fleet`: a pod in which a worker checks what units need.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::fleet::FleetPlatform;
use super::small;
use crate::case::Case;
use crate::context::Context;
use crate::wait::wait_until;
use crate::world::{Access, PASSWORD, RegistryKind, SimulatedRun, USER};
use crate::xp::Xp;

pub const CASES: &[Case] = cases![
    a_pod_is_checked_from_inside,
    a_pod_without_engine_is_an_error,
    a_registry_that_pods_cannot_reach_is_an_error,
    a_registry_that_refuses_the_pod_is_an_error,
    a_remote_that_requires_a_login_is_reachable_from_inside,
    an_image_with_another_version_is_an_error,
    an_image_without_xp_is_an_error,
    a_pod_that_stays_pending_is_an_error,
    a_missing_permission_is_an_error,
    an_exhausted_quota_is_an_error,
    an_interrupt_removes_the_job,
    a_fleet_that_does_not_exist_is_an_error,
];

fn doctor(t: &Context) -> Xp {
    t.xp(["doctor", "--fleet", "ci", "-v"])
}

/// Asserts that nothing of a probe is left.
#[track_caller]
fn assert_removed(platform: &FleetPlatform<'_>) {
    assert!(platform.jobs().is_empty(), "{:?}", platform.jobs());
    wait_until("the pod and the Secret are removed", || {
        let namespace = &platform.namespace;
        namespace.objects("pods").is_empty() && namespace.objects("secrets").is_empty()
    });
}

/// Changes the pod template.
fn change_template(t: &Context, from: &str, to: &str) {
    let template = t.read("k8s/pod.yaml");
    assert!(template.contains(from), "{template}");
    t.write("k8s/pod.yaml", &template.replace(from, to));
}

fn a_pod_is_checked_from_inside(t: &Context) {
    let platform = FleetPlatform::new(t);
    let output = doctor(t).success();
    let host = platform.registry.host();
    let image = t.image("base");
    output
        .stdout_contains("ci: the pod xp-doctor-")
        .stdout_contains("ci: in the pod: http://")
        .stdout_contains(&format!(
            "ci: in the pod: pull and push access to {host}/{image}"
        ))
        .stdout_contains("ci: in the pod: http://127.0.0.1:")
        .stdout_contains("origin/master is ");
    assert_removed(&platform);
    let output = t
        .xp(["doctor", "--fleet", "ci", "--format", "json"])
        .success();
    let report: Value = serde_json::from_str(&output.stdout).expect("JSON");
    let subjects = report["subjects"].as_array().expect("subjects");
    let fleets = subjects.iter().find(|it| it["subject"] == "fleets");
    let findings = fleets.expect("fleets")["findings"].to_string();
    assert!(findings.contains("ci: in the pod: "), "{findings}");
    // Without the option, no pod runs.
    let before = platform.namespace.request_counts();
    t.xp(["doctor"]).success();
    assert_eq!(
        platform.namespace.request_counts().get("create jobs"),
        before.get("create jobs")
    );
}

fn a_pod_without_engine_is_an_error(t: &Context) {
    let platform = FleetPlatform::new(t);
    platform.write_template("      env: [{name: DOCKER_HOST, value: 'tcp://127.0.0.1:9'}]\n");
    doctor(t)
        .args(["--timeout", "8"])
        .failure(3)
        .stdout_contains("error: ci: in the pod: no container engine: ")
        .stdout_contains("fix: run one beside the container `xp`")
        // The other checks do not need it.
        .stdout_contains("ci: in the pod: pull and push access to ");
    assert_removed(&platform);
}

fn a_registry_that_pods_cannot_reach_is_an_error(t: &Context) {
    let platform = FleetPlatform::new(t);
    // The registry listens on an address that is another machine's for a pod with its own network.
    change_template(t, "  hostNetwork: true\n", "");
    let host = platform.registry.host();
    doctor(t)
        .failure(3)
        .stdout_contains(&format!("ok: http://{host} is reachable"))
        .stdout_contains(&format!(
            "error: ci: in the pod: the registry {host} did not respond to "
        ));
    assert_removed(&platform);
}

fn a_registry_that_refuses_the_pod_is_an_error(t: &Context) {
    let mut platform = FleetPlatform::new(t);
    platform.registry = t.own_registry(RegistryKind::Auth);
    platform.set_script("echo text > made");
    t.log_in(&platform.registry);
    let host = platform.registry.host();
    doctor(t)
        .success()
        .stdout_contains(&format!(
            "ci: in the pod: http://{host} is reachable; credentials: the user `{USER}`, from "
        ))
        .does_not_contain(PASSWORD);
    // The template has its own logins: none.
    platform.write_template("      env: [{name: DOCKER_CONFIG, value: /nowhere}]\n");
    doctor(t)
        .failure(3)
        .stdout_contains(&format!("error: ci: in the pod: the registry {host} "));
    assert_removed(&platform);
}

fn a_remote_that_requires_a_login_is_reachable_from_inside(t: &Context) {
    let platform = FleetPlatform::new(t);
    let url = platform.base.url_http_auth();
    platform.set_services(&small::service(t, "base", &url, "", ""));
    let netrc = format!("machine 127.0.0.1 login {USER} password {PASSWORD}\n");
    std::fs::write(t.home().join(".netrc"), netrc).expect("a file of the home folder");
    doctor(t)
        .success()
        .stdout_contains(&format!("ci: in the pod: {url}: origin/master is "));
    assert_removed(&platform);
}

fn an_image_with_another_version_is_an_error(t: &Context) {
    let platform = FleetPlatform::new(t);
    platform.namespace.simulate_pods(|_| {
        let begin = json!({"seq": 0, "message": {"begin": {"version": 1, "xp": "0.0.1"}}});
        let failure = json!({"phase": "job", "message": "invalid unit document"});
        let summary = json!({"outcome": "failed", "seconds": 0.1, "failure": failure});
        let end = json!({"seq": 1, "message": {"end": {"summary": summary}}});
        SimulatedRun {
            log: format!("{begin}\n{end}\n"),
            exit_code: 3,
            time: Duration::ZERO,
        }
    });
    doctor(t)
        .failure(3)
        .stdout_contains(" has xp 0.0.1, and this is xp ")
        .stdout_contains("fix: set `image` of the fleet to the image of xp ");
    assert_removed(&platform);
}

fn an_image_without_xp_is_an_error(t: &Context) {
    let platform = FleetPlatform::new(t);
    // Something else is called xp there.
    change_template(
        t,
        "    - name: xp\n",
        "    - name: xp\n      command: [sh, -c, 'echo no xp; exit 4']\n",
    );
    doctor(t)
        .failure(3)
        .stdout_contains("ended with exit code 4 and no result")
        .stdout_contains("no xp")
        .stdout_contains("fix: check that `image` of the fleet is xp's image");
    assert_removed(&platform);
}

fn a_pod_that_stays_pending_is_an_error(t: &Context) {
    let platform = FleetPlatform::new(t);
    let manifest = t.read("x-platform.yml");
    t.manifest(&manifest.replacen("    jobs: 4\n", "    jobs: 4\n    wait: 3s\n", 1));
    platform
        .namespace
        .hold_pods("0/3 nodes are available: 3 Insufficient cpu.");
    doctor(t)
        .failure(3)
        .stdout_contains("error: ci: its pod has not started within 3s: Unschedulable: 0/3 nodes")
        .stdout_contains("fix: `wait` of the fleet sets the limit");
    assert_removed(&platform);
}

fn a_missing_permission_is_an_error(t: &Context) {
    let platform = FleetPlatform::new(t);
    t.kubeconfig(&[("ci-cluster", Access::NoJobs)]);
    doctor(t)
        .failure(3)
        .stdout_contains("missing permissions: create jobs")
        .stdout_contains("fix: bind the Role in docs/fleet.md to the user of the context");
    assert!(platform.jobs().is_empty());
    // Without `--fleet`, the fleet may not be needed.
    t.xp(["doctor"]).success().stdout_contains("warning: ci: ");
}

fn an_exhausted_quota_is_an_error(t: &Context) {
    let platform = FleetPlatform::new(t);
    let quota = "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: builds}\nspec: {hard: {count/jobs.batch: 0}}\n";
    let namespace = format!("--namespace={}", platform.namespace.name());
    t.kubectl([
        "apply",
        "--server-side",
        "--filename=-",
        "--context=ci-cluster",
    ])
    .arg(namespace)
    .stdin(quota)
    .success();
    doctor(t)
        .failure(3)
        .stdout_contains("error: ci: cannot create the Job xp-doctor-")
        .stdout_contains("exceeded quota: builds");
    assert!(platform.jobs().is_empty());
}

fn an_interrupt_removes_the_job(t: &Context) {
    let platform = FleetPlatform::new(t);
    platform
        .namespace
        .hold_pods("0/3 nodes are available: 3 Insufficient cpu.");
    let running = doctor(t).spawn();
    wait_until("the pod of the probe", || {
        !platform.namespace.objects("pods").is_empty()
    });
    let start = Instant::now();
    running.signal(Signal::INT);
    assert_eq!(running.wait().status.code(), Some(130));
    assert!(start.elapsed() < Duration::from_secs(15));
    assert_removed(&platform);
}

fn a_fleet_that_does_not_exist_is_an_error(t: &Context) {
    let _platform = FleetPlatform::new(t);
    t.xp(["doctor", "--fleet", "c"])
        .failure(2)
        .stderr_contains("unknown fleet `c`");
    t.xp(["doctor", "--fleet", "ci", "--offline"])
        .failure(2)
        .stderr_contains("--offline");
}
