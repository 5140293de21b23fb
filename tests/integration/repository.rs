//! A git repository on the servers, and the clone of its author.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::process;
use crate::world::{GitServerKind, Mark, PASSWORD, Request, USER, World};

/// The default branch of new repositories.
pub const DEFAULT_BRANCH: &str = "master";

/// The time of the first commit of each repository. The others follow one second apart, so that
/// commit IDs are the same in every run.
const FIRST_COMMIT_TIME: u64 = 1_700_000_000;

/// A bare repository, served by all git servers, and its author's clone. Changes are pushed
/// immediately.
pub struct GitRepository {
    world: Arc<World>,
    /// Path below the servers' folder, such as `xp-test-1/2-name/zbackend.git`.
    name: String,
    bare: PathBuf,
    clone: PathBuf,
    home: PathBuf,
    clock: AtomicU64,
}

impl GitRepository {
    /// Creates an empty repository with an author's clone in `clone`.
    pub fn new(world: Arc<World>, name: String, clone: PathBuf, home: PathBuf) -> Self {
        let bare = world.repositories().join(&name);
        let clock = AtomicU64::new(FIRST_COMMIT_TIME);
        let repository = Self {
            world,
            name,
            bare,
            clone,
            home,
            clock,
        };
        fs::create_dir_all(&repository.bare).expect("a folder for a bare repository");
        fs::create_dir_all(&repository.clone).expect("a folder for a clone");
        let initial_branch = format!("--initial-branch={DEFAULT_BRANCH}");
        repository.server_git(&["init", "--quiet", "--bare", &initial_branch]);
        repository.git(&["init", "--quiet", &initial_branch]);
        repository.git(&[
            "remote",
            "add",
            "origin",
            &repository.bare.display().to_string(),
        ]);
        repository
    }

    /// Writes files, commits everything and pushes the branch. Returns the commit ID. Files that
    /// begin with `#!` are executable.
    #[track_caller]
    pub fn commit(&self, files: &[(&str, &str)], message: &str) -> String {
        self.write(files);
        self.commit_all(message, &[])
    }

    /// Replaces the last commit of the branch with another one and force-pushes.
    pub fn rewrite(&self, files: &[(&str, &str)], message: &str) -> String {
        self.write(files);
        self.commit_all(message, &["--amend"])
    }

    /// Writes files in the clone without committing them.
    pub fn write(&self, files: &[(&str, &str)]) {
        for (path, content) in files {
            write_file(&self.clone.join(path), content);
        }
    }

    /// Creates a branch at the current commit, checks it out and pushes it.
    pub fn branch(&self, name: &str) {
        self.git(&["switch", "--quiet", "--create", name]);
        self.push(&format!("HEAD:refs/heads/{name}"));
    }

    /// Checks out another branch.
    pub fn switch(&self, name: &str) {
        self.git(&["switch", "--quiet", name]);
    }

    /// Deletes a branch on the servers.
    pub fn delete_branch(&self, name: &str) {
        self.push(&format!(":refs/heads/{name}"));
    }

    /// Creates a lightweight tag.
    pub fn tag(&self, name: &str) {
        self.git(&["tag", name]);
        self.push(&format!("refs/tags/{name}"));
    }

    /// Creates an annotated tag and returns the ID of the tag object.
    pub fn annotated_tag(&self, name: &str, message: &str) -> String {
        self.git(&["tag", "--annotate", "--message", message, name]);
        self.push(&format!("refs/tags/{name}"));
        self.git(&["rev-parse", &format!("refs/tags/{name}")])
    }

