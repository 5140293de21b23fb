//! A base image with this machine's Mercurial and Python, because no public registry is used.

use std::path::Path;
use std::process::Command;

use super::{Engine, PROGRAM, base_image};
use crate::process;

/// Builds the root in a folder, imports the image and returns its name.
pub fn import(engine: &Engine, root: &Path) -> String {
    base_image::lay_out(root);
    process::succeed(Command::new(PROGRAM).arg("hg-root").arg(root));
    let image = format!("{}/hg:1", super::run_prefix());
    base_image::import_root(engine, root, &image, &["ENV PATH=/bin:/usr/bin"]);
    image
}
