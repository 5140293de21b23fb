//! Faults that the tests' cluster can simulate, seen by the real `kubectl`.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::case::Case;
use crate::cluster_job::{Builds, job};
use crate::context::Context;
use crate::wait::wait_until;
use crate::world::{Access, Disruption, LogCut, Refusal};
use crate::xp::Xp;

pub const CASES: &[Case] = cases![
    a_pod_stays_pending,
    a_pod_fits_on_no_node,
    a_pod_is_evicted,
    a_pod_is_drained,
    a_node_is_lost,
    a_container_is_killed,
    a_failure_policy_ignores_disruptions,
    a_quota_is_exceeded,
    a_service_account_is_missing,
    jobs_cannot_be_created,
    roles_limit_service_accounts,
    one_may_ask_for_permissions,
    a_log_is_cut,
    a_log_cannot_be_read,
    the_server_is_unreachable_for_a_while,
    the_server_freezes_for_a_while,
    a_watch_from_an_old_revision_expires,
    jobs_are_validated,
    nothing_is_left_in_the_engine,
];

const SLEEPER: &str = "echo begun; sleep 600";

fn a_pod_stays_pending(t: &Context) {
    let builds = Builds::new(t);
    let message = "0/3 nodes are available: 3 Insufficient cpu.";
    builds.namespace.hold_pods(message);
    builds.create(&job(t, "stuck", "echo ran"));
    wait_until("the scheduler's condition", || {
        builds.pod("stuck")["status"]["conditions"][0]["message"] == message
    });
    let condition = builds.pod("stuck")["status"]["conditions"][0].clone();
    assert_eq!(
        (&condition["type"], &condition["reason"]),
        (&"PodScheduled".into(), &"Unschedulable".into())
    );
    builds.kubectl("get pods").stdout_contains("Pending");
    builds
        .kubectl("get events")
        .stdout_contains("FailedScheduling")
        .stdout_contains(message);
    builds.namespace.release_pods();
    builds.kubectl("wait --for=condition=complete job/stuck --timeout=60s");
}

fn a_pod_fits_on_no_node(t: &Context) {
    let builds = Builds::new(t);
    let selector = "restartPolicy: Never\n      nodeSelector: {kubernetes.io/arch: arm64}";
    builds.create(&job(t, "foreign", "true").replace("restartPolicy: Never", selector));
    let resources = "name: main\n          resources: {requests: {cpu: 1000, memory: 1Gi}}";
    builds.create(&job(t, "large", "true").replace("name: main", resources));
    for (name, part) in [
        (
            "foreign",
            "3 node(s) didn't match Pod's node affinity/selector",
        ),
        ("large", "3 Insufficient cpu"),
    ] {
        wait_until(part, || {
            let condition = builds.pod(name)["status"]["conditions"][0].clone();
            condition["message"]
                .as_str()
                .is_some_and(|message| message.contains(part))
        });
    }
}

/// Creates a Job that sleeps, and returns its pod.
fn sleeping(t: &Context, builds: &Builds<'_>, limit: u64) -> String {
    let text = job(t, "unit", SLEEPER)
        .replace("backoffLimit: 0", &format!("backoffLimit: {limit}"))
        .replace(
            "restartPolicy: Never",
            "restartPolicy: Never\n      terminationGracePeriodSeconds: 1",
        );
    builds.create(&text);
    builds.running_pod("unit")
}

