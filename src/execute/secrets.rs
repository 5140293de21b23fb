//! Secrets and the ssh agent, which a Dockerfile can mount without storing them in the image.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::ExecuteContext;
use super::step_error::StepError;
use crate::client::engine::SecretValue;
use crate::model::event::{Event, Unit};
use crate::model::manifest::{MissingInput, SecretSource, suggests_secret};
use crate::model::plan::{ImageStep, Plan, Step};

pub(super) const START_AN_AGENT: &str =
    "start one with `eval $(ssh-agent)` and add your key with `ssh-add`";

/// The secrets and ssh agent of one build.
pub struct BuildSecrets {
    /// Secrets by id.
    pub secrets: BTreeMap<String, SecretValue>,
    /// The socket of the ssh agent.
    pub ssh_agent: Option<PathBuf>,
}

/// Reads the secrets and finds the ssh agent of an image build.
///
/// # Errors
///
/// If a secret or the ssh agent is missing, or the engine does not support them.
pub fn read(context: &ExecuteContext, step: &ImageStep) -> Result<BuildSecrets, StepError> {
    let wanted = match (step.secrets.is_empty(), step.ssh) {
        (false, _) => "`docker.secrets`",
        (true, true) => "`docker.ssh`",
        (true, false) => {
            return Ok(BuildSecrets {
                secrets: BTreeMap::new(),
                ssh_agent: None,
            });
        }
    };
    if let Some((why, help)) = context.engine.no_buildkit_reason() {
        return Err(StepError::plain(format!("{wanted} needs BuildKit, but {why}")).hint(help));
    }
    let mut secrets = BTreeMap::new();
    for (id, source) in &step.secrets {
        let value = value(context, source).map_err(|(why, help)| {
            StepError::plain(format!("the secret `{id}` of `docker.secrets`: {why}")).hint(help)
        })?;
        secrets.insert(id.clone(), value);
    }
    let ssh_agent = match step.ssh {
        false => None,
        true => Some(agent(context, "docker.ssh").map_err(|why| {
            // Checked here, because an instruction would only see a closed connection.
            StepError::plain(why).hint(START_AN_AGENT)
        })?),
    };
    Ok(BuildSecrets { secrets, ssh_agent })
}

/// Returns the socket of the ssh agent, or why there is none.
pub(super) fn agent(context: &ExecuteContext, key: &str) -> Result<PathBuf, String> {
    let Some(socket) = &context.caller.ssh_agent else {
        return Err(format!(
            "`{key}` needs an ssh agent, but SSH_AUTH_SOCK is not set"
        ));
    };
    match UnixStream::connect(socket) {
        Ok(_) => Ok(socket.clone()),
        Err(error) => Err(format!(
            "`{key}` needs an ssh agent, but none answers at {} (SSH_AUTH_SOCK): {error}",
            socket.display()
        )),
    }
}

/// Returns the missing secrets and ssh agents of a plan, before anything is run.
pub fn missing(context: &ExecuteContext, plan: &Plan) -> Vec<MissingInput> {
    let mut missing = Vec::new();
    for unit in &plan.units {
        let Unit::Service(service) = &unit.unit else {
            continue;
        };
        let mut add = |key: &str, message: String, help: String| {
            missing.push(MissingInput {
                service: service.clone(),
                key: key.to_owned(),
                message,
                help,
            });
        };
        for step in &unit.steps {
            let ssh_key = match step {
                Step::Container(container) if container.ssh => Some("dockerBuilder.ssh"),
                Step::Image(image) if image.ssh => Some("docker.ssh"),
                _ => None,
            };
            if let Some(key) = ssh_key
                && let Err(why) = agent(context, key)
            {
                add(key, why, START_AN_AGENT.to_owned());
            }
            let Step::Image(image) = step else { continue };
            for (id, source) in &image.secrets {
                if let Err((why, help)) = value(context, source) {
                    let message = format!("the secret `{id}` of `docker.secrets`: {why}");
                    add(&format!("docker.secrets.{id}"), message, help);
                }
            }
        }
    }
    missing
}

/// Checks the secrets of the image builds among some steps, so that a missing one fails before any script runs.
///
/// # Errors
///
/// As [`read`].
pub fn check<'s>(
    context: &ExecuteContext,
    steps: impl IntoIterator<Item = &'s Step>,
) -> Result<(), StepError> {
    for step in steps {
        if let Step::Image(image) = step {
            read(context, image)?;
        }
    }
    Ok(())
}

/// Warns about build arguments that may be secret: the image keeps them.
pub fn warn(context: &ExecuteContext, unit: &Unit, step: &ImageStep) {
    for (name, shell_value) in &step.args_for_shell {
        if suggests_secret(name) || suggests_secret(shell_value) {
            context.events.emit(Event::warning(format!(
                "{unit}: the build argument `{name}` comes from the environment and is readable in the image's \
                history; use `docker.secrets` for secrets"
            )));
        }
    }
}

/// Hides the values of build arguments that may be secret: BuildKit prints instructions with expanded arguments.
pub struct Mask {
    values: Vec<String>,
}

