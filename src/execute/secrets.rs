//! Secrets and the ssh agent, which a Dockerfile can mount without storing them in the image.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::ExecuteContext;
use super::step_error::StepError;
use crate::base::redact::Redactor;
use crate::client::engine::{HeldFile, SecretValue};
use crate::model::event::{Event, Unit};
use crate::model::manifest::{MissingInput, SecretSource, ServiceName, suggests_secret};
use crate::model::plan::{ContainerStep, ImageStep, Plan, PluginCall, Step};

/// The key of the secrets of image builds.
const DOCKER_SECRETS: &str = "docker.secrets";

/// The key of the secrets of a plugin that reads the source.
const SCM_SECRETS: &str = "scm.secrets";

/// The path of a plugin's settings.
pub(super) const CONFIG: &str = "/config/config.json";

/// The folder of a plugin's secrets.
pub(super) const SECRETS: &str = "/run/secrets";

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
        return Err(StepError::plain(format!("{wanted} requires BuildKit, but {why}")).hint(help));
    }
    let mut secrets = BTreeMap::new();
    for (id, source) in &step.secrets {
        let value = value(context, source, DOCKER_SECRETS).map_err(|(why, help)| {
            StepError::plain(format!("the secret `{id}` of `{DOCKER_SECRETS}`: {why}")).hint(help)
        })?;
        secrets.insert(id.clone(), value);
    }
    let ssh_agent = if step.ssh {
        Some(agent(context, "docker.ssh").map_err(|why| {
            // Checked here, because an instruction would only see a closed connection.
            StepError::plain(why).hint(START_AN_AGENT)
        })?)
    } else {
        None
    };
    Ok(BuildSecrets { secrets, ssh_agent })
}

/// The files that a plugin reads, and the redactor for its output.
#[derive(Default)]
pub struct PluginFiles {
    pub files: Vec<HeldFile>,
    pub redactor: Redactor,
}

/// Returns the settings and secrets of a plugin of a phase.
///
/// # Errors
///
/// If a secret is missing.
pub fn of_step_plugin(
    context: &ExecuteContext,
    step: &ContainerStep,
    user: (u32, u32),
) -> Result<PluginFiles, StepError> {
    let mut files = of_plugin(context, &step.secrets, "secrets", "the plugin", user)?;
    files
        .files
        .extend(step.config.iter().map(|config| HeldFile {
            path: PathBuf::from(CONFIG),
            bytes: config.clone().into_bytes(),
            mode: 0o644,
            owner: (0, 0),
        }));
    Ok(files)
}

/// Returns the secrets of a plugin that reads sources.
///
/// # Errors
///
/// If a secret is missing.
pub(super) fn of_scm_plugin(
    context: &ExecuteContext,
    call: &PluginCall,
) -> Result<PluginFiles, StepError> {
    let owner = format!("`{SCM_SECRETS}` ({})", call.location);
    of_plugin(context, &call.secrets, SCM_SECRETS, &owner, (0, 0))
}

/// Returns secrets; `key` is the manifest key with them, and errors name their `owner`.
fn of_plugin(
    context: &ExecuteContext,
    secrets: &BTreeMap<String, SecretSource>,
    key: &str,
    owner: &str,
    user: (u32, u32),
) -> Result<PluginFiles, StepError> {
    let mut files = PluginFiles::default();
    for (id, source) in secrets {
        let value = value(context, source, key).map_err(|(why, help)| {
            StepError::plain(format!("the secret `{id}` of {owner}: {why}")).hint(help)
        })?;
        let text = String::from_utf8_lossy(value.bytes());
        files.redactor.add_lines([text.as_ref()]);
        files.files.push(HeldFile {
            path: Path::new(SECRETS).join(id),
            bytes: value.bytes().to_vec(),
            mode: 0o400,
            owner: user,
        });
    }
    Ok(files)
}

