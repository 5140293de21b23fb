//! Scripts of a service, and the files outside its folder that they need.

use super::super::draft::{DraftKey, DraftService};
use super::super::source_repo::SourceRepo;
use super::super::toolchain::{self, ToolchainGuess};
use super::super::{ReadFile, path};
use super::ImageCandidate;
use crate::base::plural::abbreviated;
use crate::model::dockerfile::DockerfileInputs;

/// The maximum number of files named in one line.
const SHOWN_FILES: usize = 3;

/// Variables that change what package managers read and write, and the beginnings of their names.
const TOOL_VARIABLES: &[&str] = &[
    "NODE_ENV",
    "npm_config_",
    "NPM_CONFIG_",
    "YARN_",
    "GOFLAGS",
    "GOOS",
    "GOWORK",
    "MAVEN_ARGS",
];

/// Suggests scripts if the Dockerfile copies files that are not in the commit, or if a builder exists.
pub(super) fn add(
    service: &mut DraftService,
    candidate: &ImageCandidate,
    repo: &SourceRepo<'_>,
    inputs: &DockerfileInputs,
    read: &ReadFile<'_>,
) {
    let Some(local) = repo.local else { return };
    let is_missing = |copied: &&String| {
        let path = path::join(&candidate.context, copied);
        path.is_some_and(|path| !local.holds(&path))
    };
    let mut missing: Vec<&String> = inputs.copied.iter().filter(is_missing).collect();
    missing.dedup();
    let builder = format!("builders/{}", service.name);
    let in_builder = |name: &&str| read(&format!("{builder}/{name}")).ok().flatten();
    let dockerfile = ["Dockerfile", "dockerfile"].iter().find_map(in_builder);
    let builder_exists = dockerfile.is_some();
    if missing.is_empty() && !builder_exists {
        return;
    }
    let folder = service.path.as_deref().unwrap_or(".");
    let guess = match path::join(&repo.dir, folder) {
        Some(folder) => toolchain::guess(&folder, read),
        None => ToolchainGuess::default(),
    };
    let copied = (!missing.is_empty()).then(|| {
        let verb = if missing.len() == 1 { "is" } else { "are" };
        let files = abbreviated(&missing, SHOWN_FILES);
        format!("the Dockerfile copies {files}, which {verb} not in the commit")
    });
    let it = if missing.len() == 1 { "it" } else { "them" };
    if !guess.is_useful() {
        if let Some(copied) = copied {
            let todo = format!("{copied}: add `dockerBuilder` and `scripts` that create {it}");
            service.todo(DraftKey::Scripts, todo);
        }
        return;
    }
    let by = format!("guessed from its {}", guess.files.join(" and "));
    let mut scripts = guess.scripts;
    if dockerfile.is_none_or(|text| !changes_tools(&text)) {
        let in_repo = |file: &str| read(&path::join(&repo.dir, file)?).ok().flatten();
        let created: Vec<String> = missing
            .iter()
            .filter_map(|copied| path::join(&candidate.context, copied))
            .collect();
        toolchain::propose(&mut scripts, local, folder, &created, &in_repo);
    }
    scripts.builder_exists = builder_exists;
    scripts.builder = builder;
    let todo = match copied {
        Some(copied) if builder_exists => {
            format!("{copied}: these scripts must create {it}, {by}")
        }
        Some(copied) => format!(
            "{copied}: scripts must create {it}. To use these, {by}, add a Dockerfile with the toolchain to {} and \
             remove the first `#` of each line",
            scripts.builder
        ),
        None => format!("check these scripts, {by}"),
    };
    service.todo(DraftKey::Scripts, todo);
    service.scripts = Some(scripts);
    if service.path.is_some() {
        outside(service, repo, read);
    }
}

/// Returns whether a builder's Dockerfile sets variables that change what package managers read and write.
fn changes_tools(dockerfile: &str) -> bool {
    TOOL_VARIABLES.iter().any(|name| dockerfile.contains(name))
}

/// Adds the files outside `git.path` that the scripts need.
fn outside(service: &mut DraftService, repo: &SourceRepo<'_>, read: &ReadFile<'_>) {
    let Some(folder) = service.path.clone() else {
        return;
    };
    let in_repo = |file: &str| read(&path::join(&repo.dir, file)?).ok().flatten();
    for file in toolchain::parents_of(&folder, &in_repo) {
        let mut included = service.include.iter();
        if included.all(|known| path::below(&file, known).is_none()) {
            service.include.push(file);
        }
    }
    let workspace = toolchain::workspace_of(&folder, &in_repo);
    if let Some(workspace) = workspace.filter(|file| !service.include.contains(file)) {
        service.todo(
            DraftKey::Reference,
            format!(
                "it is part of the workspace of {workspace}, which is outside `path`: add that file and what it \
                 needs to `include`"
            ),
        );
    }
}
