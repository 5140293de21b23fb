//! Where a service is built: in an export of its commit, or in its working copy.

use std::path::{Path, PathBuf};

use super::draft::{Candidate, Draft};
use super::{ExportStep, Layout, Step, SyncStep};
use crate::source::GitMount;

/// Where a service is built.
pub(super) struct Place {
    /// The folder with its files.
    pub files: PathBuf,
    /// Whether that is the working copy, and not an export.
    pub in_place: bool,
    /// The commit's time where no step learns it, in seconds since 1970.
    pub commit_time: Option<i64>,
    /// A folder of xp's own among the files, which is no part of them.
    pub foreign: Option<PathBuf>,
}

impl Place {
    /// Returns where a service is built, and adds the steps that bring its files there.
    pub fn of(
        candidate: &Candidate<'_>,
        draft: &Draft<'_>,
        layout: &Layout,
        steps: &mut Vec<Step>,
    ) -> Self {
        let (service, source) = (candidate.service, candidate.source);
        let dir = match service.dir.as_os_str().to_str() {
            // `join(".")` would show in what is printed.
            Some(".") => draft.manifest.folder.clone(),
            _ => draft.manifest.folder.join(&service.dir),
        };
        if let Some(tree) = &source.local {
            let own = layout.root();
            return Self {
                foreign: own.starts_with(&dir).then(|| own.to_owned()),
                files: dir,
                in_place: true,
                commit_time: Some(tree.commit_time),
            };
        }
        let export = layout.export(&service.name);
        steps.push(Step::Sync(SyncStep {
            dir: dir.clone(),
            remote: service.git.remote.clone(),
            resolved: source.followed(),
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
            branch: source.built_as().branch().map(str::to_owned),
            remote: service.git.remote.clone(),
            export: export.clone(),
            git_dir: layout.git_dir(&service.name),
        }));
        Self {
            files: export,
            in_place: false,
            commit_time: None,
            foreign: None,
        }
    }
}

/// Returns what is mounted, read-only, so that git works at `workdir`.
pub(super) fn git_mounts(
    candidate: &Candidate<'_>,
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
