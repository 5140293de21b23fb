//! Facts that a container engine reports about itself.

use crate::model::image::Platform;

/// Facts that the engine reports about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineProperties {
    /// The registries that it accesses without TLS or without verifying certificates: hosts, and networks such as
    /// `10.0.0.0/8`.
    pub insecure_registries: Vec<String>,
    /// Whether root in containers is the user that runs the engine.
    pub rootless: bool,
    /// The architecture of its machine, as the kernel names it, such as `x86_64`.
    pub architecture: String,
    /// Whether it uses the containerd image store.
    pub containerd_store: bool,
}

impl EngineProperties {
    /// Returns the platform of its machine.
    pub fn platform(&self) -> Option<Platform> {
        Platform::of_machine(&self.architecture)
    }
}

/// The engine's version and configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineDescription {
    /// Its name, such as `Docker Engine`.
    pub product: String,
    /// Its version, such as `26.1.5`.
    pub version: String,
    /// The negotiated API version.
    pub api: String,
    /// Whether image builds use BuildKit.
    pub buildkit: bool,
    /// The operating system of its containers, such as `linux`.
    pub system: String,
    /// The folder on its machine in which it stores images.
    pub root: Option<String>,
    /// Whether the memory of containers can be limited.
    pub limits_memory: bool,
    /// The proxies of its pulls and pushes.
    pub proxies: ProxyFacts,
    /// Its warnings.
    pub warnings: Vec<String>,
    /// Facts that builds depend on, such as insecure registries.
    pub facts: EngineProperties,
}

/// Proxies, without credentials.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxyFacts {
    /// Variables and proxies.
    pub proxies: Vec<(String, String)>,
    /// `no_proxy`.
    pub exceptions: Option<String>,
}
