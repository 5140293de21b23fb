//! Destination of the generated manifest.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::base::error::Failure;
use crate::cli::InitArgs;
use crate::host::settings::Settings;
use crate::model::manifest::DEFAULT_NAME;

/// The destination of the manifest.
pub struct ManifestTarget {
    /// The folder of the manifest, even if it is only printed.
    pub folder: PathBuf,
    /// The file; `None` for standard output.
    pub file: Option<PathBuf>,
    /// The file's name in messages.
    pub shown: String,
    /// Whether the user named the file.
    pub is_named: bool,
}

/// A path relative to the manifest's folder.
pub enum Inside {
    File(String),
    Folder(String),
}

impl ManifestTarget {
    /// Determines the destination. It is an error if the file exists, unless it may be replaced.
    pub fn new(settings: &Settings, args: &InitArgs) -> Result<Self, Failure> {
        let is_printed = args.dry_run || args.output.as_deref() == Some(Path::new("-"));
        let named = args.output.as_ref().filter(|_| !is_printed);
        let named = named.or(settings.file.as_ref()).cloned();
        let is_named = named.is_some();
        let shown = named.unwrap_or_else(|| PathBuf::from(DEFAULT_NAME));
        let file = settings.directory.join(&shown);
        let folder = file.parent().unwrap_or(Path::new("/"));
        let folder = folder.canonicalize().map_err(|error| {
            let shown = folder.display();
            let what = match error.kind() {
                io::ErrorKind::NotFound => format!("the folder {shown} does not exist"),
                _ => format!("cannot use the folder {shown}: {error}"),
            };
            Failure::usage(format!(
                "{what}\nhint: the manifest belongs in the folder that contains the working copies"
            ))
        })?;
        if folder.to_str().is_none() {
            let shown = folder.display();
            let message = format!("the name of the folder {shown} is not UTF-8");
            return Err(Failure::usage(message));
        }
        let shown = shown.display().to_string();
        if !is_printed {
            check_free(&file, &shown, args.force)?;
        }
        let file = file.file_name().map(|name| folder.join(name));
        Ok(Self {
            file: file.filter(|_| !is_printed),
            folder,
            shown,
            is_named,
        })
    }

    /// Moves the destination to the top of the repository that contains its folder, which is `below` there.
    pub fn at_top(self, top: &Path, below: &str, force: bool) -> Result<Self, Failure> {
        let up = "../".repeat(below.split('/').count());
        let shown = format!("{up}{}", self.shown);
        let file = self.file.map(|_| top.join(DEFAULT_NAME));
        if let Some(file) = &file {
            check_free(file, &shown, force)?;
        }
        Ok(Self {
            file,
            folder: top.to_owned(),
            shown,
            is_named: self.is_named,
        })
    }

    /// Returns the path of a file or folder relative to the manifest's folder.
    pub fn inside(&self, path: &Path) -> Result<Inside, Failure> {
        let full = path.canonicalize().map_err(|error| {
            Failure::usage(format!(
                "cannot read {}: {error}\n\
                 hint: pass a file or folder, relative to the current folder",
                path.display()
            ))
        })?;
        let inside = full.strip_prefix(&self.folder).ok().and_then(Path::to_str);
        let Some(inside) = inside else {
            return Err(Failure::usage(format!(
                "{} is not inside {}, the folder of the manifest\n\
                 hint: `-C DIR` creates the manifest in a folder that contains both",
                full.display(),
                self.folder.display()
            )));
        };
        Ok(if full.is_dir() {
            Inside::Folder(inside.to_owned())
        } else {
            Inside::File(inside.to_owned())
        })
    }
}

/// Fails, before any questions are asked, if the file exists and may not be replaced.
fn check_free(file: &Path, shown: &str, force: bool) -> Result<(), Failure> {
    if force || fs::symlink_metadata(file).is_err() {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{shown} already exists and was not changed\n\
         hint: `--dry-run` prints the new manifest; `--force` replaces the file and keeps the old one as \
         {shown}.old"
    )))
}
