//! Fuzz targets of the engine's client; see `fuzzing`.

use crate::client::engine::build::dockerignore::Dockerignore;

/// Parses a `.dockerignore`, and checks that no folder is skipped if a file below it is kept.
pub fn dockerignore(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(patterns) = Dockerignore::parse(text) else {
        return;
    };
    for (folder, file) in [
        ("a", "a/b"),
        ("a/b", "a/b/c.txt"),
        ("Ü", "Ü/ "),
        ("*", "*/[x]"),
    ] {
        let is_lost = patterns.excludes(folder) && !patterns.may_keep_below(folder);
        assert!(!is_lost || patterns.excludes(file), "{file} is lost");
    }
}
