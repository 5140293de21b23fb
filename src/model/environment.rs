//! The environment variables of xp. Settings are read by these constants; the manual pages and
//! `docs/environment.md` print the table.

/// An environment variable.
#[derive(Debug, Clone, Copy)]
pub struct EnvironmentVariable {
    /// The name. `N` at its end is a number.
    pub name: &'static str,
    /// A description, in full sentences.
    pub about: &'static str,
    /// The value that is used if it is not set; empty if there is none.
    pub default: &'static str,
    /// The group.
    pub group: VariableGroup,
}

impl EnvironmentVariable {
    /// Returns the description with the default.
    pub fn with_default(&self) -> String {
        match self.default {
            "" => self.about.to_owned(),
            default => format!("{} Default: {default}.", self.about),
        }
    }

    /// Returns the name of a variable of a numbered series.
    pub fn numbered(&self, number: usize) -> String {
        format!("{}{number}", self.name.trim_end_matches('N'))
    }
}

/// Groups of variables, by purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VariableGroup {
    /// Files and retries of xp.
    General,
    /// Terminal and CI.
    Output,
    /// The container engine.
    Engine,
    /// Git remotes.
    Git,
    /// Network connections.
    Network,
    /// Users, programs and folders.
    System,
    /// Variables that xp sets.
    Builder,
    /// Variables of the script that runs xp in a container.
    Wrapper,
}

impl VariableGroup {
    /// All groups, in the order of the documentation.
    pub const ALL: [Self; 8] = [
        Self::General,
        Self::Output,
        Self::Engine,
        Self::Git,
        Self::Network,
        Self::System,
        Self::Builder,
        Self::Wrapper,
    ];

    /// Returns the heading.
    pub const fn title(self) -> &'static str {
        match self {
            Self::General => "General",
            Self::Output => "Output",
            Self::Engine => "Container engine",
            Self::Git => "Git remotes",
            Self::Network => "Network",
            Self::System => "System",
            Self::Builder => "Set in builder containers",
            Self::Wrapper => "Read by bin/x-platform",
        }
    }

    /// Returns whether xp itself reads the variables.
    pub const fn is_read(self) -> bool {
        !matches!(self, Self::Builder | Self::Wrapper)
    }

    /// Returns the variables of the group.
    pub fn variables(self) -> impl Iterator<Item = &'static EnvironmentVariable> {
        let variables = VARIABLES.iter();
        variables.filter(move |variable| variable.group == self)
    }
}

macro_rules! variables {
    ($($group:ident { $($id:ident: $name:literal $(= $default:literal)?, $about:literal;)* })*) => {
        $($(
            #[doc = $about]
            pub const $id: EnvironmentVariable = EnvironmentVariable {
                name: $name,
                about: $about,
                default: concat!($($default)?),
                group: VariableGroup::$group,
            };
        )*)*

        const VARIABLES: &[EnvironmentVariable] = &[$($($id,)*)*];
    };
}

