//! Decodes a service, or the partial service in `defaults`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use super::super::error::SourceProblem;
use super::super::name::ServiceName;
use super::super::node::NodeKind;
use super::super::script::{ScriptItem, Scripts};
use super::super::service::{Builder, BuilderUser, Service};
use super::super::source::{Git, Source};
use super::super::source_path::SourcePath;
use super::super::span::Span;
use super::builder::{DecodedBuilder, builder};
use super::context::{DecodeContext, DecodedValue};
use super::docker::docker;
use super::path::{within_folder, within_repository};
use super::quantity;
use super::scm::scm;
use super::script::{ScriptContext, scripts};
use super::sidecar::{check_network, sidecars, verify};
use super::supply::service_supply;
use crate::base::suggest;
use crate::model::image::RegistryPrefix;
use crate::model::source::{ExcludePattern, GitReference, GitUrl};

/// A service with the positions of its keys.
pub(crate) struct DecodedService {
    pub service: Service,
    pub spans: ServiceSpans,
}

/// Positions of keys that later checks report on.
#[derive(Debug, Clone)]
pub(crate) struct ServiceSpans {
    pub name: Span,
    pub dir: Span,
    pub image: Span,
    pub needs: BTreeMap<ServiceName, Span>,
    /// `git.path` and the items of `git.include`.
    pub paths: BTreeMap<String, Span>,
    /// `git.exclude`
    pub exclude: Option<Span>,
    /// Inputs from the caller's machine and its engine: `docker.ssh`, `docker.secrets.ID`, `scm.secrets.ID`,
    /// `dockerBuilder.ssh`, `sidecars`.
    pub inputs: BTreeMap<String, Span>,
}

/// Validates `defaults`, where any key may be missing.
pub(super) fn partial(
    cx: &mut DecodeContext,
    value: &DecodedValue,
    registry: Option<&RegistryPrefix>,
) {
    decode(cx, None, value, registry);
}

/// Decodes a service after the defaults are merged into it.
pub(super) fn service(
    cx: &mut DecodeContext,
    name: &ServiceName,
    value: &DecodedValue,
    registry: Option<&RegistryPrefix>,
) -> Option<DecodedService> {
    decode(cx, Some(name), value, registry)
}

