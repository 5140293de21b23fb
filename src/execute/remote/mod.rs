//! Builds on a remote engine, which cannot access this machine's files.
//!
//! The source is copied to a new volume before the container starts, and results are copied back before it
//! ends; the volume is removed with the container. Caches are persistent volumes, and so are git objects, so
//! that only new ones are sent.

mod objects;
mod socket;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha1::{Digest as _, Sha1};

use super::state::UnitState;
use super::step_error::{StepError, Stop};
use super::{ExecuteContext, LABEL_SERVICE, builder};
use crate::base::plural::abbreviated;
use crate::client::engine::{
    Bind, BuilderContainer, CopyBackReport, CopyBackTarget, CreatedContainer, EngineError,
    MountSource, SentFiles, UploadItem,
};
use crate::model::event::{Event, Measure, Phase, Unit};
use crate::model::plan::{ContainerStep, ImageStep};

pub(super) use socket::{engine_socket, group as socket_group};

/// The label of persistent volumes, with the folder of the platform.
pub(super) const LABEL_CACHE: &str = "x-platform.cache";

/// The path of git objects in a container. Not in the source, or they would be copied back.
const OBJECTS: &str = "/run/xp-objects";

/// The delay before another attempt to copy results back.
const PAUSE: Duration = Duration::from_secs(1);

/// The files of a build on a remote engine.
pub(super) struct RemoteFiles {
    /// The mounts of the container.
    pub binds: Vec<Bind>,
    /// The folders in volumes that must belong to the user.
    pub taken: Vec<String>,
    items: Vec<UploadItem>,
    /// The items that are not in volumes, so that every container needs its own copy.
    pub unshared: Vec<UploadItem>,
    sent: SentFiles,
    source: PathBuf,
    workdir: PathBuf,
    /// Paths that are not copied back, relative to the source.
    excluded: Vec<PathBuf>,
    in_place: bool,
    is_staged: bool,
}

impl RemoteFiles {
    /// Collects the files of a container; sends git objects that the engine does not have yet.
    pub async fn prepare(
        context: &ExecuteContext,
        unit: &Unit,
        step: &ContainerStep,
        state: &UnitState,
        owner: (u32, u32),
        labels: &HashMap<String, String>,
    ) -> Result<Self, Stop> {
        if step.ssh {
            return Err(refused(
                context,
                "`ssh: true` forwards the ssh agent of this machine",
                "use an engine on this machine, or mount a key file with `dockerBuilder.mounts` and `:ro`",
            ));
        }
        let workdir = PathBuf::from(format!("/{}", step.workdir.trim_matches('/')));
        let own = context.layout.root();
        let mut files = Self {
            binds: vec![Bind {
                source: MountSource::Fresh,
                target: workdir.display().to_string(),
                read_only: false,
            }],
            taken: vec![workdir.display().to_string()],
            items: vec![UploadItem::Folder {
                to: workdir.clone(),
                owner,
            }],
            unshared: Vec::new(),
            sent: SentFiles::new(),
            source: step.source.clone(),
            excluded: vec![PathBuf::from(".git")],
            in_place: step.in_place,
            is_staged: step.is_staged,
            workdir,
        };
        files.add_caches(context, unit, step, owner).await?;
        files.items.push(UploadItem::Tree {
            from: step.source.clone(),
            to: files.workdir.clone(),
            owner: Some(owner),
            excluded: excluded(step, own),
            is_copied_back: true,
            may_be_missing: false,
        });
        if let Ok(own) = own.strip_prefix(&step.source) {
            files.excluded.push(own.to_owned());
        }
        files.add_mounts(context, step).await?;
        if !step.is_staged {
            objects::add_git(&mut files, context, unit, step, state, labels).await?;
        }
        let is_shared = |item: &&UploadItem| {
            let mut volumes = files.binds.iter();
            volumes.any(|volume| item.to().starts_with(&volume.target))
        };
        let unshared = files.items.iter().filter(|item| !is_shared(item));
        files.unshared = unshared.cloned().collect();
        if step.socket {
            files.binds.push(Bind {
                source: MountSource::Path(engine_socket(context)),
                target: builder::SOCKET.to_owned(),
                read_only: false,
            });
        }
        Ok(files)
    }

    async fn add_caches(
        &mut self,
        context: &ExecuteContext,
        unit: &Unit,
        step: &ContainerStep,
        owner: (u32, u32),
    ) -> Result<(), StepError> {
        let path_mapping = context.path_mapping().await?;
        for (folder, path) in &step.caches {
            let labels = HashMap::from([
                (LABEL_CACHE.to_owned(), context.folder.display().to_string()),
                (LABEL_SERVICE.to_owned(), unit.to_string()),
            ]);
            let name = volume_name("cache", &unit.to_string(), &path_mapping.shown(folder));
            self.mount(
                MountSource::Kept { name, labels },
                Path::new(path),
                owner,
                false,
            );
            self.taken.push(path.clone());
        }
        Ok(())
    }

