//! Checks what units need, from inside a pod.

use std::path::{Path, PathBuf};

use super::{engine, git_environment};
use crate::base::error::Failure;
use crate::client::git::GitClient;
use crate::client::http::Http;
use crate::client::retry::{Policy, Retries};
use crate::flow::diagnose::{CheckedPlatform, DoctorContext};
use crate::host::settings::Settings;
use crate::model::doctor::{CheckFailure, Finding};
use crate::model::fleet::{CACHE_FOLDER, PLATFORM_FOLDER, Probe};
use crate::model::manifest;

/// Returns the findings.
pub(super) async fn findings(
    settings: &Settings,
    probe: &Probe,
    file: &Path,
) -> Result<Vec<Finding>, Failure> {
    let name = Path::new(PLATFORM_FOLDER).join(manifest::DEFAULT_NAME);
    let manifest = manifest::parse(&probe.manifest, &name);
    let manifest = manifest.map_err(|error| {
        Failure::outside(format!("cannot read the manifest that was sent: {error}"))
    })?;
    let timeouts = settings.timeout_settings.clone();
    let timeouts = timeouts.map_err(Failure::usage)?.timeouts;
    let retries = Retries::silent(Policy::INTERACTIVE);
    let http = Http::new(&settings.proxies, timeouts, retries)?;
    let git = git_environment(settings, file, &probe.url_rules);
    let runtime = tokio::runtime::Handle::current();
    let platform = CheckedPlatform {
        manifest: &manifest,
        services: probe.services.clone(),
        cache_dir: PathBuf::from(CACHE_FOLDER),
        git: GitClient::new(http.clone(), git, runtime)?,
    };
    let mut context = DoctorContext::new(settings, Some(platform), http, probe.limit, false);
    context
        .insecure_registries
        .clone_from(&probe.insecure_registries);
    let mut findings = Vec::new();
    // As units do: it may be starting.
    let engine = engine(settings, probe.limit).await;
    let checked = context.run_pod_checks(engine.is_ok());
    if let Err(failure) = &engine {
        findings.push(Finding::of(&CheckFailure::of_failure(failure)));
    }
    findings.extend(checked.await);
    context.close().await;
    Ok(findings)
}
