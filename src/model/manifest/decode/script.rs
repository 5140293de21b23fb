//! Decodes `scripts` of a service.

use std::collections::BTreeMap;

use super::super::error::SourceProblem;
use super::super::node::NodeKind;
use super::super::output_path::OutputPath;
use super::super::report_pattern::ReportPattern;
use super::super::script::{CachedPhase, PluginItem, RunItem, ScriptItem, ScriptLine, Scripts};
use super::super::service::SecretSource;
use super::super::sidecar::ScriptPhase;
use super::super::span::Span;
use super::builder::builder_image;
use super::context::{DecodeContext, DecodedValue, Fields};
use super::secrets::plugin_secrets;
use super::setting::settings;
use crate::base::suggest;
use crate::model::source::{InputPattern, ScopedPattern};

/// The keys of an item that is not a shell line.
const ITEM_KEYS: [&str; 5] = ["run", "image", "plugin", "with", "secrets"];

const NO_PLACEHOLDERS: &str = "set a variable in `dockerBuilder.env`, which the plugin can read";

/// The context for the scripts of one service.
pub(super) struct ScriptContext<'s> {
    /// `docker.secrets`; `None` if the defaults are not merged yet.
    pub docker_secrets: Option<&'s BTreeMap<String, SecretSource>>,
    /// The positions of inputs from the caller's machine, by key.
    pub input_spans: BTreeMap<String, Span>,
    /// The service's folder in its repository.
    pub folder: Option<&'s str>,
    /// Whether the source is from a plugin, which reports no object IDs of files.
    pub is_from_plugin: bool,
}

pub(super) fn scripts(
    cx: &mut DecodeContext,
    value: &DecodedValue,
    context: &mut ScriptContext<'_>,
) -> Scripts {
    let Some(mut fields) = value.fields(cx) else {
        return Scripts::default();
    };
    let mut cached = Vec::new();
    let mut items = |phase: ScriptPhase| {
        let Some(value) = fields.take(phase.as_str()) else {
            return Vec::new();
        };
        let (items, files) = decode_phase(cx, &value, context);
        cached.extend(files.map(|files| (phase, files)));
        items
    };
    let mut scripts = Scripts {
        prepare: items(ScriptPhase::Prepare),
        build: items(ScriptPhase::Build),
        test: items(ScriptPhase::Test),
        verify: items(ScriptPhase::Verify),
        ..Scripts::default()
    };
    check_outputs(cx, &cached, context);
    let cached = cached.into_iter();
    scripts.cached = cached.map(|(phase, it)| (phase, it.complete())).collect();
    let once = fields.take("once").and_then(|value| value.boolean(cx));
    scripts.once = once.unwrap_or(false);
    let reports = fields.take("reports");
    let items = reports.map(|value| value.items(cx)).unwrap_or_default();
    let patterns = items
        .iter()
        .filter_map(|item| item.parse_with(cx, ReportPattern::parse));
    scripts.reports = patterns.collect();
    fields.finish(cx);
    scripts
}

/// Decodes a phase: a list of items, or a mapping with the list in `run`.
fn decode_phase(
    cx: &mut DecodeContext,
    value: &DecodedValue,
    context: &mut ScriptContext<'_>,
) -> (Vec<ScriptItem>, Option<PhaseFiles>) {
    let mut files = None;
    let list = if let NodeKind::Mapping(_) = value.node.kind {
        let Some(mut fields) = value.fields(cx) else {
            return (Vec::new(), None);
        };
        let run = fields.take("run");
        files = phase_files(cx, &mut fields, context);
        let known = finish(cx, fields);
        let Some(run) = run else {
            if !known {
                return (Vec::new(), None);
            }
            let message = format!("`{}` has no `run`", value.path);
            cx.report(
                SourceProblem::at(value.key_span, message)
                    .help("list its commands: `run: [make build]`"),
            );
            return (Vec::new(), None);
        };
        run
    } else {
        value.clone()
    };
    let items = list.items(cx);
    let items = items.iter().enumerate().filter_map(|(index, item)| {
        if is_mapped_item(cx, item) {
            let mut item = item.clone();
            item.path = format!("{}[{index}]", value.path);
            item.is_item = false;
            mapped_item(cx, &item, context)
        } else {
            line(cx, item).map(ScriptItem::Line)
        }
    });
    (items.collect(), files)
}

/// The files of a phase with `inputs`, with their positions.
struct PhaseFiles {
    inputs: Vec<(InputPattern, Span)>,
    outputs: Vec<(OutputPath, Span)>,
}

impl PhaseFiles {
    fn complete(self) -> CachedPhase {
        CachedPhase {
            inputs: self.inputs.into_iter().map(|(it, _)| it).collect(),
            outputs: self.outputs.into_iter().map(|(it, _)| it).collect(),
        }
    }
}

