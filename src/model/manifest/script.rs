//! The scripts of a service.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::output_path::OutputPath;
use super::report_pattern::ReportPattern;
use super::service::{BuilderImage, SecretSource};
use super::setting::Settings;
use super::sidecar::ScriptPhase;
use super::span::Span;
use crate::model::source::InputPattern;

/// The scripts of a service, run in this order: `verify` after the image is built.
#[derive(Debug, Clone, Default)]
pub struct Scripts {
    /// Preparation, such as installing dependencies.
    pub prepare: Vec<ScriptItem>,
    pub build: Vec<ScriptItem>,
    pub test: Vec<ScriptItem>,
    /// The checks of the new image, which run beside a container of it.
    pub verify: Vec<ScriptItem>,
    /// The JUnit XML files that they write.
    pub reports: Vec<ReportPattern>,
    /// Whether they run once for all platforms of the image.
    pub once: bool,
    /// The phases with `inputs`.
    pub cached: BTreeMap<ScriptPhase, CachedPhase>,
}

/// What a phase with `inputs` reads and writes: its result is kept, and restored instead of running it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedPhase {
    /// The files of the commit that it reads.
    pub inputs: Vec<InputPattern>,
    /// The files and folders that it writes.
    pub outputs: Vec<OutputPath>,
}

impl Scripts {
    /// Returns the items of each phase, in the order in which they run.
    pub fn phases(&self) -> [(ScriptPhase, &[ScriptItem]); 4] {
        [
            (ScriptPhase::Prepare, &self.prepare),
            (ScriptPhase::Build, &self.build),
            (ScriptPhase::Test, &self.test),
            (ScriptPhase::Verify, &self.verify),
        ]
    }

    /// Returns the items of all phases.
    pub fn items(&self) -> impl Iterator<Item = &ScriptItem> {
        self.phases().into_iter().flat_map(|(_, items)| items)
    }

    /// Returns whether a phase has items.
    pub fn has(&self, phase: ScriptPhase) -> bool {
        let mut phases = self.phases().into_iter();
        phases.any(|(it, items)| it == phase && !items.is_empty())
    }

    /// Returns whether there is nothing to run.
    pub fn is_empty(&self) -> bool {
        self.items().next().is_none()
    }

    /// Returns the plugins of all phases.
    pub fn plugins(&self) -> impl Iterator<Item = &PluginItem> {
        self.items().filter_map(|item| match item {
            ScriptItem::Plugin(plugin) => Some(plugin),
            ScriptItem::Line(_) | ScriptItem::Run(_) => None,
        })
    }
}

/// An item of a phase.
#[derive(Debug, Clone, PartialEq)]
pub enum ScriptItem {
    /// A shell line, run in the service's builder.
    Line(ScriptLine),
    /// Shell lines, run in another image.
    Run(RunItem),
    /// A plugin: an image that runs its own entrypoint.
    Plugin(PluginItem),
}

impl ScriptItem {
    /// Returns the image that the item names; `None` for the service's builder.
    pub fn image(&self) -> Option<&BuilderImage> {
        match self {
            Self::Line(_) => None,
            Self::Run(item) => Some(&item.image),
            Self::Plugin(plugin) => Some(&plugin.image),
        }
    }

    /// Returns whether the item, or a line in it, is at a line of the manifest.
    pub fn has_line(&self, line: usize) -> bool {
        match self {
            Self::Line(item) => item.line == line,
            Self::Run(item) => item.lines.iter().any(|it| it.line == line),
            Self::Plugin(plugin) => plugin.line == line,
        }
    }

    /// Returns the position of that image.
    pub(crate) fn image_span(&self) -> Option<Span> {
        match self {
            Self::Line(_) => None,
            Self::Run(item) => Some(item.span),
            Self::Plugin(plugin) => Some(plugin.span),
        }
    }
}

/// A single line or a block of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptLine {
    /// The text passed to the shell.
    pub text: String,
    /// The 1-based line of the manifest where the text starts.
    pub line: usize,
}

/// Shell lines that run in another image than the service's builder.
#[derive(Debug, Clone, PartialEq)]
pub struct RunItem {
    pub image: BuilderImage,
    pub lines: Vec<ScriptLine>,
    /// The 1-based line of the manifest with the image.
    pub line: usize,
    /// The position of the image.
    pub(crate) span: Span,
}

/// A step that an image performs by its own entrypoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PluginItem {
    pub image: BuilderImage,
    /// Its settings.
    pub with: Settings,
    /// The secrets that it can read, by ID.
    #[schemars(with = "BTreeMap<String, String>")]
    pub secrets: BTreeMap<String, SecretSource>,
    /// The 1-based line of the manifest with the image.
    pub line: usize,
    /// The position of the image.
    #[serde(skip)]
    pub(crate) span: Span,
}
