//! Builds on a fleet when the cluster, the worker or the network fails.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::contained::image_of_xp;
use super::fleet::FleetPlatform;
use crate::case::Case;
use crate::context::Context;
use crate::output::Output;
use crate::wait::wait_until;
use crate::world::{Access, Cluster, Disruption, LogCut, Refusal};
use crate::xp::{RunningXp, Xp};

pub const CASES: &[Case] = cases![
    a_killed_worker_is_reported,
    a_worker_without_memory_is_reported,
    a_unit_whose_pod_was_evicted_is_built_again,
    a_unit_whose_node_was_lost_is_built_again,
    a_unit_whose_pod_was_drained_is_built_again,
    a_unit_whose_job_was_deleted_is_built_again,
    a_unit_is_not_built_again_forever,
    a_missing_image_of_xp_is_reported,
    an_exhausted_quota_is_waited_for,
    an_exhausted_quota_for_pods_is_waited_for,
    an_exhausted_quota_is_reported_after_the_limit,
    missing_permission_to_create_jobs_is_reported,
    a_pending_pod_shows_why,
    a_pod_that_stays_pending_is_reported,
    an_interrupt_removes_pending_jobs,
    an_interrupted_log_is_resumed,
    a_log_that_ends_early_is_resumed,
    a_log_that_hangs_is_opened_again,
    a_log_that_cannot_be_read_is_retried,
    an_unreachable_server_is_waited_for,
    a_frozen_server_is_waited_for,
    forgotten_revisions_are_listed_again,
    an_interrupt_without_server_ends_soon,
    nothing_but_finished_jobs_stays,
];

fn build(t: &Context) -> Xp {
    t.xp(["build", "base", "--fleet", "ci", "--verbose"])
        .timeout(Duration::from_secs(180))
}

/// Starts a build whose script prints `started`, waits for that, and returns it with the name of its pod.
fn started(t: &Context, platform: &FleetPlatform<'_>) -> (RunningXp, String) {
    let mut running = build(t).spawn();
    running.wait_for_output("started");
    let pod = running_pod(platform);
    (running, pod)
}

fn running_pod(platform: &FleetPlatform<'_>) -> String {
    let running = || {
        let pods = platform.namespace.objects("pods").into_iter();
        let mut pods = pods.filter(|pod| {
            pod["status"]["phase"] == "Running" && pod["metadata"]["deletionTimestamp"].is_null()
        });
        pods.next()
    };
    let found = RefCell::new(None);
    wait_until("a running pod", || {
        // Only one query: it may end before another one.
        *found.borrow_mut() = running();
        found.borrow().is_some()
    });
    let pod = found.into_inner().expect("it runs");
    pod["metadata"]["name"].as_str().expect("a name").to_owned()
}

/// Asserts success, and that the image has the file that the script created.
#[track_caller]
fn assert_built(t: &Context, platform: &FleetPlatform<'_>, running: RunningXp) -> Output {
    let output = running.wait();
    assert!(output.status.success(), "{output}");
    let image = format!(
        "{}/{}:{}",
        platform.registry.host(),
        t.image("base"),
        platform.base.head()
    );
    assert_eq!(t.engine().run(&image, ["cat", "/made"]).trim(), "text");
    output
}

/// Changes the settings of the fleet in the manifest.
fn set_fleet(t: &Context, lines: &str) {
    let manifest = t.read("x-platform.yml");
    t.manifest(&manifest.replacen("    jobs: 4\n", &format!("    jobs: 4\n{lines}"), 1));
}

fn create(t: &Context, platform: &FleetPlatform<'_>, objects: &str) {
    let namespace = format!("--namespace={}", platform.namespace.name());
    let create = t.kubectl([
        "apply",
        "--server-side",
        "--filename=-",
        "--context=ci-cluster",
    ]);
    create.arg(namespace).stdin(objects).success();
}

fn quota(hard: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ResourceQuota\nmetadata: {{name: builds}}\nspec: {{hard: {{{hard}}}}}\n"
    )
}

const SLOW: &str = "echo started; sleep 60";
const BRIEF: &str = "echo started; sleep 4; echo text > made";

fn a_killed_worker_is_reported(t: &Context) {
    let platform = FleetPlatform::new(t);
    platform.set_script(SLOW);
    let (running, pod) = started(t, &platform);
    platform.namespace.kill_container(&pod, "xp", false);
    let output = running.wait();
    assert_eq!(output.status.code(), Some(3), "{output}");
    output
        .stderr_contains(&format!(
            "the worker in the pod {pod} ended with exit code 137 and no result"
        ))
        .stderr_contains("hint: run xp again; finished work is kept");
    // The containers that it started end with it.
    wait_until("the builder's end", || {
        let containers = t.containers();
        !containers
            .iter()
            .any(|it| it["State"]["Running"] == true && it.to_string().contains("sleep 60"))
    });
    platform.set_script(BRIEF);
    let running = build(t).spawn();
    assert_built(t, &platform, running);
}

