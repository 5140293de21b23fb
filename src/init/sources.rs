//! Which files of other tools are there.

use super::files::existing;
use super::{Read, path};
use crate::manifest::ManifestError;

/// What a manifest is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Compose files, the later ones of which override the earlier.
    Compose(Vec<String>),
    /// A Skaffold file.
    Skaffold(String),
    /// A `.gitmodules`.
    Submodules(String),
    /// A west manifest.
    West(String),
    /// A manifest of repo.
    Repo {
        /// The file.
        file: String,
        /// The manifest's repository, which includes start from.
        folder: String,
    },
}

impl Source {
    /// Returns the name of the file, the first of several.
    pub fn file(&self) -> &str {
        match self {
            Self::Compose(files) => files.first().map_or("", String::as_str),
            Self::Skaffold(file)
            | Self::Submodules(file)
            | Self::West(file)
            | Self::Repo { file, .. } => file,
        }
    }

    /// Tells whether it says which repositories there are; else it says what is built of them.
    pub fn lists_repositories(&self) -> bool {
        !matches!(self, Self::Compose(_) | Self::Skaffold(_))
    }
}

/// The names of compose files, as Compose itself looks for them, each with those that override it.
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

/// Returns the sources that are in the platform's folder, by the names that the tools look for.
///
/// # Errors
///
/// A file that is there and cannot be read.
pub fn detect(read: &Read<'_>) -> Result<Vec<Source>, ManifestError> {
    let is_there = |file: &str| read(file).map(|text| text.is_some());
    let mut sources = Vec::new();
    for (file, overrides) in COMPOSE {
        if !is_there(file)? {
            continue;
        }
        let mut files = vec![file.to_owned()];
        for other in overrides {
            if files.len() == 1 && is_there(other)? {
                files.push(other.to_owned());
            }
        }
        sources.push(Source::Compose(files));
        break;
    }
    for file in ["skaffold.yaml", "skaffold.yml"] {
        if is_there(file)? {
            sources.push(Source::Skaffold(file.to_owned()));
            break;
        }
    }
    if is_there(".gitmodules")? {
        sources.push(Source::Submodules(".gitmodules".to_owned()));
    }
    if let Some(file) = west(read)? {
        sources.push(Source::West(file));
    }
    if is_there(".repo/manifest.xml")? {
        sources.push(Source::Repo {
            file: ".repo/manifest.xml".to_owned(),
            folder: ".repo/manifests".to_owned(),
        });
    } else if read("default.xml")?.is_some_and(|text| text.contains("<manifest")) {
        sources.push(Source::Repo {
            file: "default.xml".to_owned(),
            folder: ".".to_owned(),
        });
    }
    Ok(sources)
}

/// Returns the manifest of a west workspace, or the one of a repository that is such a manifest's.
fn west(read: &Read<'_>) -> Result<Option<String>, ManifestError> {
    if let Some(configuration) = read(".west/config")? {
        let value = |key: &str| {
            configuration.lines().find_map(|line| {
                let (name, value) = line.split_once('=')?;
                (name.trim() == key).then(|| value.trim().to_owned())
            })
        };
        let folder = value("path").unwrap_or_default();
        let file = value("file").unwrap_or_else(|| "west.yml".to_owned());
        if let Some(path) = path::join(&folder, &file)
            && read(&path)?.is_some()
        {
            return Ok(Some(path));
        }
    }
    Ok(read("west.yml")?.map(|_| "west.yml".to_owned()))
}

/// Tells of which tool a file is.
///
/// # Errors
///
/// There is no such file, or no tool's that is known.
pub fn source_of(file: &str, read: &Read<'_>) -> Result<Source, ManifestError> {
    let text = existing(file, read)?;
    let file = file.to_owned();
    if path::last(&file) == ".gitmodules" {
        return Ok(Source::Submodules(file));
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
        return Ok(Source::Repo { file, folder });
    }
    // By their keys at the top: what is wrong below them is for the tool's own reader to say.
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
        Ok(Source::Skaffold(file))
    } else if has("manifest") {
        Ok(Source::West(file))
    } else if has("services") || has("include") {
        Ok(Source::Compose(vec![file]))
    } else {
        Err(super::wrong_file(
            &file,
            "it is neither a compose file, nor one of Skaffold, west, repo or git submodules",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::files;
    use super::*;

    #[test]
    fn sources_are_found_by_their_names() {
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
        let names: Vec<&str> = found.iter().map(Source::file).collect();
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
        assert!(matches!(&found[0], Source::Compose(files) if files.len() == 2));
        let read = files(&[
            ("compose.yaml", ""),
            ("compose.yml", ""),
            ("default.xml", "<x/>"),
        ]);
        assert_eq!(detect(&read).unwrap().len(), 1);
    }

    #[test]
    fn a_named_file_is_known_by_what_is_in_it() {
        for (text, expected) in [
            ("name: x\nservices: {}\n", Some("Compose")),
            ("apiVersion: skaffold/v4beta1\n", Some("Skaffold")),
            ("manifest:\n  projects: []\n", Some("West")),
            ("<?xml version=\"1.0\"?><manifest/>", Some("Repo")),
            ("apiVersion: v1\n", None),
            ("", None),
        ] {
            let read = files(&[("x", text)]);
            let source = source_of("x", &read)
                .ok()
                .map(|source| format!("{source:?}"));
            match expected {
                Some(kind) => assert!(source.unwrap().starts_with(kind), "{text}"),
                None => assert_eq!(source, None, "{text}"),
            }
        }
        assert!(source_of("gone", &files(&[])).is_err());
    }
}
