//! What every command has: the manifest, the clients, the screen, and Ctrl-C.

use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::failure::shown_with_lines;
use crate::client::engine::{Engine, EngineFacts};
use crate::client::git::GitClient;
use crate::client::http::Http;
use crate::client::registry::RegistryClient;
use crate::client::retry::Retries;
use crate::error::{Exit, Failure};
use crate::event::{Event, Events, Outcome, Unit};
use crate::manifest::{self, DEFAULT_CACHE_DIR, DEFAULT_NAME, Manifest};
use crate::plan::Layout;
use crate::record::Happened;
use crate::report::{Ended, Reporter};
use crate::settings::{Patience, Settings};
use crate::shell::quoted;

/// What every command has.
pub struct Session {
    pub settings: Settings,
    pub manifest: Manifest,
    pub layout: Layout,
    pub reporter: Reporter,
    pub events: Events,
    /// Set by Ctrl-C.
    pub cancel: CancellationToken,
    /// Set where signals are no longer xp's own.
    hands_signals_over: Arc<AtomicBool>,
    /// How long servers are waited for, and how often they are asked.
    pub patience: Patience,
    http: Http,
}

impl Session {
    /// Reads the manifest, and begins to listen for Ctrl-C.
    pub fn open(settings: Settings) -> Result<Self, Failure> {
        let file = manifest_file(&settings)?;
        let manifest =
            manifest::load(&file).map_err(|error| shown_with_lines(&settings, &error))?;
        let layout = Layout::new(cache_dir(&settings, &manifest));
        for folder in [manifest.folder.as_path(), layout.root()] {
            if folder.to_str().is_none() {
                return Err(Failure::usage(format!(
                    "the name of the folder {} is not UTF-8, and the engine cannot be told of it",
                    folder.display()
                )));
            }
        }
        let started = Happened::Started {
            xp: env!("CARGO_PKG_VERSION").to_owned(),
            command: settings.command_line.clone(),
            manifest: file.display().to_string(),
        };
        let reporter = Reporter::new(settings.report.clone(), &file, layout.logs(), started);
        let events = reporter.events();
        if let Some(text) = unexpected(&settings, &file) {
            events.emit(Event::Note(text));
        }
        let cancel = CancellationToken::new();
        let hands_signals_over = Arc::new(AtomicBool::new(false));
        listen(
            cancel.clone(),
            events.clone(),
            reporter.clone(),
            hands_signals_over.clone(),
        )?;
        let patience = settings.patience.clone().map_err(Failure::usage)?;
        let telling = events.clone();
        let retries = Retries::new(patience.requests, move |retrying| {
            let unit = None;
            telling.emit(Event::Retrying { unit, retrying });
        });
        let http = Http::new(&settings.proxies, patience.timeouts, retries)?;
        Ok(Self {
            settings,
            manifest,
            layout,
            reporter,
            events,
            cancel,
            hands_signals_over,
            patience,
            http,
        })
    }

    /// Has signals no longer stop xp: from now on they are those of a program that xp runs.
    pub fn hand_signals_over(&self) {
        self.hands_signals_over.store(true, Ordering::Relaxed);
    }

    /// Connects to the engine, and asks what it says of itself.
    pub async fn engine(&self) -> Result<(Engine, EngineFacts), Failure> {
        let engine = Engine::connect(&self.settings.engine).await?;
        let facts = engine.facts().await?;
        Ok((engine, facts))
    }

    /// Returns the client of all registries.
    pub fn registry(&self, facts: &EngineFacts) -> RegistryClient {
        let client = self.registry_of_no_engine();
        client.allow_insecure(&facts.insecure_registries);
        client
    }

    /// Returns the client of all registries, which nobody has told yet what the engine says of them.
    pub fn registry_of_no_engine(&self) -> RegistryClient {
        RegistryClient::new(self.http.clone(), self.settings.registry.clone())
    }

    /// Returns the client of all git remotes.
    pub fn git(&self) -> Result<GitClient, Failure> {
        let runtime = tokio::runtime::Handle::current();
        Ok(GitClient::new(
            self.http.clone(),
            self.settings.git.clone(),
            runtime,
        )?)
    }

    /// Returns a variable of the environment, for the manifest's placeholders.
    pub fn variable(&self, name: &str) -> Option<String> {
        self.settings.variables.get(name).cloned()
    }

