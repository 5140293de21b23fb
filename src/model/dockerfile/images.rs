//! The images and registries that a Dockerfile uses.

use std::collections::{BTreeMap, BTreeSet};

use super::words::unquoted;
use super::{Dockerfile, Instruction};
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
/// Credentials are looked up only for these, because a credential helper may prompt the user.
pub fn registries(dockerfile: &str, args: &BTreeMap<String, String>) -> BTreeSet<Registry> {
    DockerfileImages::of(dockerfile, args).found
}

/// An image that a build starts from or copies out of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUse {
    /// The image, with arguments expanded.
    pub image: String,
    /// The argument that is the whole reference, as in `FROM ${BASE}`.
    pub argument: Option<String>,
}

/// Returns the images that a build starts from or copies out of, except its own stages and `scratch`.
pub fn image_uses(dockerfile: &str, args: &BTreeMap<String, String>) -> Vec<ImageUse> {
    let found = DockerfileImages::of(dockerfile, args).uses;
    found.into_iter().map(|it| it.image_use).collect()
}

/// Returns the line of the first instruction that uses an image with this property.
pub fn line_of_image(
    dockerfile: &str,
    args: &BTreeMap<String, String>,
    is_wanted: impl Fn(&str) -> bool,
) -> Option<usize> {
    let found = DockerfileImages::of(dockerfile, args).uses;
    let wanted = found.iter().find(|it| is_wanted(&it.image_use.image));
    wanted.map(|it| it.line)
}

/// Returns the images that the target stage needs, directly or through other stages, except `scratch`.
pub fn external_images(
    dockerfile: &str,
    args: &BTreeMap<String, String>,
    target: Option<&str>,
) -> BTreeSet<ImageReference> {
    let used = target_uses(dockerfile, args, target);
    used.filter_map(|it| it.image_use.image.parse().ok())
        .collect()
}

/// Returns those of the [`external_images`] that must exist for the platform that the image is built for, with the
/// lines that use them: stages with `FROM --platform=` choose another one.
pub fn target_images(
    dockerfile: &str,
    args: &BTreeMap<String, String>,
    target: Option<&str>,
) -> BTreeMap<ImageReference, usize> {
    let used = target_uses(dockerfile, args, target).filter(|it| it.is_for_target);
    used.filter_map(|it| Some((it.image_use.image.parse().ok()?, it.line)))
        .collect()
}

/// Returns the images that the target stage needs.
fn target_uses(
    dockerfile: &str,
    args: &BTreeMap<String, String>,
    target: Option<&str>,
) -> impl Iterator<Item = StageImage> + use<> {
    let images = DockerfileImages::of(dockerfile, args);
    let last = match target {
        Some(target) => images.stage_before(target, images.stages.len()),
        None => images.stages.len().checked_sub(1),
    };
    let mut reached = BTreeSet::new();
    let mut open: Vec<usize> = last.into_iter().collect();
    while let Some(stage) = open.pop() {
        if reached.insert(stage) {
            let links = images.links.iter().filter(|(from, _)| *from == stage);
            open.extend(links.map(|(_, to)| *to));
        }
    }
    let used = images.uses.into_iter();
    used.filter(move |it| reached.contains(&it.stage))
}

/// Returns whether a stage is for the platform of the image that is built.
pub(super) fn is_for_target(from: &Instruction) -> bool {
    let mut platform = from.flag("platform");
    platform
        .next()
        .is_none_or(|it| it.contains("TARGETPLATFORM"))
}

/// A stage of a Dockerfile.
struct Stage {
    /// Its name in lower case; empty if it has none.
    name: String,
    /// The image or stage that it starts from, with arguments expanded.
    base: String,
}

/// An image that a stage uses.
struct StageImage {
    image_use: ImageUse,
    /// The number of the stage, from 0.
    stage: usize,
    /// The line of the instruction.
    line: usize,
    /// Whether its platform is that of the image that is built.
    is_for_target: bool,
}

struct DockerfileImages<'a> {
    args: &'a BTreeMap<String, String>,
    /// The values of `ARG` before the first stage.
    globals: BTreeMap<String, String>,
    /// The values of `ARG` in the current stage.
    values: BTreeMap<String, String>,
    stages: Vec<Stage>,
    /// Whether the current stage is for the platform of the image that is built.
    is_for_target: bool,
    found: BTreeSet<Registry>,
    uses: Vec<StageImage>,
    /// The stages that each stage uses.
    links: Vec<(usize, usize)>,
}

