//! Checks that registries still have the images of a lock.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::Lock;
use crate::base::error::{Diagnostic, Exit};
use crate::model::image::ImageReference;
use crate::model::manifest::ServiceName;
use crate::model::plan::Presence;

/// Images of a lock that registries no longer have.
#[derive(Debug, thiserror::Error)]
pub struct MissingImages {
    file: String,
    images: BTreeMap<ServiceName, ImageReference>,
}

impl fmt::Display for MissingImages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let images = match self.images.len() {
            1 => "an image is".to_owned(),
            count => format!("{count} images are"),
        };
        write!(
            f,
            "{} cannot be used: {images} no longer in the registry",
            self.file
        )?;
        for (service, image) in &self.images {
            write!(f, "\n  {service}: {image}")?;
        }
        Ok(())
    }
}

impl Diagnostic for MissingImages {
    fn exit(&self) -> Exit {
        Exit::Outside
    }

    fn hints(&self) -> Vec<String> {
        vec![
            "a registry cleanup may have removed them: restore them from a backup or a mirror"
                .to_owned(),
            "a new build has a different digest: run `xp build`, then `xp lock`".to_owned(),
        ]
    }
}

impl Lock {
    /// Checks that registries have the images of these services by their locked digests, wherever the tags point now.
    /// `registry` has the responses of the registries.
    ///
    /// # Errors
    ///
    /// Every image that is absent. Failed queries are reported elsewhere.
    pub fn check_images(
        &self,
        file: &str,
        services: &BTreeSet<ServiceName>,
        registry: &BTreeMap<ImageReference, Presence>,
    ) -> Result<(), MissingImages> {
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
        Err(MissingImages {
            file: file.to_owned(),
            images,
        })
    }
}
