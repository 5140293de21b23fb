//! Reports changes in working copies that a build ignores, because it builds what the remotes have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::plural::count_of;
use crate::flow::session::Session;
use crate::flow::sources::working_copies;
use crate::flow::sources::working_copies::UnpushedQuery;
use crate::model::manifest::ServiceName;
use crate::model::source::{ReferenceOrigin, ServiceSource};
use crate::model::status::local_changes_note;
use crate::report::{paint, print_message};

/// The maximum number of working copies to list.
const SHOWN: usize = 3;

/// The time limit: very large working copies would take too long.
const TIME_LIMIT: Duration = Duration::from_millis(500);

/// Prints which local changes are not built; otherwise an edit that was not pushed would seem to have no effect.
pub async fn report(session: &Session, sources: &BTreeMap<ServiceName, ServiceSource>) {
    let settings = &session.settings;
    if !settings.can_ask || settings.report.quiet || !settings.report.prints_summary() {
        return;
    }
    let Ok(found) = tokio::time::timeout(TIME_LIMIT, find(session, sources)).await else {
        return;
    };
    if found.is_empty() {
        return;
    }
    let mut lines: Vec<String> = Vec::new();
    lines.extend(found.iter().take(SHOWN).map(|(_, text)| text.clone()));
    if found.len() > SHOWN {
        let more = count_of(found.len() - SHOWN, "more folder");
        lines.push(format!("and {more}: `xp status` shows all"));
    }
    let names: Vec<&str> = found
        .iter()
        .take(SHOWN)
        .map(|(name, _)| name.as_str())
        .collect();
    lines.push(format!(
        "hint: `xp build --local {}` builds local changes; push them to include them in other builds",
        names.join(" ")
    ));
    print_message(&paint(&lines.join("\n"), settings.report.color));
}

/// Finds changes that are not built, per working copy.
async fn find(
    session: &Session,
    sources: &BTreeMap<ServiceName, ServiceSource>,
) -> Vec<(ServiceName, String)> {
    let services = &session.manifest.services;
    let mut wanted: BTreeMap<PathBuf, Vec<UnpushedQuery>> = BTreeMap::new();
    for (name, source) in sources {
        let Some(service) = services.get(name) else {
            continue;
        };
        if matches!(
            source.origin,
            ReferenceOrigin::Lock | ReferenceOrigin::WorkingCopy
        ) || service.source.git().is_none()
        {
            continue;
        }
        let asked = UnpushedQuery {
            service: name.clone(),
            tip: source.tip.commit,
            selection: service.source.selection(),
        };
        let dir = session.manifest.folder.join(&service.dir);
        wanted.entry(dir).or_default().push(asked);
    }
    let mut reported: BTreeSet<String> = BTreeSet::new();
    let found = working_copies::unpushed(wanted).await.into_iter();
    let found = found.filter_map(|(name, unpushed)| {
        let service = services.get(&name)?;
        let folder = match service.source.path() {
            Some(path) if service.dir == Path::new(".") => PathBuf::from(path),
            Some(path) => service.dir.join(path),
            None => service.dir.clone(),
        };
        let folder = folder.display().to_string();
        let text = local_changes_note(&folder, sources.get(&name)?, &unpushed)?;
        // Services that share a folder are reported once.
        reported.insert(text.clone()).then_some((name, text))
    });
    found.collect()
}
