//! The tests' API server with the real `kubectl`: the behavior that the deploy tests rely on.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::case::Case;
use crate::context::Context;
use crate::output::Output;
use crate::wait::wait_until;
use crate::world::{Access, Namespace, Outcome, Refusal};

pub const CASES: &[Case] = cases![
    kubectl_discovers_resources,
    an_object_is_applied_once,
    fields_no_longer_applied_are_removed,
    managers_conflict,
    updates_take_ownership_of_fields,
    a_dry_run_changes_nothing,
    diff_hides_secrets,
    kubectl_waits_for_a_rollout,
    a_rollout_fails,
    a_rollout_hangs,
    a_rollout_is_undone,
    stateful_and_daemon_sets_roll_out,
    lists_support_selectors,
    a_watch_sees_changes,
    an_old_revision_is_rejected,
    invalid_objects_are_rejected,
    permissions_are_enforced,
    a_test_can_make_requests_fail,
    deleted_objects_are_gone,
    namespaces_isolate_tests,
];

/// A Deployment, a Service, a ConfigMap and a Secret, all named `web`.
const WEB: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: web:1
          ports: [{name: http, containerPort: 8080}]
          env: [{name: ONE, value: '1'}, {name: TWO, value: '2'}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: web}
data: {one: '1', two: '2'}
---
apiVersion: v1
kind: Secret
metadata: {name: web}
stringData: {password: canary}
";

/// The test's namespace; the current context of `kubectl` can write to it.
fn namespace(t: &Context) -> Namespace {
    t.kubeconfig(&[("full", Access::Full)]);
    t.namespace("staging")
}

/// Applies as `xp` does.
fn apply(t: &Context, namespace: &Namespace, manager: &str, objects: &str) -> crate::xp::Xp {
    let kubectl = t.kubectl(["apply", "--server-side", "--filename=-"]);
    let manager = format!("--field-manager={manager}");
    kubectl
        .arg(manager)
        .args(["--namespace", namespace.name()])
        .stdin(objects)
}

/// Runs `kubectl` with these arguments; it must succeed.
#[track_caller]
fn kubectl(t: &Context, namespace: &Namespace, words: &str) -> Output {
    command(t, namespace, words).success()
}

fn command(t: &Context, namespace: &Namespace, words: &str) -> crate::xp::Xp {
    let command = t.kubectl(["--namespace", namespace.name()]);
    words.split(' ').fold(command, crate::xp::Xp::arg)
}

/// Creates a ConfigMap with this data.
#[track_caller]
fn create(t: &Context, namespace: &Namespace, name: &str, data: &str) {
    // `kubectl` treats text that starts with a brace as JSON.
    let map =
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {data}\n");
    let command = command(t, namespace, "create --filename=-");
    command.stdin(&map).success();
}

/// Returns the only container of the Deployment.
fn container(namespace: &Namespace) -> Value {
    let deployment = namespace
        .object("deployments", "web")
        .expect("it was applied");
    deployment["spec"]["template"]["spec"]["containers"][0].clone()
}

fn kubectl_discovers_resources(t: &Context) {
    let namespace = namespace(t);
    kubectl(t, &namespace, "version").stdout_contains("Server Version: v1.");
    let resources = kubectl(t, &namespace, "api-resources --output=name").stdout;
    for name in [
        "deployments.apps",
        "configmaps",
        "ingresses.networking.k8s.io",
    ] {
        assert!(resources.lines().any(|line| line == name), "{resources}");
    }
    kubectl(t, &namespace, "get ns").stdout_contains(namespace.name());
}

fn an_object_is_applied_once(t: &Context) {
    let namespace = namespace(t);
    let applied = apply(t, &namespace, "xp", WEB).success();
    applied.stdout_contains("deployment.apps/web serverside-applied");
    kubectl(t, &namespace, "rollout status deployment/web");
    let first = namespace.object("deployments", "web");
    apply(t, &namespace, "xp", WEB).success();
    assert_eq!(namespace.object("deployments", "web"), first);

    let requests = namespace.requests();
    let patch = requests
        .iter()
        .find(|request| request.method == "PATCH")
        .expect("one");
    assert!(patch.path.contains("fieldManager=xp"), "{patch:?}");
    assert!(patch.user_agent.starts_with("kubectl"), "{patch:?}");
    assert!(patch.body.contains("web:1"), "{patch:?}");
    assert_eq!((patch.user.as_str(), patch.status), ("deployer", 201));
}

