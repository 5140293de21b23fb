//! A platform with several services, for tests of their interaction.

use crate::context::Context;
use crate::repository::GitRepository;

/// Several services, each with its own repository and a Dockerfile that copies everything.
pub struct Services<'a> {
    context: &'a Context,
    repositories: Vec<(&'a str, GitRepository)>,
}

impl<'a> Services<'a> {
    /// Creates the repositories, without a manifest.
    pub fn new(context: &'a Context, names: &[&'a str]) -> Self {
        let dockerfile = format!("FROM {}\nCOPY . /src\n", context.engine().busybox());
        let repositories = names.iter().map(|name| {
            let repository = context.git_repo(name);
            repository.commit(&[("Dockerfile", &dockerfile)], "Start");
            (*name, repository)
        });
        Self {
            context,
            repositories: repositories.collect(),
        }
    }

    /// Returns the repository of a service.
    pub fn repository(&self, name: &str) -> &GitRepository {
        let mut found = self.repositories.iter().filter(|(other, _)| *other == name);
        &found.next().expect("a service of that name").1
    }

    /// Commits files to a service.
    pub fn commit(&self, name: &str, files: &[(&str, String)]) {
        let files: Vec<_> = files
            .iter()
            .map(|(path, text)| (*path, text.as_str()))
            .collect();
        self.repository(name).commit(&files, "Change");
    }

    /// Returns the keys of a service with a one-line script.
    pub fn scripts(&self, line: &str) -> String {
        let busybox = self.context.engine().busybox();
        format!(
            "dockerBuilder: {{ image: {busybox}, network: none }}\n    scripts: {{ build: [ \"{line}\" ] }}"
        )
    }

    /// Writes the manifest, with additional keys for some services.
    pub fn manifest(&self, keys: &[(&str, String)]) {
        let services = self.repositories.iter().map(|(name, repository)| {
            let url = repository.url_file();
            let keys = keys.iter().find(|(other, _)| other == name);
            let keys = keys.map_or("", |(_, keys)| keys.as_str());
            let image = match keys.contains("docker:") {
                true => String::new(),
                false => format!("    docker: {{ image: {} }}\n", self.context.image(name)),
            };
            format!("  {name}:\n    dir: src/{name}\n    git: {{ remote: \"{url}\" }}\n    {keys}\n{image}")
        });
        self.context
            .manifest(&format!("services:\n{}", services.collect::<String>()));
    }
}