/// Decodes `inputs` and `outputs` of a phase.
fn phase_files(
    cx: &mut DecodeContext,
    fields: &mut Fields<'_>,
    context: &ScriptContext<'_>,
) -> Option<PhaseFiles> {
    let inputs = fields.take("inputs");
    let outputs = fields.take("outputs");
    let Some(value) = inputs else {
        if let Some(outputs) = outputs {
            cx.report(
                SourceProblem::at(
                    outputs.key_span,
                    format!("`{}` requires `inputs`", outputs.path),
                )
                .help("list the files that the phase reads: `inputs: [src, package.json]`"),
            );
        }
        return None;
    };
    if context.is_from_plugin {
        cx.report(
            SourceProblem::at(
                value.key_span,
                format!("`{}` requires a source in git", value.path),
            )
            .help("with `scm`, the files of a commit have no IDs to compare: remove `inputs` and `outputs`"),
        );
    }
    let mut found = PhaseFiles {
        inputs: Vec::new(),
        outputs: Vec::new(),
    };
    for item in value.items(cx) {
        let pattern = item.parse_with(cx, str::parse::<InputPattern>);
        found.inputs.extend(pattern.map(|it| (it, item.span())));
    }
    if !found.inputs.is_empty() && found.inputs.iter().all(|(it, _)| it.excludes()) {
        cx.report(
            SourceProblem::at(value.key_span, format!("`{}` has no files", value.path))
                .help("`:!` leaves out files that other patterns match: add `.` for all others"),
        );
    }
    for item in outputs
        .iter()
        .flat_map(|value| value.items(cx))
        .collect::<Vec<_>>()
    {
        let path = item.parse_with(cx, OutputPath::parse);
        found.outputs.extend(path.map(|it| (it, item.span())));
    }
    Some(found)
}

/// Reports outputs of several phases, and inputs that are outputs.
fn check_outputs(
    cx: &mut DecodeContext,
    phases: &[(ScriptPhase, PhaseFiles)],
    context: &ScriptContext<'_>,
) {
    let mut earlier: Vec<(String, &OutputPath, ScriptPhase, Span)> = Vec::new();
    for (phase, files) in phases {
        for (output, span) in &files.outputs {
            let path = output.in_repository(context.folder);
            let overlaps = |other: &str| is_below(&path, other) || is_below(other, &path);
            if let Some((_, other, owner, other_span)) =
                earlier.iter().find(|(other, ..)| overlaps(other))
            {
                let message = if owner == phase {
                    format!("`{other}` and `{output}` of `{}` overlap", phase.as_str())
                } else {
                    format!(
                        "`{output}` of `{}` and `{other}` of `{}` overlap",
                        phase.as_str(),
                        owner.as_str()
                    )
                };
                cx.report(
                    SourceProblem::at(*span, message)
                        .related(*other_span, "also an output here")
                        .help("each output belongs to one phase; a later phase that changes it needs no `inputs`"),
                );
                continue;
            }
            earlier.push((path, output, *phase, *span));
        }
        for (input, span) in files.inputs.iter().filter(|(it, _)| !it.excludes()) {
            let Some(path) = ScopedPattern::literal(&input.scoped(context.folder)) else {
                continue;
            };
            let written = earlier.iter().find(|(output, ..)| is_below(&path, output));
            if let Some((_, output, owner, other_span)) = written {
                let help = if owner == phase {
                    "inputs are files of the commit, outputs are files that the phase creates"
                } else {
                    "results of earlier phases are there anyway: remove it"
                };
                cx.report(
                    SourceProblem::at(
                        *span,
                        format!(
                            "the input `{input}` is in `{output}`, an output of `{}`",
                            owner.as_str()
                        ),
                    )
                    .related(*other_span, "the output")
                    .help(help),
                );
            }
        }
    }
}

