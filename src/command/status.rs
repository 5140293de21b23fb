//! `xp status`

use std::collections::{BTreeMap, BTreeSet};

use super::{count_of, request};
use crate::base::error::{Diagnostic as _, Exit, Failure, hint_lines, render};
use crate::cli::{Format, StatusArgs};
use crate::client::engine::Engine;
use crate::client::git::GitClient;
use crate::flow::request::ReferenceOverrides;
use crate::flow::session::Session;
use crate::flow::sources::commits;
use crate::flow::sources::history::HistoryExtent;
use crate::flow::sources::plugin;
use crate::flow::sources::resolve;
use crate::flow::sources::resolve::{ResolveErrors, ResolveRequest};
use crate::flow::sources::working_copies::{self, InspectedCopy};
use crate::flow::survey;
use crate::model::engine::EngineProperties;
use crate::model::event::{Event, Unit};
use crate::model::image::{EngineImages, ImageReference, ImageRepository};
use crate::model::manifest::ServiceName;
use crate::model::plan::{
    Folders, ImageLookup, Inventory, Options, PartialComparison, PlanDraft, QueryFailure,
    RecordedBase,
};
use crate::model::source::ServiceSource;
use crate::model::status::{ImageStatus, ServiceStatus, Status};
use crate::report::columns;

/// Prints the state of each service. Problems are printed below the table and do not hide the rest.
pub async fn run(session: &Session, args: &StatusArgs) -> Result<(), Failure> {
    let (status, problems) = session.unless_interrupted(status(session, args)).await?;
    session.reporter.finish();
    super::print(&match args.format {
        Format::Text => status.table(columns(std::io::stdout())),
        Format::Json => status.json(),
    })?;
    problems.verdict()
}

async fn status(session: &Session, args: &StatusArgs) -> Result<(Status, Problems), Failure> {
    let selected = request::select(session, &args.selection)?;
    // Dependencies are part of a service's image, so they are resolved too.
    let concerned = session.manifest.closure(&selected);
    let references = ReferenceOverrides::from(&args.references);
    let requests = commits::requests(session, &concerned, &references)?;
    let git = session.git()?;
    let mut problems = Problems::default();
    session.events.emit(Event::stage(format!(
        "inspecting {}",
        count_of(selected.len(), "service")
    )));
    let wanted = requests.iter().filter_map(|(name, request)| {
        let dir = &session.manifest.services.get(name)?.dir;
        let dir = session.manifest.folder.join(dir);
        Some((name.clone(), dir, request.clone()))
    });
    let copies = working_copies::read(&git, wanted);
    let (copies, sources, images) = if args.offline {
        let copies = copies.await;
        let known = copies.iter().filter_map(|(name, found)| {
            let known = found.known.clone()?;
            Some((name.to_string(), known))
        });
        let sources = commits::origins(session, &requests, known.collect());
        let unknown = requests.keys().filter(|name| {
            // Unreadable working copies are reported separately.
            let is_read = |found: &InspectedCopy| found.problem.is_none();
            !sources.contains_key(*name) && copies.get(*name).is_some_and(is_read)
        });
        if let Some(text) = not_fetched(unknown) {
            problems.add(Exit::Outside, text);
        }
        let sources = built(session, &git, sources, &mut problems).await;
        let engine = engine(session, &mut problems).await;
        let images = images(session, args, &selected, &sources, engine, &mut problems).await;
        (copies, sources, images)
    } else {
        let online = async {
            let mut of_remotes = Problems::default();
            let (sources, engine) = tokio::join!(
                sources(session, &git, &requests, &references, &mut of_remotes),
                engine(session, &mut problems)
            );
            let sources = built(session, &git, sources, &mut of_remotes).await;
            let images = images(session, args, &selected, &sources, engine, &mut problems).await;
            problems.add_before(of_remotes);
            (sources, images)
        };
        let (copies, (sources, images)) = tokio::join!(copies, online);
        (copies, sources, images)
    };
    for found in copies.values() {
        problems.extend(
            found
                .problem
                .iter()
                .map(|error| (Exit::Outside, render(error))),
        );
    }
    let status = assemble(session, args, &selected, copies, sources, images).await;
    session.events.emit(Event::StageFinished);
    let texts = problems.texts();
    let texts = texts.map(|text| text.strip_prefix("error: ").unwrap_or(text).to_owned());
    let status = Status {
        services: status,
        problems: texts.collect(),
    };
    Ok((status, problems))
}

