//! `xp report`

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::runs::{kept, named};
use super::session::Session;
use crate::cli::{ReportArgs, ReportFormat};
use crate::error::Failure;
use crate::files;
use crate::record::RunRecord;
use crate::report::{HTML_START, JUNIT_START, RunReport};
use crate::runs::Run;

/// The program that shows a file in the browser.
const OPENER: &str = if cfg!(target_os = "macos") {
    "open"
} else {
    "xdg-open"
};

/// Makes the document of a run.
pub fn run(session: &Session, args: &ReportArgs) -> Result<(), Failure> {
    let runs = kept(session)?;
    let run = match (args.run, runs.last()) {
        (Some(number), _) => named(&runs, number)?,
        (None, Some(last)) => last,
        (None, None) => return Ok(()),
    };
    let output = destination(session, args, run)?;
    // Asked before reading: a run that ends meanwhile has told all when it is read.
    let is_running = run.is_running();
    let record = run.record();
    let now = is_running.then(|| since(&record));
    let before = runs.iter().filter(|other| other.number < run.number);
    let earlier: Vec<RunRecord> = before.map(Run::record).collect();
    let report = RunReport::new(run, &record, now, &earlier);
    let text = match args.format {
        ReportFormat::Html => report.html(),
        ReportFormat::Junit => report.junit(),
    };
    let Some(file) = output else {
        return super::print(&text);
    };
    check_replaces_a_report(&file)?;
    let folder = file.parent().unwrap_or(&file);
    let written = fs::create_dir_all(folder).and_then(|()| files::replace(&file, &text));
    written.map_err(|error| {
        let elsewhere = match args.output {
            None => "\nhint: `-o FILE` writes it elsewhere",
            Some(_) => "",
        };
        let file = file.display();
        Failure::outside(format!(
            "the report {file} cannot be written: {error}{elsewhere}"
        ))
    })?;
    super::print(&format!("{}\n", file.display()))?;
    match args.open {
        true => open(&file),
        false => Ok(()),
    }
}

/// Returns the file that is written; none for standard output.
fn destination(
    session: &Session,
    args: &ReportArgs,
    run: &Run,
) -> Result<Option<PathBuf>, Failure> {
    let file = match (&args.output, args.format) {
        (Some(output), _) if output.as_os_str() == "-" => None,
        (Some(output), _) => Some(session.settings.directory.join(output)),
        (None, ReportFormat::Html) => Some(run.report_file()),
        (None, ReportFormat::Junit) => None,
    };
    if args.open && (file.is_none() || args.format != ReportFormat::Html) {
        return Err(Failure::usage(
            "`--open` shows a page that is in a file\n\
             hint: leave out `--format junit` and `-o -`",
        ));
    }
    Ok(file)
}

/// Returns the seconds since a run began, by the clock.
fn since(record: &RunRecord) -> f64 {
    let begun = OffsetDateTime::parse(&record.time, &Rfc3339);
    begun.map_or(0.0, |begun| {
        (OffsetDateTime::now_utc() - begun).as_seconds_f64()
    })
}

/// A report of before is replaced; what is no report belongs to somebody.
fn check_replaces_a_report(file: &Path) -> Result<(), Failure> {
    let is_file = fs::metadata(file).is_ok_and(|there| there.is_file() && there.len() > 0);
    if !is_file {
        return Ok(());
    }
    let mut start = Vec::new();
    let longest = HTML_START.len().max(JUNIT_START.len()) as u64;
    let read = fs::File::open(file).and_then(|file| file.take(longest).read_to_end(&mut start));
    let starts = [HTML_START, JUNIT_START];
    if read.is_ok() && starts.iter().any(|it| start.starts_with(it.as_bytes())) {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{} is there and is no report, so it is not replaced\n\
         hint: remove it, or let `-o` name another file",
        file.display()
    )))
}

fn open(file: &Path) -> Result<(), Failure> {
    let mut command = Command::new(OPENER);
    command.arg(file).stdin(Stdio::null()).stdout(Stdio::null());
    let failed = |why: String| {
        Failure::outside(format!(
            "the browser cannot be started: {why}\nhint: open {} yourself",
            file.display()
        ))
    };
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed(format!("`{OPENER}` ended with {status}"))),
        Err(error) => Err(failed(format!("`{OPENER}`: {error}"))),
    }
}
