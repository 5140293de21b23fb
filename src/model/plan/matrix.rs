//! A plan as jobs of a CI system.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Plan;
use crate::model::event::Unit;
use crate::model::manifest::ServiceName;
use crate::model::shard::{Shard, ShardTimes};

/// The jobs that share the work of a plan; those without work are omitted.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Matrix {
    include: Vec<MatrixJob>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct MatrixJob {
    #[serde(skip_serializing_if = "Option::is_none")]
    shard: Option<String>,
    /// The names, separated by commas.
    services: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<u64>,
}

impl Matrix {
    /// Returns a job for each shard, or for each service without shards. Needed services come first: a CI system that
    /// runs only some of the jobs at once should start with them.
    pub fn of(
        plan: &Plan,
        shards: Option<&BTreeMap<ServiceName, Shard>>,
        times: &ShardTimes,
    ) -> Self {
        let work = plan.work().filter(|unit| unit.makes_something());
        let work = work.filter_map(|unit| match &unit.unit {
            Unit::Service(name) => Some(name),
            _ => None,
        });
        let Some(shards) = shards else {
            let include = work.map(|name| MatrixJob::of(None, &[name], times));
            return Self {
                include: include.collect(),
            };
        };
        let mut by_shard: Vec<(Shard, Vec<&ServiceName>)> = Vec::new();
        for name in work {
            let Some(shard) = shards.get(name) else {
                continue;
            };
            match by_shard.iter_mut().find(|(other, _)| other == shard) {
                Some((_, names)) => names.push(name),
                None => by_shard.push((*shard, vec![name])),
            }
        }
        let include = by_shard.iter();
        let include = include.map(|(shard, names)| MatrixJob::of(Some(*shard), names, times));
        Self {
            include: include.collect(),
        }
    }

    /// Returns the matrix of a job of GitHub Actions: JSON in one line, for `fromJSON`.
    pub fn github(&self) -> String {
        format!("{}\n", serde_json::json!(self))
    }

    /// Returns the jobs as a child pipeline of GitLab. It has at least one job, because GitLab rejects an empty one.
    pub fn gitlab(&self) -> String {
        let job = |name: &str, line: &str| {
            // A JSON string is a YAML string.
            let (name, line) = (serde_json::json!(name), serde_json::json!(line));
            format!("{name}:\n  stage: build\n  script:\n    - {line}\n")
        };
        if self.include.is_empty() {
            return job("xp", "echo 'Nothing to do'");
        }
        let jobs = self.include.iter().map(|it| {
            let name = format!("xp {}", it.shard.as_ref().unwrap_or(&it.services));
            let line = format!("xp build $XP_BUILD_OPTIONS --only {}", it.services);
            job(&name, &line)
        });
        jobs.collect()
    }
}

impl MatrixJob {
    /// The duration is omitted if none of the services has one.
    fn of(shard: Option<Shard>, services: &[&ServiceName], times: &ShardTimes) -> Self {
        let seconds = services.iter().filter_map(|name| times.seconds(name));
        let names: Vec<&str> = services.iter().map(|name| name.as_str()).collect();
        Self {
            shard: shard.map(|shard| shard.to_string()),
            services: names.join(","),
            seconds: seconds.reduce(|sum, seconds| sum + seconds),
        }
    }
}
