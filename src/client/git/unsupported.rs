//! Explains unsupported repository formats.

/// Returns the cause and a hint for libgit2's message about an unsupported format; `None` for other errors.
pub(super) fn unsupported(message: &str) -> Option<(String, String)> {
    if let Some(extension) = message.strip_prefix("unsupported extension name extensions.") {
        return Some(of_extension(extension));
    }
    if message.starts_with("unknown object format") {
        return Some(unsupported_object_format());
    }
    if message.starts_with("unsupported repository version") {
        let why = "its repository format (core.repositoryFormatVersion) is newer than xp supports";
        return Some((why.to_owned(), CLONE_AGAIN.to_owned()));
    }
    let extension = message.strip_prefix("unsupported mandatory extension: '")?;
    let (why, hint) = match extension.trim_end_matches('\'') {
        "link" => (
            "its index is split into two files (core.splitIndex), which xp does not support"
                .to_owned(),
            "run `git config core.splitIndex false` and `git update-index --no-split-index` there to merge the index files",
        ),
        other => (
            format!("its index has the extension `{other}`, which xp does not support"),
            CLONE_AGAIN,
        ),
    };
    Some((why, hint.to_owned()))
}

const CLONE_AGAIN: &str = "the repository is intact; clone it again without this option, and push your commits to it with `git push`";

fn of_extension(extension: &str) -> (String, String) {
    match extension {
        "refstorage" => (
            "its reference format (extensions.refStorage), such as reftable, is not supported by xp".to_owned(),
            "run `git refs migrate --ref-format=files` there to convert it; this needs git 2.46 or later".to_owned(),
        ),
        "partialclone" => (
            "it is a partial clone (extensions.partialClone), and xp cannot fetch the missing objects"
                .to_owned(),
            "run `git fetch --refetch --no-filter` there to fetch them, then `git config --unset extensions.partialClone`"
                .to_owned(),
        ),
        "objectformat" | "compatobjectformat" => unsupported_object_format(),
        other => (
            format!("it uses git's extension `{other}` (extensions.{other}), which xp does not support"),
            CLONE_AGAIN.to_owned(),
        ),
    }
}

/// Returns the cause and a hint for a repository with another object format than SHA-1.
pub(super) fn unsupported_object_format() -> (String, String) {
    (
        "its object format is SHA-256 (extensions.objectFormat), but xp supports only SHA-1".to_owned(),
        "create a repository with `git init --object-format=sha1`, and fill it with `git fast-export --all | git fast-import`"
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsupported_formats_are_explained() {
        for (message, why, hint) in [
            (
                "unsupported extension name extensions.refstorage",
                "reftable",
                "git refs migrate",
            ),
            (
                "unsupported extension name extensions.partialclone",
                "partial clone",
                "--refetch",
            ),
            (
                "unsupported extension name extensions.new",
                "`new`",
                "clone it again",
            ),
            (
                "unknown object format 'sha256'",
                "SHA-256",
                "--object-format=sha1",
            ),
            (
                "unsupported repository version 2; only versions up to 1",
                "newer",
                "clone it again",
            ),
            (
                "unsupported mandatory extension: 'link'",
                "split",
                "--no-split-index",
            ),
        ] {
            let found = unsupported(message).unwrap();
            assert!(found.0.contains(why) && found.1.contains(hint), "{found:?}");
        }
        assert_eq!(unsupported("object not found - no match for id"), None);
    }
}
