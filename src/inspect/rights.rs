//! Whether what is about to be built may be pushed: a refusal after a build of half an hour is one too late.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use futures_util::StreamExt as _;
use thiserror::Error;

use super::refusal;
use crate::client::registry::{RegistryClient, RegistryError};
use crate::error::{Diagnostic, Exit};
use crate::image::ImageRepository;
use crate::plan::Refusal;

/// How many repositories are asked for at once; each registry limits its own share.
const AT_ONCE: usize = 64;

/// How many repositories are named for each reason.
const NAMED: usize = 3;

/// Asks for the right to push to each repository: an upload is opened, and cancelled at once.
///
/// Returns what cannot be told: answers that no registry gives. The push itself will show it.
///
/// # Errors
///
/// A repository that no image may be pushed to, or whose registry does not answer.
pub async fn push_rights(
    client: &RegistryClient,
    repositories: BTreeSet<ImageRepository>,
) -> Result<Vec<String>, NotPushed> {
    let asked = futures_util::stream::iter(repositories).map(|repository| async move {
        let answer = client.check_push(&repository).await;
        (repository, answer)
    });
    let answers: Vec<_> = asked.buffer_unordered(AT_ONCE).collect().await;
    let mut unknown = Vec::new();
    let mut refused: BTreeMap<Refusal, BTreeSet<ImageRepository>> = BTreeMap::new();
    for (repository, answer) in answers {
        match answer {
            // An upload that cannot be cancelled is removed by the registry after a while.
            Ok(_) => {}
            Err(RegistryError::Unexpected { registry, what }) => unknown.push(format!(
                "it cannot be told whether images may be pushed to {repository}: the registry {registry} gives an answer \
                 that cannot be used: {what}"
            )),
            Err(error) => _ = refused.entry(refusal(&error)).or_default().insert(repository),
        }
    }
    match refused.is_empty() {
        true => Ok(unknown),
        false => Err(NotPushed(refused)),
    }
}

/// Repositories that what is built cannot be pushed to, by the reason.
#[derive(Debug, Error)]
pub struct NotPushed(BTreeMap<Refusal, BTreeSet<ImageRepository>>);

impl fmt::Display for NotPushed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what is to be built cannot be pushed, so nothing is built")?;
        for (refusal, repositories) in &self.0 {
            write!(f, "\n  {}", refusal.why)?;
            // Most reasons name the repository themselves.
            let unnamed = |it: &&ImageRepository| !refusal.why.contains(&it.to_string());
            let unnamed: Vec<_> = repositories.iter().filter(unnamed).collect();
            for repository in unnamed.iter().take(NAMED) {
                write!(f, "\n    {repository}")?;
            }
            if unnamed.len() > NAMED {
                write!(f, "\n    and {} more", unnamed.len() - NAMED)?;
            }
        }
        Ok(())
    }
}

impl Diagnostic for NotPushed {
    fn exit(&self) -> Exit {
        Exit::Outside
    }

    fn hints(&self) -> Vec<String> {
        let mut hints = Refusal::hints_of(self.0.keys());
        hints.push("`xp build --no-push` builds, and pushes nothing".to_owned());
        hints
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_reason_stands_for_many_repositories() {
        let repository = |name: &str| format!("r.example.com/{name}").parse().unwrap();
        let refusal = |why: &str| Refusal {
            why: why.to_owned(),
            hints: vec!["log in".to_owned()],
        };
        let refused = NotPushed(BTreeMap::from([
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
            "what is to be built cannot be pushed, so nothing is built\n  \
             the registry does not allow push to r.example.com/x\n  \
             the registry refuses anonymous users\n    \
             r.example.com/a\n    r.example.com/b\n    r.example.com/c\n    and 1 more"
        );
        assert_eq!(refused.hints().len(), 2);
    }
}
