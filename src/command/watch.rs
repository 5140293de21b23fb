//! `xp build --local --watch`

use std::collections::{BTreeMap, BTreeSet};

use super::{deploy, request};
use crate::base::error::Failure;
use crate::cli::BuildArgs;
use crate::flow::build::BuildOptions;
use crate::flow::deploy::{compose, environment};
use crate::flow::metadata_file::MetadataFile;
use crate::flow::request::{
    DeployImages, DeployMode, DeployRequest, PlanRequest, ReferenceOverrides,
};
use crate::flow::session::Session;
use crate::flow::watch::{WatchedBuild, watch};
use crate::host::settings::Settings;
use crate::model::manifest::{Environment, ServiceName};
use crate::model::source::ServiceSource;

/// Builds working copies whenever their files change.
pub async fn run(settings: Settings, args: &BuildArgs) -> Result<(), Failure> {
    watch(settings, &WatchArgs(args)).await
}

struct WatchArgs<'a>(&'a BuildArgs);

impl WatchedBuild for WatchArgs<'_> {
    fn plan(&self, session: &Session, is_first: bool) -> Result<PlanRequest, Failure> {
        let mut request = request::plan(session, &self.0.plan)?;
        if !is_first {
            // These would build after every change, also without one in the content.
            request.options.force = false;
            request.options.no_cache = false;
            request.options.refresh_bases = false;
        }
        Ok(request)
    }

    fn options(&self, session: &Session) -> BuildOptions<'_> {
        BuildOptions {
            jobs: self.0.jobs.jobs,
            fail_fast: self.0.fail_fast,
            ..BuildOptions::new(request::detail(session, &self.0.plan))
        }
    }

    fn metadata_file(&self, session: &Session) -> Result<Option<MetadataFile>, Failure> {
        let path = self.0.metadata_file.as_ref();
        path.map(|path| MetadataFile::open(session, path))
            .transpose()
    }

    fn environment(&self) -> Option<&str> {
        self.0.deploy.as_deref()
    }

    async fn deploy(
        &self,
        session: &Session,
        built: BTreeMap<ServiceName, ServiceSource>,
    ) -> Result<(), Failure> {
        let (section, Environment::Compose(project)) = environment(session, self.environment())?
        else {
            // Refused before the build.
            return Ok(());
        };
        let services: BTreeSet<ServiceName> = built.keys().cloned().collect();
        let is_all = services.len() == session.manifest.services.len();
        let names = services.iter().map(ServiceName::to_string);
        let request = DeployRequest {
            deploy: section,
            environment: project,
            patterns: if is_all { Vec::new() } else { names.collect() },
            services,
            images: DeployImages::Current {
                references: ReferenceOverrides::from(&self.0.plan.references),
                build: false,
                trust_commit: self.0.plan.images.trust_commit,
                local: true,
                built,
            },
            mode: DeployMode::Apply,
            timeout: None,
            force_conflicts: false,
            take_over: false,
            is_update: true,
        };
        compose::with_task(session, &request, async |task| {
            deploy::launch(session, &request, task, true).await
        })
        .await
    }
}
