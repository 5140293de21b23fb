//! Checks push permission before a build, because a rejection after a long build is too late.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use futures_util::StreamExt as _;
use thiserror::Error;

use super::refusal;
use crate::base::error::{Diagnostic, Exit};
use crate::client::registry::{RegistryClient, RegistryError};
use crate::model::image::ImageRepository;
use crate::model::plan::QueryFailure;

/// The number of concurrent checks; each registry has its own limit, too.
const CONCURRENCY: usize = 64;

/// How many repositories are listed per reason.
const LISTED: usize = 3;

/// Checks push permission for each repository, by opening an upload and canceling it at once.
///
/// Returns warnings about invalid responses: the push itself will show whether it works.
///
/// # Errors
///
/// If images cannot be pushed to a repository, or its registry does not respond.
pub async fn check_push_permission(
    client: &RegistryClient,
    repositories: BTreeSet<ImageRepository>,
) -> Result<Vec<String>, PushDenied> {
    let checks = futures_util::stream::iter(repositories).map(|repository| async move {
        let reply = client.check_push(&repository).await;
        (repository, reply)
    });
    let responses: Vec<_> = checks.buffer_unordered(CONCURRENCY).collect().await;
    let mut unknown = Vec::new();
    let mut refused: BTreeMap<QueryFailure, BTreeSet<ImageRepository>> = BTreeMap::new();
    for (repository, reply) in responses {
        match reply {
            // The registry removes an upload that cannot be canceled after a while.
            Ok(_) => {}
            Err(RegistryError::Unexpected { registry, what }) => unknown.push(format!(
                "cannot tell whether images can be pushed to {repository}: invalid response from the registry \
                {registry}: {what}"
            )),
            Err(error) => _ = refused.entry(refusal(&error)).or_default().insert(repository),
        }
    }
    if refused.is_empty() {
        Ok(unknown)
    } else {
        Err(PushDenied(refused))
    }
}

/// Repositories that images cannot be pushed to, by reason.
#[derive(Debug, Error)]
pub struct PushDenied(BTreeMap<QueryFailure, BTreeSet<ImageRepository>>);

impl fmt::Display for PushDenied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the images cannot be pushed; nothing was built")?;
        for (refusal, repositories) in &self.0 {
            write!(f, "\n  {}", refusal.why)?;
            // Most reasons already name the repository.
            let unnamed = |it: &&ImageRepository| !refusal.why.contains(&it.to_string());
            let unnamed: Vec<_> = repositories.iter().filter(unnamed).collect();
            for repository in unnamed.iter().take(LISTED) {
                write!(f, "\n    {repository}")?;
            }
            if unnamed.len() > LISTED {
                write!(f, "\n    and {} more", unnamed.len() - LISTED)?;
            }
        }
        Ok(())
    }
}

impl Diagnostic for PushDenied {
    fn exit(&self) -> Exit {
        Exit::Outside
    }

    fn hints(&self) -> Vec<String> {
        let mut hints = QueryFailure::hints_of(self.0.keys());
        hints.push("`xp build --no-push` builds without pushing".to_owned());
        hints
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_grouped_by_reason() {
        let repository = |name: &str| format!("r.example.com/{name}").parse().unwrap();
        let refusal = |why: &str| QueryFailure {
            why: why.to_owned(),
            hints: vec!["log in".to_owned()],
        };
        let refused = PushDenied(BTreeMap::from([
            (
                refusal("the registry refuses anonymous users"),
                ["a", "b", "c", "d"].map(repository).into(),
            ),
            (
                refusal("the registry does not allow push to r.example.com/x"),
                [repository("x")].into(),
            ),
        ]));
        assert_eq!(
            refused.to_string(),
            "the images cannot be pushed; nothing was built\n  \
             the registry does not allow push to r.example.com/x\n  \
             the registry refuses anonymous users\n    \
             r.example.com/a\n    r.example.com/b\n    r.example.com/c\n    and 1 more"
        );
        assert_eq!(refused.hints().len(), 2);
    }
}
