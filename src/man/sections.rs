//! What the manual pages tell beside the commands: variables and files.

/// Names, and what each is.
type Items = &'static [(&'static str, &'static str)];

/// The variables that xp reads.
pub const ENVIRONMENT: Items = &[
    (
        "XP_CACHE_DIR",
        "The folder of xp's own files, instead of `.xp` beside the manifest.",
    ),
    (
        "XP_CLIENT",
        "A pipe: xp ends when no program holds it open any longer. `bin/x-platform` sets it.",
    ),
    (
        "NO_COLOR",
        "No colours, whatever its value. `--color` goes before it.",
    ),
    ("CI", "Lines instead of bars, as where no terminal is."),
    (
        "TERM",
        "`dumb` means lines instead of bars, and no colours.",
    ),
    (
        "DOCKER_HOST",
        "The engine's address: `unix://…`, `tcp://…` or `ssh://…`. It overrules Docker's contexts.",
    ),
    (
        "DOCKER_CONTEXT",
        "The context of Docker's that names the engine.",
    ),
    (
        "XP_REMOTE_ENGINE",
        "`1`: the engine does not see this machine's files, which are sent to it; `0`: it does. Otherwise it is found out.",
    ),
    (
        "DOCKER_TLS_VERIFY, DOCKER_TLS, DOCKER_CERT_PATH",
        "TLS to the engine, and the folder of its certificates.",
    ),
    (
        "DOCKER_CONFIG",
        "The folder of Docker's `config.json`, where logins to registries are.",
    ),
    ("DOCKER_BUILDKIT", "`0` asks for the classic builder."),
    (
        "GIT_SSH_COMMAND, GIT_SSH, GIT_SSH_VARIANT",
        "The ssh that reaches git remotes, as for git.",
    ),
    (
        "GIT_CONFIG_GLOBAL, GIT_CONFIG_COUNT",
        "Settings of git, as for git.",
    ),
    (
        "SSH_AUTH_SOCK",
        "The ssh agent, which `dockerBuilder.ssh` forwards.",
    ),
    (
        "https_proxy, http_proxy, all_proxy, no_proxy",
        "Proxies for registries and git remotes.",
    ),
    (
        "XP_RETRIES",
        "How often a request, a push or a pull that failed is tried again at most: 4, and 2, by default.",
    ),
    (
        "XP_CONNECT_TIMEOUT, XP_STALL_TIMEOUT",
        "How long to wait for a connection (`10s`), and for each byte of an answer (`60s`).",
    ),
    (
        "XP_TRANSFER_TIMEOUT",
        "How long a push or a pull of the engine may go without progress (`10m`).",
    ),
    (
        "SSL_CERT_FILE",
        "A file of certificate authorities, instead of the system's.",
    ),
];

/// The files that xp reads and writes.
pub const FILES: Items = &[
    ("x-platform.yml", "The manifest, here or in a folder above."),
    (
        "x-platform.lock",
        "The commits and images that belong together; written by `xp lock`.",
    ),
    (
        "builders/",
        "The builder images: a folder each, with a Dockerfile.",
    ),
    (
        ".xp/",
        "xp's own files: exports of commits, caches, logs. All of it can be deleted.",
    ),
    (
        ".xp/logs/",
        "The logs of the last runs: a folder each, and in it a file for each step.",
    ),
    (
        "~/.docker/config.json",
        "Logins to registries, and credential helpers.",
    ),
    (
        "~/.netrc, ~/.gitconfig, ~/.ssh/config",
        "Logins to git remotes, and how they are reached.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// No page tells of a variable that nothing reads.
    #[test]
    fn the_variables_are_those_that_are_read() {
        let settings = [
            include_str!("../settings.rs"),
            include_str!("../settings/patience.rs"),
        ]
        .concat();
        let names = ENVIRONMENT.iter().flat_map(|(names, _)| names.split(", "));
        // rustls reads that one by itself.
        for name in names.filter(|name| *name != "SSL_CERT_FILE") {
            assert!(settings.contains(&format!("\"{name}\"")), "{name}");
        }
    }
}
