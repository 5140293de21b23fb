//! How long servers are waited for, and how often they are asked, as the environment says it.

use std::time::Duration;

use crate::client::retry::Policy;
use crate::client::timeouts::Timeouts;

/// How long servers are waited for, and how often they are asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Patience {
    /// How long.
    pub timeouts: Timeouts,
    /// How often a request is sent that fails.
    pub requests: Policy,
    /// How often the engine is told to push or to pull.
    pub transfers: Policy,
}

/// The most that `XP_RETRIES` may ask for: more would only be a burden to who cannot answer.
const MOST_RETRIES: u32 = 20;

/// Returns how long servers are waited for, and how often they are asked.
pub(super) fn patience(get: &impl Fn(&str) -> Option<String>) -> Result<Patience, String> {
    let duration = |name: &str, default: Duration| match get(name) {
        None => Ok(default),
        Some(text) => crate::manifest::duration(&text).map_err(|_| {
            format!("{name} is to be a duration such as `90s` or `5m`, and not `{text}`")
        }),
    };
    let default = Timeouts::default();
    let timeouts = Timeouts {
        connect: duration("XP_CONNECT_TIMEOUT", default.connect)?,
        stall: duration("XP_STALL_TIMEOUT", default.stall)?,
        transfer: duration("XP_TRANSFER_TIMEOUT", default.transfer)?,
    };
    let (mut requests, mut transfers) = (Policy::REQUEST, Policy::TRANSFER);
    if let Some(text) = get("XP_RETRIES") {
        let retries = text.parse().ok().filter(|retries| *retries <= MOST_RETRIES);
        let retries: u32 = retries.ok_or_else(|| {
            format!("XP_RETRIES is to be a number up to {MOST_RETRIES}, and not `{text}`")
        })?;
        requests.attempts = retries + 1;
        transfers.attempts = retries + 1;
    }
    Ok(Patience {
        timeouts,
        requests,
        transfers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_what_the_environment_says() {
        let of = |name: &'static str, value: &'static str| {
            patience(&move |asked: &str| (asked == name).then(|| value.to_owned()))
        };
        let usual = of("", "").unwrap();
        assert_eq!(usual.timeouts, Timeouts::default());
        assert_eq!(usual.requests, Policy::REQUEST);
        let stall = of("XP_STALL_TIMEOUT", "5m").unwrap().timeouts.stall;
        assert_eq!(stall, Duration::from_secs(300));
        let once = of("XP_RETRIES", "0").unwrap();
        assert_eq!((once.requests.attempts, once.transfers.attempts), (1, 1));
        let wrong = of("XP_CONNECT_TIMEOUT", "10").unwrap_err();
        assert!(
            wrong.contains("XP_CONNECT_TIMEOUT") && wrong.contains("`10`"),
            "{wrong}"
        );
        for wrong in ["21", "-1", "many"] {
            assert!(of("XP_RETRIES", wrong).unwrap_err().contains(wrong));
        }
    }
}
