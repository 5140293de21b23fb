//! Interactive questions of `xp init`.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::base::error::{Exit, Failure, render};
use crate::base::sanitize::sanitized_line;
use crate::base::task::joined;
use crate::host::settings::Settings;
use crate::model::image::RegistryPrefix;
use crate::model::init::{InitOptions, ManifestDraft};
use crate::report::{ask, paint, print_message};

/// With this many services or more, the user is asked which to include.
const MANY_SERVICES: usize = 9;

/// Asks for the registry, and for the services if there are many.
pub async fn ask_for(
    settings: &Settings,
    draft: &ManifestDraft,
    options: &mut InitOptions,
) -> Result<(), Failure> {
    let color = settings.report.color;
    // Installed before the first question, because the user may answer with Ctrl-C.
    let mut interrupt = signal(SignalKind::interrupt())
        .map_err(|error| Failure::outside(format!("cannot receive signals: {error}")))?;
    if options.registry.is_none() {
        let suggested = draft.suggested_registry();
        let (question, default) = match suggested {
            Some(prefix) => ("Registry to push images to (`-` for none)", prefix),
            None => (
                "Registry to push images to, such as harbour.example.com/x",
                "none",
            ),
        };
        loop {
            let answer = answer(question, default, color, &mut interrupt).await?;
            let prefix = match answer.as_str() {
                "-" | "none" => break,
                "" => suggested.unwrap_or_default(),
                prefix => prefix,
            };
            if prefix.is_empty() {
                break;
            }
            match prefix.parse::<RegistryPrefix>() {
                Ok(prefix) => {
                    options.registry = Some(prefix);
                    break;
                }
                Err(error) => print_message(&paint(&format!("error: {error}"), color)),
            }
        }
    }
    if options.services.is_empty() && draft.services.len() >= MANY_SERVICES {
        loop {
            let answer = answer(
                "Services to include (names or patterns)",
                "all",
                color,
                &mut interrupt,
            )
            .await?;
            if matches!(answer.as_str(), "" | "all") {
                break;
            }
            let patterns = answer
                .split([',', ' '])
                .filter(|pattern| !pattern.is_empty());
            let patterns: Vec<String> = patterns.map(str::to_owned).collect();
            match draft.check_patterns(&patterns) {
                Ok(()) => {
                    options.services = patterns;
                    break;
                }
                Err(error) => print_message(&paint(&render(&error), color)),
            }
        }
    }
    Ok(())
}

/// Asks whether to add paths to `.gitignore`.
pub async fn may_ignore(settings: &Settings, paths: &[String]) -> Result<bool, Failure> {
    let mut interrupt = signal(SignalKind::interrupt())
        .map_err(|error| Failure::outside(format!("cannot receive signals: {error}")))?;
    let question = format!("Add {} to .gitignore?", paths.join(", "));
    let color = settings.report.color;
    loop {
        let answer = answer(&question, "yes", color, &mut interrupt).await?;
        match answer.to_ascii_lowercase().as_str() {
            "" | "y" | "yes" => return Ok(true),
            "n" | "no" => return Ok(false),
            other => print_message(&paint(
                &format!(
                    "error: the answer must be `yes` or `no`, not `{}`",
                    sanitized_line(other)
                ),
                color,
            )),
        }
    }
}

/// Waits for an answer. Ctrl-C and end of input cancel `xp init`.
async fn answer(
    question: &str,
    default: &str,
    color: bool,
    interrupt: &mut Signal,
) -> Result<String, Failure> {
    let (question, default) = (question.to_owned(), default.to_owned());
    let line = tokio::task::spawn_blocking(move || ask(&question, &default, color));
    let line = tokio::select! {
        line = line => joined(line),
        _ = interrupt.recv() => Ok(None),
    };
    match line {
        Ok(Some(line)) => Ok(line),
        Ok(None) => {
            print_message("\nNothing was written");
            Err(Failure::silent(Exit::Interrupted))
        }
        Err(error) => Err(Failure::outside(format!("cannot read the answer: {error}"))),
    }
}
