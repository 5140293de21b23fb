//! The one way in which something outside is asked again: git remotes, registries and their token
//! servers, and the pushes and pulls of the engine.
//!
//! [`Policy`] says when, and is pure; [`is_transient`] says after what. Here are the clock, the chance, and
//! what is known of each host: one that fails everybody is not asked again by everybody, and one that
//! wants to be left alone is left alone by all.

mod policy;
mod transport;

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use crate::error::Retrying;

pub use policy::{LONGEST_ASKED, Policy, is_transient as is_transient_status};
pub use transport::is_transient;

/// How many attempts beyond the first a host gets before it answers well again: enough for a moment in which
/// all that is under way breaks off, and little for a host that is gone.
const OF_A_HOST: u32 = 64;

/// A failure that may pass by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What happened, for people, without credentials.
    pub why: String,
    /// How long the server asked to be left alone.
    pub retry_after: Option<Duration>,
}

impl Trouble {
    /// Returns one of which the server said nothing.
    pub fn new(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            retry_after: None,
        }
    }
}

/// Tries again for a process; a clone shares what is known of the hosts.
#[derive(Clone)]
pub struct Retries {
    shared: Arc<Shared>,
}

struct Shared {
    policy: Policy,
    tell: Box<dyn Fn(Retrying) + Send + Sync>,
    hosts: Mutex<HashMap<String, Host>>,
    random: RandomState,
}

/// What is known of a host.
#[derive(Default)]
struct Host {
    /// The attempts beyond the first since it answered well.
    retries: u32,
    /// When it may be asked again.
    resumes: Option<Instant>,
}

impl Retries {
    /// Returns what tries again by a policy; `tell` hears of each time.
    pub fn new(policy: Policy, tell: impl Fn(Retrying) + Send + Sync + 'static) -> Self {
        Self {
            shared: Arc::new(Shared {
                policy,
                tell: Box::new(tell),
                hosts: Mutex::default(),
                random: RandomState::new(),
            }),
        }
    }

    /// Returns what tries again without a word.
    pub fn silent(policy: Policy) -> Self {
        Self::new(policy, |_| {})
    }

    /// Begins to ask a host for something.
    pub fn begin(&self, host: impl Into<String>, request: impl Into<String>) -> Attempts {
        Attempts {
            retries: self.clone(),
            host: host.into(),
            request: request.into(),
            failed: 0,
            start: Instant::now(),
            asked: Duration::ZERO,
        }
    }

    fn hosts(&self) -> MutexGuard<'_, HashMap<String, Host>> {
        let hosts = self.shared.hosts.lock();
        hosts.unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a number from 0 to 1. The hasher's keys are random, which is random enough here.
    fn chance(&self, of: &str, failed: u32) -> f64 {
        let now = Instant::now();
        let hash = self.shared.random.hash_one((of, failed, now)) >> 11;
        // 53 bits are what a number of this type holds.
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
    /// What was waited as the server asked for it.
    asked: Duration,
}

impl Attempts {
    /// Asks until the answer is good, or is bad for good: `once` returns what it came to, and what was wrong
    /// where that may pass.
    pub async fn run<R, F>(mut self, mut once: impl FnMut() -> F) -> R
    where
        F: Future<Output = (R, Option<Trouble>)>,
    {
        loop {
            self.ready().await;
            let (result, trouble) = once().await;
            let Some(trouble) = trouble else {
                self.answered();
                return result;
            };
            match self.after(trouble) {
                Some(retrying) => tokio::time::sleep(retrying.wait).await,
                None => return result,
            }
        }
    }

    /// Waits while the host wants to be left alone, by whomever it was told so.
    pub async fn ready(&self) {
        let resumes = self
            .retries
            .hosts()
            .get(&self.host)
            .and_then(|it| it.resumes);
        if let Some(resumes) = resumes {
            tokio::time::sleep_until(resumes.into()).await;
        }
    }

