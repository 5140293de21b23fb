//! What a Dockerfile may mount and no image keeps: secrets, and the ssh agent.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::Context;
use super::stop::StepError;
use crate::client::engine::SecretValue;
use crate::event::{Event, Unit};
use crate::manifest::{MissingInput, SecretSource, may_be_secret};
use crate::plan::{ImageStep, Plan, Step};

pub(super) const START_AN_AGENT: &str =
    "start one by `eval $(ssh-agent)`, and give it your key by `ssh-add`";

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
    let ssh_agent = match step.ssh {
        false => None,
        true => Some(agent(context, "docker.ssh").map_err(|why| {
            // Told here, as an instruction would only learn that its connection broke off.
            StepError::plain(why).hint(START_AN_AGENT)
        })?),
    };
    Ok(Mountable { secrets, ssh_agent })
}

/// Returns the socket of the ssh agent, or why there is none.
pub(super) fn agent(context: &Context, key: &str) -> Result<PathBuf, String> {
    let Some(socket) = &context.caller.ssh_agent else {
        return Err(format!(
            "`{key}` needs an ssh agent, and SSH_AUTH_SOCK is not set"
        ));
    };
    match UnixStream::connect(socket) {
        Ok(_) => Ok(socket.clone()),
        Err(error) => Err(format!(
            "`{key}` needs an ssh agent, and none answers at {}, which SSH_AUTH_SOCK names: {error}",
            socket.display()
        )),
    }
}

/// Returns what the services of a plan take of this machine and is not there, before anything is done.
pub fn missing(context: &Context, plan: &Plan) -> Vec<MissingInput> {
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

/// Hides the values of build arguments that may be secret: BuildKit writes an instruction with its arguments
/// replaced.
pub struct Mask {
    values: Vec<String>,
}

impl Mask {
    /// Returns the mask for what a build prints. Only values out of the environment count, and only those of
    /// arguments whose name, or whose variable's, is that of a secret: a version is worth to be seen.
    pub fn of(step: &ImageStep) -> Self {
        let is_secret =
            |(name, by_hand): &(&String, &String)| may_be_secret(name) || may_be_secret(by_hand);
        let names = step.args_by_hand.iter().filter(is_secret);
        let values = names.filter_map(|(name, _)| step.args.get(name).cloned());
        let mut values: Vec<String> = values.filter(|value| !value.is_empty()).collect();
        // One may be part of another.
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        Self { values }
    }

    /// Returns a text without the values.
    pub fn text(&self, text: &str) -> String {
        let (shown, _) = self.hide(text.as_bytes(), false);
        String::from_utf8_lossy(&shown).into_owned()
    }

    /// Returns bytes without the values, and where more may come, the end with which one may begin.
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

    /// Returns what hides the values in what is printed piece by piece.
    pub fn stream(&self) -> MaskedStream<'_> {
        MaskedStream {
            mask: self,
            held: Mutex::default(),
        }
    }
}

/// What stands in the place of a value.
const HIDDEN: &str = "***";

/// Hides values in an output of which each piece may end in the middle of one: so the end of a piece with which a
/// value may begin is held back until more is known.
pub struct MaskedStream<'m> {
    mask: &'m Mask,
    held: Mutex<Vec<u8>>,
}

impl MaskedStream<'_> {
    /// Takes the next piece, and returns what may be shown now.
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

    /// Returns what was held back when nothing more comes.
    pub fn end(&self) -> Bytes {
        let held = std::mem::take(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner));
        self.mask.hide(&held, false).0.into()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_hidden_wherever_they_stand() {
        let mask = Mask {
            values: vec!["abcd".to_owned(), "abc".to_owned()],
        };
        assert_eq!(mask.text("x abcd"), "x ***");
        let printed = b"abcabcd \xff abc-ab abab";
        // However it is cut.
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
        // What no value begins with is not held back.
        assert_eq!(mask.stream().push(Bytes::from_static(b"x ab ")), "x ab ");
    }
}
