//! Finds the container that this process runs in, if it belongs to the engine.

use std::fs;
use std::path::{Path, PathBuf};

use bollard::models::ContainerInspectResponse;

use crate::client::engine::{Engine, EngineError, MountSource};

/// The first API that can mount a folder of a volume: Docker 26.
const SUBPATH_API: (usize, usize) = (1, 45);

/// Files that the engine mounts from its folder for the container: their sources contain the id.
const OWN_FILES: [&str; 3] = ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"];

/// The container that this process runs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnContainer {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its mounts.
    pub mounts: Vec<OwnMount>,
    /// Whether the engine can mount folders of volumes.
    pub supports_subpaths: bool,
}

/// A mount of the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnMount {
    /// The mount point, without symbolic links.
    pub destination: PathBuf,
    /// The source.
    pub origin: MountOrigin,
    /// Whether it is read-only.
    pub read_only: bool,
}

/// The location of the files of a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountOrigin {
    /// A folder or file on the engine's machine.
    Host(PathBuf),
    /// A volume that only its driver can access.
    Volume(String),
    /// Only in this container: in memory, or in an image.
    Here,
}

/// Why the engine cannot mount a file or folder of the container elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotMounted<'a> {
    /// It is not in a mount, but in the container's own file system.
    InContainer,
    /// It is in a mount that exists only in this container.
    Here(&'a OwnMount),
    /// It is a folder of a volume, which this engine cannot mount.
    FolderOfVolume(&'a OwnMount),
}

impl OwnContainer {
    /// Returns the source for mounting a path in another container, and whether it is read-only here. The path must
    /// have no symbolic links.
    ///
    /// # Errors
    ///
    /// The engine cannot mount the path.
    pub fn source(&self, path: &Path) -> Result<(MountSource, bool), NotMounted<'_>> {
        // If there are several mounts on a folder, the last one is visible.
        let mount = self
            .mounts
            .iter()
            .filter(|mount| path.starts_with(&mount.destination))
            .max_by_key(|mount| mount.destination.components().count())
            .ok_or(NotMounted::InContainer)?;
        let below = path
            .strip_prefix(&mount.destination)
            .unwrap_or(Path::new(""));
        let is_all = below.as_os_str().is_empty();
        let source = match &mount.origin {
            MountOrigin::Here => return Err(NotMounted::Here(mount)),
            MountOrigin::Host(folder) if is_all => MountSource::Path(folder.display().to_string()),
            MountOrigin::Host(folder) => {
                MountSource::Path(folder.join(below).display().to_string())
            }
            MountOrigin::Volume(_) if !is_all && !self.supports_subpaths => {
                return Err(NotMounted::FolderOfVolume(mount));
            }
            MountOrigin::Volume(name) => MountSource::Volume {
                name: name.clone(),
                folder: (!is_all).then(|| below.display().to_string()),
            },
        };
        Ok((source, mount.read_only))
    }
}

impl Engine {
    /// Returns the container that this process runs in; `None` outside of containers and in those of another engine.
    /// Outside of containers, no request is sent.
    ///
    /// # Errors
    ///
    /// If the engine does not respond.
    pub async fn own_container(&self) -> Result<Option<OwnContainer>, EngineError> {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let mount_points = read("/proc/self/mountinfo");
        let is_marked = ["/.dockerenv", "/run/.containerenv"]
            .iter()
            .any(|path| Path::new(path).exists());
        let hostname = if is_marked {
            read("/proc/sys/kernel/hostname")
        } else {
            String::new()
        };
        let ids = candidates(
            &mount_points,
            &read("/proc/self/cgroup"),
            &read("/run/.containerenv"),
            &hostname,
        );
        let points = mount_points_of(&mount_points);
        let mut found: Option<OwnContainer> = None;
        for id in ids {
            let options = None::<bollard::query_parameters::InspectContainerOptions>;
            let inspected = match self.docker.inspect_container(&id, options).await {
                Ok(inspected) => inspected,
                Err(error) => match EngineError::new("inspect the container of xp", error) {
                    error if error.status() == Some(404) => continue,
                    error => return Err(error),
                },
            };
            // Ignore another container that happens to match the id.
            let own = self.own(inspected);
            let agrees = |own: &OwnContainer| {
                own.id.starts_with(&id)
                    && own
                        .mounts
                        .iter()
                        .all(|mount| points.contains(&mount.destination))
            };
            let more = |own: &OwnContainer| {
                found
                    .as_ref()
                    .is_none_or(|found| own.mounts.len() > found.mounts.len())
            };
            found = own.filter(|own| agrees(own) && more(own)).or(found);
        }
        Ok(found)
    }

