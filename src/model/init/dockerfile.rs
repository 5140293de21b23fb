//! A rough Dockerfile parser: base images, arguments and copied files.

use std::collections::BTreeSet;

/// External inputs of a Dockerfile.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct DockerfileInputs {
    /// Arguments used in `FROM` without a default.
    pub arguments: Vec<String>,
    /// Images in `FROM` and `COPY --from`, except its own stages.
    pub images: Vec<String>,
    /// Paths copied from the build context, except those with variables or patterns.
    pub copied: Vec<String>,
}

/// Parses a Dockerfile.
pub(super) fn inputs(text: &str) -> DockerfileInputs {
    let mut inputs = DockerfileInputs::default();
    let mut defaults: BTreeSet<String> = BTreeSet::new();
    let mut stages: BTreeSet<String> = BTreeSet::new();
    let mut seen_from = false;
    for line in instructions(text) {
        let mut words = line.split_whitespace();
        let instruction = words.next().unwrap_or_default().to_ascii_uppercase();
        let words: Vec<&str> = words.collect();
        let flag = |name: &str| words.iter().find_map(|word| word.strip_prefix(name));
        let plain: Vec<&str> = words
            .iter()
            .copied()
            .skip_while(|word| word.starts_with("--"))
            .collect();
        match instruction.as_str() {
            "ARG" if !seen_from => {
                let with_default = plain.iter().filter_map(|word| word.split_once('='));
                defaults.extend(with_default.map(|(name, _)| name.to_owned()));
            }
            "FROM" => {
                seen_from = true;
                let image = plain.first().copied().unwrap_or_default();
                take_image(image, &stages, &defaults, &mut inputs);
                if let Some(stage) = plain.get(2) {
                    stages.insert(stage.to_ascii_lowercase());
                }
            }
            "COPY" | "ADD" => match flag("--from=") {
                Some(from) if from.parse::<u32>().is_err() => {
                    take_image(from, &stages, &defaults, &mut inputs);
                }
                Some(_) => {}
                None => inputs.copied.extend(sources(&line, &plain)),
            },
            _ => {}
        }
    }
    inputs
}

fn take_image(
    image: &str,
    stages: &BTreeSet<String>,
    defaults: &BTreeSet<String>,
    inputs: &mut DockerfileInputs,
) {
    if image.is_empty() || image == "scratch" || stages.contains(&image.to_ascii_lowercase()) {
        return;
    }
    if let Some((_, rest)) = image.split_once('$') {
        let rest = rest.strip_prefix('{').unwrap_or(rest);
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let (name, after) = rest.split_at(rest.find(|c| !is_name(c)).unwrap_or(rest.len()));
        // Set by the engine.
        let is_set = name.starts_with("TARGET") || name.starts_with("BUILD");
        let has_default = defaults.contains(name) || after.starts_with(":-") || is_set;
        if !name.is_empty() && !has_default && !inputs.arguments.iter().any(|known| known == name) {
            inputs.arguments.push(name.to_owned());
        }
    } else if !inputs.images.iter().any(|known| known == image) {
        inputs.images.push(image.to_owned());
    }
}

/// Returns the paths that an instruction copies from the context, except those with variables or patterns.
fn sources(line: &str, plain: &[&str]) -> Vec<String> {
    let json = line.find('[').map(|at| &line[at..]);
    let all: Vec<String> = match json.and_then(|json| serde_json::from_str(json).ok()) {
        Some(list) => list,
        None => plain.iter().map(|word| (*word).to_owned()).collect(),
    };
    let Some((_, sources)) = all.split_last() else {
        return Vec::new();
    };
    let is_plain = |source: &&String| {
        !source.contains(['$', '*', '?', '[', '<', '"'])
            && !source.contains("://")
            && !source.contains("@")
    };
    let sources = sources.iter().filter(is_plain);
    sources
        .map(|source| source.trim_start_matches('/').to_owned())
        .collect()
}

