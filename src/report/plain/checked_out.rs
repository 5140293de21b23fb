//! The repository that a CI system checked out.

use crate::model::source::GitUrl;

/// The repository that a CI system checked out. Annotations can refer to its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedOutRepository {
    host: String,
    path: String,
}

impl CheckedOutRepository {
    /// Returns the repository of a job of GitHub Actions, given the URL of the server, and owner and name.
    pub fn of_github(server: &str, repository: &str) -> Option<Self> {
        Self::at(&format!("{}/{repository}", server.trim_end_matches('/')))
    }

    /// Returns whether a URL is that of the repository, with any protocol.
    pub fn is_at(&self, url: &str) -> bool {
        Self::at(url).as_ref() == Some(self)
    }

    fn at(url: &str) -> Option<Self> {
        let url: GitUrl = url.parse().ok()?;
        let path = url.path().trim_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path);
        // GitHub ignores the case of names.
        Some(Self {
            host: url.host().to_lowercase(),
            path: path.to_lowercase(),
        })
        .filter(|it| !it.host.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_protocol_is_recognized() {
        let checked_out =
            CheckedOutRepository::of_github("https://github.com", "Acme/Platform").unwrap();
        for same in [
            "https://github.com/acme/platform.git",
            "https://GitHub.com/Acme/Platform/",
            "git@github.com:acme/platform.git",
            "ssh://git@github.com/acme/platform",
        ] {
            assert!(checked_out.is_at(same), "{same}");
        }
        for other in [
            "https://github.com/acme/platform-two",
            "https://github.com/other/platform",
            "https://git.example.com/acme/platform.git",
            "file:///acme/platform",
            "../platform",
        ] {
            assert!(!checked_out.is_at(other), "{other}");
        }
    }
}
