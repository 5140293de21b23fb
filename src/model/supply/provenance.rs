//! Provenance: an in-toto statement with a SLSA predicate.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::ResourceDescriptor;
use super::resource::{digest_set, git_uri};
use crate::model::image::{Digest, ImageReference, ImageRepository, Labels};
use crate::model::recipe::{LABEL_BASES, LABEL_RECIPE, LABEL_STEPS, Recipe};
use crate::model::source::{CommitId, without_user_info};

/// The media type of a statement.
pub const IN_TOTO_TYPE: &str = "application/vnd.in-toto+json";

/// The annotation with the type of the predicate, as BuildKit sets it.
pub const PREDICATE_ANNOTATION: &str = "in-toto.io/predicate-type";

/// The type of the predicate.
pub const PREDICATE_TYPE: &str = "https://slsa.dev/provenance/v1";

/// The URI of the builder, unless the manifest sets it.
pub const BUILDER: &str = "urn:x-platform:builder";

const STATEMENT: &str = "https://in-toto.io/Statement/v1";

/// The meaning of the parameters; see docs/supply-chain.md.
const BUILD: &str = "urn:x-platform:build:1";

/// The manifest that a build is described in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestOrigin {
    /// The URL of its repository, if there is one.
    pub url: Option<String>,
    pub commit: CommitId,
    /// Its path in the repository.
    pub path: String,
    /// Whether it was changed since the commit.
    pub is_modified: bool,
}

/// What is known about a build.
#[derive(Debug, Clone)]
pub struct ProvenanceFacts<'f> {
    pub repository: &'f ImageRepository,
    /// The digest of the image, and those of its platforms if it is an index.
    pub digests: &'f [Digest],
    pub service: &'f str,
    /// The repository and commit of the service.
    pub source: &'f ResourceDescriptor,
    /// The full name of the reference.
    pub reference: Option<&'f str>,
    /// The service's folder in a shared repository.
    pub path: Option<&'f str>,
    pub manifest: Option<&'f ManifestOrigin>,
    /// The labels of the image; of an index, those of its first image.
    pub labels: &'f Labels,
    /// The labels of the images of an index.
    pub platforms: Vec<&'f Labels>,
    /// The images that were used, apart from base images.
    pub images: Vec<ResourceDescriptor>,
    /// The documents that are attached to the image.
    pub documents: Vec<ResourceDescriptor>,
    pub builder: &'f str,
    /// The version of xp.
    pub version: &'f str,
    pub invocation: &'f str,
    /// When this run started to build it, in RFC 3339; `None` if an earlier run built it.
    pub started: Option<String>,
    pub finished: Option<String>,
}

/// Returns the statement.
pub fn statement(facts: &ProvenanceFacts<'_>) -> Value {
    let name = facts.repository.to_string();
    let subject = facts.digests.iter();
    let subject: Vec<Value> = subject
        .map(|digest| json!({ "name": name, "digest": digest_set(digest) }))
        .collect();
    let mut external = json!({ "service": facts.service, "source": facts.source.uri });
    let optional = [("reference", facts.reference), ("path", facts.path)];
    for (key, value) in optional {
        if let Some(value) = value {
            external[key] = json!(value);
        }
    }
    let mut dependencies = vec![facts.source.clone()];
    if let Some(origin) = facts.manifest {
        let described = manifest(origin);
        external["manifest"] = json!({ "uri": described.uri, "path": origin.path });
        dependencies.push(described);
    }
    let labels = std::iter::once(facts.labels).chain(facts.platforms.iter().copied());
    let mut bases = Vec::new();
    for base in labels.flat_map(bases_of) {
        if !bases.contains(&base) {
            bases.push(base);
        }
    }
    // External builders are recorded as bases, too.
    let is_base = |image: &ResourceDescriptor| bases.iter().any(|base| base.digest == image.digest);
    let images = facts.images.iter().filter(|image| !is_base(image));
    dependencies.extend(images.cloned());
    dependencies.extend(bases.iter().cloned());
    let mut metadata = json!({ "invocationId": facts.invocation });
    let times = [
        ("startedOn", &facts.started),
        ("finishedOn", &facts.finished),
    ];
    for (key, time) in times {
        if let Some(time) = time {
            metadata[key] = json!(time);
        }
    }
    let mut details = json!({
        "builder": { "id": facts.builder, "version": { "xp": facts.version } },
        "metadata": metadata,
    });
    if !facts.documents.is_empty() {
        details["byproducts"] = json!(facts.documents);
    }
    json!({
        "_type": STATEMENT,
        "subject": subject,
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD,
                "externalParameters": external,
                "internalParameters": internal(facts.labels),
                "resolvedDependencies": dependencies,
            },
            "runDetails": details,
        },
    })
}