fn condition(object: &Value, of: &str) -> Value {
    let conditions = object["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions
        .find(|condition| condition["type"] == of)
        .cloned()
        .unwrap_or_default()
}

fn a_pod_is_evicted(t: &Context) {
    let builds = Builds::new(t);
    let pod = sleeping(t, &builds, 0);
    builds.namespace.disrupt(&pod, Disruption::Evicted);
    builds.kubectl("wait --for=condition=failed job/unit --timeout=60s");
    let pod = builds.object("pods", &pod);
    assert_eq!(pod["status"]["reason"], "Evicted");
    assert!(
        pod["status"]["message"]
            .as_str()
            .is_some_and(|text| text.contains("low on resource"))
    );
    assert_eq!(
        condition(&pod, "DisruptionTarget")["reason"],
        "TerminationByKubelet"
    );
    builds.kubectl("get pods").stdout_contains("Evicted");
}

fn a_pod_is_drained(t: &Context) {
    let builds = Builds::new(t);
    let pod = sleeping(t, &builds, 1);
    builds.namespace.disrupt(&pod, Disruption::Drained);
    wait_until("the pod's end", || {
        builds.namespace.object("pods", &pod).is_none()
    });
    let next = builds.running_pod("unit");
    assert_ne!(next, pod);
    assert_eq!(builds.object("jobs", "unit")["status"]["failed"], 1);
}

fn a_node_is_lost(t: &Context) {
    let builds = Builds::new(t);
    let pod = sleeping(t, &builds, 1);
    builds
        .namespace
        .disrupt(&pod, Disruption::NodeLost(Duration::from_secs(2)));
    wait_until("the condition", || {
        let pod = builds.namespace.object("pods", &pod).unwrap_or_default();
        condition(&pod, "DisruptionTarget")["reason"] == "DeletionByTaintManager"
    });
    let lost = builds
        .namespace
        .object("pods", &pod)
        .expect("it exists for two seconds");
    assert_eq!(lost["status"]["phase"], "Running");
    assert_eq!(condition(&lost, "Ready")["status"], "False");
    builds
        .command(&format!("logs {pod}"))
        .failure(1)
        .stderr_contains("no route to host");
    wait_until("the pod's end", || {
        builds.namespace.object("pods", &pod).is_none()
    });
    wait_until("another pod", || {
        let pods = builds.namespace.objects("pods");
        pods.iter().any(|pod| pod["status"]["phase"] == "Running")
    });
}

fn a_container_is_killed(t: &Context) {
    for (out_of_memory, reason) in [(false, "Error"), (true, "OOMKilled")] {
        let builds = Builds::new(t);
        let pod = sleeping(t, &builds, 0);
        builds.namespace.kill_container(&pod, "main", out_of_memory);
        builds.kubectl("wait --for=condition=failed job/unit --timeout=60s");
        let pod = builds.object("pods", &pod);
        let end = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
        assert_eq!(
            (&end["exitCode"], &end["reason"]),
            (&137.into(), &reason.into())
        );
        builds.kubectl("delete job unit");
    }
}

fn a_failure_policy_ignores_disruptions(t: &Context) {
    let builds = Builds::new(t);
    let policy = "backoffLimit: 0\n  podFailurePolicy:\n    rules:\n      \
         - {action: Ignore, onPodConditions: [{type: DisruptionTarget}]}\n      \
         - {action: FailJob, onExitCodes: {operator: In, values: [42]}}";
    let text = job(t, "unit", SLEEPER)
        .replace("backoffLimit: 0", policy)
        .replace(
            "restartPolicy: Never",
            "restartPolicy: Never\n      terminationGracePeriodSeconds: 1",
        );
    builds.create(&text);
    let pod = builds.running_pod("unit");
    builds.namespace.disrupt(&pod, Disruption::Evicted);
    wait_until("another pod", || {
        let pods = builds.namespace.objects("pods");
        pods.iter().any(|pod| pod["status"]["phase"] == "Running")
    });
    let text = text
        .replace("name: unit", "name: bad")
        .replace("backoffLimit: 0", "backoffLimit: 5");
    builds.create(&text.replace(SLEEPER, "exit 42"));
    builds.kubectl("wait --for=condition=failed job/bad --timeout=60s");
    let job = builds.object("jobs", "bad");
    assert_eq!(condition(&job, "Failed")["reason"], "PodFailurePolicy");
}

fn a_quota_is_exceeded(t: &Context) {
    let builds = Builds::new(t);
    builds.create(
        "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: builds}\n\
         spec: {hard: {count/jobs.batch: 2, pods: 1}}\n",
    );
    builds.create(&job(t, "one", "sleep 600").replace(
        "restartPolicy: Never",
        "restartPolicy: Never\n      terminationGracePeriodSeconds: 1",
    ));
    builds.running_pod("one");
    builds.create(&job(t, "two", "true"));
    builds
        .command("create --filename=-")
        .stdin(&job(t, "three", "true"))
        .failure(1)
        .stderr_contains(
            "jobs.batch \"three\" is forbidden: exceeded quota: builds, requested: count/jobs.batch=1, \
             used: count/jobs.batch=2, limited: count/jobs.batch=2",
        );
    wait_until("the event", || {
        let events = builds.namespace.objects("events");
        events.iter().any(|event| {
            event["reason"] == "FailedCreate"
                && event["message"].as_str().is_some_and(|text| {
                    text.contains(
                        "is forbidden: exceeded quota: builds, requested: pods=1, used: pods=1",
                    )
                })
        })
    });
    let quota = builds.object("resourcequotas", "builds");
    assert_eq!(quota["status"]["used"]["count/jobs.batch"], "2", "{quota}");
    builds.kubectl("delete job one");
    builds.kubectl("wait --for=condition=complete job/two --timeout=60s");
}

fn a_service_account_is_missing(t: &Context) {
    let builds = Builds::new(t);
    let account = "restartPolicy: Never\n      serviceAccountName: builder";
    builds.create(&job(t, "unit", "echo ran").replace("restartPolicy: Never", account));
    wait_until("the event", || {
        let events = builds.namespace.objects("events");
        let expected = "error looking up service account";
        events.iter().any(|event| {
            event["message"]
                .as_str()
                .is_some_and(|text| text.contains(expected))
        })
    });
    builds.kubectl("create serviceaccount builder");
    builds.kubectl("wait --for=condition=complete job/unit --timeout=60s");
}

fn jobs_cannot_be_created(t: &Context) {
    let builds = Builds::new(t);
    t.kubeconfig(&[("planner", Access::NoJobs)]);
    builds
        .command("create --filename=-")
        .stdin(&job(t, "unit", "true"))
        .failure(1)
        .stderr_contains(&format!(
            "jobs.batch is forbidden: User \"planner\" cannot create resource \"jobs\" in API group \"batch\" \
             in the namespace {:?}",
            builds.namespace.name()
        ));
    builds.kubectl("get jobs");
}

const ROLE: &str = "\
apiVersion: v1
kind: ServiceAccount
metadata: {name: coordinator}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: builds}
rules:
  - {apiGroups: [batch], resources: [jobs], verbs: [get, list, watch, create, delete]}
  - {apiGroups: [''], resources: [pods, pods/log], verbs: [get, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: builds}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: builds}