impl<'a> DockerfileImages<'a> {
    fn of(dockerfile: &str, args: &'a BTreeMap<String, String>) -> Self {
        let mut bases = Self {
            args,
            globals: BTreeMap::new(),
            values: BTreeMap::new(),
            stages: Vec::new(),
            is_for_target: true,
            found: BTreeSet::new(),
            uses: Vec::new(),
            links: Vec::new(),
        };
        for instruction in Dockerfile::parse(dockerfile).instructions {
            bases.read(&instruction);
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

    fn read(&mut self, instruction: &Instruction) {
        match instruction.keyword.as_str() {
            "ARG" => instruction.words().for_each(|word| self.set(word)),
            "FROM" => {
                let mut words = instruction.words();
                let Some(image) = words.next() else { return };
                // Arguments of a stage are unknown to the next ones.
                self.values.clone_from(&self.globals);
                self.is_for_target = is_for_target(instruction);
                self.add(image, self.stages.len(), instruction.line);
                let is_named = words
                    .next()
                    .is_some_and(|word| word.eq_ignore_ascii_case("as"));
                let name = words.next().filter(|_| is_named);
                self.stages.push(Stage {
                    name: name.map(str::to_lowercase).unwrap_or_default(),
                    base: self.image(image),
                });
                self.values.clear();
            }
            "COPY" | "ADD" | "RUN" => {
                let stage = self.stages.len().saturating_sub(1);
                let images = instruction.flag("from");
                images.for_each(|image| self.add(image, stage, instruction.line));
                for mount in instruction.flag("mount") {
                    let images = mount.split(',').filter_map(|it| it.strip_prefix("from="));
                    images.for_each(|image| self.add(image, stage, instruction.line));
                }
            }
            _ => {}
        }
    }

    fn set(&mut self, word: &str) {
        let (name, default) = match word.split_once('=') {
            Some((name, default)) => (name, Some(self.expand(&unquoted(default)))),
            None => (word, None),
        };
        let value = self.args.get(name).cloned().or(default);
        if self.stages.is_empty() {
            let value = value.unwrap_or_default();
            self.globals.insert(name.to_owned(), value.clone());
            self.values.insert(name.to_owned(), value);
        } else {
            let value = value.or_else(|| self.globals.get(name).cloned());
            self.values
                .insert(name.to_owned(), value.unwrap_or_default());
        }
    }

    /// Adds an image or another stage that a stage uses.
    fn add(&mut self, word: &str, stage: usize, line: usize) {
        let image = self.image(word);
        let earlier = self.stage_before(&image, self.stages.len());
        self.links.extend(earlier.map(|earlier| (stage, earlier)));
        let is_stage = earlier.is_some() || image == "scratch";
        if !is_stage && !image.is_empty() {
            let image_use = ImageUse {
                image: image.clone(),
                argument: sole_argument(&unquoted(word)).map(str::to_owned),
            };
            self.uses.push(StageImage {
                image_use,
                stage,
                line,
                is_for_target: self.is_for_target,
            });
        }
        if let (false, Ok(image)) = (is_stage, image.parse::<ImageReference>()) {
            let registry = image.repository().registry().cloned();
            self.found
                .insert(registry.unwrap_or_else(Registry::docker_hub));
        }
    }

    fn image(&self, word: &str) -> String {
        self.expand(&unquoted(word))
    }

    /// Expands `$NAME`, `${NAME}`, `${NAME:-default}` and `${NAME:+other}`, also without the colon.
    fn expand(&self, text: &str) -> String {
        let mut expanded = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            expanded.push_str(before);
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let braced = after.strip_prefix('{').and_then(|it| braced(it));
            let (inner, after) = match braced {
                Some(split) => split,
                None => after.split_at(after.find(|c| !is_name(c)).unwrap_or(after.len())),
            };
            let (name, modifier) =
                inner.split_at(inner.find(|c| !is_name(c)).unwrap_or(inner.len()));
            let value = self.values.get(name).filter(|value| !value.is_empty());
            let modifier = modifier.strip_prefix(':').unwrap_or(modifier);
            match (
                modifier.strip_prefix('-'),
                modifier.strip_prefix('+'),
                value,
            ) {
                (Some(default), _, None) => expanded.push_str(&self.expand(default)),
                (_, Some(other), Some(_)) => expanded.push_str(&self.expand(other)),
                (_, None, Some(value)) => expanded.push_str(value),
                _ => {}
            }
            rest = after;
        }
        expanded + rest
    }
}

/// Returns the argument that a word consists of: `$NAME`, `${NAME}` or `${NAME:-default}`.
fn sole_argument(word: &str) -> Option<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let rest = word.strip_prefix('$')?;
    let Some(inner) = rest.strip_prefix('{') else {
        return rest.chars().all(is_name).then_some(rest);
    };
    let (inner, after) = braced(inner)?;
    let (name, modifier) = inner.split_at(inner.find(|c| !is_name(c)).unwrap_or(inner.len()));
    let is_default = modifier.is_empty() || modifier.trim_start_matches(':').starts_with('-');
    (after.is_empty() && is_default).then_some(name)
}

