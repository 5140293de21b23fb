//! `xp clean`

use std::fs;
use std::path::Path;

use super::print;
use crate::base::error::Failure;
use crate::base::files;
use crate::base::shell::quoted;
use crate::cli::{CleanArgs, Format};
use crate::flow::clean::{self, CleanRequest};
use crate::flow::session::Session;
use crate::model::clean::{CleanDocument, Place, SavedPlan, Shown, text};
use crate::model::event::Event;

/// Shows what can be removed, or removes it.
pub async fn run(session: &Session, args: &CleanArgs) -> Result<(), Failure> {
    let saved = match &args.use_file {
        Some(file) => Some(read(session, file)?),
        None => None,
    };
    let request = CleanRequest {
        places: places(args, saved.as_ref()),
        delete: args.delete || saved.is_some(),
        max_delete: args.max_delete,
        saved,
    };
    let mut planned = clean::planned(session, &request).await?;
    if let Some(file) = &args.save {
        save(
            session,
            file,
            &CleanDocument::new(&planned.plan, &request.places, false),
        )?;
    }
    let skipped = if request.delete {
        planned.run(session).await?
    } else {
        Vec::new()
    };
    for (item, why) in &skipped {
        let text = format!("kept {} {}: {why}", item.group, item.name);
        session.events.emit(Event::note(text));
    }
    session.reporter.finish();
    let plan = &planned.plan;
    match args.format {
        Format::Json => print(&CleanDocument::new(plan, &request.places, request.delete).text())?,
        Format::Text => {
            let shown = if session.settings.report.verbose {
                Shown::All
            } else {
                Shown::Removals
            };
            session.reporter.print(&text(plan, shown, request.delete))?;
            if !request.delete && plan.removals().next().is_some() {
                let hint = match &args.save {
                    Some(file) => {
                        let file = file.display().to_string();
                        format!("`xp clean --use {}` removes them\n", quoted(&file))
                    }
                    None => format!("`xp clean{} --delete` removes them\n", options(args)),
                };
                session.reporter.print(&hint)?;
            }
        }
    }
    clean::verdict(&skipped)
}

fn places(args: &CleanArgs, saved: Option<&SavedPlan>) -> Vec<Place> {
    if let Some(saved) = saved {
        return saved.places().to_vec();
    }
    let chosen = [
        (args.registry, Place::Registry),
        (args.engine, Place::Engine),
        (args.cache, Place::Cache),
    ];
    let is_all = chosen.iter().all(|(is_chosen, _)| !is_chosen);
    let chosen = chosen
        .into_iter()
        .filter(|(is_chosen, _)| is_all || *is_chosen);
    chosen.map(|(_, place)| place).collect()
}

/// Returns the options that choose the places, for a hint.
fn options(args: &CleanArgs) -> String {
    let options = [
        (args.registry, " --registry"),
        (args.engine, " --engine"),
        (args.cache, " --cache"),
    ];
    let given = options.into_iter().filter(|(is_given, _)| *is_given);
    given.map(|(_, option)| option).collect()
}

fn save(session: &Session, file: &Path, document: &CleanDocument) -> Result<(), Failure> {
    let path = session.settings.directory.join(file);
    files::replace(&path, &document.text())
        .map_err(|error| Failure::usage(format!("cannot write {}: {error}", file.display())))
}

fn read(session: &Session, file: &Path) -> Result<SavedPlan, Failure> {
    let shown = file.display();
    let text = fs::read_to_string(session.settings.directory.join(file));
    let text = text.map_err(|error| {
        Failure::usage(format!(
            "cannot read {shown}: {error}\n\
             hint: `xp clean --save FILE` writes a plan"
        ))
    })?;
    SavedPlan::parse(&text).map_err(|why| {
        Failure::usage(format!(
            "{shown} is not a saved plan: {why}\n\
             hint: `xp clean --save FILE` writes one"
        ))
    })
}