subjects: [{kind: ServiceAccount, name: coordinator}]
";

fn roles_limit_service_accounts(t: &Context) {
    let builds = Builds::new(t);
    builds.create(ROLE);
    t.write_kubeconfig(&builds.namespace.account_kubeconfig("ci", "coordinator"));
    builds.create(&job(t, "unit", "echo ran"));
    builds.kubectl("wait --for=condition=complete job/unit --timeout=60s");
    builds.kubectl("logs job/unit").stdout_contains("ran");
    let user = format!(
        "system:serviceaccount:{}:coordinator",
        builds.namespace.name()
    );
    builds
        .command("get secrets")
        .failure(1)
        .stderr_contains(&format!("User {user:?} cannot list resource \"secrets\""));
    builds
        .kubectl("auth can-i create jobs.batch")
        .stdout_contains("yes");
    builds
        .command("auth can-i create secrets")
        .failure(1)
        .stdout_contains("no");
    builds
        .kubectl("auth can-i get pods --subresource=log")
        .stdout_contains("yes");
    builds
        .kubectl("auth can-i --list")
        .stdout_contains("pods/log");
}

fn one_may_ask_for_permissions(t: &Context) {
    let builds = Builds::new(t);
    builds
        .kubectl("auth can-i create jobs")
        .stdout_contains("yes");
    t.kubeconfig(&[("planner", Access::NoJobs)]);
    builds
        .command("auth can-i create jobs.batch")
        .failure(1)
        .stdout_contains("no");
    builds
        .kubectl("auth can-i list jobs.batch")
        .stdout_contains("yes");
}

fn a_log_is_cut(t: &Context) {
    let builds = Builds::new(t);
    builds.create(&job(t, "unit", "echo one; echo two; sleep 2; echo three"));
    builds.running_pod("unit");
    builds.namespace.cut_logs(4, LogCut::End, 1);
    // The end looks regular, although the container still runs.
    assert_eq!(builds.kubectl("logs --follow job/unit").stdout, "one\n");
    builds.namespace.cut_logs(6, LogCut::Reset, 1);
    let output = builds.command("logs --follow job/unit").failure(1);
    assert_eq!(output.stdout, "one\ntw", "{output}");
    assert_eq!(
        builds.kubectl("logs --follow job/unit").stdout,
        "one\ntwo\nthree\n"
    );
}

