//! Runs a pod of a fleet, in which a worker checks what units need.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{CheckedPlatform, DoctorContext};
use crate::base::error::{Exit, Failure};
use crate::base::nonce::nonce;
use crate::client::registry::Credentials;
use crate::execute::StepError;
use crate::execute::fleet::{ProbeJob, ProbeRequest, docker_config, pod_remote};
use crate::flow::fleet::connect;
use crate::model::doctor::{CheckFailure, PodFacts};
use crate::model::event::Events;
use crate::model::fleet::{GIT_CREDENTIALS, PodTemplate, Probe, UNIT_FILE};
use crate::model::image::{Registry, RegistryPrefix};
use crate::model::manifest::{BuilderImage, Fleet};
use crate::model::source::{GitUrl, UrlRule};

/// How long a pod may wait until it starts, unless `wait` of the fleet is shorter.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// How long a worker may take in addition to its checks.
const EXTRA: Duration = Duration::from_secs(30);

/// The Jobs to remove.
#[derive(Default)]
pub(super) struct ProbeJobs(Mutex<Vec<Arc<ProbeJob>>>);

impl ProbeJobs {
    fn add(&self, job: ProbeJob) -> Arc<ProbeJob> {
        let job = Arc::new(job);
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.push(Arc::clone(&job));
        job
    }

    /// Removes the Jobs. Returns a text for each one that may still exist.
    pub async fn remove(&self) -> Vec<String> {
        let jobs = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut left = Vec::new();
        for job in jobs {
            left.extend(job.remove().await.err());
        }
        left
    }
}

/// Runs a pod, and returns what was found there.
pub(super) async fn check(
    context: &DoctorContext<'_>,
    platform: &CheckedPlatform<'_>,
    fleet: &Fleet,
    template: &PodTemplate,
) -> Result<PodFacts, CheckFailure> {
    let what = format!("the pod of the fleet {}", fleet.name);
    let mut waiting = Some(context.waiting.begin(&what));
    let files = files(context, platform, template).await?;
    let folder = std::env::temp_dir().join(format!("xp-doctor-{}", nonce()));
    let api = connect(context.settings, fleet, &folder, &Events::new(|_| {})).await;
    let api = api.map_err(|failure| CheckFailure::of_failure(&failure))?;
    let job = context.probes.add(ProbeJob::new(api, &nonce()));
    let request = ProbeRequest {
        template,
        image: &fleet.image,
        files: &files,
        wait: fleet.wait.min(LONGEST_WAIT),
        // The engine may be starting, and then the checks run concurrently.
        limit: context.limit * 2 + EXTRA,
    };
    let show = |state: &str| {
        waiting.take();
        waiting = Some(context.waiting.begin(&format!("{what}: {state}")));
    };
    let found = job.run(&request, show).await;
    found.map_err(not_checked)
}

fn not_checked(error: StepError) -> CheckFailure {
    CheckFailure {
        what: error.message().to_owned(),
        causes: Vec::new(),
        fixes: error.into_hints(),
        exit: Exit::Outside,
    }
}

/// Returns the files of the Secret: what to check, and the logins that units would get.
async fn files(
    context: &DoctorContext<'_>,
    platform: &CheckedPlatform<'_>,
    template: &PodTemplate,
) -> Result<BTreeMap<String, Vec<u8>>, CheckFailure> {
    let file = &platform.manifest.file;
    let manifest = fs::read_to_string(file).map_err(|error| {
        let text = format!("cannot read {}: {error}", file.display());
        CheckFailure::of_failure(&Failure::outside(text))
    })?;
    let remotes: BTreeSet<&GitUrl> = context
        .services()
        .filter_map(|service| Some(&service.source.git()?.remote))
        .collect();
    let mut url_rules: Vec<UrlRule> = Vec::new();
    for remote in &remotes {
        let rules = pod_remote(&platform.git, template, remote).rules;
        let new = rules.into_iter().filter(|it| !url_rules.contains(it));
        let new: Vec<UrlRule> = new.collect();
        url_rules.extend(new);
    }
    let probe = Probe {
        manifest,
        services: platform.services.clone(),
        limit: context.limit,
        insecure_registries: context.engine_state().await.insecure_registries,
        url_rules,
    };
    let mut files = BTreeMap::from([(UNIT_FILE.to_owned(), probe.to_text().into_bytes())]);
    if !template.sets("DOCKER_CONFIG") {
        let logins = docker_config(registry_logins(context, platform).await);
        files.extend(logins.map(|logins| ("config.json".to_owned(), logins)));
    }
    if !template.sets("GIT_CONFIG_COUNT") {
        let logins = git_logins(context, platform, remotes).await;
        let logins = (!logins.is_empty()).then_some(logins);
        files.extend(logins.map(|logins| (GIT_CREDENTIALS.to_owned(), logins.into_bytes())));
    }
    Ok(files)
}

/// Returns the logins of the registries of the services' images and builder images. A registry without one is reported
/// by other checks.
async fn registry_logins(
    context: &DoctorContext<'_>,
    platform: &CheckedPlatform<'_>,
) -> Vec<(Registry, Credentials)> {
    let mut registries: BTreeSet<Registry> = BTreeSet::new();
    for service in context.services() {
        registries.extend(service.docker.image.registry().cloned());
        for image in service.images() {
            let registry = match image {
                BuilderImage::External(image) => image.repository().registry(),
                BuilderImage::Folder(_) => {
                    let prefix = platform.manifest.registry.as_ref();
                    prefix.map(RegistryPrefix::registry)
                }
            };
            registries.extend(registry.cloned());
        }
    }
    let client = context.registry().await;
    let mut logins = Vec::new();
    for registry in registries {
        let found = client.credentials(&registry);
        let found = tokio::time::timeout(context.limit, found).await;
        if let Ok(Ok(Some(credentials))) = found {
            logins.push((registry, credentials));
        }
    }
    logins
}

/// Returns the logins of remotes that require one. A remote that does not respond is reported by other checks.
async fn git_logins(
    context: &DoctorContext<'_>,
    platform: &CheckedPlatform<'_>,
    remotes: BTreeSet<&GitUrl>,
) -> String {
    let logins = futures_util::future::join_all(remotes.into_iter().map(async |remote| {
        let login = platform.git.login(remote);
        tokio::time::timeout(context.limit, login).await.ok()?
    }));
    let mut lines = String::new();
    for line in logins.await.into_iter().flatten() {
        lines.push_str(&line);
        lines.push('\n');
    }
    lines
}
