//! The source of a service: a git repository, or a plugin.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::service::{BuilderImage, SecretSource};
use super::setting::Settings;
use super::span::Span;
use crate::model::source::{
    ExcludePattern, GitReference, GitUrl, PathSelection, SourceRemote, without_user_info,
};

/// Where a service's source comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// `git`
    Git(Git),
    /// `scm`
    Plugin(ScmPlugin),
}

/// A git repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Git {
    pub remote: GitUrl,
    /// The branch, tag or commit to build.
    pub reference: GitReference,
    /// The service's folder in a shared repository, without `..`.
    pub path: Option<String>,
    /// Additional folders and files that the build sees, sorted; empty without `path`.
    pub include: Vec<String>,
    /// The files that do not matter: the build does not see them, and commits that change only these are not built.
    pub exclude: Vec<ExcludePattern>,
    /// Whether submodules are checked out too.
    pub submodules: bool,
}

/// A repository that a plugin reads.
#[derive(Debug, Clone)]
pub struct ScmPlugin {
    /// The plugin's image.
    pub image: BuilderImage,
    /// The settings of the plugin.
    pub with: Settings,
    /// The branch, tag or commit to build.
    pub reference: GitReference,
    /// The network mode; `None` for the engine's default.
    pub network: Option<String>,
    /// The files in `/run/secrets`, by name.
    pub secrets: BTreeMap<String, SecretSource>,
    /// The position of the image.
    pub(crate) span: Span,
}

impl Source {
    /// Returns the git repository, unless the source comes from a plugin.
    pub fn git(&self) -> Option<&Git> {
        match self {
            Self::Git(git) => Some(git),
            Self::Plugin(_) => None,
        }
    }

    /// Returns the plugin that the source comes from.
    pub fn plugin(&self) -> Option<&ScmPlugin> {
        match self {
            Self::Git(_) => None,
            Self::Plugin(plugin) => Some(plugin),
        }
    }

    /// Returns whether both are parts of one repository, which can share a working copy.
    pub fn is_same_repository(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Git(one), Self::Git(other)) => one.remote == other.remote,
            (Self::Plugin(one), Self::Plugin(other)) => {
                one.image == other.image && one.settings() == other.settings()
            }
            (Self::Git(_), Self::Plugin(_)) | (Self::Plugin(_), Self::Git(_)) => false,
        }
    }

    /// Returns the branch, tag or commit to build.
    pub fn reference(&self) -> &GitReference {
        match self {
            Self::Git(git) => &git.reference,
            Self::Plugin(plugin) => &plugin.reference,
        }
    }

    /// Returns the manifest key that has the reference.
    pub fn reference_key(&self) -> [&'static str; 2] {
        match self {
            Self::Git(_) => ["git", "reference"],
            Self::Plugin(_) => ["scm", "reference"],
        }
    }

    /// Returns the service's folder in a shared repository.
    pub fn path(&self) -> Option<&String> {
        self.git()?.path.as_ref()
    }

    /// Returns the service's files in a git repository; of the paths, `git.path` is the first.
    pub fn selection(&self) -> PathSelection {
        self.git().map(Git::selection).unwrap_or_default()
    }

    /// Returns the repository, without credentials, as the lock records it.
    pub fn remote(&self) -> SourceRemote {
        match self {
            Self::Git(git) => SourceRemote::Git(git.remote.stripped()),
            Self::Plugin(plugin) => SourceRemote::Plugin(plugin.remote()),
        }
    }

    /// Returns the repository's URL without credentials, as labels record it; for a plugin without a setting `url`,
    /// its name and settings.
    pub fn url(&self) -> String {
        match self {
            Self::Git(git) => git.remote.without_credentials(),
            Self::Plugin(plugin) => match plugin.settings().get("url") {
                Some(Value::String(url)) => without_user_info(url),
                _ => plugin.remote(),
            },
        }
    }
}

impl Git {
    /// Returns the service's files; of the paths, `path` is the first.
    pub fn selection(&self) -> PathSelection {
        PathSelection {
            paths: self.path.iter().chain(&self.include).cloned().collect(),
            exclude: self.exclude.clone(),
            only: None,
        }
    }
}

/// Positions do not count, nor does the order of settings.
impl PartialEq for ScmPlugin {
    fn eq(&self, other: &Self) -> bool {
        let parts = |it: &Self| (it.settings(), it.network.clone(), it.secrets.clone());
        self.image == other.image
            && self.reference == other.reference
            && parts(self) == parts(other)
    }
}

impl Eq for ScmPlugin {}

impl ScmPlugin {
    /// Returns the settings; the keys of every mapping are sorted, so that equal settings are equal.
    pub fn settings(&self) -> Map<String, Value> {
        self.with.to_sorted_map()
    }

    /// Returns the plugin and its settings on one line, without the user information of URLs.
    pub fn remote(&self) -> String {
        let mut with = Value::Object(self.settings());
        strip(&mut with);
        format!("{} {with}", self.image)
    }
}

/// Removes the user information from every URL.
fn strip(value: &mut Value) {
    match value {
        Value::String(text) => *text = without_user_info(text),
        Value::Array(items) => items.iter_mut().for_each(strip),
        Value::Object(entries) => entries.values_mut().for_each(strip),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::model::manifest::parse;

    #[test]
    fn the_remote_of_a_plugin_has_no_credentials() {
        let manifest = "services:\n  a:\n    dir: a\n    docker: {image: a}\n    scm:\n      plugin: builders/hg\n      \
            with: {url: 'ssh://hg@h/x', mirrors: ['https://bob:s3cret@h/x']}\n";
        let manifest = parse(manifest, Path::new("x-platform.yml")).unwrap();
        let service = manifest.services.values().next().unwrap();
        let plugin = service.source.plugin().unwrap();
        assert_eq!(
            plugin.remote(),
            r#"builders/hg {"mirrors":["https://h/x"],"url":"ssh://h/x"}"#
        );
        assert_eq!(service.source.url(), "ssh://h/x");
    }
}
