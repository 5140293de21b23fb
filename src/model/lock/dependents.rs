//! Finds services whose locked images were built with other images than a new lock has.

use std::collections::BTreeMap;

use super::{Lock, LockedService};
use crate::model::manifest::{Manifest, ServiceName};

impl Lock {
    /// Returns the services that have the same entry in a new lock, although one that they need, directly or
    /// indirectly, has another commit or recipe there; each with what it needs.
    pub fn outdated_dependents(
        &self,
        new: &Self,
        manifest: &Manifest,
    ) -> BTreeMap<ServiceName, ServiceName> {
        let is_replaced = |name: &ServiceName| {
            let inputs = |it: &LockedService| (it.commit, it.recipe);
            match (self.services.get(name), new.services.get(name)) {
                (Some(old), Some(new)) => inputs(old) != inputs(new),
                _ => false,
            }
        };
        let mut outdated: BTreeMap<ServiceName, ServiceName> = BTreeMap::new();
        loop {
            let found = manifest.services.iter().find_map(|(name, service)| {
                let is_kept = new.services.contains_key(name)
                    && new.services.get(name) == self.services.get(name);
                if !is_kept || outdated.contains_key(name) {
                    return None;
                }
                let mut needs = service.needs.iter();
                let changed =
                    needs.find(|need| is_replaced(need) || outdated.contains_key(*need))?;
                Some((name.clone(), changed.clone()))
            });
            let Some((name, need)) = found else {
                return outdated;
            };
            outdated.insert(name, need);
        }
    }
}
