//! The pods of the tests' cluster, which are containers of the private engine.

use std::time::Duration;

use serde_json::Value;

use crate::case::Case;
use crate::cluster_job::{Builds, job};
use crate::context::Context;
use crate::wait::wait_until;
use crate::world::SimulatedRun;

pub const CASES: &[Case] = cases![
    a_job_prints_lines_and_completes,
    a_job_fails_with_the_exit_code_of_its_container,
    a_failed_pod_is_replaced,
    a_container_is_restarted_in_its_pod,
    containers_of_a_pod_share_the_network,
    a_native_sidecar_is_ready_before_the_container,
    init_containers_run_in_order,
    secrets_and_config_maps_are_files_and_variables,
    volumes_are_shared_and_claims_persist,
    a_missing_secret_is_waited_for,
    a_missing_image_is_reported,
    an_image_is_pulled_with_a_login,
    a_program_that_cannot_start_is_reported,
    a_log_is_followed,
    a_log_is_read_from_a_time,
    deletion_stops_the_container,
    a_deadline_ends_the_pods,
    a_finished_job_expires,
    a_suspended_job_has_no_pods,
    an_orphaned_pod_stays,
    the_host_network_can_be_used,
    simulated_pods_finish_without_containers,
];

fn a_job_prints_lines_and_completes(t: &Context) {
    let builds = Builds::new(t);
    builds.create(&job(
        t,
        "lines",
        "for i in 1 2 3; do echo line $i; done; echo oops >&2",
    ));
    builds.kubectl("wait --for=condition=complete job/lines --timeout=60s");
    let log = builds.kubectl("logs job/lines").stdout;
    let mut lines: Vec<&str> = log.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["line 1", "line 2", "line 3", "oops"]);
    let status = builds.object("jobs", "lines")["status"].clone();
    assert_eq!(status["succeeded"], 1, "{status}");
    builds
        .kubectl("get jobs")
        .stdout_contains("Complete")
        .stdout_contains("1/1");
    builds.kubectl("get pods").stdout_contains("Completed");
    let pod = builds.pod("lines");
    assert_eq!(pod["status"]["phase"], "Succeeded");
    let events = builds.kubectl("get events").stdout;
    for reason in [
        "SuccessfulCreate",
        "Scheduled",
        "Pulled",
        "Created",
        "Started",
        "Completed",
    ] {
        assert!(events.contains(reason), "{reason}: {events}");
    }
}

fn a_job_fails_with_the_exit_code_of_its_container(t: &Context) {
    let builds = Builds::new(t);
    builds.create(&job(
        t,
        "three",
        "echo wrong > /dev/termination-log; exit 3",
    ));
    builds.kubectl("wait --for=condition=failed job/three --timeout=60s");
    let end = builds.pod("three")["status"]["containerStatuses"][0]["state"]["terminated"].clone();
    assert_eq!(end["exitCode"], 3, "{end}");
    assert_eq!(end["reason"], "Error");
    assert_eq!(end["message"], "wrong\n");
    let conditions = builds.object("jobs", "three")["status"]["conditions"].clone();
    assert_eq!(
        conditions[1]["reason"], "BackoffLimitExceeded",
        "{conditions}"
    );
    builds.kubectl("get pods").stdout_contains("Error");
}

fn a_failed_pod_is_replaced(t: &Context) {
    let builds = Builds::new(t);
    let text = job(t, "again", "exit 1").replace("backoffLimit: 0", "backoffLimit: 1");
    builds.create(&text);
    builds.kubectl("wait --for=condition=failed job/again --timeout=60s");
    assert_eq!(builds.namespace.objects("pods").len(), 2);
    let status = builds.object("jobs", "again")["status"].clone();
    assert_eq!(status["failed"], 2, "{status}");
}

