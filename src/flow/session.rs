//! State shared by all commands: the manifest, the clients, and the reporter.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::{OnceCell, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::failure::shown_with_lines;
use super::interrupts::Interrupts;
use crate::base::error::{Exit, Failure};
use crate::base::nonce::nonce;
use crate::base::shell::quoted;
use crate::client::engine::{Engine, EngineError};
use crate::client::git::GitClient;
use crate::client::http::Http;
use crate::client::registry::RegistryClient;
use crate::client::retry::Retries;
use crate::host::settings::{Settings, TimeoutSettings};
use crate::model::engine::EngineProperties;
use crate::model::event::{Event, Events, Outcome, Unit, UnitSummary};
use crate::model::layout::Layout;
use crate::model::manifest;
use crate::model::manifest::{DEFAULT_CACHE_DIR, DEFAULT_NAME, Manifest};
use crate::model::trace::RunTrace;
use crate::report::Reporter;

/// How long an engine that is not needed may take to respond.
const FACTS_TIMEOUT: Duration = Duration::from_secs(3);

/// How long containers may take to end after an interrupt.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(10);

/// The state of a command that works on a platform.
pub struct Session {
    pub settings: Settings,
    pub manifest: Manifest,
    pub layout: Layout,
    /// The trace that the run belongs to.
    pub trace: Option<RunTrace>,
    pub reporter: Reporter,
    pub events: Events,
    /// Cancelled by Ctrl-C.
    pub cancel: CancellationToken,
    interrupts: Interrupts,
    /// Timeouts and retry policies.
    pub timeout_settings: TimeoutSettings,
    /// Work to finish after an interrupt, because it would leave something behind.
    pub cleanups: TaskTracker,
    /// Whether steps of a plan are executed. They end by themselves after an interrupt.
    executes: watch::Sender<bool>,
    engine: OnceCell<Engine>,
    http: Http,
}

/// The clients of everything that a plan needs.
pub struct Clients {
    /// The engine.
    pub engine: Engine,
    /// The registries.
    pub registry: RegistryClient,
    /// The git remotes.
    pub git: GitClient,
}

impl Session {
    /// Reads the manifest. The interrupts stop the work of this session; a later session can use them, too.
    pub fn open(settings: Settings, interrupts: Interrupts) -> Result<Self, Failure> {
        let file = manifest_file(&settings)?;
        let manifest =
            manifest::load(&file).map_err(|error| shown_with_lines(&settings, &error))?;
        Self::of(settings, interrupts, &file, manifest)
    }

    /// Like [`open`](Self::open), for a command that only reads past runs: an invalid manifest is just a warning.
    pub fn of_past_runs(settings: Settings, interrupts: Interrupts) -> Result<Self, Failure> {
        let file = manifest_file(&settings)?;
        let (manifest, is_valid) =
            manifest::salvage(&file).map_err(|error| shown_with_lines(&settings, &error))?;
        let session = Self::of(settings, interrupts, &file, manifest)?;
        if !is_valid {
            let file = session.manifest.file_name();
            let text = format!("{file} is invalid; `xp check` shows its problems");
            session.events.emit(Event::warning(text));
        }
        Ok(session)
    }

    fn of(
        settings: Settings,
        interrupts: Interrupts,
        file: &Path,
        manifest: Manifest,
    ) -> Result<Self, Failure> {
        let layout = Layout::new(cache_dir(&settings, &manifest));
        for folder in [manifest.folder.as_path(), layout.root()] {
            if folder.to_str().is_none() {
                return Err(Failure::usage(format!(
                    "the path of the folder {} is not UTF-8, which the engine requires",
                    folder.display()
                )));
            }
        }
        let caller = settings.traceparent.as_ref();
        let trace = caller.map(|caller| RunTrace::new(caller, nonce()));
        let started = Event::Started {
            xp: env!("CARGO_PKG_VERSION").to_owned(),
            command: settings.command_line.clone(),
            manifest: file.display().to_string(),
            trace: trace.clone(),
        };
        let reporter = Reporter::new(settings.report.clone(), file, layout.logs(), started);
        let events = reporter.events();
        if let Some(text) = unexpected_manifest(&settings, file) {
            events.emit(Event::note(text));
        }
        interrupts.show_with(Some(reporter.clone()));
        let timeout_settings = settings.timeout_settings.clone().map_err(Failure::usage)?;
        let retry_events = events.clone();
        let retries = Retries::new(timeout_settings.requests, move |retrying| {
            let unit = None;
            retry_events.emit(Event::Retrying { unit, retrying });
        });
        let http = Http::new(&settings.proxies, timeout_settings.timeouts, retries)?;
        Ok(Self {
            settings,
            manifest,
            layout,
            trace,
            reporter,
            events,
            cancel: interrupts.cancel.clone(),
            interrupts,
            timeout_settings,
            cleanups: TaskTracker::new(),
            executes: watch::Sender::new(false),
            engine: OnceCell::new(),
            http,
        })
    }

    /// Makes xp ignore signals from now on, because a program that it runs handles them.
    pub fn hand_signals_over(&self) {
        self.interrupts.hand_over();
    }

    /// Connects to the engine, once.
    pub async fn connect(&self) -> Result<Engine, EngineError> {
        let connect = || Engine::connect(&self.settings.engine);
        self.engine.get_or_try_init(connect).await.cloned()
    }

