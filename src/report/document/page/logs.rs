//! The logs, as collapsible sections.

use maud::{Markup, html};

use super::{LogEnd, RunReport, ansi, difference, log_id, section, shown, time};
use crate::base::units::disk_size;

/// Returns the ends of all logs.
pub fn logs(report: &RunReport<'_>, logs: &[LogEnd]) -> Markup {
    let content = html! { @for log in logs { (one(report, log)) } };
    section("logs", "Logs", Some(logs.len()), &content)
}

fn one(report: &RunReport<'_>, log: &LogEnd) -> Markup {
    let unit = &report.units[log.unit];
    let failed = unit
        .work
        .and_then(|work| work.failure.as_ref())
        .is_some_and(|failure| failure.log_name() == log.phase);
    html! {
        details.log data-unit=(unit.name) data-result=(unit.status.as_str()) {
            summary {
                b { (unit.name) }
                span { (log.phase) }
                @if failed { span.bad { "✕ failed" } }
                @if let Some(work) = unit.work {
                    @let steps = work.steps.iter().filter(|step| step.phase == log.phase);
                    @let of_steps = steps.map(|step| (step.start, step.end));
                    @let sidecars = work.sidecars.iter().filter(|it| it.log == log.phase);
                    @let spans = of_steps.chain(sidecars.map(|it| (it.start, it.end)));
                    @let seconds = spans.map(|(start, end)| end.unwrap_or_else(|| report.end(work)) - start);
                    span.soft { (time(seconds.sum())) }
                    @if let Some(comparison) = report.history.phase(work, &log.phase) {
                        @let (words, class) = difference(&comparison);
                        span class=(class) { (words) }
                    }
                }
            }
            // A link to an element inside opens the section, even without the script.
            div id=(log_id(log.unit, &log.phase)) {
                @if log.omitted > 0 {
                    p { "The first " (disk_size(log.omitted)) " are omitted; the file has the full log." }
                }
                @if let Some(why) = &log.unreadable {
                    p.warn { "Cannot read the log: " (why) }
                } @else if log.bytes.is_empty() {
                    p { "No output." }
                } @else {
                    // HTML ignores the first newline after `<pre>`.
                    pre tabindex="0" { "\n" (ansi::render(&log.bytes)) }
                }
                p { code { (shown(report, &log.file)) } }
            }
        }
    }
}
