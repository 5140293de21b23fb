//! Manual pages: the command help, plus examples, exit codes, environment variables and files.

mod files;

use clap::Command;
use clap_mangen::Man;
use roff::{Inline, Roff, bold, roman};

use crate::base::error::Exit;
use crate::cli::examples;
use crate::model::environment::VariableGroup;
use files::FILES;

/// A manual page of section 1.
pub struct Page {
    /// The name, such as `xp-build`.
    pub name: String,
    /// The roff source.
    pub text: String,
}

/// Returns the pages of all commands, starting with `xp`.
pub fn pages() -> Vec<Page> {
    let mut definition = crate::cli::command().disable_help_subcommand(true);
    definition.build();
    let mut commands = Vec::new();
    collect(&definition, "xp".to_owned(), &mut commands);
    let name = |path: &String| path.replace(' ', "-");
    let names: Vec<String> = commands.iter().map(|(path, _)| name(path)).collect();
    let page = |(path, command): (String, &Command)| Page {
        name: name(&path),
        text: page(command, &path, &names),
    };
    commands.into_iter().map(page).collect()
}

/// Collects a command and the commands below it, without hidden ones.
pub(super) fn collect<'c>(
    command: &'c Command,
    path: String,
    found: &mut Vec<(String, &'c Command)>,
) {
    found.push((path.clone(), command));
    for subcommand in command.get_subcommands().filter(|it| !it.is_hide_set()) {
        collect(
            subcommand,
            format!("{path} {}", subcommand.get_name()),
            found,
        );
    }
}

fn page(command: &Command, path: &str, names: &[String]) -> String {
    let name = path.replace(' ', "-");
    let man = Man::new(prepared(command))
        .title(name.to_uppercase())
        // No date, for reproducible pages. `roff` does not quote empty arguments.
        .date("\"\"")
        .source(concat!("xp ", env!("CARGO_PKG_VERSION")))
        .manual("X Platform");
    let mut page = Vec::new();
    let written = write(&man, command, &mut page);
    // Writing to a vector cannot fail.
    debug_assert!(written.is_ok());
    let mut more = Roff::new();
    let lines = examples(path).iter().copied();
    section(&mut more, "EXAMPLES", lines);
    let codes = Exit::CODES.map(|(exit, about)| (exit.code().to_string(), about));
    section(&mut more, "EXIT STATUS", codes);
    more.control("SH", ["ENVIRONMENT"]);
    for group in VariableGroup::ALL.into_iter().filter(|it| it.is_read()) {
        more.control("SS", [group.title()]);
        for variable in group.variables() {
            item(&mut more, variable.name, &variable.with_default());
        }
    }
    section(&mut more, "FILES", FILES.iter().copied());
    more.control("SH", ["SEE ALSO"]);
    more.text(see_also(names.iter().filter(|other| **other != name)));
    polished(&(String::from_utf8_lossy(&page) + more.render().as_str()))
}

/// Writes the sections that are made from the command's definition.
fn write(man: &Man, command: &Command, page: &mut Vec<u8>) -> std::io::Result<()> {
    man.render_title(page)?;
    // Without hyphenation and justified lines.
    page.extend_from_slice(b".nh\n.ad l\n");
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    if command.get_long_about().is_some() {
        man.render_description_section(page)?;
    }
    if command.has_subcommands() {
        man.render_subcommands_section(page)?;
    }
    man.render_options_section(page)
}

/// Returns the command as its page describes it: like the long help.
fn prepared(command: &Command) -> Command {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").to_owned();
    let command = command.clone().override_usage(usage);
    let command = command.subcommand_help_heading("COMMANDS");
    command.mut_args(|arg| {
        // The page would omit the description of an argument that the short help hides.
        let arg = arg.hide_short_help(false);
        if arg.get_help_heading().is_some() {
            arg
        } else if arg.is_positional() {
            arg.help_heading("Arguments")
        } else {
            arg.help_heading("Options")
        }
    })
}

fn section<N: AsRef<str>>(
    roff: &mut Roff,
    title: &str,
    items: impl IntoIterator<Item = (N, &'static str)>,
) {
    let mut items = items.into_iter().peekable();
    if items.peek().is_some() {
        roff.control("SH", [title]);
    }
    for (name, about) in items {
        item(roff, name.as_ref(), about);
    }
}

fn item(roff: &mut Roff, name: &str, about: &str) {
    roff.control("TP", []);
    roff.text([bold(name)]);
    roff.text([roman(about)]);
}

fn see_also<'n>(names: impl Iterator<Item = &'n String>) -> Vec<Inline> {
    let links = names.flat_map(|name| [roman(", "), bold(name), roman("(1)")]);
    links.skip(1).collect()
}

/// Fixes the output of `clap_mangen` and `roff`: blank lines, which are invalid in a paragraph, characters that are
/// typeset as others, and backticks, which become bold.
fn polished(text: &str) -> String {
    let preamble = Roff::new().render();
    let text = text.replace(&preamble, "");
    let text = text.replace("\n.br\n\n.br\n", "\n.sp\n");
    let text = text.replace("\n\n", "\n.sp\n");
    let text = text
        .replace('^', "\\(ha")
        .replace('~', "\\(ti")
        .replace('…', "...");
    let mut is_code = false;
    let parts = text.split('`').map(|part| {
        let part = if is_code {
            format!("\\fB{part}\\fR")
        } else {
            part.to_owned()
        };
        is_code = !is_code;
        part
    });
    preamble + &parts.collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_bold_and_can_be_pasted() {
        let mut roff = Roff::new();
        roff.text([roman(".xp, 'a' \\ `xp -C ~/x`\n\nb")]);
        let text = polished(&roff.render());
        let expected = "\n\\&.xp, \\*(Aqa\\*(Aq \\\\ \\fBxp \\-C \\(ti/x\\fR\n.sp\nb\n";
        assert!(text.ends_with(expected), "{text}");
    }

    /// A backtick without a counterpart would make the rest of a page bold.
    #[test]
    fn backticks_come_in_pairs() {
        for page in pages() {
            let is_broken =
                |line: &&str| line.matches("\\fB").count() > line.matches("\\fR").count();
            let broken = page.text.lines().find(is_broken);
            assert_eq!(broken, None, "{}", page.name);
        }
    }
}
