//! The manifest of Google's repo tool, an XML file: the projects of a checkout.

use std::collections::BTreeMap;
use std::sync::Arc;

use roxmltree::{Document as Xml, Node};

use super::files::Files;
use super::project::{Project, Projects};
use super::{Read, path};
use crate::manifest::ManifestError;
use crate::manifest::document::Document;
use crate::manifest::error::Problem;
use crate::manifest::span::Span;

/// Reads a manifest, with those that it includes.
///
/// `folder` is the manifest's repository, which includes start from, and `base` the URL of its remote,
/// which relative URLs start from.
///
/// # Errors
///
/// A file that is missing, no XML, or of another shape, and manifests that include each other in a circle.
pub fn read(
    file: &str,
    read: &Read<'_>,
    folder: &str,
    base: Option<&str>,
) -> Result<Projects, ManifestError> {
    let mut reader = Reader {
        files: Files::new(read),
        folder,
        base,
        open: Vec::new(),
        remotes: BTreeMap::new(),
        default: Defaults::default(),
        projects: Vec::new(),
    };
    reader.file(file)?;
    reader.finish()
}

#[derive(Clone)]
struct Remote {
    fetch: String,
    revision: Option<String>,
}

#[derive(Default)]
struct Defaults {
    remote: Option<String>,
    revision: Option<String>,
}

/// A project as it is written; remotes and defaults may come later.
struct Written {
    file: Arc<Document>,
    span: Span,
    name: String,
    dir: String,
    remote: Option<String>,
    revision: Option<String>,
    groups: Vec<String>,
}

struct Reader<'r> {
    files: Files<'r>,
    folder: &'r str,
    base: Option<&'r str>,
    open: Vec<String>,
    remotes: BTreeMap<String, Remote>,
    default: Defaults,
    projects: Vec<Written>,
}

impl Reader<'_> {
    fn file(&mut self, file: &str) -> Result<(), ManifestError> {
        if self.open.iter().any(|open| open == file) {
            return Err(super::wrong_file(file, "it includes itself"));
        }
        let text = self.files.open(file)?;
        let document = Arc::new(Document {
            path: file.to_owned(),
            text: text.trim_start_matches('\u{feff}').to_owned(),
        });
        let xml = Xml::parse(&document.text).map_err(|error| {
            let place = error.pos();
            let span = span_at(&document.text, place.row, place.col);
            let message = match error {
                // Its entities may stand for other files, or grow without end.
                roxmltree::Error::DtdDetected => {
                    "it has a document type (DTD), which a manifest of repo has not".to_owned()
                }
                error => format!("this is not XML: {error}"),
            };
            let problem = Problem::at(span, message);
            ManifestError::new(&document, vec![problem])
        })?;
        let root = xml.root_element();
        let wrong = |node: &Node, message: String| {
            let range = node.range();
            let span = Span::new(range.start, range.end).first_line(&document.text);
            ManifestError::new(&document, vec![Problem::at(span, message)])
        };
        if !root.has_tag_name("manifest") {
            let message = "this is no manifest of repo: its element is not `manifest`";
            return Err(wrong(&root, message.to_owned()));
        }
        self.open.push(file.to_owned());
        for node in root.children().filter(Node::is_element) {
            let attribute = |name: &str| node.attribute(name).map(str::to_owned);
            let needed = |name: &str| {
                attribute(name).ok_or_else(|| {
                    let element = node.tag_name().name();
                    wrong(&node, format!("`{element}` has no `{name}`"))
                })
            };
            match node.tag_name().name() {
                "include" => {
                    let name = needed("name")?;
                    let Some(path) = path::join(self.folder, &name) else {
                        let message = format!("`{name}` leads out of the platform's folder");
                        return Err(wrong(&node, message));
                    };
                    self.file(&path)?;
                }
                "remote" => {
                    let remote = Remote {
                        fetch: needed("fetch")?,
                        revision: attribute("revision"),
                    };
                    self.remotes.insert(needed("name")?, remote);
                }
                "default" => {
                    self.default = Defaults {
                        remote: attribute("remote").or(self.default.remote.take()),
                        revision: attribute("revision").or(self.default.revision.take()),
                    };
                }
                "project" => {
                    let name = needed("name")?;
                    let written = attribute("path").unwrap_or_else(|| name.clone());
                    let Some(dir) = path::join(".", &written).filter(|dir| dir != ".") else {
                        let message = format!("`{written}` leads out of the platform's folder");
                        return Err(wrong(&node, message));
                    };
                    let range = node.range();
                    self.projects.push(Written {
                        file: Arc::clone(&document),
                        span: Span::new(range.start, range.end).first_line(&document.text),
                        name,
                        dir,
                        remote: attribute("remote"),
                        revision: attribute("revision"),
                        groups: groups(node.attribute("groups")),
                    });
                }
                "remove-project" => {
                    let (name, path) = (attribute("name"), attribute("path"));
                    if name.is_none() && path.is_none() {
                        return Err(wrong(&node, "`remove-project` names none".to_owned()));
                    }
                    self.remove(name.as_deref(), path.as_deref());
                }
                "extend-project" => {
                    let name = needed("name")?;
                    self.extend(&name, &node);
                }
                _ => {}
            }
        }
        self.open.pop();
        Ok(())
    }

    fn remove(&mut self, name: Option<&str>, path: Option<&str>) {
        let is_meant = |project: &Written| {
            name.is_none_or(|name| project.name == name)
                && path.is_none_or(|path| project.dir == path.trim_end_matches('/'))
        };
        self.projects.retain(|project| !is_meant(project));
    }

    fn extend(&mut self, name: &str, node: &Node) {
        let path = node.attribute("path");
        let is_meant = |project: &&mut Written| {
            project.name == name && path.is_none_or(|path| project.dir == path)
        };
        for project in self.projects.iter_mut().filter(is_meant) {
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
            projects: Vec::new(),
            left_out: Vec::new(),
        };
        for project in self.projects {
            let wrong = |message| {
                let problem = Problem::at(project.span, message);
                ManifestError::new(&project.file, vec![problem])
            };
            if project.groups.iter().any(|group| group == "notdefault") {
                let why = "it is in the group `notdefault`".to_owned();
                found.left_out.push((project.dir, why));
                continue;
            }
            let Some(name) = project.remote.as_ref().or(self.default.remote.as_ref()) else {
                let message = format!(
                    "project `{}` has no remote, and there is no default",
                    project.name
                );
                return Err(wrong(message));
            };
            let Some(remote) = self.remotes.get(name) else {
                let message = format!("project `{}`: there is no remote `{name}`", project.name);
                return Err(wrong(message));
            };
            let mut result = Project {
                dir: project.dir,
                file: project.file.path.clone(),
                reference: project
                    .revision
                    .or_else(|| remote.revision.clone())
                    .or_else(|| self.default.revision.clone()),
                ..Project::default()
            };
            match fetch_url(&remote.fetch, self.base) {
                Some(url) => result.remote = Some(format!("{url}/{}", project.name)),
                None => result.todos.push(format!(
                    "its URL is `{}` from the remote of the manifest's repository, which is not known here",
                    remote.fetch
                )),
            }
            found.projects.push(result);
        }
        Ok(found)
    }
}

fn groups(written: Option<&str>) -> Vec<String> {
    let names = written.unwrap_or_default().split([',', ' ']);
    names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Returns what the names of projects are put behind, without a slash at its end.
///
/// A relative `fetch` starts from the folder that the manifest's repository is in, as a link of a
/// web page does; what stands before the first slash is never cut off.
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

/// Returns the place of a row and a column, both from one.
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
