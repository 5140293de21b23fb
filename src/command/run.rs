//! `xp run`

use super::container_task::{self, ContainerTask};
use crate::base::error::Failure;
use crate::base::shell::quoted;
use crate::cli::RunArgs;
use crate::flow::session::Session;
use crate::flow::sources::current_service;
use crate::flow::workbench;

/// Runs a command in a service's builder container, on the working copy.
pub async fn run(session: &Session, args: &RunArgs) -> Result<(), Failure> {
    let named = args.service.as_deref();
    if args.command.is_empty() {
        let services = &session.manifest.services;
        let is_service = |name: &&str| services.keys().any(|known| known.as_str() == *name);
        if let Some(command) = named.filter(|name| !is_service(name)) {
            let command = quoted(command);
            return Err(Failure::usage(format!(
                "no command given, and `{command}` is not a service\n\
                 hint: if it is the command, write `xp run SERVICE -- {command}`"
            )));
        }
        let service = named.unwrap_or("SERVICE");
        return Err(Failure::usage(format!(
            "no command given\n\
             hint: put it after `--`, as in `xp run {service} -- make test`; `xp shell {service}` opens a shell"
        )));
    }
    let service = current_service::service(session, named, "xp run SERVICE -- …")?;
    let bench = workbench::on_working_copy(session, service).await?;
    let connection = container_task::connection(&args.container);
    let dir = current_service::in_container(session, service, &bench.step.workdir);
    let task = ContainerTask {
        command: args.command.clone(),
        env: container_task::terminal_variables(session, connection),
        dir: dir.unwrap_or_else(|| bench.step.script_dir.clone()),
        connection,
    };
    container_task::carry_out(session, service, bench, task, &args.container).await
}
