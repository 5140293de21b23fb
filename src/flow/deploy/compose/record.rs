//! The record of a compose project: in the engine that runs it, with a copy in the `.xp` folder.

use std::collections::BTreeSet;
use std::time::Duration;

use time::OffsetDateTime;

use super::project::OpenProject;
use super::{ComposeTask, PreparedLaunch};
use crate::base::error::Failure;
use crate::base::nonce::nonce;
use crate::client::engine::{DocumentWrite, Engine};
use crate::client::git::checked_out;
use crate::flow::deploy::record::{read_copy, who, write_copy};
use crate::flow::session::Session;
use crate::model::deploy::{DeployState, Deployment, Record};
use crate::model::event::Event;
use crate::model::manifest::{ComposeEnvironment, ServiceName};

/// A record that was read from the engine.
pub(super) struct EngineRecord {
    pub record: Record,
    /// The version of the document; `None` if there was none.
    version: Option<u64>,
}

/// Reads the record of a compose project.
pub async fn recorded(
    session: &Session,
    environment: &ComposeEnvironment,
) -> Result<Record, Failure> {
    let project = OpenProject::open(session, environment).await?;
    let name = document_name(&project, environment);
    Ok(read(&project.engine, &name, environment).await?.record)
}

/// Returns the name of the document with the record: compose projects have unique names in an engine.
fn document_name(project: &OpenProject<'_>, environment: &ComposeEnvironment) -> String {
    format!("xp-deploy-{}-{}", project.config.name, environment.name)
}

async fn read(
    engine: &Engine,
    name: &str,
    environment: &ComposeEnvironment,
) -> Result<EngineRecord, Failure> {
    let Some(document) = engine.document(name).await? else {
        return Ok(EngineRecord {
            record: Record::default(),
            version: None,
        });
    };
    let record = Record::parse(&document.text).map_err(|why| {
        let volume = format!("{name}.{}", document.version);
        Failure::outside(format!(
            "the record of {} in the engine cannot be read: {why}\n\
             hint: if a newer xp wrote it, use that version; otherwise `docker volume rm {volume}` deletes it: the next deploy starts a new record, which has nothing to roll back to",
            environment.name
        ))
    })?;
    Ok(EngineRecord {
        record,
        version: Some(document.version),
    })
}

impl ComposeTask<'_> {
    /// Reads the record from the engine.
    pub(super) async fn recorded(&self) -> Result<EngineRecord, Failure> {
        let environment = self.request.environment;
        let name = document_name(&self.project, environment);
        read(&self.project.engine, &name, environment).await
    }

    /// Returns the services of the manifest that the compose files do not run.
    fn unused(&self, prepared: &PreparedLaunch) -> BTreeSet<ServiceName> {
        let services = self.session.manifest.services.keys();
        let deployed = &prepared.images.set.services;
        services
            .filter(|name| !deployed.contains_key(*name))
            .cloned()
            .collect()
    }

    /// Records the start of a deploy, unless another one is running.
    pub(super) async fn begin(
        &self,
        read: EngineRecord,
        prepared: &PreparedLaunch,
        back: Option<u64>,
    ) -> Result<EngineRecord, Failure> {
        let environment = &self.request.environment.name;
        let now = OffsetDateTime::now_utc();
        self.check_not_in_progress(&read.record, now)?;
        let deployment = Deployment {
            number: read.record.next_number(),
            id: nonce(),
            state: DeployState::Deploying,
            started: now,
            until: Deployment::until(now, self.timeout()),
            ended: None,
            by: who(self.session),
            manifest: self.manifest_commit(),
            files: None,
            services: prepared.patterns.clone(),
            rollback_to: back,
            unused: self.unused(prepared),
            set: prepared.images.set.clone(),
            ids: prepared.images.ids.clone(),
        };
        let record = read.record.with_started(deployment);
        // Written before the engine's record, so that this machine can recognize a killed deploy.
        write_copy(self.session, environment, &record);
        let written = self.write(&record, read.version).await;
        // After an error, the engine may have it after all, and the copy recognizes it.
        if matches!(written, Ok(None)) {
            write_copy(self.session, environment, &read.record);
        }
        match written? {
            Some(version) => Ok(EngineRecord {
                record,
                version: Some(version),
            }),
            None => {
                // Another deploy started first; the error names its user.
                let other = self.recorded().await?;
                self.check_not_in_progress(&other.record, now)?;
                Err(Failure::outside(format!(
                    "the record of {environment} was changed by another deploy\n\
                     hint: run the command again to deploy on top of it"
                )))
            }
        }
    }

    fn check_not_in_progress(&self, record: &Record, now: OffsetDateTime) -> Result<(), Failure> {
        if self.request.take_over {
            return Ok(());
        }
        let environment = &self.request.environment.name;
        // The folder is locked, so a deploy that its copy lists as running was killed.
        let copy = read_copy(self.session, environment);
        let dead = copy.as_ref().and_then(|copy| copy.deploys.first());
        let dead = dead.map(|last| last.id.as_str());
        Ok(record.check_not_in_progress(environment, now, dead)?)
    }

    /// Records the result of the deploy. A failure to write it is an error if the deploy succeeded, else a warning.
    pub(super) async fn end(
        &self,
        started: &EngineRecord,
        state: DeployState,
    ) -> Result<Record, Failure> {
        let environment = &self.request.environment.name;
        let record = started.record.with_ended(state, OffsetDateTime::now_utc());
        write_copy(self.session, environment, &record);
        let why = match self.write(&record, started.version).await {
            Ok(Some(_)) => return Ok(record),
            Ok(None) => "another deploy changed it".to_owned(),
            Err(failure) => super::super::files::one_line(&failure),
        };
        if state == DeployState::Deployed {
            let number = record.deploys.first().map_or(0, |last| last.number);
            return Err(Failure::outside(format!(
                "deploy {number} of {environment} is running, but its record in the engine is still marked as running\n  \
                 cause: {why}\n\
                 hint: `xp deploy {environment}` updates the record"
            )));
        }
        self.session.events.emit(Event::warning(format!(
            "cannot update the record of {environment}: {why}"
        )));
        Ok(record)
    }

    /// Writes the record; `None` if it was changed since it was read.
    async fn write(&self, record: &Record, read: Option<u64>) -> Result<Option<u64>, Failure> {
        let name = document_name(&self.project, self.request.environment);
        let engine = &self.project.engine;
        let (text, writer) = (record.text(), nonce());
        let written = engine.write_document(&name, read, &text, &writer);
        Ok(match written.await? {
            DocumentWrite::Written(version) => Some(version),
            DocumentWrite::Changed => None,
        })
    }

    /// Returns the commit of the manifest and the compose files, with `-dirty` if there are local changes.
    fn manifest_commit(&self) -> Option<String> {
        let manifest = &self.session.manifest;
        let mut files = vec![std::path::PathBuf::from(manifest.file.file_name()?)];
        files.extend(self.request.environment.files.iter().cloned());
        let head = checked_out(&manifest.folder, &files)?;
        Some(if head.is_changed {
            format!("{}-dirty", head.commit)
        } else {
            head.commit.to_string()
        })
    }

    /// Returns the time limit for containers to be ready.
    pub(super) fn timeout(&self) -> Duration {
        self.request
            .timeout
            .unwrap_or(self.request.environment.timeout)
    }
}
