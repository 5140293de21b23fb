//! Conversion of a merged compose service to a build.

use super::super::build::{Build, BuildContext, BuildSecret};
use super::merge::ComposeService;

/// Converts a service; `None` if it has no `build`.
pub(super) fn build(
    name: String,
    service: ComposeService,
    dir: &str,
    project: &str,
    secrets: &[(String, BuildSecret)],
) -> Option<Build> {
    let build = service.build?;
    let mut todos = build.todos;
    let mut needs = Vec::new();
    for (context, value) in build.contexts {
        match value.strip_prefix("service:") {
            Some(service) => {
                needs.push(service.to_owned());
                todos.push(format!(
                    "the Dockerfile uses the image of `{service}` as the additional context `{context}`: \
                     start it with `ARG {arg}` and `FROM ${{{arg}}} AS {context}`, and add \
                     `args: {{{arg}: '${{{{ services.{service}.image }}}}'}}` here",
                    arg = variable_name(&context),
                ));
            }
            None => todos.push(format!(
                "the additional context `{context}` ({value}) was not converted: \
                 a build only has access to its own repository"
            )),
        }
    }
    let secrets = build.secrets.into_iter().map(|(id, name)| {
        let defined = secrets.iter().find(|(known, _)| *known == name);
        let secret = defined.map_or_else(
            || BuildSecret::Unknown("it is not defined in the compose file".to_owned()),
            |(_, secret)| secret.clone(),
        );
        (id, secret)
    });
    Some(Build {
        default_image: (!project.is_empty()).then(|| format!("{project}-{name}")),
        name,
        file: service.file,
        image: service.image.map(|image| image.text),
        context: build
            .context
            .unwrap_or(BuildContext::Folder(dir.to_owned())),
        dockerfile: build.dockerfile,
        target: build.target,
        args: build.args,
        needs,
        secrets: secrets.collect(),
        ssh: build.ssh,
        cache: build.cache,
        // Compose builds for `platform` if `platforms` is not set.
        platforms: if build.platforms.is_empty() {
            service.platform.into_iter().collect()
        } else {
            build.platforms
        },
        tags: build.tags,
        unsupported: &service.unsupported | &build.unsupported,
        todos,
    })
}

fn variable_name(name: &str) -> String {
    name.to_ascii_uppercase()
        .replace(|c: char| !c.is_ascii_alphanumeric(), "_")
}
