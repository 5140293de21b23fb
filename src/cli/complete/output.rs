//! The output for the shell scripts.
//!
//! The first line is a directive: `space` or `open` (append a space after the word or not), `files` or
//! `folders`. For zsh, the prefix of the word to keep follows after a tab. All other lines are candidates.

use super::CompletionCandidate;
use super::line::CommandLine;
use super::target::{CompletionTarget, ValueKind};
use crate::cli::Shell;

/// Writes the candidates for a shell; an empty string if there are none.
pub fn write(
    shell: Shell,
    line: &CommandLine,
    target: &CompletionTarget,
    mut candidates: Vec<CompletionCandidate>,
) -> String {
    // The format has one candidate per line.
    let is_one_line = |text: &str| !text.contains(char::is_control);
    candidates.retain(|candidate| is_one_line(&candidate.text) && is_one_line(&candidate.about));
    let directive = match target.kind {
        ValueKind::File => "files",
        ValueKind::Folder => "folders",
        _ if candidates.is_empty() => return String::new(),
        _ if target.is_list
            || candidates
                .iter()
                .all(|candidate| candidate.text.ends_with('=')) =>
        {
            "open"
        }
        _ => "space",
    };
    let mut text = directive.to_owned();
    if shell == Shell::Zsh {
        text.push('\t');
        text.push_str(&target.prefix);
    }
    text.push('\n');
    for candidate in candidates {
        let written = match shell {
            Shell::Bash => bash(line, target, &candidate),
            Shell::Zsh => Some(zsh(&candidate)),
            Shell::Fish => {
                let CompletionCandidate { text, about } = candidate;
                Some(format!("{}{text}\t{about}", target.prefix))
            }
        };
        if let Some(written) = written {
            text.push_str(&written);
            text.push('\n');
        }
    }
    text
}

/// Returns the replacement for the text after bash's last word break, or inside open quotes. Bash does not
/// filter candidates, so others are dropped here.
fn bash(
    line: &CommandLine,
    target: &CompletionTarget,
    candidate: &CompletionCandidate,
) -> Option<String> {
    if !candidate.text.starts_with(&target.partial) {
        return None;
    }
    let whole = format!("{}{}", target.prefix, candidate.text);
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

/// Returns the candidate in the format of `_describe`.
fn zsh(candidate: &CompletionCandidate) -> String {
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
    use crate::cli::complete::target;

    fn candidates(texts: &[&str]) -> Vec<CompletionCandidate> {
        let candidate = |text: &&str| CompletionCandidate {
            text: (*text).to_owned(),
            about: "about".to_owned(),
        };
        texts.iter().map(candidate).collect()
    }

    fn in_bash(typed: &str, texts: &[&str]) -> String {
        let line = CommandLine::split(typed, " \t\n\"'@><=;|&(:");
        let target = target::find(crate::cli::command(), &line);
        write(Shell::Bash, &line, &target, candidates(texts))
    }

    #[test]
    fn bash_gets_the_text_after_its_word_break() {
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
        let line = CommandLine::of_words(&words);
        let target = target::find(crate::cli::command(), &line);
        let write = |shell| write(shell, &line, &target, candidates(&["b:c"]));
        assert_eq!(write(Shell::Zsh), "open\t--services=a,\nb\\:c:about\n");
        assert_eq!(write(Shell::Fish), "open\n--services=a,b:c\tabout\n");
    }
}
