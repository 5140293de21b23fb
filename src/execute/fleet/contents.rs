//! The files of a unit's Secret: its document, the credentials that it needs, and the files of a builder's folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;
use tokio::task::spawn_blocking;
use walkdir::WalkDir;

use super::UnitRun;
use crate::base::task::joined;
use crate::client::git::GitClient;
use crate::client::registry::Credentials;
use crate::execute::publish::credentials_of;
use crate::execute::secrets;
use crate::execute::step_error::{StepError, Stop};
use crate::model::event::Unit;
use crate::model::fleet::{
    BuilderFiles, GIT_CREDENTIALS, PodRemote, PodTemplate, UNIT_FILE, WorkerDocument,
};
use crate::model::image::Registry;
use crate::model::plan::{Step, UnitPlan};
use crate::model::source::{GitUrl, UrlRule};

/// The archive of a builder's folder.
const BUILDER_ARCHIVE: &str = "builder.tar.zst";

/// The limit of Kubernetes for a Secret.
const LARGEST: usize = 1024 * 1024;

impl UnitRun<'_> {
    /// Returns the files of the Secret by name.
    pub(super) async fn files(&self) -> Result<BTreeMap<String, Vec<u8>>, Stop> {
        let (context, settings) = (self.context, &self.fleet.settings);
        let (mut document, secret_files) =
            WorkerDocument::of(self.plan, &context.folder, &context.layout, |image| {
                self.fleet.built(image)
            });
        document
            .insecure_registries
            .clone_from(&settings.insecure_registries);
        document.trace.clone_from(&context.trace);
        document.url_rules = self.url_rules();
        let is_staged = |step: &Step| matches!(step, Step::Keep(_) | Step::Restore(_));
        let has_results = self.plan.remote_steps().iter().any(is_staged);
        document.platform = has_results.then(|| settings.platform.clone());
        let mut files = BTreeMap::new();
        for file in secret_files {
            let value = secrets::value(context, &file.source, "secrets");
            let value = value.map_err(|(why, help)| StepError::plain(why).hint(help))?;
            files.insert(file.name, value.bytes().to_vec());
        }
        if let Some(logins) = self.registry_logins().await? {
            files.insert("config.json".to_owned(), logins);
        }
        if let Some(logins) = self.git_logins().await {
            files.insert(GIT_CREDENTIALS.to_owned(), logins);
        }
        if let (Unit::Builder(_), Some(folder)) = (&self.plan.unit, builder_folder(self.plan)) {
            let archive = packed(folder.clone()).await?;
            files.insert(BUILDER_ARCHIVE.to_owned(), archive);
            document.builder = builder_folder(&document.unit).map(|folder| BuilderFiles {
                archive: BUILDER_ARCHIVE.to_owned(),
                folder,
            });
        }
        let text = document.to_text().map_err(|error| {
            StepError::plain(format!("cannot write the unit for its Job: {error}"))
        })?;
        files.insert(UNIT_FILE.to_owned(), text.into_bytes());
        let size: usize = files.iter().map(|(name, it)| name.len() + it.len()).sum();
        if size > LARGEST {
            let kib = size.div_ceil(1024);
            let error = StepError::plain(format!(
                "the unit needs a Secret of {kib} KiB, and Kubernetes allows 1024 KiB"
            ));
            let hint = match self.plan.unit {
                Unit::Builder(_) => {
                    "remove large files from the builder's folder, or download them in its Dockerfile"
                }
                _ => "shorten its secrets, or let the template mount them from a volume",
            };
            return Err(error.hint(hint).into());
        }
        Ok(files)
    }

    /// Returns Docker's configuration with the logins of the registries that the unit uses; `None` if there are none, or
    /// the template brings its own.
    async fn registry_logins(&self) -> Result<Option<Vec<u8>>, Stop> {
        if self.fleet.settings.template.sets("DOCKER_CONFIG") {
            return Ok(None);
        }
        let mut logins = Vec::new();
        for registry in registries(self.plan) {
            if let Some(credentials) = credentials_of(self.context, &registry).await? {
                logins.push((registry, credentials));
            }
        }
        Ok(docker_config(logins))
    }

    /// Returns the login of the unit's remote, as git's `store` helper reads it.
    async fn git_logins(&self) -> Option<Vec<u8>> {
        if self.fleet.settings.template.sets("GIT_CONFIG_COUNT") {
            return None;
        }
        let mut lines = String::new();
        for remote in remotes(self.plan) {
            if let Some(line) = self.context.sources.git.login(remote).await {
                lines.push_str(&line);
                lines.push('\n');
            }
        }
        (!lines.is_empty()).then(|| lines.into_bytes())
    }

    /// Returns the rules of git's `insteadOf` that the unit's remotes need.
    fn url_rules(&self) -> Vec<UrlRule> {
        let (git, template) = (&self.context.sources.git, &self.fleet.settings.template);
        let mut rules = Vec::new();
        for remote in remotes(self.plan) {
            for rule in pod_remote(git, template, remote).rules {
                if !rules.contains(&rule) {
                    rules.push(rule);
                }
            }
        }
        rules
    }
}

