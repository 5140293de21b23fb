//! The kustomize files: the current ones, or those of an earlier deploy.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::local_files::{MAX_KUSTOMIZATIONS, MissingOverlay, kustomization, missing_overlay};
use crate::base::error::{Exit, Failure, hint_lines};
use crate::base::redact::Redactor;
use crate::client::git::{checked_out, file_at, remove_tree, write_folder_at};
use crate::execute::{Stop, UnitState, run_export, sync_working_copy};
use crate::flow::plan;
use crate::flow::session::Session;
use crate::flow::sources::resolve;
use crate::flow::sources::resolve::{RequestedRemote, ResolveRequest};
use crate::model::deploy::{Deployment, FieldSpec, ImageNames, Kustomization, image_fields};
use crate::model::event::{Event, Phase, Unit};
use crate::model::manifest;
use crate::model::manifest::{ClusterEnvironment, KustomizeFiles};
use crate::model::plan::{ExportStep, SyncStep};
use crate::model::source::{CommitId, GitReference, GitUrl, PathSelection, ResolvedReference};

/// The kustomize files of an environment.
pub struct EnvironmentFiles {
    /// The overlay's folder, with symbolic links resolved.
    pub overlay: PathBuf,
    /// Its name in messages.
    pub shown: String,
    /// The commit of the files, if they are in a separate repository.
    pub commit: Option<CommitId>,
    /// The commit of the manifest's repository; with `-dirty` if there are local changes.
    pub manifest: Option<String>,
    /// Options that kustomize reads only from the outermost kustomization.
    pub options: Map<String, Value>,
    /// Fields with images, in addition to those that kustomize knows.
    pub fields: Vec<FieldSpec>,
    /// Values to hide in kustomize's output.
    pub secrets: Redactor,
    /// The image names of the manifest at the time of the files, if they are those of an earlier deploy.
    pub names: Option<ImageNames>,
}

/// Returns the current files.
pub async fn current(
    session: &Session,
    environment: &ClusterEnvironment,
) -> Result<EnvironmentFiles, Failure> {
    match &environment.files {
        KustomizeFiles::Folder(path) => {
            let root = session.manifest.folder.join(path);
            let shown = path.join(&environment.overlay).display().to_string();
            let manifest = manifest_commit(session, &environment.files);
            read_overlay(&root, environment, shown, (None, manifest))
        }
        KustomizeFiles::Git {
            remote,
            reference,
            path,
        } => {
            let resolved = resolved(session, remote, reference).await?;
            let manifest = manifest_commit(session, &environment.files);
            exported(session, environment, (remote, path), &resolved, manifest).await
        }
    }
}

/// Returns the files that an earlier deploy was rendered from. If they are not available, warns and returns the
/// current ones.
pub async fn of_deploy(
    session: &Session,
    environment: &ClusterEnvironment,
    earlier: &Deployment,
) -> Result<EnvironmentFiles, Failure> {
    let why = match at_deploy(session, environment, earlier).await {
        Ok(Ok(files)) => {
            return Ok(EnvironmentFiles {
                names: names_at(session, earlier),
                ..files
            });
        }
        Ok(Err(why)) => format!("{why}: using the current files with its images"),
        Err(failure) if failure.exit == Exit::Interrupted => return Err(failure),
        Err(failure) => format!(
            "are not available; using the current files with its images: {}",
            one_line(&failure)
        ),
    };
    session.events.emit(Event::warning(format!(
        "the kustomize files of deploy {} {why}",
        earlier.number
    )));
    current(session, environment).await
}

/// Returns the image names of the manifest of an earlier deploy, if it was committed: services and images may have been
/// renamed since, and the files use the names of that time.
fn names_at(session: &Session, earlier: &Deployment) -> Option<ImageNames> {
    let file = &session.manifest.file;
    let commit: CommitId = earlier.manifest.as_ref()?.parse().ok()?;
    let found = file_at(file, &commit.to_string()).ok()?;
    let text = String::from_utf8(found.content).ok()?;
    let manifest = manifest::parse(&text, file).ok()?;
    let deploy = manifest
        .deploy
        .as_ref()
        .or(session.manifest.deploy.as_ref())?;
    Some(ImageNames::of(&manifest, deploy))
}

