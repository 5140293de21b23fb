//! The steps that describe and sign an image that was pushed.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::compare::labels_of;
use super::decide::Decided;
use super::draft::PlanCandidate;
use super::scripts::unit_of;
use super::{
    Decision, Inventory, NeededImage, PlanDraft, PlannedImage, PluginCall, Presence, Step,
    builder_image,
};
use crate::model::event::Unit;
use crate::model::image::{Digest, ImageReference, ImageRepository, Platform};
use crate::model::manifest::{ServiceName, SigningKeys};
use crate::model::recipe::LABEL_SUPPLY;
use crate::model::source::SourceRemote;
use crate::model::supply::{Expected, ResourceDescriptor, source_uri};

/// See [`Step::Provenance`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProvenanceStep {
    pub service: ServiceName,
    /// The image, tagged with its commit.
    pub image: ImageReference,
    /// The repository and commit.
    pub source: ResourceDescriptor,
    /// The full name of the reference.
    pub reference: Option<String>,
    /// The service's folder in a shared repository.
    pub path: Option<String>,
    /// The images that the build uses.
    pub used: Vec<UsedImage>,
    /// The images of needed services.
    pub needs: Vec<NeededImage>,
    /// Whether this run builds the image.
    pub is_built: bool,
    /// The keys that sign it; `None` if it is not signed.
    pub keys: Option<SigningKeys>,
}

/// An image that a build uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UsedImage {
    /// What for, such as `builder`.
    pub purpose: String,
    pub image: ImageReference,
    /// The platform of the scripts that run in it; `None` for the engine's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

/// See [`Step::Sbom`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SbomStep {
    /// The image, tagged with its commit.
    pub image: ImageReference,
    pub call: PluginCall,
}

/// See [`Step::Sign`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SignStep {
    /// The image, tagged with its commit.
    pub image: ImageReference,
    pub keys: SigningKeys,
}

impl ProvenanceStep {
    pub(super) fn describe(&self) -> String {
        match &self.keys {
            Some(keys) => format!("attach provenance, signed with {}", keys.key),
            None => "attach provenance".to_owned(),
        }
    }
}

impl SbomStep {
    pub(super) fn describe(&self) -> String {
        format!("attach a bill of materials of {}", self.call.plugin)
    }
}

impl SignStep {
    pub(super) fn describe(&self) -> String {
        format!("sign with {}", self.keys.key)
    }
}

/// An image to verify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageToVerify {
    pub service: ServiceName,
    pub repository: ImageRepository,
    /// `None` if there is none in a registry.
    pub digest: Option<Digest>,
    /// What it must have been built from.
    pub expected: Expected,
    /// Whether it must have provenance.
    pub has_provenance: bool,
}

/// What a run attaches last to an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastAttachment {
    Sbom,
    Provenance,
    Signature,
}

/// An image in a registry whose run may have ended before it attached everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UncertainImage {
    pub repository: ImageRepository,
    pub digest: Digest,
    /// What it must have if the run has finished.
    pub last: LastAttachment,
}

impl LastAttachment {
    const ALL: [Self; 3] = [Self::Sbom, Self::Provenance, Self::Signature];

    /// Returns what an image lacks, for messages.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Sbom => "bill of materials",
            Self::Provenance => "provenance",
            Self::Signature => "signature",
        }
    }

    /// Returns the value of the label of a service's image. An image that is built from it inherits the label, so it has
    /// the name.
    pub(super) fn label(self, service: &ServiceName) -> String {
        format!("{service}: {}", self.noun())
    }
}

