//! The git directories of a working copy, and how to mount them into a container.

use std::path::{Component, Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The git directories that git needs in a container, besides the files of the working copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitFolders {
    /// The `.git` of the working copy: a folder, or a file that points to one.
    pub entry: PathBuf,
    /// The target of a `.git` file.
    pub link: Option<GitLink>,
    /// Folders of borrowed objects, which must be mounted at the same paths.
    pub borrowed_objects: Vec<PathBuf>,
}

/// The target of the `.git` file of a linked worktree or submodule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitLink {
    /// The working copy.
    pub dir: PathBuf,
    /// The git directory as written in the file: absolute, or relative to the working copy.
    pub path_as_written: PathBuf,
    /// The git directory on this machine.
    pub git_dir: PathBuf,
    /// The git directory that it shares with other worktrees.
    pub common: Option<CommonDir>,
    /// `core.worktree` of a submodule, which points back to its working copy: absolute, or relative to the git
    /// directory.
    pub worktree: Option<PathBuf>,
}

/// The git directory that linked worktrees share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommonDir {
    /// As written: absolute, or relative to the worktree's own git directory.
    pub path_as_written: PathBuf,
    /// The folder on this machine.
    pub dir: PathBuf,
}

/// A read-only mount of a file or folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GitMount {
    /// The path on this machine.
    pub source: PathBuf,
    /// The path in the container.
    pub target: PathBuf,
}

impl GitFolders {
    /// Returns the mounts that make git work in a container with the working copy at `workdir`: every folder is
    /// mounted where the files that refer to it point.
    pub fn mounts(&self, workdir: &Path) -> Vec<GitMount> {
        let mount = |source: &Path, target: PathBuf| GitMount {
            source: source.to_owned(),
            target,
        };
        let mut mounts = vec![mount(&self.entry, workdir.join(".git"))];
        if let Some(link) = &self.link {
            let git_dir = resolved(workdir, &link.path_as_written);
            let mut holds_git_dir = false;
            if let Some(common) = &link.common {
                let target = resolved(&git_dir, &common.path_as_written);
                // Usually, the worktree's git directory is inside the shared one and needs no separate mount.
                holds_git_dir = match link.git_dir.strip_prefix(&common.dir) {
                    Ok(below) => target.join(below) == git_dir,
                    Err(_) => false,
                };
                mounts.push(mount(&common.dir, target));
            }
            if !holds_git_dir {
                mounts.push(mount(&link.git_dir, git_dir.clone()));
            }
            if let Some(worktree) = &link.worktree {
                let target = resolved(&git_dir, worktree);
                if target != resolved(workdir, Path::new("")) && target != Path::new("/") {
                    mounts.push(mount(&link.dir, target));
                }
            }
        }
        for folder in &self.borrowed_objects {
            mounts.push(mount(folder, folder.clone()));
        }
        mounts
    }
}

/// Joins and normalizes a path lexically, without `.` and `..`; the parent of the root is the root.
fn resolved(folder: &Path, named: &Path) -> PathBuf {
    let mut path = PathBuf::from("/");
    for component in folder.join(named).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => {
                path.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(dir: &str, link: Option<GitLink>) -> GitFolders {
        GitFolders {
            entry: Path::new(dir).join(".git"),
            link,
            borrowed_objects: Vec::new(),
        }
    }

    fn shown(folders: &GitFolders, workdir: &str) -> Vec<String> {
        let mounts = folders.mounts(Path::new(workdir));
        let shown = mounts
            .iter()
            .map(|mount| format!("{} {}", mount.source.display(), mount.target.display()));
        shown.collect()
    }

    fn worktree(named: &str, git_dir: &str, common: (&str, &str)) -> GitLink {
        GitLink {
            dir: PathBuf::from("/p/src/a"),
            path_as_written: PathBuf::from(named),
            git_dir: PathBuf::from(git_dir),
            common: Some(CommonDir {
                path_as_written: PathBuf::from(common.0),
                dir: PathBuf::from(common.1),
            }),
            worktree: None,
        }
    }

    #[test]
    fn a_clone_needs_only_its_own_git_directory() {
        let mut clone = folders("/p/src/a", None);
        assert_eq!(shown(&clone, "/work/"), ["/p/src/a/.git /work/.git"]);
        clone.borrowed_objects = vec![PathBuf::from("/mirror/objects")];
        assert_eq!(shown(&clone, "/work")[1], "/mirror/objects /mirror/objects");
    }

    #[test]
    fn a_worktree_needs_the_shared_git_directory() {
        let git_dir = "/home/me/a/.git/worktrees/x";
        let link = worktree(git_dir, git_dir, ("../..", "/home/me/a/.git"));
        assert_eq!(
            shown(&folders("/p/src/a", Some(link)), "/work"),
            [
                "/p/src/a/.git /work/.git",
                "/home/me/a/.git /home/me/a/.git"
            ]
        );
        // A relative path that leads above the container's root.
        let link = worktree(
            "../../main/.git/worktrees/x",
            "/p/main/.git/worktrees/x",
            ("../..", "/p/main/.git"),
        );
        assert_eq!(
            shown(&folders("/p/src/a", Some(link)), "/work")[1..],
            ["/p/main/.git /main/.git"]
        );
    }

    #[test]
    fn a_git_directory_outside_the_shared_one_is_mounted_too() {
        // As if a parent folder were a symbolic link: the paths do not show that one contains the other.
        let link = worktree(
            "/link/.git/worktrees/x",
            "/real/.git/worktrees/x",
            ("/other/.git", "/real/.git"),
        );
        assert_eq!(
            shown(&folders("/p/src/a", Some(link)), "/work")[1..],
            [
                "/real/.git /other/.git",
                "/real/.git/worktrees/x /link/.git/worktrees/x"
            ]
        );
    }

    #[test]
    fn a_submodule_is_mounted_where_its_git_directory_expects_it() {
        let link = GitLink {
            dir: PathBuf::from("/p/src/a"),
            path_as_written: PathBuf::from("../../.git/modules/src/a"),
            git_dir: PathBuf::from("/p/.git/modules/src/a"),
            common: None,
            worktree: Some(PathBuf::from("../../../../src/a")),
        };
        let submodule = folders("/p/src/a", Some(link));
        assert_eq!(
            shown(&submodule, "/go/src/x/a")[1..],
            [
                "/p/.git/modules/src/a /go/src/.git/modules/src/a",
                "/p/src/a /go/src/src/a"
            ]
        );
        assert_eq!(shown(&submodule, "/src/a").len(), 2, "already mounted");
    }
}
