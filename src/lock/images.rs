//! Whether registries have the images of a lock as they were locked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Lock, LockedService};
use crate::error::{Diagnostic, Exit};
use crate::image::{Digest, ImageReference};
use crate::manifest::ServiceName;
use crate::plan::Presence;

/// Images that registries do not have as they were locked.
#[derive(Debug, thiserror::Error)]
pub struct LostImages {
    file: String,
    problems: Vec<ImageProblem>,
}

/// An image that a registry does not have as it was locked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageProblem {
    service: ServiceName,
    image: ImageReference,
    locked: Digest,
    /// What the tag has now; none where it is gone.
    found: Option<Digest>,
    /// Whether the registry has the locked digest still.
    is_kept: bool,
}

impl fmt::Display for ImageProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            service,
            image,
            locked,
            ..
        } = self;
        match &self.found {
            Some(found) => write!(
                f,
                "{service}: {image} is {found} in the registry, and {locked} in the lock"
            )?,
            None => write!(f, "{service}: the registry has no {image}")?,
        }
        match (&self.found, self.is_kept) {
            (Some(_), true) => f.write_str(", which the registry has still"),
            (Some(_), false) => f.write_str(", which the registry has no longer"),
            (None, true) => write!(f, ", but the locked {locked} is there"),
            (None, false) => write!(f, ", and not the locked {locked} either"),
        }
    }
}

impl ImageProblem {
    /// Returns a line with what sets the tag back; it takes an image for many platforms as a
    /// whole, and fails rather than changing a byte of it, so that its digest stays.
    fn command(&self) -> String {
        let pinned = self.image.repository().with_digest(self.locked.clone());
        format!(
            "\n  `skopeo copy --all --preserve-digests docker://{pinned} docker://{}`",
            self.image
        )
    }
}

impl fmt::Display for LostImages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} cannot be met: its images are not there as they were locked",
            self.file
        )?;
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl Diagnostic for LostImages {
    fn exit(&self) -> Exit {
        Exit::Outside
    }

    fn hints(&self) -> Vec<String> {
        let mut hints = Vec::new();
        let kept = self.problems.iter().filter(|problem| problem.is_kept);
        let commands: Vec<String> = kept.map(ImageProblem::command).collect();
        if !commands.is_empty() {
            hints.push(format!(
                "where the locked image is there still, set its tag back to it:{}",
                commands.concat()
            ));
        }
        hints.push(
            "building again gives images with other digests: without the old ones, run `xp build` and lock anew by `xp lock`"
                .to_owned(),
        );
        hints
    }
}

impl Lock {
    /// Returns the images of these services that registries do not have as they were locked, by their
    /// digests: whether they are there at all is worth a second question.
    pub fn lost<'l>(
        &'l self,
        services: &'l BTreeSet<ServiceName>,
        registry: &'l BTreeMap<ImageReference, Presence>,
    ) -> impl Iterator<Item = ImageReference> + 'l {
        self.deviations(services, registry)
            .map(|(_, locked, digest, _)| locked.image.repository().with_digest(digest.clone()))
    }

    /// Holds the images of these services against what registries have.
    ///
    /// `registry` says what they have for each image, and for each one that [`Lock::lost`] names.
    ///
    /// # Errors
    ///
    /// Every image whose tag is gone, or has another digest now.
    pub fn check_images(
        &self,
        file: &str,
        services: &BTreeSet<ServiceName>,
        registry: &BTreeMap<ImageReference, Presence>,
    ) -> Result<(), LostImages> {
        let problems = self
            .deviations(services, registry)
            .map(|(name, locked, digest, found)| {
                let pinned = locked.image.repository().with_digest(digest.clone());
                ImageProblem {
                    service: name.clone(),
                    image: locked.image.clone(),
                    locked: digest.clone(),
                    found: found.cloned(),
                    is_kept: matches!(registry.get(&pinned), Some(Presence::Present(_))),
                }
            });
        let problems: Vec<ImageProblem> = problems.collect();
        if problems.is_empty() {
            return Ok(());
        }
        Err(LostImages {
            file: file.to_owned(),
            problems,
        })
    }

    /// Returns each service whose image has another digest than the lock's, with what there is.
    fn deviations<'l>(
        &'l self,
        services: &'l BTreeSet<ServiceName>,
        registry: &'l BTreeMap<ImageReference, Presence>,
    ) -> impl Iterator<
        Item = (
            &'l ServiceName,
            &'l LockedService,
            &'l Digest,
            Option<&'l Digest>,
        ),
    > {
        services.iter().filter_map(move |name| {
            let locked = self.services.get(name)?;
            let digest = locked.digest.as_ref()?;
            let found = match registry.get(&locked.image)? {
                Presence::Present(found) if found == digest => return None,
                Presence::Present(found) => Some(found),
                Presence::Absent => None,
                // That is an error of its own, with the registry's reason.
                Presence::Unknown(_) => return None,
            };
            Some((name, locked, digest, found))
        })
    }
}