    /// Returns the ID of the current commit.
    pub fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"])
    }

    /// Returns the author's clone.
    pub fn clone_path(&self) -> &Path {
        &self.clone
    }

    /// Runs git in the author's clone and returns its output.
    #[track_caller]
    pub fn git(&self, arguments: &[&str]) -> String {
        let mut command = git_command(&self.clone, &self.home);
        let time = format!("{} +0000", self.clock.fetch_add(1, Ordering::Relaxed));
        command
            .env("GIT_AUTHOR_DATE", &time)
            .env("GIT_COMMITTER_DATE", &time);
        process::succeed(command.args(arguments))
    }

    /// Runs git in the bare repository.
    #[track_caller]
    pub fn server_git(&self, arguments: &[&str]) -> String {
        process::succeed(git_command(&self.bare, &self.home).args(arguments))
    }

    /// Returns the path of the bare repository.
    pub fn path(&self) -> &Path {
        &self.bare
    }

    /// Returns the URL `file:///…`.
    pub fn url_file(&self) -> String {
        format!("file://{}", self.bare.display())
    }

    /// Returns the URL on the server without authentication.
    pub fn url_http(&self) -> String {
        self.world
            .git_server(GitServerKind::Open)
            .url("", &self.name)
    }

    /// Returns a URL on the server without authentication that redirects to the repository.
    pub fn url_http_moved(&self) -> String {
        let server = self.world.git_server(GitServerKind::Open);
        server.url("", &format!("moved/{}", self.name))
    }

    /// Returns the URL on the server with authentication, without credentials.
    pub fn url_http_auth(&self) -> String {
        self.world
            .git_server(GitServerKind::Auth)
            .url("", &self.name)
    }

    /// Returns the URL on the server with authentication, with valid credentials.
    pub fn url_http_login(&self) -> String {
        self.url_http_login_as(USER, PASSWORD)
    }

    /// Returns the URL on the server with authentication, with these credentials.
    pub fn url_http_login_as(&self, user: &str, password: &str) -> String {
        self.url_http_with(&format!("{user}:{password}"))
    }

    /// Returns the URL on the server with authentication, with this user info.
    pub fn url_http_with(&self, credentials: &str) -> String {
        self.world
            .git_server(GitServerKind::Auth)
            .url(&format!("{credentials}@"), &self.name)
    }

    /// Returns the URL on the TLS server; its CA is `Context::ca_certificate`.
    pub fn url_https(&self) -> String {
        self.world
            .git_server(GitServerKind::Tls)
            .url("", &self.name)
    }

    /// Returns the URL `ssh://…`.
    pub fn url_ssh(&self) -> String {
        format!(
            "ssh://127.0.0.1:{}{}",
            self.world.sshd().port(),
            self.bare.display()
        )
    }

    /// Returns the scp-like URL; its port comes from ssh's configuration.
    pub fn url_scp(&self) -> String {
        self.world.sshd();
        format!("127.0.0.1:{}", self.bare.display())
    }

    /// Returns the requests for this repository on one of the HTTP servers since a point in its log.
    pub fn requests_since(&self, kind: GitServerKind, mark: Mark) -> Vec<Request> {
        let mut requests = self.world.git_server(kind).requests_since(mark);
        requests.retain(|request| request.path.contains(&format!("/{}/", self.name)));
        requests
    }

    fn commit_all(&self, message: &str, options: &[&str]) -> String {
        self.git(&["add", "--all"]);
        let commit = ["commit", "--quiet", "--allow-empty", "--message", message];
        self.git(&[&commit[..], options].concat());
        let branch = self.git(&["symbolic-ref", "HEAD"]);
        self.push(&format!("+HEAD:{branch}"));
        self.head()
    }

    fn push(&self, reference: &str) {
        self.git(&["push", "--quiet", "origin", reference]);
    }
}

/// Returns a git command for a user with this home and no configuration.
pub fn git_command(directory: &Path, home: &Path) -> Command {
    let mut command = process::in_clean_environment("git");
    command.current_dir(directory);
    command
        .env("HOME", home)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0");
    for role in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{role}_NAME"), "An Author");
        command.env(format!("GIT_{role}_EMAIL"), "author@example.com");
    }
    command
}

/// Writes a file and its parent folders; executable if it begins with `#!`.
pub fn write_file(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a file's folder");
    fs::write(path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if content.starts_with("#!") {
        fs::set_permissions(path, Permissions::from_mode(0o755)).expect("a file's mode");
    }
}
