//! `TRACEPARENT`, and `xp report --format otlp` as OpenTelemetry's own protocol buffers read it.

use serde_json::Value;

use crate::app::{App, build_keys};
use crate::case::Case;
use crate::context::Context;
use crate::language_server::tool;
use crate::services::Services;

pub const CASES: &[Case] = cases![
    scripts_and_report_are_in_the_callers_trace,
    a_run_without_a_caller_is_its_own_trace,
    failures_are_in_the_trace,
];

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A run's spans.
struct Trace(Value);

impl Trace {
    /// Exports the last run, and reads it as a collector does.
    #[track_caller]
    fn of(t: &Context) -> Self {
        // A collector accepts hexadecimal ids, and these classes base64. Unknown fields are errors.
        const SCRIPT: &str = r#"
import base64, json, re, sys
sys.path.insert(0, sys.argv[1])
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status
lines = open('trace.json').read().splitlines()
assert len(lines) == 1, len(lines)
request = json.loads(lines[0])
for resource in request['resourceSpans']:
    for scope in resource['scopeSpans']:
        for span in scope['spans']:
            for key, length in (('traceId', 32), ('spanId', 16), ('parentSpanId', 16)):
                if key in span:
                    assert re.fullmatch('[0-9a-f]{%d}' % length, span[key]), span
                    span[key] = base64.b64encode(bytes.fromhex(span[key])).decode()
            for key in ('startTimeUnixNano', 'endTimeUnixNano'):
                assert isinstance(span[key], str), span
parsed = ParseDict(request, ExportTraceServiceRequest())
def texts(attributes):
    return {it.key: it.value.string_value for it in attributes}
found = []
for resource in parsed.resource_spans:
    for scope in resource.scope_spans:
        for span in scope.spans:
            assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano
            found.append({
                'service': texts(resource.resource.attributes)['service.name'],
                'name': span.name, 'trace': span.trace_id.hex(), 'span': span.span_id.hex(),
                'parent': span.parent_span_id.hex(), 'status': Status.StatusCode.Name(span.status.code),
                'message': span.status.message, 'start': span.start_time_unix_nano,
                'end': span.end_time_unix_nano, 'attributes': texts(span.attributes)})
assert len({it['span'] for it in found}) == len(found)
assert len({it['trace'] for it in found}) == 1
print(json.dumps(found))
"#;
        t.xp(["report", "--format", "otlp", "-o", "trace.json"])
            .success();
        let package = tool("python/google/protobuf/__init__.py");
        let tools = package.ancestors().nth(3).expect("the folder of packages");
        let tools = tools.display().to_string();
        let read = t.program("python3", ["-c", SCRIPT, &tools]).success();
        Self(serde_json::from_str(&read.stdout).expect("JSON"))
    }

    /// Returns the span with that name.
    #[track_caller]
    fn span(&self, name: &str) -> &Value {
        let mut spans = self.0.as_array().expect("spans").iter();
        let span = spans.find(|span| span["name"] == name);
        span.unwrap_or_else(|| panic!("{name}: {:#}", self.0))
    }

    fn text(&self, name: &str, key: &str) -> String {
        let value = self.span(name)[key].as_str();
        value.expect("a text").to_owned()
    }
}

