//! The variables and the name of a compose project.

use super::super::interpolation::ComposeVariables;
use super::super::{ReadFile, environment_file, file_error, path};
use crate::model::manifest::ManifestError;

/// Reads `.env` files that exist; later ones override earlier ones.
///
/// The error does not show the line, which may contain a secret.
pub(super) fn load(
    variables: &mut ComposeVariables,
    files: &[String],
    read: &ReadFile<'_>,
) -> Result<(), ManifestError> {
    for file in files {
        let Some(text) = read(file)? else { continue };
        environment_file::read(&text, variables).map_err(|error| {
            let message = format!(
                "line {}: {}; compose rejects the file",
                error.line, error.message
            );
            file_error(file, message)
        })?;
    }
    Ok(())
}

/// Returns the files that `COMPOSE_FILE` in `.env` names instead of the default ones, as far as they exist.
pub(in super::super) fn named_files(read: &ReadFile<'_>) -> Result<Vec<String>, ManifestError> {
    let mut variables = ComposeVariables::new();
    if let Some(text) = read(".env")? {
        // The error is reported when the files are read.
        _ = environment_file::read(&text, &mut variables);
    }
    let value = |name: &str| variables.get(name).map(|value| value.text.clone());
    let separator = value("COMPOSE_PATH_SEPARATOR").unwrap_or_else(|| ":".to_owned());
    let mut files = Vec::new();
    for name in value("COMPOSE_FILE")
        .iter()
        .flat_map(|list| list.split(&separator))
    {
        let Some(file) = path::join(".", name.trim()) else {
            continue;
        };
        if read(&file)?.is_some() {
            files.push(file);
        }
    }
    Ok(files)
}

/// Returns the name that compose gives a project, from `name` or the folder.
pub(super) fn project_name(written: &str) -> String {
    let lower = written.to_lowercase();
    let valid: String = lower
        .chars()
        .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(*c))
        .collect();
    valid.trim_start_matches(['_', '-']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn project_names_are_normalized() {
        assert_eq!(project_name("My Shop.v2"), "myshopv2");
        assert_eq!(project_name("_x-y"), "x-y");
    }
}
