//! The git client: lists references of remotes, and manages working copies.
//!
//! Nothing outside this folder uses `git2`. Remotes are accessed through our own transports: http(s) through
//! the process's HTTP client, ssh through the system's OpenSSH, `git://` over TCP; libgit2 itself reads
//! `file` remotes. References are listed with protocol version 2, so that a server sends only the relevant
//! ones; libgit2 fetches through the same transports.
//!
//! [`GitClient::list_refs`] is asynchronous. All functions on working copies block, and must be called from a
//! thread that may block (`spawn_blocking`), not from a task.

mod configuration;
mod error;
pub mod fetch;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
pub mod history;
mod lfs;
mod progress;
pub mod refs;
mod transport;
mod unsupported;
pub mod worktree;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::runtime::Handle;

pub use crate::client::git::fetch::clone::{CloneRequest, clone};
pub use crate::client::git::fetch::update::{Depth, Fetch, Tags};
pub use crate::client::git::history::file_commit::file_commit;
pub use crate::client::git::history::folder_export::{checked_out, write_folder_at};
pub use crate::client::git::history::last_touched::{LastTouch, PathsAt};
pub use crate::client::git::history::reference_files::{
    FileOrigin, FileSearch, reference_files, remotes_around,
};
pub use crate::client::git::history::revision::{RevisionError, file_at};
pub use crate::client::git::history::tree_paths::PathKind;
pub use crate::client::git::progress::{OperationContext, Progress, ProgressPhase};
pub use crate::client::git::refs::names::RefNames;
pub use crate::client::git::refs::remote::RemoteRefs;
pub use crate::client::git::worktree::export::{Export, export, remove_tree};
pub use crate::client::git::worktree::facts::ConfiguredRemote;
pub use crate::client::git::worktree::move_head::{Move, NotMoved};
pub use crate::client::git::worktree::stale_locks::remove_stale_locks;
pub use crate::client::git::worktree::state::{Head, OperationInProgress};
pub use crate::client::git::worktree::working_copy::{DETACHED_AT, Opened, WorkingCopy};
pub use error::{GitError, GitErrorKind};

use crate::client::git::transport::credentials::GitCredentials;
use crate::client::git::transport::limits::ConnectionLimits;
use crate::client::http::Http;
use crate::model::source::{GitReference, GitScheme, GitUrl, UrlRule};
use configuration::GitConfiguration;

/// The environment variables that the git client uses.
#[derive(Debug, Clone, Default)]
pub struct GitEnvironment {
    /// `HOME`, the folder of `.netrc`.
    pub home: Option<PathBuf>,
    /// `GIT_SSH_COMMAND`, a shell command line.
    pub ssh_command: Option<String>,
    /// `GIT_SSH`, a program.
    pub ssh_program: Option<String>,
    /// `GIT_SSH_VARIANT`: `ssh`, `plink`, `putty`, `tortoiseplink` or `simple`.
    pub ssh_variant: Option<String>,
    /// `GIT_CONFIG_GLOBAL`, a file that replaces `~/.gitconfig`.
    pub global_configuration: Option<PathBuf>,
    /// `GIT_CONFIG_COUNT`, `GIT_CONFIG_KEY_<n>` and `GIT_CONFIG_VALUE_<n>`, additional settings.
    pub configuration: Vec<(String, String)>,
    /// A file with logins in the format of git's `store` helper, which is read without git.
    pub stored_logins: Option<PathBuf>,
}

/// The git client of the process; clones share connections, limits and logins.
#[derive(Clone)]
pub struct GitClient {
    shared: Arc<GitClientState>,
}

struct GitClientState {
    http: Http,
    environment: GitEnvironment,
    configuration: GitConfiguration,
    credentials: GitCredentials,
    limits: ConnectionLimits,
    runtime: Handle,
}

impl GitClient {
    /// Creates the client, and reads the user's git configuration.
    ///
    /// `runtime` runs the network requests of the blocking functions; it must be multi-threaded.
    ///
    /// # Errors
    ///
    /// libgit2 cannot be initialized.
    pub fn new(http: Http, environment: GitEnvironment, runtime: Handle) -> Result<Self, GitError> {
        transport::register()?;
        worktree::conversion::register()
            .map_err(|cause| GitError::local("cannot initialize libgit2", cause))?;
        let configuration = GitConfiguration::read(&environment);
        Ok(Self {
            shared: Arc::new(GitClientState {
                http,
                environment,
                configuration,
                credentials: GitCredentials::default(),
                limits: ConnectionLimits::default(),
                runtime,
            }),
        })
    }

    /// Returns the login of an http(s) remote as git's `store` helper reads it: a URL with user and password. It is the
    /// one that the server has accepted; `None` if it requested none.
    pub async fn login(&self, remote: &GitUrl) -> Option<String> {
        let GitClientState {
            configuration,
            credentials,
            ..
        } = &*self.shared;
        let url = self.effective_url(remote);
        // The remote's own URL has it already.
        if !matches!(url.scheme(), GitScheme::Http | GitScheme::Https) || url.password().is_some() {
            return None;
        }
        if !credentials.was_contacted(&url).await {
            // A commit is built without a request to its remote. If this one fails, so does the fetch, with an error.
            _ = self.list_refs(remote, &[GitReference::DefaultBranch]).await;
        }
        let login = credentials.accepted_login(configuration, &url).await?;
        let (scheme, address) = url
            .without_credentials()
            .split_once("://")
            .map(|(scheme, rest)| (scheme.to_owned(), rest.to_owned()))?;
        let (user, password) = (encoded(&login.user), encoded(&login.password));
        Some(format!("{scheme}://{user}:{password}@{address}"))
    }

    /// Returns the effective URL of a remote, after applying `url.<base>.insteadOf`.
    pub fn effective_url(&self, url: &GitUrl) -> GitUrl {
        self.shared.configuration.effective_url(url)
    }

    /// Returns the rules of `url.<base>.insteadOf` for the server of a remote: the one that applies to it, and others
    /// with the same base, for its submodules.
    pub fn url_rules(&self, url: &GitUrl) -> Vec<UrlRule> {
        self.shared.configuration.url_rules(url)
    }
}

/// Encodes a text for a URL.
fn encoded(text: &str) -> String {
    let bytes = text.bytes().map(|byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    });
    bytes.collect()
}
