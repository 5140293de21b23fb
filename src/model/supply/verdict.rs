//! The verdict on an image: from its signatures and its provenance.

use std::fmt;

use super::{ResourceDescriptor, Statement};
use crate::base::escape::plain;
use crate::model::image::Digest;
use crate::model::source::CommitId;

/// Why a result cannot be known: a registry did not respond, or a key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownCause {
    pub why: String,
    pub hints: Vec<String>,
}

/// The result for one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    Verified,
    /// It needs neither a signature nor provenance.
    NotRequired,
    /// The registry does not have the image.
    Missing,
    Unsigned,
    /// It has signatures, but none by the key.
    WrongKey,
    /// The key signed another image.
    WrongDigest(Digest),
    NoProvenance,
    /// It has provenance, which is not valid for the image.
    WrongProvenance(String),
    /// It cannot be known.
    Unknown(UnknownCause),
}

impl Finding {
    /// Returns whether the image may be used.
    pub const fn is_accepted(&self) -> bool {
        matches!(self, Self::Verified | Self::NotRequired)
    }

    /// Returns the name in JSON output.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::NotRequired => "not-required",
            Self::Missing => "missing",
            Self::Unsigned => "unsigned",
            Self::WrongKey => "wrong-key",
            Self::WrongDigest(_) => "wrong-digest",
            Self::NoProvenance => "no-provenance",
            Self::WrongProvenance(_) => "wrong-provenance",
            Self::Unknown(_) => "unknown",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verified => f.write_str("verified"),
            Self::NotRequired => f.write_str("nothing is required"),
            Self::Missing => f.write_str("not in the registry"),
            Self::Unsigned => f.write_str("unsigned"),
            Self::WrongKey => f.write_str("signed with another key"),
            Self::WrongDigest(digest) => write!(f, "its signature is for another image, {digest}"),
            Self::NoProvenance => f.write_str("no provenance"),
            Self::WrongProvenance(why) => write!(f, "wrong provenance: {why}"),
            Self::Unknown(cause) => write!(f, "unknown: {}", cause.why),
        }
    }
}

/// A signature that is attached to an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureCandidate {
    /// The image that it is for; `None` if it cannot be read.
    pub digest: Option<Digest>,
    /// Whether the key made it.
    pub is_by_key: bool,
}

/// Judges the signatures of an image: one that is valid is enough.
pub fn judge_signature(digest: &Digest, signatures: &[SignatureCandidate]) -> Finding {
    let by_key = || signatures.iter().filter(|signature| signature.is_by_key);
    if by_key().any(|signature| signature.digest.as_ref() == Some(digest)) {
        return Finding::Verified;
    }
    if let Some(other) = by_key().find_map(|signature| signature.digest.clone()) {
        return Finding::WrongDigest(other);
    }
    if signatures.is_empty() {
        Finding::Unsigned
    } else {
        Finding::WrongKey
    }
}

/// Provenance that is attached to an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenanceCandidate {
    pub statement: Statement,
    /// Whether the key signed it; `None` if no signature is required.
    pub is_by_key: Option<bool>,
}

/// What an image must have been built from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    pub commit: CommitId,
    /// The URI of the repository, without a reference.
    pub source: String,
}

/// Judges the provenance of an image: one statement that is consistent with it is enough. Statements of other tools do
/// not count.
pub fn judge_provenance(
    digest: &Digest,
    expected: &Expected,
    candidates: &[ProvenanceCandidate],
) -> Finding {
    let mut problem = None;
    for candidate in candidates.iter().filter(|it| it.statement.is_of_xp()) {
        match contradiction(digest, expected, candidate) {
            None => return Finding::Verified,
            Some(found) => problem = Some(found),
        }
    }
    problem.map_or(Finding::NoProvenance, Finding::WrongProvenance)
}

/// Returns what is wrong with provenance.
fn contradiction(
    digest: &Digest,
    expected: &Expected,
    candidate: &ProvenanceCandidate,
) -> Option<String> {
    let statement = &candidate.statement;
    if candidate.is_by_key == Some(false) {
        return Some("not signed with the key".to_owned());
    }
    if !statement.is_about(digest) {
        return Some("it is about another image".to_owned());
    }
    let Some(source) = statement.source() else {
        return Some("it names no source".to_owned());
    };
    let commit = commit_of(source);
    if commit != Some(expected.commit.to_string().as_str()) {
        return Some(format!(
            "it names the commit {}, not {}",
            plain(commit.unwrap_or("-")),
            expected.commit
        ));
    }
    let uri = source.uri.as_deref().unwrap_or_default();
    let is_same = uri
        .strip_prefix(expected.source.as_str())
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('@'));
    (!is_same).then(|| {
        format!(
            "it names the repository {}, not {}",
            plain(uri),
            expected.source
        )
    })
}

/// Returns the commit of a source.
fn commit_of(source: &ResourceDescriptor) -> Option<&str> {
    let digests = &source.digest;
    let commit = digests
        .get("gitCommit")
        .or_else(|| digests.get("scmCommit"));
    commit.map(String::as_str)
}
