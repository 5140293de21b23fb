//! Finds a reference among those of a remote.

use super::{Resolution, ResolveRequest};
use crate::client::git::RemoteRefs;
use crate::model::source::{GitReference, RefName, ResolvedReference};

/// Resolves a request with the references of a remote; `None` if the remote lacks it.
pub fn resolve_from_refs(refs: &RemoteRefs, request: &ResolveRequest) -> Option<Resolution> {
    if let Some(branch) = &request.preferred_branch
        && let Some(reference) = preferred(refs, branch)
    {
        return Some(Resolution {
            reference,
            is_from_branch: true,
            manifest_reference: lookup(refs, &request.reference),
            commit_time: None,
        });
    }
    Some(Resolution {
        reference: lookup(refs, &request.reference)?,
        is_from_branch: false,
        manifest_reference: request
            .manifest_reference
            .as_ref()
            .and_then(|manifest_reference| lookup(refs, manifest_reference)),
        commit_time: None,
    })
}

/// Returns the branch of `--branch` if the remote has it.
pub(super) fn preferred(refs: &RemoteRefs, branch: &RefName) -> Option<ResolvedReference> {
    let without_origin = branch.as_str().strip_prefix("origin/");
    let branches = [Some(branch.as_str()), without_origin];
    branches.into_iter().flatten().find_map(|branch| {
        let name = format!("refs/heads/{branch}");
        refs.commit(&name).map(|commit| ResolvedReference {
            commit,
            name: Some(name),
        })
    })
}

/// Resolves a reference in a remote; `None` if the remote lacks it.
pub(super) fn lookup(refs: &RemoteRefs, reference: &GitReference) -> Option<ResolvedReference> {
    match reference {
        GitReference::Commit(commit) => Some(ResolvedReference {
            commit: *commit,
            name: None,
        }),
        GitReference::DefaultBranch => Some(ResolvedReference {
            commit: refs.commit("HEAD")?,
            name: refs.head().map(str::to_owned),
        }),
        named => named.candidates().into_iter().find_map(|name| {
            refs.commit(&name).map(|commit| ResolvedReference {
                commit,
                name: Some(name),
            })
        }),
    }
}
