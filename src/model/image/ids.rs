//! The IDs of one image.

/// All IDs of one image: its digest in the registry, the digest of its configuration, and its ID in the engine.
///
/// Which of them an engine uses depends on its image store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageIds(Vec<String>);

impl ImageIds {
    /// Collects IDs.
    pub fn new<'i>(ids: impl IntoIterator<Item = &'i str>) -> Self {
        Self(ids.into_iter().map(|id| digits(id).to_owned()).collect())
    }

    /// Returns whether an ID belongs to the image.
    pub fn contains(&self, id: &str) -> bool {
        self.0.iter().any(|it| it == digits(id))
    }

    /// Returns the ID to show.
    pub fn first(&self) -> Option<&str> {
        self.0.first().map(String::as_str)
    }
}

/// Removes the algorithm, which Podman omits.
fn digits(id: &str) -> &str {
    id.strip_prefix("sha256:").unwrap_or(id)
}
