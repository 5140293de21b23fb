//! A service's builder container for a person: the working copy, the image, the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::Arc;

use super::commits::narrow;
use super::failure::manifest_failure;
use super::session::Session;
use super::stages;
use crate::cli::Surroundings;
use crate::client::engine::{Engine, EngineFacts, ProgramSpec};
use crate::console::{Connection, Signals, attach};
use crate::error::{Exit, Failure};
use crate::event::{Phase, Unit};
use crate::execute::session::Session as Container;
use crate::execute::{self, Context, Stop, UnitState, lock};
use crate::history::Reach;
use crate::inspect;
use crate::local::{self, LocalError};
use crate::manifest::{Builder, BuilderImage, Service, ServiceName};
use crate::plan::{
    ContainerStep, Draft, Folders, Inventory, Options, UnknownImages, builder_image, builder_plan,
};
use crate::report::{failures, paint};
use crate::source::ServiceSource;

/// What a program is run in.
pub struct Workbench {
    pub context: Context,
    pub step: ContainerStep,
    pub state: UnitState,
}

/// What is run.
pub struct Task {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Variables that the manifest and the caller may overrule.
    pub env: Vec<(String, String)>,
    /// The folder of the container, where `--workdir` names none.
    pub dir: String,
    pub connection: Connection,
}

/// Returns the builder of a service, which it may lack.
pub fn builder(service: &Service) -> Result<&Builder, Failure> {
    service.builder.as_ref().ok_or_else(|| {
        Failure::usage(format!(
            "`{}` has no `dockerBuilder`, in whose image commands run\n\
             hint: name an image of the tools: `dockerBuilder: {{image: builders/…}}`",
            service.name
        ))
    })
}

/// Makes everything ready to work on the working copy: where all is there, the engine alone is asked.
pub async fn on_working_copy(session: &Session, service: &Service) -> Result<Workbench, Failure> {
    let builder = builder(service)?;
    let folders = folders(session, builder)?;
    let looked_at = async {
        let (sources, engine) = tokio::join!(sources(session, service), session.engine());
        // What is wrong here is said before an engine that does not run.
        Ok((sources?, engine?))
    };
    let (sources, (engine, facts)) = session.unless_interrupted(looked_at).await?;
    let selected = BTreeSet::from([service.name.clone()]);
    let options = Options::default();
    let variable = |name: &str| session.variable(name);
    let (manifest, layout) = (&session.manifest, &session.layout);
    let draft = Draft::without_tags(manifest, &selected, &sources, &options, &variable);
    let step = draft
        .session(&service.name, &folders, layout)
        .map_err(|error| manifest_failure(session, &error))?
        .ok_or_else(|| Failure::usage(format!("`{}` cannot be worked on", service.name)))?;
    let context = with_image(session, &builder.image, &folders, engine, facts).await?;
    Ok(Workbench {
        context,
        step,
        state: UnitState::default(),
    })
}

/// Reads the folder of a builder, where it is one.
pub fn folders(session: &Session, builder: &Builder) -> Result<Folders, Failure> {
    Ok(match &builder.image {
        BuilderImage::Folder(name) => {
            Folders::from([inspect::folder_builder(&session.manifest, name)?])
        }
        BuilderImage::External(_) => Folders::new(),
    })
}

/// Looks at the working copy of a service, and at those of the services that its variables name.
pub async fn sources(
    session: &Session,
    service: &Service,
) -> Result<BTreeMap<ServiceName, ServiceSource>, Failure> {
    let env = service.builder.iter().flat_map(|it| it.env.values());
    let mut named: BTreeSet<ServiceName> = env.flat_map(|it| it.services().cloned()).collect();
    named.insert(service.name.clone());
    let found = match local::sources(&session.manifest, &named, false).await {
        Err(LocalError::None) => BTreeMap::new(),
        found => found?,
    };
    if let Some(missing) = named.iter().find(|name| !found.contains_key(*name)) {
        return Err(no_working_copy(service, missing));
    }
    if session
        .manifest
        .services
        .values()
        .all(|it| it.git.path.is_none())
    {
        return Ok(found);
    }
    // A history that is not here is not fetched: then the checked out commit stands for the folder's.
    let narrowed = narrow(session, &session.git()?, found.clone(), Reach::Here).await?;
    let mut sources = local::at_their_commits(&session.manifest, narrowed).await?;
    for (name, source) in found {
        sources.entry(name).or_insert(source);
    }
    Ok(sources)
}

fn no_working_copy(service: &Service, missing: &ServiceName) -> Failure {
    let whose = match *missing == service.name {
        true => String::new(),
        false => format!(", whose commit a variable of `{}` names", service.name),
    };
    Failure::usage(format!(
        "there is no working copy of `{missing}`{whose}\nhint: `xp sync {missing}` clones it"
    ))
}

