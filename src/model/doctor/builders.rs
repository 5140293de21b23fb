//! Checks of builder images.

use super::{CheckFailure, Finding, Section, Subject, count_of, list};

/// Facts about a builder image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuilderFacts {
    /// `builders/NAME`, or the image name.
    pub name: String,
    /// The image with its content tag, or as written in the manifest.
    pub image: String,
    /// Whether xp builds it from a folder.
    pub is_folder: bool,
    /// The services that use it.
    pub services: Vec<String>,
    /// Where it exists, or why its folder cannot be used.
    pub location: Result<BuilderLocation, CheckFailure>,
}

/// Where an image exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuilderLocation {
    /// Whether the engine has it; `None` if the engine did not respond.
    pub engine: Option<bool>,
    /// Whether its registry has it; `None` if it has no registry, or the registry was not queried.
    pub registry: Option<Result<bool, CheckFailure>>,
}

/// Evaluates the builder images.
pub fn builders(builders: &[BuilderFacts]) -> Section {
    let mut unbuilt = 0;
    let mut findings = Vec::new();
    for facts in builders {
        let (finding, is_missing) = builder(facts);
        unbuilt += usize::from(is_missing);
        findings.push(finding.concerning(&facts.services));
    }
    let missing = match unbuilt {
        0 => String::new(),
        count => format!("{count} not built yet"),
    };
    Section {
        subject: Subject::Builders,
        summary: list([count_of(builders.len(), "builder image"), missing]),
        findings,
    }
}

/// Evaluates a builder; also returns whether it must be built.
fn builder(facts: &BuilderFacts) -> (Finding, bool) {
    let name = &facts.name;
    let location = match &facts.location {
        Ok(location) => location,
        Err(failure) => return (Finding::of(failure), false),
    };
    let image = if facts.is_folder {
        format!("{name} ({})", facts.image)
    } else {
        name.clone()
    };
    let finding = match (location.engine, &location.registry) {
        (Some(true), Some(Ok(true))) => {
            Finding::ok(format!("{image} is in the engine and in the registry"))
        }
        (Some(true), _) => Finding::ok(format!("{image} is in the engine")),
        (_, Some(Ok(true))) => {
            Finding::ok(format!("{image} is in the registry and will be pulled"))
        }
        // The error is reported for the registry.
        (_, Some(Err(_))) if facts.is_folder => {
            Finding::note(format!("cannot tell whether the registry has {image}"))
        }
        (_, Some(Err(failure))) => {
            let finding = Finding::of(failure);
            let cause = finding.what;
            Finding {
                what: format!("cannot tell whether the builder image {name} exists"),
                causes: std::iter::once(cause).chain(finding.causes).collect(),
                ..Finding::of(failure)
            }
        }
        (None, _) => Finding::note(format!("cannot tell whether the engine has {image}")),
        (Some(false), _) if facts.is_folder => {
            let text = format!("{image} does not exist yet; the next build creates it");
            return (Finding::note(text), true);
        }
        (Some(false), Some(Ok(false))) => Finding {
            is_usage: true,
            ..Finding::error(format!(
                "builder image {name} not found in the engine or its registry"
            ))
            .fix("check its name and tag in `dockerBuilder.image`")
        },
        (Some(false), None) => Finding::note(format!(
            "{image} is not in the engine; its registry was not queried"
        )),
    };
    (finding, false)
}
