//! The images and registries that a Dockerfile uses. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::image::{ImageReference, Registry};

/// Returns the image that the target stage starts from, directly or through other stages; `None` if it is
/// `scratch` or unknown.
pub fn base_image(
    dockerfile: &str,
    args: &BTreeMap<String, String>,
    target: Option<&str>,
) -> Option<ImageReference> {
    let bases = DockerfileImages::of(dockerfile, args);
    let mut stage = match target {
        Some(target) => bases.stage_before(target, bases.stages.len())?,
        None => bases.stages.len().checked_sub(1)?,
    };
    // Each stage starts from an earlier one, so this ends.
    while let Some(earlier) = bases.stage_before(&bases.stages[stage].base, stage) {
        stage = earlier;
    }
    let base = &bases.stages[stage].base;
    (base != "scratch").then(|| base.parse().ok()).flatten()
}

/// Returns the registries of the images that a build starts from or copies out of.
///
/// Credentials are looked up only for these, because a credential helper may prompt the user. Syntax that
/// cannot be parsed is skipped: the engine parses the Dockerfile itself and reports errors.
pub fn registries(dockerfile: &str, args: &BTreeMap<String, String>) -> BTreeSet<Registry> {
    DockerfileImages::of(dockerfile, args).found
}

/// A stage of a Dockerfile.
struct Stage {
    /// Its name in lower case; empty if it has none.
    name: String,
    /// The image or stage that it starts from, with arguments expanded.
    base: String,
}

struct DockerfileImages<'a> {
    args: &'a BTreeMap<String, String>,
    /// The values set by `ARG` so far.
    values: BTreeMap<String, String>,
    stages: Vec<Stage>,
    found: BTreeSet<Registry>,
}

impl<'a> DockerfileImages<'a> {
    fn of(dockerfile: &str, args: &'a BTreeMap<String, String>) -> Self {
        let mut bases = Self {
            args,
            values: BTreeMap::new(),
            stages: Vec::new(),
            found: BTreeSet::new(),
        };
        for line in logical_lines(dockerfile) {
            bases.read(&line);
        }
        bases
    }

    /// Resolves a stage name or number, as seen from stage number `end`.
    fn stage_before(&self, name: &str, end: usize) -> Option<usize> {
        let name = name.to_lowercase();
        let named = self.stages[..end].iter().rposition(|it| it.name == name);
        let numbered = name.parse().ok().filter(|number| *number < end);
        named.or(numbered)
    }

    fn read(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let instruction = words.next().unwrap_or_default().to_ascii_uppercase();
        match instruction.as_str() {
            "ARG" => words.for_each(|word| self.set(word)),
            "FROM" => {
                let mut words = words.filter(|word| !word.starts_with("--"));
                let Some(image) = words.next() else { return };
                self.add(image);
                let is_named = words
                    .next()
                    .is_some_and(|word| word.eq_ignore_ascii_case("as"));
                let name = words.next().filter(|_| is_named);
                self.stages.push(Stage {
                    name: name.map(str::to_lowercase).unwrap_or_default(),
                    base: self.image(image),
                });
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
        let default = self.expand(default.trim_matches(['"', '\'']));
        let value = self.args.get(name).cloned().unwrap_or(default);
        self.values.insert(name.to_owned(), value);
    }

    fn add(&mut self, image: &str) {
        let image = self.image(image);
        let is_stage = self.stage_before(&image, self.stages.len()).is_some() || image == "scratch";
        if let (false, Ok(image)) = (is_stage, image.parse::<ImageReference>()) {
            let registry = image.repository().registry().cloned();
            self.found
                .insert(registry.unwrap_or_else(Registry::docker_hub));
        }
    }

    fn image(&self, word: &str) -> String {
        self.expand(word.trim_matches(['"', '\'']))
    }

    /// Expands `$NAME`, `${NAME}` and `${NAME:-default}`.
    fn expand(&self, text: &str) -> String {
        let mut expanded = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            expanded.push_str(before);
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
            expanded.push_str(value.map_or(default, String::as_str));
            rest = after;
        }
        expanded + rest
    }
}

/// Returns the lines without comments, with continuation lines joined.
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
    fn images_are_found_in_all_instructions() {
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
    fn the_base_is_found_through_stages() {
        let dockerfile = "ARG BASE\nFROM golang:1 AS Build\nFROM ${BASE} AS base\nFROM base\n\
            COPY --from=build /x /x\nFROM scratch AS empty\nFROM 0 AS tools\nFROM $BASE\n";
        let args = BTreeMap::from([("BASE".to_owned(), "h.example.com/base:1".to_owned())]);
        let base = |target| base_image(dockerfile, &args, target).map(|it| it.to_string());
        let needed = Some("h.example.com/base:1".to_owned());
        assert_eq!(base(None), needed);
        assert_eq!(base(Some("base")), needed);
        assert_eq!(base(Some("2")), needed);
        assert_eq!(base(Some("BUILD")), Some("golang:1".to_owned()));
        assert_eq!(base(Some("tools")), Some("golang:1".to_owned()));
        assert_eq!(base(Some("empty")), None);
        assert_eq!(base(Some("other")), None);
        assert_eq!(base_image("", &args, None), None);
        // A stage may have the name of the image that it starts from.
        let same = "FROM debian AS debian\nFROM debian\n";
        let found = base_image(same, &args, None).unwrap();
        assert_eq!(found.to_string(), "debian");
    }

    #[test]
    fn arguments_are_expanded() {
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
        // An argument with an unused image does not count.
        assert_eq!(found("FROM scratch\n", &args), [""; 0]);
    }

    #[test]
    fn an_image_without_a_host_is_on_docker_hub() {
        assert_eq!(
            found("FROM debian:bookworm-slim AS a\nFROM a\n", &[]),
            ["docker.io"]
        );
        assert_eq!(found("FROM ${\nFROM\nCOPY --from\nARG\n\\", &[]), [""; 0]);
    }
}
