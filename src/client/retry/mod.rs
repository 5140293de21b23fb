//! Retries of requests to git remotes, registries and their token servers, and of the engine's pushes and pulls.
//!
//! [`Policy`] decides when to retry, and is pure; [`is_transient`] decides after which errors. This module adds the
//! clock, the jitter, and the state of each host: the retries of a host are limited across all requests, and
//! `Retry-After` applies to all of them.

mod policy;
mod transport;

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use crate::base::error::Retrying;
use crate::base::sanitize::sanitized;

pub use policy::{Policy, is_transient as is_transient_status};
pub use transport::is_transient;

/// The number of retries that a host gets until a request to it succeeds: enough for an interruption of all concurrent
/// requests, and few for a host that is down.
const MAX_RETRIES_PER_HOST: u32 = 64;

/// Returns a number from 0 to 1, so that many processes do not repeat their requests at the same moment.
pub fn random() -> f64 {
    // The keys are random, which is random enough here.
    let hash = RandomState::new().hash_one(Duration::ZERO) >> 11;
    hash as f64 / (1_u64 << 53) as f64
}

/// A transient failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransientFailure {
    /// The reason, human-readable and without credentials.
    pub why: String,
    /// The delay that the server requested.
    pub retry_after: Option<Duration>,
}

impl TransientFailure {
    /// Returns a failure for which the server requested no delay.
    pub fn new(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            retry_after: None,
        }
    }
}

/// The retries of a process. Clones share the state of the hosts.
#[derive(Clone)]
pub struct Retries {
    shared: Arc<RetryState>,
}

struct RetryState {
    policy: Policy,
    on_retry: Box<dyn Fn(Retrying) + Send + Sync>,
    hosts: Mutex<HashMap<String, HostState>>,
    random: RandomState,
}

/// The state of a host.
#[derive(Default)]
struct HostState {
    /// The retries since the last success.
    retries: u32,
    /// When the next request may be sent.
    paused_until: Option<Instant>,
}

impl Retries {
    /// Creates retries with a policy; `on_retry` is called for each one.
    pub fn new(policy: Policy, on_retry: impl Fn(Retrying) + Send + Sync + 'static) -> Self {
        Self {
            shared: Arc::new(RetryState {
                policy,
                on_retry: Box::new(on_retry),
                hosts: Mutex::default(),
                random: RandomState::new(),
            }),
        }
    }

    /// Creates retries that are not reported.
    pub fn silent(policy: Policy) -> Self {
        Self::new(policy, |_| {})
    }

    /// Starts a request to a host.
    pub fn begin(&self, host: impl Into<String>, request: impl Into<String>) -> Attempts {
        Attempts {
            retries: self.clone(),
            host: host.into(),
            request: request.into(),
            failed: 0,
            start: Instant::now(),
            requested: Duration::ZERO,
        }
    }

    fn hosts(&self) -> MutexGuard<'_, HashMap<String, HostState>> {
        let hosts = self.shared.hosts.lock();
        hosts.unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a number from 0 to 1. The hasher's keys are random, which is random enough here.
    fn random(&self, of: &str, failed: u32) -> f64 {
        let now = Instant::now();
        let hash = self.shared.random.hash_one((of, failed, now)) >> 11;
        // An `f64` has 53 bits of precision.
        hash as f64 / (1_u64 << 53) as f64
    }
}

/// The attempts of one request.
pub struct Attempts {
    retries: Retries,
    host: String,
    request: String,
    failed: u32,
    start: Instant,
    /// The total delay that the server requested.
    requested: Duration,
}

impl Attempts {
    /// Runs `once` until it succeeds or must not be retried. It returns its result, and the failure if that is transient.
    pub async fn run<R, F>(mut self, mut once: impl FnMut() -> F) -> R
    where
        F: Future<Output = (R, Option<TransientFailure>)>,
    {
        loop {
            self.ready().await;
            let (result, failure) = once().await;
            let Some(failure) = failure else {
                self.record_success();
                return result;
            };
            match self.record_failure(failure) {
                Some(retrying) => tokio::time::sleep(retrying.wait).await,
                None => return result,
            }
        }
    }

    /// Waits out the delay that the host requested, from this or any other request.
    pub async fn ready(&self) {
        let paused_until = self
            .retries
            .hosts()
            .get(&self.host)
            .and_then(|it| it.paused_until);
        if let Some(paused_until) = paused_until {
            tokio::time::sleep_until(paused_until.into()).await;
        }
    }

