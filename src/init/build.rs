//! An image that a file of another tool says how to build.

/// An image that a file of another tool says how to build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// What the file calls it.
    pub name: String,
    /// The file, for comments.
    pub file: String,
    /// The image's name as the file has it, tag included.
    pub image: Option<String>,
    /// Where the source is.
    pub context: Context,
    /// The Dockerfile, from the context on; none for `Dockerfile`.
    pub dockerfile: Option<String>,
    /// The stage.
    pub target: Option<String>,
    /// The build arguments.
    pub args: Vec<(String, Value)>,
    /// What must be built first, by the names of the same file.
    pub needs: Vec<String>,
    /// What could not be taken over.
    pub todos: Vec<String>,
}

/// Where the source of a build is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Context {
    /// A folder, from the platform's folder on.
    Folder(String),
    /// A git remote, as `docker build` takes it.
    Git {
        /// The URL.
        remote: String,
        /// A branch, a tag or a commit.
        reference: Option<String>,
        /// A folder in it.
        path: String,
    },
    /// Neither: why there is no such place here.
    None(String),
}

/// The value of a build argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text; the remark says what may have to be changed.
    Text(String, Option<String>),
    /// The image of another build of the same file.
    ImageOf(String),
    /// Only known where the other tool runs: why.
    Unknown(String),
}

/// Takes apart a build context that is a git URL: `URL#reference:folder`.
pub(super) fn git_context(written: &str) -> Option<Context> {
    let (url, fragment) = match written.split_once('#') {
        Some((url, fragment)) => (url, Some(fragment)),
        None => (written, None),
    };
    let is_git = url.starts_with("git://")
        || url.starts_with("git@")
        || url.starts_with("ssh://")
        || (url.starts_with("http://") || url.starts_with("https://")) && url.ends_with(".git");
    // Docker takes this for git without any sign of it.
    let is_short = url.starts_with("github.com/");
    if !is_git && !is_short {
        return None;
    }
    let (reference, path) = match fragment.map(|fragment| fragment.split_once(':')) {
        None => (None, "."),
        Some(None) => (fragment, "."),
        Some(Some((reference, path))) => (Some(reference), path),
    };
    Some(Context::Git {
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

/// Returns an image's name without tag and digest.
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
    fn git_contexts_are_told_from_folders() {
        let git = |remote: &str, reference: Option<&str>, path: &str| {
            Some(Context::Git {
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
