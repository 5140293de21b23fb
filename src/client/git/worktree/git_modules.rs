//! Parses `.gitmodules`, which describes the submodules of a commit.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use git2::Config;

use crate::client::git::GitError;
use crate::client::git::error::GitErrorKind;

/// A submodule in `.gitmodules`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubmoduleEntry {
    /// The URL as written, which may be relative.
    pub url: Option<String>,
    /// `update = none`: not checked out unless requested by name.
    pub is_disabled: bool,
}

/// Parses the content of `.gitmodules`, and returns its submodules by path.
///
/// `scratch` is the path of a temporary file for libgit2 to read.
///
/// # Errors
///
/// The text is not a git configuration or includes other files, or a path is outside the repository or
/// inside `.git`.
pub fn parse(text: &[u8], scratch: &Path) -> Result<BTreeMap<String, SubmoduleEntry>, GitError> {
    if includes_files(text) {
        return Err(invalid("`include` is not allowed there"));
    }
    fs::write(scratch, text)
        .map_err(|cause| GitError::file(format!("cannot write {}", scratch.display()), cause))?;
    let read = read(scratch);
    _ = fs::remove_file(scratch);
    let by_name = read.map_err(|cause| invalid(cause.message().to_owned()))?;
    let mut by_path = BTreeMap::new();
    for (path, module) in by_name.into_values() {
        let Some(path) = path else { continue };
        if !is_within(&path) {
            return Err(invalid(format!(
                "the path `{path}` is outside the repository or inside `.git`"
            )));
        }
        by_path.entry(path).or_insert(module);
    }
    Ok(by_path)
}

fn invalid(cause: impl Into<String>) -> GitError {
    let cause: String = cause.into();
    GitError::new(GitErrorKind::Local, "invalid `.gitmodules`").because(cause)
}

type SubmodulesByName = BTreeMap<String, (Option<String>, SubmoduleEntry)>;

fn read(file: &Path) -> Result<SubmodulesByName, git2::Error> {
    let mut by_name = SubmodulesByName::new();
    let config = Config::open(file)?;
    config.entries(None)?.for_each(|entry| {
        let (Ok(key), Ok(value)) = (entry.name(), entry.value()) else {
            return;
        };
        let Some((name, key)) = key
            .strip_prefix("submodule.")
            .and_then(|rest| rest.rsplit_once('.'))
        else {
            return;
        };
        let (path, module) = by_name.entry(name.to_owned()).or_default();
        match key {
            "path" => *path = Some(value.trim_end_matches('/').to_owned()),
            "url" => module.url = Some(value.to_owned()),
            // The other update modes run a command or move a branch, which does not exist here.
            "update" => module.is_disabled = value == "none",
            _ => {}
        }
    })?;
    Ok(by_name)
}

/// Returns whether there is an `include` or `includeIf` section, which libgit2 would follow.
fn includes_files(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'[').skip(1).any(|section| {
        let name: Vec<u8> = section
            .iter()
            .skip_while(|byte| byte.is_ascii_whitespace())
            .take("include".len())
            .map(u8::to_ascii_lowercase)
            .collect();
        name == b"include"
    })
}

fn is_within(path: &str) -> bool {
    let is_safe =
        |part: &str| !matches!(part, "" | "." | "..") && !part.eq_ignore_ascii_case(".git");
    path.split('/').all(is_safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<BTreeMap<String, SubmoduleEntry>, GitError> {
        let folder = tempfile::tempdir().unwrap();
        parse(text.as_bytes(), &folder.path().join("modules"))
    }

    #[test]
    fn submodules_are_listed_by_path() {
        let modules = parsed(
            "# a comment\n[submodule \"libs/a b\"]\n\tpath = libs/a b\n\turl = ../a.git ; why\n\tbranch = main\n\
             [submodule \"x.y\"] path = \"vendor/x\"/\n url = https://h/x?a=b\n update = !rm -rf /\n\
             [submodule \"off\"]\n path = off\n url = ../off\n update = none\n\
             [submodule \"no path\"]\n url = ../z\n[other]\n path = q\n",
        )
        .unwrap();
        let paths: Vec<&str> = modules.keys().map(String::as_str).collect();
        assert_eq!(paths, ["libs/a b", "off", "vendor/x"]);
        assert_eq!(modules["libs/a b"].url.as_deref(), Some("../a.git"));
        assert_eq!(modules["vendor/x"].url.as_deref(), Some("https://h/x?a=b"));
        assert!(!modules["vendor/x"].is_disabled && modules["off"].is_disabled);
    }

    #[test]
    fn paths_outside_and_includes_are_errors() {
        for path in [
            "../x",
            "/x",
            "a/../../x",
            ".git/x",
            "a/.GIT/hooks",
            "a//b",
            ".",
        ] {
            let text = format!("[submodule \"x\"]\n path = {path}\n url = ../x\n");
            assert!(parsed(&text).is_err(), "{path}");
        }
        for include in [
            "[include]",
            "[ Include ]",
            "[includeIf \"gitdir:/\"]",
            "[a][INCLUDE]",
        ] {
            let text = format!("{include}\n path = /etc/passwd\n");
            assert!(parsed(&text).is_err(), "{include}");
        }
        assert!(parsed("[submodule\n").is_err());
    }
}
