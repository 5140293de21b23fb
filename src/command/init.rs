//! `xp init`

mod questions;
mod target;

use std::fs;
use std::path::{Path, PathBuf};

use super::{count_of, print};
use crate::base::error::{Exit, Failure};
use crate::base::files;
use crate::base::plural::join_with_and;
use crate::base::task::joined;
use crate::cli::InitArgs;
use crate::flow::discover;
use crate::host::settings::Settings;
use crate::model::init;
use crate::model::init::{
    InitError, InitOptions, ManifestDraft, PlatformFolder, RenderedManifest, SCHEMA, TODO_MARK,
    Todo, ToolFile,
};
use crate::model::manifest;
use crate::model::manifest::DEFAULT_CACHE_DIR;
use crate::report::{paint, print_message, shortened};
use target::{Inside, ManifestTarget};

/// The number of marked places to list.
const SHOWN_MARKS: usize = 10;

/// The maximum length of the list of service names.
const SHOWN_NAMES: usize = 300;

/// The maximum length of the text of a marked place.
const SHOWN_TEXT: usize = 90;

/// Generates a manifest from the contents of the folder.
pub async fn run(settings: &Settings, args: &InitArgs) -> Result<(), Failure> {
    let target = ManifestTarget::new(settings, args)?;
    let own_files = settings
        .cache_dir
        .clone()
        .unwrap_or_else(|| target.folder.join(DEFAULT_CACHE_DIR));
    let root = target.folder.clone();
    let discovered = tokio::task::spawn_blocking(move || discover::discover(&root, &own_files));
    let mut folder = joined(discovered.await).map_err(|error| {
        let shown = target.folder.display();
        Failure::usage(format!("cannot read the folder {shown}: {error}"))
    })?;
    let read = discover::file_reader(&target.folder);
    let failed = |error: InitError| match error {
        InitError::Source(error) => {
            let mut message = error.render(settings.report.color);
            if args.from.is_none() {
                message.push_str(
                    "\nhint: `--from FILE` reads a single source, `--from .` only the working copies",
                );
            }
            Failure::rendered(Exit::Usage, message)
        }
        other => other.into(),
    };
    let mut options = InitOptions {
        all_repositories: true,
        registry: args.registry.clone(),
        services: [&args.selection.names[..], &args.selection.services].concat(),
        ..InitOptions::default()
    };
    match &args.from {
        None => {
            options.sources = init::detect(&read)
                .map_err(InitError::from)
                .map_err(failed)?
        }
        Some(from) => match target.inside(&settings.directory.join(from))? {
            Inside::File(file) => {
                let source = init::detect_format(&file, &read).map_err(InitError::from);
                options.sources = vec![source.map_err(failed)?];
                options.all_repositories = false;
            }
            Inside::Folder(below) => folder.keep_below(&below),
        },
    }
    let mut draft = init::draft(&folder, &options, &read).map_err(failed)?;
    if !settings.report.quiet {
        print_message(&found(&folder, &options.sources));
    }
    if settings.can_ask && !args.yes && !settings.report.quiet {
        let names = draft.services.iter().map(|service| service.name.as_str());
        let names: Vec<&str> = names.collect();
        print_message(&format!(
            "{}: {}",
            count_of(names.len(), "service"),
            shortened(&names.join(", "), SHOWN_NAMES)
        ));
        questions::ask_for(settings, &draft, &mut options).await?;
        draft = init::draft(&folder, &options, &read).map_err(failed)?;
    }
    let rendered = init::render(&draft).map_err(failed)?;
    let mut written = WrittenFiles::default();
    match &target.file {
        None => print(&rendered.text)?,
        Some(file) => {
            written.kept = write_new(file, &rendered.text, args.force)?;
            written.schema = write_schema(file)?;
        }
    }
    if !settings.report.quiet {
        let done = done(&target, &draft, &rendered, &written);
        print_message(&paint(&done, settings.report.color));
    }
    Ok(())
}

/// Files written in addition to the manifest.
#[derive(Default)]
struct WrittenFiles {
    /// The backup of the previous manifest.
    kept: Option<PathBuf>,
    /// Whether the schema was written.
    schema: bool,
}

/// Writes the schema that the manifest's first line refers to, unless the file already exists.
fn write_schema(manifest: &Path) -> Result<bool, Failure> {
    let file = manifest.with_file_name(SCHEMA);
    if fs::symlink_metadata(&file).is_ok() {
        return Ok(false);
    }
    let text = format!("{:#}\n", manifest::schema());
    write_new(&file, &text, false).map(|_| true)
}

/// Writes a file for the user, and returns the path of the backup if it replaced one.
fn write_new(file: &Path, text: &str, replaces: bool) -> Result<Option<PathBuf>, Failure> {
    files::write_new(file, text, replaces)
        .map_err(|error| Failure::outside(format!("cannot write {}: {error}", file.display())))
}

/// Summarizes the detected sources in one line.
fn found(folder: &PlatformFolder, sources: &[ToolFile]) -> String {
    let mut parts: Vec<String> = sources
        .iter()
        .map(|source| source.file().to_owned())
        .collect();
    if !folder.repositories.is_empty() {
        parts.push(count_of(folder.repositories.len(), "git repository"));
    }
    format!("Found {} in {}", join_with_and(&parts), folder.name)
}

/// Summarizes the written files, the places to fill in, and the next steps.
fn done(
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
    if !rendered.todos.is_empty() {
        let places = match rendered.todos.len() {
            1 => "1 place is".to_owned(),
            count => format!("{count} places are"),
        };
        lines.push(format!("{places} marked {TODO_MARK} to fill in:"));
        for Todo { line, text } in rendered.todos.iter().take(SHOWN_MARKS) {
            // The rest is in the file, at this line.
            let first = text
                .split_once(". ")
                .map_or(text.as_str(), |(first, _)| first);
            let text = shortened(first, SHOWN_TEXT);
            lines.push(format!("  {}:{line}  {text}", target.shown));
        }
        if rendered.todos.len() > SHOWN_MARKS {
            let more = rendered.todos.len() - SHOWN_MARKS;
            lines.push(format!("  and {more} more"));
        }
    }
    if target.file.is_some() {
        lines.push(
            "hint: `xp doctor` checks what a build needs, `xp plan` shows what would be built, `xp build` builds it"
                .to_owned(),
        );
    }
    lines.join("\n")
}
