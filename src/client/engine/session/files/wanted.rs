//! Which folder of a build the engine asks for, and which part of it.

use std::path::{Component, Path, PathBuf};

use tonic::Status;
use tonic::metadata::MetadataMap;

use super::list::parents;

/// What the engine asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The Dockerfile, and nothing else.
    Dockerfile,
    /// Files of the context.
    Context(Part),
}

/// A part of the context.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it.
    Everything,
    /// These files and folders, and what is in them.
    Paths(Vec<PathBuf>),
}

impl Wanted {
    /// Reads what the engine sends along with its question; `folder` is that of the context.
    pub(super) fn read(metadata: &MetadataMap, folder: &Path) -> Result<Self, Status> {
        let name = metadata.get("dir-name");
        match name.and_then(|name| name.to_str().ok()) {
            Some("dockerfile") => Ok(Self::Dockerfile),
            Some("context") => Ok(Self::Context(Part::read(metadata, folder))),
            other => {
                let name = other.unwrap_or_default();
                Err(Status::permission_denied(format!(
                    "a build may not read `{name}`"
                )))
            }
        }
    }
}

impl Part {
    fn read(metadata: &MetadataMap, folder: &Path) -> Self {
        // A list that is encoded has names that are not ASCII.
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

    /// Tells whether something belongs to it, for itself or for what is in it.
    pub(super) fn includes(&self, name: &Path) -> bool {
        match self {
            Self::Everything => true,
            Self::Paths(paths) => paths
                .iter()
                .any(|path| name.starts_with(path) || path.starts_with(name)),
        }
    }
}

/// Returns a path that stands for itself: without patterns, and without links, which lead to other files.
fn plain_path(text: &str, folder: &Path) -> Option<PathBuf> {
    let path = Path::new(text.trim_start_matches('/'));
    let is_plain = !text.contains(['*', '?', '[', '\\']) && path != Path::new("");
    let is_below = |part: Component<'_>| matches!(part, Component::Normal(_));
    if !is_plain || !path.components().all(is_below) {
        return None;
    }
    let path: PathBuf = path.components().collect();
    let is_link = |path: &Path| {
        let there = folder.join(path).symlink_metadata();
        there.is_ok_and(|it| it.is_symlink())
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
    fn only_plain_paths_are_taken_for_a_part_of_the_context() {
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
    fn the_engine_gets_the_folders_of_a_build_and_no_others() {
        let read = |headers: &[(&'static str, &str)]| {
            let mut metadata = MetadataMap::new();
            for (name, value) in headers {
                metadata.append(*name, value.parse().unwrap());
            }
            Wanted::read(&metadata, Path::new("/"))
        };
        let context = ("dir-name", "context");
        let paths = |paths: &[&str]| {
            let paths = paths.iter().map(PathBuf::from).collect();
            Wanted::Context(Part::Paths(paths))
        };
        let of = |headers: &[_]| read(headers).unwrap();
        assert_eq!(of(&[("dir-name", "dockerfile")]), Wanted::Dockerfile);
        assert_eq!(of(&[context]), Wanted::Context(Part::Everything));
        let two = [context, ("followpaths", "a"), ("followpaths", "b/c")];
        assert_eq!(of(&two), paths(&["a", "b/c"]));
        for more in [("followpaths", "*.c"), ("followpaths-encoded", "1")] {
            let headers = [context, ("followpaths", "a"), more];
            assert_eq!(of(&headers), Wanted::Context(Part::Everything), "{more:?}");
        }
        for name in ["", "/etc", "home"] {
            assert!(read(&[("dir-name", name)]).is_err(), "{name}");
        }
        assert!(read(&[]).is_err());
    }
}