/// Splits a text at the brace that closes an open one.
fn braced(text: &str) -> Option<(&str, &str)> {
    let mut depth = 1;
    let end = text.find(|c| {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        depth == 0
    })?;
    Some((&text[..end], &text[end + 1..]))
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
    fn images_of_other_platforms_are_not_for_the_target() {
        let dockerfile = "FROM --platform=$BUILDPLATFORM golang AS build\nCOPY --from=tools /t /\n\
            FROM --platform=$TARGETPLATFORM debian AS base\nFROM base\nCOPY --from=build /a /\n\
            COPY --from=certs /c /\n";
        let images = target_images(dockerfile, &BTreeMap::new(), None);
        let images = images.iter().map(|(image, line)| format!("{image}:{line}"));
        assert_eq!(images.collect::<Vec<_>>(), ["certs:6", "debian:3"]);
        assert_eq!(external_images(dockerfile, &BTreeMap::new(), None).len(), 4);
    }

    #[test]
    fn only_images_that_the_target_needs_are_external() {
        let dockerfile = "ARG GO=1\nFROM golang:$GO AS build\nRUN --mount=from=cc,target=/cc make\n\
            FROM node:22 AS web\nFROM scratch\nCOPY --from=build /a /\nCOPY --from=certs /c /\n\
            FROM web AS dev\n";
        let images = |target| {
            let found = external_images(dockerfile, &BTreeMap::new(), target);
            let names: Vec<String> = found.iter().map(ToString::to_string).collect();
            names.join(" ")
        };
        assert_eq!(images(Some("2")), "cc certs golang:1");
        assert_eq!(images(None), "node:22");
        assert_eq!(images(Some("build")), "cc golang:1");
        assert_eq!(images(Some("nothing")), "");
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

    #[test]
    fn uses_of_images_name_their_argument() {
        let dockerfile = "ARG BASE\nARG TOOL=acme/tool\nARG TAG\nFROM ${BASE} AS base\nFROM \"$TOOL\" AS tool\n\
            FROM acme/x:${TAG:-1}\nFROM base\nCOPY --from=acme/y /a /b\nFROM ${NONE}\nFROM ${TOOL}x\n";
        let args = BTreeMap::from([("BASE".to_owned(), "acme/base".to_owned())]);
        let uses = image_uses(dockerfile, &args);
        let shown: Vec<(&str, Option<&str>)> = uses
            .iter()
            .map(|it| (it.image.as_str(), it.argument.as_deref()))
            .collect();
        assert_eq!(
            shown,
            [
                ("acme/base", Some("BASE")),
                ("acme/tool", Some("TOOL")),
                ("acme/x:1", None),
                ("acme/y", None),
                ("acme/toolx", None),
            ]
        );
    }

    #[test]
    fn arguments_of_a_stage_do_not_leak() {
        let dockerfile = "ARG BASE=a.example.com/x\nFROM $BASE\nARG BASE=b.example.com/x\nFROM $BASE\nARG BASE\n\
            RUN --mount=type=bind,from=${OTHER:-${BASE}} true\nFROM c.example.com/x${BASE:+/y}\n\
            RUN <<EOF\nFROM d.example.com/x\nEOF\nONBUILD COPY --from=e.example.com/x /a /b\n";
        assert_eq!(
            found(dockerfile, &[]),
            ["a.example.com", "c.example.com", "e.example.com"]
        );
        let base = base_image(dockerfile, &BTreeMap::new(), None);
        assert_eq!(base.unwrap().to_string(), "c.example.com/x/y");
    }
}
