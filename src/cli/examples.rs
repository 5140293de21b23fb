//! Examples for the help and manual page of each command. A test parses each of them.

/// A command line and its description.
type Example = (&'static str, &'static str);

const EXAMPLES: &[(&str, &[Example])] = &[
    (
        "xp",
        &[
            ("xp init", "Get started: generate a manifest"),
            ("xp plan", "Show what would be built and why"),
            ("xp build", "Build, tag and push all missing images"),
            (
                "xp build --local zbackend",
                "Rebuild a service from your working copy, with all local changes",
            ),
            ("xp status", "Show the state of all services"),
        ],
    ),
    (
        "xp init",
        &[
            (
                "xp init",
                "Generate x-platform.yml from the files in this folder",
            ),
            ("xp init --dry-run", "Print the manifest without writing it"),
            (
                "xp init --from compose.yaml --registry harbour.example.com/x",
                "Read a compose file only, and push to a registry",
            ),
            (
                "xp init -C .. --from deploy/compose.yaml",
                "Write the manifest to the parent folder, next to the working copies",
            ),
        ],
    ),
    (
        "xp build",
        &[
            ("xp build", "Build all missing images"),
            (
                "xp build --services zbackend,zfrontend",
                "Build two services and their dependencies",
            ),
            (
                "xp build 'z*' --jobs 4",
                "Build services that start with z, four at a time",
            ),
            (
                "xp build --branch TASK-981",
                "Build a topic branch in every repository that has it",
            ),
            (
                "xp build --reference zbackend=v1.2 zbackend",
                "Build a service from a tag",
            ),
            (
                "xp build --local zbackend",
                "Build a working copy with all local changes; do not push",
            ),
            (
                "xp build --local --watch --deploy dev",
                "Build whenever files change, and restart what changed in a compose project",
            ),
            (
                "xp build --refresh-bases",
                "At night: build what has a newer base image",
            ),
            (
                "xp build --no-pull --tag build-42",
                "In CI: skip pulls, and add a tag",
            ),
            (
                "xp build --shard 2/4",
                "Build the second of four parts; other machines build the others",
            ),
        ],
    ),
    (
        "xp plan",
        &[
            ("xp plan", "Show every step and its reason"),
            (
                "xp plan zbackend --branch TASK-981",
                "Show what would be built for a topic branch",
            ),
            ("xp plan --format json", "Print the plan as JSON"),
            (
                "xp plan --format github --shards 4",
                "Print a matrix of up to four jobs for GitHub Actions",
            ),
            (
                "xp plan --exit-code --quiet",
                "In a script: exit with code 10 if there is work to do",
            ),
        ],
    ),
    (
        "xp why",
        &[
            (
                "xp why zbackend",
                "Explain why a service is or is not built",
            ),
            (
                "xp why zbackend --against v1.2",
                "Compare with another image of the service",
            ),
            (
                "xp why zbackend --branch TASK-981",
                "Explain a build of a topic branch",
            ),
        ],
    ),
    (
        "xp status",
        &[
            (
                "xp status",
                "Show the working copy, commit and image of each service",
            ),
            (
                "xp status --offline",
                "Show what is known without network access",
            ),
            (
                "xp status --format json zbackend",
                "Print the status as JSON",
            ),
        ],
    ),
    (
        "xp graph",
        &[
            ("xp graph", "Show the graph as a tree"),
            (
                "xp graph zbackend --no-state",
                "Show the dependencies of a service without contacting any server",
            ),
            (
                "xp graph --format mermaid",
                "Print a Mermaid diagram, for documentation",
            ),
        ],
    ),
    (
        "xp check",
        &[
            ("xp check", "In a commit hook: report all problems at once"),
            (
                "xp check --format json",
                "Print the problems as JSON, for an editor",
            ),
        ],
    ),
    (
        "xp doctor",
        &[
            ("xp doctor", "Check everything a build needs"),
            ("xp doctor -v zbackend", "List all checks for a service"),
            (
                "xp doctor --fleet ci",
                "Check a fleet from inside one of its pods",
            ),
            ("xp doctor --format json", "Print the findings as JSON"),
        ],
    ),
    (
        "xp sync",
        &[
            (
                "xp sync",
                "Clone missing working copies, and fast-forward clean ones",
            ),
            (
                "xp sync zbackend --branch TASK-981",
                "Switch to a topic branch",
            ),
            ("xp sync --locked", "Check out the commits of the lock"),
        ],
    ),
    (
        "xp lock",
        &[
            ("xp lock", "Write x-platform.lock"),
            (
                "xp lock --services zbackend",
                "Update one service in the lock, and keep the others",
            ),
            ("xp lock --check", "In CI: fail if the lock is out of date"),
        ],
    ),
    (
        "xp diff",
        &[
            ("xp diff", "Show how the lock differs from the last commit"),
            (
                "xp diff v1.0 v1.1",
                "Show what changed between two releases",
            ),
            ("xp diff v1.0 --format markdown", "Write release notes"),
            (
                "xp diff staging x-platform.lock",
                "Show what deploying the lock would change in staging",
            ),
        ],
    ),
    (
        "xp clean",
        &[
            ("xp clean", "Show what can be removed, and why"),
            ("xp clean -v", "Show what is kept, too"),
            (
                "xp clean --registry --delete --max-delete 200",
                "Clean the registries, unless it would be a lot",
            ),
            (
                "xp clean --engine --cache --delete",
                "Free disk space on this machine",
            ),
            (
                "xp clean --registry --save clean.json",
                "Write the plan to a file, for review",
            ),
            ("xp clean --use clean.json", "Remove exactly what it lists"),
        ],
    ),
    (
        "xp verify",
        &[
            ("xp verify", "Verify the images of the current commits"),
            (
                "xp verify x-platform.lock",
                "Verify the images of a release",
            ),
            ("xp verify staging", "Verify what staging runs"),
            (
                "xp verify zbackend --format json",
                "Verify one service, for a program",
            ),
        ],
    ),
    (
        "xp copy",
        &[
            (
                "xp copy --from old.example.com/x",
                "After changing `registry`, copy the current images from the old one",
            ),
            (
                "xp copy --from old.example.com/x --dry-run",
                "Show what would be copied",
            ),
            (
                "xp copy --from old.example.com/x/front zfrontend",
                "Copy the image of a service from its former repository",
            ),
            (
                "xp copy --from old.example.com/x --locked",
                "Copy exactly the images of the lock",
            ),
        ],
    ),
    (
        "xp deploy",
        &[
            ("xp deploy staging", "Deploy the current images"),
            (
                "xp deploy staging --services zbackend --build",
                "Build and deploy one service, and keep the others unchanged",
            ),
            (
                "xp deploy production --lock release.lock",
                "Deploy exactly the images of a lock",
            ),
            ("xp deploy staging --dry-run", "Show what would be deployed"),
            (
                "xp deploy staging --render | kubectl diff -f -",
                "Pipe the YAML to another program",
            ),
            (
                "xp deploy staging --rollback",
                "Roll back to the previous deployment",
            ),
        ],
    ),
    (
        "xp run",
        &[
            (
                "xp run zbackend -- go test ./...",
                "Run the service's tests with its own toolchain",
            ),
            (
                "xp run -- make",
                "Run make for the service in the current folder",
            ),
            (
                "xp run zfrontend -e NODE_ENV=production -- npm run dist",
                "Set an environment variable",
            ),
        ],
    ),
    (
        "xp shell",
        &[
            ("xp shell zbackend", "Explore the builder container"),
            (
                "xp shell --failed zbackend",
                "Open a shell where its last build failed",
            ),
            ("xp shell --failed", "The same, if only one service failed"),
        ],
    ),
    (
        "xp logs",
        &[
            ("xp logs zbackend", "Show the last logs of a service"),
            (
                "xp logs zbackend --phase test",
                "Show the raw log of one phase",
            ),
            (
                "xp logs -f",
                "Follow the run in progress in another terminal",
            ),
            ("xp logs --list", "List recorded runs"),
        ],
    ),
    (
        "xp report",
        &[
            ("xp report --open", "Open the last run in the browser"),
            (
                "xp report -o report.html",
                "In CI: keep the page as an artifact",
            ),
            (
                "xp report --format junit -o junit.xml",
                "In CI: report test cases, or the result of each phase",
            ),
            (
                "xp report --format otlp -o trace.json",
                "Write an OpenTelemetry trace, for a collector",
            ),
        ],
    ),
    (
        "xp builder",
        &[
            (
                "xp builder list",
                "List the builder images and where they exist",
            ),
            (
                "xp builder update zbackend",
                "Rebuild one without the engine's cache",
            ),
        ],
    ),
    (
        "xp builder list",
        &[(
            "xp builder list",
            "List the builder images and where they exist",
        )],
    ),
    (
        "xp builder update",
        &[
            ("xp builder update", "Rebuild all builder images"),
            (
                "xp builder update zbackend --no-push",
                "Try out a change to one of them",
            ),
        ],
    ),
    (
        "xp schema",
        &[
            (
                "xp schema",
                "Print the schema of x-platform.yml, for your editor",
            ),
            (
                "xp schema plan",
                "Print the schema of `xp plan --format json`",
            ),
        ],
    ),
    (
        "xp completions",
        &[
            (
                "xp completions bash",
                "In ~/.bashrc: source <(xp completions bash)",
            ),
            (
                "xp completions zsh",
                "In ~/.zshrc, after compinit: source <(xp completions zsh)",
            ),
            (
                "xp completions fish",
                "In config.fish: xp completions fish | source",
            ),
        ],
    ),
    (
        "xp man",
        &[
            (
                "xp man build",
                "Print a page; `xp man build | man -l -` displays it",
            ),
            (
                "xp man --out /usr/local/share/man/man1",
                "Install all pages",
            ),
        ],
    ),
];

