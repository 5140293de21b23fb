//! `xp build --fleet`: units that run as Jobs, with real pods on the tests' engine.

use std::fs;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use super::contained::image_for_pods;
use super::small;
use crate::case::Case;
use crate::context::Context;
use crate::repository::GitRepository;
use crate::wait::wait_until;
use crate::world::{Access, Namespace, Registry, RegistryKind};

pub const CASES: &[Case] = cases![
    a_platform_is_built_in_jobs,
    no_engine_is_needed_here,
    a_failed_script_is_reported_like_a_local_one,
    builders_are_built_in_jobs,
    a_job_of_a_killed_run_is_reused,
    an_interrupt_removes_the_jobs,
    two_runs_share_a_job,
    credentials_are_only_in_the_secret,
    tags_move_only_after_all_jobs_succeeded,
    what_needs_this_machine_is_refused,
    a_plan_shows_where_units_run,
    doctor_checks_fleets,
];

/// The services `base` and `top`, which is built from it.
pub(super) struct FleetPlatform<'t> {
    t: &'t Context,
    pub registry: Registry,
    pub namespace: Namespace,
    pub base: GitRepository,
    pub top: GitRepository,
}

impl<'t> FleetPlatform<'t> {
    pub fn new(t: &'t Context) -> Self {
        t.kubeconfig(&[("ci-cluster", Access::Full), ("other", Access::Nowhere)]);
        let namespace = t.namespace("builds");
        namespace.run_pods(t.engine());
        let base = t.git_repo("base");
        let dockerfile = format!("FROM {}\nCOPY made /made\n", t.engine().busybox());
        base.commit(&[("Dockerfile", &dockerfile)], "Start");
        let top = t.git_repo("top");
        top.commit(&[("Dockerfile", "ARG BASE\nFROM ${BASE}\n")], "Start");
        let platform = Self {
            t,
            registry: t.own_registry(RegistryKind::Open),
            namespace,
            base,
            top,
        };
        platform.write_template("");
        platform.set_script("echo text > made");
        platform
    }

    /// Writes the pod template, with more lines for the worker's container.
    pub fn write_template(&self, container: &str) {
        let socket = self.t.engine().host();
        let socket = socket.strip_prefix("unix://").expect("a socket");
        self.t.write(
            "k8s/pod.yaml",
            &format!(
                "kind: Pod\nspec:\n  # The servers of the tests listen on this machine only.\n  hostNetwork: true\n  containers:\n    - name: xp\n      imagePullPolicy: IfNotPresent\n      \
                 volumeMounts: [{{name: engine, mountPath: /var/run/docker.sock}}]\n{container}  volumes:\n    \
                 - {{name: engine, hostPath: {{path: '{socket}'}}}}\n"
            ),
        );
    }

    /// Writes the manifest; `script` creates the file `made` of `base`.
    pub fn set_script(&self, script: &str) {
        let t = self.t;
        let builder = t.engine().busybox();
        let base = format!(
            "    dockerBuilder: {{image: {builder}, network: none}}\n    scripts: {{build: ['{script}']}}\n"
        );
        let args = ", args: {BASE: '${{ services.base.image }}'}";
        self.set_services(&format!(
            "{}{}",
            small::service(t, "base", &self.base.url_http(), "", &base),
            small::service(t, "top", &self.top.url_http(), args, ""),
        ));
    }

    /// Writes the manifest with these services.
    pub fn set_services(&self, services: &str) {
        let image = image_for_pods(self.t);
        let fleet = format!(
            "fleet:\n  ci:\n    context: ci-cluster\n    namespace: {}\n    image: {image}\n    template: k8s/pod.yaml\n    jobs: 4\n",
            self.namespace.name()
        );
        small::manifest(self.t, self.registry.host(), services);
        let manifest = self.t.read("x-platform.yml");
        self.t.manifest(&format!("{fleet}{manifest}"));
    }

    /// Returns the Jobs in the cluster.
    pub fn jobs(&self) -> Vec<Value> {
        self.namespace.objects("jobs")
    }

    /// Returns the image of a service's last commit, by its name in the registry.
    pub fn image(&self, service: &str) -> String {
        let repository = match service {
            "base" => &self.base,
            _ => &self.top,
        };
        let name = self.t.image(service);
        format!("{}/{name}:{}", self.registry.host(), repository.head())
    }
}

