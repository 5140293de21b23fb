//! Image tags.

use std::fmt;
use std::str::FromStr;

use sha1::{Digest as _, Sha1};

use super::name::{InvalidImageName, invalid};
use super::{Digest, Platform};
use crate::model::source::{CommitId, ServiceSource, TreeDigest};

/// An image tag: at most 128 characters of `[A-Za-z0-9_.-]`, not starting with `.` or `-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(String);

impl Tag {
    /// The maximum length in characters.
    pub const MAX_LENGTH: usize = 128;

    /// Returns the tag of a commit: its 40-digit SHA-1.
    pub fn from_commit(commit: CommitId) -> Self {
        Self(commit.to_string())
    }

    /// The number of digits of the recipe's digest in an identity tag.
    pub const IDENTITY_DIGITS: usize = 12;

    /// Returns the identity tag, which never moves: `<commit>-<recipe>`, with the digits of [`Recipe::identity`].
    ///
    /// [`Recipe::identity`]: crate::model::recipe::Recipe::identity
    pub fn from_recipe(commit: CommitId, recipe: &str) -> Self {
        Self(format!("{commit}-{recipe}"))
    }

    /// Returns the tag that keeps an image after its identity tag moves to another image: `<identity>-<digest>`, with
    /// the first digits of its digest.
    pub fn superseded(&self, digest: &Digest) -> Self {
        let digits = digest.as_str().split_once(':').map_or("", |(_, it)| it);
        let digits: String = digits.chars().take(Self::IDENTITY_DIGITS).collect();
        Self(format!("{self}-{digits}"))
    }

    /// Returns the tag with which the image of one platform is pushed, before the index that has this tag:
    /// `<identity>-linux-arm64`.
    pub fn for_platform(&self, platform: &Platform) -> Self {
        Self(format!("{self}-{}", platform.slug()))
    }

    /// Returns the tag of a dirty working copy: `<commit>-dirty-<digest>`.
    pub fn from_changes(commit: CommitId, changes: TreeDigest) -> Self {
        Self(format!("{commit}-dirty-{changes}"))
    }

    /// Returns the tag of a service's source: a commit, or a working copy.
    pub fn from_source(source: &ServiceSource) -> Self {
        match source.changes() {
            Some(changes) => Self::from_changes(source.commit, changes.digest),
            None => Self::from_commit(source.commit),
        }
    }

    /// Returns the tag of a phase's result: `step-<key>`.
    pub fn from_step(key: &[u8; 32]) -> Self {
        Self(format!("step-{}", hex::encode(key)))
    }

    /// Returns the tag of a branch.
    ///
    /// Every character outside `[A-Za-z0-9_.-]` becomes `-`. A changed name gets a suffix of `-` and eight digits of
    /// its SHA-1, so that `a/b` and `a-b` never share a tag. A name that looks like the tag of a commit's image, such
    /// as `<commit>-x`, is changed too: otherwise, anyone who can push a branch could replace that image.
    pub fn from_branch(branch: &str) -> Self {
        let tag = Self(slug(branch, Self::MAX_LENGTH));
        if tag.named_commit().is_none() {
            return tag;
        }
        let tag = hashed_slug(branch, Self::MAX_LENGTH);
        Self(format!("_{}", &tag[1..]))
    }

    /// Returns the commit of a tag as created by [`Tag::from_source`] or [`Tag::with_variant`]; `None` for all other
    /// tags.
    pub fn named_commit(&self) -> Option<CommitId> {
        let (commit, rest) = self.0.split_at_checked(40)?;
        let is_end = rest.is_empty() || rest.starts_with('-');
        // Commits in tags are lowercase.
        let commit = commit.parse().ok().filter(|_| is_end);
        commit.filter(|it: &CommitId| self.0.starts_with(&it.to_string()))
    }

    /// Appends `-` and a name, which is changed like in [`Tag::from_branch`]. If the result is too long, the end of the
    /// name is replaced by its hash, and if necessary the end of the tag, too.
    pub fn with_variant(&self, name: &str) -> Self {
        // The name gets half of the length, or more if the tag is shorter.
        let available = Self::MAX_LENGTH - 1;
        let tag = slug(&self.0, available - name.len().min(available / 2));
        let max_length = available - tag.len();
        // A branch name that looks like the digits of a recipe must not become an identity tag.
        let name = if is_identity(name) {
            hashed_slug(name, max_length)
        } else {
            slug(name, max_length)
        };
        Self(format!("{tag}-{name}"))
    }

    /// Returns the part after `<commit>-`; `None` for the tag of the commit itself or of another commit.
    pub fn variant_of(&self, commit: CommitId) -> Option<&str> {
        self.0.strip_prefix(&commit.to_string())?.strip_prefix('-')
    }

