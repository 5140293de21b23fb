//! A run as an OpenTelemetry trace: an `ExportTraceServiceRequest` in OTLP's JSON encoding.
//!
//! In that encoding, unlike in the usual one of protocol buffers, ids are hexadecimal.

use std::time::Duration;

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::status_text::UnitStatus;
use super::{ReportedUnit, RunReport, RunState};
use crate::model::event::Outcome;
use crate::model::record::{StepRecord, UnitRecord};
use crate::model::trace::{derived, step_span, unit_span};

/// The kind of a span that is neither a request nor a response.
const INTERNAL: u64 = 1;

/// The codes of a span's status.
const OK: u64 = 1;
const ERROR: u64 = 2;

/// Returns the run as JSON, on one line: collectors also read files with a request per line.
pub fn otlp(report: &RunReport<'_>) -> String {
    let trace = TraceOfRun::new(report);
    let mut spans = vec![trace.run()];
    for unit in &report.units {
        // Units without work have no time.
        let is_worked =
            |work: &&UnitRecord| !work.steps.is_empty() || work.outcome != Some(Outcome::Done);
        if let Some(work) = unit.work.filter(is_worked) {
            spans.extend(trace.unit(unit, work));
        }
    }
    let version = &report.record.xp;
    let resource = attributes([
        ("service.name", Some("xp")),
        ("service.version", Some(version)),
    ]);
    let scope = json!({"name": "xp", "version": version});
    let request = json!({
        "resourceSpans": [{
            "resource": {"attributes": resource},
            "scopeSpans": [{"scope": scope, "spans": spans}],
        }]
    });
    format!("{request}\n")
}

struct TraceOfRun<'r> {
    report: &'r RunReport<'r>,
    trace: String,
    /// The span of the run.
    span: String,
    /// The span of the caller, if there is one.
    parent: Option<String>,
    start: OffsetDateTime,
}

impl<'r> TraceOfRun<'r> {
    fn new(report: &'r RunReport<'r>) -> Self {
        let record = report.record;
        let start = OffsetDateTime::parse(&record.time, &Rfc3339);
        let (trace, span, parent) = match &record.trace {
            Some(trace) => {
                let own = trace.traceparent.clone();
                (own.trace, own.span, Some(trace.parent.clone()))
            }
            // The times, in microseconds, differ between runs.
            None => {
                let stages = record.stages.iter();
                let times: Vec<String> = stages.map(|stage| stage.start.to_string()).collect();
                let times = times.join(" ");
                let parts = [&record.time, &record.command, &record.manifest, &times];
                let parts = parts.map(String::as_str);
                (derived(&parts, 32), derived(&parts, 16), None)
            }
        };
        Self {
            report,
            trace,
            span,
            parent,
            start: start.unwrap_or(OffsetDateTime::UNIX_EPOCH),
        }
    }

    fn run(&self) -> Value {
        let record = self.report.record;
        let status = match self.report.state {
            RunState::Failed => {
                let failed: Vec<&str> = record.failed().map(|unit| unit.name.as_str()).collect();
                let failed = format!("failed: {}", failed.join(", "));
                status(ERROR, Some(record.message.as_ref().unwrap_or(&failed)))
            }
            RunState::Done | RunState::NothingToDo => status(OK, None),
            _ => json!({}),
        };
        let exit = record.exit.map(|exit| exit.to_string());
        let attributes = attributes([
            ("process.command_line", Some(record.command.as_str())),
            ("xp.manifest", Some(record.manifest.as_str())),
            ("xp.exit_code", exit.as_deref()),
        ]);
        let end = self.report.timeline.end;
        let parent = self.parent.as_deref();
        let name = record.command.as_str();
        self.span((&self.span, parent), name, (0.0, end), attributes, status)
    }

