//! A command line that is wrong, told in the voice of all other messages.

use std::ffi::OsString;
use std::fmt;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};

use super::foreign;
use crate::error::{Diagnostic, Exit};
use crate::manifest::suggest;
use crate::shell::quoted;

/// What a command line is answered by that starts no command.
#[derive(Debug)]
pub enum Answer {
    /// It asks for help or the version, or is nothing at all.
    Help(Help),
    /// It is wrong.
    Wrong(WrongUsage),
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Help(help) => help.0.fmt(f),
            Self::Wrong(wrong) => wrong.fmt(f),
        }
    }
}

/// A text that a command line asks for.
#[derive(Debug)]
pub struct Help(clap::Error);

impl Help {
    /// Prints it, where it belongs.
    pub fn print(&self) {
        // A reader that has gone away is no failure.
        _ = self.0.print();
    }

    /// Returns with what the process exits.
    pub fn exit(&self) -> Exit {
        match self.0.use_stderr() {
            true => Exit::Usage,
            false => Exit::Done,
        }
    }
}

/// A command line that is wrong.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct WrongUsage {
    message: String,
    hint: Option<String>,
}

impl Diagnostic for WrongUsage {
    fn exit(&self) -> Exit {
        Exit::Usage
    }

    fn hints(&self) -> Vec<String> {
        self.hint.iter().cloned().collect()
    }
}

/// Returns what a command line is answered by that the definition does not take.
pub fn answer(definition: &mut Command, words: &[OsString], error: clap::Error) -> Answer {
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Answer::Help(Help(error)),
        _ => {
            // Options of xp itself are known to its commands only then.
            definition.build();
            let words: Vec<String> = words
                .iter()
                .map(|word| word.to_string_lossy().into_owned())
                .collect();
            let line = Line::new(definition, &words);
            let (message, hint) = line.wrong(&error);
            Answer::Wrong(WrongUsage { message, hint })
        }
    }
}

/// What is wrong, and what a person can do.
type Told = (String, Option<String>);

struct Line<'a> {
    root: &'a Command,
    /// The command that the line names.
    command: &'a Command,
    /// How that is written, such as `xp builder update`.
    path: String,
    words: &'a [String],
}

impl<'a> Line<'a> {
    fn new(root: &'a Command, words: &'a [String]) -> Self {
        let (mut command, mut path) = (root, root.get_name().to_owned());
        let mut rest = words.iter().skip(1).take_while(|word| *word != "--");
        while let Some(word) = rest.next() {
            if word.starts_with('-') {
                // The value of an option is no command, whatever it is called.
                if option(command, word).is_some_and(takes_value) {
                    rest.next();
                }
                continue;
            }
            if word == "help" {
                // What it is asked about is a command beside it.
                continue;
            }
            let Some(below) = command.find_subcommand(word) else {
                break;
            };
            path = format!("{path} {}", below.get_name());
            command = below;
        }
        Self {
            root,
            command,
            path,
            words,
        }
    }

