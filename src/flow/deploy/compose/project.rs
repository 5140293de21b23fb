//! A compose project that was read, and the tools for it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::base::error::Failure;
use crate::base::shell::quoted;
use crate::base::suggest;
use crate::client::compose::{
    Compose, ComposeEngine, ComposeError, ComposeLine, ComposeProgram, LineHandler,
};
use crate::client::engine::Engine;
use crate::flow::compose_program;
use crate::flow::deploy::local_files::missing_files;
use crate::flow::failure::manifest_failure;
use crate::flow::session::Session;
use crate::model::deploy::{
    ComposeChanges, ComposeMatches, ComposeProject, ImageNames, ProjectContainer, UnmatchedServices,
};
use crate::model::event::{Event, Events};
use crate::model::manifest::{ComposeEnvironment, ServiceName};

/// A compose project that was read.
pub(super) struct OpenProject<'s> {
    environment: &'s ComposeEnvironment,
    program: ComposeProgram,
    target: ComposeEngine,
    folder: &'s Path,
    events: &'s Events,
    /// The warnings of compose that were shown: each call repeats them.
    warnings: Mutex<BTreeSet<String>>,
    pub engine: Engine,
    pub config: ComposeProject,
}

impl<'s> OpenProject<'s> {
    /// Finds the tools, and reads the compose files.
    pub(super) async fn open(
        session: &'s Session,
        environment: &'s ComposeEnvironment,
    ) -> Result<Self, Failure> {
        let folder = session.manifest.folder.as_path();
        let missing = missing_files(folder, &environment.files).into_iter();
        let missing = missing.map(|found| {
            let keys = keys(environment, &["compose"]);
            (keys, found.message, vec![found.hint])
        });
        let missing: Vec<_> = missing.collect();
        if !missing.is_empty() {
            return Err(manifest_failure(
                session,
                &session.manifest.errors_at(missing),
            ));
        }
        let program = compose_program::find(&session.settings, folder).await.map_err(|error| {
            let is_contained = session.settings.client.is_some();
            let mut failure = Failure::from(error);
            if is_contained {
                failure = failure.map_message(|message| {
                    format!("{message}\nhint: the image of xp has no `docker compose`: run xp itself, or add compose to the image and set XBUILDER_IMAGE")
                });
            }
            failure
        })?;
        let (engine, _) = session.engine().await?;
        let mut project = Self {
            environment,
            program,
            target: compose_program::engine(&session.settings),
            folder,
            events: &session.events,
            warnings: Mutex::default(),
            engine,
            config: ComposeProject::default(),
        };
        session
            .events
            .emit(Event::stage(format!("reading {}", environment.shown())));
        let config = project.with_compose(async |compose| compose.config().await);
        let config = config.await;
        session.events.emit(Event::StageFinished);
        let config = config?;
        project.config = ComposeProject::read(&config).ok_or_else(|| {
            Failure::outside(format!(
                "`docker compose config` printed an unknown format for {}\n\
                 hint: its version is {}; report this if it is a current one",
                environment.shown(),
                project.program.version
            ))
        })?;
        Ok(project)
    }

