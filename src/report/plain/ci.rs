//! Log commands of CI systems: collapsible groups, and annotations with file and line.

use std::borrow::Cow;
use std::path::Path;

use unicode_width::UnicodeWidthChar as _;

/// The CI system that runs xp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ci {
    /// None, or one without log commands.
    #[default]
    Plain,
    /// GitHub Actions, and compatible runners.
    GitHub,
    /// GitLab CI.
    GitLab,
    /// TeamCity.
    TeamCity,
}

/// Severity of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// A failure.
    Error,
    Warning,
}

/// A problem that a CI system shows as an annotation.
#[derive(Debug, Clone, Copy)]
pub struct CiAnnotation<'a> {
    /// Its severity.
    pub level: Level,
    /// The file it refers to, relative to the workspace if it is inside.
    pub file: Option<&'a Path>,
    /// The line in that file, from 1.
    pub line: Option<usize>,
    /// A short title.
    pub title: &'a str,
    /// The message; may have several lines.
    pub message: &'a str,
}

impl Ci {
    /// Returns whether the log can have groups.
    pub fn has_groups(self) -> bool {
        self != Self::Plain
    }

    /// Returns the line that opens a group; `at` is in seconds since the Unix epoch.
    pub fn open(self, name: &str, at: u64, is_folded: bool) -> String {
        match self {
            Self::Plain => String::new(),
            Self::GitHub => format!("::group::{}\n", escaped_data(name)),
            Self::GitLab => {
                let folded = if is_folded { "[collapsed=true]" } else { "" };
                let id = section(name);
                format!("section_start:{at}:{id}{folded}\r\x1b[0K{name}\n")
            }
            Self::TeamCity => format!("##teamcity[blockOpened name='{}']\n", quoted(name)),
        }
    }

    /// Returns the line that closes a group.
    pub fn close(self, name: &str, at: u64) -> String {
        match self {
            Self::Plain => String::new(),
            Self::GitHub => "::endgroup::\n".to_owned(),
            Self::GitLab => format!("section_end:{at}:{}\r\x1b[0K\n", section(name)),
            Self::TeamCity => format!("##teamcity[blockClosed name='{}']\n", quoted(name)),
        }
    }

    /// Returns the annotation of a problem, or an empty string if the CI system has none.
    pub fn problem(self, problem: &CiAnnotation<'_>) -> String {
        let CiAnnotation {
            level,
            file,
            line,
            title,
            message,
        } = problem;
        match self {
            // GitLab reads annotations from report files only.
            Self::Plain | Self::GitLab => String::new(),
            Self::GitHub => {
                let command = match level {
                    Level::Error => "error",
                    Level::Warning => "warning",
                };
                let file = file.map(|file| format!("file={}", escaped_property(file)));
                let line = line.filter(|_| file.is_some());
                let line = line.map(|line| format!("line={line}"));
                let title = Some(format!("title={}", escaped_property(title)));
                let properties: Vec<_> = [file, line, title].into_iter().flatten().collect();
                let message = escaped_data(message);
                format!("::{command} {}::{message}\n", properties.join(","))
            }
            Self::TeamCity => {
                let location = match (file, line) {
                    (Some(file), Some(line)) => format!("{}:{line}: ", file.display()),
                    (Some(file), None) => format!("{}: ", file.display()),
                    (None, _) => String::new(),
                };
                let text = quoted(&format!("{location}{title}: {message}"));
                match level {
                    Level::Error => format!("##teamcity[buildProblem description='{text}']\n"),
                    Level::Warning => {
                        format!("##teamcity[message text='{text}' status='WARNING']\n")
                    }
                }
            }
        }
    }

    /// Returns the line that adds a text to the status of the build, or an empty string if the CI system has none.
    pub fn status(self, text: &str) -> String {
        match self {
            Self::Plain | Self::GitHub | Self::GitLab => String::new(),
            // The placeholder is the status that TeamCity itself would show.
            Self::TeamCity => format!(
                "##teamcity[buildStatus text='{{build.status.text}}; {}']\n",
                quoted(text)
            ),
        }
    }

    /// Returns a line with any log commands of the CI system disarmed.
    ///
    /// A script's output must not close the group that it is in, or create annotations. A space inside the
    /// marker is enough; the log file keeps the original line.
    pub fn without_commands(self, line: &str) -> Cow<'_, str> {
        match self {
            // GitLab's markers need a carriage return and an escape, which cleaned lines do not have.
            Self::Plain | Self::GitLab => Cow::Borrowed(line),
            Self::GitHub => {
                // GitHub's comparison ignores invisible characters.
                let is_invisible =
                    |c: char| c.is_whitespace() || c == '\u{ad}' || c.width().unwrap_or(0) == 0;
                let text = line.trim_start_matches(is_invisible);
                let indent = &line[..line.len() - text.len()];
                let line = match text.strip_prefix("::") {
                    Some(rest) => Cow::Owned(format!("{indent}: :{rest}")),
                    None => Cow::Borrowed(line),
                };
                // The older form is recognized anywhere in a line.
                disarmed(line, "##[", "## [")
            }
            Self::TeamCity => disarmed(Cow::Borrowed(line), "##teamcity[", "## teamcity["),
        }
    }
}

