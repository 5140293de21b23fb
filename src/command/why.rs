//! `xp why`

use std::collections::BTreeSet;

use crate::base::error::{Exit, Failure};
use crate::base::table::aligned;
use crate::cli::WhyArgs;
use crate::flow::failure::plan_failure;
use crate::flow::plan;
use crate::flow::plan::Resolved;
use crate::flow::request::PlanRequest;
use crate::flow::session::Session;
use crate::flow::sources::current_service::{self, one_service};
use crate::flow::survey;
use crate::model::event::Unit;
use crate::model::image::{ImageReference, ImageRepository, Labels, Tag};
use crate::model::manifest::{BuilderImage, ServiceName};
use crate::model::plan::{Decision, Inventory, Plan, Presence, UnknownImages};
use crate::model::source::CommitId;
use crate::report::columns;

/// Explains why a service is or is not built: every input, compared with the existing image.
pub async fn run(session: &Session, args: &WhyArgs) -> Result<(), Failure> {
    session.unless_interrupted(explain(session, args)).await
}

async fn explain(session: &Session, args: &WhyArgs) -> Result<(), Failure> {
    let service = match &args.service {
        Some(name) => one_service(session, name)?,
        None => {
            let mut here = current_service::names(session).into_iter();
            match (here.next(), here.next()) {
                (Some(service), None) => service,
                _ => return list(session, args).await,
            }
        }
    };
    if args
        .against
        .as_deref()
        .is_some_and(|text| text.trim().is_empty())
    {
        return Err(Failure::usage(
            "`--against` is empty\nhint: pass a tag, branch, commit, digest, or full image name",
        ));
    }
    let selected = BTreeSet::from([service.clone()]);
    let request = request(args, selected);
    let resolved = plan::resolved(session, &request, None).await?;
    let variable = |name: &str| session.variable(name);
    let draft = resolved.draft(session, &variable)?;
    let folders = plan::folders(session, &draft)?;
    let mut inventory = plan::inventory(session, &draft, &resolved, &folders).await?;
    let registry = &resolved.clients.registry;
    survey::recorded_bases(registry, &draft, &mut inventory).await;
    let against = match &args.against {
        Some(text) => Some(other_image(session, &resolved, &service, text).await?),
        None => None,
    };
    let other = against.as_ref().map(|(image, labels)| (image, labels));
    let explanation = draft
        .explain(&service, &inventory, &folders, other)
        .map_err(|error| plan_failure(session, error))?;
    plan::reject_unusable(session, &draft, &folders, &resolved, &mut inventory).await?;
    let plan = plan::decide(session, draft, inventory, folders, &resolved, None).await;
    session.reporter.finish();
    let conclusion = plan
        .as_ref()
        .ok()
        .and_then(|plan| conclusion(session, plan, &service));
    if let Some(explanation) = explanation {
        super::print(&explanation.display(conclusion.as_deref(), columns(std::io::stdout())))?;
    }
    // The explanation is printed even if planning failed.
    plan.map(|_| ())
}

fn request(args: &WhyArgs, services: BTreeSet<ServiceName>) -> PlanRequest {
    let mut request = PlanRequest::of_remotes(services, (&args.references).into());
    request.options.refresh_bases = args.refresh_bases;
    request
}

/// Prints a line for each unit that a build would build.
async fn list(session: &Session, args: &WhyArgs) -> Result<(), Failure> {
    if args.against.is_some() {
        return Err(Failure::usage(
            "`--against` needs a service\nhint: write `xp why SERVICE --against REF`",
        ));
    }
    let all = session.manifest.services.keys().cloned().collect();
    let request = request(args, all);
    let planned = plan::plan(session, &request, None).await?;
    session.reporter.finish();
    let built = planned.plan.units.iter();
    let built: Vec<Vec<String>> = built
        .filter(|unit| unit.decision == Decision::Build)
        .map(|unit| vec![unit.unit.to_string(), unit.reason.clone()])
        .collect();
    if built.is_empty() {
        return super::print("Nothing would be built\n");
    }
    super::print(&aligned(&built))
}