impl Mask {
    /// Returns the mask for the output of a build: values from the environment whose argument or variable is named like
    /// a secret. Others, such as versions, stay visible.
    pub fn of(step: &ImageStep) -> Self {
        let is_secret = |(name, shell_value): &(&String, &String)| {
            suggests_secret(name) || suggests_secret(shell_value)
        };
        let names = step.args_for_shell.iter().filter(is_secret);
        let values = names.filter_map(|(name, _)| step.args.get(name).cloned());
        let mut values: Vec<String> = values.filter(|value| !value.is_empty()).collect();
        // The longest first, because one value may contain another.
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        Self { values }
    }

    /// Returns a text with the values hidden.
    pub fn text(&self, text: &str) -> String {
        let (shown, _) = self.hide(text.as_bytes(), false);
        String::from_utf8_lossy(&shown).into_owned()
    }

    /// Returns bytes with the values hidden, and if more may follow, the end that may be the start of a value.
    fn hide<'b>(&self, bytes: &'b [u8], may_go_on: bool) -> (Vec<u8>, &'b [u8]) {
        let values = || self.values.iter().map(String::as_bytes);
        let mut shown = Vec::with_capacity(bytes.len());
        let mut rest = bytes;
        while let Some((first, others)) = rest.split_first() {
            let is_begun = |value: &[u8]| value.len() > rest.len() && value.starts_with(rest);
            if may_go_on && values().any(is_begun) {
                break;
            }
            rest = match values().find_map(|value| rest.strip_prefix(value)) {
                Some(after) => {
                    shown.extend_from_slice(HIDDEN.as_bytes());
                    after
                }
                None => {
                    shown.push(*first);
                    others
                }
            };
        }
        (shown, rest)
    }

    /// Returns a mask for output that arrives in pieces.
    pub fn stream(&self) -> MaskedStream<'_> {
        MaskedStream {
            mask: self,
            held: Mutex::default(),
        }
    }
}

/// The replacement of a value.
const HIDDEN: &str = "***";

/// Hides values in output that arrives in pieces. A value may be split, so the end of a piece that may be the start
/// of a value is held back.
pub struct MaskedStream<'m> {
    mask: &'m Mask,
    held: Mutex<Vec<u8>>,
}

impl MaskedStream<'_> {
    /// Takes the next piece, and returns the output that can be shown.
    pub fn push(&self, piece: Bytes) -> Bytes {
        if self.mask.values.is_empty() {
            return piece;
        }
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.extend_from_slice(&piece);
        let (shown, rest) = self.mask.hide(&held, true);
        *held = rest.to_vec();
        shown.into()
    }

    /// Returns the output held back, at the end.
    pub fn end(&self) -> Bytes {
        let held = std::mem::take(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner));
        self.mask.hide(&held, false).0.into()
    }
}

/// Returns a secret, or an error and a hint.
fn value(context: &ExecuteContext, source: &SecretSource) -> Result<SecretValue, (String, String)> {
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
    if bytes.len() > SecretValue::MAX_LENGTH {
        Err(too_long())
    } else {
        Ok(SecretValue::new(bytes))
    }
}

/// Returns the path of a secret's file.
pub fn path_of(context: &ExecuteContext, written: &str) -> PathBuf {
    match (written.strip_prefix("~/"), &context.caller.home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => context.folder.join(written),
    }
}

fn file(path: &Path) -> Result<Vec<u8>, (String, String)> {
    let shown = path.display();
    let cannot = |error: std::io::Error| {
        let help = "create the file, or correct `docker.secrets`".to_owned();
        (format!("cannot read {shown}: {error}"), help)
    };
    let metadata = std::fs::metadata(path).map_err(cannot)?;
    if !metadata.is_file() {
        let help = "set a regular file in `docker.secrets`".to_owned();
        return Err((format!("{shown} is not a regular file"), help));
    }
    if metadata.len() > SecretValue::MAX_LENGTH as u64 {
        return Err(too_long());
    }
    std::fs::read(path).map_err(cannot)
}

fn too_long() -> (String, String) {
    let why = format!(
        "it is larger than {} KiB, the limit of BuildKit",
        SecretValue::MAX_LENGTH / 1024
    );
    (why, "shorten it".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_hidden_across_pieces() {
        let mask = Mask {
            values: vec!["abcd".to_owned(), "abc".to_owned()],
        };
        assert_eq!(mask.text("x abcd"), "x ***");
        let printed = b"abcabcd \xff abc-ab abab";
        // Wherever it is split.
        for size in 1..=printed.len() {
            let stream = mask.stream();
            let mut shown = Vec::new();
            for piece in printed.chunks(size) {
                shown.extend_from_slice(&stream.push(Bytes::copy_from_slice(piece)));
            }
            shown.extend_from_slice(&stream.end());
            assert_eq!(shown, b"****** \xff ***-ab abab", "{size}");
        }
        let none = Mask { values: Vec::new() };
        assert_eq!(none.stream().push(Bytes::from_static(b"abc")), "abc");
        // Output that cannot be the start of a value is not held back.
        assert_eq!(mask.stream().push(Bytes::from_static(b"x ab ")), "x ab ");
    }
}
