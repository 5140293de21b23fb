//! Converts clap's errors to xp's own style of messages and hints.

use std::ffi::OsString;
use std::fmt;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};

use super::foreign;
use crate::base::error::{Diagnostic, Exit};
use crate::base::shell::quoted;
use crate::base::suggest;

/// The result of a command line that runs no command.
#[derive(Debug)]
pub enum ParseError {
    /// It requests help or the version, or is empty.
    Help(Help),
    /// It is invalid.
    Usage(UsageError),
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Help(help) => help.0.fmt(f),
            Self::Usage(error) => error.fmt(f),
        }
    }
}

/// Help or version text.
#[derive(Debug)]
pub struct Help(clap::Error);

impl Help {
    /// Prints it to standard output, or to standard error if it was not requested.
    pub fn print(&self) {
        // A closed pipe is not an error here.
        _ = self.0.print();
    }

    /// Returns the exit code.
    pub fn exit(&self) -> Exit {
        if self.0.use_stderr() {
            Exit::Usage
        } else {
            Exit::Done
        }
    }
}

/// An invalid command line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct UsageError {
    message: String,
    hint: Option<String>,
}

impl Diagnostic for UsageError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }

    fn hints(&self) -> Vec<String> {
        self.hint.iter().cloned().collect()
    }
}

/// Converts clap's error.
pub fn parse_error(definition: &mut Command, words: &[OsString], error: clap::Error) -> ParseError {
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => ParseError::Help(Help(error)),
        _ => {
            // `build` propagates the global options to the subcommands.
            definition.build();
            let words: Vec<String> = words
                .iter()
                .map(|word| word.to_string_lossy().into_owned())
                .collect();
            let line = TypedLine::new(definition, &words);
            let (message, hint) = line.explain(&error);
            ParseError::Usage(UsageError { message, hint })
        }
    }
}

/// A message and its hint.
type MessageWithHint = (String, Option<String>);

struct TypedLine<'a> {
    root: &'a Command,
    /// The command that the line names.
    command: &'a Command,
    /// Its full name, such as `xp builder update`.
    path: String,
    words: &'a [String],
}

impl<'a> TypedLine<'a> {
    fn new(root: &'a Command, words: &'a [String]) -> Self {
        let (mut command, mut path) = (root, root.get_name().to_owned());
        let mut rest = words.iter().skip(1).take_while(|word| *word != "--");
        while let Some(word) = rest.next() {
            if word.starts_with('-') {
                // An option's value is not a subcommand, even if it has the name of one.
                if option(command, word).is_some_and(takes_value) {
                    rest.next();
                }
                continue;
            }
            if word == "help" {
                // `xp help build` is about the sibling command `build`.
                continue;
            }
            let Some(subcommand) = command.find_subcommand(word) else {
                break;
            };
            path = format!("{path} {}", subcommand.get_name());
            command = subcommand;
        }
        Self {
            root,
            command,
            path,
            words,
        }
    }

    fn explain(&self, error: &clap::Error) -> MessageWithHint {
        let argument = text(error, ContextKind::InvalidArg).map(|name| bare(&name).to_owned());
        let argument = argument.unwrap_or_default();
        let value = text(error, ContextKind::InvalidValue).unwrap_or_default();
        match error.kind() {
            ErrorKind::InvalidSubcommand => {
                let word = text(error, ContextKind::InvalidSubcommand).unwrap_or_default();
                self.unknown_command(&word)
            }
            ErrorKind::MissingSubcommand => (
                format!("`{}` requires a command", self.path),
                Some(format!("run `{} --help` for a list", self.path)),
            ),
            ErrorKind::UnknownArgument if argument.starts_with('-') => {
                self.unknown_option(&argument)
            }
            ErrorKind::UnknownArgument => self.unexpected(&argument),
            ErrorKind::InvalidValue if value.is_empty() => self.missing_value(&argument, error),
            ErrorKind::InvalidValue => {
                let values = texts(error, ContextKind::ValidValue);
                let values = values.iter().map(String::as_str);
                let message = format!("invalid value `{value}` for `{argument}`");
                (message, suggest::hint(&value, "possible values", values))
            }
            ErrorKind::ValueValidation => {
                let why = std::error::Error::source(error).map(ToString::to_string);
                let why = why.unwrap_or_else(|| "invalid value".to_owned());
                if value.is_empty() {
                    let hint = "the value is empty: is a variable unset?";
                    return (
                        format!("`{argument}` requires a value"),
                        Some(hint.to_owned()),
                    );
                }
                if argument == "--env" {
                    // The value of a variable may be secret.
                    (format!("`{argument}` requires a name"), Some(why))
                } else if why.contains(&format!("`{value}`")) {
                    (format!("`{argument}`: {why}"), None)
                } else {
                    let message = format!("invalid value `{value}` for `{argument}`");
                    (message, Some(why))
                }
            }
            ErrorKind::NoEquals | ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues => {
                self.missing_value(&argument, error)
            }
            ErrorKind::TooManyValues => self.unexpected(&value),
            ErrorKind::ArgumentConflict => self.conflict(&argument, error),
            ErrorKind::MissingRequiredArgument => {
                let missing = texts(error, ContextKind::InvalidArg);
                let missing: Vec<String> = missing
                    .iter()
                    .map(|name| format!("`{}`", plain(name)))
                    .collect();
                let form = usage(error).map(|form| format!("write `{form}`"));
                let is_option = missing.iter().any(|name| name.starts_with("`-"));
                let suffix = if is_option { " with these options" } else { "" };
                let message = format!("`{}` requires {}{suffix}", self.path, missing.join(" and "));
                (message, form.or_else(|| self.help()))
            }
            ErrorKind::InvalidUtf8 => (
                "an argument is not valid UTF-8".to_owned(),
                Some("names of services, branches and files must be UTF-8".to_owned()),
            ),
            _ => (
                format!("invalid command line for `{}`", self.path),
                self.help(),
            ),
        }
    }

