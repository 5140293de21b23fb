//! Deploys: the images in the kustomize files, the generated overlay, the rendered objects, and the record in the
//! cluster. Pure.
//!
//! The images to deploy are a [`Lock`](crate::model::lock::Lock). `xp lock` writes one, a deploy takes one, and the record
//! of an environment contains one, so that any two of them can be compared.

mod compose;
mod configuration;
mod former_names;
mod images;
mod overlay;
mod record;
mod rendered;
mod secrets;
mod verify;

/// The builder with kubectl and kustomize, for machines that lack them.
pub const TOOLS_BUILDER: &str = "k8s";

pub use self::compose::{
    ComposeChanges, ComposeMatches, ComposeProject, ContainerHealth, LaunchImage, ProjectContainer,
    ProjectReadiness, Readiness, UnmatchedServices, container_action, override_file,
};
pub use self::configuration::{FieldSpec, Kustomization, image_fields};
pub use self::former_names::{FormerNames, homonyms};
pub use self::images::{ImageNames, NamedImages};
pub use self::overlay::Overlay;
pub use self::record::{DeployState, Deployment, Record};
pub use self::rendered::{RenderedObjects, Workload};
pub use self::secrets::redactor;
pub use self::verify::{ForeignNamespaces, NotPinned, UnnamedServices};
