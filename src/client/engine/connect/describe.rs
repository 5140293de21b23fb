//! Describes the engine, for diagnostics.

use crate::client::engine::{Engine, EngineError, EngineProperties};

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
    /// The architecture of its machine, as the kernel names it, such as `x86_64`.
    pub architecture: String,
    /// The folder on its machine in which it stores images.
    pub root: Option<String>,
    /// Whether the memory of containers can be limited.
    pub limits_memory: bool,
    /// The proxies of its pulls and pushes for http and https; they may contain secrets.
    pub proxies: [Option<String>; 2],
    /// The hosts for which it uses no proxy.
    pub no_proxy: Option<String>,
    /// Its warnings.
    pub warnings: Vec<String>,
    /// Facts that builds depend on, such as insecure registries.
    pub facts: EngineProperties,
}

impl Engine {
    /// Returns the engine's description: two cheap requests.
    ///
    /// # Errors
    ///
    /// If the engine does not answer.
    pub async fn describe(&self) -> Result<EngineDescription, EngineError> {
        let failed = |error| EngineError::new("describe itself", error);
        let (version, info) =
            tokio::try_join!(self.docker.version(), self.docker.info()).map_err(failed)?;
        let facts = EngineProperties::of(&info, self.is_user_socket);
        // The first component is the engine; the others are programs that it runs.
        let components = version.components.unwrap_or_default().into_iter();
        let product = components.map(|component| component.name).next();
        let product = match product.as_deref() {
            // The name of the Docker Engine.
            None | Some("" | "Engine") => "Docker Engine".to_owned(),
            Some(other) => other.to_owned(),
        };
        let known = |text: Option<String>| text.filter(|text| !text.is_empty());
        Ok(EngineDescription {
            product,
            version: version.version.unwrap_or_default(),
            api: self.docker.client_version().to_string(),
            buildkit: self.buildkit,
            system: info.os_type.unwrap_or_default(),
            architecture: info.architecture.unwrap_or_default(),
            root: known(info.docker_root_dir),
            limits_memory: info.memory_limit.unwrap_or(true),
            proxies: [known(info.http_proxy), known(info.https_proxy)],
            no_proxy: known(info.no_proxy),
            warnings: info.warnings.unwrap_or_default(),
            facts,
        })
    }
}
