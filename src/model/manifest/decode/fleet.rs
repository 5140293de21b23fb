//! Decodes `fleet`.

use super::super::error::SourceProblem;
use super::super::fleet::{DEFAULT_FLEET_JOBS, DEFAULT_FLEET_WAIT, Fleet, Fleets};
use super::super::name::EnvironmentName;
use super::super::node::NodeKind;
use super::cluster;
use super::context::{DecodeContext, DecodedValue};
use super::path::within_folder;
use super::quantity;

/// The maximum number of concurrent Jobs.
const MAX_JOBS: u16 = 1000;

/// Decodes `fleet`.
pub(super) fn fleets(cx: &mut DecodeContext, value: &DecodedValue) -> Fleets {
    let entries = value.entries(cx);
    if entries.is_empty() && matches!(&value.node.kind, NodeKind::Mapping(_)) {
        let message = "`fleet` must not be empty";
        cx.report(SourceProblem::at(value.key_span, message));
    }
    let mut fleets = Fleets::new();
    for (entry, value) in entries {
        match entry.key.parse::<EnvironmentName>() {
            Ok(name) => {
                let fleet = fleet(cx, &name, &value);
                fleets.extend(fleet.map(|fleet| (name, fleet)));
            }
            Err(error) => {
                let span = entry.key_span.first_line(cx.text);
                let message = error.to_string().replace("environment name", "fleet name");
                cx.report(SourceProblem::at(span, message));
            }
        }
    }
    fleets
}

fn fleet(cx: &mut DecodeContext, name: &EnvironmentName, value: &DecodedValue) -> Option<Fleet> {
    let mut fields = value.fields(cx)?;
    let context = fields.take("context");
    let namespace = fields.take("namespace");
    let image = fields.take("image");
    let template = fields.take("template");
    let jobs = fields.take("jobs");
    let wait = fields.take("wait");
    fields.finish(cx);
    let mut require = |is_there: bool, key: &str, example: &str| {
        if !is_there {
            let message = format!("fleet `{name}` has no `{key}`");
            cx.report(SourceProblem::at(value.key_span, message).help(example));
        }
    };
    require(
        context.is_some(),
        "context",
        "add its kubeconfig context, the only one that xp uses; `kubectl config get-contexts` lists contexts",
    );
    require(
        namespace.is_some(),
        "namespace",
        "add the namespace of its Jobs: `namespace: builds`",
    );
    require(
        image.is_some(),
        "image",
        "add the image of xp, of the version that runs `xp build`: `image: registry.example.com/x-platform:TAG`",
    );
    let context = context.map(|it| it.parse_with(cx, cluster::context));
    let namespace = namespace.map(|it| it.parse_with(cx, cluster::namespace));
    let image = image.map(|it| it.parse(cx));
    let template = template.map(|it| it.parse_with(cx, within_folder));
    let jobs = jobs.map_or(Some(DEFAULT_FLEET_JOBS), |it| it.parse_with(cx, self::jobs));
    let wait = wait.map_or(Some(DEFAULT_FLEET_WAIT), |it| {
        it.parse_with(cx, quantity::duration)
    });
    Some(Fleet {
        name: name.clone(),
        context: context??,
        namespace: namespace??,
        image: image??,
        template: match template {
            Some(template) => Some(template?),
            None => None,
        },
        jobs: jobs?,
        wait: wait?,
    })
}

fn jobs(text: &str) -> Result<u16, String> {
    let number = text.parse().ok();
    number
        .filter(|number| (1..=MAX_JOBS).contains(number))
        .ok_or_else(|| format!("invalid number of Jobs `{text}`: must be 1 to {MAX_JOBS}"))
}
