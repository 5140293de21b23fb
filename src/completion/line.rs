//! A command line as it was typed, up to the cursor.

/// The words of a command line, without the program's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The words before the one at the cursor, without their quotes.
    pub before: Vec<String>,
    /// The word at the cursor, without its quotes; empty where a new one begins.
    pub current: String,
    /// The quote that is open at the cursor.
    pub quote: Option<char>,
    /// How much of the current word bash does not replace, because one of its word breaks follows: the
    /// number of bytes of [`Line::current`].
    pub kept: usize,
}

impl Line {
    /// Splits a line as a shell does; `breaks` are the characters at which bash begins to replace.
    pub fn split(line: &str, breaks: &str) -> Self {
        let mut reader = Reader::default();
        let mut characters = line.chars().peekable();
        while let Some(c) = characters.next() {
            match (reader.quote, c) {
                (Some('\''), '\'') | (Some('"'), '"') => reader.quote = None,
                (Some('"'), '\\') => {
                    let escapes = |next: &char| matches!(next, '"' | '\\' | '$' | '`');
                    reader.push(characters.next_if(escapes).unwrap_or('\\'));
                }
                (Some(_), _) => reader.push(c),
                (None, '\'' | '"') => {
                    reader.quote = Some(c);
                    reader.kept = reader.word().len();
                }
                (None, '\\') => reader.push(characters.next().unwrap_or_default()),
                (None, _) if c.is_whitespace() => reader.end_word(),
                (None, _) => {
                    reader.push(c);
                    if breaks.contains(c) {
                        reader.kept = reader.word().len();
                    }
                }
            }
        }
        let mut before = reader.words;
        if !before.is_empty() {
            before.remove(0);
        }
        Self {
            before,
            current: reader.word.unwrap_or_default(),
            quote: reader.quote,
            kept: reader.kept,
        }
    }

    /// Takes words that the shell has split: the program, those before the cursor, and the one at the
    /// cursor with the quotes that it has so far.
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
            // Blanks without quotes: the shell had taken the quotes away.
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
struct Reader {
    words: Vec<String>,
    word: Option<String>,
    quote: Option<char>,
    kept: usize,
}

impl Reader {
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
        let line = Line::split(line, " \t\n\"'@><=;|&(:");
        (line.before, line.current, line.quote, line.kept)
    }

    #[test]
    fn words_are_those_of_the_shell() {
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
    fn what_bash_keeps_ends_at_a_break_or_a_quote() {
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
            Line::of_words(&words)
        };
        assert_eq!(of(&["xp", "build", "'zb"]).current, "zb");
        assert_eq!(of(&["xp", "-C", "my dir", ""]).before, ["-C", "my dir"]);
        assert_eq!(of(&["xp", "my dir"]).current, "my dir");
        assert_eq!(of(&["xp"]).current, "");
        assert_eq!(of(&[]).current, "");
    }
}