fn disarmed<'a>(line: Cow<'a, str>, marker: &str, replacement: &str) -> Cow<'a, str> {
    if line.contains(marker) {
        Cow::Owned(line.replace(marker, replacement))
    } else {
        line
    }
}

/// Escapes the message of a GitHub workflow command.
fn escaped_data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// Escapes a property value of a GitHub workflow command.
fn escaped_property(text: impl AsRef<Path>) -> String {
    escaped_data(&text.as_ref().to_string_lossy())
        .replace(':', "%3A")
        .replace(',', "%2C")
}

/// Returns the id of a GitLab section, which may only have a few characters.
fn section(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let plain = name
        .chars()
        .map(|c| if is_plain(c) { c } else { '_' })
        .collect::<String>();
    format!("xp_{plain}")
}

/// Escapes the value of a TeamCity service message.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '\'' | '[' | ']' => quoted.extend(['|', c]),
            '\n' => quoted.push_str("|n"),
            '\r' => quoted.push_str("|r"),
            // TeamCity's escape has exactly four digits.
            c if !c.is_ascii() && u32::from(c) <= 0xffff => {
                quoted.push_str(&format!("|0x{:04x}", u32::from(c)));
            }
            c => quoted.push(c),
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROBLEM: CiAnnotation<'_> = CiAnnotation {
        level: Level::Error,
        file: None,
        line: Some(12),
        title: "zbackend: build, failed",
        message: "100% of it\nfailed\r",
    };

    #[test]
    fn each_system_has_its_own_group_syntax() {
        assert_eq!(Ci::GitHub.open("a", 7, true), "::group::a\n");
        assert_eq!(Ci::GitHub.close("a", 8), "::endgroup::\n");
        assert_eq!(
            Ci::GitLab.open("builders/a", 7, true),
            "section_start:7:xp_builders_a[collapsed=true]\r\x1b[0Kbuilders/a\n"
        );
        assert_eq!(
            Ci::GitLab.open("a", 7, false),
            "section_start:7:xp_a\r\x1b[0Ka\n"
        );
        assert_eq!(
            Ci::GitLab.close("builders/a", 8),
            "section_end:8:xp_builders_a\r\x1b[0K\n"
        );
        assert_eq!(
            Ci::TeamCity.open("a[1]", 7, true),
            "##teamcity[blockOpened name='a|[1|]']\n"
        );
    }

    #[test]
    fn problems_are_escaped() {
        assert_eq!(
            Ci::GitHub.problem(&PROBLEM),
            "::error title=zbackend%3A build%2C failed::100%25 of it%0Afailed%0D\n"
        );
        let placed = CiAnnotation {
            file: Some(Path::new("a,b/x-platform.yml")),
            level: Level::Warning,
            ..PROBLEM
        };
        assert_eq!(
            Ci::GitHub.problem(&placed),
            "::warning file=a%2Cb/x-platform.yml,line=12,\
             title=zbackend%3A build%2C failed::100%25 of it%0Afailed%0D\n"
        );
        assert_eq!(
            Ci::TeamCity.problem(&CiAnnotation {
                file: Some(Path::new("x.yml")),
                message: "it's [no] “use” |",
                ..PROBLEM
            }),
            "##teamcity[buildProblem description='x.yml:12: zbackend: build, failed: \
             it|'s |[no|] |0x201cuse|0x201d ||']\n"
        );
        assert_eq!(Ci::GitLab.problem(&PROBLEM), "");
        assert_eq!(
            Ci::TeamCity.status("1 built [x]"),
            "##teamcity[buildStatus text='{build.status.text}; 1 built |[x|]']\n"
        );
        assert_eq!(Ci::GitHub.status("1 built"), "");
    }

    #[test]
    fn commands_in_output_are_disarmed() {
        let disarmed = |line| Ci::GitHub.without_commands(line).into_owned();
        assert_eq!(disarmed("::endgroup::"), ": :endgroup::");
        assert_eq!(disarmed(" \u{feff}\t::error::x"), " \u{feff}\t: :error::x");
        assert_eq!(disarmed("\u{200b}\u{ad}::x"), "\u{200b}\u{ad}: :x");
        assert_eq!(disarmed("x ##[error]y##[group]"), "x ## [error]y## [group]");
        assert_eq!(disarmed("std::vector"), "std::vector");
        assert_eq!(
            Ci::TeamCity.without_commands("x ##teamcity[x]"),
            "x ## teamcity[x]"
        );
        assert_eq!(Ci::Plain.without_commands("::error::"), "::error::");
    }
}