    fn own(&self, inspected: ContainerInspectResponse) -> Option<OwnContainer> {
        let mounted = inspected.mounts.into_iter().flatten().filter_map(|point| {
            let path = point
                .source
                .filter(|path| path.starts_with('/'))
                .map(PathBuf::from);
            let name = point.name.filter(|name| !name.is_empty());
            let origin = match (point.typ.as_deref(), path, name) {
                (Some("bind"), Some(path), _) => MountOrigin::Host(path),
                (Some("volume"), Some(path), _)
                    if matches!(point.driver.as_deref(), None | Some("local" | "")) =>
                {
                    MountOrigin::Host(path)
                }
                (Some("volume"), _, Some(name)) => MountOrigin::Volume(name),
                _ => MountOrigin::Here,
            };
            Some(OwnMount {
                destination: without_links(Path::new(&point.destination?)),
                origin,
                read_only: point.rw == Some(false),
            })
        });
        let mut mounts: Vec<OwnMount> = mounted.collect();
        // Mounts of `--tmpfs` are listed separately.
        let host = inspected.host_config.unwrap_or_default();
        let in_memory = host.tmpfs.into_iter().flatten().map(|(path, _)| OwnMount {
            destination: without_links(Path::new(&path)),
            origin: MountOrigin::Here,
            read_only: false,
        });
        mounts.extend(in_memory);
        mounts.sort_by(|a, b| a.destination.cmp(&b.destination));
        let version = self.docker.client_version();
        Some(OwnContainer {
            id: inspected.id?,
            name: inspected
                .name
                .unwrap_or_default()
                .trim_start_matches('/')
                .to_owned(),
            mounts,
            supports_subpaths: (version.major_version, version.minor_version) >= SUBPATH_API,
        })
    }
}

