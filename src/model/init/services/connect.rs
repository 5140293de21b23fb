//! Build arguments and dependencies between services.

use std::collections::{BTreeMap, BTreeSet};

use super::super::build::{ArgValue, repository_of};
use super::super::compose::known_image;
use super::super::draft::{DraftArgument, DraftKey, DraftService};
use super::CandidateService;

/// Sets `args` and `needs`, with the final service names.
pub(super) fn connect(drafts: &mut [CandidateService]) {
    let mut by_source: BTreeMap<(String, String), String> = BTreeMap::new();
    let mut by_image: BTreeMap<String, String> = BTreeMap::new();
    for draft in drafts.iter() {
        let name = draft.service.name.clone();
        if let Some(build) = &draft.candidate.build {
            by_source.insert((build.file.clone(), build.name.clone()), name.clone());
            if let Some(image) = build.image.as_deref().and_then(known_image) {
                by_image.insert(image.to_owned(), name.clone());
            }
        }
        for same in &draft.candidate.same {
            by_source.insert(same.clone(), name.clone());
        }
        by_image.insert(draft.service.image.clone(), name);
    }
    let names: Vec<String> = drafts
        .iter()
        .map(|draft| draft.service.name.clone())
        .collect();
    let mut inferred = Vec::new();
    for draft in drafts.iter_mut() {
        let CandidateService {
            candidate,
            service,
            inputs,
        } = draft;
        let build = candidate.build.take();
        let file = build
            .as_ref()
            .map(|build| build.file.clone())
            .unwrap_or_default();
        let known = |name: &str| {
            let mut others = by_source.iter().filter(|((_, known), _)| known == name);
            // The same file takes precedence if two tools use the same name.
            by_source
                .get(&(file.clone(), name.to_owned()))
                .or_else(|| others.next().map(|(_, service)| service))
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
                    DraftKey::File,
                    format!("it needs {need}, which is not a service here"),
                ),
            }
        }
        // `FRONTEND` or `FRONTEND_IMAGE` probably means the service `frontend`.
        let suggested = |name: &str| {
            let name = name.to_ascii_lowercase().replace('_', "-");
            let meant = name.strip_suffix("-image").unwrap_or(&name);
            let mut services = names.iter().filter(|known| **known != service.name);
            let meant = services.find(|known| known.to_ascii_lowercase() == meant)?;
            Some(format!("${{{{ services.{meant}.image }}}}"))
        };
        for name in &inputs.arguments {
            if service.args.iter().all(|arg| arg.name != *name) {
                service.args.push(DraftArgument {
                    name: name.clone(),
                    value: None,
                    suggested: suggested(name),
                    remark: Some(format!(
                        "the Dockerfile uses ${{{name}}} in `FROM` without a default; for the image of another \
                         service, use `${{{{ services.NAME.image }}}}`"
                    )),
                });
            }
        }
        for image in &inputs.images {
            let Some(other) = by_image
                .get(repository_of(image))
                .filter(|other| **other != service.name)
            else {
                continue;
            };
            inferred.push((service.name.clone(), other.clone()));
            service.todo(
                DraftKey::File,
                format!(
                    "its Dockerfile uses {image}, the image of {other}, with a tag that xp does not set: start it \
                     with `ARG BASE` and `FROM ${{BASE}}`, and add `args: {{BASE: '${{{{ services.{other}.image }}}}'}}` here"
                ),
            );
        }
        service.needs.sort();
        service.needs.dedup();
    }
    for (name, other) in inferred {
        // An inferred dependency must not create a cycle.
        if !reaches(drafts, &other, &name)
            && let Some(draft) = drafts.iter_mut().find(|draft| draft.service.name == name)
            && !draft.service.needs.contains(&other)
        {
            draft.service.needs.push(other);
        }
    }
}

/// Returns whether a service depends on another, directly or not.
fn reaches(drafts: &[CandidateService], from: &str, to: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut queue = vec![from.to_owned()];
    while let Some(name) = queue.pop() {
        if name == to {
            return true;
        }
        if !seen.insert(name.clone()) {
            continue;
        }
        let service = drafts.iter().find(|draft| draft.service.name == name);
        queue.extend(
            service
                .map(|draft| draft.service.all_needs())
                .unwrap_or_default(),
        );
    }
    false
}

fn argument(
    name: String,
    value: ArgValue,
    known: &dyn Fn(&str) -> Option<String>,
    service: &mut DraftService,
) -> Option<DraftArgument> {
    let is_first = |c: char| c.is_ascii_alphabetic() || c == '_';
    if !name.starts_with(is_first) || !name.chars().all(|c| is_first(c) || c.is_ascii_digit()) {
        service.todo(
            DraftKey::File,
            format!("`{name}` is not a valid build argument name and was omitted"),
        );
        return None;
    }
    let (value, remark) = match value {
        ArgValue::Text(text, remark) => (Some(text), remark),
        ArgValue::Unknown(why) => (None, Some(why)),
        ArgValue::ImageOf(other) => match known(&other) {
            Some(other) => (Some(format!("${{{{ services.{other}.image }}}}")), None),
            None => (
                None,
                Some(format!(
                    "it is the image {other}, which no service here builds"
                )),
            ),
        },
    };
    Some(DraftArgument {
        name,
        value,
        remark,
        suggested: None,
    })
}