fn a_worker_without_memory_is_reported(t: &Context) {
    let platform = FleetPlatform::new(t);
    platform.set_script(SLOW);
    let (running, pod) = started(t, &platform);
    platform.namespace.kill_container(&pod, "xp", true);
    let output = running.wait();
    assert_eq!(output.status.code(), Some(3), "{output}");
    output
        .stderr_contains(&format!(
            "the worker in the pod {pod} ran out of memory (OOMKilled)"
        ))
        .stderr_contains("hint: raise `resources.limits.memory`");
}

/// Ends the pod of a unit once; the unit must be built again.
fn built_again(t: &Context, disruption: Disruption) -> String {
    let platform = FleetPlatform::new(t);
    platform.set_script(BRIEF);
    let (running, pod) = started(t, &platform);
    platform.namespace.disrupt(&pod, disruption);
    assert_built(t, &platform, running);
    wait_until("the end of the first pod", || {
        platform.namespace.object("pods", &pod).is_none()
    });
    assert_eq!(platform.jobs().len(), 1);
    t.xp(["logs", "base", "--phase", "job"]).success().stdout
}

fn a_unit_whose_pod_was_evicted_is_built_again(t: &Context) {
    let log = built_again(t, Disruption::Evicted);
    assert!(
        log.contains("Evicted") && log.contains("low on resource"),
        "{log}"
    );
    assert!(log.contains("(1 of 2)"), "{log}");
}

fn a_unit_whose_node_was_lost_is_built_again(t: &Context) {
    let log = built_again(t, Disruption::NodeLost(Duration::from_secs(3)));
    assert!(log.contains("(1 of 2)"), "{log}");
}

fn a_unit_whose_pod_was_drained_is_built_again(t: &Context) {
    let log = built_again(t, Disruption::Drained);
    assert!(log.contains("(1 of 2)"), "{log}");
}

fn a_unit_whose_job_was_deleted_is_built_again(t: &Context) {
    let platform = FleetPlatform::new(t);
    platform.set_script(BRIEF);
    let (running, _) = started(t, &platform);
    let job = platform.jobs()[0]["metadata"]["name"].clone();
    let namespace = format!("--namespace={}", platform.namespace.name());
    t.kubectl([
        "delete",
        "job",
        job.as_str().expect("a name"),
        "--wait=false",
    ])
    .args(["--context=ci-cluster", &namespace])
    .success();
    assert_built(t, &platform, running);
}

fn a_unit_is_not_built_again_forever(t: &Context) {
    let platform = FleetPlatform::new(t);
    platform.set_script(SLOW);
    let (running, mut pod) = started(t, &platform);
    for _ in 0..2 {
        platform.namespace.disrupt(&pod, Disruption::Evicted);
        let before = pod.clone();
        wait_until("another pod", || running_pod(&platform) != before);
        pod = running_pod(&platform);
    }
    platform.namespace.disrupt(&pod, Disruption::Evicted);
    let output = running.wait();
    assert_eq!(output.status.code(), Some(3), "{output}");
    output.stderr_contains("Evicted");
}

fn a_missing_image_of_xp_is_reported(t: &Context) {
    let platform = FleetPlatform::new(t);
    let missing = format!("{}/{}", platform.registry.host(), t.image("missing:1"));
    let manifest = t.read("x-platform.yml");
    t.manifest(&manifest.replace(image_of_xp(t), &missing));
    build(t)
        .failure(3)
        .stderr_contains("cannot start: ")
        .stderr_contains(&missing)
        .stderr_contains("hint: check `image` of the fleet");
    assert_nothing_waits(&platform);
}

/// Asserts that no Job that could still start is left, and no Secret.
#[track_caller]
fn assert_nothing_waits(platform: &FleetPlatform<'_>) {
    let is_over = |job: &Value| {
        let conditions = job["status"]["conditions"].as_array().into_iter().flatten();
        { conditions }.any(|it| it["type"] == "Complete" || it["type"] == "Failed")
    };
    // A worker reports its result just before it ends.
    wait_until("the end of the Jobs", || {
        platform.jobs().iter().all(is_over)
    });
    assert!(platform.namespace.objects("secrets").is_empty());
    wait_until("the end of the pods", || {
        let pods = platform.namespace.objects("pods");
        let phases = pods.iter().map(|pod| pod["status"]["phase"].clone());
        { phases }.all(|phase| phase == "Succeeded" || phase == "Failed")
    });
}

