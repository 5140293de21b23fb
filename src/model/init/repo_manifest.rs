//! RepoReader of the XML manifest of Google's repo tool.

use std::collections::BTreeMap;
use std::sync::Arc;

use roxmltree::{Document as Xml, Node};

use super::files::FileLoader;
use super::project::{Project, Projects};
use super::{ReadFile, path};
use crate::model::manifest::ManifestError;
use crate::model::manifest::document::ManifestText;
use crate::model::manifest::error::SourceProblem;
use crate::model::manifest::span::Span;

/// Reads a manifest and its includes.
///
/// `folder` is the manifest's repository, which includes are relative to, and `base` the URL of its remote,
/// which relative URLs are resolved against.
///
/// # Errors
///
/// A file is missing or invalid, or manifests include each other in a cycle.
pub fn read(
    file: &str,
    read: &ReadFile<'_>,
    folder: &str,
    base: Option<&str>,
) -> Result<Projects, ManifestError> {
    let mut reader = RepoReader {
        files: FileLoader::new(read),
        folder,
        base,
        open: Vec::new(),
        remotes: BTreeMap::new(),
        default: RepoDefaults::default(),
        projects: Vec::new(),
        failed: Vec::new(),
    };
    reader.file(file)?;
    reader.finish()
}

#[derive(Clone)]
struct RepoRemote {
    fetch: String,
    revision: Option<String>,
}

#[derive(Default)]
struct RepoDefaults {
    remote: Option<String>,
    revision: Option<String>,
    submodules: Option<bool>,
}

/// A project before its remote is resolved: remotes and defaults may come later in the file.
struct RawProject {
    file: Arc<ManifestText>,
    span: Span,
    name: String,
    dir: String,
    remote: Option<String>,
    revision: Option<String>,
    /// `sync-s`, whether its submodules are checked out.
    submodules: Option<bool>,
    groups: Vec<String>,
}

struct RepoReader<'r> {
    files: FileLoader<'r>,
    folder: &'r str,
    base: Option<&'r str>,
    open: Vec<String>,
    remotes: BTreeMap<String, RepoRemote>,
    default: RepoDefaults,
    projects: Vec<RawProject>,
    /// What was not converted, with the reason.
    failed: Vec<(String, String)>,
}

