//! The Kubernetes client, which runs `kubectl` and, if installed, `kustomize`.
//!
//! They run on this machine, or in a container that has them. Each call passes context and namespace, so the current
//! context of the kubeconfig does not matter. Secrets are removed from standard error before it is shown, and
//! comparisons never read the contents of objects.

mod api;
mod api_error;
mod error;
mod kind;
mod line_stream;
mod process;
mod proxy;
mod stderr;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

pub use api::ClusterApi;
pub use api_error::ApiError;
pub use error::{KubectlError, KubectlErrorKind};
pub use kind::Kind;
pub use line_stream::LineStream;
pub use proxy::ProxySettings;

use crate::base::redact::SharedRedactor;
use crate::client::engine::BuilderContainer;
use crate::model::environment::KUBECONFIG;
use process::{LineHandler, ProgramResult};

/// The owner of the fields that xp applies.
pub const FIELD_MANAGER: &str = "xp";

/// The kinds of objects that name images.
const KINDS_WITH_IMAGES: &str = "pods,deployments.apps,replicasets.apps,statefulsets.apps,daemonsets.apps,jobs.batch,cronjobs.batch";

/// Where a program runs.
#[derive(Clone, Copy)]
pub enum ToolLocation<'c> {
    /// On this machine.
    Host(&'c Path),
    /// In a container, which sees the same files at the same paths.
    Container(&'c BuilderContainer),
}

/// The programs, and where to run them.
pub struct Kubectl<'c> {
    /// Where to run `kubectl`.
    pub kubectl: Option<ToolLocation<'c>>,
    /// Where to run `kustomize`; if `None`, `kubectl` renders.
    pub kustomize: Option<ToolLocation<'c>>,
    /// The working folder.
    pub folder: PathBuf,
    /// The absolute paths of kubeconfig files; if `None`, those of the caller's environment.
    pub kubeconfig: Option<String>,
    /// Receives the standard error of a program that keeps running, such as a prompt to log in.
    pub on_line: Arc<dyn Fn(&str) + Send + Sync>,
    /// The secrets that are removed from standard error.
    pub secrets: SharedRedactor,
}

/// A namespace of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cluster<'e> {
    /// The context of the kubeconfig.
    pub context: &'e str,
    /// The namespace.
    pub namespace: &'e str,
}

/// A change that applying would make to an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// The object, such as `Deployment zbackend`.
    pub object: String,
    /// Whether the object does not exist yet.
    pub is_new: bool,
}

