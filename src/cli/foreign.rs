//! Commands of other tools, for those who come from them.

/// Returns what xp has instead of a command that other tools have.
pub fn instead(word: &str) -> Option<&'static str> {
    let (_, instead) = COMMANDS.iter().find(|(words, _)| words.contains(&word))?;
    Some(instead)
}

const COMMANDS: &[(&[&str], &str)] = &[
    (
        &["pull"],
        "`xp build` pulls the images that the registry alone has; `xp sync` fetches working copies",
    ),
    (
        &["push", "publish"],
        "`xp build` pushes what it builds, and what the engine alone has",
    ),
    (
        &["up", "down", "start", "stop", "restart"],
        "xp builds images and starts no service; `xp run SERVICE -- COMMAND` runs a command with its tools",
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
        "`xp status` shows working copy, commit and image of each service",
    ),
    (
        &["apply", "release", "rollout", "helm"],
        "`xp deploy ENV` deploys a set of images to a cluster",
    ),
    (
        &["rollback", "undo"],
        "`xp deploy ENV --rollback` goes back to what was deployed before",
    ),
    (
        &["render", "kustomize", "template"],
        "`xp deploy ENV --render` prints what would be applied",
    ),
    (
        &["clean", "prune"],
        "nothing is to be cleaned before a build: each one starts from the commit's own files",
    ),
    (
        &["clone", "fetch", "checkout", "update", "co"],
        "`xp sync` clones, fetches and fast-forwards working copies",
    ),
    (
        &["check", "validate", "lint", "verify"],
        "`xp plan` checks the manifest, `xp doctor` what is around it",
    ),
    (
        &["test"],
        "`xp build` runs `scripts.test` as well, unless there is `--no-test`",
    ),
    (
        &["rebuild"],
        "`xp build --force` builds what exists already",
    ),
    (
        &["make", "compile", "bake", "image"],
        "`xp build` builds images",
    ),
    (
        &["watch", "dev"],
        "`xp build --local` builds working copies as they stand",
    ),
    (
        &["freeze", "pin", "snapshot"],
        "`xp lock` writes down what belongs together",
    ),
    (
        &["new", "create", "setup"],
        "`xp init` writes a manifest from what is here",
    ),
    (
        &["explain"],
        "`xp why SERVICE` tells why a service is built",
    ),
    (&["tree"], "`xp graph` shows which service needs which"),
];

/// Returns what xp has instead of an option that other tools have.
pub fn option_instead(command: &str, option: &str) -> Option<&'static str> {
    let is_it = |known: &&ForeignOption| known.0.contains(&command) && known.1.contains(&option);
    let (_, _, instead) = OPTIONS.iter().find(is_it)?;
    Some(instead)
}

/// Commands, options that they do not have, and what is there instead.
type ForeignOption = (
    &'static [&'static str],
    &'static [&'static str],
    &'static str,
);

const OPTIONS: &[ForeignOption] = &[
    (
        &["xp build"],
        &["--dry-run", "-n", "--check"],
        "`xp plan` shows what would be done, and changes nothing",
    ),
    (
        &["xp build"],
        &["--push", "--pull"],
        "it does so where there is something to, unless there is `--no-push` or `--no-pull`",
    ),
    (
        &["xp build"],
        &["--no-cache", "--rebuild"],
        "`xp build --force` builds what exists; `xp builder update` builds builder images without the engine's cache",
    ),
    (
        &["xp build", "xp sync", "xp builder update"],
        &["--parallel", "--workers", "--concurrency"],
        "`--jobs N` tells how many are worked on at once",
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
        "it is for all services, unless some are named",
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
        "`--format json` prints it for programs",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// A hint names only what there is, and is for a word that is none of xp's own.
    #[test]
    fn what_is_named_is_there() {
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
