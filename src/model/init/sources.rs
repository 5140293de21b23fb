//! Detection of tool files.

use super::files::existing;
use super::{ReadFile, compose, path, west};
use crate::model::manifest::ManifestError;

/// A tool file to generate the manifest from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolFile {
    /// Compose files; later ones override earlier ones.
    Compose(Vec<String>),
    /// A Skaffold file.
    Skaffold(String),
    /// A `.gitmodules`.
    Submodules(String),
    /// A west manifest.
    West {
        file: String,
        /// The manifest's repository, which imports are relative to.
        folder: String,
    },
    /// A manifest of Google's repo tool.
    Repo {
        file: String,
        /// The manifest's repository, which includes are relative to.
        folder: String,
    },
}

impl ToolFile {
    /// Returns the path of the file, or of the first one.
    pub fn file(&self) -> &str {
        match self {
            Self::Compose(files) => files.first().map_or("", String::as_str),
            Self::Skaffold(file)
            | Self::Submodules(file)
            | Self::West { file, .. }
            | Self::Repo { file, .. } => file,
        }
    }

    /// Returns whether it lists repositories; otherwise it lists builds.
    pub fn lists_repositories(&self) -> bool {
        !matches!(self, Self::Compose(_) | Self::Skaffold(_))
    }
}

/// Names of compose files in the order Compose looks for them, each with its override files.
const COMPOSE: [(&str, [&str; 2]); 4] = [
    (
        "compose.yaml",
        ["compose.override.yaml", "compose.override.yml"],
    ),
    (
        "compose.yml",
        ["compose.override.yml", "compose.override.yaml"],
    ),
    (
        "docker-compose.yaml",
        [
            "docker-compose.override.yaml",
            "docker-compose.override.yml",
        ],
    ),
    (
        "docker-compose.yml",
        [
            "docker-compose.override.yml",
            "docker-compose.override.yaml",
        ],
    ),
];

/// Returns the tool files in the platform's folder, by their default names.
///
/// # Errors
///
/// A file exists but cannot be read.
pub fn detect(read: &ReadFile<'_>) -> Result<Vec<ToolFile>, ManifestError> {
    let exists = |file: &str| read(file).map(|text| text.is_some());
    let mut sources = Vec::new();
    let named = compose::named_files(read)?;
    if !named.is_empty() {
        sources.push(ToolFile::Compose(named));
    }
    for (file, overrides) in COMPOSE {
        if !sources.is_empty() || !exists(file)? {
            continue;
        }
        let mut files = vec![file.to_owned()];
        for other in overrides {
            if files.len() == 1 && exists(other)? {
                files.push(other.to_owned());
            }
        }
        sources.push(ToolFile::Compose(files));
        break;
    }
    for file in ["skaffold.yaml", "skaffold.yml"] {
        if exists(file)? {
            sources.push(ToolFile::Skaffold(file.to_owned()));
            break;
        }
    }
    if exists(".gitmodules")? {
        sources.push(ToolFile::Submodules(".gitmodules".to_owned()));
    }
    sources.extend(west(read)?);
    if exists(".repo/manifest.xml")? {
        sources.push(ToolFile::Repo {
            file: ".repo/manifest.xml".to_owned(),
            folder: ".repo/manifests".to_owned(),
        });
    } else if read("default.xml")?.is_some_and(|text| text.contains("<manifest")) {
        sources.push(ToolFile::Repo {
            file: "default.xml".to_owned(),
            folder: ".".to_owned(),
        });
    }
    Ok(sources)
}

/// Returns the compose and Skaffold files in a folder, by their default names. The other tools describe the
/// platform's folder itself.
///
/// # Errors
///
/// A file exists but cannot be read.
pub fn detect_below(folder: &str, read: &ReadFile<'_>) -> Result<Vec<ToolFile>, ManifestError> {
    let below = |path: &str| format!("{folder}/{path}");
    let sources = detect(&|path| read(&below(path)))?;
    let moved = sources.into_iter().filter_map(|source| match source {
        ToolFile::Compose(files) => Some(ToolFile::Compose(
            files.iter().map(|file| below(file)).collect(),
        )),
        ToolFile::Skaffold(file) => Some(ToolFile::Skaffold(below(&file))),
        _ => None,
    });
    Ok(moved.collect())
}

