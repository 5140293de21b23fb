//! The page of a run: one file of HTML that needs no network.
//!
//! Its policy allows nothing but its own style and script, each by its digest, so that not even a mistake
//! in escaping could load or run anything. All that matters works without the script.

mod ansi;
mod chart;
mod ends;
mod failures;
mod header;
mod logs;
mod units;

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};

use super::escape::{Escaped, OnOneLine, put};
use super::{ReportedUnit, RunReport};
use crate::report::text::elapsed;
use crate::timeline::Comparison;
use ends::LogEnd;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Returns the page.
pub fn page(report: &RunReport<'_>) -> String {
    let logs = ends::read(report);
    let mut html = format!("{}<html lang=\"en\">\n", super::HTML_START);
    head(&mut html, report);
    html.push_str("<body>\n");
    header::header(&mut html, report);
    tools(&mut html, report, &logs);
    html.push_str("<main>\n");
    failures::failures(&mut html, report, &logs);
    chart::chart(&mut html, report, &logs);
    units::units(&mut html, report, &logs);
    logs::logs(&mut html, report, &logs);
    notes(&mut html, report);
    html.push_str("</main>\n");
    put!(
        &mut html,
        "<footer>Made by xp {} from {}</footer>\n<div id=\"tip\" role=\"tooltip\" hidden></div>\n",
        env!("CARGO_PKG_VERSION"),
        Escaped(&report.run.record_file().display().to_string())
    );
    put!(&mut html, "<script>{SCRIPT}</script>\n</body>\n</html>\n");
    html
}

fn head(html: &mut String, report: &RunReport<'_>) {
    let digest = |text: &str| BASE64_STANDARD.encode(Sha256::digest(text));
    // The places of bars are styles of their elements, which have no digest.
    put!(
        html,
        "<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src-elem 'sha256-{}'; style-src-attr 'unsafe-inline'; script-src 'sha256-{}'; \
         base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n",
        digest(STYLE),
        digest(SCRIPT)
    );
    put!(
        html,
        "<title>{}: {} (run {})</title>\n<style>{STYLE}</style>\n</head>\n",
        report.state.as_str(),
        Escaped(&report.record.command),
        report.run.number
    );
}

/// The links to the page's parts, and what the script adds.
fn tools(html: &mut String, report: &RunReport<'_>, logs: &[LogEnd]) {
    html.push_str("<div class=\"tools\"><nav aria-label=\"Parts of the page\">");
    let links = [
        ("failures", "Failures", failures::is_needed(report)),
        ("timeline", "Timeline", chart::is_needed(report)),
        ("units", "Units", true),
        ("logs", "Logs", !logs.is_empty()),
        ("notes", "Notes", !report.record.notes.is_empty()),
    ];
    for (id, name, _) in links.iter().filter(|link| link.2) {
        put!(html, "<a href=\"#{id}\">{name}</a>");
    }
    html.push_str(
        "</nav><span class=\"script\" hidden>\
         <input id=\"filter\" type=\"search\" placeholder=\"Filter by name\" aria-label=\"Filter units by name\"> \
         <select id=\"result\" aria-label=\"Filter units by result\"><option value=\"\">every result</option>",
    );
    let mut standings: Vec<_> = report.units.iter().map(|unit| unit.standing).collect();
    standings.sort_unstable();
    standings.dedup();
    for standing in standings {
        put!(html, "<option>{}</option>", standing.as_str());
    }
    html.push_str(
        "</select> <output id=\"shown\" for=\"filter result\" aria-live=\"polite\"></output></span></div>\n",
    );
}

fn notes(html: &mut String, report: &RunReport<'_>) {
    if report.record.notes.is_empty() {
        return;
    }
    html.push_str(
        "<section id=\"notes\" aria-labelledby=\"h-notes\"><h2 id=\"h-notes\">Notes</h2><ul class=\"notes\">\n",
    );
    for note in &report.record.notes {
        put!(html, "<li>{}</li>\n", Escaped(note));
    }
    html.push_str("</ul></section>\n");
}

/// Returns a time in words. A record that somebody wrote by hand may have any number.
fn time(seconds: f64) -> String {
    elapsed(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// Returns by how much a time differs from what is usual, in words and as a class.
fn difference(comparison: &Comparison) -> (String, &'static str) {
    match comparison.change() {
        None => ("as usual".to_owned(), "quiet"),
        Some(change) => {
            let (sign, class) = if change > 0.0 {
                ('+', "warn")
            } else {
                ('−', "good")
            };
            let seconds = time(comparison.difference.abs());
            let percent = (change.abs() * 100.0).round();
            (format!("{sign}{seconds} ({sign}{percent} %)"), class)
        }
    }
}

/// Returns the id of a log's element.
fn log_id(unit: usize, phase: &str) -> String {
    format!("log-{unit}-{}", OnOneLine(phase))
}

/// Returns a file as it is shown: relative to the manifest's folder where it lies in it.
fn shown(report: &RunReport<'_>, file: &Path) -> String {
    let folder = Path::new(&report.record.manifest).parent();
    let relative = folder.and_then(|folder| file.strip_prefix(folder).ok());
    relative.unwrap_or(file).display().to_string()
}

impl ReportedUnit<'_> {
    /// Returns the sign that says how it stands without a colour.
    fn sign(&self) -> &'static str {
        match self.standing.class() {
            "good" => "✓",
            "bad" => "✕",
            "warn" => "!",
            "live" => "…",
            _ => "–",
        }
    }
}
