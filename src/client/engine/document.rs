//! Small documents that are kept in an engine, in the labels of volumes without content.
//!
//! A volume cannot be changed, so each version of a document is a new volume, and the previous one is removed. Creating
//! a volume that exists returns the existing one, so only one of two concurrent writers succeeds.

use std::collections::HashMap;

use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::ListVolumesOptionsBuilder;

use crate::client::engine::{Engine, EngineError};

/// The label with the name of a document.
const NAME: &str = "x-platform.document";

/// The label with the number of its version.
const VERSION: &str = "x-platform.document.version";

/// The label that identifies the writer of a version.
const WRITER: &str = "x-platform.document.writer";

/// The label with the text.
const TEXT: &str = "x-platform.document.text";

/// A version of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineDocument {
    /// Its number, from 1.
    pub version: u64,
    pub text: String,
}

/// The result of writing a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentWrite {
    /// It has this version now.
    Written(u64),
    /// It was changed since it was read.
    Changed,
}

impl Engine {
    /// Returns the newest version of a document; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// If the engine does not respond.
    pub async fn document(&self, name: &str) -> Result<Option<EngineDocument>, EngineError> {
        let newest = self.document_volumes(name).await?.pop();
        Ok(newest.map(|(version, _, text)| EngineDocument { version, text }))
    }

    /// Returns all documents whose names start with a prefix: name and text of the newest version.
    ///
    /// # Errors
    ///
    /// If the engine does not respond.
    pub async fn documents(&self, prefix: &str) -> Result<Vec<(String, String)>, EngineError> {
        let filters = HashMap::from([("label".to_owned(), vec![NAME.to_owned()])]);
        let options = ListVolumesOptionsBuilder::default()
            .filters(&filters)
            .build();
        let found = self.docker.list_volumes(Some(options)).await;
        let found = found.map_err(|error| EngineError::new("list volumes", error))?;
        let names = found.volumes.into_iter().flatten();
        let names = names.filter_map(|mut volume| volume.labels.remove(NAME));
        let mut names: Vec<String> = names.filter(|name| name.starts_with(prefix)).collect();
        names.sort();
        names.dedup();
        let mut documents = Vec::new();
        for name in names {
            if let Some(document) = self.document(&name).await? {
                documents.push((name, document.text));
            }
        }
        Ok(documents)
    }

    /// Writes the next version of a document. `read` is the version that it is based on; `writer` must be unique.
    ///
    /// # Errors
    ///
    /// If the engine does not respond.
    pub async fn write_document(
        &self,
        name: &str,
        read: Option<u64>,
        text: &str,
        writer: &str,
    ) -> Result<DocumentWrite, EngineError> {
        let failed = |error| EngineError::new("create a volume", error);
        let version = read.unwrap_or_default() + 1;
        let volume = volume_name(name, version);
        let labels = [
            (NAME, name.to_owned()),
            (VERSION, version.to_string()),
            (WRITER, writer.to_owned()),
            (TEXT, text.to_owned()),
        ];
        let labels = labels.map(|(name, value)| (name.to_owned(), value));
        let request = VolumeCreateRequest {
            name: Some(volume.clone()),
            labels: Some(HashMap::from(labels)),
            ..VolumeCreateRequest::default()
        };
        let created = match self.docker.create_volume(request).await {
            Ok(created) => created.labels,
            // Some engines reject a name that exists.
            Err(error) => match self.volume(&volume).await {
                Ok(Some(labels)) => labels,
                _ => return Err(failed(error)),
            },
        };
        if created.get(WRITER).map(String::as_str) != Some(writer) {
            return Ok(DocumentWrite::Changed);
        }
        let volumes = self.document_volumes(name).await?;
        if volumes.iter().any(|(other, _, _)| *other > version) {
            // The versions up to this one were written and removed since it was read.
            self.remove_volume(&volume).await;
            return Ok(DocumentWrite::Changed);
        }
        for (_, old, _) in volumes.iter().filter(|(old, _, _)| *old < version) {
            self.remove_volume(old).await;
        }
        Ok(DocumentWrite::Written(version))
    }

    /// Returns the version, volume and text of each version of a document, the newest one last.
    async fn document_volumes(
        &self,
        name: &str,
    ) -> Result<Vec<(u64, String, String)>, EngineError> {
        let filters = HashMap::from([("label".to_owned(), vec![format!("{NAME}={name}")])]);
        let options = ListVolumesOptionsBuilder::default()
            .filters(&filters)
            .build();
        let found = self.docker.list_volumes(Some(options)).await;
        let found = found.map_err(|error| EngineError::new("list volumes", error))?;
        let versions = found.volumes.into_iter().flatten().filter_map(|volume| {
            let version: u64 = volume.labels.get(VERSION)?.parse().ok()?;
            // Labels can be copied to any volume.
            let is_own = volume.name == volume_name(name, version);
            let text = volume.labels.get(TEXT)?.clone();
            is_own.then_some((version, volume.name, text))
        });
        let mut versions: Vec<_> = versions.collect();
        versions.sort();
        Ok(versions)
    }
}

fn volume_name(name: &str, version: u64) -> String {
    format!("{name}.{version}")
}
