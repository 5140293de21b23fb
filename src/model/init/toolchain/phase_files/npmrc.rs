//! Settings in `.npmrc` that change neither what an installation reads nor where it writes.

/// The names of these settings.
const HARMLESS: &[&str] = &[
    "always-auth",
    "audit",
    "audit-level",
    "auto-install-peers",
    "engine-strict",
    "fetch-retries",
    "fetch-retry-factor",
    "fetch-retry-maxtimeout",
    "fetch-retry-mintimeout",
    "fetch-timeout",
    "fund",
    "hoist",
    "hoist-pattern[]",
    "ignore-scripts",
    "init-author-name",
    "legacy-peer-deps",
    "loglevel",
    "maxsockets",
    "network-concurrency",
    "prefer-frozen-lockfile",
    "prefer-offline",
    "progress",
    "public-hoist-pattern[]",
    "registry",
    "resolution-mode",
    "save-exact",
    "save-prefix",
    "shamefully-hoist",
    "strict-peer-dependencies",
    "strict-ssl",
    "tag-version-prefix",
    "update-notifier",
];

/// Returns whether all settings are known not to affect the inputs and outputs.
pub(super) fn is_harmless(text: &str) -> bool {
    let lines = text.lines().map(str::trim);
    let mut settings = lines.filter(|line| !line.is_empty() && !line.starts_with(['#', ';']));
    settings.all(|line| {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        let (name, value) = (name.trim(), value.trim());
        let is_path = |suffix: &&str| name.ends_with(suffix);
        if name.starts_with("//") {
            return ![":certfile", ":keyfile", ":tokenHelper"]
                .iter()
                .any(is_path);
        }
        HARMLESS.contains(&name)
            || (name.starts_with('@') && name.ends_with(":registry"))
            || (name == "node-linker" && value == "isolated")
    })
}
