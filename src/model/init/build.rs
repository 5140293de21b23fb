//! An image build as defined by another tool's file.

use std::collections::BTreeSet;

/// An image build as defined by another tool's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// The name in the file.
    pub name: String,
    /// The file, mentioned in comments.
    pub file: String,
    /// The image name as written, including the tag.
    pub image: Option<String>,
    /// The image name that the tool uses if `image` is not set.
    pub default_image: Option<String>,
    pub context: BuildContext,
    /// The Dockerfile, relative to the context; `None` for `Dockerfile`.
    pub dockerfile: Option<String>,
    /// The target stage.
    pub target: Option<String>,
    /// The build arguments.
    pub args: Vec<(String, ArgValue)>,
    /// The builds that must come first, by their names in the same file.
    pub needs: Vec<String>,
    /// The build secrets by id.
    pub secrets: Vec<(String, BuildSecret)>,
    /// Whether the ssh agent is forwarded.
    pub ssh: bool,
    /// Whether layers of earlier images are reused.
    pub cache: bool,
    /// The platforms of the image, as written.
    pub platforms: Vec<String>,
    /// Tags in addition to the one of `image`.
    pub tags: Vec<String>,
    /// Keys that have no equivalent in a manifest.
    pub unsupported: BTreeSet<String>,
    /// What else could not be converted.
    pub todos: Vec<String>,
}

impl Build {
    /// A build of which only the context is known.
    pub fn new(context: BuildContext) -> Self {
        Self {
            name: String::new(),
            file: String::new(),
            image: None,
            default_image: None,
            context,
            dockerfile: None,
            target: None,
            args: Vec::new(),
            needs: Vec::new(),
            secrets: Vec::new(),
            ssh: false,
            cache: false,
            platforms: Vec::new(),
            tags: Vec::new(),
            unsupported: BTreeSet::new(),
            todos: Vec::new(),
        }
    }
}

/// Where the value of a build secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildSecret {
    /// An environment variable.
    Variable(String),
    /// A file: absolute, starting with `~/`, or relative to the platform's folder.
    File(String),
    /// Unusable, with the reason.
    Unknown(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildContext {
    /// A folder, relative to the platform's folder.
    Folder(String),
    /// A git remote, as in `docker build URL`.
    Git {
        remote: String,
        /// A branch, tag or commit.
        reference: Option<String>,
        /// A folder in it.
        path: String,
    },
    /// Unusable, with the reason.
    None(String),
}

/// The value of a build argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArgValue {
    /// A literal; the remark says what may have to be changed.
    Text(String, Option<String>),
    /// The image of another build of the same file.
    ImageOf(String),
    /// Known only when the other tool runs, with the reason.
    Unknown(String),
}

/// Parses a build context that is a git URL: `URL#reference:folder`.
pub(super) fn git_context(written: &str) -> Option<BuildContext> {
    let (url, fragment) = match written.split_once('#') {
        Some((url, fragment)) => (url, Some(fragment)),
        None => (written, None),
    };
    let is_git = url.starts_with("git://")
        || url.starts_with("git@")
        || url.starts_with("ssh://")
        || (url.starts_with("http://") || url.starts_with("https://")) && url.ends_with(".git");
    // Docker treats this prefix as git even without a scheme or `.git`.
    let is_short = url.starts_with("github.com/");
    if !is_git && !is_short {
        return None;
    }
    let (reference, path) = match fragment.map(|fragment| fragment.split_once(':')) {
        None => (None, "."),
        Some(None) => (fragment, "."),
        Some(Some((reference, path))) => (Some(reference), path),
    };
    Some(BuildContext::Git {
        remote: if is_short {
            format!("https://{url}")
        } else {
            url.to_owned()
        },
        reference: reference
            .filter(|reference| !reference.is_empty())
            .map(str::to_owned),
        path: super::path::join(".", path.trim_start_matches('/'))?,
    })
}

/// Returns an image name without its tag and digest.
pub(super) fn repository_of(image: &str) -> &str {
    let image = image.split('@').next().unwrap_or(image);
    match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => image,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_contexts_are_recognized() {
        let git = |remote: &str, reference: Option<&str>, path: &str| {
            Some(BuildContext::Git {
                remote: remote.to_owned(),
                reference: reference.map(str::to_owned),
                path: path.to_owned(),
            })
        };
        assert_eq!(
            git_context("https://h/x.git#main:docker/api"),
            git("https://h/x.git", Some("main"), "docker/api")
        );
        assert_eq!(git_context("git@h:x.git"), git("git@h:x.git", None, "."));
        assert_eq!(
            git_context("github.com/a/b#:sub"),
            git("https://github.com/a/b", None, "sub")
        );
        assert_eq!(git_context("./api"), None);
        assert_eq!(git_context("https://h/archive.tar.gz"), None);
        assert_eq!(repository_of("h:5000/a/b:1.2"), "h:5000/a/b");
        assert_eq!(repository_of("h:5000/a@sha256:0"), "h:5000/a");
    }
}
