//! Runs that are killed at any moment, and simply run again.

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

pub const CASES: &[Case] = cases![a_killed_build_is_simply_run_again];

/// How many kills there are in all; `XP_KILL_COUNT` is another number.
const KILLS: u64 = 12;

/// How many times in a row a run is killed at most, before it is left alone.
const IN_A_ROW: u64 = 3;

/// After how many rounds that went wrong a long run ends.
const MOST_FAILURES: usize = 5;

/// One kill: which signal, when, and whether what xp started gets it as well, as by Ctrl-C of a terminal.
#[derive(Clone, Copy)]
pub(super) struct Kill {
    signal: Signal,
    pub after: Duration,
    whole_group: bool,
}

impl Kill {
    /// Chooses one within the time that a run takes.
    pub fn any(random: &mut Random, within: Duration) -> Self {
        Self {
            signal: random.one_of(&[Signal::KILL, Signal::KILL, Signal::INT, Signal::TERM]),
            after: random.within(within),
            whole_group: random.below(2) == 0,
        }
    }

    /// Sends the signal; a run that has ended already is left as it is.
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

/// The number of a variable of the caller's.
pub(super) fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
    )
}

fn a_killed_build_is_simply_run_again(t: &Context) {
    let seed = number("XP_KILL_SEED").unwrap_or_else(Random::any_seed);
    let count = number("XP_KILL_COUNT").unwrap_or(KILLS);
    eprintln!("kill: {count} kills, XP_KILL_SEED={seed}");
    let mut random = Random::new(seed);
    let mut siege = Siege::new(t);
    siege.run_undisturbed();
    // What it takes once base images are there.
    let duration = siege.run_undisturbed();
    let mut killed = 0;
    let mut failures = Vec::new();
    while killed < count && failures.len() < MOST_FAILURES {
        let in_a_row = (1 + random.below(IN_A_ROW)).min(count - killed);
        let kills: Vec<Kill> = (0..in_a_row)
            .map(|_| Kill::any(&mut random, duration))
            .collect();
        let list: String = kills.iter().map(|kill| format!("{kill}; ")).collect();
        let story = format!("XP_KILL_SEED={seed}, after {killed} kills, of {duration:.1?}: {list}");
        killed += in_a_row;
        // A long run goes on, to tell as much as it can.
        let round = AssertUnwindSafe(|| kill_and_rerun(&mut siege, &kills, &story));
        if let Err(panic) = panic::catch_unwind(round) {
            let text = panic.downcast_ref::<String>().cloned();
            failures.push(text.unwrap_or(story));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// Kills some runs, one after the other, and demands that one more sets all right.
fn kill_and_rerun(siege: &mut Siege<'_>, kills: &[Kill], story: &str) {
    siege.begin_anew();
    // What one left that could not end in order is the business of the one that comes to its end.
    let mut in_order = true;
    for kill in kills {
        let output = annotated(carry_out(siege, *kill), story);
        let code = output.status.code();
        // What ended before it was killed, or before it could say how it ends.
        assert!(matches!(code, Some(0 | 130) | None), "{output}");
        in_order &= code.is_some();
        if in_order {
            siege.demand_stopped(&output);
        }
    }
    let again = annotated(siege.xp(["build"]).run(), story);
    assert!(again.status.success(), "{again}");
    siege.demand_outcome(&again);
}

/// Runs a build and kills it.
fn carry_out(siege: &Siege<'_>, kill: Kill) -> Output {
    let running = siege.xp(["build"]).spawn();
    thread::sleep(kill.after);
    kill.carry_out(&running);
    running.wait()
}

/// Puts before what a run printed what was done to those before it.
fn annotated(mut output: Output, story: &str) -> Output {
    output.command = format!("{story}\n{}", output.command);
    output
}
