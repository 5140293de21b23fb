//! The status as a table.

use std::collections::BTreeMap;

use super::{CheckoutStatus, ImageStatus, ServiceStatus, Status, WorkingCopyStatus};
use crate::base::table::with_last_cell_below;
use crate::model::source::ServiceSource;

impl Status {
    /// Returns the table, fitted to the terminal's width, if any.
    ///
    /// The working copy is the last column because it is the widest: in a narrow terminal it goes on its own line. The
    /// registry column is omitted if no registry was queried, and the reference column if all references are from the
    /// manifest.
    pub fn table(&self, columns: Option<usize>) -> String {
        let is_known = |one: &ServiceStatus| {
            !matches!(
                one.registry,
                ImageStatus::NoRegistry | ImageStatus::NotQueried
            )
        };
        let has_registry = self.services.iter().any(is_known);
        let has_references = self.shows_references();
        let row = |one: [String; 6]| {
            let [service, reference, commit, engine, registry, working_copy] = one;
            let mut row = vec![service];
            row.extend(has_references.then_some(reference));
            row.extend([commit, engine]);
            row.extend(has_registry.then_some(registry));
            row.push(working_copy);
            row
        };
        let heading = [
            "SERVICE",
            "REFERENCE",
            "COMMIT",
            "ENGINE",
            "REGISTRY",
            "WORKING COPY",
        ];
        let rows = std::iter::once(heading.map(str::to_owned))
            .chain(self.services.iter().map(cells))
            .map(row);
        with_last_cell_below(rows.collect(), columns) + &self.moved_bases()
    }

    /// Returns a line for each base image that moved.
    fn moved_bases(&self) -> String {
        let mut services: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for one in &self.services {
            for base in one.moved_bases() {
                let base = base.image.familiar_name();
                services.entry(base).or_default().push(one.name.as_str());
            }
        }
        let lines = services.iter().map(|(base, services)| {
            let services = services.join(", ");
            format!("the base image {base} of {services} moved in its registry\n")
        });
        lines.collect()
    }
}

fn cells(one: &ServiceStatus) -> [String; 6] {
    let source = one.source.as_ref();
    let reference = source.map_or("?", |source| source.short_name().unwrap_or("-"));
    let commit = |source: &ServiceSource| source.commit.short();
    [
        one.name.to_string(),
        reference.to_owned(),
        source.map_or_else(|| "?".to_owned(), commit),
        image(one.engine).to_owned(),
        image(one.registry).to_owned(),
        working_copy(&one.working_copy),
    ]
}

fn image(status: ImageStatus) -> &'static str {
    match status {
        ImageStatus::Absent => "-",
        ImageStatus::Unknown => "?",
        status => status.as_str(),
    }
}

fn working_copy(status: &WorkingCopyStatus) -> String {
    match status {
        WorkingCopyStatus::Missing => "missing".to_owned(),
        WorkingCopyStatus::Foreign => "not a working copy".to_owned(),
        WorkingCopyStatus::Unmanaged => "not git".to_owned(),
        WorkingCopyStatus::Unreadable => "?".to_owned(),
        WorkingCopyStatus::Present(checkout) => checkout_text(checkout),
    }
}

/// Returns text such as `master +2 -1, 3 modified, 1 untracked`.
fn checkout_text(checkout: &CheckoutStatus) -> String {
    let mut text = match (&checkout.branch, checkout.commit) {
        (_, None) => return "no commit".to_owned(),
        (Some(branch), _) => branch.clone(),
        (None, Some(commit)) => format!("detached at {}", commit.short()),
    };
    let (ahead, behind) = checkout.ahead_and_behind.unwrap_or_default();
    if ahead > 0 {
        text.push_str(&format!(" +{ahead}"));
    }
    if behind > 0 {
        text.push_str(&format!(" -{behind}"));
    }
    if !checkout.is_fetched {
        text.push_str(", not fetched");
    }
    for (count, what) in [
        (checkout.modified, "modified"),
        (checkout.untracked, "untracked"),
    ] {
        if count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    if let Some(operation) = checkout.operation {
        text.push_str(&format!(", {operation} in progress"));
    }
    text
}
