//! Determines what can be completed at the cursor, from the clap definition.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::{Arg, Command, ValueHint};

use super::CompletionCandidate;
use super::line::CommandLine;
use super::line_parser::LineParser;

/// What to complete at the cursor.
#[derive(Debug)]
pub struct CompletionTarget {
    /// The part of the current word that is kept, such as `--services=a,`.
    pub prefix: String,
    /// The part of the current word to complete.
    pub partial: String,
    /// The kind of value.
    pub kind: ValueKind,
    /// Values already on the line.
    pub given: BTreeSet<String>,
    /// Whether more values may follow in the same word.
    pub is_list: bool,
    /// `-C`, as typed.
    pub directory: Option<PathBuf>,
    /// `-f`, as typed.
    pub file: Option<PathBuf>,
}

/// The kind of a value.
#[derive(Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// One of these words.
    Words(Vec<CompletionCandidate>),
    Service,
    /// A service or a deploy environment.
    ServiceOrEnvironment,
    /// A service and a reference of its remote.
    ServiceReference,
    /// A builder, by its folder.
    Builder,
    /// A branch of a service's remote.
    Branch,
    /// A branch or tag of a service's remote.
    Reference,
    /// A past run.
    Run,
    /// A phase of a build.
    Phase,
    /// A deploy environment.
    Environment,
    /// A fleet.
    Fleet,
    File,
    Folder,
    /// Anything.
    Free,
}

impl ValueKind {
    /// Returns the kind of an argument's values, from its value hint and value name.
    pub fn of(arg: &Arg) -> Self {
        match arg.get_value_hint() {
            ValueHint::FilePath | ValueHint::AnyPath => return Self::File,
            ValueHint::DirPath => return Self::Folder,
            _ => {}
        }
        let name = arg.get_value_names().and_then(|names| names.first());
        match name.map(|name| name.as_str()).unwrap_or_default() {
            "SERVICE" | "NAMES" => Self::Service,
            "TARGET" => Self::ServiceOrEnvironment,
            "SERVICE=REF" => Self::ServiceReference,
            "BUILDER" => Self::Builder,
            "BRANCH" => Self::Branch,
            "REF" => Self::Reference,
            "RUN" => Self::Run,
            "PHASE" => Self::Phase,
            "ENV" => Self::Environment,
            "FLEET" => Self::Fleet,
            _ => Self::Free,
        }
    }
}