    /// Records a success.
    pub fn record_success(&self) {
        if let Some(host) = self.retries.hosts().get_mut(&self.host) {
            host.retries = 0;
        }
    }

    /// Returns and reports the wait after a failure; `None` if that was the last attempt.
    pub fn record_failure(&mut self, failure: TransientFailure) -> Option<Retrying> {
        self.failed += 1;
        let Retries { shared } = &self.retries;
        let random = self.retries.random(&self.request, self.failed);
        let spent = self.start.elapsed().saturating_sub(self.requested);
        let wait = shared
            .policy
            .wait(self.failed, random, failure.retry_after, spent)?;
        {
            let mut hosts = self.retries.hosts();
            let host = hosts.entry(self.host.clone()).or_default();
            if host.retries >= MAX_RETRIES_PER_HOST {
                return None;
            }
            host.retries += 1;
            if let Some(delay) = failure.retry_after {
                self.requested += delay;
                host.paused_until = host.paused_until.max(Some(Instant::now() + delay));
            }
        }
        let retrying = Retrying {
            host: self.host.clone(),
            request: self.request.clone(),
            why: sanitized(&failure.why).into_owned(),
            wait,
            attempt: self.failed + 1,
            attempts: shared.policy.attempts,
        };
        (shared.on_retry)(retrying.clone());
        Some(retrying)
    }
}

/// Returns the delay that a response requests.
pub fn retry_after(headers: &reqwest::header::HeaderMap) -> Option<Duration> {
    use reqwest::header::{DATE, RETRY_AFTER};
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    policy::retry_after(text(RETRY_AFTER)?, text(DATE), OffsetDateTime::now_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quick() -> Policy {
        Policy {
            shortest: Duration::from_millis(1),
            longest: Duration::from_millis(1),
            ..Policy::REQUEST
        }
    }

    #[tokio::test]
    async fn transient_failures_are_reported_and_retried() {
        let reported = Arc::new(Mutex::new(Vec::new()));
        let log = reported.clone();
        let retries = Retries::new(quick(), move |it| log.lock().unwrap().push(it));
        let mut responses = vec![Ok(3), Err("again"), Err("no")];
        let result = retries.begin("h", "GET x").run(|| {
            let response = responses.pop().unwrap();
            let failure = response.err().map(TransientFailure::new);
            async move { (response, failure) }
        });
        assert_eq!(result.await, Ok(3));
        let reported = reported.lock().unwrap();
        let reported: Vec<_> = reported
            .iter()
            .map(|it| (it.why.as_str(), it.attempt))
            .collect();
        assert_eq!(reported, [("no", 2), ("again", 3)]);
    }

    #[test]
    fn retries_of_a_host_are_limited() {
        let retries = Retries::silent(quick());
        let begin = |host: &str| retries.begin(host, "HEAD");
        let retries_of_gone = (0..100).filter(|_| {
            begin("gone")
                .record_failure(TransientFailure::new("no"))
                .is_some()
        });
        assert_eq!(retries_of_gone.count(), MAX_RETRIES_PER_HOST as usize);
        assert!(
            begin("other")
                .record_failure(TransientFailure::new("no"))
                .is_some()
        );
        // A success resets the count.
        begin("gone").record_success();
        assert!(
            begin("gone")
                .record_failure(TransientFailure::new("no"))
                .is_some()
        );
    }

    #[tokio::test]
    async fn retry_after_applies_to_all_requests_to_a_host() {
        let retries = Retries::silent(quick());
        let mut first = retries.begin("h", "HEAD a");
        let delay = Some(Duration::from_millis(200));
        let failure = TransientFailure {
            why: "429".to_owned(),
            retry_after: delay,
        };
        assert!(first.record_failure(failure).map(|it| it.wait) >= delay);
        let start = Instant::now();
        let (other, same) = (retries.begin("i", "HEAD"), retries.begin("h", "HEAD b"));
        other.ready().await;
        let waited = retries.hosts().get("h").and_then(|it| it.paused_until);
        assert!(waited.is_some_and(|until| until > start));
        let before = tokio::time::Instant::now();
        same.ready().await;
        assert!(before.elapsed() >= Duration::from_millis(100));
    }

    #[test]
    fn random_numbers_differ() {
        let retries = Retries::silent(quick());
        let numbers: Vec<f64> = (0..50).map(|number| retries.random("x", number)).collect();
        assert!(numbers.iter().all(|number| (0.0..1.0).contains(number)));
        let distinct: std::collections::BTreeSet<u64> =
            numbers.iter().map(|it| it.to_bits()).collect();
        assert!(distinct.len() > 45, "{numbers:?}");
    }
}
