//! Splits the typed command line, up to the cursor.

/// The words of a command line, without the program's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    /// The words before the cursor, unquoted.
    pub before: Vec<String>,
    /// The word at the cursor, unquoted; empty at the start of a word.
    pub current: String,
    /// The open quote at the cursor.
    pub quote: Option<char>,
    /// The number of bytes of [`CommandLine::current`] that bash does not replace, because they precede one of its word
    /// breaks.
    pub kept: usize,
}

impl CommandLine {
    /// Splits a line as a shell does; `breaks` are bash's `COMP_WORDBREAKS`.
    pub fn split(line: &str, breaks: &str) -> Self {
        let mut splitter = WordSplitter::default();
        let mut characters = line.chars().peekable();
        while let Some(c) = characters.next() {
            match (splitter.quote, c) {
                (Some('\''), '\'') | (Some('"'), '"') => splitter.quote = None,
                (Some('"'), '\\') => {
                    let escapes = |next: &char| matches!(next, '"' | '\\' | '$' | '`');
                    splitter.push(characters.next_if(escapes).unwrap_or('\\'));
                }
                (Some(_), _) => splitter.push(c),
                (None, '\'' | '"') => {
                    splitter.quote = Some(c);
                    splitter.kept = splitter.word().len();
                }
                (None, '\\') => splitter.push(characters.next().unwrap_or_default()),
                (None, _) if c.is_whitespace() => splitter.end_word(),
                (None, _) => {
                    splitter.push(c);
                    if breaks.contains(c) {
                        splitter.kept = splitter.word().len();
                    }
                }
            }
        }
        let mut before = splitter.words;
        if !before.is_empty() {
            before.remove(0);
        }
        Self {
            before,
            current: splitter.word.unwrap_or_default(),
            quote: splitter.quote,
            kept: splitter.kept,
        }
    }

    /// Uses words that the shell has split: the program, the words before the cursor, and the word at the
    /// cursor, still quoted.
    pub fn of_words(words: &[String]) -> Self {
        let (current, before) = match words {
            [] => ("", Vec::new()),
            [_] => ("", Vec::new()),
            [_, before @ .., current] => (current.as_str(), before.to_vec()),
        };
        let current = Self::split(&format!("xp {current}"), "");
        let text = if current.before.is_empty() {
            current.current
        } else {
            // Unquoted blanks: the shell had removed the quotes.
            words.last().cloned().unwrap_or_default()
        };
        Self {
            before,
            current: text,
            quote: current.quote,
            kept: 0,
        }
    }
}

#[derive(Default)]
struct WordSplitter {
    words: Vec<String>,
    word: Option<String>,
    quote: Option<char>,
    kept: usize,
}

impl WordSplitter {
    fn word(&mut self) -> &mut String {
        self.word.get_or_insert_default()
    }

    fn push(&mut self, c: char) {
        if c != '\0' {
            self.word().push(c);
        }
    }

    fn end_word(&mut self) {
        self.words.extend(self.word.take());
        self.kept = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> (Vec<String>, String, Option<char>, usize) {
        let line = CommandLine::split(line, " \t\n\"'@><=;|&(:");
        (line.before, line.current, line.quote, line.kept)
    }

    #[test]
    fn words_are_split_as_in_a_shell() {
        let words = |line: &str| {
            let (mut before, current, ..) = split(line);
            before.push(current);
            before
        };
        assert_eq!(words("xp"), ["xp"]);
        assert_eq!(words("xp "), [""]);
        assert_eq!(words("xp build  zb"), ["build", "zb"]);
        assert_eq!(
            words("xp -C 'my dir' build "),
            ["-C", "my dir", "build", ""]
        );
        assert_eq!(
            words(r#"xp -C my\ dir "a \" \x""#),
            ["-C", "my dir", "a \" \\x"]
        );
        assert_eq!(words("xp '' x"), ["", "x"]);
        assert_eq!(words("xp a\\"), ["a"]);
    }

    #[test]
    fn the_kept_part_ends_at_a_break_or_a_quote() {
        assert_eq!(split("xp --services=a,b").3, "--services=".len());
        assert_eq!(split("xp --reference zb=or").3, "zb=".len());
        assert_eq!(split("xp 'zb=or").1, "zb=or");
        assert_eq!(split("xp 'zb=or").2, Some('\''));
        assert_eq!(split("xp 'zb=or").3, 0);
        assert_eq!(split("xp --services='z").3, "--services=".len());
        assert_eq!(split("xp a=b c").3, 0);
    }

    #[test]
    fn words_of_other_shells_lose_an_open_quote() {
        let of = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            CommandLine::of_words(&words)
        };
        assert_eq!(of(&["xp", "build", "'zb"]).current, "zb");
        assert_eq!(of(&["xp", "-C", "my dir", ""]).before, ["-C", "my dir"]);
        assert_eq!(of(&["xp", "my dir"]).current, "my dir");
        assert_eq!(of(&["xp"]).current, "");
        assert_eq!(of(&[]).current, "");
    }
}
