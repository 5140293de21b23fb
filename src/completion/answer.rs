//! Candidates as the script of each shell takes them.
//!
//! The first line is what the script is to do: `space` or `open`, with a blank after the word or
//! without, `files` or `folders`; for zsh, what of the word stays follows after a tab. Every other
//! line is a candidate.

use super::Candidate;
use super::line::Line;
use super::place::{Kind, Place};
use crate::cli::Shell;

/// Writes the candidates for a shell; nothing where there are none.
pub fn write(shell: Shell, line: &Line, place: &Place, mut found: Vec<Candidate>) -> String {
    // A line is a candidate, so none may have several.
    let is_one_line = |text: &str| !text.contains(char::is_control);
    found.retain(|candidate| is_one_line(&candidate.text) && is_one_line(&candidate.about));
    let todo = match place.kind {
        Kind::File => "files",
        Kind::Folder => "folders",
        _ if found.is_empty() => return String::new(),
        _ if place.is_list || found.iter().all(|candidate| candidate.text.ends_with('=')) => "open",
        _ => "space",
    };
    let mut text = todo.to_owned();
    if shell == Shell::Zsh {
        text.push('\t');
        text.push_str(&place.prefix);
    }
    text.push('\n');
    for candidate in found {
        let written = match shell {
            Shell::Bash => bash(line, place, &candidate),
            Shell::Zsh => Some(zsh(&candidate)),
            Shell::Fish => {
                let Candidate { text, about } = candidate;
                Some(format!("{}{text}\t{about}", place.prefix))
            }
        };
        if let Some(written) = written {
            text.push_str(&written);
            text.push('\n');
        }
    }
    text
}

/// Returns what bash puts in the place of what follows its last word break, or of what is in quotes.
/// It does not choose by itself.
fn bash(line: &Line, place: &Place, candidate: &Candidate) -> Option<String> {
    if !candidate.text.starts_with(&place.partial) {
        return None;
    }
    let whole = format!("{}{}", place.prefix, candidate.text);
    let replaced = whole.get(line.kept..)?;
    let is_special = |c: char| match line.quote {
        Some('\'') => false,
        Some(_) => matches!(c, '"' | '\\' | '$' | '`'),
        None => !c.is_alphanumeric() && !"@%+=:,./_-".contains(c),
    };
    if line.quote == Some('\'') && replaced.contains('\'') {
        return None;
    }
    let mut quoted = String::new();
    for c in replaced.chars() {
        if is_special(c) {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    Some(quoted)
}

/// Returns it as `_describe` takes it.
fn zsh(candidate: &Candidate) -> String {
    let text = candidate.text.replace('\\', "\\\\").replace(':', "\\:");
    if candidate.about.is_empty() {
        text
    } else {
        format!("{text}:{}", candidate.about)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::completion::place;

    fn candidates(texts: &[&str]) -> Vec<Candidate> {
        let candidate = |text: &&str| Candidate {
            text: (*text).to_owned(),
            about: "about".to_owned(),
        };
        texts.iter().map(candidate).collect()
    }

    fn in_bash(typed: &str, texts: &[&str]) -> String {
        let line = Line::split(typed, " \t\n\"'@><=;|&(:");
        let place = place::find(crate::cli::command(), &line);
        write(Shell::Bash, &line, &place, candidates(texts))
    }

    #[test]
    fn bash_gets_what_follows_its_word_break() {
        assert_eq!(in_bash("xp build z", &["za", "b"]), "space\nza\n");
        assert_eq!(in_bash("xp build --services=a,z", &["za"]), "open\na,za\n");
        assert_eq!(in_bash("xp build --reference z", &["za="]), "open\nza=\n");
        assert_eq!(
            in_bash("xp build --reference za=v", &["za=v1", "za=x"]),
            "space\nv1\n"
        );
        assert_eq!(in_bash("xp build --branch ", &["a&b"]), "space\na\\&b\n");
        assert_eq!(in_bash("xp build --branch 'a", &["a&b"]), "space\na&b\n");
        assert_eq!(in_bash("xp -f ", &[]), "files\n");
        assert_eq!(in_bash("xp build --tag ", &[]), "");
    }

    #[test]
    fn other_shells_get_descriptions() {
        let words = ["xp", "build", "--services=a,"].map(str::to_owned);
        let line = Line::of_words(&words);
        let place = place::find(crate::cli::command(), &line);
        let write = |shell| write(shell, &line, &place, candidates(&["b:c"]));
        assert_eq!(write(Shell::Zsh), "open\t--services=a,\nb\\:c:about\n");
        assert_eq!(write(Shell::Fish), "open\n--services=a,b:c\tabout\n");
    }
}
