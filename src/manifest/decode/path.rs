//! Paths of a manifest: those below its folder, and those in a container. All by text alone.

use std::path::PathBuf;

/// Returns a relative path without `.` and double slashes; `.` for the folder itself.
///
/// # Errors
///
/// An absolute path, `~`, a folder of git's own, where a file could become a hook, and every `..`, even one
/// that would come back: it is not worth the doubt.
pub(super) fn within_folder(text: &str) -> Result<PathBuf, String> {
    let parts = parts_within(text)?;
    if parts.iter().any(|part| part.eq_ignore_ascii_case(".git")) {
        return Err(format!("`{text}` lies in a folder of git's own"));
    }
    Ok(parts.iter().collect())
}

/// Does the same for a path of a git repository.
pub(super) fn within_repository(text: &str) -> Result<String, String> {
    within_folder(text)?;
    within_context(text)
}

/// Does the same for a path that stays a text, such as a Dockerfile's, and may be git's own.
pub(crate) fn within_context(text: &str) -> Result<String, String> {
    parts_within(text).map(|parts| parts.join("/"))
}

fn parts_within(text: &str) -> Result<Vec<&str>, String> {
    if text.starts_with('/') {
        return Err(format!("`{text}` is absolute; a relative path is expected"));
    }
    if text == "~" || text.starts_with("~/") {
        return Err(format!(
            "`{text}` is below the home folder; a relative path is expected"
        ));
    }
    if text.contains('\\') || text.chars().any(char::is_control) {
        return Err(format!(
            "`{text}` contains a backslash or a control character"
        ));
    }
    let parts: Vec<&str> = text
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    if parts.contains(&"..") {
        return Err(format!(
            "`{text}` contains `..`, which may leave the folder"
        ));
    }
    Ok(if parts.is_empty() { vec!["."] } else { parts })
}

/// Returns an absolute path in a container, without double slashes and the last one.
///
/// # Errors
///
/// A relative path, one with `..` or a colon (which separates the parts of a mount), and `/` itself.
pub(super) fn in_container(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err(format!(
            "`{text}` must be an absolute path in the container"
        ));
    }
    if text.contains(':') || text.chars().any(char::is_control) {
        return Err(format!("`{text}` contains a colon or a control character"));
    }
    let parts: Vec<&str> = text
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    if parts.contains(&"..") {
        return Err(format!("`{text}` contains `..`"));
    }
    if parts.is_empty() {
        return Err("`/` would hide the whole container".to_owned());
    }
    Ok(format!("/{}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_are_normalised_and_stay_within() {
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
        for wrong in [
            "/", "/a", "..", "../a", "a/..", "a/../b", "~", "~/a", "a\\b", "a\nb",
        ] {
            assert!(within_folder(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn container_paths_are_absolute() {
        assert_eq!(in_container("//a/./b/").as_deref(), Ok("/a/b"));
        for wrong in ["a", "", "/", "/..", "/a/../b", "/a:b", "~/a", "/a\n"] {
            assert!(in_container(wrong).is_err(), "{wrong}");
        }
    }
}
