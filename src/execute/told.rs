//! What the clients try again, as an event.

use crate::client::retry;
use crate::event::{Retrying, Unit};

/// Returns what is tried again as an event has it: for a unit, where it is a step of one.
pub fn told(retrying: retry::Retrying, unit: Option<Unit>) -> Retrying {
    let retry::Retrying {
        host,
        request,
        why,
        wait,
        attempt,
        attempts,
    } = retrying;
    Retrying {
        unit,
        host,
        request,
        why,
        wait,
        attempt,
        attempts,
    }
}
