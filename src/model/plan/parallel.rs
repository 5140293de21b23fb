//! Planning of many services on all processor cores.

use std::collections::BTreeMap;

use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};

use super::draft::{PlanCandidate, PlanDraft};
use crate::model::manifest::ServiceName;

/// Threads speed up a plan of 10,000 services, but not one of 1,000.
const PARALLEL_THRESHOLD: usize = 5000;

/// Maps items in order.
pub(super) fn map<T: Sync, R: Send>(
    items: &[T],
    compute: impl Fn(&T) -> R + Sync + Send,
) -> Vec<R> {
    if items.len() < PARALLEL_THRESHOLD {
        items.iter().map(compute).collect()
    } else {
        items.par_iter().map(compute).collect()
    }
}

impl PlanDraft<'_> {
    /// Computes a value for each candidate, given the values of the services that it needs; `None` for those that have
    /// no value.
    pub(super) fn values_in_order<V: Send + Sync, E: Send>(
        &self,
        compute: impl Fn(&PlanCandidate<'_>, &BTreeMap<ServiceName, V>) -> Result<Option<V>, E> + Sync,
    ) -> Result<BTreeMap<ServiceName, V>, E> {
        let independent = map(&self.candidates, |candidate| {
            let needs_none = candidate.service.needs.is_empty();
            needs_none.then(|| compute(candidate, &BTreeMap::new()))
        });
        let mut values = BTreeMap::new();
        for (candidate, independent) in self.candidates.iter().zip(independent) {
            let value = independent.unwrap_or_else(|| compute(candidate, &values))?;
            values.extend(value.map(|value| (candidate.service.name.clone(), value)));
        }
        Ok(values)
    }
}