impl Kubectl<'_> {
    /// Renders the kustomization of a folder.
    ///
    /// # Errors
    ///
    /// The kustomization is invalid.
    pub async fn render(&self, folder: &Path) -> Result<String, KubectlError> {
        let folder = folder.display().to_string();
        let (place, name, arguments) = match (self.kustomize, self.kubectl) {
            (Some(place), _) => (place, "kustomize", vec!["build", folder.as_str()]),
            (None, Some(place)) => (place, "kubectl", vec!["kustomize", folder.as_str()]),
            (None, None) => return Err(KubectlError::NoProgram("kubectl")),
        };
        let finished = self.run(place, name, &arguments, None, &[], None).await?;
        self.text_of("render", finished)
    }

    /// Returns the names of the kubeconfig's contexts.
    ///
    /// # Errors
    ///
    /// The kubeconfig cannot be read.
    pub async fn contexts(&self) -> Result<Vec<String>, KubectlError> {
        let finished = self
            .call(&["config", "get-contexts", "--output=name"], None)
            .await?;
        let text = self.text_of("read the kubeconfig", finished)?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Returns an object; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// If the cluster rejects the request or does not respond.
    pub async fn get(
        &self,
        cluster: Cluster<'_>,
        kind: &str,
        name: &str,
    ) -> Result<Option<Value>, KubectlError> {
        let arguments = ["get", kind, name, "--ignore-not-found", "--output=json"];
        let finished = self.at(cluster, &arguments, None).await?;
        let text = self.text_of(&format!("read {kind} {name}"), finished)?;
        if text.trim().is_empty() {
            return Ok(None);
        }
        parsed(&text).map(Some)
    }

    /// Returns the objects of a kind with these labels.
    ///
    /// # Errors
    ///
    /// If the cluster rejects the request or does not respond.
    pub async fn list(
        &self,
        cluster: Cluster<'_>,
        kind: &str,
        labels: &str,
    ) -> Result<Vec<Value>, KubectlError> {
        let selector = format!("--selector={labels}");
        let arguments = ["get", kind, &selector, "--output=json"];
        let finished = self.at(cluster, &arguments, None).await?;
        let list = parsed(&self.text_of(&format!("list {kind}"), finished)?)?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// Returns the names of the images of all pods, and of what creates pods, including earlier revisions.
    ///
    /// # Errors
    ///
    /// The cluster does not respond, or refuses any part of it.
    pub async fn images(&self, cluster: Cluster<'_>) -> Result<BTreeSet<String>, KubectlError> {
        let arguments = ["get", KINDS_WITH_IMAGES, "--output=json"];
        let finished = self.at(cluster, &arguments, None).await?;
        let list = parsed(&self.text_of("list what runs", finished)?)?;
        if !list["items"].is_array() {
            return Err(KubectlError::Failed {
                action: "list what runs".to_owned(),
                lines: vec!["the answer has no list".to_owned()],
            });
        }
        let mut images = BTreeSet::new();
        images_in(&list, &mut images);
        Ok(images)
    }

    /// Returns whether the user may do each of these; `None` if the cluster does not say.
    ///
    /// # Errors
    ///
    /// If the cluster rejects the request or does not respond.
    pub async fn may(
        &self,
        cluster: Cluster<'_>,
        wanted: &[(Kind, &str)],
    ) -> Result<Vec<Option<bool>>, KubectlError> {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": cluster.namespace},
        });
        let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
        let arguments = ["create", "--raw", path, "--filename=-"];
        let finished = self
            .at(cluster, &arguments, Some(&review.to_string()))
            .await?;
        let answer = parsed(&self.text_of("check the permissions", finished)?)?;
        let rules = answer["status"]["resourceRules"].as_array();
        let rules = rules.map_or(&[][..], Vec::as_slice);
        let is_complete = answer["status"]["incomplete"] != true;
        let allowed = wanted.iter().map(|(kind, verb)| {
            let is_allowed = rules.iter().any(|rule| kind.is_allowed_by(rule, verb));
            (is_allowed || is_complete).then_some(is_allowed)
        });
        Ok(allowed.collect())
    }

    /// Creates or replaces an object, depending on whether it has a resource version, and returns the result.
    ///
    /// # Errors
    ///
    /// An error of the kind [`KubectlErrorKind::Changed`] if the object was changed concurrently.
    pub async fn write(&self, cluster: Cluster<'_>, object: &Value) -> Result<Value, KubectlError> {
        let is_new = object["metadata"]["resourceVersion"].is_null();
        let verb = if is_new { "create" } else { "replace" };
        let manager = format!("--field-manager={FIELD_MANAGER}");
        let arguments = [verb, "--filename=-", "--output=json", &manager];
        let text = object.to_string();
        let finished = self.at(cluster, &arguments, Some(&text)).await?;
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        parsed(&self.text_of(&format!("write {name}"), finished)?)
    }

    /// Returns the objects that applying would create or change, without their contents.
    ///
    /// # Errors
    ///
    /// If the cluster rejects the request or does not respond.
    pub async fn differences(
        &self,
        cluster: Cluster<'_>,
        objects: &str,
        force: bool,
    ) -> Result<Vec<Difference>, KubectlError> {
        let manager = format!("--field-manager={FIELD_MANAGER}");
        let mut arguments = vec!["diff", "--server-side", "--filename=-", &manager];
        if force {
            arguments.push("--force-conflicts");
        }
        // Report only which files differ, not their contents.
        let variables = [("KUBECTL_EXTERNAL_DIFF", "diff -q -r")];
        let arguments = with_cluster(cluster, &arguments);
        let place = self.kubectl.ok_or(KubectlError::NoProgram("kubectl"))?;
        let compared = self.run(
            place,
            "kubectl",
            &arguments,
            Some(objects),
            &variables,
            None,
        );
        // `diff` does not distinguish new objects from changed ones.
        let listed = ["get", "--filename=-", "--output=name", "--ignore-not-found"];
        let listed = self.at(cluster, &listed, Some(objects));
        let (finished, listed) = tokio::join!(compared, listed);
        let finished = finished?;
        let failed = || self.failure("compare the rendered objects with the cluster", &finished);
        // `diff` exits with 1 if there are differences.
        if !matches!(finished.code, 0 | 1) || (finished.code == 1 && finished.stdout.is_empty()) {
            return Err(failed());
        }
        let existing = self.text_of("list the existing objects", listed?)?;
        let found = stderr::differences(&finished.stdout, &existing);
        // An unreadable difference must not pass for "no difference".
        if finished.code == 1 && found.is_empty() {
            return Err(failed());
        }
        Ok(found)
    }

    /// Applies objects, and calls `applied` for each one.
    ///
    /// # Errors
    ///
    /// An object was rejected; others may have been applied anyway.
    pub async fn apply(
        &self,
        cluster: Cluster<'_>,
        objects: &str,
        force: bool,
        applied: &mut (dyn FnMut(String) + Send),
    ) -> Result<(), KubectlError> {
        let manager = format!("--field-manager={FIELD_MANAGER}");
        let mut arguments = vec!["apply", "--server-side", "--filename=-", &manager];
        if force {
            arguments.push("--force-conflicts");
        }
        let arguments = with_cluster(cluster, &arguments);
        let mut line = |line: &str| {
            // Such as `deployment.apps/zbackend serverside-applied`.
            if let Some(name) = line.strip_suffix(" serverside-applied") {
                applied(name.to_owned());
            }
        };
        let place = self.kubectl.ok_or(KubectlError::NoProgram("kubectl"))?;
        let finished = self
            .run(
                place,
                "kubectl",
                &arguments,
                Some(objects),
                &[],
                Some(&mut line),
            )
            .await?;
        self.text_of("apply", finished).map(drop)
    }

    /// Waits until a workload, such as `deployment/zbackend`, is rolled out.
    ///
    /// # Errors
    ///
    /// It failed or timed out.
    pub async fn wait_for_rollout(
        &self,
        cluster: Cluster<'_>,
        workload: &str,
        timeout: Duration,
        on_line: &mut (dyn FnMut(&str) + Send),
    ) -> Result<(), KubectlError> {
        let timeout = format!("--timeout={}s", timeout.as_secs().max(1));
        let arguments = with_cluster(cluster, &["rollout", "status", workload, &timeout]);
        let mut line = |line: &str| on_line(&self.secrets.text(line));
        let place = self.kubectl.ok_or(KubectlError::NoProgram("kubectl"))?;
        let finished = self
            .run(place, "kubectl", &arguments, None, &[], Some(&mut line))
            .await?;
        self.text_of(&format!("roll out {workload}"), finished)
            .map(drop)
    }

    async fn at(
        &self,
        cluster: Cluster<'_>,
        arguments: &[&str],
        input: Option<&str>,
    ) -> Result<ProgramResult, KubectlError> {
        // A single request, so do not wait long for a server that does not respond.
        let mut arguments = with_cluster(cluster, arguments);
        arguments.push("--request-timeout=30s");
        self.call(&arguments, input).await
    }

    async fn call(
        &self,
        arguments: &[&str],
        input: Option<&str>,
    ) -> Result<ProgramResult, KubectlError> {
        let place = self.kubectl.ok_or(KubectlError::NoProgram("kubectl"))?;
        self.run(place, "kubectl", arguments, input, &[], None)
            .await
    }

    async fn run(
        &self,
        place: ToolLocation<'_>,
        name: &'static str,
        arguments: &[&str],
        input: Option<&str>,
        variables: &[(&str, &str)],
        lines: Option<LineHandler<'_>>,
    ) -> Result<ProgramResult, KubectlError> {
        // The output is parsed, so it must not be localized.
        let mut all = vec![("LC_ALL", "C"), ("LANGUAGE", "C")];
        let kubeconfig = self.kubeconfig.as_deref();
        all.extend(kubeconfig.map(|files| (KUBECONFIG.name, files)));
        all.extend_from_slice(variables);
        let on_stderr = |text: &str| {
            for line in self.without_secrets(text) {
                (self.on_line)(&line);
            }
        };
        let call = process::ProgramCall {
            name,
            arguments,
            input,
            variables: &all,
            folder: &self.folder,
            on_stderr: &on_stderr,
        };
        match place {
            ToolLocation::Host(program) => process::on_host(program, &call, lines).await,
            ToolLocation::Container(container) => {
                process::in_container(container, &call, lines).await
            }
        }
    }

    /// Returns the output of a program that succeeded.
    fn text_of(&self, action: &str, finished: ProgramResult) -> Result<String, KubectlError> {
        if finished.code != 0 {
            return Err(self.failure(action, &finished));
        }
        String::from_utf8(finished.stdout).map_err(|_| KubectlError::Failed {
            action: action.to_owned(),
            lines: vec!["the output is not UTF-8".to_owned()],
        })
    }

    fn failure(&self, action: &str, finished: &ProgramResult) -> KubectlError {
        let mut lines = self.without_secrets(&String::from_utf8_lossy(&finished.stderr));
        if lines.is_empty() {
            lines.push(format!("exit code {}", finished.code));
        }
        KubectlError::Failed {
            action: action.to_owned(),
            lines,
        }
    }

    /// Returns the lines of standard error, without secrets.
    fn without_secrets(&self, text: &str) -> Vec<String> {
        let lines = stderr::cleaned(&self.secrets.text(text));
        // Cleaning unescapes values with quotes, so redact once more.
        lines.iter().map(|line| self.secrets.text(line)).collect()
    }
}

