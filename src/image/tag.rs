//! Tags.

use std::fmt;
use std::str::FromStr;

use sha1::{Digest as _, Sha1};

use super::Digest;
use super::name::{InvalidImageName, invalid};
use crate::source::{CommitId, ServiceSource, TreeDigest};

/// A tag of an image: at most 128 of `[A-Za-z0-9_.-]`, the first not `.` or `-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(String);

impl Tag {
    /// The longest a tag may be, in characters.
    pub const MAX_LENGTH: usize = 128;

    /// Returns the tag of a commit: its 40 digits.
    pub fn from_commit(commit: CommitId) -> Self {
        Self(commit.to_string())
    }

    /// How many digits of a recipe's digest are part of an identity tag.
    pub const IDENTITY_DIGITS: usize = 12;

    /// Returns the tag that never moves: `<commit>-<recipe>`, with what [`Recipe::identity`] returns.
    ///
    /// [`Recipe::identity`]: crate::recipe::Recipe::identity
    pub fn from_recipe(commit: CommitId, recipe: &str) -> Self {
        Self(format!("{commit}-{recipe}"))
    }

    /// Returns the tag that an image keeps whose identity tag goes to another one: `<identity>-<digest>`, with the first
    /// digits of its digest.
    pub fn superseded(&self, digest: &Digest) -> Self {
        let digits = digest.as_str().split_once(':').map_or("", |(_, it)| it);
        let digits: String = digits.chars().take(Self::IDENTITY_DIGITS).collect();
        Self(format!("{self}-{digits}"))
    }

    /// Returns the tag of a working copy that differs from its commit: `<commit>-dirty-<digest>`.
    pub fn from_changes(commit: CommitId, changes: TreeDigest) -> Self {
        Self(format!("{commit}-dirty-{changes}"))
    }

    /// Returns the tag of what is built of a service.
    pub fn from_source(source: &ServiceSource) -> Self {
        match source.changes() {
            Some(changes) => Self::from_changes(source.commit, changes.digest),
            None => Self::from_commit(source.commit),
        }
    }

    /// Returns the tag of a branch.
    ///
    /// Every character outside `[A-Za-z0-9_.-]` becomes `-`. A name that is changed so gets `-` and
    /// eight digits of its SHA-1, so that `a/b` and `a-b` never share a tag. A name that begins as the tag
    /// of a commit's image does, such as `<commit>-x`, is changed too: whoever may push a branch could
    /// otherwise put its image in the place of that one.
    pub fn from_branch(branch: &str) -> Self {
        let tag = Self(slug(branch, Self::MAX_LENGTH));
        if tag.named_commit().is_none() {
            return tag;
        }
        let tag = hashed_slug(branch, Self::MAX_LENGTH);
        Self(format!("_{}", &tag[1..]))
    }

    /// Returns the commit whose image the tag names, in the way of [`Tag::from_source`] or of a variant;
    /// none for every other tag.
    pub fn named_commit(&self) -> Option<CommitId> {
        let (commit, rest) = self.0.split_at_checked(40)?;
        let is_end = rest.is_empty() || rest.starts_with('-');
        // A commit is written in small letters.
        let commit = commit.parse().ok().filter(|_| is_end);
        commit.filter(|it: &CommitId| self.0.starts_with(&it.to_string()))
    }

    /// Returns the tag with `-` and a name after it, as [`Tag::from_branch`] writes names. Where both
    /// together are too long, the end of the name gives way to a hash of it, and then that of the tag.
    pub fn with_variant(&self, name: &str) -> Self {
        // Half of the room is the name's, more where the tag leaves it.
        let room = Self::MAX_LENGTH - 1;
        let tag = slug(&self.0, room - name.len().min(room / 2));
        let room = room - tag.len();
        // A branch whose name reads like the digits of a recipe must not get the tag that never moves.
        let name = if is_identity(name) {
            hashed_slug(name, room)
        } else {
            slug(name, room)
        };
        Self(format!("{tag}-{name}"))
    }

    /// Returns what stands after a commit and `-`; none for the tag of the commit itself, or of another one.
    pub fn variant_of(&self, commit: CommitId) -> Option<&str> {
        self.0.strip_prefix(&commit.to_string())?.strip_prefix('-')
    }

    /// Returns the tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a name reads like the digits of a recipe in [`Tag::from_recipe`].
fn is_identity(name: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    name.len() == Tag::IDENTITY_DIGITS && name.bytes().all(is_digit)
}

/// Returns a name in the characters of a tag, so many at most. One that had to be changed ends with eight
/// digits of its SHA-1.
fn slug(name: &str, room: usize) -> String {
    let may_stand = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let is_legal = !name.is_empty() && name.chars().all(may_stand) && !name.starts_with(['.', '-']);
    if is_legal && name.len() <= room {
        return name.to_owned();
    }
    hashed_slug(name, room)
}

/// Returns a name as [`slug`] does one that has to be changed.
fn hashed_slug(name: &str, room: usize) -> String {
    let may_stand = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let mut hash = hex::encode(Sha1::digest(name));
    hash.truncate(8);
    let kept = name.chars().take(room - hash.len() - 1);
    let mut slug: String = kept.map(|c| if may_stand(c) { c } else { '-' }).collect();
    if slug.starts_with(['.', '-']) {
        slug.replace_range(..1, "_");
    } else if slug.is_empty() {
        slug.push('_');
    }
    format!("{slug}-{hash}")
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Tag {
    type Err = InvalidImageName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WHAT: &str = "a tag";
        if text.is_empty() {
            return invalid(text, WHAT, "it is empty");
        }
        if text.len() > Self::MAX_LENGTH {
            return invalid(text, WHAT, "it is longer than 128 characters");
        }
        if text.starts_with(['.', '-']) {
            return invalid(text, WHAT, "it starts with `.` or `-`");
        }
        if !text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
        {
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
    fn branch_tags_are_legal_and_distinct() {
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
    fn no_branch_takes_the_place_of_a_commit() {
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
    fn variants_are_legal_and_distinct() {
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
        let long = Tag("t".repeat(128)).with_variant(&"x".repeat(128));
        assert!(long.as_str().parse::<Tag>().is_ok(), "{long}");
        assert_ne!(long, Tag("t".repeat(127)).with_variant(&"x".repeat(128)));
    }
}
