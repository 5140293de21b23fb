//! Install scripts of packages from a registry.
//!
//! Most of them stay in `node_modules`; some read files of the project, or write to the home folder, so that restoring
//! `node_modules` is not enough.

/// Packages whose install scripts stay in `node_modules`. npm's lock file has all packages with such scripts.
const SELF_CONTAINED: &[&str] = &[
    "@parcel/watcher",
    "@swc/core",
    "@tailwindcss/oxide",
    "bcrypt",
    "better-sqlite3",
    "bufferutil",
    "canvas",
    "core-js",
    "core-js-pure",
    "cpu-features",
    "es5-ext",
    "esbuild",
    "fsevents",
    "less",
    "msgpackr-extract",
    "node-sass",
    "protobufjs",
    "sharp",
    "sqlite3",
    "ssh2",
    "unrs-resolver",
    "utf-8-validate",
    "vue-demi",
];

/// Packages with other install scripts, for lock files that do not list these scripts: database clients made from a
/// schema of the project, downloads of browsers and other programs, and git hooks.
const ELSEWHERE: &[&str] = &[
    "@prisma/client",
    "@prisma/engines",
    "cypress",
    "electron",
    "husky",
    "lefthook",
    "mongodb-memory-server",
    "nx",
    "playwright",
    "playwright-chromium",
    "playwright-firefox",
    "playwright-webkit",
    "pre-commit",
    "prisma",
    "puppeteer",
    "redis-memory-server",
    "simple-git-hooks",
    "yorkie",
];

/// Returns whether the install script of a package stays in `node_modules`.
pub(super) fn is_self_contained(package: &str) -> bool {
    SELF_CONTAINED.contains(&package)
}

/// Returns whether a package is known to read or write other files; `locked` is its name and version or range.
pub(super) fn leads_elsewhere(locked: &str) -> bool {
    let mut names = ELSEWHERE.iter();
    names.any(|name| {
        let rest = locked.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with('@'))
    })
}
