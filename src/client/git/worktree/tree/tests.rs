//! Tests on repositories created by the git command.

use std::os::unix::fs::symlink;
use std::process::Command;

use tempfile::TempDir;

use super::*;
use crate::client::git::Opened;
use crate::model::source::PathSelection;

/// A folder with repositories in it.
struct TreeWorld(TempDir);

impl TreeWorld {
    /// Creates the repository `copy` with a commit.
    fn new() -> Self {
        let world = Self(TempDir::new().unwrap());
        world.repository("copy");
        world
    }

    fn repository(&self, name: &str) {
        self.git("", &["init", "-q", "-b", "master", name]);
        self.write(&format!("{name}/.gitignore"), "*.log\n");
        self.write(&format!("{name}/file"), "1\n");
        self.write(&format!("{name}/folder/run"), "#!/bin/sh\n");
        self.commit(name);
    }

    fn commit(&self, name: &str) {
        self.git(name, &["add", "-A"]);
        self.git(name, &["commit", "-q", "-m", "change"]);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn git(&self, folder: &str, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .arg("-C")
            .arg(self.path(folder))
            .args(["-c", "user.name=T", "-c", "user.email=t@example.com"])
            .args(["-c", "protocol.file.allow=always"])
            .args(arguments)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn open(&self, name: &str) -> WorkingCopy {
        match WorkingCopy::open(&self.path(name)).unwrap() {
            Opened::WorkingCopy(working_copy) => working_copy,
            _ => panic!("no working copy"),
        }
    }

    fn changes(&self, name: &str) -> Option<TreeChanges> {
        self.open(name)
            .tree_changes(&PathSelection::default())
            .unwrap()
    }

    /// Returns the digest of `copy`, or `clean`.
    fn digest(&self) -> String {
        match self.changes("copy") {
            Some(changes) => changes.digest.to_string(),
            None => "clean".to_owned(),
        }
    }
}

#[test]
fn edits_change_the_digest_and_undoing_them_restores_it() {
    let world = TreeWorld::new();
    assert_eq!(world.digest(), "clean");
    world.write("copy/file", "2\n");
    let second = world.digest();
    assert_ne!(second, "clean");
    world.write("copy/file", "3\n");
    assert_ne!(world.digest(), second);
    world.write("copy/file", "2\n");
    assert_eq!(world.digest(), second);
    // Staging does not affect the build.
    world.git("copy", &["add", "file"]);
    assert_eq!(world.digest(), second);
    world.git("copy", &["reset", "-q"]);
    world.write("copy/file", "1\n");
    assert_eq!(world.digest(), "clean");
    for name in ["a", "b", "c", "d"] {
        world.write(&format!("copy/{name}"), "");
    }
    let changes = world.changes("copy").unwrap();
    assert_eq!(changes.to_string(), "a, b, c and 1 more");
}

#[test]
fn clones_with_the_same_changes_have_the_same_digest() {
    let world = TreeWorld::new();
    world.git("", &["clone", "-q", "copy", "other"]);
    for copy in ["copy", "other"] {
        world.write(&format!("{copy}/file"), "2\n");
        world.write(&format!("{copy}/new/untracked"), "x");
        fs::remove_file(world.path(&format!("{copy}/folder/run"))).unwrap();
    }
    assert_eq!(world.changes("copy"), world.changes("other"));
    assert_eq!(world.changes("copy").unwrap().count, 3);
    // Git ignores empty folders and file times.
    fs::create_dir(world.path("other/empty")).unwrap();
    world.git("other", &["add", "-A"]);
    assert_eq!(world.changes("copy"), world.changes("other"));
}

#[test]
fn every_kind_of_change_counts() {
    let world = TreeWorld::new();
    let run = world.path("copy/folder/run");
    let changes: [(&str, &dyn Fn()); 7] = [
        ("mode", &|| {
            fs::set_permissions(&run, fs::Permissions::from_mode(0o755)).unwrap();
        }),
        ("deleted", &|| fs::remove_file(&run).unwrap()),
        ("deleted in the index", &|| {
            world.git("copy", &["rm", "-q", "file"]);
        }),
        ("untracked", &|| world.write("copy/new", "")),
        ("link", &|| {
            fs::remove_file(&run).unwrap();
            symlink("../file", &run).unwrap();
        }),
        ("folder in place of a file", &|| {
            fs::remove_file(&run).unwrap();
            world.write("copy/folder/run/inner", "");
        }),
        ("new and staged", &|| {
            world.write("copy/staged", "x");
            world.git("copy", &["add", "staged"]);
        }),
    ];
    let mut digests = vec![world.digest()];
    for (what, change) in changes {
        change();
        let digest = world.digest();
        assert!(!digests.contains(&digest), "{what}: {digests:?}");
        digests.push(digest);
        world.git("copy", &["reset", "-q", "--hard"]);
        world.git("copy", &["clean", "-q", "-fd"]);
        assert_eq!(world.digest(), "clean", "{what}");
    }
    world.write("copy/build.log", "ignored");
    assert_eq!(world.digest(), "clean");
    // New times alone change nothing.
    world.write("copy/file", "1\n");
    assert_eq!(world.digest(), "clean");
}

#[test]
fn unchecked_files_count() {
    let world = TreeWorld::new();
    for mark in ["assume-unchanged", "skip-worktree"] {
        world.git("copy", &["update-index", &format!("--{mark}"), "file"]);
        world.git(
            "copy",
            &["update-index", &format!("--{mark}"), "folder/run"],
        );
        assert_eq!(world.digest(), "clean", "{mark}");
        let run = world.path("copy/folder/run");
        let mut digests = Vec::new();
        // The size is the same, and the time may be.
        for text in ["2\n", "3\n"] {
            world.write("copy/file", text);
            assert_eq!(world.git("copy", &["status", "--porcelain"]), "", "{mark}");
            assert_eq!(world.changes("copy").unwrap().paths, ["file"], "{mark}");
            digests.push(world.digest());
        }
        let below = |path: &str| {
            world
                .open("copy")
                .tree_changes(&PathSelection::of(vec![path.to_owned()]))
                .unwrap()
        };
        assert_eq!(below("folder"), None, "{mark}");
        assert_eq!(below("file").unwrap().paths, ["file"], "{mark}");
        world.write("copy/file", "1\n");
        assert_eq!(world.digest(), "clean", "{mark}");
        fs::set_permissions(&run, fs::Permissions::from_mode(0o755)).unwrap();
        digests.push(world.digest());
        fs::remove_file(&run).unwrap();
        symlink("../file", &run).unwrap();
        digests.push(world.digest());
        fs::remove_file(&run).unwrap();
        // A build does not get files outside a sparse checkout.
        let excluded = world.changes("copy").unwrap().excluded;
        assert_eq!(excluded, usize::from(mark == "skip-worktree"));
        digests.push(world.digest());
        world.write("copy/folder/run", "#!/bin/sh\n");
        assert_eq!(world.digest(), "clean", "{mark}");
        digests.push("clean".to_owned());
        let count = digests.len();
        digests.sort();
        digests.dedup();
        assert_eq!(digests.len(), count, "{mark}");
        world.git("copy", &["update-index", &format!("--no-{mark}"), "file"]);
        world.git(
            "copy",
            &["update-index", &format!("--no-{mark}"), "folder/run"],
        );
    }
}

#[test]
fn converted_line_endings_are_not_a_difference() {
    let world = TreeWorld::new();
    world.write("copy/.gitattributes", "text eol=crlf\n");
    world.write("copy/text", "one\r\ntwo\r\n");
    world.commit("copy");
    world.git("copy", &["update-index", "--assume-unchanged", "text"]);
    assert_eq!(world.digest(), "clean");
    world.write("copy/text", "one\r\nTWO\r\n");
    assert_eq!(world.changes("copy").unwrap().paths, ["text"]);
}

#[test]
fn only_the_given_paths_count() {
    let world = TreeWorld::new();
    world.write("copy/file", "2\n");
    let all = |paths: &[&str]| {
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        world
            .open("copy")
            .tree_changes(&PathSelection::of(paths))
            .unwrap()
    };
    let below = |path: &str| all(&[path]);
    assert_eq!(below("folder"), None);
    assert_eq!(all(&["folder", "file"]).unwrap().paths, ["file"]);
    world.write("copy/folder/[x]", "");
    assert_eq!(below("folder").unwrap().paths, ["folder/[x]"]);
    world.write("copy/folder-2/y", "");
    assert_eq!(below("folder").unwrap().count, 1);
}

#[test]
fn submodules_count_by_commit_and_content() {
    let world = TreeWorld::new();
    world.repository("inner");
    world.git("copy", &["submodule", "add", "-q", "../inner", "inner"]);
    world.commit("copy");
    assert_eq!(world.digest(), "clean");
    world.write("copy/inner/file", "2\n");
    let dirty = world.digest();
    assert_ne!(dirty, "clean");
    world.write("copy/inner/file", "3\n");
    assert_ne!(world.digest(), dirty);
    world.write("copy/inner/file", "2\n");
    assert_eq!(world.digest(), dirty);
    world.commit("copy/inner");
    let moved = world.digest();
    assert!(moved != dirty && moved != "clean", "{moved}");
    world.git("copy", &["add", "inner"]);
    assert_eq!(world.digest(), moved);
    world.commit("copy");
    assert_eq!(world.digest(), "clean");
    // An untracked nested repository.
    world.repository("copy/nested");
    let nested = world.digest();
    world.write("copy/nested/file", "2\n");
    assert!(nested != "clean" && world.digest() != nested);
}

#[test]
fn nothing_is_written() {
    let world = TreeWorld::new();
    world.write("copy/file", "2\n");
    world.write("copy/new", "x");
    let listing = || {
        let entries = walkdir::WalkDir::new(world.path("copy")).sort_by_file_name();
        let described = entries.into_iter().map(|entry| {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            let content = fs::read(entry.path()).unwrap_or_default();
            (entry.into_path(), metadata.modified().unwrap(), content)
        });
        described.collect::<Vec<_>>()
    };
    let before = listing();
    world.changes("copy").unwrap();
    world.open("copy").git_folders().unwrap();
    assert!(listing() == before);
}

#[test]
fn git_folders_are_found() {
    let world = TreeWorld::new();
    let real = |name: &str| world.path(name).canonicalize().unwrap();
    let clone = world.open("copy").git_folders().unwrap();
    assert_eq!(clone.entry, world.path("copy/.git"));
    assert_eq!((clone.link, clone.borrowed_objects.len()), (None, 0));

    world.git("copy", &["worktree", "add", "-q", "../tree"]);
    let link = world.open("tree").git_folders().unwrap().link.unwrap();
    assert_eq!(link.path_as_written, real("copy/.git/worktrees/tree"));
    assert_eq!(link.git_dir, real("copy/.git/worktrees/tree"));
    let common = link.common.unwrap();
    assert_eq!(common.path_as_written, Path::new("../.."));
    assert_eq!(common.dir, real("copy/.git"));
    assert_eq!(link.worktree, None);

    world.repository("inner");
    world.git("copy", &["submodule", "add", "-q", "../inner", "sub/inner"]);
    let link = world.open("copy/sub/inner").git_folders().unwrap();
    let link = link.link.unwrap();
    assert_eq!(
        link.path_as_written,
        Path::new("../../.git/modules/sub/inner")
    );
    assert_eq!(link.git_dir, real("copy/.git/modules/sub/inner"));
    assert_eq!(link.common, None);
    assert_eq!(link.worktree.unwrap(), Path::new("../../../../sub/inner"));

    world.git("", &["clone", "-q", "--shared", "copy", "shared"]);
    let shared = world.open("shared").git_folders().unwrap();
    assert_eq!(shared.borrowed_objects, [real("copy/.git/objects")]);
}
