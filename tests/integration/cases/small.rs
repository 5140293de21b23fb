//! The smallest platform: services without scripts, whose image holds one file.

use crate::context::Context;
use crate::repository::GitRepository;

/// What the image of such a service is made of.
pub const DOCKERFILE: &str = "FROM scratch\nCOPY content /\n";

/// Makes the repository of a service of that name, with one commit.
pub fn repository(t: &Context, name: &str) -> GitRepository {
    let repository = t.git_repo(name);
    repository.commit(&[("Dockerfile", DOCKERFILE), ("content", name)], "Start");
    repository
}

/// Writes a manifest with one service a repository. Their images are [`Context::image`] of their
/// names in that registry, or in the engine alone where the registry's name is empty.
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

/// Returns a service for the manifest; `docker` is more of its `docker`, `more` is more lines.
pub fn service(t: &Context, name: &str, url: &str, docker: &str, more: &str) -> String {
    let image = t.image(name);
    format!(
        "  {name}:\n    dir: src/{name}\n    git: {{remote: '{url}', reference: origin/master}}\n    \
         docker: {{image: {image}{docker}}}\n{more}"
    )
}
