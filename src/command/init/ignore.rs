//! The `.gitignore` of the platform's folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::questions;
use crate::base::error::Failure;
use crate::base::files;
use crate::base::task::joined;
use crate::flow::discover;
use crate::host::settings::Settings;

const NAME: &str = ".gitignore";

/// What became of `.gitignore`, with the paths concerned.
#[derive(Default)]
pub(super) enum IgnoreFile {
    /// Git ignores everything that it should.
    #[default]
    Unchanged,
    Wrote(Vec<String>),
    /// Added to an existing file, which the user agreed to.
    Added(Vec<String>),
    /// Missing in an existing file.
    Suggested(Vec<String>),
}

/// Makes git ignore the paths: writes a new file, or asks before it changes an existing one.
pub(super) async fn offer(
    settings: &Settings,
    folder: &Path,
    paths: Vec<String>,
    may_ask: bool,
) -> Result<IgnoreFile, Failure> {
    let root = folder.to_owned();
    let missing = tokio::task::spawn_blocking(move || {
        let inside = paths
            .iter()
            .map(|path| path.trim_start_matches('/').to_owned());
        discover::not_ignored(&root, inside.collect())
    });
    let missing: Vec<String> = joined(missing.await)
        .into_iter()
        .map(|path| format!("/{path}"))
        .collect();
    if missing.is_empty() {
        return Ok(IgnoreFile::Unchanged);
    }
    let file = folder.join(NAME);
    let failed =
        |error: io::Error| Failure::outside(format!("cannot write {}: {error}", file.display()));
    let text: String = missing.iter().map(|path| format!("{path}\n")).collect();
    if fs::symlink_metadata(&file).is_err() {
        files::write_new(&file, &text, false).map_err(failed)?;
        return Ok(IgnoreFile::Wrote(missing));
    }
    if !may_ask || !questions::may_ignore(settings, &missing).await? {
        return Ok(IgnoreFile::Suggested(missing));
    }
    append(&file, &text).map_err(failed)?;
    Ok(IgnoreFile::Added(missing))
}

/// Adds lines to a file, after the end of its last line.
fn append(file: &PathBuf, text: &str) -> io::Result<()> {
    use std::io::Write as _;
    let before = fs::read(file)?;
    let gap = match before.last() {
        None | Some(b'\n') => "",
        Some(_) => "\n",
    };
    let mut file = fs::OpenOptions::new().append(true).open(file)?;
    file.write_all(format!("{gap}{text}").as_bytes())
}
