//! What may stand at the cursor, as the definition of the command line has it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::{Arg, Command, ValueHint};

use super::Candidate;
use super::line::Line;

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

/// What was read of a line.
struct Reader<'c> {
    command: &'c Command,
    /// The option whose value comes next.
    waiting: Option<&'c Arg>,
    /// After `--`.
    only_arguments: bool,
    arguments: Vec<String>,
    options: Vec<&'c Arg>,
    services: BTreeSet<String>,
    directory: Option<PathBuf>,
    file: Option<PathBuf>,
}

impl<'c> Reader<'c> {
    fn new(command: &'c Command) -> Self {
        Self {
            command,
            waiting: None,
            only_arguments: false,
            arguments: Vec::new(),
            options: Vec::new(),
            services: BTreeSet::new(),
            directory: None,
            file: None,
        }
    }

    fn read(&mut self, word: &str) {
        if let Some(option) = self.waiting.take() {
            self.note(option, word);
        } else if self.only_arguments {
            self.argument(word);
        } else if word == "--" {
            self.only_arguments = true;
        } else if let Some(long) = word.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (long, None),
            };
            if let Some(option) = self.long(name) {
                self.option(option, value);
            }
        } else if let Some(letters) = word.strip_prefix('-').filter(|rest| !rest.is_empty()) {
            if let Some((option, value)) = self.short(letters) {
                self.option(option, value);
            }
        } else {
            self.argument(word);
        }
    }

    fn option(&mut self, option: &'c Arg, value: Option<&str>) {
        self.options.push(option);
        match value {
            Some(value) => self.note(option, value),
            None if takes_value(option) => self.waiting = Some(option),
            None => {}
        }
    }

    fn argument(&mut self, word: &str) {
        let subcommand = self.command.find_subcommand(word);
        match subcommand.filter(|_| self.arguments.is_empty() && !self.only_arguments) {
            Some(subcommand) => self.command = subcommand,
            None => {
                if let Some(arg) = self.next_argument() {
                    self.note(arg, word);
                }
                self.arguments.push(word.to_owned());
            }
        }
    }

    /// Notes a value that is of interest later.
    fn note(&mut self, arg: &Arg, value: &str) {
        match arg.get_id().as_str() {
            "directory" => self.directory = Some(value.into()),
            "file" => self.file = Some(value.into()),
            _ if matches!(Kind::of(arg), Kind::Service | Kind::Builder) => {
                let values = value.split(',').filter(|value| !value.is_empty());
                self.services.extend(values.map(str::to_owned));
            }
            _ => {}
        }
    }

    fn long(&self, name: &str) -> Option<&'c Arg> {
        let mut options = self.command.get_arguments();
        options.find(|option| {
            let names = option.get_long_and_visible_aliases().unwrap_or_default();
            names.contains(&name)
        })
    }

    /// Finds the option of the last of some letters that can be read, and its value where one follows.
    fn short<'w>(&mut self, letters: &'w str) -> Option<(&'c Arg, Option<&'w str>)> {
        for (at, letter) in letters.char_indices() {
            let mut options = self.command.get_arguments();
            let option = options.find(|option| option.get_short() == Some(letter))?;
            let rest = &letters[at + letter.len_utf8()..];
            if takes_value(option) {
                let value = rest.strip_prefix('=').unwrap_or(rest);
                return Some((option, Some(value).filter(|_| !rest.is_empty())));
            }
            if rest.is_empty() {
                return Some((option, None));
            }
            self.options.push(option);
        }
        None
    }

    /// Returns the argument that the next word would be.
    fn next_argument(&self) -> Option<&'c Arg> {
        let arguments: Vec<&Arg> = self.command.get_positionals().collect();
        let last = arguments.last().copied().filter(|last| {
            let count = last.get_num_args();
            count.is_some_and(|count| count.max_values() > 1)
                || matches!(last.get_action(), clap::ArgAction::Append)
        });
        arguments.get(self.arguments.len()).copied().or(last)
    }

    fn place(mut self, current: &str) -> Place {
        if let Some(option) = self.waiting {
            return self.value(option, String::new(), current);
        }
        if !self.only_arguments {
            if let Some(long) = current.strip_prefix("--") {
                let option = long.split_once('=');
                let Some((name, value)) = option else {
                    let words = self.long_options();
                    return self.words(words, current);
                };
                return match self.long(name) {
                    Some(option) => self.value(option, format!("--{name}="), value),
                    None => self.words(Vec::new(), current),
                };
            }
            if current == "-" {
                let mut words = self.short_options();
                words.extend(self.long_options());
                return self.words(words, current);
            }
            if let Some(letters) = current.strip_prefix('-') {
                return match self.short(letters) {
                    Some((option, Some(value))) => {
                        let prefix = current[..current.len() - value.len()].to_owned();
                        self.value(option, prefix, value)
                    }
                    _ => self.words(Vec::new(), current),
                };
            }
            if self.command.has_subcommands() && self.arguments.is_empty() {
                let words = self.subcommands();
                return self.words(words, current);
            }
        }
        match self.next_argument() {
            Some(argument) => self.value(argument, String::new(), current),
            None => self.words(Vec::new(), current),
        }
    }

    fn words(self, words: Vec<Candidate>, partial: &str) -> Place {
        Place {
            prefix: String::new(),
            partial: partial.to_owned(),
            kind: Kind::Words(words),
            given: BTreeSet::new(),
            is_list: false,
            directory: self.directory,
            file: self.file,
        }
    }

    fn value(mut self, arg: &Arg, mut prefix: String, mut partial: &str) -> Place {
        let mut is_list = false;
        if let Some(delimiter) = arg.get_value_delimiter() {
            is_list = true;
            if let Some((before, last)) = partial.rsplit_once(delimiter) {
                prefix.push_str(&partial[..partial.len() - last.len()]);
                self.note(arg, before);
                partial = last;
            }
        }
        let possible: Vec<Candidate> = arg
            .get_possible_values()
            .iter()
            .filter(|value| !value.is_hide_set())
            .map(|value| Candidate {
                text: value.get_name().to_owned(),
                about: value
                    .get_help()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
            })
            .collect();
        let kind = if possible.is_empty() {
            Kind::of(arg)
        } else {
            Kind::Words(possible)
        };
        Place {
            prefix,
            partial: partial.to_owned(),
            kind,
            given: self.services,
            is_list,
            directory: self.directory,
            file: self.file,
        }
    }

    fn subcommands(&self) -> Vec<Candidate> {
        let subcommands = self.command.get_subcommands();
        let shown = subcommands.filter(|subcommand| !subcommand.is_hide_set());
        let candidate = |subcommand: &Command| Candidate {
            text: subcommand.get_name().to_owned(),
            about: first_line(subcommand.get_about()),
        };
        shown.map(candidate).collect()
    }

    fn long_options(&self) -> Vec<Candidate> {
        let options = self.offered_options();
        let candidate = |option: &Arg| {
            Some(Candidate {
                text: format!("--{}", option.get_long()?),
                about: first_line(option.get_help()),
            })
        };
        options.filter_map(candidate).collect()
    }

    /// Returns the options that have a letter alone.
    fn short_options(&self) -> Vec<Candidate> {
        let options = self.offered_options();
        let without_name = options.filter(|option| option.get_long().is_none());
        let candidate = |option: &Arg| {
            Some(Candidate {
                text: format!("-{}", option.get_short()?),
                about: first_line(option.get_help()),
            })
        };
        without_name.filter_map(candidate).collect()
    }

    /// Returns the options that can be added to what is on the line.
    fn offered_options(&self) -> impl Iterator<Item = &Arg> {
        let given: Vec<&str> = self
            .options
            .iter()
            .filter(|option| !matches!(option.get_action(), clap::ArgAction::Append))
            .map(|option| option.get_id().as_str())
            .collect();
        let options = self.command.get_arguments();
        let options = options.filter(|option| !option.is_positional());
        options.filter(move |option| {
            let id = option.get_id().as_str();
            let is_refused = || {
                self.options
                    .iter()
                    .any(|given| self.conflict(given, option))
            };
            !option.is_hide_set() && !given.contains(&id) && !is_refused()
        })
    }

    /// Tells whether two options cannot stand together, whichever of them says so.
    fn conflict(&self, one: &Arg, other: &Arg) -> bool {
        let refuses = |one: &Arg, other: &Arg| {
            let refused = self.command.get_arg_conflicts_with(one);
            refused.iter().any(|arg| arg.get_id() == other.get_id())
        };
        refuses(one, other) || refuses(other, one)
    }
}

fn takes_value(option: &Arg) -> bool {
    option.get_action().takes_values() && !option.is_require_equals_set()
}

fn first_line(text: Option<&clap::builder::StyledStr>) -> String {
    let text = text.map(ToString::to_string).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
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
        const FREE: &[&str] = &["N", "TAG"];
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
