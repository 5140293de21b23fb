//! Adds the commit to the version of release builds.
//!
//! Others have none: a build script that runs after each commit would compile everything again.

use std::process::Command;

// Cargo passes its settings to build scripts in variables.
#[expect(clippy::disallowed_methods)]
fn main() {
    println!("cargo::rerun-if-changed=src/cli/build_script.rs");
    let version = env!("CARGO_PKG_VERSION");
    let commit = match std::env::var("PROFILE").as_deref() {
        Ok("release") => commit(),
        _ => None,
    };
    let version = commit.map_or_else(
        || version.to_owned(),
        |commit| format!("{version} ({commit})"),
    );
    println!("cargo::rustc-env=XP_VERSION={version}");
}

/// Returns the abbreviated commit and its date; `None` without a repository or git.
fn commit() -> Option<String> {
    let head = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    println!("cargo::rerun-if-changed={head}");
    git(&["log", "--max-count=1", "--abbrev=8", "--format=%h %cs"])
}

fn git(arguments: &[&str]) -> Option<String> {
    // In a builder container, the files belong to another user.
    let output = Command::new("git")
        .args(["-c", "safe.directory=*"])
        .args(arguments)
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let is_usable = output.status.success() && !text.trim().is_empty();
    is_usable.then(|| text.trim().to_owned())
}
