//! What is built, to services of a manifest.

use std::collections::{BTreeMap, BTreeSet};

use super::build::{Build, Value, repository_of};
use super::combine::Found;
use super::compose::known_image;
use super::dockerfile::{self, Needs};
use super::draft::{Argument, Draft, Key, LeftOut, Registry, Scripts, Service};
use super::interpolate::UNSET;
use super::names::{distinct, image_name, service_name};
use super::place::Place;
use super::{Read, Wishes, path, toolchain};
use crate::image::ImageRepository;

/// Something that is built from a repository.
pub(super) struct Candidate {
    /// The repository, by its number.
    pub place: usize,
    /// The context, from the repository's folder on.
    pub context: String,
    /// The Dockerfile, from the repository's folder on.
    pub file: String,
    /// The stage.
    pub target: Option<String>,
    /// The names that suit it, the best first.
    pub names: Vec<String>,
    /// What a file says of it.
    pub build: Option<Build>,
    /// Others that build the very same: file and name.
    pub same: Vec<(String, String)>,
}

impl Candidate {
    /// A Dockerfile that no file speaks of.
    pub fn found(place: usize, context: String, file: String, names: Vec<String>) -> Self {
        Self {
            place,
            context,
            file,
            target: None,
            names,
            build: None,
            same: Vec::new(),
        }
    }

    /// Tells whether two files, or two parts of one, build the same image.
    pub fn is_same(&self, other: &Self) -> bool {
        let file = |candidate: &Self| candidate.build.as_ref().map(|build| build.file.clone());
        let args = |candidate: &Self| candidate.build.as_ref().map(|build| build.args.clone());
        self.place == other.place
            && self.context == other.context
            && self.file == other.file
            && self.target == other.target
            // Two tools seldom spell arguments alike.
            && (file(self) != file(other) || args(self) == args(other))
    }

    /// Takes over what another file says of the same image.
    pub fn merge(&mut self, other: Self) {
        let (Some(own), Some(theirs)) = (&mut self.build, other.build) else {
            return;
        };
        self.same.push((theirs.file.clone(), theirs.name));
        own.image = own.image.take().or(theirs.image);
        for (name, value) in theirs.args {
            if own.args.iter().all(|(known, _)| *known != name) {
                own.args.push((name, value));
            }
        }
        own.needs.extend(theirs.needs);
    }
}

/// A service with what it was made of.
struct Made {
    candidate: Candidate,
    service: Service,
    needs: Needs,
}

/// Makes services of all candidates.
pub(super) fn services(found: &mut Found<'_>, wishes: &Wishes, read: &Read<'_>) -> Draft {
    let candidates = std::mem::take(&mut found.candidates);
    let mut taken = BTreeSet::new();
    let mut made: Vec<Made> = Vec::new();
    for candidate in candidates {
        match service(found, candidate, &mut taken, read) {
            Ok(service) => made.push(service),
            Err((what, why)) => found.leave_out(true, what, why),
        }
    }
    let registry = images(&mut made, wishes);
    connect(&mut made);
    let mut services: Vec<Service> = made.into_iter().map(|made| made.service).collect();
    separate(&mut services);
    services.sort_by(|one, other| one.name.cmp(&other.name));
    let mut left_out: Vec<LeftOut> = std::mem::take(&mut found.left_out);
    left_out.sort_by(|one, other| (one.todo, &one.what).cmp(&(other.todo, &other.what)));
    left_out.dedup();
    Draft {
        sources: Vec::new(),
        registry,
        services,
        left_out,
    }
}