/// Makes sure that the engine has the image of a builder: it is pulled or built as for a build.
pub async fn with_image(
    session: &Session,
    image: &BuilderImage,
    folders: &Folders,
    engine: Engine,
    facts: EngineFacts,
) -> Result<Context, Failure> {
    let context = |engine, facts| -> Result<Context, Failure> {
        let registry = session.registry(&facts);
        let git = session.git()?;
        Ok(stages::context(
            session, engine, facts, registry, git, None, false,
        ))
    };
    let Some(name) = builder_image(image, folders) else {
        return context(engine, facts);
    };
    let looked_for = async { Ok(engine.image(&name).await?) };
    if session.unless_interrupted(looked_for).await?.is_some() {
        return context(engine, facts);
    }
    let looked_for = async {
        // As a build would do it, and not beside one that does it.
        let lock = lock::lock(&session.layout.lock(), &session.events).await?;
        let is_folder = matches!(image, BuilderImage::Folder(_));
        let asked = (is_folder && name.repository().registry().is_some()).then(|| name.clone());
        let found = inspect::registries(&session.registry(&facts), Vec::from_iter(asked)).await;
        UnknownImages::check(&found)?;
        let inventory = Inventory {
            engine: engine.images().await?,
            ..Inventory::default()
        };
        Ok((lock, found, inventory))
    };
    let (_lock, found, inventory) = session.unless_interrupted(looked_for).await?;
    let plan = builder_plan(image, folders, &inventory, found.get(&name));
    let context = Arc::new(context(engine, facts)?);
    execute::run(context.clone(), &plan).await;
    let ended = session.reporter.finish();
    let failed = failures(&ended);
    if !failed.is_empty() {
        let failed = paint(&failed, session.settings.report.color);
        _ = writeln!(std::io::stderr().lock(), "{failed}");
    }
    session.verdict(&ended)?;
    Arc::into_inner(context).ok_or_else(|| Failure::outside("the builder image is still worked on"))
}

/// Returns how a program is to be tied to what xp was started with.
pub fn connection(surroundings: &Surroundings) -> Connection {
    let wanted = match (surroundings.terminal, surroundings.no_terminal) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    };
    Connection::of_the_caller(wanted)
}

/// Runs a program from its start to its end, in a container of its own; its exit code is that of xp.
pub async fn carry_out(
    session: &Session,
    service: &Service,
    bench: Workbench,
    task: Task,
    surroundings: &Surroundings,
) -> Result<(), Failure> {
    let Workbench {
        context,
        step,
        state,
    } = bench;
    let image = step.image.to_string();
    let dir = surroundings.workdir.clone().unwrap_or(task.dir);
    let dir = absolute(dir, &step.script_dir);
    let spec = ProgramSpec {
        no_dir: format!("error: there is no folder {dir} in the container that you may enter"),
        no_program: no_program(&task.command, &image),
        env: variables(session, &step, task.env, surroundings)?,
        command: task.command,
        dir,
        terminal: task.connection.terminal(),
    };
    let unit = Unit::Service(service.name.clone());
    let stopped = async {
        session.cancel.cancelled().await;
        Stop::Cancelled
    };
    let opened = Container::open(&context, &unit, &step, &state, stopped).await;
    let container = opened.map_err(|stop| match stop {
        Stop::Cancelled => Failure::silent(Exit::Interrupted),
        Stop::Failed(error) => {
            let failed = error.in_phase(Phase::Container, None);
            let exit = if failed.outside {
                Exit::Outside
            } else {
                Exit::ServiceFailed
            };
            let hints = failed.hints.iter().map(|hint| format!("\nhint: {hint}"));
            let hints: String = hints.collect();
            Failure::rendered(exit, format!("error: {unit}: {}{hints}", failed.message))
        }
    })?;
    // Nothing of xp's own stands in the terminal from here on, and signals are the program's.
    session.reporter.finish();
    let code = match Signals::listen() {
        Ok(mut signals) => {
            session.hand_signals_over();
            let running = container.container();
            tokio::select! {
                started = running.start_program(&spec) => match started {
                    Ok(started) => attach(running, started, signals, task.connection).await.map_err(Failure::from),
                    Err(error) => Err(error.into()),
                },
                code = signals.ending() => Ok(code.into()),
            }
        }
        Err(error) => Err(Failure::outside(format!(
            "signals cannot be received: {error}"
        ))),
    };
    container.end().await;
    match u8::try_from(code?).unwrap_or(u8::MAX) {
        0 => Ok(()),
        code => Err(Failure::silent(Exit::Program(code))),
    }
}

/// Returns a folder of the container; one that is relative starts from that of the scripts.
fn absolute(dir: String, script_dir: &str) -> String {
    match dir.starts_with('/') {
        true => dir,
        false => format!("{}/{dir}", script_dir.trim_end_matches('/')),
    }
}

fn no_program(command: &[String], image: &str) -> String {
    let name = command.first().map_or("", String::as_str);
    let hint = match name.contains(char::is_whitespace) {
        true => format!("a line of the shell takes one: `-- sh -c '{name}'`"),
        false => "what the builder image has, its Dockerfile says".to_owned(),
    };
    format!(
        "error: there is no program `{name}` in {image}, or it may not be executed\nhint: {hint}"
    )
}

/// Returns the variables of a program, the caller's last: those of the manifest are the container's own.
fn variables(
    session: &Session,
    step: &ContainerStep,
    usual: Vec<(String, String)>,
    surroundings: &Surroundings,
) -> Result<Vec<(String, String)>, Failure> {
    let usual = usual.into_iter();
    let mut variables: Vec<(String, String)> = usual
        .filter(|(name, _)| !step.env.contains_key(name))
        .collect();
    for (name, value) in &surroundings.env {
        let value = value.clone().or_else(|| session.variable(name));
        let Some(value) = value else {
            return Err(Failure::usage(format!(
                "`--env {name}`: you have no variable of that name\n\
                 hint: write `--env {name}=VALUE`, or export it"
            )));
        };
        variables.push((name.clone(), value));
    }
    Ok(variables)
}

/// Returns what a terminal's programs want to know of the caller's.
pub fn terminal_variables(session: &Session, connection: Connection) -> Vec<(String, String)> {
    if connection.terminal().is_none() {
        return Vec::new();
    }
    let names = ["TERM", "COLORTERM", "LANG", "NO_COLOR"];
    let found = names.map(|name| Some((name.to_owned(), session.variable(name)?)));
    found.into_iter().flatten().collect()
}