    fn wrong(&self, error: &clap::Error) -> Told {
        let argument = text(error, ContextKind::InvalidArg).map(|name| bare(&name).to_owned());
        let argument = argument.unwrap_or_default();
        let value = text(error, ContextKind::InvalidValue).unwrap_or_default();
        match error.kind() {
            ErrorKind::InvalidSubcommand => {
                let word = text(error, ContextKind::InvalidSubcommand).unwrap_or_default();
                self.unknown_command(&word)
            }
            ErrorKind::MissingSubcommand => (
                format!("`{}` needs a command", self.path),
                Some(format!("`{} --help` lists them", self.path)),
            ),
            ErrorKind::UnknownArgument if argument.starts_with('-') => {
                self.unknown_option(&argument)
            }
            ErrorKind::UnknownArgument => self.too_much(&argument),
            ErrorKind::InvalidValue if value.is_empty() => self.no_value(&argument, error),
            ErrorKind::InvalidValue => {
                let values = texts(error, ContextKind::ValidValue);
                let values = values.iter().map(String::as_str);
                let message = match argument.starts_with('-') {
                    true => format!("`{argument}` does not take `{value}`"),
                    false => format!("`{}` does not take `{value}`", self.path),
                };
                (message, suggest::hint(&value, "it takes", values))
            }
            ErrorKind::ValueValidation => {
                let why = std::error::Error::source(error).map(ToString::to_string);
                let why = why.unwrap_or_else(|| "the value cannot be used".to_owned());
                if value.is_empty() {
                    let hint = "an empty value stands for nothing: is a variable not set?";
                    return (format!("`{argument}` needs a value"), Some(hint.to_owned()));
                }
                match (why.starts_with('`'), argument.as_str()) {
                    // It begins with what is wrong.
                    (true, _) => (format!("`{argument}`: {why}"), None),
                    // What follows the name of a variable may be secret.
                    (false, "--env") => (format!("`{argument}` needs a name"), Some(why)),
                    (false, _) => (format!("`{argument}` does not take `{value}`"), Some(why)),
                }
            }
            ErrorKind::NoEquals | ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues => {
                self.no_value(&argument, error)
            }
            ErrorKind::TooManyValues => self.too_much(&value),
            ErrorKind::ArgumentConflict => self.conflict(&argument, error),
            ErrorKind::MissingRequiredArgument => {
                let missing = texts(error, ContextKind::InvalidArg);
                let missing: Vec<String> = missing
                    .iter()
                    .map(|name| format!("`{}`", plain(name)))
                    .collect();
                let form = usage(error).map(|form| format!("write `{form}`"));
                let is_option = missing.iter().any(|name| name.starts_with("`-"));
                let so = if is_option { " for that" } else { "" };
                let message = format!("`{}` needs {}{so}", self.path, missing.join(" and "));
                (message, form.or_else(|| self.help()))
            }
            ErrorKind::InvalidUtf8 => (
                "a word of the command line is not UTF-8".to_owned(),
                Some("names of services, branches and files that xp takes are UTF-8".to_owned()),
            ),
            _ => (
                format!("this is no command line of `{}`", self.path),
                self.help(),
            ),
        }
    }

    fn unknown_command(&self, word: &str) -> Told {
        let message = match self.path == "xp" {
            true => format!("there is no command `{word}`"),
            false => format!("`{}` has no command `{word}`", self.path),
        };
        let foreign = foreign::instead(word).filter(|_| self.path == "xp");
        let names = self
            .command
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
            .map(Command::get_name)
            .filter(|name| *name != "help");
        let names: Vec<&str> = names.collect();
        let hint = foreign
            .map(str::to_owned)
            .or_else(|| suggest::hint(word, "the commands", names.iter().copied()))
            .or_else(|| Some("`xp help` lists the commands".to_owned()));
        (message, hint)
    }

    fn unknown_option(&self, option: &str) -> Told {
        let message = format!("`{}` has no option `{option}`", self.path);
        if let Some(before) = self.taker(option) {
            let hint = format!("if it is the value of `{before}`, write `{before}={option}`");
            return (message, Some(hint));
        }
        let long = option.strip_prefix("--");
        let near = long.and_then(|name| suggest::nearest(name, longs(self.command)));
        let elsewhere = || {
            let name = long?;
            let mut others = self.root.get_subcommands();
            let other = others.find(|other| longs(other).any(|known| known == name))?;
            Some(format!("`xp {}` has one of that name", other.get_name()))
        };
        let foreign = foreign::option_instead(&self.path, option);
        let hint = foreign
            .map(str::to_owned)
            .or_else(|| near.map(|near| format!("did you mean `--{near}`?")))
            .or_else(elsewhere)
            .or_else(|| Some(format!("`{} --help` lists them", self.path)));
        (message, hint)
    }

