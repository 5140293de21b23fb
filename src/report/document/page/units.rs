//! The table of units: result, duration, reason, image and logs.

use super::{Escaped, LogEnd, OnOneLine, ReportedUnit, RunReport, difference, log_id, put, time};
use crate::model::timeline::Comparison;

/// The height of the sparkline of earlier durations.
const HEIGHT: f64 = 16.0;

/// Appends the table.
pub fn units(html: &mut String, report: &RunReport<'_>, logs: &[LogEnd]) {
    put!(
        html,
        "<section id=\"units\" aria-labelledby=\"h-units\"><h2 id=\"h-units\">Units <small>{}</small></h2>\n",
        report.units.len()
    );
    if report.units.is_empty() {
        html.push_str("<p class=\"soft\">The run ended before its plan was known.</p></section>\n");
        return;
    }
    html.push_str(
        "<div class=\"table\" tabindex=\"0\" role=\"group\" aria-labelledby=\"h-units\"><table>\n<thead><tr>\
         <th scope=\"col\">Unit</th><th scope=\"col\">Result</th><th scope=\"col\">Time</th>\
         <th scope=\"col\">Compared to earlier runs</th><th scope=\"col\">Why</th><th scope=\"col\">Commit, image</th>\
         <th scope=\"col\" class=\"logs\">Logs</th></tr></thead>\n<tbody>\n",
    );
    let mut logs = logs.iter().peekable();
    for (index, unit) in report.units.iter().enumerate() {
        let mut phases = Vec::new();
        while let Some(log) = logs.next_if(|log| log.unit == index) {
            phases.push(log.phase.as_str());
        }
        row(html, report, index, unit, &phases);
    }
    html.push_str("</tbody></table></div></section>\n");
}

fn row(
    html: &mut String,
    report: &RunReport<'_>,
    index: usize,
    unit: &ReportedUnit<'_>,
    phases: &[&str],
) {
    let status = unit.status;
    put!(
        html,
        "<tr id=\"unit-{index}\" data-unit=\"{}\" data-result=\"{}\"><th scope=\"row\">{}</th>\
         <td class=\"result {}\">{} {}</td>",
        OnOneLine(unit.name),
        status.as_str(),
        Escaped(unit.name),
        status.class(),
        unit.sign(),
        status.as_str()
    );
    let work = unit.work.filter(|work| !work.steps.is_empty());
    match work {
        None => html.push_str("<td class=\"time soft\">–</td><td></td>"),
        Some(work) => {
            let seconds = report.end(work) - work.start;
            put!(
                html,
                "<td class=\"time\">{}</td><td class=\"usual\">",
                time(seconds)
            );
            if let Some(earlier) = report.history.unit(work) {
                comparison(html, &earlier, seconds);
            }
            html.push_str("</td>");
        }
    }
    put!(
        html,
        "<td class=\"why\">{}</td><td class=\"image\">",
        Escaped(&unit.why())
    );
    image(html, unit);
    html.push_str("</td><td class=\"logs\">");
    for phase in phases {
        put!(
            html,
            "<a href=\"#{}\">{}</a>",
            log_id(index, phase),
            Escaped(phase)
        );
    }
    html.push_str("</td></tr>\n");
}

/// Appends the comparison with earlier durations: a sparkline and text.
fn comparison(html: &mut String, comparison: &Comparison, seconds: f64) {
    let times: Vec<f64> = comparison
        .earlier
        .iter()
        .copied()
        .chain([seconds])
        .collect();
    let longest = times.iter().copied().fold(0.001, f64::max);
    put!(
        html,
        "<svg class=\"spark\" viewBox=\"0 0 {} {HEIGHT}\" aria-hidden=\"true\">",
        times.len() * 5
    );
    for (index, seconds) in times.iter().enumerate() {
        let height = (seconds / longest * HEIGHT).max(1.0);
        let now = if index + 1 == times.len() {
            " class=\"now\""
        } else {
            ""
        };
        put!(
            html,
            "<rect{now} x=\"{}\" y=\"{:.1}\" width=\"4\" height=\"{height:.1}\"/>",
            index * 5,
            HEIGHT - height
        );
    }
    let (words, class) = difference(comparison);
    let count = comparison.earlier.len();
    put!(
        html,
        "</svg><span class=\"{class}\" title=\"usually {}, the median of {count}\">{words}</span>",
        time(comparison.usual)
    );
}

/// Appends the commit, or the tag of a builder, with the image and the changed inputs as details.
fn image(html: &mut String, unit: &ReportedUnit<'_>) {
    let Some(plan) = unit.plan else { return };
    let tag = plan.image.rsplit(':').next().unwrap_or_default();
    let short: String = plan
        .commit
        .as_deref()
        .unwrap_or(tag)
        .chars()
        .take(8)
        .collect();
    put!(
        html,
        "<details><summary><code>{}</code></summary><dl><dt>image</dt><dd><code>{}</code></dd>",
        Escaped(&short),
        Escaped(&plan.image)
    );
    if let Some(reference) = &plan.reference {
        let origin = plan.origin.as_deref().unwrap_or_default();
        put!(
            html,
            "<dt>reference</dt><dd>{} <span class=\"soft\">{}</span></dd>",
            Escaped(reference),
            Escaped(origin)
        );
    }
    for change in &plan.changes {
        put!(
            html,
            "<dt>{}</dt><dd>{}</dd>",
            Escaped(&change.input),
            Escaped(&change.change)
        );
    }
    html.push_str("</dl></details>");
}
