//! What a builder container is to be.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, Mount, MountType, MountVolumeOptions,
};

use crate::image::ImageReference;

/// The folder that is `HOME` for everybody but root.
pub const HOME: &str = "/home/xp";

/// What the engine mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A folder or a file of the engine's machine, by its path there.
    Path(String),
    /// A volume.
    Volume {
        /// Its name.
        name: String,
        /// A folder or a file of it, by its path there; none for all of it.
        folder: Option<String>,
    },
    /// A volume that is made if it does not exist, and stays.
    Kept {
        /// Its name.
        name: String,
        /// How to find it again.
        labels: HashMap<String, String>,
    },
    /// A new volume, which goes with the container.
    Fresh,
}

/// Files of the engine's machine in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// What is mounted.
    pub source: Source,
    /// The path in the container.
    pub target: String,
    /// Whether it may only be read.
    pub read_only: bool,
}

/// What a builder container is to be.
#[derive(Debug, Clone)]
pub struct ContainerSpec {
    /// The image.
    pub image: ImageReference,
    /// How to find it again.
    pub labels: HashMap<String, String>,
    /// The variables of every script, `HOME` excepted.
    pub env: Vec<(String, String)>,
    /// The user and the group that run the scripts.
    pub user: (u32, u32),
    /// Whose the files in `written` are before and after.
    pub owner: (u32, u32),
    /// The folders, as the container sees them, that scripts write to.
    pub written: Vec<String>,
    /// Folders of volumes that are to be the user's.
    pub taken: Vec<String>,
    /// Further groups, such as that of the engine's socket.
    pub groups: Vec<u32>,
    /// Mounts, those of outer folders first.
    pub binds: Vec<Bind>,
    /// The network mode; the engine's default where there is none.
    pub network: Option<String>,
    /// The limit of memory, in bytes.
    pub memory: Option<u64>,
    /// The limit of processors, in billionths.
    pub nano_cpus: Option<u64>,
}

impl ContainerSpec {
    /// Returns a container that does something for xp itself, as root and without a network: it has one
    /// thing mounted, and no script runs in it.
    pub fn for_xp(image: ImageReference, labels: HashMap<String, String>, bind: Bind) -> Self {
        Self {
            image,
            labels,
            env: Vec::new(),
            user: (0, 0),
            owner: (0, 0),
            written: Vec::new(),
            taken: Vec::new(),
            groups: Vec::new(),
            binds: vec![bind],
            network: Some("none".to_owned()),
            memory: None,
            nano_cpus: None,
        }
    }

    /// Tells whether scripts leave files of somebody else than their owner.
    pub(super) fn gives_back(&self) -> bool {
        self.user != self.owner
    }

    /// Returns what the engine is asked for.
    pub(super) fn body(&self) -> ContainerCreateBody {
        let home = if self.user.0 == 0 { "/root" } else { HOME };
        let mut env: Vec<String> = self
            .env
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if !self.env.iter().any(|(name, _)| name == "HOME") {
            env.push(format!("HOME={home}"));
        }
        // Mounts and not the engine's `binds`, which are cut at colons.
        let mount = |bind: &Bind| {
            let (typ, source, volume_options) = match &bind.source {
                Source::Path(path) => (MountType::BIND, Some(path), None),
                Source::Kept { name, labels } => {
                    let options = MountVolumeOptions {
                        no_copy: Some(true),
                        labels: Some(labels.clone()),
                        ..Default::default()
                    };
                    (MountType::VOLUME, Some(name), Some(options))
                }
                Source::Fresh => {
                    let options = MountVolumeOptions {
                        no_copy: Some(true),
                        labels: Some(self.labels.clone()),
                        ..Default::default()
                    };
                    // Without a name, so that the engine removes it with the container.
                    (MountType::VOLUME, None, Some(options))
                }
                Source::Volume { name, folder } => {
                    let options = MountVolumeOptions {
                        // What the image has there is no part of it.
                        no_copy: Some(true),
                        subpath: folder.clone(),
                        ..Default::default()
                    };
                    (MountType::VOLUME, Some(name), Some(options))
                }
            };
            Mount {
                typ: Some(typ),
                source: source.cloned(),
                target: Some(bind.target.clone()),
                read_only: Some(bind.read_only),
                volume_options,
                ..Default::default()
            }
        };
        let limit =
            |value: Option<u64>| value.map(|value| i64::try_from(value).unwrap_or(i64::MAX));
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
            // A check of the service that the image was made for would run, and fail, all the time.
            healthcheck: Some(HealthConfig {
                test: Some(vec!["NONE".to_owned()]),
                ..Default::default()
            }),
            host_config: Some(HostConfig {
                init: Some(true),
                auto_remove: Some(true),
                mounts: Some(self.binds.iter().map(mount).collect()),
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
