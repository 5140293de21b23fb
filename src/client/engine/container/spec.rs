//! The configuration of a builder container.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, Mount, MountType, MountVolumeOptions,
};
use bollard::query_parameters::{CreateContainerOptions, CreateContainerOptionsBuilder};

use crate::model::image::{ImageReference, Platform};

/// The home folder of all users but root.
pub const HOME: &str = "/home/xp";

/// The source of a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountSource {
    /// A folder or file on the engine's machine.
    Path(String),
    /// A volume.
    Volume {
        /// Its name.
        name: String,
        /// The path of a folder or file in it; `None` for the whole volume.
        folder: Option<String>,
    },
    /// A volume that is created if it does not exist, and kept.
    Kept {
        /// Its name.
        name: String,
        /// Its labels.
        labels: HashMap<String, String>,
    },
    /// A new volume, which is removed with the container.
    Fresh,
}

/// A mount in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// The source.
    pub source: MountSource,
    /// The path in the container.
    pub target: String,
    /// Whether it is read-only.
    pub read_only: bool,
}

impl Bind {
    /// Returns the mount of a container with these labels. The engine's `binds` would split paths at colons.
    pub(super) fn mount(&self, labels: &HashMap<String, String>) -> Mount {
        // Do not copy files of the image into a volume.
        let options = |labels: Option<&HashMap<String, String>>, subpath: Option<&String>| {
            Some(MountVolumeOptions {
                no_copy: Some(true),
                labels: labels.cloned(),
                subpath: subpath.cloned(),
                ..Default::default()
            })
        };
        let (typ, source, volume_options) = match &self.source {
            MountSource::Path(path) => (MountType::BIND, Some(path), None),
            MountSource::Kept { name, labels } => {
                (MountType::VOLUME, Some(name), options(Some(labels), None))
            }
            // Without a name, so that the engine removes it with the container.
            MountSource::Fresh => (MountType::VOLUME, None, options(Some(labels), None)),
            MountSource::Volume { name, folder } => (
                MountType::VOLUME,
                Some(name),
                options(None, folder.as_ref()),
            ),
        };
        Mount {
            typ: Some(typ),
            source: source.cloned(),
            target: Some(self.target.clone()),
            read_only: Some(self.read_only),
            volume_options,
            ..Default::default()
        }
    }
}

/// The configuration of a builder container.
#[derive(Debug, Clone)]
pub struct ContainerSpec {
    /// The image.
    pub image: ImageReference,
    /// The platform of the image; `None` for the engine's own.
    pub platform: Option<Platform>,
    /// Its labels.
    pub labels: HashMap<String, String>,
    /// The environment of all scripts, except `HOME`.
    pub env: Vec<(String, String)>,
    /// The user and the group that run the scripts.
    pub user: (u32, u32),
    /// The owner of the files in `written` before and after the build.
    pub owner: (u32, u32),
    /// The folders in the container that scripts write to.
    pub written: Vec<String>,
    /// Folders of volumes that must belong to the user.
    pub taken: Vec<String>,
    /// Supplementary groups, such as that of the engine's socket.
    pub groups: Vec<u32>,
    /// The mounts, outer folders first.
    pub binds: Vec<Bind>,
    /// A container whose volumes are mounted, too.
    pub volumes_from: Option<String>,
    /// The network mode; `None` for the engine's default.
    pub network: Option<String>,
    /// The memory limit, in bytes.
    pub memory: Option<u64>,
    /// The CPU limit, in billionths of a CPU.
    pub nano_cpus: Option<u64>,
}

/// Returns the options for creating a container of a platform. An engine checks it only if it is named.
pub(super) fn of_platform(platform: Option<&Platform>) -> Option<CreateContainerOptions> {
    let platform = platform?.to_string();
    Some(
        CreateContainerOptionsBuilder::default()
            .platform(&platform)
            .build(),
    )
}

impl ContainerSpec {
    /// Returns the configuration of a helper container for xp itself, which runs as root, without network and scripts,
    /// and with one mount.
    pub fn for_xp(image: ImageReference, labels: HashMap<String, String>, bind: Bind) -> Self {
        Self {
            image,
            platform: None,
            labels,
            env: Vec::new(),
            user: (0, 0),
            owner: (0, 0),
            written: Vec::new(),
            taken: Vec::new(),
            groups: Vec::new(),
            binds: vec![bind],
            volumes_from: None,
            network: Some("none".to_owned()),
            memory: None,
            nano_cpus: None,
        }
    }

    /// Returns whether the owner of files must be restored after the build.
    pub fn restores_owner(&self) -> bool {
        self.user != self.owner
    }

    /// Returns the request body.
    pub fn body(&self) -> ContainerCreateBody {
        let home = if self.user.0 == 0 { "/root" } else { HOME };
        let mut env: Vec<String> = self
            .env
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if !self.env.iter().any(|(name, _)| name == "HOME") {
            env.push(format!("HOME={home}"));
        }
        let limit =
            |value: Option<u64>| value.map(|value| i64::try_from(value).unwrap_or(i64::MAX));
        let mounts = self.binds.iter().map(|bind| bind.mount(&self.labels));
        ContainerCreateBody {
            image: Some(self.image.to_string()),
            entrypoint: Some(vec!["/bin/sh".to_owned()]),
            cmd: Some(Vec::new()),
            user: Some("0:0".to_owned()),
            working_dir: Some("/".to_owned()),
            env: Some(env),
            labels: Some(self.labels.clone()),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            open_stdin: Some(true),
            stdin_once: Some(true),
            // The image's health check is for its own service, which does not run.
            healthcheck: Some(HealthConfig {
                test: Some(vec!["NONE".to_owned()]),
                ..Default::default()
            }),
            host_config: Some(HostConfig {
                init: Some(true),
                auto_remove: Some(true),
                mounts: Some(mounts.collect()),
                volumes_from: self.volumes_from.clone().map(|id| vec![id]),
                network_mode: self.network.clone(),
                group_add: Some(self.groups.iter().map(u32::to_string).collect()),
                memory: limit(self.memory),
                nano_cpus: limit(self.nano_cpus),
                ..Default::default()
            }),
            ..Default::default()
        }
    }
}
