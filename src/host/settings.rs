//! Settings from flags and the environment, read once.

pub mod timeouts;

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use crate::base::caller::Caller;
use crate::base::shell;
use crate::cli::{ColorChoice, Global, LogPrefixChoice};
use crate::client::engine::docker_context;
use crate::client::engine::{DockerContextError, EngineSettings, EngineTls, Sees};
use crate::client::git;
use crate::client::http::Proxies;
use crate::client::registry::RegistrySettings;
use crate::report;
use crate::report::{Ci, LogPrefix, Style};

pub use crate::host::settings::timeouts::Patience;
use crate::host::settings::timeouts::patience;

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
    /// Output settings.
    pub report: report::Settings,
    /// Whether xp may prompt.
    pub can_ask: bool,
    /// The engine's address.
    pub engine: EngineSettings,
    /// Locations of registry credentials and certificates.
    pub registry: RegistrySettings,
    /// Settings for reaching git remotes.
    pub git: git::Environment,
    /// HTTP proxies.
    pub proxies: Proxies,
    /// Timeouts and retries, or the error of an invalid variable, which only matters to commands
    /// that use them.
    pub patience: Result<Patience, String>,
    /// The user that runs xp, for builder containers.
    pub caller: Caller,
    /// The users whose files are trusted as the caller's own. Under `sudo` this includes the invoking user,
    /// as in git.
    pub owners: Vec<u32>,
    /// All variables, for `${{ env.NAME }}`.
    pub variables: BTreeMap<String, String>,
}

impl Settings {
    /// Returns whether to use colors if the command line cannot be parsed.
    pub fn automatic_color() -> bool {
        let variables = environment();
        let get = |name: &str| {
            let set = variables.get(name).filter(|value| !value.is_empty());
            set.cloned()
        };
        colors(is_terminal(&get), &get)
    }

    /// Reads the environment; called once per process.
    pub fn read(global: &Global) -> std::io::Result<Self> {
        let variables = environment();
        let get = |name: &str| {
            variables
                .get(name)
                .filter(|value| !value.is_empty())
                .cloned()
        };
        let either = |lower: &str, upper: &str| get(lower).or_else(|| get(upper));
        let current = std::env::current_dir()?;
        let directory = global
            .directory
            .as_ref()
            .map_or(current.clone(), |directory| current.join(directory));
        let home = get("HOME").map(PathBuf::from);
        let uid = rustix::process::getuid().as_raw();
        let docker_config = get("DOCKER_CONFIG")
            .map(PathBuf::from)
            .or_else(|| home.as_ref().map(|home| home.join(".docker")));
        let config_home = get("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .or_else(|| home.as_ref().map(|home| home.join(".config")));
        let terminal = is_terminal(&get);
        let color = match global.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => colors(terminal, &get),
        };
        let style = if terminal && get("CI").is_none() {
            Style::Bars
        } else {
            Style::Lines
        };
        let log_prefix = match global.log_prefix {
            Some(LogPrefixChoice::Service) => LogPrefix::Service,
            Some(LogPrefixChoice::Time) => LogPrefix::Time,
            Some(LogPrefixChoice::None) => LogPrefix::None,
            None if global.verbose && style == Style::Lines => LogPrefix::Time,
            None => LogPrefix::Service,
        };
        let is_true = |name: &str| get(name).as_deref() == Some("true");
        let ci = if style == Style::Bars {
            Ci::Plain
        } else if is_true("GITHUB_ACTIONS") {
            Ci::GitHub
        } else if is_true("GITLAB_CI") {
            Ci::GitLab
        } else if get("TEAMCITY_VERSION").is_some() {
            Ci::TeamCity
        } else {
            Ci::Plain
        };
        let workspace = match ci {
            Ci::GitHub => get("GITHUB_WORKSPACE").map(PathBuf::from),
            _ => None,
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
            cache_dir: get("XP_CACHE_DIR").map(|path| current.join(path)),
            client: get("XP_CLIENT").map(PathBuf::from),
            can_ask: terminal && std::io::stdin().is_terminal() && get("CI").is_none(),
            report: report::Settings {
                style,
                color,
                quiet: global.quiet,
                verbose: global.verbose,
                log_prefix,
                ci,
                workspace,
            },
            engine: engine(&get, docker_config.as_deref()),
            registry: RegistrySettings {
                docker_config,
                certificates,
            },
            git: git::Environment {
                home: home.clone(),
                ssh_command: get("GIT_SSH_COMMAND"),
                ssh_program: get("GIT_SSH"),
                ssh_variant: get("GIT_SSH_VARIANT"),
                global_configuration: get("GIT_CONFIG_GLOBAL").map(PathBuf::from),
                configuration: git_configuration(get),
            },
            proxies: Proxies {
                http: get("http_proxy"),
                https: either("https_proxy", "HTTPS_PROXY"),
                all: either("all_proxy", "ALL_PROXY"),
                none: either("no_proxy", "NO_PROXY"),
            },
            patience: patience(&get),
            caller: Caller {
                uid,
                gid: rustix::process::getgid().as_raw(),
                home,
                ssh_agent: get("SSH_AUTH_SOCK").map(PathBuf::from),
            },
            owners: owners(&get),
            variables,
        })
    }

    /// Returns `KUBECONFIG` with absolute paths, because kubectl runs in another folder.
    pub fn kubeconfig(&self) -> Option<String> {
        let list = self.variables.get("KUBECONFIG")?;
        let files = list.split(':').filter(|file| !file.is_empty());
        let files = files.map(|file| self.directory.join(file).display().to_string());
        let files: Vec<String> = files.collect();
        (!files.is_empty()).then(|| files.join(":"))
    }
}

