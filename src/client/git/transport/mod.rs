//! The transports that libgit2 fetches through.
//!
//! They are registered once under our own scheme, so that libgit2 never sees a real URL or password, and its
//! handling of other URLs is unchanged. The remote, and the typed error that libgit2 cannot carry, are stored
//! in the thread's current [`Operation`].

pub mod credentials;
pub(super) mod http;
mod http_stream;
pub mod limits;
pub mod netrc;
pub(super) mod ssh;
pub(super) mod stream;

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, Once, OnceLock, PoisonError};

use git2::transport::{Service, SmartSubtransport, SmartSubtransportStream, Transport};
use git2::{ErrorClass, ErrorCode};
use tokio_util::sync::CancellationToken;

use super::{GitClient, GitError};
use crate::model::source::{GitScheme, GitUrl};
use http::HttpRemote;
use http_stream::HttpStream;
use stream::StatefulStream;

/// The URL that makes libgit2 use our transports.
pub(super) const URL: &str = "xp-remote://current";

thread_local! {
    static CURRENT: RefCell<Option<Arc<Operation>>> = const { RefCell::new(None) };
}

/// A fetch in progress.
pub(super) struct Operation {
    pub(super) client: GitClient,
    /// The URL after applying `insteadOf`.
    pub(super) url: GitUrl,
    cancel: CancellationToken,
    failure: Mutex<Option<GitError>>,
    http: tokio::sync::Mutex<Option<HttpRemote>>,
}

impl Operation {
    /// Runs a function that fetches through libgit2, and returns its result, or the error of the transport.
    pub(super) fn run<T>(
        client: &GitClient,
        url: &GitUrl,
        cancel: &CancellationToken,
        what: impl FnOnce() -> String,
        function: impl FnOnce() -> Result<T, git2::Error>,
    ) -> Result<T, GitError> {
        let operation = Arc::new(Self {
            client: client.clone(),
            url: url.clone(),
            cancel: cancel.clone(),
            failure: Mutex::default(),
            http: tokio::sync::Mutex::default(),
        });
        CURRENT.set(Some(operation.clone()));
        let result = function();
        CURRENT.set(None);
        result.map_err(|cause| {
            if cancel.is_cancelled() {
                return GitError::interrupted();
            }
            let failure = operation
                .failure
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            failure.unwrap_or_else(|| match cause.class() {
                // libgit2's message for a truncated response.
                ErrorClass::Net if cause.message().contains("could not read from remote") => {
                    GitError::connection_lost(url)
                }
                ErrorClass::Net => GitError::protocol(url, cause.message().to_owned()),
                _ => GitError::local(what(), cause),
            })
        })
    }

    /// Waits for the network or an interruption. The error is stored, and libgit2 gets its message.
    fn block_on<T>(&self, future: impl Future<Output = Result<T, GitError>>) -> io::Result<T> {
        let result = self.client.shared.runtime.block_on(async {
            tokio::select! {
                () = self.cancel.cancelled() => Err(GitError::interrupted()),
                result = future => result,
            }
        });
        result.map_err(|error| {
            let text = error.to_string();
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            io::Error::other(text)
        })
    }
}

/// Registers the transports with libgit2.
pub(super) fn register() -> Result<(), GitError> {
    static ONCE: Once = Once::new();
    static RESULT: OnceLock<Option<String>> = OnceLock::new();
    ONCE.call_once(|| {
        let factory = |remote: &git2::Remote<'_>| {
            let operation = CURRENT
                .with_borrow(Clone::clone)
                .ok_or_else(|| net_error("no fetch in progress"))?;
            let is_stateless = matches!(operation.url.scheme(), GitScheme::Http | GitScheme::Https);
            Transport::smart(remote, is_stateless, Subtransport { operation })
        };
        // SAFETY: libgit2's list of transports must not change while it is read. It is only read when a remote
        // connects, which requires a `GitClient`, which is created after this; and `Once` prevents concurrent
        // calls.
        #[expect(
            unsafe_code,
            reason = "git2 requires the caller to synchronize this call"
        )]
        let registered = unsafe { git2::transport::register("xp-remote", factory) };
        let _ = RESULT.set(registered.err().map(|error| error.message().to_owned()));
    });
    match RESULT.get().and_then(Option::as_ref) {
        Some(message) => Err(GitError::local(
            "cannot initialize libgit2",
            net_error(message),
        )),
        None => Ok(()),
    }
}

fn net_error(message: &str) -> git2::Error {
    git2::Error::new(ErrorCode::GenericError, ErrorClass::Net, message)
}

struct Subtransport {
    operation: Arc<Operation>,
}

impl SmartSubtransport for Subtransport {
    fn action(
        &self,
        _url: &str,
        service: Service,
    ) -> Result<Box<dyn SmartSubtransportStream>, git2::Error> {
        if !matches!(service, Service::UploadPackLs | Service::UploadPack) {
            return Err(net_error("pushing is not supported"));
        }
        match self.operation.url.scheme() {
            GitScheme::Http | GitScheme::Https => Ok(Box::new(HttpStream::new(
                self.operation.clone(),
                service == Service::UploadPackLs,
            ))),
            _ => Ok(Box::new(
                StatefulStream::open(self.operation.clone())
                    .map_err(|cause| net_error(&cause.to_string()))?,
            )),
        }
    }

    fn close(&self) -> Result<(), git2::Error> {
        Ok(())
    }
}
