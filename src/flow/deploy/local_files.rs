//! Checks the kustomize and compose files that exist on this machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::base::suggest;
use crate::model::deploy::Kustomization;

/// The maximum number of kustomizations to read: more means that they include each other.
pub(super) const MAX_KUSTOMIZATIONS: usize = 1000;

/// A problem of an environment's files.
pub struct OverlayProblem {
    pub message: String,
    pub hint: String,
}

/// Why an overlay cannot be used.
pub(super) struct MissingOverlay {
    /// Such as "does not exist".
    pub why: &'static str,
    pub hint: String,
}

/// Checks that an overlay and all local parts that it includes exist and are YAML.
pub fn problems(root: &Path, overlay: &Path) -> Vec<OverlayProblem> {
    if let Some(MissingOverlay { why, hint }) = missing_overlay(root, overlay) {
        let message = format!("the overlay `{}` {why}", overlay.display());
        return vec![OverlayProblem { message, hint }];
    }
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let mut folders: Vec<PathBuf> = root.join(overlay).canonicalize().into_iter().collect();
    while let Some(folder) = folders.pop() {
        if seen.len() > MAX_KUSTOMIZATIONS || !seen.insert(folder.clone()) {
            continue;
        }
        let Some((file, text)) = kustomization(&folder) else {
            continue;
        };
        let shown = shortened(root, &file);
        let Some(contents) = Kustomization::parse(&text) else {
            found.push(OverlayProblem {
                message: format!("{shown} is not valid YAML"),
                hint: format!(
                    "`kubectl kustomize {}` shows the line",
                    shortened(root, &folder)
                ),
            });
            continue;
        };
        for part in contents.parts.iter().filter(|part| is_local(part)) {
            match folder.join(part).canonicalize() {
                Ok(path) if path.is_dir() && kustomization(&path).is_none() => {
                    found.push(OverlayProblem {
                        message: format!(
                            "{shown} includes `{part}`, a folder without a kustomization.yaml"
                        ),
                        hint: format!(
                            "create {}/kustomization.yaml, or remove the entry",
                            shortened(root, &path)
                        ),
                    });
                }
                Ok(path) if path.is_dir() => folders.push(path),
                Ok(_) => {}
                Err(_) => found.push(OverlayProblem {
                    message: format!("{shown} includes `{part}`, which does not exist"),
                    hint: "paths in a kustomization are relative to its folder".to_owned(),
                }),
            }
        }
    }
    found
}

/// Returns a problem for each compose file that does not exist.
pub fn missing_files(folder: &Path, files: &[PathBuf]) -> Vec<OverlayProblem> {
    let missing = files.iter().filter(|file| !folder.join(file).is_file());
    missing
        .map(|file| OverlayProblem {
            message: format!("the compose file `{}` does not exist", file.display()),
            hint: "set the path of the file, relative to the manifest's folder".to_owned(),
        })
        .collect()
}

/// Returns a problem if an overlay does not exist.
pub(super) fn missing_overlay(root: &Path, overlay: &Path) -> Option<MissingOverlay> {
    let folder = root.join(overlay);
    let why = if !folder.is_dir() {
        "does not exist"
    } else if kustomization(&folder).is_none() {
        "has no kustomization.yaml"
    } else {
        return None;
    };
    let wanted = overlay.display().to_string();
    let existing = overlays(root);
    let hint = suggest::hint(&wanted, "the overlays", existing.iter().map(String::as_str));
    let hint = hint.unwrap_or_else(|| {
        "an overlay is a folder with a kustomization.yaml; its path is set by `deploy` in the manifest"
            .to_owned()
    });
    Some(MissingOverlay { why, hint })
}

/// Reads the kustomization of a folder.
pub(super) fn kustomization(folder: &Path) -> Option<(PathBuf, String)> {
    let mut files = Kustomization::FILES.iter().map(|name| folder.join(name));
    files.find_map(|file| {
        let text = fs::read_to_string(&file).ok()?;
        Some((file, text))
    })
}

/// Returns whether a part is certainly a local path. Kustomize also accepts URLs and forms such as
/// `github.com/owner/repository`.
fn is_local(part: &str) -> bool {
    let is_remote = part.contains("://") || part.contains('?') || part.starts_with("git@");
    let is_file = [".yaml", ".yml", ".json"]
        .iter()
        .any(|extension| part.ends_with(extension));
    let is_relative = part.starts_with("./") || part.starts_with("../") || !part.contains('/');
    let is_inline = part.contains('\n');
    !is_remote && !is_inline && !part.contains(':') && (is_file || is_relative)
}

/// Returns the folders with kustomizations, relative to `root`.
fn overlays(root: &Path) -> Vec<String> {
    let walk = walkdir::WalkDir::new(root).max_depth(5).sort_by_file_name();
    let entries = walk.into_iter().flatten();
    let files = entries.filter(|entry| {
        let name = entry.file_name().to_str().unwrap_or_default();
        entry.file_type().is_file() && Kustomization::FILES.contains(&name)
    });
    let folders = files.filter_map(|entry| {
        let folder = entry.path().parent()?.strip_prefix(root).ok()?;
        Some(folder.display().to_string())
    });
    folders.filter(|folder| !folder.is_empty()).collect()
}

fn shortened(root: &Path, path: &Path) -> String {
    let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    let short = path.strip_prefix(&root).unwrap_or(path);
    short.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let file = root.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        root
    }

    fn messages(root: &tempfile::TempDir, overlay: &str) -> Vec<String> {
        let found = problems(root.path(), Path::new(overlay));
        found.into_iter().map(|problem| problem.message).collect()
    }

    #[test]
    fn included_files_and_folders_must_exist() {
        let root = platform(&[
            (
                "prod/kustomization.yaml",
                "resources:\n- ../base\n- gone.yaml\n- ../empty\n- https://example.com/x.yaml\n- github.com/x/y\n",
            ),
            (
                "base/kustomization.yml",
                "resources: [a.yaml, ../missing]\n",
            ),
            ("base/a.yaml", ""),
            ("empty/readme", ""),
            ("loop/kustomization.yaml", "resources: [../loop]\n"),
            ("broken/kustomization.yaml", "resources: [a\n"),
        ]);
        assert_eq!(
            messages(&root, "prod"),
            [
                "prod/kustomization.yaml includes `gone.yaml`, which does not exist",
                "prod/kustomization.yaml includes `../empty`, a folder without a kustomization.yaml",
                "base/kustomization.yml includes `../missing`, which does not exist",
            ]
        );
        assert!(messages(&root, "loop").is_empty());
        assert_eq!(
            messages(&root, "broken"),
            ["broken/kustomization.yaml is not valid YAML"]
        );
        assert_eq!(
            messages(&root, "empty"),
            ["the overlay `empty` has no kustomization.yaml"]
        );
        assert_eq!(
            messages(&root, "nowhere"),
            ["the overlay `nowhere` does not exist"]
        );
    }
}
