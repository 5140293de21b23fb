//! What `xp init` prints at the end.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use super::super::count_of;
use super::ignore::IgnoreFile;
use super::target::ManifestTarget;
use crate::base::plural::join_with_and;
use crate::model::init::{
    ManifestDraft, PlatformFolder, RenderedManifest, SCHEMA, TODO_MARK, Todo, ToolFile,
};
use crate::report::shortened;

/// The number of marked places to list on a terminal.
const SHOWN_MARKS: usize = 10;

/// The maximum length of the text of a marked place on a terminal.
const SHOWN_TEXT: usize = 90;

/// Files written in addition to the manifest.
#[derive(Default)]
pub(super) struct WrittenFiles {
    /// The backup of the previous manifest.
    pub kept: Option<PathBuf>,
    /// Whether the schema was written.
    pub schema: bool,
    /// What became of `.gitignore`.
    pub ignore: IgnoreFile,
}

/// Summarizes the detected sources in one line.
pub(super) fn found(folder: &PlatformFolder, sources: &[ToolFile]) -> String {
    let mut parts: Vec<String> = sources
        .iter()
        .map(|source| source.file().to_owned())
        .collect();
    if !folder.repositories.is_empty() {
        parts.push(count_of(folder.repositories.len(), "git repository"));
    }
    format!("Found {} in {}", join_with_and(&parts), folder.name)
}

/// Summarizes what was written, what is left to fill in, and the next steps.
pub(super) fn done(
    target: &ManifestTarget,
    draft: &ManifestDraft,
    rendered: &RenderedManifest,
    written: &WrittenFiles,
) -> String {
    let mut lines = Vec::new();
    let verb = if target.file.is_some() {
        "Wrote"
    } else {
        "Would write"
    };
    lines.push(format!(
        "{verb} {} with {}",
        target.shown,
        count_of(draft.services.len(), "service")
    ));
    if let Some(kept) = written.kept.as_deref().and_then(Path::file_name) {
        lines.push(format!("Kept the previous one as {}", kept.display()));
    }
    if written.schema {
        lines.push(format!(
            "Wrote {SCHEMA} next to it, for completion and validation in editors"
        ));
    }
    match &written.ignore {
        IgnoreFile::Wrote(paths) => lines.push(format!("Wrote .gitignore with {}", quoted(paths))),
        IgnoreFile::Added(paths) => lines.push(format!("Added {} to .gitignore", quoted(paths))),
        IgnoreFile::Unchanged | IgnoreFile::Suggested(_) => {}
    }
    marks(&mut lines, &target.shown, &rendered.todos);
    if target.file.is_some() {
        if let IgnoreFile::Suggested(paths) = &written.ignore {
            lines.push(format!("hint: add {} to .gitignore", quoted(paths)));
        }
        lines.push(
            "hint: `xp doctor` checks what a build needs, `xp plan` shows what would be built, `xp build` builds it"
                .to_owned(),
        );
    }
    lines.join("\n")
}

/// Lists the marked places: on a terminal the beginnings of the first ones, else everything.
fn marks(lines: &mut Vec<String>, file: &str, todos: &[Todo]) {
    if todos.is_empty() {
        return;
    }
    let places = match todos.len() {
        1 => "1 place is".to_owned(),
        count => format!("{count} places are"),
    };
    lines.push(format!("{places} marked {TODO_MARK} to fill in:"));
    let is_terminal = std::io::stderr().is_terminal();
    let shown = if is_terminal {
        SHOWN_MARKS
    } else {
        todos.len()
    };
    for Todo { line, text } in todos.iter().take(shown) {
        let text = if is_terminal {
            // The rest is in the file, at that line.
            let first = text
                .split_once(". ")
                .map_or(text.as_str(), |(first, _)| first);
            shortened(first, SHOWN_TEXT)
        } else {
            text.clone()
        };
        lines.push(format!("  {file}:{line}  {text}"));
    }
    if todos.len() > shown {
        lines.push(format!("  and {} more", todos.len() - shown));
    }
}

fn quoted(paths: &[String]) -> String {
    let paths: Vec<String> = paths.iter().map(|path| format!("`{path}`")).collect();
    join_with_and(&paths)
}
