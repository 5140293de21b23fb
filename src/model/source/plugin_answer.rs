//! What an `scm` plugin is asked, and its answers.
//!
//! The answers are not trusted: the plugin is any image.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::{CommitId, RefName};

/// The maximum number of characters of an answer that an error shows.
const SHOWN: usize = 80;

/// The latest time, in seconds since 1970: the end of the year 9999.
const LATEST: i64 = 253_402_300_799;

/// A reference to resolve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginQuery {
    /// The id of the answer.
    pub id: String,
    /// The plugin's settings.
    pub with: Map<String, Value>,
    /// The reference; `None` for the default branch.
    pub reference: Option<String>,
}

/// A reference that a plugin has resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginReference {
    pub commit: CommitId,
    /// The branch, if the reference is one.
    pub branch: Option<RefName>,
    /// The time of the commit, in seconds since 1970.
    pub time: Option<i64>,
}

/// The answers by id; `None` if the repository lacks the reference.
pub type PluginAnswers = BTreeMap<String, Option<PluginReference>>;

/// An invalid answer of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidAnswer {
    /// It is not JSON, or has no answers.
    #[error("is not a JSON object with an answer for each id: {0}")]
    Malformed(String),
    #[error("has no answer for the id `{0}`")]
    Omitted(String),
    #[error("has an answer for the unknown id `{0}`")]
    Invented(String),
    #[error("has two answers for the id `{0}`")]
    Repeated(String),
    /// An answer that cannot be used.
    #[error("has an invalid answer for the id `{id}`: {problem}")]
    Invalid { id: String, problem: String },
}

/// Returns the content of `/config/resolve.json`.
pub fn resolve_config(queries: &[PluginQuery]) -> Vec<u8> {
    let queries = queries
        .iter()
        .map(|query| json!({"id": query.id, "with": query.with, "reference": query.reference}));
    let queries: Value = queries.collect();
    queries.to_string().into_bytes()
}

/// Returns the content of `/config/fetch.json`.
pub fn fetch_config(with: &Map<String, Value>, commit: CommitId) -> Vec<u8> {
    let config = json!({"with": with, "commit": commit});
    config.to_string().into_bytes()
}

/// What a plugin reports about a commit that it fetched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FetchedFacts {
    /// The time of the commit, in seconds since 1970.
    pub time: Option<i64>,
}

/// Parses `/run/fetched.json`.
///
/// # Errors
///
/// It is invalid: the message continues "the file …".
pub fn parse_facts(text: &[u8]) -> Result<FetchedFacts, String> {
    let facts: FetchedFacts = serde_json::from_slice(text)
        .map_err(|error| format!("is invalid: {}", shown(&error.to_string())))?;
    if let Some(time) = facts.time {
        check_time(time).map_err(|problem| format!("is invalid: {problem}"))?;
    }
    Ok(facts)
}

fn check_time(time: i64) -> Result<(), String> {
    if (0..=LATEST).contains(&time) {
        Ok(())
    } else {
        Err(format!("`time` must be the seconds since 1970, not {time}"))
    }
}

/// Parses `/out/resolved.json`.
///
/// # Errors
///
/// It is not JSON, does not have exactly one answer for each query, or an answer is invalid.
pub fn parse_answers(text: &[u8], queries: &[PluginQuery]) -> Result<PluginAnswers, InvalidAnswer> {
    let Entries(entries) = serde_json::from_slice(text)
        .map_err(|error| InvalidAnswer::Malformed(shown(&error.to_string())))?;
    let asked: BTreeSet<&str> = queries.iter().map(|query| query.id.as_str()).collect();
    let mut answers = PluginAnswers::new();
    for (id, value) in entries {
        if !asked.contains(id.as_str()) {
            return Err(InvalidAnswer::Invented(shown(&id)));
        }
        let answer = answer(value).map_err(|problem| InvalidAnswer::Invalid {
            id: id.clone(),
            problem,
        })?;
        if answers.insert(id.clone(), answer).is_some() {
            return Err(InvalidAnswer::Repeated(id));
        }
    }
    match asked.into_iter().find(|id| !answers.contains_key(*id)) {
        Some(id) => Err(InvalidAnswer::Omitted(id.to_owned())),
        None => Ok(answers),
    }
}

