//! Why a file of Git LFS did not come, in words.

use super::Pointer;
use super::filter::{PROGRAM, name};
use crate::client::git::GitError;
use crate::client::git::error::GitErrorKind;
use crate::source::GitUrl;

/// Makes the error for a program that cannot be run.
pub(super) fn not_started(cause: std::io::Error, pointers: &[Pointer]) -> GitError {
    let first = pointers.first().map(name).unwrap_or_default();
    let more = match pointers.len() {
        0 | 1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    let what = format!("`{first}`{more} is in Git LFS, and `{PROGRAM}` cannot be run");
    GitError::new(GitErrorKind::Local, what)
        .because(cause)
        .with_hint("install git-lfs, such as by `apt-get install git-lfs`: without it, the image would get pointers instead of files")
}

/// Says what a person can do, by what the program said.
pub(super) fn hint(said: &str) -> &'static str {
    let says = |words: &[&str]| words.iter().any(|words| said.contains(words));
    if says(&["executable file not found"]) {
        return "git-lfs needs git itself: install it, such as by `apt-get install git`";
    }
    if says(&["not exist on the server", "404"]) {
        return "whoever committed it has not pushed it: `git lfs push --all origin` does";
    }
    if says(&["401", "403", "redentials", "uthentication", "uthorization"]) {
        return "git-lfs asks for the login as git does: `~/.netrc`, a credential helper, or the URL";
    }
    "`git lfs fetch` in a working copy must work without a question"
}

/// Returns the last lines that say something.
pub(super) fn last_words(stderr: &str) -> String {
    let lines: Vec<&str> = stderr
        .lines()
        .map(str::trim)
        // Where git-lfs keeps its own log is gone when this is read.
        .filter(|line| !line.is_empty() && !line.starts_with("Errors logged to"))
        .filter(|line| !line.starts_with("Use `git lfs logs"))
        .collect();
    lines[lines.len().saturating_sub(4)..].join("; ")
}

/// Leaves out of what the program said what must not be shown.
pub(super) fn without_secrets(url: &GitUrl, said: &str) -> String {
    let text = url.expose();
    let credentials = text
        .split_once("://")
        .and_then(|(_, rest)| rest.split('/').next()?.rsplit_once('@'))
        .map(|(credentials, _)| credentials)
        .filter(|_| url.password().is_some() || url.has_secret_user());
    let secret_user = url.user().filter(|_| url.has_secret_user());
    [credentials, url.password(), secret_user]
        .into_iter()
        .flatten()
        .filter(|secret| !secret.is_empty())
        .fold(said.to_owned(), |said, secret| said.replace(secret, "***"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_program_says_hides_secrets() {
        let url: GitUrl = "https://bob:s%40cret@h/x".parse().unwrap();
        let said = without_secrets(&url, "batch: https://bob:s%40cret@h/x/info/lfs s@cret");
        assert!(!said.contains("cret"), "{said}");
        let url: GitUrl = "https://T0KEN@h/x".parse().unwrap();
        assert_eq!(without_secrets(&url, "T0KEN@h"), "***@h");
        let url: GitUrl = "https://bob@h/x".parse().unwrap();
        assert!(!without_secrets(&url, "https://bob@h/x").contains("bob"));
    }
}