fn an_exhausted_quota_is_waited_for(t: &Context) {
    let platform = FleetPlatform::new(t);
    create(t, &platform, &quota("count/jobs.batch: 0"));
    let mut running = build(t).spawn();
    running.wait_for_output("exceeded quota: builds");
    assert!(platform.jobs().is_empty());
    create(t, &platform, &quota("count/jobs.batch: 5"));
    assert_built(t, &platform, running);
}

fn an_exhausted_quota_for_pods_is_waited_for(t: &Context) {
    let platform = FleetPlatform::new(t);
    create(t, &platform, &quota("pods: 0"));
    let mut running = build(t).spawn();
    running.wait_for_output("exceeded quota: builds");
    create(t, &platform, &quota("pods: 5"));
    assert_built(t, &platform, running);
}

fn an_exhausted_quota_is_reported_after_the_limit(t: &Context) {
    let platform = FleetPlatform::new(t);
    set_fleet(t, "    wait: 3s\n");
    create(t, &platform, &quota("count/jobs.batch: 0"));
    build(t)
        .failure(3)
        .stderr_contains("exceeded quota: builds, requested: count/jobs.batch=1");
    // The events of a Job without pod are read after ten seconds.
    let manifest = t.read("x-platform.yml");
    t.manifest(&manifest.replace("wait: 3s", "wait: 12s"));
    create(t, &platform, &quota("count/jobs.batch: 5, pods: 0"));
    build(t)
        .failure(3)
        .stderr_contains("its pod has not started within 12")
        .stderr_contains("exceeded quota: builds, requested: pods=1")
        .stderr_contains("hint: `wait` of the fleet sets the limit");
    assert_nothing_waits(&platform);
}

fn missing_permission_to_create_jobs_is_reported(t: &Context) {
    let platform = FleetPlatform::new(t);
    t.kubeconfig(&[("ci-cluster", Access::NoJobs)]);
    build(t)
        .failure(3)
        .stderr_contains("create")
        .stderr_contains("jobs")
        .stderr_contains("hint: ");
    assert!(platform.jobs().is_empty() && platform.namespace.objects("secrets").is_empty());
}

fn a_pending_pod_shows_why(t: &Context) {
    let platform = FleetPlatform::new(t);
    let message = "0/3 nodes are available: 3 Insufficient cpu.";
    platform.namespace.hold_pods(message);
    let mut running = build(t).spawn();
    running.wait_for_output(message);
    platform.namespace.release_pods();
    assert_built(t, &platform, running);
}

fn a_pod_that_stays_pending_is_reported(t: &Context) {
    let platform = FleetPlatform::new(t);
    set_fleet(t, "    wait: 3s\n");
    platform
        .namespace
        .hold_pods("0/3 nodes are available: 3 Insufficient cpu.");
    build(t)
        .failure(3)
        .stderr_contains("its pod has not started within 3")
        .stderr_contains("3 Insufficient cpu")
        .stderr_contains("hint: `wait` of the fleet sets the limit");
    assert_nothing_waits(&platform);
}

fn an_interrupt_removes_pending_jobs(t: &Context) {
    let platform = FleetPlatform::new(t);
    platform
        .namespace
        .hold_pods("0/3 nodes are available: 3 Insufficient cpu.");
    let mut running = build(t).spawn();
    running.wait_for_output("Insufficient cpu");
    running.signal(Signal::INT);
    assert_eq!(running.wait().status.code(), Some(130));
    assert!(platform.jobs().is_empty());
    wait_until("the pods and Secrets are removed", || {
        let namespace = &platform.namespace;
        namespace.objects("pods").is_empty() && namespace.objects("secrets").is_empty()
    });
}

/// Prints 60 numbered lines in about six seconds.
const LINES: &str =
    "i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo line-$i.; sleep 0.1; done; echo text > made";

/// Asserts that each line of [`LINES`] was printed exactly once and in order.
#[track_caller]
fn assert_lines(t: &Context) {
    let log = t.xp(["logs", "base", "--phase", "build"]).success().stdout;
    let lines: Vec<&str> = log
        .lines()
        .filter(|line| line.ends_with('.') && line.contains("line-"))
        .collect();
    let numbers = lines.iter().filter_map(|line| {
        let (_, number) = line.rsplit_once("line-")?;
        number.trim_end_matches('.').parse::<usize>().ok()
    });
    let numbers: Vec<usize> = numbers.collect();
    assert_eq!(numbers, (1..=60).collect::<Vec<_>>(), "{log}");
}

