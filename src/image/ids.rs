//! The ids of one image.

/// The ids by which one image is known: its digest in the registry, that of its configuration, and the engine's.
///
/// Which one an engine has depends on its image store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageIds(Vec<String>);

impl ImageIds {
    /// Collects ids.
    pub fn new<'i>(ids: impl IntoIterator<Item = &'i str>) -> Self {
        Self(ids.into_iter().map(|id| digits(id).to_owned()).collect())
    }

    /// Whether an id is one of these.
    pub fn contains(&self, id: &str) -> bool {
        self.0.iter().any(|it| it == digits(id))
    }

    /// Returns the id that is shown.
    pub fn first(&self) -> Option<&str> {
        self.0.first().map(String::as_str)
    }
}

/// Podman leaves the algorithm out.
fn digits(id: &str) -> &str {
    id.strip_prefix("sha256:").unwrap_or(id)
}
