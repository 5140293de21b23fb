//! The images that scripts run in.

use super::{Finding, Section, Subject, Trouble, list, many};

/// What is known of a builder image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuilderFacts {
    /// `builders/` and the folder's name, or the image's.
    pub name: String,
    /// The image by its content, or as the manifest names it.
    pub image: String,
    /// Whether xp builds it from a folder.
    pub is_folder: bool,
    /// The services whose scripts run in it.
    pub services: Vec<String>,
    /// Where it exists, or what is wrong with its folder.
    pub place: Result<BuilderWhere, Trouble>,
}

/// Where an image exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuilderWhere {
    /// Whether the engine has it; none where the engine does not tell.
    pub engine: Option<bool>,
    /// Whether its registry has it; none where it belongs to none, or was not asked.
    pub registry: Option<Result<bool, Trouble>>,
}

/// Tells what is wrong with the builder images.
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
        count => format!("{count} to be built first"),
    };
    Section {
        subject: Subject::Builders,
        summary: list([many(builders.len(), "builder image"), missing]),
        findings,
    }
}

/// Returns what is to be said of a builder, and whether it has to be built.
fn builder(facts: &BuilderFacts) -> (Finding, bool) {
    let name = &facts.name;
    let place = match &facts.place {
        Ok(place) => place,
        Err(trouble) => return (Finding::of(trouble), false),
    };
    let image = match facts.is_folder {
        true => format!("{name} ({})", facts.image),
        false => name.clone(),
    };
    let finding = match (place.engine, &place.registry) {
        (Some(true), Some(Ok(true))) => {
            Finding::ok(format!("{image} is in the engine and in the registry"))
        }
        (Some(true), _) => Finding::ok(format!("{image} is in the engine")),
        (_, Some(Ok(true))) => Finding::ok(format!("{image} is in the registry, to be pulled")),
        // What keeps its registry from telling is said there.
        (_, Some(Err(_))) if facts.is_folder => Finding::note(format!(
            "{image}: its registry does not tell whether it has it"
        )),
        (_, Some(Err(trouble))) => {
            let finding = Finding::of(trouble);
            let cause = finding.what;
            Finding {
                what: format!("whether the builder image {name} exists cannot be told"),
                causes: std::iter::once(cause).chain(finding.causes).collect(),
                ..Finding::of(trouble)
            }
        }
        (None, _) => Finding::note(format!(
            "{image}: the engine does not tell whether it has it"
        )),
        (Some(false), _) if facts.is_folder => {
            let text = format!("{image} exists nowhere: the next build makes it");
            return (Finding::note(text), true);
        }
        (Some(false), Some(Ok(false))) => Finding {
            is_usage: true,
            ..Finding::error(format!(
                "the builder image {name} exists neither in the engine nor in its registry"
            ))
            .fix("check its name and tag in `dockerBuilder.image`")
        },
        (Some(false), None) => Finding::note(format!(
            "{image} is not in the engine, and its registry was not asked"
        )),
    };
    (finding, false)
}