/// Returns the socket of the ssh agent, or why there is none.
pub(super) fn agent(context: &ExecuteContext, key: &str) -> Result<PathBuf, String> {
    let Some(socket) = &context.caller.ssh_agent else {
        return Err(format!(
            "`{key}` requires an ssh agent, but SSH_AUTH_SOCK is not set"
        ));
    };
    match UnixStream::connect(socket) {
        Ok(_) => Ok(socket.clone()),
        Err(error) => Err(format!(
            "`{key}` requires an ssh agent, but none responds at {} (SSH_AUTH_SOCK): {error}",
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
        if let Some((why, help)) = context.engine.no_sidecars_reason()
            && unit.steps.iter().any(|it| matches!(it, Step::Sidecars(_)))
        {
            add("sidecars", why.to_owned(), help.to_owned());
        }
        for step in &unit.steps {
            let ssh_key = match (step, step.container()) {
                (_, Some(container)) if container.ssh => Some("dockerBuilder.ssh"),
                (Step::Image(image), _) if image.ssh => Some("docker.ssh"),
                _ => None,
            };
            if let Some(key) = ssh_key
                && let Err(why) = agent(context, key)
            {
                add(key, why, START_AN_AGENT.to_owned());
            }
            let (secrets, key) = match step {
                Step::Image(image) => (&image.secrets, DOCKER_SECRETS.to_owned()),
                Step::Plugin(plugin) => {
                    (&plugin.container.secrets, format!("{}.secrets", plugin.key))
                }
                Step::Fetch(fetch) => (&fetch.call.secrets, SCM_SECRETS.to_owned()),
                _ => continue,
            };
            for (id, why, help) in missing_of(context, secrets, &key) {
                let message = format!("the secret `{id}` of `{key}`: {why}");
                add(&format!("{key}.{id}"), message, help);
            }
        }
    }
    missing
}

/// Returns the missing secrets of a plugin that reads a service's source.
pub fn missing_for_plugin(
    context: &ExecuteContext,
    service: &ServiceName,
    secrets: &BTreeMap<String, SecretSource>,
) -> Vec<MissingInput> {
    let missing = missing_of(context, secrets, SCM_SECRETS).into_iter();
    let missing = missing.map(|(id, why, help)| MissingInput {
        service: service.clone(),
        key: format!("scm.secrets.{id}"),
        message: format!("the secret `{id}` of `scm.secrets`: {why}"),
        help,
    });
    missing.collect()
}

/// Returns the name of each missing secret, an error and a hint.
fn missing_of<'s>(
    context: &ExecuteContext,
    secrets: &'s BTreeMap<String, SecretSource>,
    key: &str,
) -> Vec<(&'s String, String, String)> {
    let missing = secrets.iter().filter_map(|(id, source)| {
        let (why, help) = value(context, source, key).err()?;
        Some((id, why, help))
    });
    missing.collect()
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
        match step {
            Step::Image(image) => _ = read(context, image)?,
            Step::Plugin(plugin) => _ = of_step_plugin(context, &plugin.container, (0, 0))?,
            _ => {}
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

/// Returns the redactor for the output of a build, because BuildKit prints instructions with expanded arguments: values
/// from the environment if the argument or variable is named like a secret. Others, such as versions, stay visible.
/// Instructions may also print secrets.
pub fn redactor(step: &ImageStep, mountable: &BuildSecrets) -> Redactor {
    let is_secret = |(name, shell_value): &(&String, &String)| {
        suggests_secret(name) || suggests_secret(shell_value)
    };
    let names = step.args_for_shell.iter().filter(is_secret);
    let mut redactor = Redactor::of(names.filter_map(|(name, _)| step.args.get(name).cloned()));
    for value in mountable.secrets.values() {
        redactor.add_lines([String::from_utf8_lossy(value.bytes()).as_ref()]);
    }
    redactor
}

/// Returns a secret, or an error and a hint. `key` is the manifest key with the secrets.
pub(super) fn value(
    context: &ExecuteContext,
    source: &SecretSource,
    key: &str,
) -> Result<SecretValue, (String, String)> {
    let bytes = match source {
        SecretSource::Environment { name, .. } => match context.variables.get(name) {
            Some(value) => value.clone().into_bytes(),
            None => {
                let why = format!("the environment variable `{name}` is not set");
                return Err((
                    why,
                    format!("set it: `{name}=… xp …`, or to an empty value"),
                ));
            }
        },
        SecretSource::File(path) => file(&path_of(context, path), key)?,
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

fn file(path: &Path, key: &str) -> Result<Vec<u8>, (String, String)> {
    let shown = path.display();
    let cannot = |error: std::io::Error| {
        let help = format!("create the file, or correct `{key}`");
        (format!("cannot read {shown}: {error}"), help)
    };
    let metadata = std::fs::metadata(path).map_err(cannot)?;
    if !metadata.is_file() {
        let help = format!("set a regular file in `{key}`");
        return Err((format!("{shown} is not a regular file"), help));
    }
    if metadata.len() > SecretValue::MAX_LENGTH as u64 {
        return Err(too_long());
    }
    std::fs::read(path).map_err(cannot)
}

fn too_long() -> (String, String) {
    let why = format!(
        "it is larger than {} KiB, the limit for secrets",
        SecretValue::MAX_LENGTH / 1024
    );
    (why, "shorten it".to_owned())
}
