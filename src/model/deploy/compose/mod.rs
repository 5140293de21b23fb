//! Deploys to a compose project: which compose service runs which service's image, the generated override, and what
//! would change. Pure.

mod containers;
mod matching;
mod override_file;

use std::collections::BTreeMap;

use serde_json::Value;

pub use self::containers::{
    ComposeChanges, ContainerHealth, ProjectContainer, ProjectReadiness, Readiness,
    container_action,
};
pub use self::matching::{ComposeMatches, UnmatchedServices};
pub use self::override_file::{LaunchImage, override_file};

/// The effective configuration of a compose project.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ComposeProject {
    /// Its name.
    pub name: String,
    /// The services of the enabled profiles.
    pub services: BTreeMap<String, ComposeService>,
}

/// A service of a compose project.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ComposeService {
    /// `image`; `None` if compose names what it builds.
    pub image: Option<String>,
    /// Whether compose would build it.
    pub is_built: bool,
    /// The number of its containers.
    pub replicas: u64,
    /// The name of its container, if it is not compose's default.
    pub container_name: Option<String>,
}

impl ComposeProject {
    /// Reads the output of `docker compose config --format json`; `None` if it has another form.
    pub fn read(config: &Value) -> Option<Self> {
        let services = match &config["services"] {
            Value::Null => None,
            services => Some(services.as_object()?),
        };
        let service = |value: &Value| {
            let replicas = [&value["deploy"]["replicas"], &value["scale"]];
            ComposeService {
                image: value["image"].as_str().map(str::to_owned),
                is_built: !value["build"].is_null(),
                container_name: value["container_name"].as_str().map(str::to_owned),
                replicas: replicas.iter().find_map(|it| it.as_u64()).unwrap_or(1),
            }
        };
        let services = services.into_iter().flatten();
        Some(Self {
            name: config["name"].as_str()?.to_owned(),
            services: services
                .map(|(name, value)| (name.clone(), service(value)))
                .collect(),
        })
    }
}

impl ComposeProject {
    /// Returns the compose service of a container that does not exist yet, by the name that compose gives it.
    pub fn service_of(&self, container: &str) -> Option<&str> {
        let is_named =
            |service: &ComposeService| service.container_name.as_deref() == Some(container);
        let mut services = self.services.iter();
        if let Some((name, _)) = services.find(|(_, service)| is_named(service)) {
            return Some(name);
        }
        let rest = container.strip_prefix(&self.name)?.strip_prefix('-')?;
        let (service, _) = rest.rsplit_once('-')?;
        let (name, _) = self.services.get_key_value(service)?;
        Some(name)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_configuration_is_read() {
        let project = ComposeProject::read(&json!({"name": "p", "services": {
            "api": {"build": {"context": "/x"}, "image": "x/api:dev"},
            "web": {"image": "nginx", "deploy": {"replicas": 3}},
            "job": {"image": "busybox", "scale": 0},
            "named": {"image": "busybox", "container_name": "own"},
        }}))
        .unwrap();
        assert_eq!(project.name, "p");
        assert!(project.services["api"].is_built);
        assert_eq!(project.services["api"].replicas, 1);
        assert_eq!(project.services["web"].replicas, 3);
        assert_eq!(project.services["job"].replicas, 0);
        assert_eq!(project.service_of("p-web-2"), Some("web"));
        assert_eq!(project.service_of("own"), Some("named"));
        assert_eq!(project.service_of("p-other-1"), None);
        assert_eq!(ComposeProject::read(&json!({"services": {}})), None);
        let empty = ComposeProject::read(&json!({"name": "p", "services": null})).unwrap();
        assert!(empty.services.is_empty());
    }
}