/// Returns the manifest of a west workspace, or `west.yml` in the folder itself.
fn west(read: &ReadFile<'_>) -> Result<Option<ToolFile>, ManifestError> {
    if let Some(configuration) = read(".west/config")? {
        let folder = west::setting(&configuration, "path").unwrap_or_default();
        let file = west::setting(&configuration, "file").unwrap_or_else(|| "west.yml".to_owned());
        if let (Some(folder), Some(file)) = (path::join(".", &folder), path::join(&folder, &file))
            && read(&file)?.is_some()
        {
            return Ok(Some(ToolFile::West { file, folder }));
        }
    }
    let own = || ToolFile::West {
        file: "west.yml".to_owned(),
        folder: ".".to_owned(),
    };
    Ok(read("west.yml")?.map(|_| own()))
}

/// Detects the tool that a file belongs to, by its contents.
///
/// # Errors
///
/// The file does not exist, or is not a known format.
pub fn detect_format(file: &str, read: &ReadFile<'_>) -> Result<ToolFile, ManifestError> {
    let text = existing(file, read)?;
    let file = file.to_owned();
    if path::last(&file) == ".gitmodules" {
        return Ok(ToolFile::Submodules(file));
    }
    if text
        .trim_start_matches('\u{feff}')
        .trim_start()
        .starts_with('<')
    {
        let folder = match file.as_str() {
            ".repo/manifest.xml" => ".repo/manifests".to_owned(),
            _ => path::parent(&file).to_owned(),
        };
        return Ok(ToolFile::Repo { file, folder });
    }
    // Check top-level keys only, so that the tool's own reader reports other errors.
    let has = |key: &str| {
        let mut lines = text
            .lines()
            .map(|line| line.split('#').next().unwrap_or(""));
        lines.any(|line| {
            let line = line.trim_start_matches('"').replace("\":", ":");
            line.strip_prefix(key)
                .is_some_and(|rest| rest.trim_start().starts_with(':'))
        })
    };
    if text.contains("skaffold/") && has("apiVersion") {
        Ok(ToolFile::Skaffold(file))
    } else if has("manifest") {
        // The manifest may be in a subfolder of its repository.
        Ok(match west(read)? {
            Some(known) if known.file() == file => known,
            _ => ToolFile::West {
                folder: path::parent(&file).to_owned(),
                file,
            },
        })
    } else if has("services") || has("include") {
        Ok(ToolFile::Compose(vec![file]))
    } else {
        Err(super::file_error(
            &file,
            "unknown format: expected a compose file, skaffold.yaml, west.yml, a repo manifest or .gitmodules",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::files;
    use super::*;

    #[test]
    fn sources_are_detected_by_name() {
        let read = files(&[
            ("docker-compose.yml", ""),
            ("docker-compose.override.yml", ""),
            ("skaffold.yaml", ""),
            (".gitmodules", ""),
            (".west/config", "[manifest]\npath = zephyr\nfile = my.yml\n"),
            ("zephyr/my.yml", ""),
            ("default.xml", "<?xml?><manifest/>"),
        ]);
        let found = detect(&read).unwrap();
        let names: Vec<&str> = found.iter().map(ToolFile::file).collect();
        assert_eq!(
            names,
            [
                "docker-compose.yml",
                "skaffold.yaml",
                ".gitmodules",
                "zephyr/my.yml",
                "default.xml"
            ]
        );
        assert!(matches!(&found[0], ToolFile::Compose(files) if files.len() == 2));
        let read = files(&[
            ("compose.yaml", ""),
            ("compose.yml", ""),
            ("default.xml", "<x/>"),
        ]);
        assert_eq!(detect(&read).unwrap().len(), 1);
    }

    #[test]
    fn the_format_of_a_file_is_detected_by_its_contents() {
        for (text, expected) in [
            ("name: x\nservices: {}\n", Some("Compose")),
            ("apiVersion: skaffold/v4beta1\n", Some("Skaffold")),
            ("manifest:\n  projects: []\n", Some("West")),
            ("<?xml version=\"1.0\"?><manifest/>", Some("Repo")),
            ("apiVersion: v1\n", None),
            ("", None),
        ] {
            let read = files(&[("x", text)]);
            let source = detect_format("x", &read)
                .ok()
                .map(|source| format!("{source:?}"));
            match expected {
                Some(kind) => assert!(source.unwrap().starts_with(kind), "{text}"),
                None => assert_eq!(source, None, "{text}"),
            }
        }
        assert!(detect_format("gone", &files(&[])).is_err());
    }
}
