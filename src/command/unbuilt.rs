//! What working copies have and a build does not, as it builds what the remotes have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::many;
use super::session::Session;
use crate::inspect::{self, Asked};
use crate::manifest::ServiceName;
use crate::report::{paint, say};
use crate::source::{Origin, ServiceSource};
use crate::status::unbuilt;

/// How many working copies are told of.
const SHOWN: usize = 3;

/// How long a person waits for it at most: very large working copies take longer to look at.
const PATIENCE: Duration = Duration::from_millis(500);

/// Tells a person what of the working copies is not built: an edit that is not pushed looks like one that
/// has no effect.
pub async fn tell(session: &Session, sources: &BTreeMap<ServiceName, ServiceSource>) {
    let settings = &session.settings;
    if !settings.can_ask || settings.report.quiet || !settings.report.closes_with_table() {
        return;
    }
    let Ok(found) = tokio::time::timeout(PATIENCE, find(session, sources)).await else {
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

/// Finds what is not built, folder by folder.
async fn find(
    session: &Session,
    sources: &BTreeMap<ServiceName, ServiceSource>,
) -> Vec<(ServiceName, String)> {
    let services = &session.manifest.services;
    let mut wanted: BTreeMap<PathBuf, Vec<Asked>> = BTreeMap::new();
    for (name, source) in sources {
        let Some(service) = services.get(name) else {
            continue;
        };
        if matches!(source.origin, Origin::Lock | Origin::WorkingCopy) {
            continue;
        }
        let asked = Asked {
            service: name.clone(),
            tip: source.tip.commit,
            paths: [service.git.path.as_slice(), &service.git.include].concat(),
        };
        let dir = session.manifest.folder.join(&service.dir);
        wanted.entry(dir).or_default().push(asked);
    }
    let mut told: BTreeSet<String> = BTreeSet::new();
    let found = inspect::unpushed(wanted).await.into_iter();
    let found = found.filter_map(|(name, unpushed)| {
        let service = services.get(&name)?;
        let folder = match &service.git.path {
            Some(path) if service.dir == Path::new(".") => PathBuf::from(path),
            Some(path) => service.dir.join(path),
            None => service.dir.clone(),
        };
        let folder = folder.display().to_string();
        let text = unbuilt(&folder, sources.get(&name)?, &unpushed)?;
        // Services of one folder are told once.
        told.insert(text.clone()).then_some((name, text))
    });
    found.collect()
}