/// Resolves symbolic links: a container's `/var/run` usually is one.
fn without_links(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Returns possible ids of the container, the most reliable first.
fn candidates(
    mount_points: &str,
    cgroups: &str,
    containerenv: &str,
    hostname: &str,
) -> Vec<String> {
    let own_files = mount_points.lines().filter(|line| {
        let point = line.split(' ').nth(4);
        point.is_some_and(|point| OWN_FILES.contains(&point))
    });
    let roots = own_files.filter_map(|line| line.split(' ').nth(3));
    let words = roots
        .chain(cgroups.lines())
        .chain(containerenv.lines())
        .flat_map(|text| text.split(|c: char| !c.is_ascii_alphanumeric()))
        .filter(|word| is_id(word, 64));
    // The default hostname of a container is the beginning of its id.
    let hostname = Some(hostname.trim()).filter(|name| is_id(name, 12));
    let mut found: Vec<String> = Vec::new();
    for word in words.chain(hostname) {
        if !found.iter().any(|id| id.starts_with(word)) {
            found.push(word.to_owned());
        }
    }
    found
}

fn is_id(word: &str, length: usize) -> bool {
    let is_digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    word.len() == length && word.chars().all(is_digit)
}

/// Returns the mount points.
fn mount_points_of(mountinfo: &str) -> Vec<PathBuf> {
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    points.map(|point| unescaped(point).into()).collect()
}

/// Unescapes a path of mountinfo, in which white space is written as octal numbers.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part
            .get(..3)
            .and_then(|digits| u8::from_str_radix(digits, 8).ok())
        {
            Some(byte) => {
                bytes.push(byte);
                bytes.extend_from_slice(&part.as_bytes()[3..]);
            }
            None => {
                bytes.push(b'\\');
                bytes.extend_from_slice(part.as_bytes());
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0e9b4a8c7d6e5f40312233445566778899aabbccddeeff001122334455667788";

    fn container(mounts: &[(&str, MountOrigin)]) -> OwnContainer {
        let mounts = mounts.iter().map(|(destination, origin)| OwnMount {
            destination: destination.into(),
            origin: origin.clone(),
            read_only: false,
        });
        OwnContainer {
            id: ID.to_owned(),
            name: "xp".to_owned(),
            mounts: mounts.collect(),
            supports_subpaths: true,
        }
    }

    fn host(path: &str) -> MountOrigin {
        MountOrigin::Host(path.into())
    }

    fn path(source: Result<(MountSource, bool), NotMounted<'_>>) -> String {
        match source {
            Ok((MountSource::Path(path), _)) => path,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_innermost_mount_counts() {
        let own = container(&[
            ("/w", host("/home/a")),
            ("/w/cache", host("/cache")),
            ("/", host("/image")),
        ]);
        let find = |text: &str| path(own.source(Path::new(text)));
        assert_eq!(find("/w"), "/home/a");
        assert_eq!(find("/w/b c"), "/home/a/b c");
        assert_eq!(find("/w/cache/go"), "/cache/go");
        // A common prefix of names is not enough.
        assert_eq!(find("/w/cached"), "/home/a/cached");
        assert_eq!(find("/wx"), "/image/wx");
    }

    #[test]
    fn files_only_in_this_container_cannot_be_mounted() {
        let own = container(&[("/w", host("/a")), ("/w/tmp", MountOrigin::Here)]);
        assert_eq!(
            own.source(Path::new("/x")),
            Err(NotMounted::InContainer),
            "the container's own files"
        );
        assert_eq!(
            own.source(Path::new("/w/tmp/x")),
            Err(NotMounted::Here(&own.mounts[1]))
        );
    }

    #[test]
    fn folders_of_volumes_depend_on_the_engine() {
        let mut own = container(&[("/w", MountOrigin::Volume("data".to_owned()))]);
        let folder = |folder: Option<&str>| {
            let (name, folder) = ("data".to_owned(), folder.map(str::to_owned));
            Ok((MountSource::Volume { name, folder }, false))
        };
        assert_eq!(own.source(Path::new("/w/a/b")), folder(Some("a/b")));
        own.supports_subpaths = false;
        assert_eq!(own.source(Path::new("/w")), folder(None));
        assert_eq!(
            own.source(Path::new("/w/a")),
            Err(NotMounted::FolderOfVolume(&own.mounts[0]))
        );
    }

    #[test]
    fn a_read_only_mount_stays_read_only() {
        let mut own = container(&[("/w", host("/a"))]);
        own.mounts[0].read_only = true;
        let source = MountSource::Path("/a/b".to_owned());
        assert_eq!(own.source(Path::new("/w/b")), Ok((source, true)));
    }

    #[test]
    fn ids_are_found() {
        let docker = format!(
            "571 560 254:0 /var/lib/docker/containers/{ID}/hosts /etc/hosts rw - ext4 /dev/vda rw\n"
        );
        let podman = format!(
            "571 560 0:25 /containers/overlay-containers/{ID}/userdata/hostname /etc/hostname rw - tmpfs tmpfs rw\n"
        );
        for mountinfo in [&docker, &podman] {
            assert_eq!(candidates(mountinfo, "", "", &ID[..12]), [ID]);
        }
        let cgroups = format!("9:memory:/docker/{ID}\n0::/\n");
        assert_eq!(candidates("", &cgroups, "", "laptop"), [ID]);
        let scope = format!("0::/machine.slice/libpod-{ID}.scope\n");
        assert_eq!(candidates("", &scope, "", ""), [ID]);
        assert_eq!(candidates("", "", &format!("id=\"{ID}\"\n"), ""), [ID]);
        assert_eq!(candidates("", "0::/\n", "", &ID[..12]), [&ID[..12]]);
        // Layers have similar names, but other mount points.
        let layer = format!("1 2 0:1 /{ID} /data rw - overlay overlay rw\n");
        assert_eq!(candidates(&layer, "0::/\n", "", "build-7"), [""; 0]);
    }

    #[test]
    fn mount_points_are_unescaped() {
        let line = "571 560 254:0 /a /w\\040x/y\\134z rw - ext4 /dev/vda rw\n";
        assert_eq!(mount_points_of(line), [PathBuf::from("/w x/y\\z")]);
    }
}
