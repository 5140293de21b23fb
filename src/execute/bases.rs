//! Which registries a Dockerfile takes images from. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::image::{ImageReference, Registry};

/// Returns the registries of the images that a build starts from or copies out of.
///
/// Only these are asked for credentials, as a credential helper may ask the user in turn. What
/// cannot be read is left out: the engine reads the Dockerfile itself, and says what is wrong.
pub fn registries(dockerfile: &str, args: &BTreeMap<String, String>) -> BTreeSet<Registry> {
    let mut bases = Bases {
        args,
        values: BTreeMap::new(),
        stages: BTreeSet::new(),
        found: BTreeSet::new(),
    };
    for line in logical_lines(dockerfile) {
        bases.read(&line);
    }
    bases.found
}

struct Bases<'a> {
    args: &'a BTreeMap<String, String>,
    /// What `ARG` has set so far.
    values: BTreeMap<String, String>,
    stages: BTreeSet<String>,
    found: BTreeSet<Registry>,
}

impl Bases<'_> {
    fn read(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let instruction = words.next().unwrap_or_default().to_ascii_uppercase();
        match instruction.as_str() {
            "ARG" => words.for_each(|word| self.set(word)),
            "FROM" => {
                let mut words = words.filter(|word| !word.starts_with("--"));
                if let Some(image) = words.next() {
                    self.add(image);
                }
                if words
                    .next()
                    .is_some_and(|word| word.eq_ignore_ascii_case("as"))
                {
                    self.stages.extend(words.next().map(str::to_lowercase));
                }
            }
            "COPY" | "ADD" | "RUN" => {
                for option in words.take_while(|word| word.starts_with("--")) {
                    let (name, value) = option.split_once('=').unwrap_or((option, ""));
                    match name {
                        "--from" => self.add(value),
                        "--mount" => value
                            .split(',')
                            .filter_map(|part| part.strip_prefix("from="))
                            .for_each(|image| self.add(image)),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }

    fn set(&mut self, word: &str) {
        let (name, default) = word.split_once('=').unwrap_or((word, ""));
        let default = self.replace(default.trim_matches(['"', '\'']));
        let value = self.args.get(name).cloned().unwrap_or(default);
        self.values.insert(name.to_owned(), value);
    }

    fn add(&mut self, image: &str) {
        let image = self.replace(image.trim_matches(['"', '\'']));
        let is_stage = self.stages.contains(&image.to_lowercase())
            || image.parse::<usize>().is_ok()
            || image == "scratch";
        if let (false, Ok(image)) = (is_stage, image.parse::<ImageReference>()) {
            let registry = image.repository().registry().cloned();
            self.found
                .insert(registry.unwrap_or_else(Registry::docker_hub));
        }
    }

    /// Replaces `$NAME`, `${NAME}` and `${NAME:-default}`.
    fn replace(&self, text: &str) -> String {
        let mut replaced = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            replaced.push_str(before);
            let (name, default, after) =
                match after.strip_prefix('{').and_then(|x| x.split_once('}')) {
                    Some((inner, after)) => {
                        let (name, default) = inner.split_once(":-").unwrap_or((inner, ""));
                        (name, default, after)
                    }
                    None => {
                        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
                        let end = after.find(|c| !is_name(c)).unwrap_or(after.len());
                        (&after[..end], "", &after[end..])
                    }
                };
            let value = self.values.get(name).filter(|value| !value.is_empty());
            replaced.push_str(value.map_or(default, String::as_str));
            rest = after;
        }
        replaced + rest
    }
}

/// Returns the lines without comments, those that continue joined.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for line in text.lines().map(str::trim) {
        if line.starts_with('#') {
            continue;
        }
        if let Some(last) = lines.last_mut() {
            last.push_str(line.strip_suffix('\\').unwrap_or(line));
            last.push(' ');
        }
        if !line.ends_with('\\') {
            lines.push(String::new());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(dockerfile: &str, args: &[(&str, &str)]) -> Vec<String> {
        let args = args
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()));
        let found = registries(dockerfile, &args.collect());
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn images_are_found_wherever_they_stand() {
        let dockerfile = "# FROM no.example.com/x\n\
            from --platform=linux/amd64 a.example.com/x:1 AS base\n\
            FROM b.example.com:5000/x@sha256:0123456789abcdef0123456789abcdef AS other\n\
            FROM base\n\
            COPY --from=c.example.com/x /a /b\n\
            COPY --chown=1:1 --from=other /a no.example.com/b\n\
            RUN --mount=type=bind,from=d.example.com/x,target=/x \\\n  # a comment\n  curl no.example.com/y\n\
            RUN --mount=type=cache,target=/x --mount=type=bind,from=0 true\n";
        assert_eq!(
            found(dockerfile, &[]),
            [
                "a.example.com",
                "b.example.com:5000",
                "c.example.com",
                "d.example.com"
            ]
        );
    }

    #[test]
    fn arguments_are_replaced() {
        let dockerfile = "ARG REGISTRY=a.example.com\nARG TAG FRONT\n\
            FROM ${REGISTRY}/x:${TAG:-1}\nFROM $FRONT AS front\nFROM $UNSET\n";
        assert_eq!(found(dockerfile, &[]), ["a.example.com"]);
        let args = [
            ("REGISTRY", "b.example.com:5000"),
            ("FRONT", "c.example.com/front:abc"),
        ];
        assert_eq!(
            found(dockerfile, &args),
            ["b.example.com:5000", "c.example.com"]
        );
        // An argument that names an image which is not used is no reason to ask.
        assert_eq!(found("FROM scratch\n", &args), [""; 0]);
    }

    #[test]
    fn an_image_without_a_host_is_docker_hubs() {
        assert_eq!(
            found("FROM debian:bookworm-slim AS a\nFROM a\n", &[]),
            ["docker.io"]
        );
        assert_eq!(found("FROM ${\nFROM\nCOPY --from\nARG\n\\", &[]), [""; 0]);
    }
}
