//! The files that xp reads and writes.

/// Paths and descriptions.
pub const FILES: &[(&str, &str)] = &[
    (
        "x-platform.yml",
        "The manifest, in the current folder or a parent.",
    ),
    (
        "x-platform.lock",
        "The lock file, a fixed set of commits and images; written by `xp lock`.",
    ),
    (
        "builders/",
        "Builder images, one folder with a Dockerfile each.",
    ),
    (
        ".xp/",
        "The cache folder: exported commits, caches and logs. Safe to delete.",
    ),
    (".xp/logs/", "Logs of recent runs, one folder per run."),
    (
        "~/.docker/config.json",
        "Registry logins and credential helpers.",
    ),
    (
        "~/.netrc, ~/.gitconfig, ~/.ssh/config",
        "Logins and connection settings of git remotes.",
    ),
];
