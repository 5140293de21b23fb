//! Checks across services.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::path::{Path, PathBuf};

use super::decode::DecodedService;
use super::error::SourceProblem;
use super::graph;
use super::name::{BuilderName, ServiceName};
use super::service::BuilderImage;
use super::template::Template;
use crate::model::image::{ImageRepository, Platform, RegistryPrefix};

/// Reports images shared by services, overlapping working copies, and dependency cycles.
pub(super) fn services(
    services: &[DecodedService],
    registry: Option<&RegistryPrefix>,
    cache_dir: Option<&Path>,
    problems: &mut Vec<SourceProblem>,
) {
    images(services, registry, problems);
    working_copies(
        services,
        cache_dir.unwrap_or(Path::new(super::DEFAULT_CACHE_DIR)),
        problems,
    );
    cycles(services, problems);
    platforms(services, problems);
}

/// Reports services whose images cannot be built for all of their platforms.
fn platforms(services: &[DecodedService], problems: &mut Vec<SourceProblem>) {
    let of_service = |name: &ServiceName| {
        let found = services.iter().find(|it| it.service.name == *name);
        found.map_or(&[] as &[Platform], |it| &it.service.docker.platforms)
    };
    for DecodedService { service, spans } in services {
        let (name, platforms) = (&service.name, &service.docker.platforms);
        let Some(span) = spans.inputs.get("docker.platforms") else {
            continue;
        };
        if let Some(phase) = service.scripts.cached.keys().next()
            && service.has_scripts_per_platform()
        {
            let phase = phase.as_str();
            let message = format!(
                "service `{name}` has `docker.platforms`, and `inputs` of `scripts.{phase}`, but not `scripts.once: true`"
            );
            problems.push(SourceProblem::at(*span, message).help(
                "results of phases are not kept for each platform: set `once: true` if what the scripts write is the same for all platforms, or remove `inputs`",
            ));
        }
        let needed: BTreeSet<&ServiceName> = service
            .docker
            .args
            .values()
            .flat_map(Template::images)
            .collect();
        for need in needed {
            let missing = platforms.iter().find(|it| !of_service(need).contains(it));
            if let Some(missing) = missing {
                let message = format!(
                    "service `{name}` is built for {missing}, but the image of `{need}` that it is built from is not"
                );
                let listed: Vec<String> = platforms.iter().map(ToString::to_string).collect();
                let at = spans.needs.get(need).unwrap_or(span);
                problems.push(SourceProblem::at(*at, message).help(format!(
                    "add `platforms: [{}]` to `docker` of `{need}`",
                    listed.join(", ")
                )));
            }
        }
    }
}

fn images(
    services: &[DecodedService],
    registry: Option<&RegistryPrefix>,
    problems: &mut Vec<SourceProblem>,
) {
    let mut first_with = BTreeMap::new();
    for service in services {
        let image = &service.service.docker.image;
        let Some(first) = first_with.get(image) else {
            first_with.insert(image, service);
            continue;
        };
        let first: &DecodedService = first;
        let (name, other) = (&service.service.name, &first.service.name);
        problems.push(
            SourceProblem::at(
                service.spans.image,
                format!("services `{other}` and `{name}` have the same image, `{image}`"),
            )
            .label("used again here")
            .related(first.spans.image, "first used here")
            .help("give each service a different image, or they will overwrite each other's tags"),
        );
    }
    let builders: BTreeMap<ImageRepository, &BuilderName> = services
        .iter()
        .flat_map(|service| service.service.images())
        .filter_map(|image| match image {
            BuilderImage::Folder(name) => Some((name.repository().with_prefix(registry), name)),
            BuilderImage::External(_) => None,
        })
        .collect();
    for service in services {
        if let Some(builder) = builders.get(&service.service.docker.image) {
            let name = &service.service.name;
            let message = format!("service `{name}` and builder `{builder}` have the same image");
            problems.push(SourceProblem::at(service.spans.image, message));
        }
    }
}

