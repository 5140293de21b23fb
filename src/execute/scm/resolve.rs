//! Which commits the references of a plugin's services are.

use std::collections::HashMap;
use std::path::Path;

use bytes::Bytes;
use thiserror::Error;

use super::call::Call;
use crate::execute::ExecuteContext;
use crate::execute::session::{LABEL_SESSION, remove_leftovers};
use crate::execute::session_lock::SessionLock;
use crate::execute::step_error::{StepError, Stop};
use crate::model::plan::PluginCall;
use crate::model::source::{PluginAnswers, PluginQuery, parse_answers, resolve_config};

/// The file with the answers.
const ANSWERS: &str = "/out/resolved.json";

/// The maximum size of the answers, in bytes.
const MAX_ANSWERS: u64 = 16 * 1024 * 1024;

/// A call of a plugin that did not succeed.
#[derive(Debug, Clone, Error)]
#[error("{message}")]
pub struct PluginCallError {
    pub message: String,
    pub hints: Vec<String>,
    /// Whether something outside refused, such as the server or the engine.
    pub is_outside: bool,
}

/// Resolves the references of all services of a plugin with one container.
///
/// May run without the lock of `cacheDir`, concurrently with other runs.
///
/// # Errors
///
/// If the plugin fails, or an answer is missing or invalid.
pub async fn resolve(
    context: &ExecuteContext,
    plugin: &PluginCall,
    queries: &[PluginQuery],
) -> Result<PluginAnswers, PluginCallError> {
    let error = match run(context, plugin, queries).await {
        Ok(answers) => return Ok(answers),
        Err(Stop::Failed(error)) => error.with_engine(&context.engine).await,
        Err(Stop::Cancelled) => StepError::plain("interrupted"),
    };
    Err(PluginCallError {
        message: error.message().to_owned(),
        is_outside: error.is_outside(),
        hints: error.into_hints(),
    })
}

async fn run(
    context: &ExecuteContext,
    plugin: &PluginCall,
    queries: &[PluginQuery],
) -> Result<PluginAnswers, Stop> {
    // A container that has ended remains if xp was killed before it read the answers.
    remove_leftovers(context).await.map_err(StepError::from)?;
    let lock = SessionLock::new(&context.layout)?;
    let path_mapping = context.path_mapping().await.map_err(StepError::from)?;
    let label = path_mapping.shown(lock.path());
    let call = Call {
        plugin,
        command: "resolve",
        config: resolve_config(queries),
        binds: Vec::new(),
        uploads: Vec::new(),
        labels: HashMap::from([(LABEL_SESSION.to_owned(), label)]),
    };
    let invalid = |problem: String| {
        let PluginCall {
            plugin, location, ..
        } = plugin;
        StepError::plain(format!(
            "`resolve` of {plugin} succeeded, but {ANSWERS} {problem} ({location})"
        ))
        .hint("this is a fault of the plugin; docs/sources.md describes the answers")
    };
    let read = async |container: &crate::client::engine::HeldContainer| {
        let is_wanted = |_: &Path, _, _| true;
        let files = container.read_files(Path::new(ANSWERS), MAX_ANSWERS, is_wanted);
        let found = files.await?.into_iter().next();
        let Some((_, text)) = found else {
            return Err(invalid(format!(
                "is missing, is not a regular file, or is larger than {} MiB",
                MAX_ANSWERS >> 20
            )));
        };
        parse_answers(&text, queries).map_err(|error| invalid(error.to_string()))
    };
    call.run(context, |_: Bytes| (), read).await
}
