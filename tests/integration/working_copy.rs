//! A working copy as its user sees it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::context::Context;
use crate::process;
use crate::repository::write_file;

/// A user of a working copy.
pub struct User<'a> {
    t: &'a Context,
    /// The folder below [`Context::dir`].
    pub name: String,
    /// The folder.
    pub dir: PathBuf,
}

impl<'a> User<'a> {
    /// Returns the user of the working copy of a service.
    pub fn new(t: &'a Context, service: &str) -> Self {
        let name = format!("src/{service}");
        let dir = t.dir().join(&name);
        Self { t, name, dir }
    }

    /// Runs git.
    #[track_caller]
    pub fn git(&self, arguments: &[&str]) -> String {
        self.t.git(&self.name, arguments)
    }

    /// Runs git and expects a conflict.
    #[track_caller]
    pub fn git_conflicts(&self, arguments: &[&str]) {
        let output = process::run(self.t.git_command(&self.name).args(arguments));
        assert!(!output.status.success(), "a conflict is expected");
    }

    /// Writes a file.
    pub fn write(&self, path: &str, content: &str) {
        write_file(&self.dir.join(path), content);
    }

    /// Deletes a file.
    pub fn remove(&self, path: &str) {
        fs::remove_file(self.dir.join(path)).expect("a file that is there");
    }

    /// Writes a file and commits it.
    pub fn commit(&self, path: &str, content: &str) {
        self.write(path, content);
        self.git(&["add", path]);
        self.git(&["commit", "--quiet", "--message", "Mine"]);
    }

    /// Returns the ID of the checked-out commit.
    #[track_caller]
    pub fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"])
    }
}

/// The user's state of a working copy.
#[derive(Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub files: BTreeMap<PathBuf, String>,
    head: String,
    index: String,
    references: String,
    pub stash: String,
    configuration: String,
    under_way: String,
}

impl Snapshot {
    /// Reads a working copy.
    pub fn of(user: &User) -> Self {
        // Not `git status`, which would write the index.
        Self {
            files: files(&user.dir),
            head: user.read_git("HEAD"),
            index: user.git(&["ls-files", "--stage", "-v"]),
            references: user.git(&["for-each-ref", "refs/heads", "refs/stash", "refs/bisect"]),
            stash: user.git(&["stash", "list"]),
            configuration: user.read_git("config"),
            under_way: [
                "MERGE_HEAD",
                "CHERRY_PICK_HEAD",
                "BISECT_LOG",
                "REBASE_HEAD",
                "index.lock",
            ]
            .map(|name| user.read_git(name))
            .join("\n"),
        }
    }
}

impl User<'_> {
    /// Returns a file below `.git`, or `none`.
    pub fn read_git(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join(".git").join(name)).unwrap_or_else(|_| "none".to_owned())
    }
}

/// Returns mode and contents of everything in a folder except `.git`.
pub fn files(dir: &Path) -> BTreeMap<PathBuf, String> {
    let entries = WalkDir::new(dir)
        .into_iter()
        .filter_entry(|entry| entry.file_name() != ".git");
    let described = entries.map(|entry| {
        let entry = entry.expect("a folder that can be read");
        let metadata = entry.metadata().expect("a file that is there");
        let content = if metadata.is_symlink() {
            let target = fs::read_link(entry.path()).expect("a link");
            target.display().to_string()
        } else if metadata.is_file() {
            process::text(&fs::read(entry.path()).expect("a file"))
        } else {
            String::new()
        };
        let description = format!("{:o} {content}", metadata.permissions().mode());
        (entry.path().to_owned(), description)
    });
    described.collect()
}
