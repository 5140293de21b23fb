//! Line numbers of manifest keys.

use super::name::ServiceName;
use super::node::{Node, NodeKind};
use super::{Manifest, yaml};

impl Manifest {
    /// Returns the name of the file, for locations such as `x-platform.yml:53`.
    pub fn file_name(&self) -> String {
        let name = self.file.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// Returns the 1-based line of a key of a service, given as a path such as `docker`, `file`. Falls back to the
    /// defaults; `None` if neither has the key.
    pub fn line_of(&self, service: &ServiceName, keys: &[&str]) -> Option<usize> {
        // Parsed again, because only `xp why` needs it.
        let root = yaml::read(&self.document.text, "manifest", &mut Vec::new())?;
        let mut node = value(value(&root, "services")?.0, service.as_str())?
            .0
            .clone();
        if let Some((defaults, _)) = value(&root, "defaults") {
            node = node.merged_over(defaults);
        }
        let mut found = None;
        for key in keys {
            let (below, line) = value(&node, key).map(|(below, span)| {
                let (line, _) = span.line_and_column(&self.document.text);
                (below.clone(), line)
            })?;
            node = below;
            found = Some(line);
        }
        found
    }

    /// Returns the 1-based line that makes a service depend on another.
    pub fn line_of_need(&self, service: &ServiceName, needed: &ServiceName) -> Option<usize> {
        let span = self.spans.get(service)?.needs.get(needed)?;
        Some(span.line_and_column(&self.document.text).0)
    }
}

fn value<'n>(node: &'n Node, key: &str) -> Option<(&'n Node, super::span::Span)> {
    let NodeKind::Mapping(entries) = &node.kind else {
        return None;
    };
    let entry = entries.iter().find(|entry| entry.key == key)?;
    Some((&entry.value, entry.key_span))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::parse;

    #[test]
    fn lines_come_from_the_service_or_the_defaults() {
        let text = "\
defaults:
  docker:
    file: Containerfile
services:
  a:
    dir: a
    git: {remote: https://h/a.git}
    docker: {image: a}
    needs: [b]
  b:
    dir: b
    git: {remote: https://h/b.git}
    docker:
      image: b
      args:
        X: '${{ services.c.image }}'
  c: {dir: c, git: {remote: https://h/c.git}, docker: {image: c}}
";
        let manifest = parse(text, Path::new("x-platform.yml")).unwrap();
        let line = |service: &str, keys: &[&str]| manifest.line_of(&service.parse().unwrap(), keys);
        assert_eq!(line("a", &["docker", "image"]), Some(8));
        assert_eq!(line("a", &["docker", "file"]), Some(3));
        assert_eq!(line("b", &["docker", "args", "X"]), Some(16));
        assert_eq!(line("b", &["docker", "target"]), None);
        let need = |service: &str, needed: &str| {
            manifest.line_of_need(&service.parse().unwrap(), &needed.parse().unwrap())
        };
        assert_eq!(need("a", "b"), Some(9));
        assert_eq!(need("b", "c"), Some(16));
        assert_eq!(need("c", "a"), None);
    }
}
