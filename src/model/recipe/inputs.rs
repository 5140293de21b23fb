//! The recipe of an image: a digest for each input of its build.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use serde::Serialize;
use serde_json::Value;
use sha1::{Digest as _, Sha1};
use sha2::Sha256;
use thiserror::Error;

use crate::base::text::{read_as_text, write_as_text};
use crate::model::image::Tag;
use crate::model::recipe::status::{ChangeKind, RecipeChange};

/// The version of the label's format, including the names of the inputs and how they are hashed.
const VERSION: u64 = 1;

/// The input that distinguishes a build of a working copy from one of a commit. Its image may contain ignored files,
/// so it must never pass as the commit's.
const SOURCE: &str = "source";

/// The input with the platforms of an image. The images of an index are compared one by one, so it distinguishes only
/// the indexes: a new platform makes the images of the others neither stale nor different.
pub const PLATFORMS: &str = "docker.platforms";

/// The number of digits of a SHA-1 that are kept.
const DIGITS: usize = 10;

/// The digest of one input: the first ten digits of a SHA-1.
///
/// They are enough to detect a change, but too few to prove what the input was.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InputDigest([u8; DIGITS]);

impl InputDigest {
    fn of(bytes: &[u8]) -> Self {
        let mut digits = [b'0'; DIGITS];
        let digest = Sha1::digest(bytes);
        // Two digits per byte, so this cannot fail.
        _ = hex::encode_to_slice(&digest[..DIGITS / 2], &mut digits);
        Self(digits)
    }

    /// Returns the digest of an input that is a single string, as [`Recipe::add`] records it.
    pub fn of_text(text: &str) -> Self {
        Self::of(text.as_bytes())
    }

    /// Parses the output of [`InputDigest::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let digits: [u8; DIGITS] = text.as_bytes().try_into().ok()?;
        digits.into_iter().all(is_digit).then_some(Self(digits))
    }

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

/// Input digests by name; most names are the same in every recipe.
type Inputs = BTreeMap<Cow<'static, str>, InputDigest>;

/// Digests of the inputs of a build, by the manifest key that sets them.
///
/// `Display` gives the value of the label `x-platform.recipe`: JSON without spaces, sorted, so that equal inputs give
/// equal labels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recipe {
    /// Shared, because a plan contains the recipe of a service several times.
    shared: Arc<SharedInputs>,
}

/// The inputs, and what is derived from them.
#[derive(Debug, Clone, Default)]
struct SharedInputs {
    inputs: Inputs,
    /// Computed only once, because a plan uses it several times.
    identity: OnceLock<String>,
}

impl PartialEq for SharedInputs {
    fn eq(&self, other: &Self) -> bool {
        self.inputs == other.inputs
    }
}

impl Eq for SharedInputs {}

impl Recipe {
    /// Adds a single string as an input.
    pub fn add(&mut self, name: impl Into<Cow<'static, str>>, value: &str) {
        self.insert(name.into(), InputDigest::of(value.as_bytes()));
    }

    /// Adds a list as an input. The length of each item is hashed too, so different lists have different digests.
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

    /// Adds an input by its digest.
    pub fn set(&mut self, name: impl Into<Cow<'static, str>>, digest: InputDigest) {
        self.insert(name.into(), digest);
    }

    fn insert(&mut self, name: Cow<'static, str>, digest: InputDigest) {
        self.inputs_mut().insert(name, digest);
    }

    fn inputs_mut(&mut self) -> &mut Inputs {
        let shared = Arc::make_mut(&mut self.shared);
        shared.identity.take();
        &mut shared.inputs
    }

    /// Returns the recipe of the same build from a working copy instead of a commit.
    pub fn of_working_copy(mut self) -> Self {
        self.add(SOURCE, "working copy");
        self
    }

    /// Returns whether this is a build from a working copy.
    pub fn is_of_working_copy(&self) -> bool {
        self.shared.inputs.contains_key(SOURCE)
    }

    /// Returns the recipe without one input.
    pub fn without(&self, name: &str) -> Self {
        let mut recipe = self.clone();
        recipe.inputs_mut().remove(name);
        recipe
    }

