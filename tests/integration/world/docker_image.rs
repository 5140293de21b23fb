//! An image with this machine's Docker Engine, because no public registry is used.

use std::path::Path;
use std::process::Command;

use super::{Engine, PROGRAM, base_image};
use crate::process;

/// Builds the root in a folder, imports the image and returns its name.
pub fn import(engine: &Engine, root: &Path) -> String {
    base_image::lay_out(root);
    process::succeed(Command::new(PROGRAM).arg("docker-root").arg(root));
    let image = format!("{}/docker:1", super::run_prefix());
    let changes = [
        "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "ENTRYPOINT [\"/entrypoint\"]",
    ];
    base_image::import_root(engine, root, &image, &changes);
    image
}
