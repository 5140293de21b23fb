//! A writer of roff, the format of `man`.

/// A page under construction.
pub struct Roff {
    text: String,
}

impl Roff {
    /// Starts a page.
    pub fn new(name: &str, version: &str) -> Self {
        let name = escape(&name.to_uppercase());
        Self {
            // No date, for reproducible pages.
            text: format!(
                ".TH \"{name}\" \"1\" \"\" \"xp {version}\" \"X Platform\"\n.nh\n.ad l\n"
            ),
        }
    }

    /// Returns a text in bold, for [`Roff::formatted`] and the title of an item.
    pub fn bold(text: &str) -> String {
        format!("\\fB{}\\fR", escape(text))
    }

    /// Returns a text in italics.
    pub fn italic(text: &str) -> String {
        format!("\\fI{}\\fR", escape(text))
    }

    /// Starts a section.
    pub fn section(&mut self, title: &str) {
        self.text.push_str(&format!(".SH \"{}\"\n", escape(title)));
    }

    /// Writes a line of plain text. Text in backticks becomes bold.
    pub fn line(&mut self, text: &str) {
        let text = with_code(text);
        self.formatted(&text);
    }

    /// Writes plain text; an empty line starts a paragraph with the same indentation.
    pub fn paragraphs(&mut self, text: &str) {
        for line in text.lines() {
            if line.trim().is_empty() {
                self.text.push_str(".sp\n");
            } else {
                self.line(line.trim());
            }
        }
    }

    /// Writes an already formatted line.
    pub fn formatted(&mut self, text: &str) {
        // A leading dot or apostrophe would be a macro.
        if text.starts_with(['.', '\'']) {
            self.text.push_str("\\&");
        }
        self.text.push_str(text);
        self.text.push('\n');
    }

    /// Writes an item of a list: a formatted title, and its description.
    pub fn item(&mut self, title: &str, text: &str) {
        self.text.push_str(".TP\n");
        self.formatted(title);
        if text.is_empty() {
            self.text.push_str("\\&\n");
        }
        self.paragraphs(text);
    }

    /// Starts a nested list.
    pub fn indent(&mut self) {
        self.text.push_str(".RS\n");
    }

    /// Ends a nested list.
    pub fn outdent(&mut self) {
        self.text.push_str(".RE\n");
    }

    /// Returns the source of the page.
    pub fn finish(self) -> String {
        self.text
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => escaped.push_str("\\e"),
            // A hyphen that can be pasted into a shell.
            '-' => escaped.push_str("\\-"),
            '\'' => escaped.push_str("\\(aq"),
            '"' => escaped.push_str("\\(dq"),
            '`' => escaped.push_str("\\(ga"),
            '^' => escaped.push_str("\\(ha"),
            '~' => escaped.push_str("\\(ti"),
            '…' => escaped.push_str("..."),
            '–' => escaped.push_str("\\(en"),
            c => escaped.push(c),
        }
    }
    escaped
}

fn with_code(text: &str) -> String {
    let mut parts = text.split('`');
    let mut formatted = escape(parts.next().unwrap_or_default());
    let mut is_code = true;
    for part in parts {
        formatted.push_str(&if is_code {
            Roff::bold(part)
        } else {
            escape(part)
        });
        is_code = !is_code;
    }
    formatted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_a_macro() {
        let mut roff = Roff::new("xp", "1");
        roff.line(".xp is a folder");
        roff.line("'a' \\ `xp -C`");
        let text = roff.finish();
        assert!(text.contains("\n\\&.xp is a folder\n"), "{text}");
        assert!(
            text.contains("\n\\(aqa\\(aq \\e \\fBxp \\-C\\fR\n"),
            "{text}"
        );
    }
}