    /// Returns the recipe of the same build without tests.
    pub fn without_tests(&self) -> Self {
        let mut recipe = self.clone();
        recipe.inputs_mut().retain(|name, _| !is_test_input(name));
        recipe
    }

    /// Returns the recipe of the image of one platform, which does not depend on the others.
    pub fn without_platforms(&self) -> Cow<'_, Self> {
        if self.input(PLATFORMS).is_some() {
            Cow::Owned(self.without(PLATFORMS))
        } else {
            Cow::Borrowed(self)
        }
    }

    /// Returns the inputs by name.
    pub fn inputs(&self) -> impl Iterator<Item = (&str, &InputDigest)> {
        self.shared
            .inputs
            .iter()
            .map(|(name, digest)| (name.as_ref(), digest))
    }

    /// Returns the digest of an input.
    pub fn input(&self, name: &str) -> Option<&InputDigest> {
        self.shared.inputs.get(name)
    }

    /// Returns a digest of the whole recipe.
    pub fn digest(&self) -> InputDigest {
        InputDigest::of(self.to_string().as_bytes())
    }

    /// Returns the digits that identify the recipe in a tag: the first 12 of the SHA-256 of its text.
    pub fn identity(&self) -> &str {
        self.shared.identity.get_or_init(|| {
            let mut digits = hex::encode(Sha256::digest(self.to_string()));
            digits.truncate(Tag::IDENTITY_DIGITS);
            digits
        })
    }

    /// Returns the changes since `earlier`, sorted by name.
    pub fn changes_since(&self, earlier: &Self) -> Vec<RecipeChange> {
        let (now, before) = (&self.shared.inputs, &earlier.shared.inputs);
        let names: BTreeSet<&Cow<'static, str>> = now.keys().chain(before.keys()).collect();
        let change = |name: &Cow<'static, str>| {
            let kind = match (before.get(name), now.get(name)) {
                (Some(before), Some(now)) if before == now => return None,
                (Some(_), Some(_)) => ChangeKind::Changed,
                (None, _) => ChangeKind::Added,
                (_, None) => ChangeKind::Removed,
            };
            Some(RecipeChange::new(name.as_ref(), kind))
        };
        names.into_iter().filter_map(change).collect()
    }
}

impl Recipe {
    /// Returns the changes since `earlier` that make an image stale; unless `is_tested`, without the inputs of tests.
    pub fn stale_inputs(&self, earlier: &Self, is_tested: bool) -> Vec<RecipeChange> {
        let mut changes = self.changes_since(earlier);
        changes.retain(|change| {
            change.name() != PLATFORMS && (is_tested || !is_test_input(change.name()))
        });
        changes
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = RecipeLabel {
            version: VERSION,
            inputs: &self.shared.inputs,
        };
        f.write_str(&serde_json::to_string(&label).map_err(|_| fmt::Error)?)
    }
}

/// The JSON value of the label.
#[derive(Serialize)]
struct RecipeLabel<'r> {
    version: u64,
    inputs: &'r Inputs,
}

write_as_text!(Recipe);
read_as_text!(Recipe);

impl FromStr for Recipe {
    type Err = InvalidRecipe;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = |reason: &str| InvalidRecipe::Malformed(reason.to_owned());
        let value: Value = serde_json::from_str(text).map_err(|_| malformed("not JSON"))?;
        match value.get("version").map(Value::as_u64) {
            Some(Some(VERSION)) => {}
            Some(Some(version)) if version > VERSION => {
                return Err(InvalidRecipe::NewerVersion(version));
            }
            Some(_) => return Err(malformed("invalid version")),
            None => return Err(malformed("missing version")),
        }
        let Some(Value::Object(members)) = value.get("inputs") else {
            return Err(malformed("missing inputs"));
        };
        let mut inputs = BTreeMap::new();
        for (name, digest) in members {
            let digest = digest.as_str().and_then(InputDigest::parse);
            let digest = digest
                .ok_or_else(|| malformed(&format!("invalid digest of `{}`", printable(name))))?;
            inputs.insert(name.clone().into(), digest);
        }
        Ok(Self {
            shared: Arc::new(SharedInputs {
                inputs,
                identity: OnceLock::new(),
            }),
        })
    }
}

