//! Repositories that are in order, and in a format that xp cannot read.

/// Says what a format is and what to do about it, by what libgit2 says of it; none for other errors.
pub(super) fn unsupported(message: &str) -> Option<(String, String)> {
    if let Some(extension) = message.strip_prefix("unsupported extension name extensions.") {
        return Some(of_extension(extension));
    }
    if message.starts_with("unknown object format") {
        return Some(of_object_format());
    }
    if message.starts_with("unsupported repository version") {
        let why = "it has a newer repository format (core.repositoryFormatVersion) than xp knows";
        return Some((why.to_owned(), CLONE_ANEW.to_owned()));
    }
    let extension = message.strip_prefix("unsupported mandatory extension: '")?;
    let (why, hint) = match extension.trim_end_matches('\'') {
        "link" => (
            "its index is split in two files, which xp cannot read".to_owned(),
            "`git update-index --no-split-index` there makes it one, and `git config core.splitIndex false` keeps it so",
        ),
        other => (
            format!("its index has the extension `{other}`, which xp cannot read"),
            CLONE_ANEW,
        ),
    };
    Some((why, hint.to_owned()))
}

const CLONE_ANEW: &str = "nothing is wrong with it; clone it anew without that option, and bring your own commits along by `git push`";

fn of_extension(extension: &str) -> (String, String) {
    match extension {
        "refstorage" => (
            "its references are in a format that xp cannot read (extensions.refStorage), such as reftable".to_owned(),
            "`git refs migrate --ref-format=files` there converts them, with git 2.46 or newer".to_owned(),
        ),
        "partialclone" => (
            "it is a partial clone (extensions.partialClone), and xp cannot fetch the objects that it lacks"
                .to_owned(),
            "`git fetch --refetch --no-filter` there fetches the rest; `git config --unset extensions.partialClone` makes it a whole clone"
                .to_owned(),
        ),
        "objectformat" | "compatobjectformat" => of_object_format(),
        other => (
            format!("it uses git's extension `{other}` (extensions.{other}), which xp cannot read"),
            CLONE_ANEW.to_owned(),
        ),
    }
}

/// Returns what is said of a repository whose object names are not SHA-1.
pub(super) fn of_object_format() -> (String, String) {
    (
        "its objects have SHA-256 names (extensions.objectFormat), and xp names commits and images by SHA-1".to_owned(),
        "make a repository by `git init --object-format=sha1`, and fill it by `git fast-export --all | git fast-import`"
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_from_damage() {
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
                "clone it anew",
            ),
            (
                "unknown object format 'sha256'",
                "SHA-256",
                "--object-format=sha1",
            ),
            (
                "unsupported repository version 2; only versions up to 1",
                "newer",
                "clone it anew",
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