fn a_container_is_restarted_in_its_pod(t: &Context) {
    let builds = Builds::new(t);
    let script =
        "if [ -e /data/seen ]; then echo second; else touch /data/seen; echo first; exit 1; fi";
    let text = job(t, "flaky", script)
        .replace(
            "restartPolicy: Never",
            "restartPolicy: OnFailure\n      volumes: [{name: data, emptyDir: {}}]",
        )
        .replace("backoffLimit: 0", "backoffLimit: 3")
        .replace(
            "name: main",
            "name: main\n          volumeMounts: [{name: data, mountPath: /data}]",
        );
    builds.create(&text);
    builds.kubectl("wait --for=condition=complete job/flaky --timeout=60s");
    let pods = builds.namespace.objects("pods");
    let status = &pods[0]["status"]["containerStatuses"][0];
    assert_eq!((pods.len(), &status["restartCount"]), (1, &Value::from(1)));
    assert_eq!(builds.kubectl("logs job/flaky").stdout, "second\n");
    assert_eq!(
        builds.kubectl("logs job/flaky --previous").stdout,
        "first\n"
    );
}

fn containers_of_a_pod_share_the_network(t: &Context) {
    let builds = Builds::new(t);
    let server = t.engine().busybox();
    let sidecar = format!(
        "restartPolicy: Never\n      initContainers:\n        - name: server\n          image: {server}\n          \
         restartPolicy: Always\n          command: [sh, -c, 'mkdir /www; echo hello > /www/index.html; \
         httpd -f -p 8080 -h /www']\n          \
         startupProbe: {{tcpSocket: {{port: 8080}}, periodSeconds: 1}}\n      terminationGracePeriodSeconds: 1"
    );
    let text = job(t, "client", "wget -q -O - http://127.0.0.1:8080/");
    builds.create(&text.replace("restartPolicy: Never", &sidecar));
    builds.kubectl("wait --for=condition=complete job/client --timeout=60s");
    assert_eq!(
        builds.kubectl("logs job/client --container=main").stdout,
        "hello\n"
    );
}

fn a_native_sidecar_is_ready_before_the_container(t: &Context) {
    let builds = Builds::new(t);
    let image = t.engine().busybox();
    let sidecar = format!(
        "restartPolicy: Never\n      volumes: [{{name: run, emptyDir: {{}}}}]\n      initContainers:\n        \
         - name: engine\n          image: {image}\n          restartPolicy: Always\n          \
         command: [sh, -c, 'trap \"echo bye; exit 0\" TERM; sleep 1; touch /run/up; echo up; \
         while :; do sleep 0.1; done']\n          \
         volumeMounts: [{{name: run, mountPath: /run}}]\n          \
         startupProbe: {{exec: {{command: [test, -e, /run/up]}}, periodSeconds: 1, failureThreshold: 30}}"
    );
    let text = job(t, "unit", "ls /run/up && echo begun; sleep 1")
        .replace("restartPolicy: Never", &sidecar)
        .replace(
            "name: main",
            "name: main\n          volumeMounts: [{name: run, mountPath: /run}]",
        );
    builds.create(&text);
    wait_until("the sidecar", || {
        let status = builds.pod("unit")["status"].clone();
        status["initContainerStatuses"][0]["started"] == true
            && !status["containerStatuses"][0]["state"]["running"].is_null()
    });
    builds.kubectl("wait --for=condition=complete job/unit --timeout=60s");
    assert_eq!(
        builds.kubectl("logs job/unit --container=main").stdout,
        "/run/up\nbegun\n"
    );
    // It ends after the container, by a signal that it can handle.
    assert_eq!(
        builds.kubectl("logs job/unit --container=engine").stdout,
        "up\nbye\n"
    );
    let pod = builds.pod("unit");
    let end = &pod["status"]["initContainerStatuses"][0]["state"]["terminated"];
    assert_eq!(
        (&end["exitCode"], &pod["status"]["phase"]),
        (&0.into(), &"Succeeded".into())
    );
}

