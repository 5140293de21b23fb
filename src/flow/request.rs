//! Requests to the use cases.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use crate::model::image::RegistryPrefix;
use crate::model::manifest::{ClusterEnvironment, Deploy, ServiceName};
use crate::model::plan::Options;
use crate::model::shard::Shard;
use crate::model::source::{GitReference, RefName, ServiceSource};

/// References to use instead of those of the manifest.
#[derive(Debug, Clone, Default)]
pub struct ReferenceOverrides {
    /// The branch to use in every repository that has it.
    pub branch: Option<RefName>,
    /// The references of single services; they take precedence.
    pub services: Vec<(ServiceName, GitReference)>,
}

impl ReferenceOverrides {
    /// Returns whether the manifest's references are used.
    pub fn is_empty(&self) -> bool {
        self.branch.is_none() && self.services.is_empty()
    }

    /// Returns the reference given for one service.
    pub fn of(&self, service: &ServiceName) -> Option<&GitReference> {
        let mut services = self.services.iter();
        let found = services.find(|(name, _)| name == service);
        found.map(|(_, reference)| reference)
    }
}

/// Where a plan gets its commits from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanSource {
    /// The remotes.
    Remotes,
    /// This lock; its images must exist.
    Lock(PathBuf),
    /// The working copies of the services; those of dependencies only if they are selected.
    WorkingCopies {
        /// Whether each service must have a working copy.
        required: bool,
    },
}

/// What to plan.
#[derive(Debug, Clone)]
pub struct PlanRequest {
    /// The services; their dependencies are included.
    pub services: BTreeSet<ServiceName>,
    /// Their references.
    pub references: ReferenceOverrides,
    /// Where the commits come from.
    pub source: PlanSource,
    /// What to do with images. Planning fills in what follows from the source.
    pub options: Options,
}

impl PlanRequest {
    /// Returns the request for the services' commits in the remotes, without options.
    pub fn of_remotes(services: BTreeSet<ServiceName>, references: ReferenceOverrides) -> Self {
        Self {
            services,
            references,
            source: PlanSource::Remotes,
            options: Options {
                track_bases: true,
                ..Options::default()
            },
        }
    }
}

/// Which part of the selected services to build, if other runs build the others.
#[derive(Debug, Clone)]
pub struct PartRequest {
    /// One of several shards.
    pub shard: Option<Shard>,
    /// Files with the durations of services, which balance the shards.
    pub times: Vec<PathBuf>,
    /// Only the selected services, without those that they need.
    pub only: bool,
    /// How long to wait for an image that another run builds.
    pub wait_limit: Duration,
}

/// What to lock.
#[derive(Debug, Clone)]
pub struct LockRequest {
    /// The services; others keep their entries.
    pub services: BTreeSet<ServiceName>,
    /// Their references.
    pub references: ReferenceOverrides,
    /// Whether images must have been built with `scripts.test`.
    pub test: bool,
    /// Accept images by their commit tag, regardless of their inputs.
    pub trust_commit: bool,
    /// The images of the engine that count.
    pub engine: EngineUse,
    /// With [`EngineUse::WorkingCopies`]: working copies as they were built, instead of their current state.
    pub built: BTreeMap<ServiceName, ServiceSource>,
}

/// Which images may be in the engine only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineUse {
    /// None: a lock must be usable on other machines.
    None,
    /// Those without a registry.
    Unregistered,
    /// Also those of working copies.
    WorkingCopies,
}

/// What to copy from another registry.
#[derive(Debug, Clone)]
pub struct CopyRequest {
    /// The services; their dependencies are included.
    pub services: BTreeSet<ServiceName>,
    /// Their references.
    pub references: ReferenceOverrides,
    /// Where the images are; with one service, also its whole repository.
    pub from: RegistryPrefix,
    /// Copy the images of this lock.
    pub lock: Option<PathBuf>,
    /// Whether images must have been built with `scripts.test`.
    pub test: bool,
}

/// The images to deploy.
#[derive(Debug, Clone)]
pub enum DeployImages {
    /// Those of the current commits.
    Current {
        /// The references of the services.
        references: ReferenceOverrides,
        /// Build missing images first.
        build: bool,
        /// Accept images by their commit tag, regardless of their inputs.
        trust_commit: bool,
        /// Use the images of working copies, built with `--local`.
        local: bool,
        /// Working copies as they were built, which may have changed since.
        built: BTreeMap<ServiceName, ServiceSource>,
    },
    /// Those of this lock.
    Lock(PathBuf),
    /// Those of the previous deploy.
    Previous,
}

/// The last step of a deploy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeployMode {
    /// Render the YAML, without cluster access.
    Render,
    /// Show what would be deployed, without cluster access.
    Preview,
    /// Show what would be deployed, compared with the cluster.
    Compare,
    /// Deploy.
    Apply,
}

impl DeployMode {
    /// Returns whether the cluster is accessed.
    pub fn accesses_cluster(self) -> bool {
        matches!(self, Self::Compare | Self::Apply)
    }
}

/// What to deploy, and where.
#[derive(Debug, Clone)]
pub struct DeployRequest<'m, E = ClusterEnvironment> {
    /// The `deploy` section of the manifest.
    pub deploy: &'m Deploy,
    /// The environment to deploy to.
    pub environment: &'m E,
    /// The selected services.
    pub services: BTreeSet<ServiceName>,
    /// The names and patterns that selected them, for the record; empty if all services are selected.
    pub patterns: Vec<String>,
    /// Which images.
    pub images: DeployImages,
    /// The last step.
    pub mode: DeployMode,
    /// The time limit for the rollout, if it is not that of the manifest.
    pub timeout: Option<Duration>,
    /// Take over fields managed by others.
    pub force_conflicts: bool,
    /// Continue even if another deploy seems to be running.
    pub take_over: bool,
    /// To a compose project: what it does not run is skipped, and everything is deployed if the running version of the
    /// other services is unknown.
    pub is_update: bool,
}
