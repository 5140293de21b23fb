//! Paths of a manifest: inside its folder, and inside a container. Purely lexical.

use std::path::PathBuf;

/// Normalizes a relative path: no `.` and no double slashes; `.` for the folder itself.
///
/// # Errors
///
/// The path is absolute, starts with `~`, contains `..`, or is inside a `.git` folder, where a file could become
/// a hook.
pub(super) fn within_folder(text: &str) -> Result<PathBuf, String> {
    let parts = parts_within(text)?;
    if parts.iter().any(|part| part.eq_ignore_ascii_case(".git")) {
        return Err(format!("`{text}` must not be inside a `.git` folder"));
    }
    Ok(parts.iter().collect())
}

/// Like [`within_folder`], for a path in a git repository.
pub(crate) fn within_repository(text: &str) -> Result<String, String> {
    within_folder(text)?;
    within_context(text)
}

/// Like [`within_folder`], for a path in a build context, which may be inside `.git`.
pub(crate) fn within_context(text: &str) -> Result<String, String> {
    parts_within(text).map(|parts| parts.join("/"))
}

fn parts_within(text: &str) -> Result<Vec<&str>, String> {
    if text.starts_with('/') {
        return Err(format!("`{text}` must be a relative path"));
    }
    if text == "~" || text.starts_with("~/") {
        return Err(format!(
            "`{text}` must be a relative path, not one in the home folder"
        ));
    }
    if text.contains('\\') || text.chars().any(char::is_control) {
        return Err(format!(
            "`{text}` must not contain backslashes or control characters"
        ));
    }
    let parts: Vec<&str> = text
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    if parts.contains(&"..") {
        return Err(format!("`{text}` must not contain `..`"));
    }
    Ok(if parts.is_empty() { vec!["."] } else { parts })
}

/// Normalizes an absolute path in a container: no double slashes and no trailing slash.
///
/// # Errors
///
/// The path is relative, is `/`, or contains `..` or a colon, which separates the parts of a mount.
pub(super) fn in_container(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err(format!(
            "`{text}` must be an absolute path in the container"
        ));
    }
    if text.contains(':') || text.chars().any(char::is_control) {
        return Err(format!(
            "`{text}` must not contain colons or control characters"
        ));
    }
    let parts: Vec<&str> = text
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    if parts.contains(&"..") {
        return Err(format!("`{text}` must not contain `..`"));
    }
    if parts.is_empty() {
        return Err("`/` would hide the whole file system of the container".to_owned());
    }
    Ok(format!("/{}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_are_normalized() {
        for (text, path) in [
            ("a", "a"),
            ("./a//b/", "a/b"),
            (".", "."),
            ("./", "."),
            ("a/./b", "a/b"),
            ("..a/b..", "..a/b.."),
        ] {
            assert_eq!(within_folder(text), Ok(PathBuf::from(path)), "{text}");
            assert_eq!(within_context(text).as_deref(), Ok(path), "{text}");
        }
        for invalid in [
            "/", "/a", "..", "../a", "a/..", "a/../b", "~", "~/a", "a\\b", "a\nb",
        ] {
            assert!(within_folder(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn container_paths_are_absolute() {
        assert_eq!(in_container("//a/./b/").as_deref(), Ok("/a/b"));
        for invalid in ["a", "", "/", "/..", "/a/../b", "/a:b", "~/a", "/a\n"] {
            assert!(in_container(invalid).is_err(), "{invalid}");
        }
    }
}
