//! The wait before a retry.

use super::ExecuteContext;
use super::step_error::Stop;
use crate::base::error::Retrying;
use crate::base::units;
use crate::model::event::{Event, Phase, Unit};

/// Reports a failure that will be retried, and waits for the retry delay.
pub async fn wait(
    context: &ExecuteContext,
    unit: &Unit,
    phase: Phase,
    retrying: Retrying,
) -> Result<(), Stop> {
    let wait = retrying.wait;
    let line = format!(
        "{}; trying again in {} ({} of {})\n",
        retrying.why,
        units::limit(wait),
        retrying.attempt,
        retrying.attempts
    );
    context.events.emit(Event::Output {
        unit: unit.clone(),
        phase,
        bytes: line.into(),
    });
    let unit = Some(unit.clone());
    context.events.emit(Event::Retrying { unit, retrying });
    tokio::select! {
        () = tokio::time::sleep(wait) => Ok(()),
        () = context.cancel.cancelled() => Err(Stop::Cancelled),
    }
}
