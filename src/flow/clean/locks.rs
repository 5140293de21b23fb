//! What the locks of the platform's repository name, on every branch and tag, and in recent commits.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tokio::task::spawn_blocking;

use crate::base::error::{Exit, Failure};
use crate::base::plural::abbreviated;
use crate::base::task::joined;
use crate::client::git::{FileOrigin, FileSearch, GitClient, reference_files, remotes_around};
use crate::flow::session::Session;
use crate::model::clean::{Reason, Roots, Rule, digests_in};
use crate::model::event::Event;
use crate::model::lock;
use crate::model::source::{CommitId, GitUrl};

/// The end of the names of locks.
const EXTENSION: &str = ".lock";

/// Adds everything that a lock names.
///
/// # Errors
///
/// A branch or tag cannot be read, or its commit is not in the clone.
pub async fn add(
    session: &Session,
    git: &GitClient,
    since: i64,
    roots: &mut Roots,
) -> Result<(), Failure> {
    working_files(&session.manifest.folder, roots);
    let folder = session.manifest.folder.clone();
    let remotes = {
        let folder = folder.clone();
        joined(spawn_blocking(move || remotes_around(&folder)).await)?
    };
    let Some(remotes) = remotes else {
        let text = "the manifest is not in a git repository, so only the locks next to it count";
        session.events.emit(Event::note(text));
        return Ok(());
    };
    let remote = match remotes.first() {
        Some((name, url)) => listed(session, git, name, url).await?,
        None => BTreeMap::new(),
    };
    session.events.emit(Event::stage(
        "reading the locks of the platform's repository",
    ));
    let read = spawn_blocking(move || {
        let search = FileSearch {
            remote: &remote,
            since,
            is_wanted: &|name| name.ends_with(EXTENSION),
        };
        reference_files(&folder, &search)
    });
    let read = joined(read.await);
    session.events.emit(Event::StageFinished);
    let Some(read) = read? else { return Ok(()) };
    if !read.missing.is_empty() {
        return Err(Failure::outside(format!(
            "this clone of the platform's repository does not have the commits of {}, whose locks may name images; nothing was removed\n\
             hint: fetch all of them: `git fetch --tags origin '+refs/heads/*:refs/remotes/origin/*'`\n\
             hint: in CI, check out the platform's repository with its whole history",
            abbreviated(&read.missing, 3)
        )));
    }
    if let Some(commit) = read.cut_off {
        return Err(Failure::outside(format!(
            "this clone of the platform's repository is shallow: it does not have the commits before {}, whose locks may name images; nothing was removed\n\
             hint: `git fetch --unshallow` fetches the rest; in CI, check out the whole history",
            commit.short()
        )));
    }
    for (origin, content) in &read.files {
        let text = match origin {
            FileOrigin {
                earlier: Some(commit),
                path,
                ..
            } => format!("lock {path} in the commit {}", commit.short()),
            FileOrigin {
                reference, path, ..
            } => format!("lock {path} at {reference}"),
        };
        add_lock(content, &text, roots);
    }
    Ok(())
}

/// Adds what the locks next to the manifest name, committed or not.
pub fn working_files(folder: &Path, roots: &mut Roots) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|path| path.to_str().is_some_and(|path| path.ends_with(EXTENSION)));
    files.sort();
    for file in files {
        if let Ok(content) = fs::read(&file) {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            add_lock(&content, &format!("lock {name}"), roots);
        }
    }
}

/// Adds the digests in a file, and if it is a lock, the names of builders.
fn add_lock(content: &[u8], text: &str, roots: &mut Roots) {
    let reason = Reason::new(Rule::Lock, text);
    let found = str::from_utf8(content).ok();
    let found = found.and_then(|content| lock::parse_deployed(content, text).ok());
    for digest in digests_in(content)
        .into_iter()
        .filter_map(|it| it.parse().ok())
    {
        match found {
            Some(_) => roots.digest(digest, reason.clone()),
            // It is damaged, or of a newer version.
            None => roots.manifest(None, digest, reason.clone()),
        }
    }
    for locked in found
        .into_iter()
        .flat_map(|found| found.services.into_values())
    {
        let repository = locked.image.repository().clone();
        match locked.digest {
            Some(digest) => roots.manifest(Some(&repository), digest, reason.clone()),
            None => roots.name(locked.image, reason.clone()),
        }
        if let Some(builder) = locked.builder {
            roots.name(builder, reason.clone());
        }
    }
}

/// Lists the branches and tags of the platform's remote.
async fn listed(
    session: &Session,
    git: &GitClient,
    name: &str,
    url: &str,
) -> Result<BTreeMap<String, CommitId>, Failure> {
    // A password in the URL is not shown.
    let failed = |why: String| {
        Failure::outside(format!(
            "cannot list the branches and tags of the platform's remote {name}, whose locks may name images; nothing was removed\n  \
             cause: {why}\n\
             hint: the remote must be reachable from here, like those of the services"
        ))
    };
    let url: GitUrl = url.parse().map_err(|error| failed(format!("{error}")))?;
    session.events.emit(Event::stage(
        "listing the branches of the platform's repository",
    ));
    let found = session.unless_interrupted(async { Ok(git.list_branches_and_tags(&url).await) });
    let found = found.await;
    session.events.emit(Event::StageFinished);
    let found = match found? {
        Ok(found) => found,
        Err(error) => {
            let (why, hints) = Failure::from(error).parts();
            let failure = failed(why);
            let hints: String = hints.iter().map(|hint| format!("\nhint: {hint}")).collect();
            let message = failure.message().unwrap_or_default();
            return Err(Failure::rendered(
                Exit::Outside,
                format!("{message}{hints}"),
            ));
        }
    };
    let names = found
        .names()
        .filter_map(|name| Some((name.to_owned(), found.commit(name)?)));
    Ok(names.collect())
}