    /// Returns the tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns whether a name looks like the digits of a recipe in [`Tag::from_recipe`].
fn is_identity(name: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    name.len() == Tag::IDENTITY_DIGITS && name.bytes().all(is_digit)
}

/// Converts a name to valid tag characters and limits its length. A changed name ends with eight digits of its
/// SHA-1.
fn slug(name: &str, max_length: usize) -> String {
    let is_valid =
        !name.is_empty() && name.chars().all(is_tag_character) && !name.starts_with(['.', '-']);
    if is_valid && name.len() <= max_length {
        return name.to_owned();
    }
    hashed_slug(name, max_length)
}

/// Like [`slug`] for a name that must be changed.
fn hashed_slug(name: &str, max_length: usize) -> String {
    let mut hash = hex::encode(Sha1::digest(name));
    hash.truncate(8);
    let kept = name.chars().take(max_length - hash.len() - 1);
    let mut slug: String = kept
        .map(|c| if is_tag_character(c) { c } else { '-' })
        .collect();
    if slug.starts_with(['.', '-']) {
        slug.replace_range(..1, "_");
    } else if slug.is_empty() {
        slug.push('_');
    }
    format!("{slug}-{hash}")
}

fn is_tag_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_.-".contains(c)
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Tag {
    type Err = InvalidImageName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WHAT: &str = "tag";
        if text.is_empty() {
            return invalid(text, WHAT, "must not be empty");
        }
        if text.len() > Self::MAX_LENGTH {
            return invalid(text, WHAT, "longer than 128 characters");
        }
        if text.starts_with(['.', '-']) {
            return invalid(text, WHAT, "must not start with `.` or `-`");
        }
        if !text.chars().all(is_tag_character) {
            return invalid(
                text,
                WHAT,
                "only letters, digits, `_`, `.` and `-` are allowed",
            );
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branch_tags_are_valid_and_distinct() {
        assert_eq!(Tag::from_branch("master").as_str(), "master");
        let slashed = Tag::from_branch("feature/x");
        assert!(slashed.as_str().starts_with("feature-x-"), "{slashed}");
        assert_eq!(slashed.as_str().len(), "feature-x-".len() + 8);
        assert_ne!(slashed, Tag::from_branch("feature-x"));
        for odd in ["", "-x", ".x", "ü", &"x".repeat(300), "a b", "…"] {
            let tag = Tag::from_branch(odd);
            assert_eq!(tag.as_str().parse::<Tag>().as_ref(), Ok(&tag), "{odd}");
        }
    }

    #[test]
    fn branch_tags_never_collide_with_commit_tags() {
        let commit = "0123456789".repeat(4);
        let names = ["", "-TASK-981", "/x", "-dirty-01234567"].map(|end| format!("{commit}{end}"));
        let mut seen = std::collections::BTreeSet::new();
        for name in &names {
            let tag = Tag::from_branch(name);
            assert_eq!(tag.named_commit(), None, "{tag}");
            assert!(tag.as_str().parse::<Tag>().is_ok(), "{tag}");
            assert!(tag.as_str().starts_with("_123"), "{tag}");
            assert!(seen.insert(tag), "{name}");
        }
        for name in [format!("{commit}0"), "A".repeat(40), format!("{commit}.1")] {
            assert_eq!(Tag::from_branch(&name).as_str(), name);
        }
        let tag: Tag = names[1].parse().unwrap();
        assert_eq!(tag.named_commit(), Some(commit.parse().unwrap()));
    }

    #[test]
    fn variants_are_valid_and_distinct() {
        let commit = Tag("a".repeat(40));
        let variant = |name: &str| commit.with_variant(name).to_string();
        assert_eq!(variant("TASK-981"), format!("{}-TASK-981", "a".repeat(40)));
        let names = [
            "a/b".to_owned(),
            "a-b".to_owned(),
            "x".repeat(86),
            "x".repeat(87),
            "x".repeat(88),
            "x".repeat(300),
            "ü".to_owned(),
            "0123456789ab".to_owned(),
        ];
        let mut seen = std::collections::BTreeSet::new();
        for name in &names {
            let tag = variant(name);
            assert!(tag.parse::<Tag>().is_ok(), "{tag}");
            assert!(tag.starts_with(&"a".repeat(40)), "{tag}");
            assert!(seen.insert(tag), "{name}");
        }
        let commit: CommitId = "a".repeat(40).parse().unwrap();
        let identity = Tag::from_recipe(commit, "0123456789ab");
        assert_eq!(identity.named_commit(), Some(commit));
        assert!(!seen.contains(identity.as_str()));
        let digest = format!("sha256:{}", "f".repeat(64)).parse().unwrap();
        let superseded = identity.superseded(&digest).to_string();
        assert_eq!(superseded, format!("{identity}-ffffffffffff"));
        let platform = "linux/arm/v7".parse().unwrap();
        let of_platform = identity.for_platform(&platform);
        assert_eq!(of_platform.to_string(), format!("{identity}-linux-arm-v7"));
        assert_eq!(of_platform.named_commit(), Some(commit));
        let long = Tag("t".repeat(128)).with_variant(&"x".repeat(128));
        assert!(long.as_str().parse::<Tag>().is_ok(), "{long}");
        assert_ne!(long, Tag("t".repeat(127)).with_variant(&"x".repeat(128)));
    }
}
