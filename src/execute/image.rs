//! Image builds.

use std::collections::{BTreeSet, HashMap};

use super::Context;
use super::publish::tag_engine;
use super::unit::{StepError, Stop, UnitState};
use crate::client::engine::ImageBuild;
use crate::event::{Event, Phase, Unit};
use crate::image::{ImageReference, Registry};
use crate::plan::ImageStep;
use crate::recipe::LABEL_CREATED;

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
    if let Some(time) = state.commit_time {
        labels.insert(LABEL_CREATED.to_owned(), rfc3339(time));
    }
    let mut credentials = HashMap::new();
    for registry in registries(step) {
        if let Some(found) = context
            .registry
            .credentials(&registry)
            .await
            .map_err(StepError::from)?
        {
            credentials.insert(registry.to_string(), found);
        }
    }
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
            done,
            total: 0,
        });
    };
    let build = ImageBuild {
        context: &step.context,
        dockerfile: &step.dockerfile,
        target: step.target.as_deref(),
        args: &step.args,
        labels: &labels,
        fresh: step.fresh,
        name,
        credentials,
    };
    context
        .engine
        .build(build, &output, &progress)
        .await
        .map_err(StepError::from)?;
    tag_engine(context, name, further).await
}

/// Returns the registries that the build may pull from: those in `FROM` and `COPY --from` of the
/// Dockerfile, and in its arguments. Only their credential helpers are asked.
fn registries(step: &ImageStep) -> BTreeSet<Registry> {
    let text = std::fs::read(&step.dockerfile).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let words = text.lines().flat_map(|line| {
        let mut words = line.split_whitespace();
        let instruction = words.next().unwrap_or_default().to_ascii_uppercase();
        let is_base = matches!(instruction.as_str(), "FROM" | "COPY" | "ARG" | "RUN");
        words.filter(move |_| is_base)
    });
    words
        .flat_map(|word| word.split(['=', ',']))
        .chain(step.args.values().map(String::as_str))
        .filter_map(|word| word.parse::<ImageReference>().ok())
        .filter_map(|image| image.repository().registry().cloned())
        // What stands before `ARG`s are known, or is no image, is a host that nobody logged in to.
        .collect()
}

/// Returns a time, in seconds since 1970, in RFC 3339.
fn rfc3339(seconds: i64) -> String {
    let time = time::OffsetDateTime::from_unix_timestamp(seconds)
        .unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    time.format(&time::format_description::well_known::Rfc3339)
        .unwrap_or_default()
}
