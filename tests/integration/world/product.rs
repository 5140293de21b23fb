//! Product, version and image store of an engine.

use super::Engine;
use crate::process::succeed;

/// Image store of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// Docker's graph driver: the image ID is the digest of the configuration.
    Classic,
    /// The containerd store: the image ID is the digest of the manifest or index.
    Containerd,
    /// Podman's store: the image ID is the digest of the configuration.
    Podman,
}

/// Product and version. Some expectations depend on them.
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

    /// Whether it uses the containerd store.
    pub fn has_containerd_store(&self) -> bool {
        self.store == Store::Containerd
    }

    /// Whether it reports only the status of a registry error, without its message.
    pub fn passes_on_status_only(&self) -> bool {
        self.has_containerd_store() && self.version.0 < 28
    }

    /// Whether it is Docker Engine of this major version or later.
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
