//! `xp verify`

use super::print;
use crate::base::error::Failure;
use crate::cli::{Format, VerifyArgs};
use crate::flow::deploy::last_deployed;
use crate::flow::session::Session;
use crate::flow::sources::locked::lock_failure;
use crate::flow::verify;
use crate::model::lock::Lock;
use crate::store::lock_file::LockFile;

/// Verifies the images of services, of a lock, or of an environment.
pub async fn run(session: &Session, args: &VerifyArgs) -> Result<(), Failure> {
    let set = set(session, args).await?;
    let results = verify::set(session, &set).await?;
    session.reporter.finish();
    match args.format {
        Format::Json => print(&results.document().text())?,
        Format::Text => session.reporter.print(&results.text())?,
    }
    verify::verdict(&results, "")
}

/// Returns the images: of the only argument if it is a file or an environment, else of the current commits.
async fn set(session: &Session, args: &VerifyArgs) -> Result<Lock, Failure> {
    if let ([name], []) = (args.names.as_slice(), args.services.as_slice()) {
        let file = session.settings.directory.join(name);
        if file.is_file() {
            let found = LockFile::load(&file).map_err(|error| lock_failure(session, &error))?;
            return Ok(found.lock.in_repositories_of(&session.manifest));
        }
        let deploy = session.manifest.deploy.as_ref();
        let is_environment = deploy.is_some_and(|deploy| deploy.environment(name).is_ok());
        let mut services = session.manifest.services.keys();
        let is_service = services.any(|service| service.as_str() == name);
        if is_environment && is_service {
            return Err(Failure::usage(format!(
                "`{name}` is a service and an environment\n\
                 hint: `xp verify --services {name}` verifies the service; rename the environment to verify it"
            )));
        }
        if is_environment {
            return Ok(last_deployed(session, name).await?.set);
        }
    }
    let patterns = args.names.iter().chain(&args.services);
    let patterns: Vec<&str> = patterns.map(|name| name.trim()).collect();
    let services = session.manifest.select(&patterns)?;
    verify::current(session, services, (&args.references).into()).await
}
