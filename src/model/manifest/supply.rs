//! The `supply` section of a manifest: what is attached to images, and how they are signed and verified.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Manifest;
use super::service::{BuilderImage, Service};
use super::setting::Settings;
use super::span::Span;

/// What is attached to images, and how they are signed and verified.
#[derive(Debug, Clone, Default)]
pub struct Supply {
    /// Whether provenance is attached to images, unless a service sets it.
    pub provenance: bool,
    /// The URI of the builder in the provenance, if it is not xp's own.
    pub builder: Option<String>,
    /// What makes bills of materials, unless a service sets it.
    pub sbom: Option<SbomPlugin>,
    /// The keys that images are signed with.
    pub sign: Option<SigningKeys>,
    /// Whether a build uses an existing image only if it verifies.
    pub verify: bool,
}

/// What a service sets differently.
#[derive(Debug, Clone, Default)]
pub struct ServiceSupply {
    pub provenance: Option<bool>,
    pub sbom: Option<SbomPlugin>,
}

/// A plugin that makes bills of materials.
#[derive(Debug, Clone)]
pub struct SbomPlugin {
    pub image: BuilderImage,
    pub with: Settings,
    /// The position of the image.
    pub(crate) span: Span,
}

/// A pair of keys, as cosign accepts them: paths relative to the manifest's folder, or URIs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SigningKeys {
    /// The private key.
    pub key: String,
    /// The public key; `None` if it is derived from the private one.
    pub public_key: Option<String>,
}

impl Supply {
    /// Returns whether there is anything that an image can be verified by.
    pub fn is_verifiable(&self) -> bool {
        self.sign.is_some() || self.provenance
    }
}

impl Manifest {
    /// Returns the plugin that makes the bill of materials of a service's image.
    pub fn sbom<'m>(&'m self, service: &'m Service) -> Option<&'m SbomPlugin> {
        service.supply.sbom.as_ref().or(self.supply.sbom.as_ref())
    }

    /// Returns whether provenance is attached to a service's image.
    pub fn has_provenance(&self, service: &Service) -> bool {
        service.supply.provenance.unwrap_or(self.supply.provenance)
    }

    /// Returns where a plugin is set, such as `x-platform.yml:12`.
    pub fn location_of_sbom(&self, plugin: &SbomPlugin) -> String {
        let (line, _) = plugin.span.line_and_column(&self.document.text);
        format!("{}:{line}", self.file_name())
    }

    /// Returns the position of a plugin with this image.
    pub(crate) fn span_of_sbom(&self, image: &BuilderImage) -> Option<Span> {
        let services = self.services.values();
        let plugins = services.filter_map(|service| self.sbom(service));
        let mut plugins = plugins.filter(|plugin| plugin.image == *image);
        plugins.next().map(|plugin| plugin.span)
    }
}