/// Returns how a pod reaches a remote: as this machine does, unless the template has its own git configuration.
pub fn pod_remote(git: &GitClient, template: &PodTemplate, remote: &GitUrl) -> PodRemote {
    if template.sets("GIT_CONFIG_COUNT") {
        return PodRemote::as_written(remote);
    }
    PodRemote::new(remote, git.effective_url(remote), git.url_rules(remote))
}

/// Returns Docker's configuration with logins; `None` if there are none.
pub fn docker_config(logins: Vec<(Registry, Credentials)>) -> Option<Vec<u8>> {
    if logins.is_empty() {
        return None;
    }
    let auths = logins.into_iter().map(|(registry, credentials)| {
        let login = match credentials {
            Credentials::Password { user, password } => json!({"auth": encoded(&user, &password)}),
            Credentials::IdentityToken(token) => {
                json!({"auth": encoded("<token>", ""), "identitytoken": token})
            }
        };
        let server = if registry.is_docker_hub() {
            "https://index.docker.io/v1/".to_owned()
        } else {
            registry.to_string()
        };
        (server, login)
    });
    let auths: serde_json::Map<_, _> = auths.collect();
    Some(json!({"auths": auths}).to_string().into_bytes())
}

fn encoded(user: &str, password: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"))
}

/// Returns the registries of the images that a unit's steps name.
fn registries(plan: &UnitPlan) -> BTreeSet<Registry> {
    let mut images = vec![&plan.image];
    for step in plan.remote_steps() {
        match step {
            Step::Pull { image, .. } => images.push(image),
            Step::Image(step) => images.extend(step.layers.iter().flatten()),
            Step::Restore(step) => {
                images.extend(step.artifact.iter().chain(&step.publish));
                images.extend(step.images.iter().map(|it| &it.image));
            }
            _ => {}
        }
    }
    let registries = images.into_iter().map(|image| {
        let registry = image.repository().registry().cloned();
        registry.unwrap_or_else(Registry::docker_hub)
    });
    registries.collect()
}

/// Returns the git remotes of a unit's steps.
fn remotes(plan: &UnitPlan) -> Vec<&GitUrl> {
    let mut remotes: Vec<&GitUrl> = Vec::new();
    for step in plan.remote_steps() {
        if let Step::Sync(step) = step
            && !remotes.contains(&&step.remote)
        {
            remotes.push(&step.remote);
        }
    }
    remotes
}

fn builder_folder(plan: &UnitPlan) -> Option<PathBuf> {
    let mut images = plan.steps.iter().filter_map(|step| match step {
        Step::Image(step) => Some(step.folder.clone()),
        _ => None,
    });
    images.next()
}

/// Packs a builder's folder, as it is now: that is what its image is named after.
async fn packed(folder: PathBuf) -> Result<Vec<u8>, StepError> {
    let shown = folder.display().to_string();
    let packed = joined(spawn_blocking(move || pack(&folder)).await);
    packed.map_err(|error| StepError::plain(format!("cannot pack the folder {shown}: {error}")))
}

fn pack(folder: &Path) -> io::Result<Vec<u8>> {
    let compressed = zstd::Encoder::new(Vec::new(), zstd::DEFAULT_COMPRESSION_LEVEL)?;
    let mut archive = tar::Builder::new(compressed);
    archive.follow_symlinks(false);
    archive.mode(tar::HeaderMode::Deterministic);
    for entry in WalkDir::new(folder).min_depth(1).sort_by_file_name() {
        let entry = entry?;
        let name = entry.path().strip_prefix(folder).unwrap_or(entry.path());
        if entry.file_type().is_dir() {
            archive.append_dir(name, entry.path())?;
        } else if entry.file_type().is_symlink() || entry.file_type().is_file() {
            archive.append_path_with_name(entry.path(), name)?;
        }
    }
    archive.into_inner()?.finish()
}

/// Unpacks the folder of a builder on the worker.
pub fn unpack(archive: &Path, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let compressed = fs::File::open(archive)?;
    let mut archive = tar::Archive::new(zstd::Decoder::new(compressed)?);
    archive.set_overwrite(true);
    archive.unpack(folder)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_builders_folder_is_unpacked_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("sub/empty")).unwrap();
        fs::write(from.join("Dockerfile"), "FROM scratch\n").unwrap();
        fs::write(from.join("sub/run"), "x").unwrap();
        fs::set_permissions(from.join("sub/run"), fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink("sub/run", from.join("link")).unwrap();
        let packed = pack(&from).unwrap();
        let archive = folder.path().join("archive");
        fs::write(&archive, packed).unwrap();
        unpack(&archive, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("link")).unwrap(), "x");
        let mode = fs::metadata(to.join("sub/run")).unwrap().permissions();
        assert_eq!(mode.mode() & 0o111, 0o111);
        assert!(to.join("sub/empty").is_dir());
    }
}
