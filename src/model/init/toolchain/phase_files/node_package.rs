//! A `package.json`, and what its installation reads besides it.

use serde_json::Value;

use super::super::super::path;
use super::committed_folder::CommittedFolder;
use super::npmrc;

/// The scripts that run during an installation.
const LIFECYCLE: &[&str] = &[
    "preinstall",
    "install",
    "postinstall",
    "prepublish",
    "preprepare",
    "prepare",
    "postprepare",
    "dependencies",
    "pnpm:devPreinstall",
];

/// The keys with dependencies that are installed.
const DEPENDENCIES: &[&str] = &["dependencies", "devDependencies", "optionalDependencies"];

/// The keys that replace dependencies.
const OVERRIDES: &[&str] = &["resolutions", "overrides", "pnpm"];

/// A `package.json`.
pub(super) struct NodePackage {
    /// Its folder; `.` is the service's folder.
    folder: String,
    pub json: Value,
}

impl NodePackage {
    /// Reads the package of the service, and adds the files that every package manager reads.
    ///
    /// Returns `None` if its scripts or settings may read other files.
    pub fn root(folder: &CommittedFolder<'_>, inputs: &mut Vec<String>) -> Option<Self> {
        let package = Self::read(folder, ".")?;
        if !folder.is_absent("node_modules") || !folder.is_absent("binding.gyp") {
            return None;
        }
        inputs.push("package.json".to_owned());
        for name in [".npmrc", ".nvmrc", ".node-version", ".tool-versions"] {
            folder.add_existing(name, inputs)?;
        }
        if !folder.is_absent(".npmrc") && !npmrc::is_harmless(&folder.text(".npmrc")?) {
            return None;
        }
        for script in package.lifecycle_scripts() {
            if script != "patch-package" {
                return None;
            }
            folder.add_existing("patches", inputs)?;
        }
        Some(package)
    }

    /// Reads the package of a workspace's member. Returns `None` if its installation needs more than that file.
    pub fn member(folder: &CommittedFolder<'_>, member: &str) -> Option<Self> {
        let package = Self::read(folder, member)?;
        let has_bin =
            !package.json["bin"].is_null() || !package.json["directories"]["bin"].is_null();
        let has_native = !folder.is_absent(&format!("{member}/binding.gyp"));
        let is_installed = !folder.is_absent(&format!("{member}/node_modules"));
        // The files of `bin` are linked, and made executable where they are.
        if has_bin || has_native || is_installed || package.lifecycle_scripts().next().is_some() {
            return None;
        }
        Some(package)
    }

    fn read(folder: &CommittedFolder<'_>, dir: &str) -> Option<Self> {
        let file = path::join(dir, "package.json")?;
        let json: Value = serde_json::from_str(&folder.text(&file)?).ok()?;
        json.is_object().then(|| Self {
            folder: dir.to_owned(),
            json,
        })
    }

    /// Returns its `package.json`.
    pub fn file(&self) -> Option<String> {
        path::join(&self.folder, "package.json")
    }

    fn lifecycle_scripts(&self) -> impl Iterator<Item = &str> {
        let scripts = LIFECYCLE
            .iter()
            .map(|name| &self.json["scripts"][name])
            .filter(|script| !script.is_null());
        scripts.map(|script| script.as_str().unwrap_or_default())
    }

    /// Returns whether it has dependencies other than optional ones.
    pub fn has_dependencies(&self) -> bool {
        ["dependencies", "devDependencies"].iter().any(|key| {
            let entries = self.json[key].as_object();
            entries.is_some_and(|entries| !entries.is_empty())
        })
    }

    /// Adds the folders and archives of the tree that are dependencies, and returns the folders.
    ///
    /// Returns `None` if one is outside of the folder or needs other files.
    pub fn add_local_dependencies(
        &self,
        folder: &CommittedFolder<'_>,
        inputs: &mut Vec<String>,
    ) -> Option<Vec<String>> {
        let mut folders = Vec::new();
        for dependency in self.local_dependencies()? {
            if !folder.is_file(&dependency) {
                let package = Self::member(folder, &dependency)?;
                if !package.local_dependencies()?.is_empty() {
                    return None;
                }
                folders.push(dependency.clone());
            }
            folder.add(&dependency, inputs)?;
        }
        Some(folders)
    }

    /// Returns the paths of `file:` dependencies; `None` if one is outside of the folder or a link.
    fn local_dependencies(&self) -> Option<Vec<String>> {
        if OVERRIDES.iter().any(|key| has_local(&self.json[key])) {
            return None;
        }
        let entries = DEPENDENCIES
            .iter()
            .filter_map(|key| self.json[key].as_object())
            .flat_map(|entries| entries.values());
        let specs = entries.filter_map(Value::as_str).filter(|it| is_local(it));
        specs
            .map(|spec| match spec.split_once(':') {
                Some(("file", path)) => path::join(&self.folder, path),
                Some(_) => None,
                None => path::join(&self.folder, spec),
            })
            .collect()
    }
}

/// Returns whether a version is a path.
pub(super) fn is_local(spec: &str) -> bool {
    let prefixes = [
        "file:", "link:", "portal:", "patch:", "exec:", ".", "/", "~/",
    ];
    prefixes.iter().any(|prefix| spec.starts_with(prefix))
}

fn has_local(value: &Value) -> bool {
    match value {
        Value::String(text) => ["file:", "link:", "portal:", "patch:", "exec:"]
            .iter()
            .any(|prefix| text.starts_with(prefix)),
        Value::Array(items) => items.iter().any(has_local),
        Value::Object(entries) => entries.values().any(has_local),
        _ => false,
    }
}
