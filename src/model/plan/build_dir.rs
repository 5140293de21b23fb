//! The folder that a service is built in: an export of its commit, or its working copy.

use std::path::{Path, PathBuf};

use super::draft::{PlanCandidate, PlanDraft};
use super::{ExportStep, FetchStep, Folders, PluginCall, Step, SyncStep, builder_image};
use crate::model::layout::Layout;
use crate::model::manifest::{Manifest, ScmPlugin, Service, ServiceName, Source};
use crate::model::source::GitMount;

/// The folder that a service is built in.
pub(super) struct BuildDir {
    /// The folder with the source files.
    pub files: PathBuf,
    /// Whether that is the working copy rather than an export.
    pub in_place: bool,
    /// Whether it has only the inputs of one phase.
    pub is_staged: bool,
    /// The commit's Unix time, if no step determines it.
    pub commit_time: Option<i64>,
    /// xp's own folder, if it is inside `files`; not part of the build.
    pub excluded: Option<PathBuf>,
}

impl BuildDir {
    /// Returns the folder for a service, and adds the steps that prepare it.
    pub fn of(
        candidate: &PlanCandidate<'_>,
        draft: &PlanDraft<'_>,
        folders: &Folders,
        layout: &Layout,
        steps: &mut Vec<Step>,
    ) -> Self {
        let (service, source) = (candidate.service, candidate.source);
        let dir = draft.source_dir(service);
        if let Some(tree) = &source.local {
            let own = layout.root();
            return Self {
                excluded: own.starts_with(&dir).then(|| own.to_owned()),
                files: dir,
                in_place: true,
                is_staged: false,
                commit_time: tree.commit_time,
            };
        }
        let export = layout.export(&service.name);
        let commit_time = match &service.source {
            Source::Git(git) => {
                steps.push(Step::Sync(SyncStep {
                    dir: dir.clone(),
                    remote: git.remote.clone(),
                    resolved: source.sync_reference(),
                    commit: source.commit,
                    moves: !draft.is_built_in_place(&service.dir),
                }));
                steps.push(Step::Export(ExportStep {
                    dir,
                    commit: source.commit,
                    selection: git.selection(),
                    submodules: git.submodules,
                    modules: layout.modules(),
                    lfs: layout.lfs(),
                    branch: source.build_reference().branch().map(str::to_owned),
                    remote: git.remote.clone(),
                    export: export.clone(),
                    git_dir: layout.git_dir(&service.name),
                    is_old: !service.scripts.cached.is_empty(),
                }));
                None
            }
            Source::Plugin(plugin) => {
                let call = PluginCall::of(draft.manifest, &service.name, plugin, folders);
                steps.extend(call.map(|call| {
                    Step::Fetch(Box::new(FetchStep {
                        call,
                        commit: source.commit,
                        url: service.source.url(),
                        export: export.clone(),
                    }))
                }));
                source.commit_time
            }
        };
        Self {
            files: export,
            in_place: false,
            is_staged: false,
            commit_time,
            excluded: None,
        }
    }
}

impl PlanDraft<'_> {
    /// Returns the working copy of a service.
    pub(super) fn source_dir(&self, service: &Service) -> PathBuf {
        match service.dir.as_os_str().to_str() {
            // `join(".")` would show up in the output.
            Some(".") => self.manifest.folder.clone(),
            _ => self.manifest.folder.join(&service.dir),
        }
    }
}

impl PluginCall {
    /// Returns the call of a service's plugin; `None` if the folder of its image was not read.
    pub fn of(
        manifest: &Manifest,
        service: &ServiceName,
        plugin: &ScmPlugin,
        folders: &Folders,
    ) -> Option<Self> {
        let line = manifest.line_of(service, &["scm"]).unwrap_or_default();
        Some(Self {
            plugin: plugin.image.clone(),
            image: builder_image(&plugin.image, folders)?,
            location: format!("{}:{line}", manifest.file_name()),
            network: plugin.network.clone(),
            with: plugin.settings(),
            secrets: plugin.secrets.clone(),
        })
    }
}

/// Returns the read-only mounts that make git work at `workdir`.
pub(super) fn git_mounts(
    candidate: &PlanCandidate<'_>,
    workdir: &str,
    layout: &Layout,
) -> Vec<GitMount> {
    let workdir = Path::new(workdir);
    match &candidate.source.local {
        Some(tree) => {
            let git = tree.git.as_ref();
            git.map(|git| git.mounts(workdir)).unwrap_or_default()
        }
        None if candidate.service.source.git().is_none() => Vec::new(),
        None => vec![GitMount {
            source: layout.git_dir(&candidate.service.name),
            target: workdir.join(".git"),
        }],
    }
}