    /// Returns the failure that a run ends with, about which everything was said already.
    pub fn verdict(&self, ended: &[(Unit, Ended)]) -> Result<(), Failure> {
        let stopped = ended
            .iter()
            .any(|(_, ended)| ended.outcome == Outcome::Stopped);
        if stopped && self.cancel.is_cancelled() {
            return Err(Failure::silent(Exit::Interrupted));
        }
        let mut failures = ended.iter().filter_map(|(_, ended)| match &ended.outcome {
            Outcome::Failed(step) => Some(step.outside),
            _ => None,
        });
        match failures.next() {
            None => Ok(()),
            // A build that failed by itself is said even where something outside failed as well.
            Some(outside) if outside && failures.all(|outside| outside) => {
                Err(Failure::silent(Exit::Outside))
            }
            Some(_) => Err(Failure::silent(Exit::ServiceFailed)),
        }
    }

    /// Waits for something that nothing depends on yet, and gives up on Ctrl-C.
    pub async fn unless_interrupted<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let result = tokio::select! {
            result = work => result,
            () = self.cancel.cancelled() => Err(Failure::silent(Exit::Interrupted)),
        };
        if result.is_err() {
            // What is printed next must not stand below a bar.
            self.reporter.finish();
        }
        result
    }
}

/// Returns the manifest that was named, or the one that is found.
pub(super) fn manifest_file(settings: &Settings) -> Result<PathBuf, Failure> {
    match &settings.file {
        Some(file) => Ok(settings.directory.join(file)),
        None => find_manifest(settings),
    }
}

/// Says which manifest is used, where the caller may not expect it: one that is neither in the current folder
/// nor in its repository.
fn unexpected(settings: &Settings, file: &Path) -> Option<String> {
    let is_found = settings.file.is_none();
    let is_unexpected = is_found && manifest::is_outside(&settings.directory, file);
    is_unexpected.then(|| format!("using the manifest {}", file.display()))
}

/// Returns the folder that is xp's own.
pub(super) fn cache_dir(settings: &Settings, manifest: &Manifest) -> PathBuf {
    settings.cache_dir.clone().unwrap_or_else(|| {
        let relative = manifest
            .cache_dir
            .clone()
            .unwrap_or_else(|| PathBuf::from(DEFAULT_CACHE_DIR));
        manifest.folder.join(relative)
    })
}

/// Looks for the manifest here and in the folders above, as git looks for its repository.
fn find_manifest(settings: &Settings) -> Result<PathBuf, Failure> {
    let directory = &settings.directory;
    if !directory.is_dir() {
        let shown = directory.display();
        let what = match directory.exists() {
            true => format!("{shown} is not a folder"),
            false => format!("there is no folder {shown}"),
        };
        return Err(Failure::usage(format!(
            "{what}\nhint: `-C` takes the folder of a platform, or one below it; `-f` takes a manifest"
        )));
    }
    let file = manifest::find(directory).ok_or_else(|| {
        Failure::usage(format!(
            "there is no {DEFAULT_NAME} in {} or a folder above\n\
             hint: `xp init` writes one from what is here; `-f FILE` names another",
            directory.display()
        ))
    })?;
    match manifest::foreign_owner(directory, &file, &settings.owners) {
        None => Ok(file),
        Some(owner) => Err(Failure::usage(format!(
            "the manifest {} belongs to another user (user ID {owner}), and was found in a parent folder\n\
             hint: a manifest runs commands as you; if you trust it, name it: `-f {}`",
            file.display(),
            quoted(&file.display().to_string())
        ))),
    }
}

/// The first Ctrl-C, or SIGTERM, stops the work in an orderly way; the second ends the process at once.
/// What is resumed after Ctrl-Z finds the terminal as somebody else left it.
///
/// On a thread and a runtime of its own: all other threads may wait for a terminal or a pipe that
/// nobody reads.
pub(super) fn listen(
    cancel: CancellationToken,
    events: Events,
    reporter: Reporter,
    hands_over: Arc<AtomicBool>,
) -> Result<(), Failure> {
    let failed =
        |error: std::io::Error| Failure::outside(format!("signals cannot be received: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let (mut interrupt, mut terminate, mut resume) = {
        let _entered = runtime.enter();
        let signal = |kind| signal(kind).map_err(failed);
        let resumed = SignalKind::from_raw(rustix::process::Signal::CONT.as_raw());
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(resumed)?,
        )
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = resume.recv() => {
                        let reporter = reporter.clone();
                        std::thread::spawn(move || reporter.resume());
                        continue;
                    }
                }
                if hands_over.load(Ordering::Relaxed) {
                    continue;
                }
                if cancel.is_cancelled() {
                    // Containers hang on a connection of this process, so they end with it.
                    process::exit(Exit::Interrupted.code().into());
                }
                cancel.cancel();
                let events = events.clone();
                std::thread::spawn(move || events.emit(Event::Interrupted));
            }
        });
    });
    Ok(())
}
