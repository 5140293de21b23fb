//! The inputs that a Dockerfile needs from outside.

use std::collections::BTreeSet;

use super::{Dockerfile, Instruction};

/// External inputs of a Dockerfile.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct DockerfileInputs {
    /// Arguments used in `FROM` without a default.
    pub arguments: Vec<String>,
    /// Images in `FROM` and `COPY --from`, except its own stages.
    pub images: Vec<String>,
    /// Paths used from the build context, except those with variables or patterns.
    pub copied: Vec<String>,
    /// Whether it uses paths with variables or patterns.
    pub has_patterns: bool,
}

/// Returns the inputs of a Dockerfile.
pub fn inputs(text: &str) -> DockerfileInputs {
    let mut inputs = DockerfileInputs::default();
    let mut defaults: BTreeSet<String> = BTreeSet::new();
    let mut stages: BTreeSet<String> = BTreeSet::new();
    let mut seen_from = false;
    for instruction in Dockerfile::parse(text).instructions {
        match instruction.keyword.as_str() {
            "ARG" if !seen_from => {
                let with_default = instruction.words().filter_map(|word| word.split_once('='));
                defaults.extend(with_default.map(|(name, _)| name.to_owned()));
            }
            "FROM" => {
                seen_from = true;
                let mut words = instruction.words();
                let image = words.next().unwrap_or_default();
                take_image(image, &stages, &defaults, &mut inputs);
                if let Some(stage) = words.nth(1) {
                    stages.insert(stage.to_ascii_lowercase());
                }
            }
            "COPY" | "ADD" => match instruction.flag("from").next() {
                Some(from) if from.parse::<u32>().is_err() => {
                    take_image(from, &stages, &defaults, &mut inputs);
                }
                Some(_) => {}
                // A trigger copies from the context of another build.
                None if instruction.is_trigger => {}
                None => {
                    let (plain, others) = sources(&instruction);
                    inputs.copied.extend(plain);
                    inputs.has_patterns |= others;
                }
            },
            "RUN" if !instruction.is_trigger => {
                let mounts = instruction.flag("mount");
                inputs.copied.extend(mounts.filter_map(mounted));
            }
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

/// Returns the path in the context that a bind mount of `RUN` uses.
fn mounted(mount: &str) -> Option<String> {
    let value = |names: &[&str]| {
        mount.split(',').find_map(|option| {
            let (name, value) = option.split_once('=')?;
            names.contains(&name).then_some(value)
        })
    };
    let is_bind = value(&["type"]).is_none_or(|kind| kind == "bind");
    if !is_bind || value(&["from"]).is_some() {
        return None;
    }
    let source = value(&["source", "src"]).unwrap_or(".");
    Some(source.trim_start_matches('/').to_owned()).filter(|source| !source.contains('$'))
}

/// Returns the paths that an instruction copies from the context, except those with variables or patterns, and
/// whether there are such.
fn sources(instruction: &Instruction) -> (Vec<String>, bool) {
    let all: Vec<String> = match serde_json::from_str(&instruction.arguments) {
        Ok(list) => list,
        Err(_) => instruction.words().map(str::to_owned).collect(),
    };
    let Some((_, sources)) = all.split_last() else {
        return (Vec::new(), false);
    };
    let is_pattern = |source: &String| source.contains(['$', '*', '?', '[']);
    let has_patterns = sources.iter().any(is_pattern);
    let is_plain = |source: &&String| {
        !source.contains(['$', '*', '?', '[', '<', '"'])
            && !source.contains("://")
            && !source.starts_with("git@")
    };
    let sources = sources.iter().filter(is_plain);
    let plain = sources.map(|source| source.trim_start_matches('/').to_owned());
    (plain.collect(), has_patterns)
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
ADD https://h/x git@h:a.git *.txt $X dist packages/@a/ui /app/
RUN --mount=type=bind,source=package.json,target=/p --mount=type=cache,target=/c --mount=from=build,src=/o true
COPY <<TEXT /etc/x
COPY inner /
TEXT
FROM build
ONBUILD COPY later /
ONBUILD COPY --from=alpine:4 /z /z
";
        let inputs = inputs(text);
        assert_eq!(inputs.arguments, ["FRONT"]);
        assert_eq!(inputs.images, ["shop/base:latest", "alpine:3", "alpine:4"]);
        assert_eq!(
            inputs.copied,
            [
                "go.mod",
                "go.sum",
                ".",
                "a b",
                "out/app",
                "dist",
                "packages/@a/ui",
                "package.json"
            ]
        );
        assert!(inputs.has_patterns);
    }
}