impl RepoReader<'_> {
    fn file(&mut self, file: &str) -> Result<(), ManifestError> {
        if self.open.iter().any(|open| open == file) {
            return Err(super::file_error(file, "it includes itself"));
        }
        let text = self.files.open(file)?;
        let document = Arc::new(ManifestText {
            path: file.to_owned(),
            text: text.trim_start_matches('\u{feff}').to_owned(),
        });
        let xml = Xml::parse(&document.text).map_err(|error| {
            let position = error.pos();
            let span = span_at(&document.text, position.row, position.col);
            let message = match error {
                // Entities may read other files or expand without bound.
                roxmltree::Error::DtdDetected => {
                    "a repo manifest must not have a document type (DTD)".to_owned()
                }
                error => format!("invalid XML: {error}"),
            };
            let problem = SourceProblem::at(span, message);
            ManifestError::new(&document, vec![problem])
        })?;
        let root = xml.root_element();
        let error_at = |node: &Node, message: String| {
            let range = node.range();
            let span = Span::new(range.start, range.end).first_line(&document.text);
            ManifestError::new(&document, vec![SourceProblem::at(span, message)])
        };
        if !root.has_tag_name("manifest") {
            let message = "not a repo manifest: its root element is not `manifest`";
            return Err(error_at(&root, message.to_owned()));
        }
        self.open.push(file.to_owned());
        for node in root.children().filter(Node::is_element) {
            let attribute = |name: &str| node.attribute(name).map(str::to_owned);
            let required = |name: &str| {
                attribute(name).ok_or_else(|| {
                    let element = node.tag_name().name();
                    error_at(&node, format!("`{element}` has no `{name}`"))
                })
            };
            match node.tag_name().name() {
                "include" => {
                    let name = required("name")?;
                    let Some(path) = path::join(self.folder, &name) else {
                        let message = format!("`{name}` is outside the platform's folder");
                        return Err(error_at(&node, message));
                    };
                    self.file(&path)?;
                }
                "remote" => {
                    let remote = RepoRemote {
                        fetch: required("fetch")?,
                        revision: attribute("revision"),
                    };
                    self.remotes.insert(required("name")?, remote);
                }
                "default" => {
                    self.default = RepoDefaults {
                        remote: attribute("remote").or(self.default.remote.take()),
                        revision: attribute("revision").or(self.default.revision.take()),
                        submodules: is_true(node.attribute("sync-s")).or(self.default.submodules),
                    };
                }
                "project" => {
                    let name = required("name")?;
                    let written = attribute("path").unwrap_or_else(|| name.clone());
                    let Some(dir) = path::join(".", &written).filter(|dir| dir != ".") else {
                        let message = format!("`{written}` is outside the platform's folder");
                        return Err(error_at(&node, message));
                    };
                    let range = node.range();
                    self.projects.push(RawProject {
                        file: Arc::clone(&document),
                        span: Span::new(range.start, range.end).first_line(&document.text),
                        name,
                        dir,
                        remote: attribute("remote"),
                        revision: attribute("revision"),
                        submodules: is_true(node.attribute("sync-s")),
                        groups: groups(node.attribute("groups")),
                    });
                }
                "remove-project" => {
                    let (name, path) = (attribute("name"), attribute("path"));
                    if name.is_none() && path.is_none() {
                        return Err(error_at(
                            &node,
                            "`remove-project` has neither `name` nor `path`".to_owned(),
                        ));
                    }
                    self.remove(name.as_deref(), path.as_deref());
                }
                "extend-project" => {
                    let name = required("name")?;
                    self.extend(&name, &node);
                }
                // About the tool itself, or for people.
                "contactinfo" | "manifest-server" | "notice" | "repo-hooks" | "superproject" => {}
                other => {
                    let why = format!("`<{other}>` was not converted");
                    self.failed.push((file.to_owned(), why));
                }
            }
        }
        self.open.pop();
        Ok(())
    }

    fn remove(&mut self, name: Option<&str>, path: Option<&str>) {
        let matches = |project: &RawProject| {
            name.is_none_or(|name| project.name == name)
                && path.is_none_or(|path| project.dir == path.trim_end_matches('/'))
        };
        self.projects.retain(|project| !matches(project));
    }

    fn extend(&mut self, name: &str, node: &Node) {
        let path = node.attribute("path");
        let matches = |project: &&mut RawProject| {
            project.name == name && path.is_none_or(|path| project.dir == path)
        };
        for project in self.projects.iter_mut().filter(matches) {
            if let Some(revision) = node.attribute("revision") {
                project.revision = Some(revision.to_owned());
            }
            if let Some(remote) = node.attribute("remote") {
                project.remote = Some(remote.to_owned());
            }
            if let Some(dir) = node
                .attribute("dest-path")
                .and_then(|dir| path::join(".", dir))
            {
                project.dir = dir;
            }
            project.groups.extend(groups(node.attribute("groups")));
        }
    }

    fn finish(self) -> Result<Projects, ManifestError> {
        let mut found = Projects {
            failed: self.failed,
            ..Projects::default()
        };
        for project in self.projects {
            let error_at = |message| {
                let problem = SourceProblem::at(project.span, message);
                ManifestError::new(&project.file, vec![problem])
            };
            if project.groups.iter().any(|group| group == "notdefault") {
                let why = "it is in the group `notdefault`".to_owned();
                found.skipped.push((project.dir, why));
                continue;
            }
            let Some(name) = project.remote.as_ref().or(self.default.remote.as_ref()) else {
                let message = format!(
                    "project `{}` has no remote, and there is no default remote",
                    project.name
                );
                return Err(error_at(message));
            };
            let Some(remote) = self.remotes.get(name) else {
                let message = format!("project `{}`: no remote `{name}`", project.name);
                return Err(error_at(message));
            };
            let mut result = Project {
                dir: project.dir,
                file: project.file.path.clone(),
                submodules: project
                    .submodules
                    .or(self.default.submodules)
                    .unwrap_or(false),
                reference: project
                    .revision
                    .or_else(|| remote.revision.clone())
                    .or_else(|| self.default.revision.clone()),
                ..Project::default()
            };
            match fetch_url(&remote.fetch, self.base) {
                Some(url) => result.remote = Some(format!("{url}/{}", project.name)),
                None => result.todos.push(format!(
                    "its URL, `{}`, is relative to the remote of the manifest's repository, which is unknown",
                    remote.fetch
                )),
            }
            found.projects.push(result);
        }
        Ok(found)
    }
}

fn is_true(written: Option<&str>) -> Option<bool> {
    written.map(|text| matches!(text, "true" | "1" | "yes"))
}

fn groups(written: Option<&str>) -> Vec<String> {
    let names = written.unwrap_or_default().split([',', ' ']);
    names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Returns the URL prefix of project names, without a trailing slash.
///
/// A relative `fetch` is resolved against the parent of the manifest's repository, like a link on a web page;
/// the part before the first slash is never removed.
fn fetch_url(fetch: &str, base: Option<&str>) -> Option<String> {
    let fetch = fetch.trim_end_matches('/');
    if !fetch.starts_with('.') && !fetch.starts_with('/') && fetch.contains(':') {
        return Some(fetch.to_owned());
    }
    let base = base?.trim_end_matches('/');
    let (scheme, rest) = match base.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), base),
    };
    let mut parts: Vec<&str> = rest.split('/').collect();
    let authority = parts.remove(0);
    if fetch.starts_with('/') {
        return Some(format!("{scheme}{authority}{fetch}"));
    }
    parts.pop();
    for part in fetch.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let path: String = parts.iter().map(|part| format!("/{part}")).collect();
    Some(format!("{scheme}{authority}{path}"))
}

/// Returns the span at a row and column, both from 1.
fn span_at(text: &str, row: u32, column: u32) -> Span {
    let before: usize = text
        .split_inclusive('\n')
        .take(row.saturating_sub(1) as usize)
        .map(str::len)
        .sum();
    let line = text.get(before..).unwrap_or("");
    let inside = line
        .char_indices()
        .nth(column.saturating_sub(1) as usize)
        .map_or(0, |(at, _)| at);
    let start = (before + inside).min(text.len());
    Span::new(start, start)
}

#[cfg(test)]
mod tests;