variables! {
    General {
        XP_CACHE_DIR: "XP_CACHE_DIR" = "`cacheDir` of the manifest, else `.xp` next to it",
            "The cache folder.";
        XP_RETRIES: "XP_RETRIES" = "4 for requests, 7 for pushes and pulls",
            "Maximum number of retries, from 0 to 20.";
        XP_CONNECT_TIMEOUT: "XP_CONNECT_TIMEOUT" = "10s",
            "Timeout for connecting, including TLS. ssh has its own timeout.";
        XP_STALL_TIMEOUT: "XP_STALL_TIMEOUT" = "60s",
            "Timeout for the first byte of a response, and between further bytes.";
        XP_TRANSFER_TIMEOUT: "XP_TRANSFER_TIMEOUT" = "10m",
            "Timeout for a push or pull without progress.";
        TRACEPARENT: "TRACEPARENT",
            "The W3C trace context of the caller. Passed on to scripts, and used by `xp report --format otlp`.";
        XP_CLIENT: "XP_CLIENT",
            "A named pipe. xp exits when its last writer closes it. Set by `bin/x-platform`.";
    }
    Output {
        NO_COLOR: "NO_COLOR",
            "If set, disables colors. `--color` takes precedence.";
        TERM: "TERM",
            "With `dumb`, prints lines instead of progress bars, without colors. Passed to `xp run` and `xp shell`.";
        COLORTERM: "COLORTERM", "Passed to `xp run` and `xp shell`.";
        LANG: "LANG", "Passed to `xp run` and `xp shell`.";
        CI: "CI", "If set, prints lines instead of progress bars, and never prompts.";
        GITHUB_ACTIONS: "GITHUB_ACTIONS", "With `true`, groups output for GitHub Actions.";
        GITHUB_WORKSPACE: "GITHUB_WORKSPACE",
            "The checkout of a GitHub Actions job, for annotations of its files.";
        GITHUB_SERVER_URL: "GITHUB_SERVER_URL", "The server of a GitHub Actions job, to recognize the repository below.";
        GITHUB_REPOSITORY: "GITHUB_REPOSITORY",
            "The repository of a GitHub Actions job, for annotations of Dockerfiles in it.";
        GITHUB_STEP_SUMMARY: "GITHUB_STEP_SUMMARY",
            "The file to which the report of the run is added, in a GitHub Actions job.";
        GITLAB_CI: "GITLAB_CI", "With `true`, groups output for GitLab CI.";
        TEAMCITY_VERSION: "TEAMCITY_VERSION", "If set, groups output for TeamCity.";
    }
    Engine {
        DOCKER_HOST: "DOCKER_HOST" = "`unix:///var/run/docker.sock`",
            "The engine's address: `unix://…`, `tcp://…` or `ssh://…`. Takes precedence over Docker contexts.";
        DOCKER_CONTEXT: "DOCKER_CONTEXT" = "the current one", "The Docker context to use.";
        XP_REMOTE_ENGINE: "XP_REMOTE_ENGINE" = "detected",
            "`1`: the engine cannot access this machine's files, so they are sent to it; `0`: it can.";
        DOCKER_TLS_VERIFY: "DOCKER_TLS_VERIFY", "If set, uses TLS to the engine and verifies its certificate.";
        DOCKER_TLS: "DOCKER_TLS", "If set, uses TLS to the engine.";
        DOCKER_CERT_PATH: "DOCKER_CERT_PATH" = "`DOCKER_CONFIG`",
            "The folder of the certificates for TLS to the engine.";
        DOCKER_CONFIG: "DOCKER_CONFIG" = "`~/.docker`",
            "The folder of Docker's `config.json`, which has the registry logins.";
        DOCKER_BUILDKIT: "DOCKER_BUILDKIT" = "`1`", "`0` selects the classic builder.";
    }
    Git {
        GIT_SSH_COMMAND: "GIT_SSH_COMMAND", "The ssh command for git remotes, as in git.";
        GIT_SSH: "GIT_SSH" = "`ssh`", "The ssh program for git remotes, as in git.";
        GIT_SSH_VARIANT: "GIT_SSH_VARIANT", "The kind of ssh program, as in git.";
        GIT_CONFIG_GLOBAL: "GIT_CONFIG_GLOBAL" = "`~/.gitconfig`", "The user's git configuration file.";
        GIT_CONFIG_COUNT: "GIT_CONFIG_COUNT" = "0", "The number of git settings in the two variables below.";
        GIT_CONFIG_KEY_N: "GIT_CONFIG_KEY_N", "The name of a git setting; N counts from 0.";
        GIT_CONFIG_VALUE_N: "GIT_CONFIG_VALUE_N", "The value of a git setting.";
        SSH_AUTH_SOCK: "SSH_AUTH_SOCK",
            "The socket of the ssh agent, which `dockerBuilder.ssh` and `docker.ssh` forward.";
    }
    Network {
        HTTPS_PROXY: "https_proxy", "Proxy for `https` URLs of registries and git remotes. The uppercase variable is also read.";
        HTTP_PROXY: "http_proxy", "Proxy for `http` URLs.";
        ALL_PROXY: "all_proxy", "Proxy for all other URLs. The uppercase variable is also read.";
        NO_PROXY: "no_proxy", "Comma-separated hosts that bypass the proxy. The uppercase variable is also read.";
        SSL_CERT_FILE: "SSL_CERT_FILE" = "the system's certificates",
            "A file of CA certificates that replaces the system's.";
        SSL_CERT_DIR: "SSL_CERT_DIR" = "the system's certificates",
            "Colon-separated folders of CA certificates that replace the system's.";
    }
    System {
        HOME: "HOME", "The home folder.";
        PATH: "PATH", "Where `kubectl`, `cosign`, `ssh`, `git-lfs` and credential helpers are found.";
        COSIGN_PASSWORD: "COSIGN_PASSWORD", "The password of the private key of `supply.sign`, which `cosign` reads.";
        KUBECONFIG: "KUBECONFIG" = "`~/.kube/config`", "The kubeconfig files for `xp deploy`, as in kubectl.";
        XDG_CONFIG_HOME: "XDG_CONFIG_HOME" = "`~/.config`", "The folder of `docker/certs.d`, with certificates of registries.";
        XDG_RUNTIME_DIR: "XDG_RUNTIME_DIR", "The folder of a rootless engine's socket.";
        USER: "USER", "The user name, for the checks of `xp doctor`.";
        LOGNAME: "LOGNAME", "The user name if `USER` is not set.";
        SUDO_UID: "SUDO_UID", "Under `sudo`, the invoking user; manifests of that user are trusted.";
    }
    Builder {
        XP_SERVICE: "XP_SERVICE", "The name of the service.";
        XP_COMMIT: "XP_COMMIT", "The commit being built.";
        XP_BRANCH: "XP_BRANCH", "The branch or tag that the commit was resolved from.";
        XP_IMAGE: "XP_IMAGE", "The image being built, with its tag.";
        XP_PLATFORM: "XP_PLATFORM",
            "The platform that the scripts run for, such as `linux/arm64`, if they run for each of `docker.platforms`.";
        BUILDER_CI: "CI", "`true`; in `xp run` and `xp shell`, the caller's value.";
        SOURCE_DATE_EPOCH: "SOURCE_DATE_EPOCH", "The time of the commit, in seconds since 1970.";
        BUILDER_TRACEPARENT: "TRACEPARENT", "The trace context of the script's step, if `TRACEPARENT` is set for xp.";
        BUILDER_SSH_AUTH_SOCK: "SSH_AUTH_SOCK", "The socket of your ssh agent, with `dockerBuilder.ssh`.";
    }
    Wrapper {
        XBUILDER_IMAGE: "XBUILDER_IMAGE" = "`x-platform:newest`", "The image of xp; a digest pins it.";
        XBUILDER_SOURCES: "XBUILDER_SOURCES",
            "The sources of xp, a folder or a git URL; the image is built from them if the engine does not have it.";
        XBUILDER_MOUNTS: "XBUILDER_MOUNTS", "Additional files and folders to mount, separated by colons.";
        XBUILDER_ENV: "XBUILDER_ENV", "Names of additional variables to pass, separated by commas.";
        XBUILDER_NETWORK: "XBUILDER_NETWORK" = "`host`", "The network of the container.";
        XBUILDER_ENGINE: "XBUILDER_ENGINE" = "`docker`, else `podman`", "The client program.";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_within_a_group() {
        for group in VariableGroup::ALL {
            let names: Vec<_> = group.variables().map(|variable| variable.name).collect();
            let mut unique = names.clone();
            unique.sort_unstable();
            unique.dedup();
            assert_eq!(unique.len(), names.len(), "{names:?}");
        }
    }

    #[test]
    fn the_wrapper_reads_its_variables() {
        let script = include_str!("../../bin/x-platform");
        for variable in VariableGroup::Wrapper.variables() {
            let read = format!("${{{}", variable.name);
            assert!(script.contains(&read), "{}", variable.name);
        }
    }
}
