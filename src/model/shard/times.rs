//! The durations that balance shards.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::model::manifest::ServiceName;

/// The weight of each service if no duration is known, in milliseconds.
const UNKNOWN: u64 = 1000;

/// The durations of past runs, by service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShardTimes(BTreeMap<String, u64>);

impl ShardTimes {
    /// Adds the durations of a file: an object with a number of seconds for each service, or with an object that has
    /// `seconds`, as `xp build --metadata-file` writes it. Services without `seconds` were not built and are skipped.
    ///
    /// # Errors
    ///
    /// The text is not such JSON.
    pub fn add(&mut self, text: &str) -> Result<(), String> {
        let services: BTreeMap<String, Value> =
            serde_json::from_str(text).map_err(|error| error.to_string())?;
        for (name, value) in services {
            let seconds = match &value {
                Value::Object(service) => match service.get("seconds") {
                    None | Some(Value::Null) => continue,
                    Some(seconds) => seconds.as_f64(),
                },
                value => value.as_f64(),
            };
            let seconds = seconds.filter(|it| it.is_finite() && *it >= 0.0);
            let Some(seconds) = seconds else {
                return Err(format!("`{name}` must be a number of seconds"));
            };
            // No service is free, and the sum of all must fit.
            let milliseconds = (seconds * 1000.0).clamp(1.0, 1e12);
            self.0.insert(name, milliseconds as u64);
        }
        Ok(())
    }

    /// Returns the duration of a service in seconds, rounded, if it is known.
    pub fn seconds(&self, service: &ServiceName) -> Option<u64> {
        let milliseconds = self.0.get(service.as_str())?;
        Some((milliseconds + 500) / 1000)
    }

    /// Returns the weight of each service: its duration, or the median of the known ones.
    pub(super) fn weights<'a>(
        &self,
        services: impl Iterator<Item = &'a ServiceName>,
    ) -> BTreeMap<&'a ServiceName, u64> {
        let services: Vec<&ServiceName> = services.collect();
        let known = services.iter().filter_map(|name| self.0.get(name.as_str()));
        let mut known: Vec<u64> = known.copied().collect();
        known.sort_unstable();
        let median = known.get(known.len() / 2).copied().unwrap_or(UNKNOWN);
        let weights = services.into_iter().map(|name| {
            let weight = self.0.get(name.as_str()).copied();
            (name, weight.unwrap_or(median))
        });
        weights.collect()
    }
}
