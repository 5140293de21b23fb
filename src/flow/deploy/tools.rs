//! Finds kubectl and kustomize: on this machine, else in the `k8s` builder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::error::{Exit, Failure};
use crate::base::redact::SharedRedactor;
use crate::client::kubectl::{Kubectl, ToolLocation};
use crate::execute::path_mapping::PathMapping;
use crate::execute::session::ContainerSession as Container;
use crate::execute::{ExecuteContext, Stop, UnitState};
use crate::flow::programs::program;
use crate::flow::session::Session;
use crate::flow::survey;
use crate::flow::workbench::{self, ImageNeed};
use crate::model::deploy::TOOLS_BUILDER;
use crate::model::environment;
use crate::model::event::{Event, Events, Phase, Unit};
use crate::model::manifest::{BuilderImage, BuilderName, BuilderUser, Mount};
use crate::model::plan::{ContainerStep, Folders, builder_image};

/// The locations of the programs.
pub struct DeployTools {
    kubectl: Option<PathBuf>,
    kustomize: Option<PathBuf>,
    container: Option<(ExecuteContext, Container)>,
    folder: PathBuf,
    kubeconfig: Option<String>,
    events: Events,
}

impl DeployTools {
    /// Finds the programs. If they are not installed, starts a container of the `k8s` builder.
    pub async fn find(session: &Session, needs_cluster: bool) -> Result<Self, Failure> {
        let path = session.variable(environment::PATH.name).unwrap_or_default();
        let folder = session.manifest.folder.clone();
        let mut tools = Self {
            kubectl: program("kubectl", &path),
            kustomize: None,
            container: None,
            folder,
            kubeconfig: session.settings.kubeconfig(),
            events: session.events.clone(),
        };
        if tools.kubectl.is_none() {
            tools.kustomize = program("kustomize", &path);
            if needs_cluster || tools.kustomize.is_none() {
                tools.container = Some(start(session).await?);
            }
        }
        Ok(tools)
    }

    /// Returns the client, with redacted output.
    pub fn kubectl(&self, secrets: SharedRedactor) -> Kubectl<'_> {
        let container = self.container.as_ref();
        let container =
            container.map(|(_, container)| ToolLocation::Container(container.container()));
        let kubectl = self
            .kubectl
            .as_deref()
            .map(ToolLocation::Host)
            .or(container);
        Kubectl {
            kubectl,
            kustomize: self.kustomize.as_deref().map(ToolLocation::Host),
            folder: self.folder.clone(),
            kubeconfig: self.kubeconfig.clone(),
            on_line: {
                let events = self.events.clone();
                Arc::new(move |line: &str| events.emit(Event::note(line.to_owned())))
            },
            secrets,
        }
    }

    /// Stops the container, if there is one.
    pub async fn end(self) {
        if let Some((context, container)) = self.container {
            _ = container.end(&context).await;
        }
    }
}

/// Starts the builder with local files mounted at the same paths, and with the host's network: the cluster's address
/// may be reachable only from this machine.
async fn start(session: &Session) -> Result<(ExecuteContext, Container), Failure> {
    let name: BuilderName = TOOLS_BUILDER
        .parse()
        .map_err(|error| Failure::usage(format!("{error}")))?;
    let dir = session.manifest.builders.dir.join(TOOLS_BUILDER);
    if !session.manifest.folder.join(&dir).is_dir() {
        return Err(Failure::outside(format!(
            "kubectl is not on PATH, and the builder `{TOOLS_BUILDER}`, which could provide it, does not exist\n\
             hint: install kubectl, or create {}/Dockerfile, an image with kubectl and kustomize",
            dir.display()
        )));
    }
    session.events.emit(Event::note(format!(
        "kubectl is not on PATH; using the one in builders/{TOOLS_BUILDER}"
    )));
    let folder = survey::folder_builder(&session.manifest, &name)?;
    let folders = Folders::from([folder]);
    let image = BuilderImage::Folder(name);
    let connected = session.unless_interrupted(session.engine()).await?;
    let context = workbench::with_images(
        session,
        &[&image],
        &folders,
        connected.0,
        connected.1,
        ImageNeed::default(),
    )
    .await?;
    let path_mapping = context.path_mapping().await?;
    if let PathMapping::Remote(_) = path_mapping {
        return Err(Failure::outside(format!(
            "kubectl is not on PATH, and the engine is on another machine, where the builder `{TOOLS_BUILDER}` has no access to local files\n\
             hint: install kubectl, or use an engine on this machine"
        )));
    }
    let image = builder_image(&image, &folders)
        .ok_or_else(|| Failure::outside("the builder has no image"))?;
    let step = step(session, image);
    let unit = Unit::Workload("kubectl".to_owned());
    let stopped = async {
        session.cancel.cancelled().await;
        Stop::Cancelled
    };
    let opened =
        Container::open(&context, &unit, &step, None, &UnitState::default(), stopped).await;
    let container = opened.map_err(|stop| match stop {
        Stop::Cancelled => Failure::silent(Exit::Interrupted),
        Stop::Failed(error) => {
            let failed = error.in_phase(Phase::Container, None);
            Failure::outside(format!("the builder {TOOLS_BUILDER}: {}", failed.message))
        }
    })?;
    Ok((context, container))
}

fn step(session: &Session, image: crate::model::image::ImageReference) -> ContainerStep {
    let folder = &session.manifest.folder;
    let root = session.layout.root();
    let home = session.settings.caller.home.as_deref();
    let default_file = home.map(|home| home.join(".kube/config"));
    let named = session.settings.kubeconfig();
    let files: Vec<PathBuf> = match &named {
        Some(list) => list.split(':').map(PathBuf::from).collect(),
        None => default_file.into_iter().collect(),
    };
    let mut mounts: Vec<Mount> = Vec::new();
    let mut mount = |path: &Path, read_only: bool| {
        let text = path.display().to_string();
        let is_mounted = mounts.iter().any(|mount| mount.target == text);
        if path.exists() && !is_mounted && !path.starts_with(folder) {
            mounts.push(Mount {
                source: text.clone(),
                target: text,
                read_only,
            });
        }
    };
    mount(root, false);
    // Certificates may be next to a kubeconfig or in a subfolder.
    for file in &files {
        match file.parent() {
            Some(folder) if folder.ends_with(".kube") => mount(folder, true),
            _ => mount(file, true),
        }
    }
    let list: Vec<String> = files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    ContainerStep {
        image,
        platform: None,
        source: folder.clone(),
        in_place: false,
        is_staged: false,
        git: Vec::new(),
        workdir: folder.display().to_string(),
        script_dir: folder.display().to_string(),
        env: BTreeMap::from([("KUBECONFIG".to_owned(), list.join(":"))]),
        env_for_shell: BTreeMap::new(),
        user: BuilderUser::Caller,
        network: Some("host".to_owned()),
        caches: Vec::new(),
        mounts,
        ssh: false,
        socket: false,
        has_sidecars: false,
        memory: None,
        nano_cpus: None,
        config: None,
        secrets: BTreeMap::new(),
        reports: Vec::new(),
        expects_reports: false,
    }
}