    /// Calls compose; its warnings are shown once.
    async fn with_compose<T>(
        &self,
        call: impl AsyncFnOnce(&Compose<'_>) -> Result<T, ComposeError>,
    ) -> Result<T, ComposeError> {
        let on_line = |line: ComposeLine<'_>| self.relay(line);
        call(&self.compose(&on_line)).await
    }

    fn compose<'c>(&'c self, on_line: LineHandler<'c>) -> Compose<'c> {
        Compose {
            program: &self.program,
            engine: self.target.clone(),
            folder: self.folder,
            files: &self.environment.files,
            project: self.environment.project.as_deref(),
            profiles: &self.environment.profiles,
            on_line,
        }
    }

    fn relay(&self, line: ComposeLine<'_>) {
        // Orphans were already reported.
        if let ComposeLine::Warning(text) = line
            && !text.starts_with("Found orphan containers")
        {
            let mut seen = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.insert(text.to_owned()) {
                self.events.emit(Event::warning(format!("compose: {text}")));
            }
        }
    }

    /// Matches the compose services with services, and checks the names in the environment's `services`.
    pub(super) async fn matches(
        &self,
        session: &Session,
        names: &ImageNames,
    ) -> Result<ComposeMatches, Failure> {
        let mapped = &self.environment.services;
        let is_missing = |name: &&String| !self.config.services.contains_key(*name);
        if mapped.values().flatten().any(|name| is_missing(&name)) {
            let all = self.with_compose(async |compose| compose.all_services().await);
            let all = all.await?;
            let problems = mapped.iter().flat_map(|(service, names)| {
                let unknown = names.iter().filter(|name| !all.contains(name));
                unknown.map(|name| {
                    let files = self.environment.shown();
                    let message = format!("{files} has no compose service `{name}`");
                    let hint = suggest::hint(name, "its services", all.iter().map(String::as_str));
                    let keys = keys(self.environment, &["services", service.as_str()]);
                    (keys, message, hint.into_iter().collect())
                })
            });
            let problems: Vec<_> = problems.collect();
            if !problems.is_empty() {
                let error = session.manifest.errors_at(problems);
                return Err(manifest_failure(session, &error));
            }
        }
        Ok(ComposeMatches::find(&self.config, names, mapped))
    }

    /// Checks that the project runs these services.
    pub(super) async fn check_runs(
        &self,
        session: &Session,
        wanted: &BTreeSet<ServiceName>,
        matches: &ComposeMatches,
        names: &ImageNames,
    ) -> Result<(), Failure> {
        if wanted
            .iter()
            .all(|name| matches.services.contains_key(name))
        {
            return Ok(());
        }
        let all = self.with_compose(async |compose| compose.all_services().await);
        let all = all.await?;
        let (environment, config) = (self.environment, &self.config);
        let unmatched = UnmatchedServices::check(wanted, environment, config, matches, names, &all);
        let Err(UnmatchedServices { services, hints }) = unmatched else {
            return Ok(());
        };
        let last = services.len().saturating_sub(1);
        let problems = services
            .into_iter()
            .enumerate()
            .map(|(index, (name, message))| {
                let keys = match environment.services.get(&name) {
                    Some(_) => keys(environment, &["services", name.as_str()]),
                    None => keys(environment, &["compose"]),
                };
                // The hints are about all of them.
                let hints = if index == last {
                    hints.clone()
                } else {
                    Vec::new()
                };
                (keys, message, hints)
            });
        let error = session.manifest.errors_at(problems.collect::<Vec<_>>());
        Err(manifest_failure(session, &error))
    }

    /// Returns the effective configuration with an override.
    pub(super) async fn render(&self, override_file: &Path) -> Result<String, Failure> {
        let rendered = self.with_compose(async |compose| compose.render(override_file).await);
        Ok(rendered.await?)
    }

    /// Compares the project with its containers.
    pub(super) async fn changes(&self, override_file: &Path) -> Result<ComposeChanges, Failure> {
        let what = format!("comparing with {}", self.environment.name);
        self.events.emit(Event::stage(what));
        let preview = self.with_compose(async |compose| compose.preview(override_file).await);
        let compared = async {
            let lines = preview.await?;
            let containers = self.containers().await?;
            Ok(ComposeChanges::read(&self.config, &lines, &containers))
        };
        let compared = compared.await;
        self.events.emit(Event::StageFinished);
        compared
    }

    /// Returns the containers of the project.
    pub(super) async fn containers(&self) -> Result<Vec<ProjectContainer>, Failure> {
        Ok(self.engine.project_containers(&self.config.name).await?)
    }

    /// Starts the containers.
    pub(super) async fn up(
        &self,
        override_file: &Path,
        timeout: Duration,
        cancel: &CancellationToken,
        on_line: LineHandler<'_>,
    ) -> Result<(), ComposeError> {
        let on_line = |line: ComposeLine<'_>| {
            self.relay(line);
            on_line(line);
        };
        let compose = self.compose(&on_line);
        compose.up(override_file, timeout, cancel).await
    }

    /// Returns a command line for the user, to run in the manifest's folder.
    pub(super) fn command_line(&self, arguments: &[&str]) -> String {
        let words = self.compose(&|_| {}).command_line(arguments);
        let words: Vec<_> = words.iter().map(|word| quoted(word)).collect();
        words.join(" ")
    }
}

/// Returns the path of a key of an environment.
fn keys(environment: &ComposeEnvironment, keys: &[&str]) -> Vec<String> {
    let path = ["deploy", "environments", environment.name.as_str()];
    path.iter()
        .chain(keys)
        .map(|key| (*key).to_owned())
        .collect()
}
