//! The log of a build.

use std::collections::HashSet;

use bollard::moby::buildkit::v1::StatusResponse;
use bollard::models::{BuildInfo, BuildInfoAux};
use bytes::Bytes;

/// Converts the messages of a build to lines.
#[derive(Default)]
pub(super) struct BuildLog {
    /// The steps that were printed as started.
    started: HashSet<String>,
    /// The steps that were printed as finished.
    ended: HashSet<String>,
    /// The image id that the classic builder reported.
    id: Option<String>,
}

impl BuildLog {
    /// Returns the image id that the classic builder reported.
    pub fn id(self) -> Option<String> {
        self.id
    }

    /// Prints a message of the classic builder.
    pub fn write(&mut self, message: BuildInfo, output: &(dyn Fn(Bytes) + Send + Sync)) {
        if let Some(text) = message.stream {
            // Podman reports the id only in this text.
            let built = text.strip_prefix("Successfully built ");
            if let (None, Some(id)) = (&self.id, built) {
                self.id = Some(id.trim().to_owned());
            }
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
        for vertex in status.vertexes {
            if vertex.started.is_some() && self.started.insert(vertex.digest.clone()) {
                let cached = if vertex.cached { " CACHED" } else { "" };
                output(format!("{}{cached}\n", vertex.name).into());
            }
            if vertex.completed.is_some()
                && self.ended.insert(vertex.digest)
                && !vertex.error.is_empty()
            {
                output(format!("ERROR: {}\n", vertex.error).into());
            }
        }
        for log in status.logs {
            output(log.msg.into());
        }
        for warning in status.warnings {
            let mut line = b"warning: ".to_vec();
            line.extend(warning.short);
            line.push(b'\n');
            output(line.into());
        }
    }
}
