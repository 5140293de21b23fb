//! Parses a partial command line word by word, following the clap definition.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::{Arg, ArgAction, Command};

use super::CompletionCandidate;
use super::target::{CompletionTarget, ValueKind};

/// The state after parsing some words.
pub struct LineParser<'c> {
    command: &'c Command,
    /// The option that takes the next word as its value.
    pending: Option<&'c Arg>,
    /// Whether `--` was read.
    only_arguments: bool,
    arguments: Vec<String>,
    options: Vec<&'c Arg>,
    services: BTreeSet<String>,
    directory: Option<PathBuf>,
    file: Option<PathBuf>,
}

impl<'c> LineParser<'c> {
    /// Starts with the definition of `xp`.
    pub fn new(command: &'c Command) -> Self {
        Self {
            command,
            pending: None,
            only_arguments: false,
            arguments: Vec::new(),
            options: Vec::new(),
            services: BTreeSet::new(),
            directory: None,
            file: None,
        }
    }

    /// Parses a word before the cursor.
    pub fn read(&mut self, word: &str) {
        if let Some(option) = self.pending.take() {
            self.record(option, word);
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
            Some(value) => self.record(option, value),
            None if takes_value(option) => self.pending = Some(option),
            None => {}
        }
    }

    fn argument(&mut self, word: &str) {
        let subcommand = self.command.find_subcommand(word);
        match subcommand.filter(|_| self.arguments.is_empty() && !self.only_arguments) {
            Some(subcommand) => self.command = subcommand,
            None => {
                if let Some(arg) = self.next_argument() {
                    self.record(arg, word);
                }
                self.arguments.push(word.to_owned());
            }
        }
    }

    /// Records a value that completion depends on.
    fn record(&mut self, arg: &Arg, value: &str) {
        match arg.get_id().as_str() {
            "directory" => self.directory = Some(value.into()),
            "file" => self.file = Some(value.into()),
            _ if matches!(ValueKind::of(arg), ValueKind::Service | ValueKind::Builder) => {
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

    /// Parses a cluster of short options. Returns the last option, and its value if it is attached.
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

    /// Returns the positional argument that the next word belongs to.
    fn next_argument(&self) -> Option<&'c Arg> {
        let arguments: Vec<&Arg> = self.command.get_positionals().collect();
        let last = arguments.last().copied().filter(|last| {
            let count = last.get_num_args();
            count.is_some_and(|count| count.max_values() > 1)
                || matches!(last.get_action(), ArgAction::Append)
        });
        arguments.get(self.arguments.len()).copied().or(last)
    }

    /// Returns what to complete at the cursor.
    pub fn target(mut self, current: &str) -> CompletionTarget {
        if let Some(option) = self.pending {
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

    fn words(self, words: Vec<CompletionCandidate>, partial: &str) -> CompletionTarget {
        CompletionTarget {
            prefix: String::new(),
            partial: partial.to_owned(),
            kind: ValueKind::Words(words),
            given: BTreeSet::new(),
            is_list: false,
            directory: self.directory,
            file: self.file,
        }
    }

    fn value(mut self, arg: &Arg, mut prefix: String, mut partial: &str) -> CompletionTarget {
        let mut is_list = false;
        if let Some(delimiter) = arg.get_value_delimiter() {
            is_list = true;
            if let Some((before, last)) = partial.rsplit_once(delimiter) {
                prefix.push_str(&partial[..partial.len() - last.len()]);
                self.record(arg, before);
                partial = last;
            }
        }
        let possible: Vec<CompletionCandidate> = arg
            .get_possible_values()
            .iter()
            .filter(|value| !value.is_hide_set())
            .map(|value| CompletionCandidate {
                text: value.get_name().to_owned(),
                about: value
                    .get_help()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
            })
            .collect();
        let kind = if possible.is_empty() {
            ValueKind::of(arg)
        } else {
            ValueKind::Words(possible)
        };
        CompletionTarget {
            prefix,
            partial: partial.to_owned(),
            kind,
            given: self.services,
            is_list,
            directory: self.directory,
            file: self.file,
        }
    }

    fn subcommands(&self) -> Vec<CompletionCandidate> {
        let subcommands = self.command.get_subcommands();
        let shown = subcommands.filter(|subcommand| !subcommand.is_hide_set());
        let candidate = |subcommand: &Command| CompletionCandidate {
            text: subcommand.get_name().to_owned(),
            about: first_line(subcommand.get_about()),
        };
        shown.map(candidate).collect()
    }

    fn long_options(&self) -> Vec<CompletionCandidate> {
        let options = self.offered_options();
        let candidate = |option: &Arg| {
            Some(CompletionCandidate {
                text: format!("--{}", option.get_long()?),
                about: first_line(option.get_help()),
            })
        };
        options.filter_map(candidate).collect()
    }

    /// Returns the options that only have a short form.
    fn short_options(&self) -> Vec<CompletionCandidate> {
        let options = self.offered_options();
        let without_name = options.filter(|option| option.get_long().is_none());
        let candidate = |option: &Arg| {
            Some(CompletionCandidate {
                text: format!("-{}", option.get_short()?),
                about: first_line(option.get_help()),
            })
        };
        without_name.filter_map(candidate).collect()
    }

    /// Returns the options that can still be added to the line.
    fn offered_options(&self) -> impl Iterator<Item = &Arg> {
        let given: Vec<&str> = self
            .options
            .iter()
            .filter(|option| !matches!(option.get_action(), ArgAction::Append))
            .map(|option| option.get_id().as_str())
            .collect();
        let options = self.command.get_arguments();
        let options = options.filter(|option| !option.is_positional());
        options.filter(move |option| {
            let id = option.get_id().as_str();
            let conflicts = || {
                self.options
                    .iter()
                    .any(|given| self.conflict(given, option))
            };
            !option.is_hide_set() && !given.contains(&id) && !conflicts()
        })
    }

    /// Returns whether two options conflict, in either direction.
    fn conflict(&self, one: &Arg, other: &Arg) -> bool {
        let excludes = |one: &Arg, other: &Arg| {
            let excluded = self.command.get_arg_conflicts_with(one);
            excluded.iter().any(|arg| arg.get_id() == other.get_id())
        };
        excludes(one, other) || excludes(other, one)
    }
}

fn takes_value(option: &Arg) -> bool {
    option.get_action().takes_values() && !option.is_require_equals_set()
}

fn first_line(text: Option<&clap::builder::StyledStr>) -> String {
    let text = text.map(ToString::to_string).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}