/// Returns whether `--no-test` does without an input. The names of inputs are those of manifest keys; those of a
/// sidecar start with `build.` if scripts before the tests reach it.
pub fn is_test_input(name: &str) -> bool {
    const PREFIXES: [&str; 6] = [
        "scripts.test[",
        "scripts.test.",
        "scripts.verify[",
        "scripts.verify.",
        "sidecars.",
        "verify.",
    ];
    matches!(name, "scripts.test" | "scripts.verify")
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// The maximum length of a printed name: base images have long ones.
const LONGEST_NAME: usize = 300;

/// Escapes a name from a label for printing: labels are untrusted input.
pub(super) fn printable(name: &str) -> String {
    let start = name.chars().take(LONGEST_NAME);
    start.flat_map(char::escape_debug).collect()
}

/// A label that is not a valid recipe of this version.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidRecipe {
    /// It is malformed, or was written by another program.
    #[error("invalid label `x-platform.recipe`: {0}")]
    Malformed(String),
    /// It was written by a newer xp.
    #[error("its recipe has format version {0}, but this xp supports {VERSION}")]
    NewerVersion(u64),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::recipe::status::RecipeStatus;

    fn recipe(inputs: &[(&'static str, &str)]) -> Recipe {
        let mut recipe = Recipe::default();
        for (name, value) in inputs {
            recipe.add(*name, value);
        }
        recipe
    }

    /// Existing images have this label: changing the format would make all of them stale.
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
    fn inputs_of_tests_are_known_by_name() {
        let all = recipe(&[
            ("docker.file", "Dockerfile"),
            ("scripts.build", "make"),
            ("scripts.test", "make test"),
            ("scripts.test.inputs", "src"),
            ("scripts.verify", "./smoke"),
            ("sidecars.db.image", "postgres:16"),
            ("verify.env.X", "1"),
            ("build.sidecars.db.image", "postgres:16"),
            ("needs.db", "1"),
        ]);
        let left: Vec<String> = all
            .without_tests()
            .inputs()
            .map(|(name, _)| name.to_owned())
            .collect();
        let expected = [
            "build.sidecars.db.image",
            "docker.file",
            "needs.db",
            "scripts.build",
        ];
        assert_eq!(left, expected);
    }

    #[test]
    fn similar_lists_have_different_digests() {
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
    fn changes_are_listed_by_name() {
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
    fn a_working_copy_is_not_its_commit() {
        let commit = recipe(&[("a", "1")]);
        let local = commit.clone().of_working_copy();
        assert!(local.is_of_working_copy() && !commit.is_of_working_copy());
        let label = local.to_string();
        assert_eq!(label.parse::<Recipe>(), Ok(local));
        let recipe_status = RecipeStatus::of(Some(&label), &commit, true).unwrap();
        assert!(
            matches!(recipe_status, RecipeStatus::Stale(_)),
            "{recipe_status:?}"
        );
    }

    #[test]
    fn malformed_and_newer_labels_are_distinguished() {
        let error = |text: &str| text.parse::<Recipe>().unwrap_err();
        assert_eq!(
            error(r#"{"version":2,"inputs":[]}"#),
            InvalidRecipe::NewerVersion(2)
        );
        for (text, what) in [
            ("", "not JSON"),
            ("{", "not JSON"),
            ("[]", "missing version"),
            ("{}", "missing version"),
            (r#"{"version":"1"}"#, "invalid version"),
            (r#"{"version":0}"#, "invalid version"),
            (r#"{"version":1}"#, "missing inputs"),
            (
                r#"{"version":1,"inputs":{"a\u001b[31m":"xyz"}}"#,
                r"invalid digest of `a\u{1b}[31m`",
            ),
            (
                r#"{"version":1,"inputs":{"a":"DA39A3EE5E"}}"#,
                "invalid digest of `a`",
            ),
        ] {
            assert_eq!(
                error(text),
                InvalidRecipe::Malformed(what.to_owned()),
                "{text}"
            );
        }
    }
}
