//! The git settings that xp reads from the system's and the user's configuration files and from the
//! environment; never from a repository.

use git2::{Config, ConfigLevel};

use super::GitEnvironment;
use crate::model::source::{GitUrl, UrlRule};

/// The git settings that affect how a remote is accessed.
#[derive(Debug, Clone, Default)]
pub(super) struct GitConfiguration {
    /// `url.<base>.insteadOf`.
    url_rules: Vec<UrlRule>,
    /// `core.sshCommand`.
    pub(super) ssh_command: Option<String>,
    /// `ssh.variant`.
    pub(super) ssh_variant: Option<String>,
    /// Whether any `credential.useHttpPath` is set: repositories on one host may then have different logins.
    pub(super) credentials_use_path: bool,
}

impl GitConfiguration {
    /// Reads the configuration; unreadable settings count as unset, because most remotes need none.
    pub(super) fn read(environment: &GitEnvironment) -> Self {
        let mut configuration = Self::default();
        let config = match &environment.global_configuration {
            None => Config::open_default(),
            Some(file) => Config::new().and_then(|mut config| {
                if let Ok(system) = Config::find_system() {
                    config.add_file(&system, ConfigLevel::System, false)?;
                }
                config.add_file(file, ConfigLevel::Global, false)?;
                Ok(config)
            }),
        };
        _ = config
            .and_then(|mut config| config.snapshot())
            .and_then(|config| configuration.add_all(&config));
        for (name, value) in &environment.configuration {
            configuration.add(&normal_name(name), value);
        }
        configuration
    }

    fn add_all(&mut self, config: &Config) -> Result<(), git2::Error> {
        config.entries(None)?.for_each(|entry| {
            if let (Ok(name), Ok(value)) = (entry.name(), entry.value()) {
                self.add(name, value);
            }
        })
    }

    /// Adds a setting; section and key are in lower case, the subsection between them is verbatim. The last
    /// one wins.
    fn add(&mut self, name: &str, value: &str) {
        match name {
            "core.sshcommand" => self.ssh_command = Some(value.to_owned()),
            "ssh.variant" => self.ssh_variant = Some(value.to_owned()),
            _ => {}
        }
        if let Some(base) = name
            .strip_prefix("url.")
            .and_then(|rest| rest.strip_suffix(".insteadof"))
        {
            self.url_rules.push(UrlRule {
                instead_of: value.to_owned(),
                base: base.to_owned(),
            });
        }
        if name.starts_with("credential.") && name.ends_with("usehttppath") {
            self.credentials_use_path |= Config::parse_bool(value).unwrap_or(false);
        }
    }

    /// Returns the URL after applying `insteadOf`; the longest match wins, as in git.
    ///
    /// A replacement that yields an invalid URL is ignored.
    pub(super) fn effective_url(&self, url: &GitUrl) -> GitUrl {
        let rule = self.url_rule(url);
        rule.and_then(|rule| rule.apply(url))
            .unwrap_or_else(|| url.clone())
    }

    /// Returns the rule that applies to a URL, and the others with the same base.
    pub(super) fn url_rules(&self, url: &GitUrl) -> Vec<UrlRule> {
        let Some(applied) = self.url_rule(url) else {
            return Vec::new();
        };
        let same_base = self.url_rules.iter().filter(|it| it.base == applied.base);
        same_base.cloned().collect()
    }

    fn url_rule(&self, url: &GitUrl) -> Option<&UrlRule> {
        let matching = self
            .url_rules
            .iter()
            .filter(|it| url.expose().starts_with(&it.instead_of));
        matching.max_by_key(|it| it.instead_of.len())
    }
}

/// Returns a setting's name with its section and key in lower case, as libgit2 reports names from files.
fn normal_name(name: &str) -> String {
    match (name.find('.'), name.rfind('.')) {
        (Some(first), Some(last)) => format!(
            "{}{}{}",
            name[..first].to_lowercase(),
            &name[first..last],
            name[last..].to_lowercase()
        ),
        _ => name.to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_replaced_as_git_does() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(
            file.path(),
            "[core]\n sshCommand = ssh -i key\n\
             [url \"https://token@Git.example.com/\"]\n insteadOf = git@git.example.com:\n insteadOf = ssh://git@git.example.com/\n\
             [url \"file:///srv/\"]\n insteadOf = git@git.example.com:local/\n\
             [credential \"https://git.example.com\"]\n useHttpPath = true\n",
        )
        .unwrap();
        let mut configuration = GitConfiguration::default();
        configuration
            .add_all(&Config::open(file.path()).unwrap())
            .unwrap();
        let effective = |text: &str| {
            configuration
                .effective_url(&text.parse().unwrap())
                .expose()
                .to_owned()
        };
        assert_eq!(
            effective("git@git.example.com:x/y.git"),
            "https://token@Git.example.com/x/y.git"
        );
        assert_eq!(
            effective("ssh://git@git.example.com/x"),
            "https://token@Git.example.com/x"
        );
        assert_eq!(effective("git@git.example.com:local/y"), "file:///srv/y");
        let rules = configuration.url_rules(&"ssh://git@git.example.com/x".parse().unwrap());
        let prefixes: Vec<&str> = rules.iter().map(|it| it.instead_of.as_str()).collect();
        assert_eq!(
            prefixes,
            ["git@git.example.com:", "ssh://git@git.example.com/"]
        );
        assert!(
            configuration
                .url_rules(&"https://other.example.com/x".parse().unwrap())
                .is_empty()
        );
        assert_eq!(
            effective("git@other.example.com:x"),
            "git@other.example.com:x"
        );
        assert_eq!(configuration.ssh_command.as_deref(), Some("ssh -i key"));
        assert!(configuration.credentials_use_path);
    }

    #[test]
    fn the_environment_overrides_the_files() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(
            file.path(),
            "[core]\n sshCommand = one\n[ssh]\n variant = simple\n",
        )
        .unwrap();
        let environment = GitEnvironment {
            global_configuration: Some(file.path().to_owned()),
            configuration: vec![
                ("Core.SSHCommand".to_owned(), "two".to_owned()),
                ("URL.https://H/.InsteadOf".to_owned(), "h:".to_owned()),
            ],
            ..GitEnvironment::default()
        };
        let configuration = GitConfiguration::read(&environment);
        assert_eq!(configuration.ssh_command.as_deref(), Some("two"));
        assert_eq!(configuration.ssh_variant.as_deref(), Some("simple"));
        let replaced = configuration.effective_url(&"h:x".parse().unwrap());
        assert_eq!(replaced.expose(), "https://H/x");
    }
}
