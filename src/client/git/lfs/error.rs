//! Error messages for Git LFS.

use super::Pointer;
use super::filter::{PROGRAM, name};
use crate::client::git::GitError;
use crate::client::git::error::GitErrorKind;

/// Returns the error if `git-lfs` cannot be run.
pub(super) fn not_started(cause: std::io::Error, pointers: &[Pointer]) -> GitError {
    let first = pointers.first().map(name).unwrap_or_default();
    let more = match pointers.len() {
        0 | 1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    let what = format!("cannot run `{PROGRAM}` to fetch `{first}`{more} from Git LFS");
    GitError::new(GitErrorKind::Local, what)
        .because(cause)
        .with_hint("install git-lfs, for example with `apt-get install git-lfs`; without it, the image would contain pointers instead of files")
}

/// Returns a hint for the output of the program.
pub(super) fn hint(output: &str) -> &'static str {
    let contains_any = |words: &[&str]| words.iter().any(|words| output.contains(words));
    if contains_any(&["executable file not found"]) {
        return "git-lfs needs git; install it, for example with `apt-get install git`";
    }
    if contains_any(&["not exist on the server", "404"]) {
        return "the file was committed but not pushed to Git LFS; run `git lfs push --all origin` where it was committed";
    }
    if contains_any(&["401", "403", "redentials", "uthentication", "uthorization"]) {
        return "git-lfs uses the same logins as git: `~/.netrc`, a credential helper, or the URL";
    }
    "`git lfs fetch` in a working copy must work without prompting"
}

/// Returns the last relevant lines.
pub(super) fn last_lines(stderr: &str) -> String {
    let lines: Vec<&str> = stderr
        .lines()
        .map(str::trim)
        // The log file of git-lfs is removed with its folder.
        .filter(|line| !line.is_empty() && !line.starts_with("Errors logged to"))
        .filter(|line| !line.starts_with("Use `git lfs logs"))
        .collect();
    lines[lines.len().saturating_sub(4)..].join("; ")
}
