//! Timeouts and retries from the environment.

use std::time::Duration;

use crate::client::retry::Policy;
use crate::client::timeouts::Timeouts;
use crate::host::settings::variables::ProcessVariables;
use crate::model::environment::{
    EnvironmentVariable, XP_CONNECT_TIMEOUT, XP_RETRIES, XP_STALL_TIMEOUT, XP_TRANSFER_TIMEOUT,
};

/// Timeouts and retry policies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimeoutSettings {
    pub timeouts: Timeouts,
    /// Retries of requests.
    pub requests: Policy,
    /// Retries of pushes and pulls by the engine.
    pub transfers: Policy,
}

/// Upper limit of `XP_RETRIES`; more would only burden an overloaded server.
const MAX_RETRIES: u32 = 20;

/// Reads timeouts and retries from the environment.
pub(super) fn timeout_settings(variables: &ProcessVariables) -> Result<TimeoutSettings, String> {
    let duration = |variable: EnvironmentVariable, default: Duration| match variables.get(variable)
    {
        None => Ok(default),
        Some(text) => crate::model::manifest::duration(&text).map_err(|_| {
            let name = variable.name;
            format!("{name} must be a duration such as `90s` or `5m`, not `{text}`")
        }),
    };
    let default = Timeouts::default();
    let timeouts = Timeouts {
        connect: duration(XP_CONNECT_TIMEOUT, default.connect)?,
        stall: duration(XP_STALL_TIMEOUT, default.stall)?,
        transfer: duration(XP_TRANSFER_TIMEOUT, default.transfer)?,
    };
    let (mut requests, mut transfers) = (Policy::REQUEST, Policy::TRANSFER);
    if let Some(text) = variables.get(XP_RETRIES) {
        let retries = text.parse().ok().filter(|retries| *retries <= MAX_RETRIES);
        let retries: u32 = retries.ok_or_else(|| {
            format!("XP_RETRIES must be a number from 0 to {MAX_RETRIES}, not `{text}`")
        })?;
        requests.attempts = retries + 1;
        transfers.attempts = retries + 1;
    }
    Ok(TimeoutSettings {
        timeouts,
        requests,
        transfers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_and_retries_come_from_the_environment() {
        let of = |variable: EnvironmentVariable, value: &str| {
            timeout_settings(&[(variable, value)].into())
        };
        let defaults = timeout_settings(&[].into()).unwrap();
        assert_eq!(defaults.timeouts, Timeouts::default());
        assert_eq!(defaults.requests, Policy::REQUEST);
        let stall = of(XP_STALL_TIMEOUT, "5m").unwrap().timeouts.stall;
        assert_eq!(stall, Duration::from_secs(300));
        let once = of(XP_RETRIES, "0").unwrap();
        assert_eq!((once.requests.attempts, once.transfers.attempts), (1, 1));
        let wrong = of(XP_CONNECT_TIMEOUT, "10").unwrap_err();
        assert!(
            wrong.contains("XP_CONNECT_TIMEOUT") && wrong.contains("`10`"),
            "{wrong}"
        );
        for wrong in ["21", "-1", "many"] {
            assert!(of(XP_RETRIES, wrong).unwrap_err().contains(wrong));
        }
    }
    #[test]
    fn documented_defaults_are_used() {
        let TimeoutSettings {
            timeouts,
            requests,
            transfers,
        } = timeout_settings(&[].into()).unwrap();
        for (variable, used) in [
            (XP_CONNECT_TIMEOUT, timeouts.connect),
            (XP_STALL_TIMEOUT, timeouts.stall),
            (XP_TRANSFER_TIMEOUT, timeouts.transfer),
        ] {
            let documented = crate::model::manifest::duration(variable.default);
            assert_eq!(documented, Ok(used), "{}", variable.name);
        }
        let (requests, transfers) = (requests.attempts - 1, transfers.attempts - 1);
        let retries = format!("{requests} for requests, {transfers} for pushes and pulls");
        assert_eq!(XP_RETRIES.default, retries);
        assert!(
            XP_RETRIES
                .about
                .contains(&format!("from 0 to {MAX_RETRIES}."))
        );
    }
}
