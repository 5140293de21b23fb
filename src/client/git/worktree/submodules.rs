//! Checks out the submodules of an export recursively, each at the commit that its repository specifies.
//!
//! Their objects are cached in xp's own bare repositories, one per URL, so that the user's working copies are
//! not touched and a commit is fetched only once. `.gitmodules` is not trusted, because anyone with push
//! access can change it: it may specify other remotes, but never a program, a folder outside the export, or
//! files on this machine if the repository itself is on another one.
//!
//! The folder of a submodule gets no `.git`: git then considers its content unchanged, and the image contains
//! only the files of the commit.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;
use std::time::SystemTime;

use git2::{Repository, RepositoryInitOptions};
use sha1::{Digest as _, Sha1};

use super::checkout::{CheckedOutTree, CheckoutError, CheckoutRequest, Gitlink, check_out};
use super::export::{NEUTRAL_CONFIG, remove_tree};
use super::git_modules::SubmoduleEntry;
use super::stale_locks::remove_own_leftovers;
use crate::client::git::error::GitErrorKind;
use crate::client::git::progress::OperationContext;
use crate::client::git::worktree::git_modules;
use crate::client::git::{GitClient, GitError, WorkingCopy};
use crate::model::source::{CommitId, GitScheme, GitUrl, PathSelection, ResolvedReference};

/// The maximum nesting depth; deeper nesting is a mistake, or an attempt to fill the disk.
const MAX_DEPTH: usize = 24;

/// The interval between attempts to take a lock held by another thread or process.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Sources and targets of submodules.
#[derive(Clone, Copy)]
pub struct Submodules<'a> {
    /// The checked-out files of the repository with the submodules.
    pub files: &'a Path,
    /// The URL of that repository, the base of relative URLs.
    pub url: &'a GitUrl,
    /// A temporary folder, removed afterwards.
    pub scratch: &'a Path,
    /// The folder in which their objects are cached.
    pub store: &'a Path,
    /// The folder in which Git LFS files are cached.
    pub lfs: &'a Path,
    /// The modification time of all files; `None` for the current time.
    pub modified: Option<SystemTime>,
}

/// Checks out submodules recursively.
pub fn check_out_all(
    client: &GitClient,
    submodules: &Submodules<'_>,
    of: &CheckedOutTree,
    watch: &OperationContext<'_>,
) -> Result<(), GitError> {
    let checked_out = check_out_level(client, submodules, of, "", 0, watch);
    let removed = remove_tree(submodules.scratch);
    checked_out.and(removed)
}

/// Checks out the submodules of one repository, which is at `prefix` in the export.
fn check_out_level(
    client: &GitClient,
    submodules: &Submodules<'_>,
    of: &CheckedOutTree,
    prefix: &str,
    depth: usize,
    watch: &OperationContext<'_>,
) -> Result<(), GitError> {
    if of.gitlinks.is_empty() {
        return Ok(());
    }
    if depth == MAX_DEPTH {
        let what =
            format!("submodules are nested more than {MAX_DEPTH} levels deep, at `{prefix}`");
        return Err(GitError::new(GitErrorKind::Local, what));
    }
    let cannot_write = |cause| {
        let scratch = submodules.scratch.display();
        GitError::file(format!("cannot write {scratch}"), cause)
    };
    fs::create_dir_all(submodules.scratch).map_err(cannot_write)?;
    let text = of.modules.as_deref().unwrap_or_default();
    let modules = git_modules::parse(text, &submodules.scratch.join("modules"))
        .map_err(|error| in_submodules_of(prefix, error))?;
    for gitlink in &of.gitlinks {
        if watch.cancel.is_cancelled() {
            return Err(GitError::interrupted());
        }
        let shown = format!("{prefix}{}", gitlink.path);
        let module = modules.get(&gitlink.path);
        let failed = |error: GitError| in_submodule(&shown, gitlink.commit, error);
        if module.is_some_and(|module| module.is_disabled) {
            continue;
        }
        let url = url_of(submodules.url, module).map_err(failed)?;
        let objects =
            fetch_objects(client, submodules.store, &url, gitlink.commit, watch).map_err(failed)?;
        let level = SubmoduleCheckout {
            submodules,
            gitlink,
            url: &url,
            depth,
        };
        let checked_out = level.check_out(client, &objects, watch).map_err(failed)?;
        let inner = Submodules {
            files: &submodules.files.join(&gitlink.path),
            url: &url,
            ..*submodules
        };
        check_out_level(
            client,
            &inner,
            &checked_out,
            &format!("{shown}/"),
            depth + 1,
            watch,
        )?;
    }
    Ok(())
}

struct SubmoduleCheckout<'a> {
    submodules: &'a Submodules<'a>,
    gitlink: &'a Gitlink,
    url: &'a GitUrl,
    depth: usize,
}

impl SubmoduleCheckout<'_> {
    fn check_out(
        &self,
        client: &GitClient,
        objects: &Path,
        watch: &OperationContext<'_>,
    ) -> Result<CheckedOutTree, GitError> {
        let files = self.submodules.files.join(&self.gitlink.path);
        // The parent's checkout created it; check again that it is not a symlink.
        let is_folder = fs::symlink_metadata(&files).is_ok_and(|there| there.is_dir());
        if !is_folder {
            let what = format!("{} is not a folder", files.display());
            return Err(GitError::new(GitErrorKind::Local, what));
        }
        let git_dir = self.submodules.scratch.join(format!("git-{}", self.depth));
        remove_tree(&git_dir)?;
        write_git_dir(&git_dir, self.gitlink.commit).map_err(|cause| {
            GitError::file(format!("cannot write {}", git_dir.display()), cause)
        })?;
        let checkout = CheckoutRequest {
            commit: self.gitlink.commit,
            selection: &PathSelection::default(),
            files: &files,
            git_dir: &git_dir,
            objects: &[objects.to_owned()],
            url: self.url,
            lfs: self.submodules.lfs,
            modified: self.submodules.modified,
        };
        check_out(client, &checkout, watch).map_err(|error| match error {
            CheckoutError::Git(cause) => GitError::local("cannot write its files", cause),
            CheckoutError::Other(error) => error,
        })
    }
}

