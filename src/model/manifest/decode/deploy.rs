//! Decodes `deploy`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::super::deploy::{
    ClusterEnvironment, DEFAULT_ROLLOUT, Deploy, Environment, KustomizeFiles,
};
use super::super::error::SourceProblem;
use super::super::name::{EnvironmentName, ServiceName};
use super::super::node::NodeKind;
use super::cluster;
use super::compose::ComposeFields;
use super::context::{DecodeContext, DecodedValue};
use super::path::within_folder;
use super::quantity;
use crate::base::suggest;
use crate::model::image::ImageRepository;
use crate::model::source::GitReference;

/// Decodes `deploy`; must run after the names of services are known.
pub(super) fn deploy(cx: &mut DecodeContext, value: &DecodedValue) -> Option<Deploy> {
    let mut fields = value.fields(cx)?;
    let path = fields.take("path");
    let git = fields.take("git");
    let images = fields.take("images");
    let environments = fields.take("environments");
    fields.finish(cx);
    let files = match (&path, &git) {
        (Some(path), Some(_)) => {
            let message = "`deploy` has both `path` and `git`";
            cx.report(SourceProblem::at(path.key_span, message).help(
                "set `path` for a folder next to the manifest, or `git` for a repository; `git.path` is a folder in that repository",
            ));
            Some(None)
        }
        (None, None) => None,
        (Some(path), None) => Some(
            path.parse_with(cx, within_folder)
                .map(KustomizeFiles::Folder),
        ),
        (None, Some(git)) => Some(self::git(cx, git)),
    };
    let images = images
        .map(|value| self::images(cx, &value))
        .unwrap_or_default();
    let environments = match environments {
        Some(environments) => {
            let files = match files {
                // Only environments in clusters use them.
                None if has_cluster(&environments) => {
                    let message = "`deploy` has no `path` or `git`";
                    cx.report(SourceProblem::at(value.key_span, message).help(
                        "set the folder of the kustomize files, `path: k8s`, or their repository, `git: {remote: …}`",
                    ));
                    None
                }
                files => files.flatten(),
            };
            self::environments(cx, &environments, files.as_ref())
        }
        None => {
            let message = "`deploy` has no `environments`";
            cx.report(SourceProblem::at(value.key_span, message).help(
                "add one: `environments: {staging: {overlay: overlays/staging, context: …, namespace: …}}` or `environments: {dev: {compose: docker-compose.yml}}`",
            ));
            BTreeMap::new()
        }
    };
    Some(Deploy {
        images,
        environments,
    })
}

/// Returns whether an environment is a cluster.
fn has_cluster(environments: &DecodedValue) -> bool {
    let NodeKind::Mapping(environments) = &environments.node.kind else {
        return false;
    };
    environments.iter().any(|entry| match &entry.value.kind {
        NodeKind::Mapping(keys) => keys.iter().all(|entry| entry.key != "compose"),
        _ => false,
    })
}

fn git(cx: &mut DecodeContext, value: &DecodedValue) -> Option<KustomizeFiles> {
    let mut fields = value.fields(cx)?;
    let remote = fields.take("remote");
    let reference = fields.take("reference");
    let path = fields.take("path");
    fields.finish(cx);
    if remote.is_none() {
        let message = "`deploy.git` has no `remote`";
        cx.report(SourceProblem::at(value.key_span, message));
    }
    let reference = reference.map_or(Some(GitReference::DefaultBranch), |value| value.parse(cx));
    let path = path.map_or(Some(PathBuf::from(".")), |value| {
        value.parse_with(cx, within_folder)
    });
    Some(KustomizeFiles::Git {
        remote: remote?.parse(cx)?,
        reference: reference?,
        path: path?,
    })
}

