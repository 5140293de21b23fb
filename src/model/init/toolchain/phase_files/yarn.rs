//! `yarn install` of Yarn 1

use super::super::super::draft::PhaseFiles;
use super::committed_folder::CommittedFolder;
use super::install_scripts::leads_elsewhere;
use super::node_package::NodePackage;

/// Settings in `.yarnrc` that change neither what an installation reads nor where it writes.
const HARMLESS: &[&str] = &[
    "registry",
    "network-timeout",
    "network-concurrency",
    "save-prefix",
    "strict-ssl",
    "lastUpdateCheck",
];

/// Returns what `yarn install` reads and writes.
///
/// Yarn 2 and later keep packages outside of the tree by default. In a workspace, which members get a `node_modules`
/// depends on the commands of their dependencies.
pub(super) fn install(folder: &CommittedFolder<'_>) -> Option<PhaseFiles> {
    let mut inputs = Vec::new();
    let root = NodePackage::root(folder, &mut inputs)?;
    let lock = folder.text("yarn.lock")?;
    inputs.insert(1, "yarn.lock".to_owned());
    let is_unsupported = |key: &str| !root.json[key].is_null();
    if !lock.contains("# yarn lockfile v1")
        || ["workspaces", "installConfig"]
            .iter()
            .any(|key| is_unsupported(key))
        || !root.has_dependencies()
        || !folder.is_absent(".yarnrc.yml")
    {
        return None;
    }
    let mut packages = lock.lines().map(|line| line.trim_start_matches('"'));
    if packages.any(leads_elsewhere) {
        return None;
    }
    if !folder.is_absent(".yarnrc") {
        let text = folder.text(".yarnrc")?;
        let lines = text.lines().map(str::trim);
        let mut settings = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let is_harmless = |line: &str| {
            let name = line.split(' ').next().unwrap_or_default().trim_matches('"');
            HARMLESS.contains(&name) || (name.starts_with('@') && name.ends_with(":registry"))
        };
        if !settings.all(is_harmless) {
            return None;
        }
        inputs.push(".yarnrc".to_owned());
    }
    folder.add_existing(".yarnclean", &mut inputs)?;
    root.add_local_dependencies(folder, &mut inputs)?;
    Some(PhaseFiles {
        inputs,
        outputs: vec!["node_modules".to_owned()],
    })
}