fn init_containers_run_in_order(t: &Context) {
    let builds = Builds::new(t);
    let image = t.engine().busybox();
    let init = |name: &str, script: &str| {
        format!(
            "\n        - name: {name}\n          image: {image}\n          command: [sh, -c, '{script}']\n          \
             volumeMounts: [{{name: data, mountPath: /data}}]"
        )
    };
    let pod = format!(
        "restartPolicy: Never\n      volumes: [{{name: data, emptyDir: {{}}}}]\n      initContainers:{}{}",
        init("one", "echo 1 >> /data/order"),
        init(
            "two",
            "echo 2 >> /data/order; exit $(cat /data/code 2>/dev/null || echo 0)"
        )
    );
    let text = job(t, "ordered", "cat /data/order")
        .replace("restartPolicy: Never", &pod)
        .replace(
            "name: main",
            "name: main\n          volumeMounts: [{name: data, mountPath: /data}]",
        );
    builds.create(&text);
    builds.kubectl("wait --for=condition=complete job/ordered --timeout=60s");
    assert_eq!(
        builds.kubectl("logs job/ordered --container=main").stdout,
        "1\n2\n"
    );

    let broken = text
        .replace("ordered", "broken")
        .replace("exit $(cat /data/code 2>/dev/null || echo 0)", "exit 4");
    builds.create(&broken);
    builds.kubectl("wait --for=condition=failed job/broken --timeout=60s");
    let pod = builds.pod("broken");
    assert_eq!(
        pod["status"]["initContainerStatuses"][1]["state"]["terminated"]["exitCode"],
        4
    );
    let main = &pod["status"]["containerStatuses"][0]["state"];
    assert_eq!(main["waiting"]["reason"], "PodInitializing", "{main}");
    builds.kubectl("get pods").stdout_contains("Init:Error");
}

fn secrets_and_config_maps_are_files_and_variables(t: &Context) {
    let builds = Builds::new(t);
    builds.create(
        "apiVersion: v1\nkind: Secret\nmetadata: {name: login, labels: {run: one}}\nstringData: {token: canary}\n---\n\
         apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {COLOR: blue, plan.json: '{}'}\n",
    );
    let volumes = "restartPolicy: Never\n      volumes:\n        \
         - {name: login, secret: {secretName: login, defaultMode: 0400}}\n        \
         - {name: plan, configMap: {name: settings, items: [{key: plan.json, path: unit/plan.json}]}}";
    let main = "name: main\n          volumeMounts:\n            \
         - {name: login, mountPath: /run/secrets/login}\n            \
         - {name: plan, mountPath: /plan}\n          envFrom: [{configMapRef: {name: settings}}]\n          \
         env:\n            - {name: TOKEN, valueFrom: {secretKeyRef: {name: login, key: token}}}\n            \
         - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}\n            \
         - {name: BOTH, value: '$(COLOR)-$(TOKEN)-$$(COLOR)'}";
    let script = "cat /run/secrets/login/token; echo; stat -c %a /run/secrets/login/token; \
         cat /plan/unit/plan.json; echo; echo $COLOR $TOKEN $BOTH; echo $POD; \
         touch /plan/x 2>/dev/null || echo read-only";
    let text = job(t, "reader", script)
        .replace("restartPolicy: Never", volumes)
        .replace("name: main", main);
    builds.create(&text);
    builds.kubectl("wait --for=condition=complete job/reader --timeout=60s");
    let pod = builds.pod("reader")["metadata"]["name"]
        .as_str()
        .expect("a name")
        .to_owned();
    let expected =
        format!("canary\n400\n{{}}\nblue canary blue-canary-$(COLOR)\n{pod}\nread-only\n");
    assert_eq!(builds.kubectl("logs job/reader").stdout, expected);
    builds
        .kubectl("get secrets --selector=run=one --output=name")
        .stdout_contains("secret/login");
    builds
        .kubectl("delete secrets --selector=run=one")
        .stdout_contains("deleted");
    assert!(builds.namespace.objects("secrets").is_empty());
}

fn volumes_are_shared_and_claims_persist(t: &Context) {
    let builds = Builds::new(t);
    builds.create(
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: cache}\n\
         spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n",
    );
    t.write("shared/file", "from the machine\n");
    let folder = t.dir().join("shared");
    let volumes = format!(
        "restartPolicy: Never\n      volumes:\n        \
         - {{name: cache, persistentVolumeClaim: {{claimName: cache}}}}\n        \
         - {{name: host, hostPath: {{path: {}, type: Directory}}}}",
        folder.display()
    );
    let mounts = "name: main\n          volumeMounts:\n            \
         - {name: cache, mountPath: /cache}\n            - {name: host, mountPath: /host}";
    for (name, output) in [
        ("first", "from the machine\n"),
        ("second", "from the machine\nfirst\n"),
    ] {
        let script = format!("cat /host/file /cache/* 2>/dev/null; echo {name} > /cache/{name}");
        let text = job(t, name, &script)
            .replace("restartPolicy: Never", &volumes)
            .replace("name: main", mounts);
        builds.create(&text);
        builds.kubectl(&format!(
            "wait --for=condition=complete job/{name} --timeout=60s"
        ));
        assert_eq!(builds.kubectl(&format!("logs job/{name}")).stdout, output);
    }
}

