//! `xp init`

mod ignore;
mod questions;
mod summary;
mod target;

use std::fs;
use std::path::{Path, PathBuf};

use self::summary::WrittenFiles;
use super::{count_of, print};
use crate::base::error::{Exit, Failure};
use crate::base::files;
use crate::base::task::joined;
use crate::cli::InitArgs;
use crate::flow::discover;
use crate::host::settings::Settings;
use crate::model::init;
use crate::model::init::{InitError, InitOptions, SCHEMA};
use crate::model::manifest;
use crate::model::manifest::DEFAULT_CACHE_DIR;
use crate::report::{paint, print_message, shortened};
use target::{Inside, ManifestTarget};

/// The maximum length of the list of service names.
const SHOWN_NAMES: usize = 300;

/// Generates a manifest from the contents of the folder.
pub async fn run(settings: &Settings, args: &InitArgs) -> Result<(), Failure> {
    let mut target = ManifestTarget::new(settings, args)?;
    let current = target.folder.clone();
    let enclosing = tokio::task::spawn_blocking(move || discover::enclosing(&current));
    let enclosing = joined(enclosing.await);
    let mut below = String::new();
    let mut outside = None;
    if let Some(enclosing) = enclosing {
        if enclosing.is_tracked && !target.is_named {
            // A working copy must be in the manifest's folder.
            below = enclosing.below;
            target = target.at_top(&enclosing.top, &below, args.force)?;
        } else {
            outside = Some(vec![".."; enclosing.below.split('/').count()].join("/"));
        }
    }
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
    folder.enclosing = outside;
    let read = discover::file_reader(&target.folder);
    let list = discover::file_lister(&target.folder);
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
            let sources = match below.as_str() {
                "" => init::detect(&read),
                below => init::detect_below(below, &read),
            };
            options.sources = sources.map_err(InitError::from).map_err(failed)?;
            options.below = below.clone();
        }
        Some(from) => match target.inside(&settings.directory.join(from))? {
            Inside::File(file) => {
                let source = init::detect_format(&file, &read).map_err(InitError::from);
                options.sources = vec![source.map_err(failed)?];
                options.all_repositories = false;
            }
            Inside::Folder(below) => options.below = below,
        },
    }
    let mut draft = init::draft(&folder, &options, &read, &list).map_err(failed)?;
    if !settings.report.quiet {
        if !below.is_empty() {
            print_message(&format!(
                "{below} is a folder of the git repository {}, so the manifest belongs at its top",
                folder.name
            ));
        }
        print_message(&summary::found(&folder, &options.sources));
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
        draft = init::draft(&folder, &options, &read, &list).map_err(failed)?;
    }
    let rendered = init::render(&draft).map_err(failed)?;
    let mut written = WrittenFiles::default();
    match &target.file {
        None => print(&rendered.text)?,
        Some(file) => {
            written.kept = write_new(file, &rendered.text, args.force)?;
            written.schema = write_schema(file)?;
            let may_ask = settings.can_ask && !args.yes && !settings.report.quiet;
            let paths = init::ignored_paths(&draft, &folder);
            written.ignore = ignore::offer(settings, &target.folder, paths, may_ask).await?;
        }
    }
    if !settings.report.quiet {
        let done = summary::done(&target, &draft, &rendered, &written);
        print_message(&paint(&done, settings.report.color));
    }
    Ok(())
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
