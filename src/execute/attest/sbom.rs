//! The step that attaches a bill of materials: a plugin reads the image, and writes the document.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::{Value, json};

use super::{AttestError, platforms};
use crate::base::task::joined;
use crate::client::engine::{Bind, HeldContainer, UploadItem};
use crate::client::git::remove_tree;
use crate::client::registry::{NewAttachment, RegistryClient, RegistryError, StoredManifest};
use crate::execute::path_mapping::PathMapping;
use crate::execute::scm::call::Call;
use crate::execute::state::{AttachedDocument, UnitState};
use crate::execute::step_error::{StepError, Stop};
use crate::execute::{ExecuteContext, LABEL_FOLDER, LABEL_SERVICE};
use crate::model::event::{Event, Phase, Unit};
use crate::model::image::{Digest, ImageRepository};
use crate::model::plan::SbomStep;
use crate::model::supply::{sbom_type, sha256_digest};

/// The folder of the image in the plugin's container: an OCI layout.
const IMAGE: &str = "/image";

/// The file that the plugin writes.
const DOCUMENT: &str = "/out/sbom.json";

/// The largest document, in bytes.
const LARGEST: u64 = 64 * 1024 * 1024;

/// The largest layer that is downloaded, in bytes.
const LARGEST_LAYER: u64 = 64 * 1024 * 1024 * 1024;

/// Attaches the bill of materials that a plugin makes of the image that was pushed; that of each platform to its image.
pub async fn sbom(
    context: &ExecuteContext,
    unit: &Unit,
    step: &SbomStep,
    state: &mut UnitState,
) -> Result<(), Stop> {
    let Some(published) = &state.published else {
        let text = format!("the registry does not report the digest of {}", step.image);
        return Err(StepError::plain(text).into());
    };
    if published.is_adopted {
        return Ok(());
    }
    let (repository, digest) = (step.image.repository(), published.digest.clone());
    let images = platforms(&context.registry, repository, &digest).await;
    let images = images.map_err(StepError::from)?.unwrap_or_default();
    if images.is_empty() {
        return attach(context, unit, step, &digest, state).await;
    }
    // Each platform has its own packages.
    for image in images {
        attach(context, unit, step, &image, state).await?;
    }
    Ok(())
}

/// Attaches the bill of materials of one image.
async fn attach(
    context: &ExecuteContext,
    unit: &Unit,
    step: &SbomStep,
    digest: &Digest,
    state: &mut UnitState,
) -> Result<(), Stop> {
    let folder = context.layout.sbom(&unit.to_string());
    remove_tree(&folder).map_err(StepError::from)?;
    let written = tokio::select! {
        written = document(context, unit, step, digest, &folder) => written,
        () = context.cancel.cancelled() => Err(Stop::Cancelled),
    };
    _ = remove_tree(&folder);
    let (media_type, document) = written?;
    let annotations = Default::default();
    let new = NewAttachment {
        media_type,
        content: &document,
        annotations: &annotations,
    };
    let attached = context
        .registry
        .attach(step.image.repository(), digest, new);
    tokio::select! {
        attached = attached => {
            attached.map_err(StepError::from)?;
        }
        () = context.cancel.cancelled() => return Err(Stop::Cancelled),
    }
    let digest = sha256_digest(&document);
    state.attached.extend(digest.map(|digest| AttachedDocument {
        name: "sbom".to_owned(),
        media_type: media_type.to_owned(),
        digest,
    }));
    Ok(())
}