/// Combines the results for each selected service.
async fn assemble(
    session: &Session,
    args: &StatusArgs,
    selected: &BTreeSet<ServiceName>,
    mut copies: BTreeMap<ServiceName, InspectedCopy>,
    sources: BTreeMap<ServiceName, ServiceSource>,
    mut images: BTreeMap<ServiceName, ImageState>,
) -> Vec<ServiceStatus> {
    copies.retain(|name, _| selected.contains(name));
    let tips = sources.iter();
    let tips = tips.map(|(name, source)| (name.clone(), source.tip.clone()));
    let mut copies = working_copies::compared(copies, &tips.collect()).await;
    let services = selected.iter().filter_map(|name| {
        let service = session.manifest.services.get(name)?;
        let unknown = || ImageState::unknown(&service.docker.image, args.offline);
        let found = images.remove(name).unwrap_or_else(unknown);
        Some(ServiceStatus {
            name: name.clone(),
            dir: service.dir.clone(),
            working_copy: copies.remove(name)?,
            source: sources.get(name).cloned(),
            image: found.image,
            engine: found.engine,
            registry: found.registry,
            bases: found.bases,
        })
    });
    services.collect()
}

/// Resolves references; remotes that fail are added to the problems.
async fn sources(
    session: &Session,
    git: &GitClient,
    requests: &BTreeMap<ServiceName, ResolveRequest>,
    references: &ReferenceOverrides,
    problems: &mut Problems,
) -> BTreeMap<ServiceName, ServiceSource> {
    let of_plugins = plugin::resolve_each(session, None, requests.values());
    let of_git = resolve::resolve_each(git, requests.values().cloned().collect());
    let ((mut found, mut errors), of_plugins) = tokio::join!(of_git, of_plugins);
    match of_plugins {
        Ok((more, failed)) => {
            found.extend(more);
            errors.extend(failed);
        }
        Err(failure) => problems.failed(&failure),
    }
    let is_missing = errors.is_empty() && !found.values().any(|one| one.is_from_branch);
    for error in errors {
        let error = ResolveErrors(vec![error]);
        problems.add(error.exit(), render(&error));
    }
    if let Some(branch) = references.branch.as_ref().filter(|_| is_missing)
        && let Err(failure) = commits::find_branch(session, git, None, branch).await
    {
        problems.failed(&failure);
    }
    commits::origins(session, requests, found)
}

/// Finds the commits of services with `git.path` or `git.exclude`, using only the local history.
async fn built(
    session: &Session,
    git: &GitClient,
    sources: BTreeMap<ServiceName, ServiceSource>,
    problems: &mut Problems,
) -> BTreeMap<ServiceName, ServiceSource> {
    let all: Vec<ServiceName> = sources.keys().cloned().collect();
    let whole = sources.clone().into_iter().filter(|(name, _)| {
        let service = session.manifest.services.get(name);
        service.is_some_and(|service| service.source.selection().is_whole())
    });
    let whole: BTreeMap<ServiceName, ServiceSource> = whole.collect();
    match commits::narrow(session, git, sources, HistoryExtent::Local).await {
        Ok(narrowed) => {
            let unknown = all.iter().filter(|name| !narrowed.contains_key(*name));
            let unknown: Vec<&str> = unknown.map(ServiceName::as_str).collect();
            if !unknown.is_empty() {
                let text = format!(
                    "error: the last commit of {} is not known locally because the history has not been fetched\n\
                     hint: `xp plan` and `xp sync` fetch it",
                    unknown.join(", ")
                );
                problems.add(Exit::Outside, text);
            }
            narrowed
        }
        Err(failure) => {
            let text = failure.message().unwrap_or_default().to_owned();
            problems.add(failure.exit, text);
            whole
        }
    }
}

