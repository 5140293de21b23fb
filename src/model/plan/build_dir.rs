//! The folder that a service is built in: an export of its commit, or its working copy.

use std::path::{Path, PathBuf};

use super::draft::{PlanCandidate, PlanDraft};
use super::{ExportStep, Step, SyncStep};
use crate::model::layout::Layout;
use crate::model::source::GitMount;

/// The folder that a service is built in.
pub(super) struct BuildDir {
    /// The folder with the source files.
    pub files: PathBuf,
    /// Whether that is the working copy rather than an export.
    pub in_place: bool,
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
        layout: &Layout,
        steps: &mut Vec<Step>,
    ) -> Self {
        let (service, source) = (candidate.service, candidate.source);
        let dir = match service.dir.as_os_str().to_str() {
            // `join(".")` would show up in the output.
            Some(".") => draft.manifest.folder.clone(),
            _ => draft.manifest.folder.join(&service.dir),
        };
        if let Some(tree) = &source.local {
            let own = layout.root();
            return Self {
                excluded: own.starts_with(&dir).then(|| own.to_owned()),
                files: dir,
                in_place: true,
                commit_time: Some(tree.commit_time),
            };
        }
        let export = layout.export(&service.name);
        steps.push(Step::Sync(SyncStep {
            dir: dir.clone(),
            remote: service.git.remote.clone(),
            resolved: source.sync_reference(),
            commit: source.commit,
            moves: !draft.is_built_in_place(&service.dir),
        }));
        steps.push(Step::Export(ExportStep {
            dir,
            commit: source.commit,
            paths: service.git.paths(),
            submodules: service.git.submodules,
            modules: layout.modules(),
            lfs: layout.lfs(),
            branch: source.build_reference().branch().map(str::to_owned),
            remote: service.git.remote.clone(),
            export: export.clone(),
            git_dir: layout.git_dir(&service.name),
        }));
        Self {
            files: export,
            in_place: false,
            commit_time: None,
            excluded: None,
        }
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
        Some(tree) => tree.git.mounts(workdir),
        None => vec![GitMount {
            source: layout.git_dir(&candidate.service.name),
            target: workdir.join(".git"),
        }],
    }
}
