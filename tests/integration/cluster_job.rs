//! A namespace whose pods run, for tests of the cluster itself.

use serde_json::Value;

use crate::context::Context;
use crate::output::Output;
use crate::wait::wait_until;
use crate::world::{Access, Namespace};
use crate::xp::Xp;

/// A namespace that runs pods in the engine of the tests, and `kubectl` for it.
pub struct Builds<'t> {
    t: &'t Context,
    pub namespace: Namespace,
}

impl<'t> Builds<'t> {
    /// Creates the namespace, which the current context can write to.
    pub fn new(t: &'t Context) -> Self {
        t.kubeconfig(&[("full", Access::Full)]);
        let namespace = t.namespace("builds");
        namespace.run_pods(t.engine());
        Self { t, namespace }
    }

    /// Returns `kubectl` with these arguments.
    pub fn command(&self, words: &str) -> Xp {
        let command = self.t.kubectl(["--namespace", self.namespace.name()]);
        words.split(' ').fold(command, Xp::arg)
    }

    /// Runs `kubectl` with these arguments; it must succeed.
    #[track_caller]
    pub fn kubectl(&self, words: &str) -> Output {
        self.command(words).success()
    }

    /// Creates objects.
    #[track_caller]
    pub fn create(&self, objects: &str) {
        self.command("create --filename=-").stdin(objects).success();
    }

    /// Returns an object.
    #[track_caller]
    pub fn object(&self, resource: &str, name: &str) -> Value {
        let object = self.namespace.object(resource, name);
        object.unwrap_or_else(|| panic!("{resource} {name} does not exist"))
    }

    /// Returns the pod of a Job.
    pub fn pod(&self, job: &str) -> Value {
        let mut pods = self.namespace.objects("pods").into_iter();
        pods.find(|pod| pod["metadata"]["labels"]["job-name"] == job)
            .unwrap_or_default()
    }

    /// Returns the name of the running pod of a Job.
    #[track_caller]
    pub fn running_pod(&self, job: &str) -> String {
        wait_until("a running pod", || {
            self.pod(job)["status"]["phase"] == "Running"
        });
        let pod = self.pod(job);
        pod["metadata"]["name"].as_str().expect("a name").to_owned()
    }

    /// Waits until the container of a Job waits for this reason.
    #[track_caller]
    pub fn wait_for_reason(&self, job: &str, reason: &str) {
        wait_until(reason, || {
            let pod = self.pod(job);
            let state = &pod["status"]["containerStatuses"][0]["state"];
            state["waiting"]["reason"] == reason
        });
    }

    /// Returns the containers of the namespace's pods.
    pub fn containers(&self) -> Vec<Value> {
        let label = format!(
            "label=io.kubernetes.pod.namespace={}",
            self.namespace.name()
        );
        self.t.engine().containers(&[&label])
    }
}

/// Returns a Job with one container, `main`, that runs a shell script.
pub fn job(t: &Context, name: &str, script: &str) -> String {
    let script = script.replace('\'', "''");
    format!(
        "apiVersion: batch/v1
kind: Job
metadata: {{name: {name}}}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: main
          image: {}
          command: [sh, -c, '{script}']
",
        t.engine().busybox()
    )
}
