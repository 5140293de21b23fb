//! What working copies have and a build does not, as it builds what the remotes have.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::many;
use super::session::Session;
use crate::client::git::GitClient;
use crate::inspect;
use crate::manifest::ServiceName;
use crate::report::{paint, say};
use crate::resolve::Request;
use crate::source::{Origin, ServiceSource};
use crate::status::{WorkingCopyStatus, unbuilt};

/// How many working copies are told of.
const SHOWN: usize = 3;

/// How long a person waits for it at most: very large working copies take longer to look at.
const PATIENCE: Duration = Duration::from_millis(500);

/// Tells a person what of the working copies is not built: an edit that is not pushed looks like one that
/// has no effect.
pub async fn tell(
    session: &Session,
    git: &GitClient,
    sources: &BTreeMap<ServiceName, ServiceSource>,
) {
    let settings = &session.settings;
    if !settings.can_ask || settings.report.quiet || !settings.report.closes_with_table() {
        return;
    }
    let Ok(found) = tokio::time::timeout(PATIENCE, find(session, git, sources)).await else {
        return;
    };
    if found.is_empty() {
        return;
    }
    let mut lines: Vec<String> = Vec::new();
    lines.extend(found.iter().take(SHOWN).map(|(_, text)| text.clone()));
    if found.len() > SHOWN {
        let more = many(found.len() - SHOWN, "more folder");
        lines.push(format!("and {more}: `xp status` shows all"));
    }
    let names: Vec<&str> = found
        .iter()
        .take(SHOWN)
        .map(|(name, _)| name.as_str())
        .collect();
    lines.push(format!(
        "hint: `xp build --local {}` builds what is there; what is pushed is built for everybody",
        names.join(" ")
    ));
    say(&paint(&lines.join("\n"), settings.report.color));
}

/// Looks at each working copy, once however many services it has.
async fn find(
    session: &Session,
    git: &GitClient,
    sources: &BTreeMap<ServiceName, ServiceSource>,
) -> Vec<(ServiceName, String)> {
    let folder = &session.manifest.folder;
    let mut seen = BTreeSet::new();
    let of_remotes = sources
        .iter()
        .filter(|(_, source)| !matches!(source.origin, Origin::Lock | Origin::WorkingCopy));
    let wanted: Vec<_> = of_remotes
        .filter_map(|(name, _)| {
            let service = session.manifest.services.get(name)?;
            let request = Request {
                service: name.to_string(),
                url: service.git.remote.clone(),
                reference: service.git.reference.clone(),
                preferred_branch: None,
                normal: None,
            };
            seen.insert(&service.dir)
                .then(|| (name.clone(), folder.join(&service.dir), request))
        })
        .collect();
    let found = inspect::working_copies(git, wanted).await;
    let tips = sources.iter();
    let tips = tips.map(|(name, source)| (name.clone(), source.tip.clone()));
    let statuses = inspect::compared(found, &tips.collect()).await;
    let told = statuses.into_iter().filter_map(|(name, status)| {
        let WorkingCopyStatus::Present(checkout) = status else {
            return None;
        };
        let dir = session
            .manifest
            .services
            .get(&name)?
            .dir
            .display()
            .to_string();
        let text = unbuilt(&dir, sources.get(&name)?, &checkout)?;
        Some((name, text))
    });
    told.collect()
}
