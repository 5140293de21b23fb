//! The sections that all manual pages share: environment variables and files.

/// Names and descriptions.
type Items = &'static [(&'static str, &'static str)];

/// The variables that xp reads.
pub const ENVIRONMENT: Items = &[
    (
        "XP_CACHE_DIR",
        "The cache folder, instead of `.xp` next to the manifest.",
    ),
    (
        "XP_CLIENT",
        "A named pipe; xp exits when its last writer closes it. Set by `bin/x-platform`.",
    ),
    (
        "NO_COLOR",
        "Disables colors if set to any value. `--color` takes precedence.",
    ),
    ("CI", "If set, prints lines instead of progress bars."),
    (
        "TERM",
        "With `dumb`, prints lines instead of progress bars, without colors.",
    ),
    (
        "DOCKER_HOST",
        "The engine's address: `unix://…`, `tcp://…` or `ssh://…`. Takes precedence over Docker contexts.",
    ),
    ("DOCKER_CONTEXT", "The Docker context to use."),
    (
        "XP_REMOTE_ENGINE",
        "`1`: the engine cannot access this machine's files, so they are sent to it; `0`: it can. Detected if not set.",
    ),
    (
        "DOCKER_TLS_VERIFY, DOCKER_TLS, DOCKER_CERT_PATH",
        "TLS to the engine, and the folder of the certificates.",
    ),
    (
        "DOCKER_CONFIG",
        "The folder of Docker's `config.json`, which has the registry logins.",
    ),
    ("DOCKER_BUILDKIT", "`0` selects the classic builder."),
    (
        "GIT_SSH_COMMAND, GIT_SSH, GIT_SSH_VARIANT",
        "The ssh program for git remotes, as in git.",
    ),
    (
        "GIT_CONFIG_GLOBAL, GIT_CONFIG_COUNT",
        "Git configuration, as in git.",
    ),
    (
        "SSH_AUTH_SOCK",
        "The socket of the ssh agent, which `dockerBuilder.ssh` forwards.",
    ),
    (
        "https_proxy, http_proxy, all_proxy, no_proxy",
        "Proxies for registries and git remotes.",
    ),
    (
        "XP_RETRIES",
        "Maximum number of retries. Default: 4 for requests, 7 for pushes and pulls.",
    ),
    (
        "XP_CONNECT_TIMEOUT, XP_STALL_TIMEOUT",
        "Timeouts for connecting (default `10s`) and for each byte of a response (default `60s`).",
    ),
    (
        "XP_TRANSFER_TIMEOUT",
        "Timeout for a push or pull without progress (default `10m`).",
    ),
    (
        "SSL_CERT_FILE",
        "A file with CA certificates to use instead of the system's.",
    ),
];

/// The files that xp reads and writes.
pub const FILES: Items = &[
    (
        "x-platform.yml",
        "The manifest, in the current folder or a parent.",
    ),
    (
        "x-platform.lock",
        "The lock file, a fixed set of commits and images; written by `xp lock`.",
    ),
    (
        "builders/",
        "Builder images, one folder with a Dockerfile each.",
    ),
    (
        ".xp/",
        "The cache folder: exported commits, caches and logs. Safe to delete.",
    ),
    (".xp/logs/", "Logs of recent runs, one folder per run."),
    (
        "~/.docker/config.json",
        "Registry logins and credential helpers.",
    ),
    (
        "~/.netrc, ~/.gitconfig, ~/.ssh/config",
        "Logins and connection settings of git remotes.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Every documented variable is read by the settings.
    #[test]
    fn documented_variables_are_read() {
        let settings = [
            include_str!("../../host/settings.rs"),
            include_str!("../../host/settings/timeouts.rs"),
        ]
        .concat();
        let names = ENVIRONMENT.iter().flat_map(|(names, _)| names.split(", "));
        // Read by rustls.
        for name in names.filter(|name| *name != "SSL_CERT_FILE") {
            assert!(settings.contains(&format!("\"{name}\"")), "{name}");
        }
    }
}
