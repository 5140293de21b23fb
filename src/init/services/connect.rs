//! What services take of each other, and their build arguments.

use std::collections::{BTreeMap, BTreeSet};

use super::super::build::{Value, repository_of};
use super::super::compose::known_image;
use super::super::draft::{Argument, Key, Service};
use super::Made;

/// Sets arguments and needs, by the names that services have now.
pub(super) fn connect(made: &mut [Made]) {
    let mut by_source: BTreeMap<(String, String), String> = BTreeMap::new();
    let mut by_image: BTreeMap<String, String> = BTreeMap::new();
    for made in made.iter() {
        let name = made.service.name.clone();
        if let Some(build) = &made.candidate.build {
            by_source.insert((build.file.clone(), build.name.clone()), name.clone());
            if let Some(image) = build.image.as_deref().and_then(known_image) {
                by_image.insert(image.to_owned(), name.clone());
            }
        }
        for same in &made.candidate.same {
            by_source.insert(same.clone(), name.clone());
        }
        by_image.insert(made.service.image.clone(), name);
    }
    let names: Vec<String> = made.iter().map(|made| made.service.name.clone()).collect();
    let mut inferred = Vec::new();
    for made in made.iter_mut() {
        let Made {
            candidate,
            service,
            needs,
        } = made;
        let build = candidate.build.take();
        let file = build
            .as_ref()
            .map(|build| build.file.clone())
            .unwrap_or_default();
        let known = |name: &str| {
            let mut found = by_source.iter().filter(|((_, known), _)| known == name);
            // Of two tools' services with one name, the one of the same tool.
            by_source
                .get(&(file.clone(), name.to_owned()))
                .or_else(|| found.next().map(|(_, service)| service))
                .cloned()
        };
        for (name, value) in build.iter().flat_map(|build| build.args.clone()) {
            let argument = argument(name, value, &known, service);
            service.args.extend(argument);
        }
        for need in build.iter().flat_map(|build| &build.needs) {
            match known(need) {
                Some(other) if other == service.name => {}
                Some(other) => service.needs.push(other),
                None => service.todo(
                    Key::File,
                    format!("it needs {need}, which is no service here"),
                ),
            }
        }
        // `FRONTEND` or `FRONTEND_IMAGE` most likely means the service `frontend`.
        let suggested = |name: &str| {
            let name = name.to_ascii_lowercase().replace('_', "-");
            let meant = name.strip_suffix("-image").unwrap_or(&name);
            let mut services = names.iter().filter(|known| **known != service.name);
            let meant = services.find(|known| known.to_ascii_lowercase() == meant)?;
            Some(format!("${{{{ services.{meant}.image }}}}"))
        };
        for name in &needs.arguments {
            if service.args.iter().all(|arg| arg.name != *name) {
                service.args.push(Argument {
                    name: name.clone(),
                    value: None,
                    suggested: suggested(name),
                    remark: Some(format!(
                        "the Dockerfile starts from ${{{name}}}, which has no default; for the image of another \
                         service write `${{{{ services.NAME.image }}}}`"
                    )),
                });
            }
        }
        for image in &needs.images {
            let Some(other) = by_image
                .get(repository_of(image))
                .filter(|other| **other != service.name)
            else {
                continue;
            };
            inferred.push((service.name.clone(), other.clone()));
            service.todo(
                Key::File,
                format!(
                    "its Dockerfile takes {image}, the image of {other}, by a tag that xp does not set: let it \
                     begin with `ARG BASE`, write `FROM ${{BASE}}`, and here `args: {{BASE: '${{{{ services.{other}.image }}}}'}}`"
                ),
            );
        }
        service.needs.sort();
        service.needs.dedup();
    }
    for (name, other) in inferred {
        // What a Dockerfile says by a tag is no reason for a circle.
        if !reaches(made, &other, &name)
            && let Some(made) = made.iter_mut().find(|made| made.service.name == name)
            && !made.service.needs.contains(&other)
        {
            made.service.needs.push(other);
        }
    }
}

/// Tells whether a service needs another, directly or not.
fn reaches(made: &[Made], from: &str, to: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut waiting = vec![from.to_owned()];
    while let Some(name) = waiting.pop() {
        if name == to {
            return true;
        }
        if !seen.insert(name.clone()) {
            continue;
        }
        let service = made.iter().find(|made| made.service.name == name);
        waiting.extend(
            service
                .map(|made| made.service.all_needs())
                .unwrap_or_default(),
        );
    }
    false
}

fn argument(
    name: String,
    value: Value,
    known: &dyn Fn(&str) -> Option<String>,
    service: &mut Service,
) -> Option<Argument> {
    let is_first = |c: char| c.is_ascii_alphabetic() || c == '_';
    if !name.starts_with(is_first) || !name.chars().all(|c| is_first(c) || c.is_ascii_digit()) {
        service.todo(
            Key::File,
            format!("`{name}` cannot name a build argument, and is left out"),
        );
        return None;
    }
    let (value, remark) = match value {
        Value::Text(text, remark) => (Some(text), remark),
        Value::Unknown(why) => (None, Some(why)),
        Value::ImageOf(other) => match known(&other) {
            Some(other) => (Some(format!("${{{{ services.{other}.image }}}}")), None),
            None => (
                None,
                Some(format!(
                    "it is the image {other}, of which there is no service here"
                )),
            ),
        },
    };
    Some(Argument {
        name,
        value,
        remark,
        suggested: None,
    })
}
