//! `xp check`

use std::path::Path;

use crate::base::error::{Exit, Failure};
use crate::cli::{CheckArgs, Format};
use crate::flow::check;
use crate::flow::failure::shown_in_full;
use crate::flow::session::manifest_file;
use crate::host::settings::Settings;
use crate::model::check::not_found;

/// Checks the manifest and the files that it refers to, without any server.
pub fn run(settings: &Settings, args: &CheckArgs) -> Result<(), Failure> {
    let is_json = args.format == Format::Json;
    let file = match manifest_file(settings) {
        Ok(file) => file,
        Err(failure) if is_json => {
            let (why, hints) = failure.parts();
            super::print_json(&not_found(why, hints))?;
            return Err(Failure::silent(failure.exit));
        }
        Err(failure) => return Err(failure),
    };
    let report = check::check(settings, &file, args.lock_file.as_deref());
    if is_json {
        let shown = |path: &str| {
            let path = Path::new(path);
            let short = path.strip_prefix(&settings.directory);
            short.unwrap_or(path).to_owned()
        };
        super::print_json(&report.document(shown))?;
    }
    match report.errors.as_slice() {
        [] if is_json || settings.report.quiet => Ok(()),
        [] => super::print(&format!("{}\n", report.text())),
        _ if is_json => Err(Failure::silent(Exit::Usage)),
        errors => Err(shown_in_full(settings, errors)),
    }
}
