//! Compares two locks.

use std::fmt;

use super::{Lock, LockedService};
use crate::base::plural::count_of;
use crate::base::table::{Fit, fitted};
use crate::model::manifest::ServiceName;

/// A difference between two locks for one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockDifference<'l> {
    pub service: &'l ServiceName,
    /// How they differ.
    pub kind: DifferenceKind<'l>,
}

/// How two locks differ for a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DifferenceKind<'l> {
    /// Only the second one has it.
    Added(&'l LockedService),
    /// Only the first one has it.
    Removed(&'l LockedService),
    /// Both have it.
    Changed {
        /// The first one's entry.
        from: &'l LockedService,
        /// The second one's entry.
        to: &'l LockedService,
    },
}

/// A field of a lock entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockedField {
    /// `remote`
    Remote,
    /// `reference` or `name`
    Reference,
    /// `path`
    Path,
    /// `commit`
    Commit,
    /// `image`, except its tag
    Image,
    /// `digest`
    Digest,
    /// `recipe`
    Recipe,
    /// `builder`
    Builder,
    /// `bases`
    Bases,
}

impl LockedField {
    /// Returns the key in the lock.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Remote => "remote",
            Self::Reference => "reference",
            Self::Path => "path",
            Self::Commit => "commit",
            Self::Image => "image",
            Self::Digest => "digest",
            Self::Recipe => "recipe",
            Self::Builder => "builder",
            Self::Bases => "bases",
        }
    }
}

impl fmt::Display for LockedField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Lock {
    /// Returns the differences to another lock, by service.
    pub fn compare<'l>(&'l self, other: &'l Self) -> Vec<LockDifference<'l>> {
        let mut differences = Vec::new();
        for (service, from) in &self.services {
            let kind = match other.services.get(service) {
                None => DifferenceKind::Removed(from),
                Some(to) if to == from => continue,
                Some(to) => DifferenceKind::Changed { from, to },
            };
            differences.push(LockDifference { service, kind });
        }
        let added = other.services.iter();
        differences.extend(
            added
                .filter(|(service, _)| !self.services.contains_key(service))
                .map(|(service, to)| LockDifference {
                    service,
                    kind: DifferenceKind::Added(to),
                }),
        );
        differences.sort_by_key(|difference| difference.service);
        differences
    }
}

impl Lock {
    /// Returns a table of the differences to another lock, with a row for each service and a line for the rest; empty if
    /// there are none. It fits the terminal's width, if any.
    pub fn difference_table(&self, other: &Self, terminal: Option<usize>) -> String {
        let differences = self.compare(other);
        if differences.is_empty() {
            return String::new();
        }
        let columns = [
            ("SERVICE", Fit::Fixed),
            ("CHANGE", Fit::Fixed),
            ("COMMIT", Fit::Fixed),
            ("DETAILS", Fit::Wrapped),
        ];
        let rows = differences.iter().map(LockDifference::row).collect();
        let known = |it: &&LockDifference<'_>| !matches!(it.kind, DifferenceKind::Added(_));
        let unchanged = self.services.len() - differences.iter().filter(known).count();
        let rest = match unchanged {
            0 => String::new(),
            count => format!("{} unchanged\n", count_of(count, "service")),
        };
        fitted(&columns, rows, terminal) + &rest
    }
}

impl LockDifference<'_> {
    fn row(&self) -> Vec<String> {
        let (word, commit, what) = match &self.kind {
            DifferenceKind::Added(to) => ("added", to.commit.short(), String::new()),
            DifferenceKind::Removed(from) => ("removed", from.commit.short(), String::new()),
            DifferenceKind::Changed { from, to } => {
                let (word, commit) = if from.commit == to.commit {
                    ("changed", to.commit.short())
                } else {
                    let range = format!("{}..{}", from.commit.short(), to.commit.short());
                    ("moved", range)
                };
                let fields = from.changed_fields_except_commit(to);
                let texts = fields.iter().map(|field| field.describe(from, to));
                (word, commit, texts.collect::<Vec<_>>().join(", "))
            }
        };
        vec![self.service.to_string(), word.to_owned(), commit, what]
    }
}

impl LockedField {
    /// Returns the change of the field as text, with its values if they are short.
    fn describe(self, from: &LockedService, to: &LockedService) -> String {
        match self {
            Self::Reference if from.reference != to.reference => {
                format!("reference {} to {}", from.reference, to.reference)
            }
            Self::Digest if to.digest.is_none() => "no image in the registry".to_owned(),
            Self::Image if from.image.repository() == to.image.repository() => {
                format!("tag {} to {}", from.tag_text(), to.tag_text())
            }
            Self::Image => format!("image {} to {}", from.image_text(), to.image_text()),
            _ => self.as_str().to_owned(),
        }
    }
}

impl LockedService {
    /// Returns the image's name without the commit.
    fn image_text(&self) -> String {
        let repository = self.image.repository();
        match self.variant() {
            Some(_) => format!("{repository}:{}", self.tag_text()),
            None => repository.to_string(),
        }
    }

    /// Returns the image's tag with a short commit.
    fn tag_text(&self) -> String {
        let commit = self.commit.short();
        match self.variant() {
            Some(variant) => format!("{commit}-{variant}"),
            None => commit,
        }
    }

    /// Returns the fields that differ from another entry.
    pub fn changed_fields(&self, other: &Self) -> Vec<LockedField> {
        let parts = [
            (LockedField::Remote, self.remote != other.remote),
            (
                LockedField::Reference,
                (&self.reference, &self.name) != (&other.reference, &other.name),
            ),
            (LockedField::Path, self.path != other.path),
            (LockedField::Commit, self.commit != other.commit),
            (
                LockedField::Image,
                (self.image.repository(), self.variant())
                    != (other.image.repository(), other.variant()),
            ),
            (LockedField::Digest, self.digest != other.digest),
            (LockedField::Recipe, self.recipe != other.recipe),
            (LockedField::Builder, self.builder != other.builder),
            (LockedField::Bases, self.bases != other.bases),
        ];
        parts
            .into_iter()
            .filter_map(|(field, differs)| differs.then_some(field))
            .collect()
    }

    /// Returns the fields that differ from another entry, except those that always change with the commit: the commit
    /// itself and the image's digest.
    pub fn changed_fields_except_commit(&self, other: &Self) -> Vec<LockedField> {
        let moved = self.commit != other.commit;
        let follows = |field: &LockedField| match field {
            LockedField::Commit => true,
            // A missing image is still worth reporting.
            LockedField::Digest => moved && other.digest.is_some(),
            _ => false,
        };
        let mut fields = self.changed_fields(other);
        fields.retain(|field| !follows(field));
        fields
    }
}
