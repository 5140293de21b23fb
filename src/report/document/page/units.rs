//! The table of all units: what was done with each, why, and how long it took.

use super::{Escaped, LogEnd, OnOneLine, ReportedUnit, RunReport, difference, log_id, put, time};
use crate::timeline::Comparison;

/// The height of the small picture of earlier times.
const HEIGHT: f64 = 16.0;

/// Adds the table.
pub fn units(html: &mut String, report: &RunReport<'_>, logs: &[LogEnd]) {
    put!(
        html,
        "<section id=\"units\" aria-labelledby=\"h-units\"><h2 id=\"h-units\">Units <small>{}</small></h2>\n",
        report.units.len()
    );
    if report.units.is_empty() {
        html.push_str("<p class=\"soft\">The run ended before it was known what there is to do.</p></section>\n");
        return;
    }
    html.push_str(
        "<div class=\"table\" tabindex=\"0\" role=\"group\" aria-labelledby=\"h-units\"><table>\n<thead><tr>\
         <th scope=\"col\">Unit</th><th scope=\"col\">Result</th><th scope=\"col\">Time</th>\
         <th scope=\"col\">Beside earlier runs</th><th scope=\"col\">Why</th><th scope=\"col\">Commit, image</th>\
         <th scope=\"col\" class=\"logs\">Logs</th></tr></thead>\n<tbody>\n",
    );
    let mut logs = logs.iter().peekable();
    for (place, unit) in report.units.iter().enumerate() {
        let mut phases = Vec::new();
        while let Some(log) = logs.next_if(|log| log.unit == place) {
            phases.push(log.phase.as_str());
        }
        row(html, report, place, unit, &phases);
    }
    html.push_str("</tbody></table></div></section>\n");
}

fn row(
    html: &mut String,
    report: &RunReport<'_>,
    place: usize,
    unit: &ReportedUnit<'_>,
    phases: &[&str],
) {
    let standing = unit.standing;
    put!(
        html,
        "<tr id=\"unit-{place}\" data-unit=\"{}\" data-result=\"{}\"><th scope=\"row\">{}</th>\
         <td class=\"result {}\">{} {}</td>",
        OnOneLine(unit.name),
        standing.as_str(),
        Escaped(unit.name),
        standing.class(),
        unit.sign(),
        standing.as_str()
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
            if let Some(comparison) = report.history.unit(work) {
                beside(html, &comparison, seconds);
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
            log_id(place, phase),
            Escaped(phase)
        );
    }
    html.push_str("</td></tr>\n");
}

/// Adds a time beside the earlier ones: a picture and words.
fn beside(html: &mut String, comparison: &Comparison, seconds: f64) {
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

/// Adds the commit, or of a builder its content, which opens to the image and the inputs that changed.
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