    /// Returns the option before a word, where it takes a value.
    fn taker(&self, word: &str) -> Option<&'a str> {
        let is_it = |typed: &str| typed == word || typed.starts_with(&format!("{word}="));
        let at = self.words.iter().position(|typed| is_it(typed))?;
        let before = self.words.get(at.checked_sub(1)?)?;
        let found = option(self.command, before)?;
        (before.starts_with("--") && takes_value(found)).then_some(before)
    }

    fn too_much(&self, word: &str) -> Told {
        let message = format!("`{}` does not take `{word}`", self.path);
        let from = self.words.iter().position(|typed| typed == word);
        let rest = from.and_then(|at| self.words.get(at..));
        let typed: Vec<_> = rest
            .iter()
            .flat_map(|rest| rest.iter())
            .map(|word| quoted(word))
            .collect();
        let typed = typed.join(" ");
        let service = from.and_then(|at| self.words.get(at.checked_sub(1)?));
        let service = service
            .filter(|word| !word.starts_with('-') && !self.path.ends_with(word.as_str()))
            .map_or("SERVICE", String::as_str);
        let hint = match self.path.as_str() {
            "xp run" => Some(format!(
                "a command comes after `--`: `xp run {service} -- {typed}`"
            )),
            "xp shell" => Some(format!(
                "it opens a shell; `xp run {service} -- {typed}` runs a command"
            )),
            _ => self.help(),
        };
        (message, hint)
    }

    fn no_value(&self, argument: &str, error: &clap::Error) -> Told {
        let values = texts(error, ContextKind::ValidValue);
        let name = text(error, ContextKind::InvalidArg).unwrap_or_default();
        let hint = match values.as_slice() {
            [] => format!("write `{}`", plain(&name)),
            values => format!("it takes: `{}`", values.join("`, `")),
        };
        (format!("`{argument}` needs a value"), Some(hint))
    }

    fn conflict(&self, argument: &str, error: &clap::Error) -> Told {
        let others = texts(error, ContextKind::PriorArg);
        let others: Vec<&str> = others.iter().map(|other| bare(other)).collect();
        if others.is_empty() || others.contains(&argument) {
            let message = format!("`{argument}` is given more than once");
            return (message, Some("write it once".to_owned()));
        }
        let others = others.join("` or `");
        (
            format!("`{argument}` cannot be used with `{others}`"),
            Some("leave out one of them".to_owned()),
        )
    }

    fn help(&self) -> Option<String> {
        Some(format!("`{} --help` tells what it takes", self.path))
    }
}

/// Returns the option that a word is, of a command or of xp itself.
fn option<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    if word.contains('=') {
        // It has its value already.
        return None;
    }
    let is_it = |arg: &&Arg| match word.strip_prefix("--") {
        Some(name) => arg.get_long() == Some(name),
        None => {
            let mut letters = word.trim_start_matches('-').chars();
            letters.next() == arg.get_short() && letters.next().is_none()
        }
    };
    command.get_arguments().find(is_it)
}

fn takes_value(option: &Arg) -> bool {
    option.get_action().takes_values()
}

fn longs(command: &Command) -> impl Iterator<Item = &str> {
    command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set())
        .filter_map(Arg::get_long)
}

fn text(error: &clap::Error, kind: ContextKind) -> Option<String> {
    texts(error, kind).into_iter().next()
}

fn texts(error: &clap::Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        Some(ContextValue::StyledStr(text)) => vec![text.to_string()],
        _ => Vec::new(),
    }
}

/// Returns the form of the command that was meant.
fn usage(error: &clap::Error) -> Option<String> {
    let form = match error.get(ContextKind::Usage)? {
        ContextValue::StyledStr(form) => StyledStr::to_string(form),
        _ => return None,
    };
    let form = form.lines().next()?.trim_start_matches("Usage:").trim();
    Some(plain(form))
}

/// Returns an option without its value's name, or an argument's name.
fn bare(name: &str) -> &str {
    let option = name.split([' ', '[', '=']).next().unwrap_or_default();
    match option.starts_with('-') {
        true => option,
        false => name.trim_matches(['<', '>', '[', ']', '.']),
    }
}

/// Returns a form in which the names of values stand without brackets.
fn plain(form: &str) -> String {
    form.replace(['<', '>'], "")
}
