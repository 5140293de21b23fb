//! Networks of their own for containers that reach each other by name.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{
    EndpointSettings, NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest,
};
use bollard::query_parameters::{InspectNetworkOptions, ListNetworksOptionsBuilder};

use super::{Engine, EngineError};

/// How often the removal of a network is tried: a container that ends leaves it a moment later.
const REMOVAL_ATTEMPTS: u32 = 40;

/// The pause between two attempts.
const REMOVAL_PAUSE: Duration = Duration::from_millis(50);

/// A network of containers.
#[derive(Debug, Clone)]
pub struct Network {
    engine: Engine,
    name: String,
}

impl Network {
    /// Creates a network with that name, which must be new.
    ///
    /// # Errors
    ///
    /// If the engine rejects the request, such as without a free range of addresses.
    pub async fn create(
        engine: &Engine,
        name: String,
        labels: &HashMap<String, String>,
    ) -> Result<Self, EngineError> {
        let request = NetworkCreateRequest {
            name: name.clone(),
            driver: Some("bridge".to_owned()),
            labels: Some(labels.clone()),
            ..Default::default()
        };
        let created = engine.docker.create_network(request).await;
        created.map_err(|error| EngineError::new("create a network", error))?;
        Ok(Self {
            engine: engine.clone(),
            name,
        })
    }

    /// Returns the name, which is also a network mode.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Connects a container in addition to the network that it is in.
    ///
    /// # Errors
    ///
    /// If the engine rejects the request.
    pub async fn connect(&self, container: &str) -> Result<(), EngineError> {
        let request = NetworkConnectRequest {
            container: container.to_owned(),
            endpoint_config: Some(EndpointSettings::default()),
        };
        let connected = self.engine.docker.connect_network(&self.name, request);
        connected
            .await
            .map_err(|error| EngineError::new("connect a container to a network", error))
    }

    /// Removes the network. Containers that are kept are disconnected; errors do not matter, because the next run removes
    /// what is left.
    pub async fn remove(self) {
        self.engine.remove_network(&self.name).await;
    }
}

impl Engine {
    /// Removes the networks with a label; their containers must have ended.
    ///
    /// # Errors
    ///
    /// If the engine does not respond.
    pub(super) async fn remove_networks(
        &self,
        label: &str,
        value: &str,
    ) -> Result<(), EngineError> {
        for name in self.networks(&format!("{label}={value}"), false).await? {
            self.remove_network(&name).await;
        }
        Ok(())
    }

    /// Returns the names of the networks with a label that no container uses.
    ///
    /// # Errors
    ///
    /// If the engine does not respond.
    pub async fn unused_networks(
        &self,
        label: &str,
        value: &str,
    ) -> Result<Vec<String>, EngineError> {
        self.networks(&format!("{label}={value}"), true).await
    }

    async fn networks(&self, label: &str, is_unused: bool) -> Result<Vec<String>, EngineError> {
        let mut filters = HashMap::from([("label".to_owned(), vec![label.to_owned()])]);
        if is_unused {
            filters.insert("dangling".to_owned(), vec!["true".to_owned()]);
        }
        let options = ListNetworksOptionsBuilder::default();
        let options = options.filters(&filters).build();
        let found = self.docker.list_networks(Some(options)).await;
        let found = found.map_err(|error| EngineError::new("list its networks", error))?;
        Ok(found.into_iter().filter_map(|it| it.name).collect())
    }

    async fn remove_network(&self, name: &str) {
        for attempt in 0..REMOVAL_ATTEMPTS {
            let removed = self.docker.remove_network(name).await;
            let error = removed.map_err(|error| EngineError::new("remove a network", error));
            if error.is_ok() || error.is_err_and(|error| error.status() == Some(404)) {
                return;
            }
            if attempt == REMOVAL_ATTEMPTS / 2 {
                self.disconnect_all(name).await;
            }
            tokio::time::sleep(REMOVAL_PAUSE).await;
        }
    }

    async fn disconnect_all(&self, name: &str) {
        let options = None::<InspectNetworkOptions>;
        let Ok(network) = self.docker.inspect_network(name, options).await else {
            return;
        };
        for container in network.containers.unwrap_or_default().into_keys() {
            let request = NetworkDisconnectRequest {
                container,
                force: Some(true),
            };
            _ = self.docker.disconnect_network(name, request).await;
        }
    }
}
