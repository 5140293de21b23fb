//! `xp shell`

use super::container_task::{self, ContainerTask};
use crate::base::error::Failure;
use crate::cli::ShellArgs;
use crate::flow::failed_step;
use crate::flow::session::Session;
use crate::flow::sources::current_service;
use crate::flow::workbench;
use crate::host::console::Connection;
use crate::model::manifest::ServiceName;

/// Starts bash if the image has it, else sh.
const SHELL_COMMAND: &str = "command -v bash > /dev/null 2>&1 && exec bash; exec /bin/sh";

/// Opens a shell in a service's builder container, on the working copy.
pub async fn run(session: &Session, args: &ShellArgs) -> Result<(), Failure> {
    let named = args.service.as_deref();
    let service = match (args.failed, named) {
        (true, None) => failed_step::service(session)?,
        _ => current_service::service(session, named, "xp shell SERVICE")?,
    };
    let connection = container_task::connection(&args.container);
    let (bench, dir) = if args.failed {
        let failed = failed_step::last(session, service)?;
        let bench = failed.workbench(session, service).await?;
        failed.explain(session, service, &bench.step);
        (bench, None)
    } else {
        let bench = workbench::on_working_copy(session, service).await?;
        let dir = current_service::in_container(session, service, &bench.step.workdir);
        (bench, dir)
    };
    let dir = dir.unwrap_or_else(|| bench.step.script_dir.clone());
    let task = task(session, &service.name, dir, connection);
    container_task::carry_out(session, service, bench, task, &args.container).await
}

/// Returns the task that starts the shell.
fn task(
    session: &Session,
    service: &ServiceName,
    dir: String,
    connection: Connection,
) -> ContainerTask {
    let mut env = container_task::terminal_variables(session, connection);
    if connection.terminal().is_some() {
        // The prompt shows the service. bash's startup files may overwrite PS1, so it is set again by
        // PROMPT_COMMAND, which runs after them.
        let bash = format!(r#"PS1="{service}:\w\\$ "; unset PROMPT_COMMAND"#);
        env.push(("PS1".to_owned(), format!("{service}:$PWD$ ")));
        env.push(("PROMPT_COMMAND".to_owned(), bash));
    }
    ContainerTask {
        command: ["/bin/sh", "-c", SHELL_COMMAND].map(str::to_owned).to_vec(),
        env,
        dir,
        connection,
    }
}