/// Returns whether a path is another one or below it.
fn is_below(path: &str, other: &str) -> bool {
    let rest = path.strip_prefix(other);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Returns whether an item is a mapping on purpose: YAML also parses `- echo a: b` as one.
fn is_mapped_item(cx: &DecodeContext, item: &DecodedValue) -> bool {
    let NodeKind::Mapping(entries) = &item.node.kind else {
        return false;
    };
    let span = item.node.span;
    let text = cx.text.get(span.start..span.end).unwrap_or_default();
    let is_known = |key: &str| suggest::nearest(key, ITEM_KEYS).is_some();
    text.starts_with('{') || entries.len() > 1 || entries.iter().any(|it| is_known(&it.key))
}

fn mapped_item(
    cx: &mut DecodeContext,
    value: &DecodedValue,
    context: &mut ScriptContext<'_>,
) -> Option<ScriptItem> {
    let mut fields = value.fields(cx)?;
    let run = fields.take("run");
    let plugin = fields.take("plugin");
    match (run, plugin) {
        (Some(run), None) => run_item(cx, value, fields, &run).map(ScriptItem::Run),
        (None, Some(plugin)) => plugin_item(cx, fields, &plugin, context).map(ScriptItem::Plugin),
        (both, _) => {
            for key in ITEM_KEYS {
                fields.take(key);
            }
            if finish(cx, fields) {
                let not_both = if both.is_some() { ", not both" } else { "" };
                let message = format!("`{}` must have `run` or `plugin`{not_both}", value.path);
                cx.report(SourceProblem::at(value.span().first_line(cx.text), message).help(
                    "an item is a shell line, `{run: [LINES], image: IMAGE}`, or `{plugin: IMAGE, with: {…}}`",
                ));
            }
            None
        }
    }
}

/// Reports unknown keys; returns whether there are none. One of them may be meant as a key that is missing.
fn finish(cx: &mut DecodeContext, fields: Fields<'_>) -> bool {
    let before = cx.problems.len();
    fields.finish(cx);
    cx.problems.len() == before
}

/// Reports keys that belong to another kind of item.
fn reject(cx: &mut DecodeContext, fields: &mut Fields<'_>, keys: &[&'static str], without: &str) {
    for key in keys {
        if let Some(value) = fields.take(key) {
            let message = format!("`{}` requires `{without}`", value.path);
            cx.report(SourceProblem::at(value.key_span, message));
        }
    }
}

fn run_item(
    cx: &mut DecodeContext,
    value: &DecodedValue,
    mut fields: Fields<'_>,
    run: &DecodedValue,
) -> Option<RunItem> {
    let image = fields.take("image");
    reject(cx, &mut fields, &["with", "secrets"], "plugin");
    let known = finish(cx, fields);
    let lines: Vec<ScriptLine> = run
        .items(cx)
        .iter()
        .filter_map(|item| line(cx, item))
        .collect();
    if matches!(&run.node.kind, NodeKind::Sequence(items) if items.is_empty()) {
        let message = format!("`{}` must not be empty", run.path);
        cx.report(SourceProblem::at(run.span(), message));
    }
    let Some(image) = image else {
        if !known {
            return None;
        }
        let message = format!("`{}` has no `image`", value.path);
        cx.report(
            SourceProblem::at(run.key_span, message)
                .help("add the image, or list the lines in the phase to run them in the builder"),
        );
        return None;
    };
    Some(RunItem {
        lines,
        line: cx.lines.of(image.key_span),
        span: image.span(),
        image: image.parse_with(cx, builder_image)?,
    })
}

fn plugin_item(
    cx: &mut DecodeContext,
    mut fields: Fields<'_>,
    plugin: &DecodedValue,
    context: &mut ScriptContext<'_>,
) -> Option<PluginItem> {
    reject(cx, &mut fields, &["image"], "run");
    let with = fields.take("with");
    let with = with
        .map(|value| settings(cx, &value, NO_PLACEHOLDERS))
        .unwrap_or_default();
    let secrets = fields.take("secrets");
    let secrets = secrets.map(|value| {
        let spans = &mut context.input_spans;
        plugin_secrets(cx, &value, context.docker_secrets, spans)
    });
    fields.finish(cx);
    Some(PluginItem {
        with,
        secrets: secrets.unwrap_or_default(),
        line: cx.lines.of(plugin.key_span),
        span: plugin.span(),
        image: plugin.parse_with(cx, builder_image)?,
    })
}

fn line(cx: &mut DecodeContext, item: &DecodedValue) -> Option<ScriptLine> {
    let text = item.raw_text(cx)?;
    let first_line = text.span.first_line(cx.text);
    if text.text.trim().is_empty() {
        cx.report(SourceProblem::at(
            item.span(),
            format!("{} must not be empty", item.subject()),
        ));
        return None;
    }
    if let Some(start) = text.text.find("${{")
        && let Some(length) = text.text[start..].find("}}")
    {
        let placeholder = &text.text[start..start + length + 2];
        let span = cx
            .text
            .get(text.span.start..text.span.end)
            .and_then(|source| source.find(placeholder))
            .map_or(first_line, |index| {
                Span::new(
                    text.span.start + index,
                    text.span.start + index + placeholder.len(),
                )
            });
        cx.report(
            SourceProblem::at(
                span.first_line(cx.text),
                "scripts do not support `${{ … }}`: `$` is expanded by the shell",
            )
            .help(format!(
                "add `NAME: {placeholder}` to `dockerBuilder.env`, and use `$NAME` here"
            )),
        );
        return None;
    }
    Some(ScriptLine {
        text: text.text.to_owned(),
        line: cx.lines.of(text.span),
    })
}
