//! A working copy: a folder with a clone.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use git2::{Direction, ErrorClass, ErrorCode, Oid, Repository};

use crate::client::git::error::GitErrorKind;
use crate::client::git::unsupported::unsupported;
use crate::client::git::{GitClient, GitError};
use crate::model::source::{CommitId, GitScheme, GitUrl};

/// The reference of xp to the commit at which it detached `HEAD`.
pub const DETACHED_AT: &str = "head";

/// The reference of xp to the commit that it is checking out.
pub const MOVING: &str = "moving";

/// The reference of xp to the commit that `HEAD` was on when the checkout began.
pub const MOVING_FROM: &str = "moving-from";

/// An open working copy.
pub struct WorkingCopy {
    pub repository: Repository,
    pub dir: PathBuf,
}

/// The result of opening a working copy.
pub enum Opened {
    /// The path does not exist, or is an empty folder.
    Nothing,
    /// The folder has files, but is not a repository.
    OtherFiles,
    /// Not a folder.
    NotAFolder,
    /// A working copy.
    WorkingCopy(WorkingCopy),
}

impl From<Oid> for CommitId {
    fn from(id: Oid) -> Self {
        let mut bytes = [0; 20];
        bytes.copy_from_slice(&id.as_bytes()[..20]);
        Self::from_bytes(bytes)
    }
}

pub fn oid(commit: CommitId) -> Result<Oid, git2::Error> {
    Oid::from_bytes(commit.as_bytes())
}

