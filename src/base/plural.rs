//! Plurals of nouns, and lists. Pure.

use std::fmt::Display;

/// Returns a count and its noun, pluralized.
pub fn count_of(count: usize, noun: &str) -> String {
    // "copy" becomes "copies", but "key" becomes "keys".
    let stem = noun.strip_suffix('y');
    let stem = stem.filter(|stem| !stem.ends_with(['a', 'e', 'o', 'u']));
    match (count, stem) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{count} {stem}ies"),
        (_, None) => format!("{count} {noun}s"),
    }
}

/// Returns `a`, `a and b`, or `a, b and c`.
pub fn join_with_and(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [start @ .., last] => format!("{} and {last}", start.join(", ")),
    }
}

/// Returns `a, b`, or `a, b and 3 more` if there are more than `shown`.
pub fn abbreviated(items: &[impl Display], shown: usize) -> String {
    let first = items.iter().take(shown).map(ToString::to_string);
    let first = first.collect::<Vec<_>>().join(", ");
    match items.len().saturating_sub(shown) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// Returns text such as `3 to build, 140 up to date`, without counts of zero.
pub fn counted(counts: &[(usize, &str)]) -> String {
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let counts = counts.map(|(count, what)| format!("{count} {what}"));
    counts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_joined_and_abbreviated() {
        let names = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(join_with_and(&names), "a, b and c");
        assert_eq!(join_with_and(&names[..1]), "a");
        assert_eq!(abbreviated(&names, 3), "a, b, c");
        assert_eq!(abbreviated(&names, 1), "a and 2 more");
    }

    #[test]
    fn nouns_are_pluralized() {
        assert_eq!(count_of(1, "repository"), "1 repository");
        assert_eq!(count_of(0, "repository"), "0 repositories");
        assert_eq!(count_of(2, "key"), "2 keys");
        assert_eq!(count_of(3, "image"), "3 images");
    }

    #[test]
    fn counts_of_zero_are_omitted() {
        let counts = [(3, "to build"), (0, "to push"), (140, "up to date")];
        assert_eq!(counted(&counts), "3 to build, 140 up to date");
    }
}
