//! `xp doctor`

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::session::{cache_dir, listen, manifest_file};
use crate::cli::{DoctorArgs, Format, Selection};
use crate::client::git::GitClient;
use crate::client::http::Http;
use crate::client::retry::{Policy, Retries};
use crate::doctor::{Checkup, Detail, ManifestFacts, ManifestProblem};
use crate::error::{Exit, Failure};
use crate::event::{Event, Events};
use crate::examine::{Platform, Surroundings, Waiting};
use crate::manifest::{self, Manifest, ManifestError};
use crate::record::Happened;
use crate::report::{Reporter, severity_painted};
use crate::settings::Settings;

/// How often it is told who is waited for.
const TICK: Duration = Duration::from_millis(500);

/// Checks everything that a build takes, as far as it can be checked, and changes nothing.
pub async fn run(settings: &Settings, args: &DoctorArgs) -> Result<(), Failure> {
    let (facts, manifest) = read_manifest(settings);
    let facts = match &manifest {
        Some(manifest) => selected(facts, manifest, &args.selection)?,
        None => facts,
    };
    let started = Happened::Started {
        xp: env!("CARGO_PKG_VERSION").to_owned(),
        command: settings.command_line.clone(),
        manifest: String::new(),
    };
    // A folder of logs is made by a run that has something to do, and this is none.
    let manifest_file = settings.directory.join(manifest::DEFAULT_NAME);
    let reporter = Reporter::new(
        settings.report.clone(),
        &manifest_file,
        PathBuf::new(),
        started,
    );
    let cancel = CancellationToken::new();
    let events = reporter.events();
    listen(
        cancel.clone(),
        events.clone(),
        reporter.clone(),
        Arc::default(),
    )?;
    let surroundings = surroundings(settings, manifest.as_ref(), args)?;
    let checkup = tokio::select! {
        // In this order, so that it is known at once who is waited for.
        biased;
        () = cancel.cancelled() => None,
        checkup = surroundings.examine(&facts) => Some(checkup),
        () = tell(&surroundings.waiting, &events) => None,
    };
    surroundings.close().await;
    reporter.finish();
    let Some(checkup) = checkup else {
        return Err(Failure::silent(Exit::Interrupted));
    };
    print(settings, args, &checkup)?;
    match checkup.exit() {
        Exit::Done => Ok(()),
        exit => Err(Failure::silent(exit)),
    }
}

/// Reads the manifest, or says why it cannot be read.
fn read_manifest(settings: &Settings) -> (ManifestFacts, Option<Manifest>) {
    let file = match manifest_file(settings) {
        Ok(file) => file,
        Err(failure) => {
            let message = failure.message().unwrap_or_default();
            let mut parts = message.trim_start_matches("error: ").split("\nhint: ");
            let facts = ManifestFacts::Missing {
                why: parts.next().unwrap_or_default().to_owned(),
                fixes: parts.map(str::to_owned).collect(),
            };
            return (facts, None);
        }
    };
    let name = shown(settings, &file);
    match manifest::load(&file) {
        Ok(manifest) => {
            let facts = ManifestFacts::Read {
                file: name,
                services: Vec::new(),
                total: manifest.services.len(),
            };
            (facts, Some(manifest))
        }
        Err(error) => (wrong(name, &error), None),
    }
}

/// Returns a path as short as it can be written from where xp runs.
fn shown(settings: &Settings, file: &Path) -> String {
    let short = file.strip_prefix(&settings.directory).unwrap_or(file);
    short.display().to_string()
}

fn wrong(file: String, error: &ManifestError) -> ManifestFacts {
    let problems = error.problems().map(|problem| ManifestProblem {
        position: problem.position(),
        message: problem.message().to_owned(),
        help: problem.help().to_vec(),
    });
    ManifestFacts::Wrong {
        file,
        problems: problems.collect(),
    }
}

/// Completes what is known of the manifest by the services that are meant.
fn selected(
    facts: ManifestFacts,
    manifest: &Manifest,
    selection: &Selection,
) -> Result<ManifestFacts, Failure> {
    let services = manifest.closure(&manifest.select(&selection.patterns())?);
    Ok(match facts {
        ManifestFacts::Read { file, total, .. } => ManifestFacts::Read {
            file,
            services: services.iter().map(ToString::to_string).collect(),
            total,
        },
        facts => facts,
    })
}

fn surroundings<'a>(
    settings: &'a Settings,
    manifest: Option<&'a Manifest>,
    args: &DoctorArgs,
) -> Result<Surroundings<'a>, Failure> {
    let patience = settings.patience.clone().map_err(Failure::usage)?;
    // What fails only now and then is worth knowing, too: somebody waits, and may ask again.
    let retries = Retries::silent(Policy::QUESTION);
    let http = Http::new(&settings.proxies, patience.timeouts, retries)?;
    let platform = match manifest {
        Some(manifest) => {
            let runtime = tokio::runtime::Handle::current();
            Some(Platform {
                manifest,
                services: manifest.closure(&manifest.select(&args.selection.patterns())?),
                cache_dir: cache_dir(settings, manifest),
                git: GitClient::new(http.clone(), settings.git.clone(), runtime)?,
            })
        }
        None => None,
    };
    let limit = Duration::from_secs(args.timeout);
    Ok(Surroundings::new(
        settings,
        platform,
        http,
        limit,
        args.offline,
    ))
}

/// Tells who is waited for, until nobody listens any more.
async fn tell(waiting: &Waiting, events: &Events) {
    let mut told: Option<String> = None;
    loop {
        // What is looked for at once is told by its kind only.
        let names = waiting.names();
        let text = match names.as_slice() {
            [] => None,
            _ if told.is_none() => {
                Some("checking engine, registries, git remotes and folders".to_owned())
            }
            [one] => Some(format!("waiting for {one}")),
            [first, rest @ ..] => Some(format!("waiting for {first}, and {} more", rest.len())),
        };
        if let Some(text) = text.filter(|text| told.as_ref() != Some(text)) {
            if told.is_some() {
                events.emit(Event::StageFinished);
            }
            events.emit(Event::StageStarted(text.clone()));
            told = Some(text);
        }
        tokio::time::sleep(TICK).await;
    }
}

fn print(settings: &Settings, args: &DoctorArgs, checkup: &Checkup) -> Result<(), Failure> {
    let detail = match (settings.report.quiet, settings.report.verbose) {
        (true, _) => Detail::Errors,
        (_, true) => Detail::All,
        _ => Detail::Problems,
    };
    let color = settings.report.color && std::io::stdout().is_terminal();
    match args.format {
        Format::Json => super::print_json(&checkup.document()),
        Format::Text => super::print(&checkup.text(detail, &|word, severity| {
            severity_painted(word, severity, color)
        })),
    }
}
