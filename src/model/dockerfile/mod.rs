//! Reads Dockerfiles like BuildKit, to the extent that xp needs.
//!
//! Unparsable parts are skipped: the engine parses the Dockerfile itself and reports errors.

mod failed;
mod images;
mod inputs;
mod labels;
mod name;
mod platform;
mod words;

pub use failed::FailedInstruction;
pub use images::{
    ImageUse, base_image, external_images, image_uses, line_of_image, registries, target_images,
};
pub use inputs::{DockerfileInputs, inputs};
pub use labels::label;
pub use name::{DockerfileName, file_name, is_dockerfile};
pub use platform::first_run;

use words::{split_word, unquoted, words};

/// A Dockerfile.
pub struct Dockerfile<'t> {
    /// The image of the `# syntax=` directive.
    pub syntax: Option<&'t str>,
    pub instructions: Vec<Instruction>,
}

/// An instruction of a Dockerfile, with continuation lines joined.
#[derive(Debug, PartialEq, Eq)]
pub struct Instruction {
    /// The number of its first line; the file starts with line 1.
    pub line: usize,
    /// The keyword in upper case, such as `RUN`; for `ONBUILD RUN` this is `RUN`.
    pub keyword: String,
    /// Whether it follows `ONBUILD`, so that builds on top of the image run it.
    pub is_trigger: bool,
    /// Its options, such as `--from=x`: names and values, without quotes.
    pub flags: Vec<(String, String)>,
    /// The text after the options.
    pub arguments: String,
    /// The starts of its heredocs as written, such as `<<-'EOF'`.
    pub heredocs: Vec<String>,
}

impl<'t> Dockerfile<'t> {
    /// Parses a Dockerfile.
    pub fn parse(text: &'t str) -> Self {
        let mut dockerfile = Self {
            syntax: None,
            instructions: Vec::new(),
        };
        let mut escape = '\\';
        let mut may_be_directive = true;
        let text = text.trim_start_matches('\u{feff}');
        let mut lines = text.lines().zip(1..);
        while let Some((line, number)) = lines.next() {
            match directive(line).filter(|_| may_be_directive) {
                Some((name, value)) if name.eq_ignore_ascii_case("syntax") => {
                    dockerfile.syntax.get_or_insert(value);
                }
                Some((name, "`")) if name.eq_ignore_ascii_case("escape") => escape = '`',
                Some(_) => {}
                None => may_be_directive = false,
            }
            if is_ignored(line) {
                continue;
            }
            let mut joined = String::new();
            let mut part = line;
            while let Some(begun) = continued(part, escape) {
                joined.push_str(begun);
                // Comments and empty lines do not end an instruction.
                part = lines
                    .find(|(line, _)| !is_ignored(line))
                    .map_or("", |(line, _)| line);
            }
            joined.push_str(part);
            let instruction = Instruction::parse(&joined, number);
            for (name, is_indented) in instruction.heredocs.iter().filter_map(|it| heredoc(it)) {
                _ = lines.find(|(line, _)| {
                    let line = if is_indented {
                        line.trim_start_matches('\t')
                    } else {
                        line
                    };
                    line == name
                });
            }
            dockerfile.instructions.push(instruction);
        }
        dockerfile
    }
}

impl Instruction {
    fn parse(text: &str, line: usize) -> Self {
        let (keyword, mut rest) = split_word(text);
        let keyword = keyword.to_ascii_uppercase();
        if keyword == "ONBUILD" {
            return Self {
                is_trigger: true,
                ..Self::parse(rest, line)
            };
        }
        let mut flags = Vec::new();
        while let Some((flag, after)) = split_flag(rest) {
            let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
            flags.push((name.to_owned(), unquoted(value)));
            rest = after;
        }
        let heredocs = match keyword.as_str() {
            "RUN" | "COPY" | "ADD" => words(rest).filter(|it| heredoc(it).is_some()).collect(),
            _ => Vec::new(),
        };
        Self {
            line,
            is_trigger: false,
            flags,
            arguments: rest.trim().to_owned(),
            heredocs: heredocs.into_iter().map(str::to_owned).collect(),
            keyword,
        }
    }

    /// Returns the values of an option.
    pub fn flag<'i>(&'i self, name: &'i str) -> impl Iterator<Item = &'i str> {
        let flags = self.flags.iter().filter(move |(flag, _)| flag == name);
        flags.map(|(_, value)| value.as_str())
    }

