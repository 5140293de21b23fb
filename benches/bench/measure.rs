//! Runs the contestants interleaved, and records times and requests to the servers.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::size::Size;
use crate::world::World;

/// Sampling interval of memory usage.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(4);

/// Cost of one run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    pub time: Duration,
    /// Peak memory of the program in KiB, without its children.
    pub peak: u64,
    pub connections: u64,
    pub requests: u64,
    pub bytes: u64,
}

/// A program to compare.
pub struct Contestant<'a> {
    pub name: String,
    /// Unmeasured preparation before each turn.
    pub prepare: Box<dyn FnMut() + 'a>,
    pub command: Box<dyn Fn() -> Command + 'a>,
}

impl<'a> Contestant<'a> {
    /// Creates a contestant without preparation.
    pub fn new(name: impl Into<String>, command: impl Fn() -> Command + 'a) -> Self {
        Self {
            name: name.into(),
            prepare: Box::new(|| {}),
            command: Box::new(command),
        }
    }

    /// Sets the preparation before each turn.
    pub fn prepared(mut self, prepare: impl FnMut() + 'a) -> Self {
        self.prepare = Box::new(prepare);
        self
    }
}

/// Costs of a contestant's runs.
pub struct Measured {
    pub name: String,
    pub costs: Vec<Cost>,
    /// Number of programs started in one run, including itself; `None` if they cannot be counted.
    pub programs: Option<usize>,
}

impl Measured {
    /// Returns the median of the times.
    pub fn time(&self) -> Duration {
        median(self.costs.iter().map(|cost| cost.time))
    }

    /// Returns the peak memory of all runs in KiB; `None` if they were too short to sample.
    pub fn peak(&self) -> Option<u64> {
        let most = self.costs.iter().map(|cost| cost.peak).max();
        most.filter(|_| self.time() > SAMPLE_INTERVAL)
    }

    /// Returns the median of a counter.
    pub fn count(&self, of: impl Fn(&Cost) -> u64) -> u64 {
        median(self.costs.iter().map(of))
    }
}

/// The ratios of two contestants' times, by turn.
#[derive(Debug, Clone, Copy)]
pub struct Ratio {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Ratio {
    /// Divides the times of one by those of the other.
    pub fn of(one: &Measured, other: &Measured) -> Self {
        let turns = one.costs.iter().zip(&other.costs);
        let mut all: Vec<f64> = turns
            .map(|(one, other)| one.time.as_secs_f64() / other.time.as_secs_f64())
            .collect();
        all.sort_by(f64::total_cmp);
        Self {
            median: all[all.len() / 2],
            least: all[0],
            most: all[all.len() - 1],
        }
    }
}

/// Runs the contestants for a number of rounds. The order rotates, so that neither other load on the
/// machine nor a warm cache favors one of them.
pub fn in_turns(
    world: &World,
    rounds: usize,
    mut contestants: Vec<Contestant<'_>>,
) -> Vec<Measured> {
    let mut costs = vec![Vec::new(); contestants.len()];
    for round in 0..rounds {
        for turn in 0..contestants.len() {
            let index = (round + turn) % contestants.len();
            let contestant = &mut contestants[index];
            (contestant.prepare)();
            let cost = run(world, (contestant.command)());
            world.say(&format!(
                "round {} of {rounds}: {} took {:.3} s",
                round + 1,
                contestant.name,
                cost.time.as_secs_f64()
            ));
            costs[index].push(cost);
        }
    }
    let mut measured = Vec::new();
    for (index, (mut contestant, costs)) in contestants.into_iter().zip(costs).enumerate() {
        // One is enough in a test.
        let is_counted = world.counts_programs() && (world.size() != Size::Tiny || index == 0);
        let programs = match is_counted {
            true => {
                (contestant.prepare)();
                count_programs(world, &(contestant.command)())
            }
            false => None,
        };
        measured.push(Measured {
            name: contestant.name,
            costs,
            programs,
        });
    }
    measured
}

/// Runs a program once.
pub fn run(world: &World, mut command: Command) -> Cost {
    let before = world.counters();
    let log = world.folder().join("output");
    let output = File::create(&log).expect("a log");
    command.stdin(Stdio::null());
    command
        .stdout(output.try_clone().expect("a file"))
        .stderr(output);
    let begun = Instant::now();
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (ended, peak) = wait(&mut child, begun);
    if !ended.0 {
        let said = fs::read_to_string(&log).unwrap_or_default();
        panic!("{command:?} failed:\n{said}");
    }
    // A log line may be written shortly after the response.
    thread::sleep(Duration::from_millis(20));
    let after = world.counters();
    Cost {
        time: ended.1,
        peak,
        connections: after.connections - before.connections,
        requests: after.requests - before.requests,
        bytes: after.bytes - before.bytes,
    }
}

/// Waits for a program while sampling its memory.
fn wait(child: &mut Child, begun: Instant) -> ((bool, Duration), u64) {
    let status = format!("/proc/{}/status", child.id());
    let is_running = AtomicBool::new(true);
    thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut peak = 0;
            while is_running.load(Ordering::Relaxed) {
                let text = fs::read_to_string(&status).unwrap_or_default();
                let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
                let size = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
                peak = peak.max(size.unwrap_or(0));
                thread::sleep(SAMPLE_INTERVAL);
            }
            peak
        });
        let success = child.wait().expect("the child can be waited for").success();
        let time = begun.elapsed();
        is_running.store(false, Ordering::Relaxed);
        ((success, time), looking.join().expect("it only reads"))
    })
}

/// Runs a program again under `strace`, and counts the programs started by it and its children.
fn count_programs(world: &World, command: &Command) -> Option<usize> {
    let list = world.folder().join("programs");
    let mut traced = Command::new("strace");
    traced.args([
        "-f",
        // Trace only these calls, to avoid slowing down others.
        "--seccomp-bpf",
        "--quiet=all",
        "--trace=execve",
        "--status=successful",
        "--signal=none",
    ]);
    traced.arg("--output").arg(&list).arg(command.get_program());
    traced.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => traced.env(name, value),
            None => traced.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        traced.current_dir(folder);
    }
    traced
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if !traced.status().is_ok_and(|status| status.success()) {
        return None;
    }
    let text = fs::read_to_string(&list).ok()?;
    let count = text.lines().filter(|line| line.contains(" = 0")).count();
    (count > 0).then_some(count)
}

/// Returns the median.
pub fn median<T: Ord>(values: impl Iterator<Item = T>) -> T {
    let mut values: Vec<T> = values.collect();
    values.sort();
    let middle = values.len() / 2;
    values
        .into_iter()
        .nth(middle)
        .expect("something was measured")
}
