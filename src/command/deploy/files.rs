//! The kustomize files: those of today, or those of an earlier deploy.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::client::git::{checked_out, remove_tree, write_folder_at};
use crate::command::session::Session;
use crate::command::stages;
use crate::deploy::{Deployment, FieldSpec, Kustomization, Secrets, image_fields};
use crate::error::{Exit, Failure, hint_lines};
use crate::event::{Event, Phase, Unit};
use crate::execute::{Stop, UnitState, run_export, sync_working_copy};
use crate::manifest::{Deploy, Environment, KustomizeFiles, suggest};
use crate::plan::{ExportStep, SyncStep};
use crate::resolve::{self, Request};
use crate::source::{CommitId, GitReference, GitUrl, ResolvedReference};

/// How many kustomizations are looked at: more are a circle.
const MOST: usize = 1000;

/// The kustomize files of an environment.
pub struct Files {
    /// The overlay's folder, without links.
    pub overlay: PathBuf,
    /// How messages call it.
    pub shown: String,
    /// Their commit, where they have a repository of their own.
    pub commit: Option<CommitId>,
    /// The commit of the manifest's repository that belongs to what is rendered; with `-dirty` where files
    /// were changed.
    pub manifest: Option<String>,
    /// What kustomize takes from the outermost kustomization alone.
    pub options: Map<String, Value>,
    /// Where images stand, beside the fields that kustomize knows.
    pub fields: Vec<FieldSpec>,
    /// What kustomize may quote, and nobody shall read.
    pub secrets: Secrets,
}

/// Returns the files as they are today.
pub async fn today(
    session: &Session,
    deploy: &Deploy,
    environment: &Environment,
) -> Result<Files, Failure> {
    match &deploy.files {
        KustomizeFiles::Folder(path) => {
            let root = session.manifest.folder.join(path);
            let shown = path.join(&environment.overlay).display().to_string();
            let manifest = manifest_commit(session, deploy);
            found(&root, environment, shown, (None, manifest))
        }
        KustomizeFiles::Git {
            remote,
            reference,
            path,
        } => {
            let resolved = resolved(session, remote, reference).await?;
            let manifest = manifest_commit(session, deploy);
            exported(session, environment, (remote, path), &resolved, manifest).await
        }
    }
}

/// Returns the files that an earlier deploy was rendered from; those of today, with a warning, where they are
/// not to be had.
pub async fn of_deploy(
    session: &Session,
    deploy: &Deploy,
    environment: &Environment,
    earlier: &Deployment,
) -> Result<Files, Failure> {
    let why = match of_then(session, deploy, environment, earlier).await {
        Ok(Ok(files)) => return Ok(files),
        Ok(Err(why)) => format!("{why}: those of today are taken, with its images"),
        Err(failure) if failure.exit == Exit::Interrupted => return Err(failure),
        Err(failure) => format!(
            "are not to be had, so those of today are taken, with its images: {}",
            in_a_line(&failure)
        ),
    };
    session.events.emit(Event::Warning(format!(
        "the kustomize files of deploy {} {why}",
        earlier.number
    )));
    today(session, deploy, environment).await
}

/// Returns what a failure says, without what is to be done.
pub fn in_a_line(failure: &Failure) -> String {
    let message = failure.message().unwrap_or_default();
    let (message, _) = message.split_once("\nhint: ").unwrap_or((message, ""));
    message.trim_start_matches("error: ").to_owned()
}

/// Returns the files of an earlier deploy, or why there are none.
async fn of_then(
    session: &Session,
    deploy: &Deploy,
    environment: &Environment,
    earlier: &Deployment,
) -> Result<Result<Files, &'static str>, Failure> {
    match &deploy.files {
        KustomizeFiles::Git { remote, path, .. } => {
            let commit = earlier.files.as_ref().and_then(|it| it.parse().ok());
            let Some(commit) = commit else {
                return Ok(Err("had no repository of their own"));
            };
            let resolved = ResolvedReference { commit, name: None };
            let manifest = manifest_commit(session, deploy);
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
                    "are in no commit that this repository has, or are encrypted or kept in LFS there",
                ));
            }
            let shown = path.join(&environment.overlay).display().to_string();
            let shown = format!("{shown} of {}", commit.short());
            let commits = (None, Some(commit.to_string()));
            found(&to, environment, shown, commits).map(Ok)
        }
    }
}

/// Returns the commit of the manifest, as the record has it.
fn manifest_commit(session: &Session, deploy: &Deploy) -> Option<String> {
    let manifest = &session.manifest;
    let mut files = vec![PathBuf::from(manifest.file.file_name()?)];
    if let KustomizeFiles::Folder(path) = &deploy.files {
        files.push(path.clone());
    }
    let found = checked_out(&manifest.folder, &files)?;
    Some(match found.is_changed {
        true => format!("{}-dirty", found.commit),
        false => found.commit.to_string(),
    })
}

async fn resolved(
    session: &Session,
    remote: &GitUrl,
    reference: &GitReference,
) -> Result<ResolvedReference, Failure> {
    const WHAT: &str = "deploy.git";
    let request = Request {
        service: WHAT.to_owned(),
        url: remote.clone(),
        reference: reference.clone(),
        preferred_branch: None,
        normal: None,
    };
    let mut found = resolve::resolve(&session.git()?, vec![request]).await?;
    let found = found.remove(WHAT).map(|resolution| resolution.reference);
    found.ok_or_else(|| Failure::outside(format!("{remote} did not tell what `{reference}` is")))
}

