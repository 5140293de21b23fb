//! Splits the services of a build into shards.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::request::PartRequest;
use super::session::Session;
use crate::base::error::Failure;
use crate::model::manifest::ServiceName;
use crate::model::plan::Part;
use crate::model::shard::{Shard, ShardTimes, split};

/// Returns the part of the selected services, and of those that they need, that this run builds; `None` for all.
///
/// # Errors
///
/// A file with durations cannot be read.
pub fn part(
    session: &Session,
    request: &PartRequest,
    selected: &BTreeSet<ServiceName>,
) -> Result<Option<Part>, Failure> {
    let wait_limit = request.wait_limit;
    if request.only {
        return Ok(Some(Part {
            services: selected.clone(),
            shards: BTreeMap::new(),
            wait_limit,
        }));
    }
    let Some(shard) = request.shard else {
        return Ok(None);
    };
    let shards = shards(session, &times(session, request)?, selected, shard.count());
    let own = shards.iter().filter(|(_, of)| **of == shard);
    Ok(Some(Part {
        services: own.map(|(name, _)| name.clone()).collect(),
        shards,
        wait_limit,
    }))
}

/// Returns the shard of each selected or needed service.
pub fn shards(
    session: &Session,
    times: &ShardTimes,
    selected: &BTreeSet<ServiceName>,
    count: u16,
) -> BTreeMap<ServiceName, Shard> {
    let concerned = session.manifest.closure(selected);
    let services = session.manifest.services.iter();
    let needs = services
        .filter(|(name, _)| concerned.contains(*name))
        .map(|(name, service)| (name, &service.needs));
    split(&needs.collect(), times, count)
}

/// Reads the durations of past runs.
///
/// # Errors
///
/// A file cannot be read, or has no durations.
pub fn times(session: &Session, request: &PartRequest) -> Result<ShardTimes, Failure> {
    let mut times = ShardTimes::default();
    for path in &request.times {
        let file = session.settings.directory.join(path);
        let shown = file.display();
        let text = fs::read_to_string(&file).map_err(|error| {
            Failure::usage(format!(
                "cannot read the durations in {shown}: {error}\n\
                 hint: all shards must be given the same files; without `--shard-times`, all services count the same"
            ))
        })?;
        times.add(&text).map_err(|why| {
            Failure::usage(format!(
                "{shown} has no durations of services: {why}\n\
                 hint: use a file that `xp build --metadata-file` has written, or an object such as {{\"zbackend\": 90}}"
            ))
        })?;
    }
    Ok(times)
}