    /// Returns the spans of a unit and its steps.
    fn unit(&self, unit: &ReportedUnit<'_>, work: &UnitRecord) -> Vec<Value> {
        let end = self.report.end(work);
        let span = unit_span(&self.span, unit.name);
        let failure = work.failure.as_ref();
        let status_of_unit = match unit.status {
            UnitStatus::Failed => status(ERROR, failure.map(|it| it.message.as_str())),
            _ if work.outcome == Some(Outcome::Done) => status(OK, None),
            _ => json!({}),
        };
        let plan = unit.plan;
        let image = plan.map(|plan| plan.image.as_str());
        let attributes_of_unit = attributes([
            ("xp.unit", Some(unit.name)),
            ("xp.result", Some(unit.status.as_str())),
            ("xp.reason", plan.map(|plan| plan.reason.as_str())),
            (
                "vcs.ref.head.revision",
                plan.and_then(|plan| plan.commit.as_deref()),
            ),
            (
                "vcs.ref.head.name",
                plan.and_then(|plan| plan.reference.as_deref()),
            ),
            ("container.image.name", image),
        ]);
        let mut spans = vec![self.span(
            (&span, Some(&self.span)),
            unit.name,
            (work.start, end),
            attributes_of_unit,
            status_of_unit,
        )];
        for (index, step) in work.steps.iter().enumerate() {
            let is_last = index + 1 == work.steps.len();
            let failure = failure.filter(|it| is_last && it.phase.as_str() == step.phase);
            spans.push(self.step(unit.name, &span, work, (index, step), |is_done| {
                match (is_done, failure) {
                    (true, _) => status(OK, None),
                    (false, Some(failure)) => status(ERROR, Some(&failure.message)),
                    (false, None) => json!({}),
                }
            }));
        }
        spans
    }

    fn step(
        &self,
        unit: &str,
        parent: &str,
        work: &UnitRecord,
        (index, step): (usize, &StepRecord),
        status: impl Fn(bool) -> Value,
    ) -> Value {
        let span = step_span(&self.span, unit, index);
        let end = step.end.unwrap_or_else(|| self.report.end(work));
        let attributes = attributes([
            ("xp.unit", Some(unit)),
            ("xp.phase", Some(step.phase.as_str())),
            ("xp.step", Some(step.title.as_str())),
        ]);
        let name = format!("{unit} {}", step.phase);
        let times = (step.start, end);
        self.span(
            (&span, Some(parent)),
            &name,
            times,
            attributes,
            status(step.done),
        )
    }

    fn span(
        &self,
        (id, parent): (&str, Option<&str>),
        name: &str,
        (start, end): (f64, f64),
        attributes: Vec<Value>,
        status: Value,
    ) -> Value {
        let mut span = Map::new();
        let mut set = |key: &str, value: Value| span.insert(key.to_owned(), value);
        set("traceId", json!(self.trace));
        set("spanId", json!(id));
        if let Some(parent) = parent {
            set("parentSpanId", json!(parent));
        }
        set("name", json!(name));
        set("kind", json!(INTERNAL));
        set("startTimeUnixNano", json!(self.nanos(start)));
        set("endTimeUnixNano", json!(self.nanos(end.max(start))));
        set("attributes", json!(attributes));
        set("status", status);
        Value::Object(span)
    }

    /// Returns a time in nanoseconds since 1970: a string, because JSON's numbers are not exact.
    fn nanos(&self, seconds: f64) -> String {
        let later = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        let nanos = self.start.unix_timestamp_nanos() + later.as_nanos().cast_signed();
        nanos.max(0).to_string()
    }
}

/// Returns the attributes that have a value.
fn attributes<const N: usize>(values: [(&str, Option<&str>); N]) -> Vec<Value> {
    let values = values.into_iter();
    let values = values.filter_map(|(key, value)| Some((key, value.filter(|it| !it.is_empty())?)));
    let attributes =
        values.map(|(key, value)| json!({"key": key, "value": {"stringValue": value}}));
    attributes.collect()
}

fn status(code: u64, message: Option<&str>) -> Value {
    match message {
        Some(message) => json!({"code": code, "message": message}),
        None => json!({"code": code}),
    }
}