/// Runs the plugin, and returns the type of the document and the document.
async fn document(
    context: &ExecuteContext,
    unit: &Unit,
    step: &SbomStep,
    digest: &Digest,
    folder: &Path,
) -> Result<(&'static str, Vec<u8>), Stop> {
    let repository = step.image.repository();
    let mapping = context.path_mapping().await.map_err(StepError::from)?;
    download(&context.registry, repository, digest, folder)
        .await
        .map_err(StepError::from)?;
    let (binds, uploads) = match mapping {
        PathMapping::Remote(_) => (Vec::new(), vec![upload(folder)]),
        mapping => {
            let (source, _) = mapping.source(folder).map_err(StepError::from)?;
            let bind = Bind {
                source,
                target: IMAGE.to_owned(),
                read_only: true,
            };
            (vec![bind], Vec::new())
        }
    };
    let config = json!({
        "with": step.call.with,
        "image": { "name": step.image.to_string(), "digest": digest },
        "path": IMAGE,
    });
    let call = Call {
        plugin: &step.call,
        command: "sbom",
        config: config.to_string().into_bytes(),
        binds,
        uploads,
        labels: HashMap::from([
            (
                LABEL_FOLDER.to_owned(),
                mapping.shown(context.layout.root()),
            ),
            (LABEL_SERVICE.to_owned(), unit.to_string()),
        ]),
    };
    let (events, of_unit) = (context.events.clone(), unit.clone());
    let output = move |bytes: Bytes| {
        events.emit(Event::Output {
            unit: of_unit.clone(),
            phase: Phase::Attest,
            bytes,
        });
    };
    let invalid = |problem: &str| {
        StepError::plain(format!(
            "`sbom` of {} succeeded, but {DOCUMENT} {problem} ({})",
            step.call.plugin, step.call.location
        ))
        .hint("this is a fault of the plugin; docs/supply-chain.md describes the document")
    };
    let read = async |container: &HeldContainer| {
        let files = container.read_files(Path::new(DOCUMENT), LARGEST, |_, _, _| true);
        let Some((_, document)) = files.await?.into_iter().next() else {
            return Err(invalid(
                "is missing, is not a regular file, or is too large",
            ));
        };
        match sbom_type(&document) {
            Some(media_type) => Ok((media_type, document)),
            None => Err(invalid("is neither SPDX nor CycloneDX in JSON")),
        }
    };
    call.run(context, output, read).await
}

/// Returns the upload of the image to an engine on another machine.
fn upload(folder: &Path) -> UploadItem {
    UploadItem::Tree {
        from: folder.to_owned(),
        to: PathBuf::from(IMAGE),
        owner: Some((0, 0)),
        excluded: Vec::new(),
        is_copied_back: false,
        may_be_missing: false,
    }
}

/// Downloads an image as an OCI layout.
async fn download(
    registry: &RegistryClient,
    repository: &ImageRepository,
    digest: &Digest,
    folder: &Path,
) -> Result<(), AttestError> {
    let stored = stored(registry, repository, digest).await?;
    let blobs = folder.join("blobs/sha256");
    let prepared = prepare(folder.to_owned(), blobs.clone());
    prepared.await.map_err(RegistryError::File)?;
    let (media_type, bytes) = registry
        .manifest_bytes(&repository.with_digest(digest.clone()))
        .await?;
    let size = bytes.len();
    write(&blobs, digest, bytes.to_vec())
        .await
        .map_err(RegistryError::File)?;
    for blob in stored.config.iter().chain(&stored.layers) {
        let path = blobs.join(digits(&blob.digest));
        let mut file = File::create(&path).map_err(RegistryError::File)?;
        registry
            .fetch_blob(repository, &blob.digest, LARGEST_LAYER, &mut file)
            .await?;
    }
    let index = json!({
        "schemaVersion": 2,
        "manifests": [{ "mediaType": media_type, "digest": digest, "size": size }],
    });
    let path = folder.join("index.json");
    fs::write(path, index.to_string()).map_err(RegistryError::File)?;
    Ok(())
}

async fn stored(
    registry: &RegistryClient,
    repository: &ImageRepository,
    digest: &Digest,
) -> Result<StoredManifest, RegistryError> {
    let image = repository.with_digest(digest.clone());
    let found = registry.stored(&image).await?;
    found.ok_or_else(|| RegistryError::Incomplete {
        image: repository.to_string(),
        part: digest.to_string(),
    })
}

async fn prepare(folder: PathBuf, blobs: PathBuf) -> io::Result<()> {
    let layout: Value = json!({ "imageLayoutVersion": "1.0.0" });
    joined(
        tokio::task::spawn_blocking(move || {
            fs::create_dir_all(&blobs)?;
            fs::write(folder.join("oci-layout"), layout.to_string())
        })
        .await,
    )
}

async fn write(blobs: &Path, digest: &Digest, bytes: Vec<u8>) -> io::Result<()> {
    let path = blobs.join(digits(digest));
    joined(tokio::task::spawn_blocking(move || fs::write(path, bytes)).await)
}

fn digits(digest: &Digest) -> String {
    let parts = digest.as_str().split_once(':');
    parts.map_or_else(String::new, |(_, digits)| digits.to_owned())
}
