//! The client of Kubernetes: the real `kubectl`, and `kustomize` where only that is there. Nothing else starts
//! them.
//!
//! They run on this machine, or in a container that has them. Each call names context and namespace, so that
//! what the kubeconfig takes for current plays no part. What they say on standard error is cleaned of what is
//! secret before anybody sees it; what stands in an object is never read from a comparison.

mod error;
mod process;
mod said;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

pub use error::{KubectlError, Refused};

use crate::client::engine::BuilderContainer;
use process::{Finished, Lines};

/// Who owns the fields that xp applies.
pub const FIELD_MANAGER: &str = "xp";

/// Where a program runs.
#[derive(Clone, Copy)]
pub enum Place<'c> {
    /// On this machine.
    Host(&'c Path),
    /// In a container that has it, where the same paths lead to the same files.
    Container(&'c BuilderContainer),
}

/// The programs, and where they run.
pub struct Kubectl<'c> {
    /// What talks to clusters.
    pub kubectl: Option<Place<'c>>,
    /// What renders, where that is not `kubectl`.
    pub kustomize: Option<Place<'c>>,
    /// The folder that they start in.
    pub folder: PathBuf,
    /// The kubeconfig files, absolute; those that the caller's environment names where there is none.
    pub kubeconfig: Option<String>,
    /// Gets what a program that goes on says on standard error, such as where to log in.
    pub told: Arc<dyn Fn(&str) + Send + Sync>,
    /// Takes what is secret out of a text.
    pub hide: Arc<dyn Fn(&str) -> String + Send + Sync>,
}

/// A namespace of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cluster<'e> {
    /// The context of the kubeconfig.
    pub context: &'e str,
    /// The namespace.
    pub namespace: &'e str,
}

/// What applying would do to an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// The object, such as `Deployment zbackend`.
    pub object: String,
    /// Whether it is not there yet.
    pub is_new: bool,
}