fn decode(
    cx: &mut DecodeContext,
    name: Option<&ServiceName>,
    value: &DecodedValue,
    registry: Option<&RegistryPrefix>,
) -> Option<DecodedService> {
    let mut fields = value.fields(cx)?;
    let mut missing = Vec::new();
    let mut require = |is_there: bool, key: &'static str, span: Option<Span>| {
        if !is_there {
            missing.push((key, span));
        }
    };

    let dir = fields.take("dir");
    require(dir.is_some(), "dir", None);
    let dir = dir.and_then(|value| Some((value.parse_with(cx, within_folder)?, value.span())));

    let git_value = fields.take("git");
    let scm_value = fields.take("scm");
    let git = git_value
        .as_ref()
        .and_then(|value| git(cx, value, name.is_some() && scm_value.is_none()));
    let scm = scm_value.as_ref().and_then(|value| scm(cx, value));
    require(git_value.is_some() || scm_value.is_some(), "git", None);
    if let (Some(value), Some(git), None) = (&git_value, &git, &scm_value) {
        require(git.has_remote, "git.remote", Some(value.key_span));
    }
    if let (Some(value), Some(scm)) = (&scm_value, &scm) {
        require(scm.has_plugin, "scm.plugin", Some(value.key_span));
    }
    if let (Some(name), Some(git), Some(scm)) = (name, &git_value, &scm_value) {
        let message = format!("service `{name}` has both `git` and `scm`");
        cx.report(
            SourceProblem::at(scm.key_span, message)
                .related(git.key_span, "the git repository")
                .help("a source comes from a git repository or from a plugin: remove one of them"),
        );
    }

    let builder_value = fields.take("dockerBuilder");
    let builder = builder_value.as_ref().and_then(|value| builder(cx, value));
    // An invalid builder has already been reported.
    let has_builder =
        builder_value.is_some() && builder.as_ref().is_none_or(|builder| builder.has_image);

    let timeout = fields
        .take("timeout")
        .and_then(|value| value.parse_with(cx, quantity::duration));

    let docker_value = fields.take("docker");
    let docker = docker_value
        .as_ref()
        .and_then(|value| docker(cx, value, registry));
    require(docker_value.is_some(), "docker", None);
    if let (Some(value), Some(docker)) = (&docker_value, &docker) {
        require(docker.has_image, "docker.image", Some(value.key_span));
    }

    let scripts_value = fields.take("scripts");
    let mut script_context = ScriptContext {
        docker_secrets: docker
            .as_ref()
            .map(|docker| &docker.secrets)
            .filter(|_| name.is_some()),
        input_spans: BTreeMap::new(),
        folder: git.as_ref().and_then(|git| git.path.as_deref()),
        is_from_plugin: scm_value.is_some(),
    };
    let scripts = scripts_value
        .as_ref()
        .map(|value| scripts(cx, value, &mut script_context))
        .unwrap_or_default();
    let script_input_spans = script_context.input_spans;

    let sidecars_value = fields.take("sidecars");
    let sidecars = sidecars_value
        .as_ref()
        .map(|value| sidecars(cx, name, value))
        .unwrap_or_default();
    let verify = fields.take("verify").map(|value| verify(cx, &value));
    let supply = fields
        .take("supply")
        .and_then(|value| service_supply(cx, &value));
    let beside = if scripts.verify.is_empty() {
        sidecars_value
            .as_ref()
            .filter(|_| !sidecars.sidecars.is_empty())
    } else {
        scripts_value.as_ref()
    };
    let beside_span = beside.map(|value| value.key_span);
    if let (Some(span), Some(builder)) = (beside_span, &builder) {
        check_network(cx, builder.network.as_deref(), builder.network_span, span);
    }

    let mut needs = BTreeMap::new();
    if let Some(value) = fields.take("needs") {
        explicit_needs(cx, name, &value, &mut needs);
    }
    fields.finish(cx);

    let name = name?;
    for (key, span) in missing {
        cx.report(
            SourceProblem::at(
                span.unwrap_or(value.key_span),
                format!("service `{name}` has no `{key}`"),
            )
            .maybe_help(example_of(key, name)),
        );
    }
    if let Some(scripts_value) = scripts_value
        && !has_builder
        && let Some(message) = missing_builder(name, &scripts, builder.as_ref())
    {
        cx.report(
            SourceProblem::at(scripts_value.key_span, message).help(format!(
                "add `dockerBuilder: {{image: builders/{name}}}`, or set another image"
            )),
        );
    }

    for (service, span) in sidecars.needs {
        needs.entry(service).or_insert(span);
    }
    let verify = verify.unwrap_or_default();
    let templates = docker
        .iter()
        .flat_map(|docker| docker.args.values().chain(&docker.tags))
        .chain(verify.env.values())
        .chain(builder.iter().flat_map(|builder| builder.env.values()));
    for template in templates {
        for service in template.services() {
            needs
                .entry(service.clone())
                .or_insert(template.span.first_line(cx.text));
        }
    }

    let ssh_span = builder.as_ref().and_then(|builder| builder.ssh_span);
    let ssh_span = ssh_span.map(|span| ("dockerBuilder.ssh".to_owned(), span));
    let beside_span = beside_span.map(|span| ("sidecars".to_owned(), span));

    let (dir, dir_span): (PathBuf, Span) = dir?;
    let (git, scm) = match scm_value {
        None => (Some(git?), None),
        Some(_) => (None, Some(scm?)),
    };
    let docker = docker?;
    let image_span = docker.image.as_ref()?.1;
    if let Some(git) = &git {
        check_exclude(cx, name, git, docker.file(), value.node.span);
    }
    Some(DecodedService {
        spans: ServiceSpans {
            name: value.key_span,
            dir: dir_span,
            image: image_span,
            needs: needs.clone(),
            paths: git
                .as_ref()
                .map(|git| git.path_spans.clone())
                .unwrap_or_default(),
            exclude: git.as_ref().and_then(|git| git.exclude_span),
            inputs: docker
                .input_spans
                .clone()
                .into_iter()
                .chain(scm.iter().flat_map(|scm| scm.input_spans.clone()))
                .chain(ssh_span)
                .chain(script_input_spans)
                .chain(beside_span)
                .collect(),
        },
        service: Service {
            name: name.clone(),
            dir,
            source: match (git, scm) {
                (Some(git), _) => Source::Git(Git {
                    remote: git.remote?,
                    reference: git.reference,
                    path: git.path,
                    include: git.include,
                    exclude: git
                        .exclude
                        .into_iter()
                        .map(|(pattern, _)| pattern)
                        .collect(),
                    submodules: git.submodules,
                }),
                (None, scm) => Source::Plugin(scm?.plugin?),
            },
            builder: builder
                .map(DecodedBuilder::complete)
                .or_else(|| Some(Builder::default()))
                .filter(|builder| builder.image.is_some() || !scripts.is_empty()),
            timeout,
            docker: docker.complete()?,
            scripts,
            sidecars: sidecars.sidecars,
            verify,
            supply: supply.unwrap_or_default(),
            needs: needs.into_keys().collect(),
        },
    })
}