fn write_git_dir(git_dir: &Path, commit: CommitId) -> std::io::Result<()> {
    for folder in ["objects", "refs"] {
        fs::create_dir_all(git_dir.join(folder))?;
    }
    fs::write(git_dir.join("HEAD"), format!("{commit}\n"))?;
    fs::write(git_dir.join("config"), NEUTRAL_CONFIG)
}

/// Returns the URL of a submodule of a repository.
fn url_of(above: &GitUrl, module: Option<&SubmoduleEntry>) -> Result<GitUrl, GitError> {
    let invalid = |what: &str| GitError::new(GitErrorKind::Local, what.to_owned());
    let Some(text) = module.and_then(|module| module.url.as_deref()) else {
        return Err(invalid("`.gitmodules` has no URL for it")
            .with_hint("`.gitmodules` may not have been committed with the submodule"));
    };
    let url = above
        .join(text)
        .map_err(|cause| invalid("its URL in `.gitmodules` is invalid").because(cause))?;
    if url.scheme() == GitScheme::File && above.scheme() != GitScheme::File {
        return Err(
            invalid("its URL in `.gitmodules` is a path on this machine")
                .because(format!("{url} is used in a repository from {above}"))
                .with_hint("change it to a URL that everyone can access"),
        );
    }
    Ok(url)
}

/// Fetches the commit of a submodule if it is missing, and returns the folder with its objects.
fn fetch_objects(
    client: &GitClient,
    store: &Path,
    url: &GitUrl,
    commit: CommitId,
    watch: &OperationContext<'_>,
) -> Result<PathBuf, GitError> {
    let dir = store.join(store_name(url));
    let cannot_write = |cause| GitError::file(format!("cannot write {}", dir.display()), cause);
    fs::create_dir_all(store).map_err(cannot_write)?;
    let _lock = lock(&dir.with_extension("lock"), watch)?;
    remove_own_leftovers(&dir);
    let mut options = RepositoryInitOptions::new();
    options.bare(true).external_template(false);
    let repository = Repository::open_bare(&dir)
        .or_else(|_| Repository::init_opts(&dir, &options))
        .map_err(|cause| GitError::local(format!("cannot create {}", dir.display()), cause))?;
    let objects = dir.join("objects");
    let copy = WorkingCopy { repository, dir };
    if !copy.has_commit(commit) {
        let wanted = ResolvedReference { commit, name: None };
        copy.fetch_commit(client, url, &wanted, watch)?;
        // A reference keeps the commit, so that the next fetch is incremental.
        copy.set_xp_reference(&format!("commits/{commit}"), commit)?;
    }
    Ok(objects)
}

/// Locks a store; the lock is released when the process exits.
fn lock(path: &Path, watch: &OperationContext<'_>) -> Result<File, GitError> {
    let failed = |cause| GitError::file(format!("cannot lock {}", path.display()), cause);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(failed)?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::Error(cause)) => return Err(failed(cause)),
            Err(fs::TryLockError::WouldBlock) if watch.cancel.is_cancelled() => {
                return Err(GitError::interrupted());
            }
            Err(fs::TryLockError::WouldBlock) => thread::sleep(POLL_INTERVAL),
        }
    }
}

/// Returns the name of a store: readable, and unique for each URL.
fn store_name(url: &GitUrl) -> String {
    let path = url.path().trim_end_matches('/');
    let last = path.rsplit('/').next().unwrap_or(path);
    let readable: String = last
        .trim_end_matches(".git")
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(40)
        .collect();
    let mut hash = hex::encode(Sha1::digest(url.without_credentials()));
    hash.truncate(16);
    format!("{readable}-{hash}")
}

fn in_submodule(path: &str, commit: CommitId, error: GitError) -> GitError {
    let short = commit.short();
    error.context(format!(
        "cannot check out the submodule `{path}` at {short}"
    ))
}

fn in_submodules_of(prefix: &str, error: GitError) -> GitError {
    match prefix.trim_end_matches('/') {
        "" => error,
        path => error.context(format!("cannot check out the submodules of `{path}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_submodules_are_not_trusted() {
        let of = |above: &str, url: &str| {
            let module = SubmoduleEntry {
                url: Some(url.to_owned()),
                is_disabled: false,
            };
            url_of(&above.parse().unwrap(), Some(&module)).map(|url| url.expose().to_owned())
        };
        assert_eq!(of("https://h/x/y", "../z").unwrap(), "https://h/x/z");
        assert_eq!(of("file:///srv/x", "/srv/z").unwrap(), "/srv/z");
        for url in [
            "file:///etc",
            "/etc",
            "ext::sh -c id",
            "-oProxyCommand=id:x",
            "../../../z",
        ] {
            assert!(of("https://h/x/y", url).is_err(), "{url}");
        }
        assert!(url_of(&"https://h/x".parse().unwrap(), None).is_err());
    }

    #[test]
    fn each_url_has_its_own_store() {
        let name = |url: &str| store_name(&url.parse().unwrap());
        assert_ne!(name("https://h/x/lib.git"), name("https://h/y/lib.git"));
        assert_eq!(name("https://bob:p@h/x/lib"), name("https://h/x/lib"));
        assert!(name("https://h/x/lib.git").starts_with("lib-"));
    }
}
