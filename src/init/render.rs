//! A draft to the text of a manifest.

use super::draft::{Argument, Draft, Key, LeftOut, Registry, Scripts, Service};
use super::secret::without_logins;

/// Marks, in the manifest, what `xp init` could not know.
pub const MARK: &str = "TODO";

/// The file with the schema that the first line names, which lies beside the manifest.
pub const SCHEMA: &str = "x-platform.schema.json";

/// How long a line of a comment may be.
const WIDTH: usize = 100;

/// A manifest's text.
#[derive(Debug)]
pub struct Rendered {
    /// The text.
    pub text: String,
    /// What is marked by [`MARK`], in the order of the lines.
    pub marked: Vec<Marked>,
}

/// A place that is marked.
#[derive(Debug)]
pub struct Marked {
    /// The line, from one.
    pub line: usize,
    /// What is to be seen to.
    pub text: String,
}

/// Writes a draft.
pub(super) fn render(draft: &Draft) -> Rendered {
    let mut page = Page::default();
    page.line(0, &format!("# yaml-language-server: $schema={SCHEMA}"));
    page.line(0, "#");
    let sources = match draft.sources.as_slice() {
        [] => String::new(),
        sources => format!(" from {}", listed(sources)),
    };
    page.comment(
        0,
        &format!("Written by `xp init`{sources}. What it cannot know is marked `{MARK}`."),
    );
    page.comment(
        0,
        "`xp schema > x-platform.schema.json` makes the first line help in an editor.",
    );
    page.gap();
    page.line(0, "version: 1");
    page.gap();
    registry(&mut page, &draft.registry);
    page.gap();
    page.line(0, "services:");
    for (index, service) in draft.services.iter().enumerate() {
        if index > 0 {
            page.gap();
        }
        self::service(&mut page, service);
    }
    if !draft.left_out.is_empty() {
        page.gap();
        page.comment(0, "Not services:");
        for LeftOut { what, why, todo } in &draft.left_out {
            match todo {
                true => page.todo(0, &format!("{what}: {why}")),
                false => page.comment(0, &format!("- {what}: {why}")),
            }
        }
    }
    Rendered {
        text: page.text,
        marked: page.marked,
    }
}

fn registry(page: &mut Page, registry: &Registry) {
    match registry {
        Registry::Given(prefix) => {
            page.comment(
                0,
                "Goes before the names of images that name no registry themselves.",
            );
            page.line(0, &format!("registry: {}", scalar(&prefix.to_string())));
        }
        Registry::Suggested(prefix) => {
            page.todo(
                0,
                "the images below were named so: take the `#` away to push there. Until then they stay in \
                 the local engine",
            );
            page.line(0, &format!("# registry: {}", scalar(prefix)));
        }
        Registry::Unknown => {
            page.todo(
                0,
                "name the registry that images are pushed to; until then they stay in the local engine",
            );
            page.line(0, "# registry: harbour.example.com/x");
        }
    }
}

fn service(page: &mut Page, service: &Service) {
    let remarks = |page: &mut Page, depth, key: Key| {
        for remark in service.remarks.iter().filter(|remark| remark.key == key) {
            match remark.todo {
                true => page.todo(depth, &remark.text),
                false => page.comment(depth, &remark.text),
            }
        }
    };
    remarks(page, 1, Key::Service);
    page.line(1, &format!("{}:", scalar(&service.name)));
    remarks(page, 2, Key::Dir);
    page.pair(2, "dir", &service.dir);
    page.line(2, "git:");
    remarks(page, 3, Key::Remote);
    page.pair(3, "remote", &service.remote);
    remarks(page, 3, Key::Reference);
    page.optional(3, "reference", service.reference.as_deref());
    page.optional(3, "path", service.path.as_deref());
    if service.submodules {
        page.line(3, "submodules: true");
    }
    remarks(page, 2, Key::Scripts);
    if let Some(scripts) = &service.scripts {
        self::scripts(page, scripts);
    }
    page.line(2, "docker:");
    remarks(page, 3, Key::Image);
    page.pair(3, "image", &service.image);
    remarks(page, 3, Key::File);
    page.optional(3, "file", service.file.as_deref());
    page.optional(3, "context", service.context.as_deref());
    page.optional(3, "target", service.target.as_deref());
    args(page, &service.args);
    if !service.needs.is_empty() {
        page.line(2, "needs:");
        for need in &service.needs {
            page.line(3, &format!("- {}", scalar(need)));
        }
    }
}

