//! `xp report`

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::base::error::Failure;
use crate::base::files;
use crate::cli::{ReportArgs, ReportFormat};
use crate::flow::runs::{named, recorded};
use crate::flow::session::Session;
use crate::model::record::RunRecord;
use crate::report::{HTML_START, JUNIT_START, MARKDOWN_START, OTLP_START, RunReport};
use crate::store::runs::Run;

/// The program that opens a file in the browser.
const OPENER: &str = if cfg!(target_os = "macos") {
    "open"
} else {
    "xdg-open"
};

/// Writes the report of a run.
pub fn run(session: &Session, args: &ReportArgs) -> Result<(), Failure> {
    let runs = recorded(session)?;
    let run = match (args.run, runs.last()) {
        (Some(number), _) => named(&runs, number)?,
        (None, Some(last)) => last,
        (None, None) => return Ok(()),
    };
    let output = destination(session, args, run)?;
    // Checked before reading: if the run ends in between, the record is complete.
    let is_running = run.is_running();
    let record = run.record();
    let now = is_running.then(|| since(&record));
    let before = runs.iter().filter(|other| other.number < run.number);
    let earlier: Vec<RunRecord> = before.map(Run::record).collect();
    let report = RunReport::new(&record, now, &earlier);
    let text = match args.format {
        ReportFormat::Html => report.html(run),
        ReportFormat::Junit => report.junit(run),
        ReportFormat::Markdown => report.markdown(usize::MAX),
        ReportFormat::Otlp => report.otlp(),
    };
    let Some(file) = output else {
        return super::print(&text);
    };
    check_replaces_a_report(&file)?;
    let folder = file.parent().unwrap_or(&file);
    let written = fs::create_dir_all(folder).and_then(|()| files::replace(&file, &text));
    written.map_err(|error| {
        let hint = match args.output {
            None => "\nhint: `-o FILE` writes it elsewhere",
            Some(_) => "",
        };
        let file = file.display();
        Failure::outside(format!("cannot write the report {file}: {error}{hint}"))
    })?;
    super::print(&format!("{}\n", file.display()))?;
    if args.open { open(&file) } else { Ok(()) }
}

/// Returns the output file; `None` for standard output.
fn destination(
    session: &Session,
    args: &ReportArgs,
    run: &Run,
) -> Result<Option<PathBuf>, Failure> {
    let file = match (&args.output, args.format) {
        (Some(output), _) if output.as_os_str() == "-" => None,
        (Some(output), _) => Some(session.settings.directory.join(output)),
        (None, ReportFormat::Html) => Some(run.report_file()),
        (None, ReportFormat::Junit | ReportFormat::Markdown | ReportFormat::Otlp) => None,
    };
    if args.open && (file.is_none() || args.format != ReportFormat::Html) {
        return Err(Failure::usage(
            "`--open` requires an HTML page in a file\n\
             hint: omit `--format` and `-o -`",
        ));
    }
    Ok(file)
}

/// Returns the seconds since the start of a run, in wall-clock time.
fn since(record: &RunRecord) -> f64 {
    let started = OffsetDateTime::parse(&record.time, &Rfc3339);
    started.map_or(0.0, |started| {
        (OffsetDateTime::now_utc() - started).as_seconds_f64()
    })
}

/// Makes sure that only an earlier report is overwritten, never another file of the user.
fn check_replaces_a_report(file: &Path) -> Result<(), Failure> {
    let is_file = fs::metadata(file).is_ok_and(|there| there.is_file() && there.len() > 0);
    if !is_file {
        return Ok(());
    }
    let mut start = Vec::new();
    let starts = [HTML_START, JUNIT_START, MARKDOWN_START, OTLP_START];
    let longest = starts.iter().map(|start| start.len()).max().unwrap_or(0) as u64;
    let read = fs::File::open(file).and_then(|file| file.take(longest).read_to_end(&mut start));
    if read.is_ok() && starts.iter().any(|it| start.starts_with(it.as_bytes())) {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{} already exists and is not a report\n\
         hint: remove it, or choose another file with `-o`",
        file.display()
    )))
}

fn open(file: &Path) -> Result<(), Failure> {
    let mut command = Command::new(OPENER);
    command.arg(file).stdin(Stdio::null()).stdout(Stdio::null());
    let failed = |why: String| {
        Failure::outside(format!(
            "cannot start the browser: {why}\nhint: open {} manually",
            file.display()
        ))
    };
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed(format!("`{OPENER}` ended with {status}"))),
        Err(error) => Err(failed(format!("`{OPENER}`: {error}"))),
    }
}
