//! What `-h` and `--help` show beyond the definition: the one fits a screen, the other tells all.

use std::fmt::Write as _;

use clap::builder::{StyledStr, Styles};
use clap::{Arg, Command};

use super::examples;

/// Adds to each command its examples, and keeps global options out of the short help of all but xp
/// itself.
pub fn complete(definition: Command) -> Command {
    let globals: Vec<Arg> = definition
        .get_arguments()
        .filter(|arg| arg.is_global_set())
        .map(|arg| arg.clone().hide_short_help(true))
        .collect();
    let path = definition.get_name().to_owned();
    let definition = definition
        .after_help("`xp help COMMAND` tells all of a command, with examples.")
        .after_long_help(long(&path, EXIT_CODES));
    below(definition, &path, &globals)
}

/// The exit codes, for people.
pub const EXIT_CODES: &[(&str, &str)] = &[
    ("0", "done"),
    ("1", "a service failed: a script, an image build or a push"),
    ("2", "wrong usage, or a wrong manifest"),
    (
        "3",
        "something outside is missing or refuses: the engine, a registry, a git remote",
    ),
    ("10", "there is work to do (`xp plan --exit-code`)"),
    ("130", "interrupted"),
];

fn below(command: Command, path: &str, globals: &[Arg]) -> Command {
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
                .after_help(format!("`{path} --help` tells all, with examples."))
                .after_long_help(long(&path, &[]));
            below(subcommand, &path, globals)
        })
    })
}

/// Adds the global options, out of the short help; what is there already is not propagated. Where a
/// command has one in a form of its own, only the short help is told.
fn with_globals(command: Command, globals: &[Arg]) -> Command {
    globals.iter().fold(command, |command, global| {
        let is_there = command
            .get_arguments()
            .any(|arg| arg.get_id() == global.get_id());
        if is_there {
            command.mut_arg(global.get_id(), |arg| arg.hide_short_help(true))
        } else {
            command.arg(global)
        }
    })
}

fn long(path: &str, exit_codes: &[(&str, &str)]) -> StyledStr {
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
    for (code, about) in exit_codes {
        _ = writeln!(text, "  {literal}{code:<3}{literal:#}  {about}");
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of a terminal, less one for the prompt that follows.
    const SCREEN: usize = 23;
    /// Where all commands are listed.
    const LONG_SCREEN: usize = 39;

    #[test]
    fn short_help_fits_a_screen() {
        fn check(command: &mut Command, path: &str) {
            let help = command.clone().term_width(80).render_help().to_string();
            let most = if path == "xp" { LONG_SCREEN } else { SCREEN };
            let count = help.lines().count();
            assert!(
                count <= most,
                "`{path} -h` has {count} lines, {most} are the most: hide rarer options from it by \
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
        // What does not fit goes on below the text, far from the left.
        let goes_on = commands.lines().find(|line| line.starts_with("    "));
        assert_eq!(goes_on, None, "{help}");
    }

    #[test]
    fn long_help_tells_all() {
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