/// One answer. Unknown keys are errors, so that a misspelled one is noticed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    commit: Option<String>,
    branch: Option<String>,
    time: Option<i64>,
    missing: Option<bool>,
}

fn answer(value: Value) -> Result<Option<PluginReference>, String> {
    let answer: Answer =
        serde_json::from_value(value).map_err(|error| shown(&error.to_string()))?;
    let Some(commit) = answer.commit else {
        let is_missing = answer.missing == Some(true);
        return if is_missing && answer.branch.is_none() && answer.time.is_none() {
            Ok(None)
        } else {
            Err("it must have `commit`, or `missing: true` and nothing else".to_owned())
        };
    };
    if answer.missing.is_some() {
        return Err("it has both `commit` and `missing`".to_owned());
    }
    let commit = commit.parse().map_err(|_| {
        format!(
            "`commit` must be 40 hexadecimal digits, not `{}`",
            shown(&commit)
        )
    })?;
    let branch = answer.branch.map(|branch| {
        let invalid =
            |error: super::InvalidRefName| format!("`branch`: {}", shown(&error.to_string()));
        branch.parse().map_err(invalid)
    });
    if let Some(time) = answer.time {
        check_time(time)?;
    }
    Ok(Some(PluginReference {
        commit,
        branch: branch.transpose()?,
        time: answer.time,
    }))
}

