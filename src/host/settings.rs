//! Settings from flags and the environment, read once.

pub mod timeouts;
mod variables;

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use crate::base::caller::Caller;
use crate::base::shell;
use crate::cli::{ColorChoice, Global, LogPrefixChoice};
use crate::client::engine::docker_context;
use crate::client::engine::{DockerContextError, EngineSettings, EngineTls, FileAccess};
use crate::client::git;
use crate::client::http::Proxies;
use crate::client::registry::RegistrySettings;
use crate::model::environment;
use crate::model::trace::TraceParent;
use crate::report;
use crate::report::{CheckedOutRepository, Ci, LogPrefix, OutputStyle, ResultDisplay};

pub use crate::host::settings::timeouts::TimeoutSettings;
use crate::host::settings::timeouts::timeout_settings;
use crate::host::settings::variables::ProcessVariables;

/// Everything that xp reads from flags, environment and process.
#[derive(Clone)]
pub struct Settings {
    /// The command line, quoted for a shell.
    pub command_line: String,
    /// The working directory, with `-C` applied.
    pub directory: PathBuf,
    /// The manifest given by `-f`.
    pub file: Option<PathBuf>,
    /// `XP_CACHE_DIR`
    pub cache_dir: Option<PathBuf>,
    /// `XP_CLIENT`: if xp runs in a container, a pipe that its caller on the host holds open.
    pub client: Option<PathBuf>,
    /// `TRACEPARENT`. An invalid one is ignored, as the specification requires.
    pub traceparent: Option<TraceParent>,
    /// Output settings.
    pub report: report::OutputSettings,
    /// Whether xp may prompt.
    pub can_ask: bool,
    /// The engine's address.
    pub engine: EngineSettings,
    /// Locations of registry credentials and certificates.
    pub registry: RegistrySettings,
    /// Settings for reaching git remotes.
    pub git: git::GitEnvironment,
    /// HTTP proxies.
    pub proxies: Proxies,
    /// Timeouts and retries, or the error of an invalid variable, which only matters to commands
    /// that use them.
    pub timeout_settings: Result<TimeoutSettings, String>,
    /// The user that runs xp, for builder containers.
    pub caller: Caller,
    /// The users that are trusted like the caller. Under `sudo` this includes the invoking user, as in git.
    pub owners: Vec<u32>,
    /// All variables, for `${{ env.NAME }}`.
    pub variables: BTreeMap<String, String>,
}

impl Settings {
    /// Returns whether to use colors if the command line cannot be parsed.
    pub fn automatic_color() -> bool {
        let variables = ProcessVariables::read();
        colors(is_terminal(&variables), &variables)
    }

