//! Words that depend on how many there are. Pure.

/// Returns a count and its noun.
pub fn many(count: usize, noun: &str) -> String {
    // Of a copy there are copies, of a key there are keys.
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
    fn nouns_follow_their_count() {
        assert_eq!(many(1, "repository"), "1 repository");
        assert_eq!(many(0, "repository"), "0 repositories");
        assert_eq!(many(2, "key"), "2 keys");
        assert_eq!(many(3, "image"), "3 images");
    }
}
