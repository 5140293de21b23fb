//! `.gitmodules`: where the submodules of a commit come from.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use git2::Config;

use super::GitError;
use super::error::GitErrorKind;

/// A submodule, as `.gitmodules` describes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Module {
    /// The URL as written, which may be relative.
    pub(super) url: Option<String>,
    /// `update = none`: it is not checked out unless somebody asks for it by name.
    pub(super) is_left_out: bool,
}

/// Reads the text of a `.gitmodules`, and returns its submodules by their paths.
///
/// `scratch` is a file to be, from which libgit2 reads the text.
///
/// # Errors
///
/// A text that is no git configuration, one that includes other files, and a path that leads out of
/// the repository or into git's own folder.
pub(super) fn parse(text: &[u8], scratch: &Path) -> Result<BTreeMap<String, Module>, GitError> {
    if includes_files(text) {
        return Err(wrong("it includes other files, which git does not allow"));
    }
    fs::write(scratch, text)
        .map_err(|cause| GitError::file(format!("cannot write {}", scratch.display()), cause))?;
    let read = read(scratch);
    _ = fs::remove_file(scratch);
    let by_name = read.map_err(|cause| wrong(cause.message().to_owned()))?;
    let mut by_path = BTreeMap::new();
    for (path, module) in by_name.into_values() {
        let Some(path) = path else { continue };
        if !is_within(&path) {
            return Err(wrong(format!(
                "the path `{path}` leads out of the repository, or into a folder of git's own"
            )));
        }
        by_path.entry(path).or_insert(module);
    }
    Ok(by_path)
}

fn wrong(cause: impl Into<String>) -> GitError {
    let cause: String = cause.into();
    GitError::new(GitErrorKind::Local, "`.gitmodules` cannot be used").because(cause)
}

type Named = BTreeMap<String, (Option<String>, Module)>;

fn read(file: &Path) -> Result<Named, git2::Error> {
    let mut named = Named::new();
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
        let (path, module) = named.entry(name.to_owned()).or_default();
        match key {
            "path" => *path = Some(value.trim_end_matches('/').to_owned()),
            "url" => module.url = Some(value.to_owned()),
            // Any other way of updating would run a program, or move a branch that is not there.
            "update" => module.is_left_out = value == "none",
            _ => {}
        }
    })?;
    Ok(named)
}

/// Looks for a section `include` or `includeIf`, which libgit2 would follow.
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

    fn parsed(text: &str) -> Result<BTreeMap<String, Module>, GitError> {
        let folder = tempfile::tempdir().unwrap();
        parse(text.as_bytes(), &folder.path().join("modules"))
    }

    #[test]
    fn submodules_are_found_by_their_paths() {
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
        assert!(!modules["vendor/x"].is_left_out && modules["off"].is_left_out);
    }

    #[test]
    fn what_leads_elsewhere_is_refused() {
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
