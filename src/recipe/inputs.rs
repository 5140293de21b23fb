//! The recipe of an image: a digest for each input of its build.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use sha1::{Digest as _, Sha1};
use sha2::Sha256;
use thiserror::Error;

use super::standing::{Change, ChangeKind};
use crate::image::Tag;

/// The version of the label's format, and of what the inputs are called and how they are hashed.
const VERSION: u64 = 1;

/// The input that tells a build of a working copy from one of a commit. What git ignores may be in its
/// image, so it is never taken for the commit's.
const SOURCE: &str = "source";

/// How many digits of a SHA-1 tell whether an input changed.
const DIGITS: usize = 10;

/// The digest of one input: the first ten digits of a SHA-1.
///
/// They are enough to tell that an input changed, and too few to prove what it was.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InputDigest([u8; DIGITS]);

impl InputDigest {
    fn of(bytes: &[u8]) -> Self {
        let mut digits = [b'0'; DIGITS];
        let digest = Sha1::digest(bytes);
        // Two digits a byte, so that it cannot fail.
        _ = hex::encode_to_slice(&digest[..DIGITS / 2], &mut digits);
        Self(digits)
    }

    /// Reads what [`InputDigest::as_str`] returns.
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let digits: [u8; DIGITS] = text.as_bytes().try_into().ok()?;
        digits.into_iter().all(is_digit).then_some(Self(digits))
    }

    /// Returns the digits.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for InputDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InputDigest({self})")
    }
}

impl fmt::Display for InputDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for InputDigest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Most keys are the same in every recipe.
type Inputs = BTreeMap<Cow<'static, str>, InputDigest>;

/// The inputs of a build, by the key of the manifest that sets them, and a digest of each.
///
/// Its text is what the label `x-platform.recipe` holds: JSON without spaces, sorted, so that equal
/// inputs give equal labels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recipe {
    /// Shared: a plan has the recipe of a service in several places.
    inputs: Arc<Inputs>,
}

impl Recipe {
    /// Adds an input that is one text.
    pub fn add(&mut self, name: impl Into<Cow<'static, str>>, value: &str) {
        self.insert(name.into(), InputDigest::of(value.as_bytes()));
    }

    /// Adds an input that is a list. The length of each item is part of what is hashed, so that no two
    /// lists are taken for the same.
    pub fn add_list<'a>(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        values: impl IntoIterator<Item = &'a str>,
    ) {
        let mut bytes = Vec::new();
        for value in values {
            bytes.extend((value.len() as u64).to_be_bytes());
            bytes.extend(value.as_bytes());
        }
        self.insert(name.into(), InputDigest::of(&bytes));
    }

    fn insert(&mut self, name: Cow<'static, str>, digest: InputDigest) {
        Arc::make_mut(&mut self.inputs).insert(name, digest);
    }

    /// Returns the recipe of the same build from a working copy, and not from a commit.
    pub fn of_working_copy(mut self) -> Self {
        self.add(SOURCE, "working copy");
        self
    }

    /// Tells whether it is the recipe of a build from a working copy.
    pub fn is_of_working_copy(&self) -> bool {
        self.inputs.contains_key(SOURCE)
    }

    /// Returns the recipe without one input.
    pub fn without(&self, name: &str) -> Self {
        let mut recipe = self.clone();
        Arc::make_mut(&mut recipe.inputs).remove(name);
        recipe
    }

    /// Returns the inputs by name.
    pub fn inputs(&self) -> impl Iterator<Item = (&str, &InputDigest)> {
        self.inputs
            .iter()
            .map(|(name, digest)| (name.as_ref(), digest))
    }

    /// Returns the digest of an input.
    pub fn input(&self, name: &str) -> Option<&InputDigest> {
        self.inputs.get(name)
    }

    /// Returns a digest of the whole, where one line has to stand for it.
    pub fn digest(&self) -> InputDigest {
        InputDigest::of(self.to_string().as_bytes())
    }

    /// Returns what tells this recipe from every other one in a tag: the first 12 digits of the SHA-256 of its text.
    pub fn identity(&self) -> String {
        let mut digits = hex::encode(Sha256::digest(self.to_string()));
        digits.truncate(Tag::IDENTITY_DIGITS);
        digits
    }

    /// Returns what changed since `earlier`, in the order of names.
    pub fn changes_since(&self, earlier: &Self) -> Vec<Change> {
        let names: BTreeSet<&Cow<'static, str>> =
            self.inputs.keys().chain(earlier.inputs.keys()).collect();
        let change = |name: &Cow<'static, str>| {
            let kind = match (earlier.inputs.get(name), self.inputs.get(name)) {
                (Some(before), Some(now)) if before == now => return None,
                (Some(_), Some(_)) => ChangeKind::Changed,
                (None, _) => ChangeKind::Added,
                (_, None) => ChangeKind::Removed,
            };
            Some(Change::new(name.as_ref(), kind))
        };
        names.into_iter().filter_map(change).collect()
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = Label {
            version: VERSION,
            inputs: &self.inputs,
        };
        f.write_str(&serde_json::to_string(&label).map_err(|_| fmt::Error)?)
    }
}