impl WorkingCopy {
    /// Opens the working copy at a path; a repository in a parent folder does not count.
    ///
    /// # Errors
    ///
    /// The folder cannot be read, or its `.git` is not a valid repository.
    pub fn open(dir: &Path) -> Result<Opened, GitError> {
        let cannot_read = |cause| GitError::file(format!("cannot read {}", dir.display()), cause);
        match fs::metadata(dir) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Opened::Nothing),
            Err(cause) => return Err(cannot_read(cause)),
            Ok(metadata) if !metadata.is_dir() => return Ok(Opened::NotAFolder),
            Ok(_) => {}
        }
        if fs::symlink_metadata(dir.join(".git")).is_err() {
            let is_empty = fs::read_dir(dir).map_err(cannot_read)?.next().is_none();
            return Ok(if is_empty {
                Opened::Nothing
            } else {
                Opened::OtherFiles
            });
        }
        let broken = || format!("{} is not a valid git repository", dir.display());
        super::conversion::register().map_err(|cause| GitError::local(broken(), cause))?;
        let repository = Repository::open(dir).map_err(|cause| match cause.code() {
            ErrorCode::Owner => GitError::local(broken(), cause).with_hint(format!(
                "it belongs to another user; to trust it, run `git config --global --add safe.directory {}`",
                dir.display()
            )),
            _ if unsupported(cause.message()).is_some() => {
                let what = format!("cannot read the git repository {}", dir.display());
                GitError::local(what, cause)
            }
            code => {
                let broken = match code {
                    // libgit2's message has only the path and no reason.
                    ErrorCode::NotFound => GitError::new(GitErrorKind::Local, broken())
                        .because("its .git is not a repository and does not point to one"),
                    _ => GitError::local(broken(), cause),
                };
                broken.with_hint("it may be left over from an interrupted clone: move the folder away and clone again")
            }
        })?;
        if repository.is_bare() {
            return Err(
                GitError::new(GitErrorKind::Local, broken()).because("it is a bare repository")
            );
        }
        Ok(Opened::WorkingCopy(Self {
            repository,
            dir: dir.to_owned(),
        }))
    }

    /// Returns the folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns whether the object store has a commit.
    pub fn has_commit(&self, commit: CommitId) -> bool {
        oid(commit)
            .and_then(|id| self.repository.find_commit(id))
            .is_ok()
    }

    /// Returns the commit of a full reference name.
    pub fn reference(&self, name: &str) -> Option<CommitId> {
        let reference = self.repository.find_reference(name).ok()?;
        reference
            .peel_to_commit()
            .ok()
            .map(|commit| commit.id().into())
    }

    /// Sets a reference of xp.
    ///
    /// # Errors
    ///
    /// The reference cannot be written.
    pub fn set_xp_reference(&self, name: &str, commit: CommitId) -> Result<(), GitError> {
        let name = xp_reference(name);
        oid(commit)
            .and_then(|id| self.repository.reference(&name, id, true, "xp"))
            .map(drop)
            .map_err(|cause| self.failed(&format!("set {name}"), cause))
    }

    /// Returns the commit of a reference of xp.
    pub fn xp_reference_commit(&self, name: &str) -> Option<CommitId> {
        self.reference(&xp_reference(name))
            .or_else(|| self.reference(&self.former_reference(name)?))
    }

    /// Returns where earlier versions of xp stored a reference about `HEAD`.
    fn former_reference(&self, name: &str) -> Option<String> {
        let is_former = name == DETACHED_AT && !self.repository.is_worktree();
        is_former.then(|| format!("refs/xp/{name}"))
    }

    /// Removes a reference of xp, if it exists.
    pub fn remove_xp_reference(&self, name: &str) {
        for name in self
            .former_reference(name)
            .into_iter()
            .chain([xp_reference(name)])
        {
            if let Ok(mut reference) = self.repository.find_reference(&name) {
                let _ = reference.delete();
            }
        }
    }

    /// Returns the name of the configured remote that has a URL.
    ///
    /// `origin` is preferred. If there is none, xp stores fetched references below `refs/xp/`.
    pub fn remote_of(&self, client: &GitClient, url: &GitUrl) -> Option<String> {
        let effective = client.effective_url(url);
        let names = self.repository.remotes().ok()?;
        let mut names: Vec<String> = names
            .iter()
            .filter_map(|name| name.ok().flatten().map(str::to_owned))
            .collect();
        names.sort_by_key(|name| name != "origin");
        names.into_iter().find(|name| {
            let Ok(remote) = self.repository.find_remote(name) else {
                return false;
            };
            let Some(remote) = remote.url().ok().and_then(|url| url.parse::<GitUrl>().ok()) else {
                return false;
            };
            same_repository(&remote, url) || same_repository(&remote, &effective)
        })
    }

    /// Returns the URLs of all configured remotes, without credentials.
    pub fn remote_urls(&self) -> Vec<String> {
        let names = self.repository.remotes().ok();
        let names = names.iter().flat_map(|names| names.iter());
        let names = names.filter_map(|name| name.ok().flatten());
        let urls = names.filter_map(|name| {
            let remote = self.repository.find_remote(name).ok()?;
            let url = remote.url().ok()?.parse::<GitUrl>();
            // An invalid URL may contain a password.
            Some(url.map_or_else(|_| format!("the remote `{name}`"), |url| url.to_string()))
        });
        urls.collect()
    }

    /// Returns the path of the index lock.
    pub fn index_lock(&self) -> PathBuf {
        self.repository.path().join("index.lock")
    }

    /// Returns the configured fetch refspecs of a remote.
    pub fn fetch_refspecs(&self, remote: &str) -> Vec<String> {
        let Ok(remote) = self.repository.find_remote(remote) else {
            return Vec::new();
        };
        let refspecs = remote
            .refspecs()
            .filter(|refspec| refspec.direction() == Direction::Fetch);
        refspecs
            .filter_map(|refspec| refspec.str().ok().map(str::to_owned))
            .collect()
    }

    /// Returns the local tracking reference of a remote's reference, by the configured refspecs.
    pub fn tracking_reference(&self, remote: &str, name: &str) -> Option<String> {
        let remote = self.repository.find_remote(remote).ok()?;
        let mut refspecs = remote
            .refspecs()
            .filter(|refspec| refspec.direction() == Direction::Fetch);
        let refspec = refspecs.find(|refspec| refspec.src_matches(name))?;
        refspec
            .transform(name)
            .ok()?
            .as_str()
            .ok()
            .map(str::to_owned)
    }

    /// Returns its object folders: its own, then its alternates.
    ///
    /// A container with the first one mounted as `.git/objects` needs the others at the same paths as on the host.
    pub fn object_folders(&self) -> Vec<PathBuf> {
        // A linked worktree has its objects in the main worktree.
        let own = self.repository.commondir().join("objects");
        let mut folders = Vec::new();
        let mut seen = BTreeSet::new();
        let mut waiting = vec![own.canonicalize().unwrap_or(own)];
        while let Some(folder) = waiting.pop() {
            if !seen.insert(folder.clone()) {
                continue;
            }
            let alternates = fs::read_to_string(folder.join("info/alternates")).unwrap_or_default();
            let lines = alternates
                .lines()
                .filter(|line| !line.is_empty() && !line.starts_with('#'));
            waiting.extend(
                lines
                    .map(|line| folder.join(line))
                    .map(|path| path.canonicalize().unwrap_or(path)),
            );
            folders.push(folder);
        }
        folders
    }

    pub fn failed(&self, what: &str, cause: git2::Error) -> GitError {
        let what = format!("cannot {what} in {}", self.dir.display());
        match cause.code() {
            ErrorCode::NotFound if cause.class() == ErrorClass::Odb => {
                self.missing_object(what, cause)
            }
            _ => GitError::local(what, cause),
        }
    }

    /// Returns the error for an object that is not in the object store.
    pub fn missing_object(&self, what: String, cause: git2::Error) -> GitError {
        let dir = self.dir.display();
        if self.is_partial_clone() {
            return GitError::new(GitErrorKind::Local, what)
                .because(
                    "it is a partial clone (`--filter`), and xp cannot fetch the missing objects",
                )
                .with_hint(format!(
                    "`git -C {dir} fetch --refetch --no-filter` fetches the rest"
                ));
        }
        let hint =
            format!("`git -C {dir} fsck` lists the missing objects; a new clone has all of them");
        GitError::local(what, cause).with_hint(hint)
    }

    /// Returns whether git fetches missing objects on demand.
    fn is_partial_clone(&self) -> bool {
        let config = self.repository.config();
        let config = config.and_then(|mut config| config.snapshot());
        let Ok(config) = config else { return false };
        let Ok(mut entries) = config.entries(Some(r"^remote\..*\.promisor$")) else {
            return false;
        };
        while let Some(Ok(entry)) = entries.next() {
            let value = entry.value().unwrap_or_default();
            if git2::Config::parse_bool(value).unwrap_or(false) {
                return true;
            }
        }
        false
    }
}

