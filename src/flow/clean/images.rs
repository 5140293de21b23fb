//! Turns labels and manifests into what the decision needs.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::str::FromStr as _;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::flow::session::Session;
use crate::model::clean::{BuiltImage, ImageContent, content_of};
use crate::model::image::{Digest, Labels, Tag};
use crate::model::manifest::{Manifest, PlaceholderValues, ServiceName};
use crate::model::recipe::{
    InputDigest, LABEL_BASES, LABEL_CREATED, LABEL_LOCAL, LABEL_NEEDED_IMAGES, LABEL_RECIPE,
    LABEL_REVISION, LABEL_SERVICE, LABEL_STEPS, LABEL_VERSION, Recipe,
};
use crate::model::source::CommitId;
use crate::model::step_result::StepKey;

/// The earliest time that an image can have been created: reproducible builds have constants such as 1980.
const EARLIEST: i64 = 1_356_998_400;

/// The tags of the builder images, by what recipes record of them.
pub type BuilderTags = HashMap<InputDigest, Vec<Tag>>;

/// Returns these tags by what recipes record of them.
pub fn builder_tags(tags: impl IntoIterator<Item = Tag>) -> BuilderTags {
    let mut by_digest = BuilderTags::new();
    for tag in tags {
        let digest = InputDigest::of_text(content_of(&tag).unwrap_or(tag.as_str()));
        by_digest.entry(digest).or_default().push(tag);
    }
    by_digest
}

/// What decisions about images need of the platform.
#[derive(Clone, Copy)]
pub struct PlatformContext<'p> {
    pub manifest: &'p Manifest,
    /// xp's own folder.
    pub cache_dir: &'p Path,
    /// The environment, for the manifest's placeholders.
    pub variables: &'p BTreeMap<String, String>,
}

impl<'p> PlatformContext<'p> {
    /// Returns that of a session.
    pub fn of(session: &'p Session) -> Self {
        Self {
            manifest: &session.manifest,
            cache_dir: session.layout.root(),
            variables: &session.settings.variables,
        }
    }
}

/// Returns what an image is, by its labels.
pub fn content(
    platform: PlatformContext<'_>,
    labels: &Labels,
    builders: &BuilderTags,
) -> ImageContent {
    let foreign = |what: &str| ImageContent::Foreign(what.to_owned());
    let (Some(service), Some(commit), Some(recipe)) = (
        labels.get(LABEL_SERVICE),
        labels.get(LABEL_REVISION),
        labels.get(LABEL_RECIPE),
    ) else {
        return foreign("not built by xp");
    };
    let Ok(commit) = commit.parse::<CommitId>() else {
        return foreign("not built by xp");
    };
    // What it needs is unknown.
    let Ok(recipe) = Recipe::from_str(recipe) else {
        return foreign("built by a newer xp");
    };
    let Some(needs) = map_of(labels, LABEL_NEEDED_IMAGES) else {
        return foreign("its label x-platform.needs cannot be read");
    };
    let Some(steps) = map_of(labels, LABEL_STEPS) else {
        return foreign("its label x-platform.steps cannot be read");
    };
    let reference = labels.get(LABEL_VERSION).cloned().unwrap_or_default();
    let bases = map_of(labels, LABEL_BASES).unwrap_or_default();
    let steps = steps.values().filter_map(|key| key.parse::<StepKey>().ok());
    let used = recipe
        .inputs()
        .filter_map(|(_, input)| builders.get(input))
        .flatten();
    ImageContent::Built(Box::new(BuiltImage {
        own_tags: own_tags(platform, service, commit, &reference),
        service: service.clone(),
        commit,
        reference,
        is_local: labels.contains_key(LABEL_LOCAL),
        committed: labels.get(LABEL_CREATED).and_then(|time| seconds(time)),
        needs: needs
            .into_iter()
            .filter_map(|(service, id)| Some((service, id_digest(&id)?)))
            .collect(),
        steps: steps.map(|key| key.tag()).collect(),
        builders: used.cloned().collect(),
        bases: bases.values().filter_map(|it| it.parse().ok()).collect(),
    }))
}

/// Returns a label with a JSON object; `None` if it cannot be read.
fn map_of(labels: &Labels, name: &str) -> Option<BTreeMap<String, String>> {
    match labels.get(name) {
        Some(text) => serde_json::from_str(text).ok(),
        None => Some(BTreeMap::new()),
    }
}

/// Returns an ID of an engine as a digest; Podman omits the algorithm.
pub fn id_digest(id: &str) -> Option<Digest> {
    let full = if id.contains(':') {
        id.to_owned()
    } else {
        format!("sha256:{id}")
    };
    full.parse().ok()
}

/// Returns a time in seconds since 1970; `None` if it says nothing.
pub fn seconds(time: &str) -> Option<i64> {
    let time = OffsetDateTime::parse(time, &Rfc3339).ok()?;
    known_time(time.unix_timestamp())
}

/// Returns a time in seconds since 1970 unless it says nothing.
pub fn known_time(seconds: i64) -> Option<i64> {
    (seconds > EARLIEST).then_some(seconds)
}

/// Returns the tags that `docker.tags` gives to the image of one commit.
fn own_tags(
    platform: PlatformContext<'_>,
    service: &str,
    commit: CommitId,
    reference: &str,
) -> Vec<Tag> {
    let manifest = platform.manifest;
    let name = service.parse::<ServiceName>().ok();
    let service = name.and_then(|name| manifest.services.get(&name));
    let Some(service) = service else {
        return Vec::new();
    };
    let is_named = reference.parse::<CommitId>().is_err() && !reference.is_empty();
    let values = PlaceholderValues {
        service: &service.name,
        commit,
        branch: is_named.then_some(reference),
        services: &|_| None,
        env: &|name| platform.variables.get(name).cloned(),
    };
    // A tag without the commit or branch moves on to the next image.
    let templates = service.docker.tags.iter().filter(|it| it.names_source());
    let tags = templates.map(|template| manifest.render_tag(template, &values));
    tags.filter_map(Result::ok).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_times_are_read() {
        let digits = "a".repeat(64);
        let full: Digest = format!("sha256:{digits}").parse().unwrap();
        assert_eq!(id_digest(&digits), Some(full.clone()));
        assert_eq!(id_digest(full.as_str()), Some(full));
        assert_eq!(id_digest(""), None);
        assert_eq!(seconds("2026-11-30T00:00:00.5Z"), Some(1_795_996_800));
        for unknown in ["0001-01-01T00:00:00Z", "1980-01-01T00:00:01Z", "yesterday"] {
            assert_eq!(seconds(unknown), None, "{unknown}");
        }
    }
}
