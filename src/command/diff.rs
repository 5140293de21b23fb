//! `xp diff`

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use futures_util::StreamExt as _;

use super::many;
use crate::base::error::{Failure, chain, hint_lines};
use crate::base::suggest;
use crate::cli::{ChangesFormat, DiffArgs};
use crate::client::git::{RevisionError, file_at};
use crate::execute::{CommitsRequest, Sources, commits_between};
use crate::flow::deploy::last_deployed;
use crate::flow::plan;
use crate::flow::session::Session;
use crate::flow::sources::locked;
use crate::model::event::Event;
use crate::model::lock::{Changes, History, Lock, ServiceChange, parse};
use crate::store::claim::lock;
use crate::store::lock_file::LockFile;

/// The number of histories to read concurrently.
const AT_ONCE: usize = 16;

/// Prints what changed between two locks.
pub async fn run(session: &Session, args: &DiffArgs) -> Result<(), Failure> {
    let file = locked::lock_file(session, args.lock_file.as_deref());
    let (from, to) = match (&args.from, &args.to) {
        (None, _) => (
            at_revision(session, &file, "HEAD")?,
            in_file(session, &file)?,
        ),
        (Some(from), None) => (side(session, &file, from).await?, in_file(session, &file)?),
        (Some(from), Some(to)) => (
            side(session, &file, from).await?,
            side(session, &file, to).await?,
        ),
    };
    let mut changes = Changes::between((&from.0, &from.1), (&to.0, &to.1));
    let hints = fill_in(session, &mut changes, !args.no_fetch).await?;
    session.reporter.finish();
    let text = match args.format {
        ChangesFormat::Text => changes.text(),
        ChangesFormat::Markdown => changes.markdown(),
        ChangesFormat::Json => {
            let json = changes.json();
            let text = serde_json::to_string_pretty(&json).unwrap_or_else(|_| json.to_string());
            format!("{text}\n")
        }
    };
    super::print(&text)?;
    if args.no_fetch {
        return Ok(());
    }
    complete(&changes, hints)
}

/// A lock and its name in messages.
type NamedLock = (String, Lock);

/// Reads the side that an argument refers to: an existing file, else an environment of the manifest, else the lock of
/// a revision.
async fn side(session: &Session, lock: &Path, argument: &str) -> Result<NamedLock, Failure> {
    let deploy = session.manifest.deploy.as_ref();
    let is_environment = deploy.is_some_and(|deploy| deploy.environment(argument).is_ok());
    if !is_environment || session.settings.directory.join(argument).is_file() {
        return named(session, lock, argument);
    }
    let last = last_deployed(session, argument).await?;
    Ok((argument.to_owned(), last.set))
}

/// Reads the lock that an argument refers to: an existing file, else a revision.
fn named(session: &Session, lock: &Path, argument: &str) -> Result<NamedLock, Failure> {
    let file = session.settings.directory.join(argument);
    if file.is_file() {
        return in_file(session, &file);
    }
    match file_at(lock, argument) {
        Ok(found) => read(session, &found.name, found.content),
        Err(RevisionError::NoRevision { .. } | RevisionError::NoRepository(_)) if file.is_dir() => {
            let name = lock.file_name().unwrap_or_default();
            Err(Failure::usage(format!(
                "`{argument}` is a folder; expected a lock or a revision\nhint: name the lock in it, such as `{}`",
                Path::new(argument).join(name).display()
            )))
        }
        Err(RevisionError::NoRevision {
            repository, names, ..
        }) => {
            let known = locks_beside(&file)
                .into_iter()
                .chain(names)
                .collect::<Vec<_>>();
            let near = suggest::nearest(argument, known.iter().map(String::as_str));
            let hint = match (argument.split_once(".."), near) {
                (Some((from, to)), _) => {
                    let to = to.trim_start_matches('.');
                    format!("\nhint: write two revisions as two arguments: `xp diff {from} {to}`")
                }
                (None, Some(near)) => format!("\nhint: did you mean `{near}`?"),
                (None, None) => {
                    "\nhint: `git branch -a` and `git tag` list what can be compared".to_owned()
                }
            };
            Err(Failure::usage(format!(
                "`{argument}` is neither a file nor a revision: there is no {}, and {} has no such branch, tag or commit{hint}",
                file.display(),
                repository.display()
            )))
        }
        Err(error @ RevisionError::NoRepository(_)) => Err(Failure::usage(format!(
            "there is no file {}, and `{argument}` cannot be a revision: {error}\n\
             hint: {}",
            file.display(),
            match suggest::nearest(argument, locks_beside(&file).iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "name the files of two locks: `xp diff A B`".to_owned(),
            }
        ))),
        Err(error) => Err(error.into()),
    }
}

/// Returns the names of the locks in the folder of a file.
fn locks_beside(file: &Path) -> Vec<String> {
    let entries = file
        .parent()
        .map(fs::read_dir)
        .into_iter()
        .flatten()
        .flatten();
    let names = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.ends_with(".lock")).collect()
}

