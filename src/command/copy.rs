//! `xp copy`

use std::collections::{BTreeMap, BTreeSet};

use super::request;
use crate::base::error::{Exit, Failure};
use crate::base::table::aligned;
use crate::cli::CopyArgs;
use crate::flow::copy;
use crate::flow::session::Session;
use crate::model::event::{Event, Outcome};
use crate::model::image::{Digest, RegistryPrefix};
use crate::model::manifest::ServiceName;
use crate::model::plan::QueryFailure;
use crate::model::plan::copy::{CopyState, ImageCopy};
use crate::report::{OutputStyle, failures};

/// The default number of images that are copied concurrently.
const JOBS: usize = 4;

/// The length of a digest in the table.
const SHOWN_DIGEST: usize = "sha256:".len() + 12;

/// Copies images from another registry.
pub async fn run(session: &Session, args: &CopyArgs) -> Result<(), Failure> {
    let request = request::copy(session, args)?;
    let planning = copy::planned(session, &request);
    let planned = session.unless_interrupted(planning).await?;
    check(&planned.copies, &request.from)?;
    let jobs = args.jobs.jobs.map_or(JOBS, usize::from);
    let outcomes = if args.dry_run {
        BTreeMap::new()
    } else {
        copy::run(session, &planned, jobs).await
    };
    let results: Vec<CopyResult<'_>> = planned
        .copies
        .iter()
        .map(|copy| CopyResult::of(copy, outcomes.get(&copy.service), args.dry_run))
        .collect();
    if session.settings.report.style == OutputStyle::Json {
        emit(session, &results);
    }
    let ended = session.reporter.finish();
    show(session, &results)?;
    session.reporter.print_failures(&failures(&ended, true));
    session.verdict(&ended)
}

/// Fails if the state of an image is unknown: nothing was copied then.
fn check(copies: &[ImageCopy], from: &RegistryPrefix) -> Result<(), Failure> {
    let unknown = copies.iter().filter_map(|copy| match &copy.state {
        CopyState::Unknown(failure) => Some(failure),
        _ => None,
    });
    let unknown: BTreeSet<&QueryFailure> = unknown.collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let mut message =
        format!("error: cannot tell which images to copy from {from}; nothing was copied");
    for failure in &unknown {
        message.push_str(&format!("\n  cause: {}", failure.why));
    }
    for hint in QueryFailure::hints_of(unknown) {
        message.push_str(&format!("\nhint: {hint}"));
    }
    Err(Failure::rendered(Exit::Outside, message))
}

/// The result for one service.
struct CopyResult<'c> {
    service: &'c ServiceName,
    digest: Option<&'c Digest>,
    /// For the closing line.
    word: &'static str,
    /// For the table.
    text: String,
}

impl<'c> CopyResult<'c> {
    fn of(copy: &'c ImageCopy, outcome: Option<&Outcome>, dry_run: bool) -> Self {
        let word = match (&copy.state, outcome) {
            (CopyState::Copy(_), Some(Outcome::Done)) => "copied",
            (CopyState::Copy(_), Some(Outcome::Failed)) => "failed",
            (CopyState::Copy(_), _) if !dry_run => "stopped",
            (state, _) => state.word(),
        };
        let text = match &copy.state {
            CopyState::NotFound(image) => format!("{word}: {image}"),
            CopyState::Unusable(why) => format!("{word}: {why}"),
            CopyState::Copy(image) if image.is_unverified => format!("{word}, unverified"),
            _ if word == "failed" => "FAILED".to_owned(),
            _ => word.to_owned(),
        };
        Self {
            service: &copy.service,
            digest: copy.state.digest(),
            word,
            text,
        }
    }
}

/// Emits each result as a note, because JSON output has no table.
fn emit(session: &Session, results: &[CopyResult<'_>]) {
    for result in results {
        let digest = result.digest.map(|digest| format!(" {digest}"));
        let (service, text) = (result.service, &result.text);
        let text = format!("{service}: {text}{}", digest.unwrap_or_default());
        session.events.emit(Event::note(text));
    }
}

fn show(session: &Session, results: &[CopyResult<'_>]) -> Result<(), Failure> {
    let row = |result: &CopyResult<'_>| {
        let digest = result.digest.map(|digest| digest.as_str().chars());
        let digest = digest.map(|digits| digits.take(SHOWN_DIGEST).collect());
        vec![
            result.service.to_string(),
            digest.unwrap_or_else(|| "-".to_owned()),
            result.text.clone(),
        ]
    };
    let heading = ["SERVICE", "DIGEST", "RESULT"].map(str::to_owned).to_vec();
    let rows: Vec<_> = std::iter::once(heading)
        .chain(results.iter().map(row))
        .collect();
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for result in results {
        match counts.iter_mut().find(|(word, _)| *word == result.word) {
            Some((_, count)) => *count += 1,
            None => counts.push((result.word, 1)),
        }
    }
    let counts: Vec<String> = counts
        .iter()
        .map(|(word, count)| format!("{count} {word}"))
        .collect();
    let closing = counts.join(", ");
    session
        .reporter
        .print(&format!("{}\n{closing}\n", aligned(&rows)))
}