/// Connects to the engine; `None`, with a problem, if it does not respond.
async fn engine(session: &Session, problems: &mut Problems) -> Option<(Engine, EngineProperties)> {
    match session.engine().await {
        Ok(connected) => Some(connected),
        Err(failure) => {
            problems.failed(&failure);
            None
        }
    }
}

/// Queries the engine for the images of a draft.
async fn in_engine(
    engine: Option<&Engine>,
    draft: &PlanDraft<'_>,
) -> Option<Result<EngineImages, Failure>> {
    let images = engine?.images(draft.engine_images()).await;
    Some(images.map_err(Failure::from))
}

/// The state of a service's image.
struct ImageState {
    image: Option<ImageReference>,
    engine: ImageStatus,
    registry: ImageStatus,
    bases: Vec<RecordedBase>,
}

impl ImageState {
    /// Returns the state if the commit, and therefore the image, is unknown.
    fn unknown(repository: &ImageRepository, offline: bool) -> Self {
        Self {
            image: None,
            engine: ImageStatus::Unknown,
            registry: match repository.registry() {
                None => ImageStatus::NoRegistry,
                Some(_) if offline => ImageStatus::NotQueried,
                Some(_) => ImageStatus::Unknown,
            },
            bases: Vec::new(),
        }
    }
}

/// Queries the images of the selected services, and compares them with the current inputs.
async fn images(
    session: &Session,
    args: &StatusArgs,
    selected: &BTreeSet<ServiceName>,
    sources: &BTreeMap<ServiceName, ServiceSource>,
    engine: Option<(Engine, EngineProperties)>,
    problems: &mut Problems,
) -> BTreeMap<ServiceName, ImageState> {
    let options = Options::default();
    let variable = |name: &str| session.variable(name);
    let draft = PlanDraft::without_tags(&session.manifest, selected, sources, &options, &variable);
    let (engine, facts) = engine.unzip();
    let registry = session.registry(&facts.unwrap_or_default());
    let images = if args.offline {
        Vec::new()
    } else {
        draft.images()
    };
    let (in_registries, in_engine) = tokio::join!(
        survey::registries(&registry, images),
        in_engine(engine.as_ref(), &draft)
    );
    let engine_answers = matches!(in_engine, Some(Ok(_)));
    let in_engine = in_engine.transpose().unwrap_or_else(|failure| {
        problems.failed(&failure);
        None
    });
    let mut inventory = Inventory {
        registry: in_registries,
        engine: in_engine.unwrap_or_default(),
        ..Inventory::default()
    };
    let folders = folders(session, &draft, problems);
    if !args.offline {
        survey::complete(&registry, &session.layout, &draft, &folders, &mut inventory).await;
        survey::recorded_bases(&registry, &draft, &mut inventory).await;
    }
    let PartialComparison {
        comparisons,
        problems: unrendered,
        ..
    } = draft.compare_partially(&inventory, &folders);
    for error in unrendered {
        let color = session.settings.report.color && args.format == Format::Text;
        problems.add(Exit::Usage, error.render(color));
    }
    // Dependencies may be built from the topic branch, which changes the image name of their dependents.
    let has_overrides = !ReferenceOverrides::from(&args.references).is_empty();
    let is_certain = |name: &ServiceName| {
        let mut needs = session.manifest.closure([name]).into_iter();
        !has_overrides || needs.all(|need| sources.contains_key(&need))
    };
    let mut refusals: BTreeMap<&QueryFailure, Vec<&ServiceName>> = BTreeMap::new();
    let mut found = BTreeMap::new();
    for name in selected.iter().filter(|name| is_certain(name)) {
        let (Some(named), Some((comparison, is_compared))) =
            (draft.image(name), comparisons.get(name))
        else {
            continue;
        };
        if let ImageLookup::Unknown(refusal) = &comparison.registry {
            refusals.entry(refusal).or_default().push(name);
        }
        let has_registry = named.image.repository().registry().is_some();
        let registry = if has_registry {
            ImageStatus::of(&comparison.registry, *is_compared)
        } else {
            ImageStatus::NoRegistry
        };
        let engine = if engine_answers {
            ImageStatus::of(&comparison.engine, *is_compared)
        } else {
            ImageStatus::Unknown
        };
        let image = Some(named.image.clone());
        found.insert(
            name.clone(),
            ImageState {
                image,
                engine,
                registry,
                bases: draft.bases_of_image(name, &inventory).unwrap_or_default(),
            },
        );
    }
    for (refusal, services) in refusals {
        problems.add(Exit::Outside, refused(refusal, &services));
    }
    found
}

