//! Positions of manifest keys.

use super::error::{ManifestError, SourceProblem};
use super::name::ServiceName;
use super::node::{Node, NodeKind};
use super::service::{Builder, BuilderImage, Service};
use super::span::Span;
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
        let node = self.service_node(service)?;
        let (_, key_span) = entry(&node, keys)?;
        Some(key_span.line_and_column(&self.document.text).0)
    }

    /// Returns the span of a value of a service, of its defaults, or else the service's name.
    pub(crate) fn span_of(&self, service: &ServiceName, keys: &[&str]) -> Option<Span> {
        let node = self.service_node(service)?;
        let value = entry(&node, keys).map(|(value, _)| value.span);
        value.or_else(|| Some(self.spans.get(service)?.name))
    }

    /// Returns the span of the first use of an image by a service.
    pub(crate) fn span_of_image(&self, service: &Service, image: &BuilderImage) -> Option<Span> {
        let is_own = |it: &Builder| it.image.as_ref() == Some(image);
        if service.builder.as_ref().is_some_and(is_own) {
            return self.span_of(&service.name, &["dockerBuilder", "image"]);
        }
        let mut items = service.scripts.items();
        if let Some(item) = items.find(|item| item.image() == Some(image)) {
            return item.image_span();
        }
        let mut sidecars = service.sidecar_images();
        if let Some((name, _)) = sidecars.find(|(_, it)| *it == image) {
            return self.span_of(&service.name, &["sidecars", name.as_str(), "image"]);
        }
        let plugin = service.source.plugin().filter(|it| it.image == *image);
        plugin.map(|plugin| plugin.span)
    }

    /// Returns the span of a value, given as a path from the root.
    pub(crate) fn span_at(&self, keys: &[&str]) -> Option<Span> {
        let root = self.root()?;
        Some(entry(&root, keys)?.0.span)
    }

    /// Returns an error about values, each given as a path from the root, with its message and hints.
    pub fn errors_at(
        &self,
        problems: impl IntoIterator<Item = (Vec<String>, String, Vec<String>)>,
    ) -> ManifestError {
        let problems = problems.into_iter().map(|(keys, message, hints)| {
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            let problem = match self.span_at(&keys) {
                Some(span) => SourceProblem::at(span.first_line(&self.document.text), message),
                None => SourceProblem::without_span(message),
            };
            hints.into_iter().fold(problem, SourceProblem::help)
        });
        ManifestError::new(&self.document, problems.collect())
    }

    /// Returns a service's node, merged with the defaults.
    fn service_node(&self, service: &ServiceName) -> Option<Node> {
        let root = self.root()?;
        let (node, _) = entry(&root, &["services", service.as_str()])?;
        Some(match value(&root, "defaults") {
            Some((defaults, _)) => node.merged_over_defaults(defaults),
            None => node.clone(),
        })
    }

    /// Parses the manifest again, because only a few commands need positions.
    fn root(&self) -> Option<Node> {
        yaml::read(&self.document.text, "manifest", &mut Vec::new())
    }

    /// Returns the 1-based line that makes a service depend on another.
    pub fn line_of_need(&self, service: &ServiceName, needed: &ServiceName) -> Option<usize> {
        let span = self.spans.get(service)?.needs.get(needed)?;
        Some(span.line_and_column(&self.document.text).0)
    }
}

/// Returns the value at a path, and the span of its key.
fn entry<'n>(node: &'n Node, keys: &[&str]) -> Option<(&'n Node, Span)> {
    let (first, rest) = keys.split_first()?;
    let found = value(node, first)?;
    if rest.is_empty() {
        Some(found)
    } else {
        entry(found.0, rest)
    }
}

fn value<'n>(node: &'n Node, key: &str) -> Option<(&'n Node, Span)> {
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
