//! Suggestions for mistyped words: "did you mean …?"

use std::fmt::Display;

/// Returns the candidate that is most similar to the word, if one is similar enough.
///
/// Case, dashes and underscores are ignored (`docker_builder` matches `dockerBuilder`). Up to a third of the
/// letters may differ.
pub(crate) fn nearest<'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    let folded = fold(word);
    let allowed = (folded.chars().count() / 3).clamp(1, 4);
    candidates
        .into_iter()
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&folded, &fold(candidate)),
                candidate,
            )
        })
        // A one-letter word would match every other.
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Returns a hint with the nearest candidate, or with all candidates if there are only a few.
pub(crate) fn hint<'c>(
    word: &str,
    what: &str,
    candidates: impl IntoIterator<Item = &'c str> + Clone,
) -> Option<String> {
    if let Some(candidate) = nearest(word, candidates.clone()) {
        return Some(did_you_mean(candidate));
    }
    let names: Vec<String> = candidates
        .into_iter()
        .map(|name| format!("`{name}`"))
        .collect();
    (1..=12)
        .contains(&names.len())
        .then(|| format!("{what}: {}", names.join(", ")))
}

/// Returns the hint that suggests a name.
pub(crate) fn did_you_mean(name: impl Display) -> String {
    format!("did you mean `{name}`?")
}

/// Returns the most similar candidates; those that differ only in case, or contain the word, come first.
pub(crate) fn similar<'c>(
    word: &str,
    candidates: impl Iterator<Item = &'c str>,
    count: usize,
) -> Vec<&'c str> {
    let wanted = word.to_lowercase();
    let mut similar: Vec<(bool, usize, &str)> = candidates
        .filter_map(|candidate| {
            let lower = candidate.to_lowercase();
            let contains = lower.contains(&wanted) || wanted.contains(&lower);
            let distance = strsim::damerau_levenshtein(&wanted, &lower);
            (contains || distance <= wanted.len().max(3) / 3)
                .then_some((!contains, distance, candidate))
        })
        .collect();
    similar.sort();
    similar.dedup_by_key(|(_, _, name)| *name);
    let names = similar.into_iter().map(|(_, _, name)| name);
    names.take(count).collect()
}

fn fold(word: &str) -> String {
    // Computing the distance of a very long word would be slow, and it matches nothing anyway.
    word.chars()
        .take(80)
        .filter(|c| !"-_ ".contains(*c))
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found() {
        let keys = ["dockerBuilder", "docker", "dir", "scripts", "needs"];
        assert_eq!(nearest("docker_builder", keys), Some("dockerBuilder"));
        assert_eq!(nearest("script", keys), Some("scripts"));
        assert_eq!(nearest("need", keys), Some("needs"));
        assert_eq!(nearest("dri", keys), Some("dir"));
        assert_eq!(nearest("x", keys), None);
        assert_eq!(nearest("", keys), None);
        assert_eq!(nearest("environment", keys), None);
    }
}