/// What a label holds.
#[derive(Serialize)]
struct Label<'r> {
    version: u64,
    inputs: &'r Inputs,
}

impl FromStr for Recipe {
    type Err = InvalidRecipe;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let garbage = |what: &str| InvalidRecipe::Garbage(what.to_owned());
        let value: Value = serde_json::from_str(text).map_err(|_| garbage("it is not JSON"))?;
        match value.get("version").map(Value::as_u64) {
            Some(Some(VERSION)) => {}
            Some(Some(version)) if version > VERSION => return Err(InvalidRecipe::Later(version)),
            Some(_) => return Err(garbage("its version is none")),
            None => return Err(garbage("it has no version")),
        }
        let Some(Value::Object(members)) = value.get("inputs") else {
            return Err(garbage("it has no inputs"));
        };
        let mut inputs = BTreeMap::new();
        for (name, digest) in members {
            let digest = digest.as_str().and_then(InputDigest::parse);
            let digest = digest
                .ok_or_else(|| garbage(&format!("the digest of `{}` is none", shown(name))))?;
            inputs.insert(name.clone().into(), digest);
        }
        Ok(Self {
            inputs: Arc::new(inputs),
        })
    }
}

/// Returns a name out of a label so that it can be printed: anybody may have written it.
pub(super) fn shown(name: &str) -> String {
    name.chars().take(80).flat_map(char::escape_debug).collect()
}

/// A label that is no recipe of this version.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidRecipe {
    /// It is damaged, or was written by something else.
    #[error("its label `x-platform.recipe` is no recipe: {0}")]
    Garbage(String),
    /// It was written by a newer xp.
    #[error("its recipe has format version {0}, and this xp reads {VERSION}")]
    Later(u64),
}

#[cfg(test)]
mod tests {
    use super::super::standing::Standing;
    use super::*;

    fn recipe(inputs: &[(&'static str, &str)]) -> Recipe {
        let mut recipe = Recipe::default();
        for (name, value) in inputs {
            recipe.add(*name, value);
        }
        recipe
    }

    /// Images that exist carry this: a change of it makes every one of them stale.
    #[test]
    fn the_format_is_stable() {
        let mut recipe = recipe(&[("docker.file", "Dockerfile"), ("docker.args.A", "")]);
        recipe.add_list("scripts.build", ["make build", "make \"x\""]);
        assert_eq!(
            recipe.to_string(),
            r#"{"version":1,"inputs":{"docker.args.A":"da39a3ee5e","docker.file":"6651ddff6e","scripts.build":"4160dabea3"}}"#
        );
        assert_eq!(recipe.to_string().parse::<Recipe>().unwrap(), recipe);
        assert_eq!(recipe.identity(), "7e179875c94c");
        assert_eq!(recipe.digest().as_str().len(), DIGITS);
    }

    #[test]
    fn lists_that_read_alike_differ() {
        let list = |values: &[&str]| {
            let mut recipe = Recipe::default();
            recipe.add_list("x", values.iter().copied());
            recipe
        };
        assert_ne!(list(&["ab", "c"]), list(&["a", "bc"]));
        assert_ne!(list(&["a\nb"]), list(&["a", "b"]));
        assert_ne!(list(&[]), list(&[""]));
    }

    #[test]
    fn changes_are_told_by_name() {
        let before = recipe(&[("a", "1"), ("b", "1"), ("c", "1")]);
        let now = recipe(&[("a", "1"), ("b", "2"), ("d", "1")]);
        let changes: Vec<String> = now
            .changes_since(&before)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(changes, ["b changed", "c is gone", "d is new"]);
        assert!(now.changes_since(&now).is_empty());
    }

    #[test]
    fn a_working_copy_is_no_commit() {
        let commit = recipe(&[("a", "1")]);
        let local = commit.clone().of_working_copy();
        assert!(local.is_of_working_copy() && !commit.is_of_working_copy());
        let label = local.to_string();
        assert_eq!(label.parse::<Recipe>(), Ok(local));
        let standing = Standing::of(Some(&label), &commit, None).unwrap();
        assert!(matches!(standing, Standing::Stale(_)), "{standing:?}");
    }

    #[test]
    fn damaged_and_later_labels_are_told_apart() {
        let error = |text: &str| text.parse::<Recipe>().unwrap_err();
        assert_eq!(
            error(r#"{"version":2,"inputs":[]}"#),
            InvalidRecipe::Later(2)
        );
        for (text, what) in [
            ("", "it is not JSON"),
            ("{", "it is not JSON"),
            ("[]", "it has no version"),
            ("{}", "it has no version"),
            (r#"{"version":"1"}"#, "its version is none"),
            (r#"{"version":0}"#, "its version is none"),
            (r#"{"version":1}"#, "it has no inputs"),
            (
                r#"{"version":1,"inputs":{"a\u001b[31m":"xyz"}}"#,
                r"the digest of `a\u{1b}[31m` is none",
            ),
            (
                r#"{"version":1,"inputs":{"a":"DA39A3EE5E"}}"#,
                "the digest of `a` is none",
            ),
        ] {
            assert_eq!(
                error(text),
                InvalidRecipe::Garbage(what.to_owned()),
                "{text}"
            );
        }
    }
}
