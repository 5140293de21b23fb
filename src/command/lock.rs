//! `xp lock`

use super::{count_of, request};
use crate::base::error::{Exit, Failure};
use crate::cli::LockArgs;
use crate::flow::lock::{FreshLock, fresh};
use crate::flow::session::Session;
use crate::flow::sources::locked::{lock_failure, lock_file, lock_name};
use crate::model::event::Event;
use crate::model::lock::{Lock, UnlockableImages};
use crate::report::columns;
use crate::store::claim::lock;
use crate::store::lock_file::LockFile;

/// Writes the lock, or checks whether it is up to date.
pub async fn run(session: &Session, args: &LockArgs) -> Result<(), Failure> {
    let path = lock_file(session, args.lock_file.as_deref());
    let name = lock_name(session, &path);
    if args.check {
        let file = LockFile::load(&path).map_err(|error| lock_failure(session, &error))?;
        let request = request::lock(session, args)?;
        let fresh = session
            .unless_interrupted(fresh(session, &request, &file.lock, None))
            .await?;
        session.reporter.finish();
        return check(session, &name, &file.lock, fresh);
    }
    // Held from reading to writing: otherwise concurrent runs would lose each other's changes.
    let locked = async { Ok(lock(&session.layout.lock(), &session.events).await?) };
    let folder_lock = session.unless_interrupted(locked).await?;
    let file = LockFile::load_or_empty(&path).map_err(|error| lock_failure(session, &error))?;
    let request = request::lock(session, args)?;
    let FreshLock {
        lock: fresh,
        unlockable,
        ..
    } = session
        .unless_interrupted(fresh(session, &request, &file.lock, Some(&folder_lock)))
        .await?;
    if unlockable.is_empty() {
        warn_of_dependents(session, &file.lock, &fresh, &unlockable);
    }
    session.reporter.finish();
    if !unlockable.is_empty() {
        return Err(unlockable.into());
    }
    let is_new = !file.exists();
    let is_changed = file.replace(&fresh)?;
    if session.settings.report.quiet {
        return Ok(());
    }
    let table = file
        .lock
        .difference_table(&fresh, columns(std::io::stdout()));
    let count = count_of(fresh.services.len(), "service");
    let end = match (is_new, is_changed) {
        (true, _) => format!("created {name} with {count}\n"),
        (false, true) => format!("updated {name} with {count}\n"),
        (false, false) => format!("{name} is up to date ({count})\n"),
    };
    super::print(&format!("{table}{end}"))
}

/// Warns of services that stay locked, although the lock now has another version of what they were built with.
fn warn_of_dependents(session: &Session, old: &Lock, fresh: &Lock, unlocked: &UnlockableImages) {
    let outdated = old.outdated_dependents(fresh, &session.manifest);
    for (name, need) in &outdated {
        session.events.emit(Event::warning(format!(
            "{name} stays locked, but was built with another version of {need} than the lock has now"
        )));
    }
    if !outdated.is_empty() {
        let lock = unlocked.command("lock", &outdated.keys().collect());
        session.events.emit(Event::note(format!(
            "`{lock}` updates what stays locked, once `xp build` has built it"
        )));
    }
}

fn check(session: &Session, name: &str, old: &Lock, fresh: FreshLock) -> Result<(), Failure> {
    let FreshLock {
        lock, unlockable, ..
    } = fresh;
    let table = old.difference_table(&lock, columns(std::io::stdout()));
    let services = unlockable.of_another_set();
    if !table.is_empty() || !services.is_empty() {
        super::print(&table)?;
        let why = if table.is_empty() {
            let names: Vec<&str> = services.iter().map(|it| it.as_str()).collect();
            let names = names.join(", ");
            format!(": images were not built from each other: {names}")
        } else {
            String::new()
        };
        let hint = unlockable.update();
        let message = format!("error: {name} is out of date{why}\nhint: {hint}");
        return Err(Failure::rendered(Exit::ServiceFailed, message));
    }
    if session.settings.report.quiet {
        return Ok(());
    }
    let count = count_of(lock.services.len(), "service");
    super::print(&format!("{name} is up to date ({count})\n"))
}