fn fields_no_longer_applied_are_removed(t: &Context) {
    let namespace = namespace(t);
    apply(t, &namespace, "xp", WEB).success();
    let less = WEB
        .replace(", {name: TWO, value: '2'}", "")
        .replace(", two: '2'", "")
        .replace("  replicas: 2\n", "");
    apply(t, &namespace, "xp", &less).success();
    let environment = container(&namespace)["env"].to_string();
    assert_eq!(environment, r#"[{"name":"ONE","value":"1"}]"#);
    let data = kubectl(t, &namespace, "get configmap web -o jsonpath={.data}").stdout;
    assert_eq!(data, r#"{"one":"1"}"#);
    let deployment = namespace.object("deployments", "web").expect("it is there");
    // A removed value returns to its default.
    assert_eq!(deployment["spec"]["replicas"], 1);
}

fn managers_conflict(t: &Context) {
    let namespace = namespace(t);
    apply(t, &namespace, "xp", WEB).success();
    let others = WEB.replace("one: '1', two: '2'", "one: other, three: '3'");
    apply(t, &namespace, "other", &others)
        .failure(1)
        .stderr_contains("Apply failed with 1 conflict: conflict with \"xp\": .data.one");
    let images = WEB
        .replace("web:1", "web:2")
        .replace("replicas: 2", "replicas: 3");
    apply(t, &namespace, "other", &images)
        .failure(1)
        .stderr_contains(
            "Apply failed with 2 conflicts: conflicts with \"xp\":\n- .spec.replicas\n",
        )
        .stderr_contains(r#"- .spec.template.spec.containers[name="web"].image"#);
    assert_eq!(container(&namespace)["image"], "web:1");

    apply(t, &namespace, "other", &others)
        .arg("--force-conflicts")
        .success();
    // The field now belongs to the other manager, fields that both set belong to both, and the rest is
    // unchanged.
    apply(t, &namespace, "xp", WEB)
        .failure(1)
        .stderr_contains("conflict with \"other\": .data.one");
    let map = namespace.object("configmaps", "web").expect("it is there");
    assert_eq!(
        map["data"].to_string(),
        r#"{"one":"other","two":"2","three":"3"}"#
    );
}

fn updates_take_ownership_of_fields(t: &Context) {
    let namespace = namespace(t);
    apply(t, &namespace, "xp", WEB).success();
    kubectl(t, &namespace, "label deployment web tier=front");
    kubectl(t, &namespace, "annotate service web note=hello");
    kubectl(t, &namespace, "set image deployment/web web=web:9");
    assert_eq!(container(&namespace)["image"], "web:9");
    apply(t, &namespace, "xp", WEB)
        .failure(1)
        .stderr_contains("conflict with \"kubectl-set\" using apps/v1 at ")
        .stderr_contains(r#".spec.template.spec.containers[name="web"].image"#);
    apply(t, &namespace, "xp", WEB)
        .arg("--force-conflicts")
        .success();
    assert_eq!(container(&namespace)["image"], "web:1");
    let deployment = namespace.object("deployments", "web").expect("it is there");
    assert_eq!(deployment["metadata"]["labels"]["tier"], "front");
}

fn a_dry_run_changes_nothing(t: &Context) {
    let namespace = namespace(t);
    let applied = apply(t, &namespace, "xp", WEB)
        .arg("--dry-run=server")
        .success();
    applied.stdout_contains("deployment.apps/web serverside-applied (server dry run)");
    assert!(namespace.objects("deployments").is_empty());
}

fn diff_hides_secrets(t: &Context) {
    let namespace = namespace(t);
    apply(t, &namespace, "xp", WEB).success();
    let changed = WEB.replace("web:1", "web:2").replace("canary", "canary-2");
    let words = "diff --server-side --field-manager=xp --filename=-";
    command(t, &namespace, words)
        .stdin(&changed)
        .failure(1)
        .stdout_contains("-        image: web:1\n")
        .stdout_contains("+        image: web:2\n")
        .stdout_contains("'*** (after)'")
        .does_not_contain("canary")
        .does_not_contain("Y2FuYXJ5");
    assert_eq!(container(&namespace)["image"], "web:1");
    command(t, &namespace, words).stdin(WEB).success();
}

fn kubectl_waits_for_a_rollout(t: &Context) {
    let namespace = namespace(t);
    namespace.rollouts_of("web:1", Outcome::Hangs);
    apply(t, &namespace, "xp", WEB).success();
    let words = "rollout status deployment/web --timeout=60s";
    let mut status = command(t, &namespace, words).spawn();
    status.wait_for_output("0 of 2 updated replicas are available");
    namespace.rollouts_of("web:1", Outcome::Succeeds);
    let status = status.wait();
    assert!(status.status.success(), "{status}");
    status.stdout_contains("successfully rolled out");

    namespace.rollouts_take(Duration::from_millis(800));
    let start = Instant::now();
    apply(t, &namespace, "xp", &WEB.replace("web:1", "web:2")).success();
    kubectl(t, &namespace, words);
    assert!(start.elapsed() >= Duration::from_millis(800));
    kubectl(
        t,
        &namespace,
        "wait --for=condition=Available deployment/web --timeout=20s",
    )
    .stdout_contains("condition met");
    kubectl(t, &namespace, "get deployments").stdout_contains("2/2");
    let pods = kubectl(t, &namespace, "get pods").stdout;
    assert_eq!(pods.matches("Running").count(), 2, "{pods}");
}

fn a_rollout_fails(t: &Context) {
    let namespace = namespace(t);
    apply(t, &namespace, "xp", WEB).success();
    kubectl(t, &namespace, "rollout status deployment/web");
    namespace.rollouts_of("web:broken", Outcome::PullFails);
    namespace.rollouts_of("web:crash", Outcome::Crashes);
    for (image, reason) in [
        ("web:broken", "ImagePullBackOff"),
        ("web:crash", "CrashLoopBackOff"),
    ] {
        apply(t, &namespace, "xp", &WEB.replace("web:1", image)).success();
        command(t, &namespace, "rollout status deployment/web --timeout=20s")
            .failure(1)
            .stderr_contains("exceeded its progress deadline");
        kubectl(t, &namespace, "get pods").stdout_contains(reason);
        // Earlier ones keep running.
        kubectl(t, &namespace, "get pods").stdout_contains("Running");
    }
    kubectl(t, &namespace, "get events").stdout_contains("Failed to pull image \"web:broken\"");
}

fn a_rollout_hangs(t: &Context) {
    let namespace = namespace(t);
    namespace.rollouts_of("web:1", Outcome::Hangs);
    apply(t, &namespace, "xp", WEB).success();
    command(t, &namespace, "rollout status deployment/web --timeout=1s")
        .failure(1)
        .stderr_contains("timed out waiting for the condition");
    kubectl(t, &namespace, "get pods").stdout_contains("ContainerCreating");
}

fn a_rollout_is_undone(t: &Context) {
    let namespace = namespace(t);
    apply(t, &namespace, "xp", WEB).success();
    kubectl(t, &namespace, "rollout status deployment/web");
    apply(t, &namespace, "xp", &WEB.replace("web:1", "web:2")).success();
    kubectl(t, &namespace, "rollout status deployment/web");
    kubectl(t, &namespace, "rollout undo deployment/web");
    kubectl(t, &namespace, "rollout status deployment/web");
    assert_eq!(container(&namespace)["image"], "web:1");
    // The pods belong to the first template's set again.
    assert_eq!(namespace.objects("replicasets").len(), 2);
    let pods = namespace.objects("pods");
    assert!(
        pods.iter()
            .all(|pod| pod["spec"]["containers"][0]["image"] == "web:1"),
        "{pods:?}"
    );
}

fn stateful_and_daemon_sets_roll_out(t: &Context) {
    let namespace = namespace(t);
    namespace.rollouts_take(Duration::from_millis(300));
    let (deployment, _) = WEB.split_once("---\n").expect("several objects");
    let others = deployment.replace("  replicas: 2\n", "");
    let stateful = others.replace("kind: Deployment", "kind: StatefulSet");
    let daemon = others.replace("kind: Deployment", "kind: DaemonSet");
    apply(t, &namespace, "xp", &format!("{stateful}---\n{daemon}")).success();
    kubectl(
        t,
        &namespace,
        "rollout status statefulset/web --timeout=20s",
    );
    kubectl(t, &namespace, "rollout status daemonset/web --timeout=20s");
    apply(t, &namespace, "xp", &stateful.replace("web:1", "web:2")).success();
    kubectl(
        t,
        &namespace,
        "rollout status statefulset/web --timeout=20s",
    );
    let pod = namespace.object("pods", "web-0").expect("it runs");
    assert_eq!(pod["spec"]["containers"][0]["image"], "web:2");
}

fn lists_support_selectors(t: &Context) {
    let namespace = namespace(t);
    for (name, tier) in [("one", "front"), ("two", "back"), ("three", "back")] {
        create(t, &namespace, name, "{}");
        kubectl(
            t,
            &namespace,
            &format!("label configmap {name} tier={tier}"),
        );
    }
    let names = |words: &str| {
        let words = format!("get configmaps --output=name {words}");
        kubectl(t, &namespace, &words)
            .stdout
            .replace("configmap/", "")
            .replace('\n', " ")
    };
    assert_eq!(names("--chunk-size=1"), "one three two ");
    assert_eq!(names("--selector=tier=back"), "three two ");
    assert_eq!(names("--selector=tier!=back"), "one ");
    assert_eq!(names("--selector=tier"), "one three two ");
    assert_eq!(names("--selector=!tier"), "");
    assert_eq!(names("--field-selector=metadata.name=two"), "two ");
}

fn a_watch_sees_changes(t: &Context) {
    let namespace = namespace(t);
    create(t, &namespace, "seen", "{key: '1'}");
    let words = "get configmaps --watch --output=jsonpath={.metadata.name}/{.data.key};";
    let mut watch = command(t, &namespace, words).spawn();
    watch.wait_for_output("seen/1;");
    apply(t, &namespace, "xp", WEB).success();
    let patch = r#"patch configmap seen --type=merge --patch={"data":{"key":"2"}}"#;
    kubectl(t, &namespace, patch);
    watch.wait_for_output("web/;");
    watch.wait_for_output("seen/2;");
    watch.kill();
}

fn an_old_revision_is_rejected(t: &Context) {
    let namespace = namespace(t);
    create(t, &namespace, "record", "{}");
    let read = kubectl(t, &namespace, "get configmap record --output=json").stdout;
    kubectl(t, &namespace, "annotate configmap record by=other");
    command(t, &namespace, "replace --filename=-")
        .stdin(&read)
        .failure(1)
        .stderr_contains("Error from server (Conflict)")
        .stderr_contains("the object has been modified");
    let read = kubectl(t, &namespace, "get configmap record --output=json").stdout;
    command(t, &namespace, "replace --filename=-")
        .stdin(&read)
        .success();
    command(t, &namespace, "create --filename=-")
        .stdin("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: record}\n")
        .failure(1)
        .stderr_contains(r#"configmaps "record" already exists"#);
}

fn invalid_objects_are_rejected(t: &Context) {
    let namespace = namespace(t);
    let refused = |objects: &str, why: &str| {
        apply(t, &namespace, "xp", objects)
            .failure(1)
            .stderr_contains(why);
    };
    refused(
        &WEB.replace("replicas:", "replica:"),
        "failed to create typed patch object",
    );
    refused(
        &WEB.replace("matchLabels: {app: web}", "matchLabels: {app: other}"),
        "spec.template.metadata.labels: Invalid value",
    );
    refused(
        &WEB.replace("          image: web:1\n", ""),
        "spec.template.spec.containers[0].image: Required value",
    );
    refused(
        &WEB.replace("{name: web}", "{name: Web_1}"),
        "a lowercase RFC 1123 subdomain",
    );
    refused(
        &WEB.replace("kind: Service", "kind: Servant"),
        "no matches for kind \"Servant\"",
    );
    assert!(namespace.objects("deployments").len() < 2);
    let missing = t.kubectl([
        "apply",
        "--server-side",
        "--filename=-",
        "--namespace=nowhere",
    ]);
    missing
        .stdin(WEB)
        .failure(1)
        .stderr_contains(r#"namespaces "nowhere" not found"#);
    command(t, &namespace, "create --filename=-")
        .stdin("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: strict}\nfata: {}\n")
        .failure(1)
        .stderr_contains(r#"strict decoding error: unknown field "fata""#);
}

fn permissions_are_enforced(t: &Context) {
    t.kubeconfig(&[
        ("viewer", Access::ReadOnly),
        ("restricted", Access::NoDeployments),
        ("stranger", Access::Stranger),
        ("nowhere", Access::Nowhere),
    ]);
    let namespace = t.namespace("staging");
    apply(t, &namespace, "xp", WEB)
        .failure(1)
        .stderr_contains(&format!(
            "Error from server (Forbidden): deployments.apps \"web\" is forbidden: User \"viewer\" \
         cannot patch resource \"deployments\" in API group \"apps\" in the namespace {:?}",
            namespace.name()
        ));
    kubectl(t, &namespace, "get deployments");
    apply(t, &namespace, "xp", WEB)
        .arg("--context=restricted")
        .failure(1)
        .stdout_contains("service/web serverside-applied")
        .stderr_contains("User \"restricted\" cannot patch resource \"deployments\"");
    command(t, &namespace, "get pods --context=stranger")
        .failure(1)
        .stderr_contains("You must be logged in to the server");
    command(t, &namespace, "get pods --context=nowhere")
        .failure(1)
        .stderr_contains("connection to the server 127.0.0.1:");
}

fn a_test_can_make_requests_fail(t: &Context) {
    let namespace = namespace(t);
    let with = |refusal: Refusal| {
        namespace.refuse("PATCH", "deployments", refusal);
        let output = apply(t, &namespace, "xp", WEB).failure(1);
        namespace.refuse_nothing();
        output
    };
    with(Refusal::Forbidden("exceeded quota: compute".to_owned()))
        .stderr_contains("deployments.apps \"web\" is forbidden: exceeded quota: compute");
    with(Refusal::InternalError("failed calling webhook".to_owned()))
        .stderr_contains("Internal error occurred: failed calling webhook");
    with(Refusal::Unavailable).stderr_contains("currently unable to handle the request");
    with(Refusal::Reset).stderr_contains("connection reset by peer");
    assert!(namespace.objects("deployments").is_empty());
    namespace.refuse(
        "PATCH",
        "deployments",
        Refusal::Late(Duration::from_millis(700)),
    );
    let start = Instant::now();
    apply(t, &namespace, "xp", WEB).success();
    assert!(start.elapsed() >= Duration::from_millis(700));
}

fn deleted_objects_are_gone(t: &Context) {
    let namespace = namespace(t);
    apply(t, &namespace, "xp", WEB).success();
    wait_until("the pods", || namespace.objects("pods").len() == 2);
    kubectl(t, &namespace, "delete deployment web").stdout_contains("deleted");
    for resource in ["deployments", "replicasets", "pods"] {
        assert!(namespace.objects(resource).is_empty(), "{resource}");
    }
    command(t, &namespace, "get deployment web")
        .failure(1)
        .stderr_contains(r#"deployments.apps "web" not found"#);
    kubectl(
        t,
        &namespace,
        &format!("delete namespace {}", namespace.name()),
    );
    assert!(namespace.objects("secrets").is_empty());
}

fn namespaces_isolate_tests(t: &Context) {
    let one = namespace(t);
    let other = t.namespace("production");
    one.rollouts_of("web:1", Outcome::PullFails);
    one.refuse("PATCH", "services", Refusal::Unavailable);
    apply(t, &other, "xp", WEB).success();
    kubectl(t, &other, "rollout status deployment/web --timeout=20s");
    assert!(one.objects("pods").is_empty() && one.requests().is_empty());
}
