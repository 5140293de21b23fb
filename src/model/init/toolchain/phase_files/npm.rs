//! `npm ci`

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::super::draft::PhaseFiles;
use super::committed_folder::CommittedFolder;
use super::install_scripts;
use super::node_package::NodePackage;

/// Returns what `npm ci` reads and writes.
pub(super) fn install(folder: &CommittedFolder<'_>) -> Option<PhaseFiles> {
    let mut inputs = Vec::new();
    let root = NodePackage::root(folder, &mut inputs)?;
    let names = ["npm-shrinkwrap.json", "package-lock.json"];
    // npm prefers the first one.
    let lock = names.iter().find(|name| !folder.is_absent(name))?;
    let text = folder.text(lock)?;
    inputs.insert(1, (*lock).to_owned());
    let lock: Value = serde_json::from_str(&text).ok()?;
    let locked = LockedPackages::of(&lock)?;
    let mut members = Vec::new();
    for member in &locked.folders {
        let package = NodePackage::member(folder, member)?;
        folder.add(&package.file()?, &mut inputs)?;
        members.push(package);
    }
    let mut local = Vec::new();
    for package in std::iter::once(&root).chain(&members) {
        for dependency in package.add_local_dependencies(folder, &mut local)? {
            if !locked.folders.contains(&dependency) {
                return None;
            }
        }
    }
    for archive in &locked.archives {
        folder.add(archive, &mut local)?;
    }
    inputs.retain(|input| {
        let mut local = local.iter();
        local.all(|folder| super::path::below(input, folder).is_none())
    });
    inputs.extend(local);
    Some(PhaseFiles {
        inputs,
        outputs: locked.installed()?,
    })
}

/// The packages in a lock file, by what they need.
#[derive(Default)]
struct LockedPackages {
    /// The folders of workspace members and other packages in the tree.
    folders: Vec<String>,
    /// The archives in the tree.
    archives: Vec<String>,
    /// The folders with a `node_modules`, and whether it certainly gets a package; empty for the service's folder.
    owners: BTreeMap<String, bool>,
}

impl LockedPackages {
    /// Returns `None` for the format of npm 6, which does not list folders, and for unknown install scripts.
    fn of(lock: &Value) -> Option<Self> {
        let mut locked = Self::default();
        for (path, package) in lock["packages"].as_object()? {
            if path.is_empty() {
                continue;
            }
            let is_set = |key: &str| package[key].as_bool() == Some(true);
            let owner = match path.strip_prefix("node_modules/") {
                Some(_) => Some(""),
                None => path.split_once("/node_modules/").map(|(owner, _)| owner),
            };
            let Some(owner) = owner else {
                locked.folders.push(path.clone());
                continue;
            };
            // A package for another platform is not installed.
            let is_sure = !is_set("optional") && !is_set("devOptional");
            *locked.owners.entry(owner.to_owned()).or_default() |= is_sure;
            let name = path.rsplit("node_modules/").next().unwrap_or_default();
            if is_set("hasInstallScript") && !install_scripts::is_self_contained(name) {
                return None;
            }
            let resolved = package["resolved"].as_str().unwrap_or_default();
            if let Some(archive) = resolved.strip_prefix("file:") {
                locked.archives.push(archive.to_owned());
            }
        }
        Some(locked)
    }

    /// Returns the `node_modules` folders; `None` if one may be missing.
    fn installed(&self) -> Option<Vec<String>> {
        if !self.owners.contains_key("") {
            return None;
        }
        let folders = self.owners.iter().map(|(owner, is_sure)| {
            let folder = match owner.as_str() {
                "" => "node_modules".to_owned(),
                owner => format!("{owner}/node_modules"),
            };
            let is_known = owner.is_empty() || self.folders.contains(owner);
            (*is_sure && is_known).then_some(folder)
        });
        folders.collect()
    }
}