fn manifest(origin: &ManifestOrigin) -> ResourceDescriptor {
    let mut annotations = BTreeMap::new();
    if origin.is_modified {
        annotations.insert("modified".to_owned(), "true".to_owned());
    }
    ResourceDescriptor {
        name: Some("manifest".to_owned()),
        uri: origin.url.as_deref().map(git_uri),
        digest: BTreeMap::from([("gitCommit".to_owned(), origin.commit.to_string())]),
        annotations,
        ..ResourceDescriptor::default()
    }
}

/// Returns the parameters that follow from the manifest and the sources: what the image's own labels record.
fn internal(labels: &Labels) -> Value {
    let recipe = labels.get(LABEL_RECIPE);
    let recipe = recipe.and_then(|label| label.parse::<Recipe>().ok());
    let inputs: BTreeMap<String, String> = recipe
        .iter()
        .flat_map(Recipe::inputs)
        .map(|(name, digest)| (name.to_owned(), digest.to_string()))
        .collect();
    let mut internal = json!({ "recipe": inputs });
    let phases = labels.get(LABEL_STEPS);
    let phases =
        phases.and_then(|label| serde_json::from_str::<BTreeMap<String, String>>(label).ok());
    if let Some(phases) = phases {
        internal["phases"] = json!(phases);
    }
    internal
}

/// Returns the base images that the image's own labels record.
fn bases_of(labels: &Labels) -> Vec<ResourceDescriptor> {
    let label = labels.get(LABEL_BASES);
    let bases =
        label.and_then(|label| serde_json::from_str::<BTreeMap<String, Digest>>(label).ok());
    let bases = bases.into_iter().flatten();
    let described = bases.map(|(name, digest)| match name.parse::<ImageReference>() {
        Ok(image) => ResourceDescriptor::image("base image", &image, &digest),
        Err(_) => ResourceDescriptor {
            name: Some(format!("base image {}", without_user_info(&name))),
            digest: digest_set(&digest),
            ..ResourceDescriptor::default()
        },
    });
    described.collect()
}

/// A statement that was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    #[serde(default)]
    subject: Vec<ResourceDescriptor>,
    #[serde(default)]
    predicate_type: String,
    #[serde(default)]
    predicate: Predicate,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Predicate {
    #[serde(default)]
    build_definition: BuildDefinition,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct BuildDefinition {
    #[serde(default)]
    build_type: String,
    #[serde(default)]
    resolved_dependencies: Vec<ResourceDescriptor>,
}

impl Statement {
    /// Parses a statement; `None` if it is not one, or not provenance.
    pub fn parse(document: &[u8]) -> Option<Self> {
        let statement: Self = serde_json::from_slice(document).ok()?;
        (statement.predicate_type == PREDICATE_TYPE).then_some(statement)
    }

    /// Returns whether xp wrote it: other tools attach provenance as well, for example BuildKit.
    pub fn is_of_xp(&self) -> bool {
        self.predicate.build_definition.build_type == BUILD
    }

    /// Returns whether it is about an image.
    pub fn is_about(&self, digest: &Digest) -> bool {
        let wanted = digest_set(digest);
        self.subject.iter().any(|subject| subject.digest == wanted)
    }

    /// Returns the source that the image was built from.
    pub fn source(&self) -> Option<&ResourceDescriptor> {
        let dependencies = &self.predicate.build_definition.resolved_dependencies;
        let mut sources = dependencies.iter();
        sources.find(|it| it.name.as_deref() == Some("source"))
    }
}