impl Kubectl<'_> {
    /// Renders the kustomization of a folder.
    ///
    /// # Errors
    ///
    /// What kustomize says is wrong with it.
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
    /// A kubeconfig that cannot be read.
    pub async fn contexts(&self) -> Result<Vec<String>, KubectlError> {
        let finished = self
            .call(&["config", "get-contexts", "--output=name"], None)
            .await?;
        let text = self.text_of("read the kubeconfig", finished)?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Returns an object; none where there is none of that name.
    ///
    /// # Errors
    ///
    /// Where the cluster refuses, or does not answer.
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

    /// Returns the objects of a kind that have these labels.
    ///
    /// # Errors
    ///
    /// Where the cluster refuses, or does not answer.
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

    /// Writes an object: a new one, or the next version of the one that was read. Returns it as it is then.
    ///
    /// # Errors
    ///
    /// As [`Refused::Changed`] where somebody else has written it meanwhile.
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

    /// Returns the objects that applying would make or change, without what stands in them.
    ///
    /// # Errors
    ///
    /// Where the cluster refuses, or does not answer.
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
        // Which files differ, and nothing of what is in them.
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
        // What is not there yet is compared with nothing, which `diff` does not tell.
        let listed = ["get", "--filename=-", "--output=name", "--ignore-not-found"];
        let listed = self.at(cluster, &listed, Some(objects));
        let (finished, listed) = tokio::join!(compared, listed);
        let finished = finished?;
        let failed = || self.refused("compare what is there with what is rendered", &finished);
        // 1 is that of `diff` where something differs.
        if !matches!(finished.code, 0 | 1) || (finished.code == 1 && finished.stdout.is_empty()) {
            return Err(failed());
        }
        let there = self.text_of("list what is there", listed?)?;
        let found = said::differences(&finished.stdout, &there);
        // Something differs, and nobody knows what: that is not to be taken for nothing.
        if finished.code == 1 && found.is_empty() {
            return Err(failed());
        }
        Ok(found)
    }

    /// Applies objects, and tells of each that was applied.
    ///
    /// # Errors
    ///
    /// What was refused; other objects may have been applied all the same.
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
    /// It was not, in that time or at all.
    pub async fn wait_for_rollout(
        &self,
        cluster: Cluster<'_>,
        workload: &str,
        timeout: Duration,
        told: &mut (dyn FnMut(&str) + Send),
    ) -> Result<(), KubectlError> {
        let timeout = format!("--timeout={}s", timeout.as_secs().max(1));
        let arguments = with_cluster(cluster, &["rollout", "status", workload, &timeout]);
        let mut line = |line: &str| told(&(self.hide)(line));
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
    ) -> Result<Finished, KubectlError> {
        // One question; a server that does not answer is not waited for.
        let mut arguments = with_cluster(cluster, arguments);
        arguments.push("--request-timeout=30s");
        self.call(&arguments, input).await
    }

    async fn call(
        &self,
        arguments: &[&str],
        input: Option<&str>,
    ) -> Result<Finished, KubectlError> {
        let place = self.kubectl.ok_or(KubectlError::NoProgram("kubectl"))?;
        self.run(place, "kubectl", arguments, input, &[], None)
            .await
    }

    async fn run(
        &self,
        place: Place<'_>,
        name: &'static str,
        arguments: &[&str],
        input: Option<&str>,
        variables: &[(&str, &str)],
        lines: Option<Lines<'_>>,
    ) -> Result<Finished, KubectlError> {
        // What is printed is read by xp, so that no language but that one will do.
        let mut all = vec![("LC_ALL", "C"), ("LANGUAGE", "C")];
        let kubeconfig = self.kubeconfig.as_deref();
        all.extend(kubeconfig.map(|files| ("KUBECONFIG", files)));
        all.extend_from_slice(variables);
        let told = |text: &str| {
            for line in self.without_secrets(text) {
                (self.told)(&line);
            }
        };
        let call = process::Call {
            name,
            arguments,
            input,
            variables: &all,
            folder: &self.folder,
            told: &told,
        };
        match place {
            Place::Host(program) => process::on_host(program, &call, lines).await,
            Place::Container(container) => process::in_container(container, &call, lines).await,
        }
    }

    /// Returns what a program printed, where it ended well.
    fn text_of(&self, what: &str, finished: Finished) -> Result<String, KubectlError> {
        if finished.code != 0 {
            return Err(self.refused(what, &finished));
        }
        String::from_utf8(finished.stdout).map_err(|_| KubectlError::Refused {
            what: what.to_owned(),
            said: vec!["what was printed is not UTF-8".to_owned()],
        })
    }

    fn refused(&self, what: &str, finished: &Finished) -> KubectlError {
        let mut said = self.without_secrets(&String::from_utf8_lossy(&finished.stderr));
        if said.is_empty() {
            said.push(format!("it exited with {}", finished.code));
        }
        KubectlError::Refused {
            what: what.to_owned(),
            said,
        }
    }

    /// Returns what was said as it may be told.
    fn without_secrets(&self, text: &str) -> Vec<String> {
        let lines = said::cleaned(&(self.hide)(text));
        // A value with quotes in it was escaped until it was cleaned.
        lines.iter().map(|line| (self.hide)(line)).collect()
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

fn parsed(text: &str) -> Result<Value, KubectlError> {
    serde_json::from_str(text).map_err(|error| KubectlError::Refused {
        what: "read what kubectl prints".to_owned(),
        said: vec![error.to_string()],
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Mutex;
    use std::time::Instant;

    use super::*;

    const CLUSTER: Cluster<'static> = Cluster {
        context: "c",
        namespace: "n",
    };

    /// Runs `test` with a program that is a shell script, and returns what was told meanwhile.
    async fn with<T>(script: &str, test: impl AsyncFnOnce(&Kubectl<'_>) -> T) -> (T, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("program");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let told = lines.clone();
        let kubectl = Kubectl {
            kubectl: Some(Place::Host(&program)),
            kustomize: None,
            folder: folder.path().to_owned(),
            kubeconfig: Some("/a/config".to_owned()),
            told: Arc::new(move |line: &str| told.lock().unwrap().push(line.to_owned())),
            hide: Arc::new(|text: &str| text.replace("pa\"ss", "***")),
        };
        let result = test(&kubectl).await;
        let told = lines.lock().unwrap().clone();
        (result, told)
    }

    #[tokio::test]
    async fn programs_speak_the_language_that_is_read() {
        let script = "echo $LC_ALL $LANGUAGE $KUBECONFIG";
        let (text, _) = with(script, async |it| it.render(Path::new("/")).await).await;
        assert_eq!(text.unwrap(), "C C /a/config\n");
    }

    #[tokio::test]
    async fn a_difference_that_cannot_be_read_is_an_error() {
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
    async fn what_is_asked_meanwhile_is_told_and_a_daemon_is_not_waited_for() {
        let script = "echo 'go to https://h/pa\"ss' >&2; sleep 3; sleep 60 & exit 0";
        let start = Instant::now();
        let (result, told) = with(script, async |it| it.render(Path::new("/")).await).await;
        assert_eq!(result.unwrap(), "");
        assert_eq!(told, ["go to https://h/***"]);
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}
