//! The critical path of a run.

use super::stretch::Stretch;

/// A unit on the critical path, and why its first step on the path did not start earlier.
///
/// The path is traced from its end: the steps that ended last started when their predecessor had ended, and so on, back
/// to a unit that started with the work. So the steps on the path cover the work without gaps, apart from scheduling
/// delays. If any of them had been faster, the run would have ended earlier, until another chain is the longest.
///
/// The predecessor is either something that is needed ([`StartReason::Needs`]) or, if all jobs were busy, the unit whose
/// steps freed a job ([`StartReason::Job`]). A path with a link of the second kind may also get shorter with more
/// `--jobs`, if the machine has spare capacity.
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
    /// It waited for the job of the previous unit.
    Job,
}

/// Returns the critical path; empty if no unit ran.
pub fn critical(stretches: &[Stretch], jobs: Option<usize>) -> Vec<PathLink> {
    let mut by_end: Vec<usize> = (0..stretches.len()).collect();
    by_end.sort_by(|a, b| stretches[*a].end.total_cmp(&stretches[*b].end));
    let mut path: Vec<PathLink> = Vec::new();
    let mut next = by_end.last().copied();
    for _ in 0..=stretches.len() {
        let Some(stretch) = next else { break };
        let before = freed_job(stretches, &by_end, stretch, jobs)
            .map(|before| (before, StartReason::Job))
            .or_else(|| Some((last_needed(stretches, stretch)?, StartReason::Needs)));
        let unit = stretches[stretch].unit;
        let cause = before.map_or(StartReason::Start, |(_, cause)| cause);
        match path.last_mut() {
            // Earlier steps of the same unit.
            Some(last) if last.unit == unit => last.cause = cause,
            _ => path.push(PathLink { unit, cause }),
        }
        // Each stretch starts before the next, except in an edited record.
        next = before.map(|(before, _)| before);
    }
    path.reverse();
    path
}

/// Returns the stretch whose end freed the job for one that was already ready.
///
/// This is the last one that ended between its being ready and its start while all jobs were busy. If a job was
/// free in the meantime, it did not wait for one.
fn freed_job(
    stretches: &[Stretch],
    by_end: &[usize],
    stretch: usize,
    jobs: Option<usize>,
) -> Option<usize> {
    let (jobs, waiting) = (jobs?, &stretches[stretch]);
    if !waiting.takes_job {
        return None;
    }
    let until = by_end.partition_point(|other| stretches[*other].end <= waiting.start);
    let candidates = by_end[..until].iter().rev().copied();
    let mut candidates = candidates
        .take_while(|other| stretches[*other].end > waiting.ready)
        .filter(|other| *other != stretch && stretches[*other].takes_job);
    candidates.find(|other| {
        let end = stretches[*other].end;
        let in_use = stretches
            .iter()
            .filter(|it| it.takes_job && it.start < end && it.end >= end);
        in_use.count() >= jobs
    })
}

fn last_needed(stretches: &[Stretch], stretch: usize) -> Option<usize> {
    let needed = stretches[stretch].after.iter().copied();
    needed.max_by(|a, b| stretches[*a].end.total_cmp(&stretches[*b].end))
}

/// Returns the duration of the longest dependency chain.
pub fn longest_chain(stretches: &[Stretch]) -> f64 {
    // What a stretch waited for ended earlier, so it comes first when sorted by end.
    let mut by_end: Vec<usize> = (0..stretches.len()).collect();
    by_end.sort_by(|a, b| stretches[*a].end.total_cmp(&stretches[*b].end));
    let mut chains = vec![0.0_f64; stretches.len()];
    for stretch in by_end {
        let needed = stretches[stretch]
            .after
            .iter()
            .map(|needed| chains[*needed]);
        chains[stretch] = stretches[stretch].seconds() + needed.fold(0.0, f64::max);
    }
    chains.into_iter().fold(0.0, f64::max)
}
