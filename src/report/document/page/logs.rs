//! The logs, as collapsible sections.

use super::{Escaped, LogEnd, OnOneLine, RunReport, ansi, difference, log_id, put, shown, time};

/// Appends the ends of all logs.
pub fn logs(html: &mut String, report: &RunReport<'_>, logs: &[LogEnd]) {
    if logs.is_empty() {
        return;
    }
    put!(
        html,
        "<section id=\"logs\" aria-labelledby=\"h-logs\"><h2 id=\"h-logs\">Logs <small>{}</small></h2>\n",
        logs.len()
    );
    for log in logs {
        one(html, report, log);
    }
    html.push_str("</section>\n");
}

fn one(html: &mut String, report: &RunReport<'_>, log: &LogEnd) {
    let unit = &report.units[log.unit];
    let failed = unit
        .work
        .and_then(|work| work.failure.as_ref())
        .is_some_and(|failure| failure.phase == log.phase);
    put!(
        html,
        "<details class=\"log\" data-unit=\"{}\" data-result=\"{}\"><summary><b>{}</b><span>{}</span>",
        OnOneLine(unit.name),
        unit.status.as_str(),
        Escaped(unit.name),
        Escaped(&log.phase)
    );
    if failed {
        html.push_str("<span class=\"bad\">✕ failed</span>");
    }
    if let Some(work) = unit.work {
        let steps = work.steps.iter().filter(|step| step.phase == log.phase);
        let seconds = steps.map(|step| step.end.unwrap_or_else(|| report.end(work)) - step.start);
        put!(html, "<span class=\"soft\">{}</span>", time(seconds.sum()));
        if let Some(comparison) = report.history.phase(work, &log.phase) {
            let (words, class) = difference(&comparison);
            put!(html, "<span class=\"{class}\">{words}</span>");
        }
    }
    // A link to an element inside opens the section, even without the script.
    put!(
        html,
        "</summary><div id=\"{}\">",
        log_id(log.unit, &log.phase)
    );
    if log.omitted > 0 {
        put!(
            html,
            "<p>The first {} are omitted; the file has the full log.</p>",
            bytes(log.omitted)
        );
    }
    match &log.unreadable {
        Some(why) => {
            let why = Escaped(why);
            put!(html, "<p class=\"warn\">Cannot read the log: {why}</p>");
        }
        None if log.bytes.is_empty() => html.push_str("<p>No output.</p>"),
        None => {
            html.push_str("<pre tabindex=\"0\">");
            // HTML ignores the first newline after `<pre>`.
            html.push('\n');
            ansi::render(html, &log.bytes);
            html.push_str("</pre>");
        }
    }
    let file = shown(report, &log.file);
    put!(
        html,
        "<p><code>{}</code></p></div></details>\n",
        Escaped(&file)
    );
}

fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} bytes"),
        1024..1_048_576 => format!("{} KiB", count / 1024),
        _ => format!("{:.1} MiB", count as f64 / 1_048_576.0),
    }
}
