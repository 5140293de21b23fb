//! What a build prints.

use std::collections::HashSet;

use bollard::moby::buildkit::v1::StatusResponse;
use bollard::models::{BuildInfo, BuildInfoAux};
use bytes::Bytes;

/// Turns a build's messages into lines.
#[derive(Default)]
pub(super) struct BuildLog {
    /// The steps whose names were printed.
    begun: HashSet<String>,
    /// The steps whose end was printed.
    ended: HashSet<String>,
    /// The image's id, as the classic builder reports it.
    id: Option<String>,
}

impl BuildLog {
    /// Returns the id of the image that the classic builder made.
    pub fn id(self) -> Option<String> {
        self.id
    }

    /// Prints a message of the classic builder.
    pub fn write(&mut self, message: BuildInfo, output: &(dyn Fn(Bytes) + Send + Sync)) {
        if let Some(text) = message.stream {
            // Podman reports the id in words alone.
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
        // What the classic builder says while it pulls a base image.
        if let (Some(status), None) = (
            message.status,
            message.progress_detail.and_then(|detail| detail.total),
        ) {
            output(format!("{status}\n").into());
        }
    }

    /// Prints what BuildKit says of its steps.
    pub fn write_status(&mut self, status: StatusResponse, output: &(dyn Fn(Bytes) + Send + Sync)) {
        for vertex in status.vertexes {
            if vertex.started.is_some() && self.begun.insert(vertex.digest.clone()) {
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
