//! What an engine is: which product, which version, where it keeps images.

use super::Engine;
use crate::process::succeed;

/// Where an engine keeps images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// Docker's own store: an image's id is the digest of its configuration.
    Classic,
    /// The one of containerd: an image's id is the digest of its manifest or index.
    Containerd,
    /// The one of Podman: an image's id is the digest of its configuration.
    Podman,
}

/// An engine as it describes itself. What tests expect to read differs between them.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    /// Major and minor version.
    pub version: (u32, u32),
    pub store: Store,
}

impl Product {
    pub(super) fn of(engine: &Engine) -> Self {
        let names = "{{range .Server.Components}}{{.Name}} {{end}}";
        let is_podman = ask(engine, "version", names).contains("Podman");
        let drivers = ask(engine, "info", "{{.DriverStatus}}");
        Self {
            version: parse_version(&ask(engine, "version", "{{.Server.Version}}")),
            store: match (is_podman, drivers.contains("io.containerd.snapshotter")) {
                (true, _) => Store::Podman,
                (false, true) => Store::Containerd,
                (false, false) => Store::Classic,
            },
        }
    }

    /// Whether it is Podman.
    pub fn is_podman(&self) -> bool {
        self.store == Store::Podman
    }

    /// Whether it keeps images in containerd.
    pub fn has_containerd_store(&self) -> bool {
        self.store == Store::Containerd
    }

    /// Whether it passes on the status of a registry's refusal without the registry's words.
    pub fn passes_on_status_only(&self) -> bool {
        self.has_containerd_store() && self.version.0 < 28
    }

    /// Whether it is a Docker Engine of this major version or a later one.
    pub fn is_docker_since(&self, major: u32) -> bool {
        !self.is_podman() && self.version.0 >= major
    }
}

fn ask(engine: &Engine, subject: &str, format: &str) -> String {
    succeed(engine.client().args([subject, "--format", format]))
}

fn parse_version(text: &str) -> (u32, u32) {
    let mut numbers = text.split('.').map(|number| number.parse().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor),
        _ => panic!("the engine's version is {text}"),
    }
}