/// Returns why scripts require a builder image; `None` if they do not.
fn missing_builder(
    name: &ServiceName,
    scripts: &Scripts,
    builder: Option<&DecodedBuilder>,
) -> Option<String> {
    if scripts
        .items()
        .any(|item| matches!(item, ScriptItem::Line(_)))
    {
        return Some(format!(
            "service `{name}` has scripts but no `dockerBuilder.image` to run them in"
        ));
    }
    let user = builder.map_or(BuilderUser::Caller, |builder| builder.user);
    (user != BuilderUser::Caller && scripts.plugins().next().is_some()).then(|| {
        format!(
            "service `{name}` has a plugin and `dockerBuilder.user`, but no `dockerBuilder.image` in which files are given back to you"
        )
    })
}

fn example_of(key: &str, name: &ServiceName) -> Option<String> {
    match key {
        "dir" => Some(format!(
            "add the folder of its working copy: `dir: src/{name}`"
        )),
        "git" | "git.remote" => Some(format!(
            "add its remote: `git: {{remote: https://git.example.com/{name}.git}}`"
        )),
        "scm.plugin" => Some(
            "add the image of the plugin that reads the repository: `scm: {plugin: builders/hg}`"
                .to_owned(),
        ),
        "docker" | "docker.image" => Some(format!(
            "add its image name: `docker: {{image: {}}}`",
            name.as_str().to_lowercase()
        )),
        _ => None,
    }
}

struct DecodedGit {
    has_remote: bool,
    remote: Option<GitUrl>,
    reference: GitReference,
    path: Option<String>,
    include: Vec<String>,
    path_spans: BTreeMap<String, Span>,
    exclude: Vec<(ExcludePattern, Span)>,
    exclude_span: Option<Span>,
    submodules: bool,
}

/// Decodes `git`; `is_complete` means that defaults are already merged.
fn git(cx: &mut DecodeContext, value: &DecodedValue, is_complete: bool) -> Option<DecodedGit> {
    let mut fields = value.fields(cx)?;
    let remote = fields.take("remote");
    let reference = fields.take("reference");
    let path_value = fields.take("path");
    let include_value = fields.take("include");
    let exclude_value = fields.take("exclude");
    let mut path_spans = BTreeMap::new();
    let path = path_value
        .as_ref()
        .and_then(|value| Some((value.parse_with(cx, within_repository)?, value.span())))
        // `.` means the whole repository, like no path.
        .filter(|(path, _)| path != ".");
    let include = include_value
        .as_ref()
        .map(|value| include(cx, value, &mut path_spans))
        .unwrap_or_default();
    if let Some((path, span)) = &path {
        path_spans.insert(path.clone(), *span);
    } else if let Some(value) = &include_value
        && is_complete
        && path_value.as_ref().is_none_or(is_whole_repository)
    {
        cx.report(
            SourceProblem::at(
                value.key_span,
                "`git.include` has no effect without `git.path`",
            )
            .help("without `git.path`, the build sees the whole repository"),
        );
    }
    let path = path.map(|(path, _)| path);
    let exclude = exclude_value
        .as_ref()
        .map(|value| exclude(cx, value))
        .unwrap_or_default();
    let decoded = DecodedGit {
        has_remote: remote.is_some(),
        remote: remote.and_then(|value| value.parse(cx)),
        reference: reference
            .and_then(|value| value.parse(cx))
            .unwrap_or(GitReference::DefaultBranch),
        include: include
            .into_iter()
            .filter(|item| Some(item) != path.as_ref())
            .collect(),
        path,
        path_spans,
        exclude,
        exclude_span: exclude_value.map(|value| value.key_span),
        submodules: fields
            .take("submodules")
            .and_then(|value| value.boolean(cx))
            .unwrap_or(false),
    };
    fields.finish(cx);
    Some(decoded)
}

