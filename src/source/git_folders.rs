//! Where the files of git itself are that belong to a working copy.

use std::path::{Component, Path, PathBuf};

/// What a container needs of a working copy, beside its files, so that git works in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitFolders {
    /// The `.git` of the working copy: a folder, or a file that names one.
    pub entry: PathBuf,
    /// What a `.git` that is a file leads to.
    pub link: Option<GitLink>,
    /// The folders that objects are borrowed from, to be mounted at the very same paths.
    pub borrowed_objects: Vec<PathBuf>,
}

/// What the `.git` file of a linked worktree or of a submodule leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitLink {
    /// The working copy.
    pub dir: PathBuf,
    /// The git directory as the file names it: absolute, or relative to the working copy.
    pub named: PathBuf,
    /// The git directory on this machine.
    pub git_dir: PathBuf,
    /// The git directory that it shares with other worktrees.
    pub common: Option<CommonDir>,
    /// `core.worktree`, by which the git directory of a submodule names its working copy: absolute, or
    /// relative to the git directory.
    pub worktree: Option<PathBuf>,
}

/// The git directory that linked worktrees share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommonDir {
    /// As it is named: absolute, or relative to the worktree's own git directory.
    pub named: PathBuf,
    /// On this machine.
    pub dir: PathBuf,
}

/// A file or folder of this machine, and the place at which a container may read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitMount {
    /// Here.
    pub source: PathBuf,
    /// In the container.
    pub target: PathBuf,
}

impl GitFolders {
    /// Returns what is mounted so that git works in a container that has the working copy at
    /// `workdir`: every folder stands where the files that name it lead.
    pub fn mounts(&self, workdir: &Path) -> Vec<GitMount> {
        let mount = |source: &Path, target: PathBuf| GitMount {
            source: source.to_owned(),
            target,
        };
        let mut mounts = vec![mount(&self.entry, workdir.join(".git"))];
        if let Some(link) = &self.link {
            let git_dir = resolved(workdir, &link.named);
            let mut holds_git_dir = false;
            if let Some(common) = &link.common {
                let target = resolved(&git_dir, &common.named);
                // Most often the worktree's git directory lies in the shared one, and comes with it.
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

/// Returns where a path leads that is named in a folder, without `.` and `..`; above the root is the
/// root.
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
            named: PathBuf::from(named),
            git_dir: PathBuf::from(git_dir),
            common: Some(CommonDir {
                named: PathBuf::from(common.0),
                dir: PathBuf::from(common.1),
            }),
            worktree: None,
        }
    }

    #[test]
    fn a_clone_needs_its_own_folder_only() {
        let mut clone = folders("/p/src/a", None);
        assert_eq!(shown(&clone, "/work/"), ["/p/src/a/.git /work/.git"]);
        clone.borrowed_objects = vec![PathBuf::from("/mirror/objects")];
        assert_eq!(shown(&clone, "/work")[1], "/mirror/objects /mirror/objects");
    }

    #[test]
    fn a_worktree_needs_the_folder_that_it_shares() {
        let git_dir = "/home/me/a/.git/worktrees/x";
        let link = worktree(git_dir, git_dir, ("../..", "/home/me/a/.git"));
        assert_eq!(
            shown(&folders("/p/src/a", Some(link)), "/work"),
            [
                "/p/src/a/.git /work/.git",
                "/home/me/a/.git /home/me/a/.git"
            ]
        );
        // By a path that is relative, and leads above the container's root.
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
    fn a_git_directory_that_lies_elsewhere_is_mounted_too() {
        // As where a folder above is a symbolic link: the names do not show that one holds the other.
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
    fn a_submodule_is_seen_where_its_git_directory_names_it() {
        let link = GitLink {
            dir: PathBuf::from("/p/src/a"),
            named: PathBuf::from("../../.git/modules/src/a"),
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
        assert_eq!(shown(&submodule, "/src/a").len(), 2, "it is there already");
    }
}