    fn unknown_command(&self, word: &str) -> MessageWithHint {
        let message = if self.path == "xp" {
            format!("unknown command `{word}`")
        } else {
            format!("unknown command `{word}` for `{}`", self.path)
        };
        let foreign = foreign::equivalent_command(word).filter(|_| self.path == "xp");
        let names = self
            .command
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
            .map(Command::get_name)
            .filter(|name| *name != "help");
        let names: Vec<&str> = names.collect();
        let hint = foreign
            .map(str::to_owned)
            .or_else(|| suggest::hint(word, "available commands", names.iter().copied()))
            .or_else(|| Some("`xp help` lists the commands".to_owned()));
        (message, hint)
    }

    fn unknown_option(&self, option: &str) -> MessageWithHint {
        let message = format!("unknown option `{option}` for `{}`", self.path);
        if let Some(before) = self.option_before(option) {
            let hint = format!("if it is the value of `{before}`, write `{before}={option}`");
            return (message, Some(hint));
        }
        let long = option.strip_prefix("--");
        let near = long.and_then(|name| suggest::nearest(name, longs(self.command)));
        let elsewhere = || {
            let name = long?;
            let mut others = self.root.get_subcommands();
            let other = others.find(|other| longs(other).any(|known| known == name))?;
            Some(format!("`xp {}` has this option", other.get_name()))
        };
        let foreign = foreign::equivalent_option(&self.path, option);
        let hint = foreign
            .map(str::to_owned)
            .or_else(elsewhere)
            .or_else(|| near.map(|near| suggest::did_you_mean(format!("--{near}"))))
            .or_else(|| Some(format!("run `{} --help` for a list", self.path)));
        (message, hint)
    }

    /// Returns the option before a word if it takes a value.
    fn option_before(&self, word: &str) -> Option<&'a str> {
        let is_it = |typed: &str| typed == word || typed.starts_with(&format!("{word}="));
        let at = self.words.iter().position(|typed| is_it(typed))?;
        let before = self.words.get(at.checked_sub(1)?)?;
        let found = option(self.command, before)?;
        (before.starts_with("--") && takes_value(found)).then_some(before)
    }

    fn unexpected(&self, word: &str) -> MessageWithHint {
        let message = format!("unexpected argument `{word}` for `{}`", self.path);
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
                "put the command after `--`: `xp run {service} -- {typed}`"
            )),
            "xp shell" => Some(format!(
                "to run a command, use `xp run {service} -- {typed}`"
            )),
            _ => self.help(),
        };
        (message, hint)
    }

    fn missing_value(&self, argument: &str, error: &clap::Error) -> MessageWithHint {
        let values = texts(error, ContextKind::ValidValue);
        let name = text(error, ContextKind::InvalidArg).unwrap_or_default();
        let hint = match values.as_slice() {
            [] => format!("write `{}`", plain(&name)),
            values => format!("possible values: `{}`", values.join("`, `")),
        };
        (format!("`{argument}` requires a value"), Some(hint))
    }

    fn conflict(&self, argument: &str, error: &clap::Error) -> MessageWithHint {
        let others = texts(error, ContextKind::PriorArg);
        let others: Vec<&str> = others.iter().map(|other| bare(other)).collect();
        if others.is_empty() || others.contains(&argument) {
            let message = format!("`{argument}` can be used only once");
            return (message, Some("remove the duplicate".to_owned()));
        }
        let others = others.join("` or `");
        (
            format!("`{argument}` cannot be used with `{others}`"),
            Some("remove one of them".to_owned()),
        )
    }

    fn help(&self) -> Option<String> {
        Some(format!("run `{} --help` for usage", self.path))
    }
}

/// Returns the definition of the option that a word names.
fn option<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    if word.contains('=') {
        // It already has its value.
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

/// Returns the usage line of the command.
fn usage(error: &clap::Error) -> Option<String> {
    let form = match error.get(ContextKind::Usage)? {
        ContextValue::StyledStr(form) => StyledStr::to_string(form),
        _ => return None,
    };
    let form = form.lines().next()?.trim_start_matches("Usage:").trim();
    Some(plain(form))
}

/// Strips the value name from an option, or the brackets from an argument.
fn bare(name: &str) -> &str {
    let option = name.split([' ', '[', '=']).next().unwrap_or_default();
    if option.starts_with('-') {
        option
    } else {
        name.trim_matches(['<', '>', '[', ']', '.'])
    }
}

/// Removes the brackets around value names.
fn plain(form: &str) -> String {
    form.replace(['<', '>'], "")
}