fn service(
    found: &Found<'_>,
    candidate: Candidate,
    taken: &mut BTreeSet<String>,
    read: &Read<'_>,
) -> Result<Made, (String, String)> {
    let place = &found.places[candidate.place];
    let first = candidate.names.first().cloned().unwrap_or_default();
    let mut service = Service {
        dir: place.dir.clone(),
        ..Service::default()
    };
    place
        .fill(&mut service)
        .map_err(|why| (first.clone(), why))?;
    let repository = place.name(&found.folder.name);
    let mut suitable = candidate.names.clone();
    suitable.push(format!("{repository}-{}", path::last(&first)));
    let legal: Vec<String> = suitable
        .iter()
        // An artifact of Skaffold is called by its image.
        .map(|name| repository_of(path::last(name)))
        .filter_map(service_name)
        .collect();
    service.name = distinct(&legal, taken);
    let called = candidate
        .build
        .as_ref()
        .map(|build| (&build.file, path::last(&build.name)));
    if let Some((file, called)) = called
        && repository_of(called) != service.name
    {
        service.remark(Key::Service, format!("called {called} in {file}"));
    }
    for (file, name) in &candidate.same {
        service.remark(
            Key::Service,
            format!("{name} of {file} is built the same way"),
        );
    }
    layout(&mut service, &candidate, place);
    let text = path::join(&place.dir, &candidate.file).and_then(|path| read(&path).ok().flatten());
    let needs = match (text, place.local) {
        (Some(text), _) => dockerfile::needs(&text),
        (None, Some(_)) => Needs::default(),
        (None, None) => {
            service.todo(
                Key::File,
                format!(
                    "{} is not cloned here, so nobody has looked at its Dockerfile",
                    place.dir
                ),
            );
            Needs::default()
        }
    };
    if let Some(local) = place.local
        && !local.holds(&candidate.file)
    {
        let todo = format!(
            "{} is not in the commit that would be built: commit and push it",
            candidate.file
        );
        service.todo(Key::File, todo);
    }
    for todo in candidate.build.iter().flat_map(|build| &build.todos) {
        service.todo(Key::File, todo);
    }
    scripts(&mut service, &candidate, place, &needs, read);
    Ok(Made {
        candidate,
        service,
        needs,
    })
}

/// Sets the paths: `git.path` is the innermost folder that has both context and Dockerfile.
fn layout(service: &mut Service, candidate: &Candidate, place: &Place<'_>) {
    let folder = path::common(&candidate.context, path::parent(&candidate.file));
    let from = |path: &str| path::below(path, &folder).unwrap_or_else(|| path.to_owned());
    let file = from(&candidate.file);
    let context = from(&candidate.context);
    service.file = (file != "Dockerfile").then_some(file);
    service.context = (context != ".").then_some(context);
    service.target = candidate.target.clone();
    let is_whole = folder == ".";
    service.path = (!is_whole).then_some(folder);
    let folder = path::parent(&candidate.file);
    let has_others = || {
        let files = place.local.and_then(|local| local.files.as_ref());
        let mut files = files.into_iter().flatten();
        files.any(|file| path::below(file, folder).is_some() && !dockerfile::is_dockerfile(file))
    };
    if is_whole && folder != "." && candidate.context == "." && has_others() {
        service.remark(
            Key::Reference,
            format!(
                "its image is built from the whole repository, so each commit is a new one; `path: {folder}` with \
                 `include` for what else it needs makes fewer"
            ),
        );
    }
}

/// Suggests scripts where the Dockerfile copies what no commit has, and takes a builder that is there.
fn scripts(
    service: &mut Service,
    candidate: &Candidate,
    place: &Place<'_>,
    needs: &Needs,
    read: &Read<'_>,
) {
    let Some(local) = place.local else { return };
    let is_missing = |copied: &&String| {
        let path = path::join(&candidate.context, copied);
        path.is_some_and(|path| !local.holds(&path))
    };
    let missing: Vec<&String> = needs.copied.iter().filter(is_missing).collect();
    let builder = format!("builders/{}", service.name);
    let is_there = matches!(read(&format!("{builder}/Dockerfile")), Ok(Some(_)));
    if missing.is_empty() && !is_there {
        return;
    }
    let folder = service.path.as_deref().unwrap_or(".");
    let (guess, known_by) = match path::join(&place.dir, folder) {
        Some(folder) => toolchain::guess(&folder, read),
        None => (Scripts::default(), None),
    };
    let by = known_by.map_or_else(String::new, |file| format!(", guessed from its {file}"));
    let scripts = Scripts {
        is_there: is_there && !guess.build.is_empty(),
        builder,
        ..guess
    };
    if let Some(copied) = missing.first() {
        let makes = match scripts.is_there {
            true => format!("these scripts have to make it{by}"),
            false => format!(
                "scripts have to make it. For these{by}, put a Dockerfile with the toolchain into {}, and take \
                 each `#` away",
                scripts.builder
            ),
        };
        service.todo(
            Key::Scripts,
            format!("the Dockerfile copies {copied}, which the commit does not have: {makes}"),
        );
    } else if scripts.is_there {
        service.todo(Key::Scripts, format!("check these scripts{by}"));
    } else {
        return;
    }
    let scripts = match scripts.build.is_empty() {
        true => Scripts {
            build: vec!["make build".to_owned()],
            ..scripts
        },
        false => scripts,
    };
    service.scripts = Some(scripts);
}