fn with_cluster<'a>(cluster: Cluster<'a>, arguments: &[&'a str]) -> Vec<&'a str> {
    let place = [
        "--context",
        cluster.context,
        "--namespace",
        cluster.namespace,
    ];
    [arguments, &place].concat()
}

/// Adds the names of images, wherever they are in objects: in the templates of pods, including volumes, and in their
/// states.
fn images_in(value: &Value, images: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| images_in(item, images)),
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text)
                        if matches!(name.as_str(), "image" | "imageID" | "reference") =>
                    {
                        images.insert(text.clone());
                    }
                    value => images_in(value, images),
                }
            }
        }
        _ => {}
    }
}

fn parsed(text: &str) -> Result<Value, KubectlError> {
    serde_json::from_str(text).map_err(|error| KubectlError::Failed {
        action: "parse kubectl's output".to_owned(),
        lines: vec![error.to_string()],
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Mutex;
    use std::time::Instant;

    use super::*;
    use crate::base::redact::Redactor;

    const CLUSTER: Cluster<'static> = Cluster {
        context: "c",
        namespace: "n",
    };

    /// Runs `test` with a shell script as the program, and returns the lines that were reported.
    async fn with<T>(script: &str, test: impl AsyncFnOnce(&Kubectl<'_>) -> T) -> (T, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("program");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let secrets = SharedRedactor::default();
        secrets.merge(Redactor::of(["pa\"ss".to_owned()]));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let reported = lines.clone();
        let kubectl = Kubectl {
            kubectl: Some(ToolLocation::Host(&program)),
            kustomize: None,
            folder: folder.path().to_owned(),
            kubeconfig: Some("/a/config".to_owned()),
            on_line: Arc::new(move |line: &str| reported.lock().unwrap().push(line.to_owned())),
            secrets,
        };
        let result = test(&kubectl).await;
        let reported = lines.lock().unwrap().clone();
        (result, reported)
    }

    #[tokio::test]
    async fn programs_run_without_localization() {
        let script = "echo $LC_ALL $LANGUAGE $KUBECONFIG";
        let (text, _) = with(script, async |it| it.render(Path::new("/")).await).await;
        assert_eq!(text.unwrap(), "C C /a/config\n");
    }

    #[tokio::test]
    async fn an_unreadable_difference_is_an_error() {
        let script = "[ $1 = diff ] || exit 0; echo 'Dateien /a/v1.X.n.a und /b/v1.X.n.a sind verschieden.'; exit 1";
        let compared = async |it: &Kubectl<'_>| it.differences(CLUSTER, "", false).await;
        assert!(with(script, compared).await.0.is_err());
        let script =
            "[ $1 = diff ] || exit 0; echo 'Files /a/v1.X.n.a and /b/v1.X.n.a differ'; exit 1";
        assert_eq!(with(script, compared).await.0.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_secret_with_quotes_is_hidden() {
        let script = r#"echo 'E1 1 x.go:1] "failed" err="bad pa\"ss"' >&2; exit 1"#;
        let (result, _) = with(script, async |it| it.render(Path::new("/")).await).await;
        let error = result.unwrap_err().to_string();
        assert_eq!(error, "cannot render: bad ***");
    }

    #[tokio::test]
    async fn prompts_are_reported_and_daemons_are_not_waited_for() {
        let script = "echo 'go to https://h/pa\"ss' >&2; sleep 3; sleep 60 & exit 0";
        let start = Instant::now();
        let (result, reported) = with(script, async |it| it.render(Path::new("/")).await).await;
        assert_eq!(result.unwrap(), "");
        assert_eq!(reported, ["go to https://h/***"]);
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}
