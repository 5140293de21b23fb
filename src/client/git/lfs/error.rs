//! Error messages for Git LFS.

use super::Pointer;
use super::filter::{PROGRAM, name};
use crate::client::git::GitError;
use crate::client::git::error::GitErrorKind;
use crate::model::source::GitUrl;

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

/// Removes secrets from the output of the program.
pub(super) fn without_secrets(url: &GitUrl, output: &str) -> String {
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
        .fold(output.to_owned(), |output, secret| {
            output.replace(secret, "***")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_removed_from_output() {
        let url: GitUrl = "https://bob:s%40cret@h/x".parse().unwrap();
        let output = without_secrets(&url, "batch: https://bob:s%40cret@h/x/info/lfs s@cret");
        assert!(!output.contains("cret"), "{output}");
        let url: GitUrl = "https://T0KEN@h/x".parse().unwrap();
        assert_eq!(without_secrets(&url, "T0KEN@h"), "***@h");
        let url: GitUrl = "https://bob@h/x".parse().unwrap();
        assert!(!without_secrets(&url, "https://bob@h/x").contains("bob"));
    }
}
