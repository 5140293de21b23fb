//! Examples of each command, for its help and its manual page. A test reads each as xp would.

/// A command line, and what it is for.
type Example = (&'static str, &'static str);

const EXAMPLES: &[(&str, &[Example])] = &[
    (
        "xp",
        &[
            ("xp init", "Begin: write a manifest from what is here"),
            ("xp plan", "See what would be built, and why"),
            ("xp build", "Build, tag and push what does not exist yet"),
            (
                "xp build --local zbackend",
                "Rebuild a service as it stands in your working copy",
            ),
            ("xp status", "See how every service stands"),
        ],
    ),
    (
        "xp init",
        &[
            (
                "xp init",
                "Write x-platform.yml from what is in this folder",
            ),
            ("xp init --dry-run", "Print it, and write nothing"),
            (
                "xp init --from compose.yaml --registry harbour.example.com/x",
                "Take one source alone, and push to a registry",
            ),
            (
                "xp init -C .. --from deploy/compose.yaml",
                "Write it above, where the working copies are, too",
            ),
        ],
    ),
    (
        "xp build",
        &[
            ("xp build", "Build everything that does not exist yet"),
            (
                "xp build --services zbackend,zfrontend",
                "Build two services, and what they need",
            ),
            (
                "xp build 'z*' --jobs 4",
                "Build what begins with z, four at once",
            ),
            (
                "xp build --branch TASK-981",
                "Build a topic from each repository that has its branch",
            ),
            (
                "xp build --reference zbackend=v1.2 zbackend",
                "Build a service from a tag",
            ),
            (
                "xp build --local zbackend",
                "Build a working copy as it stands, and push nothing",
            ),
            (
                "xp build --no-pull --tag build-42",
                "In CI: keep no copies, and set a further tag",
            ),
        ],
    ),
    (
        "xp plan",
        &[
            ("xp plan", "Show every step, and why it is taken"),
            (
                "xp plan zbackend --branch TASK-981",
                "Show what a topic would build",
            ),
            ("xp plan --format json", "Print the plan for a program"),
            (
                "xp plan --exit-code --quiet",
                "In a script: exit with 10 where there is work",
            ),
        ],
    ),
    (
        "xp why",
        &[
            ("xp why zbackend", "Tell why a service is built, or is not"),
            (
                "xp why zbackend --against v1.2",
                "Compare with another image of it",
            ),
            (
                "xp why zbackend --branch TASK-981",
                "Tell it of a topic's commit",
            ),
        ],
    ),
    (
        "xp status",
        &[
            (
                "xp status",
                "Show working copy, commit and image of each service",
            ),
            (
                "xp status --offline",
                "Show what is known without a network",
            ),
            ("xp status --format json zbackend", "Print it for a program"),
        ],
    ),
    (
        "xp graph",
        &[
            ("xp graph", "Show the graph as a tree"),
            (
                "xp graph zbackend --no-state",
                "Show what a service needs, and ask no server",
            ),
            (
                "xp graph --format mermaid",
                "Print it for a page of documentation",
            ),
        ],
    ),
    (
        "xp doctor",
        &[
            ("xp doctor", "Check everything that a build takes"),
            (
                "xp doctor -v zbackend",
                "Show all that was looked at for a service",
            ),
            (
                "xp doctor --format json",
                "Print the findings for a program",
            ),
        ],
    ),
    (
        "xp sync",
        &[
            (
                "xp sync",
                "Clone what is missing, and fast-forward what is clean",
            ),
            (
                "xp sync zbackend --branch TASK-981",
                "Go to a topic's branch",
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
                "Move one service forward, and leave the others",
            ),
            (
                "xp lock --check",
                "In CI: fail where the lock is out of date",
            ),
        ],
    ),
    (
        "xp diff",
        &[
            (
                "xp diff",
                "Show what the lock changes since the last commit",
            ),
            (
                "xp diff v1.0 v1.1",
                "Show what changed between two releases",
            ),
            ("xp diff v1.0 --format markdown", "Write release notes"),
            (
                "xp diff staging x-platform.lock",
                "Show what a deploy of the lock would bring to staging",
            ),
        ],
    ),
    (
        "xp deploy",
        &[
            ("xp deploy staging", "Deploy today's images"),
            (
                "xp deploy staging --services zbackend --build",
                "Build and deploy one service, the rest stays",
            ),
            (
                "xp deploy production --lock release.lock",
                "Deploy exactly what a lock says",
            ),
            ("xp deploy staging --dry-run", "See what would be deployed"),
            (
                "xp deploy staging --render | kubectl diff -f -",
                "Print what would be applied, for another program",
            ),
            (
                "xp deploy staging --rollback",
                "Go back to what was deployed before",
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
                "Run make for the service whose folder this is",
            ),
            (
                "xp run zfrontend -e NODE_ENV=production -- npm run dist",
                "Set a variable for it",
            ),
        ],
    ),
    (
        "xp shell",
        &[
            ("xp shell zbackend", "Look around in the builder container"),
            (
                "xp shell --failed zbackend",
                "Go to where its last build failed",
            ),
            (
                "xp shell --failed",
                "The same, where one service alone failed",
            ),
        ],
    ),
    (
        "xp logs",
        &[
            ("xp logs zbackend", "Show the last logs of a service"),
            (
                "xp logs zbackend --phase test",
                "Show those of one phase, as they are",
            ),
            (
                "xp logs -f",
                "Follow the run that is under way in another terminal",
            ),
            ("xp logs --list", "List the runs that are kept"),
        ],
    ),
    (
        "xp report",
        &[
            ("xp report --open", "Look at the last run in the browser"),
            (
                "xp report -o report.html",
                "In CI: keep the page as an artefact",
            ),
            (
                "xp report --format junit -o junit.xml",
                "In CI: tell the dashboard how each phase went",
            ),
        ],
    ),
    (
        "xp builder",
        &[
            (
                "xp builder list",
                "Show the builder images, and where they exist",
            ),
            (
                "xp builder update zbackend",
                "Build one again, without the engine's cache",
            ),
        ],
    ),
    (
        "xp builder list",
        &[(
            "xp builder list",
            "Show the builder images, and where they exist",
        )],
    ),
    (
        "xp builder update",
        &[
            ("xp builder update", "Build all of them again"),
            (
                "xp builder update zbackend --no-push",
                "Try a change of one",
            ),
        ],
    ),
    (
        "xp schema",
        &[
            (
                "xp schema",
                "Print the schema of x-platform.yml, for an editor",
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
                "Print a page; `xp man build | man -l -` shows it",
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
    fn every_command_has_examples_of_itself_that_can_be_read() {
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
                "`{path}` has no example: add a few to src/cli/examples.rs"
            );
            for (line, about) in examples {
                assert!(
                    line.starts_with(path.as_str()),
                    "{line} is no example of {path}"
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
                "there is no command `{name}`"
            );
        }
    }
}
