//! Hints for users of other tools who type a command or option that xp does not have.

/// Returns a hint naming xp's equivalent of another tool's command.
pub fn equivalent_command(word: &str) -> Option<&'static str> {
    let (_, instead) = COMMANDS.iter().find(|(words, _)| words.contains(&word))?;
    Some(instead)
}

const COMMANDS: &[(&[&str], &str)] = &[
    (
        &["pull", "load", "import"],
        "`xp build` pulls images that exist only in the registry; `xp sync` fetches working copies",
    ),
    (
        &["push", "publish", "save", "export"],
        "`xp build` pushes the images it builds, and those that exist only in the engine",
    ),
    (
        &[
            "up", "down", "start", "stop", "restart", "pause", "kill", "attach", "port", "top",
            "scale",
        ],
        "`xp deploy ENV` starts the images of an environment with a compose file; `docker compose` shows and stops its containers",
    ),
    (
        &["exec"],
        "`xp run SERVICE -- COMMAND` runs a command, `xp shell SERVICE` opens a shell",
    ),
    (
        &["bash", "sh", "enter", "ssh", "console"],
        "`xp shell SERVICE` opens a shell",
    ),
    (
        &[
            "ps", "ls", "list", "images", "info", "services", "show", "projects", "get",
        ],
        "`xp status` shows the working copy, commit and image of each service",
    ),
    (&["version"], "`xp --version` prints the version"),
    (
        &["config", "convert", "settings", "context"],
        "the manifest is the only configuration: `xp check` validates it, and `xp plan` shows what it results in",
    ),
    (
        &["apply", "release", "rollout", "helm", "converge"],
        "`xp deploy ENV` deploys a set of images to a cluster",
    ),
    (
        &["delete", "destroy", "dismiss", "uninstall"],
        "xp removes nothing from a cluster; `kubectl delete` does",
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
        &[
            "prune", "gc", "cleanup", "purge", "rm", "rmi", "remove", "reset",
        ],
        "`xp clean` removes images, tags and cached files that nothing needs; every build starts from a clean checkout anyway",
    ),
    (
        &["cache", "du"],
        "caches need no command: `dockerBuilder.cache` keeps folders in `.xp/cache`, and `xp build --no-cache` ignores layers",
    ),
    (
        &[
            "clone",
            "fetch",
            "checkout",
            "update",
            "co",
            "submodule",
            "forall",
        ],
        "`xp sync` clones, fetches and fast-forwards working copies",
    ),
    (
        &["validate", "lint"],
        "`xp check` validates the manifest, `xp doctor` checks the environment",
    ),
    (
        &["diagnose", "debug", "healthcheck"],
        "`xp doctor` checks the environment, and `xp shell --failed` opens a shell where a build failed",
    ),
    (
        &["test", "ci"],
        "`xp build` also runs `scripts.test`, unless `--no-test` is given",
    ),
    (
        &["rebuild"],
        "`xp build --force` rebuilds images that already exist",
    ),
    (
        &["affected", "changed"],
        "`xp plan` shows what would be built, and why",
    ),
    (
        &["make", "compile", "bake", "image", "buildx", "run-many"],
        "`xp build` builds images",
    ),
    (
        &["watch", "dev", "serve", "develop"],
        "`xp build --local --watch` builds working copies whenever files change; `--deploy ENV` restarts what changed",
    ),
    (
        &["freeze", "pin", "snapshot", "bundle"],
        "`xp lock` records commits and images in a lock file",
    ),
    (
        &["new", "create", "setup"],
        "`xp init` generates a manifest",
    ),
    (
        &["explain", "inspect"],
        "`xp why SERVICE` explains why a service is built",
    ),
    (
        &["history", "runs", "events"],
        "`xp logs --list` lists recorded runs, and `xp report` shows one",
    ),
    (
        &["tree", "viz", "query", "dep-graph"],
        "`xp graph` shows the dependency graph",
    ),
    (
        &["completion"],
        "`xp completions SHELL` prints the completion script",
    ),
    (
        &["login", "logout"],
        "xp uses the registry logins of Docker: `docker login`",
    ),
    (
        &["tag"],
        "`xp build --tag TAG` adds a tag, and `docker.tags` in the manifest always does",
    ),
    (
        &["upgrade", "self-update"],
        "replace the xp program with a newer one; `xp --version` prints its version",
    ),
];

