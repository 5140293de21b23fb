//! The critical path of a run.

use super::UnitTimes;

/// A unit on the critical path, and why it did not start earlier.
///
/// The path is traced from its end: the unit that ended last started when its predecessor had ended, and so on, back to
/// a unit that started with the work. The units on the path therefore cover the work without gaps, apart from
/// scheduling delays. If any of them had been faster, the run would have ended earlier, until another chain is the
/// longest.
///
/// The predecessor is either a dependency ([`StartReason::Needs`]) or, if the unit was ready but all jobs were busy,
/// the unit that freed a job slot when it ended ([`StartReason::Job`]). A path with a link of the second kind may also
/// get shorter with more `--jobs`, if the machine has spare capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathLink {
    /// The index of the unit's span.
    pub unit: usize,
    /// Why it started when it did.
    pub cause: StartReason,
}

/// Why a unit started when it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartReason {
    /// The work started.
    Start,
    /// It needs the previous unit.
    Needs,
    /// It waited for the job slot of the previous unit.
    Job,
}

/// Returns the critical path; empty if no unit ran.
pub fn critical(spans: &[UnitTimes], jobs: Option<usize>) -> Vec<PathLink> {
    let mut by_end: Vec<usize> = (0..spans.len()).collect();
    by_end.sort_by(|a, b| spans[*a].end.total_cmp(&spans[*b].end));
    let mut path = Vec::new();
    let mut next = by_end.last().copied();
    while let Some(unit) = next {
        let before = freed_job(spans, &by_end, unit, jobs)
            .map(|before| (before, StartReason::Job))
            .or_else(|| Some((last_needed(spans, unit)?, StartReason::Needs)));
        path.push(PathLink {
            unit,
            cause: before.map_or(StartReason::Start, |(_, cause)| cause),
        });
        // Each unit starts before the next, so this terminates, except with an edited record.
        next = before.map(|(before, _)| before);
        if path.len() > spans.len() {
            break;
        }
    }
    path.reverse();
    path
}

/// Returns the unit that freed the job slot for a unit that was already ready.
///
/// This is the last unit that ended between its being ready and its start while all jobs were busy. If a slot was free
/// in the meantime, the unit did not wait for one.
fn freed_job(
    spans: &[UnitTimes],
    by_end: &[usize],
    unit: usize,
    jobs: Option<usize>,
) -> Option<usize> {
    let (jobs, span) = (jobs?, &spans[unit]);
    let until = by_end.partition_point(|other| spans[*other].end <= span.start);
    let candidates = by_end[..until].iter().rev().copied();
    let mut candidates = candidates
        .take_while(|other| spans[*other].end > span.ready)
        .filter(|other| *other != unit);
    candidates.find(|other| {
        let end = spans[*other].end;
        let in_use = spans.iter().filter(|it| it.start < end && it.end >= end);
        in_use.count() >= jobs
    })
}

fn last_needed(spans: &[UnitTimes], unit: usize) -> Option<usize> {
    let needed = spans[unit].after.iter().copied();
    let needed = needed.filter(|needed| spans[*needed].end <= spans[unit].start);
    needed.max_by(|a, b| spans[*a].end.total_cmp(&spans[*b].end))
}

/// Returns the duration of the longest dependency chain.
pub fn longest_chain(spans: &[UnitTimes]) -> f64 {
    // Dependencies ended earlier, so they come first when sorted by end.
    let mut by_end: Vec<usize> = (0..spans.len()).collect();
    by_end.sort_by(|a, b| spans[*a].end.total_cmp(&spans[*b].end));
    let mut chains = vec![0.0_f64; spans.len()];
    for unit in by_end {
        let needed = spans[unit].after.iter().map(|needed| chains[*needed]);
        chains[unit] = spans[unit].seconds() + needed.fold(0.0, f64::max);
    }
    chains.into_iter().fold(0.0, f64::max)
}
