//! Matches path patterns like git.

/// Returns whether a path matches a pattern, like git with `WM_PATHNAME`: `*` and `?` do not match a slash, and `**`
/// matches any number of folders.
pub fn wildmatch(pattern: &[u8], path: &[u8]) -> bool {
    match_at(pattern, path, true)
}

/// Returns whether a path matches a pattern of a pathspec, like git without `WM_PATHNAME`: `*`, `?` and brackets match
/// slashes, too.
pub fn pathspec_match(pattern: &[u8], path: &[u8]) -> bool {
    let Some((first, rest)) = pattern.split_first() else {
        return path.is_empty();
    };
    let after_byte = |pattern: &[u8]| {
        let path = path.split_first();
        path.is_some_and(|(_, path)| pathspec_match(pattern, path))
    };
    match first {
        b'*' => {
            let rest = &rest[rest.iter().take_while(|byte| **byte == b'*').count()..];
            (0..=path.len()).any(|count| pathspec_match(rest, &path[count..]))
        }
        b'?' => after_byte(rest),
        b'[' => match (class(rest), path.first()) {
            (Some((class, rest)), Some(byte)) => class.contains(*byte) && after_byte(rest),
            _ => false,
        },
        literal => path.first() == Some(literal) && after_byte(rest),
    }
}

/// `is_start` is true at the start of a path component, where `**` matches folders.
fn match_at(pattern: &[u8], path: &[u8], is_start: bool) -> bool {
    let Some((first, rest)) = pattern.split_first() else {
        return path.is_empty();
    };
    match first {
        b'*' if is_start && matches!(rest, [b'*'] | [b'*', b'/', ..]) => {
            let rest = &rest[1..];
            let Some(rest) = rest.strip_prefix(b"/") else {
                return true;
            };
            folders(path).any(|path| match_at(rest, path, true))
        }
        b'*' => {
            let rest = &rest[rest.iter().take_while(|byte| **byte == b'*').count()..];
            let name = path.iter().take_while(|byte| **byte != b'/').count();
            (0..=name).any(|count| match_at(rest, &path[count..], false))
        }
        b'?' => match path.split_first() {
            Some((byte, path)) if *byte != b'/' => match_at(rest, path, false),
            _ => false,
        },
        b'[' => match (class(rest), path.split_first()) {
            (Some((class, rest)), Some((byte, path))) => {
                *byte != b'/' && class.contains(*byte) && match_at(rest, path, false)
            }
            _ => false,
        },
        literal => {
            let (literal, rest) = match (literal, rest.split_first()) {
                (b'\\', Some((escaped, rest))) => (escaped, rest),
                _ => (literal, rest),
            };
            match path.split_first() {
                Some((byte, path)) => byte == literal && match_at(rest, path, *literal == b'/'),
                None => false,
            }
        }
    }
}

/// Returns a path, and the rest of it after each of its folders.
fn folders(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    let after = slashes.map(|(at, _)| &path[at + 1..]);
    std::iter::once(path).chain(after)
}

/// A bracket expression.
struct Class<'a> {
    members: &'a [u8],
    is_negative: bool,
}

/// Parses a bracket expression after its `[`, and returns the rest of the pattern.
fn class(pattern: &[u8]) -> Option<(Class<'_>, &[u8])> {
    let (pattern, is_negative) = match pattern {
        [b'!' | b'^', rest @ ..] => (rest, true),
        _ => (pattern, false),
    };
    // A leading `]` is a member.
    let mut end = 1;
    while *pattern.get(end)? != b']' {
        end += match pattern[end] {
            b'\\' => 2,
            _ => 1,
        };
    }
    let (members, rest) = pattern.split_at(end);
    let class = Class {
        members,
        is_negative,
    };
    Some((class, &rest[1..]))
}

impl Class<'_> {
    fn contains(&self, byte: u8) -> bool {
        let mut rest = self.members;
        let mut is_member = false;
        while let Some((first, after)) = next(rest) {
            rest = after;
            let last = match rest {
                [b'-', range @ ..] if !range.is_empty() => {
                    let (last, after) = next(range).unwrap_or((first, range));
                    rest = after;
                    last
                }
                _ => first,
            };
            is_member |= (first..=last).contains(&byte);
        }
        is_member != self.is_negative
    }
}

/// Returns the next character of a bracket expression, and the rest.
fn next(members: &[u8]) -> Option<(u8, &[u8])> {
    match members {
        [b'\\', escaped, rest @ ..] => Some((*escaped, rest)),
        [byte, rest @ ..] => Some((*byte, rest)),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_like_in_git() {
        for (pattern, path, expected) in [
            ("a", "a", true),
            ("a", "b", false),
            ("*.c", "x.c", true),
            ("*.c", "x/y.c", false),
            ("a/*/c", "a/b/c", true),
            ("a/*/c", "a/b/x/c", false),
            ("**/c", "c", true),
            ("**/c", "a/b/c", true),
            ("a/**/c", "a/c", true),
            ("a/**/c", "a/x/y/c", true),
            ("a/**", "a/x/y", true),
            ("a/**", "a", false),
            ("a**b", "axxb", true),
            ("a**b", "ax/b", false),
            ("?", "/", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]x]", "]", true),
            ("[a\\]]", "]", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("[", "[", false),
        ] {
            let matches = wildmatch(pattern.as_bytes(), path.as_bytes());
            assert_eq!(matches, expected, "{pattern} {path}");
        }
    }

    #[test]
    fn wildcards_of_pathspecs_match_slashes() {
        for (pattern, path, expected) in [
            ("*.md", "docs/deep/a.md", true),
            ("*.md", "a.md/b", false),
            ("docs/*", "docs/a/b", true),
            ("a?b", "a/b", true),
            ("a[/]b", "a/b", true),
            ("a[!x]b", "a/b", true),
            ("**/x", "x", false),
            ("**/x", "a/b/x", true),
            ("*a*b", "xxaxxb", true),
            ("", "", true),
        ] {
            let matches = pathspec_match(pattern.as_bytes(), path.as_bytes());
            assert_eq!(matches, expected, "{pattern} {path}");
        }
    }
}
