//! Paths of files and folders from the platform's folder on, by their text alone.

/// Returns where a path leads that is written in a folder: from the platform's folder on, without
/// `.` and `..`, and `.` for that folder itself. Returns none where it leads out, or cannot stand in a
/// manifest.
pub fn join(folder: &str, written: &str) -> Option<String> {
    let is_at_home = written == "~" || written.starts_with("~/");
    let is_odd = |c: char| c == '\\' || c.is_control();
    if written.starts_with('/') || is_at_home || written.contains(is_odd) {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(written.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(shown(&parts))
}

/// Returns the path from a folder on, where it lies there.
pub fn below(path: &str, folder: &str) -> Option<String> {
    if folder == "." {
        return Some(path.to_owned());
    }
    let rest = path.strip_prefix(folder)?;
    if rest.is_empty() {
        return Some(".".to_owned());
    }
    rest.strip_prefix('/').map(str::to_owned)
}

/// Returns the folder that a file or folder lies in.
pub fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or(".", |(folder, _)| folder)
}

/// Returns the last part of a path.
pub fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Returns the innermost folder that holds both folders, or is one of them.
pub fn common(one: &str, other: &str) -> String {
    let parts = one.split('/').zip(other.split('/'));
    let parts: Vec<&str> = parts
        .take_while(|(one, other)| one == other)
        .map(|(part, _)| part)
        .collect();
    shown(&parts)
}

fn shown(parts: &[&str]) -> String {
    match parts {
        [] => ".".to_owned(),
        parts => parts.join("/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_within_the_platform() {
        for (folder, written, path) in [
            (".", ".", Some(".")),
            (".", "./a//b/", Some("a/b")),
            ("deploy", "../src/a", Some("src/a")),
            ("deploy", "..", Some(".")),
            ("deploy", "../..", None),
            (".", "/srv", None),
            (".", "~/x", None),
            (".", "~x", Some("~x")),
            (".", "a\\b", None),
            (".", "a\nb", None),
        ] {
            assert_eq!(join(folder, written).as_deref(), path, "{folder} {written}");
        }
        assert_eq!(below("a/b", "a").as_deref(), Some("b"));
        assert_eq!(below("a", "a").as_deref(), Some("."));
        assert_eq!(below("ab", "a"), None);
        assert_eq!(below("a", ".").as_deref(), Some("a"));
        assert_eq!(common("a/b/c", "a/b"), "a/b");
        assert_eq!(common("a", "b"), ".");
        assert_eq!(common(".", "b"), ".");
        assert_eq!(parent("a"), ".");
    }
}
