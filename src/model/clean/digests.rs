//! Finds digests in files that name images.

use std::collections::BTreeSet;

/// Returns the digests in a text, wherever they are: also in a file that is damaged, or of a newer version.
pub fn digests_in(text: &[u8]) -> BTreeSet<&str> {
    const PREFIX: &[u8] = b"sha256:";
    let mut digests = BTreeSet::new();
    let mut start = 0;
    while let Some(found) = text[start..]
        .windows(PREFIX.len())
        .position(|it| it == PREFIX)
    {
        let digits = start + found + PREFIX.len();
        let end = text[digits..]
            .iter()
            .take_while(|it| it.is_ascii_hexdigit())
            .count()
            + digits;
        if end - digits == 64
            && let Ok(digest) = str::from_utf8(&text[digits - PREFIX.len()..end])
        {
            digests.insert(digest);
        }
        start = digits;
    }
    digests
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_found_in_any_text() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let text = format!("<<<<<<< HEAD\n  digest: \"{digest}\"\n sha256:ab sha256:{digest}0\n");
        assert_eq!(Vec::from_iter(digests_in(text.as_bytes())), [&digest]);
        assert!(digests_in(b"sha256:").is_empty());
    }
}