/// Returns the full name of a reference of xp. Those about `HEAD` are below `refs/worktree/`: linked worktrees of a
/// repository share all others.
fn xp_reference(name: &str) -> String {
    match name {
        DETACHED_AT | MOVING | MOVING_FROM => format!("refs/worktree/xp/{name}"),
        _ => format!("refs/xp/{name}"),
    }
}

/// Returns whether two URLs point to the same repository, as far as the URLs alone can prove it.
///
/// Credentials, `.git` and trailing slashes are ignored. `git@host:x/y` and `https://host/x/y` are the same on
/// a git server; with another user than `git`, ssh accesses a machine's file system, which is unrelated to
/// the paths of a web server.
pub fn same_repository(one: &GitUrl, other: &GitUrl) -> bool {
    if one.scheme() == GitScheme::File || other.scheme() == GitScheme::File {
        return one.scheme() == other.scheme() && local_path(one) == local_path(other);
    }
    if !one.host().eq_ignore_ascii_case(other.host()) {
        return false;
    }
    let trimmed = |url: &GitUrl| {
        let path = url.path().trim_end_matches('/');
        path.strip_suffix(".git").unwrap_or(path).to_owned()
    };
    let (one_path, other_path) = (trimmed(one), trimmed(other));
    let on_git_server = |url: &GitUrl| url.scheme() != GitScheme::Ssh || url.user() == Some("git");
    let is_web = |url: &GitUrl| matches!(url.scheme(), GitScheme::Http | GitScheme::Https);
    let port = |url: &GitUrl| {
        url.port().unwrap_or(match url.scheme() {
            GitScheme::Https => 443,
            GitScheme::Http => 80,
            GitScheme::Git => 9418,
            GitScheme::Ssh | GitScheme::File => 22,
        })
    };
    if one.scheme() == other.scheme() {
        let same_path = one_path == other_path
            || on_git_server(one)
                && on_git_server(other)
                && one_path.trim_start_matches('/') == other_path.trim_start_matches('/');
        let same_user = one.scheme() != GitScheme::Ssh || one.user() == other.user();
        return port(one) == port(other) && same_path && same_user;
    }
    // Different protocols have different ports anyway.
    (is_web(one) || is_web(other))
        && on_git_server(one)
        && on_git_server(other)
        && one_path.trim_start_matches('/') == other_path.trim_start_matches('/')
}

fn local_path(url: &GitUrl) -> PathBuf {
    let path = Path::new(url.path());
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_repository_are_equal() {
        let same = |one: &str, other: &str| {
            same_repository(&one.parse().unwrap(), &other.parse().unwrap())
        };
        assert!(same("git@h:x/y.git", "https://h/x/y"));
        assert!(same("https://bob:secret@H/x/y.git/", "https://h/x/y"));
        assert!(same("git@h:x/y", "ssh://git@h/x/y.git"));
        assert!(same("https://h:443/x", "https://h/x"));
        assert!(same("ssh://git@h:2222/x", "https://h/x"));
        assert!(same("file:///tmp", "/tmp/"));
        assert!(!same("bob@h:x/y", "ssh://bob@h/x/y"));
        assert!(!same("bob@h:x/y", "https://h/x/y"));
        assert!(!same("https://h/x/y", "https://h/x/z"));
        assert!(!same("https://h:8443/x", "https://h/x"));
        assert!(!same("https://h/x", "https://other/x"));
        assert!(!same("file:///tmp", "https://h/tmp"));
        assert!(!same("git@h:x/y", "git@h:X/y"));
    }
}