fn a_platform_is_built_in_jobs(t: &Context) {
    let platform = FleetPlatform::new(t);
    let build = t
        .xp([
            "build",
            "--fleet",
            "ci",
            "--tag",
            "v1",
            "--metadata-file",
            "built.json",
        ])
        .success();
    assert!(build.row("base").contains("built"), "{build}");
    assert!(build.row("top").contains("built"), "{build}");
    let made = t.engine().run(&platform.image("top"), ["cat", "/made"]);
    assert_eq!(made.trim(), "text");
    for service in ["base", "top"] {
        let tags = platform.registry.tags(&t.image(service));
        assert!(
            tags.contains(&"v1".to_owned()) && tags.contains(&"master".to_owned()),
            "{tags:?}"
        );
    }
    let built: Value = serde_json::from_str(&t.read("built.json")).expect("JSON");
    assert_eq!(built["top"]["status"], "built");
    assert!(built["top"]["digest"].is_string(), "{built}");
    assert_eq!(platform.jobs().len(), 2);
    assert!(platform.namespace.objects("secrets").is_empty());
    let logs = t.xp(["logs", "base"]).success();
    assert!(logs.stdout.contains("echo text"), "{logs}");
    let job = t.xp(["logs", "base", "--phase", "job"]).success();
    assert!(job.stdout.contains("running in the pod"), "{job}");
    t.xp(["report", "--format", "junit"]).success();
    let again = t.xp(["build", "--fleet", "ci"]).success();
    assert!(again.stdout.contains("Nothing to do"), "{again}");
}

fn no_engine_is_needed_here(t: &Context) {
    let platform = FleetPlatform::new(t);
    t.xp(["build", "--fleet", "ci"])
        .env("DOCKER_HOST", "unix:///nowhere/docker.sock")
        .success();
    assert_eq!(platform.jobs().len(), 2);
    t.xp(["plan", "--fleet", "ci"])
        .env("DOCKER_HOST", "unix:///nowhere/docker.sock")
        .success()
        .stdout_contains("Nothing to do");
}

fn a_failed_script_is_reported_like_a_local_one(t: &Context) {
    let platform = FleetPlatform::new(t);
    platform.set_script("echo about to fail; exit 7");
    let failed = t.xp(["build", "--fleet", "ci"]).failure(1);
    let failed = failed
        .stderr_contains("`echo about to fail; exit 7` exited with 7")
        .stderr_contains("x-platform.yml:")
        .stderr_contains("about to fail");
    assert!(failed.row("top").contains("not started"), "{failed}");
    let events = t
        .xp(["build", "--fleet", "ci", "--format", "json"])
        .failure(1);
    let ended = events
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let ended: Vec<Value> = ended.filter(|it| it["event"] == "unit-finished").collect();
    let base = ended.iter().find(|it| it["unit"] == "base").expect("base");
    assert_eq!(base["failure"]["phase"], "build");
    // A failed Job of an earlier run is replaced.
    assert_eq!(platform.jobs().len(), 1);
    platform.set_script("echo text > made");
    t.xp(["build", "--fleet", "ci"]).success();
}

fn builders_are_built_in_jobs(t: &Context) {
    let platform = FleetPlatform::new(t);
    let dockerfile = format!("FROM {}\nCOPY sub/tool /bin/tool\n", t.engine().busybox());
    t.write("builders/tools/Dockerfile", &dockerfile);
    // Modified files are sent as they are.
    t.write(
        "builders/tools/sub/tool",
        "#!/bin/sh\necho of the tool > made\n",
    );
    let script = "    dockerBuilder: {image: builders/tools, network: none}\n    scripts: {build: [sh /bin/tool]}\n";
    platform.set_services(&small::service(
        t,
        "base",
        &platform.base.url_http(),
        "",
        script,
    ));
    let build = t.xp(["build", "--fleet", "ci"]).success();
    assert!(build.row("builders/tools").contains("built"), "{build}");
    let made = t.engine().run(&platform.image("base"), ["cat", "/made"]);
    assert_eq!(made.trim(), "of the tool");
    assert_eq!(platform.jobs().len(), 2);
}

