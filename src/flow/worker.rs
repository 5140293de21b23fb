//! The worker of a fleet: runs one unit in a pod, and decides nothing.

mod probe;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::base::error::{Diagnostic as _, Exit, Failure};
use crate::client::engine::{Engine, EngineError};
use crate::client::git::{GitClient, GitEnvironment};
use crate::client::http::Http;
use crate::client::registry::RegistryClient;
use crate::client::retry::Retries;
use crate::execute::attest::AttestTools;
use crate::execute::fleet::unpack;
use crate::execute::{self, ExecuteContext, PlatformEngines, Sources, Toolchains};
use crate::host::settings::Settings;
use crate::model::event::{Event, Events, FailedStep, Outcome, Phase, UnitSummary};
use crate::model::fleet::{
    CACHE_FOLDER, GIT_CREDENTIALS, LineWriter, PLATFORM_FOLDER, STREAM_VERSION, SentWork, UnitEnd,
    WorkerDocument, WorkerMessage,
};
use crate::model::layout::Layout;
use crate::model::source::UrlRule;
use crate::store::claim;
use crate::store::claim::FolderLock;
use crate::store::step_results::{KEPT_RESULT_BYTES, StepStore};

/// How long the engine of the pod may take to start.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(120);

/// The pause between attempts to connect to it.
const ENGINE_PAUSE: Duration = Duration::from_millis(500);

/// The minimum time between progress events of a phase.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// Writes messages as lines.
#[derive(Clone)]
struct MessageSink {
    state: Arc<Mutex<SinkState>>,
}

struct SinkState {
    writer: LineWriter,
    write: Box<dyn FnMut(&str) + Send>,
    /// When the last progress of each phase was written.
    progress: HashMap<Phase, Instant>,
}

impl MessageSink {
    fn send(&self, message: WorkerMessage) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // All messages can be written as JSON.
        if let Ok(lines) = state.writer.lines(message) {
            (state.write)(&lines);
        }
    }

    fn emit(&self, event: Event) {
        if let Event::Progress { phase, .. } = &event {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let last = state.progress.get(phase);
            if last.is_some_and(|last| last.elapsed() < PROGRESS_INTERVAL) {
                return;
            }
            state.progress.insert(*phase, Instant::now());
        }
        if let Some(message) = WorkerMessage::of(event) {
            self.send(message);
        }
    }
}

/// Runs the unit of a document, and writes its events and outcome by `write`.
pub async fn run(
    settings: &Settings,
    file: &Path,
    cancel: CancellationToken,
    write: impl FnMut(&str) + Send + 'static,
) -> Result<(), Failure> {
    let sink = MessageSink {
        state: Arc::new(Mutex::new(SinkState {
            writer: LineWriter::default(),
            write: Box::new(write),
            progress: HashMap::new(),
        })),
    };
    sink.send(WorkerMessage::Begin {
        version: STREAM_VERSION,
        xp: env!("CARGO_PKG_VERSION").to_owned(),
    });
    let events = {
        let sink = sink.clone();
        Events::new(move |event| sink.emit(event))
    };
    let done = async {
        match read(file)? {
            SentWork::Probe(probe) => {
                let findings = probe::findings(settings, &probe, file).await?;
                sink.send(WorkerMessage::Findings(findings));
                Ok(None)
            }
            SentWork::Unit(document) => {
                let (context, _lock) =
                    prepared(settings, &document, file, &events, cancel.clone()).await?;
                Ok::<_, Failure>(Some(execute::run_alone(&context, &document.unit).await))
            }
        }
    };
    let end = match done.await {
        Ok(Some(end)) => end,
        Ok(None) => return Ok(()),
        Err(_) if cancel.is_cancelled() => not_run(UnitSummary::new(Outcome::Stopped)),
        Err(failure) => not_run(UnitSummary::failed(failed(&failure))),
    };
    let exit = exit(&end.summary);
    sink.send(WorkerMessage::End(Box::new(end)));
    match exit {
        Exit::Done => Ok(()),
        exit => Err(Failure::silent(exit)),
    }
}

fn not_run(summary: UnitSummary) -> UnitEnd {
    UnitEnd {
        summary,
        only_fetched: false,
        digest: None,
        identity: None,
        is_commit_tag_refused: false,
    }
}

/// Returns the failure of a worker that cannot run its unit.
fn failed(failure: &Failure) -> FailedStep {
    let (message, hints) = failure.parts();
    FailedStep {
        hints,
        outside: failure.exit == Exit::Outside,
        ..FailedStep::new(Phase::Job, message)
    }
}

fn exit(summary: &UnitSummary) -> Exit {
    match (summary.outcome, &summary.failure) {
        (Outcome::Done, _) => Exit::Done,
        (Outcome::Failed, Some(failure)) if failure.outside => Exit::Outside,
        (Outcome::Failed | Outcome::Blocked, _) => Exit::ServiceFailed,
        (Outcome::Stopped, _) => Exit::Interrupted,
    }
}

/// Reads the document.
fn read(file: &Path) -> Result<SentWork, Failure> {
    let text = std::fs::read(file).map_err(|error| {
        Failure::outside(format!(
            "cannot read the unit document {}: {error}",
            file.display()
        ))
    })?;
    Ok(SentWork::parse(&text)?)
}

