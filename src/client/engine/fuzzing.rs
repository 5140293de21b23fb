//! What is fuzzed of the engine's client: see `fuzzing`.

use super::dockerignore::Dockerignore;

/// A `.dockerignore`, and paths that it is asked about: a folder that may keep something below is not
/// passed over where a file in it is kept.
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