fn a_job_of_a_killed_run_is_reused(t: &Context) {
    let platform = FleetPlatform::new(t);
    platform.set_script("echo text > made; sleep 3");
    let mut running = t
        .xp(["build", "base", "--fleet", "ci", "--verbose"])
        .spawn();
    running.wait_for_output("running in the pod");
    running.kill();
    // The Job ends by itself.
    wait_until("the Job is complete", || {
        let jobs = platform.jobs();
        let conditions = jobs[0]["status"]["conditions"].as_array().cloned();
        conditions
            .unwrap_or_default()
            .iter()
            .any(|it| it["type"] == "Complete")
    });
    let uid = platform.jobs()[0]["metadata"]["uid"].clone();
    let build = t.xp(["build", "--fleet", "ci"]).success();
    assert!(build.row("top").contains("built"), "{build}");
    let jobs = platform.jobs();
    assert_eq!(jobs.len(), 2);
    assert!(
        jobs.iter().any(|job| job["metadata"]["uid"] == uid),
        "{jobs:?}"
    );
}

fn an_interrupt_removes_the_jobs(t: &Context) {
    let platform = FleetPlatform::new(t);
    platform.set_script("echo started; sleep 60");
    let mut running = t.xp(["build", "--fleet", "ci", "--verbose"]).spawn();
    running.wait_for_output("started");
    running.signal(Signal::INT);
    let ended = running.wait();
    assert_eq!(ended.status.code(), Some(130), "{ended}");
    assert!(platform.jobs().is_empty());
    wait_until("pods and Secrets are removed", || {
        platform.namespace.objects("pods").is_empty()
            && platform.namespace.objects("secrets").is_empty()
    });
    let socket = t.dir().join(".xp/kubectl");
    assert!(!socket.exists());
}

fn two_runs_share_a_job(t: &Context) {
    let platform = FleetPlatform::new(t);
    platform.set_script("echo text > made; sleep 4");
    let there = t.folder().join("there");
    let copied = Command::new("cp")
        .arg("-a")
        .arg(t.dir())
        .arg(&there)
        .status();
    assert!(copied.expect("cp").success());
    let mut first = t
        .xp(["build", "base", "--fleet", "ci", "--verbose"])
        .spawn();
    first.wait_for_output("running in the pod");
    let mut second = t
        .xp([
            "build",
            "base",
            "--fleet",
            "ci",
            "--tag",
            "second",
            "--verbose",
        ])
        .dir(&there)
        .spawn();
    second.wait_for_output("attached to the Job of another run");
    // The Job stays, because the second run uses it.
    first.signal(Signal::INT);
    assert_eq!(first.wait().status.code(), Some(130));
    let second = second.wait();
    assert!(second.status.success(), "{second}");
    assert_eq!(platform.jobs().len(), 1);
    let tags = platform.registry.tags(&t.image("base"));
    assert!(tags.contains(&"second".to_owned()), "{tags:?}");
}

fn credentials_are_only_in_the_secret(t: &Context) {
    let platform = FleetPlatform::new(t);
    let canary = "canary-of-the-fleet";
    t.write("token", &format!("{canary}-file"));
    let docker = ", secrets: {token: {file: token}, variable: {env: FLEET_TOKEN}}";
    let dockerfile = format!(
        "FROM {}\nRUN --mount=type=secret,id=token --mount=type=secret,id=variable \
         cat /run/secrets/token /run/secrets/variable && sleep 2\nCOPY made /made\n",
        t.engine().busybox()
    );
    platform
        .base
        .commit(&[("Dockerfile", &dockerfile), ("made", "")], "Use secrets");
    platform.set_services(&small::service(
        t,
        "base",
        &platform.base.url_http(),
        docker,
        "",
    ));
    let registry = platform.registry.host();
    t.log_in_host(registry, "ann", &format!("{canary}-login"));
    let mut running = t
        .xp(["build", "--fleet", "ci", "--verbose"])
        .env("FLEET_TOKEN", format!("{canary}-variable"))
        .spawn();
    running.wait_for_output("running in the pod");
    let secrets = platform.namespace.objects("secrets");
    assert_eq!(secrets.len(), 1);
    let keys: Vec<&String> = secrets[0]["data"]
        .as_object()
        .expect("data")
        .keys()
        .collect();
    assert!(keys.contains(&&"config.json".to_owned()), "{keys:?}");
    assert!(keys.contains(&&"secret-1".to_owned()), "{keys:?}");
    let others = [platform.jobs(), platform.namespace.objects("pods")].concat();
    for object in &others {
        assert!(!object.to_string().contains(canary), "{object}");
    }
    let build = running.wait();
    assert!(build.status.success(), "{build}");
    assert!(platform.namespace.objects("secrets").is_empty());
    for object in platform.namespace.objects("events").iter().chain(&others) {
        assert!(!object.to_string().contains(canary), "{object}");
    }
    fs::remove_file(t.dir().join("token")).expect("the secret");
    t.assert_secret_is_nowhere(&format!("{canary}-file"));
    t.assert_secret_is_nowhere(&format!("{canary}-variable"));
}

