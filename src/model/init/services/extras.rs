//! Secrets, ssh, tags, and what has no equivalent in a manifest.

use super::super::build::{Build, BuildSecret, repository_of};
use super::super::draft::{DraftKey, DraftService};
use super::super::interpolation::UNSET;
use crate::base::plural::join_with_and;
use crate::model::image::Platform;

/// Adds what a tool file says about a build in addition to its paths and arguments.
pub(super) fn add(service: &mut DraftService, build: &Build) {
    for todo in &build.todos {
        service.todo(DraftKey::File, todo);
    }
    let mut unsupported: Vec<String> = build
        .unsupported
        .iter()
        .map(|key| format!("`{key}`"))
        .collect();
    for tag in &build.tags {
        let own = build.image.as_deref().map(repository_of);
        let tag_of = |repository: &str| tag.strip_prefix(repository)?.strip_prefix(':');
        match own.and_then(tag_of) {
            Some(name) if is_tag(name) => service.tags.push(name.to_owned()),
            _ => unsupported.push(format!("the tag {}", tag.replace(UNSET, "…"))),
        }
    }
    service.tags.dedup();
    for written in &build.platforms {
        match written.parse::<Platform>() {
            Ok(platform) if platform.system() == "linux" => {
                let platform = platform.to_string();
                if !service.platforms.contains(&platform) {
                    service.platforms.push(platform);
                }
            }
            _ => unsupported.push(format!("the platform {}", written.replace(UNSET, "…"))),
        }
    }
    if !unsupported.is_empty() {
        let what = join_with_and(&unsupported);
        service.todo(
            DraftKey::File,
            format!("not converted from {}: {what}", build.file),
        );
    }
    service.ssh = build.ssh;
    service.cache = build.cache;
    for (id, secret) in &build.secrets {
        if is_id(id) {
            service.secrets.push((id.clone(), checked(secret)));
        } else {
            let todo = format!("`{id}` is not a valid id of a build secret and was omitted");
            service.todo(DraftKey::File, todo);
        }
    }
}

fn checked(secret: &BuildSecret) -> BuildSecret {
    match secret {
        BuildSecret::Variable(name) if !is_variable(name) => {
            BuildSecret::Unknown(format!("`{name}` is not a valid name of a variable"))
        }
        other => other.clone(),
    }
}

fn is_variable(name: &str) -> bool {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.starts_with(|c: char| c.is_ascii_digit()) && !name.is_empty() && name.chars().all(is_name)
}

fn is_id(id: &str) -> bool {
    id.starts_with(|c: char| c.is_ascii_alphanumeric()) && is_tag(id)
}

fn is_tag(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !text.is_empty() && text.len() <= 128 && text.chars().all(is_part)
}
