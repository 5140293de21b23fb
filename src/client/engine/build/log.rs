//! The log of a build.

use std::collections::HashSet;

use bollard::moby::buildkit::v1::StatusResponse;
use bollard::models::{BuildInfo, BuildInfoAux};
use bytes::Bytes;

use super::instruction_error::shortened;
use super::vertex_lines::VertexLines;
use crate::model::dockerfile::FailedInstruction;

/// What the classic builder and Podman print after the output of a step.
const INTERJECTIONS: [&str; 3] = [" ---> ", "Removing intermediate container ", "--> "];

/// The start of the name of a step that imports the layers of an image.
const IMPORT: &str = "importing cache manifest from ";

/// Converts the messages of a build to lines.
#[derive(Default)]
pub(super) struct BuildLog {
    /// The steps that were printed as started.
    started: HashSet<String>,
    /// The steps that were printed as finished.
    ended: HashSet<String>,
    /// The output of BuildKit's steps.
    lines: VertexLines,
    /// Whether the last output of the classic builder has no line break at its end.
    is_line_open: bool,
    /// The image id that the classic builder reported.
    id: Option<String>,
    /// The step that failed or, with the classic builder, was started last.
    step: Option<FailedInstruction>,
    /// Whether BuildKit read the layers of an image.
    is_imported: bool,
    /// Whether BuildKit reused a step.
    is_cached: bool,
}

impl BuildLog {
    /// Returns the image id that the classic builder reported.
    pub fn id(self) -> Option<String> {
        self.id
    }

    /// Returns the step that failed or, with the classic builder, was started last.
    pub fn step(&self) -> Option<FailedInstruction> {
        self.step.clone()
    }

    /// Returns whether BuildKit may have reused imported layers.
    pub fn has_imports(&self) -> bool {
        self.is_imported && self.is_cached
    }

    /// Prints a message of the classic builder.
    pub fn write(&mut self, message: BuildInfo, output: &(dyn Fn(Bytes) + Send + Sync)) {
        if let Some(text) = message.stream {
            // Podman reports the id only in this text.
            let built = text.strip_prefix("Successfully built ");
            if let (None, Some(id)) = (&self.id, built) {
                self.id = Some(id.trim().to_owned());
            }
            if self.is_line_open && INTERJECTIONS.iter().any(|it| text.starts_with(it)) {
                output(Bytes::from_static(b"\n"));
            }
            self.step = FailedInstruction::started(&text).or(self.step.take());
            self.is_line_open = !text.is_empty() && !text.ends_with('\n');
            output(text.into());
        }
        match message.aux {
            Some(BuildInfoAux::Default(image)) => self.id = image.id,
            Some(BuildInfoAux::BuildKit(_)) | None => {}
        }
        // Messages of the classic builder while it pulls a base image.
        if let (Some(status), None) = (
            message.status,
            message.progress_detail.and_then(|detail| detail.total),
        ) {
            output(format!("{status}\n").into());
        }
    }

    /// Prints a status message of BuildKit.
    pub fn write_status(&mut self, status: StatusResponse, output: &(dyn Fn(Bytes) + Send + Sync)) {
        for vertex in &status.vertexes {
            if vertex.started.is_some() && self.started.insert(vertex.digest.clone()) {
                let cached = if vertex.cached { " CACHED" } else { "" };
                output(format!("{}{cached}\n", vertex.name).into());
            }
        }
        for log in status.logs {
            let mut written = self.lines.push(&log.vertex, &log.msg);
            if written.is_none() && self.ended.contains(&log.vertex) {
                written = self.lines.end(&log.vertex);
            }
            written.into_iter().for_each(output);
        }
        for vertex in status.vertexes {
            self.is_cached |= vertex.cached;
            if vertex.completed.is_none() {
                continue;
            }
            self.is_imported |= vertex.error.is_empty() && vertex.name.starts_with(IMPORT);
            self.lines.end(&vertex.digest).into_iter().for_each(output);
            // The others are canceled.
            let is_canceled = vertex.error.contains("context canceled");
            if self.step.is_none() && !vertex.error.is_empty() && !is_canceled {
                self.step = FailedInstruction::vertex(&vertex.name);
            }
            if self.ended.insert(vertex.digest) && !vertex.error.is_empty() {
                // BuildKit continues without these layers.
                let error = shortened(&vertex.error);
                let line = match vertex.name.strip_prefix(IMPORT) {
                    Some(image) => format!("note: no layers from {image}: {error}\n"),
                    None => format!("ERROR: {error}\n"),
                };
                output(line.into());
            }
        }
        for warning in status.warnings {
            let mut line = b"warning: ".to_vec();
            line.extend(warning.short);
            line.push(b'\n');
            output(line.into());
        }
    }
    /// Prints what is left when the build has ended.
    pub fn end(&mut self, output: &(dyn Fn(Bytes) + Send + Sync)) {
        self.lines.end_all().for_each(output);
    }
}
