//! What must hold between services.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::path::{Path, PathBuf};

use super::decode::Decoded;
use super::error::Problem;
use super::graph;
use super::name::{BuilderName, ServiceName};
use super::service::BuilderImage;
use crate::image::{ImageRepository, RegistryPrefix};

/// Reports images that two services share, working copies that overlap, and cycles.
pub(super) fn services(
    services: &[Decoded],
    registry: Option<&RegistryPrefix>,
    cache_dir: Option<&Path>,
    problems: &mut Vec<Problem>,
) {
    images(services, registry, problems);
    working_copies(
        services,
        cache_dir.unwrap_or(Path::new(super::DEFAULT_CACHE_DIR)),
        problems,
    );
    cycles(services, problems);
}

fn images(services: &[Decoded], registry: Option<&RegistryPrefix>, problems: &mut Vec<Problem>) {
    let mut first_with = BTreeMap::new();
    for service in services {
        let image = &service.service.docker.image;
        let Some(first) = first_with.get(image) else {
            first_with.insert(image, service);
            continue;
        };
        let first: &Decoded = first;
        let (name, other) = (&service.service.name, &first.service.name);
        problems.push(
            Problem::at(
                service.places.image,
                format!("services `{other}` and `{name}` have the same image, `{image}`"),
            )
            .label("the second time")
            .related(first.places.image, "the first time")
            .help("tags of one commit would overwrite those of the other: give each its own name"),
        );
    }
    let builders: BTreeMap<ImageRepository, &BuilderName> = services
        .iter()
        .filter_map(|service| match &service.service.builder.as_ref()?.image {
            BuilderImage::Folder(name) => Some((name.repository().below(registry), name)),
            BuilderImage::External(_) => None,
        })
        .collect();
    for service in services {
        if let Some(builder) = builders.get(&service.service.docker.image) {
            let name = &service.service.name;
            let message =
                format!("the image of service `{name}` is that of the builder `{builder}`");
            problems.push(Problem::at(service.places.image, message));
        }
    }
}

fn working_copies(services: &[Decoded], cache_dir: &Path, problems: &mut Vec<Problem>) {
    // In the order of paths, what lies in a folder follows the folder, so that each service is compared with
    // those alone that it may be in conflict with. Of the many services of one working copy, it is the first.
    let mut by_dir: BTreeMap<&Path, Vec<(usize, &Decoded)>> = BTreeMap::new();
    for (index, later) in services.iter().enumerate() {
        let dir = &later.service.dir;
        let name = &later.service.name;
        if is_within(dir, cache_dir) {
            let message = format!(
                "the `dir` of service `{name}` is in the folder that xp keeps its own files in, `{}`",
                cache_dir.display()
            );
            problems.push(Problem::at(later.places.dir, message));
        }
        let mut is_distinct = true;
        for earlier in in_one_line(&by_dir, dir) {
            let other = &earlier.service.dir;
            let same_remote = || earlier.service.git.remote == later.service.git.remote;
            let first = &earlier.service.name;
            let problem = if dir == other {
                if same_remote() {
                    is_distinct = false;
                    continue;
                }
                let message = format!(
                    "services `{first}` and `{name}` have the same `dir` and different remotes"
                );
                Problem::at(later.places.dir, message)
                    .help("one working copy has one remote: give each its own `dir`")
            } else {
                let (inner, outer) = if is_within(dir, other) {
                    (name, first)
                } else {
                    (first, name)
                };
                let message = format!(
                    "the `dir` of service `{inner}` is inside the working copy of service `{outer}`"
                );
                let problem = Problem::at(later.places.dir, message);
                if same_remote() {
                    problem.help("for two parts of one repository, give both the same `dir`, and each its `git.path`")
                } else {
                    problem.help("move one of them, so that neither contains the other")
                }
            };
            // An inherited `dir` stands at one place only.
            problems.push(if earlier.places.dir == later.places.dir {
                problem
            } else {
                problem.related(earlier.places.dir, format!("service `{first}`"))
            });
        }
        if is_distinct {
            by_dir
                .entry(from_root(dir))
                .or_default()
                .push((index, later));
        }
    }
}

/// Returns the services whose folders are a folder, lie in it, or have it in them, in the manifest's order.
fn in_one_line<'d>(
    by_dir: &BTreeMap<&Path, Vec<(usize, &'d Decoded)>>,
    dir: &Path,
) -> Vec<&'d Decoded> {
    let dir = from_root(dir);
    let outer = dir.ancestors().filter_map(|outer| by_dir.get(outer));
    let inner = by_dir
        .range::<Path, _>((Bound::Excluded(dir), Bound::Unbounded))
        .take_while(|(inner, _)| inner.starts_with(dir))
        .map(|(_, services)| services);
    let mut found: Vec<(usize, &Decoded)> = outer.chain(inner).flatten().copied().collect();
    found.sort_by_key(|(index, _)| *index);
    found.into_iter().map(|(_, service)| service).collect()
}

/// Returns a folder as the folders above it have it: the manifest's own is above all.
fn from_root(dir: &Path) -> &Path {
    dir.strip_prefix(".").unwrap_or(dir)
}

/// Tells whether `inner` is `outer` or lies below it.
fn is_within(inner: &Path, outer: &Path) -> bool {
    outer.as_os_str() == "." || inner.starts_with(outer)
}

fn cycles(services: &[Decoded], problems: &mut Vec<Problem>) {
    let needs: BTreeMap<&ServiceName, &BTreeSet<ServiceName>> = services
        .iter()
        .map(|service| (&service.service.name, &service.service.needs))
        .collect();
    for cycle in graph::cycles(&needs) {
        let names: Vec<String> = cycle
            .iter()
            .chain(cycle.first())
            .map(ToString::to_string)
            .collect();
        let place = services
            .iter()
            .find(|service| Some(&&service.service.name) == cycle.first())
            .and_then(|service| {
                let next = cycle.get(1).or(cycle.first())?;
                Some(
                    service
                        .places
                        .needs
                        .get(*next)
                        .copied()
                        .unwrap_or(service.places.name),
                )
            });
        let message = match names.len() {
            2 => format!("service `{}` needs itself", names[0]),
            _ => format!("services need each other in a cycle: {}", names.join(" → ")),
        };
        problems.push(match place {
            Some(place) => Problem::at(place, message),
            None => Problem::of_the_file(message),
        });
    }
}

/// Returns where a working copy would be reached through a symbolic link that leaves the folder,
/// as a message. Looks at the file system.
pub(super) fn leaves_by_link(folder: &Path, dir: &Path) -> Option<String> {
    let mut path = folder.to_owned();
    let mut shown = PathBuf::new();
    for part in dir.components() {
        path.push(part);
        shown.push(part);
        // What does not exist yet cannot lead anywhere; what cannot be read is found out later.
        if !path.symlink_metadata().ok()?.is_symlink() {
            continue;
        }
        let Ok(end) = path.canonicalize() else {
            return Some(format!(
                "`{}` is a symbolic link to nothing",
                shown.display()
            ));
        };
        if !end.starts_with(folder) {
            return Some(format!(
                "`{}` is a symbolic link that leaves the manifest's folder, to `{}`",
                shown.display(),
                end.display()
            ));
        }
    }
    None
}
