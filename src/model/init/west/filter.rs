//! The `import` keys of west manifests, and the filters in them.

use super::super::path;
use super::super::yaml::{YamlFile, get};
use crate::model::manifest::ManifestError;
use crate::model::manifest::node::{Node, NodeKind};

/// A file or folder to import.
pub(super) struct Imported {
    pub file: String,
    pub filter: ImportFilter,
}

/// Restrictions on an imported manifest, with those of the manifests that import it.
#[derive(Clone, Default)]
pub(super) struct ImportFilter {
    pub prefix: Option<String>,
    lists: Vec<FilterLists>,
}

/// The lists of one `import`.
#[derive(Clone, Default)]
struct FilterLists {
    allowed_names: Vec<String>,
    allowed_paths: Vec<String>,
    blocked_names: Vec<String>,
    blocked_paths: Vec<String>,
}

impl ImportFilter {
    pub fn includes(&self, name: &str, path: &str) -> bool {
        self.lists.iter().all(|lists| lists.include(name, path))
    }
}

impl FilterLists {
    fn include(&self, name: &str, path: &str) -> bool {
        let is_in = |names: &[String], paths: &[String]| {
            names.iter().any(|known| known == name)
                || paths.iter().any(|pattern| matches_path(path, pattern))
        };
        let is_allowed = is_in(&self.allowed_names, &self.allowed_paths);
        if is_in(&self.blocked_names, &self.blocked_paths) {
            return is_allowed;
        }
        is_allowed || (self.allowed_names.is_empty() && self.allowed_paths.is_empty())
    }
}

/// Returns the files of an `import`, with their filters.
pub(super) fn imports(
    yaml: &YamlFile,
    import: &Node,
    outer: &ImportFilter,
) -> Result<Vec<Imported>, ManifestError> {
    let plain = |file: &str| Imported {
        file: file.to_owned(),
        filter: outer.clone(),
    };
    match &import.kind {
        NodeKind::Null => Ok(Vec::new()),
        NodeKind::Scalar { text, .. } => Ok(match text.to_ascii_lowercase().as_str() {
            "false" | "no" | "off" => Vec::new(),
            "true" | "yes" | "on" => vec![plain("west.yml")],
            _ => vec![plain(text)],
        }),
        NodeKind::Sequence(items) => {
            let mut all = Vec::new();
            for item in items {
                all.extend(imports(yaml, item, outer)?);
            }
            Ok(all)
        }
        NodeKind::Mapping(_) => mapping(yaml, import, outer).map(|imported| vec![imported]),
    }
}

fn mapping(
    yaml: &YamlFile,
    import: &Node,
    outer: &ImportFilter,
) -> Result<Imported, ManifestError> {
    // Old versions of the format had other names.
    let texts = |key: &str, old: &str| -> Result<Vec<String>, ManifestError> {
        let key = if get(import, key).is_some() { key } else { old };
        let texts = yaml.texts_of(import, key)?;
        Ok(texts.into_iter().map(str::to_owned).collect())
    };
    let mut filter = outer.clone();
    filter.lists.push(FilterLists {
        allowed_names: texts("name-allowlist", "name-whitelist")?,
        allowed_paths: texts("path-allowlist", "path-whitelist")?,
        blocked_names: texts("name-blocklist", "name-blacklist")?,
        blocked_paths: texts("path-blocklist", "path-blacklist")?,
    });
    filter.prefix = prefix(yaml, import, outer)?;
    let file = yaml.text_of(import, "file")?.unwrap_or("west.yml");
    Ok(Imported {
        file: file.to_owned(),
        filter,
    })
}

/// Returns the path prefix of an import within another one.
pub(super) fn prefix(
    yaml: &YamlFile,
    import: &Node,
    outer: &ImportFilter,
) -> Result<Option<String>, ManifestError> {
    let below = outer.prefix.as_deref().unwrap_or(".");
    let written = match &import.kind {
        NodeKind::Mapping(_) => yaml.text_of(import, "path-prefix")?,
        _ => None,
    };
    let Some(written) = written else {
        return Ok(outer.prefix.clone());
    };
    let joined = path::join(below, written);
    let outside = || format!("`{written}` is outside the platform's folder");
    joined
        .map(Some)
        .ok_or_else(|| yaml.error(import, outside()))
}

/// Returns whether the last components of a path match a pattern, like Python's `PurePath.match`.
fn matches_path(path: &str, pattern: &str) -> bool {
    if pattern.starts_with('/') {
        return false;
    }
    let parts = |text: &str| -> Vec<String> {
        let parts = text.split('/').filter(|part| !matches!(*part, "" | "."));
        parts.map(str::to_owned).collect()
    };
    let (path, pattern) = (parts(path), parts(pattern));
    !pattern.is_empty()
        && pattern.len() <= path.len()
        && path[path.len() - pattern.len()..]
            .iter()
            .zip(&pattern)
            .all(|(part, pattern)| matches_part(part, pattern))
}

/// Matches one component with `*`, `?` and `[…]`, like Python's `fnmatch`.
fn matches_part(part: &str, pattern: &str) -> bool {
    let mut expression = String::from("^(?s:");
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        // A `]` right after the bracket is a member of the set.
        let end = rest
            .get(1..)
            .and_then(|after| after.find(']'))
            .map(|at| at + 1);
        match (c, end) {
            ('*', _) => expression.push_str(".*"),
            ('?', _) => expression.push('.'),
            ('[', Some(end)) => {
                let set = rest[..end].replace('\\', "\\\\").replace('[', "\\[");
                let set = match set.strip_prefix('!') {
                    Some(others) => format!("^{others}"),
                    None => set.replacen('^', "\\^", usize::from(set.starts_with('^'))),
                };
                expression.push_str(&format!("[{set}]"));
                rest = &rest[end + 1..];
            }
            (c, _) => expression.push_str(&regex::escape(&c.to_string())),
        }
    }
    expression.push_str(")$");
    regex::Regex::new(&expression).is_ok_and(|expression| expression.is_match(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_patterns_match_the_last_components() {
        for (path, pattern, expected) in [
            ("a/b/c", "c", true),
            ("a/b/c", "b/c", true),
            ("a/b/c", "b", false),
            ("a/b/c", "a/*/c", true),
            ("a/b/c", "*", true),
            ("a/b.c", "b.?", true),
            ("a/bxc", "b.c", false),
            ("x1", "x[0-9]", true),
            ("x1", "x[!0-9]", false),
            ("a/b", "/a/b", false),
            ("a", "a/b", false),
        ] {
            assert_eq!(matches_path(path, pattern), expected, "{path} {pattern}");
        }
    }
}