fn a_missing_secret_is_waited_for(t: &Context) {
    let builds = Builds::new(t);
    let main = "name: main\n          env: [{name: TOKEN, valueFrom: {secretKeyRef: {name: late, key: token}}}]";
    builds.create(&job(t, "late", "echo $TOKEN").replace("name: main", main));
    builds.wait_for_reason("late", "CreateContainerConfigError");
    let waiting = builds.pod("late")["status"]["containerStatuses"][0]["state"]["waiting"].clone();
    assert_eq!(waiting["message"], r#"secret "late" not found"#);
    builds
        .command("logs job/late")
        .failure(1)
        .stderr_contains("is waiting to start: CreateContainerConfigError");
    builds.create(
        "apiVersion: v1\nkind: Secret\nmetadata: {name: late}\nstringData: {token: here}\n",
    );
    builds.kubectl("wait --for=condition=complete job/late --timeout=60s");
    assert_eq!(builds.kubectl("logs job/late").stdout, "here\n");
}

fn a_missing_image_is_reported(t: &Context) {
    let builds = Builds::new(t);
    let image = format!("{}/nothing:1", t.registry_prefix(t.registry()));
    let text = job(t, "absent", "true").replace(t.engine().busybox(), &image);
    builds.create(&text);
    builds.wait_for_reason("absent", "ImagePullBackOff");
    builds
        .kubectl("get pods")
        .stdout_contains("ImagePullBackOff");
    builds
        .kubectl("get events")
        .stdout_contains(&format!("Failed to pull image {image:?}"));
    builds.kubectl("delete job absent");
    wait_until("the pods' end", || {
        builds.namespace.objects("pods").is_empty()
    });
}

fn an_image_is_pulled_with_a_login(t: &Context) {
    use crate::world::{PASSWORD, RegistryKind, USER};
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;

    let builds = Builds::new(t);
    let registry = t.registry_of(RegistryKind::Auth);
    let image = format!("{}/tool:1", t.registry_prefix(registry));
    t.engine().tag(t.engine().busybox(), &image);
    t.log_in(registry);
    t.program("docker", ["push", &image]).success();
    t.engine().remove_image(&image);
    let text = job(t, "puller", "echo pulled").replace(t.engine().busybox(), &image);
    builds.create(&text);
    builds.wait_for_reason("puller", "ImagePullBackOff");
    builds.kubectl("delete job puller");

    let login = BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let config = format!(
        r#"{{"auths":{{"{}":{{"auth":"{login}"}}}}}}"#,
        registry.host()
    );
    builds.create(&format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: registry}}\ntype: kubernetes.io/dockerconfigjson\n\
         stringData: {{.dockerconfigjson: '{config}'}}\n"
    ));
    let secrets = "restartPolicy: Never\n      imagePullSecrets: [{name: registry}]";
    builds.create(&text.replace("restartPolicy: Never", secrets));
    builds.kubectl("wait --for=condition=complete job/puller --timeout=60s");
    assert_eq!(builds.kubectl("logs job/puller").stdout, "pulled\n");
    t.engine().remove_image(&image);
}

fn a_program_that_cannot_start_is_reported(t: &Context) {
    let builds = Builds::new(t);
    let text = job(t, "nothing", "true").replace("[sh, -c,", "[no-such-program,");
    builds.create(&text);
    builds.kubectl("wait --for=condition=failed job/nothing --timeout=60s");
    let end =
        builds.pod("nothing")["status"]["containerStatuses"][0]["state"]["terminated"].clone();
    assert_eq!(
        (&end["exitCode"], &end["reason"]),
        (&128.into(), &"StartError".into()),
        "{end}"
    );
    assert!(
        end["message"]
            .as_str()
            .is_some_and(|text| text.contains("no-such-program")),
        "{end}"
    );
}

