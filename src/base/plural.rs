//! Plurals of nouns. Pure.

/// Returns a count and its noun, pluralized.
pub fn many(count: usize, noun: &str) -> String {
    // "copy" becomes "copies", but "key" becomes "keys".
    let stem = noun.strip_suffix('y');
    let stem = stem.filter(|stem| !stem.ends_with(['a', 'e', 'o', 'u']));
    match (count, stem) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{count} {stem}ies"),
        (_, None) => format!("{count} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::many;

    #[test]
    fn nouns_are_pluralized() {
        assert_eq!(many(1, "repository"), "1 repository");
        assert_eq!(many(0, "repository"), "0 repositories");
        assert_eq!(many(2, "key"), "2 keys");
        assert_eq!(many(3, "image"), "3 images");
    }
}