/// Reads the builder folders; those that cannot be read are added to the problems.
fn folders(session: &Session, draft: &PlanDraft<'_>, problems: &mut Problems) -> Folders {
    let mut folders: BTreeMap<Unit, _> = BTreeMap::new();
    for name in draft.builder_folders() {
        match survey::folder_builder(&session.manifest, &name) {
            Ok((unit, folder)) => _ = folders.insert(unit, folder),
            Err(error) => problems.add(Exit::Usage, render(&error)),
        }
    }
    folders
}

/// Returns the problem for services with a commit that no working copy has, if there are any.
fn not_fetched<'n>(services: impl Iterator<Item = &'n ServiceName>) -> Option<String> {
    let names: Vec<&str> = services.map(ServiceName::as_str).collect();
    let commits = match names.as_slice() {
        [] => return None,
        [name] => format!("the commit of {name} is"),
        names => format!("the commits of {} are", names.join(", ")),
    };
    Some(format!(
        "error: {commits} not known locally, and `--offline` does not contact remotes\n\
         hint: run `xp sync` to fetch what is missing, or omit `--offline`"
    ))
}

fn refused(refusal: &QueryFailure, services: &[&ServiceName]) -> String {
    let names: Vec<&str> = services.iter().map(|name| name.as_str()).collect();
    let images = match names.as_slice() {
        [name] => format!("the image of {name}"),
        names => format!("the images of {}", names.join(", ")),
    };
    format!(
        "error: cannot query {images}\n  cause: {}{}",
        refusal.why,
        hint_lines(&refusal.hints)
    )
}

/// Parts of the status that could not be determined.
#[derive(Default)]
struct Problems(Vec<(Exit, String)>);

impl Problems {
    fn failed(&mut self, failure: &Failure) {
        let text = failure.message().unwrap_or_default();
        self.add(failure.exit, text.to_owned());
    }

    fn add(&mut self, exit: Exit, text: String) {
        self.extend([(exit, text)]);
    }

    fn add_before(&mut self, others: Self) {
        let mine = std::mem::replace(&mut self.0, others.0);
        self.extend(mine);
    }

    /// Skips duplicates, because several services can share one working copy.
    fn extend(&mut self, problems: impl IntoIterator<Item = (Exit, String)>) {
        for problem in problems {
            if !self.0.contains(&problem) {
                self.0.push(problem);
            }
        }
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(_, text)| text.as_str())
    }

    /// Returns all problems as one failure.
    fn verdict(self) -> Result<(), Failure> {
        let Some(exit) = self.0.iter().map(|(exit, _)| *exit).max() else {
            return Ok(());
        };
        let texts: Vec<&str> = self.texts().collect();
        Err(Failure::rendered(exit, texts.join("\n")))
    }
}
