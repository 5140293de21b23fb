//! `pnpm install`

use super::super::super::draft::PhaseFiles;
use super::super::super::path;
use super::super::super::yaml::{YamlFile, get, unknown_keys};
use super::committed_folder::CommittedFolder;
use super::install_scripts::leads_elsewhere;
use super::node_package::{NodePackage, is_local};
use crate::model::manifest::node::{Node, NodeKind};

const LOCK: &str = "pnpm-lock.yaml";
const WORKSPACE: &str = "pnpm-workspace.yaml";

/// Settings in `pnpm-workspace.yaml` that change neither what an installation reads nor where it writes, besides those
/// that the lock file repeats.
const HARMLESS: &[&str] = &[
    "allowBuilds",
    "autoInstallPeers",
    "catalog",
    "catalogs",
    "engineStrict",
    "hoistPattern",
    "ignoredBuiltDependencies",
    "linkWorkspacePackages",
    "minimumReleaseAge",
    "minimumReleaseAgeExclude",
    "onlyBuiltDependencies",
    "overrides",
    "packages",
    "patchedDependencies",
    "peerDependencyRules",
    "publicHoistPattern",
    "savePrefix",
    "shamefullyHoist",
    "strictPeerDependencies",
];

/// Returns what `pnpm install` reads and writes.
pub(super) fn install(folder: &CommittedFolder<'_>) -> Option<PhaseFiles> {
    let mut inputs = Vec::new();
    let root = NodePackage::root(folder, &mut inputs)?;
    let lock = yaml(folder, LOCK)?;
    let lock = lock.root().ok()??;
    inputs.insert(1, LOCK.to_owned());
    // Both are programs.
    if !folder.is_absent(".pnpmfile.cjs") || !folder.is_absent(".pnpmfile.mjs") {
        return None;
    }
    let version = scalar(get(lock, "lockfileVersion")?)?;
    if !version.starts_with("6.") && !version.starts_with("9.") {
        return None;
    }
    let workspace = if folder.is_absent(WORKSPACE) {
        None
    } else {
        Some(yaml(folder, WORKSPACE)?)
    };
    let workspace = match &workspace {
        Some(file) => Some(file.root().ok()??),
        None => None,
    };
    if let Some(workspace) = workspace {
        if !unknown_keys(workspace, HARMLESS, "").is_empty() {
            return None;
        }
        inputs.insert(2, WORKSPACE.to_owned());
    }
    let mut overrides = get(lock, "overrides").map(entries).into_iter().flatten();
    if overrides.any(|(_, version)| scalar(version).is_none_or(is_local)) {
        return None;
    }
    let mut packages = get(lock, "packages").map(entries).into_iter().flatten();
    if packages.any(|(package, _)| leads_elsewhere(package.trim_start_matches('/'))) {
        return None;
    }
    let importers: Vec<(&str, &Node)> = match get(lock, "importers") {
        Some(importers) => entries(importers).collect(),
        None => vec![(".", lock)],
    };
    let mut outputs = vec!["node_modules".to_owned()];
    let mut local = Vec::new();
    let mut is_empty = true;
    for (name, importer) in &importers {
        let member = match *name {
            "." => None,
            name => Some(NodePackage::member(folder, name)?),
        };
        let package = member.as_ref().unwrap_or(&root);
        folder.add(&package.file()?, &mut inputs)?;
        let folders = package.add_local_dependencies(folder, &mut local)?;
        let count = |key: &str| get(importer, key).map_or(0, |it| entries(it).count());
        let is_sure = count("dependencies") + count("devDependencies") > 0;
        if !is_sure && count("optionalDependencies") > 0 {
            return None;
        }
        is_empty &= !is_sure;
        if is_sure && *name != "." {
            outputs.push(format!("{name}/node_modules"));
        }
        if !is_linked_known(importer, name, &importers, &folders) {
            return None;
        }
    }
    if is_empty || importers.iter().all(|(name, _)| *name != ".") {
        return None;
    }
    inputs.retain(|input| local.iter().all(|it| path::below(input, it).is_none()));
    inputs.extend(local);
    for (name, patch) in get(lock, "patchedDependencies")
        .map(entries)
        .into_iter()
        .flatten()
    {
        let path = match get(patch, "path") {
            Some(path) => scalar(path).map(str::to_owned),
            None => patch_of(name, workspace, &root),
        };
        folder.add(&path?, &mut inputs)?;
    }
    Some(PhaseFiles { inputs, outputs })
}

/// Returns whether all dependencies of an importer in the tree are other importers, or in a list of folders.
fn is_linked_known(
    importer: &Node,
    name: &str,
    importers: &[(&str, &Node)],
    folders: &[String],
) -> bool {
    let groups = ["dependencies", "devDependencies", "optionalDependencies"];
    let groups = groups.iter().filter_map(|group| get(importer, group));
    let mut versions = groups
        .flat_map(entries)
        .map(|(_, dependency)| get(dependency, "version").and_then(scalar));
    versions.all(|version| {
        let Some(version) = version else { return false };
        if let Some(target) = version.strip_prefix("link:") {
            let target = path::join(name, target);
            return importers
                .iter()
                .any(|(it, _)| Some(*it) == target.as_deref());
        }
        match version.strip_prefix("file:") {
            Some(target) => {
                let target = target.split('(').next().unwrap_or(target);
                target.ends_with(".tgz") || folders.iter().any(|folder| folder == target)
            }
            None => !is_local(version),
        }
    })
}

/// Returns the patch of a dependency, which newer lock files do not name.
fn patch_of(name: &str, workspace: Option<&Node>, root: &NodePackage) -> Option<String> {
    let written = workspace
        .and_then(|workspace| get(workspace, "patchedDependencies"))
        .and_then(|patches| get(patches, name))
        .and_then(scalar);
    let written = written.or_else(|| root.json["pnpm"]["patchedDependencies"][name].as_str());
    path::join(".", written?)
}

fn yaml(folder: &CommittedFolder<'_>, file: &str) -> Option<YamlFile> {
    let parsed = YamlFile::parse(file, &folder.text(file)?).ok()?;
    // Since pnpm 11, a first document may be about pnpm itself.
    (parsed.documents().len() == 1).then_some(parsed)
}

fn entries(node: &Node) -> impl Iterator<Item = (&str, &Node)> {
    let entries = match &node.kind {
        NodeKind::Mapping(entries) => entries.as_slice(),
        _ => &[],
    };
    entries
        .iter()
        .map(|entry| (entry.key.as_str(), &entry.value))
}

fn scalar(node: &Node) -> Option<&str> {
    match &node.kind {
        NodeKind::Scalar { text, .. } => Some(text),
        _ => None,
    }
}
