//! The chain of units that a run's end waited for.

use super::Span;

/// A unit of the critical path, and why it did not begin earlier.
///
/// The path is found from its end: the unit that ended last began when the unit before it in the path had
/// ended, that one likewise, back to one that began with the work. So the units of the path fill the time
/// of the work without a gap, but for the moments between them: the run would have ended earlier had any of
/// them taken less time, up to where another chain is the longest.
///
/// The unit before is either one that was needed ([`Cause::Needs`]), or, where a unit was ready and all
/// jobs were in use, the one whose end freed the job that it got ([`Cause::Job`]). A path with a link of
/// the second kind can be made shorter by more `--jobs` too, where the machine has more to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// The unit, by its place in the timeline.
    pub unit: usize,
    /// Why it began when it did.
    pub cause: Cause,
}

/// Why a unit began when it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The work began.
    Start,
    /// It needs the unit before it.
    Needs,
    /// It waited for a job, which the unit before it had.
    Job,
}

/// Returns the critical path; empty where nothing was worked on.
pub fn critical(spans: &[Span], jobs: Option<usize>) -> Vec<Link> {
    let mut by_end: Vec<usize> = (0..spans.len()).collect();
    by_end.sort_by(|a, b| spans[*a].end.total_cmp(&spans[*b].end));
    let mut path = Vec::new();
    let mut next = by_end.last().copied();
    while let Some(unit) = next {
        let before = freed_job(spans, &by_end, unit, jobs)
            .map(|before| (before, Cause::Job))
            .or_else(|| Some((last_needed(spans, unit)?, Cause::Needs)));
        path.push(Link {
            unit,
            cause: before.map_or(Cause::Start, |(_, cause)| cause),
        });
        // Each begins before the next, so this ends; a record that somebody wrote by hand may not.
        next = before.map(|(before, _)| before);
        if path.len() > spans.len() {
            break;
        }
    }
    path.reverse();
    path
}

/// Returns the unit whose end freed the job for one that was ready before.
///
/// This is the last one that ended between its being ready and its beginning, and before whose end all
/// jobs were in use. Where a job was free meanwhile the unit did not wait for one.
fn freed_job(spans: &[Span], by_end: &[usize], unit: usize, jobs: Option<usize>) -> Option<usize> {
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

fn last_needed(spans: &[Span], unit: usize) -> Option<usize> {
    let needed = spans[unit].after.iter().copied();
    let needed = needed.filter(|needed| spans[*needed].end <= spans[unit].start);
    needed.max_by(|a, b| spans[*a].end.total_cmp(&spans[*b].end))
}

/// Returns the time of the longest chain of units that need each other.
pub fn longest_chain(spans: &[Span]) -> f64 {
    // What is needed ended before, so it comes first in the order of ends.
    let mut by_end: Vec<usize> = (0..spans.len()).collect();
    by_end.sort_by(|a, b| spans[*a].end.total_cmp(&spans[*b].end));
    let mut chains = vec![0.0_f64; spans.len()];
    for unit in by_end {
        let needed = spans[unit].after.iter().map(|needed| chains[*needed]);
        chains[unit] = spans[unit].seconds() + needed.fold(0.0, f64::max);
    }
    chains.into_iter().fold(0.0, f64::max)
}