    /// Reads the environment; called once per process.
    pub fn read(global: &Global) -> std::io::Result<Self> {
        let variables = ProcessVariables::read();
        let current = std::env::current_dir()?;
        let directory = global
            .directory
            .as_ref()
            .map_or(current.clone(), |directory| current.join(directory));
        let home = variables.path(environment::HOME);
        let uid = rustix::process::getuid().as_raw();
        let docker_config = variables
            .path(environment::DOCKER_CONFIG)
            .or_else(|| home.as_ref().map(|home| home.join(".docker")));
        let config_home = variables
            .path(environment::XDG_CONFIG_HOME)
            .or_else(|| home.as_ref().map(|home| home.join(".config")));
        let terminal = is_terminal(&variables);
        let color = match global.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => colors(terminal, &variables),
        };
        let style = if terminal && !variables.is_set(environment::CI) {
            OutputStyle::Bars
        } else {
            OutputStyle::Lines
        };
        let log_prefix = match global.log_prefix {
            Some(LogPrefixChoice::Service) => LogPrefix::Service,
            Some(LogPrefixChoice::Time) => LogPrefix::Time,
            Some(LogPrefixChoice::None) => LogPrefix::None,
            None if global.verbose && style == OutputStyle::Lines => LogPrefix::Time,
            None => LogPrefix::Service,
        };
        let ci = if style == OutputStyle::Bars {
            Ci::Plain
        } else if variables.is_true(environment::GITHUB_ACTIONS) {
            Ci::GitHub
        } else if variables.is_true(environment::GITLAB_CI) {
            Ci::GitLab
        } else if variables.is_set(environment::TEAMCITY_VERSION) {
            Ci::TeamCity
        } else {
            Ci::Plain
        };
        let of_github = |variable| variables.get(variable).filter(|_| ci == Ci::GitHub);
        let repository = of_github(environment::GITHUB_SERVER_URL)
            .zip(of_github(environment::GITHUB_REPOSITORY))
            .and_then(|(server, name)| CheckedOutRepository::of_github(&server, &name));
        let summary = of_github(environment::GITHUB_STEP_SUMMARY);
        let result_display = match summary {
            Some(path) => Some(ResultDisplay::StepSummary(path.into())),
            None => (ci == Ci::TeamCity).then_some(ResultDisplay::StatusText),
        };
        let mut certificates: Vec<PathBuf> = config_home
            .iter()
            .map(|config| config.join("docker/certs.d"))
            .collect();
        certificates.push(PathBuf::from("/etc/docker/certs.d"));
        Ok(Self {
            command_line: command_line(),
            directory,
            file: global.file.clone(),
            cache_dir: variables
                .path(environment::XP_CACHE_DIR)
                .map(|path| current.join(path)),
            client: variables.path(environment::XP_CLIENT),
            traceparent: variables
                .get(environment::TRACEPARENT)
                .and_then(|text| text.parse().ok()),
            can_ask: terminal
                && std::io::stdin().is_terminal()
                && !variables.is_set(environment::CI),
            report: report::OutputSettings {
                style,
                color,
                quiet: global.quiet,
                verbose: global.verbose,
                log_prefix,
                ci,
                workspace: of_github(environment::GITHUB_WORKSPACE)
                    .map_or_else(|| current.clone(), PathBuf::from),
                repository,
                is_ci: ci != Ci::Plain || variables.is_set(environment::CI),
                result_display,
                is_held: false,
                is_run: false,
            },
            engine: engine(&variables, docker_config.as_deref()),
            registry: RegistrySettings {
                docker_config,
                certificates,
            },
            git: git::GitEnvironment {
                home: home.clone(),
                ssh_command: variables.get(environment::GIT_SSH_COMMAND),
                ssh_program: variables.get(environment::GIT_SSH),
                ssh_variant: variables.get(environment::GIT_SSH_VARIANT),
                global_configuration: variables.path(environment::GIT_CONFIG_GLOBAL),
                configuration: variables.git_configuration(),
                stored_logins: None,
            },
            proxies: Proxies {
                http: variables.get(environment::HTTP_PROXY),
                https: variables.in_any_case(environment::HTTPS_PROXY),
                all: variables.in_any_case(environment::ALL_PROXY),
                none: variables.in_any_case(environment::NO_PROXY),
            },
            timeout_settings: timeout_settings(&variables),
            caller: Caller {
                uid,
                gid: rustix::process::getgid().as_raw(),
                home,
                ssh_agent: variables.path(environment::SSH_AUTH_SOCK),
            },
            owners: owners(&variables),
            variables: variables.all,
        })
    }

    /// Returns `KUBECONFIG` with absolute paths, because kubectl runs in another folder.
    pub fn kubeconfig(&self) -> Option<String> {
        let list = self.variables.get(environment::KUBECONFIG.name)?;
        let files = list.split(':').filter(|file| !file.is_empty());
        let files = files.map(|file| self.directory.join(file).display().to_string());
        let files: Vec<String> = files.collect();
        (!files.is_empty()).then(|| files.join(":"))
    }
}

fn owners(variables: &ProcessVariables) -> Vec<u32> {
    let user = rustix::process::geteuid();
    let caller = variables
        .get(environment::SUDO_UID)
        .filter(|_| user.is_root());
    let caller = caller.and_then(|number| number.parse().ok());
    std::iter::once(user.as_raw()).chain(caller).collect()
}

fn is_terminal(variables: &ProcessVariables) -> bool {
    let term = variables.get(environment::TERM);
    std::io::stderr().is_terminal() && term.is_none_or(|term| term != "dumb")
}

fn colors(terminal: bool, variables: &ProcessVariables) -> bool {
    terminal && !variables.is_set(environment::NO_COLOR)
}