/// Returns the instructions, one per line, without comments and here-document bodies.
fn instructions(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut current = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let line = line.trim();
        if line.starts_with('#') {
            continue;
        }
        if let Some(begun) = line.strip_suffix('\\') {
            current.push_str(begun);
            current.push(' ');
            continue;
        }
        current.push_str(line);
        let instruction = std::mem::take(&mut current);
        if let Some(end) = here_document(&instruction) {
            for line in lines.by_ref() {
                if line.trim_start_matches('\t') == end {
                    break;
                }
            }
        }
        if !instruction.trim().is_empty() {
            found.push(instruction);
        }
    }
    found.push(current);
    found
}

/// Returns the delimiter of an instruction's here-document.
fn here_document(instruction: &str) -> Option<String> {
    let may_have_one = ["RUN", "COPY", "ADD"].iter().any(|word| {
        instruction
            .trim_start()
            .to_ascii_uppercase()
            .starts_with(word)
    });
    let (_, after) = instruction.split_once("<<").filter(|_| may_have_one)?;
    let after = after
        .trim_start_matches('-')
        .trim_start_matches(['"', '\'']);
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let end = after.find(|c| !is_word(c)).unwrap_or(after.len());
    (end > 0).then(|| after[..end].to_owned())
}

/// The kind of a Dockerfile name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DockerfileName<'n> {
    /// `Dockerfile`
    Plain,
    /// `Dockerfile.worker`
    Variant(&'n str),
}

/// Parses a file name; `None` if it is not a Dockerfile.
pub(super) fn file_name(name: &str) -> Option<DockerfileName<'_>> {
    const OTHER_EXTENSIONS: [&str; 12] = [
        "bak",
        "dockerignore",
        "erb",
        "in",
        "j2",
        "md",
        "orig",
        "sh",
        "template",
        "tmpl",
        "tpl",
        "txt",
    ];
    if matches!(name, "Dockerfile" | "Containerfile" | "dockerfile") {
        return Some(DockerfileName::Plain);
    }
    let before = ["Dockerfile.", "Dockerfile-", "Containerfile."]
        .iter()
        .find_map(|start| name.strip_prefix(start));
    let after = || {
        [".Dockerfile", ".dockerfile"]
            .iter()
            .find_map(|end| name.strip_suffix(end))
    };
    let variant = before
        .or_else(after)
        .filter(|variant| !variant.is_empty())?;
    let extension = variant.rsplit('.').next().unwrap_or(variant);
    (!OTHER_EXTENSIONS.contains(&extension)).then_some(DockerfileName::Variant(variant))
}

/// Returns whether a file is a Dockerfile by name.
pub(crate) fn is_dockerfile(path: &str) -> bool {
    file_name(super::path::last(path)).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_parsed() {
        let text = "\
# syntax=docker/dockerfile:1
ARG FRONT
ARG GO=1.22
FROM golang:${GO} AS build
WORKDIR /src
COPY --link go.mod go.sum \\
     # a comment within
     ./
COPY . .
RUN <<EOF
FROM nothing
EOF
FROM ${FRONT} AS frontend
FROM --platform=$BUILDPLATFORM shop/base:latest
COPY --from=build /out /out
COPY --from=0 /x /x
COPY --from=alpine:3 /y /y
COPY --from=frontend /page /page
COPY [\"a b\", \"out/app\", \"/app/\"]
ADD https://h/x *.txt $X dist /app/
COPY <<TEXT /etc/x
COPY inner /
TEXT
FROM build
";
        let inputs = inputs(text);
        assert_eq!(inputs.arguments, ["FRONT"]);
        assert_eq!(inputs.images, ["shop/base:latest", "alpine:3"]);
        assert_eq!(
            inputs.copied,
            ["go.mod", "go.sum", ".", "a b", "out/app", "dist"]
        );
    }

    #[test]
    fn dockerfiles_are_recognized_by_name() {
        assert_eq!(file_name("Dockerfile"), Some(DockerfileName::Plain));
        assert_eq!(
            file_name("Dockerfile.worker"),
            Some(DockerfileName::Variant("worker"))
        );
        assert_eq!(
            file_name("web.Dockerfile"),
            Some(DockerfileName::Variant("web"))
        );
        for other in [
            "Dockerfile.dockerignore",
            "Dockerfile.prod.j2",
            "Makefile",
            "MyDockerfile",
            ".dockerfile",
        ] {
            assert_eq!(file_name(other), None, "{other}");
        }
    }
}