fn a_log_is_followed(t: &Context) {
    let builds = Builds::new(t);
    let script =
        "echo one; while [ ! -e /go/now ]; do sleep 0.1; done; echo two; sleep 1; echo three";
    let folder = t.dir().join("go");
    t.write("go/other", "");
    let volumes = format!(
        "restartPolicy: Never\n      volumes: [{{name: go, hostPath: {{path: {}}}}}]",
        folder.display()
    );
    let text = job(t, "slow", script)
        .replace("restartPolicy: Never", &volumes)
        .replace(
            "name: main",
            "name: main\n          volumeMounts: [{name: go, mountPath: /go}]",
        );
    builds.create(&text);
    builds.kubectl("wait --for=jsonpath={.status.ready}=1 job/slow --timeout=60s");
    let mut follow = builds.command("logs --follow job/slow").spawn();
    follow.wait_for_output("one\n");
    assert_eq!(follow.printed(), "one\n");
    t.write("go/now", "");
    follow.wait_for_output("two\n");
    assert!(!follow.printed().contains("three"));
    assert_eq!(follow.wait().stdout, "one\ntwo\nthree\n");
}

fn a_log_is_read_from_a_time(t: &Context) {
    let builds = Builds::new(t);
    // Longer than the engine's messages, which have one timestamp each.
    let script = "echo first; sleep 2; head -c 40000 /dev/zero | tr '\\0' x; echo; echo last";
    builds.create(&job(t, "timed", script));
    builds.kubectl("wait --for=condition=complete job/timed --timeout=60s");
    let log = builds.kubectl("logs job/timed --timestamps").stdout;
    let lines: Vec<(&str, &str)> = log
        .lines()
        .filter_map(|line| line.split_once(' '))
        .collect();
    assert_eq!(lines.len(), 3, "{log:.200}");
    assert_eq!((lines[0].1, lines[2].1), ("first", "last"));
    assert!(lines[1].1 == "x".repeat(40_000), "{:.200}", lines[1].1);
    let since = builds.kubectl(&format!("logs job/timed --since-time={}", lines[1].0));
    assert!(since.stdout.starts_with('x'), "{:.100}", since.stdout);
    assert_eq!(builds.kubectl("logs job/timed --tail=1").stdout, "last\n");
    assert_eq!(
        builds.kubectl("logs job/timed --limit-bytes=3").stdout,
        "fir"
    );
}

fn deletion_stops_the_container(t: &Context) {
    let builds = Builds::new(t);
    let text = job(t, "endless", "echo begun; sleep 600").replace(
        "restartPolicy: Never",
        "restartPolicy: Never\n      terminationGracePeriodSeconds: 1",
    );
    builds.create(&text);
    builds.kubectl("wait --for=jsonpath={.status.ready}=1 job/endless --timeout=60s");
    assert_eq!(
        builds.containers().len(),
        2,
        "with the one that holds the network"
    );
    builds.kubectl("delete job endless");
    wait_until("the pods' end", || {
        builds.namespace.objects("pods").is_empty()
    });
    wait_until("the containers' end", || builds.containers().is_empty());

    builds.create(&text.replace("endless", "forced"));
    builds.kubectl("wait --for=jsonpath={.status.ready}=1 job/forced --timeout=60s");
    builds.kubectl(&format!("delete namespace {}", builds.namespace.name()));
    wait_until("the containers' end", || builds.containers().is_empty());
}

fn a_deadline_ends_the_pods(t: &Context) {
    let builds = Builds::new(t);
    let text = job(t, "late", "sleep 600").replace(
        "backoffLimit: 0",
        "backoffLimit: 0\n  activeDeadlineSeconds: 2",
    );
    let text = text.replace(
        "restartPolicy: Never",
        "restartPolicy: Never\n      terminationGracePeriodSeconds: 1",
    );
    builds.create(&text);
    builds.kubectl("wait --for=condition=failed job/late --timeout=60s");
    let conditions = builds.object("jobs", "late")["status"]["conditions"].clone();
    assert_eq!(conditions[1]["reason"], "DeadlineExceeded", "{conditions}");
    wait_until("the pods' end", || {
        builds.namespace.objects("pods").is_empty()
    });
}