/// Names the images, and tells which registry the sources name.
fn images(made: &mut [Made], wishes: &Wishes) -> Registry {
    let named: Vec<Option<ImageRepository>> = made
        .iter()
        .map(|made| {
            let image = made.candidate.build.as_ref()?.image.as_deref()?;
            known_image(image)?.parse().ok()
        })
        .collect();
    let prefixes: BTreeSet<(String, String)> = named
        .iter()
        .flatten()
        .filter_map(|image| {
            let folder = path::parent(image.path()).to_owned();
            Some((image.registry()?.to_string(), folder))
        })
        .collect();
    let hosts: BTreeSet<&String> = prefixes.iter().map(|(host, _)| host).collect();
    let common = match (hosts.first(), hosts.len()) {
        (Some(host), 1) => {
            let mut folders = prefixes.iter().map(|(_, folder)| folder.clone());
            let first = folders.next().unwrap_or_default();
            let folder = folders.fold(first, |one, other| path::common(&one, &other));
            Some(((*host).clone(), folder))
        }
        _ => None,
    };
    let mut taken = BTreeSet::new();
    for (made, named) in made.iter_mut().zip(&named) {
        let Made {
            service, candidate, ..
        } = made;
        let source = candidate
            .build
            .as_ref()
            .and_then(|build| build.image.as_deref());
        let own = match (named, &common) {
            (None, _) => service.name.clone(),
            (Some(image), Some((_, folder))) if image.registry().is_some() => {
                path::below(image.path(), folder).unwrap_or_else(|| image.path().to_owned())
            }
            (Some(image), _) => image.path().to_owned(),
        };
        let candidates: Vec<String> = [&own, &service.name]
            .into_iter()
            .filter_map(|name| image_name(name))
            .collect();
        service.image = distinct(&candidates, &mut taken);
        if let Some(source) = source {
            let written = source.replace(UNSET, "…");
            let file = candidate
                .build
                .as_ref()
                .map_or("", |build| build.file.as_str());
            let is_elsewhere = common.is_none()
                && named
                    .as_ref()
                    .is_some_and(|image| image.registry().is_some());
            if is_elsewhere {
                service.todo(
                    Key::Image,
                    format!("{file} calls it {written}: the services have several registries"),
                );
            } else if service.image != own {
                service.remark(Key::Image, format!("{file} calls it {written}"));
            }
        } else if service.image != own {
            service.remark(
                Key::Image,
                format!("{own} is no legal name of an image, or there already"),
            );
        }
    }
    match (&wishes.registry, common) {
        (Some(given), _) => Registry::Given(given.clone()),
        (None, Some((host, folder))) => Registry::Suggested(match folder.as_str() {
            "." => host,
            folder => format!("{host}/{folder}"),
        }),
        (None, None) => Registry::Unknown,
    }
}

/// Sets arguments and needs, by the names that services have now.
fn connect(made: &mut [Made]) {
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

/// Gives working copies that others lie in a folder of their own: none may be inside another.
fn separate(services: &mut [Service]) {
    let dirs: BTreeSet<String> = services.iter().map(|service| service.dir.clone()).collect();
    for outer in &dirs {
        let mut inside = dirs
            .iter()
            .filter(|inner| *inner != outer && path::below(inner, outer).is_some());
        let Some(inner) = inside.next() else { continue };
        let name = match outer.as_str() {
            "." => services
                .iter()
                .find(|service| service.dir == "." && service.path.is_none())
                .map_or_else(|| "platform".to_owned(), |service| service.name.clone()),
            outer => path::last(outer).to_owned(),
        };
        let is_free = |dir: &String| {
            let mut others = dirs.iter().filter(|other| *other != outer);
            others
                .all(|other| path::below(other, dir).is_none() && path::below(dir, other).is_none())
        };
        let mut candidates = std::iter::once(format!("src/{name}"))
            .chain((2..).map(|number| format!("src-{number}/{name}")));
        let Some(dir) = candidates.find(is_free) else {
            continue;
        };
        for service in services.iter_mut().filter(|service| service.dir == *outer) {
            service.dir = dir.clone();
            service.remark(
                Key::Dir,
                format!("a working copy of its own, because {inner} lies in the one that is here"),
            );
        }
    }
}
