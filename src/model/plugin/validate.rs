//! Validates the settings of a plugin with the JSON Schema of its label.

use super::label::{InvalidLabel, PluginDescription, PluginKind};
use super::schema::SettingsSchema;
use crate::model::manifest::error::SourceProblem;
use crate::model::manifest::setting::Settings;
use crate::model::manifest::span::Span;
use crate::model::manifest::{BuilderImage, PluginItem, ScmPlugin};

/// A use of a plugin in the manifest.
pub(crate) struct PluginUse<'m> {
    /// Its key, such as `scripts.build[0]`.
    pub key: &'m str,
    pub kind: PluginKind,
    pub image: &'m BuilderImage,
    pub with: &'m Settings,
    /// The position of the image.
    pub span: Span,
}

impl<'m> PluginUse<'m> {
    /// Returns the use as an item of a phase.
    pub fn step(key: &'m str, item: &'m PluginItem) -> Self {
        Self {
            key,
            kind: PluginKind::Step,
            image: &item.image,
            with: &item.with,
            span: item.span,
        }
    }

    /// Returns the use as the source of a service.
    pub fn scm(plugin: &'m ScmPlugin) -> Self {
        Self {
            key: "scm",
            kind: PluginKind::Scm,
            image: &plugin.image,
            with: &plugin.with,
            span: plugin.span,
        }
    }
}

const CORRECT_LABEL: &str = "correct the `LABEL` in its Dockerfile, with the JSON in single quotes";

