//! Compares two tree objects by their bytes.
//!
//! libgit2 allocates an object for each entry of both trees. Here, an equal entry, which nearly all are, costs
//! only a comparison of its bytes.

use std::cmp::Ordering;

use git2::Oid;

/// An entry of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeEntry<'a> {
    /// The normalized mode: 0o040000 for a folder, 0o100644 and 0o100755 for files.
    pub mode: u32,
    pub name: &'a [u8],
    pub id: Oid,
}

/// The mode of a folder.
pub const FOLDER: u32 = 0o040_000;

/// A corrupt tree object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokenTree;

impl<'a> TreeEntry<'a> {
    /// Parses the first entry, and returns it with its length.
    fn first(bytes: &'a [u8]) -> Result<Option<(Self, usize)>, BrokenTree> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let space = bytes
            .iter()
            .position(|byte| *byte == b' ')
            .ok_or(BrokenTree)?;
        let end = bytes[space..]
            .iter()
            .position(|byte| *byte == 0)
            .ok_or(BrokenTree)?
            + space;
        let digits = std::str::from_utf8(&bytes[..space]).map_err(|_| BrokenTree)?;
        let mode = u32::from_str_radix(digits, 8).map_err(|_| BrokenTree)?;
        let id = bytes.get(end + 1..end + 21).ok_or(BrokenTree)?;
        let entry = Self {
            mode: normalize_mode(mode),
            name: &bytes[space + 1..end],
            id: Oid::from_bytes(id).map_err(|_| BrokenTree)?,
        };
        Ok(Some((entry, end + 21)))
    }

    /// Returns the tree of a folder; `None` if it is something else.
    pub fn folder(&self) -> Option<Oid> {
        self.is_folder().then_some(self.id)
    }

    /// Returns whether it is a folder.
    pub fn is_folder(&self) -> bool {
        self.mode == FOLDER
    }

    /// Compares in the order of trees: folders sort as if their name ended with a slash.
    fn compare(&self, other: &Self) -> Ordering {
        let common = self.name.len().min(other.name.len());
        let byte = |entry: &Self| match entry.name.get(common) {
            Some(byte) => *byte,
            None if entry.is_folder() => b'/',
            None => 0,
        };
        self.name[..common]
            .cmp(&other.name[..common])
            .then_with(|| byte(self).cmp(&byte(other)))
    }
}

/// Normalizes modes such as 100664 in old repositories, which git treats as 100644.
fn normalize_mode(mode: u32) -> u32 {
    match mode & 0o170_000 {
        0o100_000 if mode & 0o100 != 0 => 0o100_755,
        0o100_000 => 0o100_644,
        kind => kind,
    }
}

/// Calls `differs` for each entry that is only on one side, or that differs. A file that became a folder may
/// be reported as two entries.
pub fn compare<'a>(
    one: &'a [u8],
    other: &'a [u8],
    mut differs: impl FnMut(Option<TreeEntry<'a>>, Option<TreeEntry<'a>>),
) -> Result<(), BrokenTree> {
    let (mut one, mut other) = (one, other);
    loop {
        match (TreeEntry::first(one)?, TreeEntry::first(other)?) {
            (None, None) => return Ok(()),
            (Some((entry, length)), None) => {
                differs(Some(entry), None);
                one = &one[length..];
            }
            (None, Some((entry, length))) => {
                differs(None, Some(entry));
                other = &other[length..];
            }
            (Some((left, left_length)), Some((right, right_length))) => {
                match left.compare(&right) {
                    Ordering::Less => {
                        differs(Some(left), None);
                        one = &one[left_length..];
                    }
                    Ordering::Greater => {
                        differs(None, Some(right));
                        other = &other[right_length..];
                    }
                    Ordering::Equal => {
                        if left.mode != right.mode || left.id != right.id {
                            differs(Some(left), Some(right));
                        }
                        one = &one[left_length..];
                        other = &other[right_length..];
                    }
                }
            }
        }
        let common = common_entries(one, other);
        one = &one[common..];
        other = &other[common..];
    }
}

/// Returns the total length of the leading entries that both trees have in common.
fn common_entries(one: &[u8], other: &[u8]) -> usize {
    let mut common = 0;
    // Compare in chunks, which is fast.
    let equal = one
        .chunks(64)
        .zip(other.chunks(64))
        .take_while(|(one, other)| one == other)
        .map(|(one, _)| one.len())
        .sum::<usize>();
    while common < equal {
        let rest = &one[common..equal];
        let Some(end) = rest.iter().position(|byte| *byte == 0) else {
            break;
        };
        if rest.len() < end + 21 {
            break;
        }
        common += end + 21;
    }
    common
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(entries: &[(&str, &str, u8)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (mode, name, id) in entries {
            bytes.extend_from_slice(format!("{mode} {name}\0").as_bytes());
            bytes.extend_from_slice(&[*id; 20]);
        }
        bytes
    }

    fn difference(one: &[(&str, &str, u8)], other: &[(&str, &str, u8)]) -> Vec<String> {
        let mut found = Vec::new();
        let name = |entry: Option<TreeEntry<'_>>| {
            entry.map_or("-".to_owned(), |entry| {
                String::from_utf8_lossy(entry.name).into_owned()
            })
        };
        let (one, other) = (tree(one), tree(other));
        compare(&one, &other, |left, right| {
            found.push(format!("{} {}", name(left), name(right)));
        })
        .unwrap();
        found
    }

    #[test]
    fn only_differences_are_reported() {
        let many: Vec<(String, u8)> = (0..500).map(|n| (format!("{n:04}"), 7)).collect();
        let of = |many: &'_ [(String, u8)]| -> Vec<u8> {
            let entries: Vec<(&str, &str, u8)> = many
                .iter()
                .map(|(name, id)| ("100644", name.as_str(), *id))
                .collect();
            tree(&entries)
        };
        for changed in [0, 1, 250, 498, 499] {
            let mut other = many.clone();
            other[changed].1 = 8;
            let mut count = 0;
            compare(&of(&many), &of(&other), |left, right| {
                assert_eq!(left.unwrap().name, right.unwrap().name);
                assert_eq!(left.unwrap().name, many[changed].0.as_bytes());
                count += 1;
            })
            .unwrap();
            assert_eq!(count, 1);
        }
        assert!(difference(&[("40000", "a", 1)], &[("40000", "a", 1)]).is_empty());
        assert_eq!(
            difference(&[("40000", "a", 1)], &[("160000", "a", 1)]),
            ["- a", "a -"]
        );
        assert_eq!(
            difference(&[("100644", "a", 1)], &[("100755", "a", 1)]),
            ["a a"]
        );
        assert!(difference(&[("100644", "a", 1)], &[("100664", "a", 1)]).is_empty());
        assert_eq!(difference(&[], &[("100644", "b", 1)]), ["- b"]);
    }

    #[test]
    fn folders_sort_as_if_they_ended_with_a_slash() {
        // `a.c` comes between the file `a` and the folder `a`.
        let file = [("100644", "a", 1), ("100644", "a.c", 2), ("100644", "b", 3)];
        let folder = [("100644", "a.c", 2), ("40000", "a", 1), ("100644", "b", 3)];
        assert_eq!(difference(&file, &folder), ["a -", "- a"]);
    }

    #[test]
    fn corrupt_trees_are_errors() {
        for wrong in [
            &b"100644 a"[..],
            b"x",
            b"100644 a\0short",
            b"9 a\0aaaaaaaaaaaaaaaaaaaa",
        ] {
            assert!(compare(wrong, b"", |_, _| ()).is_err());
        }
    }
}
