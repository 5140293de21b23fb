//! A base image with this machine's Mercurial and Python, because no public registry is used.

use std::path::Path;
use std::process::Command;

use super::{Engine, PROGRAM, base_image};
use crate::process;

/// Builds the root in a folder, imports the image and returns its name.
pub fn import(engine: &Engine, root: &Path) -> String {
    base_image::lay_out(root);
    process::succeed(Command::new(PROGRAM).arg("hg-root").arg(root));
    let mut tar = Command::new("tar");
    tar.args(["--create", "--owner=0", "--group=0", "--numeric-owner"]);
    let archive = process::run(tar.arg("--directory").arg(root).arg("."));
    assert!(
        archive.status.success(),
        "{}",
        process::text(&archive.stderr)
    );
    let image = format!("{}/hg:1", super::run_prefix());
    let mut import = engine.client();
    import.args(["import", "--change", "ENV PATH=/bin:/usr/bin", "-"]);
    process::succeed_with_input(import.arg(&image), &archive.stdout);
    image
}
