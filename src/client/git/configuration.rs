//! What xp takes from the user's git configuration: the system's and the user's files, no repository's.

use crate::source::GitUrl;

/// The settings of git that decide how a remote is reached.
#[derive(Debug, Clone, Default)]
pub(super) struct Configuration {
    /// `url.<base>.insteadOf`: what a URL starts with, and what it becomes.
    replacements: Vec<(String, String)>,
    /// `core.sshCommand`.
    pub(super) ssh_command: Option<String>,
    /// `ssh.variant`.
    pub(super) ssh_variant: Option<String>,
    /// Some `credential.useHttpPath` is set: a host's repositories may have different logins.
    pub(super) credentials_use_path: bool,
}

impl Configuration {
    /// Reads the configuration; what cannot be read counts as not set, as a remote may do without.
    pub(super) fn read() -> Self {
        git2::Config::open_default()
            .and_then(|mut config| Self::of(&config.snapshot()?))
            .unwrap_or_default()
    }

    fn of(config: &git2::Config) -> Result<Self, git2::Error> {
        let mut configuration = Self {
            ssh_command: config.get_string("core.sshcommand").ok(),
            ssh_variant: config.get_string("ssh.variant").ok(),
            ..Self::default()
        };
        config.entries(None)?.for_each(|entry| {
            // Sections and keys come in lower case; what stands between them as it was written.
            let (Ok(name), Ok(value)) = (entry.name(), entry.value()) else {
                return;
            };
            if let Some(base) = name
                .strip_prefix("url.")
                .and_then(|rest| rest.strip_suffix(".insteadof"))
            {
                configuration
                    .replacements
                    .push((value.to_owned(), base.to_owned()));
            }
            if name.starts_with("credential.") && name.ends_with("usehttppath") {
                configuration.credentials_use_path |=
                    git2::Config::parse_bool(value).unwrap_or(false);
            }
        })?;
        Ok(configuration)
    }

    /// Returns the URL that is really used, after `insteadOf`; the longest match wins, as in git.
    ///
    /// A replacement that makes no valid URL is left alone.
    pub(super) fn effective_url(&self, url: &GitUrl) -> GitUrl {
        let text = url.expose();
        self.replacements
            .iter()
            .filter(|(start, _)| text.starts_with(start.as_str()))
            .max_by_key(|(start, _)| start.len())
            .and_then(|(start, base)| format!("{base}{}", &text[start.len()..]).parse().ok())
            .unwrap_or_else(|| url.clone())
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
        let configuration = Configuration::of(&git2::Config::open(file.path()).unwrap()).unwrap();
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
        assert_eq!(
            effective("git@other.example.com:x"),
            "git@other.example.com:x"
        );
        assert_eq!(configuration.ssh_command.as_deref(), Some("ssh -i key"));
        assert!(configuration.credentials_use_path);
    }
}