    /// Returns an engine that is never used, for a plan that a fleet carries out: this machine need not have one. If it
    /// has one, its list of insecure registries is used.
    pub async fn engine_of_fleet(&self) -> Result<Engine, EngineError> {
        let facts =
            tokio::time::timeout(FACTS_TIMEOUT, async { self.connect().await?.facts().await });
        let facts = facts.await.ok().and_then(Result::ok);
        Engine::absent(facts.unwrap_or_else(|| EngineProperties {
            architecture: std::env::consts::ARCH.to_owned(),
            ..EngineProperties::default()
        }))
    }

    /// Connects to the engine, and reads its facts.
    pub async fn engine(&self) -> Result<(Engine, EngineProperties), Failure> {
        let engine = self.connect().await?;
        let facts = engine.facts().await?;
        Ok((engine, facts))
    }

    /// Returns the client of all registries.
    pub fn registry(&self, facts: &EngineProperties) -> RegistryClient {
        let client = self.registry_without_engine();
        client.allow_insecure(&facts.insecure_registries);
        client
    }

    /// Returns the client of all registries, without the engine's list of insecure registries.
    pub fn registry_without_engine(&self) -> RegistryClient {
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

    /// Returns the failure of a run, without a message: the reporter has printed everything.
    pub fn verdict(&self, ended: &[(Unit, UnitSummary)]) -> Result<(), Failure> {
        let stopped = ended
            .iter()
            .any(|(_, ended)| ended.outcome == Outcome::Stopped);
        if stopped && self.cancel.is_cancelled() {
            return Err(Failure::silent(Exit::Interrupted));
        }
        let failures = ended.iter().filter_map(|(_, ended)| ended.failure.as_ref());
        let mut failures = failures.map(|step| step.outside);
        match failures.next() {
            None => Ok(()),
            // A failed build takes precedence over external failures.
            Some(outside) if outside && failures.all(|outside| outside) => {
                Err(Failure::silent(Exit::Outside))
            }
            Some(_) => Err(Failure::silent(Exit::ServiceFailed)),
        }
    }

    /// Records that steps of a plan are executed, until the result is dropped.
    pub fn begin_execution(&self) -> Execution<'_> {
        self.executes.send_replace(true);
        Execution(self)
    }

    /// Awaits cancel-safe work, and aborts it on Ctrl-C; if that work executes a plan, once that has ended.
    pub async fn unless_interrupted<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let result = tokio::select! {
            result = work => result,
            () = self.interrupted() => {
                self.cleanups.close();
                _ = tokio::time::timeout(CLEANUP_TIMEOUT, self.cleanups.wait()).await;
                Err(Failure::silent(Exit::Interrupted))
            }
        };
        if result.is_err() {
            // Remove progress bars before the error is printed.
            self.reporter.finish();
        }
        result
    }

    async fn interrupted(&self) {
        self.cancel.cancelled().await;
        // The sender is not dropped meanwhile.
        _ = self
            .executes
            .subscribe()
            .wait_for(|executes| !executes)
            .await;
    }
}

/// The execution of a plan.
pub struct Execution<'s>(&'s Session);

impl Drop for Execution<'_> {
    fn drop(&mut self) {
        self.0.executes.send_replace(false);
    }
}

/// Returns the path of the manifest: as given, or found in this folder or above.
pub fn manifest_file(settings: &Settings) -> Result<PathBuf, Failure> {
    match &settings.file {
        Some(file) => Ok(settings.directory.join(file)),
        None => find_manifest(settings),
    }
}

/// Returns a note if the manifest may be unexpected: found outside of the current folder and its repository.
fn unexpected_manifest(settings: &Settings, file: &Path) -> Option<String> {
    let is_found = settings.file.is_none();
    let is_unexpected = is_found && manifest::is_outside(&settings.directory, file);
    is_unexpected.then(|| format!("using the manifest {}", file.display()))
}

/// Returns the `.xp` folder, or the one set by `cacheDir` or the environment.
pub fn cache_dir(settings: &Settings, manifest: &Manifest) -> PathBuf {
    settings.cache_dir.clone().unwrap_or_else(|| {
        let relative = manifest
            .cache_dir
            .clone()
            .unwrap_or_else(|| PathBuf::from(DEFAULT_CACHE_DIR));
        manifest.folder.join(relative)
    })
}

/// Searches for the manifest in this folder and its parents, as git does for repositories.
fn find_manifest(settings: &Settings) -> Result<PathBuf, Failure> {
    let directory = &settings.directory;
    if !directory.is_dir() {
        let shown = directory.display();
        let what = if directory.exists() {
            format!("{shown} is not a folder")
        } else {
            format!("the folder {shown} does not exist")
        };
        return Err(Failure::usage(format!(
            "{what}\nhint: pass a platform's folder or a subfolder with `-C`, or a manifest with `-f`"
        )));
    }
    let file = manifest::find(directory).ok_or_else(|| {
        Failure::usage(format!(
            "could not find {DEFAULT_NAME} in {} or any parent folder\n\
             hint: `xp init` generates one; `-f FILE` uses another file",
            directory.display()
        ))
    })?;
    match manifest::foreign_owner(directory, &file, &settings.owners) {
        None => Ok(file),
        Some(owner) => Err(Failure::usage(format!(
            "the manifest {} belongs to another user (user ID {owner}), and was found in a parent folder\n\
             hint: a manifest can run commands as you; if you trust it, pass it explicitly: `-f {}`",
            file.display(),
            quoted(&file.display().to_string())
        ))),
    }
}
