//! The unit document: a unit of a plan, as it is sent to the machine that runs it.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use super::{CACHE_FOLDER, PLATFORM_FOLDER, Probe, UNIT_FOLDER};
use crate::base::error::{Diagnostic, Exit};
use crate::model::image::{Digest, ImageReference};
use crate::model::layout::Layout;
use crate::model::manifest::SecretSource;
use crate::model::plan::{Step, UnitPlan};
use crate::model::source::UrlRule;
use crate::model::trace::RunTrace;

/// The version of the document. A worker runs documents of exactly this version.
pub const DOCUMENT_VERSION: u64 = 1;

/// One unit of a plan: everything that a worker needs to run it
///
/// It may contain credentials, and is kept in a Secret. Paths are those of the worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "The unit document of xp build --fleet")]
pub struct WorkerDocument {
    /// The version of this format
    pub version: u64,
    /// The version of xp that wrote it
    pub xp: String,
    /// The platform that the results of phases are for, such as `linux/x86_64`; omitted if the unit has none
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// The registries that are used without TLS: hosts and networks
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub insecure_registries: Vec<String>,
    /// The rules of git's `insteadOf` for the servers of its remotes
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub url_rules: Vec<UrlRule>,
    /// The trace that the run belongs to
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<RunTrace>,
    /// The files of a builder's folder
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builder: Option<BuilderFiles>,
    /// The unit, with the steps to run
    pub unit: UnitPlan,
}

/// The files of a builder's folder
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BuilderFiles {
    /// The archive, next to the document
    pub archive: String,
    /// The folder to unpack it into
    pub folder: PathBuf,
}

/// A secret of the manifest, which becomes a file next to the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretFile {
    /// The file's name.
    pub name: String,
    /// Where the coordinator reads it.
    pub source: SecretSource,
}

/// A document that this version of xp cannot run.
#[derive(Debug, Error)]
pub enum InvalidDocument {
    /// Another version of xp wrote it.
    #[error(
        "the unit was planned by xp {xp}, which uses version {version} of the unit document; this is xp {}, which uses {DOCUMENT_VERSION}",
        env!("CARGO_PKG_VERSION")
    )]
    OtherVersion { xp: String, version: u64 },
    /// It is damaged.
    #[error("invalid unit document")]
    Malformed(#[source] serde_json::Error),
}

impl Diagnostic for InvalidDocument {
    fn exit(&self) -> Exit {
        Exit::Usage
    }

    fn hints(&self) -> Vec<String> {
        vec![
            "set `image` of the fleet to the image of the version of xp that runs `xp build --fleet`"
                .to_owned(),
        ]
    }
}

impl WorkerDocument {
    /// Returns the document of a unit, with the paths of the worker instead of those below `folder` and `layout`, and
    /// the secrets that it reads as files.
    ///
    /// `built` returns the digest of an image that this run has built.
    pub fn of(
        unit: &UnitPlan,
        folder: &Path,
        layout: &Layout,
        built: impl Fn(&ImageReference) -> Option<Digest>,
    ) -> (Self, Vec<SecretFile>) {
        let mut unit = unit.clone();
        let steps = unit.remote_steps().len();
        unit.steps.truncate(steps);
        unit.held = 0;
        for step in &mut unit.steps {
            match step {
                Step::Pull { image, digest, .. } => {
                    if let Some(found) = built(image) {
                        *digest = Some(found);
                    }
                }
                // The working copy only holds the object store.
                Step::Sync(step) => step.moves = false,
                _ => {}
            }
        }
        let move_path = |path: &mut PathBuf| {
            // `cacheDir` may be below the manifest's folder, so it goes first.
            if let Ok(below) = path.strip_prefix(layout.root()) {
                *path = joined(CACHE_FOLDER, below);
            } else if let Ok(below) = path.strip_prefix(folder) {
                *path = joined(PLATFORM_FOLDER, below);
            }
        };
        unit.for_each_path(&mut { move_path });
        let mut secrets: Vec<SecretFile> = Vec::new();
        unit.for_each_secret(&mut |source| {
            let known = secrets.iter().find(|it| it.source == *source);
            let name = match known {
                Some(known) => known.name.clone(),
                None => {
                    let name = format!("secret-{}", secrets.len());
                    secrets.push(SecretFile {
                        name: name.clone(),
                        source: source.clone(),
                    });
                    name
                }
            };
            *source = SecretSource::File(format!("{UNIT_FOLDER}/{name}"));
        });
        let document = Self {
            version: DOCUMENT_VERSION,
            xp: env!("CARGO_PKG_VERSION").to_owned(),
            platform: None,
            insecure_registries: Vec::new(),
            url_rules: Vec::new(),
            trace: None,
            builder: None,
            unit,
        };
        (document, secrets)
    }

    /// Returns the document as text.
    ///
    /// # Errors
    ///
    /// A path is not UTF-8.
    pub fn to_text(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }
}

/// What a worker is to do.
pub enum SentWork {
    /// Run a unit.
    Unit(Box<WorkerDocument>),
    /// Check what units need.
    Probe(Box<Probe>),
}

impl SentWork {
    /// Parses a document.
    ///
    /// # Errors
    ///
    /// It has another version, or is damaged.
    pub fn parse(text: &[u8]) -> Result<Self, InvalidDocument> {
        #[derive(Deserialize)]
        struct Header {
            version: u64,
            #[serde(default)]
            xp: String,
            probe: Option<Box<Probe>>,
        }
        let header: Header = serde_json::from_slice(text).map_err(InvalidDocument::Malformed)?;
        if header.version != DOCUMENT_VERSION {
            return Err(InvalidDocument::OtherVersion {
                xp: header.xp,
                version: header.version,
            });
        }
        if let Some(probe) = header.probe {
            return Ok(Self::Probe(probe));
        }
        let unit = serde_json::from_slice(text).map_err(InvalidDocument::Malformed)?;
        Ok(Self::Unit(unit))
    }
}

/// Joins paths without a slash at the end.
fn joined(folder: &str, below: &Path) -> PathBuf {
    let folder = Path::new(folder);
    if below.as_os_str().is_empty() {
        folder.to_owned()
    } else {
        folder.join(below)
    }
}

/// Returns the JSON Schema of [`WorkerDocument`], the content of `schema/unit.schema.json`.
pub fn schema() -> Value {
    let generator = SchemaSettings::draft07().into_generator();
    let mut schema = generator
        .into_root_schema_for::<WorkerDocument>()
        .to_value();
    without_links(&mut schema);
    schema
}

/// Removes links to the code from descriptions.
fn without_links(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::String(text)) = members.get_mut("description") {
                *text = text.replace("[`", "`").replace("`]", "`");
                if text.starts_with("See `") {
                    members.remove("description");
                }
            }
            members.values_mut().for_each(without_links);
        }
        Value::Array(items) => items.iter_mut().for_each(without_links),
        _ => {}
    }
}
