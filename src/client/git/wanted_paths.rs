//! The selection of paths in a repository. Pure.

/// Returns whether a path is in the list or below an entry. An empty list selects all paths.
pub fn is_wanted(path: &[u8], wanted: &[String]) -> bool {
    wanted.is_empty()
        || wanted.iter().any(|wanted| {
            path.strip_prefix(wanted.as_bytes())
                .is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_names_match() {
        let wanted = ["services/a".to_owned(), "go.mod".to_owned()];
        for path in ["services/a", "services/a/x/y", "go.mod"] {
            assert!(is_wanted(path.as_bytes(), &wanted), "{path}");
        }
        for path in [
            "services/ab",
            "services",
            "services/b/x",
            "go.modx",
            "x/go.mod",
        ] {
            assert!(!is_wanted(path.as_bytes(), &wanted), "{path}");
        }
        assert!(is_wanted(b"x", &[]));
    }
}
