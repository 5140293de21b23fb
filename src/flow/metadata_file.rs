//! The file of `xp build --metadata-file`.

use std::fs;
use std::path::{Path, PathBuf};

use super::session::Session;
use crate::base::error::Failure;
use crate::base::files;
use crate::model::metadata::RunMetadata;

/// A file that receives the images of the run at its end.
pub struct MetadataFile(PathBuf);

impl MetadataFile {
    /// Makes sure that the file can be written, before anything is built. It has no services until the run ends: the
    /// images of an earlier run must not be mistaken for those of this one.
    ///
    /// # Errors
    ///
    /// The file exists and has other content, or it cannot be written.
    pub fn open(session: &Session, path: &Path) -> Result<Self, Failure> {
        let file = Self(session.settings.directory.join(path));
        file.check_replaces_metadata()?;
        // A pipe gets only the final document.
        if !file.0.exists() || file.0.is_file() {
            let folder = file.0.parent().unwrap_or(&file.0);
            let created = fs::create_dir_all(folder);
            created.map_err(|error| file.failure(&error))?;
            file.write(&RunMetadata::default())?;
        }
        Ok(file)
    }

    /// Writes the images of the run.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn write(&self, metadata: &RunMetadata) -> Result<(), Failure> {
        let text = format!("{:#}\n", serde_json::json!(metadata));
        files::replace(&self.0, &text).map_err(|error| self.failure(&error))
    }

    /// Makes sure that only an earlier metadata file is overwritten, never another file of the user.
    fn check_replaces_metadata(&self) -> Result<(), Failure> {
        let shown = self.0.display();
        if self.0.is_dir() {
            return Err(Failure::usage(format!(
                "cannot write the metadata file {shown}: it is a folder\n\
                 hint: `--metadata-file` names a file, such as {}",
                self.0.join("images.json").display()
            )));
        }
        if !self.0.is_file() {
            return Ok(());
        }
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        if text.trim().is_empty() || serde_json::from_str::<RunMetadata>(&text).is_ok() {
            return Ok(());
        }
        Err(Failure::usage(format!(
            "{shown} already exists and is not a metadata file\n\
             hint: remove it, or choose another file with `--metadata-file`"
        )))
    }

    fn failure(&self, error: &std::io::Error) -> Failure {
        Failure::outside(format!(
            "cannot write the metadata file {}: {error}\n\
             hint: choose another file with `--metadata-file`",
            self.0.display()
        ))
    }
}