fn conclusion(session: &Session, plan: &Plan, service: &ServiceName) -> Option<String> {
    let unit = Unit::Service(service.clone());
    let planned = plan.units.iter().find(|planned| planned.unit == unit)?;
    let conclusion = format!("{}: {}", planned.decision, planned.reason);
    let service = session.manifest.services.get(service)?;
    let phases = planned.phases.iter().map(|phase| phase.explanation());
    let conclusion = std::iter::once(conclusion).chain(phases);
    let conclusion = conclusion.collect::<Vec<_>>().join("\n");
    let is_built = planned.decision == Decision::Build;
    let images = service.images_of(service.scripts.items());
    Some(match images.first() {
        Some(BuilderImage::Folder(name)) if !is_built => format!(
            "{conclusion}\nThe builder is identified by its content: after `xp builder update {name}`, \
             `xp build --force {}` rebuilds with the new image.",
            service.name
        ),
        _ => conclusion,
    })
}

/// Finds another image of a service by tag, branch, commit, digest or full name.
async fn other_image(
    session: &Session,
    resolved: &Resolved,
    service: &ServiceName,
    text: &str,
) -> Result<(ImageReference, Labels), Failure> {
    let repository = session
        .manifest
        .services
        .get(service)
        .map(|service| &service.docker.image)
        .ok_or_else(|| Failure::usage(format!("unknown service `{service}`")))?;
    // The image may be in any registry.
    let facts = resolved.clients.engine.facts().await?;
    let insecure = &facts.insecure_registries;
    resolved.clients.registry.allow_insecure(insecure);
    let mut tried = Vec::new();
    for image in candidates(repository, text) {
        if let Some(labels) = labels(session, resolved, &image).await? {
            return Ok((image, labels));
        }
        tried.push(image.to_string());
    }
    let message = match tried.as_slice() {
        [] => format!("`{text}` is not a tag, branch, digest or image"),
        tried => format!("image not found: {}", tried.join(" or ")),
    };
    let hint = if CommitId::is_shortened(text) {
        "\nhint: to specify a commit, use the full 40-digit SHA-1"
    } else {
        ""
    };
    Err(Failure::rendered(
        Exit::Outside,
        format!(
            "error: {message}{hint}\nhint: pass a tag, branch, commit or digest of {repository}, or a full image name"
        ),
    ))
}

/// Returns the images that a text can refer to, likeliest first.
fn candidates(repository: &ImageRepository, text: &str) -> Vec<ImageReference> {
    if let Ok(digest) = text.parse() {
        return vec![repository.with_digest(digest)];
    }
    let mut images: Vec<ImageReference> = Vec::new();
    images.extend(text.parse().ok().map(|tag: Tag| repository.tagged(tag)));
    if !text.contains(':') {
        let branch = text.strip_prefix("origin/").unwrap_or(text);
        images.push(repository.tagged(Tag::from_branch(branch)));
    }
    let is_whole = |image: &ImageReference| image.tag().is_some() || image.digest().is_some();
    images.extend(text.parse().ok().filter(is_whole));
    images.dedup();
    images
}

/// Returns the labels of an image from the registry, or from the engine if it is not in a registry.
async fn labels(
    session: &Session,
    resolved: &Resolved,
    image: &ImageReference,
) -> Result<Option<Labels>, Failure> {
    if image.repository().registry().is_some() {
        let found = survey::registries(&resolved.clients.registry, vec![image.clone()]).await;
        UnknownImages::check(&found)?;
        if let Some(Presence::Present(digest)) = found.get(image) {
            let by_digest = image.repository().with_digest(digest.clone());
            let wanted = vec![by_digest];
            let mut inventory = Inventory {
                registry: found,
                ..Inventory::default()
            };
            let (client, layout) = (&resolved.clients.registry, &session.layout);
            survey::describe(client, layout, wanted, &mut inventory).await;
            return match inventory.published.into_values().next() {
                Some(Ok(image)) => Ok(Some(image.labels)),
                Some(Err(refusal)) => Err(UnknownImages::of(image, refusal).into()),
                None => Err(Failure::outside(format!(
                    "{image} is incomplete: the registry lacks an image that its index lists"
                ))),
            };
        }
    }
    let in_engine = resolved.clients.engine.image(image).await?;
    Ok(in_engine.map(|image| image.labels))
}