fn scripts_and_report_are_in_the_callers_trace(t: &Context) {
    let script = "test -n \"$TRACEPARENT\"; echo \"context=$TRACEPARENT\"";
    let keys = format!(
        "{}\n  test:\n    - {script:?}\n",
        build_keys(t, "", &[script, script])
    );
    let app = App::new(t, &[], &keys);
    app.build().env("TRACEPARENT", TRACEPARENT).success();
    let trace = Trace::of(t);
    let run = trace.span("xp build");
    assert_eq!(run["trace"], TRACE);
    assert_eq!(run["parent"], "00f067aa0ba902b7");
    assert_eq!(run["service"], "xp");
    assert_eq!(run["status"], "STATUS_CODE_OK");
    let unit = trace.span("app");
    assert_eq!(unit["parent"], run["span"]);
    assert_eq!(
        unit["attributes"]["vcs.ref.head.revision"],
        app.repository.head()
    );
    assert_eq!(
        unit["attributes"]["container.image.name"],
        app.image_of_head()
    );
    assert_eq!(trace.span("app image")["parent"], unit["span"]);
    assert!(unit["start"].as_u64() >= run["start"].as_u64());
    assert!(unit["end"].as_u64() <= run["end"].as_u64());
    // Each script sees the span of its own step.
    for phase in ["build", "test"] {
        let log = String::from_utf8(app.log(1, phase)).expect("text");
        let printed = log.lines().filter_map(|line| line.strip_prefix("context="));
        let spans = trace.0.as_array().expect("spans").iter();
        let steps = spans.filter(|span| span["name"] == format!("app {phase}"));
        let expected: Vec<String> = steps
            .map(|span| format!("00-{TRACE}-{}-01", span["span"].as_str().expect("an id")))
            .collect();
        assert_eq!(printed.collect::<Vec<_>>(), expected, "{phase}");
    }
    // It is not an input, and does not appear in the image.
    let other = TRACEPARENT.replace("4bf", "fb4");
    app.build()
        .env("TRACEPARENT", other)
        .success()
        .does_not_contain("docker build");
    let image = t.engine().image(&app.image_of_head()).expect("the image");
    assert!(!image.to_string().contains(TRACE));
    // Another run in the same trace has other spans.
    app.build()
        .arg("--force")
        .env("TRACEPARENT", TRACEPARENT)
        .success();
    let again = Trace::of(t);
    assert_eq!(again.span("app")["trace"], TRACE);
    assert_ne!(
        again.text("app build", "span"),
        trace.text("app build", "span")
    );
    // The manifest's own value takes precedence.
    app.set_scripts("env: {TRACEPARENT: own}", &["test \"$TRACEPARENT\" = own"]);
    app.build().env("TRACEPARENT", TRACEPARENT).success();
}

fn a_run_without_a_caller_is_its_own_trace(t: &Context) {
    let app = App::with_scripts(t, "", &["test -z \"${TRACEPARENT+set}\""]);
    app.build().success();
    let first = Trace::of(t);
    let run = first.span("xp build");
    assert_eq!(run["parent"], "");
    assert_eq!(first.text("app", "parent"), first.text("xp build", "span"));
    // A run always has the same trace, and another run another one.
    assert_eq!(Trace::of(t).0, first.0);
    // An invalid context starts a new trace.
    app.build()
        .arg("--force")
        .env("TRACEPARENT", "00-nothing")
        .success();
    let second = Trace::of(t);
    let name = "xp build --force";
    assert_ne!(second.text(name, "trace"), first.text("xp build", "trace"));
    let printed = t.xp(["report", "--format", "otlp"]).success();
    assert_eq!(printed.stdout, t.read("trace.json"));
    // Only an earlier trace is overwritten.
    t.write("trace.json", "{\"mine\": 1}");
    t.xp(["report", "--format", "otlp", "-o", "trace.json"])
        .failure(2);
}

fn failures_are_in_the_trace(t: &Context) {
    let services = Services::new(t, &["base", "top"]);
    services.manifest(&[
        ("base", services.scripts("exit 3")),
        ("top", "needs: [base]".to_owned()),
    ]);
    t.xp(["build"]).failure(1);
    let trace = Trace::of(t);
    let run = trace.span("xp build");
    assert_eq!(run["status"], "STATUS_CODE_ERROR");
    assert_eq!(run["message"], "failed: base");
    assert_eq!(run["attributes"]["xp.exit_code"], "1");
    for name in ["base", "base build"] {
        let span = trace.span(name);
        assert_eq!(span["status"], "STATUS_CODE_ERROR", "{span}");
        assert!(trace.text(name, "message").contains('3'), "{span}");
    }
    assert_eq!(trace.span("base container")["status"], "STATUS_CODE_OK");
    assert_eq!(trace.span("top")["attributes"]["xp.result"], "not started");
}
