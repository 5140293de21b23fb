//! Build arguments and dependencies between services.

use std::collections::{BTreeMap, BTreeSet};

use super::super::build::{ArgValue, Build};
use super::super::draft::{DraftArgument, DraftKey, DraftService};
use super::CandidateService;
use super::image_owners::ImageOwners;
use crate::model::dockerfile::{self, ImageUse};

/// Sets `args` and `needs`, with the final service names.
pub(super) fn connect(drafts: &mut [CandidateService]) {
    let mut by_source: BTreeMap<(String, String), String> = BTreeMap::new();
    for draft in drafts.iter() {
        let name = draft.service.name.clone();
        if let Some(build) = &draft.candidate.build {
            by_source.insert((build.file.clone(), build.name.clone()), name.clone());
        }
        for same in &draft.candidate.same {
            by_source.insert(same.clone(), name.clone());
        }
    }
    let owners = ImageOwners::of(drafts);
    let names: Vec<String> = drafts
        .iter()
        .map(|draft| draft.service.name.clone())
        .collect();
    let mut inferred = Vec::new();
    for draft in drafts.iter_mut() {
        let build = draft.candidate.build.take();
        if let Some(build) = &build {
            from_tool_file(&mut draft.service, build, &by_source);
        }
        let uses = uses(draft);
        for used in &uses {
            if let Some(other) = owners.owner(&used.image, &draft.service.name) {
                inferred.push((draft.service.name.clone(), other.to_owned(), used.clone()));
            }
        }
        // `FRONTEND` or `FRONTEND_IMAGE` probably means the service `frontend`.
        let own = draft.service.name.clone();
        let suggested = |name: &str| {
            let name = name.to_ascii_lowercase().replace('_', "-");
            let meant = name.strip_suffix("-image").unwrap_or(&name);
            let mut services = names.iter().filter(|known| **known != own);
            let meant = services.find(|known| known.to_ascii_lowercase() == meant)?;
            Some(placeholder(meant))
        };
        for name in &draft.inputs.arguments {
            let service = &mut draft.service;
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
    }
    for (name, other, used) in inferred {
        // An inferred dependency must not create a cycle.
        if reaches(drafts, &other, &name) {
            continue;
        }
        if let Some(draft) = drafts.iter_mut().find(|draft| draft.service.name == name) {
            use_image(&mut draft.service, &other, used);
        }
    }
    for draft in drafts {
        draft.service.needs.sort();
        draft.service.needs.dedup();
    }
}

/// Takes over the arguments and dependencies of a tool file.
fn from_tool_file(
    service: &mut DraftService,
    build: &Build,
    by_source: &BTreeMap<(String, String), String>,
) {
    let known = |name: &str| {
        let mut others = by_source.iter().filter(|((_, known), _)| known == name);
        // The same file takes precedence if two tools use the same name.
        by_source
            .get(&(build.file.clone(), name.to_owned()))
            .or_else(|| others.next().map(|(_, service)| service))
            .cloned()
    };
    for (name, value) in build.args.clone() {
        let argument = argument(name, value, &known, service);
        service.args.extend(argument);
    }
    for need in &build.needs {
        match known(need) {
            Some(other) if other == service.name => {}
            Some(other) => service.needs.push(other),
            None => service.todo(
                DraftKey::File,
                format!("it needs {need}, which is not a service here"),
            ),
        }
    }
}

/// Returns the images that a service uses: those in its Dockerfile or, if it was not read, in its arguments.
fn uses(draft: &CandidateService) -> Vec<ImageUse> {
    let values = draft.service.args.iter();
    let values = values.filter_map(|arg| Some((arg.name.clone(), arg.value.clone()?)));
    match &draft.dockerfile {
        Some(text) => dockerfile::image_uses(text, &values.collect()),
        None => {
            let is_image = |(name, value): &(String, String)| {
                let name = name.to_ascii_uppercase();
                let is_named = ["BASE", "IMAGE", "FROM"]
                    .iter()
                    .any(|part| name.contains(part));
                is_named || value.contains(['/', ':'])
            };
            let uses = values.filter(is_image).map(|(name, image)| ImageUse {
                image,
                argument: Some(name),
            });
            uses.collect()
        }
    }
}

/// Makes a service use the image of another one.
fn use_image(service: &mut DraftService, other: &str, used: ImageUse) {
    let Some(name) = used.argument else {
        if !service.needs.iter().any(|need| need == other) {
            service.needs.push(other.to_owned());
        }
        service.todo(
            DraftKey::File,
            format!(
                "its Dockerfile uses {}, the image of {other}, with a tag that xp does not set: start it \
                 with `ARG BASE` and `FROM ${{BASE}}`, and add `args: {{BASE: '{}'}}` here",
                used.image,
                placeholder(other)
            ),
        );
        return;
    };
    let value = Some(placeholder(other));
    match service.args.iter_mut().find(|arg| arg.name == name) {
        // A placeholder was set by the tool file.
        Some(arg)
            if arg
                .value
                .as_ref()
                .is_some_and(|value| value.contains("${{")) => {}
        Some(arg) => {
            arg.remark = Some(format!("{} in the sources", used.image));
            arg.value = value;
        }
        None => service.args.push(DraftArgument {
            remark: Some(format!("{} in the Dockerfile", used.image)),
            name,
            value,
            suggested: None,
        }),
    }
}

fn placeholder(service: &str) -> String {
    format!("${{{{ services.{service}.image }}}}")
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
            Some(other) => (Some(placeholder(&other)), None),
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
