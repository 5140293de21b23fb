//! Hints for users of other tools who type a command or option that xp does not have.

/// Returns a hint naming xp's equivalent of another tool's command.
pub fn equivalent_command(word: &str) -> Option<&'static str> {
    let (_, instead) = COMMANDS.iter().find(|(words, _)| words.contains(&word))?;
    Some(instead)
}

const COMMANDS: &[(&[&str], &str)] = &[
    (
        &["pull"],
        "`xp build` pulls images that exist only in the registry; `xp sync` fetches working copies",
    ),
    (
        &["push", "publish"],
        "`xp build` pushes the images it builds, and those that exist only in the engine",
    ),
    (
        &["up", "down", "start", "stop", "restart"],
        "xp builds images but does not start services; `xp run SERVICE -- COMMAND` runs a command in a service's builder",
    ),
    (
        &["exec"],
        "`xp run SERVICE -- COMMAND` runs a command, `xp shell SERVICE` opens a shell",
    ),
    (
        &["bash", "sh", "enter", "ssh"],
        "`xp shell SERVICE` opens a shell",
    ),
    (
        &["ps", "ls", "list", "images", "info"],
        "`xp status` shows the working copy, commit and image of each service",
    ),
    (
        &["apply", "release", "rollout", "helm"],
        "`xp deploy ENV` deploys a set of images to a cluster",
    ),
    (
        &["rollback", "undo"],
        "`xp deploy ENV --rollback` rolls back to the previous deployment",
    ),
    (
        &["render", "kustomize", "template"],
        "`xp deploy ENV --render` prints the YAML to be applied",
    ),
    (
        &["clean", "prune"],
        "nothing to clean: every build starts from a clean checkout of the commit",
    ),
    (
        &["clone", "fetch", "checkout", "update", "co"],
        "`xp sync` clones, fetches and fast-forwards working copies",
    ),
    (
        &["validate", "lint", "verify"],
        "`xp check` validates the manifest, `xp doctor` checks the environment",
    ),
    (
        &["test"],
        "`xp build` also runs `scripts.test`, unless `--no-test` is given",
    ),
    (
        &["rebuild"],
        "`xp build --force` rebuilds images that already exist",
    ),
    (
        &["make", "compile", "bake", "image"],
        "`xp build` builds images",
    ),
    (
        &["watch", "dev"],
        "`xp build --local` builds working copies with all local changes",
    ),
    (
        &["freeze", "pin", "snapshot"],
        "`xp lock` records commits and images in a lock file",
    ),
    (
        &["new", "create", "setup"],
        "`xp init` generates a manifest",
    ),
    (
        &["explain"],
        "`xp why SERVICE` explains why a service is built",
    ),
    (&["tree"], "`xp graph` shows the dependency graph"),
];

/// Returns a hint naming xp's equivalent of another tool's option.
pub fn equivalent_option(command: &str, option: &str) -> Option<&'static str> {
    let is_it = |known: &&ForeignOption| known.0.contains(&command) && known.1.contains(&option);
    let (_, _, instead) = OPTIONS.iter().find(is_it)?;
    Some(instead)
}

/// Commands, options that they do not have, and the hint.
type ForeignOption = (
    &'static [&'static str],
    &'static [&'static str],
    &'static str,
);

const OPTIONS: &[ForeignOption] = &[
    (
        &["xp build"],
        &["--dry-run", "-n", "--check"],
        "`xp plan` shows what would be done without doing it",
    ),
    (
        &["xp build"],
        &["--push", "--pull"],
        "`xp build` pushes and pulls by default; `--no-push` and `--no-pull` turn that off",
    ),
    (
        &["xp build"],
        &["--no-cache", "--rebuild"],
        "`xp build --force` rebuilds existing images; `xp builder update` rebuilds builder images without the engine's cache",
    ),
    (
        &["xp build", "xp sync", "xp builder update"],
        &["--parallel", "--workers", "--concurrency"],
        "`--jobs N` sets the number of services processed concurrently",
    ),
    (
        &[
            "xp build",
            "xp plan",
            "xp sync",
            "xp status",
            "xp lock",
            "xp graph",
            "xp doctor",
        ],
        &["--all", "-a"],
        "all services are selected by default",
    ),
    (
        &[
            "xp build",
            "xp plan",
            "xp sync",
            "xp status",
            "xp graph",
            "xp doctor",
            "xp diff",
        ],
        &["--json"],
        "use `--format json`",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Hints name only commands and options that exist, and never shadow a command of xp.
    #[test]
    fn hints_name_only_existing_commands() {
        let mut definition = crate::cli::command();
        definition.build();
        for (words, hint) in COMMANDS {
            for word in *words {
                assert!(definition.find_subcommand(word).is_none(), "{word}");
            }
            let quoted = hint.split('`').skip(1).step_by(2);
            for line in quoted.filter(|part| part.starts_with("xp ")) {
                let mut parts = line.split(' ').skip(1);
                let name = parts.next().unwrap();
                let command = definition.find_subcommand(name);
                let command = command.unwrap_or_else(|| panic!("there is no `{line}`"));
                for option in parts.filter_map(|part| part.strip_prefix("--")) {
                    let mut known = command.get_arguments();
                    assert!(
                        option.is_empty() || known.any(|arg| arg.get_long() == Some(option)),
                        "{line}"
                    );
                }
            }
        }
    }
}
