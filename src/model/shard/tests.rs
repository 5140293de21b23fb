//! Properties of the split, on platforms that a fixed generator produces.

use std::collections::{BTreeMap, BTreeSet};

use super::{Shard, ShardTimes, split};
use crate::model::manifest::ServiceName;

/// A deterministic generator.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005) ^ 0x1405_7b7e_f767_814f;
        (self.0 >> 33) % limit
    }
}

/// How the services of a platform are connected.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Single,
    /// Groups of about five.
    Groups,
    /// All need one base, and half of them another service.
    OneComponent,
}

const SHAPES: [Shape; 3] = [Shape::Single, Shape::Groups, Shape::OneComponent];

struct Platform {
    needs: BTreeMap<ServiceName, BTreeSet<ServiceName>>,
    seconds: BTreeMap<String, u64>,
}

impl Platform {
    /// Most services take about ten seconds, and a few several minutes.
    fn new(shape: Shape, services: u64, seed: u64) -> Self {
        let mut random = Random(seed);
        let mut it = Self {
            needs: BTreeMap::new(),
            seconds: BTreeMap::new(),
        };
        for number in 0..services {
            let needed = match shape {
                Shape::Single => None,
                Shape::Groups => (number % 5 > 0).then(|| number - 1),
                Shape::OneComponent if number == 0 => None,
                Shape::OneComponent if number % 2 == 0 => Some(random.below(number)),
                Shape::OneComponent => Some(0),
            };
            let seconds = match random.below(20) {
                0 => 120 + random.below(120),
                1..4 => 30 + random.below(60),
                _ => 1 + random.below(20),
            };
            it.add(number, needed, seconds);
        }
        it
    }

    fn add(&mut self, number: u64, needed: Option<u64>, seconds: u64) {
        let needs = needed.map(name).into_iter().collect();
        self.needs.insert(name(number), needs);
        self.seconds.insert(name(number).to_string(), seconds);
    }

    fn split(&self, count: u16) -> BTreeMap<ServiceName, Shard> {
        let mut times = ShardTimes::default();
        times
            .add(&serde_json::json!(self.seconds).to_string())
            .unwrap();
        split(&self.needs.iter().collect(), &times, count)
    }

    /// Returns the load of the largest shard over the mean.
    fn imbalance(&self, shards: &BTreeMap<ServiceName, Shard>, count: u16) -> f64 {
        let mut loads: BTreeMap<Shard, u64> = BTreeMap::new();
        for (name, shard) in shards {
            *loads.entry(*shard).or_default() += self.seconds[name.as_str()];
        }
        let total: u64 = loads.values().sum();
        *loads.values().max().unwrap() as f64 * f64::from(count) / total as f64
    }
}

fn name(number: u64) -> ServiceName {
    // The names are not in the order of the dependencies.
    format!("s{}-{number}", number * 7919 % 1000)
        .parse()
        .unwrap()
}

#[test]
fn each_service_is_on_exactly_one_shard() {
    for shape in SHAPES {
        for (services, count) in [(1, 1), (1, 8), (7, 3), (50, 8), (200, 8), (200, 300)] {
            let platform = Platform::new(shape, services, 1);
            let shards = platform.split(count);
            assert!(shards.keys().eq(platform.needs.keys()), "{shape:?} {count}");
            assert!(
                shards
                    .values()
                    .all(|it| it.count() == count && it.number <= count)
            );
            assert_eq!(shards, platform.split(count), "{shape:?} {count}");
        }
    }
    assert!(split(&BTreeMap::new(), &ShardTimes::default(), 4).is_empty());
}

#[test]
fn the_largest_shard_has_little_more_than_the_mean() {
    for shape in SHAPES {
        for seed in 0..15 {
            let platform = Platform::new(shape, 200, seed);
            for count in [2, 4, 8] {
                let imbalance = platform.imbalance(&platform.split(count), count);
                assert!(imbalance <= 1.3, "{shape:?} {seed} {count}: {imbalance}");
            }
        }
    }
}

#[test]
fn services_that_need_each_other_stay_together() {
    let platform = Platform::new(Shape::Groups, 200, 1);
    let shards = platform.split(4);
    for (name, needs) in &platform.needs {
        for need in needs {
            assert_eq!(shards[name], shards[need], "{name} {need}");
        }
    }
}

/// A split by position would move about half of them.
#[test]
fn a_new_service_moves_few_others() {
    for shape in SHAPES {
        let (mut moved, mut all) = (0, 0);
        for seed in 0..15 {
            let mut platform = Platform::new(shape, 200, seed);
            for count in [2, 4, 8] {
                let before = platform.split(count);
                platform.add(1000 + u64::from(count), Some(7), 15);
                let after = platform.split(count);
                let differs = |(name, shard): &(&ServiceName, &Shard)| after[*name] != **shard;
                moved += before.iter().filter(differs).count();
                all += before.len();
            }
        }
        let share = moved as f64 / all as f64;
        assert!(share <= 0.05, "{shape:?}: {share}");
    }
}

#[test]
fn times_are_numbers_or_a_metadata_file() {
    let mut times = ShardTimes::default();
    let text = r#"{"a": 2, "b": {"status": "built", "seconds": 7.6}, "c": {"status": "skipped"}}"#;
    times.add(text).unwrap();
    times.add(r#"{"a": 3}"#).unwrap();
    let seconds = |name: &str| times.seconds(&name.parse().unwrap());
    assert_eq!(
        [seconds("a"), seconds("b"), seconds("c")],
        [Some(3), Some(8), None]
    );
    let names: Vec<ServiceName> = ["a", "b", "d"].map(|name| name.parse().unwrap()).into();
    let weights: Vec<u64> = times.weights(names.iter()).into_values().collect();
    assert_eq!(weights, [3000, 7600, 7600]);
    for invalid in [
        "[]",
        "{",
        r#"{"a": "x"}"#,
        r#"{"a": -1}"#,
        r#"{"a": {"seconds": []}}"#,
    ] {
        assert!(times.clone().add(invalid).is_err(), "{invalid}");
    }
}

#[test]
fn shards_are_written_as_fractions() {
    assert_eq!("2/8".parse::<Shard>().unwrap().to_string(), "2/8");
    for invalid in [
        "", "2", "0/8", "9/8", "1/0", "-1/8", "1/2/3", "1/1001", "a/b",
    ] {
        assert!(invalid.parse::<Shard>().is_err(), "{invalid}");
    }
}