/// Connects to everything that the unit of a document needs.
async fn prepared(
    settings: &Settings,
    document: &WorkerDocument,
    file: &Path,
    events: &Events,
    cancel: CancellationToken,
) -> Result<(ExecuteContext, FolderLock), Failure> {
    let (folder, layout) = (
        PathBuf::from(PLATFORM_FOLDER),
        Layout::new(PathBuf::from(CACHE_FOLDER)),
    );
    for folder in [&folder, layout.root()] {
        std::fs::create_dir_all(folder).map_err(|error| {
            Failure::outside(format!(
                "cannot create {}: {error}\n\
                 hint: if the template mounts a volume at /xp/work, the user of the container `xp` must be able to write it; `fsGroup: 1000` does that",
                folder.display()
            ))
        })?;
    }
    let lock_file = layout.lock();
    let lock = tokio::select! {
        lock = claim::lock(&lock_file, events) => lock?,
        () = cancel.cancelled() => return Err(Failure::silent(Exit::Interrupted)),
    };
    if let Some(builder) = &document.builder {
        let archive = file.with_file_name(&builder.archive);
        unpack(&archive, &builder.folder).map_err(|error| {
            let folder = builder.folder.display();
            Failure::outside(format!("cannot unpack the files of {folder}: {error}"))
        })?;
    }
    let engine = tokio::select! {
        engine = engine(settings, ENGINE_TIMEOUT) => engine?,
        () = cancel.cancelled() => return Err(Failure::silent(Exit::Interrupted)),
    };
    let facts = engine.facts().await?;
    let platform = format!("linux/{}", facts.architecture);
    if let Some(planned) = document.platform.as_ref().filter(|it| **it != platform) {
        return Err(Failure::outside(format!(
            "the phases with `inputs` were planned for {planned}, and the engine of this pod runs {platform}\n\
             hint: select nodes of one platform by `nodeSelector` in the fleet's template: `kubernetes.io/arch`"
        )));
    }
    let timeouts = settings.timeout_settings.clone().map_err(Failure::usage)?;
    let retry_events = events.clone();
    let retries = Retries::new(timeouts.requests, move |retrying| {
        let unit = None;
        retry_events.emit(Event::Retrying { unit, retrying });
    });
    let http = Http::new(&settings.proxies, timeouts.timeouts, retries)?;
    let registry = RegistryClient::new(http.clone(), settings.registry.clone());
    registry.allow_insecure(&facts.insecure_registries);
    registry.allow_insecure(&document.insecure_registries);
    let runtime = tokio::runtime::Handle::current();
    let git_environment = git_environment(settings, file, &document.url_rules);
    let git = GitClient::new(http, git_environment, runtime)?;
    let context = ExecuteContext {
        engine,
        facts,
        engines: PlatformEngines::default(),
        path_mapping: Arc::default(),
        sending: Arc::default(),
        toolchains: Toolchains::default(),
        registry,
        trace: document.trace.clone(),
        bases: Arc::default(),
        sources: Arc::new(Sources::new(
            git,
            events.clone(),
            cancel.clone(),
            layout.clones(),
        )),
        transfers: Retries::silent(timeouts.transfers),
        transfer_timeout: timeouts.timeouts.transfer,
        steps: Arc::new(StepStore::open(&layout, KEPT_RESULT_BYTES)),
        uploads: Arc::default(),
        provided: Arc::default(),
        events: events.clone(),
        layout,
        folder,
        caller: settings.caller.clone(),
        variables: settings.variables.clone(),
        cancel,
        jobs: 1,
        fail_fast: false,
        attest: AttestTools::default(),
        fleet: None,
    };
    Ok((context, lock))
}

/// Returns the settings of git, with the logins next to the document and the rules in it.
fn git_environment(settings: &Settings, file: &Path, rules: &[UrlRule]) -> GitEnvironment {
    let mut environment = settings.git.clone();
    // The image of xp may have no git.
    environment.stored_logins = Some(file.with_file_name(GIT_CREDENTIALS));
    let rules = rules.iter();
    let rules = rules.map(|it| (format!("url.{}.insteadOf", it.base), it.instead_of.clone()));
    // Of equal settings, the last one wins: that of the template.
    environment.configuration.splice(0..0, rules);
    environment
}

/// Connects to the engine, which may be starting in the same pod.
async fn engine(settings: &Settings, limit: Duration) -> Result<Engine, Failure> {
    let start = Instant::now();
    loop {
        match Engine::connect(&settings.engine).await {
            Ok(engine) => return Ok(engine),
            Err(error @ EngineError::Unreachable { .. }) if start.elapsed() > limit => {
                return Err(unreachable(&error));
            }
            Err(EngineError::Unreachable { .. }) => tokio::time::sleep(ENGINE_PAUSE).await,
            Err(error) => return Err(error.into()),
        }
    }
}

fn unreachable(error: &EngineError) -> Failure {
    let exit = error.exit();
    let message = crate::base::error::chain(error);
    Failure::rendered(
        exit,
        format!(
            "error: the pod has no container engine: {message}\n\
             hint: run one beside the container `xp`, in the fleet's template, and set DOCKER_HOST; docs/fleet.md has an example"
        ),
    )
}