    /// Returns the options and arguments.
    pub fn text(&self) -> String {
        let flags = self.flags.iter().map(|(name, value)| {
            if value.is_empty() {
                format!("--{name} ")
            } else {
                format!("--{name}={value} ")
            }
        });
        flags.collect::<String>() + &self.arguments
    }

    /// Returns the arguments as written, split at spaces outside of quotes.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        words(&self.arguments)
    }
}

/// Splits off an option, without its dashes.
fn split_flag(text: &str) -> Option<(&str, &str)> {
    let (word, rest) = split_word(text);
    Some((word.strip_prefix("--")?, rest))
}

/// Parses a parser directive. Directives precede everything else.
fn directive(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.trim_start().strip_prefix('#')?.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric());
    (is_name && !value.is_empty()).then_some((name, value))
}

/// Returns whether a line is empty or a comment.
fn is_ignored(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with('#')
}

/// Returns a line without the character that continues it; `None` if it is not continued.
fn continued(line: &str, escape: char) -> Option<&str> {
    let begun = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!begun.ends_with(escape)).then_some(begun)
}

/// Returns the delimiter of a heredoc, and whether its lines may be indented with tabs.
fn heredoc(word: &str) -> Option<(String, bool)> {
    let word = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let name = word.strip_prefix("<<")?;
    let (name, is_indented) = match name.strip_prefix('-') {
        Some(name) => (name, true),
        None => (name, false),
    };
    let name = unquoted(name);
    (!name.is_empty() && !name.contains('<')).then_some((name, is_indented))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<(usize, String)> {
        let instructions = Dockerfile::parse(text).instructions.into_iter();
        let shown = instructions.map(|it| (it.line, format!("{} {}", it.keyword, it.arguments)));
        shown.collect()
    }

    fn expected(list: &[(usize, &str)]) -> Vec<(usize, String)> {
        let list = list.iter().map(|(line, text)| (*line, (*text).to_owned()));
        list.collect()
    }

    #[test]
    fn lines_are_continued() {
        let text =
            "\u{feff}# a comment\n\nfrom deb\\\nian\nRUN a \\ \n  # within\n\n  && b\\\\\nRUN c \\";
        let lines = [(3, "FROM debian"), (5, "RUN a   && b\\\\"), (9, "RUN c")];
        assert_eq!(parsed(text), expected(&lines));
        let windows = "# escape = `\r\nFROM a\r\nRUN dir `\r\n  c:\\\r\n";
        let lines = [(2, "FROM a"), (3, "RUN dir   c:\\")];
        assert_eq!(parsed(windows), expected(&lines));
    }

    #[test]
    fn directives_precede_everything_else() {
        let syntax = |text: &'static str| Dockerfile::parse(text).syntax;
        assert_eq!(
            syntax("# escape=`\n#Syntax = a/b:1 \nFROM x"),
            Some("a/b:1")
        );
        assert_eq!(syntax("# see a = b\n# syntax=a"), None);
        assert_eq!(syntax("\n# syntax=a"), None);
        assert_eq!(syntax("# syntax=\nFROM x"), None);
    }

    #[test]
    fn heredocs_are_skipped() {
        let text = "RUN <<A cat 3<<-\"B\" > x\nFROM a\nA\n\tFROM b\n\tB\nCOPY <<'C D' /x\nFROM c\nC D\n\
                    RUN echo '<<X' $((1<<2)) <<<y\nONBUILD RUN <<E\nFROM e\nE\nENV A=<<B\nUSER x\n";
        let keywords: Vec<String> = parsed(text).into_iter().map(|(_, text)| text).collect();
        assert_eq!(
            keywords,
            [
                "RUN <<A cat 3<<-\"B\" > x",
                "COPY <<'C D' /x",
                "RUN echo '<<X' $((1<<2)) <<<y",
                "RUN <<E",
                "ENV A=<<B",
                "USER x"
            ]
        );
    }

    #[test]
    fn options_and_triggers_are_recognized() {
        let text = "onbuild copy --from=\"a b\" --link x --y z";
        let instruction = &Dockerfile::parse(text).instructions[0];
        assert!(instruction.is_trigger);
        assert_eq!(instruction.flag("from").collect::<Vec<_>>(), ["a b"]);
        assert_eq!(instruction.flag("link").collect::<Vec<_>>(), [""]);
        assert_eq!(instruction.words().collect::<Vec<_>>(), ["x", "--y", "z"]);
    }
}