fn command_line() -> String {
    let arguments = std::env::args_os().skip(1);
    let arguments = without_values(arguments.map(|word| word.to_string_lossy().into_owned()));
    let words = arguments.map(|word| shell::quoted(&word).into_owned());
    std::iter::once("xp".to_owned())
        .chain(words)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Removes the values of `--env NAME=VALUE`: the command line is recorded, and they may be secret.
fn without_values(arguments: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    let mut is_value = false;
    arguments.map(move |argument| {
        let start = if std::mem::take(&mut is_value) {
            Some(0)
        } else {
            start_of_value(&argument)
        };
        let Some(start) = start else {
            return argument;
        };
        is_value = start > 0 && start == argument.len();
        match argument[start..].split_once('=') {
            Some((name, _)) => format!("{}{name}=…", &argument[..start]),
            None => argument,
        }
    })
}

/// Returns where the value of `--env` starts in an argument; its end if the value is the next argument.
fn start_of_value(argument: &str) -> Option<usize> {
    let long = ["--env=", "--env"];
    if let Some(start) = long.iter().find(|start| argument.starts_with(**start)) {
        let is_env = start.ends_with('=') || argument == *start;
        return is_env.then_some(start.len());
    }
    let letters = argument.strip_prefix('-')?;
    // It may follow flags without a value, as in `-Te`.
    let flags = letters.find(|letter| !"tTqv".contains(letter))?;
    letters[flags..].starts_with('e').then_some(flags + 2)
}

/// Returns the engine's address from `DOCKER_HOST`, else from a Docker context, else the default socket.
fn engine(variables: &ProcessVariables, docker_config: Option<&Path>) -> EngineSettings {
    let mut settings = EngineSettings {
        address: engine_address(variables.path(environment::XDG_RUNTIME_DIR)),
        buildkit: variables.get(environment::DOCKER_BUILDKIT).as_deref() != Some("0"),
        file_access: match variables.get(environment::XP_REMOTE_ENGINE).as_deref() {
            None => FileAccess::Unknown,
            Some("0" | "false" | "no") => FileAccess::Shared,
            Some(_) => FileAccess::Remote,
        },
        ..EngineSettings::default()
    };
    if let Some(address) = variables.get(environment::DOCKER_HOST) {
        settings.address = address;
        match tls_of_environment(variables, docker_config) {
            Ok(tls) => settings.tls = tls,
            // Falling back to plain TCP would be unencrypted and unauthenticated.
            Err(error) if is_tcp(&settings.address) => settings.context_error = Some(error),
            Err(_) => {}
        }
        return settings;
    }
    let context = variables.get(environment::DOCKER_CONTEXT);
    match docker_context(docker_config, context.as_deref()) {
        Ok(Some(context)) => {
            settings.address = context.address;
            settings.tls = context.tls;
            settings.context = Some(context.name);
        }
        Ok(None) => {}
        Err(error) => settings.context_error = Some(error),
    }
    settings
}

/// Returns the TLS settings of `DOCKER_TLS_VERIFY` and `DOCKER_TLS`, as Docker interprets them.
fn tls_of_environment(
    variables: &ProcessVariables,
    docker_config: Option<&Path>,
) -> Result<Option<EngineTls>, DockerContextError> {
    let verify = variables.is_set(environment::DOCKER_TLS_VERIFY);
    if !verify && !variables.is_set(environment::DOCKER_TLS) {
        return Ok(None);
    }
    let cert_path = variables.path(environment::DOCKER_CERT_PATH);
    let Some(folder) = cert_path.or_else(|| docker_config.map(Path::to_owned)) else {
        return if verify {
            Err(DockerContextError::NoCertificates)
        } else {
            Ok(Some(EngineTls {
                authority: None,
                identity: None,
                verify: false,
            }))
        };
    };
    let file = |name: &str| folder.join(name);
    let exists = |name: &str| file(name).exists();
    Ok(Some(EngineTls {
        // With verification, a missing file is an error.
        authority: (verify || exists("ca.pem")).then(|| file("ca.pem")),
        identity: (verify || exists("cert.pem")).then(|| (file("cert.pem"), file("key.pem"))),
        verify,
    }))
}

/// Returns whether TLS applies to an address.
fn is_tcp(address: &str) -> bool {
    !address.starts_with("unix://") && !address.starts_with("ssh://")
}

/// Returns the system's socket, or that of a rootless engine if only that exists.
fn engine_address(runtime_dir: Option<PathBuf>) -> String {
    let system = Path::new("/var/run/docker.sock");
    let rootless = runtime_dir.map(|folder| folder.join("docker.sock"));
    match rootless {
        Some(rootless) if !system.exists() && rootless.exists() => {
            format!("unix://{}", rootless.display())
        }
        _ => format!("unix://{}", system.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::environment::*;

    #[test]
    fn requested_tls_is_never_dropped() {
        let of = |host: &str, variable: EnvironmentVariable, config: Option<&Path>| {
            engine(&[(DOCKER_HOST, host), (variable, "1")].into(), config)
        };
        let settings = of("tcp://engine", DOCKER_TLS_VERIFY, None);
        assert!(matches!(
            settings.context_error,
            Some(DockerContextError::NoCertificates)
        ));
        assert!(
            of("unix:///x", DOCKER_TLS_VERIFY, None)
                .context_error
                .is_none()
        );
        let folder = Some(Path::new("/home/ann/.docker"));
        let settings = of("tcp://engine", DOCKER_TLS_VERIFY, folder);
        assert!(settings.context_error.is_none() && settings.tls.is_some_and(|tls| tls.verify));
        let settings = of("tcp://engine", DOCKER_TLS, None);
        assert!(settings.context_error.is_none() && settings.tls.is_some_and(|tls| !tls.verify));
    }

    #[test]
    fn values_of_variables_are_not_recorded() {
        let shown = |line: &str| {
            let words = line.split(' ').map(str::to_owned);
            without_values(words).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            shown("run -e A=x --env B=y=z --env=C=x -eD=x -e E a -- env --env"),
            "run -e A=… --env B=… --env=C=… -eD=… -e E a -- env --env"
        );
        assert_eq!(
            shown("run -Te A=x -qTeB=x -e=C=x -Tw /x=y -C e=x -e  --environment A=x"),
            "run -Te A=… -qTeB=… -e=… -Tw /x=y -C e=x -e  --environment A=x"
        );
        assert_eq!(
            shown("build --reference a=b --exit-code"),
            "build --reference a=b --exit-code"
        );
    }
}
