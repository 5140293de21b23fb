//! Describes the engine, for diagnostics.

use crate::base::redact::without_credentials;
use crate::client::engine::{Engine, EngineError, facts_of};
use crate::model::engine::{EngineDescription, ProxyFacts};

impl Engine {
    /// Returns the engine's description: two cheap requests.
    ///
    /// # Errors
    ///
    /// If the engine does not respond.
    pub async fn describe(&self) -> Result<EngineDescription, EngineError> {
        let failed = |error| EngineError::new("describe itself", error);
        let (version, info) =
            tokio::try_join!(self.docker.version(), self.docker.info()).map_err(failed)?;
        let facts = facts_of(&info, self.is_user_socket);
        // The first component is the engine; the others are programs that it runs.
        let components = version.components.unwrap_or_default().into_iter();
        let product = components.map(|component| component.name).next();
        let product = match product.as_deref() {
            // The name of the Docker Engine.
            None | Some("" | "Engine") => "Docker Engine".to_owned(),
            Some(other) => other.to_owned(),
        };
        let known = |text: Option<String>| text.filter(|text| !text.is_empty());
        let proxies = [
            ("http_proxy", known(info.http_proxy)),
            ("https_proxy", known(info.https_proxy)),
        ];
        let proxies = proxies
            .into_iter()
            .filter_map(|(name, proxy)| Some((name.to_owned(), without_credentials(&proxy?))));
        Ok(EngineDescription {
            product,
            version: version.version.unwrap_or_default(),
            api: self.docker.client_version().to_string(),
            buildkit: self.buildkit,
            system: info.os_type.unwrap_or_default(),
            root: known(info.docker_root_dir),
            limits_memory: info.memory_limit.unwrap_or(true),
            proxies: ProxyFacts {
                proxies: proxies.collect(),
                exceptions: known(info.no_proxy),
            },
            warnings: info.warnings.unwrap_or_default(),
            facts,
        })
    }
}