/// Returns text of a plugin for an error: short, and without control characters.
fn shown(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(SHOWN)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

/// The entries of a JSON object in order, including duplicate keys.
struct Entries(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor;
        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(key) = map.next_key::<String>()? {
                    entries.push((key, map.next_value().map_err(A::Error::custom)?));
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(EntriesVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "1b1bd2d0a7a0d8f0d8f0d8f0d8f0d8f0d8f0d8ff";

    fn queries(ids: &[&str]) -> Vec<PluginQuery> {
        let query = |id: &&str| PluginQuery {
            id: (*id).to_owned(),
            with: Map::new(),
            reference: None,
        };
        ids.iter().map(query).collect()
    }

    #[test]
    fn answers_are_parsed() {
        let text = format!(
            r#"{{"b": {{"missing": true}}, "a": {{"commit": "{COMMIT}", "branch": "stable", "time": 7}}}}"#
        );
        let answers = parse_answers(text.as_bytes(), &queries(&["a", "b"])).unwrap();
        let a = answers["a"].as_ref().unwrap();
        assert_eq!(a.commit.to_string(), COMMIT);
        assert_eq!(a.branch.as_ref().map(RefName::as_str), Some("stable"));
        assert_eq!(a.time, Some(7));
        assert_eq!(answers["b"], None);
    }

    #[test]
    fn invalid_answers_are_rejected() {
        let commit = format!(r#""commit": "{COMMIT}""#);
        for (text, problem) in [
            (String::new(), "is not a JSON object with an answer for each id: EOF while parsing a value at line 1 column 0".to_owned()),
            ("[]".to_owned(), "is not a JSON object with an answer for each id: invalid type: sequence, expected an object at line 1 column 0".to_owned()),
            (format!(r#"{{"a": {{{commit}}}}} x"#), "is not a JSON object with an answer for each id: trailing characters at line 1 column 63".to_owned()),
            ("{}".to_owned(), "has no answer for the id `a`".to_owned()),
            (r#"{"a": {"missing": true}, "x\u001b": {}}"#.to_owned(), r"has an answer for the unknown id `x\u{1b}`".to_owned()),
            (r#"{"a": {"missing": true}, "a": {"missing": true}}"#.to_owned(), "has two answers for the id `a`".to_owned()),
            (r#"{"a": null}"#.to_owned(), invalid("invalid type: null, expected struct Answer")),
            (r#"{"a": {}}"#.to_owned(), invalid("it must have `commit`, or `missing: true` and nothing else")),
            (r#"{"a": {"missing": false}}"#.to_owned(), invalid("it must have `commit`, or `missing: true` and nothing else")),
            (r#"{"a": {"missing": true, "time": 1}}"#.to_owned(), invalid("it must have `commit`, or `missing: true` and nothing else")),
            (format!(r#"{{"a": {{{commit}, "missing": false}}}}"#), invalid("it has both `commit` and `missing`")),
            (format!(r#"{{"a": {{{commit}, "tag": "x"}}}}"#), invalid("unknown field `tag`, expected one of `commit`, `branch`, `time`, `missing`")),
            (r#"{"a": {"commit": "12ab"}}"#.to_owned(), invalid("`commit` must be 40 hexadecimal digits, not `12ab`")),
            (r#"{"a": {"commit": 12}}"#.to_owned(), invalid("invalid type: integer `12`, expected a string")),
            (format!(r#"{{"a": {{"commit": "{}"}}}}"#, "g".repeat(40)), invalid(&format!("`commit` must be 40 hexadecimal digits, not `{}`", "g".repeat(40)))),
            (format!(r#"{{"a": {{{commit}, "branch": "a b"}}}}"#), invalid("`branch`: invalid git reference `a b`: must not contain spaces, control characters or any …")),
            (format!(r#"{{"a": {{{commit}, "time": -1}}}}"#), invalid("`time` must be the seconds since 1970, not -1")),
            (format!(r#"{{"a": {{{commit}, "time": 1e400}}}}"#), "is not a JSON object with an answer for each id: number out of range at line 1 column 74".to_owned()),
        ] {
            let error = parse_answers(text.as_bytes(), &queries(&["a"])).unwrap_err();
            assert_eq!(error.to_string(), problem, "{text}");
        }
    }

    fn invalid(problem: &str) -> String {
        format!("has an invalid answer for the id `a`: {problem}")
    }

    #[test]
    fn damaged_answers_never_resolve_to_another_commit() {
        // Any change of a valid answer is an error, or still names only valid commits.
        let text = format!(
            r#"{{"a":{{"commit":"{COMMIT}","branch":"stable","time":7}},"b":{{"missing":true}}}}"#
        );
        let queries = queries(&["a", "b"]);
        let mut seed: u64 = 7;
        for _ in 0..20_000 {
            let mut bytes = text.clone().into_bytes();
            for _ in 0..3 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let position = (seed >> 33) as usize % bytes.len().max(1);
                if bytes.is_empty() {
                    break;
                }
                match seed >> 20 & 3 {
                    0 => bytes[position] = (seed >> 50) as u8,
                    1 => _ = bytes.remove(position),
                    2 => bytes.insert(position, bytes[(seed >> 40) as usize % bytes.len()]),
                    _ => bytes.truncate(position.max(1)),
                }
            }
            if let Ok(answers) = parse_answers(&bytes, &queries) {
                assert!(answers.keys().eq(["a", "b"]), "{answers:?}");
            }
        }
    }

    #[test]
    fn facts_of_a_commit_are_optional() {
        let parse = |text: &str| parse_facts(text.as_bytes());
        assert_eq!(parse("{}"), Ok(FetchedFacts::default()));
        assert_eq!(parse(r#"{"time": 5}"#), Ok(FetchedFacts { time: Some(5) }));
        for invalid in [
            "",
            "5",
            r#"{"time": "5"}"#,
            r#"{"time": -5}"#,
            r#"{"date": 5}"#,
        ] {
            assert!(parse(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn configurations_are_json() {
        let mut query = queries(&["a"]).remove(0);
        query.with.insert("url".to_owned(), Value::from("x"));
        let config = resolve_config(&[query.clone()]);
        assert_eq!(
            String::from_utf8(config).unwrap(),
            r#"[{"id":"a","with":{"url":"x"},"reference":null}]"#
        );
        let config = fetch_config(&query.with, COMMIT.parse().unwrap());
        assert_eq!(
            String::from_utf8(config).unwrap(),
            format!(r#"{{"with":{{"url":"x"}},"commit":"{COMMIT}"}}"#)
        );
    }
}