fn images(cx: &mut DecodeContext, value: &DecodedValue) -> BTreeMap<ServiceName, String> {
    let mut images = BTreeMap::new();
    for (entry, value) in value.entries(cx) {
        let service = ServiceName::find(&cx.services, &entry.key);
        let Some(service) = service.cloned() else {
            let names = cx.services.iter().map(ServiceName::as_str);
            let hint = suggest::hint(&entry.key, "known services", names);
            let span = entry.key_span.first_line(cx.text);
            let message = format!("unknown service `{}`", entry.key);
            cx.report(SourceProblem::at(span, message).maybe_help(hint));
            continue;
        };
        // Without tag and digest, as kustomize compares names.
        if let Some(image) = value.parse::<ImageRepository>(cx) {
            images.insert(service, image.to_string());
        }
    }
    images
}

fn environments(
    cx: &mut DecodeContext,
    value: &DecodedValue,
    files: Option<&KustomizeFiles>,
) -> BTreeMap<EnvironmentName, Environment> {
    let entries = value.entries(cx);
    if entries.is_empty() && matches!(&value.node.kind, NodeKind::Mapping(_)) {
        let message = "`deploy.environments` must not be empty";
        cx.report(SourceProblem::at(value.key_span, message));
    }
    let mut environments = BTreeMap::new();
    for (entry, value) in entries {
        match entry.key.parse::<EnvironmentName>() {
            Ok(name) => {
                let environment = environment(cx, &name, &value, files);
                environments.extend(environment.map(|environment| (name, environment)));
            }
            Err(error) => {
                let span = entry.key_span.first_line(cx.text);
                cx.report(SourceProblem::at(span, error.to_string()));
            }
        }
    }
    environments
}

fn environment(
    cx: &mut DecodeContext,
    name: &EnvironmentName,
    value: &DecodedValue,
    files: Option<&KustomizeFiles>,
) -> Option<Environment> {
    let mut fields = value.fields(cx)?;
    let compose = ComposeFields::take(&mut fields);
    let overlay = fields.take("overlay");
    let context = fields.take("context");
    let namespace = fields.take("namespace");
    let timeout = fields
        .take("timeout")
        .map_or(Some(DEFAULT_ROLLOUT), |value| {
            value.parse_with(cx, quantity::duration)
        });
    let verify = fields
        .take("verify")
        .map_or(Some(false), |value| value.boolean(cx));
    fields.finish(cx);
    if compose.is_used() {
        for (key, other) in [
            ("overlay", &overlay),
            ("context", &context),
            ("namespace", &namespace),
        ] {
            if let Some(other) = other {
                let message = format!("environment `{name}` has both `compose` and `{key}`");
                cx.report(SourceProblem::at(other.key_span, message).help(
                    "an environment is either a compose project, with `compose`, or a namespace of a cluster, with `overlay`, `context` and `namespace`",
                ));
            }
        }
        let environment = compose.environment(cx, name, timeout?, verify?);
        return environment.map(Environment::Compose);
    }
    compose.report_unused(cx, name);
    let mut require = |is_there: bool, key: &str, example: String| {
        if !is_there {
            let message = format!("environment `{name}` has no `{key}`");
            cx.report(SourceProblem::at(value.key_span, message).help(example));
        }
    };
    require(
        overlay.is_some(),
        "overlay",
        format!(
            "add the folder of its kustomization, `overlay: overlays/{name}`, or a compose file, `compose: docker-compose.yml`"
        ),
    );
    require(
        context.is_some(),
        "context",
        "add its kubeconfig context, the only one that xp uses; `kubectl config get-contexts` lists contexts"
            .to_owned(),
    );
    require(
        namespace.is_some(),
        "namespace",
        format!("add its namespace: `namespace: {name}`"),
    );
    Some(Environment::Cluster(ClusterEnvironment {
        name: name.clone(),
        files: files?.clone(),
        overlay: overlay?.parse_with(cx, within_folder)?,
        context: context?.parse_with(cx, cluster::context)?,
        namespace: namespace?.parse_with(cx, cluster::namespace)?,
        timeout: timeout?,
        verify: verify?,
    }))
}
