//! Submodules of an export: checked out recursively, each exactly at the commit that its repository names.
//!
//! Their objects are kept in bare repositories of xp's own, one for each URL, so that the user's working
//! copies have nothing to do with them, and a commit is fetched once. `.gitmodules` is written by
//! whoever can push, so what it says is not trusted: it names other remotes, never a program, a
//! folder outside of the export, or files of this machine where the repository itself is elsewhere.
//!
//! The folder of a submodule gets no `.git`: git then takes its content for unchanged, and the image
//! holds the files of the commit alone.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use git2::{Repository, RepositoryInitOptions};
use sha1::{Digest as _, Sha1};

use super::checkout::{CheckedOut, Checkout, CheckoutError, Gitlink, check_out};
use super::error::GitErrorKind;
use super::export::{EMPTY_CONFIG, remove_tree};
use super::git_modules::{self, Module};
use super::leftovers::remove_own_leftovers;
use super::progress::Watch;
use super::{GitClient, GitError, WorkingCopy};
use crate::source::{CommitId, GitScheme, GitUrl, ResolvedReference};

/// Deeper nesting is a mistake, or an attempt to fill the disk.
const DEEPEST: usize = 24;

/// How often a lock that another xp or thread holds is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Where submodules go, and where they come from.
#[derive(Clone, Copy)]
pub(super) struct Submodules<'a> {
    /// The folder with the files of the repository that has them.
    pub(super) files: &'a Path,
    /// The URL of that repository, which relative URLs start from.
    pub(super) url: &'a GitUrl,
    /// A folder that is removed afterwards.
    pub(super) scratch: &'a Path,
    /// The folder that keeps their objects.
    pub(super) store: &'a Path,
    /// The folder that keeps the files of Git LFS.
    pub(super) lfs: &'a Path,
}

/// Checks submodules out, and theirs.
pub(super) fn check_out_all(
    client: &GitClient,
    submodules: &Submodules<'_>,
    of: &CheckedOut,
    watch: &Watch<'_>,
) -> Result<(), GitError> {
    let checked_out = check_out_level(client, submodules, of, "", 0, watch);
    let removed = remove_tree(submodules.scratch);
    checked_out.and(removed)
}

/// Checks out the submodules of one repository, whose own folder in the export is `prefix`.
fn check_out_level(
    client: &GitClient,
    submodules: &Submodules<'_>,
    of: &CheckedOut,
    prefix: &str,
    depth: usize,
    watch: &Watch<'_>,
) -> Result<(), GitError> {
    if of.gitlinks.is_empty() {
        return Ok(());
    }
    if depth == DEEPEST {
        let what = format!("submodules are nested more than {DEEPEST} deep, at `{prefix}`");
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
        if module.is_some_and(|module| module.is_left_out) {
            continue;
        }
        let url = url_of(submodules.url, module).map_err(failed)?;
        let objects =
            bring(client, submodules.store, &url, gitlink.commit, watch).map_err(failed)?;
        let level = Level {
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

struct Level<'a> {
    submodules: &'a Submodules<'a>,
    gitlink: &'a Gitlink,
    url: &'a GitUrl,
    depth: usize,
}

impl Level<'_> {
    fn check_out(
        &self,
        client: &GitClient,
        objects: &Path,
        watch: &Watch<'_>,
    ) -> Result<CheckedOut, GitError> {
        let files = self.submodules.files.join(&self.gitlink.path);
        // The checkout of the repository above made it; that it leads nowhere else is seen to twice.
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
        let checkout = Checkout {
            commit: self.gitlink.commit,
            paths: &[],
            files: &files,
            git_dir: &git_dir,
            objects: &[objects.to_owned()],
            url: self.url,
            lfs: self.submodules.lfs,
        };
        check_out(client, &checkout, watch).map_err(|error| match error {
            CheckoutError::Git(cause) => GitError::local("its files cannot be written", cause),
            CheckoutError::Other(error) => error,
        })
    }
}

fn write_git_dir(git_dir: &Path, commit: CommitId) -> std::io::Result<()> {
    for folder in ["objects", "refs"] {
        fs::create_dir_all(git_dir.join(folder))?;
    }
    fs::write(git_dir.join("HEAD"), format!("{commit}\n"))?;
    fs::write(git_dir.join("config"), EMPTY_CONFIG)
}

/// Returns the URL of a submodule of a repository.
fn url_of(above: &GitUrl, module: Option<&Module>) -> Result<GitUrl, GitError> {
    let wrong = |what: &str| GitError::new(GitErrorKind::Local, what.to_owned());
    let Some(text) = module.and_then(|module| module.url.as_deref()) else {
        return Err(wrong("`.gitmodules` has no URL for it")
            .with_hint("whoever added it may have forgotten to commit `.gitmodules`"));
    };
    let url = above
        .join(text)
        .map_err(|cause| wrong("its URL in `.gitmodules` is refused").because(cause))?;
    if url.scheme() == GitScheme::File && above.scheme() != GitScheme::File {
        return Err(
            wrong("its URL in `.gitmodules` names files of this machine")
                .because(format!(
                    "{url} stands in a repository that comes from {above}"
                ))
                .with_hint("give the submodule a URL that everybody can reach"),
        );
    }
    Ok(url)
}

/// Sees to it that the commit of a submodule is here, and returns the folder with its objects.
fn bring(
    client: &GitClient,
    store: &Path,
    url: &GitUrl,
    commit: CommitId,
    watch: &Watch<'_>,
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
        .map_err(|cause| GitError::local(format!("cannot make {}", dir.display()), cause))?;
    let objects = dir.join("objects");
    let copy = WorkingCopy { repository, dir };
    if !copy.has_commit(commit) {
        let wanted = ResolvedReference { commit, name: None };
        copy.fetch_commit(client, url, &wanted, watch)?;
        // What is kept is what the next fetch need not bring.
        copy.set_own_reference(&format!("commits/{commit}"), commit)?;
    }
    Ok(objects)
}

/// Takes the lock of a store, which dies with its process.
fn lock(path: &Path, watch: &Watch<'_>) -> Result<File, GitError> {
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

/// Returns the name of a store: readable, and another one for each URL.
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
    error.within(format!(
        "the submodule `{path}` cannot be checked out at {short}"
    ))
}

fn in_submodules_of(prefix: &str, error: GitError) -> GitError {
    match prefix.trim_end_matches('/') {
        "" => error,
        path => error.within(format!("the submodules of `{path}` cannot be checked out")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_submodules_are_not_trusted() {
        let of = |above: &str, url: &str| {
            let module = Module {
                url: Some(url.to_owned()),
                is_left_out: false,
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
