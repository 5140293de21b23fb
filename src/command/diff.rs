//! `xp diff`

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::base::error::{Failure, hint_lines};
use crate::base::suggest;
use crate::cli::{ChangesFormat, DiffArgs};
use crate::client::git::{RevisionError, file_at};
use crate::flow::changes;
use crate::flow::deploy::last_deployed;
use crate::flow::session::Session;
use crate::flow::sources::locked;
use crate::model::event::Event;
use crate::model::lock::{CommitHistory, Lock, LockChanges, parse};
use crate::model::manifest::ServiceName;
use crate::store::lock_file::LockFile;

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
    let (mut from, mut to) = (from, to);
    exclude(session, &from, &mut to);
    exclude(session, &to, &mut from);
    let mut changes = LockChanges::between((&from.name, &from.lock), (&to.name, &to.lock));
    let hints = changes::fill_in(session, &mut changes, !args.no_fetch).await?;
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
struct NamedLock {
    name: String,
    lock: Lock,
    /// The services that an environment does not use.
    unused: BTreeSet<ServiceName>,
}

impl NamedLock {
    fn new(name: String, lock: Lock) -> Self {
        Self {
            name,
            lock,
            unused: BTreeSet::new(),
        }
    }
}

/// Removes the services that an environment does not use from the other side: they are not part of any deploy there.
fn exclude(session: &Session, environment: &NamedLock, other: &mut NamedLock) {
    let services = &mut other.lock.services;
    let unused = environment.unused.iter();
    let removed: Vec<&str> = unused
        .filter(|name| services.remove(*name).is_some())
        .map(ServiceName::as_str)
        .collect();
    if !removed.is_empty() {
        session.events.emit(Event::note(format!(
            "{} references no image of {}: not compared",
            environment.name,
            removed.join(", ")
        )));
    }
}

/// Reads the side that an argument refers to: an existing file, else an environment of the manifest, else the lock of
/// a revision.
async fn side(session: &Session, lock: &Path, argument: &str) -> Result<NamedLock, Failure> {
    let deploy = session.manifest.deploy.as_ref();
    let is_environment = deploy.is_some_and(|deploy| deploy.environment(argument).is_ok());
    if !is_environment || session.settings.directory.join(argument).is_file() {
        return named(session, lock, argument);
    }
    let last = last_deployed(session, argument).await?;
    Ok(NamedLock {
        unused: last.unused,
        ..NamedLock::new(argument.to_owned(), last.set)
    })
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
                "`{argument}` is a folder, not a lock or revision\nhint: pass the lock in it, such as `{}`",
                Path::new(argument).join(name).display()
            )))
        }
        Err(RevisionError::NoRevision {
            repository, names, ..
        }) => {
            let deploy = session.manifest.deploy.iter();
            let environments = deploy.flat_map(|deploy| deploy.environments.keys());
            let known = locks_in_folder_of(&file)
                .into_iter()
                .chain(environments.map(ToString::to_string))
                .chain(names)
                .collect::<Vec<_>>();
            let near = suggest::nearest(argument, known.iter().map(String::as_str));
            let hint = match (argument.split_once(".."), near) {
                (Some((from, to)), _) => {
                    let to = to.trim_start_matches('.');
                    format!(
                        "\nhint: pass two revisions as separate arguments: `xp diff {from} {to}`"
                    )
                }
                (None, Some(near)) => format!("\nhint: {}", suggest::did_you_mean(near)),
                (None, None) => {
                    "\nhint: run `git branch -a` and `git tag` to list revisions".to_owned()
                }
            };
            Err(Failure::usage(format!(
                "`{argument}` is neither a file nor a revision: {} does not exist, and {} has no such branch, tag or commit{hint}",
                file.display(),
                repository.display()
            )))
        }
        Err(error @ RevisionError::NoRepository(_)) => Err(Failure::usage(format!(
            "{} does not exist, and `{argument}` cannot be a revision: {error}\n\
             hint: {}",
            file.display(),
            match suggest::nearest(
                argument,
                locks_in_folder_of(&file).iter().map(String::as_str)
            ) {
                Some(near) => suggest::did_you_mean(near),
                None => "pass two lock files: `xp diff A B`".to_owned(),
            }
        ))),
        Err(error) => Err(error.into()),
    }
}

/// Returns the names of the locks in the folder of a file.
fn locks_in_folder_of(file: &Path) -> Vec<String> {
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
    Ok(NamedLock::new(name.display().to_string(), found.lock))
}

fn at_revision(session: &Session, lock: &Path, revision: &str) -> Result<NamedLock, Failure> {
    let found = file_at(lock, revision).map_err(|error| {
        let hint = "pass two arguments: `xp diff A B`, each a lock file or a revision of this repository that contains the lock";
        match error {
            RevisionError::Git(error) => error.into(),
            error => Failure::usage(format!("nothing to compare with: {error}\nhint: {hint}")),
        }
    })?;
    read(session, &found.name, found.content)
}

fn read(session: &Session, name: &str, content: Vec<u8>) -> Result<NamedLock, Failure> {
    let lock = String::from_utf8(content)
        .map_err(|_| Failure::usage(format!("{name} is not a lock: not valid UTF-8")))
        .and_then(|text| {
            parse(&text, name).map_err(|error| locked::lock_failure(session, &error))
        })?;
    Ok(NamedLock::new(name.to_owned(), lock))
}

/// Returns an error if commits are unknown, because the printed list would be mistaken for a complete one.
fn complete(changes: &LockChanges, hints: BTreeSet<String>) -> Result<(), Failure> {
    let unknown = changes
        .services
        .iter()
        .filter_map(|change| match &change.history {
            CommitHistory::Unknown(why) => Some(format!("\n  {}: {why}", change.service)),
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
