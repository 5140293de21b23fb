//! Whether registries still have the images of a lock.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::Lock;
use crate::error::{Diagnostic, Exit};
use crate::image::ImageReference;
use crate::manifest::ServiceName;
use crate::plan::Presence;

/// Images of a lock that registries no longer have.
#[derive(Debug, thiserror::Error)]
pub struct LostImages {
    file: String,
    images: BTreeMap<ServiceName, ImageReference>,
}

impl fmt::Display for LostImages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let images = match self.images.len() {
            1 => "an image is".to_owned(),
            count => format!("{count} images are"),
        };
        write!(
            f,
            "{} cannot be met: {images} no longer in the registry",
            self.file
        )?;
        for (service, image) in &self.images {
            write!(f, "\n  {service}: {image}")?;
        }
        Ok(())
    }
}

impl Diagnostic for LostImages {
    fn exit(&self) -> Exit {
        Exit::Outside
    }

    fn hints(&self) -> Vec<String> {
        vec![
            "they may have been removed by a clean-up of the registry: restore them from a backup or a mirror".to_owned(),
            "a new build has another digest: run `xp build`, and lock it with `xp lock`".to_owned(),
        ]
    }
}

impl Lock {
    /// Checks that registries have the images of these services by the digests that were locked, whatever the tags
    /// name by now. `registry` is what registries said about each of them.
    ///
    /// # Errors
    ///
    /// Every image that its registry says it does not have. One that could not be told is an error of its own.
    pub fn check_images(
        &self,
        file: &str,
        services: &BTreeSet<ServiceName>,
        registry: &BTreeMap<ImageReference, Presence>,
    ) -> Result<(), LostImages> {
        let locked = services.iter().filter_map(|name| {
            let locked = self.services.get(name)?;
            let digest = locked.digest.clone()?;
            Some((name.clone(), locked.image.repository().with_digest(digest)))
        });
        let images: BTreeMap<ServiceName, ImageReference> = locked
            .filter(|(_, image)| registry.get(image) == Some(&Presence::Absent))
            .collect();
        if images.is_empty() {
            return Ok(());
        }
        Err(LostImages {
            file: file.to_owned(),
            images,
        })
    }
}
