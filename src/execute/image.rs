//! Image builds.

use std::collections::HashMap;

use super::Context;
use super::bases::registries;
use super::publish::{credentials_of, tag_engine};
use super::secrets;
use super::state::UnitState;
use super::stop::{StepError, Stop};
use crate::client::engine::ImageBuild;
use crate::event::{Event, Phase, Unit};
use crate::plan::ImageStep;
use crate::recipe::LABEL_CREATED;
use crate::record::Measure;

/// Builds an image, and gives it all its names.
pub async fn build(
    context: &Context,
    unit: &Unit,
    step: &ImageStep,
    state: &UnitState,
) -> Result<(), Stop> {
    let Some((name, further)) = step.names.split_first() else {
        return Ok(());
    };
    let mut labels = step.labels.clone();
    if let Some(time) = step.commit_time.or(state.commit_time) {
        labels.insert(LABEL_CREATED.to_owned(), rfc3339(time));
    }
    let dockerfile = std::fs::read(&step.dockerfile).unwrap_or_default();
    let mut credentials = HashMap::new();
    for registry in registries(&String::from_utf8_lossy(&dockerfile), &step.args) {
        if let Some(found) = credentials_of(context, &registry).await? {
            credentials.insert(registry, found);
        }
    }
    secrets::warn(context, unit, step);
    let mountable = secrets::read(context, step)?;
    let output = |bytes| {
        context.events.emit(Event::Output {
            unit: unit.clone(),
            phase: Phase::Image,
            bytes,
        });
    };
    let progress = |done| {
        context.events.emit(Event::Progress {
            unit: unit.clone(),
            phase: Phase::Image,
            measure: Measure::Bytes,
            done,
            total: 0,
            bytes: done,
        });
    };
    let build = ImageBuild {
        root: &step.root,
        context: &step.context,
        left_out: step.left_out.as_deref(),
        dockerfile: &step.dockerfile,
        target: step.target.as_deref(),
        args: &step.args,
        labels: &labels,
        fresh: step.fresh,
        name,
        credentials,
        secrets: mountable.secrets,
        ssh_agent: mountable.ssh_agent,
    };
    context
        .engine
        .build(build, &output, &progress)
        .await
        .map_err(StepError::from)?;
    tag_engine(context, name, further).await
}

/// Returns a time, in seconds since 1970, in RFC 3339.
fn rfc3339(seconds: i64) -> String {
    let time = time::OffsetDateTime::from_unix_timestamp(seconds)
        .unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    time.format(&time::format_description::well_known::Rfc3339)
        .unwrap_or_default()
}
