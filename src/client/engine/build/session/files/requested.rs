//! The folder that the engine requests, and the part of it.

use std::path::{Component, Path, PathBuf};

use tonic::Status;
use tonic::metadata::MetadataMap;

use super::list::parents;

/// The files that the engine requests.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RequestedFiles {
    /// Only the Dockerfile.
    Dockerfile,
    /// Files of the context.
    Context(ContextPart),
}

/// A part of the context.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ContextPart {
    /// The whole context.
    Everything,
    /// These files, and these folders with their contents.
    Paths(Vec<PathBuf>),
}

impl RequestedFiles {
    /// Parses the headers of a request; `folder` is that of the context.
    pub(super) fn parse(metadata: &MetadataMap, folder: &Path) -> Result<Self, Status> {
        let name = metadata.get("dir-name");
        match name.and_then(|name| name.to_str().ok()) {
            Some("dockerfile") => Ok(Self::Dockerfile),
            Some("context") => Ok(Self::Context(ContextPart::parse(metadata, folder))),
            other => {
                let name = other.unwrap_or_default();
                Err(Status::permission_denied(format!(
                    "the build is not allowed to read `{name}`"
                )))
            }
        }
    }
}

impl ContextPart {
    fn parse(metadata: &MetadataMap, folder: &Path) -> Self {
        // The list is encoded if names are not ASCII; then send everything.
        if metadata.contains_key("followpaths-encoded") {
            return Self::Everything;
        }
        let paths = metadata.get_all("followpaths").iter();
        let paths: Option<Vec<PathBuf>> = paths
            .map(|path| plain_path(path.to_str().ok()?, folder))
            .collect();
        match paths {
            Some(paths) if !paths.is_empty() => Self::Paths(paths),
            _ => Self::Everything,
        }
    }

    /// Returns whether a path is in this part, or is a parent of something in it.
    pub(super) fn includes(&self, name: &Path) -> bool {
        match self {
            Self::Everything => true,
            Self::Paths(paths) => paths
                .iter()
                .any(|path| name.starts_with(path) || path.starts_with(name)),
        }
    }
}

/// Returns a plain path; `None` if it has a pattern, or a link, which refers to other files.
fn plain_path(text: &str, folder: &Path) -> Option<PathBuf> {
    let path = Path::new(text.trim_start_matches('/'));
    let is_plain = !text.contains(['*', '?', '[', '\\']) && path != Path::new("");
    let is_below = |part: Component<'_>| matches!(part, Component::Normal(_));
    if !is_plain || !path.components().all(is_below) {
        return None;
    }
    let path: PathBuf = path.components().collect();
    let is_link = |path: &Path| {
        let metadata = folder.join(path).symlink_metadata();
        metadata.is_ok_and(|it| it.is_symlink())
    };
    let leads_elsewhere = is_link(&path) || parents(&path).any(is_link);
    (!leads_elsewhere).then_some(path)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_plain_paths_select_a_part_of_the_context() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("real")).unwrap();
        symlink("real", folder.path().join("link")).unwrap();
        let of = |text| plain_path(text, folder.path());
        for (text, path) in [("src", "src"), ("/src/a", "src/a"), ("src/", "src")] {
            assert_eq!(of(text).as_deref(), Some(Path::new(path)), "{text}");
        }
        for text in [
            "", "/", ".", "./x", "..", "a/../b", "*.go", "a?", "[a]", "a\\b", "link", "link/x",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn the_engine_may_read_only_the_folders_of_the_build() {
        let read = |headers: &[(&'static str, &str)]| {
            let mut metadata = MetadataMap::new();
            for (name, value) in headers {
                metadata.append(*name, value.parse().unwrap());
            }
            RequestedFiles::parse(&metadata, Path::new("/"))
        };
        let context = ("dir-name", "context");
        let paths = |paths: &[&str]| {
            let paths = paths.iter().map(PathBuf::from).collect();
            RequestedFiles::Context(ContextPart::Paths(paths))
        };
        let of = |headers: &[_]| read(headers).unwrap();
        assert_eq!(
            of(&[("dir-name", "dockerfile")]),
            RequestedFiles::Dockerfile
        );
        assert_eq!(
            of(&[context]),
            RequestedFiles::Context(ContextPart::Everything)
        );
        let two = [context, ("followpaths", "a"), ("followpaths", "b/c")];
        assert_eq!(of(&two), paths(&["a", "b/c"]));
        for more in [("followpaths", "*.c"), ("followpaths-encoded", "1")] {
            let headers = [context, ("followpaths", "a"), more];
            assert_eq!(
                of(&headers),
                RequestedFiles::Context(ContextPart::Everything),
                "{more:?}"
            );
        }
        for name in ["", "/etc", "home"] {
            assert!(read(&[("dir-name", name)]).is_err(), "{name}");
        }
        assert!(read(&[]).is_err());
    }
}