impl PlanDraft<'_> {
    /// Returns the images in registries whose run may have ended before it attached everything: branch tags are set after
    /// that, and none of this plan is on them.
    pub fn uncertain_images(&self, inventory: &Inventory) -> Vec<UncertainImage> {
        let mut images: Vec<UncertainImage> = Vec::new();
        let candidates = self.candidates.iter();
        for candidate in candidates.filter(|it| self.last_attachment(it).is_some()) {
            let digest_of = |name: &ImageReference| match inventory.registry.get(name) {
                Some(Presence::Present(digest)) => Some(digest.clone()),
                _ => None,
            };
            let finished: Vec<Digest> = candidate.names().filter_map(|it| digest_of(&it)).collect();
            let service = &candidate.service.name;
            for digest in own_digests(candidate, inventory) {
                // Without the label, it was built when nothing was to be attached.
                let labels = labels_of(candidate, &digest, inventory).and_then(Result::ok);
                let label = labels.and_then(|labels| labels.get(LABEL_SUPPLY));
                let mut kinds = LastAttachment::ALL.into_iter();
                let Some(last) = kinds.find(|it| label == Some(&it.label(service))) else {
                    continue;
                };
                let image = UncertainImage {
                    repository: candidate.image.repository().clone(),
                    digest,
                    last,
                };
                if !finished.contains(&image.digest) && !images.contains(&image) {
                    images.push(image);
                }
            }
        }
        images
    }

    /// Returns what is attached last to a service's image after the push; `None` if nothing is.
    pub(super) fn last_attachment(&self, candidate: &PlanCandidate<'_>) -> Option<LastAttachment> {
        let (manifest, service) = (self.manifest, candidate.service);
        let has_registry = candidate.image.repository().registry().is_some();
        let is_local = candidate.is_local || candidate.pinned.is_some();
        if !has_registry || is_local || !self.options.push {
            None
        } else if manifest.supply.sign.is_some() {
            Some(LastAttachment::Signature)
        } else if manifest.has_provenance(service) {
            Some(LastAttachment::Provenance)
        } else {
            manifest.sbom(service).map(|_| LastAttachment::Sbom)
        }
    }

    /// Returns the images in registries that a plan could use, to be verified before.
    pub fn images_to_verify(&self, inventory: &Inventory) -> Vec<ImageToVerify> {
        let mut images: Vec<ImageToVerify> = Vec::new();
        for candidate in self.candidates.iter().filter(|it| !it.is_local) {
            let (service, repository) = (candidate.service, candidate.image.repository());
            for digest in own_digests(candidate, inventory) {
                let is_known = images.iter().any(|image| {
                    image.repository == *repository && image.digest.as_ref() == Some(&digest)
                });
                if !is_known {
                    images.push(ImageToVerify {
                        service: service.name.clone(),
                        repository: repository.clone(),
                        digest: Some(digest),
                        expected: Expected {
                            commit: candidate.source.commit,
                            source: source_uri(&service.source.remote(), None),
                        },
                        has_provenance: self.manifest.has_provenance(service),
                    });
                }
            }
        }
        images
    }
}

impl Decided<'_> {
    /// Returns the steps after the push of an image.
    pub(super) fn supply_steps(&self, candidate: &PlanCandidate<'_>, before: &[Step]) -> Vec<Step> {
        let mut steps = Vec::new();
        if !matches!(before.last(), Some(Step::Push(_))) {
            return steps;
        }
        let (service, supply) = (candidate.service, &self.draft.manifest.supply);
        let manifest = self.draft.manifest;
        let sbom = manifest.sbom(service).and_then(|plugin| {
            Some(SbomStep {
                image: candidate.image.clone(),
                call: PluginCall {
                    plugin: plugin.image.clone(),
                    image: builder_image(&plugin.image, &self.folders)?,
                    location: manifest.location_of_sbom(plugin),
                    // The document is about the image, and nothing else.
                    network: Some("none".to_owned()),
                    with: plugin.with.to_sorted_map(),
                    secrets: BTreeMap::new(),
                },
            })
        });
        steps.extend(sbom.map(|step| Step::Sbom(Box::new(step))));
        if manifest.has_provenance(service) {
            let source = candidate.source;
            steps.push(Step::Provenance(Box::new(ProvenanceStep {
                service: service.name.clone(),
                image: candidate.image.clone(),
                source: described(candidate),
                reference: source.build_reference().name.clone(),
                path: service.source.path().cloned(),
                used: used_images(before),
                needs: self.needed_images(candidate),
                is_built: before.iter().any(|step| matches!(step, Step::Image(_))),
                keys: supply.sign.clone(),
            })));
        }
        steps.extend(supply.sign.clone().map(|keys| {
            Step::Sign(SignStep {
                image: candidate.image.clone(),
                keys,
            })
        }));
        steps
    }
}

