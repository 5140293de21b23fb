//! Errors of remotes that fail or lack a reference.

use std::collections::BTreeSet;
use std::fmt;

use thiserror::Error;

use crate::base::error::{Diagnostic, Exit, chain};
use crate::client::git::GitError;
use crate::execute::scm::PluginCallError;
use crate::model::manifest::BuilderImage;
use crate::model::source::{CommitId, GitReference, GitUrl, RefName};

/// All errors, in the order of the services.
#[derive(Debug, Clone, Error)]
#[error("{}", summary(.0))]
pub struct ResolveErrors(pub Vec<ResolveError>);

/// Renders each error with its causes, because `Error::source` can return only one.
fn summary(errors: &[ResolveError]) -> String {
    let texts: Vec<String> = errors.iter().map(|error| chain(error)).collect();
    texts.join("\nerror: ")
}

/// A remote failed, or lacks a reference.
#[derive(Debug, Clone, Error)]
pub enum ResolveError {
    /// The remote could not be queried.
    #[error("{} cannot be resolved", ServiceList(services))]
    Remote {
        /// The services on it.
        services: Vec<String>,
        /// The cause, which names the remote.
        #[source]
        cause: GitError,
    },
    /// The remote has no such branch, tag or reference.
    #[error(
        "{} cannot be resolved: {url} has no branch or tag `{reference}`",
        ServiceList(services)
    )]
    NoSuchReference {
        /// The services that use the reference.
        services: Vec<String>,
        url: GitUrl,
        /// The requested reference.
        reference: GitReference,
        /// Similar names.
        near: Vec<String>,
    },
    /// A plugin failed.
    #[error("{} cannot be resolved", ServiceList(services))]
    Plugin {
        /// The services whose source it reads.
        services: Vec<String>,
        #[source]
        cause: PluginCallError,
    },
    /// A plugin does not find the reference.
    #[error(
        "{} cannot be resolved: {plugin} finds no {} in {url} ({location})",
        ServiceList(services),
        Requested(reference)
    )]
    NotInPlugin {
        services: Vec<String>,
        plugin: BuilderImage,
        /// The repository.
        url: String,
        /// The requested reference.
        reference: GitReference,
        /// Where the manifest sets the plugin.
        location: String,
    },
    /// No remote has the branch of `--branch`.
    #[error(
        "no repository in the manifest has a branch `{branch}`{}",
        Unreachable(unreachable)
    )]
    NoSuchBranch {
        branch: RefName,
        /// Similar names in any of the remotes.
        near: Vec<String>,
        /// The remotes that could not be queried.
        unreachable: Vec<GitUrl>,
    },
    /// The remote is empty, or its `HEAD` points to a branch that does not exist.
    #[error("{} cannot be resolved: the repository {url} {}", ServiceList(services), if *.is_empty { "is empty" } else { "has no default branch" })]
    NoDefault {
        /// The services on it.
        services: Vec<String>,
        url: GitUrl,
        /// Whether it has no branches.
        is_empty: bool,
    },
}

impl ResolveError {
    /// Returns a hint on how to fix it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Remote { cause, .. } => cause.hint().map(str::to_owned),
            Self::Plugin { cause, .. } => cause.hints.first().cloned(),
            Self::NotInPlugin { .. } => {
                Some("it is set by `scm.reference` or `--reference`".to_owned())
            }
            Self::NoSuchReference {
                reference, near, ..
            } => did_you_mean(reference, near).or_else(|| {
                let hint = if CommitId::is_shortened(&reference.to_string()) {
                    "to specify a commit, use the full 40-digit SHA-1"
                } else {
                    "it is set by `git.reference` or `--reference`; `git ls-remote` lists all \
                     references"
                };
                Some(hint.to_owned())
            }),
            Self::NoSuchBranch { branch, near, .. } => did_you_mean(branch, near).or_else(|| {
                Some(
                    "`--branch` requires the branch in at least one repository; omit it to use the references in the manifest"
                        .to_owned(),
                )
            }),
            Self::NoDefault { is_empty: true, .. } => Some("push a first commit".to_owned()),
            Self::NoDefault {
                is_empty: false, ..
            } => Some("set `git.reference` to a branch".to_owned()),
        }
    }
}

impl Diagnostic for ResolveErrors {
    fn exit(&self) -> Exit {
        // A name that no remote has is a mistake, not a failure of the remote.
        let is_mistake = |error: &ResolveError| match error {
            ResolveError::NoSuchReference { .. } | ResolveError::NotInPlugin { .. } => true,
            ResolveError::NoSuchBranch { unreachable, .. } => unreachable.is_empty(),
            ResolveError::Remote { .. }
            | ResolveError::NoDefault { .. }
            | ResolveError::Plugin { .. } => false,
        };
        let is_of_plugin = |error: &ResolveError| matches!(error, ResolveError::Plugin { cause, .. } if !cause.is_outside);
        if self.0.iter().all(is_mistake) {
            Exit::Usage
        } else if self.0.iter().all(is_of_plugin) {
            Exit::ServiceFailed
        } else {
            Exit::Outside
        }
    }

    fn hints(&self) -> Vec<String> {
        // Remotes of one host often fail for the same reason, so duplicates are removed.
        let hints: BTreeSet<String> = self.0.iter().filter_map(ResolveError::hint).collect();
        hints.into_iter().collect()
    }
}

struct Requested<'a>(&'a GitReference);

impl fmt::Display for Requested<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            GitReference::DefaultBranch => f.write_str("default branch"),
            reference => write!(f, "reference `{reference}`"),
        }
    }
}

struct ServiceList<'a>(&'a [String]);

impl fmt::Display for ServiceList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

/// Returns a "did you mean" hint. It names the requested reference too, because it may follow the errors of several
/// remotes.
fn did_you_mean(requested: &impl fmt::Display, near: &[String]) -> Option<String> {
    let (last, others) = near.split_last()?;
    let or = match others {
        [] => String::new(),
        others => format!("`{}` or ", others.join("`, `")),
    };
    Some(format!(
        "did you mean {or}`{last}` instead of `{requested}`?"
    ))
}

struct Unreachable<'a>(&'a [GitUrl]);

impl fmt::Display for Unreachable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => Ok(()),
            urls => {
                let urls: Vec<String> = urls.iter().map(ToString::to_string).collect();
                write!(f, "; could not reach {}", urls.join(", "))
            }
        }
    }
}
