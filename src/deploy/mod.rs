//! From a set of images to what a cluster is told: which images the kustomize files name, the overlay that
//! xp generates, what was rendered, and the record that the cluster keeps. Pure.
//!
//! A set is a [`Lock`](crate::lock::Lock): what `xp lock` writes, what a deploy takes, and what the record
//! of an environment holds are the same thing, so that any two of them can be compared.

mod configuration;
mod images;
mod overlay;
mod record;
mod rendered;
mod secrets;
mod verify;

/// The builder whose image has kubectl and kustomize, for machines that lack them.
pub const TOOLS_BUILDER: &str = "k8s";

pub use self::configuration::{FieldSpec, Kustomization, image_fields};
pub use self::images::{ImageNames, Named};
pub use self::overlay::Overlay;
pub use self::record::{Deployment, NoEarlier, Record, RecordError, State, Unfinished};
pub use self::rendered::{ImageUse, Object, Rendered, Workload};
pub use self::secrets::Secrets;
pub use self::verify::{ForeignNamespaces, NotPinned, UnnamedServices};
