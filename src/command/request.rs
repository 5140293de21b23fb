//! Converts arguments to requests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::base::error::Failure;
use crate::cli::{
    CopyArgs, DeployArgs, ImageArgs, LockArgs, LockedArgs, PartArgs, PlanArgs, References,
    Selection,
};
use crate::flow::request::{
    CopyRequest, DeployImages, DeployMode, DeployRequest, EngineUse, LockRequest, PartRequest,
    PlanRequest, PlanSource, ReferenceOverrides,
};
use crate::flow::session::Session;
use crate::flow::shards;
use crate::flow::sources::current_service;
use crate::flow::sources::locked::lock_file;
use crate::model::manifest;
use crate::model::manifest::{Deploy, Fleet, ServiceName};
use crate::model::plan::{Detail, Options};

impl From<&References> for ReferenceOverrides {
    fn from(args: &References) -> Self {
        Self {
            branch: args.branch.clone(),
            services: args.references.clone(),
        }
    }
}

impl From<&ImageArgs> for Options {
    fn from(args: &ImageArgs) -> Self {
        Self {
            force: args.force || args.no_cache,
            no_cache: args.no_cache,
            refresh_bases: args.refresh_bases,
            track_bases: true,
            pull: !args.no_pull,
            push: !args.no_push,
            test: !args.no_test,
            restore: !args.no_restore,
            trust_commit: args.trust_commit,
            all_or_nothing: args.all_or_nothing,
            tags: args.tags.clone(),
            ..Self::default()
        }
    }
}

impl From<&PartArgs> for PartRequest {
    fn from(args: &PartArgs) -> Self {
        Self {
            shard: args.shard,
            times: args.shard_times.clone(),
            only: args.only,
            wait_limit: args.shard_wait,
        }
    }
}

/// Returns the selected services.
pub fn select(session: &Session, args: &Selection) -> Result<BTreeSet<ServiceName>, Failure> {
    Ok(session.manifest.select(&args.patterns())?)
}

/// Returns the path of the lock, if it is used.
pub fn locked(session: &Session, args: &LockedArgs) -> Option<PathBuf> {
    let file = args.lock_file.as_deref();
    args.locked.then(|| lock_file(session, file))
}

/// Returns what to plan. With `--local` and no selection, it is the service whose folder contains the current folder.
pub fn plan(session: &Session, args: &PlanArgs) -> Result<PlanRequest, Failure> {
    let mut services = select(session, &args.selection)?;
    if args.local && args.selection.patterns().is_empty() {
        let here = current_service::names(session);
        if !here.is_empty() {
            services = here;
        }
    }
    plan_of(session, args, services)
}

/// Like [`plan`], for some services.
pub fn plan_of(
    session: &Session,
    args: &PlanArgs,
    services: BTreeSet<ServiceName>,
) -> Result<PlanRequest, Failure> {
    let mut tags = args.images.tags.iter();
    if let Some(tag) = tags.find(|it| it.named_commit().is_some()) {
        return Err(Failure::usage(format!(
            "`--tag {tag}` would overwrite the image of a commit, which has that tag\n\
             hint: add a prefix, such as `--tag build-{tag}`"
        )));
    }
    let source = match locked(session, &args.locked) {
        Some(file) => PlanSource::Lock(file),
        None if args.local => PlanSource::WorkingCopies {
            required: !args.selection.patterns().is_empty(),
        },
        None => PlanSource::Remotes,
    };
    let fleet = fleet(session, args)?.map(|fleet| fleet.name.to_string());
    let part = shards::part(session, &(&args.part).into(), &services)?;
    Ok(PlanRequest {
        services,
        references: (&args.references).into(),
        source,
        options: Options {
            part,
            fleet,
            ..(&args.images).into()
        },
    })
}

/// Returns the fleet that builds, if one was given.
pub fn fleet<'s>(session: &'s Session, args: &PlanArgs) -> Result<Option<&'s Fleet>, Failure> {
    let Some(name) = &args.fleet else {
        return Ok(None);
    };
    Ok(Some(manifest::fleet(&session.manifest.fleets, name)?))
}

/// Returns how much of a plan or a build is shown.
pub fn detail(session: &Session, args: &PlanArgs) -> Detail {
    let mut detail = session
        .reporter
        .detail(!args.selection.patterns().is_empty());
    detail.all |= args.all;
    detail
}

/// Returns what to lock.
pub fn lock(session: &Session, args: &LockArgs) -> Result<LockRequest, Failure> {
    Ok(LockRequest {
        services: select(session, &args.selection)?,
        references: (&args.references).into(),
        test: !args.no_test,
        trust_commit: args.trust_commit,
        engine: EngineUse::None,
        built: BTreeMap::new(),
    })
}

/// Returns what to copy.
pub fn copy(session: &Session, args: &CopyArgs) -> Result<CopyRequest, Failure> {
    Ok(CopyRequest {
        services: select(session, &args.selection)?,
        references: (&args.references).into(),
        from: args.from.clone(),
        lock: locked(session, &args.locked),
        test: !args.no_test,
    })
}

/// Returns what to deploy.
pub fn deploy<'s, E>(
    session: &'s Session,
    args: &DeployArgs,
    (deploy, environment): (&'s Deploy, &'s E),
) -> Result<DeployRequest<'s, E>, Failure> {
    let images = if args.rollback {
        DeployImages::Previous
    } else if let Some(file) = &args.lock {
        DeployImages::Lock(session.settings.directory.join(file))
    } else if args.locked {
        DeployImages::Lock(lock_file(session, None))
    } else {
        DeployImages::Current {
            references: (&args.references).into(),
            build: args.build,
            trust_commit: args.trust_commit,
            local: args.local,
            built: BTreeMap::new(),
        }
    };
    let mode = if args.render {
        DeployMode::Render
    } else if args.dry_run && args.rollback {
        DeployMode::Compare
    } else if args.dry_run {
        DeployMode::Preview
    } else {
        DeployMode::Apply
    };
    let patterns = args.selection.patterns().into_iter();
    Ok(DeployRequest {
        deploy,
        environment,
        services: select(session, &args.selection)?,
        patterns: patterns.map(str::to_owned).collect(),
        images,
        mode,
        timeout: args.timeout,
        force_conflicts: args.force_conflicts,
        take_over: args.take_over,
        is_update: false,
    })
}