impl PlanDraft<'_> {
    /// Returns the image of the plugin that makes the bill of materials of a service's image, if that may be pushed.
    pub(super) fn sbom_unit(&self, candidate: &PlanCandidate<'_>) -> Option<Unit> {
        let has_registry = candidate.image.repository().registry().is_some();
        let is_pushed = has_registry && self.options.push && !candidate.is_local;
        let plugin = self.manifest.sbom(candidate.service);
        plugin.filter(|_| is_pushed).map(|it| unit_of(&it.image))
    }
}

impl Decided<'_> {
    /// Returns the images of the plugins that make bills of materials of the images that are pushed.
    pub(super) fn sbom_units(&self) -> impl Iterator<Item = Unit> {
        let pushed = self.draft.candidates.iter().filter(|candidate| {
            let verdict = self.verdicts.get(&candidate.service.name);
            verdict.is_some_and(|it| matches!(it.decision, Decision::Build | Decision::Push))
        });
        pushed.filter_map(|candidate| self.draft.sbom_unit(candidate))
    }
}

/// Returns the digests that the registry has for the commit of a service.
fn own_digests(candidate: &PlanCandidate<'_>, inventory: &Inventory) -> Vec<Digest> {
    let wanted = candidate.registry_image();
    let is_own = |name: &ImageReference| {
        let commit = name.tag().and_then(|tag| tag.named_commit());
        name.repository() == candidate.image.repository()
            && (*name == wanted || commit == Some(candidate.source.commit))
    };
    let found = inventory.registry.iter();
    let found = found.filter_map(|(name, presence)| match presence {
        Presence::Present(digest) if is_own(name) => Some(digest.clone()),
        _ => None,
    });
    found.collect()
}

/// Describes the repository and commit of a service.
fn described(candidate: &PlanCandidate<'_>) -> ResourceDescriptor {
    let source = candidate.source;
    let remote = candidate.service.source.remote();
    let algorithm = match remote {
        SourceRemote::Git(_) => "gitCommit",
        SourceRemote::Plugin(_) => "scmCommit",
    };
    let reference = source.build_reference().name.as_deref();
    ResourceDescriptor {
        name: Some("source".to_owned()),
        uri: Some(source_uri(&remote, reference)),
        digest: BTreeMap::from([(algorithm.to_owned(), source.commit.to_string())]),
        ..ResourceDescriptor::default()
    }
}

/// Returns the images that steps run in or beside, each once.
fn used_images(steps: &[Step]) -> Vec<UsedImage> {
    let mut used: Vec<UsedImage> = Vec::new();
    for step in steps {
        let platform = step.platform();
        let mut add = |purpose: String, image: &ImageReference| {
            let is_known = |it: &UsedImage| it.image == *image && it.platform.as_ref() == platform;
            if !used.iter().any(is_known) {
                used.push(UsedImage {
                    purpose: match platform {
                        Some(platform) => format!("{purpose} for {platform}"),
                        None => purpose,
                    },
                    image: image.clone(),
                    platform: platform.cloned(),
                });
            }
        };
        match step {
            Step::Container(container) => add("builder".to_owned(), &container.image),
            Step::Plugin(plugin) => add("plugin".to_owned(), &plugin.container.image),
            Step::Fetch(fetch) => add("source plugin".to_owned(), &fetch.call.image),
            Step::Sidecars(sidecars) => {
                for sidecar in &sidecars.containers {
                    if let PlannedImage::Named(image) = &sidecar.image {
                        add(format!("sidecar {}", sidecar.name), image);
                    }
                }
            }
            _ => {}
        }
    }
    used
}