fn owners(get: &impl Fn(&str) -> Option<String>) -> Vec<u32> {
    let user = rustix::process::geteuid();
    let caller = get("SUDO_UID").filter(|_| user.is_root());
    let caller = caller.and_then(|number| number.parse().ok());
    std::iter::once(user.as_raw()).chain(caller).collect()
}

fn is_terminal(get: &impl Fn(&str) -> Option<String>) -> bool {
    std::io::stderr().is_terminal() && get("TERM").is_none_or(|term| term != "dumb")
}

fn colors(terminal: bool, get: &impl Fn(&str) -> Option<String>) -> bool {
    terminal && get("NO_COLOR").is_none()
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

/// Returns git settings from the environment (`GIT_CONFIG_COUNT`), as set by CI systems.
fn git_configuration(get: impl Fn(&str) -> Option<String>) -> Vec<(String, String)> {
    let count: usize = get("GIT_CONFIG_COUNT")
        .and_then(|count| count.parse().ok())
        .unwrap_or(0);
    let settings = (0..count).map_while(|number| {
        let value = get(&format!("GIT_CONFIG_VALUE_{number}")).unwrap_or_default();
        Some((get(&format!("GIT_CONFIG_KEY_{number}"))?, value))
    });
    settings.collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the environment"
)]
fn environment() -> BTreeMap<String, String> {
    // A manifest cannot refer to variables that are not UTF-8.
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Returns the engine's address from `DOCKER_HOST`, else from a Docker context, else the default socket.
fn engine(get: &impl Fn(&str) -> Option<String>, docker_config: Option<&Path>) -> EngineSettings {
    let mut settings = EngineSettings {
        address: engine_address(get("XDG_RUNTIME_DIR").as_deref()),
        buildkit: get("DOCKER_BUILDKIT").is_none_or(|value| value != "0"),
        sees: match get("XP_REMOTE_ENGINE").as_deref() {
            None => Sees::Unknown,
            Some("0" | "false" | "no") => Sees::Everything,
            Some(_) => Sees::Nothing,
        },
        ..EngineSettings::default()
    };
    if let Some(address) = get("DOCKER_HOST") {
        settings.address = address;
        match tls_of_environment(get, docker_config) {
            Ok(tls) => settings.tls = tls,
            // Falling back to plain TCP would be unencrypted and unauthenticated.
            Err(error) if is_tcp(&settings.address) => settings.wrong = Some(error),
            Err(_) => {}
        }
        return settings;
    }
    match docker_context(docker_config, get("DOCKER_CONTEXT").as_deref()) {
        Ok(Some(context)) => {
            settings.address = context.address;
            settings.tls = context.tls;
            settings.context = Some(context.name);
        }
        Ok(None) => {}
        Err(error) => settings.wrong = Some(error),
    }
    settings
}

/// Returns the TLS settings of `DOCKER_TLS_VERIFY` and `DOCKER_TLS`, as Docker interprets them.
fn tls_of_environment(
    get: &impl Fn(&str) -> Option<String>,
    docker_config: Option<&Path>,
) -> Result<Option<EngineTls>, DockerContextError> {
    let verify = get("DOCKER_TLS_VERIFY").is_some();
    if !verify && get("DOCKER_TLS").is_none() {
        return Ok(None);
    }
    let cert_path = get("DOCKER_CERT_PATH").map(PathBuf::from);
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
fn engine_address(runtime_dir: Option<&str>) -> String {
    let system = Path::new("/var/run/docker.sock");
    let rootless = runtime_dir.map(|folder| Path::new(folder).join("docker.sock"));
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

    #[test]
    fn requested_tls_is_never_dropped() {
        let of = |host: &str, name: &'static str, config: Option<&Path>| {
            let host = host.to_owned();
            let get = move |variable: &str| match variable {
                "DOCKER_HOST" => Some(host.clone()),
                variable => (variable == name).then(|| "1".to_owned()),
            };
            engine(&get, config)
        };
        let settings = of("tcp://engine", "DOCKER_TLS_VERIFY", None);
        assert!(matches!(
            settings.wrong,
            Some(DockerContextError::NoCertificates)
        ));
        assert!(of("unix:///x", "DOCKER_TLS_VERIFY", None).wrong.is_none());
        let folder = Some(Path::new("/home/ann/.docker"));
        let settings = of("tcp://engine", "DOCKER_TLS_VERIFY", folder);
        assert!(settings.wrong.is_none() && settings.tls.is_some_and(|tls| tls.verify));
        let settings = of("tcp://engine", "DOCKER_TLS", None);
        assert!(settings.wrong.is_none() && settings.tls.is_some_and(|tls| !tls.verify));
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
