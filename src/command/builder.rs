//! `xp builder`

use std::collections::BTreeMap;

use crate::base::error::Failure;
use crate::base::table::aligned;
use crate::cli::BuilderCommand;
use crate::flow::build::{BuildOptions, carry_out};
use crate::flow::plan::Planned;
use crate::flow::session::{Clients, Session};
use crate::flow::survey;
use crate::model::image::ImageReference;
use crate::model::manifest::BuilderName;
use crate::model::plan::{BuilderMode, Folders, Inventory, Plan, Presence, UnknownImages};
use crate::store::claim::lock;

/// Runs a command of `xp builder`.
pub async fn run(session: &Session, command: &BuilderCommand) -> Result<(), Failure> {
    match command {
        BuilderCommand::List => session.unless_interrupted(list(session)).await,
        BuilderCommand::Update {
            names,
            jobs,
            no_push,
            refresh_bases,
            ..
        } => {
            let locked = async { Ok(lock(&session.layout.lock(), &session.events).await?) };
            let _lock = session.unless_interrupted(locked).await?;
            let planned = session
                .unless_interrupted(plan_update(session, names, !no_push, *refresh_bases))
                .await?;
            let detail = session.reporter.detail(!names.is_empty());
            let options = BuildOptions {
                jobs: jobs.jobs,
                ..BuildOptions::new(detail)
            };
            carry_out(session, planned, options).await
        }
    }
}

async fn list(session: &Session) -> Result<(), Failure> {
    let folders = folders(session, &[])?;
    let (engine, facts) = session.engine().await?;
    let registry = session.registry(&facts);
    let (found, in_engine) = tokio::join!(
        survey::registries(&registry, in_registries(&folders)),
        engine.images(folders.values().map(|folder| folder.image.clone().into()))
    );
    let inventory = Inventory {
        registry: found,
        engine: in_engine?,
        ..Inventory::default()
    };
    let mut rows = vec![
        ["BUILDER", "CONTENT", "ENGINE", "REGISTRY", "IMAGE"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for (unit, folder) in &folders {
        let in_engine = match inventory.in_engine(&folder.image) {
            None => "no",
            Some(_) if folder.is_other_build(&inventory, &inventory.registry) => "other",
            Some(_) => "yes",
        };
        let in_registry = match inventory.registry.get(&folder.image) {
            None => "-",
            Some(Presence::Present(_)) => "yes",
            Some(Presence::Absent) => "no",
            Some(Presence::Unknown(_)) => "?",
        };
        rows.push(vec![
            unit.to_string(),
            folder.content.short().to_owned(),
            in_engine.to_owned(),
            in_registry.to_owned(),
            folder.image.to_string(),
        ]);
    }
    session.reporter.finish();
    super::print(&aligned(&rows))?;
    // The table is printed even if some images are unknown.
    UnknownImages::check(&inventory.registry)?;
    Ok(())
}

async fn plan_update(
    session: &Session,
    names: &[String],
    push: bool,
    refresh: bool,
) -> Result<Planned, Failure> {
    let folders = folders(session, names)?;
    let (engine, facts) = session.engine().await?;
    let registry = session.registry(&facts);
    let git = session.git()?;
    // The images in the registry are the ones to replace.
    let images = in_registries(&folders);
    let images = images.into_iter().filter(|_| push).collect();
    let in_registries = survey::registries(&registry, images).await;
    UnknownImages::check(&in_registries)?;
    let inventory = Inventory::default();
    let mode = BuilderMode {
        is_on_fleet: false,
        force: true,
        push,
        refresh_bases: refresh,
    };
    let units = folders
        .iter()
        .map(|(unit, folder)| folder.plan(unit.clone(), &inventory, &in_registries, mode));
    Ok(Planned {
        plan: Plan {
            units: units.collect(),
            train: None,
        },
        clients: Clients {
            engine,
            registry,
            git,
        },
        sources: BTreeMap::new(),
    })
}

/// Reads the folders of the named builders, or of all builders if there are no names.
fn folders(session: &Session, names: &[String]) -> Result<Folders, Failure> {
    let named = names
        .iter()
        // Accept the manifest's notation too.
        .map(|name| name.strip_prefix("builders/").unwrap_or(name))
        .map(|name| {
            name.parse::<BuilderName>().map_err(|error| {
                Failure::usage(format!(
                    "{error}\nhint: `xp builder list` lists the builders"
                ))
            })
        });
    let names = if names.is_empty() {
        survey::builder_names(&session.manifest)
    } else {
        named.collect::<Result<Vec<_>, _>>()?
    };
    let read = names
        .iter()
        .map(|name| survey::folder_builder(&session.manifest, name));
    Ok(read.collect::<Result<_, _>>()?)
}

fn in_registries(folders: &Folders) -> Vec<ImageReference> {
    let images = folders.values().map(|folder| &folder.image);
    images
        .filter(|image| image.repository().registry().is_some())
        .cloned()
        .collect()
}