/// Returns the examples of a command, such as `xp build`.
pub fn of(command: &str) -> &'static [Example] {
    let found = EXAMPLES.iter().find(|(name, _)| *name == command);
    found.map_or(&[], |(_, examples)| examples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_valid_examples() {
        let mut paths = vec!["xp".to_owned()];
        fn collect(command: &clap::Command, path: &str, paths: &mut Vec<String>) {
            for subcommand in command
                .get_subcommands()
                .filter(|command| !command.is_hide_set())
            {
                let path = format!("{path} {}", subcommand.get_name());
                paths.push(path.clone());
                collect(subcommand, &path, paths);
            }
        }
        collect(&crate::cli::command(), "xp", &mut paths);
        for path in &paths {
            let examples = of(path);
            assert!(
                !examples.is_empty(),
                "`{path}` has no examples: add some to src/cli/examples.rs"
            );
            for (line, about) in examples {
                assert!(
                    line.starts_with(path.as_str()),
                    "{line} is not an example of {path}"
                );
                assert!(
                    line.len() <= 76 && about.len() <= 74,
                    "{line} is too long for 80 columns"
                );
                assert!(!about.ends_with('.'), "{about}");
                let words = line
                    .split_whitespace()
                    .map(|word| word.trim_matches('\'').into());
                if let Err(error) = crate::cli::parse(words) {
                    panic!("{line}\n{error}");
                }
            }
        }
        for (name, _) in EXAMPLES {
            assert!(
                paths.iter().any(|path| path == name),
                "unknown command `{name}`"
            );
        }
    }
}