fn a_finished_job_expires(t: &Context) {
    let builds = Builds::new(t);
    let text = job(t, "brief", "true").replace(
        "backoffLimit: 0",
        "backoffLimit: 0\n  ttlSecondsAfterFinished: 1",
    );
    builds.create(&text);
    builds.kubectl("wait --for=delete job/brief --timeout=60s");
    wait_until("the pods' end", || {
        builds.namespace.objects("pods").is_empty()
    });
    wait_until("the containers' end", || builds.containers().is_empty());
}

fn a_suspended_job_has_no_pods(t: &Context) {
    let builds = Builds::new(t);
    builds.create(
        &job(t, "queued", "echo ran")
            .replace("backoffLimit: 0", "backoffLimit: 0\n  suspend: true"),
    );
    builds.kubectl("wait --for=condition=suspended job/queued --timeout=60s");
    assert!(builds.namespace.objects("pods").is_empty());
    builds.kubectl(r#"patch job queued --type=merge --patch={"spec":{"suspend":false}}"#);
    builds.kubectl("wait --for=condition=complete job/queued --timeout=60s");
}

fn an_orphaned_pod_stays(t: &Context) {
    let builds = Builds::new(t);
    builds.create(&job(t, "parent", "true"));
    builds.kubectl("wait --for=condition=complete job/parent --timeout=60s");
    builds.kubectl("delete job parent --cascade=orphan");
    let pods = builds.namespace.objects("pods");
    assert_eq!(pods.len(), 1);
    builds.create(&job(t, "other", "true"));
    builds.kubectl("wait --for=condition=complete job/other --timeout=60s");
    builds.kubectl("delete job other --cascade=foreground");
    assert_eq!(builds.namespace.objects("pods").len(), 1);
}

fn the_host_network_can_be_used(t: &Context) {
    let builds = Builds::new(t);
    let url = format!("http://{}/v2/", t.registry().host());
    let text = job(t, "host", &format!("timeout 20 wget -q -O - {url}"));
    let network = "restartPolicy: Never\n      hostNetwork: true";
    builds.create(&text.replace("restartPolicy: Never", network));
    builds.kubectl("wait --for=condition=complete job/host --timeout=60s");
    assert_eq!(builds.kubectl("logs job/host").stdout.trim(), "{}");

    // Without it, the servers of this machine cannot be reached, unless all pods of the namespace use it.
    builds.create(&text.replace("name: host", "name: own"));
    builds.kubectl("wait --for=condition=failed job/own --timeout=60s");
    builds.namespace.run_pods_on_host_network(t.engine());
    builds.create(&text.replace("name: host", "name: all"));
    builds.kubectl("wait --for=condition=complete job/all --timeout=60s");
}

fn simulated_pods_finish_without_containers(t: &Context) {
    let builds = Builds::new(t);
    builds.namespace.simulate_pods(|pod: &Value| SimulatedRun {
        log: format!("this is {}\n", pod["metadata"]["labels"]["job-name"]),
        exit_code: i64::from(pod["metadata"]["labels"]["job-name"] == "bad"),
        time: Duration::from_millis(300),
    });
    let jobs: String = (0..500)
        .map(|number| format!("{}---\n", job(t, &format!("unit-{number}"), "true")))
        .collect();
    builds.create(&jobs);
    builds.create(&job(t, "bad", "true"));
    builds.kubectl("wait --for=condition=complete job/unit-0 job/unit-499 --timeout=60s");
    builds.kubectl("wait --for=condition=failed job/bad --timeout=60s");
    wait_until("all Jobs", || {
        let jobs = builds.namespace.objects("jobs");
        jobs.iter()
            .filter(|job| job["status"]["succeeded"] == 1)
            .count()
            == 500
    });
    assert_eq!(
        builds.kubectl("logs --follow job/unit-7").stdout,
        "this is \"unit-7\"\n"
    );
    assert_eq!(builds.containers(), [Value::Null; 0]);
    let counts = builds.namespace.request_counts();
    assert_eq!(counts["create jobs"], 501, "{counts:?}");
}
