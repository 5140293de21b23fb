//! Manual pages: the command help, plus environment variables and files.

mod roff;
mod sections;

use clap::{Arg, Command};

use crate::cli::{EXIT_CODES, examples};
use roff::Roff;
use sections::{ENVIRONMENT, FILES};

/// A manual page of section 1.
pub struct Page {
    /// The name, such as `xp-build`.
    pub name: String,
    /// The roff source.
    pub text: String,
}

/// Returns the pages of all commands, starting with `xp`.
pub fn pages() -> Vec<Page> {
    let mut definition = crate::cli::command();
    definition.build();
    let mut paths = Vec::new();
    collect(&definition, "xp".to_owned(), &mut paths);
    let page = |(path, command): &(String, &Command)| page(command, path, &paths);
    paths.iter().map(page).collect()
}

fn collect<'c>(command: &'c Command, path: String, paths: &mut Vec<(String, &'c Command)>) {
    paths.push((path.clone(), command));
    for subcommand in command.get_subcommands() {
        if !subcommand.is_hide_set() && subcommand.get_name() != "help" {
            let path = format!("{path} {}", subcommand.get_name());
            collect(subcommand, path, paths);
        }
    }
}

fn page(command: &Command, path: &str, all: &[(String, &Command)]) -> Page {
    let name = path.replace(' ', "-");
    let mut roff = Roff::new(&name, env!("CARGO_PKG_VERSION"));
    roff.section("NAME");
    roff.line(&format!("{name} - {}", about(command)));
    synopsis(&mut roff, command, path);
    if let Some(long) = command.get_long_about() {
        roff.section("DESCRIPTION");
        roff.paragraphs(&long.to_string());
    }
    let below: Vec<_> = all
        .iter()
        .filter(|(other, _)| {
            other
                .rsplit_once(' ')
                .is_some_and(|(parent, _)| parent == path)
        })
        .collect();
    if !below.is_empty() {
        roff.section("COMMANDS");
    }
    for (path, command) in below {
        roff.item(
            &Roff::bold(&format!("{}(1)", path.replace(' ', "-"))),
            &about(command),
        );
    }
    options(&mut roff, command);
    let examples = examples(path);
    if !examples.is_empty() {
        roff.section("EXAMPLES");
    }
    for (line, about) in examples {
        roff.item(&Roff::bold(line), about);
    }
    roff.section("EXIT STATUS");
    for (code, about) in EXIT_CODES {
        roff.item(&Roff::bold(code), about);
    }
    for (title, items) in [("ENVIRONMENT", ENVIRONMENT), ("FILES", FILES)] {
        roff.section(title);
        for (name, about) in items {
            roff.item(&Roff::bold(name), about);
        }
    }
    roff.section("SEE ALSO");
    let others = all.iter().filter(|(other, _)| other != path);
    let others: Vec<String> = others
        .map(|(other, _)| format!("{}(1)", Roff::bold(&other.replace(' ', "-"))))
        .collect();
    roff.formatted(&others.join(", "));
    Page {
        name,
        text: roff.finish(),
    }
}

fn synopsis(roff: &mut Roff, command: &Command, path: &str) {
    roff.section("SYNOPSIS");
    let mut text = format!("{} [{}]", Roff::bold(path), Roff::italic("OPTIONS"));
    for argument in command.get_positionals().filter(|arg| !arg.is_hide_set()) {
        let name = Roff::italic(&value_names(argument));
        let many = argument
            .get_num_args()
            .is_some_and(|count| count.max_values() > 1)
            || matches!(argument.get_action(), clap::ArgAction::Append);
        let name = if many { format!("{name}...") } else { name };
        let separator = if argument.is_last_set() {
            "\\-\\- "
        } else {
            ""
        };
        text.push_str(&if argument.is_required_set() {
            format!(" {separator}{name}")
        } else {
            format!(" [{separator}{name}]")
        });
    }
    if command.has_subcommands() {
        text.push(' ');
        text.push_str(&Roff::italic("COMMAND"));
    }
    roff.formatted(&text);
}

/// Writes arguments and options, under the same headings as the help.
fn options(roff: &mut Roff, command: &Command) {
    let shown = || command.get_arguments().filter(|arg| !arg.is_hide_set());
    let mut headings: Vec<Option<&str>> = Vec::new();
    for arg in shown().filter(|arg| !arg.is_positional()) {
        if !headings.contains(&arg.get_help_heading()) {
            headings.push(arg.get_help_heading());
        }
    }
    if shown().any(Arg::is_positional) {
        roff.section("ARGUMENTS");
        shown()
            .filter(|arg| arg.is_positional())
            .for_each(|arg| option(roff, arg));
    }
    for heading in headings {
        roff.section(&heading.unwrap_or("Options").to_uppercase());
        shown()
            .filter(|arg| !arg.is_positional() && arg.get_help_heading() == heading)
            .for_each(|arg| option(roff, arg));
    }
}

fn option(roff: &mut Roff, arg: &Arg) {
    let mut names = Vec::new();
    names.extend(
        arg.get_short()
            .map(|short| Roff::bold(&format!("-{short}"))),
    );
    names.extend(arg.get_long().map(|long| Roff::bold(&format!("--{long}"))));
    let mut title = names.join(", ");
    if arg.is_positional() || arg.get_action().takes_values() {
        let value = Roff::italic(&value_names(arg));
        title = if title.is_empty() {
            value
        } else {
            format!("{title} {value}")
        };
    }
    let help = arg.get_long_help().or(arg.get_help());
    let mut text = help.map(ToString::to_string).unwrap_or_default();
    let defaults: Vec<_> = arg
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy())
        .collect();
    if arg.get_action().takes_values() && !defaults.is_empty() {
        text.push_str(&format!(" [default: {}]", defaults.join(",")));
    }
    roff.item(&title, &text);
    let values = arg.get_possible_values();
    let values: Vec<_> = values.iter().filter(|value| !value.is_hide_set()).collect();
    if arg.get_action().takes_values() && !values.is_empty() {
        roff.indent();
        for value in values {
            let help = value
                .get_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            roff.item(&Roff::bold(value.get_name()), &help);
        }
        roff.outdent();
    }
}

fn value_names(arg: &Arg) -> String {
    match arg.get_value_names() {
        Some(names) => names.join(" "),
        None => arg.get_id().as_str().to_uppercase(),
    }
}

fn about(command: &Command) -> String {
    let about = command.get_about().map(ToString::to_string);
    about.unwrap_or_default()
}