    /// Mounts a volume. Parent folders in the source are created for the user; the engine would create them as root.
    fn mount(&mut self, source: MountSource, target: &Path, owner: (u32, u32), read_only: bool) {
        if let Ok(below) = target.strip_prefix(&self.workdir) {
            let parents: Vec<&Path> = below.ancestors().skip(1).collect();
            for parent in parents.iter().rev().filter(|it| !it.as_os_str().is_empty()) {
                let to = self.workdir.join(parent);
                self.items.push(UploadItem::Folder { to, owner });
            }
            self.excluded.push(below.to_owned());
        }
        self.binds.push(Bind {
            source,
            target: target.display().to_string(),
            read_only,
        });
    }

    async fn add_mounts(
        &mut self,
        context: &ExecuteContext,
        step: &ContainerStep,
    ) -> Result<(), Stop> {
        let path_mapping = context.path_mapping().await.map_err(StepError::from)?;
        for mount in &step.mounts {
            let from = builder::mount_source(context, path_mapping, mount)?;
            if !mount.read_only {
                return Err(refused(
                    context,
                    &format!("the mount at {} is writable", mount.target),
                    "use `SRC:DST:ro` for files that are only read, and `dockerBuilder.cache` for folders that persist between builds",
                ));
            }
            let to = PathBuf::from(&mount.target);
            if let Ok(below) = to.strip_prefix(&self.workdir) {
                self.excluded.push(below.to_owned());
            }
            // Symlinks are followed, as the engine does for mounts.
            let from = from.canonicalize().unwrap_or(from);
            self.items.push(UploadItem::Tree {
                from,
                to,
                owner: None,
                excluded: Vec::new(),
                is_copied_back: false,
                may_be_missing: false,
            });
        }
        Ok(())
    }

    /// Sends the files to a container before it starts.
    pub async fn send(
        &mut self,
        context: &ExecuteContext,
        unit: &Unit,
        created: &CreatedContainer,
    ) -> Result<(), EngineError> {
        let progress = progress(context, unit);
        self.sent = created
            .send(std::mem::take(&mut self.items), &progress)
            .await?;
        Ok(())
    }

    /// Returns the folder of an export that an image is built from; empty for all of it.
    fn part(&self, image: &ImageStep) -> PathBuf {
        let below = image.context.strip_prefix(&self.source);
        let (true, Ok(below)) = (image.dockerfile.starts_with(&image.context), below) else {
            return PathBuf::new();
        };
        let mut folders = below.ancestors().map(|it| self.source.join(it));
        // A symlink may lead to another part of the export, so copy all of it.
        if folders.any(|it| it != self.source && is_link(&it)) {
            PathBuf::new()
        } else {
            below.to_owned()
        }
    }

    /// Keeps the container, so that nothing is lost, and returns a hint.
    pub async fn keep(&self, context: &ExecuteContext, container: &BuilderContainer) -> String {
        match container.stay().await {
            Some(id) => {
                // Do not copy them into the working copy, because its `.git` differs.
                let name = self
                    .source
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy();
                format!(
                    "the results are in the container {id} of the engine at {}: `docker cp {id}:{} {name}-{id}` copies them, and `docker rm -fv {id}` removes the container",
                    context.engine.address(),
                    self.workdir.display()
                )
            }
            None => self.lost(),
        }
    }

    /// Returns a hint about what is lost with a removed container.
    pub fn lost(&self) -> String {
        let folder = self.source.display();
        format!(
            "results in the container that were not copied back are lost; {folder} has those that were"
        )
    }

    /// Returns the size and time of the files that were sent, by path relative to a folder of the source.
    pub fn sent_below(&self, folder: &Path) -> HashMap<PathBuf, (u64, i64)> {
        let below = folder.strip_prefix(&self.source).unwrap_or(Path::new(""));
        let sent = self.sent.iter();
        let sent = sent.filter_map(|(path, file)| {
            let path = path.strip_prefix(below).ok()?;
            Some((path.to_owned(), (file.size, file.modified.0)))
        });
        sent.collect()
    }

