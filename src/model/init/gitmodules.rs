//! Reader of `.gitmodules`.

use super::files::existing;
use super::project::{Project, Projects};
use super::{ReadFile, path};
use crate::model::manifest::ManifestError;
use crate::model::source::GitUrl;

/// A section of the file.
#[derive(Default)]
struct Submodule {
    name: String,
    line: usize,
    path: Option<String>,
    url: Option<String>,
    branch: Option<String>,
}

/// Reads a `.gitmodules` file. `base` is the remote of the superproject, which relative URLs are resolved
/// against, and `branch` its branch.
///
/// # Errors
///
/// A syntax error, or a path outside the platform's folder.
pub fn read(
    file: &str,
    read: &ReadFile<'_>,
    base: Option<&GitUrl>,
    branch: Option<&str>,
) -> Result<Projects, ManifestError> {
    let text = existing(file, read)?;
    let mut result = Projects::default();
    for module in sections(file, &text)? {
        let Some(written) = &module.path else {
            continue;
        };
        let dir = path::join(path::parent(file), written)
            .filter(|dir| dir != "." && !dir.split('/').any(|part| part == ".git"));
        let Some(dir) = dir else {
            let message = format!(
                "line {}: the path `{written}` of submodule `{}` is outside the platform's folder",
                module.line, module.name
            );
            return Err(super::file_error(file, message));
        };
        let mut project = Project {
            dir,
            file: file.to_owned(),
            // `.` means the branch of the superproject.
            reference: match module.branch.as_deref() {
                Some(".") => branch.map(str::to_owned),
                other => other.map(str::to_owned),
            },
            ..Project::default()
        };
        match (&module.url, base) {
            (None, _) => project
                .todos
                .push("it has no URL in `.gitmodules`".to_owned()),
            (Some(url), _) if !url.starts_with("./") && !url.starts_with("../") => {
                project.remote = Some(url.clone());
            }
            (Some(url), None) => project.todos.push(format!(
                "its URL, {url}, is relative to the remote of the superproject, which has none"
            )),
            (Some(url), Some(base)) => match base.join(url) {
                Ok(joined) => project.remote = Some(joined.stripped().expose().to_owned()),
                Err(error) => project.todos.push(error.to_string()),
            },
        }
        result.projects.push(project);
    }
    Ok(result)
}

/// Returns the `[submodule "…"]` sections, in file order.
fn sections(file: &str, text: &str) -> Result<Vec<Submodule>, ManifestError> {
    let mut modules: Vec<Submodule> = Vec::new();
    let mut is_module = false;
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let mut line = line.trim().to_owned();
        // A backslash at the end of a line continues it.
        while line.ends_with('\\') && !line.ends_with("\\\\") {
            line.pop();
            match lines.next() {
                Some((_, more)) => line.push_str(more.trim()),
                None => break,
            }
        }
        let error_at = |what: &str| super::file_error(file, format!("line {}: {what}", index + 1));
        let mut rest = line.as_str();
        if let Some(section) = rest.strip_prefix('[') {
            let Some(end) = section_end(section) else {
                return Err(error_at("a section header has no `]`"));
            };
            let header = section[..end].trim();
            is_module = false;
            if let Some(name) = submodule_name(header) {
                is_module = true;
                modules.push(Submodule {
                    name,
                    line: index + 1,
                    ..Submodule::default()
                });
            }
            rest = section[end + 1..].trim();
        }
        if rest.is_empty() || rest.starts_with(['#', ';']) {
            continue;
        }
        let Some((key, value)) = rest.split_once('=') else {
            // A lone `key` is the boolean true.
            if rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
                continue;
            }
            return Err(error_at("expected `key = value`"));
        };
        let (true, Some(module)) = (is_module, modules.last_mut()) else {
            continue;
        };
        let value = unquoted(value).ok_or_else(|| error_at("unterminated quote"))?;
        match key.trim().to_ascii_lowercase().as_str() {
            "path" => module.path = Some(value),
            "url" => module.url = Some(value),
            "branch" => module.branch = Some(value),
            _ => {}
        }
    }
    Ok(modules)
}

/// Returns the position of the `]` of a section header, ignoring brackets within quotes.
fn section_end(section: &str) -> Option<usize> {
    let mut quoted = false;
    let mut escaped = false;
    for (at, c) in section.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ']' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

fn submodule_name(header: &str) -> Option<String> {
    let (section, name) = header.split_once([' ', '\t'])?;
    if !section.eq_ignore_ascii_case("submodule") {
        return None;
    }
    unquoted(name)
}

/// Returns a value without quotes, escapes and trailing comment; `None` if a quote is not closed.
fn unquoted(written: &str) -> Option<String> {
    let mut value = String::new();
    let mut quoted = false;
    let mut chars = written.trim().chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => quoted = !quoted,
            '\\' => value.push(match chars.next()? {
                't' => '\t',
                'n' => '\n',
                other => other,
            }),
            '#' | ';' if !quoted => break,
            c => value.push(c),
        }
    }
    (!quoted).then(|| value.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::tests::files;
    use super::*;

    fn projects(text: &str, base: Option<&str>) -> Result<Vec<Project>, String> {
        let base = base.map(|base| base.parse().unwrap());
        let files = files(&[(".gitmodules", text)]);
        read(".gitmodules", &files, base.as_ref(), Some("main"))
            .map(|result| result.projects)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn submodules_are_found_with_their_urls_and_branches() {
        let text = "\
; the parts
[core]
    bare
    path = nothing
[submodule \"api ]\"]
\tpath = \"services/a b\" # quoted
\turl = ../api.git
\tbranch = .
[SubModule \"web\"] path = web
  url = git@git.example.com:x/\\
  web.git
  branch = stable
[submodule \"none\"]
  path = none
";
        let result = projects(text, Some("https://bob:s3cret@h/x/all.git")).unwrap();
        assert_eq!(result[0].dir, "services/a b");
        assert_eq!(result[0].remote.as_deref(), Some("https://h/x/api.git"));
        assert_eq!(result[0].reference.as_deref(), Some("main"));
        assert_eq!(
            result[1].remote.as_deref(),
            Some("git@git.example.com:x/web.git")
        );
        assert_eq!(result[1].reference.as_deref(), Some("stable"));
        assert!(result[2].remote.is_none() && result[2].todos.len() == 1);
        let without = projects(text, None).unwrap();
        assert!(without[0].remote.is_none() && without[0].todos[0].contains("../api.git"));
    }

    #[test]
    fn errors_show_the_line() {
        for (text, expected) in [
            ("[submodule \"x\"]\n path = ../x\n", "outside the platform"),
            (
                "[submodule \"x\"]\n path = .git/x\n",
                "outside the platform",
            ),
            ("[submodule \"x\"\n", "line 1"),
            ("[submodule \"x\"]\n path = \"x\n", "line 2"),
            ("\n<html>\n", "line 2"),
        ] {
            let error = projects(text, None).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