fn a_log_cannot_be_read(t: &Context) {
    let builds = Builds::new(t);
    builds.create(&job(t, "unit", "true"));
    builds.kubectl("wait --for=condition=complete job/unit --timeout=60s");
    builds
        .namespace
        .refuse("GET", "pods/log", Refusal::Unavailable);
    builds
        .command("logs job/unit")
        .failure(1)
        .stderr_contains("currently unable to handle the request");
    builds.namespace.refuse_nothing();
    builds
        .command("logs job/unit --container=other")
        .failure(1)
        .stderr_contains("container other is not valid for pod");
    builds
        .command("logs nothing")
        .failure(1)
        .stderr_contains(r#"pods "nothing" not found"#);
}

/// Returns `kubectl` for a cluster of this test alone.
fn own(t: &Context, words: &str) -> Xp {
    words
        .split(' ')
        .fold(t.kubectl(["--namespace=builds"]), Xp::arg)
}

fn the_server_is_unreachable_for_a_while(t: &Context) {
    let cluster = t.own_cluster();
    let namespace = cluster.namespace("builds");
    namespace.run_pods(t.engine());
    t.write_kubeconfig(&cluster.kubeconfig(&[("own", Access::Full)]));
    own(t, "create --filename=-")
        .stdin(&job(t, "unit", SLEEPER))
        .success();
    own(
        t,
        "wait --for=jsonpath={.status.ready}=1 job/unit --timeout=60s",
    )
    .success();
    let mut follow = own(t, "logs --follow job/unit").spawn();
    follow.wait_for_output("begun");

    cluster.refuse_connections(Duration::from_secs(2));
    let follow = follow.wait();
    assert!(!follow.status.success(), "{follow}");
    own(t, "get jobs")
        .failure(1)
        .stderr_contains("The connection to the server 127.0.0.1:");
    wait_until("the server", || own(t, "get jobs").run().status.success());
    // Pods do not depend on it.
    own(t, "get pods").success().stdout_contains("Running");
}

fn the_server_freezes_for_a_while(t: &Context) {
    let cluster = t.own_cluster();
    let namespace = cluster.namespace("builds");
    t.write_kubeconfig(&cluster.kubeconfig(&[("own", Access::Full)]));
    own(t, "get jobs").success();
    cluster.freeze(Duration::from_secs(3));
    let start = Instant::now();
    own(t, "get jobs --request-timeout=1s").failure(1);
    own(t, "get jobs").success();
    assert!(start.elapsed() >= Duration::from_secs(3));
    drop(namespace);
}

fn a_watch_from_an_old_revision_expires(t: &Context) {
    let cluster = t.own_cluster();
    let namespace = cluster.namespace("builds");
    t.write_kubeconfig(&cluster.kubeconfig(&[("own", Access::Full)]));
    cluster.forget_history();
    let path = "get --raw /api/v1/namespaces/builds/pods?watch=true&resourceVersion=1";
    own(t, path)
        .success()
        .stdout_contains("too old resource version: 1 (")
        .stdout_contains("\"code\":410");
    drop(namespace);
}

fn jobs_are_validated(t: &Context) {
    let builds = Builds::new(t);
    let refused = |text: &str, why: &str| {
        builds
            .command("create --filename=-")
            .stdin(text)
            .failure(1)
            .stderr_contains(why);
    };
    let good = job(t, "unit", "true");
    refused(
        &good.replace("      restartPolicy: Never\n", ""),
        "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"",
    );
    refused(
        &good.replace("name: unit", &format!("name: {}", "x".repeat(64))),
        "must be no more than 63 characters",
    );
    refused(
        &good.replace("{name: unit}", "{name: unit, labels: {app: a/b}}"),
        "a valid label must be",
    );
    refused(
        &good.replace("backoffLimit", "backofLimit"),
        "unknown field \"spec.backofLimit\"",
    );
    let data = "x".repeat(1_048_577);
    let map = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: large}}\ndata: {{plan: {data}}}\n"
    );
    refused(&map, "may not be more than 1048576 bytes");
    builds.create(&good);
    refused(&good, "jobs.batch \"unit\" already exists");
    let apply = builds.command("apply --server-side --field-manager=xp --filename=-");
    apply
        .stdin(&good.replace("'true'", "'false'"))
        .failure(1)
        .stderr_contains("Apply failed with 1 conflict: conflict with \"kubectl-create\"");
    let apply = builds.command("apply --server-side --force-conflicts --filename=-");
    apply
        .stdin(&good.replace("'true'", "'false'"))
        .failure(1)
        .stderr_contains("field is immutable");
}

fn nothing_is_left_in_the_engine(t: &Context) {
    let label;
    {
        let builds = Builds::new(t);
        label = format!(
            "label=io.kubernetes.pod.namespace={}",
            builds.namespace.name()
        );
        sleeping(t, &builds, 0);
        assert_eq!(t.engine().containers(&[&label]).len(), 2);
        // Like a failed test.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _owned = builds;
            std::panic::resume_unwind(Box::new("the test failed"));
        }));
        assert!(result.is_err());
    }
    assert_eq!(t.engine().containers(&[&label]), [Value::Null; 0]);
}