/// Returns the message of a failure without its hints.
pub fn one_line(failure: &Failure) -> String {
    let message = failure.message().unwrap_or_default();
    let (message, _) = message.split_once("\nhint: ").unwrap_or((message, ""));
    message.trim_start_matches("error: ").to_owned()
}

/// Returns the files of an earlier deploy, or the reason why they are not available.
async fn at_deploy(
    session: &Session,
    environment: &ClusterEnvironment,
    earlier: &Deployment,
) -> Result<Result<EnvironmentFiles, &'static str>, Failure> {
    match &environment.files {
        KustomizeFiles::Git { remote, path, .. } => {
            let commit = earlier.files.as_ref().and_then(|it| it.parse().ok());
            let Some(commit) = commit else {
                return Ok(Err("were not in a separate repository"));
            };
            let resolved = ResolvedReference { commit, name: None };
            let manifest = manifest_commit(session, &environment.files);
            let files = exported(session, environment, (remote, path), &resolved, manifest).await;
            files.map(Ok)
        }
        KustomizeFiles::Folder(path) => {
            let commit: Option<CommitId> = earlier.manifest.as_ref().and_then(|it| it.parse().ok());
            let Some(commit) = commit else {
                return Ok(Err("were not committed"));
            };
            let to = session.layout.environment(&environment.name).join("files");
            remove_tree(&to)?;
            let root = session.manifest.folder.join(path);
            if !write_folder_at(&root, commit, &to)? {
                return Ok(Err(
                    "are not in any commit of this repository, or are encrypted or in Git LFS",
                ));
            }
            let shown = path.join(&environment.overlay).display().to_string();
            let shown = format!("{shown} of {}", commit.short());
            let commits = (None, Some(commit.to_string()));
            read_overlay(&to, environment, shown, commits).map(Ok)
        }
    }
}

/// Returns the commit of the manifest, in the format of the record.
fn manifest_commit(session: &Session, kustomize: &KustomizeFiles) -> Option<String> {
    let manifest = &session.manifest;
    let mut files = vec![PathBuf::from(manifest.file.file_name()?)];
    if let KustomizeFiles::Folder(path) = kustomize {
        files.push(path.clone());
    }
    let head = checked_out(&manifest.folder, &files)?;
    Some(if head.is_changed {
        format!("{}-dirty", head.commit)
    } else {
        head.commit.to_string()
    })
}

async fn resolved(
    session: &Session,
    remote: &GitUrl,
    reference: &GitReference,
) -> Result<ResolvedReference, Failure> {
    const NAME: &str = "deploy.git";
    let request = ResolveRequest {
        service: NAME.to_owned(),
        remote: RequestedRemote::Git(remote.clone()),
        reference: reference.clone(),
        preferred_branch: None,
        manifest_reference: None,
    };
    let mut found = resolve::resolve(&session.git()?, vec![request]).await?;
    let found = found.remove(NAME).map(|resolution| resolution.reference);
    found.ok_or_else(|| Failure::outside(format!("{remote} did not resolve `{reference}`")))
}

