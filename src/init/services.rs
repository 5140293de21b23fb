//! What is built, to services of a manifest.

mod connect;
mod images;

use std::collections::BTreeSet;

use super::build::{Build, repository_of};
use super::combine::Found;
use super::dockerfile::{self, Needs};
use super::draft::{Draft, Key, LeftOut, Scripts, Service};
use super::names::{distinct, service_name};
use super::place::Place;
use super::{Read, Wishes, path, toolchain};

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
    /// What its Dockerfile needs.
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
    let registry = images::name(&mut made, wishes);
    connect::connect(&mut made);
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
    let is_part = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    match &candidate.target {
        Some(target)
            if !target.starts_with(|c: char| c.is_ascii_alphanumeric())
                || !target.chars().all(is_part) =>
        {
            let todo = format!("`{target}` cannot name a stage of a Dockerfile, and is left out");
            service.todo(Key::File, todo);
        }
        target => service.target = target.clone(),
    }
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
    let has = |name: &str| matches!(read(&format!("{builder}/{name}")), Ok(Some(_)));
    let is_there = has("Dockerfile") || has("dockerfile");
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
