//! The keys of Skaffold files that do not affect how an image is built.
//!
//! Keys that are neither read nor listed here are marked, so that nothing is lost without notice.

use super::super::yaml::{get, unknown_keys};
use crate::model::manifest::node::Node;

/// Keys of a document: read here, or about deploying and testing.
const DOCUMENT: &[&str] = &[
    "apiVersion",
    "build",
    "customActions",
    "deploy",
    "kind",
    "manifests",
    "metadata",
    "portForward",
    "profiles",
    "render",
    "requires",
    "resourceSelector",
    "test",
    "verify",
];

/// Keys of `build`: read here, or about where it runs and what it pushes.
const BUILD: &[&str] = &[
    "artifacts",
    "cluster",
    "googleCloudBuild",
    "insecureRegistries",
    "local",
    "platforms",
    "tagPolicy",
];

/// Keys of an artifact: read here, or about development.
const ARTIFACT: &[&str] = &[
    "bazel",
    "buildpack",
    "buildpacks",
    "context",
    "custom",
    "docker",
    "image",
    "jib",
    "kaniko",
    "ko",
    "platforms",
    "requires",
    "runtimeType",
    "sync",
];

/// Keys of `docker`: read here, or only about how fast it builds.
const DOCKER: &[&str] = &[
    "buildArgs",
    "cacheFrom",
    "cacheTo",
    "dockerfile",
    "noCache",
    "pullParent",
    "secret",
    "secrets",
    "ssh",
    "target",
];

/// Keys of `kaniko`: read here, or only about running kaniko.
const KANIKO: &[&str] = &[
    "buildArgs",
    "cache",
    "cleanup",
    "compressedCaching",
    "dockerfile",
    "image",
    "imageDownloadRetry",
    "imageFSExtractRetry",
    "initImage",
    "logFormat",
    "logTimestamp",
    "pushRetry",
    "snapshotMode",
    "target",
    "useNewRun",
    "verbosity",
];

/// Returns the keys of a document that concern all artifacts and are not read.
pub(super) fn unknown_in_document(document: &Node) -> Vec<String> {
    let mut found = unknown_keys(document, DOCUMENT, "");
    if let Some(build) = get(document, "build") {
        found.extend(unknown_keys(build, BUILD, "build."));
    }
    found
}

/// Returns the keys of an artifact that are not read.
pub(super) fn unknown_in_artifact(artifact: &Node) -> Vec<String> {
    unknown_keys(artifact, ARTIFACT, "")
}

/// Returns the keys of a builder that may affect the image and are not read.
pub(super) fn unknown_in_builder(builder: &str, node: &Node) -> Vec<String> {
    let known = if builder == "docker" { DOCKER } else { KANIKO };
    unknown_keys(node, known, &format!("{builder}."))
}