fn working_copies(
    services: &[DecodedService],
    cache_dir: &Path,
    problems: &mut Vec<SourceProblem>,
) {
    // Sorted by path, a folder's contents follow the folder, so each service is compared only with those it can
    // overlap with. Services that share a working copy are represented by the first of them.
    let mut by_dir: BTreeMap<&Path, Vec<(usize, &DecodedService)>> = BTreeMap::new();
    for (index, later) in services.iter().enumerate() {
        let dir = &later.service.dir;
        let name = &later.service.name;
        if is_within(dir, cache_dir) {
            let message = format!(
                "the `dir` of service `{name}` is inside the cache folder of xp, `{}`",
                cache_dir.display()
            );
            problems.push(SourceProblem::at(later.spans.dir, message));
        }
        let mut is_distinct = true;
        for earlier in overlapping(&by_dir, dir) {
            let other = &earlier.service.dir;
            let same_remote = || {
                earlier
                    .service
                    .source
                    .is_same_repository(&later.service.source)
            };
            let first = &earlier.service.name;
            let problem = if dir == other {
                if same_remote() {
                    is_distinct = false;
                    continue;
                }
                let message = format!(
                    "services `{first}` and `{name}` have the same `dir` but different remotes"
                );
                SourceProblem::at(later.spans.dir, message)
                    .help("a working copy has only one remote: give each service a different `dir`")
            } else {
                let (inner, outer) = if is_within(dir, other) {
                    (name, first)
                } else {
                    (first, name)
                };
                let message = format!(
                    "the `dir` of service `{inner}` is inside the working copy of service `{outer}`"
                );
                let problem = SourceProblem::at(later.spans.dir, message);
                if same_remote() {
                    problem.help("for two parts of one repository, set the same `dir` and different values of `git.path`")
                } else {
                    problem.help("move one of them so that neither contains the other")
                }
            };
            // An inherited `dir` is written only once.
            problems.push(if earlier.spans.dir == later.spans.dir {
                problem
            } else {
                problem.related(earlier.spans.dir, format!("service `{first}`"))
            });
        }
        if is_distinct {
            by_dir
                .entry(without_dot(dir))
                .or_default()
                .push((index, later));
        }
    }
}

/// Returns the services with a `dir` that equals, contains or is inside `dir`, in the manifest's order.
fn overlapping<'d>(
    by_dir: &BTreeMap<&Path, Vec<(usize, &'d DecodedService)>>,
    dir: &Path,
) -> Vec<&'d DecodedService> {
    let dir = without_dot(dir);
    let outer = dir.ancestors().filter_map(|outer| by_dir.get(outer));
    let inner = by_dir
        .range::<Path, _>((Bound::Excluded(dir), Bound::Unbounded))
        .take_while(|(inner, _)| inner.starts_with(dir))
        .map(|(_, services)| services);
    let mut found: Vec<(usize, &DecodedService)> = outer.chain(inner).flatten().copied().collect();
    found.sort_by_key(|(index, _)| *index);
    found.into_iter().map(|(_, service)| service).collect()
}

/// Converts `.` to the empty path, which is a prefix of every path.
fn without_dot(dir: &Path) -> &Path {
    dir.strip_prefix(".").unwrap_or(dir)
}

/// Returns whether `inner` is `outer` or is inside it.
fn is_within(inner: &Path, outer: &Path) -> bool {
    outer.as_os_str() == "." || inner.starts_with(outer)
}

fn cycles(services: &[DecodedService], problems: &mut Vec<SourceProblem>) {
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
        let span = services
            .iter()
            .find(|service| Some(&&service.service.name) == cycle.first())
            .and_then(|service| {
                let next = cycle.get(1).or(cycle.first())?;
                Some(
                    service
                        .spans
                        .needs
                        .get(*next)
                        .copied()
                        .unwrap_or(service.spans.name),
                )
            });
        let message = match names.len() {
            2 => format!("service `{}` needs itself", names[0]),
            _ => format!("dependency cycle between services: {}", names.join(" → ")),
        };
        problems.push(match span {
            Some(span) => SourceProblem::at(span, message),
            None => SourceProblem::without_span(message),
        });
    }
}

/// Returns an error message if a symbolic link in `dir` leads out of the folder. Reads the file system.
pub(super) fn symlink_problem(folder: &Path, dir: &Path) -> Option<String> {
    let mut path = folder.to_owned();
    let mut shown = PathBuf::new();
    for part in dir.components() {
        path.push(part);
        shown.push(part);
        // A path that does not exist yet is fine; one that cannot be read fails later.
        if !path.symlink_metadata().ok()?.is_symlink() {
            continue;
        }
        let Ok(end) = path.canonicalize() else {
            return Some(format!("`{}` is a broken symbolic link", shown.display()));
        };
        if !end.starts_with(folder) {
            return Some(format!(
                "`{}` is a symbolic link to `{}`, outside the manifest's folder",
                shown.display(),
                end.display()
            ));
        }
    }
    None
}