fn resumed(t: &Context, how: LogCut) {
    let platform = FleetPlatform::new(t);
    platform.set_script(LINES);
    platform.namespace.cut_logs(1500, how, 5);
    let running = build(t).spawn();
    assert_built(t, &platform, running);
    assert_lines(t);
    let counts = platform.namespace.request_counts();
    assert!(counts["get pods/log"] >= 6, "{counts:?}");
}

fn an_interrupted_log_is_resumed(t: &Context) {
    resumed(t, LogCut::Reset);
}

fn a_log_that_ends_early_is_resumed(t: &Context) {
    resumed(t, LogCut::End);
}

fn a_log_that_hangs_is_opened_again(t: &Context) {
    let platform = FleetPlatform::new(t);
    platform.set_script(&format!("{LINES}; exit 1"));
    platform.namespace.cut_logs(1500, LogCut::Hang, 1);
    build(t).failure(1);
    assert_lines(t);
}

fn a_log_that_cannot_be_read_is_retried(t: &Context) {
    let platform = FleetPlatform::new(t);
    platform.set_script(LINES);
    platform
        .namespace
        .refuse("GET", "pods/log", Refusal::Unavailable);
    let running = build(t).spawn();
    wait_until("three attempts", || {
        let counts = platform.namespace.request_counts();
        counts.get("get pods/log").is_some_and(|count| *count >= 3)
    });
    platform.namespace.refuse_nothing();
    assert_built(t, &platform, running);
    assert_lines(t);
}

/// The platform on a cluster of this test alone.
fn alone(t: &Context) -> (Cluster, FleetPlatform<'_>) {
    let mut platform = FleetPlatform::new(t);
    let cluster = t.own_cluster();
    platform.namespace = cluster.namespace("alone");
    platform.namespace.run_pods_on_host_network(t.engine());
    t.write_kubeconfig(&cluster.kubeconfig(&[("ci-cluster", Access::Full)]));
    platform.set_script(LINES);
    (cluster, platform)
}

/// The length of an outage: a minute only in a long run of the tests.
fn outage() -> Duration {
    let is_long = std::env::var_os("XP_TEST_LONG").is_some();
    Duration::from_secs(if is_long { 60 } else { 8 })
}

fn an_unreachable_server_is_waited_for(t: &Context) {
    let (cluster, platform) = alone(t);
    let mut running = build(t).spawn();
    running.wait_for_output("line-5.");
    cluster.refuse_connections(outage());
    assert_built(t, &platform, running);
    assert_lines(t);
}

fn a_frozen_server_is_waited_for(t: &Context) {
    let (cluster, platform) = alone(t);
    let mut running = build(t).spawn();
    running.wait_for_output("line-5.");
    cluster.freeze(outage());
    assert_built(t, &platform, running);
    assert_lines(t);
}

fn forgotten_revisions_are_listed_again(t: &Context) {
    let (cluster, platform) = alone(t);
    let mut running = build(t).spawn();
    running.wait_for_output("line-5.");
    cluster.refuse_connections(Duration::from_secs(2));
    cluster.forget_history();
    assert_built(t, &platform, running);
    assert_lines(t);
}

fn an_interrupt_without_server_ends_soon(t: &Context) {
    let (cluster, platform) = alone(t);
    platform.set_script(SLOW);
    let mut running = build(t).spawn();
    running.wait_for_output("started");
    cluster.refuse_connections(Duration::from_secs(60));
    let start = Instant::now();
    running.signal(Signal::INT);
    let output = running.wait();
    assert_eq!(output.status.code(), Some(130), "{output}");
    assert!(start.elapsed() < Duration::from_secs(40), "{output}");
    // It names what it could not remove.
    let job = platform.jobs()[0]["metadata"]["name"].clone();
    output.stderr_contains(job.as_str().expect("a name"));
}

fn nothing_but_finished_jobs_stays(t: &Context) {
    let platform = FleetPlatform::new(t);
    t.xp(["build", "--fleet", "ci"]).success();
    assert_nothing_waits(&platform);
    for job in platform.jobs() {
        let ttl = &job["spec"]["ttlSecondsAfterFinished"];
        assert!(ttl.as_u64().is_some_and(|ttl| ttl <= 3600), "{ttl}");
    }
    let socket = t.dir().join(".xp/kubectl");
    assert!(!socket.exists());
}
