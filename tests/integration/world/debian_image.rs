//! Images of Debian with packages, because no public registry is used.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use super::Engine;
use crate::process::succeed;

/// The release that provides the packages.
const RELEASE: &str = "bookworm";

/// Only one test makes or imports an image at a time.
static TURN: Mutex<()> = Mutex::new(());

/// Makes an image with these packages unless the engine has it, and returns its name.
pub fn import(engine: &Engine, packages: &[&str]) -> String {
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let name = format!("{}/debian-{}:1", super::run_prefix(), packages.join("-"));
    if engine.image(&name).is_some() {
        return name;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("images");
    fs::create_dir_all(&folder).expect("a folder for images");
    let archive = folder.join(format!("{RELEASE}-{}.tar", packages.join("-")));
    if !archive.exists() {
        let new = folder.join(format!("{}.tar", std::process::id()));
        let include = format!("--include={}", packages.join(","));
        succeed(
            Command::new("mmdebstrap")
                .args(["--quiet", "--variant=minbase", &include])
                .args(["--dpkgopt=path-exclude=/usr/share/doc/*", RELEASE])
                .arg(&new),
        );
        fs::rename(&new, &archive).expect("the archive of an image");
    }
    let path = "ENV PATH=/usr/sbin:/usr/bin:/sbin:/bin";
    let mut import = engine.client();
    succeed(
        import
            .args(["import", "--change", path])
            .arg(&archive)
            .arg(&name),
    );
    name
}