    /// Copies results back: of a working copy everything, of an export only the files that the image is built from.
    async fn copy_back(
        &self,
        context: &ExecuteContext,
        unit: &Unit,
        container: FilesOwner<'_>,
        wanted: WantedFiles<'_>,
    ) -> Result<(), StepError> {
        let (mut part, image) = match wanted {
            // The outputs of a phase are saved.
            _ if self.in_place || self.is_staged => (PathBuf::new(), None),
            WantedFiles::None => return Ok(()),
            WantedFiles::All => (PathBuf::new(), None),
            WantedFiles::Image(image) => (self.part(image), Some(image)),
        };
        let mut is_retry = false;
        let returned = loop {
            let path = if part.as_os_str().is_empty() {
                self.workdir.clone()
            } else {
                self.workdir.join(&part)
            };
            let place = CopyBackTarget {
                folder: self.source.clone(),
                part: part.clone(),
                sent: self.sent.clone(),
                excluded: self.excluded.clone(),
                is_shared: self.in_place,
            };
            let path = path.display().to_string();
            match container.copy_back(&path, place).await {
                // A symlink leads outside of this part, so copy everything.
                Ok(returned)
                    if !part.as_os_str().is_empty()
                        && (returned.is_link
                            || image.is_some_and(|it| is_link(&it.dockerfile))) =>
                {
                    part = PathBuf::new();
                }
                Ok(returned) => break returned,
                Err(EngineError::ContainerGone) => return Err(EngineError::ContainerGone.into()),
                Err(error) if is_retry => return Err(error.into()),
                Err(_) => {
                    is_retry = true;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        };
        let shown = |paths: &[PathBuf]| {
            let paths: Vec<_> = paths.iter().map(|path| path.display()).collect();
            abbreviated(&paths, 3)
        };
        if !returned.kept.is_empty() {
            context.events.emit(Event::note(format!(
                "{unit}: {} changed both on this machine and in the builder; this machine's version was kept",
                shown(&returned.kept)
            )));
        }
        if !returned.special_files.is_empty() {
            context.events.emit(Event::note(format!(
                "{unit}: {} not copied back: devices and pipes are not supported",
                shown(&returned.special_files)
            )));
        }
        Ok(())
    }
}

/// The files of an export that later steps need.
#[derive(Clone, Copy)]
pub enum WantedFiles<'i> {
    None,
    /// Other scripts run next.
    All,
    /// Those that the image is built from.
    Image(&'i ImageStep),
}

/// A container that has the files of a build on a remote engine. Others of the same unit mount its volumes.
#[derive(Clone, Copy)]
pub(super) struct SharedFiles<'f> {
    pub files: &'f RemoteFiles,
    /// The container's id.
    pub container: &'f str,
    pub owner: FilesOwner<'f>,
}

impl SharedFiles<'_> {
    /// Copies results back; of an export, only those that are wanted.
    pub async fn copy_back(
        self,
        context: &ExecuteContext,
        unit: &Unit,
        wanted: WantedFiles<'_>,
    ) -> Result<(), StepError> {
        self.files
            .copy_back(context, unit, self.owner, wanted)
            .await
    }
}

/// The container with the files: a builder, or if there are only plugins, one that never runs.
#[derive(Clone, Copy)]
pub(super) enum FilesOwner<'c> {
    Running(&'c BuilderContainer),
    Created(&'c CreatedContainer),
}

impl FilesOwner<'_> {
    async fn copy_back(
        self,
        path: &str,
        place: CopyBackTarget,
    ) -> Result<CopyBackReport, EngineError> {
        match self {
            Self::Running(container) => container.copy_back(path, place, &|_| ()).await,
            Self::Created(container) => container.copy_back(path, place, &|_| ()).await,
        }
    }

    /// Reads files below a path, as [`BuilderContainer::read_files`] does.
    pub async fn read_files(
        self,
        path: &Path,
        limit: u64,
        is_wanted: impl Fn(&Path, u64, u64) -> bool + Send + 'static,
    ) -> Result<Vec<(PathBuf, Vec<u8>)>, EngineError> {
        match self {
            Self::Running(container) => container.read_files(path, limit, is_wanted).await,
            Self::Created(container) => container.read_files(path, limit, is_wanted).await,
        }
    }
}

/// Returns the paths in the source that are not sent with it.
fn excluded(step: &ContainerStep, own: &Path) -> Vec<PathBuf> {
    // The git directory is sent separately, and may be elsewhere.
    let mut excluded = vec![own.to_owned(), step.source.join(".git")];
    // Otherwise it would be written into what is mounted there.
    let caches = step.caches.iter().map(|(_, path)| path);
    let mounts = step.mounts.iter().map(|mount| &mount.target);
    let workdir = format!("/{}", step.workdir.trim_matches('/'));
    for target in caches.chain(mounts) {
        match Path::new(target).strip_prefix(&workdir) {
            Ok(below) if !below.as_os_str().is_empty() => excluded.push(step.source.join(below)),
            _ => {}
        }
    }
    excluded
}

fn is_link(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink())
}

fn progress(context: &ExecuteContext, unit: &Unit) -> impl Fn(u64) + Send + Sync + use<> {
    let (events, unit) = (context.events.clone(), unit.clone());
    move |bytes| {
        events.emit(Event::Progress {
            unit: unit.clone(),
            phase: Phase::Container,
            measure: Measure::Bytes,
            done: bytes,
            total: None,
            bytes,
        });
    }
}

/// Returns the error for a setting that needs access to this machine.
fn refused(context: &ExecuteContext, what: &str, hint: &str) -> Stop {
    StepError::plain(format!(
        "{what}, but the engine at {} has no access to this machine",
        context.engine.address()
    ))
    .hint(hint)
    .into()
}

/// Returns the name of a persistent volume for a folder; unique on the engine.
pub(super) fn volume_name(kind: &str, owner: &str, folder: &str) -> String {
    let mut digest = hex::encode(Sha1::digest(folder));
    digest.truncate(12);
    let is_plain = |it: &char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.');
    let owner: String = owner.chars().filter(is_plain).take(80).collect();
    let parts = ["xp", kind, &owner, &digest];
    let parts: Vec<&str> = parts.into_iter().filter(|it| !it.is_empty()).collect();
    parts.join("-")
}
