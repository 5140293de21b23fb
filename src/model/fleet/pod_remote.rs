//! How a pod reaches the git remote of a unit.

use crate::model::source::{GitScheme, GitUrl, UrlRule};

/// A git remote as a pod reaches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodRemote {
    /// The URL after applying the rules.
    pub url: GitUrl,
    /// The rules of git's `insteadOf` that are sent to the pod.
    pub rules: Vec<UrlRule>,
}

impl PodRemote {
    /// Returns a remote for which nothing is sent.
    pub fn as_written(url: &GitUrl) -> Self {
        Self {
            url: url.clone(),
            rules: Vec::new(),
        }
    }

    /// Returns a remote that this machine reaches by `effective` because of these rules.
    pub fn new(url: &GitUrl, effective: GitUrl, rules: Vec<UrlRule>) -> Self {
        // A mirror in a folder of this machine is of no use to a pod.
        if effective.scheme() == GitScheme::File {
            return Self::as_written(url);
        }
        Self {
            url: effective,
            rules,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_on_this_machine_are_not_sent() {
        let url = |text: &str| text.parse::<GitUrl>().unwrap();
        let rule = |base: &str| UrlRule {
            instead_of: "https://h/".to_owned(),
            base: base.to_owned(),
        };
        let remote = url("https://h/x");
        let sent = |base: &str| {
            let rule = rule(base);
            let effective = rule.apply(&remote).unwrap();
            PodRemote::new(&remote, effective, vec![rule])
        };
        let found = sent("https://a:b@h/");
        assert_eq!(found.url.expose(), "https://a:b@h/x");
        assert_eq!(found.rules.len(), 1);
        assert!(!format!("{found:?}").contains("a:b"));
        assert_eq!(sent("file:///mirror/"), PodRemote::as_written(&remote));
    }
}
