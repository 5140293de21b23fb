//! The generated pages of the documentation: all commands, and all environment variables.

use std::fmt::Write as _;

use clap::{Arg, Command};

use super::{ReferencePage, examples, man};
use crate::base::error::Exit;
use crate::model::environment::VariableGroup;

/// Returns a page as Markdown.
pub fn page(page: ReferencePage) -> String {
    match page {
        ReferencePage::Commands => commands(),
        ReferencePage::Environment => environment(),
    }
}

fn commands() -> String {
    let mut definition = super::command().disable_help_subcommand(true);
    definition.build();
    let mut commands = Vec::new();
    man::collect(&definition, "xp".to_owned(), &mut commands);
    let mut text = "# Commands\n\nThis page is generated from the program. `xp help COMMAND` and `xp man COMMAND` show \
                    the same. All commands have the global options of [`xp`](#xp).\n\n| command | |\n|---|---|\n"
        .to_owned();
    for (path, command) in &commands {
        let anchor = path.replace(' ', "-");
        _ = writeln!(text, "| [`{path}`](#{anchor}) | {} |", about(command));
    }
    for (path, command) in &commands {
        describe(&mut text, command, path);
    }
    text.push_str("\n## Exit codes\n\n| code | meaning |\n|---|---|\n");
    for (exit, about) in Exit::CODES {
        _ = writeln!(text, "| {} | {about} |", exit.code());
    }
    text.push_str("\n`xp run` and `xp shell` exit with the code of the command.\n");
    text
}

fn describe(text: &mut String, command: &Command, path: &str) {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    _ = writeln!(text, "\n## {path}\n\n```text\n{usage}\n```");
    let about = command.get_long_about().or(command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    _ = writeln!(text, "\n{}", escaped(&about));
    // They are the same for each command.
    let is_listed = |arg: &&Arg| {
        !arg.is_hide_set() && (path == "xp" || arg.get_help_heading() != Some("Global options"))
    };
    let arguments: Vec<&Arg> = command.get_arguments().filter(is_listed).collect();
    let (positional, options): (Vec<&Arg>, Vec<&Arg>) =
        arguments.into_iter().partition(|arg| arg.is_positional());
    let title = if path == "xp" {
        "Global options"
    } else {
        "Options"
    };
    for (title, arguments) in [("Arguments", positional), (title, options)] {
        if !arguments.is_empty() {
            _ = writeln!(text, "\n{title}:\n");
        }
        for argument in arguments {
            list(text, argument);
        }
    }
    let examples = examples(path);
    if !examples.is_empty() {
        text.push_str("\nExamples:\n\n");
    }
    for (line, about) in examples {
        _ = writeln!(text, "- `{line}`: {}", escaped(about));
    }
}

fn list(text: &mut String, argument: &Arg) {
    let short = argument.get_short().map(|short| format!("-{short}"));
    let long = argument.get_long().map(|long| format!("--{long}"));
    let mut title: Vec<String> = short.into_iter().chain(long).collect();
    let takes_values = argument.get_action().takes_values();
    if takes_values {
        let names = argument.get_value_names().unwrap_or_default().join(" ");
        match title.last_mut() {
            Some(option) => _ = write!(option, " {names}"),
            None => title.push(names),
        }
    }
    let help = argument.get_long_help().or(argument.get_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    let help = escaped(&help)
        .replace('\n', "\n  ")
        .replace("\n  \n", "\n\n");
    _ = write!(text, "- `{}`: {help}", title.join("`, `"));
    let defaults = argument.get_default_values().iter();
    let defaults: Vec<_> = defaults.map(|value| value.to_string_lossy()).collect();
    if takes_values && !defaults.is_empty() {
        _ = write!(text, " [default: {}]", defaults.join(","));
    }
    text.push('\n');
    let values = argument.get_possible_values();
    for value in values.iter().filter(|it| takes_values && !it.is_hide_set()) {
        let help = value
            .get_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        _ = writeln!(text, "  - `{}`: {}", value.get_name(), escaped(&help));
    }
}

fn environment() -> String {
    let mut text = "# Environment variables\n\nThis page is generated from the program. `xp man` shows the same. A \
                    variable that is empty counts as not set.\n"
        .to_owned();
    for group in VariableGroup::ALL {
        let title = group.title();
        _ = write!(
            text,
            "\n## {title}\n\n| variable | | default |\n|---|---|---|\n"
        );
        for variable in group.variables() {
            let (name, about, default) = (variable.name, variable.about, variable.default);
            _ = writeln!(text, "| `{name}` | {about} | {default} |");
        }
    }
    text
}

fn about(command: &Command) -> String {
    let about = command.get_about().map(ToString::to_string);
    escaped(&about.unwrap_or_default())
}

/// Escapes what Markdown would read as markup.
fn escaped(text: &str) -> String {
    text.replace('*', "\\*").replace('<', "\\<")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_is_up_to_date() {
        let pages = [
            (
                ReferencePage::Commands,
                include_str!("../../docs/reference.md"),
                "commands",
            ),
            (
                ReferencePage::Environment,
                include_str!("../../docs/environment.md"),
                "environment",
            ),
        ];
        for (generated, written, name) in pages {
            let file = if name == "commands" {
                "reference"
            } else {
                name
            };
            assert!(
                page(generated) == written,
                "hint: cargo run -- __reference {name} > docs/{file}.md"
            );
        }
    }

    #[test]
    fn table_cells_have_no_bars() {
        for group in VariableGroup::ALL {
            for variable in group.variables() {
                assert!(!variable.with_default().contains('|'), "{}", variable.name);
            }
        }
    }
}