fn tags_move_only_after_all_jobs_succeeded(t: &Context) {
    let platform = FleetPlatform::new(t);
    platform
        .top
        .commit(&[("Dockerfile", "FROM scratch\nCOPY nothing /\n")], "Fail");
    t.xp(["build", "--fleet", "ci", "--all-or-nothing", "--tag", "v1"])
        .failure(1);
    let tags = platform.registry.tags(&t.image("base"));
    assert!(tags.contains(&platform.base.head()), "{tags:?}");
    assert!(
        !tags.contains(&"v1".to_owned()) && !tags.contains(&"master".to_owned()),
        "{tags:?}"
    );
    platform
        .top
        .commit(&[("Dockerfile", "ARG BASE\nFROM ${BASE}\n")], "Mend");
    t.xp(["build", "--fleet", "ci", "--all-or-nothing", "--tag", "v1"])
        .success();
    for service in ["base", "top"] {
        let tags = platform.registry.tags(&t.image(service));
        assert!(tags.contains(&"v1".to_owned()), "{tags:?}");
    }
}

fn what_needs_this_machine_is_refused(t: &Context) {
    let platform = FleetPlatform::new(t);
    t.xp(["build", "--fleet", "c"])
        .failure(2)
        .stderr_contains("unknown fleet `c`");
    platform.set_services(&small::service(
        t,
        "base",
        &platform.base.url_file(),
        "",
        "",
    ));
    t.xp(["build", "--fleet", "ci"])
        .failure(2)
        .stderr_contains("is on this machine, not on the fleet's");
    t.xp(["build", "--fleet", "ci", "--local"])
        .failure(2)
        .stderr_contains("--local");
    platform.set_script("echo text > made");
    let manifest = t.read("x-platform.yml");
    t.manifest(&manifest.replace("services:\n", "supply: {provenance: true}\nservices:\n"));
    t.xp(["build", "--fleet", "ci"])
        .failure(2)
        .stderr_contains("`--fleet` does not attach or sign anything, but `supply` in the manifest")
        .stderr_contains("requires it for ")
        .stderr_contains("hint: build without `--fleet`, or remove `supply` from the manifest");
    t.manifest(&manifest);
    fs::remove_file(t.dir().join("k8s/pod.yaml")).expect("the template");
    t.xp(["build", "--fleet", "ci"])
        .failure(2)
        .stderr_contains("fleet `ci`: cannot read the pod template k8s/pod.yaml");
    assert!(platform.jobs().is_empty());
}

fn a_plan_shows_where_units_run(t: &Context) {
    let _platform = FleetPlatform::new(t);
    let plan = t.xp(["plan", "--fleet", "ci"]).success();
    assert!(plan.stdout.contains("on the fleet ci"), "{plan}");
    let plan = t
        .xp(["plan", "--fleet", "ci", "--format", "json"])
        .success();
    let plan: Value = serde_json::from_str(&plan.stdout).expect("JSON");
    let units = plan["units"].as_array().expect("units");
    let fleets: Vec<&Value> = units
        .iter()
        .filter(|unit| unit["kind"] == "service")
        .map(|unit| &unit["fleet"])
        .collect();
    assert_eq!(fleets, ["ci", "ci"]);
}

fn doctor_checks_fleets(t: &Context) {
    let platform = FleetPlatform::new(t);
    let doctor = t.xp(["doctor", "-v"]).run();
    let reachable = format!(
        "ci: namespace {} in ci-cluster is reachable, with all permissions",
        platform.namespace.name()
    );
    assert!(doctor.stdout.contains(&reachable), "{doctor}");
    t.kubeconfig(&[("ci-cluster", Access::NoJobs)]);
    t.write("k8s/pod.yaml", "spec: {containers: []}\n");
    let doctor = t.xp(["doctor"]).run();
    assert!(
        doctor.stdout.contains("missing permissions: create jobs"),
        "{doctor}"
    );
    assert!(
        doctor
            .stdout
            .contains("ci: its pods have no container engine"),
        "{doctor}"
    );
    t.kubeconfig(&[("ci", Access::Full)]);
    let doctor = t.xp(["doctor"]).run();
    assert!(
        doctor
            .stdout
            .contains("the kubeconfig has no context `ci-cluster`"),
        "{doctor}"
    );
}
