//! The repository of a service, as shown and locked.

use std::fmt;

use super::GitUrl;

/// The repository of a service, without credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceRemote {
    /// A git remote.
    Git(GitUrl),
    /// A plugin and its settings, on one line.
    Plugin(String),
}

impl SourceRemote {
    /// Returns its key in lock files and deploy records.
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Git(_) => "remote",
            Self::Plugin(_) => "scm",
        }
    }
}

impl fmt::Display for SourceRemote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Git(url) => url.fmt(f),
            Self::Plugin(text) => f.write_str(text),
        }
    }
}

/// Removes the user and password from a URL; returns other text unchanged.
pub fn without_user_info(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_information_is_removed_from_urls() {
        for (text, stripped) in [
            ("https://bob:p@ss@h:1/x@y?a@b", "https://h:1/x@y?a@b"),
            ("https://h", "https://h"),
            ("https://bob@h", "https://h"),
            ("bob@h:x", "bob@h:x"),
            ("/srv/x", "/srv/x"),
        ] {
            assert_eq!(without_user_info(text), stripped);
        }
    }
}