/// Brings a commit of a repository, and its files to a folder of xp's own.
async fn exported(
    session: &Session,
    environment: &Environment,
    (remote, path): (&GitUrl, &Path),
    resolved: &ResolvedReference,
    manifest: Option<String>,
) -> Result<Files, Failure> {
    let commit = resolved.commit;
    let folder = session.layout.environment(&environment.name);
    let unit = Unit::Workload("kustomize".to_owned());
    let sources = stages::sources(session, session.git()?, session.cancel.clone());
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
        paths: Vec::new(),
        submodules: false,
        modules: session.layout.modules(),
        lfs: session.layout.lfs(),
        branch: None,
        remote: remote.clone(),
        export: folder.join("files"),
        git_dir: folder.join("files.git"),
    };
    if let Some(parent) = sync.dir.parent() {
        fs::create_dir_all(parent).map_err(|error| {
            Failure::outside(format!("{} cannot be made: {error}", parent.display()))
        })?;
    }
    let what = format!(
        "fetching the kustomize files, {} of {remote}",
        commit.short()
    );
    session.events.emit(Event::StageStarted(what));
    let brought = async {
        sync_working_copy(&sources, &unit, &sync).await?;
        run_export(&sources, &unit, &export, &mut UnitState::default()).await
    };
    let brought = brought.await;
    session.events.emit(Event::StageFinished);
    brought.map_err(|stop| match stop {
        Stop::Cancelled => Failure::silent(Exit::Interrupted),
        Stop::Failed(error) => {
            let failed = error.in_phase(Phase::Sync, None);
            let hints = hint_lines(&failed.hints);
            let message = failed.message;
            Failure::outside(format!(
                "the kustomize files cannot be fetched\n  cause: {message}{hints}"
            ))
        }
    })?;
    let inside = path.join(&environment.overlay);
    let shown = format!("{} of {remote} at {}", inside.display(), commit.short());
    let commits = (Some(commit), manifest);
    found(&export.export.join(path), environment, shown, commits)
}

/// Looks at an overlay, and at what it is made of; `commits` are those of the files and of the manifest.
fn found(
    root: &Path,
    environment: &Environment,
    shown: String,
    (commit, manifest): (Option<CommitId>, Option<String>),
) -> Result<Files, Failure> {
    let overlay = root.join(&environment.overlay);
    let Ok(overlay) = overlay.canonicalize() else {
        return Err(no_overlay(root, environment, &shown));
    };
    if kustomization(&overlay).is_none() {
        return Err(no_overlay(root, environment, &shown));
    }
    let mut fields = Vec::new();
    let mut secrets = Secrets::default();
    let mut seen = BTreeSet::new();
    let mut folders = vec![overlay.clone()];
    let mut options = None;
    while let Some(folder) = folders.pop() {
        if seen.len() > MOST || !seen.insert(folder.clone()) {
            continue;
        }
        let Some(text) = kustomization(&folder) else {
            continue;
        };
        let found = Kustomization::read(&text);
        let read = |file: &String| fs::read_to_string(folder.join(file)).ok();
        for text in found.configurations.iter().filter_map(read) {
            fields.extend(FieldSpec::read(&text));
        }
        secrets.add(found.secrets.iter().map(String::as_str));
        for text in found.secret_files.iter().filter_map(read) {
            secrets.add(text.lines());
            let values = text.lines().filter_map(|line| line.split_once('='));
            secrets.add(values.map(|(_, value)| value));
        }
        // The first one is the overlay itself.
        options.get_or_insert(found.options);
        let parts = found.parts.iter();
        // What is no folder here is a file, or somewhere else: kustomize knows.
        let below = parts.filter_map(|part| folder.join(part).canonicalize().ok());
        folders.extend(below.filter(|path| path.is_dir()));
    }
    Ok(Files {
        overlay,
        shown,
        commit,
        manifest,
        options: options.unwrap_or_default(),
        fields: image_fields(fields),
        secrets,
    })
}

/// Reads the kustomization of a folder.
fn kustomization(folder: &Path) -> Option<String> {
    let mut files = Kustomization::FILES.iter().map(|name| folder.join(name));
    files.find_map(|file| fs::read_to_string(file).ok())
}

fn no_overlay(root: &Path, environment: &Environment, shown: &str) -> Failure {
    let wanted = environment.overlay.display().to_string();
    let there = overlays(root);
    let hint = suggest::hint(&wanted, "there are", there.iter().map(String::as_str));
    let hint = hint.unwrap_or_else(|| {
        "an overlay is a folder with a kustomization.yaml; `deploy` of the manifest says where it is"
            .to_owned()
    });
    let why = match root.join(&environment.overlay).is_dir() {
        true => "has no kustomization.yaml",
        false => "does not exist",
    };
    let name = &environment.name;
    Failure::usage(format!(
        "the overlay of environment `{name}` {why}: {shown}\nhint: {hint}"
    ))
}

/// Returns the folders with kustomizations, relative to `root`.
fn overlays(root: &Path) -> Vec<String> {
    let walk = walkdir::WalkDir::new(root).max_depth(5).sort_by_file_name();
    let entries = walk.into_iter().flatten();
    let files = entries.filter(|entry| {
        let name = entry.file_name().to_str().unwrap_or_default();
        entry.file_type().is_file() && Kustomization::FILES.contains(&name)
    });
    let folders = files.filter_map(|entry| {
        let folder = entry.path().parent()?.strip_prefix(root).ok()?;
        Some(folder.display().to_string())
    });
    folders.filter(|folder| !folder.is_empty()).collect()
}
