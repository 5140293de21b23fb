//! Images for several platforms: which images of an existing index are used again, and which are built.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::compare::ImageLookup;
use super::decide::Decided;
use super::draft::PlanCandidate;
use super::{Decision, PlanDraft};
use crate::model::image::{Digest, ImageReference, Labels, Platform, PublishedImage};
use crate::model::manifest::{
    ManifestError, MissingInput, ScriptPhase, ServiceName, SidecarImage, SidecarName,
};
use crate::model::recipe::{ChangeKind, RecipeChange, RecipeStatus};

/// The index that a push writes after it has pushed the images of platforms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IndexStep {
    /// Its images, in the order of the manifest.
    pub images: Vec<IndexEntry>,
    /// Whether the engine gets its own platform's image under the image's names.
    pub is_pulled: bool,
}

/// The image of one platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IndexEntry {
    pub platform: Platform,
    pub source: IndexSource,
}

/// Where the image of a platform comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IndexSource {
    /// It is built, and pushed with this tag: an engine cannot push an image without one.
    Built(ImageReference),
    /// The registry has it.
    Kept(Digest),
}

impl IndexStep {
    /// Returns the images that are built, with the names under which they are pushed.
    pub fn built(&self) -> impl Iterator<Item = (&Platform, &ImageReference)> {
        self.images.iter().filter_map(|entry| match &entry.source {
            IndexSource::Built(image) => Some((&entry.platform, image)),
            IndexSource::Kept(_) => None,
        })
    }

    /// Returns the index as text, such as `linux/amd64, linux/arm64 (kept)`.
    pub(super) fn describe(&self) -> String {
        let images = self.images.iter().map(|entry| match &entry.source {
            IndexSource::Built(_) => entry.platform.to_string(),
            IndexSource::Kept(_) => format!("{} (kept)", entry.platform),
        });
        let images: Vec<String> = images.collect();
        images.join(", ")
    }
}

/// The result of comparing the images of an index.
pub(super) struct ComparedPlatforms {
    /// The result for the index as a whole.
    pub lookup: ImageLookup,
    /// The images that are up to date although the index is not.
    pub kept: Vec<(Platform, Digest)>,
}

/// Compares the images of an index, or the only image, with what is wanted. `look_up` compares one image by its labels.
pub(super) fn compare(
    wanted: &[Platform],
    digest: &Digest,
    published: &PublishedImage,
    look_up: impl Fn(&Labels) -> ImageLookup,
) -> ComparedPlatforms {
    let mut kept = Vec::new();
    let (mut unverified, mut others, mut stale) = (Vec::new(), Vec::new(), Vec::new());
    for platform in wanted {
        let change = |kind| RecipeChange::of_platform(platform, kind);
        let Some((digest, labels)) = published.for_platform(digest, platform) else {
            others.push(change(ChangeKind::Missing));
            continue;
        };
        match look_up(labels) {
            ImageLookup::Found(RecipeStatus::Verified) => {
                kept.push((platform.clone(), digest.clone()));
            }
            ImageLookup::Found(RecipeStatus::Unverified) => {
                unverified.push(change(ChangeKind::Foreign));
            }
            ImageLookup::Found(RecipeStatus::Stale(changes)) => {
                others.push(change(ChangeKind::Changed));
                for change in changes {
                    if !stale.contains(&change) {
                        stale.push(change);
                    }
                }
            }
            lookup => {
                let kept = Vec::new();
                return ComparedPlatforms { lookup, kept };
            }
        }
    }
    let status = if unverified.len() == wanted.len() {
        // No platform has a recipe to compare with; single images without one are accepted, too.
        RecipeStatus::Unverified
    } else if unverified.is_empty() && others.is_empty() {
        RecipeStatus::Verified
    } else if kept.is_empty() && !stale.is_empty() {
        RecipeStatus::Stale(stale)
    } else {
        others.extend(unverified);
        RecipeStatus::Stale(others)
    };
    if !matches!(status, RecipeStatus::Stale(_)) {
        kept.clear();
    }
    ComparedPlatforms {
        lookup: ImageLookup::Found(status),
        kept,
    }
}

impl PlanCandidate<'_> {
    /// Returns the platforms of the image.
    pub(super) fn platforms(&self) -> &[Platform] {
        &self.service.docker.platforms
    }

    /// Returns the input of the recipe that distinguishes indexes; `None` for an image without platforms.
    pub(super) fn platforms_input(&self) -> Option<String> {
        let platforms = self.platforms().iter().map(ToString::to_string);
        let mut platforms: Vec<String> = platforms.collect();
        platforms.sort_unstable();
        (!platforms.is_empty()).then(|| platforms.join(", "))
    }
}

