//! Which service builds an image that others use.

use super::super::build::repository_of;
use super::super::interpolation::UNSET;
use super::CandidateService;

/// The images that the sources say the services build.
///
/// Only names in the sources count: a service that xp named `nginx` has nothing to do with the public image.
pub(super) struct ImageOwners {
    images: Vec<(String, String)>,
}

impl ImageOwners {
    pub fn of(drafts: &[CandidateService]) -> Self {
        let mut images = Vec::new();
        for draft in drafts {
            let Some(build) = &draft.candidate.build else {
                continue;
            };
            let named = build.image.iter().chain(&build.tags);
            let default = build.default_image.iter().filter(|_| build.image.is_none());
            for image in named.chain(default) {
                images.push((image.clone(), draft.service.name.clone()));
            }
        }
        Self { images }
    }

    /// Returns the service that builds an image, unless it is `user` itself.
    pub fn owner(&self, image: &str, user: &str) -> Option<&str> {
        let mut owners = self.images.iter().filter(|(_, owner)| owner != user);
        let (_, owner) = owners.find(|(built, _)| is_same(built, image))?;
        Some(owner)
    }
}

/// Returns whether an image name is the one that a service builds; parts with unset variables match anything.
fn is_same(built: &str, used: &str) -> bool {
    if used.contains('@') {
        return false;
    }
    let (built_name, built_tag) = split(built);
    let (used_name, used_tag) = split(used);
    if built_tag != used_tag && !built_tag.contains(UNSET) && !used_tag.contains(UNSET) {
        return false;
    }
    if !built_name.contains(UNSET) {
        return normalized(built_name) == normalized(used_name);
    }
    let known = built_name.rsplit(UNSET).next().unwrap_or_default();
    let known = known.trim_start_matches('/');
    !known.is_empty() && (used_name == known || used_name.ends_with(&format!("/{known}")))
}

/// Splits an image name into its repository and tag.
fn split(image: &str) -> (&str, &str) {
    let repository = repository_of(image);
    let tag = image[repository.len()..].trim_start_matches(':');
    (repository, if tag.is_empty() { "latest" } else { tag })
}

/// Removes the host and folder that Docker adds to short names.
fn normalized(repository: &str) -> &str {
    let repository = repository.strip_prefix("docker.io/").unwrap_or(repository);
    repository.strip_prefix("library/").unwrap_or(repository)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_compared_with_their_tags() {
        for (built, used, expected) in [
            ("acme/base", "acme/base", true),
            ("acme/base", "docker.io/acme/base:latest", true),
            ("acme/base:1", "acme/base:1", true),
            ("acme/base:1", "acme/base", false),
            ("nginx:mine", "nginx:alpine", false),
            ("acme/base", "acme/base@sha256:0", false),
            ("h:5000/base", "h:5000/base", true),
            ("\u{fffd}/acme/base:\u{fffd}", "h/acme/base:2", true),
            ("\u{fffd}/base", "database", false),
            ("\u{fffd}", "x", false),
        ] {
            assert_eq!(is_same(built, used), expected, "{built} {used}");
        }
    }
}