fn args(page: &mut Page, args: &[Argument]) {
    if args.is_empty() {
        return;
    }
    // A key without a value would be an error.
    let is_empty = args.iter().all(|arg| arg.value.is_none());
    if !is_empty {
        page.line(3, "args:");
    }
    for (index, arg) in args.iter().enumerate() {
        let name = scalar(&arg.name);
        let remark = arg.remark.as_deref();
        let suggested = arg.suggested.as_deref().unwrap_or_default();
        match &arg.value {
            Some(value) => {
                if let Some(remark) = remark {
                    page.comment(4, remark);
                }
                page.line(4, &format!("{name}: {}", scalar(value)));
            }
            None => {
                let depth = if is_empty { 3 } else { 4 };
                page.todo(depth, remark.unwrap_or("give it a value"));
                if is_empty && index == 0 {
                    page.line(3, "# args:");
                }
                let indent = if is_empty { "  " } else { "" };
                page.line(depth, &format!("# {indent}{name}: {}", scalar(suggested)));
            }
        }
    }
}

fn scripts(page: &mut Page, scripts: &Scripts) {
    let mark = if scripts.is_there { "" } else { "# " };
    page.line(2, &format!("{mark}dockerBuilder:"));
    page.line(2, &format!("{mark}  image: {}", scalar(&scripts.builder)));
    page.line(2, &format!("{mark}scripts:"));
    for (phase, lines) in [
        ("prepare", &scripts.prepare),
        ("build", &scripts.build),
        ("test", &scripts.test),
    ] {
        if !lines.is_empty() {
            page.line(2, &format!("{mark}  {phase}:"));
        }
        for line in lines {
            page.line(2, &format!("{mark}    - {}", scalar(line)));
        }
    }
}

/// The text so far.
#[derive(Default)]
struct Page {
    text: String,
    lines: usize,
    marked: Vec<Marked>,
}

impl Page {
    fn line(&mut self, depth: usize, text: &str) {
        self.text.push_str(&"  ".repeat(depth));
        self.text.push_str(text);
        self.text.push('\n');
        self.lines += 1;
    }

    fn gap(&mut self) {
        self.text.push('\n');
        self.lines += 1;
    }

    fn pair(&mut self, depth: usize, key: &str, value: &str) {
        self.line(depth, &format!("{key}: {}", scalar(value)));
    }

    fn optional(&mut self, depth: usize, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.pair(depth, key, value);
        }
    }

    fn todo(&mut self, depth: usize, text: &str) {
        self.marked.push(Marked {
            line: self.lines + 1,
            text: one_line(text),
        });
        self.comment(depth, &format!("{MARK}: {text}"));
    }

    /// Writes a comment, in as many lines as it takes.
    fn comment(&mut self, depth: usize, text: &str) {
        let text = one_line(text);
        let room = WIDTH - 2 * depth - 2;
        let mut line = String::new();
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > room {
                self.line(depth, &format!("# {line}"));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.line(depth, &format!("# {line}"));
    }
}

/// Returns a text as a comment may have it: without line ends, which would end it and which names in other
/// tools' files may have, and without the logins of URLs.
fn one_line(text: &str) -> String {
    let is_space = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    without_logins(text).replace(is_space, " ")
}