    /// Notes that the host answered.
    pub fn answered(&self) {
        if let Some(host) = self.retries.hosts().get_mut(&self.host) {
            host.retries = 0;
        }
    }

    /// Returns what is to be waited after a failure, and tells of it; none where that was the last attempt.
    pub fn after(&mut self, trouble: Trouble) -> Option<Retrying> {
        self.failed += 1;
        let Retries { shared } = &self.retries;
        let chance = self.retries.chance(&self.request, self.failed);
        let spent = self.start.elapsed().saturating_sub(self.asked);
        let wait = shared
            .policy
            .wait(self.failed, chance, trouble.retry_after, spent)?;
        {
            let mut hosts = self.retries.hosts();
            let host = hosts.entry(self.host.clone()).or_default();
            if host.retries >= OF_A_HOST {
                return None;
            }
            host.retries += 1;
            if let Some(asked) = trouble.retry_after {
                self.asked += asked;
                host.resumes = host.resumes.max(Some(Instant::now() + asked));
            }
        }
        let retrying = Retrying {
            host: self.host.clone(),
            request: self.request.clone(),
            why: trouble.why,
            wait,
            attempt: self.failed + 1,
            attempts: shared.policy.attempts,
        };
        (shared.tell)(retrying.clone());
        Some(retrying)
    }
}

/// Returns how long an answer asks to be left alone.
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
    async fn what_passes_is_told_and_not_failed() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = told.clone();
        let retries = Retries::new(quick(), move |it| heard.lock().unwrap().push(it));
        let mut answers = vec![Ok(3), Err("again"), Err("no")];
        let result = retries.begin("h", "GET x").run(|| {
            let answer = answers.pop().unwrap();
            let trouble = answer.err().map(Trouble::new);
            async move { (answer, trouble) }
        });
        assert_eq!(result.await, Ok(3));
        let told = told.lock().unwrap();
        let told: Vec<_> = told
            .iter()
            .map(|it| (it.why.as_str(), it.attempt))
            .collect();
        assert_eq!(told, [("no", 2), ("again", 3)]);
    }

    #[test]
    fn a_host_that_is_gone_is_asked_again_by_few() {
        let retries = Retries::silent(quick());
        let begin = |host: &str| retries.begin(host, "HEAD");
        let again = (0..100).filter(|_| begin("gone").after(Trouble::new("no")).is_some());
        assert_eq!(again.count(), OF_A_HOST as usize);
        assert!(begin("other").after(Trouble::new("no")).is_some());
        // As soon as it answers, all is forgotten.
        begin("gone").answered();
        assert!(begin("gone").after(Trouble::new("no")).is_some());
    }

    #[tokio::test]
    async fn a_host_is_left_alone_by_all_as_it_asks() {
        let retries = Retries::silent(quick());
        let mut first = retries.begin("h", "HEAD a");
        let asked = Some(Duration::from_millis(200));
        let trouble = Trouble {
            why: "429".to_owned(),
            retry_after: asked,
        };
        assert!(first.after(trouble).map(|it| it.wait) >= asked);
        let start = Instant::now();
        let (other, same) = (retries.begin("i", "HEAD"), retries.begin("h", "HEAD b"));
        other.ready().await;
        let waited = retries.hosts().get("h").and_then(|it| it.resumes);
        assert!(waited.is_some_and(|until| until > start));
        let before = tokio::time::Instant::now();
        same.ready().await;
        assert!(before.elapsed() >= Duration::from_millis(100));
    }

    #[test]
    fn chances_differ() {
        let retries = Retries::silent(quick());
        let chances: Vec<f64> = (0..50).map(|number| retries.chance("x", number)).collect();
        assert!(chances.iter().all(|chance| (0.0..1.0).contains(chance)));
        let distinct: std::collections::BTreeSet<u64> =
            chances.iter().map(|it| it.to_bits()).collect();
        assert!(distinct.len() > 45, "{chances:?}");
    }
}
