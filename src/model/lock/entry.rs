//! Creates lock entries from the current state.

use super::LockedService;
use crate::model::image::ImageReference;
use crate::model::manifest::Service;
use crate::model::plan::{BaseDigests, ComparisonResults, Folders, builder_image};
use crate::model::source::{GitReference, ServiceSource};

impl LockedService {
    /// Returns the current entry of a service; `None` if it was not compared. `reference` is the reference that was
    /// resolved; with `no_test`, the recipe does not include the tests.
    pub fn current(
        service: &Service,
        source: &ServiceSource,
        reference: GitReference,
        image: ImageReference,
        current: &ComparisonResults,
        folders: &Folders,
        no_test: bool,
    ) -> Option<Self> {
        // The images of an index are compared one by one, and may be from before its other platforms were added.
        let comparison = current.comparisons.get(&service.name)?;
        // The image may be from before a needed service was renamed.
        let former = comparison.former_recipe.as_ref();
        let former = former.filter(|_| comparison.registry.is_usable());
        let recipe = former.or_else(|| current.recipes.get(&service.name))?;
        let recipe = recipe.without_platforms();
        let name = source.build_reference().name.as_deref();
        Some(Self {
            remote: service.source.remote(),
            reference,
            name: name.and_then(|name| name.parse().ok()),
            path: service.source.path().cloned(),
            commit: source.commit,
            image,
            digest: comparison.digest.clone(),
            recipe: if no_test {
                recipe.without_tests().digest()
            } else {
                recipe.digest()
            },
            builder: builder(service, folders),
            bases: BaseDigests::new(),
        })
    }
}

impl LockedService {
    /// Returns the entry with these base images.
    pub fn with_bases(self, bases: BaseDigests) -> Self {
        Self { bases, ..self }
    }
}

/// Returns the builder image of the service.
fn builder(service: &Service, folders: &Folders) -> Option<ImageReference> {
    let has_scripts = !service.scripts.is_empty();
    let builder = service.builder.as_ref().filter(|_| has_scripts)?;
    builder_image(builder.image.as_ref()?, folders)
}
