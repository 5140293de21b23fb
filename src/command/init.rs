//! `xp init`

mod questions;
mod target;

use std::fs;
use std::path::{Path, PathBuf};

use super::{many, print};
use crate::cli::InitArgs;
use crate::discover;
use crate::error::{Exit, Failure};
use crate::files;
use crate::init::{self, Draft, Folder, InitError, MARK, Marked, Rendered, SCHEMA, Source, Wishes};
use crate::manifest::{self, DEFAULT_CACHE_DIR};
use crate::report::{paint, say, shortened};
use crate::settings::Settings;
use crate::task::joined;
use target::{Inside, Target};

/// How many marked places are listed.
const SHOWN_MARKS: usize = 10;

/// How much is shown of all services' names.
const SHOWN_NAMES: usize = 300;

/// How much of each marked place.
const SHOWN_TEXT: usize = 90;

/// Writes a manifest from what is in the folder.
pub async fn run(settings: &Settings, args: &InitArgs) -> Result<(), Failure> {
    let target = Target::new(settings, args)?;
    let own_files = settings
        .cache_dir
        .clone()
        .unwrap_or_else(|| target.folder.join(DEFAULT_CACHE_DIR));
    let root = target.folder.clone();
    let discovered = tokio::task::spawn_blocking(move || discover::discover(&root, &own_files));
    let mut folder = joined(discovered.await).map_err(|error| {
        let shown = target.folder.display();
        Failure::usage(format!("the folder {shown} cannot be read: {error}"))
    })?;
    let read = discover::reader(&target.folder);
    let failed = |error: InitError| match error {
        InitError::Source(error) => {
            let mut message = error.render(settings.report.color);
            if args.from.is_none() {
                message.push_str(
                    "\nhint: `--from FILE` takes one source alone, and `--from .` the working copies alone",
                );
            }
            Failure::rendered(Exit::Usage, message)
        }
        other => other.into(),
    };
    let mut wishes = Wishes {
        all_repositories: true,
        registry: args.registry.clone(),
        services: [&args.selection.names[..], &args.selection.services].concat(),
        ..Wishes::default()
    };
    match &args.from {
        None => {
            wishes.sources = init::detect(&read)
                .map_err(InitError::from)
                .map_err(failed)?
        }
        Some(from) => match target.inside(&settings.directory.join(from))? {
            Inside::File(file) => {
                let source = init::source_of(&file, &read).map_err(InitError::from);
                wishes.sources = vec![source.map_err(failed)?];
                wishes.all_repositories = false;
            }
            Inside::Folder(below) => folder.keep_below(&below),
        },
    }
    let mut draft = init::draft(&folder, &wishes, &read).map_err(failed)?;
    if !settings.report.quiet {
        say(&found(&folder, &wishes.sources));
    }
    if settings.can_ask && !args.yes && !settings.report.quiet {
        let names = draft.services.iter().map(|service| service.name.as_str());
        let names: Vec<&str> = names.collect();
        say(&format!(
            "{}: {}",
            many(names.len(), "service"),
            shortened(&names.join(", "), SHOWN_NAMES)
        ));
        questions::ask_for(settings, &draft, &mut wishes).await?;
        draft = init::draft(&folder, &wishes, &read).map_err(failed)?;
    }
    let rendered = init::render(&draft).map_err(failed)?;
    let mut written = Written::default();
    match &target.file {
        None => print(&rendered.text)?,
        Some(file) => {
            written.kept = write_new(file, &rendered.text, args.force)?;
            written.schema = write_schema(file)?;
        }
    }
    if !settings.report.quiet {
        let done = done(&target, &draft, &rendered, &written);
        say(&paint(&done, settings.report.color));
    }
    Ok(())
}

/// What was written beside the manifest.
#[derive(Default)]
struct Written {
    /// The manifest that was there before.
    kept: Option<PathBuf>,
    /// Whether the schema was written.
    schema: bool,
}

/// Writes the schema that the manifest's first line names, so that editors find it. One that is there is
/// left as it is.
fn write_schema(manifest: &Path) -> Result<bool, Failure> {
    let file = manifest.with_file_name(SCHEMA);
    if fs::symlink_metadata(&file).is_ok() {
        return Ok(false);
    }
    let text = format!("{:#}\n", manifest::schema());
    write_new(&file, &text, false).map(|_| true)
}

/// Writes a file that will be the user's own; returns where the one is kept that was there.
fn write_new(file: &Path, text: &str, replaces: bool) -> Result<Option<PathBuf>, Failure> {
    files::write_new(file, text, replaces)
        .map_err(|error| Failure::outside(format!("{} cannot be written: {error}", file.display())))
}

/// Returns what was found, in a line.
fn found(folder: &Folder, sources: &[Source]) -> String {
    let mut parts: Vec<String> = sources
        .iter()
        .map(|source| source.file().to_owned())
        .collect();
    match folder.repositories.len() {
        0 => {}
        1 => parts.push("1 git repository".to_owned()),
        count => parts.push(format!("{count} git repositories")),
    }
    format!("Found {} in {}", init::listed(&parts), folder.name)
}

/// Returns what was done, what is left to do, and how it goes on.
fn done(target: &Target, draft: &Draft, rendered: &Rendered, written: &Written) -> String {
    let mut lines = Vec::new();
    let verb = if target.file.is_some() {
        "Wrote"
    } else {
        "Would write"
    };
    lines.push(format!(
        "{verb} {} with {}",
        target.shown,
        many(draft.services.len(), "service")
    ));
    if let Some(kept) = written.kept.as_deref().and_then(Path::file_name) {
        lines.push(format!("The one before is {}", kept.display()));
    }
    if written.schema {
        lines.push(format!(
            "Wrote {SCHEMA} beside it, by which editors complete and check it"
        ));
    }
    if !rendered.marked.is_empty() {
        let places = match rendered.marked.len() {
            1 => "1 place is".to_owned(),
            count => format!("{count} places are"),
        };
        lines.push(format!("{places} marked {MARK}, which xp cannot know:"));
        for Marked { line, text } in rendered.marked.iter().take(SHOWN_MARKS) {
            // The rest stands in the file, at that line.
            let first = text
                .split_once(". ")
                .map_or(text.as_str(), |(first, _)| first);
            let text = shortened(first, SHOWN_TEXT);
            lines.push(format!("  {}:{line}  {text}", target.shown));
        }
        if rendered.marked.len() > SHOWN_MARKS {
            let more = rendered.marked.len() - SHOWN_MARKS;
            lines.push(format!("  and {more} more"));
        }
    }
    if target.file.is_some() {
        lines.push(
            "hint: `xp doctor` looks at what a build needs, `xp plan` shows what would be built, `xp build` builds it"
                .to_owned(),
        );
    }
    lines.join("\n")
}
