//! Lexical operations on paths relative to the platform's folder.

/// Resolves a path written in a folder, relative to the platform's folder and without `.` and `..`; the
/// platform's folder itself is `.`. Returns `None` if it is outside that folder or not valid in a manifest.
pub fn join(folder: &str, written: &str) -> Option<String> {
    let is_in_home = written == "~" || written.starts_with("~/");
    let is_invalid = |c: char| c == '\\' || c.is_control();
    if written.starts_with('/') || is_in_home || written.contains(is_invalid) {
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
    Some(joined(&parts))
}

/// Returns the path relative to a folder, if it is inside.
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

/// Returns the parent folder.
pub fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or(".", |(folder, _)| folder)
}

/// Returns the last component of a path.
pub fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Returns the deepest common ancestor of two folders, which may be one of them.
pub fn common(one: &str, other: &str) -> String {
    let parts = one.split('/').zip(other.split('/'));
    let parts: Vec<&str> = parts
        .take_while(|(one, other)| one == other)
        .map(|(part, _)| part)
        .collect();
    joined(&parts)
}

fn joined(parts: &[&str]) -> String {
    match parts {
        [] => ".".to_owned(),
        parts => parts.join("/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_outside_the_platform_are_rejected() {
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
