//! What may stand at the cursor, as the definition of the command line has it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::{Arg, Command, ValueHint};

use super::Candidate;
use super::line::Line;
use super::reader::Reader;

/// What may stand at the cursor.
#[derive(Debug)]
pub struct Place {
    /// What of the current word stays as it is, such as `--services=a,`.
    pub prefix: String,
    /// What follows it so far.
    pub partial: String,
    /// What it may be.
    pub kind: Kind,
    /// Values that are on the line already.
    pub given: BTreeSet<String>,
    /// Whether further values may follow in the same word.
    pub is_list: bool,
    /// `-C`, as typed.
    pub directory: Option<PathBuf>,
    /// `-f`, as typed.
    pub file: Option<PathBuf>,
}

/// What a word may be.
#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    /// One of these words.
    Words(Vec<Candidate>),
    /// A service.
    Service,
    /// A service and a reference of its remote.
    ServiceReference,
    /// A builder, by its folder.
    Builder,
    /// A branch that a service's remote has.
    Branch,
    /// A branch or tag that a service's remote has.
    Reference,
    /// A run of the past, by its logs.
    Run,
    /// A phase of a service's work.
    Phase,
    /// An environment that is deployed to.
    Environment,
    /// A file.
    File,
    /// A folder.
    Folder,
    /// Anything.
    Free,
}

impl Kind {
    /// Returns what the values of an option or an argument are, by its hint and the name of its values.
    pub fn of(arg: &Arg) -> Self {
        match arg.get_value_hint() {
            ValueHint::FilePath | ValueHint::AnyPath => return Self::File,
            ValueHint::DirPath => return Self::Folder,
            _ => {}
        }
        let name = arg.get_value_names().and_then(|names| names.first());
        match name.map(|name| name.as_str()).unwrap_or_default() {
            "SERVICE" | "NAMES" => Self::Service,
            "SERVICE=REF" => Self::ServiceReference,
            "BUILDER" => Self::Builder,
            "BRANCH" => Self::Branch,
            "REF" => Self::Reference,
            "RUN" => Self::Run,
            "PHASE" => Self::Phase,
            "ENV" => Self::Environment,
            _ => Self::Free,
        }
    }
}

/// Finds what may stand at the cursor of a line.
pub fn find(mut definition: Command, line: &Line) -> Place {
    definition.build();
    let mut reader = Reader::new(&definition);
    for word in &line.before {
        reader.read(word);
    }
    reader.place(&line.current)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: &str) -> Place {
        find(crate::cli::command(), &Line::split(line, ""))
    }

    fn texts(place: &Place) -> Vec<&str> {
        match &place.kind {
            Kind::Words(words) => words.iter().map(|word| word.text.as_str()).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn commands_come_first() {
        let place = at("xp bu");
        assert!(texts(&place).contains(&"build") && texts(&place).contains(&"builder"));
        assert!(!texts(&place).iter().any(|text| text.starts_with("__")));
        assert_eq!(place.partial, "bu");
        assert!(texts(&at("xp -C /tmp ")).contains(&"plan"));
        assert!(texts(&at("xp builder ")).contains(&"update"));
        assert!(texts(&at("xp help ")).contains(&"build"));
    }

    #[test]
    fn values_are_known_by_option_and_argument() {
        for (line, kind) in [
            ("xp build ", Kind::Service),
            ("xp build a b ", Kind::Service),
            ("xp build --force ", Kind::Service),
            ("xp build --services ", Kind::Service),
            ("xp build --reference ", Kind::ServiceReference),
            ("xp build --branch ", Kind::Branch),
            ("xp build --branch=", Kind::Branch),
            ("xp build --tag ", Kind::Free),
            ("xp build --jobs 2 -- ", Kind::Service),
            ("xp build -qj2 ", Kind::Service),
            ("xp build -j ", Kind::Free),
            ("xp why ", Kind::Service),
            ("xp why a --against ", Kind::Reference),
            ("xp builder update ", Kind::Builder),
            ("xp logs --run ", Kind::Run),
            ("xp logs --phase ", Kind::Phase),
            ("xp deploy ", Kind::Environment),
            ("xp deploy staging ", Kind::Service),
            ("xp deploy staging --lock ", Kind::File),
            ("xp logs -f ", Kind::Service),
            ("xp -C ", Kind::Folder),
            ("xp -f ", Kind::File),
            ("xp lock --lock-file ", Kind::File),
        ] {
            assert_eq!(at(line).kind, kind, "{line}");
        }
        // One service is all that `why` takes.
        assert!(texts(&at("xp why a ")).is_empty());
        assert_eq!(texts(&at("xp plan --format ")), ["text", "json"]);
        assert_eq!(texts(&at("xp plan --color=")), ["auto", "always", "never"]);
    }

    #[test]
    fn lists_keep_what_they_have() {
        let place = at("xp build z --services=a,b,c");
        assert_eq!(
            (place.prefix.as_str(), place.partial.as_str()),
            ("--services=a,b,", "c")
        );
        let given: Vec<&str> = place.given.iter().map(String::as_str).collect();
        assert_eq!(given, ["a", "b", "z"]);
        assert!(place.is_list);
    }

    #[test]
    fn options_are_offered_once_and_not_against_others() {
        let place = at("xp build --no-push -");
        let offered = texts(&place);
        assert!(offered.contains(&"--services") && offered.contains(&"-C"));
        assert!(!offered.contains(&"--no-push"));
        let place = at("xp build --tag x --locked --");
        let offered = texts(&place);
        assert!(offered.contains(&"--tag") && offered.contains(&"--lock-file"));
        assert!(!offered.contains(&"--branch") && !offered.contains(&"--force"));
        assert!(!texts(&at("xp build --branch x --")).contains(&"--locked"));
    }

    #[test]
    fn the_platform_is_that_of_the_line() {
        let place = at("xp -Cother build -f x.yml ");
        assert_eq!(place.directory, Some("other".into()));
        assert_eq!(place.file, Some("x.yml".into()));
        assert_eq!(place.kind, Kind::Service);
        assert_eq!(at("xp build --file=y.yml z").file, Some("y.yml".into()));
    }

    #[test]
    fn nothing_breaks_it() {
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

    /// A value that shells cannot complete is meant to be so.
    #[test]
    fn every_value_is_of_a_known_kind() {
        const FREE: &[&str] = &["N", "SECONDS", "TAG"];
        fn check(command: &Command) {
            for arg in command
                .get_arguments()
                .filter(|arg| arg.get_action().takes_values())
            {
                let name = arg.get_value_names().map(|names| names[0].to_string());
                let known = !arg.get_possible_values().is_empty()
                    || Kind::of(arg) != Kind::Free
                    || arg.get_value_hint() != ValueHint::Unknown
                    || name.as_deref().is_some_and(|name| FREE.contains(&name));
                assert!(
                    known,
                    "`{}`: what are the values {name:?} of `{}`? Give it one of the value names that \
                     src/completion/place.rs knows, a `value_hint`, or add its name to FREE",
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