/// Returns what to complete at the end of a line.
pub fn find(mut definition: Command, line: &CommandLine) -> CompletionTarget {
    definition.build();
    let mut parser = LineParser::new(&definition);
    for word in &line.before {
        parser.read(word);
    }
    parser.target(&line.current)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: &str) -> CompletionTarget {
        find(crate::cli::command(), &CommandLine::split(line, ""))
    }

    fn texts(target: &CompletionTarget) -> Vec<&str> {
        match &target.kind {
            ValueKind::Words(words) => words.iter().map(|word| word.text.as_str()).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn commands_come_first() {
        let target = at("xp bu");
        assert!(texts(&target).contains(&"build") && texts(&target).contains(&"builder"));
        assert!(!texts(&target).iter().any(|text| text.starts_with("__")));
        assert_eq!(target.partial, "bu");
        assert!(texts(&at("xp -C /tmp ")).contains(&"plan"));
        assert!(texts(&at("xp builder ")).contains(&"update"));
        assert!(texts(&at("xp help ")).contains(&"build"));
    }

    #[test]
    fn value_kinds_follow_option_and_argument() {
        for (line, kind) in [
            ("xp build ", ValueKind::Service),
            ("xp build a b ", ValueKind::Service),
            ("xp build --force ", ValueKind::Service),
            ("xp build --services ", ValueKind::Service),
            ("xp build --reference ", ValueKind::ServiceReference),
            ("xp build --branch ", ValueKind::Branch),
            ("xp build --branch=", ValueKind::Branch),
            ("xp build --tag ", ValueKind::Free),
            ("xp build --jobs 2 -- ", ValueKind::Service),
            ("xp build -qj2 ", ValueKind::Service),
            ("xp build -j ", ValueKind::Free),
            ("xp why ", ValueKind::Service),
            ("xp why a --against ", ValueKind::Reference),
            ("xp builder update ", ValueKind::Builder),
            ("xp logs --run ", ValueKind::Run),
            ("xp logs --phase ", ValueKind::Phase),
            ("xp deploy ", ValueKind::Environment),
            ("xp deploy staging ", ValueKind::Service),
            ("xp deploy staging --lock ", ValueKind::File),
            ("xp logs -f ", ValueKind::Service),
            ("xp -C ", ValueKind::Folder),
            ("xp -f ", ValueKind::File),
            ("xp lock --lock-file ", ValueKind::File),
        ] {
            assert_eq!(at(line).kind, kind, "{line}");
        }
        // `why` takes a single service.
        assert!(texts(&at("xp why a ")).is_empty());
        assert_eq!(
            texts(&at("xp plan --format ")),
            ["text", "json", "github", "gitlab"]
        );
        assert_eq!(texts(&at("xp plan --color=")), ["auto", "always", "never"]);
    }

    #[test]
    fn lists_keep_their_prefix() {
        let target = at("xp build z --services=a,b,c");
        assert_eq!(
            (target.prefix.as_str(), target.partial.as_str()),
            ("--services=a,b,", "c")
        );
        let given: Vec<&str> = target.given.iter().map(String::as_str).collect();
        assert_eq!(given, ["a", "b", "z"]);
        assert!(target.is_list);
    }

    #[test]
    fn options_are_offered_once_and_without_conflicts() {
        let target = at("xp build --no-push -");
        let offered = texts(&target);
        assert!(offered.contains(&"--services") && offered.contains(&"-C"));
        assert!(!offered.contains(&"--no-push"));
        let target = at("xp build --tag x --locked --");
        let offered = texts(&target);
        assert!(offered.contains(&"--tag") && offered.contains(&"--lock-file"));
        assert!(!offered.contains(&"--branch") && !offered.contains(&"--force"));
        assert!(!texts(&at("xp build --branch x --")).contains(&"--locked"));
    }

    #[test]
    fn directory_and_manifest_come_from_the_line() {
        let target = at("xp -Cother build -f x.yml ");
        assert_eq!(target.directory, Some("other".into()));
        assert_eq!(target.file, Some("x.yml".into()));
        assert_eq!(target.kind, ValueKind::Service);
        assert_eq!(at("xp build --file=y.yml z").file, Some("y.yml".into()));
    }

    #[test]
    fn invalid_lines_do_not_panic() {
        for line in [
            "xp ---",
            "xp --nothing=",
            "xp -Z",
            "xp nothing ",
            "xp build --nothing x",
            "xp help help ",
        ] {
            at(line);
        }
    }

    /// Values without completion must be listed explicitly.
    #[test]
    fn every_value_has_a_known_kind() {
        const FREE: &[&str] = &["N", "SECONDS", "TAG"];
        fn check(command: &Command) {
            for arg in command
                .get_arguments()
                .filter(|arg| arg.get_action().takes_values())
            {
                let name = arg.get_value_names().map(|names| names[0].to_string());
                let known = !arg.get_possible_values().is_empty()
                    || ValueKind::of(arg) != ValueKind::Free
                    || arg.get_value_hint() != ValueHint::Unknown
                    || name.as_deref().is_some_and(|name| FREE.contains(&name));
                assert!(
                    known,
                    "`{}`: no completion for the values {name:?} of `{}`: use one of the value names in \
                     src/cli/complete/place.rs, a `value_hint`, or add its name to FREE",
                    command.get_name(),
                    arg.get_id()
                );
            }
            let shown = command
                .get_subcommands()
                .filter(|command| !command.is_hide_set() && command.get_name() != "help");
            shown.for_each(check);
        }
        let mut definition = crate::cli::command();
        definition.build();
        check(&definition);
    }
}
