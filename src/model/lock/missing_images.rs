//! Checks that registries still have the images of a lock.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{LOCK, Lock};
use crate::base::error::{Diagnostic, Exit};
use crate::base::shell::quoted;
use crate::model::image::ImageReference;
use crate::model::manifest::{Manifest, ServiceName};
use crate::model::plan::Presence;

/// Images of a lock that registries no longer have.
#[derive(Debug, thiserror::Error)]
pub struct MissingImages {
    file: String,
    images: BTreeMap<ServiceName, ImageReference>,
    /// The commands that copy them from the repositories in which they were locked, if these are others.
    copies: Vec<String>,
}

impl MissingImages {
    /// Adds the commands that copy the images from the repositories of the lock that was read.
    pub fn locked_as(mut self, original: &Lock, manifest: &Manifest) -> Self {
        self.copies = original.copy_commands(&self.file, manifest, self.images.keys());
        self
    }
}

impl fmt::Display for MissingImages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let images = match self.images.len() {
            1 => "an image is".to_owned(),
            count => format!("{count} images are"),
        };
        let no_longer = if self.copies.is_empty() {
            "no longer"
        } else {
            "not"
        };
        write!(
            f,
            "{} cannot be used: {images} {no_longer} in the registry",
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
        if !self.copies.is_empty() {
            return copy_hints(&self.copies);
        }
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
            copies: Vec::new(),
        })
    }

    /// Returns the commands that copy the images of these services to the repositories of the manifest, for those that
    /// were locked in other ones. `file` is the lock's name.
    pub fn copy_commands<'s>(
        &self,
        file: &str,
        manifest: &Manifest,
        services: impl IntoIterator<Item = &'s ServiceName>,
    ) -> Vec<String> {
        let lock = if file == LOCK {
            "--locked".to_owned()
        } else {
            format!("--locked --lock-file {}", quoted(file))
        };
        let commands: BTreeSet<String> = services
            .into_iter()
            .filter_map(|name| {
                let from = self.services.get(name)?.image.repository();
                let to = &manifest.services.get(name)?.docker.image;
                from.registry()?;
                if from == to {
                    return None;
                }
                let own = manifest.registry.as_ref();
                let path = own.and_then(|own| own.path_below(to));
                let from = from.to_string();
                let below = format!("/{}", path.unwrap_or_else(|| to.path()));
                Some(match from.strip_suffix(&below) {
                    Some(prefix) => format!("xp copy --from {prefix} {lock}"),
                    None => format!("xp copy --from {from} {lock} {name}"),
                })
            })
            .collect();
        commands.into_iter().collect()
    }
}

/// Returns hints with these commands.
pub fn copy_hints(commands: &[String]) -> Vec<String> {
    let hints = commands.iter();
    hints
        .map(|command| format!("`{command}` copies what was locked in another repository"))
        .collect()
}
