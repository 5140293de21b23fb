//! `xp init`

use std::fs;
use std::path::{Path, PathBuf};

use tokio::signal;

use super::session::MANIFEST;
use super::{many, print, write};
use crate::cli::InitArgs;
use crate::client::git::joined;
use crate::discover;
use crate::error::{Exit, Failure};
use crate::image::RegistryPrefix;
use crate::init::{self, Draft, Folder, InitError, MARK, Marked, Rendered, Source, Wishes};
use crate::manifest::DEFAULT_CACHE_DIR;
use crate::report::{ask, paint, say, shortened};
use crate::settings::Settings;

/// From so many services on, it is asked which.
const MANY_SERVICES: usize = 9;

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
        question(settings, &draft, &mut wishes).await?;
        draft = init::draft(&folder, &wishes, &read).map_err(failed)?;
    }
    let rendered = init::render(&draft).map_err(failed)?;
    let kept = match &target.file {
        None => {
            print(&rendered.text)?;
            None
        }
        Some(file) => write::write_new(file, &rendered.text, args.force)?,
    };
    if !settings.report.quiet {
        let done = done(&target, &draft, &rendered, kept.as_deref());
        say(&paint(&done, settings.report.color));
    }
    Ok(())
}

/// Where the manifest goes.
struct Target {
    /// The folder that it is in, or would be in.
    folder: PathBuf,
    /// The file; none for standard output.
    file: Option<PathBuf>,
    /// How messages call the file.
    shown: String,
}

/// Something in the folder.
enum Inside {
    File(String),
    Folder(String),
}

impl Target {
    fn new(settings: &Settings, args: &InitArgs) -> Result<Self, Failure> {
        let is_printed = args.dry_run || args.output.as_deref() == Some(Path::new("-"));
        let named = args.output.as_ref().filter(|_| !is_printed);
        let named = named.or(settings.file.as_ref()).cloned();
        let shown = named.unwrap_or_else(|| PathBuf::from(MANIFEST));
        let file = settings.directory.join(&shown);
        let folder = file.parent().unwrap_or(Path::new("/"));
        let folder = folder.canonicalize().map_err(|error| {
            Failure::usage(format!("there is no folder {}: {error}", folder.display()))
        })?;
        if folder.to_str().is_none() {
            let shown = folder.display();
            let message = format!("the name of the folder {shown} is not UTF-8");
            return Err(Failure::usage(message));
        }
        let shown = shown.display().to_string();
        // Said before anything is asked.
        if !is_printed && !args.force && fs::symlink_metadata(&file).is_ok() {
            return Err(Failure::usage(format!(
                "{shown} is there already, and is left as it is\n\
                 hint: `--dry-run` prints what would be written; `--force` writes it, and keeps the old one as \
                 {shown}.old"
            )));
        }
        let file = file.file_name().map(|name| folder.join(name));
        Ok(Self {
            file: file.filter(|_| !is_printed),
            folder,
            shown,
        })
    }

    /// Returns the path of a file or folder from the manifest's folder on.
    fn inside(&self, path: &Path) -> Result<Inside, Failure> {
        let full = path.canonicalize().map_err(|error| {
            Failure::usage(format!("{} cannot be read: {error}", path.display()))
        })?;
        let inside = full.strip_prefix(&self.folder).ok().and_then(Path::to_str);
        let Some(inside) = inside else {
            return Err(Failure::usage(format!(
                "{} is not in {}, and working copies stay in the manifest's folder\n\
                 hint: `-C DIR` makes the manifest for a folder that holds both",
                full.display(),
                self.folder.display()
            )));
        };
        Ok(match full.is_dir() {
            true => Inside::Folder(inside.to_owned()),
            false => Inside::File(inside.to_owned()),
        })
    }
}

/// Asks what only a person can know.
async fn question(settings: &Settings, draft: &Draft, wishes: &mut Wishes) -> Result<(), Failure> {
    let color = settings.report.color;
    if wishes.registry.is_none() {
        let suggested = draft.suggested_registry();
        let (question, default) = match suggested {
            Some(prefix) => ("Push images to which registry? (`-` for none)", prefix),
            None => (
                "Push images to which registry, such as harbour.example.com/x?",
                "none",
            ),
        };
        loop {
            let answer = answer(question, default, color).await?;
            let prefix = match answer.as_str() {
                "-" | "none" => break,
                "" => suggested.unwrap_or_default(),
                prefix => prefix,
            };
            if prefix.is_empty() {
                break;
            }
            match prefix.parse::<RegistryPrefix>() {
                Ok(prefix) => {
                    wishes.registry = Some(prefix);
                    break;
                }
                Err(error) => say(&paint(&format!("error: {error}"), color)),
            }
        }
    }
    if wishes.services.is_empty() && draft.services.len() >= MANY_SERVICES {
        loop {
            let answer = answer("Which services? Names or patterns", "all", color).await?;
            if matches!(answer.as_str(), "" | "all") {
                break;
            }
            let patterns = answer
                .split([',', ' '])
                .filter(|pattern| !pattern.is_empty());
            let patterns: Vec<String> = patterns.map(str::to_owned).collect();
            match draft.check_patterns(&patterns) {
                Ok(()) => {
                    wishes.services = patterns;
                    break;
                }
                Err(error) => say(&paint(&crate::error::render(&error), color)),
            }
        }
    }
    Ok(())
}

/// Waits for an answer; Ctrl-C and the end of the input write nothing.
async fn answer(question: &'static str, default: &str, color: bool) -> Result<String, Failure> {
    let default = default.to_owned();
    let line = tokio::task::spawn_blocking(move || ask(question, &default, color));
    let line = tokio::select! {
        line = line => joined(line),
        _ = signal::ctrl_c() => Ok(None),
    };
    match line {
        Ok(Some(line)) => Ok(line),
        Ok(None) => {
            say("\nNothing was written");
            Err(Failure::silent(Exit::Interrupted))
        }
        Err(error) => Err(Failure::outside(format!("no answer can be read: {error}"))),
    }
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
fn done(target: &Target, draft: &Draft, rendered: &Rendered, kept: Option<&Path>) -> String {
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
    if let Some(kept) = kept.and_then(Path::file_name) {
        lines.push(format!("The one before is {}", kept.display()));
    }
    if !rendered.marked.is_empty() {
        let places = match rendered.marked.len() {
            1 => "1 place is".to_owned(),
            count => format!("{count} places are"),
        };
        lines.push(format!("{places} marked {MARK}, which xp cannot know:"));
        for Marked { line, text } in rendered.marked.iter().take(SHOWN_MARKS) {
            let text = shortened(text, SHOWN_TEXT);
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
