//! Shortens the error of a failed `RUN` instruction, which quotes the whole command.

use std::borrow::Cow;

/// The text around the command and before the exit code: of BuildKit, its earlier versions, and the classic builder.
const FORMS: [(&str, &str); 3] = [
    (
        "process \"",
        "\" did not complete successfully: exit code: ",
    ),
    ("executor failed running [", "]: exit code: "),
    ("The command '", "' returned a non-zero code: "),
];

/// The shell that runs a command without an own one.
const SHELL: &str = "/bin/sh -c ";

/// The longest part of a command that is shown.
const SHOWN: usize = 60;

/// Returns the message with only the start of the command, because the log has all of it.
pub fn shortened(message: &str) -> Cow<'_, str> {
    let found = FORMS.iter().find_map(|(before, after)| {
        let (_, rest) = message.split_once(before)?;
        rest.rsplit_once(after)
    });
    let Some((command, code)) = found else {
        return Cow::Borrowed(message);
    };
    let command = command.strip_prefix(SHELL).unwrap_or(command);
    let line = command.lines().next().unwrap_or_default().trim_end();
    let start: String = line.chars().take(SHOWN).collect();
    let rest = if start.len() < command.trim_end().len() {
        " …"
    } else {
        ""
    };
    Cow::Owned(format!("`{}{rest}` exited with {code}", start.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_start_of_a_long_command_is_shown() {
        let of = |command: &str| {
            FORMS.map(|(before, after)| {
                shortened(&format!("failed to solve: {before}{command}{after}2")).into_owned()
            })
        };
        let same = |text: &str| [text; 3].map(str::to_owned);
        assert_eq!(of("/bin/sh -c make all"), same("`make all` exited with 2"));
        assert_eq!(
            of("/bin/sh -c set -e\nmake all\n"),
            same("`set -e …` exited with 2")
        );
        let long = "x".repeat(100);
        assert_eq!(
            of(&format!("/bin/sh -c {long}")),
            same(&format!("`{} …` exited with 2", "x".repeat(60)))
        );
        assert_eq!(of("/app --check"), same("`/app --check` exited with 2"));
        let other = "failed to compute cache key: \"/dist\" not found: not found";
        assert_eq!(shortened(other), other);
    }
}
