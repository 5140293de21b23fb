//! `xp build`

use super::request;
use crate::base::error::Failure;
use crate::cli::BuildArgs;
use crate::flow::build::BuildOptions;
use crate::flow::metadata_file::MetadataFile;
use crate::flow::runs::unfinished;
use crate::flow::session::Session;
use crate::flow::{build, plan};
use crate::store::claim;

/// Builds all missing images.
pub async fn run(session: &Session, args: &BuildArgs) -> Result<(), Failure> {
    let part = &args.plan.part;
    if !part.shard_times.is_empty() && part.shard.is_none() {
        return Err(Failure::usage(
            "`--shard-times` balances the parts of a build, but `--shard` is missing\n\
             hint: add `--shard K/N`, such as `--shard 2/8` for the second of eight parts",
        ));
    }
    let locked = async { Ok(claim::lock(&session.layout.lock(), &session.events).await?) };
    let lock = session.unless_interrupted(locked).await?;
    let metadata_file = args.metadata_file.as_ref();
    let metadata_file = metadata_file.map(|path| MetadataFile::open(session, path));
    let metadata_file = metadata_file.transpose()?;
    let request = if args.failed {
        let failed = unfinished(session)?;
        if failed.services.is_empty() {
            let run = failed.run;
            return session
                .reporter
                .print(&format!("Nothing failed in run {run}\n"));
        }
        if failed.is_local && !args.plan.local {
            return Err(Failure::usage(format!(
                "run {} built working copies, and `--failed` alone builds commits\n\
                 hint: `xp build --failed --local` builds the working copies again",
                failed.run
            )));
        }
        if let Some(command) = &failed.selecting_command
            && !args.plan.local
            && args.plan.references.is_empty()
        {
            return Err(Failure::usage(format!(
                "run {} was `{command}`, and `--failed` alone builds the commits of the manifest\n\
                 hint: repeat its options that select commits, such as `--branch`; with `--locked`, leave out `--failed`: \
                 only what is missing is built",
                failed.run
            )));
        }
        request::plan_of(session, &args.plan, failed.services)?
    } else {
        request::plan(session, &args.plan)?
    };
    let planned = session
        .unless_interrupted(plan::plan(session, &request, Some(&lock)))
        .await?;
    let options = BuildOptions {
        jobs: args.jobs.jobs,
        fail_fast: args.fail_fast,
        detail: request::detail(session, &args.plan),
        metadata_file: metadata_file.as_ref(),
        fleet: request::fleet(session, &args.plan)?,
    };
    build::carry_out(session, planned, options).await
}
