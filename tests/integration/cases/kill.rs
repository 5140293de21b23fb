//! Runs that are killed at random moments, and simply run again.

use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::case::Case;
use crate::context::Context;
use crate::output::Output;
use crate::random::Random;
use crate::siege::Siege;
use crate::xp::RunningXp;

pub const CASES: &[Case] = cases![a_killed_build_can_be_rerun];

/// The total number of kills; `XP_KILL_COUNT` overrides it.
const KILLS: u64 = 12;

/// The maximum number of consecutive kills before a run may finish.
const MAX_CONSECUTIVE: u64 = 3;

/// The number of failed rounds after which a long run ends.
const MAX_FAILURES: usize = 5;

/// A kill: the signal, the time, and whether child processes get the signal too, as with Ctrl-C on a
/// terminal.
#[derive(Clone, Copy)]
pub(super) struct Kill {
    signal: Signal,
    pub after: Duration,
    whole_group: bool,
}

impl Kill {
    /// Selects a random one within the duration of a run.
    pub fn any(random: &mut Random, within: Duration) -> Self {
        Self {
            signal: random.pick(&[Signal::KILL, Signal::KILL, Signal::INT, Signal::TERM]),
            after: random.within(within),
            whole_group: random.below(2) == 0,
        }
    }

    /// Sends the signal, unless the run has already ended.
    pub fn carry_out(self, running: &RunningXp) {
        match self.whole_group {
            true => running.signal_group(self.signal),
            false => running.signal_if_running(self.signal),
        }
    }
}

impl fmt::Display for Kill {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whom = if self.whole_group { "all" } else { "xp" };
        write!(formatter, "{:?} to {whom} at {:?}", self.signal, self.after)
    }
}

/// Returns the number in an environment variable.
pub(super) fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
    )
}

fn a_killed_build_can_be_rerun(t: &Context) {
    let seed = number("XP_KILL_SEED").unwrap_or_else(Random::any_seed);
    let count = number("XP_KILL_COUNT").unwrap_or(KILLS);
    eprintln!("kill: {count} kills, XP_KILL_SEED={seed}");
    let mut random = Random::new(seed);
    let mut siege = Siege::new(t);
    siege.run_undisturbed();
    // The duration when base images exist.
    let duration = siege.run_undisturbed();
    let mut killed = 0;
    let mut failures = Vec::new();
    while killed < count && failures.len() < MAX_FAILURES {
        let in_a_row = (1 + random.below(MAX_CONSECUTIVE)).min(count - killed);
        let kills: Vec<Kill> = (0..in_a_row)
            .map(|_| Kill::any(&mut random, duration))
            .collect();
        let list: String = kills.iter().map(|kill| format!("{kill}; ")).collect();
        let story = format!("XP_KILL_SEED={seed}, after {killed} kills, of {duration:.1?}: {list}");
        killed += in_a_row;
        // A long run continues, to report as much as possible.
        let round = AssertUnwindSafe(|| kill_and_rerun(&mut siege, &kills, &story));
        if let Err(panic) = panic::catch_unwind(round) {
            let text = panic.downcast_ref::<String>().cloned();
            failures.push(text.unwrap_or(story));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// Kills several runs in a row, and asserts that one more repairs everything.
fn kill_and_rerun(siege: &mut Siege<'_>, kills: &[Kill], story: &str) {
    siege.restart();
    // Leftovers of killed runs are cleaned up by the one that finishes.
    let mut in_order = true;
    for kill in kills {
        let output = annotated(carry_out(siege, *kill), story);
        let code = output.status.code();
        // It ended before it was killed, or before it could report its result.
        assert!(matches!(code, Some(0 | 130) | None), "{output}");
        in_order &= code.is_some();
        if in_order {
            siege.assert_stopped(&output);
        }
    }
    let again = annotated(siege.xp(["build"]).run(), story);
    assert!(again.status.success(), "{again}");
    siege.assert_outcome(&again);
}

/// Runs a build and kills it.
fn carry_out(siege: &Siege<'_>, kill: Kill) -> Output {
    let running = siege.xp(["build"]).spawn();
    thread::sleep(kill.after);
    kill.carry_out(&running);
    running.wait()
}

/// Prefixes a run's output with the kills before it.
fn annotated(mut output: Output, story: &str) -> Output {
    output.command = format!("{story}\n{}", output.command);
    output
}