/// Returns whether a path is the root of the repository; an invalid path has already been reported.
fn is_whole_repository(path: &DecodedValue) -> bool {
    matches!(&path.node.kind, NodeKind::Scalar { text, .. } if within_repository(text).as_deref() == Ok("."))
}

/// Decodes `git.include`, and records the position of each item.
fn include(
    cx: &mut DecodeContext,
    value: &DecodedValue,
    spans: &mut BTreeMap<String, Span>,
) -> BTreeSet<String> {
    let mut items = BTreeSet::new();
    for item in value.items(cx) {
        let Some(path) = item.parse_with(cx, within_repository) else {
            continue;
        };
        if path == "." {
            cx.report(
                SourceProblem::at(
                    item.span(),
                    "an item of `git.include` is the whole repository",
                )
                .help("remove `git.path`: the build then sees the whole repository"),
            );
            continue;
        }
        spans.insert(path.clone(), item.span());
        items.insert(path);
    }
    items
}

/// Decodes `git.exclude`, with the position of each pattern.
fn exclude(cx: &mut DecodeContext, value: &DecodedValue) -> Vec<(ExcludePattern, Span)> {
    let mut patterns: Vec<(ExcludePattern, Span)> = Vec::new();
    for item in value.items(cx) {
        let Some(pattern) = item.parse_with(cx, ExcludePattern::from_str) else {
            continue;
        };
        if patterns.iter().all(|(known, _)| *known != pattern) {
            patterns.push((pattern, item.span()));
        }
    }
    patterns
}

/// Reports patterns of `git.exclude` that have no effect, or that leave nothing to build.
///
/// A pattern of the defaults need not have an effect on each service.
fn check_exclude(
    cx: &mut DecodeContext,
    name: &ServiceName,
    git: &DecodedGit,
    file: &SourcePath,
    own: Span,
) {
    let paths: Vec<String> = git.path.iter().chain(&git.include).cloned().collect();
    let folder = git.path.as_deref().map_or_else(PathBuf::new, PathBuf::from);
    let dockerfile = file.below(Path::new(""), &folder);
    for (pattern, span) in &git.exclude {
        let problem = |message: String| {
            SourceProblem::at(*span, format!("service `{name}`: `{pattern}` {message}"))
        };
        let covered = paths.iter().find(|path| pattern.covers(path.as_bytes()));
        if let Some(path) = covered {
            cx.report(problem(format!("excludes all of `{path}`")));
        } else if pattern.matches(dockerfile.as_os_str().as_encoded_bytes()) {
            let dockerfile = dockerfile.display();
            cx.report(problem(format!("excludes the Dockerfile, `{dockerfile}`")));
        } else if !pattern.may_match_below(&paths) && own.contains(*span) {
            let problem = problem("is outside of `git.path` and `git.include`".to_owned());
            let own = git.path.as_deref().unwrap_or_default();
            cx.report(problem.help(format!(
                "patterns are relative to the repository root: `{own}/{pattern}`"
            )));
        }
    }
}

fn explicit_needs(
    cx: &mut DecodeContext,
    name: Option<&ServiceName>,
    value: &DecodedValue,
    needs: &mut BTreeMap<ServiceName, Span>,
) {
    for item in value.items(cx) {
        let Some(text) = item.text(cx) else { continue };
        match ServiceName::find(&cx.services, text.text) {
            Some(service) if Some(service) == name => {
                cx.report(SourceProblem::at(
                    text.span,
                    format!("service `{service}` needs itself"),
                ));
            }
            Some(service) => {
                needs.insert(service.clone(), text.span);
            }
            None => {
                let names = cx.services.iter().map(ServiceName::as_str);
                let hint = suggest::hint(text.text, "known services", names);
                let span = text.span.first_line(cx.text);
                cx.report(
                    SourceProblem::at(span, format!("unknown service `{}`", text.text))
                        .maybe_help(hint),
                );
            }
        }
    }
}
