//! Additions to clap's help: `-h` fits on one screen, `--help` is complete and has examples.

use std::fmt::Write as _;

use clap::builder::{StyledStr, Styles};
use clap::{Arg, Command};

use super::examples;
use crate::base::error::Exit;

/// Adds examples to each command, and hides global options from the short help of subcommands.
pub fn complete(definition: Command) -> Command {
    let globals: Vec<Arg> = definition
        .get_arguments()
        .filter(|arg| arg.is_global_set())
        .map(|arg| arg.clone().hide_short_help(true))
        .collect();
    let path = definition.get_name().to_owned();
    let definition = definition
        .after_help("`xp help COMMAND` shows all options of a command, with examples.")
        .after_long_help(long(&path, &Exit::CODES));
    complete_subcommands(definition, &path, &globals)
}

fn complete_subcommands(command: Command, path: &str, globals: &[Arg]) -> Command {
    let names: Vec<String> = command
        .get_subcommands()
        .map(|subcommand| subcommand.get_name().to_owned())
        .collect();
    names.into_iter().fold(command, |command, name| {
        command.mut_subcommand(&name, |subcommand| {
            if subcommand.is_hide_set() {
                return subcommand;
            }
            let path = format!("{path} {name}");
            let subcommand = with_globals(subcommand, globals)
                .after_help(format!("`{path} --help` shows all options, with examples."))
                .after_long_help(long(&path, &[]));
            complete_subcommands(subcommand, &path, globals)
        })
    })
}

/// Adds the global options, hidden from the short help; clap does not propagate arguments that exist already.
/// If a command defines one of them itself, that one is only hidden.
fn with_globals(command: Command, globals: &[Arg]) -> Command {
    globals.iter().fold(command, |command, global| {
        let exists = command
            .get_arguments()
            .any(|arg| arg.get_id() == global.get_id());
        if exists {
            command.mut_arg(global.get_id(), |arg| arg.hide_short_help(true))
        } else {
            command.arg(global)
        }
    })
}

fn long(path: &str, exit_codes: &[(Exit, &str)]) -> StyledStr {
    let styles = Styles::default();
    let (header, literal) = (*styles.get_header(), *styles.get_literal());
    let mut text = String::new();
    if !examples::of(path).is_empty() {
        _ = writeln!(text, "{header}Examples:{header:#}");
    }
    for (line, about) in examples::of(path) {
        _ = writeln!(text, "  {literal}{line}{literal:#}\n      {about}");
    }
    if !exit_codes.is_empty() {
        _ = writeln!(text, "\n{header}Exit codes:{header:#}");
    }
    for (exit, about) in exit_codes {
        let code = exit.code();
        _ = writeln!(text, "  {literal}{code:<3}{literal:#}  {about}");
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of a terminal, minus one for the prompt.
    const SCREEN: usize = 23;
    /// The limit for `xp -h`, which lists all commands.
    const LONG_SCREEN: usize = 41;

    #[test]
    fn short_help_fits_a_screen() {
        fn check(command: &mut Command, path: &str) {
            let help = command.clone().term_width(80).render_help().to_string();
            let limit = if path == "xp" { LONG_SCREEN } else { SCREEN };
            let count = help.lines().count();
            assert!(
                count <= limit,
                "`{path} -h` has {count} lines, more than {limit}: hide rarer options with \
                 `hide_short_help = true`\n{help}"
            );
            for line in help.lines() {
                assert!(line.chars().count() <= 80, "`{path} -h`: {line}");
            }
            for subcommand in command
                .get_subcommands_mut()
                .filter(|command| !command.is_hide_set())
            {
                let path = format!("{path} {}", subcommand.get_name());
                if !path.contains(" help") {
                    check(subcommand, &path);
                }
            }
        }
        let mut definition = crate::cli::command();
        definition.build();
        check(&mut definition, "xp");
    }

    #[test]
    fn each_command_takes_one_line() {
        let help = crate::cli::command().term_width(80).render_help();
        let help = help.to_string();
        let (_, commands) = help.split_once("Commands:\n").unwrap();
        let commands = commands.split("\n\n").next().unwrap();
        // Wrapped lines are indented to the column of the text.
        let wrapped = commands.lines().find(|line| line.starts_with("    "));
        assert_eq!(wrapped, None, "{help}");
    }

    #[test]
    fn long_help_shows_all_options() {
        let mut definition = crate::cli::command();
        definition.build();
        let build = definition.find_subcommand_mut("build").unwrap();
        let long = build.render_long_help().to_string();
        let short = build.render_help().to_string();
        for option in build.get_arguments().filter(|arg| !arg.is_hide_set()) {
            if let Some(name) = option.get_long() {
                assert!(long.contains(&format!("--{name}")), "{name}\n{long}");
            }
        }
        assert!(long.contains("Examples:\n  xp build\n"), "{long}");
        assert!(
            !short.contains("--color") && !short.contains("Examples"),
            "{short}"
        );
        assert!(short.contains("`xp build --help`"), "{short}");
    }

    #[test]
    fn global_options_are_taken_before_and_after_the_command() {
        for line in [
            "xp -C a -q build",
            "xp build -C a -q",
            "xp builder -q list -C a",
        ] {
            let words = line.split(' ').map(Into::into);
            let cli = crate::cli::parse(words).unwrap();
            assert_eq!(cli.global.directory, Some("a".into()), "{line}");
            assert!(cli.global.quiet, "{line}");
        }
    }
}
