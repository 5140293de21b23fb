//! The text and the location of the annotation of a failure.

use std::path::{Path, PathBuf};

use crate::model::event::FailedStep;
use crate::report::OutputSettings;
use crate::report::text::shortened;

/// The longest text, in bytes. GitHub truncates longer ones after 4096 characters, and TeamCity after 4000: the end of a
/// log is its most important part.
const LIMIT: usize = 3500;

/// Longer lines of the log are truncated.
const LONGEST_LINE: usize = 300;

const LOG: &str = "\n\nThe end of its log:";

/// Returns the text: message, hints, and the end of the log, as far as it fits.
pub fn text(step: &FailedStep, settings: &OutputSettings) -> String {
    let mut text = step.message.clone();
    if let Some(instruction) = &step.dockerfile {
        let is_annotated = location(step, settings, Path::new("")).is_some();
        if let (false, Some(repository)) = (is_annotated, &instruction.repository) {
            let (file, line) = (&instruction.file, instruction.line);
            text.push_str(&format!("\n{file}:{line} of {repository}"));
        }
    }
    for hint in &step.hints {
        text.push_str(&format!("\nhint: {hint}"));
    }
    let lines = step.tail.iter().rev();
    let lines = lines.map(|line| shortened(line.trim_end(), LONGEST_LINE));
    let mut room = LIMIT.saturating_sub(text.len() + LOG.len());
    let mut tail: Vec<String> = lines
        .take_while(|line| {
            let fits = line.len() < room;
            room = room.saturating_sub(line.len() + 1);
            fits
        })
        .collect();
    if !tail.is_empty() {
        text.push_str(LOG);
        tail.reverse();
        for line in tail {
            text.push_str(&format!("\n{line}"));
        }
    }
    text
}

/// Returns the file and line that a failure is about, if the CI system has the file: the manifest, a Dockerfile of a
/// builder, or one in the repository that the CI system checked out.
pub fn location(
    step: &FailedStep,
    settings: &OutputSettings,
    manifest: &Path,
) -> Option<(PathBuf, usize)> {
    if let Some(instruction) = &step.dockerfile {
        let file = Path::new(&instruction.file);
        let file = match &instruction.repository {
            None => {
                let folder = manifest.parent().unwrap_or(manifest);
                settings.relative_to_workspace(&folder.join(file))
            }
            Some(url) => {
                let repository = settings.repository.as_ref()?;
                repository.is_at(url).then(|| file.to_owned())?
            }
        };
        return Some((file, instruction.line));
    }
    Some((settings.relative_to_workspace(manifest), step.line?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::{DockerfileLine, Phase};
    use crate::report::CheckedOutRepository;

    fn failed_instruction(repository: Option<&str>) -> FailedStep {
        FailedStep {
            dockerfile: Some(Box::new(DockerfileLine {
                file: "docker/Dockerfile".to_owned(),
                line: 5,
                repository: repository.map(str::to_owned),
            })),
            ..FailedStep::new(Phase::Image, "failed".to_owned())
        }
    }

    fn settings() -> OutputSettings {
        OutputSettings {
            workspace: "/ws".into(),
            repository: CheckedOutRepository::of_github("https://github.com", "x/platform"),
            ..OutputSettings::default()
        }
    }

    #[test]
    fn the_end_of_a_log_fits() {
        let tail = (0..20).map(|line| format!("{line:0>290}"));
        let step = FailedStep {
            hints: vec!["look".to_owned()],
            tail: tail.collect(),
            ..FailedStep::new(Phase::Build, "failed".to_owned())
        };
        let text = text(&step, &settings());
        assert!(text.starts_with("failed\nhint: look\n\nThe end of its log:\n0"));
        assert!(text.ends_with("019") && text.len() <= LIMIT, "{text}");
        assert_eq!(text.lines().count(), 4 + 11);
        let long = FailedStep::new(Phase::Build, "é".repeat(LIMIT));
        let long = FailedStep {
            tail: vec!["x".to_owned()],
            ..long
        };
        assert_eq!(super::text(&long, &settings()), long.message);
    }

    #[test]
    fn a_dockerfile_is_located_in_the_repository_of_the_job() {
        let manifest = Path::new("/ws/product/x-platform.yml");
        let located = |repository| location(&failed_instruction(repository), &settings(), manifest);
        let file = |path: &str| Some((PathBuf::from(path), 5));
        assert_eq!(located(None), file("product/docker/Dockerfile"));
        let own = Some("git@github.com:x/platform.git");
        assert_eq!(located(own), file("docker/Dockerfile"));
        assert_eq!(text(&failed_instruction(own), &settings()), "failed");
        let other = Some("https://github.com/x/zbackend.git");
        assert_eq!(located(other), None);
        assert_eq!(
            text(&failed_instruction(other), &settings()),
            "failed\ndocker/Dockerfile:5 of https://github.com/x/zbackend.git"
        );
    }
}
