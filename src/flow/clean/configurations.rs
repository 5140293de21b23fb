//! The labels and ages of images that were read before: the content of a digest never changes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::client::registry::{RegistryClient, RegistryError, StoredConfiguration};
use crate::model::image::{Digest, ImageRepository};
use crate::model::layout::Layout;
use crate::store::cache::FactCache;

type ByDigest = BTreeMap<Digest, StoredConfiguration>;

/// The configurations of one repository's images, of which those that earlier runs read are in a file.
pub struct KnownConfigurations {
    facts: FactCache,
    path: PathBuf,
    before: ByDigest,
    /// Those that this run needed.
    now: Mutex<ByDigest>,
}

impl KnownConfigurations {
    /// Reads the file; a damaged one counts as missing.
    pub fn open(layout: &Layout, repository: &ImageRepository) -> Self {
        let facts = FactCache::new(layout.root());
        let path = layout.configurations(repository);
        let text = facts.read(&path);
        Self {
            before: text
                .and_then(|text| serde_json::from_str(&text).ok())
                .unwrap_or_default(),
            facts,
            path,
            now: Mutex::default(),
        }
    }

    /// Returns a configuration; `None` if the registry does not have it, or it is not one.
    ///
    /// # Errors
    ///
    /// Any result other than a clear response of the registry itself.
    pub async fn get(
        &self,
        client: &RegistryClient,
        repository: &ImageRepository,
        digest: &Digest,
    ) -> Result<Option<StoredConfiguration>, RegistryError> {
        let found = match self.before.get(digest) {
            Some(known) => Some(known.clone()),
            None => client.configuration(repository, digest).await?,
        };
        if let Some(found) = &found {
            let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
            now.insert(digest.clone(), found.clone());
        }
        Ok(found)
    }

    /// Writes those that this run needed.
    pub fn save(self) {
        let now = self
            .now
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        if now != self.before
            && let Ok(text) = serde_json::to_string(&now)
        {
            self.facts.write(&self.path, &text);
        }
    }
}
