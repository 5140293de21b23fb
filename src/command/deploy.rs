//! `xp deploy`

use super::{count_of, print, request};
use crate::base::error::Failure;
use crate::cli::DeployArgs;
use crate::flow::deploy::compose::{self, ComposeTask};
use crate::flow::deploy::{self, DeployTask, FinishedDeploy};
use crate::flow::request::{DeployMode, DeployRequest};
use crate::flow::session::Session;
use crate::model::event::Event;
use crate::model::manifest::{ComposeEnvironment, Environment, EnvironmentName, ServiceName};
use crate::report::{Reporter, ask};

/// Deploys a set of images, or shows what would be deployed.
pub async fn run(session: &Session, args: &DeployArgs) -> Result<(), Failure> {
    if args.render && session.settings.report.is_json() {
        return Err(Failure::usage(
            "`--render` prints YAML, which cannot be among the events of `--format json`\n\
             hint: leave out `--format json`, or use `--dry-run` instead of `--render`",
        ));
    }
    match deploy::environment(session, args.environment.as_deref())? {
        (deploy, Environment::Cluster(environment)) => {
            let request = request::deploy(session, args, (deploy, environment))?;
            deploy::with_task(session, &request, async |task| {
                if request.mode.accesses_cluster() {
                    apply(session, &request, task, args.yes).await
                } else {
                    show(session, &request, task).await
                }
            })
            .await
        }
        (deploy, Environment::Compose(environment)) => {
            let request = request::deploy(session, args, (deploy, environment))?;
            compose::with_task(session, &request, async |task| {
                if request.mode == DeployMode::Render {
                    return print(&task.render().await?);
                }
                launch(session, &request, task, args.yes).await
            })
            .await
        }
    }
}

/// Deploys to a compose project.
pub async fn launch(
    session: &Session,
    request: &DeployRequest<'_, ComposeEnvironment>,
    task: &ComposeTask<'_>,
    yes: bool,
) -> Result<(), Failure> {
    let (name, reporter) = (&request.environment.name, &session.reporter);
    let comparison = task.compare().await?;
    if comparison.is_up_to_date {
        return print_up_to_date(session, name, comparison.services().len());
    }
    if session.settings.report.prints_summary() {
        print(&task.changes(&comparison).await?)?;
        print(&comparison.changes.text())?;
    }
    if request.mode != DeployMode::Apply {
        return Ok(());
    }
    if !yes && session.settings.can_ask {
        confirm(session, name).await?;
    }
    print_finished(reporter, name, &task.apply(comparison).await?)
}

fn print_up_to_date(
    session: &Session,
    name: &EnvironmentName,
    services: usize,
) -> Result<(), Failure> {
    let count = count_of(services, "service");
    session
        .reporter
        .print(&format!("{name} is up to date ({count})\n"))
}

fn print_finished(
    reporter: &Reporter,
    name: &EnvironmentName,
    finished: &FinishedDeploy,
) -> Result<(), Failure> {
    let services: Vec<&str> = finished.services.iter().map(ServiceName::as_str).collect();
    reporter.print(&format!(
        "deploy {} of {name} finished: {}\n",
        finished.number,
        services.join(", ")
    ))
}

async fn show(
    session: &Session,
    request: &DeployRequest<'_>,
    task: &DeployTask<'_>,
) -> Result<(), Failure> {
    let (record, prepared) = task.preview().await?;
    if request.mode == DeployMode::Render {
        return print(prepared.text());
    }
    if session.settings.report.prints_summary() {
        print(&task.changes(&record, &prepared, None).await?)?;
    }
    let objects = prepared.objects();
    let count = count_of(objects.len(), "object");
    let text = format!("{count} would be applied: {}", objects.join(", "));
    if session.settings.report.is_json() {
        session.events.emit(Event::note(text));
        return Ok(());
    }
    print(&format!("{text}\n"))
}

async fn apply(
    session: &Session,
    request: &DeployRequest<'_>,
    task: &DeployTask<'_>,
    yes: bool,
) -> Result<(), Failure> {
    let (name, reporter) = (&request.environment.name, &session.reporter);
    let comparison = task.compare().await?;
    if comparison.is_up_to_date {
        return print_up_to_date(session, name, comparison.prepared.services().len());
    }
    if session.settings.report.prints_summary() {
        let (record, back) = (comparison.record(), comparison.back());
        print(&task.changes(record, &comparison.prepared, back).await?)?;
        print(comparison.differences.as_deref().unwrap_or_default())?;
    }
    if request.mode == DeployMode::Compare {
        return Ok(());
    }
    if !yes && session.settings.can_ask {
        confirm(session, name).await?;
    }
    print_finished(reporter, name, &task.apply(comparison).await?)
}

async fn confirm(session: &Session, environment: &EnvironmentName) -> Result<(), Failure> {
    let question = format!("Deploy this to {environment}?");
    let color = session.settings.report.color;
    let answer = tokio::task::spawn_blocking(move || ask(&question, "no", color));
    let answer = async {
        let answer = answer.await.map(|answer| answer.ok().flatten());
        Ok(answer.ok().flatten().unwrap_or_default())
    };
    let answer = session.unless_interrupted(answer).await?;
    match answer.to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::usage(format!(
            "nothing was deployed to {environment}\nhint: type `yes` to deploy; `--yes` skips the prompt"
        ))),
    }
}