fn in_file(session: &Session, file: &Path) -> Result<NamedLock, Failure> {
    let found = LockFile::load(file).map_err(|error| locked::lock_failure(session, &error))?;
    let folder = &session.manifest.folder;
    let name = file.strip_prefix(folder).unwrap_or(file);
    Ok((name.display().to_string(), found.lock))
}

fn at_revision(session: &Session, lock: &Path, revision: &str) -> Result<NamedLock, Failure> {
    let found = file_at(lock, revision).map_err(|error| {
        let hint = "name two sides: `xp diff A B`, each a lock file or a revision of this repository that has the lock";
        match error {
            RevisionError::Git(error) => error.into(),
            error => Failure::usage(format!("there is nothing to compare with: {error}\nhint: {hint}")),
        }
    })?;
    read(session, &found.name, found.content)
}

fn read(session: &Session, name: &str, content: Vec<u8>) -> Result<NamedLock, Failure> {
    let lock = String::from_utf8(content)
        .map_err(|_| Failure::usage(format!("{name} is not a lock: it is not UTF-8")))
        .and_then(|text| {
            parse(&text, name).map_err(|error| locked::lock_failure(session, &error))
        })?;
    Ok((name.to_owned(), lock))
}

/// Fills in the commits between the two locks from the working copies, fetching missing ones if `fetch` is set.
/// Returns hints for those that remain unknown.
pub async fn fill_in(
    session: &Session,
    changes: &mut Changes,
    fetch: bool,
) -> Result<BTreeSet<String>, Failure> {
    let moved = |change: &&ServiceChange| change.moved().is_some();
    if changes.services.iter().filter(moved).count() == 0 {
        return Ok(BTreeSet::new());
    }
    let git = session.git()?;
    let sources = plan::sources(session, git, session.cancel.clone());
    let mut hints = look(session, &sources, &mut changes.services, false).await?;
    let is_unknown = |change: &&ServiceChange| matches!(change.history, History::Unknown(_));
    let unknown = changes.services.iter().filter(is_unknown).count();
    if unknown > 0 && fetch {
        // Locked only now, so that a diff of local history does not wait for a build.
        let locked = async { Ok(lock(&session.layout.lock(), &session.events).await?) };
        let _lock = session.unless_interrupted(locked).await?;
        let what = format!("fetching commits of {}", many(unknown, "service"));
        session.events.emit(Event::stage(what));
        let looked = look(session, &sources, &mut changes.services, true).await;
        session.events.emit(Event::StageFinished);
        hints = looked?;
    }
    Ok(hints)
}

/// Looks up the histories that are not known yet, and returns hints for those that could not be found.
async fn look(
    session: &Session,
    sources: &Sources,
    changes: &mut [ServiceChange],
    fetch: bool,
) -> Result<BTreeSet<String>, Failure> {
    let wanted = changes
        .iter_mut()
        .filter(|change| !matches!(change.history, History::Known { .. }));
    let looks = wanted.map(|change| async move {
        let (history, hint) = find(session, sources, change, fetch).await;
        change.history = history;
        hint
    });
    let looks: Vec<_> = looks.collect();
    let all = async {
        let looked = futures_util::stream::iter(looks).buffer_unordered(AT_ONCE);
        let hints: Vec<Option<String>> = looked.collect().await;
        Ok(hints.into_iter().flatten().collect())
    };
    session.unless_interrupted(all).await
}

/// Looks up one history. If it is unavailable, returns the reason and a hint.
async fn find(
    session: &Session,
    sources: &Sources,
    change: &ServiceChange,
    fetch: bool,
) -> (History, Option<String>) {
    let Some((from, to)) = change.moved() else {
        return (History::None, None);
    };
    let Some(service) = session.manifest.services.get(&change.service) else {
        let why = "it is not in the manifest, so its working copy is unknown";
        return (History::Unknown(why.to_owned()), None);
    };
    let request = CommitsRequest {
        dir: session.manifest.folder.join(&service.dir),
        remote: service.git.remote.clone(),
        // If the folder is unchanged, include the further paths of the manifest.
        paths: if to.path == service.git.path {
            service.git.paths()
        } else {
            to.path.iter().cloned().collect()
        },
        from: from.resolved(),
        to: to.resolved(),
        fetch,
    };
    match commits_between(sources, request).await {
        Ok((added, dropped)) => (History::Known { added, dropped }, None),
        Err(error) => {
            let why = chain(&error).replace("\n  cause: ", ": ");
            (History::Unknown(why), error.hint())
        }
    }
}

/// Returns an error if commits are unknown, because the printed list would be mistaken for a complete one.
fn complete(changes: &Changes, hints: BTreeSet<String>) -> Result<(), Failure> {
    let unknown = changes
        .services
        .iter()
        .filter_map(|change| match &change.history {
            History::Unknown(why) => Some(format!("\n  {}: {why}", change.service)),
            _ => None,
        });
    let unknown: Vec<String> = unknown.collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let enough = "`--no-fetch` lists only commits that are available locally".to_owned();
    let hints: Vec<String> = hints.into_iter().chain([enough]).collect();
    Err(Failure::outside(format!(
        "some commits between the two locks are unknown{}{}",
        unknown.concat(),
        hint_lines(&hints)
    )))
}
