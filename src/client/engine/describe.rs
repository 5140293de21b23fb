//! What the engine says of itself, for somebody who looks for what is wrong with it.

use super::{Engine, EngineError, EngineFacts};

/// The engine in its own words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineDescription {
    /// Its name, such as `Docker Engine`.
    pub product: String,
    /// Its version, such as `26.1.5`.
    pub version: String,
    /// The version of the API that it and xp speak.
    pub api: String,
    /// Whether image builds use BuildKit.
    pub buildkit: bool,
    /// The system that its containers run on, such as `linux`.
    pub system: String,
    /// The processor that its images are for, as the system calls it: `x86_64`.
    pub architecture: String,
    /// The folder in which it keeps images, on its own machine.
    pub root: Option<String>,
    /// Whether containers can be given less memory than the machine has.
    pub limits_memory: bool,
    /// The proxies of its pulls and pushes, with what may be secret in them: for http, for https.
    pub proxies: [Option<String>; 2],
    /// What it does not use a proxy for.
    pub no_proxy: Option<String>,
    /// What it warns of.
    pub warnings: Vec<String>,
    /// What it says for registries.
    pub facts: EngineFacts,
}

impl Engine {
    /// Returns the engine's description of itself: two requests, neither of which looks at what it keeps.
    ///
    /// # Errors
    ///
    /// Where the engine does not answer.
    pub async fn describe(&self) -> Result<EngineDescription, EngineError> {
        let failed = |error| EngineError::new("describe itself", error);
        let (version, info) =
            tokio::try_join!(self.docker.version(), self.docker.info()).map_err(failed)?;
        let facts = EngineFacts::of(&info, self.is_of_a_user);
        // The first component is the engine, the others are the programs that it uses.
        let components = version.components.unwrap_or_default().into_iter();
        let product = components.map(|component| component.name).next();
        let product = match product.as_deref() {
            // Docker calls its own engine so.
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
