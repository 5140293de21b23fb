//! Builder folders.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use thiserror::Error;
use walkdir::WalkDir;

use crate::base::error::{Diagnostic, Exit};
use crate::base::suggest;
use crate::model::dockerfile::label;
use crate::model::event::Unit;
use crate::model::image::ImageRepository;
use crate::model::manifest::{BuilderName, Manifest};
use crate::model::plan::FolderBuilder;
use crate::model::plugin::LABEL_PLUGIN;
use crate::model::recipe::{ContentHasher, ContentId};

/// A builder folder that cannot be used.
#[derive(Debug, Error)]
pub enum BuilderError {
    /// The folder does not exist.
    #[error("builder `{name}` not found: {} is not a folder with a Dockerfile", folder.display())]
    Missing {
        /// The builder.
        name: BuilderName,
        /// The expected folder.
        folder: PathBuf,
        /// The existing builders.
        known: Vec<String>,
    },
    /// A file in the folder cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl Diagnostic for BuilderError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Missing { name, known, .. } => {
                let hint = suggest::hint(
                    name.as_str(),
                    "available builders",
                    known.iter().map(String::as_str),
                );
                vec![hint.unwrap_or_else(|| {
                    "create a Dockerfile with the toolchain there, such as `FROM golang:1`; \
                    `builders.dir` sets another folder for all builders"
                        .to_owned()
                })]
            }
            Self::Unreadable { .. } => {
                vec![
                    "all files of a builder must be readable, because its image is tagged by their content"
                        .to_owned(),
                ]
            }
        }
    }
}

/// Returns the names of the folders with a Dockerfile, sorted.
pub fn builder_names(manifest: &Manifest) -> Vec<BuilderName> {
    let folder = manifest.folder.join(&manifest.builders.dir);
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let with_dockerfile = entries.filter(|entry| entry.path().join("Dockerfile").is_file());
    let mut names: Vec<BuilderName> = with_dockerfile
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    names.sort();
    names
}

/// Reads a builder's folder; its image is named by the content.
///
/// # Errors
///
/// If the folder does not exist or cannot be read.
pub fn folder_builder(
    manifest: &Manifest,
    name: &BuilderName,
) -> Result<(Unit, FolderBuilder), BuilderError> {
    let folder = manifest
        .folder
        .join(&manifest.builders.dir)
        .join(name.as_str());
    let missing = || BuilderError::Missing {
        name: name.clone(),
        folder: folder.clone(),
        known: builder_names(manifest)
            .iter()
            .map(ToString::to_string)
            .collect(),
    };
    if !folder.join("Dockerfile").is_file() {
        return Err(missing());
    }
    let content = content_id(&folder, &manifest.builders.args)?;
    // A builder name is always a valid last component of an image name.
    let repository: ImageRepository = format!("builders/{name}").parse().map_err(|_| missing())?;
    let tag = content.tag().ok_or_else(missing)?;
    let image = repository
        .with_prefix(manifest.registry.as_ref())
        .tagged(tag);
    let args = manifest.builders.args.clone();
    let path = folder.join("Dockerfile");
    let dockerfile = fs::read(&path);
    let dockerfile = dockerfile.map_err(|source| BuilderError::Unreadable { path, source })?;
    let plugin = label(&String::from_utf8_lossy(&dockerfile), LABEL_PLUGIN);
    Ok((
        Unit::Builder(name.clone()),
        FolderBuilder {
            folder,
            content,
            image,
            args,
            plugin,
        },
    ))
}

fn content_id(folder: &Path, args: &BTreeMap<String, String>) -> Result<ContentId, BuilderError> {
    let unreadable = |path: &Path, source: io::Error| BuilderError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let mut files: Vec<(String, PathBuf)> = Vec::new();
    for entry in WalkDir::new(folder).min_depth(1) {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(folder).to_owned();
            BuilderError::Unreadable {
                path,
                source: error.into(),
            }
        })?;
        if !entry.file_type().is_dir() {
            let relative = entry.path().strip_prefix(folder).unwrap_or(entry.path());
            files.push((relative.to_string_lossy().into_owned(), entry.into_path()));
        }
    }
    // Sort by full path, so that the order does not depend on the traversal.
    files.sort();
    let mut hasher = ContentHasher::new(args);
    for (relative, path) in files {
        let metadata = fs::symlink_metadata(&path).map_err(|source| unreadable(&path, source))?;
        if metadata.is_symlink() {
            let target = fs::read_link(&path).map_err(|source| unreadable(&path, source))?;
            hasher.symlink(&relative, &target.to_string_lossy());
        } else if metadata.is_file() {
            let executable = metadata.permissions().mode() & 0o111 != 0;
            let mut file = File::open(&path).map_err(|source| unreadable(&path, source))?;
            hasher
                .file(&relative, executable, &mut file)
                .map_err(|source| unreadable(&path, source))?;
        }
    }
    Ok(hasher.finish())
}
