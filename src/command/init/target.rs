//! Where the manifest goes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::cli::InitArgs;
use crate::error::Failure;
use crate::manifest::DEFAULT_NAME;
use crate::settings::Settings;

/// Where the manifest goes.
pub struct Target {
    /// The folder that it is in, or would be in.
    pub folder: PathBuf,
    /// The file; none for standard output.
    pub file: Option<PathBuf>,
    /// How messages call the file.
    pub shown: String,
}

/// Something in the folder.
pub enum Inside {
    File(String),
    Folder(String),
}

impl Target {
    /// Returns where the manifest goes; that something is there is an error.
    pub fn new(settings: &Settings, args: &InitArgs) -> Result<Self, Failure> {
        let is_printed = args.dry_run || args.output.as_deref() == Some(Path::new("-"));
        let named = args.output.as_ref().filter(|_| !is_printed);
        let named = named.or(settings.file.as_ref()).cloned();
        let shown = named.unwrap_or_else(|| PathBuf::from(DEFAULT_NAME));
        let file = settings.directory.join(&shown);
        let folder = file.parent().unwrap_or(Path::new("/"));
        let folder = folder.canonicalize().map_err(|error| {
            let shown = folder.display();
            let what = match error.kind() {
                io::ErrorKind::NotFound => format!("there is no folder {shown}"),
                _ => format!("the folder {shown} cannot be used: {error}"),
            };
            Failure::usage(format!(
                "{what}\nhint: the manifest goes into the folder that holds the working copies"
            ))
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
    pub fn inside(&self, path: &Path) -> Result<Inside, Failure> {
        let full = path.canonicalize().map_err(|error| {
            Failure::usage(format!(
                "{} cannot be read: {error}\n\
                 hint: `--from` names a file or a folder, from the current folder on",
                path.display()
            ))
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
