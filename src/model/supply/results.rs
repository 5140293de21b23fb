//! The results of `xp verify`: as text and as JSON.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Finding, UnknownCause};
use crate::base::plural::count_of;
use crate::base::table::aligned;

/// The version of the JSON format. New fields do not change it.
const VERSION: u64 = 1;

/// The result for an image, with those of its platforms if it is an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageVerdict {
    pub service: String,
    /// The image by digest.
    pub image: String,
    pub commit: String,
    pub finding: Finding,
    /// The images of an index by digest.
    pub platforms: Vec<(String, Finding)>,
}

impl ImageVerdict {
    /// Returns the first problem: of the image, or of one of its platforms.
    pub fn problem(&self) -> Option<&Finding> {
        let platforms = self.platforms.iter().map(|(_, finding)| finding);
        let mut findings = std::iter::once(&self.finding).chain(platforms);
        findings.find(|finding| !finding.is_accepted())
    }
}

/// The results for a set of images.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyResults {
    pub images: Vec<ImageVerdict>,
}

impl VerifyResults {
    /// Returns the reasons why images are unknown.
    pub fn unknown(&self) -> impl Iterator<Item = (&ImageVerdict, &UnknownCause)> {
        let findings = self.images.iter().flat_map(|image| {
            let platforms = image.platforms.iter().map(|(_, finding)| finding);
            let findings = std::iter::once(&image.finding).chain(platforms);
            findings.map(move |finding| (image, finding))
        });
        findings.filter_map(|(image, finding)| match finding {
            Finding::Unknown(cause) => Some((image, cause)),
            _ => None,
        })
    }

    /// Returns the images that are known not to verify.
    pub fn rejected(&self) -> impl Iterator<Item = &ImageVerdict> {
        self.images.iter().filter(|image| {
            image
                .problem()
                .is_some_and(|problem| !matches!(problem, Finding::Unknown(_)))
        })
    }

    /// Returns the results as a table with a closing line.
    pub fn text(&self) -> String {
        let heading = ["SERVICE", "IMAGE", "RESULT"].map(str::to_owned);
        let mut rows = vec![heading.to_vec()];
        for image in &self.images {
            let result = image.finding.to_string();
            rows.push(vec![image.service.clone(), image.image.clone(), result]);
            for (digest, finding) in &image.platforms {
                let digest = format!("  {digest}");
                rows.push(vec![String::new(), digest, finding.to_string()]);
            }
        }
        let verified = self
            .images
            .iter()
            .filter(|image| image.finding == Finding::Verified && image.problem().is_none());
        format!(
            "{}\n{} of {} verified.\n",
            aligned(&rows),
            verified.count(),
            count_of(self.images.len(), "image")
        )
    }

    /// Returns the results as a document.
    pub fn document(&self) -> VerifyDocument {
        let images = self.images.iter().map(|image| VerifiedImage {
            service: image.service.clone(),
            image: image.image.clone(),
            commit: image.commit.clone(),
            result: image.finding.name(),
            text: image.finding.to_string(),
            platforms: image
                .platforms
                .iter()
                .map(|(digest, finding)| VerifiedPlatform {
                    digest: digest.clone(),
                    result: finding.name(),
                    text: finding.to_string(),
                })
                .collect(),
        });
        VerifyDocument {
            version: VERSION,
            images: images.collect(),
        }
    }
}

// The doc comments are part of the schema.
/// The verdict of `xp verify` on each image
///
/// Fields may be added within a version; ignore unknown fields.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "xp verify --format json")]
pub struct VerifyDocument {
    /// The version of this format
    version: u64,
    /// The images, by service
    images: Vec<VerifiedImage>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct VerifiedImage {
    /// The service
    service: String,
    /// The image by digest
    image: String,
    /// The commit that it must have been built from
    commit: String,
    /// `verified`, `not-required`, `missing`, `unsigned`, `wrong-key`, `wrong-digest`, `no-provenance`, `wrong-provenance` or `unknown`
    result: &'static str,
    /// The result, human-readable
    text: String,
    /// The images of an index
    #[serde(skip_serializing_if = "Vec::is_empty")]
    platforms: Vec<VerifiedPlatform>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct VerifiedPlatform {
    /// The digest of the image
    digest: String,
    /// The same values as those of the image
    result: &'static str,
    /// The result, human-readable
    text: String,
}

impl VerifyDocument {
    /// Returns the JSON text.
    pub fn text(&self) -> String {
        // Only maps with other keys than text cannot be serialized.
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        format!("{text}\n")
    }
}

/// Returns the JSON Schema of the document.
pub fn schema() -> Value {
    let generator = SchemaSettings::draft07().into_generator();
    json!(generator.into_root_schema_for::<VerifyDocument>())
}
