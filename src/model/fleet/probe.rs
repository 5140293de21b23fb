//! What a probe checks in a pod: the engine, the registries and the git remotes, as units reach them.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::document::DOCUMENT_VERSION;
use crate::base::seconds;
use crate::model::manifest::ServiceName;
use crate::model::source::UrlRule;

/// What a probe checks. It may contain credentials, and is kept in a Secret.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// The text of the manifest.
    pub manifest: String,
    /// The services whose registries and remotes are checked.
    pub services: BTreeSet<ServiceName>,
    /// The time limit of each check.
    #[serde(with = "seconds")]
    pub limit: Duration,
    /// The registries that are used without TLS: hosts and networks.
    #[serde(default)]
    pub insecure_registries: Vec<String>,
    /// The rules of git's `insteadOf` for the servers of the remotes.
    #[serde(default)]
    pub url_rules: Vec<UrlRule>,
}

impl Probe {
    /// Returns the document for the worker as text.
    pub fn to_text(&self) -> String {
        let document = json!({
            "version": DOCUMENT_VERSION,
            "xp": env!("CARGO_PKG_VERSION"),
            "probe": self,
        });
        document.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fleet::SentWork;

    #[test]
    fn a_probe_is_the_same_after_it_was_sent() {
        let probe = Probe {
            manifest: "services: {}\n".to_owned(),
            services: BTreeSet::from(["a".parse().unwrap()]),
            limit: Duration::from_secs(20),
            insecure_registries: vec!["10.0.0.0/8".to_owned()],
            url_rules: vec![UrlRule {
                instead_of: "git@h:".to_owned(),
                base: "https://t@h/".to_owned(),
            }],
        };
        let text = probe.to_text();
        let SentWork::Probe(received) = SentWork::parse(text.as_bytes()).unwrap() else {
            panic!("it is not a unit");
        };
        assert_eq!(received.to_text(), text);
        let other = text.replace("\"version\":1", "\"version\":2");
        assert!(SentWork::parse(other.as_bytes()).is_err());
        // Such as the document of an xp without probes.
        assert!(SentWork::parse(b"{\"version\":1}").is_err());
    }
}
