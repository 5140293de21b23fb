//! Finds the compose services that run the image of a service.

use std::collections::{BTreeMap, BTreeSet};

use super::{ComposeProject, ComposeService};
use crate::base::suggest;
use crate::model::deploy::ImageNames;
use crate::model::manifest::{ComposeEnvironment, ServiceName};

/// The compose services of each service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ComposeMatches {
    pub services: BTreeMap<ServiceName, BTreeSet<String>>,
}

impl ComposeMatches {
    /// Matches compose services with the services of a manifest: by `services` of the environment, else by the name of
    /// the image, else by the name of the service.
    pub fn find(
        project: &ComposeProject,
        names: &ImageNames,
        mapped: &BTreeMap<ServiceName, Vec<String>>,
    ) -> Self {
        let mut matches = Self::default();
        for (name, service) in &project.services {
            let is_mapped = |it: &&ServiceName| mapped[*it].contains(name);
            let found = match mapped.keys().find(is_mapped) {
                Some(mapped) => Some(mapped),
                None => automatic(project, name, service, names)
                    .filter(|found| !mapped.contains_key(*found)),
            };
            if let Some(found) = found {
                let services = matches.services.entry(found.clone()).or_default();
                services.insert(name.clone());
            }
        }
        matches
    }

    /// Returns the service whose image a compose service runs.
    pub fn of(&self, compose_service: &str) -> Option<&ServiceName> {
        let mut services = self.services.iter();
        let found = services.find(|(_, names)| names.contains(compose_service));
        found.map(|(name, _)| name)
    }
}

fn automatic<'n>(
    project: &ComposeProject,
    name: &str,
    service: &ComposeService,
    names: &'n ImageNames,
) -> Option<&'n ServiceName> {
    let by_image = match &service.image {
        Some(image) => names.service(image),
        // The name that compose gives to what it builds.
        None => names.service(&format!("{}-{name}", project.name)),
    };
    by_image.or_else(|| names.services().find(|it| it.as_str() == name))
}

/// Services that no compose service runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnmatchedServices {
    /// A message for each service.
    pub services: Vec<(ServiceName, String)>,
    pub hints: Vec<String>,
}

impl UnmatchedServices {
    /// Checks that these services are run; `all` are the compose services of all profiles.
    ///
    /// # Errors
    ///
    /// Every service that is not.
    pub fn check<'s>(
        wanted: impl IntoIterator<Item = &'s ServiceName>,
        environment: &ComposeEnvironment,
        project: &ComposeProject,
        matches: &ComposeMatches,
        names: &ImageNames,
        all: &[String],
    ) -> Result<(), Self> {
        let unmatched = wanted
            .into_iter()
            .filter(|name| !matches.services.contains_key(*name));
        let services: Vec<(ServiceName, String)> = unmatched
            .map(|name| (name.clone(), message(environment, name, names)))
            .collect();
        let Some((first, _)) = services.first() else {
            return Ok(());
        };
        let mut hints = Vec::new();
        let others = project
            .services
            .iter()
            .filter(|(name, _)| matches.of(name).is_none());
        let near = suggest::nearest(
            first.as_str(),
            others.clone().map(|(name, _)| name.as_str()),
        );
        let others: Vec<String> = others
            .map(|(name, service)| match &service.image {
                Some(image) => format!("{name} ({image})"),
                None => name.clone(),
            })
            .collect();
        if !others.is_empty() {
            let example = near.unwrap_or("NAME");
            hints.push(format!(
                "compose services without a service: {}; `services: {{{first}: {example}}}` in the environment maps one",
                others.join(", ")
            ));
        }
        let disabled: Vec<&str> = all
            .iter()
            .filter(|name| !project.services.contains_key(*name))
            .map(String::as_str)
            .collect();
        if !disabled.is_empty() {
            hints.push(format!(
                "compose services of profiles that are not enabled: {}; `profiles: […]` in the environment enables them",
                disabled.join(", ")
            ));
        }
        Err(Self { services, hints })
    }
}

fn message(environment: &ComposeEnvironment, name: &ServiceName, names: &ImageNames) -> String {
    let files = environment.shown();
    match environment.services.get(name).map(Vec::as_slice) {
        Some([]) => format!("environment `{}` ignores `{name}`", environment.name),
        Some(mapped) => format!("{files} has no compose service `{}`", mapped.join("` or `")),
        None => {
            let images = match names.mapped(name) {
                Some(mapped) => vec![mapped],
                None => names.expected(name),
            };
            format!(
                "{files} has no compose service `{name}`, and none with the image {}",
                images.join(" or ")
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::model::manifest;
    use crate::model::manifest::Environment;

    fn matched(environment: &str, services: serde_json::Value) -> Vec<String> {
        let manifest = manifest::parse(
            &format!(
                "registry: h.example.com/x\n\
                 deploy: {{environments: {{dev: {{compose: c.yml{environment}}}}}}}\n\
                 services:\n\
                 \x20 api: {{dir: a, git: {{remote: 'https://h/a'}}, docker: {{image: team/api}}}}\n\
                 \x20 web: {{dir: b, git: {{remote: 'https://h/b'}}, docker: {{image: web}}}}\n"
            ),
            Path::new("/p/x-platform.yml"),
        )
        .unwrap();
        let deploy = manifest.deploy.as_ref().unwrap();
        let names = ImageNames::of(&manifest, deploy);
        let project = ComposeProject::read(&json!({"name": "p", "services": services})).unwrap();
        let Ok(Environment::Compose(environment)) = deploy.environment("dev") else {
            panic!("not a compose environment");
        };
        let matches = ComposeMatches::find(&project, &names, &environment.services);
        let matches = matches.services.iter();
        matches
            .map(|(name, services)| {
                let services: Vec<&str> = services.iter().map(String::as_str).collect();
                format!("{name}: {}", services.join(" "))
            })
            .collect()
    }

    #[test]
    fn images_match_before_names() {
        let services = json!({
            "server": {"image": "team/api:1.0"},
            "worker": {"image": "h.example.com/x/team/api@sha256:0"},
            "web": {"build": {}},
            "db": {"image": "postgres:16"},
        });
        assert_eq!(
            matched("", services.clone()),
            ["api: server worker", "web: web"]
        );
        // An explicit list replaces what names say.
        assert_eq!(
            matched(", services: {api: [worker, db], web: []}", services),
            ["api: db worker"]
        );
    }

    #[test]
    fn an_image_of_another_service_beats_the_service_name() {
        let services = json!({"api": {"image": "web:dev"}});
        assert_eq!(matched("", services), ["web: api"]);
    }
}
