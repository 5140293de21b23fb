//! A base image made of Debian's static busybox, because no public registry is used.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Engine;
use crate::process::{self, succeed};

/// Builds the root in a folder, imports the image and returns its name.
pub fn import(engine: &Engine, root: &Path) -> String {
    let name = format!("{}/busybox:1", super::run_prefix());
    lay_out(root);
    let changes = ["ENV PATH=/bin", "CMD [\"/bin/sh\"]"];
    import_root(engine, root, &name, &changes);
    name
}

/// Imports the root of an image, with these instructions of a Dockerfile.
pub fn import_root(engine: &Engine, root: &Path, name: &str, changes: &[&str]) {
    let mut tar = Command::new("tar");
    tar.args(["--create", "--owner=0", "--group=0", "--numeric-owner"]);
    let archive = process::run(tar.arg("--directory").arg(root).arg("."));
    let message = process::text(&archive.stderr);
    assert!(archive.status.success(), "{message}");
    let mut import = engine.client();
    import.arg("import");
    for change in changes {
        import.args(["--change", change]);
    }
    process::succeed_with_input(import.args(["-", name]), &archive.stdout);
}

/// Writes busybox and the usual folders.
pub fn lay_out(root: &Path) {
    for (folder, mode) in [
        ("bin", 0o755),
        ("etc", 0o755),
        ("root", 0o700),
        ("tmp", 0o1777),
    ] {
        let folder = root.join(folder);
        fs::create_dir_all(&folder).expect("a folder of the base image");
        fs::set_permissions(folder, Permissions::from_mode(mode)).expect("its mode");
    }
    fs::set_permissions(root, Permissions::from_mode(0o755)).expect("its mode");
    let users = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n";
    fs::write(root.join("etc/passwd"), users).expect("a file of the base image");
    fs::write(root.join("etc/group"), "root:x:0:\nnogroup:x:65534:\n").expect("another one");

    let busybox = busybox_program();
    fs::copy(&busybox, root.join("bin/busybox")).expect("a copy of busybox");
    for applet in succeed(Command::new(&busybox).arg("--list")).lines() {
        if applet != "busybox" {
            symlink("busybox", root.join("bin").join(applet)).expect("a link to busybox");
        }
    }
}

/// Returns the program of Debian's package busybox-static. Another busybox on PATH may need
/// libraries that are not in the image.
fn busybox_program() -> PathBuf {
    ["/bin/busybox", "/usr/bin/busybox"]
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
        .expect("busybox-static is not installed; bin/test installs it")
}
