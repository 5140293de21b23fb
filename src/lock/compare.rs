//! What two locks disagree on.

use std::fmt;

use super::{Lock, LockedService};
use crate::manifest::ServiceName;
use crate::plan::table::aligned;

/// What two locks say about one service, where that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference<'l> {
    /// The service.
    pub service: &'l ServiceName,
    /// How they differ.
    pub kind: Kind<'l>,
}

/// How two locks differ on a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind<'l> {
    /// Only the second one has it.
    Added(&'l LockedService),
    /// Only the first one has it.
    Removed(&'l LockedService),
    /// Both have it.
    Changed {
        /// What the first one says.
        from: &'l LockedService,
        /// What the second one says.
        to: &'l LockedService,
    },
}

/// A part of what a lock says about a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aspect {
    /// `remote`
    Remote,
    /// `reference` or `name`
    Reference,
    /// `path`
    Path,
    /// `commit`
    Commit,
    /// `image`, but for its tag
    Image,
    /// `digest`
    Digest,
    /// `recipe`
    Recipe,
    /// `builder`
    Builder,
}

impl Aspect {
    /// Returns the key of the lock.
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
        }
    }
}

impl fmt::Display for Aspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Lock {
    /// Returns what another lock says differently, by service.
    pub fn compare<'l>(&'l self, other: &'l Self) -> Vec<Difference<'l>> {
        let mut differences = Vec::new();
        for (service, from) in &self.services {
            let kind = match other.services.get(service) {
                None => Kind::Removed(from),
                Some(to) if to == from => continue,
                Some(to) => Kind::Changed { from, to },
            };
            differences.push(Difference { service, kind });
        }
        let added = other.services.iter();
        differences.extend(
            added
                .filter(|(service, _)| !self.services.contains_key(service))
                .map(|(service, to)| Difference {
                    service,
                    kind: Kind::Added(to),
                }),
        );
        differences.sort_by_key(|difference| difference.service);
        differences
    }
}

impl Lock {
    /// Returns a table of what another lock says differently: a line a service, and one for the rest;
    /// nothing where they say the same.
    pub fn difference_table(&self, other: &Self) -> String {
        let differences = self.compare(other);
        if differences.is_empty() {
            return String::new();
        }
        let mut rows = vec![
            ["SERVICE", "CHANGE", "COMMIT", "WHAT"]
                .map(str::to_owned)
                .to_vec(),
        ];
        rows.extend(differences.iter().map(Difference::row));
        let known = |it: &&Difference<'_>| !matches!(it.kind, Kind::Added(_));
        let unchanged = self.services.len() - differences.iter().filter(known).count();
        let rest = match unchanged {
            0 => String::new(),
            1 => "1 service is as it was\n".to_owned(),
            count => format!("{count} services are as they were\n"),
        };
        aligned(&rows) + &rest
    }
}

impl Difference<'_> {
    fn row(&self) -> Vec<String> {
        let (word, commit, what) = match &self.kind {
            Kind::Added(to) => ("added", to.commit.short(), String::new()),
            Kind::Removed(from) => ("removed", from.commit.short(), String::new()),
            Kind::Changed { from, to } => {
                let (word, commit) = match from.commit == to.commit {
                    true => ("changed", to.commit.short()),
                    false => {
                        let range = format!("{}..{}", from.commit.short(), to.commit.short());
                        ("moved", range)
                    }
                };
                let aspects = from.differing_beside_the_commit(to);
                let texts = aspects.iter().map(|aspect| aspect.told(from, to));
                (word, commit, texts.collect::<Vec<_>>().join(", "))
            }
        };
        vec![self.service.to_string(), word.to_owned(), commit, what]
    }
}

impl Aspect {
    /// Says what became of a part, as far as it is short enough.
    fn told(self, from: &LockedService, to: &LockedService) -> String {
        match self {
            Self::Reference if from.reference != to.reference => {
                format!("reference {} to {}", from.reference, to.reference)
            }
            Self::Digest if to.digest.is_none() => "no image in the registry".to_owned(),
            Self::Image => format!("image {} to {}", from.called(), to.called()),
            _ => self.as_str().to_owned(),
        }
    }
}

impl LockedService {
    /// Returns how the image is called, but for the commit.
    fn called(&self) -> String {
        let repository = self.image.repository();
        match self.variant() {
            Some(variant) => format!("{repository} with {variant}"),
            None => repository.to_string(),
        }
    }

    /// Returns the parts that another entry has differently.
    pub fn differing(&self, other: &Self) -> Vec<Aspect> {
        let parts = [
            (Aspect::Remote, self.remote != other.remote),
            (
                Aspect::Reference,
                (&self.reference, &self.name) != (&other.reference, &other.name),
            ),
            (Aspect::Path, self.path != other.path),
            (Aspect::Commit, self.commit != other.commit),
            (
                Aspect::Image,
                (self.image.repository(), self.variant())
                    != (other.image.repository(), other.variant()),
            ),
            (Aspect::Digest, self.digest != other.digest),
            (Aspect::Recipe, self.recipe != other.recipe),
            (Aspect::Builder, self.builder != other.builder),
        ];
        parts
            .into_iter()
            .filter_map(|(aspect, differs)| differs.then_some(aspect))
            .collect()
    }

    /// Returns the parts that another entry has differently for a reason of their own: another commit
    /// is always another image with another digest.
    pub fn differing_beside_the_commit(&self, other: &Self) -> Vec<Aspect> {
        let moved = self.commit != other.commit;
        let follows = |aspect: &Aspect| match aspect {
            Aspect::Commit => true,
            // That there is no image is worth a word.
            Aspect::Digest => moved && other.digest.is_some(),
            _ => false,
        };
        let mut aspects = self.differing(other);
        aspects.retain(|aspect| !follows(aspect));
        aspects
    }
}