/// Returns what is wrong with the use of a plugin, given the description of its image.
pub(crate) fn problems(
    plugin: &PluginUse<'_>,
    description: &Result<Option<PluginDescription>, InvalidLabel>,
) -> Vec<SourceProblem> {
    let image = plugin.image;
    let at_image = |message: String| SourceProblem::at(plugin.span, message);
    let description = match description {
        Ok(None) => return Vec::new(),
        Ok(Some(description)) => description,
        Err(invalid) => {
            let help = match invalid {
                InvalidLabel::NewerVersion(_) => "update xp",
                InvalidLabel::Malformed(_) => CORRECT_LABEL,
            };
            return vec![at_image(format!("the plugin {image}: {invalid}")).help(help)];
        }
    };
    if description.kind != plugin.kind {
        let (kind, wanted) = (description.kind.as_str(), plugin.kind.as_str());
        let message = format!("the plugin {image} is of the kind `{kind}`, not `{wanted}`");
        return vec![at_image(message)];
    }
    let Some(schema) = &description.with else {
        return Vec::new();
    };
    match SettingsSchema::new(schema) {
        Ok(schema) => {
            let rejected = schema.validate(&plugin.with.to_value()).into_iter();
            rejected.map(|it| it.in_manifest(plugin)).collect()
        }
        Err(invalid) => {
            let message =
                format!("the plugin {image}: invalid JSON Schema in its label: {invalid}");
            vec![at_image(message).help(CORRECT_LABEL)]
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Value, json};

    use super::*;
    use crate::model::manifest::{Manifest, parse};

    fn manifest(with: &str) -> Manifest {
        let text = format!(
            "services:\n  a:\n    dir: a\n    git: {{remote: 'https://h/a'}}\n    docker: {{image: a}}\n    \
             scripts:\n      build:\n        - plugin: builders/p\n{with}"
        );
        parse(&text, Path::new("x-platform.yml")).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Returns each problem as `line:column message (help)`.
    fn rejected(with: &str, label: &str) -> Vec<String> {
        let manifest = manifest(with);
        let service = manifest.services.values().next().unwrap();
        let plugin = service.scripts.plugins().next().unwrap();
        let description = PluginDescription::parse(label).map(Some);
        let found = problems(&PluginUse::step("scripts.build[0]", plugin), &description);
        let Some(error) = manifest.rejected(found) else {
            return Vec::new();
        };
        let shown = error.problems().map(|problem| {
            let (line, column) = problem.position().unwrap();
            let help: String = problem.help().iter().map(|it| format!(" ({it})")).collect();
            format!("{line}:{column} {}{help}", problem.message())
        });
        shown.collect()
    }

    fn label(schema: &Value) -> String {
        json!({"version": 1, "kind": "step", "with": schema}).to_string()
    }

    #[test]
    fn settings_are_validated_with_their_positions() {
        let schema = json!({
            "type": "object",
            "properties": {
                "url": {"type": "string", "pattern": "^https?://"},
                "depth": {"type": "integer", "minimum": 1},
                "mode": {"enum": ["fast", "slow"]},
                "version": {"type": "string"},
                "files": {"type": "array", "items": {"$ref": "#/$defs/file"}, "minItems": 1},
                "either": {"anyOf": [{"type": "boolean"}, {"enum": ["auto"]}]},
            },
            "required": ["url"],
            "additionalProperties": false,
            "$defs": {"file": {"type": "object", "properties": {"path": {"type": "string"}}, "additionalProperties": false}},
        });
        let label = label(&schema);
        let valid = "          with: {url: 'http://x', depth: 2, mode: fast, version: '1.10', files: [{path: a}], either: auto}";
        assert_eq!(rejected(valid, &label), [""; 0]);
        let with = "          with:
            depth: 0
            mode: fats
            version: 1.10
            files:
              - {path: a}
              - {pth: a}
            ulr: x
            either: [1]
";
        assert_eq!(
            rejected(with, &label),
            [
                "10:20 `scripts.build[0].with.depth` must be at least 1",
                "11:19 `scripts.build[0].with.mode` must be one of `fast`, `slow` (did you mean `fast`?)",
                "12:22 `scripts.build[0].with.version` must be a string, not a number (quote it: '1.10')",
                "15:18 `scripts.build[0].with.files[1].pth` is not a setting of this plugin (did you mean `path`?)",
                "16:13 `scripts.build[0].with.ulr` is not a setting of this plugin (did you mean `url`?)",
                "17:21 `scripts.build[0].with.either` has none of the allowed forms (it must be a boolean, not a list; or it must be `auto`)",
            ]
        );
        let with = "          with: {mode: fast, either: auto}";
        assert_eq!(
            rejected(with, &label),
            ["9:11 `scripts.build[0].with` lacks `url`"]
        );
        // Without settings, the plugin itself is underlined.
        assert_eq!(
            rejected("", &label),
            ["8:19 `scripts.build[0].with` lacks `url`"]
        );
    }

    #[test]
    fn descriptions_that_cannot_be_used_are_explained() {
        let with = "          with: {a: 1}";
        for (label, expected) in [
            (
                r#"{"version":1,"kind":"scm"}"#.to_owned(),
                "the plugin builders/p is of the kind `scm`, not `step`",
            ),
            (
                r#"{"version":9}"#.to_owned(),
                "the plugin builders/p: the label `x-platform.plugin` has version 9, but this xp supports 1 (update xp)",
            ),
            (
                "x".to_owned(),
                "the plugin builders/p: invalid label `x-platform.plugin`: not JSON: expected value at line 1 column 1 (correct the `LABEL` in its Dockerfile, with the JSON in single quotes)",
            ),
            (
                label(&json!({"type": "strin"})),
                "the plugin builders/p: invalid JSON Schema in its label: invalid value of `type`: \"strin\"",
            ),
            (
                label(&json!({"$ref": "file:///etc/passwd"})),
                "the plugin builders/p: invalid JSON Schema in its label: ",
            ),
        ] {
            let found = rejected(with, &label);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(
                found[0].starts_with(&format!("8:19 {expected}")),
                "{found:?}"
            );
        }
        assert_eq!(rejected(with, &label(&json!(true))), [""; 0]);
        assert_eq!(rejected(with, r#"{"version":1,"kind":"step"}"#), [""; 0]);
    }
}