/// Fetches a commit of a repository, and exports its files to the `.xp` folder.
async fn exported(
    session: &Session,
    environment: &ClusterEnvironment,
    (remote, path): (&GitUrl, &Path),
    resolved: &ResolvedReference,
    manifest: Option<String>,
) -> Result<EnvironmentFiles, Failure> {
    let commit = resolved.commit;
    let folder = session.layout.environment(&environment.name);
    let unit = Unit::Workload("kustomize".to_owned());
    let sources = plan::sources(session, session.git()?, session.cancel.clone());
    let sync = SyncStep {
        dir: session.layout.kustomize_clone(remote),
        remote: remote.clone(),
        resolved: resolved.clone(),
        commit,
        moves: true,
    };
    let export = ExportStep {
        dir: sync.dir.clone(),
        commit,
        selection: PathSelection::default(),
        submodules: false,
        modules: session.layout.modules(),
        lfs: session.layout.lfs(),
        branch: None,
        remote: remote.clone(),
        export: folder.join("files"),
        git_dir: folder.join("files.git"),
        is_old: false,
    };
    if let Some(parent) = sync.dir.parent() {
        fs::create_dir_all(parent).map_err(|error| {
            Failure::outside(format!("cannot create {}: {error}", parent.display()))
        })?;
    }
    let what = format!(
        "fetching the kustomize files, {} of {remote}",
        commit.short()
    );
    session.events.emit(Event::stage(what));
    let fetched = async {
        sync_working_copy(&sources, &unit, &sync).await?;
        run_export(&sources, &unit, &export, &mut UnitState::default()).await
    };
    let fetched = fetched.await;
    session.events.emit(Event::StageFinished);
    fetched.map_err(|stop| match stop {
        Stop::Cancelled => Failure::silent(Exit::Interrupted),
        Stop::Failed(error) => {
            let failed = error.in_phase(Phase::Sync, None);
            let hints = hint_lines(&failed.hints);
            let message = failed.message;
            Failure::outside(format!(
                "cannot fetch the kustomize files\n  cause: {message}{hints}"
            ))
        }
    })?;
    let inside = path.join(&environment.overlay);
    let shown = format!("{} of {remote} at {}", inside.display(), commit.short());
    let commits = (Some(commit), manifest);
    read_overlay(&export.export.join(path), environment, shown, commits)
}

/// Reads an overlay and the kustomizations that it includes. `commits` are those of the files and of the manifest.
fn read_overlay(
    root: &Path,
    environment: &ClusterEnvironment,
    shown: String,
    (commit, manifest): (Option<CommitId>, Option<String>),
) -> Result<EnvironmentFiles, Failure> {
    if let Some(failure) = no_overlay(root, environment, &shown) {
        return Err(failure);
    }
    let overlay = root.join(&environment.overlay);
    let overlay = overlay.canonicalize().unwrap_or(overlay);
    let mut fields = Vec::new();
    let mut secrets = Redactor::default();
    let mut seen = BTreeSet::new();
    let mut folders = vec![overlay.clone()];
    let mut options = None;
    while let Some(folder) = folders.pop() {
        if seen.len() > MAX_KUSTOMIZATIONS || !seen.insert(folder.clone()) {
            continue;
        }
        let Some((_, text)) = kustomization(&folder) else {
            continue;
        };
        let found = Kustomization::read(&text);
        let read = |file: &String| fs::read_to_string(folder.join(file)).ok();
        for text in found.configurations.iter().filter_map(read) {
            fields.extend(FieldSpec::read(&text));
        }
        secrets.add_lines(found.secrets.iter().map(String::as_str));
        for text in found.secret_files.iter().filter_map(read) {
            secrets.add_lines(text.lines());
            let values = text.lines().filter_map(|line| line.split_once('='));
            secrets.add_lines(values.map(|(_, value)| value));
        }
        // The first one is the overlay itself.
        options.get_or_insert(found.options);
        let parts = found.parts.iter();
        // Anything but a local folder is left to kustomize.
        let below = parts.filter_map(|part| folder.join(part).canonicalize().ok());
        folders.extend(below.filter(|path| path.is_dir()));
    }
    Ok(EnvironmentFiles {
        overlay,
        shown,
        commit,
        manifest,
        options: options.unwrap_or_default(),
        fields: image_fields(fields),
        secrets,
        names: None,
    })
}

fn no_overlay(root: &Path, environment: &ClusterEnvironment, shown: &str) -> Option<Failure> {
    let MissingOverlay { why, hint } = missing_overlay(root, &environment.overlay)?;
    let name = &environment.name;
    Some(Failure::usage(format!(
        "the overlay of environment `{name}` {why}: {shown}\nhint: {hint}"
    )))
}