impl PlanDraft<'_> {
    /// Returns whether the image of any service is for several platforms, so that the engine's own one matters.
    pub fn has_platforms(&self) -> bool {
        self.candidates.iter().any(|it| !it.platforms().is_empty())
    }

    /// Returns whether a service's image is an index of images that are built for their platforms. An image that is not
    /// pushed is only for the engine's own platform, because an engine has one image per name.
    pub(super) fn is_index(&self, candidate: &PlanCandidate<'_>) -> bool {
        !candidate.platforms().is_empty()
            && self.options.push
            && !candidate.is_local
            && candidate.image.repository().registry().is_some()
    }
}

impl Decided<'_> {
    /// Fails if a build uses an image that the engine cannot run.
    pub(super) fn check_platforms(
        &self,
        candidate: &PlanCandidate<'_>,
        index: Option<&IndexStep>,
        is_verified: bool,
    ) -> Result<(), ManifestError> {
        let Some(own) = &self.inventory.engine_platform else {
            return Ok(());
        };
        let service = &candidate.service.name;
        let failed = |service: &ServiceName, message: String, help: String| {
            let key = "docker.platforms".to_owned();
            let missing = MissingInput {
                service: service.clone(),
                key,
                message,
                help,
            };
            Err(self.draft.manifest.missing_inputs([missing]))
        };
        if is_verified && index.is_some() && !candidate.platforms().contains(own) {
            let message = format!(
                "`docker.platforms` must contain {own}, the platform of the engine, because of `scripts.verify`"
            );
            let help =
                "the new image runs beside the scripts that verify it; `--no-test` skips them";
            return failed(service, message, help.to_owned());
        }
        let engine = self.draft.manifest.engines.get(own);
        if let Some(engine) = engine.filter(|_| is_verified && index.is_some()) {
            let message = format!(
                "`scripts.verify` runs beside the new image, but `engines` builds it for {own} on another engine, `{engine}`"
            );
            let help = format!("remove {own} from `engines`, or use `--no-test`");
            return failed(service, message, help);
        }
        if let Some((sidecar, platform)) = self.foreign_sidecar(candidate, index) {
            let message = format!(
                "the sidecar `{sidecar}` is the image of another service, which the engine that `engines` names for {platform} does not have"
            );
            let help = "use an image of a registry for the sidecar, or set `scripts.once: true` if what the scripts write is the same for all platforms";
            return failed(service, message, help.to_owned());
        }
        for need in &candidate.service.needs {
            let needed = self.draft.candidate(need);
            if needed.is_some_and(|it| self.draft.is_index(it) && !it.platforms().contains(own)) {
                let message = format!(
                    "`docker.platforms` must contain {own}, the platform of the engine, because `{service}` needs the image"
                );
                return failed(
                    need,
                    message,
                    format!("add {own} to the platforms of `{need}`"),
                );
            }
        }
        Ok(())
    }

    /// Returns a sidecar with the image of a service, and the platform whose engine would have to run it.
    fn foreign_sidecar<'c>(
        &self,
        candidate: &'c PlanCandidate<'_>,
        index: Option<&'c IndexStep>,
    ) -> Option<(&'c SidecarName, &'c Platform)> {
        if !candidate.service.has_scripts_per_platform() {
            return None;
        }
        let engines = &self.draft.manifest.engines;
        let mut built = index?.built();
        let (platform, _) = built.find(|(platform, _)| engines.contains_key(platform))?;
        let mut sidecars = candidate.service.used_sidecars();
        let (name, _) = sidecars.find(|(_, sidecar)| {
            let runs = |phase: &ScriptPhase| {
                let is_run = self.draft.options.test || !phase.is_test();
                *phase != ScriptPhase::Verify && is_run && candidate.service.scripts.has(*phase)
            };
            matches!(sidecar.image, SidecarImage::Service { .. }) && sidecar.phases.iter().any(runs)
        })?;
        Some((name, platform))
    }

    /// Returns the index that a build of a service pushes; `None` for an image of the engine's own platform.
    pub(super) fn index(&self, candidate: &PlanCandidate<'_>) -> Option<IndexStep> {
        if !self.draft.is_index(candidate) {
            return None;
        }
        let kept = self.kept(candidate);
        let recipe = self.published_recipe(candidate);
        let tagged = match &recipe {
            Some(recipe) => candidate.identity(recipe),
            None => candidate.image.clone(),
        };
        let images = candidate.platforms().iter().map(|platform| {
            let known = kept.iter().find(|(it, _)| it == platform);
            let source = match (known, tagged.tag()) {
                (Some((_, digest)), _) => IndexSource::Kept(digest.clone()),
                (None, Some(tag)) => {
                    let tag = tag.for_platform(platform);
                    IndexSource::Built(tagged.repository().tagged(tag))
                }
                (None, None) => IndexSource::Built(tagged.clone()),
            };
            IndexEntry {
                platform: platform.clone(),
                source,
            }
        });
        Some(IndexStep {
            images: images.collect(),
            is_pulled: self.inventory.runs(candidate.platforms()),
        })
    }

    /// Returns the images of the existing index that a build uses again.
    fn kept(&self, candidate: &PlanCandidate<'_>) -> Vec<(Platform, Digest)> {
        let options = &self.draft.options;
        let is_forced = options.force && candidate.selected;
        let mut needs = candidate.service.needs.iter();
        let is_rebuilt = |service| {
            let verdict = self.verdicts.get(service);
            verdict.is_some_and(|it| it.decision == Decision::Build || it.awaited_from.is_some())
        };
        if is_forced || needs.any(is_rebuilt) {
            return Vec::new();
        }
        let comparison = self.comparisons.get(&candidate.service.name);
        comparison.map(|it| it.kept.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::image::PlatformImage;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    fn digest(digit: &str) -> Digest {
        format!("sha256:{}", digit.repeat(64)).parse().unwrap()
    }

    /// Compares an index whose images have labels with their state; each has a digest of its position.
    fn compared(wanted: &[&str], images: &[(&str, &str)]) -> (String, Vec<String>) {
        let images = images.iter().enumerate().map(|(position, (name, state))| {
            let labels = Labels::from([("state".to_owned(), (*state).to_owned())]);
            PlatformImage {
                platform: platform(name),
                digest: digest(&position.to_string()),
                config: None,
                labels,
            }
        });
        let published = PublishedImage {
            images: images.collect(),
            ..PublishedImage::default()
        };
        let wanted: Vec<Platform> = wanted.iter().map(|it| platform(it)).collect();
        let compared = compare(
            &wanted,
            &digest("f"),
            &published,
            |labels| match labels["state"].as_str() {
                "same" => ImageLookup::Found(RecipeStatus::Verified),
                "foreign" => ImageLookup::Found(RecipeStatus::Unverified),
                "local" => ImageLookup::FromWorkingCopy,
                other => {
                    let change = RecipeChange::new(other, ChangeKind::Changed);
                    ImageLookup::Found(RecipeStatus::Stale(vec![change]))
                }
            },
        );
        let kept = compared
            .kept
            .iter()
            .map(|(platform, _)| platform.to_string());
        (compared.lookup.describe(), kept.collect())
    }

    const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];

    #[test]
    fn an_index_with_all_platforms_is_up_to_date() {
        let (amd, arm) = ((BOTH[0], "same"), (BOTH[1], "same"));
        let nothing: Vec<String> = Vec::new();
        assert_eq!(
            compared(&BOTH, &[amd, arm]),
            ("verified".to_owned(), nothing.clone())
        );
        // Another order, and more platforms than wanted.
        assert_eq!(compared(&BOTH, &[arm, amd]).0, "verified");
        assert_eq!(compared(&BOTH[..1], &[amd, arm]).0, "verified");
        let foreign = [(BOTH[0], "foreign"), (BOTH[1], "foreign")];
        let (status, kept) = compared(&BOTH, &foreign);
        assert!(status.starts_with("unverified"), "{status}");
        assert_eq!(kept, nothing);
    }

    #[test]
    fn what_is_up_to_date_is_kept() {
        let amd = (BOTH[0], "same");
        let kept = |images: &[(&str, &str)]| compared(&BOTH, images);
        let only = vec![BOTH[0].to_owned()];
        assert_eq!(
            kept(&[amd]),
            (
                "stale: platforms.linux/arm64 is missing".to_owned(),
                only.clone()
            )
        );
        assert_eq!(
            kept(&[amd, (BOTH[1], "scripts.build")]),
            (
                "stale: platforms.linux/arm64 changed".to_owned(),
                only.clone()
            )
        );
        assert_eq!(
            kept(&[amd, (BOTH[1], "foreign")]),
            (
                "stale: platforms.linux/arm64 was not built by xp".to_owned(),
                only
            )
        );
    }

    #[test]
    fn an_image_that_is_stale_everywhere_says_why() {
        let stale = [(BOTH[0], "scripts.build"), (BOTH[1], "scripts.build")];
        let (status, kept) = compared(&BOTH, &stale);
        assert_eq!(status, "stale: scripts.build changed");
        assert!(kept.is_empty());
        let (status, _) = compared(&BOTH, &[("linux/s390x", "same")]);
        assert_eq!(
            status,
            "stale: platforms.linux/amd64 is missing, platforms.linux/arm64 is missing"
        );
        let (status, _) = compared(&BOTH, &[(BOTH[0], "local"), (BOTH[1], "same")]);
        assert_eq!(status, "built from a working copy with --local");
    }

    #[test]
    fn an_image_without_an_index_is_that_of_its_platform() {
        let published = PublishedImage {
            platform: Some(platform(BOTH[0])),
            ..PublishedImage::default()
        };
        let wanted = BOTH.map(platform);
        let compared = compare(&wanted, &digest("a"), &published, |_| {
            ImageLookup::Found(RecipeStatus::Verified)
        });
        assert_eq!(compared.kept, [(platform(BOTH[0]), digest("a"))]);
    }
}
