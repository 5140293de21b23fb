//! A build context as a streamed tar archive, which is never complete in memory or on disk.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use futures_util::Stream;

use super::{ContextFolder, OUTSIDE_DOCKERFILE, cannot_read, is_special};
use crate::client::engine::container::pipe;
use crate::client::engine::exact_reader::ExactReader;

impl ContextFolder {
    /// Returns the archive as a stream, which ends with an error if a file cannot be read.
    ///
    /// The files are read on a separate thread, only as fast as the stream is consumed, which ends when the stream is
    /// dropped.
    pub fn stream(
        self: Arc<Self>,
    ) -> impl Stream<Item = io::Result<bytes::Bytes>> + Send + 'static {
        pipe::written(move |writer| self.write(writer))
    }

    pub fn write(&self, writer: impl Write) -> io::Result<()> {
        let mut archive = tar::Builder::new(writer);
        archive.follow_symlinks(false);
        // The engine needs the Dockerfile even if it is ignored.
        self.visit(Some(Path::new(&self.name)), |path, relative| {
            append(&mut archive, path, relative).map_err(|error| cannot_read(path, &error))
        })?;
        if self.name == OUTSIDE_DOCKERFILE {
            append(
                &mut archive,
                &self.dockerfile,
                Path::new(OUTSIDE_DOCKERFILE),
            )?;
        }
        archive.into_inner()?.flush()
    }
}

/// Appends a file, folder or link. Mode and time are kept, and the owner becomes root, as with `docker build`.
fn append(archive: &mut tar::Builder<impl Write>, path: &Path, name: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    let kind = metadata.file_type();
    if is_special(kind) {
        return Ok(());
    }
    let mut header = tar::Header::new_gnu();
    header.set_metadata(&metadata);
    header.set_uid(0);
    header.set_gid(0);
    if kind.is_symlink() {
        header.set_size(0);
        return archive.append_link(&mut header, name, fs::read_link(path)?);
    }
    if kind.is_dir() {
        header.set_size(0);
        return archive.append_data(&mut header, name, io::empty());
    }
    let file = File::open(path)?;
    let size = metadata.len();
    header.set_size(size);
    archive.append_data(&mut header, name, ExactReader { file, left: size })
}
