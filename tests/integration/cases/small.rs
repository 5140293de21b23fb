//! The smallest platform: services without scripts, whose images contain one file.

use crate::context::Context;
use crate::repository::GitRepository;

/// The Dockerfile of such a service.
pub const DOCKERFILE: &str = "FROM scratch\nCOPY content /\n";

/// Creates the repository of a service with that name, with one commit.
pub fn repository(t: &Context, name: &str) -> GitRepository {
    let repository = t.git_repo(name);
    repository.commit(&[("Dockerfile", DOCKERFILE), ("content", name)], "Start");
    repository
}

/// Writes a manifest with one service per repository. Their images are [`Context::image`] of their names in
/// that registry, or only in the engine if the registry's name is empty.
pub fn platform(t: &Context, registry: &str, repositories: &[(&str, &GitRepository)]) {
    let services = repositories
        .iter()
        .map(|(name, repository)| service(t, name, &repository.url_file(), "", ""));
    manifest(t, registry, &services.collect::<String>());
}

/// Writes a manifest with these services.
pub fn manifest(t: &Context, registry: &str, services: &str) {
    let registry = match registry {
        "" => String::new(),
        registry => format!("registry: {registry}\n"),
    };
    t.manifest(&format!("{registry}services:\n{services}"));
}

/// Returns a service for the manifest; `docker` is added to its `docker`, `more` has additional lines.
pub fn service(t: &Context, name: &str, url: &str, docker: &str, more: &str) -> String {
    let image = t.image(name);
    format!(
        "  {name}:\n    dir: src/{name}\n    git: {{remote: '{url}', reference: origin/master}}\n    \
         docker: {{image: {image}{docker}}}\n{more}"
    )
}
