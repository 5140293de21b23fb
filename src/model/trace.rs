//! The W3C trace context: the trace that a run belongs to, and the spans of its units and steps.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A `traceparent`: a trace, one of its spans, and flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceParent {
    /// 32 hexadecimal digits.
    pub trace: String,
    /// 16 hexadecimal digits.
    pub span: String,
    /// Two hexadecimal digits.
    flags: String,
}

/// The trace that a run belongs to
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunTrace {
    /// The trace and the span of the run, as in `TRACEPARENT`
    #[serde(with = "as_text")]
    #[schemars(with = "String")]
    pub traceparent: TraceParent,
    /// The span of the caller
    pub parent: String,
}

impl RunTrace {
    /// Returns the trace of a run with that span, called by `caller`.
    pub fn new(caller: &TraceParent, span: String) -> Self {
        Self {
            traceparent: TraceParent {
                span,
                ..caller.clone()
            },
            parent: caller.span.clone(),
        }
    }

    /// Returns the context of a step, for its script.
    pub fn step(&self, unit: &str, index: usize) -> TraceParent {
        TraceParent {
            span: step_span(&self.traceparent.span, unit, index),
            ..self.traceparent.clone()
        }
    }
}

/// Returns the span of a unit in a run with the span `run`.
pub fn unit_span(run: &str, unit: &str) -> String {
    derived(&[run, "unit", unit], 16)
}

/// Returns the span of a unit's step; the first step has the index 0.
pub fn step_span(run: &str, unit: &str, index: usize) -> String {
    derived(&[run, "step", unit, &index.to_string()], 16)
}

/// Returns hexadecimal digits that depend on all parts.
pub fn derived(parts: &[&str], digits: usize) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        // With its length, so that no two lists are the same.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut text = hex::encode(hash.finalize());
    text.truncate(digits);
    text
}

impl FromStr for TraceParent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || format!("invalid traceparent `{text}`");
        let is_hex = |part: &str, length: usize| {
            part.len() == length
                && part
                    .chars()
                    .all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
        };
        let is_zero = |part: &str| part.chars().all(|c| c == '0');
        let parts: Vec<&str> = text.trim().split('-').collect();
        let [version, trace, span, flags, more @ ..] = parts.as_slice() else {
            return Err(invalid());
        };
        // Later versions may have further parts.
        let is_version =
            is_hex(version, 2) && *version != "ff" && (*version != "00" || more.is_empty());
        let is_valid = is_version
            && is_hex(trace, 32)
            && !is_zero(trace)
            && is_hex(span, 16)
            && !is_zero(span)
            && is_hex(flags, 2);
        if !is_valid {
            return Err(invalid());
        }
        Ok(Self {
            trace: (*trace).to_owned(),
            span: (*span).to_owned(),
            flags: (*flags).to_owned(),
        })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{}", self.trace, self.span, self.flags)
    }
}

/// A `traceparent` as text in JSON.
mod as_text {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    use super::TraceParent;

    pub fn serialize<S: Serializer>(value: &TraceParent, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<TraceParent, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_parsed() {
        let parsed: TraceParent = VALID.parse().unwrap();
        assert_eq!(parsed.to_string(), VALID);
        let newer = format!("cc{}-what-the-future-brings", &VALID[2..]);
        assert_eq!(newer.parse::<TraceParent>().unwrap(), parsed);
        for invalid in [
            "",
            "00",
            &VALID[..54],
            &VALID.to_uppercase(),
            &format!("{VALID}-more"),
            &VALID.replacen("00-", "ff-", 1),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
        ] {
            assert!(invalid.parse::<TraceParent>().is_err(), "{invalid}");
        }
    }

    #[test]
    fn spans_depend_on_run_unit_and_step() {
        let caller: TraceParent = VALID.parse().unwrap();
        let trace = RunTrace::new(&caller, "0123456789abcdef".to_owned());
        assert_eq!(trace.parent, "00f067aa0ba902b7");
        let first = trace.step("a", 0);
        assert_eq!(first.trace, caller.trace);
        assert_eq!(first, trace.step("a", 0));
        let others = [
            trace.step("a", 1).span,
            trace.step("b", 0).span,
            unit_span(&trace.traceparent.span, "a"),
            RunTrace::new(&caller, "f".repeat(16)).step("a", 0).span,
        ];
        assert!(!others.contains(&first.span), "{others:?}");
        let json = serde_json::to_string(&trace).unwrap();
        assert_eq!(serde_json::from_str::<RunTrace>(&json).unwrap(), trace);
    }
}