/// Returns a hint naming xp's equivalent of another tool's option.
pub fn equivalent_option(command: &str, option: &str) -> Option<&'static str> {
    let is_it = |known: &&ForeignOption| {
        let is_command = known.0.is_empty() || known.0.contains(&command);
        is_command && known.1.contains(&option)
    };
    let (_, _, instead) = OPTIONS.iter().find(is_it)?;
    Some(instead)
}

/// Commands, options that they do not have, and the hint. Without commands, the hint is for all of them.
type ForeignOption = (
    &'static [&'static str],
    &'static [&'static str],
    &'static str,
);

const PLANS: &[&str] = &["xp build", "xp plan"];

const OPTIONS: &[ForeignOption] = &[
    (
        &["xp build"],
        &["--dry-run", "-n", "--check", "--print", "--call"],
        "`xp plan` shows what would be done without doing it",
    ),
    (
        PLANS,
        &["--push", "--load"],
        "`xp build` pushes and pulls by default; `--no-push` and `--no-pull` turn that off",
    ),
    (
        PLANS,
        &["--pull"],
        "`--refresh-bases` pulls base images again; existing images of services are pulled by default",
    ),
    (
        PLANS,
        &[
            "--rebuild",
            "--no-cache-filter",
            "--skip-nx-cache",
            "--force-rebuild",
            "--force-recreate",
        ],
        "`--force` rebuilds existing images, and `--no-cache` also ignores the layer cache",
    ),
    (
        PLANS,
        &[
            "--cache-from",
            "--cache-to",
            "--cache-repo",
            "--cache-artifacts",
            "--cache-file",
        ],
        "the registry is the cache: an image with the same inputs is not built again; `docker.cache: true` reuses layers of earlier images, and `dockerBuilder.cache` keeps folders between builds",
    ),
    (
        PLANS,
        &["--platform", "--platforms", "--arch", "--os"],
        "the manifest has the platforms of an image: `docker: {platforms: [linux/amd64, linux/arm64]}`",
    ),
    (
        PLANS,
        &["-t", "--tags", "--add-custom-tag"],
        "`--tag TAG` adds a tag, without the image's name: that is `docker.image` in the manifest",
    ),
    (
        &["xp build", "xp plan", "xp lock", "xp deploy"],
        &[
            "--default-repo",
            "--repo",
            "--registry",
            "--insecure-registry",
        ],
        "`registry` in the manifest is the prefix of all images",
    ),
    (
        PLANS,
        &["--build-arg", "--args", "--set"],
        "`docker.args` in the manifest has the build arguments; a value can be `${{ env.NAME }}`",
    ),
    (
        PLANS,
        &["--secret"],
        "`docker.secrets` in the manifest has the build secrets",
    ),
    (
        PLANS,
        &[
            "--target",
            "--label",
            "--labels",
            "--context",
            "--build-context",
            "--dockerfile",
        ],
        "`docker` in the manifest says what is built: `file`, `context`, `target` and `args`",
    ),
    (
        PLANS,
        &["--ssh"],
        "`docker.ssh: true` in the manifest forwards the ssh agent to the build, `dockerBuilder.ssh` to scripts",
    ),
    (
        PLANS,
        &["--network", "-m", "--memory", "--cpus"],
        "`dockerBuilder` in the manifest has the network and limits of scripts",
    ),
    (
        PLANS,
        &[
            "--no-deps",
            "--without-deps",
            "--skip-dependencies",
            "--exclude-task-dependencies",
        ],
        "needed services are built only if their images do not exist; `xp plan SERVICE` shows which ones",
    ),
    (
        PLANS,
        &["--with-dependencies", "--deps", "--include-deps"],
        "needed services are built if their images do not exist; `+SERVICE` selects them, too",
    ),
    (
        PLANS,
        &["--affected", "--only-changed", "--since", "--base"],
        "only images that do not exist are built: `xp plan` shows which ones, and why",
    ),
    (
        PLANS,
        &["--skip-tests", "--skip-test", "-DskipTests"],
        "`--no-test` skips `scripts.test`",
    ),
    (
        &["xp build", "xp sync", "xp builder update"],
        &[
            "--parallel",
            "--workers",
            "--concurrency",
            "--max-parallel",
            "--build-concurrency",
            "-P",
        ],
        "`--jobs N` sets the number of services processed concurrently",
    ),
    (
        &["xp plan"],
        &["--parallel", "--workers", "--concurrency", "--jobs", "-j"],
        "`xp build --jobs N` limits the number of concurrent builds; a plan needs no limit",
    ),
    (
        &["xp build"],
        &["--dev"],
        "`--local` builds working copies with all local changes; with `--watch`, whenever files change",
    ),
    (
        &["xp build"],
        &["--keep-going", "-k", "--no-fail-fast", "--nxBail"],
        "other services continue after a failure by default; `--fail-fast` stops them",
    ),
    (
        &["xp build"],
        &[
            "--progress",
            "--plain",
            "--no-progress",
            "--log-level",
            "--output-style",
        ],
        "without a terminal, lines are printed instead of progress bars; `-v` prints all output, `-q` failures only",
    ),
    (
        &["xp build"],
        &["--detach", "-d"],
        "xp builds images; `xp deploy ENV` starts those of an environment with a compose file",
    ),
    (
        &["xp deploy", "xp lock", "xp diff", "xp status", "xp graph"],
        &[
            "--push",
            "--pull",
            "--cache-from",
            "--platform",
            "--no-cache",
        ],
        "`xp build` builds, pulls and pushes images; this command only uses them",
    ),
    (
        &["xp deploy"],
        &["--wait", "--atomic", "--status-check"],
        "`xp deploy` waits for the rollout; `--timeout TIME` limits it",
    ),
    (
        &["xp deploy"],
        &[
            "--namespace",
            "--kube-context",
            "--kubeconfig",
            "--kube-config",
        ],
        "`deploy.environments` in the manifest has context and namespace; `KUBECONFIG` names the files",
    ),
    (
        &["xp sync", "xp status", "xp lock", "xp graph", "xp doctor"],
        &["--all", "-a"],
        "all services are selected by default",
    ),
    (
        &["xp build", "xp plan"],
        &["-a"],
        "all services are selected by default; `--all` also lists those that are up to date",
    ),
    (
        &[
            "xp build",
            "xp plan",
            "xp check",
            "xp sync",
            "xp status",
            "xp graph",
            "xp doctor",
            "xp diff",
        ],
        &["--json"],
        "use `--format json`",
    ),
    (
        &[
            "xp plan",
            "xp check",
            "xp status",
            "xp graph",
            "xp doctor",
            "xp diff",
        ],
        &["-o", "--output"],
        "use `--format`; the result goes to standard output",
    ),
    (
        &[],
        &[
            "--project-directory",
            "--cwd",
            "--chdir",
            "--dir",
            "--project-dir",
        ],
        "`-C DIR` runs xp as if started in that folder",
    ),
    (
        &[],
        &["--config", "--config-file", "--manifest", "--filename"],
        "`-f FILE` uses another manifest",
    ),
    (
        &[],
        &["--debug", "--trace"],
        "`-v` prints the output of every step, and times",
    ),
    (&[], &["--silent"], "`-q` prints only failures"),
    (
        &[],
        &["--no-color", "--no-ansi", "--ansi"],
        "use `--color never`, or set `NO_COLOR`",
    ),
    (
        &[],
        &["--profile", "--env-file", "--environment"],
        "xp has no profiles: use separate manifests with `-f FILE`, and variables of the environment",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error::Diagnostic as _;

    /// What users of other tools type, and a part of the hint.
    #[test]
    fn each_tool_has_its_hints() {
        const TYPED: &[(&str, &str)] = &[
            // docker build, docker buildx bake
            ("xp build --pull", "--refresh-bases"),
            ("xp build --push", "pushes and pulls by default"),
            (
                "xp build --cache-from type=gha",
                "the registry is the cache",
            ),
            (
                "xp build --cache-to=type=inline",
                "the registry is the cache",
            ),
            (
                "xp build --platform linux/arm64",
                "the manifest has the platforms",
            ),
            ("xp build -t x:1", "`--tag TAG`"),
            ("xp build --build-arg A=1", "docker.args"),
            ("xp build --secret id=a", "docker.secrets"),
            ("xp build --target runtime", "`docker` in the manifest"),
            ("xp build --ssh default", "docker.ssh"),
            ("xp build --progress plain", "lines are printed"),
            ("xp build --load", "pushes and pulls by default"),
            ("xp bake", "`xp build`"),
            ("xp version", "xp --version"),
            ("xp images", "xp status"),
            ("xp tag", "`xp build --tag TAG`"),
            ("xp login", "docker login"),
            ("xp prune", "`xp clean` removes"),
            ("xp du", "dockerBuilder.cache"),
            ("xp inspect", "xp why"),
            // docker compose
            ("xp up", "`xp deploy ENV` starts"),
            ("xp up -d --build", "`xp deploy ENV` starts"),
            ("xp config", "xp check"),
            ("xp ls", "xp status"),
            ("xp watch", "xp build --local"),
            ("xp rm", "`xp clean` removes"),
            ("xp build --no-deps", "xp plan SERVICE"),
            ("xp build --parallel 4", "`--jobs N`"),
            ("xp plan --parallel", "`xp build --jobs N`"),
            ("xp --project-directory x plan", "`-C DIR`"),
            ("xp plan --env-file .env", "no profiles"),
            ("xp plan --ansi never", "--color never"),
            // werf
            ("xp converge", "xp deploy ENV"),
            ("xp dismiss", "kubectl delete"),
            ("xp cleanup", "`xp clean` removes"),
            ("xp bundle", "xp lock"),
            ("xp build --repo r", "`registry` in the manifest"),
            ("xp build --add-custom-tag x", "`--tag TAG`"),
            ("xp build --dev", "`--local`"),
            // Skaffold, Tilt, Garden
            ("xp dev", "xp build --local"),
            ("xp render", "--render"),
            ("xp delete", "kubectl delete"),
            ("xp diagnose", "xp doctor"),
            ("xp build --default-repo r", "`registry` in the manifest"),
            (
                "xp build --cache-artifacts=false",
                "the registry is the cache",
            ),
            ("xp build --build-concurrency 4", "`--jobs N`"),
            ("xp build --skip-tests", "--no-test"),
            ("xp build --dry-run", "xp plan"),
            ("xp deploy --status-check", "waits for the rollout"),
            ("xp deploy --namespace n", "deploy.environments"),
            ("xp validate", "xp check"),
            ("xp get", "xp status"),
            ("xp build --skip-dependencies", "xp plan SERVICE"),
            // Nx, Turborepo
            ("xp affected", "xp plan"),
            ("xp run-many", "`xp build`"),
            ("xp reset", "`xp clean` removes"),
            ("xp build --skip-nx-cache", "--no-cache"),
            ("xp build --affected", "xp plan"),
            ("xp plan --since main", "xp plan"),
            // git, west, repo, make
            ("xp gc", "`xp clean` removes"),
            ("xp cache", "dockerBuilder.cache"),
            ("xp list", "xp status"),
            ("xp forall", "xp sync"),
            ("xp build -k", "continue after a failure"),
            ("xp build -n", "xp plan"),
            ("xp status --json", "--format json"),
            ("xp doctor --debug", "`-v`"),
        ];
        let mut wrong = Vec::new();
        for (line, part) in TYPED {
            let words = line.split(' ').map(Into::into);
            let hint = match crate::cli::parse(words) {
                Err(crate::cli::ParseError::Usage(error)) => error.hints().join("\n"),
                other => format!("{:?}", other.is_ok()),
            };
            if !hint.contains(part) {
                wrong.push(format!("{line}: {hint}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn no_hint_hides_an_option() {
        let mut definition = crate::cli::command();
        definition.build();
        for (commands, options, _) in OPTIONS {
            for path in *commands {
                let mut command = &definition;
                for name in path.split(' ').skip(1) {
                    command = command.find_subcommand(name).unwrap();
                }
                for option in *options {
                    let exists = command.get_arguments().any(|arg| {
                        arg.get_long() == option.strip_prefix("--") && option.starts_with("--")
                            || arg.get_short().map(|it| format!("-{it}")).as_deref() == Some(option)
                    });
                    assert!(!exists, "{path} has {option}");
                }
            }
        }
        let mut all: Vec<&&str> = COMMANDS.iter().flat_map(|(words, _)| *words).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count, "a word has two hints");
    }

    /// Hints name only commands and options that exist, and never shadow a command of xp.
    #[test]
    fn hints_name_only_existing_commands() {
        let mut definition = crate::cli::command();
        definition.build();
        let words = COMMANDS.iter().flat_map(|(words, _)| *words);
        for word in words {
            assert!(definition.find_subcommand(word).is_none(), "{word}");
        }
        let of_commands = COMMANDS.iter().map(|(_, hint)| hint);
        for hint in of_commands.chain(OPTIONS.iter().map(|(_, _, hint)| hint)) {
            let quoted = hint.split('`').skip(1).step_by(2);
            for line in quoted.filter(|part| part.starts_with("xp ")) {
                let mut parts = line.split(' ').skip(1);
                let name = parts.next().unwrap();
                if name.starts_with('-') {
                    continue;
                }
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
