//! `xp doctor`

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::error::{Exit, Failure};
use crate::cli::{DoctorArgs, Format, Selection};
use crate::client::git::GitClient;
use crate::client::http::Http;
use crate::client::retry::{Policy, Retries};
use crate::flow::diagnose::{CheckedPlatform, DoctorContext, PendingChecks};
use crate::flow::interrupts::Interrupts;
use crate::flow::session::{cache_dir, manifest_file};
use crate::host::settings::Settings;
use crate::model::doctor::{DetailLevel, DoctorReport, ManifestFacts, ManifestProblem};
use crate::model::event::{Event, Events};
use crate::model::manifest;
use crate::model::manifest::{Manifest, ManifestError};
use crate::report::{Reporter, columns, severity_painted};

/// The interval for updating the progress text.
const TICK: Duration = Duration::from_millis(500);

/// Checks everything that a build needs. Nothing is changed, except that `--fleet` starts a Job.
pub async fn run(settings: &Settings, args: &DoctorArgs) -> Result<(), Failure> {
    let (facts, manifest) = read_manifest(settings);
    if let (Some(manifest), Some(name)) = (&manifest, &args.fleet) {
        manifest::fleet(&manifest.fleets, name)?;
    }
    let facts = match &manifest {
        Some(manifest) => selected(facts, manifest, &args.selection)?,
        None => facts,
    };
    let started = Event::Started {
        xp: env!("CARGO_PKG_VERSION").to_owned(),
        command: settings.command_line.clone(),
        manifest: String::new(),
        trace: None,
    };
    // No log folder: only runs have one.
    let manifest_file = settings.directory.join(manifest::DEFAULT_NAME);
    let reporter = Reporter::new(
        settings.report.clone(),
        &manifest_file,
        PathBuf::new(),
        started,
    );
    let events = reporter.events();
    let interrupts = Interrupts::listen()?;
    interrupts.show_with(Some(reporter.clone()));
    let cancel = interrupts.cancel;
    let mut context = doctor_context(settings, manifest.as_ref(), args)?;
    context.fleet.clone_from(&args.fleet);
    let report = tokio::select! {
        // In this order, so that the checks have started when `show_waiting` first reads their names.
        biased;
        () = cancel.cancelled() => None,
        report = context.run_checks(&facts) => Some(report),
        () = show_waiting(&context.waiting, &events) => None,
    };
    for text in context.close().await {
        events.emit(Event::warning(text));
    }
    reporter.finish();
    let Some(report) = report else {
        return Err(Failure::silent(Exit::Interrupted));
    };
    print(settings, args, &report)?;
    match report.exit() {
        Exit::Done => Ok(()),
        exit => Err(Failure::silent(exit)),
    }
}

/// Reads the manifest, or returns the reason why it cannot be read.
fn read_manifest(settings: &Settings) -> (ManifestFacts, Option<Manifest>) {
    let file = match manifest_file(settings) {
        Ok(file) => file,
        Err(failure) => {
            let (why, fixes) = failure.parts();
            return (ManifestFacts::NotFound { why, fixes }, None);
        }
    };
    let name = shown(settings, &file);
    match manifest::load(&file) {
        Ok(manifest) => {
            let facts = ManifestFacts::Valid {
                file: name,
                services: Vec::new(),
                total: manifest.services.len(),
            };
            (facts, Some(manifest))
        }
        Err(error) => (invalid(name, &error), None),
    }
}

/// Returns a path relative to the current folder if it is inside.
fn shown(settings: &Settings, file: &Path) -> String {
    let short = file.strip_prefix(&settings.directory).unwrap_or(file);
    short.display().to_string()
}

fn invalid(file: String, error: &ManifestError) -> ManifestFacts {
    let problems = error.problems().map(|problem| ManifestProblem {
        position: problem.position(),
        message: problem.message().to_owned(),
        help: problem.help().to_vec(),
    });
    ManifestFacts::Invalid {
        file,
        problems: problems.collect(),
    }
}

/// Adds the selected services to the facts of the manifest.
fn selected(
    facts: ManifestFacts,
    manifest: &Manifest,
    selection: &Selection,
) -> Result<ManifestFacts, Failure> {
    let services = manifest.closure(&manifest.select(&selection.patterns())?);
    Ok(match facts {
        ManifestFacts::Valid { file, total, .. } => ManifestFacts::Valid {
            file,
            services: services.iter().map(ToString::to_string).collect(),
            total,
        },
        facts => facts,
    })
}

fn doctor_context<'a>(
    settings: &'a Settings,
    manifest: Option<&'a Manifest>,
    args: &DoctorArgs,
) -> Result<DoctorContext<'a>, Failure> {
    let timeout_settings = settings.timeout_settings.clone().map_err(Failure::usage)?;
    // Few retries: intermittent failures are worth reporting, and the user can run it again.
    let retries = Retries::silent(Policy::INTERACTIVE);
    let http = Http::new(&settings.proxies, timeout_settings.timeouts, retries)?;
    let platform = match manifest {
        Some(manifest) => {
            let runtime = tokio::runtime::Handle::current();
            Some(CheckedPlatform {
                manifest,
                services: manifest.closure(&manifest.select(&args.selection.patterns())?),
                cache_dir: cache_dir(settings, manifest),
                git: GitClient::new(http.clone(), settings.git.clone(), runtime)?,
            })
        }
        None => None,
    };
    let limit = Duration::from_secs(args.timeout);
    Ok(DoctorContext::new(
        settings,
        platform,
        http,
        limit,
        args.offline,
    ))
}

/// Shows which checks are still running. Never returns; it is dropped when the checks are done.
async fn show_waiting(waiting: &PendingChecks, events: &Events) {
    let mut shown: Option<String> = None;
    loop {
        // The initial text lists only the kinds of checks.
        let names = waiting.names();
        let text = match names.as_slice() {
            [] => None,
            _ if shown.is_none() => {
                Some("checking engine, registries, git remotes and folders".to_owned())
            }
            [one] => Some(format!("waiting for {one}")),
            [first, rest @ ..] => Some(format!("waiting for {first}, and {} more", rest.len())),
        };
        if let Some(text) = text.filter(|text| shown.as_ref() != Some(text)) {
            if shown.is_some() {
                events.emit(Event::StageFinished);
            }
            events.emit(Event::stage(text.clone()));
            shown = Some(text);
        }
        tokio::time::sleep(TICK).await;
    }
}

fn print(settings: &Settings, args: &DoctorArgs, report: &DoctorReport) -> Result<(), Failure> {
    let detail = match (settings.report.quiet, settings.report.verbose) {
        (true, _) => DetailLevel::Errors,
        (_, true) => DetailLevel::All,
        _ => DetailLevel::Problems,
    };
    let color = settings.report.color && std::io::stdout().is_terminal();
    match args.format {
        Format::Json => super::print_json(&report.document()),
        Format::Text => super::print(&report.text(
            detail,
            &|word, severity| severity_painted(word, severity, color),
            columns(std::io::stdout()),
        )),
    }
}
