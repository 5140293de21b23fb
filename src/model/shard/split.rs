//! Assigns services to shards.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::pieces::{Needs, Piece, pieces};
use super::{Shard, ShardTimes};
use crate::model::manifest::ServiceName;

/// The load above which a shard gets nothing that another one has room for, in percent of the mean.
const BOUND: u64 = 120;

/// The load of the largest shard that is good enough, in percent of the mean. Otherwise, smaller groups of services are
/// tried.
const ACCEPTED: u64 = 130;

/// Assigns each service to a shard.
///
/// Services that are connected by `needs` stay together where they fit. Every group of services ranks the shards by a
/// hash of its first name and takes the first one with room. So a new service moves few others.
pub fn split(needs: &Needs<'_>, times: &ShardTimes, count: u16) -> BTreeMap<ServiceName, Shard> {
    let weights = times.weights(needs.keys().copied());
    let total: u64 = weights.values().sum();
    let mean = total / u64::from(count.max(1));
    let heaviest = weights.values().copied().max().unwrap_or(0);
    let accepted = (mean * ACCEPTED / 100).max(heaviest);
    let mut best: Option<(u64, BTreeMap<ServiceName, Shard>)> = None;
    for limit in [mean, mean / 2, mean / 4, 0] {
        let (largest, shards) = assign(pieces(needs, &weights, limit), total, count);
        if best
            .as_ref()
            .is_none_or(|(smallest, _)| largest < *smallest)
        {
            best = Some((largest, shards));
        }
        if largest <= accepted {
            break;
        }
    }
    best.map(|(_, shards)| shards).unwrap_or_default()
}

/// Returns the load of the largest shard, and the shard of each service.
fn assign(
    mut pieces: Vec<Piece<'_>>,
    total: u64,
    count: u16,
) -> (u64, BTreeMap<ServiceName, Shard>) {
    let bound = total * BOUND / 100 / u64::from(count.max(1));
    let mut loads: Vec<(Shard, u64)> = Shard::all(count).map(|shard| (shard, 0)).collect();
    let mut shards = BTreeMap::new();
    // The heavy ones first: later ones find room more easily.
    pieces.sort_by(|a, b| (Reverse(a.weight), &a.services).cmp(&(Reverse(b.weight), &b.services)));
    for piece in pieces {
        let Some(first) = piece.services.first() else {
            continue;
        };
        let hash = name_hash(first);
        let rank = |shard: Shard| Reverse(mixed(hash ^ mixed(u64::from(shard.number))));
        let has_room = |load: u64| load + piece.weight <= bound;
        let chosen = loads.iter_mut().min_by_key(|(shard, load)| {
            if has_room(*load) {
                (false, 0, rank(*shard))
            } else {
                (true, *load, rank(*shard))
            }
        });
        if let Some((shard, load)) = chosen {
            *load += piece.weight;
            let names = piece.services.into_iter().cloned();
            shards.extend(names.map(|name| (name, *shard)));
        }
    }
    let largest = loads.iter().map(|(_, load)| *load).max();
    (largest.unwrap_or(0), shards)
}

/// Returns a hash that is the same in every version of xp and on every machine.
fn name_hash(name: &ServiceName) -> u64 {
    let digest = Sha256::digest(name.as_str());
    let bytes = digest.iter().take(8);
    bytes.fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

/// The finalizer of SplitMix64.
fn mixed(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