/// Returns a text as YAML has it, in quotes where it would be taken for something else without.
fn scalar(text: &str) -> String {
    let is_first = |c: char| c.is_ascii_alphanumeric() || "./_$".contains(c);
    let is_plain =
        |c: char| c.is_ascii_alphanumeric() || " ._/@+=~$-:,;()&|<>*{}^!\"'\\".contains(c);
    let is_other = matches!(
        text.to_ascii_lowercase().as_str(),
        "null" | "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n"
    );
    // A number would keep its text, but an editor would object to it.
    let is_number = text.parse::<f64>().is_ok() || text.starts_with("0x");
    let is_date = text.len() >= 8
        && text.starts_with(|c: char| c.is_ascii_digit())
        && text
            .chars()
            .all(|c| c.is_ascii_digit() || "-:. TZ".contains(c));
    let is_safe = text.starts_with(is_first)
        && text.chars().all(is_plain)
        && !text.contains(": ")
        && !text.ends_with([':', ' '])
        && !is_other
        && !is_number
        && !is_date;
    if is_safe {
        return text.to_owned();
    }
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                quoted.push_str(&format!("\\U{:08X}", u32::from(c)));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Returns `a`, `a and b`, or `a, b and c`.
pub fn listed(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [start @ .., last] => format!("{} and {last}", start.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::manifest;

    #[test]
    fn any_text_survives() {
        for text in [
            "plain",
            "a b: c",
            "x #y",
            "# x",
            "1.10",
            "no",
            "~",
            "",
            " a ",
            "it's",
            "\"q\"",
            "back\\slash",
            "tab\tand\nline",
            "${{ service.name }}",
            "{a}",
            "[a]",
            "&a",
            "*a",
            "!a",
            "@a",
            "%a",
            "a:",
            "- a",
            "ä\u{2028}\u{1b}",
            "2024-01-01",
            "key: ${{ services.x.image }}",
        ] {
            let manifest = format!(
                "services:\n  x:\n    dir: a\n    git: {{remote: /r}}\n    docker:\n      image: i\n      args:\n        A: {}\n",
                scalar(text)
            );
            let parsed = match manifest::parse(&manifest, Path::new("m")) {
                Ok(parsed) => parsed,
                // Only the placeholder of a service that is not there is refused.
                Err(error) => {
                    assert!(text.contains("services.x"), "{error}");
                    continue;
                }
            };
            let service = parsed.services.values().next().unwrap();
            assert_eq!(service.docker.args["A"].as_written(), text);
        }
    }

    #[test]
    fn what_is_marked_is_found_by_its_line() {
        let mut service = Service {
            name: "api".to_owned(),
            dir: "api".to_owned(),
            remote: "https://h/api".to_owned(),
            image: "api".to_owned(),
            args: vec![Argument {
                name: "KEY".to_owned(),
                ..Argument::default()
            }],
            scripts: Some(Scripts {
                builder: "builders/api".to_owned(),
                build: vec!["make: x".to_owned()],
                ..Scripts::default()
            }),
            ..Service::default()
        };
        service.todo(
            Key::Service,
            "a long remark that goes on and on, ".repeat(9),
        );
        service.remark(Key::Image, "no matter\nregistry: evil");
        let draft = Draft {
            sources: vec!["a".to_owned(), "b".to_owned(), "c".to_owned()],
            services: vec![service],
            left_out: vec![LeftOut {
                what: "x".to_owned(),
                why: "y".to_owned(),
                todo: true,
            }],
            ..Draft::default()
        };
        let rendered = render(&draft);
        let lines: Vec<&str> = rendered.text.lines().collect();
        assert_eq!(rendered.marked.len(), 4);
        for marked in &rendered.marked {
            let line = lines[marked.line - 1];
            assert!(line.contains("# TODO: "), "{}", rendered.text);
        }
        let counted = lines.iter().filter(|line| line.contains("TODO: ")).count();
        assert_eq!(counted, 4);
        assert!(
            lines.iter().all(|line| line.len() <= WIDTH),
            "{}",
            rendered.text
        );
        assert!(rendered.text.contains("from a, b and c."));
        let manifest = manifest::parse(&rendered.text, Path::new("m")).unwrap();
        assert!(manifest.registry.is_none());
    }
}
