//! What a Dockerfile may mount and no image keeps: secrets, and the ssh agent.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Context;
use super::stop::StepError;
use crate::client::engine::SecretValue;
use crate::event::{Event, Unit};
use crate::init::may_be_secret;
use crate::manifest::SecretSource;
use crate::plan::{ImageStep, Step};

/// What the instructions of one build may mount.
pub struct Mountable {
    /// Secrets by id.
    pub secrets: BTreeMap<String, SecretValue>,
    /// The socket of the ssh agent.
    pub ssh_agent: Option<PathBuf>,
}

/// Reads what an image build may mount.
///
/// # Errors
///
/// A secret that is not there, no ssh agent, and an engine that can give neither to a build.
pub fn read(context: &Context, step: &ImageStep) -> Result<Mountable, StepError> {
    let wanted = match (step.secrets.is_empty(), step.ssh) {
        (false, _) => "`docker.secrets`",
        (true, true) => "`docker.ssh`",
        (true, false) => {
            return Ok(Mountable {
                secrets: BTreeMap::new(),
                ssh_agent: None,
            });
        }
    };
    if let Some((why, help)) = context.engine.lacks_buildkit() {
        return Err(StepError::plain(format!("{wanted} takes BuildKit, and {why}")).hint(help));
    }
    let mut secrets = BTreeMap::new();
    for (id, source) in &step.secrets {
        let value = value(context, source).map_err(|(why, help)| {
            StepError::plain(format!("the secret `{id}` of `docker.secrets`: {why}")).hint(help)
        })?;
        secrets.insert(id.clone(), value);
    }
    let ssh_agent = match (step.ssh, &context.caller.ssh_agent) {
        (false, _) => None,
        (true, Some(socket)) => Some(socket.clone()),
        (true, None) => {
            return Err(StepError::plain(
                "`docker.ssh` needs an ssh agent, and SSH_AUTH_SOCK is not set",
            )
            .hint("start one by `eval $(ssh-agent)`, and give it your key by `ssh-add`"));
        }
    };
    Ok(Mountable { secrets, ssh_agent })
}

/// Looks at what the image build among some steps will need, so that no script runs in vain.
///
/// # Errors
///
/// As [`read`].
pub fn check<'s>(
    context: &Context,
    steps: impl IntoIterator<Item = &'s Step>,
) -> Result<(), StepError> {
    for step in steps {
        if let Step::Image(image) = step {
            read(context, image)?;
        }
    }
    Ok(())
}

/// Warns of what an image keeps though it may be meant to be secret.
pub fn warn(context: &Context, unit: &Unit, step: &ImageStep) {
    for (name, by_hand) in &step.args_by_hand {
        if may_be_secret(name) || may_be_secret(by_hand) {
            context.events.emit(Event::Warning(format!(
                "{unit}: the build argument `{name}` comes from the environment, and whoever has the image can \
                 read it in its history; `docker.secrets` keeps it out"
            )));
        }
    }
}

/// Returns a secret, or why it is not there and what helps.
fn value(context: &Context, source: &SecretSource) -> Result<SecretValue, (String, String)> {
    let bytes = match source {
        SecretSource::Environment { name, .. } => match context.variables.get(name) {
            Some(value) => value.clone().into_bytes(),
            None => {
                let why = format!("the environment variable `{name}` is not set");
                return Err((why, format!("set it: `{name}=… xp …`, empty if need be")));
            }
        },
        SecretSource::File(path) => file(&path_of(context, path))?,
    };
    match bytes.len() > SecretValue::MAX_LENGTH {
        true => Err(too_long()),
        false => Ok(SecretValue::new(bytes)),
    }
}

/// Returns the path of a secret's file, as `docker build` is given it.
pub fn path_of(context: &Context, written: &str) -> PathBuf {
    match (written.strip_prefix("~/"), &context.caller.home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => context.folder.join(written),
    }
}

fn file(path: &Path) -> Result<Vec<u8>, (String, String)> {
    let shown = path.display();
    let cannot = |error: std::io::Error| {
        let help = "make the file, or correct `docker.secrets`".to_owned();
        (format!("{shown} cannot be read: {error}"), help)
    };
    let metadata = std::fs::metadata(path).map_err(cannot)?;
    if !metadata.is_file() {
        let help = "name a regular file in `docker.secrets`".to_owned();
        return Err((format!("{shown} is no file"), help));
    }
    if metadata.len() > SecretValue::MAX_LENGTH as u64 {
        return Err(too_long());
    }
    std::fs::read(path).map_err(cannot)
}

fn too_long() -> (String, String) {
    let why = format!(
        "it has more than {} KiB, which is the most that BuildKit takes",
        SecretValue::MAX_LENGTH / 1024
    );
    (why, "make it shorter".to_owned())
}
